#include "bench/process.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESS_STOP_MS 10000
#define PROCESS_POLL_MS 20

static _Noreturn void process_exec(const char *const argv[], const char *log_path, int out_fd)
{
    cpu_set_t all;
    memset(&all, 0xff, sizeof(all));
    (void)sched_setaffinity(0, sizeof(all), &all);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    const int log_fd = open(log_path == NULL ? "/dev/null" : log_path,
                            O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    const int in_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (log_fd < 0 || in_fd < 0 || dup2(in_fd, STDIN_FILENO) < 0 ||
        dup2(out_fd, STDOUT_FILENO) < 0 || dup2(log_fd, STDERR_FILENO) < 0)
        _exit(126);
    (void)execvp(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

/* Reads until the program ends or is late; false when late. */
static bool process_read(int fd, uint64_t end_ns, char *out, size_t out_bytes)
{
    size_t used = 0;
    char dropped[4096];
    for (;;) {
        struct pollfd watch = {.fd = fd, .events = POLLIN};
        out[used] = '\0';
        if (poll(&watch, 1, PROCESS_POLL_MS) < 0 && errno != EINTR)
            return false;
        if (watch.revents != 0) {
            const bool full = used + 1 >= out_bytes;
            const ssize_t bytes = read(fd, full ? dropped : out + used,
                                       full ? sizeof(dropped) : out_bytes - 1 - used);
            if (bytes <= 0)
                return true;
            used += full ? 0 : (size_t)bytes;
        }
        if (clock_monotonic_ns() >= end_ns)
            return false;
    }
}

/* Asks it to end, and insists only when it does not; its status. */
static int process_reap(pid_t pid, bool late)
{
    int status = 0;
    if (late)
        (void)kill(pid, SIGTERM);
    for (uint32_t ms = 0; ms < PROCESS_STOP_MS; ms += PROCESS_POLL_MS) {
        if (waitpid(pid, &status, WNOHANG) == pid)
            return status;
        (void)poll(NULL, 0, PROCESS_POLL_MS);
    }
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &status, 0);
    return status;
}

int process_run(const char *const argv[], const char *log_path, uint32_t timeout_s, char *out,
                size_t out_bytes)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0)
        return -errno;
    const pid_t pid = fork();
    if (pid == 0)
        process_exec(argv, log_path, fds[1]);
    (void)close(fds[1]);
    int rc = pid < 0 ? -errno : 0;
    if (rc == 0) {
        const bool done =
            process_read(fds[0], clock_monotonic_ns() + timeout_s * NS_PER_S, out, out_bytes);
        const int status = process_reap(pid, !done);
        if (!done)
            rc = -ETIMEDOUT;
        else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            rc = -EIO;
    }
    (void)close(fds[0]);
    return rc;
}

bool process_on_path(const char *name)
{
    const char *at = getenv("PATH");
    while (at != NULL && *at != '\0') {
        char path[1024];
        const size_t bytes = strcspn(at, ":");
        (void)snprintf(path, sizeof(path), "%.*s/%s", (int)MIN(bytes, (size_t)512), at, name);
        if (access(path, X_OK) == 0)
            return true;
        at += bytes + (at[bytes] == ':');
    }
    return false;
}
