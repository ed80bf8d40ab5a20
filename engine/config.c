#include "engine/config.h"

#include "base/assert.h"
#include "base/uncommented.h"
#include "engine/config_rules.h"
#include "engine/config_value.h"

#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONFIG_PLACES_MAX    (PROFILES_MAX * 2 + CONFIG_KEY_SERVICES_MAX + 1)
#define CONFIG_DEPTH_MAX     8
#define CONFIG_ARENA_SPARE   (UINT64_C(4) << 20)
#define CONFIG_ARENA_MAX     (UINT64_C(1) << 30)
#define CONFIG_SEGMENT_STEP  (UINT64_C(1) << 20)
#define CONFIG_ARENA_LARGEST 2 /* of the largest messages, sealed side by side */
#define CONFIG_ENVELOPE_FIXED                                                                      \
    (UINT64_C(1) << 20) /* header, templates, slack: far more than used                            \
                         */

/* Where something stood, for faults that show only when the whole file is known. */
struct place {
    char what[32];
    char title[CONFIG_NAME_BYTES];
    char file[CONFIG_PATH_BYTES];
    int line;
};

/* libConfuse's callbacks carry no pointer of ours. */
static struct {
    char *why;
    bool failed;
    bool own_words;
    bool for_milter; /* each program opens the files that are its own */
    char path[CONFIG_PATH_BYTES];
    char folder[CONFIG_PATH_BYTES];
    struct place places[CONFIG_PLACES_MAX];
    uint32_t places_count;
    uint32_t depth; /* of includes */
} load;

static void load_report(cfg_t *cfg, const char *format, va_list args)
{
    if (load.failed)
        return; /* the first fault is the one to mend first */
    load.failed = true;
    const char *file = cfg != NULL && cfg->filename != NULL ? cfg->filename : load.path;
    int used = snprintf(load.why, CONFIG_WHY_BYTES, "%.255s:%d: ", file, cfg ? cfg->line : 0);
    used += vsnprintf(load.why + used, (size_t)(CONFIG_WHY_BYTES - used), format, args);
    if (!load.own_words && used < CONFIG_WHY_BYTES)
        (void)snprintf(load.why + used, (size_t)(CONFIG_WHY_BYTES - used), "%s",
                       strstr(format, "duplicate") != NULL
                           ? "; each name stands once: make the two sections one"
                           : "; bulla.conf(5) lists what may stand here");
}

static int PRINTF_LIKE(2, 3) load_fault(cfg_t *cfg, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    load.own_words = true;
    load_report(cfg, format, args);
    va_end(args);
    return -1;
}

static int PRINTF_LIKE(2, 3) load_fault_at(const struct place *place, const char *format, ...)
{
    va_list args;
    int used = place == NULL
                   ? 0
                   : snprintf(load.why, CONFIG_WHY_BYTES, "%s:%d: ", place->file, place->line);
    va_start(args, format);
    used += vsnprintf(load.why + used, (size_t)(CONFIG_WHY_BYTES - used), format, args);
    va_end(args);
    return -EINVAL;
}

static void load_mark(cfg_t *cfg, const char *what, const char *title)
{
    if (load.places_count == CONFIG_PLACES_MAX)
        return;
    struct place *place = &load.places[load.places_count++];
    (void)snprintf(place->what, sizeof(place->what), "%s", what);
    (void)snprintf(place->title, sizeof(place->title), "%s", title);
    (void)snprintf(place->file, sizeof(place->file), "%s", cfg->filename ? cfg->filename : "");
    place->line = cfg->line;
}

static const struct place *load_place(const char *what, const char *title)
{
    for (uint32_t i = 0; i < load.places_count; i++) {
        if (strcmp(load.places[i].what, what) == 0 && strcmp(load.places[i].title, title) == 0)
            return &load.places[i];
    }
    return NULL;
}

/* Relative names start at the configuration's folder. */
static int load_path(const char *text, char path[CONFIG_PATH_BYTES])
{
    const int n = text[0] == '/' ? snprintf(path, CONFIG_PATH_BYTES, "%s", text)
                                 : snprintf(path, CONFIG_PATH_BYTES, "%s/%s", load.folder, text);
    return n > 0 && n < CONFIG_PATH_BYTES ? 0 : -ENAMETOOLONG;
}

static bool text_sound(const char *text, size_t room)
{
    if (strlen(text) >= room)
        return false;
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return false;
    }
    return true;
}

