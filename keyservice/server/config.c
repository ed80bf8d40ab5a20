#include "keyservice/server/config.h"

#include "base/uncommented.h"
#include "keyservice/server/roles.h"

#include <arpa/inet.h>
#include <confuse.h>
#include <ctype.h>
#include <errno.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libConfuse gives its complaints to a function without a context. */
static __thread char *complaint;

static void complain(cfg_t *cfg, const char *format, va_list args)
{
    char text[CONFIG_WHY_BYTES / 2];
    (void)vsnprintf(text, sizeof(text), format, args);
    if (complaint != NULL && complaint[0] == '\0')
        (void)snprintf(complaint, CONFIG_WHY_BYTES,
                       "%s:%d: %s; bulla-keyd.conf(5) lists what may stand here",
                       cfg != NULL && cfg->filename != NULL ? cfg->filename : "configuration",
                       cfg != NULL ? cfg->line : 0, text);
}

int config_address(const char *text, struct sockaddr_storage *address, socklen_t *bytes)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    if (colon == NULL || (size_t)(colon - text) >= sizeof(host) || colon[1] == '\0' ||
        strspn(colon + 1, "0123456789") != strlen(colon + 1) || strlen(colon + 1) > 5)
        return -EINVAL;
    const unsigned long port = strtoul(colon + 1, NULL, 10);
    if (port > 65535)
        return -EINVAL;
    size_t host_chars = (size_t)(colon - text);
    const bool bracketed = host_chars > 2 && text[0] == '[' && colon[-1] == ']';
    if (bracketed) {
        text++;
        host_chars -= 2;
    }
    memcpy(host, text, host_chars);
    host[host_chars] = '\0';
    memset(address, 0, sizeof(*address));
    struct sockaddr_in *v4 = (struct sockaddr_in *)address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
    if (!bracketed && inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        *bytes = sizeof(*v4);
        return 0;
    }
    if (bracketed && inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        *bytes = sizeof(*v6);
        return 0;
    }
    return -EINVAL;
}

void config_url_host(const char *url, char host[CONFIG_TEXT_BYTES])
{
    static const char scheme[] = "https://";
    host[0] = '\0';
    if (strncmp(url, scheme, sizeof(scheme) - 1) != 0)
        return;
    const char *start = url + sizeof(scheme) - 1;
    size_t chars = strcspn(start, ":/?# ");
    if (start[0] == '[') {
        start++;
        chars = strcspn(start, "]");
        if (start[chars] != ']')
            return;
    }
    const char *rest = start + chars + (start[chars] == ']' ? 1 : 0);
    if (rest[0] == ':')
        rest += 1 + strspn(rest + 1, "0123456789");
    if (chars == 0 || chars >= CONFIG_TEXT_BYTES || rest[0] != '\0')
        return;
    memcpy(host, start, chars);
    host[chars] = '\0';
}

/* "90s", "30min", "12h", "7d" → seconds; 0 when it is not that. */
static uint32_t seconds_parse(const char *text)
{
    static const struct {
        const char *unit;
        uint32_t seconds;
    } units[] = {{"s", 1}, {"min", 60}, {"h", 3600}, {"d", 86400}};
    char *unit = NULL;
    errno = 0;
    const unsigned long number = text[0] >= '0' && text[0] <= '9' ? strtoul(text, &unit, 10) : 0;
    if (number == 0 || number > 100000 || errno != 0)
        return 0;
    for (size_t i = 0; i < ARRAY_COUNT(units); i++)
        if (strcmp(unit, units[i].unit) == 0)
            return (uint32_t)number * units[i].seconds;
    return 0;
}

static int text_set(char *dst, size_t room, cfg_t *cfg, const char *name, char *why)
{
    const char *text = cfg_getstr(cfg, name);
    const int n = snprintf(dst, room, "%s", text == NULL ? "" : text);
    if (n >= 0 && (size_t)n < room)
        return 0;
    (void)snprintf(why, CONFIG_WHY_BYTES, "%s is too long", name);
    return -EINVAL;
}

/* The index of the setting's value among `names`. */
static int name_set(uint32_t *index, cfg_t *cfg, const char *name, const char *const names[],
                    uint32_t names_count, char *why)
{
    const char *text = cfg_getstr(cfg, name);
    for (uint32_t i = 0; text != NULL && i < names_count; i++) {
        if (strcmp(text, names[i]) == 0) {
            *index = i;
            return 0;
        }
    }
    int used = snprintf(why, CONFIG_WHY_BYTES, "%s: write", name);
    for (uint32_t i = 0; i < names_count && used > 0 && used < CONFIG_WHY_BYTES; i++)
        used += snprintf(why + used, (size_t)(CONFIG_WHY_BYTES - used), "%s %s",
                         i == 0                 ? ""
                         : i + 1 == names_count ? " or"
                                                : ",",
                         names[i]);
    return -EINVAL;
}

