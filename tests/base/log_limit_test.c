/* A flood of lines: the first of each second are let through, and the others are counted exactly.
 */
#include "base/log_limit.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define FLOOD 1000

static uint32_t admitted(struct log_limit *limit, uint64_t now_ns, uint32_t lines)
{
    uint32_t count = 0;
    for (uint32_t n = 0; n < lines; n++)
        count += log_limit_admits(limit, now_ns + n);
    return count;
}

static void a_second_has_its_lines_and_no_more(void **state)
{
    struct log_limit limit = {0};
    (void)state;
    assert_int_equal(admitted(&limit, 7 * NS_PER_S, FLOOD), LOG_LIMIT_LINES_MAX);
    assert_int_equal(admitted(&limit, 8 * NS_PER_S, LOG_LIMIT_LINES_MAX), LOG_LIMIT_LINES_MAX);
    assert_int_equal(admitted(&limit, 8 * NS_PER_S, 1), 0);
}

static void what_was_left_out_is_told_once_when_its_second_is_over(void **state)
{
    struct log_limit limit = {0};
    (void)state;
    (void)admitted(&limit, 7 * NS_PER_S, FLOOD);
    assert_int_equal(log_limit_left_out(&limit, 8 * NS_PER_S - 1), 0);
    assert_int_equal(log_limit_left_out(&limit, 8 * NS_PER_S), FLOOD - LOG_LIMIT_LINES_MAX);
    assert_int_equal(log_limit_left_out(&limit, 8 * NS_PER_S), 0);
}

/* Whoever asks late is told all of it: no line is missing from the sum. */
static void seconds_that_nobody_asked_about_add_up(void **state)
{
    struct log_limit limit = {0};
    uint32_t seen = 0;
    (void)state;
    for (uint64_t s = 1; s <= 5; s++)
        seen += admitted(&limit, s * NS_PER_S, FLOOD);
    assert_int_equal(seen + log_limit_left_out(&limit, 6 * NS_PER_S), 5 * FLOOD);
}

static void few_lines_leave_nothing_to_tell(void **state)
{
    struct log_limit limit = {0};
    (void)state;
    assert_int_equal(admitted(&limit, NS_PER_S, LOG_LIMIT_LINES_MAX), LOG_LIMIT_LINES_MAX);
    assert_int_equal(log_limit_left_out(&limit, 9 * NS_PER_S), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_has_its_lines_and_no_more),
        cmocka_unit_test(what_was_left_out_is_told_once_when_its_second_is_over),
        cmocka_unit_test(seconds_that_nobody_asked_about_add_up),
        cmocka_unit_test(few_lines_leave_nothing_to_tell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