static int load_store_file(const struct rule *rule, const char *text, char *dst, char why[256])
{
    char path[CONFIG_PATH_BYTES];
    struct stat status;
    if (!text_sound(text, CONFIG_PATH_BYTES) || load_path(text, path) != 0 ||
        strlen(path) >= rule->room) {
        (void)snprintf(why, 256, "the file's name is too long; %s", rule->mend);
        return -EINVAL;
    }
    if (load.for_milter != (rule->kind == RULE_MILTER_SECRET)) {
        memcpy(dst, path, strlen(path) + 1);
        return 0;
    }
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        (void)snprintf(why, 256, "%.120s cannot be read (%s); %s", path, strerror(errno),
                       rule->mend);
        return -EINVAL;
    }
    const int rc = fstat(fd, &status);
    const bool folder = rule->kind == RULE_FOLDER;
    (void)close(fd);
    if (rc != 0 || (folder ? !S_ISDIR(status.st_mode) : !S_ISREG(status.st_mode))) {
        (void)snprintf(why, 256, "%.120s is not a %s; %s", path, folder ? "folder" : "file",
                       rule->mend);
        return -EINVAL;
    }
    if ((rule->kind == RULE_SECRET || rule->kind == RULE_MILTER_SECRET) &&
        (status.st_mode & 077) != 0) {
        (void)snprintf(why, 256, "others may read %.100s; chmod 600 %.100s", path, path);
        return -EINVAL;
    }
    memcpy(dst, path, strlen(path) + 1);
    return 0;
}

/* The base of load_store: numbers by kind, between the rule's bounds. */
static int load_store_number(const struct rule *rule, const char *text, void *dst)
{
    uint64_t number;
    uint32_t mode;
    int rc;
    if (rule->kind == RULE_MODE) {
        rc = config_value_mode(text, &mode);
        number = mode;
    } else if (rule->kind == RULE_TIME) {
        rc = config_value_time(text, &number);
    } else if (rule->kind == RULE_SIZE) {
        rc = config_value_size(text, &number);
    } else {
        rc = config_value_number(text, &number);
    }
    if (rc != 0 || (rule->kind != RULE_MODE && (number < rule->least || number > rule->most)))
        return -EINVAL;
    if (rule->kind == RULE_SIZE) {
        memcpy(dst, &number, sizeof(number));
    } else {
        const uint32_t narrow = (uint32_t)number;
        memcpy(dst, &narrow, sizeof(narrow));
    }
    return 0;
}

static int load_store_choice(const struct rule *rule, const char *text, void *dst)
{
    for (const struct rule_choice *choice = rule->choices; choice->name != NULL; choice++) {
        if (strcasecmp(choice->name, text) != 0)
            continue;
        memcpy(dst, &choice->value, sizeof(choice->value));
        return 0;
    }
    return -EINVAL;
}

/* Whether it may stand in a list; select_add() keeps it when the whole file is read. */
static int load_select_check(const struct rule *rule, const char *text, char why[256])
{
    static struct select_rules trial;
    char fault[SELECT_WHY_BYTES];
    select_init(&trial);
    const int rc = select_add(&trial, (enum select_kind)rule->least, text, fault);
    if (rc != 0)
        (void)snprintf(why, 256, "%s: %s", rule->name, fault);
    return rc;
}

static bool rule_is_list(const struct rule *rule)
{
    return rule->kind == RULE_USERS || rule->kind == RULE_GROUPS || rule->kind == RULE_NETWORKS ||
           (rule->kind == RULE_SELECT && rule->least != SELECT_SCOPE);
}

