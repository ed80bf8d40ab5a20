/* bulla.conf: what is taken, and for each fault the file, the line and the mend. */
#include "engine/config.h"
#include "engine/config_value.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define PATH_BYTES 256

static char folder[PATH_BYTES];
static struct config config;
static char why[CONFIG_WHY_BYTES];

static void file_write(const char *name, const char *text, mode_t mode)
{
    char path[PATH_BYTES * 2];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fchmod(fileno(file), mode), 0);
    assert_int_equal(fclose(file), 0);
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof(folder), "%s/bulla-test-XXXXXX",
                   getenv("TMPDIR") == NULL ? "/tmp" : getenv("TMPDIR"));
    assert_non_null(mkdtemp(folder));
    file_write("ca.crt", "x", 0644);
    file_write("engine.crt", "x", 0644);
    file_write("engine.key", "x", 0600);
    file_write("open.key", "x", 0644);
    return 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {"ca.crt",   "engine.crt", "engine.key",
                                        "open.key", "bulla.conf", "more.conf"};
    char path[PATH_BYTES * 2];
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(folder), 0);
    return 0;
}

#define SERVICE                                                                                    \
    "key_service \"main\" {\n"                                                                     \
    "  url = \"https://keys.example.com\"\n"                                                       \
    "  engine_url = \"https://keys.example.com:8444\"\n"                                           \
    "  ca = \"ca.crt\"\n"                                                                          \
    "  certificate = \"engine.crt\"\n"                                                             \
    "  private_key = \"engine.key\"\n"                                                             \
    "}\n" /* 7 lines */
#define PROFILE "profile \"default\" {\n  key_service = \"main\"\n}\n"

static int load(const char *text)
{
    char path[PATH_BYTES * 2];
    (void)snprintf(path, sizeof(path), "%s/bulla.conf", folder);
    file_write("bulla.conf", text, 0644);
    memset(&config, 0, sizeof(config));
    return config_load(&config, path, why);
}

static void config_takes_the_least_there_is(void **state)
{
    (void)state;
    const int rc = load(SERVICE PROFILE);
    if (rc != 0)
        print_error("%s\n", why);
    assert_int_equal(rc, 0);
    assert_string_equal(config.engine.socket, "/run/bulla/engine.sock");
    assert_int_equal(config.engine.socket_mode, 0660);
    assert_int_equal(config.key_services_count, 1);
    assert_int_equal(config.profiles_count, 1);
    assert_string_equal(config.profiles[0].key_service_url, "https://keys.example.com");
    assert_int_equal(config.profiles[0].mail_bytes_max, 25 * 1024 * 1024);
    /* Two of the largest messages fit a client's arena, and little beside them. */
    assert_true(config.engine.output_arena_bytes >= 72 * 1024 * 1024);
    assert_true(config.engine.output_arena_bytes <= 77 * 1024 * 1024);
    assert_int_equal(config.engine.sessions_per_user, 64);
    assert_int_equal(config.engine.session_memory_bytes, 0);
    assert_int_equal(config.key_services[0].ca[0], '/');
}

