#include "keyservice/server/master_file.h"

#include "base/assert.h"
#include "crypto/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 4096
#define TEXT_BYTES (MASTER_FILE_BYTES_MAX + 128) /* a file and a line more */

/* Reads the file, refusing one that others than its owner may read. */
int master_file_read(const char *path, char text[MASTER_FILE_BYTES_MAX], size_t *text_bytes,
                     char why[MASTER_WHY_BYTES])
{
    struct stat info;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        const int rc = -errno;
        (void)snprintf(why, MASTER_WHY_BYTES, "%s: %s", path, strerror(-rc));
        return rc;
    }
    int rc = fstat(fd, &info) != 0 ? -errno : 0;
    if (rc == 0 && (!S_ISREG(info.st_mode) || (info.st_mode & 077) != 0)) {
        (void)snprintf(why, MASTER_WHY_BYTES, "%s: others may read it; chmod 0600", path);
        rc = -EPERM;
        goto close_fd;
    }
    size_t used = 0;
    while (rc == 0 && used < MASTER_FILE_BYTES_MAX) {
        const ssize_t n = read(fd, text + used, MASTER_FILE_BYTES_MAX - used);
        if (n <= 0) {
            rc = n < 0 ? -errno : 0;
            break;
        }
        used += (size_t)n;
    }
    *text_bytes = used;
    if (rc != 0)
        (void)snprintf(why, MASTER_WHY_BYTES, "%s: %s", path, strerror(-rc));

close_fd:
    (void)close(fd);
    return rc;
}

static int file_write_all(int fd, const char *text, size_t bytes)
{
    size_t done = 0;
    while (done < bytes) {
        const ssize_t n = write(fd, text + done, bytes - done);
        if (n < 0)
            return -errno;
        done += (size_t)n;
    }
    return fsync(fd) != 0 ? -errno : 0;
}

static size_t hex_append(char *text, size_t used, const uint8_t bytes[MASTER_KEY_BYTES])
{
    for (size_t i = 0; i < MASTER_KEY_BYTES; i++)
        used += (size_t)snprintf(text + used, 3, "%02x", bytes[i]);
    text[used++] = '\n';
    return used;
}

/* Appends a line with a fresh key to `text`; returns the new length, 0 without entropy. */
static size_t line_append(char *text, size_t used, uint32_t version)
{
    uint8_t key[MASTER_KEY_BYTES];
    /* Reads of up to 256 bytes are never cut short once the pool is ready (getrandom(2)). */
    if (getrandom(key, sizeof(key), 0) != (ssize_t)sizeof(key))
        return 0;
    used += (size_t)snprintf(text + used, 16, "%u ", version);
    used = hex_append(text, used, key);
    secret_wipe(key, sizeof(key));
    return used;
}

static int file_make(const char *path, const char *text, size_t text_bytes)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    const int rc = file_write_all(fd, text, text_bytes);
    if (close(fd) != 0 && rc == 0)
        return -errno;
    return rc;
}

