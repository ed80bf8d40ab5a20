/* fdopendir(), O_DIRECT and fallocate() are GNU's names for the compiler. */
#include "queue/disk_folder.h"

#include "base/assert.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int disk_folder_open(const char *folder, char why[DISK_WHY_BYTES])
{
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        return fd;
    const int error = errno;
    (void)snprintf(why, DISK_WHY_BYTES, "cannot open the folder %s: %s", folder, strerror(error));
    return -error;
}

bool disk_name_is_plain(const char name[DISK_NAME_BYTES])
{
    const size_t bytes = strnlen(name, DISK_NAME_BYTES);
    return bytes > 0 && bytes < DISK_NAME_BYTES && name[0] != '.' &&
           memchr(name, '/', bytes) == NULL;
}

int disk_open_flags(enum disk_kind kind, bool direct)
{
    int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW;
    if (kind == DISK_CREATE)
        flags |= O_CREAT | O_EXCL;
    if (direct)
        flags |= O_DIRECT;
    return flags;
}

void disk_direct_refused(bool *direct)
{
    ASSERT(*direct);
    *direct = false;
    log_line(LOG_LEVEL_WARNING, "spool_not_direct",
             "effect=\"writes go through the page cache\" mend=\"a spool folder on ext4 or xfs\"");
}

int disk_allocate(int fd, uint64_t bytes)
{
    for (uint32_t tries = 0; tries < DISK_TRIES_MAX; tries++) {
        if (fallocate(fd, 0, 0, (off_t)bytes) == 0)
            return 0;
        /* Not every file system allocates ahead; the overwriting that follows does. */
        if (errno == EOPNOTSUPP)
            return ftruncate(fd, (off_t)bytes) == 0 ? 0 : -errno;
        if (errno != EINTR)
            return -errno;
    }
    return -EINTR;
}

/* Regular files with plain names that fit; the rest is not ours. */
static bool folder_entry(int folder_fd, const char *name, struct disk_entry *entry)
{
    struct stat stat;
    const size_t bytes = strlen(name);
    if (bytes >= DISK_NAME_BYTES || name[0] == '.')
        return false;
    if (fstatat(folder_fd, name, &stat, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(stat.st_mode))
        return false;
    *entry = (struct disk_entry){.bytes = (uint64_t)stat.st_size};
    memcpy(entry->name, name, bytes + 1);
    return true;
}

int disk_folder_list(int folder_fd, struct disk_entry *entries, uint32_t entries_max)
{
    const int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    DIR *folder = fdopendir(fd);
    if (folder == NULL) {
        const int error = errno;
        (void)close(fd);
        return -error;
    }
    uint32_t count = 0;
    int rc = 0;
    for (;;) { /* ends with the folder, or when entries_max is not enough */
        errno = 0;
        const struct dirent *found = readdir(folder);
        if (found == NULL) {
            rc = errno != 0 ? -errno : (int)count;
            break;
        }
        struct disk_entry entry;
        if (!folder_entry(folder_fd, found->d_name, &entry))
            continue;
        if (count == entries_max) {
            rc = -E2BIG;
            break;
        }
        entries[count++] = entry;
    }
    (void)closedir(folder);
    return rc;
}

void disk_close(struct disk *disk)
{
    if (disk != NULL)
        disk->ops->close(disk);
}
