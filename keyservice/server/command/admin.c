/* bulla-keyd account, engine, audit: the operator's subcommands. */
#include "keyservice/server/command/admin.h"
#include "base/assert.h"
#include "base/clock.h"
#include "crypto/secret.h"
#include "keyservice/server/account/account.h"
#include "keyservice/server/account/code.h"
#include "keyservice/server/api/api.h"
#include "keyservice/server/audit/audit.h"
#include "keyservice/server/command/command.h"
#include "keyservice/server/enrol.h"
#include "keyservice/server/pki.h"
#include "keyservice/server/store/store_person.h"
#include "keyservice/server/store/store_role.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

struct admin_options {
    const char *config;
    const char *password_file;
    const char *verb;
    const char *name; /* NULL: none */
};

static int options_read(struct admin_options *options, int argc, char **argv, const char *usage)
{
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'},
        {"password-file", required_argument, NULL, 'p'},
        {NULL, 0, NULL, 0},
    };
    int option;
    *options = (struct admin_options){.config = COMMAND_CONFIG};
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'c': options->config = optarg; break;
        case 'p': options->password_file = optarg; break;
        default: return command_fail(EX_USAGE, "%s", usage);
        }
    }
    if (argc - optind < 1 || argc - optind > 2)
        return command_fail(EX_USAGE, "%s", usage);
    options->verb = argv[optind];
    options->name = argc - optind == 2 ? argv[optind + 1] : NULL;
    return 0;
}

void admin_time(char text[32], uint64_t unix_ms)
{
    struct tm utc;
    const time_t unix_s = (time_t)(unix_ms / 1000);
    if (unix_ms == 0 || gmtime_r(&unix_s, &utc) == NULL ||
        strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        (void)snprintf(text, 32, "-");
}

static int admin_line(const struct command_parts *parts, const struct audit_event *event)
{
    struct audit *audit = NULL;
    struct audit_event line = *event;
    line.from = "operator";
    int rc = audit_open(&audit, parts->config.audit);
    if (rc == 0)
        rc = audit_append(audit, &line, true, clock_unix_ns());
    audit_close(audit);
    return rc;
}

int admin_begin(const struct command_parts *parts, const struct audit_event *event)
{
    return admin_line(parts, event);
}

int admin_end(const struct command_parts *parts, int rc, const struct audit_event *event)
{
    struct audit_event line = *event;
    line.outcome = rc == -ENOENT ? "unknown" : rc == -EEXIST ? "conflict" : "away";
    if (rc == -EACCES)
        line.outcome = "rights";
    if (rc != 0 && admin_line(parts, &line) != 0)
        (void)fprintf(stderr, "bulla-keyd: the audit log cannot be written\n");
    return rc;
}

static int admin_audit(const struct command_parts *parts, const char *event, const char *id,
                       const char *user)
{
    const struct audit_event line = {.event = event, .id = id, .user = user};
    return admin_begin(parts, &line);
}

static int admin_done(const struct command_parts *parts, int rc, const char *event, const char *id,
                      const char *user)
{
    const struct audit_event line = {.event = event, .id = id, .user = user};
    return admin_end(parts, rc, &line);
}

/* One line of a file, or of standard input for "-". */
static int password_read(const char *path, char password[ACCOUNT_PASSWORD_BYTES_MAX + 2])
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (file == NULL)
        return command_fail(EX_NOINPUT, "%s: %s", path, strerror(errno));
    const bool read = fgets(password, ACCOUNT_PASSWORD_BYTES_MAX + 2, file) != NULL;
    if (file != stdin)
        (void)fclose(file);
    if (!read)
        return command_fail(EX_DATAERR, "%s: no password in it", path);
    password[strcspn(password, "\r\n")] = '\0';
    return 0;
}

