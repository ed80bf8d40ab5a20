#include "envelope/date.h"
#include "tests/envelope/mailgen.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static void becomes(const char *src, const char *expected)
{
    struct date date;
    uint8_t dst[DATE_HEADER_BYTES];
    struct writer writer = writer_make(dst, sizeof(dst));
    assert_int_equal(date_parse(&date, (const uint8_t *)src, strlen(src)), 0);
    date_write_header(&writer, &date);
    assert_int_equal(writer.at - dst, strlen(expected));
    assert_memory_equal(dst, expected, sizeof(dst));
}

static void date_is_written_canonically(void **state)
{
    (void)state;
    becomes("Sat, 21 Nov 2026 21:15:00 +0000", "Sat, 21 Nov 2026 21:15:00 +0000");
    becomes("21 Nov 2026 21:15:00 +0100", "Sat, 21 Nov 2026 21:15:00 +0100");
    becomes("Mon, 21 Nov 2026 21:15 -0430", "Sat, 21 Nov 2026 21:15:00 -0430");
    becomes("sat,21 nov 26 21:15:00 GMT", "Sat, 21 Nov 2026 21:15:00 +0000");
    becomes("Thu, 31 Dec 98 23:59:59 PST (comment (nested))", "Thu, 31 Dec 1998 23:59:59 -0800");
    becomes("Sat,\r\n 21 (day) Nov\t2026 21 : 15 : 00 +0000", "Sat, 21 Nov 2026 21:15:00 +0000");
    becomes("Thu, 29 Feb 2024 12:00:00 Z", "Thu, 29 Feb 2024 12:00:00 +0000");
    becomes("1 January 2030 00:00:60 +0000", "Tue, 01 Jan 2030 00:00:59 +0000");
}

static void date_refuses_what_is_none(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "yesterday",
        "2026-11-21T21:15:00Z",
        "Sat, 0 Nov 2026 21:15:00 +0000",
        "Sat, 32 Nov 2026 21:15:00 +0000",
        "Sat, 21 Foo 2026 21:15:00 +0000",
        "Sat, 21 Nov 1969 21:15:00 +0000",
        "Sat, 21 Nov 2026 24:15:00 +0000",
        "Sat, 21 Nov 2026 21:60:00 +0000",
        "Sat, 21 Nov 2026 21:15:61 +0000",
        "Sat, 21 Nov 2026 21",
        "Sat, 21 Nov 2026 (21:15:00 +0000",
        "Thu, 01 Jan 1970 00:00:00 +0000",
        "Fri, 31 Dec 9999 23:59:59 -2300",
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct date date;
        if (date_parse(&date, (const uint8_t *)bad[i], strlen(bad[i])) != -EINVAL)
            fail_msg("\"%s\" was taken for a date", bad[i]);
    }
    uint8_t longest[512];
    memset(longest, ' ', sizeof(longest));
    memcpy(longest, "Sat, 21 Nov 2026 21:15:00 +0000", 31);
    struct date date;
    assert_int_equal(date_parse(&date, longest, sizeof(longest)), -EINVAL);
}

static void date_agrees_with_the_c_library(void **state)
{
    (void)state;
    struct mailgen gen = mailgen_seeded();
    for (uint32_t n = 0; n < 20000; n++) {
        const struct date date = {.unix_s = 86400 +
                                            (int64_t)(mailgen_next(&gen) % UINT64_C(253402214400)),
                                  .zone_minutes = (int32_t)mailgen_below(&gen, 2879) - 1439};
        const time_t local_s = (time_t)(date.unix_s + date.zone_minutes * 60);
        if (local_s < 0 || local_s > INT64_C(253402300799))
            continue;
        struct tm tm;
        struct date_parts parts;
        assert_non_null(gmtime_r(&local_s, &tm));
        date_split(&parts, &date);
        assert_int_equal(parts.year, tm.tm_year + 1900);
        assert_int_equal(parts.month, tm.tm_mon + 1);
        assert_int_equal(parts.day, tm.tm_mday);
        assert_int_equal(parts.hour, tm.tm_hour);
        assert_int_equal(parts.minute, tm.tm_min);
        assert_int_equal(parts.second, tm.tm_sec);
        assert_int_equal(parts.weekday, tm.tm_wday);

        uint8_t dst[DATE_HEADER_BYTES];
        struct writer writer = writer_make(dst, sizeof(dst));
        struct date again;
        date_write_header(&writer, &date);
        if (date_parse(&again, dst, sizeof(dst)) == 0) {
            assert_int_equal(again.unix_s, date.unix_s);
            assert_int_equal(again.zone_minutes, date.zone_minutes);
        } else {
            /* Only the two edges of the range are refused. */
            assert_true(date.unix_s < 2 * 86400 || date.unix_s > INT64_C(253402300799) - 86400);
        }
    }
}

