/*
 * A file system (FUSE) that shows another folder and fails at a chosen operation.
 *
 *     fault_fs FOLDER MOUNTPOINT FAULT INDEX HOW_MANY
 *
 * FAULT names what goes wrong with operations INDEX to INDEX + HOW_MANY - 1 of its kind, counted
 * from 0 since the mount; `kinds` below has the names. Runs in the foreground until it is
 * unmounted, and then says how many operations went wrong.
 */
#define FUSE_USE_VERSION 31

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXIT_USAGE   64
#define BLOCK_BYTES  4096
#define MISDIRECT_BY 8192

enum operation { OPERATION_WRITE, OPERATION_SYNC, OPERATION_READ, OPERATION_CREATE };

enum fault {
    FAULT_NONE,
    FAULT_ERROR, /* the operation fails, and nothing was done */
    FAULT_SHORT,
    FAULT_MISDIRECTED,
    FAULT_LOST,
    FAULT_FLIP,
    FAULT_STALE,
};

static const struct kind {
    const char *name;
    enum operation operation;
    enum fault fault;
    int error;
} kinds[] = {
    {"none", OPERATION_WRITE, FAULT_NONE, 0},
    {"write-eio", OPERATION_WRITE, FAULT_ERROR, EIO},
    {"write-enospc", OPERATION_WRITE, FAULT_ERROR, ENOSPC},
    {"write-eintr", OPERATION_WRITE, FAULT_ERROR, EINTR},
    {"write-ecanceled", OPERATION_WRITE, FAULT_ERROR, ECANCELED},
    {"write-short", OPERATION_WRITE, FAULT_SHORT, 0},
    {"write-misdirected", OPERATION_WRITE, FAULT_MISDIRECTED, 0},
    {"write-lost", OPERATION_WRITE, FAULT_LOST, 0},
    {"write-flip", OPERATION_WRITE, FAULT_FLIP, 0},
    {"sync-eio", OPERATION_SYNC, FAULT_ERROR, EIO},
    {"sync-eintr", OPERATION_SYNC, FAULT_ERROR, EINTR},
    {"read-eio", OPERATION_READ, FAULT_ERROR, EIO},
    {"read-eintr", OPERATION_READ, FAULT_ERROR, EINTR},
    {"read-flip", OPERATION_READ, FAULT_FLIP, 0},
    {"read-stale", OPERATION_READ, FAULT_STALE, 0},
    {"create-enospc", OPERATION_CREATE, FAULT_ERROR, ENOSPC},
};

static struct {
    int folder;
    const struct kind *kind;
    uint64_t index;
    uint64_t how_many;
    _Atomic uint64_t count; /* of operations of the kind */
    _Atomic uint64_t wrong; /* of them                   */
} faulty;

/* What goes wrong with this operation. */
static enum fault now(enum operation operation)
{
    if (operation != faulty.kind->operation || faulty.kind->fault == FAULT_NONE)
        return FAULT_NONE;
    const uint64_t count = atomic_fetch_add(&faulty.count, 1);
    if (count < faulty.index || count - faulty.index >= faulty.how_many)
        return FAULT_NONE;
    atomic_fetch_add(&faulty.wrong, 1);
    return faulty.kind->fault;
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
    if (now(OPERATION_CREATE) == FAULT_ERROR)
        return -faulty.kind->error;
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
    if (fault == FAULT_ERROR)
        return -faulty.kind->error;
    if (fault == FAULT_FLIP && n > 0)
        dst[n / 2] ^= 0x10;
    if (fault == FAULT_STALE)
        memset(dst, 0, (size_t)n);
    return (int)n;
}

static int fs_write(const char *path, const char *src, size_t bytes, off_t offset,
                    struct fuse_file_info *info)
{
    const enum fault fault = now(OPERATION_WRITE);
    (void)path;
    if (fault == FAULT_ERROR)
        return -faulty.kind->error;
    if (fault == FAULT_LOST)
        return (int)bytes;
    if (fault == FAULT_SHORT)
        bytes = bytes > BLOCK_BYTES ? bytes / 2 & ~(size_t)(BLOCK_BYTES - 1) : bytes / 2;
    if (fault == FAULT_MISDIRECTED)
        offset += MISDIRECT_BY;
    const ssize_t n = pwrite((int)info->fh, src, bytes, offset);
    if (n < 0)
        return -errno;
    if (fault == FAULT_FLIP && n > 0) {
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
    return now(OPERATION_SYNC) == FAULT_ERROR ? -faulty.kind->error : 0;
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

static bool kind_parse(const char *name)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            faulty.kind = &kinds[i];
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
    if (argc != 6 || !kind_parse(argv[3]) || !number_parse(argv[4], &faulty.index) ||
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
    const int status = fuse_main(3, arguments, &operations, NULL);
    (void)printf("%" PRIu64 "\n", atomic_load(&faulty.wrong));
    return status;
}
