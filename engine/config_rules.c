#include "engine/config_rules.h"

#include "base/macros.h"
#include "engine/config.h"

#define ROOM(type, field) offsetof(struct type, field), sizeof(((struct type *)0)->field)
#define TEXT(type, name, field, kind, mend)                                                        \
    {                                                                                              \
        name, kind, ROOM(type, field), 0, 0, NULL, mend                                            \
    }
#define NUMBER(type, name, field, kind, least, most, mend)                                         \
    {                                                                                              \
        name, kind, ROOM(type, field), least, most, NULL, mend                                     \
    }
#define FLAG(type, name, field) TEXT(type, name, field, RULE_BOOL, "write yes or no")
#define CHOICE(type, name, field, choices, mend)                                                   \
    {                                                                                              \
        name, RULE_CHOICE, ROOM(type, field), 0, 0, choices, mend                                  \
    }

#define MEND_FILE  "name a file that the engine's user can read"
#define MEND_SHORT "shorten it and take control characters out"

_Static_assert(sizeof(enum config_hugepages) == sizeof(uint32_t), "stored as uint32_t");
_Static_assert(sizeof(enum log_level) == sizeof(uint32_t), "stored as uint32_t");
_Static_assert(sizeof(enum profile_level) == sizeof(uint32_t), "stored as uint32_t");

static const struct rule_choice choices_hugepages[] = {{"auto", CONFIG_HUGEPAGES_AUTO},
                                                       {"on", CONFIG_HUGEPAGES_ON},
                                                       {"off", CONFIG_HUGEPAGES_OFF},
                                                       {NULL, 0}};
static const struct rule_choice choices_log_level[] = {{"error", LOG_LEVEL_ERROR},
                                                       {"warning", LOG_LEVEL_WARNING},
                                                       {"info", LOG_LEVEL_INFO},
                                                       {"debug", LOG_LEVEL_DEBUG},
                                                       {NULL, 0}};
static const struct rule_choice choices_level[] = {{"high", PROFILE_LEVEL_HIGH},
                                                   {"medium", PROFILE_LEVEL_MEDIUM},
                                                   {"none", PROFILE_LEVEL_NONE},
                                                   {NULL, 0}};

#define ENGINE(name, field, kind, mend) TEXT(config_engine, name, field, kind, mend)
const struct rule config_rules_engine[] = {
    ENGINE("socket", socket, RULE_TEXT, "a socket's path is at most 103 bytes: " MEND_SHORT),
    ENGINE("socket_mode", socket_mode, RULE_MODE, "write an octal mode such as 0660"),
    ENGINE("socket_group", socket_group, RULE_TEXT, MEND_SHORT),
    ENGINE("allow_users", allow_uids, RULE_USERS, "create the user or take it out"),
    ENGINE("allow_groups", allow_gids, RULE_GROUPS, "create the group or take it out"),
    NUMBER(config_engine, "workers", workers, RULE_U32, 0, CONFIG_WORKERS_MAX,
           "write 0 (all cores but one of each node) to 64"),
    FLAG(config_engine, "busy_poll", busy_poll),
    NUMBER(config_engine, "spin_us", spin_us, RULE_U32, 0, 10000, "write 0 to 10000 microseconds"),
    CHOICE(config_engine, "hugepages", hugepages, choices_hugepages, "write auto, on or off"),
    NUMBER(config_engine, "output_arena", output_arena_bytes, RULE_SIZE, UINT64_C(1) << 20,
           UINT64_C(1) << 30, "write 1MB to 1GB, or leave it out"),
    NUMBER(config_engine, "session_memory", session_memory_bytes, RULE_SIZE, UINT64_C(16) << 20,
           UINT64_C(1) << 42, "write 16MB to 4096GB, or leave it out"),
    NUMBER(config_engine, "sessions_per_user", sessions_per_user, RULE_U32, 1, 256,
           "write 1 to 256"),
    NUMBER(config_engine, "jobs", jobs_count, RULE_U32, 32, 16384, "write 32 to 16384"),
    NUMBER(config_engine, "key_wait", key_wait_s, RULE_TIME, 1, 3600, "write 1s to 1h"),
    NUMBER(config_engine, "drain", drain_s, RULE_TIME, 1, 600, "write 1s to 10min"),
    FLAG(config_engine, "io_uring", io_uring),
    CHOICE(config_engine, "log_level", log_level, choices_log_level,
           "write error, warning, info or debug"),
    ENGINE("message_id_host", message_id_host, RULE_TEXT, MEND_SHORT),
    ENGINE("spool", spool, RULE_FOLDER, "make a folder that only the engine's user can enter"),
    ENGINE("spool_key", spool_key, RULE_SECRET, "make one: bullad --make-spool-key FILE"),
    NUMBER(config_engine, "spool_size", spool_bytes, RULE_SIZE, UINT64_C(64) << 20,
           UINT64_C(1) << 44, "write 64MB to 16384GB"),
    NUMBER(config_engine, "spool_segment", spool_segment_bytes, RULE_SIZE, UINT64_C(4) << 20,
           UINT64_C(1) << 30, "write 4MB to 1GB"),
};
const size_t config_rules_engine_count = ARRAY_COUNT(config_rules_engine);

