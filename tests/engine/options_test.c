/* What profile and submitter decide together: who has the word, for each option. */
#include "engine/options.h"
#include "keyservice/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct snapshot_profile profile_with(bool overrides)
{
    struct snapshot_profile entry = {0};
    profile_init(&entry.profile, "default");
    entry.profile.allow_header_overrides = overrides;
    entry.profile.expires_after_s = 86400;
    entry.record_flags = RECORD_FLAG_REPLY | RECORD_FLAG_FORWARD;
    entry.shells[FRAME_SCRIPTED].head.bytes = 1;
    entry.shells[FRAME_PLAIN].head.bytes = 1;
    return entry;
}

static void options_are_the_profiles_without_a_wish(void **state)
{
    const struct meta_options none = {0};
    (void)state;
    for (uint32_t overrides = 0; overrides < 2; overrides++) {
        const struct snapshot_profile entry = profile_with(overrides != 0);
        struct options options;
        options_decide(&options, &entry, &none);
        assert_ptr_equal(options.shell, &entry.shells[FRAME_SCRIPTED]);
        assert_int_equal(options.record_flags, RECORD_FLAG_REPLY | RECORD_FLAG_FORWARD);
        assert_int_equal(options.expires_after_s, 86400);
        assert_int_equal(options.read_by_after_s, 0);
    }
}

static void options_of_a_wish_count_only_with_header_overrides(void **state)
{
    const struct meta_options wish = {
        .set = IPC_OPTIONS_ALL,
        .values = IPC_OPTION_RECEIPT | IPC_OPTION_REPLY_ALL | IPC_OPTION_REMEMBER_KEY,
        .expires_after_s = 60,
        .read_by_after_s = 120,
    };
    (void)state;
    struct snapshot_profile entry = profile_with(false);
    struct options options;
    options_decide(&options, &entry, &wish);
    assert_ptr_equal(options.shell, &entry.shells[FRAME_SCRIPTED]);
    assert_int_equal(options.record_flags, RECORD_FLAG_REPLY | RECORD_FLAG_FORWARD);
    assert_int_equal(options.expires_after_s, 86400);
    assert_int_equal(options.read_by_after_s, 0);

    entry.profile.allow_header_overrides = true;
    options_decide(&options, &entry, &wish);
    assert_ptr_equal(options.shell, &entry.shells[FRAME_PLAIN]);
    assert_int_equal(options.record_flags,
                     RECORD_FLAG_RECEIPT | RECORD_FLAG_REPLY_ALL | RECORD_FLAG_REMEMBER_KEY);
    assert_int_equal(options.expires_after_s, 60);
    assert_int_equal(options.read_by_after_s, 120);
}

static void options_change_nothing_that_was_not_wished(void **state)
{
    static const struct {
        uint32_t bit;
        uint16_t flag;
    } flags[] = {
        {IPC_OPTION_REPLY, RECORD_FLAG_REPLY},
        {IPC_OPTION_REPLY_ALL, RECORD_FLAG_REPLY_ALL},
        {IPC_OPTION_FORWARD, RECORD_FLAG_FORWARD},
        {IPC_OPTION_RECEIPT, RECORD_FLAG_RECEIPT},
        {IPC_OPTION_REMEMBER_KEY, RECORD_FLAG_REMEMBER_KEY},
    };
    (void)state;
    const struct snapshot_profile entry = profile_with(true);
    for (size_t f = 0; f < ARRAY_COUNT(flags); f++) {
        struct meta_options wish = {.set = flags[f].bit, .values = flags[f].bit};
        struct options options;
        options_decide(&options, &entry, &wish);
        assert_int_equal(options.record_flags, entry.record_flags | flags[f].flag);
        wish.values = 0;
        options_decide(&options, &entry, &wish);
        assert_int_equal(options.record_flags, entry.record_flags & ~flags[f].flag);
        assert_int_equal(options.expires_after_s, 86400);
        assert_ptr_equal(options.shell, &entry.shells[FRAME_SCRIPTED]);
    }
    const struct meta_options for_ever = {.set = IPC_OPTION_EXPIRES};
    struct options options;
    options_decide(&options, &entry, &for_ever);
    assert_int_equal(options.expires_after_s, 0);
    assert_int_equal(options.record_flags, entry.record_flags);
}

static void options_leave_the_script_out_when_either_is_off(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 64; bits++) {
        struct snapshot_profile entry = profile_with(true);
        const bool own_script = (bits & 1) != 0;
        const bool own_browser = (bits & 2) != 0;
        const bool set_script = (bits & 4) != 0;
        const bool set_browser = (bits & 8) != 0;
        const bool script = set_script ? (bits & 16) != 0 : own_script;
        const bool browser = set_browser ? (bits & 32) != 0 : own_browser;
        entry.profile.use_script = own_script;
        entry.profile.browser_decryption = own_browser;
        struct meta_options wish = {0};
        wish.set = (set_script ? IPC_OPTION_SCRIPT : 0) |
                   (set_browser ? IPC_OPTION_BROWSER_DECRYPTION : 0);
        wish.values = ((bits & 16) != 0 ? IPC_OPTION_SCRIPT : 0) |
                      ((bits & 32) != 0 ? IPC_OPTION_BROWSER_DECRYPTION : 0);
        wish.values &= wish.set;
        struct options options;
        options_decide(&options, &entry, &wish);
        assert_ptr_equal(options.shell,
                         &entry.shells[script && browser ? FRAME_SCRIPTED : FRAME_PLAIN]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_the_profiles_without_a_wish),
        cmocka_unit_test(options_of_a_wish_count_only_with_header_overrides),
        cmocka_unit_test(options_change_nothing_that_was_not_wished),
        cmocka_unit_test(options_leave_the_script_out_when_either_is_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
