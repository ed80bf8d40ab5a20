#include "web/assets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void asset_find_gives_every_row_and_asset_at_ends(void **state)
{
    size_t index = 0;
    const char *before = "";

    (void)state;
    for (const struct asset *asset = asset_at(0); asset != NULL; asset = asset_at(++index)) {
        assert_true(strcmp(before, asset->name) < 0);
        assert_ptr_equal(asset_find(asset->name), asset);
        assert_true(asset->bytes > 0);
        assert_int_equal(asset->bytes_at[asset->bytes], 0);
        before = asset->name;
    }
    assert_true(index >= 24);
    assert_null(asset_at(index));
    assert_null(asset_at(SIZE_MAX));
}

static void asset_find_refuses_names_that_were_not_built(void **state)
{
    static const char *const names[] = {
        "",
        "envelope-aes256.en",
        "envelope-aes256.en.htm",
        "envelope-aes256.en.html ",
        "/envelope-aes256.en.html",
        "envelope-aes128.en.html",
        "\x7f",
        "zzz",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_null(asset_find(names[i]));
}

static void shells_templates_and_pages_are_there(void **state)
{
    static const char *const names[] = {
        "envelope-aes192.zh.html",        "envelope-aes256.ar.html", "envelope-aes256.en.html",
        "templates/en/notification.html", "pages/open.html",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_non_null(asset_find(names[i]));
    const struct asset *shell = asset_find("envelope-aes256.en.html");
    assert_memory_equal(shell->bytes_at, "<!DOCTYPE html>\r\n", 17);
    assert_non_null(strstr((const char *)shell->bytes_at, "\r\n{{fields}}\r\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asset_find_gives_every_row_and_asset_at_ends),
        cmocka_unit_test(asset_find_refuses_names_that_were_not_built),
        cmocka_unit_test(shells_templates_and_pages_are_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
