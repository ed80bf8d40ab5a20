#include "keyservice/server/serve_confine.h"

#include "base/log.h"
#include "keyservice/server/command/command.h"
#include "keyservice/server/confine.h"
#include "keyservice/server/store/store.h"

#include <errno.h>
#include <libgen.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define PORT_DOMAIN     53 /* long answers of a name server come over TCP */
#define PORT_SMTP       25
#define PORT_SMTPS      465
#define PORT_POSTGRESQL 5432
#define FOLDERS_MAX     4

/* The places that settings name, while they are gathered. */
struct places {
    struct confine_path paths[CONFINE_PATHS_MAX];
    uint32_t paths_count;
    uint16_t ports[CONFINE_PORTS_MAX];
    uint32_t ports_count;
    char folders[FOLDERS_MAX][CONFIG_PATH_BYTES];
    uint32_t folders_count;
    PQconninfoOption *options; /* of the database's URL: its texts are borrowed */
};

static int path_add(struct places *places, const char *path, enum confine_right right)
{
    if (path == NULL || path[0] == '\0')
        return 0;
    if (places->paths_count == CONFINE_PATHS_MAX)
        return -E2BIG;
    places->paths[places->paths_count++] = (struct confine_path){.path = path, .right = right};
    return 0;
}

/* The folder of a file that is made, or that others are made beside. */
static int folder_add(struct places *places, const char *path)
{
    char copy[CONFIG_PATH_BYTES];
    if (path == NULL)
        return 0;
    if (places->folders_count == FOLDERS_MAX)
        return -E2BIG;
    char *folder = places->folders[places->folders_count++];
    if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy))
        return -ENAMETOOLONG;
    (void)snprintf(folder, CONFIG_PATH_BYTES, "%s", dirname(copy));
    return path_add(places, folder, CONFINE_WRITES);
}

/* "5432", or several behind one another with commas. */
static int ports_add(struct places *places, const char *text, uint16_t otherwise)
{
    if (text == NULL || text[0] == '\0') {
        if (places->ports_count == CONFINE_PORTS_MAX)
            return -E2BIG;
        places->ports[places->ports_count++] = otherwise;
        return 0;
    }
    for (const char *at = text; *at != '\0';) { /* a number a turn: the text's end bounds it */
        char *end = NULL;
        const unsigned long port = strtoul(at, &end, 10);
        if (end == at || port == 0 || port > UINT16_MAX || places->ports_count == CONFINE_PORTS_MAX)
            return -EINVAL;
        places->ports[places->ports_count++] = (uint16_t)port;
        at = *end == ',' ? end + 1 : end;
        if (*end != ',' && *end != '\0')
            return -EINVAL;
    }
    return 0;
}

/* smtp://HOST or smtp://HOST:PORT, as config_read() has looked for. */
static int relay_add(struct places *places, const char *url)
{
    char port[8] = "";
    if (url[0] == '\0')
        return 0;
    const char *host = strstr(url, "://") + 3;
    const char *bracket = strchr(host, ']');
    const char *colon = strrchr(bracket == NULL ? host : bracket, ':');
    if (colon != NULL)
        (void)snprintf(port, sizeof(port), "%.*s", (int)strspn(colon + 1, "0123456789"), colon + 1);
    return ports_add(places, port, strncmp(url, "smtps:", 6) == 0 ? PORT_SMTPS : PORT_SMTP);
}

static const char *option_value(const PQconninfoOption *options, const char *name)
{
    for (; options != NULL && options->keyword != NULL; options++)
        if (strcmp(options->keyword, name) == 0)
            return options->val;
    return NULL;
}

static int database_add(struct places *places, const char *database)
{
    static const char *const files[] = {"passfile", "sslcert", "sslkey", "sslrootcert", "sslcrl"};
    if (!store_is_url(database))
        return folder_add(places, database);
    places->options = PQconninfoParse(database, NULL);
    /* store_open() tells about a URL that cannot be read, without its password. */
    int rc = ports_add(places, option_value(places->options, "port"), PORT_POSTGRESQL);
    for (size_t i = 0; rc == 0 && i < ARRAY_COUNT(files); i++)
        rc = path_add(places, option_value(places->options, files[i]), CONFINE_READS);
    return rc;
}

/* A master key that is added becomes a new file of the same name: the folder, not the file. */
static int key_folder_add(struct places *places, const char *path)
{
    char copy[CONFIG_PATH_BYTES];
    if (places->folders_count == FOLDERS_MAX)
        return -E2BIG;
    char *folder = places->folders[places->folders_count++];
    (void)snprintf(copy, sizeof(copy), "%s", path);
    (void)snprintf(folder, CONFIG_PATH_BYTES, "%s", dirname(copy));
    return path_add(places, folder, CONFINE_READS);
}

static int places_fill(struct places *places, const struct config *config, const char *ports_file)
{
    int rc = database_add(places, config->database);
    if (rc == 0)
        rc = folder_add(places, config->audit_file);
    if (rc == 0)
        rc = folder_add(places, ports_file);
    if (rc == 0)
        rc = path_add(places, config->mail_spool_dir, CONFINE_WRITES);
    if (rc == 0)
        rc = key_folder_add(places, config->master_key_file);
    if (rc == 0)
        rc = path_add(places, config->ca_certificate_file, CONFINE_READS);
    if (rc == 0)
        rc = path_add(places, config->ca_key_file, CONFINE_READS);
    if (rc == 0)
        rc = path_add(places, config->smtp_ca_file, CONFINE_READS);
    if (rc == 0)
        rc = ports_add(places, "", PORT_DOMAIN);
    if (rc == 0)
        rc = relay_add(places, config->smtp_relay);
    return rc;
}

int serve_confine(const struct config *config, const char *ports_file)
{
    struct places places = {0};
    struct confine_result result = {0};
    char why[CONFINE_WHY_BYTES] = "a path or a port in the settings cannot be read";
    int rc = confine_user(config->user, why);
    if (rc != 0)
        return command_fail(EX_NOUSER, "%s", why);
    if (config->confine == CONFIG_CONFINE_NO)
        return 0;
    rc = places_fill(&places, config, ports_file);
    const struct confine_config confine = {.paths = places.paths,
                                           .paths_count = places.paths_count,
                                           .ports = places.ports,
                                           .ports_count = places.ports_count};
    if (rc == 0)
        rc = confine_files(&confine, &result, why);
    const bool goes_on = rc == -ENOTSUP && config->confine == CONFIG_CONFINE_TRY;
    if (rc == 0 || goes_on)
        rc = confine_calls(&result, why);
    PQconninfoFree(places.options);
    if (rc != 0)
        return command_fail(EX_OSERR,
                            "cannot be confined: %s; \"confine\" in the settings says what "
                            "happens then",
                            why);
    log_line(goes_on ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, "confined", "landlock=%d seccomp=%s",
             result.landlock, result.seccomp ? "yes" : "no");
    return 0;
}
