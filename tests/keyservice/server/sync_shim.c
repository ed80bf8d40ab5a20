/* Preloaded into bulla-keyd by sync_test.py, which has it note every sync and fail some, and by
 * master_key_test.py, which has it end the program before the n-th change of what a disk holds, or
 * fail that change. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int fdatasync(int fd);
int fsync(int fd);

/* $BULLA_DIE_AT: nothing is written any more from that step on, as if the machine had stopped.
 * $BULLA_FAIL_AT: that step, and no other, fails, and standard error says that it came to that. */
static int step_take(void)
{
    static const char failed[] = "a step failed\n";
    static int steps;
    const char *die_at = getenv("BULLA_DIE_AT");
    const char *fail_at = getenv("BULLA_FAIL_AT");
    steps++;
    if (die_at != NULL && steps == (int)strtol(die_at, NULL, 10))
        (void)kill(getpid(), SIGKILL);
    if (fail_at == NULL || steps != (int)strtol(fail_at, NULL, 10))
        return 0;
    if (write(STDERR_FILENO, failed, sizeof(failed) - 1) < 0)
        abort();
    errno = EIO;
    return -1;
}

/* Appends the name of what is synced to $BULLA_SYNC_LOG; fails while $BULLA_SYNC_FAIL holds it. */
static int sync_seen(long call, int fd)
{
    char link[64];
    char path[4096];
    char line[4097];
    char failing[256] = "";
    if (step_take() != 0)
        return -1;
    const char *log = getenv("BULLA_SYNC_LOG");
    const char *fail = getenv("BULLA_SYNC_FAIL");
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    const ssize_t chars = readlink(link, path, sizeof(path) - 1);
    path[chars < 0 ? 0 : chars] = '\0';
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    const int fail_fd = fail == NULL ? -1 : open(fail, O_RDONLY | O_CLOEXEC);
    if (fail_fd >= 0) {
        const ssize_t bytes = read(fail_fd, failing, sizeof(failing) - 1);
        failing[bytes < 0 ? 0 : bytes] = '\0';
        (void)close(fail_fd);
    }
    if (failing[0] != '\0' && strcmp(failing, name) == 0) {
        errno = EIO;
        return -1;
    }
    const int done = (int)syscall(call, fd);
    const int log_fd =
        log == NULL ? -1 : open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (log_fd >= 0) {
        const int n = snprintf(line, sizeof(line), "%s\n", name);
        if (n < 0 || write(log_fd, line, (size_t)n) != n)
            abort();
        (void)close(log_fd);
    }
    return done;
}

int fdatasync(int fd)
{
    return sync_seen(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    return sync_seen(SYS_fsync, fd);
}

int rename(const char *from, const char *to)
{
    if (step_take() != 0)
        return -1;
    return (int)syscall(SYS_rename, from, to);
}

int link(const char *from, const char *to)
{
    if (step_take() != 0)
        return -1;
    return (int)syscall(SYS_link, from, to);
}

int unlink(const char *path)
{
    if (step_take() != 0)
        return -1;
    return (int)syscall(SYS_unlink, path);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at)
{
    if (step_take() != 0)
        return -1;
    return (ssize_t)syscall(SYS_pwrite64, fd, bytes, count, at);
}