/* What was done stays done: that its owner was not told is said. */
static void owner_tell(const struct command_parts *parts, const char *address, const char *notice)
{
    struct store_account account;
    int rc = store_account_get(parts->store, address, &account);
    secret_wipe(account.password, sizeof(account.password));
    if (rc == 0)
        rc = code_notice_put(parts->store, &parts->config, &account, notice);
    if (rc != 0)
        (void)fprintf(stderr, "bulla-keyd: %s is not told by mail: %s\n", address, strerror(-rc));
}

/* A new account, or another password for one there is, which ends its sessions. */
static int account_put(const struct command_parts *parts, const char *address, const char *encoded,
                       bool is_new)
{
    const char *event = is_new ? "account_add" : "account_password";
    int rc = admin_audit(parts, event, NULL, address);
    if (rc != 0)
        return rc;
    rc = is_new ? store_account_add(parts->store, address, encoded, api_now_ms())
                : store_account_password(parts->store, address, encoded);
    return admin_done(parts, rc, event, NULL, address);
}

static void made_print(const char *password)
{
    (void)printf("%s\n", password);
    if (isatty(STDOUT_FILENO))
        (void)fprintf(stderr, "Good for %d days: its owner chooses another on the page /account\n",
                      ACCOUNT_MADE_DAYS);
}

static int account_write(const struct command_parts *parts, const struct admin_options *options,
                         const char *address, bool is_new)
{
    char password[ACCOUNT_PASSWORD_BYTES_MAX + 2] = "";
    char encoded[ACCOUNT_HASH_BYTES];
    char why[ACCOUNT_WHY_BYTES];
    const bool generated = options->password_file == NULL;
    int status = 0;
    if (generated)
        status = account_password_make(password) == 0 ? 0 : EX_OSERR;
    else
        status = password_read(options->password_file, password);
    if (status != 0)
        return status;
    if (account_password_check(password, strlen(password), address, why) != 0) {
        status = command_fail(EX_DATAERR, "%s: %s", address, why);
        goto wipe;
    }
    int rc = generated ? account_password_hash_made(password, strlen(password),
                                                    api_now_ms() + ACCOUNT_MADE_MS, encoded)
                       : account_password_hash(password, strlen(password), encoded);
    if (rc == 0)
        rc = account_put(parts, address, encoded, is_new);
    if (rc == -EEXIST)
        status = command_fail(EX_CANTCREAT, "%s has an account already", address);
    else if (rc == -ENOENT)
        status = command_fail(EX_NOUSER, "%s has no account", address);
    else if (rc != 0)
        status = command_fail(EX_IOERR, "%s: %s", address, strerror(-rc));
    else if (generated)
        made_print(password);
    if (rc == 0 && !is_new)
        owner_tell(parts, address, "password");

wipe:
    secret_wipe(password, sizeof(password));
    return status;
}

static void account_print(void *context, const struct store_account *account)
{
    char created[32];
    (void)context;
    admin_time(created, account->created_unix_ms);
    (void)printf("%s  %s\n", created, account->address);
}

static int account_disable(struct store *store, const char *address)
{
    return store_user_disable(store, address, api_now_ms());
}

static int all_sessions_end(struct store *store, int64_t number)
{
    static const uint8_t nobody[STORE_HASH_BYTES] = {0}; /* of no session, so that none is kept */
    return store_session_end_others(store, number, nobody);
}

static int account_passkeys_remove(struct store *store, const char *address)
{
    struct store_account account;
    int rc = store_account_get(store, address, &account);
    secret_wipe(account.password, sizeof(account.password));
    if (rc == 0)
        rc = store_passkey_clear(store, account.number);
    return rc == 0 ? all_sessions_end(store, account.number) : rc;
}

struct account_verb {
    const char *name;
    const char *event;
    int (*act)(struct store *store, const char *address);
    const char *notice; /* the mail by which its owner is told; NULL: none */
};