static int names_fill(struct config *config, cfg_t *cfg, char *why)
{
    static const char *const tls_names[] = {[RELAY_TLS_TRY] = "try",
                                            [RELAY_TLS_REQUIRE] = "require",
                                            [RELAY_TLS_NONE] = "none",
                                            [RELAY_TLS_NONE + 1] = "auto"};
    static const char *const confine_names[] = {[CONFIG_CONFINE_TRY] = "try",
                                                [CONFIG_CONFINE_REQUIRE] = "require",
                                                [CONFIG_CONFINE_NO] = "no"};
    uint32_t tls = 0;
    uint32_t confine = 0;
    int rc = name_set(&tls, cfg, "smtp_tls", tls_names, ARRAY_COUNT(tls_names), why);
    if (rc == 0)
        rc = name_set(&confine, cfg, "confine", confine_names, ARRAY_COUNT(confine_names), why);
    if (tls > RELAY_TLS_NONE)
        tls = relay_near(cfg_getstr(cfg, "smtp_relay")) ? RELAY_TLS_TRY : RELAY_TLS_REQUIRE;
    config->smtp_tls = (enum relay_tls)tls;
    config->confine = (enum config_confine)confine;
    return rc;
}

static int path_set(char *dst, cfg_t *cfg, const char *name, const char *folder, char *why)
{
    const char *text = cfg_getstr(cfg, name);
    int n = 0;
    if (text == NULL || text[0] == '\0' || text[0] == '/')
        n = snprintf(dst, CONFIG_PATH_BYTES, "%s", text == NULL ? "" : text);
    else
        n = snprintf(dst, CONFIG_PATH_BYTES, "%s/%s", folder, text);
    if (n >= 0 && n < CONFIG_PATH_BYTES)
        return 0;
    (void)snprintf(why, CONFIG_WHY_BYTES, "%s is too long", name);
    return -EINVAL;
}

static int time_set(uint32_t *dst, cfg_t *cfg, const char *name, char *why)
{
    *dst = seconds_parse(cfg_getstr(cfg, name));
    if (*dst != 0)
        return 0;
    (void)snprintf(why, CONFIG_WHY_BYTES, "%s: write a time such as 30min, 12h or 7d", name);
    return -EINVAL;
}

static int count_set(uint32_t *dst, cfg_t *cfg, const char *name, long count_min, long count_max,
                     char *why)
{
    const long count = cfg_getint(cfg, name);
    if (count >= count_min && count <= count_max) {
        *dst = (uint32_t)count;
        return 0;
    }
    (void)snprintf(why, CONFIG_WHY_BYTES, "%s: write a number from %ld to %ld", name, count_min,
                   count_max);
    return -EINVAL;
}

static int database_set(struct config *config, cfg_t *cfg, const char *folder, char *why)
{
    const char *text = cfg_getstr(cfg, "database");
    if (text != NULL && store_is_url(text))
        return text_set(config->database, sizeof(config->database), cfg, "database", why);
    return path_set(config->database, cfg, "database", folder, why);
}

static int paths_fill(struct config *config, cfg_t *cfg, const char *folder, char *why)
{
    int rc = database_set(config, cfg, folder, why);
    if (rc == 0)
        rc = path_set(config->master_key_file, cfg, "master_key_file", folder, why);
    if (rc == 0)
        rc = path_set(config->audit_file, cfg, "audit_file", folder, why);
    if (rc == 0)
        memcpy(config->audit,
               store_is_url(config->database) ? config->database : config->audit_file,
               sizeof(config->audit));
    if (rc == 0)
        rc = path_set(config->certificate_file, cfg, "certificate_file", folder, why);
    if (rc == 0)
        rc = path_set(config->private_key_file, cfg, "private_key_file", folder, why);
    if (rc == 0)
        rc = path_set(config->ca_certificate_file, cfg, "ca_certificate_file", folder, why);
    if (rc == 0)
        rc = path_set(config->ca_key_file, cfg, "ca_key_file", folder, why);
    if (rc == 0)
        rc = path_set(config->mail_spool_dir, cfg, "mail_spool_dir", folder, why);
    return rc;
}

