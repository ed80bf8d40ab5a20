/*
 * A file system (FUSE) that shows another folder and fails at a chosen operation.
 *
 *     fault_fs FOLDER MOUNTPOINT FAULT INDEX HOW_MANY
 *
 * FAULT names what goes wrong with operations INDEX to INDEX + HOW_MANY - 1 of its kind, counted
 * from 0 since the mount: write-eio, write-enospc, write-short, write-misdirected, write-lost,
 * write-flip, sync-eio, read-eio, read-flip, read-stale, create-enospc; or none. Runs in the
 * foreground until it is unmounted.
 */
#define FUSE_USE_VERSION 31

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXIT_USAGE   64
#define BLOCK_BYTES  4096
#define MISDIRECT_BY 8192

enum fault {
    FAULT_NONE,
    FAULT_WRITE_EIO,
    FAULT_WRITE_ENOSPC,
    FAULT_WRITE_SHORT,
    FAULT_WRITE_MISDIRECTED,
    FAULT_WRITE_LOST,
    FAULT_WRITE_FLIP,
    FAULT_SYNC_EIO,
    FAULT_READ_EIO,
    FAULT_READ_FLIP,
    FAULT_READ_STALE,
    FAULT_CREATE_ENOSPC,
    FAULT_COUNT,
};

static const char *const fault_names[FAULT_COUNT] = {
    [FAULT_NONE] = "none",
    [FAULT_WRITE_EIO] = "write-eio",
    [FAULT_WRITE_ENOSPC] = "write-enospc",
    [FAULT_WRITE_SHORT] = "write-short",
    [FAULT_WRITE_MISDIRECTED] = "write-misdirected",
    [FAULT_WRITE_LOST] = "write-lost",
    [FAULT_WRITE_FLIP] = "write-flip",
    [FAULT_SYNC_EIO] = "sync-eio",
    [FAULT_READ_EIO] = "read-eio",
    [FAULT_READ_FLIP] = "read-flip",
    [FAULT_READ_STALE] = "read-stale",
    [FAULT_CREATE_ENOSPC] = "create-enospc",
};

enum operation { OPERATION_WRITE, OPERATION_SYNC, OPERATION_READ, OPERATION_CREATE };

static struct {
    int folder;
    enum fault fault;
    uint64_t index;
    uint64_t how_many;
    _Atomic uint64_t counts[OPERATION_CREATE + 1];
} faulty;

/* Whether this operation is the one. */
static enum fault now(enum operation operation)
{
    const uint64_t count = atomic_fetch_add(&faulty.counts[operation], 1);
    return count >= faulty.index && count - faulty.index < faulty.how_many ? faulty.fault
                                                                           : FAULT_NONE;
}

/* Paths begin with a slash; what is shown has no folders. */
static const char *name_of(const char *path)
{
    return path[1] == '\0' ? "." : path + 1;
}

static int fs_getattr(const char *path, struct stat *stat, struct fuse_file_info *info)
{
    (void)info;
    return fstatat(faulty.folder, name_of(path), stat, AT_SYMLINK_NOFOLLOW) != 0 ? -errno : 0;
}

static int fs_readdir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset,
                      struct fuse_file_info *info, enum fuse_readdir_flags flags)
{
    const int fd = openat(faulty.folder, name_of(path), O_RDONLY | O_DIRECTORY);
    DIR *listing = fd < 0 ? NULL : fdopendir(fd);
    (void)offset;
    (void)info;
    (void)flags;
    if (listing == NULL)
        return -errno;
    for (const struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
        if (fill(buffer, entry->d_name, NULL, 0, 0) != 0)
            break;
    }
    (void)closedir(listing);
    return 0;
}

static int open_as(const char *path, int flags, mode_t mode, struct fuse_file_info *info)
{
    /* The page cache of the folder below is what stands for its disk. */
    const int fd =
        openat(faulty.folder, name_of(path), flags & ~(O_DIRECT | O_DSYNC | O_SYNC), mode);
    if (fd < 0)
        return -errno;
    info->fh = (uint64_t)fd;
    info->direct_io = 1;
    return 0;
}

static int fs_open(const char *path, struct fuse_file_info *info)
{
    return open_as(path, info->flags, 0, info);
}

static int fs_create(const char *path, mode_t mode, struct fuse_file_info *info)
{
    if (now(OPERATION_CREATE) == FAULT_CREATE_ENOSPC)
        return -ENOSPC;
    return open_as(path, info->flags | O_CREAT, mode, info);
}

