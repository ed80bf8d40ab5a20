/* Profiles: what an administrator may decide, and the sentence for what not. */
#include "policy/profile.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct profile sound_profile(void)
{
    struct profile profile;
    profile_init(&profile, "default");
    (void)snprintf(profile.key_service_url, sizeof(profile.key_service_url), "%s",
                   "https://keys.example.com:8443");
    return profile;
}

static void profile_starts_with_the_documented_defaults(void **state)
{
    (void)state;
    const struct profile profile = sound_profile();
    char why[PROFILE_WHY_BYTES];
    assert_string_equal(profile.name, "default");
    assert_int_equal(profile.level, PROFILE_LEVEL_HIGH);
    assert_int_equal(profile.algorithm, PROFILE_AES_256);
    assert_int_equal(profile.mail_bytes_max, 25 * 1024 * 1024);
    assert_int_equal(profile.mail_bytes_warn, 10 * 1024 * 1024);
    assert_string_equal(profile.locale, "en");
    assert_int_equal(profile_check(&profile, why), 0);
}

static void profile_refuses(const struct profile *profile, const char *said)
{
    char why[PROFILE_WHY_BYTES] = "";
    assert_int_equal(profile_check(profile, why), -EINVAL);
    if (strstr(why, said) == NULL)
        print_error("\"%s\" does not say \"%s\"\n", why, said);
    assert_non_null(strstr(why, said));
}

static void profile_refuses_names_that_could_forge_text(void **state)
{
    (void)state;
    static const char *const names[] = {"", "a b", "a\nb", "a\"b", "\xc3\xbc", "a/b"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        struct profile profile = sound_profile();
        (void)snprintf(profile.name, sizeof(profile.name), "%s", names[i]);
        profile_refuses(&profile, "rename it");
    }
}

static void profile_refuses_key_service_urls_that_are_no_origin(void **state)
{
    (void)state;
    static const char *const urls[] = {
        "",
        "http://keys.example.com",
        "https://",
        "https://:443",
        "https://keys.example.com/",
        "https://keys.example.com/path",
        "https://user@keys.example.com",
        "https://keys.example.com?x",
        "https://keys.example.com;script-src *",
        "https://keys.example.com\r\nX: y",
        "https://keys.example.com\"",
        "https://k\xc3\xa9ys.example.com",
    };
    for (size_t i = 0; i < ARRAY_COUNT(urls); i++) {
        struct profile profile = sound_profile();
        (void)snprintf(profile.key_service_url, sizeof(profile.key_service_url), "%s", urls[i]);
        profile_refuses(&profile, "https://host");
    }
}

static void profile_refuses_values_out_of_range(void **state)
{
    (void)state;
    struct profile profile = sound_profile();
    profile.mail_bytes_max = 0;
    profile_refuses(&profile, "size_limit");
    profile = sound_profile();
    profile.mail_bytes_max = UINT64_C(257) << 20;
    profile_refuses(&profile, "size_limit");
    profile = sound_profile();
    profile.mail_bytes_warn = profile.mail_bytes_max + 1;
    profile_refuses(&profile, "size_warning");
    profile = sound_profile();
    profile.wait_s = 0;
    profile_refuses(&profile, "wait");
    profile = sound_profile();
    profile.expires_after_s = 1;
    profile_refuses(&profile, "expires_after");
    profile = sound_profile();
    (void)snprintf(profile.locale, sizeof(profile.locale), "../x");
    profile_refuses(&profile, "locale");
    profile = sound_profile();
    (void)snprintf(profile.notification_subject, sizeof(profile.notification_subject), "a\r\nb");
    profile_refuses(&profile, "control character");
    profile = sound_profile();
    (void)snprintf(profile.logo_link, sizeof(profile.logo_link), "javascript:alert(1)");
    profile_refuses(&profile, "logo_link");
}

static void profile_knows_two_algorithms_and_says_why_rc4_is_none(void **state)
{
    (void)state;
    enum profile_algorithm algorithm;
    char why[PROFILE_WHY_BYTES];
    assert_int_equal(profile_algorithm_parse("aes-256", &algorithm, why), 0);
    assert_int_equal(algorithm, PROFILE_AES_256);
    assert_int_equal(profile_algorithm_parse("AES-192", &algorithm, why), 0);
    assert_int_equal(algorithm, PROFILE_AES_192);
    assert_int_equal(profile_algorithm_parse("rc4", &algorithm, why), -EINVAL);
    assert_non_null(strstr(why, "broken"));
    assert_non_null(strstr(why, "aes-256"));
    assert_int_equal(profile_algorithm_parse("aes-128", &algorithm, why), -EINVAL);
    assert_non_null(strstr(why, "aes-256 or aes-192"));
    assert_int_equal(algorithm, PROFILE_AES_192);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(profile_starts_with_the_documented_defaults),
        cmocka_unit_test(profile_refuses_names_that_could_forge_text),
        cmocka_unit_test(profile_refuses_key_service_urls_that_are_no_origin),
        cmocka_unit_test(profile_refuses_values_out_of_range),
        cmocka_unit_test(profile_knows_two_algorithms_and_says_why_rc4_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