/* Who may write, to whom, and how much: docs/keyservice/write.md. */
static int write_fill(struct config *config, cfg_t *cfg, char *why)
{
    const unsigned int count = cfg_size(cfg, "write_domains");
    if (count > CONFIG_DOMAINS_MAX) {
        (void)snprintf(why, CONFIG_WHY_BYTES, "write_domains: at most %d", CONFIG_DOMAINS_MAX);
        return -EINVAL;
    }
    for (unsigned int i = 0; i < count; i++) {
        const char *domain = cfg_getnstr(cfg, "write_domains", i);
        const size_t chars = strlen(domain);
        if (chars == 0 || chars >= CONFIG_TEXT_BYTES || strpbrk(domain, "@ *") != NULL) {
            (void)snprintf(why, CONFIG_WHY_BYTES,
                           "write_domains: write domains, as {\"example.com\"}");
            return -EINVAL;
        }
        for (size_t at = 0; at <= chars; at++)
            config->write_domains[i][at] = (char)tolower((unsigned char)domain[at]);
    }
    int rc = text_set(config->contact_mailbox, sizeof(config->contact_mailbox), cfg,
                      "contact_mailbox", why);
    if (rc == 0 && config->contact_mailbox[0] != '\0' &&
        !relay_address_plain(config->contact_mailbox)) {
        (void)snprintf(why, CONFIG_WHY_BYTES, "contact_mailbox: write an address");
        rc = -EINVAL;
    }
    return rc != 0 ? rc : count_set(&config->write_size_mib, cfg, "write_size", 1, 40, why);
}

static int receive_fill(struct config *config, cfg_t *cfg, char *why)
{
    const int rc = text_set(config->receive_address, sizeof(config->receive_address), cfg,
                            "receive_address", why);
    if (rc != 0 || config->receive_address[0] == '\0')
        return rc;
    if (!relay_address_plain(config->receive_address)) {
        (void)snprintf(why, CONFIG_WHY_BYTES, "receive_address: write an address");
        return -EINVAL;
    }
    if (config->public_url[0] == '\0') {
        (void)snprintf(why, CONFIG_WHY_BYTES, "receive_address: public_url must be set, too");
        return -EINVAL;
    }
    return 0;
}

/* Roles that ask for a second factor: docs/keyservice/admin.md. */
static int factors_fill(struct config *config, cfg_t *cfg, char *why)
{
    const unsigned int count = cfg_size(cfg, "second_factor_roles");
    for (unsigned int i = 0; i < count; i++) {
        enum role role = ROLE_ADMINISTRATOR;
        if (!role_parse(&role, cfg_getnstr(cfg, "second_factor_roles", i))) {
            (void)snprintf(why, CONFIG_WHY_BYTES,
                           "second_factor_roles: write of administrator, helpdesk, auditor and "
                           "profile_administrator, as {\"auditor\"}, or {} for none");
            return -EINVAL;
        }
        config->second_factor_roles |= UINT32_C(1) << role;
    }
    return 0;
}

static int config_fill(struct config *config, cfg_t *cfg, const char *folder, char *why)
{
    int rc = paths_fill(config, cfg, folder, why);
    if (rc == 0)
        rc = text_set(config->listen, sizeof(config->listen), cfg, "listen", why);
    if (rc == 0)
        rc = text_set(config->engine_listen, sizeof(config->engine_listen), cfg, "engine_listen",
                      why);
    if (rc == 0)
        rc = text_set(config->public_url, sizeof(config->public_url), cfg, "public_url", why);
    if (rc == 0)
        rc = text_set(config->smtp_relay, sizeof(config->smtp_relay), cfg, "smtp_relay", why);
    if (rc == 0)
        rc = names_fill(config, cfg, why);
    if (rc == 0)
        rc = text_set(config->user, sizeof(config->user), cfg, "user", why);
    if (rc == 0)
        rc = path_set(config->smtp_ca_file, cfg, "smtp_ca_file", folder, why);
    if (rc == 0)
        rc = text_set(config->mail_from, sizeof(config->mail_from), cfg, "mail_from", why);
    if (rc == 0)
        rc = write_fill(config, cfg, why);
    if (rc == 0)
        rc = receive_fill(config, cfg, why);
    if (rc == 0)
        rc = factors_fill(config, cfg, why);
    if (rc == 0)
        rc = time_set(&config->session_idle_s, cfg, "session_idle", why);
    if (rc == 0)
        rc = time_set(&config->session_life_s, cfg, "session_life", why);
    if (rc == 0)
        rc = time_set(&config->request_head_s, cfg, "request_head_time", why);
    if (rc == 0)
        rc = time_set(&config->request_body_s, cfg, "request_body_time", why);
    if (rc == 0)
        rc = time_set(&config->connection_idle_s, cfg, "connection_idle", why);
    if (rc == 0)
        rc = count_set(&config->connections_max, cfg, "connections_max", 16, 100000, why);
    if (rc == 0)
        rc = count_set(&config->connections_per_address_max, cfg, "connections_per_address_max", 1,
                       100000, why);
    if (rc == 0)
        rc = count_set(&config->password_threads_count, cfg, "password_threads", 1, 16, why);
    return rc;
}

