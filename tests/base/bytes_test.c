#include "base/assert.h"
#include "base/bytes.h"
#include "base/clock.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void bytes_load_what_was_stored_at_any_alignment(void **state)
{
    uint8_t buffer[32];
    (void)state;
    for (size_t at = 0; at < 8; at++) {
        bytes_store_le16(buffer + at, 0x1234);
        assert_int_equal(bytes_load_le16(buffer + at), 0x1234);
        bytes_store_le32(buffer + at, 0x12345678);
        assert_int_equal(bytes_load_le32(buffer + at), 0x12345678);
        bytes_store_le64(buffer + at, UINT64_C(0x123456789abcdef0));
        assert_true(bytes_load_le64(buffer + at) == UINT64_C(0x123456789abcdef0));
        bytes_store_be64(buffer + at, UINT64_C(0x123456789abcdef0));
        assert_true(bytes_load_be64(buffer + at) == UINT64_C(0x123456789abcdef0));
    }
}

static void bytes_stand_in_the_named_order(void **state)
{
    uint8_t buffer[8];
    (void)state;
    bytes_store_le32(buffer, 0x04030201);
    assert_memory_equal(buffer, "\x01\x02\x03\x04", 4);
    bytes_store_be64(buffer, UINT64_C(0x0102030405060708));
    assert_memory_equal(buffer, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
}

static void bytes_find_a_control_character_wherever_it_stands(void **state)
{
    (void)state;
    static const uint8_t beside[] = {0x20, 0x21, 0x7e, 0x80, 0x9f, 0xff};
    for (uint32_t byte = 0; byte < 256; byte++) {
        const bool control = byte < 0x20 || byte == 0x7f;
        for (uint32_t at = 0; at < 8; at++) {
            for (uint32_t n = 0; n < sizeof(beside); n++) {
                uint8_t eight[8];
                memset(eight, beside[n], sizeof(eight));
                eight[at] = (uint8_t)byte;
                assert_int_equal(bytes_have_control(bytes_load_le64(eight)), control);
            }
        }
    }
}

static void clock_monotonic_never_goes_back(void **state)
{
    (void)state;
    uint64_t before_ns = clock_monotonic_ns();
    for (int i = 0; i < 1000; i++) {
        const uint64_t now_ns = clock_monotonic_ns();
        assert_true(now_ns >= before_ns);
        before_ns = now_ns;
    }
    /* 2020-01-01: an unset clock would show here. */
    assert_true(clock_unix_ns() > UINT64_C(1577836800) * NS_PER_S);
}

static void assert_aborts_in_every_build(void **state)
{
    (void)state;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(1);
        (void)signal(SIGABRT, SIG_DFL);
        ASSERT(child != 0);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_load_what_was_stored_at_any_alignment),
        cmocka_unit_test(bytes_stand_in_the_named_order),
        cmocka_unit_test(bytes_find_a_control_character_wherever_it_stands),
        cmocka_unit_test(clock_monotonic_never_goes_back),
        cmocka_unit_test(assert_aborts_in_every_build),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