/* Writes one value to where the rule says; `why` gets fault and mend. */
static int load_store(const struct rule *rule, const char *text, uint8_t *base, char why[256])
{
    void *dst = base + rule->offset;
    int rc = -EINVAL;
    bool flag;
    switch (rule->kind) {
    case RULE_FILE:
    case RULE_FOLDER:
    case RULE_SECRET:
    case RULE_MILTER_SECRET: return load_store_file(rule, text, dst, why);
    case RULE_ALGORITHM: return profile_algorithm_parse(text, dst, why);
    case RULE_SELECT: return load_select_check(rule, text, why);
    case RULE_TEXT:
    case RULE_KEY_SERVICE:
    case RULE_HOST_PORT:
        rc = text_sound(text, rule->room) ? 0 : -EINVAL;
        if (rule->kind == RULE_HOST_PORT && text[0] != '\0' && !config_value_is_host_port(text))
            rc = -EINVAL;
        if (rc == 0 && rule->kind != RULE_KEY_SERVICE)
            memcpy(dst, text, strlen(text) + 1);
        break;
    case RULE_BOOL:
        rc = config_value_bool(text, &flag);
        if (rc == 0)
            memcpy(dst, &flag, sizeof(flag));
        break;
    case RULE_CHOICE: rc = load_store_choice(rule, text, dst); break;
    case RULE_U32:
    case RULE_TIME:
    case RULE_SIZE:
    case RULE_MODE: rc = load_store_number(rule, text, dst); break;
    case RULE_USERS: rc = config_value_user(text, dst); break;
    case RULE_GROUPS: rc = config_value_group(text, dst); break;
    case RULE_NETWORKS: rc = network_parse(text, dst); break;
    }
    if (rc != 0)
        (void)snprintf(why, 256, "%s = \"%.64s\" cannot be; %s", rule->name, text, rule->mend);
    return rc;
}

static const struct rule *rules_of(const char *section, size_t *count)
{
    if (strcmp(section, "engine") == 0) {
        *count = config_rules_engine_count;
        return config_rules_engine;
    }
    if (strcmp(section, "key_service") == 0) {
        *count = config_rules_key_service_count;
        return config_rules_key_service;
    }
    if (strcmp(section, "milter") == 0) {
        *count = config_rules_milter_count;
        return config_rules_milter;
    }
    *count = config_rules_profile_count;
    return config_rules_profile;
}

/* libConfuse calls this at each value, with the place still at hand. */
static int load_validate(cfg_t *cfg, cfg_opt_t *opt)
{
    static union {
        struct config_engine engine;
        struct config_key_service key_service;
        struct profile profile;
        struct config_milter milter;
    } trial;
    size_t count;
    char why[256];
    const unsigned int values_count = cfg_opt_size(opt);
    const struct rule *rules = rules_of(cfg->name, &count);
    if (values_count == 0)
        return 0;
    const char *text = cfg_opt_getnstr(opt, values_count - 1);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rules[i].name, opt->name) != 0)
            continue;
        if (load_store(&rules[i], text, (uint8_t *)&trial, why) != 0)
            return load_fault(cfg, "%s", why);
        if (values_count > CONFIG_ALLOWED_MAX && rules[i].kind != RULE_SELECT)
            return load_fault(cfg, "%s has more than %d names; take a group", opt->name,
                              CONFIG_ALLOWED_MAX);
        if (rules[i].kind == RULE_KEY_SERVICE)
            load_mark(cfg, "reference", cfg->title);
        return 0;
    }
    return 0;
}

/* At a section's end: its name is sound, and nothing that it needs is missing. */
static int load_validate_section(cfg_t *cfg, cfg_opt_t *opt)
{
    cfg_t *section = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);
    const bool is_profile = strcmp(opt->name, "profile") == 0;
    const char *const needed_profile[] = {"key_service", NULL};
    const char *const needed_service[] = {"url", "engine_url", "certificate", "private_key", NULL};
    if (strlen(section->title) >= CONFIG_NAME_BYTES || section->title[0] == '\0')
        return load_fault(section, "a %s's name is 1 to 63 characters; rename it", opt->name);
    load_mark(section, opt->name, section->title);
    if (cfg_opt_size(opt) > (is_profile ? PROFILES_MAX : CONFIG_KEY_SERVICES_MAX))
        return load_fault(section, "there are more than %d of %s; merge some",
                          is_profile ? PROFILES_MAX : CONFIG_KEY_SERVICES_MAX, opt->name);
    const char *const *needed = is_profile ? needed_profile : needed_service;
    for (; *needed != NULL; needed++) {
        if (cfg_getstr(section, *needed) == NULL)
            return load_fault(section, "%s \"%s\" ends without %s; add %s = \"…\"", opt->name,
                              section->title, *needed, *needed);
    }
    (void)cfg;
    return 0;
}

static void load_options(cfg_opt_t options[CONFIG_RULES_MAX], const struct rule *rules,
                         size_t count)
{
    const cfg_opt_t end = CFG_END();
    for (size_t i = 0; i < count; i++) {
        const cfg_opt_t one = CFG_STR(rules[i].name, NULL, CFGF_NODEFAULT);
        const cfg_opt_t list = CFG_STR_LIST(rules[i].name, NULL, CFGF_NODEFAULT);
        options[i] = rule_is_list(&rules[i]) ? list : one;
        options[i].validcb = load_validate;
    }
    options[count] = end;
}

