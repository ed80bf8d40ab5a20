#include "tools/bulla/view.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct view *viewed(const char *text, uint64_t now_ns)
{
    json_t *status = json_loads(text, 0, NULL);
    struct view *view = calloc(1, sizeof(*view));
    assert_non_null(status);
    assert_non_null(view);
    view_read(view, status, now_ns);
    json_decref(status);
    return view;
}

static char *printed(const struct view *view, const struct view *before)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    assert_non_null(out);
    if (before == NULL)
        view_print(view, out);
    else
        view_print_rates(view, before, 100, 80, out);
    fclose(out);
    return text;
}

static void view_names_nested_values_with_dots(void **state)
{
    (void)state;
    struct view *view =
        viewed("{\"up\": true, \"workers\": [{\"sealed\": 3}, {\"sealed\": 4}], \"v\": \"0.1\","
               " \"load\": 0.5, \"none\": null}",
               0);
    char *text = printed(view, NULL);
    assert_string_equal(text, "up                yes\nv                 0.1\n"
                              "load              0.500\nnone              -\n"
                              "workers.0.sealed  3\nworkers.1.sealed  4\n");
    free(text);
    free(view);
}

static void view_shows_the_change_per_second(void **state)
{
    (void)state;
    struct view *before = viewed("{\"sealed\": 100, \"same\": 5}", NS_PER_S);
    struct view *view = viewed("{\"sealed\": 300, \"same\": 5, \"new\": 1}", 3 * NS_PER_S);
    char *text = printed(view, before);
    assert_non_null(strstr(text, "300  +100/s"));
    assert_non_null(strstr(text, "new"));
    assert_null(strstr(strstr(text, "same"), "/s"));
    free(text);
    free(before);
    free(view);
}

static void view_lets_no_control_byte_through(void **state)
{
    (void)state;
    struct view *view = viewed("{\"a\\u001b[2J\": \"b\\r\\n\\u001b]0;x\\u0007\"}", 0);
    char *text = printed(view, NULL);
    assert_null(strchr(text, '\033'));
    assert_null(strchr(text, '\r'));
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    free(text);
    free(view);
}

static void view_is_bounded(void **state)
{
    (void)state;
    json_t *status = json_object();
    json_t *nested = json_array();
    for (int i = 0; i < VIEW_LINES_MAX + 10; i++) {
        json_array_append_new(nested, json_pack("{s:i}", "n", i));
    }
    json_object_set_new(status, "many", nested);
    json_t *deep = status;
    for (int i = 0; i < 500; i++) {
        json_t *next = json_object();
        json_object_set_new(deep, "a name that is rather long for a status", next);
        deep = next;
    }
    struct view *view = calloc(1, sizeof(*view));
    assert_non_null(view);
    view_read(view, status, 0);
    assert_true(view->lines_count <= VIEW_LINES_MAX);
    json_decref(status);
    free(view);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(view_names_nested_values_with_dots),
        cmocka_unit_test(view_shows_the_change_per_second),
        cmocka_unit_test(view_lets_no_control_byte_through),
        cmocka_unit_test(view_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
