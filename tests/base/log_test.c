#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Runs one log_line() with stderr in a pipe and gives back what it wrote. */
static size_t log_capture(char *out, size_t out_bytes, enum log_level level, const char *text)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const int saved = dup(STDERR_FILENO);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    assert_int_equal(close(ends[1]), 0);
    log_line(level, "event", "text=%s", text);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    assert_int_equal(close(saved), 0);
    const ssize_t got = read(ends[0], out, out_bytes - 1);
    assert_int_equal(close(ends[0]), 0);
    assert_true(got >= 0);
    out[got] = '\0';
    return (size_t)got;
}

static void log_writes_one_line_with_event_and_text(void **state)
{
    char out[4096];
    (void)state;
    (void)unsetenv("JOURNAL_STREAM");
    log_init("test", LOG_LEVEL_INFO);
    (void)log_capture(out, sizeof(out), LOG_LEVEL_WARNING, "hello");
    assert_non_null(strstr(out, " warning test: event text=hello\n"));
    assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
}

static void log_drops_lines_above_its_level(void **state)
{
    char out[4096];
    (void)state;
    log_init("test", LOG_LEVEL_WARNING);
    assert_int_equal(log_capture(out, sizeof(out), LOG_LEVEL_INFO, "hello"), 0);
}

static void log_prefixes_the_level_for_the_journal(void **state)
{
    char out[4096];
    (void)state;
    assert_int_equal(setenv("JOURNAL_STREAM", "8:1", 1), 0);
    log_init("test", LOG_LEVEL_INFO);
    (void)log_capture(out, sizeof(out), LOG_LEVEL_ERROR, "hello");
    assert_string_equal(out, "<3>test: event text=hello\n");
    assert_int_equal(unsetenv("JOURNAL_STREAM"), 0);
}

static void log_lets_no_text_forge_a_line(void **state)
{
    char out[4096];
    (void)state;
    (void)unsetenv("JOURNAL_STREAM");
    log_init("test", LOG_LEVEL_INFO);
    (void)log_capture(out, sizeof(out), LOG_LEVEL_INFO, "a\r\n<3>forged: x\x1b[2J\x7f");
    assert_non_null(strstr(out, "text=a\\x0d\\x0a<3>forged: x\\x1b[2J\\x7f\n"));
    assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
}

static void log_cuts_a_long_line_and_still_ends_it(void **state)
{
    char out[4096];
    char text[3 * LOG_LINE_BYTES_MAX];
    (void)state;
    memset(text, '\n', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    log_init("test", LOG_LEVEL_INFO);
    const size_t got = log_capture(out, sizeof(out), LOG_LEVEL_INFO, text);
    assert_in_range(got, LOG_LINE_BYTES_MAX / 2, LOG_LINE_BYTES_MAX + 1);
    assert_int_equal(out[got - 1], '\n');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_writes_one_line_with_event_and_text),
        cmocka_unit_test(log_drops_lines_above_its_level),
        cmocka_unit_test(log_prefixes_the_level_for_the_journal),
        cmocka_unit_test(log_lets_no_text_forge_a_line),
        cmocka_unit_test(log_cuts_a_long_line_and_still_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
