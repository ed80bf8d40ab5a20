#include "envelope/address_report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void report_is(const char *address, const char *expected)
{
    uint8_t dst[ADDRESS_REPORT_CHARS_MAX];
    const size_t bytes = address_report_write(dst, (const uint8_t *)address, strlen(address));
    assert_int_equal(bytes, strlen(expected));
    assert_memory_equal(dst, expected, bytes);
}

static void address_report_names_the_type(void **state)
{
    (void)state;
    report_is("a+b=c@example.org", "rfc822; a+b=c@example.org");
    report_is("j\xc3\xb6rg@b.example", "utf-8; j\\x{F6}rg@b.example");
    report_is("\xe7\x94\xa8+\\=@b", "utf-8; \\x{7528}\\x{2B}\\x{5C}\\x{3D}@b");
}

static void address_report_lets_nothing_begin_a_line(void **state)
{
    (void)state;
    report_is("a@b\r\nAction: none", "utf-8; a@b\\x{0D}\\x{0A}Action:\\x{20}none");
    report_is("a b@c\x7f", "utf-8; a\\x{20}b@c\\x{7F}");
    report_is("a\xff@b", "utf-8; a\\x{FFFD}@b");
    report_is("", "utf-8; ");
}

static void address_report_is_cut_between_characters(void **state)
{
    (void)state;
    static char address[2000];
    uint8_t dst[ADDRESS_REPORT_CHARS_MAX];
    for (size_t i = 0; i < sizeof(address); i++)
        address[i] = i % 2 == 0 ? '\xc3' : '\xb6';
    size_t bytes = address_report_write(dst, (const uint8_t *)address, sizeof(address));
    assert_in_range(bytes, 890, ADDRESS_REPORT_CHARS_MAX);
    assert_memory_equal(dst + bytes - 6, "\\x{F6}", 6);
    memset(address, 'a', sizeof(address));
    bytes = address_report_write(dst, (const uint8_t *)address, sizeof(address));
    assert_in_range(bytes, 890, ADDRESS_REPORT_CHARS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(address_report_names_the_type),
        cmocka_unit_test(address_report_lets_nothing_begin_a_line),
        cmocka_unit_test(address_report_is_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
