#include "engine/spool_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int lock_in(int *fd, int folder_fd, const char *folder, char why[SPOOL_LOCK_WHY_BYTES])
{
    struct stat status;
    if (fstat(folder_fd, &status) != 0 || (status.st_mode & 022) != 0) {
        (void)snprintf(why, SPOOL_LOCK_WHY_BYTES,
                       "others may write to the spool's folder: chmod 700 %.300s", folder);
        return -EINVAL;
    }
    const int lock_fd =
        openat(folder_fd, "spool.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock_fd < 0) {
        const int rc = -errno;
        (void)snprintf(why, SPOOL_LOCK_WHY_BYTES,
                       "the spool %.300s cannot be written (%s): make it the engine's user's own",
                       folder, strerror(-rc));
        return rc;
    }
    if (flock(lock_fd, LOCK_EX | LOCK_NB) != 0) {
        (void)close(lock_fd);
        (void)snprintf(why, SPOOL_LOCK_WHY_BYTES,
                       "another engine has the spool %.300s: stop it, or name another folder",
                       folder);
        return -EBUSY;
    }
    *fd = lock_fd;
    return 0;
}

int spool_lock_take(int *fd, const char *folder, char why[SPOOL_LOCK_WHY_BYTES])
{
    const int folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd < 0) {
        const int rc = -errno;
        (void)snprintf(why, SPOOL_LOCK_WHY_BYTES,
                       "the spool's folder %.300s cannot be entered (%s): make it, with mode 0700, "
                       "for the engine's user",
                       folder, strerror(-rc));
        return rc;
    }
    const int rc = lock_in(fd, folder_fd, folder, why);
    (void)close(folder_fd);
    return rc;
}

int spool_lock_check(int fd, const uint8_t mark[SPOOL_LOCK_MARK_BYTES], const char *folder,
                     char why[SPOOL_LOCK_WHY_BYTES])
{
    uint8_t kept[SPOOL_LOCK_MARK_BYTES];
    const ssize_t n = pread(fd, kept, sizeof(kept), 0);
    if (n == (ssize_t)sizeof(kept) && memcmp(kept, mark, sizeof(kept)) == 0)
        return 0;
    if (n == (ssize_t)sizeof(kept)) {
        (void)snprintf(why, SPOOL_LOCK_WHY_BYTES,
                       "the spool %.300s is under another spool_key: put that back until nothing "
                       "waits; then remove spool.lock there",
                       folder);
        return -EINVAL;
    }
    if (n < 0 || pwrite(fd, mark, sizeof(kept), 0) != (ssize_t)sizeof(kept) || fsync(fd) != 0) {
        (void)snprintf(why, SPOOL_LOCK_WHY_BYTES, "spool.lock in %.300s cannot be written", folder);
        return -EIO;
    }
    return 0;
}
