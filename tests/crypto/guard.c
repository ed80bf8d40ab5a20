#include "tests/crypto/guard.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

void guard_open(struct guard *guard, size_t bytes_min)
{
    const size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    const size_t inner_bytes = (bytes_min + page_bytes - 1) / page_bytes * page_bytes;
    guard->map_bytes = inner_bytes + 2 * page_bytes;
    void *map = mmap(NULL, guard->map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(map != MAP_FAILED);
    guard->map = map;
    guard->first = guard->map + page_bytes;
    guard->end = guard->first + inner_bytes;
    assert_int_equal(mprotect(guard->first, inner_bytes, PROT_READ | PROT_WRITE), 0);
}

void guard_close(struct guard *guard)
{
    (void)munmap(guard->map, guard->map_bytes);
}

void expect_abort(void (*body)(void *), void *argument)
{
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit no_core = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)signal(SIGABRT, SIG_DFL);
        const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        (void)dup2(null, STDERR_FILENO); /* the assertion's line is expected */
        body(argument);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}