/* The folder that the path is in, or -errno. */
static int folder_open(const char *path)
{
    char copy[PATH_BYTES];
    const int chars = snprintf(copy, sizeof(copy), "%s", path);
    if (chars < 0 || chars >= PATH_BYTES)
        return -ENAMETOOLONG;
    const int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int master_create(const char *path)
{
    char text[256] = MASTER_FILE_HEAD;
    const int folder_fd = folder_open(path);
    if (folder_fd < 0)
        return folder_fd;
    const size_t used = line_append(text, sizeof(MASTER_FILE_HEAD) - 1, 1);
    int rc = used == 0 ? -EIO : file_make(path, text, used);
    secret_wipe(text, sizeof(text));
    if (rc == 0 && fsync(folder_fd) != 0)
        rc = -errno;
    (void)close(folder_fd);
    return rc;
}

/* One change of the file: at most one at a time, by the lock on the folder. */
struct change {
    const char *path;
    char fresh[PATH_BYTES]; /* what is to come in its place */
    char old[PATH_BYTES];   /* what was there, on its way out */
    int folder_fd;
    struct stat info; /* of the file */
};

static int folder_sync(const struct change *change)
{
    return fsync(change->folder_fd) != 0 ? -errno : 0;
}

/* Zeros over all of it, on the disk. */
static int file_wipe(int fd, off_t bytes)
{
    static const char zeros[512] = {0};
    for (off_t at = 0; at < bytes;) {
        const size_t piece = MIN(sizeof(zeros), (size_t)(bytes - at));
        const ssize_t n = pwrite(fd, zeros, piece, at);
        if (n < 0)
            return -errno;
        at += n;
    }
    return fsync(fd) != 0 ? -errno : 0;
}

/* Gives up a file beside the path; where it is the path's own by another name, that name alone. */
static int file_forget(const struct change *change, const char *name)
{
    struct stat info;
    struct stat own;
    const int fd = open(name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    int rc = fstat(fd, &info) != 0 || stat(change->path, &own) != 0 ? -errno : 0;
    if (rc == 0 && (info.st_ino != own.st_ino || info.st_dev != own.st_dev))
        rc = file_wipe(fd, info.st_size);
    (void)close(fd);
    if (rc == 0 && unlink(name) != 0)
        rc = -errno;
    return rc == 0 ? folder_sync(change) : rc;
}

/* A whole new file beside the path, on the disk; the service reads it as whoever owned the one
 * before. */
static int fresh_make(const struct change *change, const char *text, size_t bytes)
{
    const int rc = file_make(change->fresh, text, bytes);
    if (rc == 0 && geteuid() == 0 &&
        chown(change->fresh, change->info.st_uid, change->info.st_gid) != 0)
        return -errno;
    return rc;
}

/* The new file takes the path, durably. */
static int fresh_place(const struct change *change)
{
    int rc = folder_sync(change);
    if (rc == 0 && rename(change->fresh, change->path) != 0)
        rc = -errno;
    return rc == 0 ? folder_sync(change) : rc;
}

/*
 * Gives up what a change left that was cut off: what the path names is whole, with it or without.
 * Where the old file stands there still, nobody knows whether the new one's name reached the disk:
 * a sync may have failed, and the next would succeed and prove nothing. So the new one is made once
 * more, and what that writes is synced, before the old one is overwritten.
 */
static int change_finish(const struct change *change, char why[MASTER_WHY_BYTES])
{
    char text[TEXT_BYTES];
    struct stat old;
    size_t bytes = 0;
    int rc = file_forget(change, change->fresh);
    if (rc != 0 || lstat(change->old, &old) != 0)
        return rc != 0 ? rc : errno == ENOENT ? 0 : -errno;
    if (old.st_ino != change->info.st_ino || old.st_dev != change->info.st_dev) {
        rc = master_file_read(change->path, text, &bytes, why);
        if (rc == 0)
            rc = fresh_make(change, text, bytes);
        if (rc == 0)
            rc = fresh_place(change);
        secret_wipe(text, sizeof(text));
    }
    return rc == 0 ? file_forget(change, change->old) : rc;
}

static int change_begin(struct change *change, const char *path, char why[MASTER_WHY_BYTES])
{
    (void)snprintf(change->fresh, sizeof(change->fresh), "%s.new", path);
    const int old_chars = snprintf(change->old, sizeof(change->old), "%s.old", path);
    change->path = path;
    change->folder_fd = old_chars < PATH_BYTES ? folder_open(path) : -ENAMETOOLONG;
    int rc = MIN(change->folder_fd, 0);
    if (rc == 0 && flock(change->folder_fd, LOCK_EX | LOCK_NB) != 0)
        rc = errno == EWOULDBLOCK ? -EBUSY : -errno;
    if (rc == -EBUSY)
        (void)snprintf(why, MASTER_WHY_BYTES, "%.180s: another command is changing it", path);
    if (rc == 0)
        rc = stat(path, &change->info) != 0 ? -errno : 0;
    if (rc == 0)
        rc = change_finish(change, why);
    if (rc == 0) /* it may be another file by now */
        rc = stat(path, &change->info) != 0 ? -errno : 0;
    if (rc != 0 && rc != -EBUSY)
        (void)snprintf(why, MASTER_WHY_BYTES, "%.180s: %s", path, strerror(-rc));
    if (rc != 0 && change->folder_fd >= 0)
        (void)close(change->folder_fd);
    return rc;
}

static void change_end(const struct change *change)
{
    (void)close(change->folder_fd); /* and the lock with it */
}

/* The file's text as it was. Whatever the disk has, nobody uses a key that may not be on it. */
static void change_undo(const struct change *change, const char *before, size_t before_bytes)
{
    const int rc = fresh_make(change, before, before_bytes);
    if (rc == 0 && rename(change->fresh, change->path) == 0)
        (void)fsync(change->folder_fd); /* the change has failed, whatever this says */
}

/* The new text takes the path, durably; with `wipe` the old file is then overwritten. */
static int change_put(const struct change *change, const char *text, size_t bytes,
                      const char *before, size_t before_bytes, bool wipe)
{
    struct stat info;
    int rc = fresh_make(change, text, bytes);
    if (rc == 0 && wipe && link(change->path, change->old) != 0)
        rc = -errno;
    if (rc == 0)
        rc = fresh_place(change);
    if (rc == 0)
        return wipe ? file_forget(change, change->old) : 0;
    if (stat(change->path, &info) == 0 && info.st_ino != change->info.st_ino)
        change_undo(change, before, before_bytes);
    return rc;
}

static int add_line(const struct change *change, char why[MASTER_WHY_BYTES])
{
    char text[TEXT_BYTES];
    char before[TEXT_BYTES];
    size_t used = 0;
    struct master *master = NULL;
    int rc = master_open(&master, change->path, why);
    if (rc != 0)
        return rc;
    const uint32_t version = master_version(master) + 1;
    master_close(master);
    if (version > MASTER_VERSIONS_MAX) {
        (void)snprintf(why, MASTER_WHY_BYTES, "%.180s: holds %d keys already", change->path,
                       MASTER_VERSIONS_MAX);
        return -ENOSPC;
    }
    rc = master_file_read(change->path, text, &used, why);
    if (rc != 0)
        return rc;
    memcpy(before, text, used);
    const size_t before_bytes = used;
    used = line_append(text, used, version);
    rc = used == 0 ? -EIO : change_put(change, text, used, before, before_bytes, false);
    secret_wipe(text, sizeof(text));
    secret_wipe(before, sizeof(before));
    if (rc != 0)
        (void)snprintf(why, MASTER_WHY_BYTES, "%.200s: %s", change->fresh, strerror(-rc));
    return rc;
}

int master_add(const char *path, char why[MASTER_WHY_BYTES])
{
    struct change change;
    int rc = change_begin(&change, path, why);
    if (rc != 0)
        return rc;
    rc = add_line(&change, why);
    change_end(&change);
    return rc;
}

/* The file's text with one line made to what a retired version leaves; 0 when it is not there. */
static size_t text_retire(char fresh[TEXT_BYTES], const char *text, size_t text_bytes,
                          uint32_t version, const uint8_t left[MASTER_KEY_BYTES])
{
    char head[16];
    const size_t head_chars = (size_t)snprintf(head, sizeof(head), "\n%u ", version);
    const char *line = memmem(text, text_bytes, head, head_chars);
    if (line == NULL)
        return 0;
    size_t used = (size_t)(line - text) + head_chars;
    const char *rest = memchr(text + used, '\n', text_bytes - used);
    if (rest == NULL)
        return 0;
    const size_t rest_chars = text_bytes - (size_t)(rest + 1 - text);
    memcpy(fresh, text, used);
    memcpy(fresh + used, MASTER_FILE_RETIRED, sizeof(MASTER_FILE_RETIRED) - 1);
    used = hex_append(fresh, used + sizeof(MASTER_FILE_RETIRED) - 1, left);
    memcpy(fresh + used, rest + 1, rest_chars);
    return used + rest_chars;
}

static int retire_line(const struct change *change, const struct master *master, uint32_t version,
                       char why[MASTER_WHY_BYTES])
{
    char text[TEXT_BYTES];
    char fresh[TEXT_BYTES];
    uint8_t left[MASTER_KEY_BYTES];
    size_t text_bytes = 0;
    int rc = master_file_read(change->path, text, &text_bytes, why);
    if (rc != 0)
        return rc;
    rc = master_extract(master, version, left);
    const size_t fresh_bytes = rc == 0 ? text_retire(fresh, text, text_bytes, version, left) : 0;
    if (rc == 0)
        rc = fresh_bytes == 0 || fresh_bytes > MASTER_FILE_BYTES_MAX
                 ? -EBADMSG
                 : change_put(change, fresh, fresh_bytes, text, text_bytes, true);
    secret_wipe(text, sizeof(text));
    secret_wipe(fresh, sizeof(fresh));
    secret_wipe(left, sizeof(left));
    if (rc != 0)
        (void)snprintf(why, MASTER_WHY_BYTES, "%.200s: %s", change->path, strerror(-rc));
    return rc;
}

static int retire_checked(const struct change *change, uint32_t version, char why[MASTER_WHY_BYTES])
{
    struct master *master = NULL;
    int rc = master_open(&master, change->path, why);
    if (rc != 0)
        return rc;
    if (version == 0 || version >= master_version(master)) {
        (void)snprintf(why, MASTER_WHY_BYTES,
                       "%.180s: holds no master key %u that is older than"
                       " the newest",
                       change->path, version);
        rc = -ENOKEY;
    } else if (!master_retired(master, version)) {
        if (change->info.st_nlink != 1) {
            (void)snprintf(why, MASTER_WHY_BYTES,
                           "%.150s has another name (a hard link), which would be overwritten:"
                           " remove that first",
                           change->path);
            rc = -EMLINK;
        } else {
            rc = retire_line(change, master, version, why);
        }
    }
    master_close(master);
    return rc;
}

int master_retire(const char *path, uint32_t version, char why[MASTER_WHY_BYTES])
{
    struct change change;
    int rc = change_begin(&change, path, why);
    if (rc != 0)
        return rc;
    rc = retire_checked(&change, version, why);
    change_end(&change);
    return rc;
}
