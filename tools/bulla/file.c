#include "tools/bulla/file.h"

#include "crypto/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_FIRST_BYTES (64 * 1024)
#define FILE_WRITES_MAX  (1u << 24) /* write(2) calls for one file, each at least one byte */
#define FILE_PATH_BYTES  4096
#define FILE_TEMP_SUFFIX ".new"

/* Twice the room, the old bytes wiped: realloc() would leave a copy of the mail behind. */
static int file_grow(uint8_t **bytes_at, size_t *room, size_t used, size_t room_max)
{
    size_t larger = MIN(*room * 2, room_max);
    uint8_t *grown = malloc(larger + 1);
    if (grown == NULL)
        return -ENOMEM;
    memcpy(grown, *bytes_at, used);
    file_forget(*bytes_at, used);
    *bytes_at = grown;
    *room = larger;
    return 0;
}

static int file_read_fd(int fd, size_t bytes_max, uint8_t **bytes_at, size_t *bytes)
{
    struct stat status;
    size_t room = FILE_FIRST_BYTES;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0)
        room = (size_t)status.st_size + 1; /* one more, so that the end is seen at once */
    room = MIN(room, bytes_max + 1);
    uint8_t *at = malloc(room + 1);
    if (at == NULL)
        return -ENOMEM;

    int rc = 0;
    size_t used = 0;
    while (used <= bytes_max) {
        if (used == room && (rc = file_grow(&at, &room, used, bytes_max + 1)) != 0)
            break;
        ssize_t got = read(fd, at + used, room - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            rc = -errno;
        if (got <= 0)
            break;
        used += (size_t)got;
    }
    if (rc == 0 && used > bytes_max)
        rc = -EFBIG;
    if (rc != 0) {
        file_forget(at, used);
        return rc;
    }
    at[used] = '\0';
    *bytes_at = at;
    *bytes = used;
    return 0;
}

int file_read(const char *path, size_t bytes_max, uint8_t **bytes_at, size_t *bytes)
{
    if (path == NULL || strcmp(path, "-") == 0)
        return file_read_fd(STDIN_FILENO, bytes_max, bytes_at, bytes);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -errno;
    int rc = file_read_fd(fd, bytes_max, bytes_at, bytes);
    close(fd);
    return rc;
}

void file_forget(uint8_t *bytes_at, size_t bytes)
{
    if (bytes_at == NULL)
        return;
    secret_wipe(bytes_at, bytes);
    free(bytes_at);
}

int file_write_all(int fd, const uint8_t *bytes_at, size_t bytes)
{
    size_t done = 0;
    for (uint32_t n = 0; n < FILE_WRITES_MAX && done < bytes; n++) {
        ssize_t wrote = write(fd, bytes_at + done, bytes - done);
        if (wrote < 0 && errno != EINTR)
            return -errno;
        if (wrote > 0)
            done += (size_t)wrote;
    }
    return done == bytes ? 0 : -EIO;
}

int file_replace(const char *path, mode_t mode, const uint8_t *bytes_at, size_t bytes)
{
    char temporary[FILE_PATH_BYTES];
    int chars = snprintf(temporary, sizeof(temporary), "%s" FILE_TEMP_SUFFIX, path);
    if (chars < 0 || (size_t)chars >= sizeof(temporary))
        return -ENAMETOOLONG;
    (void)unlink(temporary); /* of a run that was cut short */
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return -errno;
    int rc = fchmod(fd, mode) == 0 ? 0 : -errno; /* whatever the umask says */
    if (rc == 0)
        rc = file_write_all(fd, bytes_at, bytes);
    if (rc == 0 && fsync(fd) != 0)
        rc = -errno;
    if (close(fd) != 0 && rc == 0)
        rc = -errno;
    if (rc == 0 && rename(temporary, path) != 0)
        rc = -errno;
    if (rc != 0)
        (void)unlink(temporary);
    return rc;
}
