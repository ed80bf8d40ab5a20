/* Bodies of multipart/form-data: as browsers write them, and every way of being otherwise. */
#include "keyservice/server/http/form.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TYPE "multipart/form-data; boundary=----geckoformboundary1f"
#define LINE "------geckoformboundary1f"
#define HEAD "Content-Disposition: form-data; name="
#define BODY                                                                                       \
    LINE "\r\n" HEAD "\"v\"\r\n\r\n1\r\n" LINE "\r\n" HEAD                                         \
         "\"c\"\r\n\r\n\r\nAB\r\nCD\r\n\r\n" LINE "\r\n" HEAD "\"e\"\r\n\r\n\r\n" LINE "--\r\n"

static struct form_field fields[FORM_FIELDS_MAX];
static uint32_t fields_count;

/* Reads a copy of exactly those bytes, so that a sanitizer sees any step past them. */
static int form(const char *type, const char *text, size_t bytes)
{
    uint8_t *copy = malloc(bytes + 1);
    assert_non_null(copy);
    uint8_t *at = copy + 1; /* malloc(0) may be NULL */
    memcpy(at, text, bytes);
    fields_count = 0;
    const int rc = form_read(fields, &fields_count, type, at, bytes);
    for (uint32_t i = 0; rc == 0 && i < fields_count; i++) {
        assert_true(fields[i].value >= at);
        assert_true(fields[i].value + fields[i].value_bytes <= at + bytes);
        fields[i].value = (const uint8_t *)text + (fields[i].value - at);
    }
    free(copy);
    return rc;
}

static void assert_field(uint32_t i, const char *name, const char *value)
{
    assert_true(i < fields_count);
    assert_string_equal(fields[i].name, name);
    assert_int_equal(fields[i].value_bytes, strlen(value));
    assert_memory_equal(fields[i].value, value, strlen(value));
}

static void fields_are_read_where_they_stand(void **state)
{
    (void)state;
    assert_int_equal(form(TYPE, BODY, sizeof(BODY) - 1), 0);
    assert_int_equal(fields_count, 3);
    assert_field(0, "v", "1");
    assert_field(1, "c", "\r\nAB\r\nCD\r\n");
    assert_field(2, "e", "");
}

static void a_quoted_boundary_and_other_headers_are_fine(void **state)
{
    (void)state;
    static const char body[] =
        "--a b\r\nX: y\r\ncontent-disposition: form-data; x=\"; name=no\"; "
        "name=v; filename=\"f\"\r\nContent-Type: text/plain\r\n\r\n1\r\n--a b--";
    assert_int_equal(
        form("Multipart/Form-Data; charset=utf-8; boundary=\"a b\"", body, sizeof(body) - 1), 0);
    assert_int_equal(fields_count, 1);
    assert_field(0, "v", "1");
}

static void names_that_no_format_has_are_empty(void **state)
{
    (void)state;
    static const char *const names[] = {"\"\"", "\"a b\"", "\"aaaaaaaaaaaaaaaaa\"", "\"\xc3\xa4\""};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        char body[256];
        const int n =
            snprintf(body, sizeof(body), LINE "\r\n" HEAD "%s\r\n\r\n1\r\n" LINE "--", names[i]);
        assert_int_equal(form(TYPE, body, (size_t)n), 0);
        assert_string_equal(fields[0].name, "");
    }
}

static void a_body_that_was_cut_anywhere_is_refused(void **state)
{
    (void)state;
    const size_t whole = sizeof(BODY) - 1 - 2; /* the last line end may be missing */
    for (size_t bytes = 0; bytes < whole; bytes++)
        assert_int_equal(form(TYPE, BODY, bytes), -EBADMSG);
    assert_int_equal(form(TYPE, BODY, whole), 0);
}

static void other_types_and_boundaries_are_refused(void **state)
{
    (void)state;
    static const char *const types[] = {
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"",
        "multipart/form-data; boundary=\"----geckoformboundary1f",
        "multipart/form-data; boundary=----geckoformboundary1",
        "multipart/form-data; boundary=----geckoformboundary1ff",
        "multipart/form-data; boundary="
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    for (size_t i = 0; i < ARRAY_COUNT(types); i++)
        assert_int_equal(form(types[i], BODY, sizeof(BODY) - 1), -EBADMSG);
}

static void parts_that_are_no_fields_are_refused(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "",
        "Content-Type: text/plain\r\n",
        "Content-Disposition: form-data\r\n",
        "Content-Disposition: attachment; name=\"v\"\r\n",
        "Content-Disposition: form-data; name=\"v\r\n",
        HEAD "\"v\\\"\"\r\n",
        HEAD "\"v\"\r\n" HEAD "\"s\"\r\n",
    };
    for (size_t i = 0; i < ARRAY_COUNT(heads); i++) {
        char body[256];
        const int n = snprintf(body, sizeof(body), LINE "\r\n%s\r\n1\r\n" LINE "--\r\n", heads[i]);
        assert_int_equal(form(TYPE, body, (size_t)n), -EBADMSG);
    }
}

static void fields_and_heads_are_bounded(void **state)
{
    (void)state;
    static const char field[] = LINE "\r\n" HEAD "\"c\"\r\n\r\nA\r\n";
    const size_t field_bytes = sizeof(field) - 1;
    char *body = malloc((FORM_FIELDS_MAX + 1) * field_bytes + sizeof(LINE "--"));
    assert_non_null(body);
    for (uint32_t i = 0; i <= FORM_FIELDS_MAX; i++)
        memcpy(body + i * field_bytes, field, field_bytes);
    for (uint32_t count = FORM_FIELDS_MAX; count <= FORM_FIELDS_MAX + 1; count++) {
        memcpy(body + count * field_bytes, LINE "--", sizeof(LINE "--"));
        assert_int_equal(form(TYPE, body, count * field_bytes + sizeof(LINE "--") - 1),
                         count == FORM_FIELDS_MAX ? 0 : -EBADMSG);
        memcpy(body + FORM_FIELDS_MAX * field_bytes, field, field_bytes);
    }
    free(body);
    char head[2 * FORM_HEAD_BYTES_MAX];
    const int n =
        snprintf(head, sizeof(head), LINE "\r\nX: %0*d\r\n" HEAD "\"v\"\r\n\r\n1\r\n" LINE "--",
                 FORM_HEAD_BYTES_MAX, 0);
    assert_int_equal(form(TYPE, head, (size_t)n), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_read_where_they_stand),
        cmocka_unit_test(a_quoted_boundary_and_other_headers_are_fine),
        cmocka_unit_test(names_that_no_format_has_are_empty),
        cmocka_unit_test(a_body_that_was_cut_anywhere_is_refused),
        cmocka_unit_test(other_types_and_boundaries_are_refused),
        cmocka_unit_test(parts_that_are_no_fields_are_refused),
        cmocka_unit_test(fields_and_heads_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
