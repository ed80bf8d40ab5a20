#include "engine/spool_key.h"

#include "crypto/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static int PRINTF_LIKE(3, 4)
    key_fault(int rc, char why[SPOOL_KEY_WHY_BYTES], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, SPOOL_KEY_WHY_BYTES, format, args);
    va_end(args);
    return rc;
}

/* Whether the file stands in the folder or below it; links are followed. */
static bool stands_in(const char *path, const char *folder)
{
    char file_at[PATH_MAX];
    char folder_at[PATH_MAX];
    if (realpath(path, file_at) == NULL || realpath(folder, folder_at) == NULL)
        return false;
    const size_t length = strlen(folder_at);
    return strncmp(file_at, folder_at, length) == 0 && file_at[length] == '/';
}

/* A short file: one more byte than the key shows one that is too long. */
static int key_read(int fd, uint8_t key[SPOOL_KEY_BYTES])
{
    uint8_t bytes[SPOOL_KEY_BYTES + 1];
    size_t used = 0;
    ssize_t n = 1;
    while (used < sizeof(bytes) && n != 0) {
        n = read(fd, bytes + used, sizeof(bytes) - used);
        if (n < 0 && errno != EINTR) {
            const int rc = -errno;
            secret_wipe(bytes, sizeof(bytes));
            return rc;
        }
        used += n > 0 ? (size_t)n : 0;
    }
    if (used == SPOOL_KEY_BYTES)
        memcpy(key, bytes, SPOOL_KEY_BYTES);
    secret_wipe(bytes, sizeof(bytes));
    return used == SPOOL_KEY_BYTES ? 0 : -EBADMSG;
}

static bool is_zero(const uint8_t key[SPOOL_KEY_BYTES])
{
    static const uint8_t zero[SPOOL_KEY_BYTES];
    return ct_equal(key, zero, sizeof(zero));
}

int spool_key_load(uint8_t key[SPOOL_KEY_BYTES], const char *path, const char *folder,
                   char why[SPOOL_KEY_WHY_BYTES])
{
    char credential[PATH_MAX];
    const char *credentials = getenv("CREDENTIALS_DIRECTORY");
    const bool named = path[0] != '\0';
    if (!named && credentials == NULL)
        return key_fault(-EINVAL, why,
                         "spool needs spool_key: make one with bullad --make-spool-key FILE");
    if (!named) {
        (void)snprintf(credential, sizeof(credential), "%s/%s", credentials, SPOOL_KEY_CREDENTIAL);
        path = credential;
    }
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return key_fault(-errno, why,
                         "the spool key %.300s cannot be read (%s): make one with bullad "
                         "--make-spool-key FILE",
                         path, strerror(errno));
    struct stat status;
    int rc = fstat(fd, &status) != 0 ? -errno : 0;
    if (rc == 0 && !S_ISREG(status.st_mode))
        rc = key_fault(-EINVAL, why, "the spool key %.300s is not a file", path);
    /* systemd's credentials are 0440 in a folder that only the service can enter. */
    else if (rc == 0 && named && (status.st_mode & 077) != 0)
        rc = key_fault(-EINVAL, why, "others may read the spool key: chmod 600 %.300s", path);
    else if (rc == 0 && stands_in(path, folder))
        rc = key_fault(-EINVAL, why, "the spool key stands in the spool's folder: move %.300s away",
                       path);
    if (rc == 0)
        rc = key_read(fd, key);
    (void)close(fd);
    if (rc == -EBADMSG || (rc == 0 && is_zero(key)))
        return key_fault(-EINVAL, why,
                         "the spool key %.300s is not %d random bytes: make one with bullad "
                         "--make-spool-key FILE",
                         path, SPOOL_KEY_BYTES);
    if (rc != 0 && why[0] == '\0')
        return key_fault(rc, why, "the spool key %.300s: %s", path, strerror(-rc));
    return rc;
}

static int folder_sync(const char *path)
{
    char copy[PATH_MAX];
    if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy))
        return -ENAMETOOLONG;
    const int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    const int rc = fsync(fd) != 0 ? -errno : 0;
    (void)close(fd);
    return rc;
}

int spool_key_make(const char *path, char why[SPOOL_KEY_WHY_BYTES])
{
    uint8_t key[SPOOL_KEY_BYTES];
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 && errno == EEXIST)
        return key_fault(
            -EEXIST, why,
            "%.300s is there already and is left as it is: mail that waits may need it", path);
    if (fd < 0)
        return key_fault(-errno, why, "%.300s cannot be made: %s", path, strerror(errno));
    int rc = getrandom(key, sizeof(key), 0) == (ssize_t)sizeof(key) ? 0 : -EIO;
    if (rc == 0 && write(fd, key, sizeof(key)) != (ssize_t)sizeof(key))
        rc = errno == 0 ? -EIO : -errno;
    secret_wipe(key, sizeof(key));
    if (rc == 0 && fsync(fd) != 0)
        rc = -errno;
    (void)close(fd);
    if (rc == 0)
        rc = folder_sync(path);
    if (rc != 0) {
        (void)unlink(path);
        return key_fault(rc, why, "%.300s cannot be written: %s", path, strerror(-rc));
    }
    return 0;
}