static int config_check(const struct config *config, char *why)
{
    struct sockaddr_storage address;
    socklen_t bytes;
    char host[CONFIG_TEXT_BYTES];
    config_url_host(config->public_url, host);
    if (config_address(config->listen, &address, &bytes) != 0 ||
        config_address(config->engine_listen, &address, &bytes) != 0) {
        (void)snprintf(why, CONFIG_WHY_BYTES,
                       "listen and engine_listen: write ADDRESS:PORT in numbers, as "
                       "127.0.0.1:8443 or [::1]:8443");
        return -EINVAL;
    }
    if (config->public_url[0] != '\0' && host[0] == '\0') {
        (void)snprintf(why, CONFIG_WHY_BYTES,
                       "public_url: write https://HOST or https://HOST:PORT, no final slash");
        return -EINVAL;
    }
    if (config->smtp_relay[0] != '\0' && strncmp(config->smtp_relay, "smtp://", 7) != 0 &&
        strncmp(config->smtp_relay, "smtps://", 8) != 0) {
        (void)snprintf(why, CONFIG_WHY_BYTES, "smtp_relay: write smtp://HOST:PORT");
        return -EINVAL;
    }
    return 0;
}

int config_read(struct config *config, const char *path, char why[CONFIG_WHY_BYTES])
{
    cfg_opt_t options[] = {
        CFG_STR("listen", "0.0.0.0:8443", CFGF_NONE),
        CFG_STR("engine_listen", "127.0.0.1:8444", CFGF_NONE),
        CFG_STR("public_url", "", CFGF_NONE),
        CFG_STR("database", "keys.db", CFGF_NONE),
        CFG_STR("master_key_file", "master.key", CFGF_NONE),
        CFG_STR("audit_file", "audit.log", CFGF_NONE),
        CFG_STR("certificate_file", "server.crt", CFGF_NONE),
        CFG_STR("private_key_file", "server.key", CFGF_NONE),
        CFG_STR("ca_certificate_file", "ca.crt", CFGF_NONE),
        CFG_STR("ca_key_file", "ca.key", CFGF_NONE),
        CFG_STR("smtp_relay", "", CFGF_NONE),
        CFG_STR("smtp_tls", "auto", CFGF_NONE),
        CFG_STR("smtp_ca_file", "", CFGF_NONE),
        CFG_STR("mail_spool_dir", "mail", CFGF_NONE),
        CFG_STR("mail_from", "bulla@localhost", CFGF_NONE),
        CFG_STR("user", "", CFGF_NONE),
        CFG_STR("confine", "try", CFGF_NONE),
        CFG_STR_LIST("write_domains", "{}", CFGF_NONE),
        CFG_STR_LIST("second_factor_roles",
                     "{administrator, helpdesk, auditor, profile_administrator}", CFGF_NONE),
        CFG_STR("contact_mailbox", "", CFGF_NONE),
        CFG_INT("write_size", 25, CFGF_NONE),
        CFG_STR("receive_address", "", CFGF_NONE),
        CFG_STR("session_idle", "30min", CFGF_NONE),
        CFG_STR("session_life", "12h", CFGF_NONE),
        CFG_STR("request_head_time", "20s", CFGF_NONE),
        CFG_STR("request_body_time", "60s", CFGF_NONE),
        CFG_STR("connection_idle", "75s", CFGF_NONE),
        CFG_INT("connections_max", 4096, CFGF_NONE),
        CFG_INT("connections_per_address_max", 256, CFGF_NONE),
        CFG_INT("password_threads", 2, CFGF_NONE),
        CFG_END(),
    };
    char copy[CONFIG_PATH_BYTES];
    struct uncommented file;
    int rc = 0;
    *config = (struct config){0};
    why[0] = '\0';
    if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy))
        return -ENAMETOOLONG;
    char *folder = realpath(dirname(copy), NULL);
    cfg_t *cfg = cfg_init(options, CFGF_NONE);
    if (cfg == NULL || folder == NULL) {
        (void)snprintf(why, CONFIG_WHY_BYTES, "%s: %s", path, strerror(errno));
        rc = -ENOENT;
        goto clean;
    }
    rc = uncommented_open(&file, path);
    if (rc != 0) {
        (void)snprintf(why, CONFIG_WHY_BYTES, "%s: %s", path, strerror(-rc));
        goto clean;
    }
    (void)cfg_set_error_function(cfg, complain);
    complaint = why;
    cfg->filename = strdup(path); /* cfg_free() frees it */
    rc = cfg_parse_fp(cfg, file.stream) == CFG_SUCCESS ? 0 : -EINVAL;
    complaint = NULL;
    uncommented_close(&file);
    if (rc == 0)
        rc = config_fill(config, cfg, folder, why);
    if (rc == 0)
        rc = config_check(config, why);

clean:
    if (cfg != NULL)
        (void)cfg_free(cfg);
    free(folder);
    return rc;
}