#define KEYS(name, field, kind, mend) TEXT(config_key_service, name, field, kind, mend)
const struct rule config_rules_key_service[] = {
    KEYS("url", url, RULE_TEXT, MEND_SHORT),
    KEYS("engine_url", engine_url, RULE_TEXT, MEND_SHORT),
    KEYS("ca", ca, RULE_FILE, MEND_FILE),
    KEYS("certificate", certificate, RULE_FILE, MEND_FILE),
    KEYS("private_key", private_key, RULE_SECRET, MEND_FILE),
    KEYS("proxy", proxy, RULE_TEXT, MEND_SHORT),
    NUMBER(config_key_service, "timeout", timeout_s, RULE_TIME, 1, 300, "write 1s to 5min"),
};
const size_t config_rules_key_service_count = ARRAY_COUNT(config_rules_key_service);

#define PROFILE(name, field, kind, mend) TEXT(profile, name, field, kind, mend)
#define SELECT(name, kind)                                                                         \
    {                                                                                              \
        name, RULE_SELECT, 0, 0, kind, 0, NULL, ""                                                 \
    }
const struct rule config_rules_profile[] = {
    {"key_service", RULE_KEY_SERVICE, 0, CONFIG_NAME_BYTES, 0, 0, NULL, "name a key_service"},
    CHOICE(profile, "level", level, choices_level, "write high, medium or none"),
    PROFILE("algorithm", algorithm, RULE_ALGORITHM, "write aes-256 or aes-192"),
    FLAG(profile, "read_receipt", read_receipt),
    FLAG(profile, "reply", reply),
    FLAG(profile, "reply_all", reply_all),
    FLAG(profile, "forward", forward),
    FLAG(profile, "remember_key", remember_key),
    FLAG(profile, "hide_subject", hide_subject),
    FLAG(profile, "keep_references", keep_references),
    FLAG(profile, "compress", compress),
    FLAG(profile, "browser_decryption", browser_decryption),
    FLAG(profile, "script", use_script),
    FLAG(profile, "header_overrides", allow_header_overrides),
    NUMBER(profile, "wait", wait_s, RULE_TIME, 1, UINT64_C(30) * 86400, "write 1s to 30d"),
    NUMBER(profile, "expires_after", expires_after_s, RULE_TIME, 0, UINT32_MAX,
           "write a time such as 90d, or 0 for never"),
    NUMBER(profile, "size_limit", mail_bytes_max, RULE_SIZE, 1, UINT64_C(256) << 20,
           "write a size such as 25MB, at most 256MB"),
    NUMBER(profile, "size_warning", mail_bytes_warn, RULE_SIZE, 1, UINT64_C(256) << 20,
           "write a size such as 10MB, at most 256MB"),
    PROFILE("locale", locale, RULE_TEXT, "write a language such as en or de"),
    PROFILE("logo", logo_file, RULE_FILE, MEND_FILE),
    PROFILE("logo_link", logo_link, RULE_TEXT, MEND_SHORT),
    PROFILE("payload_transport_url", payload_transport_url, RULE_TEXT, MEND_SHORT),
    PROFILE("text_template", text_template, RULE_FILE, MEND_FILE),
    PROFILE("html_template", html_template, RULE_FILE, MEND_FILE),
    PROFILE("failure_template", failure_template, RULE_FILE, MEND_FILE),
    PROFILE("notification_subject", notification_subject, RULE_TEXT, MEND_SHORT),
    PROFILE("failure_subject", failure_subject, RULE_TEXT, MEND_SHORT),
    SELECT("seal", SELECT_SCOPE),
    SELECT("seal_subject", SELECT_SUBJECT),
    SELECT("seal_header", SELECT_HEADER),
    SELECT("seal_senders", SELECT_SENDER),
    SELECT("seal_recipients", SELECT_RECIPIENT),
};
const size_t config_rules_profile_count = ARRAY_COUNT(config_rules_profile);

