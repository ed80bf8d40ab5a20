/* bulla-keyd init: everything that a new key service needs, in one folder, with nothing to type. */
#include "base/clock.h"
#include "crypto/secret.h"
#include "keyservice/server/account/account.h"
#include "keyservice/server/audit/audit.h"
#include "keyservice/server/command/command.h"
#include "keyservice/server/pki.h"
#include "keyservice/server/store/store_role.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#define INIT_ENGINE "engine"

struct init_options {
    const char *folder;
    const char *public_url;
    const char *database; /* URL; NULL: SQLite in the folder */
    const char *listen;
    const char *engine_listen;
    const char *mail_from;
    const char *smtp_relay;
    char administrator[ACCOUNT_ADDRESS_BYTES]; /* "": none yet */
};

struct init_paths {
    char ca_certificate[CONFIG_PATH_BYTES];
    char ca_key[CONFIG_PATH_BYTES];
    char server_certificate[CONFIG_PATH_BYTES];
    char server_key[CONFIG_PATH_BYTES];
    char engine_certificate[CONFIG_PATH_BYTES];
    char engine_key[CONFIG_PATH_BYTES];
    char master_key[CONFIG_PATH_BYTES];
    char database[CONFIG_PATH_BYTES];
    char audit[CONFIG_PATH_BYTES];
    char config[CONFIG_PATH_BYTES];
    char mail[CONFIG_PATH_BYTES];
};

static void path_join(char path[CONFIG_PATH_BYTES], const char *folder, const char *name)
{
    (void)snprintf(path, CONFIG_PATH_BYTES, "%s/%s", folder, name);
}

static void paths_fill(struct init_paths *paths, const char *folder)
{
    path_join(paths->ca_certificate, folder, "ca.crt");
    path_join(paths->ca_key, folder, "ca.key");
    path_join(paths->server_certificate, folder, "server.crt");
    path_join(paths->server_key, folder, "server.key");
    path_join(paths->engine_certificate, folder, INIT_ENGINE ".crt");
    path_join(paths->engine_key, folder, INIT_ENGINE ".key");
    path_join(paths->master_key, folder, "master.key");
    path_join(paths->database, folder, "keys.db");
    path_join(paths->audit, folder, "audit.log");
    path_join(paths->config, folder, "keyd.conf");
    path_join(paths->mail, folder, "mail");
}

static int usage(void)
{
    return command_fail(EX_USAGE,
                        "usage: bulla-keyd init [--public-url URL] [--listen ADDR:PORT] "
                        "[--engine-listen ADDR:PORT] [--smtp-relay URL] [--mail-from ADDR] "
                        "[--database postgresql://…] [--administrator ADDR] DIR");
}

/* The text stands between quotes in the configuration: nothing may end them. */
static bool text_plain(const char *text)
{
    return text[strcspn(text, "\"\\\r\n$")] == '\0' && strlen(text) < CONFIG_TEXT_BYTES;
}

static int options_read(struct init_options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"public-url", required_argument, NULL, 'u'},
        {"listen", required_argument, NULL, 'l'},
        {"engine-listen", required_argument, NULL, 'e'},
        {"smtp-relay", required_argument, NULL, 'r'},
        {"mail-from", required_argument, NULL, 'f'},
        {"database", required_argument, NULL, 'd'},
        {"administrator", required_argument, NULL, 'a'},
        {NULL, 0, NULL, 0},
    };
    int option;
    *options = (struct init_options){.public_url = "https://localhost:8443",
                                     .listen = "127.0.0.1:8443",
                                     .engine_listen = "127.0.0.1:8444",
                                     .smtp_relay = "",
                                     .mail_from = NULL};
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'u': options->public_url = optarg; break;
        case 'l': options->listen = optarg; break;
        case 'e': options->engine_listen = optarg; break;
        case 'r': options->smtp_relay = optarg; break;
        case 'f': options->mail_from = optarg; break;
        case 'd': options->database = optarg; break;
        case 'a':
            if (account_normalise(options->administrator, optarg, strlen(optarg)) != 0)
                return command_fail(EX_USAGE, "--administrator: \"%s\" is not an address", optarg);
            break;
        default: return usage();
        }
    }
    if (argc - optind != 1)
        return usage();
    options->folder = argv[optind];
    if (strlen(options->folder) > CONFIG_PATH_BYTES - 32)
        return command_fail(EX_USAGE, "%s: the name is too long", options->folder);
    return 0;
}