static int fs_read(const char *path, char *dst, size_t bytes, off_t offset,
                   struct fuse_file_info *info)
{
    const enum fault fault = now(OPERATION_READ);
    const ssize_t n = pread((int)info->fh, dst, bytes, offset);
    (void)path;
    if (n < 0)
        return -errno;
    if (fault == FAULT_READ_EIO)
        return -EIO;
    if (fault == FAULT_READ_FLIP && n > 0)
        dst[n / 2] ^= 0x10;
    if (fault == FAULT_READ_STALE)
        memset(dst, 0, (size_t)n);
    return (int)n;
}

static int fs_write(const char *path, const char *src, size_t bytes, off_t offset,
                    struct fuse_file_info *info)
{
    const enum fault fault = now(OPERATION_WRITE);
    (void)path;
    if (fault == FAULT_WRITE_EIO)
        return -EIO;
    if (fault == FAULT_WRITE_ENOSPC)
        return -ENOSPC;
    if (fault == FAULT_WRITE_LOST)
        return (int)bytes;
    if (fault == FAULT_WRITE_SHORT)
        bytes = bytes > BLOCK_BYTES ? bytes / 2 & ~(size_t)(BLOCK_BYTES - 1) : bytes / 2;
    if (fault == FAULT_WRITE_MISDIRECTED)
        offset += MISDIRECT_BY;
    const ssize_t n = pwrite((int)info->fh, src, bytes, offset);
    if (n < 0)
        return -errno;
    if (fault == FAULT_WRITE_FLIP && n > 0) {
        const char flipped = (char)(src[n / 3] ^ 1);
        if (pwrite((int)info->fh, &flipped, 1, offset + n / 3) != 1)
            return -EIO;
    }
    return (int)n;
}

static int fs_fsync(const char *path, int data_only, struct fuse_file_info *info)
{
    (void)path;
    (void)data_only;
    (void)info;
    return now(OPERATION_SYNC) == FAULT_SYNC_EIO ? -EIO : 0;
}

static int fs_fsyncdir(const char *path, int data_only, struct fuse_file_info *info)
{
    return fs_fsync(path, data_only, info);
}

static int fs_fallocate(const char *path, int mode, off_t offset, off_t bytes,
                        struct fuse_file_info *info)
{
    (void)path;
    return fallocate((int)info->fh, mode, offset, bytes) != 0 ? -errno : 0;
}

static int fs_truncate(const char *path, off_t bytes, struct fuse_file_info *info)
{
    (void)path;
    if (info == NULL)
        return -EOPNOTSUPP;
    return ftruncate((int)info->fh, bytes) != 0 ? -errno : 0;
}

static int fs_unlink(const char *path)
{
    return unlinkat(faulty.folder, name_of(path), 0) != 0 ? -errno : 0;
}

static int fs_release(const char *path, struct fuse_file_info *info)
{
    (void)path;
    return close((int)info->fh) != 0 ? -errno : 0;
}

static const struct fuse_operations operations = {
    .getattr = fs_getattr,
    .readdir = fs_readdir,
    .open = fs_open,
    .create = fs_create,
    .read = fs_read,
    .write = fs_write,
    .fsync = fs_fsync,
    .fsyncdir = fs_fsyncdir,
    .fallocate = fs_fallocate,
    .truncate = fs_truncate,
    .unlink = fs_unlink,
    .release = fs_release,
};

static bool fault_parse(const char *name)
{
    for (uint32_t i = 0; i < FAULT_COUNT; i++) {
        if (strcmp(fault_names[i], name) == 0) {
            faulty.fault = (enum fault)i;
            return true;
        }
    }
    return false;
}

static bool number_parse(const char *text, uint64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0';
}

int main(int argc, char **argv)
{
    if (argc != 6 || !fault_parse(argv[3]) || !number_parse(argv[4], &faulty.index) ||
        !number_parse(argv[5], &faulty.how_many)) {
        (void)fputs("usage: fault_fs FOLDER MOUNTPOINT FAULT INDEX HOW_MANY\n", stderr);
        return EXIT_USAGE;
    }
    faulty.folder = open(argv[1], O_RDONLY | O_DIRECTORY);
    if (faulty.folder < 0) {
        (void)fprintf(stderr, "fault_fs: %s: %s\n", argv[1], strerror(errno));
        return EXIT_FAILURE;
    }
    char foreground[] = "-f";
    char *arguments[] = {argv[0], foreground, argv[2], NULL};
    return fuse_main(3, arguments, &operations, NULL);
}
