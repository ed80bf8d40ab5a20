/* X-PostX-*: every name, every form, and everything that only looks like one. */
#include "policy/override.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct override taken(const char *name, const char *body)
{
    struct override override;
    char why[OVERRIDE_WHY_BYTES] = "";
    override_init(&override);
    if (override_read(&override, name, body, why) != OVERRIDE_TAKEN)
        fail_msg("%s: %s is not taken: %s", name, body, why);
    return override;
}

static void refused(const char *name, const char *body)
{
    struct override override;
    char why[OVERRIDE_WHY_BYTES] = "";
    override_init(&override);
    if (override_read(&override, name, body, why) != OVERRIDE_MALFORMED)
        fail_msg("%s: \"%s\" is not refused", name, body);
    assert_int_equal(override.set, 0);
    assert_int_equal(override.values, 0);
    assert_non_null(strstr(why, name));
    assert_non_null(strstr(why, "; write "));
}

static void override_reads_every_flag(void **state)
{
    static const struct {
        const char *name;
        uint32_t bit;
        bool opposite;
    } flags[] = {
        {"X-PostX-Reply-Enabled", OVERRIDE_REPLY, false},
        {"X-PostX-Reply-All-Enabled", OVERRIDE_REPLY_ALL, false},
        {"X-PostX-Forward-Enabled", OVERRIDE_FORWARD, false},
        {"X-PostX-Send-Return-Receipt", OVERRIDE_RECEIPT, false},
        {"X-PostX-Remember-Envelope-Key-Checkbox", OVERRIDE_REMEMBER_KEY, false},
        {"X-PostX-Use-Script", OVERRIDE_SCRIPT, false},
        {"X-PostX-Suppress-Applet-For-Open", OVERRIDE_BROWSER_DECRYPTION, true},
    };
    (void)state;
    for (size_t f = 0; f < ARRAY_COUNT(flags); f++) {
        const uint32_t on = flags[f].bit;
        struct override override = taken(flags[f].name, flags[f].opposite ? "false" : "true");
        assert_int_equal(override.set, on);
        assert_int_equal(override.values, on);
        override = taken(flags[f].name, flags[f].opposite ? "true" : "false");
        assert_int_equal(override.set, on);
        assert_int_equal(override.values, 0);
        refused(flags[f].name, "maybe");
    }
}

static void override_reads_hours_and_days(void **state)
{
    (void)state;
    assert_int_equal(taken("X-PostX-ExpirationDate", "+30").expires_after_s, 30 * 86400);
    assert_int_equal(taken("X-PostX-ExpirationDate", "+36500").expires_after_s,
                     OVERRIDE_AFTER_S_MAX);
    assert_int_equal(taken("X-PostX-ExpirationDate", "+24:00:00").expires_after_s, 86400);
    assert_int_equal(taken("X-PostX-ExpirationDate", "+0:01:00").expires_after_s, 60);
    assert_int_equal(taken("X-PostX-ExpirationDate", "+1:02:03").expires_after_s, 3723);
    assert_int_equal(taken("X-PostX-ExpirationDate", "+9999:59:59").expires_after_s, 35999999);
    const struct override read_by = taken("X-PostX-ReadNotificationDate", "+7");
    assert_int_equal(read_by.set, OVERRIDE_READ_BY);
    assert_int_equal(read_by.read_by_after_s, 7 * 86400);
    assert_int_equal(read_by.expires_after_s, 0);
}

static void override_minds_neither_case_nor_folds(void **state)
{
    (void)state;
    assert_int_equal(taken("x-postx-REPLY-enabled", " TrUe").values, OVERRIDE_REPLY);
    assert_int_equal(taken("X-POSTX-FORWARD-ENABLED", "\r\n\t FALSE \t\r\n").set, OVERRIDE_FORWARD);
    assert_int_equal(taken("X-PostX-Reply-Enabled \t", "true").values, OVERRIDE_REPLY);
    assert_int_equal(taken("X-PostX-ExpirationDate", "\n +2 ").expires_after_s, 2 * 86400);
}

