/* What a process looks like once its program has set it up. */
#include "base/startup.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static void memory_is_in_no_core_and_not_for_a_debugger(void **state)
{
    (void)state;
    /* In a child: a leak check at this program's end looks into it. */
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit core;
        startup_hide_memory();
        _exit(getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur == 0 && core.rlim_max == 0 &&
                      prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0
                  ? 0
                  : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void as_many_files_as_may_be_had(void **state)
{
    (void)state;
    struct rlimit files;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = 64;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    startup_raise_files();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    assert_true(files.rlim_cur == files.rlim_max);
}

static void signals_wait_for_whoever_takes_them(void **state)
{
    (void)state;
    static const int numbers[] = {SIGHUP, SIGTERM, SIGINT};
    const struct timespec none = {0, 0};
    sigset_t signals;
    startup_block_signals(&signals);
    for (size_t n = 0; n < sizeof(numbers) / sizeof(numbers[0]); n++) {
        assert_int_equal(raise(numbers[n]), 0);
        assert_int_equal(sigtimedwait(&signals, NULL, &none), numbers[n]);
    }
    assert_int_equal(sigtimedwait(&signals, NULL, &none), -1);
    assert_int_equal(errno, EAGAIN);
}

static void a_closed_pipe_is_an_error_of_write(void **state)
{
    (void)state;
    int ends[2];
    sigset_t signals;
    startup_block_signals(&signals);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(close(ends[0]), 0);
    assert_int_equal(write(ends[1], "x", 1), -1);
    assert_int_equal(errno, EPIPE);
    assert_int_equal(close(ends[1]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_in_no_core_and_not_for_a_debugger),
        cmocka_unit_test(as_many_files_as_may_be_had),
        cmocka_unit_test(signals_wait_for_whoever_takes_them),
        cmocka_unit_test(a_closed_pipe_is_an_error_of_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