static int load_values(cfg_t *section, const char *name, void *base)
{
    size_t count;
    char why[256];
    const struct rule *rules = rules_of(name, &count);
    for (size_t i = 0; i < count; i++) {
        const unsigned int values_count = cfg_size(section, rules[i].name);
        for (unsigned int v = 0; v < values_count; v++) {
            const char *text = cfg_getnstr(section, rules[i].name, v);
            const size_t each =
                rules[i].kind == RULE_NETWORKS ? sizeof(struct network) : sizeof(uint32_t);
            uint8_t *at = (uint8_t *)base + v * each;
            if (text != NULL && load_store(&rules[i], text, at, why) != 0)
                return load_fault_at(NULL, "%s", why); /* it changed since it was checked */
        }
    }
    return 0;
}

static void engine_init(struct config_engine *engine)
{
    *engine = (struct config_engine){
        .socket = "/run/bulla/engine.sock",
        .socket_mode = 0660,
        .spin_us = 50,
        .hugepages = CONFIG_HUGEPAGES_AUTO,
        .sessions_per_user = 64,
        .jobs_count = 2048,
        .key_wait_s = 5,
        .drain_s = 30,
        .io_uring = true,
        .log_level = LOG_LEVEL_INFO,
        .spool_bytes = UINT64_C(16) << 30,
        .spool_segment_bytes = UINT64_C(64) << 20,
    };
}

static int load_engine(struct config *config, cfg_t *cfg)
{
    cfg_t *section = cfg_getsec(cfg, "engine");
    engine_init(&config->engine);
    if (section == NULL)
        return 0;
    config->engine.allow_uids_count = cfg_size(section, "allow_users");
    config->engine.allow_gids_count = cfg_size(section, "allow_groups");
    return load_values(section, "engine", &config->engine);
}

/* An empty list, too, is what somebody wrote: nobody is trusted then. */
static bool load_is_written(cfg_t *section, const char *name)
{
    return (cfg_getopt(section, name)->flags & CFGF_MODIFIED) != 0;
}

static int load_milter(struct config *config, cfg_t *cfg)
{
    cfg_t *section = cfg_getsec(cfg, "milter");
    struct config_milter *milter = &config->milter;
    config_rules_milter_init(milter);
    if (section != NULL && load_is_written(section, "trust_networks"))
        milter->trust_networks_count = cfg_size(section, "trust_networks");
    return section == NULL ? 0 : load_values(section, "milter", milter);
}

static int load_selection(struct select_rules *rules, cfg_t *section)
{
    char why[SELECT_WHY_BYTES];
    select_init(rules);
    for (size_t i = 0; i < config_rules_profile_count; i++) {
        const struct rule *rule = &config_rules_profile[i];
        if (rule->kind != RULE_SELECT)
            continue;
        for (unsigned int v = 0; v < cfg_size(section, rule->name); v++) {
            const char *text = cfg_getnstr(section, rule->name, v);
            if (text != NULL && select_add(rules, (enum select_kind)rule->least, text, why) != 0)
                return load_fault_at(load_place("profile", cfg_title(section)),
                                     "profile \"%.64s\": %s: %s", cfg_title(section), rule->name,
                                     why);
        }
    }
    return 0;
}

static int load_key_services(struct config *config, cfg_t *cfg)
{
    config->key_services_count = cfg_size(cfg, "key_service");
    for (uint32_t i = 0; i < config->key_services_count; i++) {
        struct config_key_service *service = &config->key_services[i];
        cfg_t *section = cfg_getnsec(cfg, "key_service", i);
        service->timeout_s = 10;
        (void)snprintf(service->name, sizeof(service->name), "%s", section->title);
        const int rc = load_values(section, "key_service", service);
        if (rc != 0)
            return rc;
        if (strncmp(service->engine_url, "https://", 8) != 0)
            return load_fault_at(load_place("key_service", service->name),
                                 "engine_url of key_service \"%s\" is not https://host:port; keys "
                                 "travel over TLS only",
                                 service->name);
    }
    return 0;
}

