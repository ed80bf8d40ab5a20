/* preview: what may be shown is told by its first bytes, and all else is saved. */
#include "keyservice/server/preview.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void preview_offers_by_the_ending_of_a_name(void **state)
{
    (void)state;
    assert_true(preview_named("a.png"));
    assert_true(preview_named("A.b.JPEG"));
    assert_true(preview_named("Bericht Q3 \xe2\x82\xac.Pdf"));
    assert_true(preview_named(".webp"));
    assert_false(preview_named("png"));
    assert_false(preview_named("a.svg"));
    assert_false(preview_named("a.png.html"));
    assert_false(preview_named("a.png "));
    assert_false(preview_named(""));
}

static const char *type_of(const char *bytes_at, size_t bytes)
{
    return preview_type((const uint8_t *)bytes_at, bytes);
}

static void preview_tells_types_by_first_bytes(void **state)
{
    (void)state;
    assert_string_equal(type_of("\x89PNG\r\n\x1a\nrest", 12), "image/png");
    assert_string_equal(type_of("\xff\xd8\xff\xe0", 4), "image/jpeg");
    assert_string_equal(type_of("GIF87a", 6), "image/gif");
    assert_string_equal(type_of("GIF89a<script>", 14), "image/gif");
    assert_string_equal(type_of("RIFF\1\2\3\4WEBP", 12), "image/webp");
    assert_string_equal(type_of("%PDF-1.7", 8), "application/pdf");
}

static void preview_shows_nothing_else(void **state)
{
    (void)state;
    static const char *const others[] = {
        "<svg onload=alert(1)>", "<!DOCTYPE html>", " %PDF-1.7",      "\n\x89PNG\r\n\x1a\n", "BM",
        "RIFF1234WAVE",          "GIF88a",          "\x89PNG\n\x1a\n"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_null(type_of(others[i], strlen(others[i])));
    assert_null(type_of("RIFF\1\2\3\4WEB", 11));
    assert_null(type_of("%PDF", 4));
    assert_null(type_of("", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(preview_offers_by_the_ending_of_a_name),
        cmocka_unit_test(preview_tells_types_by_first_bytes),
        cmocka_unit_test(preview_shows_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
