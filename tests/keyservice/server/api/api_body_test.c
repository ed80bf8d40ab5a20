/* Bodies that nest are parsed within their bounds, or refused whole. */
#include "keyservice/server/api/api.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int body_read(const char *text, json_t **root)
{
    const struct http_request request = {.body = (uint8_t *)(uintptr_t)text,
                                         .body_bytes = strlen(text)};
    return api_json_body(&request, root);
}

static void refused(const char *text)
{
    json_t *root = NULL;
    assert_int_equal(body_read(text, &root), -EBADMSG);
    assert_null(root);
}

static void what_is_no_object_is_refused(void **state)
{
    (void)state;
    refused("");
    refused("[]");
    refused("null");
    refused("{");
    refused("{} {}");
    refused("{\"a\":1,\"a\":2}");
    refused("{\"a\":\"\\u0000\"}");
    refused("{\"a\":\"\xff\"}");
}

static void nesting_is_bounded(void **state)
{
    json_t *root = NULL;
    (void)state;
    assert_int_equal(body_read("{\"a\":[[[[[\"}}]]{{[[{\"]]]]]}", &root), 0);
    json_decref(root);
    refused("{\"a\":[[[[[[1]]]]]]}");
}

static void values_are_counted(void **state)
{
    char text[4 * API_JSON_VALUES_MAX + 32] = "{\"a\":[1";
    json_t *root = NULL;
    size_t used = strlen(text);
    (void)state;
    for (uint32_t i = 0; i < API_JSON_VALUES_MAX - 4; i++) {
        memcpy(text + used, ",1", 2);
        used += 2;
    }
    memcpy(text + used, "]}", 3);
    assert_int_equal(body_read(text, &root), 0);
    json_decref(root);
    memcpy(text + used, ",1,1]}", 7);
    refused(text);
}

static void members_are_taken_by_kind_and_size(void **state)
{
    static const char *const names[] = {"name", "days"};
    char name[6];
    uint64_t days = 7;
    json_t *root = NULL;
    (void)state;
    assert_int_equal(body_read("{\"name\":\"12345\",\"days\":30}", &root), 0);
    assert_true(api_json_known(root, names, 2));
    assert_false(api_json_known(root, names, 1));
    assert_true(api_json_string(root, "name", false, name, sizeof(name)));
    assert_string_equal(name, "12345");
    assert_false(api_json_string(root, "name", false, name, 5));
    assert_false(api_json_string(root, "days", false, name, sizeof(name)));
    assert_false(api_json_string(root, "more", false, name, sizeof(name)));
    assert_true(api_json_string(root, "more", true, name, sizeof(name)));
    assert_string_equal(name, "");
    assert_true(api_json_u64(root, "days", false, 30, &days));
    assert_int_equal(days, 30);
    assert_false(api_json_u64(root, "days", false, 29, &days));
    assert_false(api_json_u64(root, "name", false, 30, &days));
    assert_false(api_json_u64(root, "more", false, 30, &days));
    assert_true(api_json_u64(root, "more", true, 30, &days));
    json_decref(root);
    assert_int_equal(body_read("{\"days\":-1,\"name\":3.5}", &root), 0);
    assert_false(api_json_u64(root, "days", false, UINT64_MAX, &days));
    assert_false(api_json_u64(root, "name", false, UINT64_MAX, &days));
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_object_is_refused),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(values_are_counted),
        cmocka_unit_test(members_are_taken_by_kind_and_size),
    };
    api_json_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