static int load_profile(struct config *config, uint32_t index, cfg_t *section)
{
    struct profile *profile = &config->profiles[index];
    char why[PROFILE_WHY_BYTES];
    profile_init(profile, section->title);
    profile->mail_bytes_warn = 0;
    int rc = load_values(section, "profile", profile);
    if (rc == 0)
        rc = load_selection(&config->selection[index], section);
    if (rc != 0)
        return rc;
    if (profile->mail_bytes_warn == 0)
        profile->mail_bytes_warn = MIN(UINT64_C(10) << 20, profile->mail_bytes_max);
    const char *wanted = cfg_getstr(section, "key_service");
    uint32_t found = 0;
    while (found < config->key_services_count &&
           strcmp(config->key_services[found].name, wanted) != 0)
        found++;
    if (found == config->key_services_count)
        return load_fault_at(
            load_place("reference", profile->name),
            "there is no key_service \"%.64s\"; add key_service \"%.64s\" { … } or "
            "name another",
            wanted, wanted);
    config->profile_key_service[index] = found;
    memcpy(profile->key_service_url, config->key_services[found].url,
           sizeof(profile->key_service_url));
    rc = profile_check(profile, why);
    if (rc != 0)
        return load_fault_at(load_place("profile", profile->name), "profile \"%.64s\": %s",
                             profile->name, why);
    return 0;
}

static int load_profiles(struct config *config, cfg_t *cfg)
{
    config->profiles_count = cfg_size(cfg, "profile");
    for (uint32_t i = 0; i < config->profiles_count; i++) {
        const int rc = load_profile(config, i, cfg_getnsec(cfg, "profile", i));
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* A client's output arena must hold the largest message of any profile, and small ones beside it.
 */
static int load_arena(struct config *config, cfg_t *cfg)
{
    uint64_t need = 0;
    const char *largest = "";
    for (uint32_t i = 0; i < config->profiles_count; i++) {
        const uint64_t mail_bytes = config->profiles[i].mail_bytes_max;
        /* Base64 in lines is 78/57 of its bytes; the rest are tags and fields. */
        const uint64_t bytes = mail_bytes + mail_bytes * 2 / 5 + CONFIG_ENVELOPE_FIXED;
        if (bytes > need) {
            need = bytes;
            largest = config->profiles[i].name;
        }
    }
    uint64_t *arena = &config->engine.output_arena_bytes;
    /* Each takes the most it can need until it is sealed: with room for one, the next could not
     * even be begun before the client has released it. */
    if (*arena == 0)
        *arena = MIN(CONFIG_ARENA_LARGEST * need + CONFIG_ARENA_SPARE, CONFIG_ARENA_MAX);
    *arena = (*arena + 4095) & ~UINT64_C(4095);
    if (*arena < need)
        return load_fault(
            cfg,
            "output_arena cannot hold a message of profile \"%s\" (%llu bytes); raise "
            "it or lower size_limit",
            largest, (unsigned long long)need);
    /* A waiting message stands in one segment, with the constants that it points at. */
    uint64_t *segment = &config->engine.spool_segment_bytes;
    *segment = MAX(*segment, need + need / 8 + CONFIG_ARENA_SPARE);
    *segment = (*segment + CONFIG_SEGMENT_STEP - 1) / CONFIG_SEGMENT_STEP * CONFIG_SEGMENT_STEP;
    return 0;
}

static int load_all(struct config *config, cfg_t *cfg)
{
    int rc = load_engine(config, cfg);
    if (rc == 0)
        rc = load_milter(config, cfg);
    if (rc == 0)
        rc = load_key_services(config, cfg);
    if (rc == 0 && cfg_size(cfg, "profile") == 0)
        rc =
            load_fault(cfg, "there is no profile; add profile \"default\" { key_service = \"…\" }");
    if (rc == 0)
        rc = load_profiles(config, cfg);
    if (rc == 0)
        rc = load_arena(config, cfg);
    return rc == 0 ? 0 : -EINVAL;
}

static int load_begin(const char *path, char *why, bool for_milter)
{
    char copy[CONFIG_PATH_BYTES];
    memset(&load, 0, sizeof(load));
    load.for_milter = for_milter;
    why[0] = '\0';
    load.why = why;
    if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy)) {
        (void)snprintf(why, CONFIG_WHY_BYTES, "the configuration's path is too long; move it");
        return -ENAMETOOLONG;
    }
    (void)snprintf(load.path, sizeof(load.path), "%s", path);
    (void)snprintf(load.folder, sizeof(load.folder), "%s", dirname(copy));
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status;
    if (fd >= 0 && (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))) {
        (void)close(fd);
        (void)snprintf(why, CONFIG_WHY_BYTES,
                       "%s:0: is not a file; name the configuration with --config FILE", path);
        return -EINVAL;
    }
    if (fd < 0) {
        const int rc = -errno;
        (void)snprintf(why, CONFIG_WHY_BYTES,
                       "%s:0: cannot be read (%s); name the configuration with --config FILE", path,
                       strerror(-rc));
        return rc;
    }
    (void)close(fd);
    return 0;
}