#define MILTER(name, field, kind, mend) TEXT(config_milter, name, field, kind, mend)
const struct rule config_rules_milter[] = {
    MILTER("socket", socket, RULE_TEXT, "write inet:port@host or unix:/path, at most 127 bytes"),
    MILTER("socket_mode", socket_mode, RULE_MODE, "write an octal mode such as 0660"),
    MILTER("socket_group", socket_group, RULE_TEXT, MEND_SHORT),
    MILTER("reinject", reinject, RULE_HOST_PORT,
           "write host:port, such as 127.0.0.1:10026, or \"\" if nothing may be kept"),
    MILTER("hostname", hostname, RULE_TEXT, MEND_SHORT),
    MILTER("trust_networks", trust_networks, RULE_NETWORKS,
           "write networks such as 192.0.2.0/24 with no bit set after the prefix"),
    MILTER("mark_key", mark_key, RULE_MILTER_SECRET,
           "make one: openssl rand -out FILE 32; chmod 600 FILE"),
    FLAG(config_milter, "trust_authenticated", trust_authenticated),
    NUMBER(config_milter, "timeout", timeout_s, RULE_TIME, 1, 3600, "write 1s to 1h"),
    NUMBER(config_milter, "drain", drain_s, RULE_TIME, 1, 600, "write 1s to 10min"),
    NUMBER(config_milter, "connections", connections, RULE_U32, 1, 64, "write 1 to 64"),
    NUMBER(config_milter, "memory", memory_bytes, RULE_SIZE, UINT64_C(16) << 20, UINT64_C(1) << 40,
           "write 16MB to 1024GB"),
    CHOICE(config_milter, "log_level", log_level, choices_log_level,
           "write error, warning, info or debug"),
};
const size_t config_rules_milter_count = ARRAY_COUNT(config_rules_milter);

void config_rules_milter_init(struct config_milter *milter)
{
    const uint8_t loopback[4] = {127, 0, 0, 0};
    *milter = (struct config_milter){
        .socket = "unix:/run/bulla-milter/milter.sock",
        .socket_mode = 0660,
        .reinject = "127.0.0.1:10026",
        .trust_authenticated = true,
        .timeout_s = 120,
        .drain_s = 30,
        .connections = 4,
        .memory_bytes = UINT64_C(1) << 30,
        .log_level = LOG_LEVEL_INFO,
    };
    network_from_ipv4(loopback, milter->trust_networks[0].address);
    milter->trust_networks[0].prefix_bits = 96 + 8;
    milter->trust_networks[1].address[NETWORK_ADDRESS_BYTES - 1] = 1;
    milter->trust_networks[1].prefix_bits = 128;
    milter->trust_networks_count = 2;
}

_Static_assert(ARRAY_COUNT(config_rules_engine) < CONFIG_RULES_MAX, "room for the end mark");
_Static_assert(ARRAY_COUNT(config_rules_profile) < CONFIG_RULES_MAX, "room for the end mark");