static void override_refuses_what_it_cannot_read(void **state)
{
    static const char *const flags[] = {"",       " ",       "yes",       "1",        "truе",
                                        "tru",    "trueish", "true true", "true;x=1", "\"true\"",
                                        "true\\", "+1",      "false\x01"};
    static const char *const times[] = {
        "",
        "+",
        "30",
        "-1",
        "+0",
        "+00:00:00",
        "+00:00:59",
        "+36501",
        "+100000",
        "+1:2:3",
        "+1:60:00",
        "+1:00:60",
        "+:00:00",
        "+1:00",
        "+1:00:00:",
        "+1:00:00:00",
        "+12345:00:00",
        "+1 ",
        "+ 1",
        "+1:\r\n00:00",
        "+1d",
        "+1.5",
        "+0x10",
        "++1",
        "2030-01-01",
        "Sat, 1 Jan 2030 00:00:00 +0000",
        "+18446744073709551617",
    };
    (void)state;
    for (size_t n = 0; n < ARRAY_COUNT(flags); n++)
        refused("X-PostX-Forward-Enabled", flags[n]);
    for (size_t n = 0; n < ARRAY_COUNT(times); n++) {
        if (strcmp(times[n], "+1 ") == 0) { /* a blank after it is none of it */
            assert_int_equal(taken("X-PostX-ExpirationDate", times[n]).expires_after_s, 86400);
            continue;
        }
        refused("X-PostX-ExpirationDate", times[n]);
        refused("X-PostX-ReadNotificationDate", times[n]);
    }
}

static void override_takes_a_field_twice_only_when_it_says_the_same(void **state)
{
    char why[OVERRIDE_WHY_BYTES] = "";
    struct override override;
    (void)state;
    override_init(&override);
    assert_int_equal(override_read(&override, "X-PostX-Reply-Enabled", "true", why),
                     OVERRIDE_TAKEN);
    assert_int_equal(override_read(&override, "X-PostX-Reply-Enabled", "TRUE", why),
                     OVERRIDE_TAKEN);
    assert_int_equal(override_read(&override, "X-PostX-Reply-Enabled", "false", why),
                     OVERRIDE_MALFORMED);
    assert_non_null(strstr(why, "twice"));
    assert_int_equal(override_read(&override, "X-PostX-ExpirationDate", "+1", why), OVERRIDE_TAKEN);
    assert_int_equal(override_read(&override, "X-PostX-ExpirationDate", "+24:00:00", why),
                     OVERRIDE_TAKEN);
    assert_int_equal(override_read(&override, "X-PostX-ExpirationDate", "+2", why),
                     OVERRIDE_MALFORMED);
    assert_int_equal(override.set, OVERRIDE_REPLY | OVERRIDE_EXPIRES);
    assert_int_equal(override.values, OVERRIDE_REPLY);
    assert_int_equal(override.expires_after_s, 86400);
}

static void override_leaves_other_fields_alone(void **state)
{
    static const char *const names[] = {"Subject",
                                        "X-PostX",
                                        "X-PostX-",
                                        "X-PostX-Reply",
                                        "PostX-Reply-Enabled",
                                        "X-Bulla-Reply-Enabled",
                                        "X-PostX-Reply-Enabled-",
                                        ""};
    char why[OVERRIDE_WHY_BYTES] = "";
    struct override override;
    (void)state;
    override_init(&override);
    for (size_t n = 0; n < ARRAY_COUNT(names); n++)
        assert_int_equal(override_read(&override, names[n], "true", why), OVERRIDE_NOT_OURS);
    assert_int_equal(override.set, 0);
}

static void override_tells_every_control_field(void **state)
{
    static const char *const controls[] = {"X-PostX-",           "x-postx-anything",
                                           "X-POSTX-USE-SCRIPT", "X-Bulla-Profile",
                                           "x-bulla-",           "X-PostX-Reply-Enabled "};
    static const char *const others[] = {"X-PostX", "X-Bulla",    "Subject",
                                         "",        "XX-PostX-A", "X-Post-X"};
    (void)state;
    for (size_t n = 0; n < ARRAY_COUNT(controls); n++)
        assert_true(override_is_control(controls[n]));
    for (size_t n = 0; n < ARRAY_COUNT(others); n++)
        assert_false(override_is_control(others[n]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(override_reads_every_flag),
        cmocka_unit_test(override_reads_hours_and_days),
        cmocka_unit_test(override_minds_neither_case_nor_folds),
        cmocka_unit_test(override_refuses_what_it_cannot_read),
        cmocka_unit_test(override_takes_a_field_twice_only_when_it_says_the_same),
        cmocka_unit_test(override_leaves_other_fields_alone),
        cmocka_unit_test(override_tells_every_control_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