static int load_parse(cfg_t *cfg, const char *path)
{
    struct uncommented file;
    const int rc = uncommented_open(&file, path);
    if (rc != 0)
        return load_fault(cfg,
                          "%s cannot be read (%s); name a file that the engine's user can read",
                          path, strerror(-rc));
    char *const outer = cfg->filename;
    const int line = cfg->line;
    cfg->filename = strdup(path); /* cfg_free() frees the last */
    const int parsed = cfg_parse_fp(cfg, file.stream);
    uncommented_close(&file);
    if (outer != NULL) {
        free(cfg->filename);
        cfg->filename = outer;
        cfg->line = line;
    }
    return parsed;
}

static int load_include(cfg_t *cfg, cfg_opt_t *opt, int argc, const char **argv)
{
    char path[CONFIG_PATH_BYTES];
    (void)opt;
    if (argc != 1 || load_path(argv[0], path) != 0)
        return load_fault(cfg, "include takes one file: include(\"more.conf\")");
    if (load.depth == CONFIG_DEPTH_MAX)
        return load_fault(cfg, "files include each other more than %d deep; take one out",
                          CONFIG_DEPTH_MAX);
    load.depth++;
    const int parsed = load_parse(cfg, path);
    load.depth--;
    return parsed == CFG_SUCCESS ? 0 : -1;
}

/* A fault shows what stands in the file, which may be anything; it stays one line. */
static void load_make_plain(char why[CONFIG_WHY_BYTES])
{
    for (char *at = why; *at != '\0'; at++) {
        if ((uint8_t)*at < 0x20 || *at == 0x7f)
            *at = '?';
    }
}

static int load_file(struct config *config, const char *path, char why[CONFIG_WHY_BYTES],
                     bool for_milter)
{
    cfg_opt_t engine[CONFIG_RULES_MAX];
    cfg_opt_t milter[CONFIG_RULES_MAX];
    cfg_opt_t key_service[CONFIG_RULES_MAX];
    cfg_opt_t profile[CONFIG_RULES_MAX];
    int rc = load_begin(path, why, for_milter);
    if (rc != 0)
        return rc;
    load_options(engine, config_rules_engine, config_rules_engine_count);
    load_options(milter, config_rules_milter, config_rules_milter_count);
    load_options(key_service, config_rules_key_service, config_rules_key_service_count);
    load_options(profile, config_rules_profile, config_rules_profile_count);
    cfg_opt_t options[] = {
        CFG_SEC("engine", engine, CFGF_NONE),
        CFG_SEC("milter", milter, CFGF_NONE),
        CFG_SEC("key_service", key_service, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
        CFG_SEC("profile", profile, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
        CFG_FUNC("include", load_include),
        CFG_END(),
    };
    struct config *made = calloc(1, sizeof(*made));
    cfg_t *cfg = cfg_init(options, CFGF_NONE);
    if (made == NULL || cfg == NULL) {
        (void)snprintf(why, CONFIG_WHY_BYTES, "out of memory");
        rc = -ENOMEM;
        goto free_made;
    }
    (void)cfg_set_error_function(cfg, load_report);
    (void)cfg_set_validate_func(cfg, "key_service", load_validate_section);
    (void)cfg_set_validate_func(cfg, "profile", load_validate_section);
    rc = load_parse(cfg, path) == CFG_SUCCESS ? load_all(made, cfg) : -EINVAL;
    if (rc == 0)
        *config = *made;
    else if (why[0] == '\0' || (!load.failed && load.why[0] == '\0'))
        (void)snprintf(why, CONFIG_WHY_BYTES, "%s:0: cannot be read; check the file", path);
    load_make_plain(why);
    cfg_free(cfg);
free_made:
    free(made);
    return rc;
}

int config_load(struct config *config, const char *path, char why[CONFIG_WHY_BYTES])
{
    return load_file(config, path, why, false);
}

int config_load_milter(struct config *config, const char *path, char why[CONFIG_WHY_BYTES])
{
    return load_file(config, path, why, true);
}