static void config_takes_every_option(void **state)
{
    (void)state;
    const int rc = load(
        "engine {\n socket = \"/run/x.sock\"\n socket_mode = 0600\n allow_users = {root, \"7\"}\n"
        " allow_groups = {root}\n workers = 3\n busy_poll = yes\n spin_us = 10\n hugepages = off\n"
        " output_arena = 128MB\n session_memory = 1GB\n sessions_per_user = 7\n jobs = 64\n "
        "key_wait = 2s\n drain = 1min\n io_uring = no\n"
        " log_level = warning\n message_id_host = mail.example.com\n}\n" SERVICE
        "profile \"high\" {\n key_service = main\n level = medium\n algorithm = aes-192\n"
        " read_receipt = yes\n reply = no\n reply_all = off\n forward = false\n remember_key = on\n"
        " hide_subject = true\n compress = on\n keep_references = no\n browser_decryption = no\n "
        "script = off\n"
        " header_overrides = yes\n failure_subject = \"not sent\"\n"
        " failure_template = \"ca.crt\"\n payload_transport_url = \"https://p.example.com:1\"\n "
        "wait = 15min\n expires_after = 90d\n size_limit = 1MB\n"
        " size_warning = 512kB\n locale = de\n logo_link = \"https://example.com/a\"\n"
        " notification_subject = \"a b\"\n text_template = \"ca.crt\"\n}\n");
    if (rc != 0)
        print_error("%s\n", why);
    assert_int_equal(rc, 0);
    assert_int_equal(config.engine.allow_uids_count, 2);
    assert_int_equal(config.engine.allow_uids[0], 0);
    assert_int_equal(config.engine.allow_uids[1], 7);
    assert_int_equal(config.engine.allow_gids_count, 1);
    assert_int_equal(config.engine.workers, 3);
    assert_true(config.engine.busy_poll);
    assert_int_equal(config.engine.hugepages, CONFIG_HUGEPAGES_OFF);
    assert_int_equal(config.engine.output_arena_bytes, 128 * 1024 * 1024);
    assert_int_equal(config.engine.session_memory_bytes, UINT64_C(1) << 30);
    assert_int_equal(config.engine.sessions_per_user, 7);
    assert_int_equal(config.engine.drain_s, 60);
    assert_false(config.engine.io_uring);
    assert_int_equal(config.engine.log_level, LOG_LEVEL_WARNING);
    const struct profile *profile = &config.profiles[0];
    assert_int_equal(profile->level, PROFILE_LEVEL_MEDIUM);
    assert_int_equal(profile->algorithm, PROFILE_AES_192);
    assert_true(profile->read_receipt);
    assert_false(profile->reply);
    assert_true(profile->hide_subject);
    assert_true(profile->compress);
    assert_int_equal(profile->wait_s, 900);
    assert_int_equal(profile->expires_after_s, 90 * 86400);
    assert_int_equal(profile->mail_bytes_max, 1024 * 1024);
    assert_int_equal(profile->mail_bytes_warn, 512 * 1024);
    assert_string_equal(profile->notification_subject, "a b");
    assert_false(profile->browser_decryption);
    assert_false(profile->use_script);
    assert_true(profile->allow_header_overrides);
    assert_string_equal(profile->failure_subject, "not sent");
    assert_int_equal(profile->failure_template[0], '/');
    assert_string_equal(profile->payload_transport_url, "https://p.example.com:1");
}

static void config_reads_includes_beside_itself(void **state)
{
    (void)state;
    file_write("more.conf", PROFILE "profile \"second\" {\n  key_service = \"main\"\n}\n", 0644);
    const int rc = load(SERVICE "include(\"more.conf\")\n");
    if (rc != 0)
        print_error("%s\n", why);
    assert_int_equal(rc, 0);
    assert_int_equal(config.profiles_count, 2);
}

struct fault {
    const char *text;
    const char *place; /* the end of FILE:LINE */
    const char *fault;
    const char *mend;
};