static int options_check(const struct init_options *options, char host[CONFIG_TEXT_BYTES])
{
    struct sockaddr_storage address;
    socklen_t bytes;
    config_url_host(options->public_url, host);
    if (options->public_url[0] == '\0')
        (void)snprintf(host, CONFIG_TEXT_BYTES, "localhost");
    if (host[0] == '\0')
        return command_fail(EX_USAGE, "--public-url: write https://HOST or https://HOST:PORT");
    if (config_address(options->listen, &address, &bytes) != 0 ||
        config_address(options->engine_listen, &address, &bytes) != 0)
        return command_fail(EX_USAGE, "--listen, --engine-listen: write ADDRESS:PORT in numbers, "
                                      "as 127.0.0.1:8443 or [::1]:8443");
    if (options->database != NULL && !store_is_url(options->database))
        return command_fail(EX_USAGE, "--database: write postgresql://USER@HOST/NAME; without it "
                                      "an SQLite database is made in DIR");
    if ((options->database != NULL && !text_plain(options->database)) ||
        !text_plain(options->public_url) || !text_plain(options->smtp_relay) ||
        (options->mail_from != NULL && !text_plain(options->mail_from)))
        return command_fail(EX_USAGE, "an option holds a character that cannot stand there");
    return 0;
}

static int config_write(const struct init_options *options, const struct init_paths *paths,
                        const char *host)
{
    const int fd = open(paths->config, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    FILE *file = fdopen(fd, "w");
    if (file == NULL) {
        (void)close(fd);
        return -ENOMEM;
    }
    (void)fprintf(file,
                  "# The key service's settings; bulla-keyd.conf(5) explains each.\n"
                  "# Paths without a leading slash start at this file's own folder.\n\n"
                  "# Browsers and \"bulla open\"; engines. A port of 0 takes any free one.\n"
                  "listen = \"%s\"\n"
                  "engine_listen = \"%s\"\n\n"
                  "# What recipients type and what stands in envelopes and mails; empty: "
                  "https://localhost and the port above.\n"
                  "public_url = \"%s\"\n\n"
                  "# A mail relay, as \"smtp://mail.example.com:25\"; empty: mails become files in "
                  "mail_spool_dir.\n"
                  "smtp_relay = \"%s\"\n"
                  "mail_spool_dir = \"mail\"\n",
                  options->listen, options->engine_listen, options->public_url,
                  options->smtp_relay);
    if (options->mail_from != NULL)
        (void)fprintf(file, "mail_from = \"%s\"\n", options->mail_from);
    else
        (void)fprintf(file, "mail_from = \"bulla@%s\"\n", host);
    (void)fprintf(
        file,
        "\n# A file, or postgresql://USER@HOST/NAME of a PostgreSQL database.\n"
        "database = \"%s\"\n"
        "master_key_file = \"master.key\"\n"
        "audit_file = \"audit.log\"\n"
        "certificate_file = \"server.crt\"\n"
        "private_key_file = \"server.key\"\n\n"
        "# The authority that engines' certificates come from. Without its key no further "
        "engine can be enrolled.\n"
        "ca_certificate_file = \"ca.crt\"\n"
        "ca_key_file = \"ca.key\"\n",
        options->database == NULL ? "keys.db" : options->database);
    const bool fine = ferror(file) == 0 && fflush(file) == 0 && fsync(fd) == 0;
    return fclose(file) == 0 && fine ? 0 : -EIO;
}

static void engine_note(void *context, const struct store_engine *engine)
{
    (void)engine;
    *(bool *)context = true;
}

/* A server's database may hold somebody's keys already, which the new master key could not open. */
static int database_unused(struct store *store, char *why)
{
    bool any = false;
    const int rc = store_engine_list(store, engine_note, &any);
    if (rc != 0 || !any)
        return rc;
    (void)snprintf(why, CONFIG_WHY_BYTES,
                   "the database belongs to a key service already: name an empty one");
    return -EEXIST;
}

static int audit_line(struct audit *audit, const char *event, const char *user, const char *detail)
{
    const struct audit_event line = {
        .event = event, .user = user, .from = "operator", .detail = detail};
    return audit_append(audit, &line, true, clock_unix_ns());
}

/* An account with a password that is shown once, and the role that grants all others. */
static int administrator_make(struct store *store, struct audit *audit, const char *address,
                              char password[ACCOUNT_GENERATED_PASS_CHARS + 1])
{
    char encoded[ACCOUNT_HASH_BYTES];
    const uint64_t now_ms = clock_unix_ns() / NS_PER_MS;
    const char *role = role_name(ROLE_ADMINISTRATOR);
    int rc = account_password_make(password);
    if (rc == 0)
        rc = account_password_hash_made(password, strlen(password), now_ms + ACCOUNT_MADE_MS,
                                        encoded);
    if (rc == 0)
        rc = audit_line(audit, "account_add", address, NULL);
    if (rc == 0)
        rc = store_account_add(store, address, encoded, now_ms);
    if (rc == 0)
        rc = audit_line(audit, "role_grant", address, role);
    if (rc == 0)
        rc = store_role_grant(store, address, ROLE_ADMINISTRATOR, "", now_ms);
    return rc;
}

/* The database with its schema, its first engine and perhaps its first administrator. */
static int database_make(const struct init_options *options, const struct init_paths *paths,
                         const uint8_t fingerprint[PKI_FINGERPRINT_BYTES],
                         char password[ACCOUNT_GENERATED_PASS_CHARS + 1], char *why)
{
    struct master *master = NULL;
    struct store *store = NULL;
    struct audit *audit = NULL;
    struct store_engine engine = {.name = INIT_ENGINE,
                                  .created_unix_ms = clock_unix_ns() / NS_PER_MS};
    memcpy(engine.fingerprint, fingerprint, sizeof(engine.fingerprint));
    int rc = master_open(&master, paths->master_key, why);
    if (rc != 0)
        return rc;
    const struct store_config config = {.path = options->database != NULL ? options->database
                                                                          : paths->database,
                                        .master = master,
                                        .readers_count = 1,
                                        .create = true};
    rc = store_open(&store, &config, why);
    if (rc == 0)
        rc = database_unused(store, why);
    if (rc == 0)
        rc = store_engine_add(store, &engine);
    if (rc == 0)
        rc = audit_open(&audit, options->database != NULL ? options->database : paths->audit);
    if (rc == 0) {
        const struct audit_event event = {.event = "enrol", .user = INIT_ENGINE};
        rc = audit_append(audit, &event, true, clock_unix_ns());
    }
    if (rc == 0 && options->administrator[0] != '\0')
        rc = administrator_make(store, audit, options->administrator, password);
    audit_close(audit);
    store_close(store);
    master_close(master);
    return rc;
}

static int folder_make(const struct init_options *options, const struct init_paths *paths)
{
    struct stat info;
    if (mkdir(options->folder, 0700) != 0 && errno != EEXIST)
        return command_fail(EX_CANTCREAT, "%s: %s", options->folder, strerror(errno));
    if (stat(options->folder, &info) != 0 || !S_ISDIR(info.st_mode))
        return command_fail(EX_CANTCREAT, "%s: not a folder", options->folder);
    const char *const made[] = {paths->ca_certificate,
                                paths->ca_key,
                                paths->server_certificate,
                                paths->server_key,
                                paths->engine_certificate,
                                paths->engine_key,
                                paths->master_key,
                                paths->database,
                                paths->audit,
                                paths->config};
    for (size_t i = 0; i < ARRAY_COUNT(made); i++)
        if (lstat(made[i], &info) == 0)
            return command_fail(EX_CANTCREAT,
                                "%s is there already; nothing was changed. Name an empty folder",
                                made[i]);
    if (chmod(options->folder, 0700) != 0 || (mkdir(paths->mail, 0700) != 0 && errno != EEXIST))
        return command_fail(EX_CANTCREAT, "%s: %s", paths->mail, strerror(errno));
    return 0;
}

static void summary_print(const struct init_options *options, const struct init_paths *paths,
                          const char *password)
{
    (void)printf(
        "Made in %s:\n"
        "  keyd.conf                settings; public address %s\n"
        "  master.key               wraps every message key: back it up, apart from the "
        "database\n"
        "  ca.crt, ca.key           the service's own authority; give ca.crt to engines and "
        "readers\n"
        "  server.crt, server.key   for %s, good for %d days\n"
        "  engine.crt, engine.key   the first engine's, enrolled as \"" INIT_ENGINE "\"\n"
        "  %-24s the database and the chained record of what it did\n"
        "  mail/                    mails of the service, while no relay is configured\n"
        "Next:\n"
        "  bulla-keyd serve --config %s\n",
        options->folder, options->public_url[0] == '\0' ? "(free port)" : options->public_url,
        "localhost, 127.0.0.1, ::1 and the public host", PKI_SERVER_DAYS,
        options->database == NULL ? "keys.db, audit.log" : "(PostgreSQL), audit.log",
        paths->config);
    if (options->administrator[0] != '\0')
        (void)printf("Sign in at /signin as %s with the password %s\n", options->administrator,
                     password);
}

int command_init(int argc, char **argv)
{
    struct init_options options;
    struct init_paths paths;
    char host[CONFIG_TEXT_BYTES];
    char why[CONFIG_WHY_BYTES] = "";
    char password[ACCOUNT_GENERATED_PASS_CHARS + 1] = "";
    uint8_t fingerprint[PKI_FINGERPRINT_BYTES];

    int status = options_read(&options, argc, argv);
    if (status == 0)
        status = options_check(&options, host);
    if (status != 0)
        return status;
    paths_fill(&paths, options.folder);
    status = folder_make(&options, &paths);
    if (status != 0)
        return status;

    int rc = pki_ca_make(paths.ca_certificate, paths.ca_key);
    if (rc == 0)
        rc = pki_server_make(paths.ca_certificate, paths.ca_key, host, paths.server_certificate,
                             paths.server_key);
    if (rc == 0)
        rc = pki_engine_make(paths.ca_certificate, paths.ca_key, INIT_ENGINE,
                             paths.engine_certificate, paths.engine_key, fingerprint);
    if (rc == 0)
        rc = master_create(paths.master_key);
    if (rc == 0)
        rc = database_make(&options, &paths, fingerprint, password, why);
    if (rc == 0)
        rc = config_write(&options, &paths, host);
    if (rc != 0)
        return command_fail(EX_CANTCREAT, "%s: %s", options.folder,
                            why[0] != '\0' ? why : strerror(-rc));
    summary_print(&options, &paths, password);
    secret_wipe(password, sizeof(password));
    return 0;
}
