#include "tools/bulla/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* What `command_fail` says, caught on a pipe that stands in for stderr. */
static size_t said(char *room, size_t room_bytes, int *status, const char *text)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    int before = dup(STDERR_FILENO);
    assert_true(before >= 0);
    (void)fflush(stderr);
    dup2(ends[1], STDERR_FILENO);
    *status = command_fail(EX_DATAERR, "%s", text);
    (void)fflush(stderr);
    dup2(before, STDERR_FILENO);
    close(before);
    close(ends[1]);
    ssize_t got = read(ends[0], room, room_bytes - 1);
    close(ends[0]);
    assert_true(got > 0);
    room[got] = '\0';
    return (size_t)got;
}

static void command_fail_says_one_line_and_gives_the_status(void **state)
{
    (void)state;
    char line[256];
    int status = 0;
    command_init("seal");
    said(line, sizeof(line), &status, "mend this");
    assert_int_equal(status, EX_DATAERR);
    assert_string_equal(line, "bulla seal: mend this\n");
}

static void command_fail_lets_no_control_byte_through(void **state)
{
    (void)state;
    char line[256];
    int status = 0;
    size_t bytes = said(line, sizeof(line), &status, "a\nb\r\033[2Jc\x7f");
    assert_null(memchr(line, '\033', bytes));
    assert_null(memchr(line, '\r', bytes));
    assert_ptr_equal(memchr(line, '\n', bytes), line + bytes - 1);
}

static void command_seconds_takes_whole_numbers_in_bounds_only(void **state)
{
    (void)state;
    assert_int_equal(command_seconds("1", 60), 1);
    assert_int_equal(command_seconds("060", 60), 60);
    const char *const refused[] = {"", "0", "61", "-1", "1.5", "1s", " 1", "1 ", "99999999999999"};
    for (size_t i = 0; i < ARRAY_COUNT(refused); i++)
        assert_int_equal(command_seconds(refused[i], 60), 0);
}

static void command_environment_treats_empty_as_unset(void **state)
{
    (void)state;
    setenv("BULLA_TEST_VARIABLE", "", 1);
    assert_string_equal(command_environment("BULLA_TEST_VARIABLE", "default"), "default");
    setenv("BULLA_TEST_VARIABLE", "set", 1);
    assert_string_equal(command_environment("BULLA_TEST_VARIABLE", "default"), "set");
    unsetenv("BULLA_TEST_VARIABLE");
    assert_null(command_environment("BULLA_TEST_VARIABLE", NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(command_fail_says_one_line_and_gives_the_status),
        cmocka_unit_test(command_fail_lets_no_control_byte_through),
        cmocka_unit_test(command_seconds_takes_whole_numbers_in_bounds_only),
        cmocka_unit_test(command_environment_treats_empty_as_unset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