static const struct account_verb *account_verb_find(const char *name)
{
    static const struct account_verb verbs[] = {
        {"remove", "account_remove", store_user_remove, NULL},
        {"disable", "account_disable", account_disable, NULL},
        {"enable", "account_enable", store_user_enable, NULL},
        {"reset-factor", "account_factor", store_user_factors_clear, "factor"},
        {"remove-passkeys", "account_passkeys", account_passkeys_remove, NULL},
        {"sign-out", "account_sign_out", store_user_sessions_end, NULL},
    };
    for (size_t i = 0; i < ARRAY_COUNT(verbs); i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

static int account_do(const struct command_parts *parts, const struct admin_options *options,
                      const char *usage)
{
    char address[ACCOUNT_ADDRESS_BYTES];
    if (strcmp(options->verb, "list") == 0 && options->name == NULL)
        return store_account_list(parts->store, account_print, NULL) == 0 ? 0 : EX_IOERR;
    if (options->name == NULL)
        return command_fail(EX_USAGE, "%s", usage);
    if (account_normalise(address, options->name, strlen(options->name)) != 0)
        return command_fail(EX_DATAERR, "\"%s\" is not an address", options->name);
    if (strcmp(options->verb, "add") == 0)
        return account_write(parts, options, address, true);
    if (strcmp(options->verb, "password") == 0)
        return account_write(parts, options, address, false);
    const struct account_verb *verb = account_verb_find(options->verb);
    if (verb == NULL)
        return command_fail(EX_USAGE, "%s", usage);
    int rc = admin_audit(parts, verb->event, NULL, address);
    if (rc == 0)
        rc = admin_done(parts, verb->act(parts->store, address), verb->event, NULL, address);
    if (rc == 0 && verb->notice != NULL)
        owner_tell(parts, address, verb->notice);
    if (rc == -ENOENT)
        return command_fail(EX_NOUSER, "%s has no account", address);
    if (rc == -EACCES)
        return command_fail(EX_NOPERM, "%s is the last administrator: make another one first",
                            address);
    return rc == 0 ? 0 : command_fail(EX_IOERR, "%s: %s", address, strerror(-rc));
}

typedef int admin_do(const struct command_parts *parts, const struct admin_options *options,
                     const char *usage);

static int admin_run(int argc, char **argv, const char *usage, admin_do *action)
{
    struct admin_options options;
    struct command_parts parts;
    int status = options_read(&options, argc, argv, usage);
    if (status == 0)
        status = command_open(&parts, options.config);
    if (status != 0)
        return status;
    status = action(&parts, &options, usage);
    command_close(&parts);
    return status;
}

int command_account(int argc, char **argv)
{
    return admin_run(argc, argv,
                     "usage: bulla-keyd account [--config FILE] list | add [--password-file FILE] "
                     "ADDRESS | password [--password-file FILE] ADDRESS | remove ADDRESS | disable "
                     "ADDRESS | enable ADDRESS | "
                     "sign-out ADDRESS | reset-factor ADDRESS | remove-passkeys ADDRESS",
                     account_do);
}

static void engine_print(void *context, const struct store_engine *engine)
{
    char created[32];
    char fingerprint[2 * STORE_HASH_BYTES + 1];
    (void)context;
    admin_time(created, engine->created_unix_ms);
    api_to_hex(fingerprint, engine->fingerprint, STORE_HASH_BYTES);
    (void)printf("%s  %-8s  %.16s  %s\n", created,
                 engine->revoked_unix_ms == 0 ? "enrolled" : "revoked", fingerprint, engine->name);
}

static int engine_add(const struct command_parts *parts, const char *name)
{
    char code[ENROL_CODE_BYTES];
    uint8_t hash[STORE_HASH_BYTES];
    if (enrol_code_make(code, hash) != 0)
        return command_fail(EX_OSERR, "no random numbers");
    int rc = admin_audit(parts, "engine_add", NULL, name);
    if (rc == 0)
        rc = admin_done(parts,
                        store_enrol_add(parts->store, hash, name, api_now_ms() + ENROL_LIFE_MS),
                        "engine_add", NULL, name);
    if (rc != 0)
        return command_fail(EX_IOERR, "%s: %s", name, strerror(-rc));
    (void)printf("%s\n", code);
    if (isatty(STDOUT_FILENO))
        (void)fprintf(stderr,
                      "Works once, for an hour: bulla provision --key-service URL --ca ca.crt "
                      "--code - --out DIR\n");
    return 0;
}

static int engine_do(const struct command_parts *parts, const struct admin_options *options,
                     const char *usage)
{
    if (strcmp(options->verb, "list") == 0 && options->name == NULL)
        return store_engine_list(parts->store, engine_print, NULL) == 0 ? 0 : EX_IOERR;
    if (options->name == NULL)
        return command_fail(EX_USAGE, "%s", usage);
    if (!pki_name_valid(options->name))
        return command_fail(EX_DATAERR, "\"%s\": a name has letters, digits, '.', '-' and '_'",
                            options->name);
    if (strcmp(options->verb, "add") == 0)
        return engine_add(parts, options->name);
    if (strcmp(options->verb, "revoke") != 0)
        return command_fail(EX_USAGE, "%s", usage);
    int rc = admin_audit(parts, "engine_revoke", NULL, options->name);
    if (rc == 0)
        rc = admin_done(parts, store_engine_revoke(parts->store, options->name, api_now_ms()),
                        "engine_revoke", NULL, options->name);
    if (rc == -ENOENT)
        return command_fail(EX_NOUSER, "no engine \"%s\" is enrolled", options->name);
    return rc == 0 ? 0 : command_fail(EX_IOERR, "%s: %s", options->name, strerror(-rc));
}

int command_engine(int argc, char **argv)
{
    return admin_run(argc, argv,
                     "usage: bulla-keyd engine [--config FILE] list | add NAME | revoke NAME",
                     engine_do);
}

static int line_write(void *context, const char *line, size_t line_bytes)
{
    return fwrite(line, 1, line_bytes, context) == line_bytes ? 0 : -EIO;
}

/* Whole and on stable storage, or an error: "-" is standard output. */
static int audit_export(const char *place, const char *path)
{
    const bool out = strcmp(path, "-") == 0;
    const int fd = out ? STDOUT_FILENO : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *file = fd < 0 ? NULL : out ? stdout : fdopen(fd, "w");
    if (file == NULL)
        return command_fail(EX_CANTCREAT, "%s: %s", path, strerror(errno));
    int rc = audit_each(place, 0, line_write, file);
    if (rc == 0 && (fflush(file) != 0 || (!out && fsync(fd) != 0)))
        rc = -errno;
    if (!out && fclose(file) != 0 && rc == 0)
        rc = -errno;
    return rc == 0 ? 0 : command_fail(EX_IOERR, "%s: %s", path, strerror(-rc));
}

/* A database's address may hold a password: it is not repeated. */
static int audit_check_print(const char *place)
{
    struct audit_check check;
    const char *name = store_is_url(place) ? "the database" : place;
    const int rc = audit_verify(place, &check);
    if (rc == -EBADMSG)
        return command_fail(EX_DATAERR, "%s: the chain breaks at line %" PRIu64, name,
                            check.bad_line);
    if (rc != 0)
        return command_fail(EX_NOINPUT, "%s: %s", name, strerror(-rc));
    (void)printf("%" PRIu64 " lines, unbroken, up to %s\n", check.lines_count, check.hash);
    return 0;
}

int command_audit(int argc, char **argv)
{
    static const char usage[] =
        "usage: bulla-keyd audit [--config FILE] verify [LOG] | export FILE";
    char why[CONFIG_WHY_BYTES];
    struct admin_options options;
    struct config config;
    const int status = options_read(&options, argc, argv, usage);
    if (status != 0)
        return status;
    const bool verify = strcmp(options.verb, "verify") == 0;
    if (!verify && (strcmp(options.verb, "export") != 0 || options.name == NULL))
        return command_fail(EX_USAGE, "%s", usage);
    if (verify && options.name != NULL)
        return audit_check_print(options.name);
    if (config_read(&config, options.config, why) != 0)
        return command_fail(EX_CONFIG, "%s", why);
    return verify ? audit_check_print(config.audit) : audit_export(config.audit, options.name);
}