static void date_reads_any_bytes(void **state)
{
    (void)state;
    struct mailgen gen = mailgen_seeded();
    static const char alphabet[] = "SatNov 0123456789:,+-() \r\n\t\\\x80";
    for (uint32_t n = 0; n < 50000; n++) {
        uint8_t src[40];
        const size_t bytes = mailgen_below(&gen, sizeof(src));
        for (size_t i = 0; i < bytes; i++)
            src[i] = (uint8_t)alphabet[mailgen_below(&gen, sizeof(alphabet) - 1)];
        struct date date;
        if (date_parse(&date, src, bytes) == 0)
            assert_true(date.unix_s >= 86400);
    }
}

/* What is copied as it stands is what parsing and writing make of it. */
static bool copy_agrees(const uint8_t *src, size_t bytes)
{
    uint8_t copied[DATE_HEADER_BYTES];
    uint8_t written[DATE_HEADER_BYTES];
    struct date date;
    uint8_t *exact = malloc(bytes + (bytes == 0 ? 1 : 0));
    assert_non_null(exact);
    memcpy(exact, src, bytes);
    const bool taken = date_copy_try(copied, exact, bytes);
    if (taken) {
        assert_int_equal(date_parse(&date, exact, bytes), 0);
        struct writer writer = writer_make(written, sizeof(written));
        date_write_header(&writer, &date);
        assert_memory_equal(copied, written, sizeof(written));
    }
    free(exact);
    return taken;
}

static void date_copies_only_what_is_canonical(void **state)
{
    (void)state;
    static const char alphabet[] = "0123456789 +-:,SMTWFadn";
    static const char *const seeds[] = {"Sat, 21 Nov 2026 21:15:00 +0100 (CET)",
                                        "Sun, 1 Nov 2026 01:02:03 -0000",
                                        "Thu, 29 Feb 2024 23:59:59 +2359"};
    struct mailgen gen = mailgen_seeded();
    uint32_t taken = 0;
    for (uint32_t n = 0; n < 200000; n++) {
        uint8_t src[48];
        const char *seed = seeds[mailgen_below(&gen, ARRAY_COUNT(seeds))];
        const size_t bytes = strlen(seed) - mailgen_below(&gen, 8);
        memcpy(src, seed, bytes);
        for (uint32_t i = mailgen_below(&gen, 3); i > 0; i--)
            src[mailgen_below(&gen, (uint32_t)bytes)] =
                (uint8_t)alphabet[mailgen_below(&gen, sizeof(alphabet) - 1)];
        taken += copy_agrees(src, bytes) ? 1 : 0;
    }
    assert_true(taken > 1000);
    /* Every day of some years, each under its own weekday and under another. */
    for (int64_t day = 365; day < 365 * 60; day++) {
        struct date date = {day * 86400 + 86399, -600};
        uint8_t text[DATE_HEADER_BYTES];
        struct writer writer = writer_make(text, sizeof(text));
        date_write_header(&writer, &date);
        assert_true(copy_agrees(text, sizeof(text)));
        memcpy(text, memcmp(text, "Sun", 3) == 0 ? "Mon" : "Sun", 3);
        assert_false(copy_agrees(text, sizeof(text)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(date_is_written_canonically),
        cmocka_unit_test(date_refuses_what_is_none),
        cmocka_unit_test(date_agrees_with_the_c_library),
        cmocka_unit_test(date_reads_any_bytes),
        cmocka_unit_test(date_copies_only_what_is_canonical),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