static const struct fault faults[] = {
    {"engine {\n workers = many\n}\n", "bulla.conf:2:", "workers", "write 0"},
    {"engine {\n workers = 65\n}\n", "bulla.conf:2:", "workers", "write 0"},
    {"engine {\n\n socket_mode = 999\n}\n", "bulla.conf:3:", "socket_mode", "octal"},
    {"engine {\n busy_poll = maybe\n}\n", "bulla.conf:2:", "busy_poll", "yes or no"},
    {"engine {\n hugepages = some\n}\n", "bulla.conf:2:", "hugepages", "auto, on or off"},
    {"engine {\n log_level = loud\n}\n", "bulla.conf:2:", "log_level", "debug"},
    {"engine {\n key_wait = 0s\n}\n", "bulla.conf:2:", "key_wait", "1s to 1h"},
    {"engine {\n output_arena = 12 parsecs\n}\n", "bulla.conf:2:", "output_arena", "1MB to 1GB"},
    {"engine {\n session_memory = 1MB\n}\n", "bulla.conf:2:", "session_memory", "16MB to"},
    {"engine {\n sessions_per_user = 0\n}\n", "bulla.conf:2:", "sessions_per_user", "1 to 256"},
    {"engine {\n allow_users = {\"nobody-of-that-name\"}\n}\n", "bulla.conf:2:", "allow_users",
     "create the user"},
    {"engine {\n allow_groups = {\"nobody-of-that-name\"}\n}\n", "bulla.conf:2:", "allow_groups",
     "create the group"},
    {"milter {\n trust_networks = {\"192.0.2.1/24\"}\n}\n", "bulla.conf:2:", "trust_networks",
     "192.0.2.0/24"},
    {"milter {\n reinject = \"127.0.0.1\"\n}\n", "bulla.conf:2:", "reinject", "127.0.0.1:10026"},
    {"milter {\n connections = 0\n}\n", "bulla.conf:2:", "connections", "1 to 64"},
    {"profile \"p\" {\n seal = some\n}\n", "bulla.conf:2:", "seal", "all or selected"},
    {"profile \"p\" {\n seal_senders = {\"example.com\"}\n}\n", "bulla.conf:2:", "seal_senders",
     "@domain"},
    {"profile \"p\" {\n seal_header = {\"no header\"}\n}\n", "bulla.conf:2:", "seal_header",
     "Name: value"},
    {"engine {\n colour = blue\n}\n", "bulla.conf:2:", "colour", "bulla.conf(5)"},
    {"engine {\n workers\n}\n", "bulla.conf:", "", "bulla.conf(5)"},
    {"# a\n// b\n/* c\n d */\nengine { # e\n ## f\n workers = many # g\n}\n",
     "bulla.conf:7:", "workers", "write 0"},
    {"profile \"p\" {\n seal_senders = {\"a@x\", # first\n \"example.com\"}\n}\n",
     "bulla.conf:3:", "seal_senders", ""},
    {"motor {\n}\n", "bulla.conf:1:", "motor", "bulla.conf(5)"},
    {"key_service \"main\" {\n}\n", "bulla.conf:2:", "without url", "add url"},
    {"key_service \"main\" {\n url = \"https://a\"\n engine_url = \"https://a\"\n certificate "
     "= "
     "\"engine.crt\"\n private_key = \"none.key\"\n}\n",
     "bulla.conf:5:", "none.key", "can read"},
    {"key_service \"main\" {\n url = \"https://a\"\n engine_url = \"https://a\"\n certificate "
     "= "
     "\"engine.crt\"\n private_key = \"open.key\"\n}\n",
     "bulla.conf:5:", "others may read", "chmod 600"},
    {"key_service \"main\" {\n url = \"https://a\"\n engine_url = \"http://a\"\n certificate = "
     "\"engine.crt\"\n private_key = \"engine.key\"\n}\n" PROFILE,
     "bulla.conf:6:", "engine_url", "TLS only"},
    {SERVICE SERVICE PROFILE, "bulla.conf:", "main", "make the two sections one"},
    {SERVICE, "bulla.conf:", "no profile", "add profile"},
    {SERVICE "profile \"default\" {\n}\n", "bulla.conf:9:", "without key_service", "add "},
    {SERVICE "profile \"default\" {\n key_service = \"other\"\n}\n",
     "bulla.conf:9:", "no key_service \"other\"", "name another"},
    {SERVICE "profile \"a b\" {\n key_service = \"main\"\n}\n", "bulla.conf:10:", "name",
     "rename it"},
    {SERVICE "profile \"x\" {\n key_service = main\n algorithm = rc4\n}\n",
     "bulla.conf:10:", "rc4 is refused", "take aes-256"},
    {SERVICE "profile \"x\" {\n key_service = main\n level = top\n}\n", "bulla.conf:10:", "level",
     "high, medium or none"},
    {SERVICE "profile \"x\" {\n key_service = main\n size_limit = 1TB\n}\n",
     "bulla.conf:10:", "size_limit", "at most 256MB"},
    {SERVICE "profile \"x\" {\n key_service = main\n size_warning = 26MB\n}\n",
     "bulla.conf:11:", "size_warning", "lower it"},
    {SERVICE "profile \"x\" {\n key_service = main\n script = perhaps\n}\n",
     "bulla.conf:10:", "script", "yes or no"},
    {SERVICE "profile \"x\" {\n key_service = main\n browser_decryption = 2\n}\n",
     "bulla.conf:10:", "browser_decryption", "yes or no"},
    {SERVICE "profile \"x\" {\n key_service = main\n header_overrides = some\n}\n",
     "bulla.conf:10:", "header_overrides", "yes or no"},
    {SERVICE "profile \"x\" {\n key_service = main\n failure_template = \"none.txt\"\n}\n",
     "bulla.conf:10:", "none.txt", "can read"},
    {SERVICE "profile \"x\" {\n key_service = main\n payload_transport_url = "
             "\"http://p.example.com\"\n}\n",
     "bulla.conf:11:", "payload_transport_url is not https://host", "leave it out"},
    {SERVICE "profile \"x\" {\n key_service = main\n payload_transport_url = "
             "\"https://p.example.com/in\"\n}\n",
     "bulla.conf:11:", "payload_transport_url is not https://host", "leave it out"},
    {SERVICE "profile \"x\" {\n key_service = main\n wait = 31d\n}\n", "bulla.conf:10:", "wait",
     "30d"},
    {SERVICE "profile \"x\" {\n key_service = main\n logo = \"none.png\"\n}\n",
     "bulla.conf:10:", "none.png", "can read"},
    {SERVICE "profile \"x\" {\n key_service = main\n locale = \"12\"\n}\n",
     "bulla.conf:11:", "locale", "en or de"},
    {"engine {\n output_arena = 2MB\n}\n" SERVICE PROFILE, "bulla.conf:", "output_arena",
     "lower size_limit"},
};

static void config_names_file_line_and_mend(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(faults); i++) {
        const int rc = load(faults[i].text);
        if (rc != -EINVAL || strstr(why, faults[i].place) == NULL ||
            strstr(why, faults[i].fault) == NULL || strstr(why, faults[i].mend) == NULL)
            print_error("fault %zu (%s … %s): %d \"%s\"\n", i, faults[i].fault, faults[i].mend, rc,
                        why);
        assert_int_equal(rc, -EINVAL);
        assert_non_null(strstr(why, faults[i].place));
        assert_non_null(strstr(why, faults[i].fault));
        assert_non_null(strstr(why, faults[i].mend));
        assert_int_equal(config.profiles_count, 0); /* untouched */
    }
}

static void config_fault_stays_one_line_whatever_it_shows(void **state)
{
    (void)state;
    assert_int_equal(load("engine {\n workers = \"a\nb\\x7fc\"\n}\n" SERVICE PROFILE), -EINVAL);
    assert_non_null(strstr(why, "a?b?c"));
    assert_null(strchr(why, '\n'));
}

static void config_names_the_included_file_of_a_fault(void **state)
{
    (void)state;
    file_write("more.conf", "profile \"x\" {\n key_service = main\n level = top\n}\n", 0644);
    assert_int_equal(load(SERVICE "include(\"more.conf\")\n"), -EINVAL);
    assert_non_null(strstr(why, "more.conf:3:"));
    assert_int_equal(load(SERVICE "# one\ninclude(\"more.conf\")\nengine { x = 1 }\n"), -EINVAL);
    assert_non_null(strstr(why, "more.conf:3:"));
    file_write("more.conf", "# a\nprofile \"x\" { # b\n key_service = main\n}\n", 0644);
    assert_int_equal(load(SERVICE "# c\ninclude(\"more.conf\") # d\nengine { x = 1 }\n"), -EINVAL);
    assert_non_null(strstr(why, "bulla.conf:10:"));
    assert_int_equal(load(SERVICE "include(\"more.conf\")\n"), 0);
    file_write("more.conf", "include(\"more.conf\")\n", 0644);
    assert_int_equal(load(SERVICE "include(\"more.conf\")\n"), -EINVAL);
    assert_non_null(strstr(why, "include each other"));
    assert_int_equal(load(SERVICE "include(\"none.conf\")\n"), -EINVAL);
    assert_non_null(strstr(why, "bulla.conf:8:"));
    assert_non_null(strstr(why, "none.conf"));
}

static void config_says_which_file_is_missing(void **state)
{
    (void)state;
    assert_int_equal(config_load(&config, "/nonexistent/bulla.conf", why), -ENOENT);
    assert_non_null(strstr(why, "/nonexistent/bulla.conf"));
    assert_non_null(strstr(why, "--config"));
}

static void config_sample_is_sound_but_for_its_files(void **state)
{
    (void)state;
    char text[16384];
    FILE *file = fopen("engine/bulla.conf.sample", "re");
    assert_non_null(file);
    const size_t bytes = fread(text, 1, sizeof(text) - 1, file);
    (void)fclose(file);
    text[bytes] = '\0';
    const int rc = load(text);
    if (rc != 0)
        print_error("%s\n", why);
    assert_int_equal(rc, 0);
}

static void config_value_knows_an_address_with_its_port(void **state)
{
    static const char *const good[] = {"127.0.0.1:10026", "[::1]:25", "mail-1.example.com:65535"};
    static const char *const bad[] = {"",       "127.0.0.1",  "127.0.0.1:", "127.0.0.1:0",
                                      ":25",    "host:65536", "host:25x",   "host:25 ",
                                      "::1:25", "[::1]",      "[::1:25",    "[]:25",
                                      "[h]:25", "a host:25",  "host/x:25",  "smtp://host:25"};
    (void)state;
    for (size_t n = 0; n < ARRAY_COUNT(good); n++)
        assert_true(config_value_is_host_port(good[n]));
    for (size_t n = 0; n < ARRAY_COUNT(bad); n++)
        assert_false(config_value_is_host_port(bad[n]));
}

static void config_value_reads_sizes_and_times(void **state)
{
    (void)state;
    uint64_t value = 0;
    assert_int_equal(config_value_size("25MB", &value), 0);
    assert_int_equal(value, 25 << 20);
    assert_int_equal(config_value_size("512 kB", &value), 0);
    assert_int_equal(value, 512 << 10);
    assert_int_equal(config_value_size("7", &value), 0);
    assert_int_equal(value, 7);
    assert_int_equal(config_value_time("15min", &value), 0);
    assert_int_equal(value, 900);
    assert_int_equal(config_value_time("2d", &value), 0);
    assert_int_equal(value, 172800);
    static const char *const bad[] = {"",     "-1",  "1x", "MB",        "1.5MB",
                                      "0x10", "1 1", " 1", "1MB extra", "99999999999999999999"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_int_equal(config_value_size(bad[i], &value), -EINVAL);
    assert_int_equal(config_value_size("99999999999GB", &value), -EINVAL);
    assert_int_equal(config_value_time("1month", &value), -EINVAL);
    assert_int_equal(value, 172800);
}

static void config_takes_the_milter_and_what_profiles_seal(void **state)
{
    (void)state;
    const char *const recipients[] = {"ann@partner.example"};
    struct select_message message = {.sender = "bob@example.org",
                                     .recipients = recipients,
                                     .recipients_count = ARRAY_COUNT(recipients)};
    int rc = load(SERVICE PROFILE
                  "milter {\n socket = \"inet:8894@127.0.0.1\"\n reinject = \"\"\n"
                  " trust_networks = {\"192.0.2.0/24\", \"2001:db8::/32\", \"198.51.100.7\"}\n"
                  " trust_authenticated = no\n timeout = 30s\n connections = 2\n"
                  " memory = 64MB\n hostname = mx.example.org\n drain = 5s\n log_level = debug\n}\n"
                  "profile \"partner\" {\n key_service = main\n"
                  " seal_recipients = {\"@partner.example\", \"@.far.example\"}\n"
                  " seal_subject = {\"[secure]\"}\n}\n"
                  "profile \"rest\" {\n key_service = main\n seal = all\n}\n");
    if (rc != 0)
        print_error("%s\n", why);
    assert_int_equal(rc, 0);
    assert_string_equal(config.milter.socket, "inet:8894@127.0.0.1");
    assert_string_equal(config.milter.reinject, "");
    assert_int_equal(config.milter.trust_networks_count, 3);
    assert_int_equal(config.milter.trust_networks[1].prefix_bits, 32);
    assert_int_equal(config.milter.trust_networks[2].prefix_bits, 128);
    assert_false(config.milter.trust_authenticated);
    assert_int_equal(config.milter.timeout_s, 30);
    assert_int_equal(config.milter.memory_bytes, 64 << 20);
    assert_false(select_matches(&config.selection[0], &message));
    assert_int_equal(config.selection[1].entries_count, 3);
    assert_true(select_matches(&config.selection[1], &message));
    assert_true(config.selection[2].all);
    rc = load(SERVICE PROFILE);
    assert_int_equal(rc, 0);
    assert_string_equal(config.milter.reinject, "127.0.0.1:10026");
    assert_int_equal(config.milter.trust_networks_count, 2);
    assert_true(config.milter.trust_authenticated);
    rc = load(SERVICE PROFILE "milter {\n trust_networks = {}\n}\n");
    assert_int_equal(rc, 0);
    assert_int_equal(config.milter.trust_networks_count, 0);
}

static void config_for_the_milter_opens_none_of_the_engines_files(void **state)
{
    char path[PATH_BYTES * 2];
    (void)state;
    (void)snprintf(path, sizeof(path), "%s/bulla.conf", folder);
    file_write("bulla.conf",
               "key_service \"main\" {\n url = \"https://k.example\"\n engine_url = "
               "\"https://k.example:1\"\n certificate = \"gone.pem\"\n private_key = "
               "\"gone.key\"\n}\n" PROFILE,
               0644);
    assert_int_equal(config_load(&config, path, why), -EINVAL);
    assert_int_equal(config_load_milter(&config, path, why), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config_takes_the_milter_and_what_profiles_seal),
        cmocka_unit_test(config_for_the_milter_opens_none_of_the_engines_files),
        cmocka_unit_test(config_takes_the_least_there_is),
        cmocka_unit_test(config_takes_every_option),
        cmocka_unit_test(config_reads_includes_beside_itself),
        cmocka_unit_test(config_names_file_line_and_mend),
        cmocka_unit_test(config_names_the_included_file_of_a_fault),
        cmocka_unit_test(config_fault_stays_one_line_whatever_it_shows),
        cmocka_unit_test(config_says_which_file_is_missing),
        cmocka_unit_test(config_sample_is_sound_but_for_its_files),
        cmocka_unit_test(config_value_reads_sizes_and_times),
        cmocka_unit_test(config_value_knows_an_address_with_its_port),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
