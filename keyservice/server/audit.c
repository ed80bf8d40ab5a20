#include "keyservice/server/audit.h"

#include "base/assert.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define AUDIT_START "0000000000000000000000000000000000000000000000000000000000000000"

struct audit {
    pthread_mutex_t mutex;
    pthread_mutex_t sync_mutex;
    int fd;
    uint64_t sequence; /* of the last line */
    uint64_t synced;   /* last line known to be on stable storage; under sync_mutex */
    int sync_failed;   /* 0, or why no line of this run is trusted any more; under sync_mutex */
    off_t end;         /* of the file as we left it; another length: someone else wrote */
    char hash[AUDIT_HASH_CHARS + 1];
};

/* SHA-256 over the previous line's hash, as written, and this line's JSON. */
static int chain_hash(const char *previous, const char *json, size_t json_bytes,
                      char hash[AUDIT_HASH_CHARS + 1])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned int digest_bytes = 0;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const bool fine = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
                      EVP_DigestUpdate(ctx, previous, AUDIT_HASH_CHARS) == 1 &&
                      EVP_DigestUpdate(ctx, json, json_bytes) == 1 &&
                      EVP_DigestFinal_ex(ctx, digest, &digest_bytes) == 1;
    EVP_MD_CTX_free(ctx);
    if (!fine)
        return -EIO;
    for (unsigned int i = 0; i < digest_bytes; i++)
        (void)snprintf(hash + 2 * (size_t)i, 3, "%02x", digest[i]);
    return 0;
}

/* Splits "<64 hex> {json}" and checks it against the chain; returns the line's number or 0. */
static uint64_t line_check(const char *line, size_t line_bytes, const char *previous,
                           char hash[AUDIT_HASH_CHARS + 1])
{
    if (line_bytes < AUDIT_HASH_CHARS + 2 || line[AUDIT_HASH_CHARS] != ' ')
        return 0;
    const char *json = line + AUDIT_HASH_CHARS + 1;
    const size_t json_bytes = line_bytes - AUDIT_HASH_CHARS - 1;
    if (previous != NULL) {
        char right[AUDIT_HASH_CHARS + 1];
        if (chain_hash(previous, json, json_bytes, right) != 0 ||
            memcmp(right, line, AUDIT_HASH_CHARS) != 0)
            return 0;
    }
    json_t *root = json_loadb(json, json_bytes, JSON_REJECT_DUPLICATES, NULL);
    const json_int_t sequence = json_integer_value(json_object_get(root, "seq"));
    json_decref(root);
    memcpy(hash, line, AUDIT_HASH_CHARS);
    hash[AUDIT_HASH_CHARS] = '\0';
    return sequence > 0 ? (uint64_t)sequence : 0;
}

/* Goes on from the file's last line: at start, and after another process appended. */
static int audit_resume(struct audit *audit, off_t size)
{
    char tail[AUDIT_LINE_BYTES_MAX + 1];
    if (size == 0) {
        audit->sequence = 0;
        audit->end = 0;
        memcpy(audit->hash, AUDIT_START, AUDIT_HASH_CHARS + 1);
        return 0;
    }
    const size_t tail_bytes = (size_t)MIN(size, (off_t)sizeof(tail));
    if (pread(audit->fd, tail, tail_bytes, size - (off_t)tail_bytes) != (ssize_t)tail_bytes)
        return -EIO;
    if (tail[tail_bytes - 1] != '\n') /* a crash cut the last line: say so, do not guess */
        return -EBADMSG;
    size_t start = tail_bytes - 1;
    while (start > 0 && tail[start - 1] != '\n')
        start--;
    audit->sequence = line_check(tail + start, tail_bytes - 1 - start, NULL, audit->hash);
    audit->end = size;
    return audit->sequence == 0 ? -EBADMSG : 0;
}

/* A crash in the middle of a write leaves half a line, which nobody was answered for: it goes. */
static int audit_trim(struct audit *audit, off_t size)
{
    char tail[AUDIT_LINE_BYTES_MAX + 1];
    const size_t tail_bytes = (size_t)MIN(size, (off_t)sizeof(tail));
    if (tail_bytes == 0)
        return 0;
    if (pread(audit->fd, tail, tail_bytes, size - (off_t)tail_bytes) != (ssize_t)tail_bytes)
        return -EIO;
    size_t keep = tail_bytes;
    while (keep > 0 && tail[keep - 1] != '\n')
        keep--;
    if (keep == tail_bytes)
        return 0;
    if (keep == 0 && size > (off_t)tail_bytes)
        return -EBADMSG; /* longer than any line of ours */
    return ftruncate(audit->fd, size - (off_t)(tail_bytes - keep)) != 0 ? -errno : 0;
}

int audit_open(struct audit **audit, const char *path)
{
    struct stat info;
    struct audit *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    int rc = 0;
    made->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (made->fd < 0) {
        rc = -errno;
        goto free_made;
    }
    if (flock(made->fd, LOCK_EX) != 0 || fstat(made->fd, &info) != 0)
        rc = -errno;
    if (rc == 0)
        rc = audit_trim(made, info.st_size);
    if (rc == 0 && fstat(made->fd, &info) != 0)
        rc = -errno;
    if (rc == 0)
        rc = audit_resume(made, info.st_size);
    (void)flock(made->fd, LOCK_UN);
    if (rc != 0)
        goto close_fd;
    made->synced = made->sequence;
    (void)pthread_mutex_init(&made->mutex, NULL);
    (void)pthread_mutex_init(&made->sync_mutex, NULL);
    *audit = made;
    return 0;

close_fd:
    (void)close(made->fd);
free_made:
    free(made);
    return rc;
}

void audit_close(struct audit *audit)
{
    if (audit == NULL)
        return;
    (void)fdatasync(audit->fd);
    (void)close(audit->fd);
    (void)pthread_mutex_destroy(&audit->sync_mutex);
    (void)pthread_mutex_destroy(&audit->mutex);
    free(audit);
}

static void member_set(json_t *root, const char *name, const char *value)
{
    if (value != NULL && value[0] != '\0')
        (void)json_object_set_new(root, name, json_string(value));
}

/* The line's JSON, malloc'ed; NULL when memory is short. A member that is not UTF-8 is left out. */
static char *event_json(const struct audit_event *event, uint64_t sequence, uint64_t now_unix_ns)
{
    char at[32];
    struct tm utc;
    const time_t now_s = (time_t)(now_unix_ns / NS_PER_S);
    (void)gmtime_r(&now_s, &utc);
    const size_t chars = strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(at + chars, sizeof(at) - chars, ".%03uZ",
                   (unsigned)(now_unix_ns / NS_PER_MS % 1000));
    json_t *root = json_object();
    (void)json_object_set_new(root, "seq", json_integer((json_int_t)sequence));
    member_set(root, "at", at);
    member_set(root, "event", event->event);
    member_set(root, "outcome", event->outcome);
    member_set(root, "m", event->id);
    member_set(root, "user", event->user);
    member_set(root, "from", event->from);
    member_set(root, "by", event->by);
    member_set(root, "detail", event->detail);
    char *json = json_dumps(root, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_ENSURE_ASCII);
    json_decref(root);
    return json;
}

/* With the file locked: appends the line after whatever stands last. */
static int audit_write(struct audit *audit, const struct audit_event *event, uint64_t now_unix_ns)
{
    struct stat info;
    char line[AUDIT_LINE_BYTES_MAX + 1];
    char hash[AUDIT_HASH_CHARS + 1];
    if (fstat(audit->fd, &info) != 0)
        return -errno;
    int rc = info.st_size == audit->end ? 0 : audit_resume(audit, info.st_size);
    if (rc != 0)
        return rc;
    char *json = event_json(event, audit->sequence + 1, now_unix_ns);
    if (json == NULL)
        return -ENOMEM;
    rc = chain_hash(audit->hash, json, strlen(json), hash);
    const int chars = snprintf(line, sizeof(line), "%s %s\n", hash, json);
    free(json);
    if (rc != 0)
        return rc;
    if (chars < 0 || (size_t)chars >= sizeof(line))
        return -EMSGSIZE;
    if (write(audit->fd, line, (size_t)chars) != chars) {
        /* Half a line would break the chain. If it stays, the next event finds a file that is
         * longer than it should be, and audit_resume() deals with it. */
        const int cut = ftruncate(audit->fd, audit->end);
        return cut == 0 ? -EIO : -errno;
    }
    memcpy(audit->hash, hash, sizeof(hash));
    audit->sequence++;
    audit->end += chars;
    return 0;
}

/* One fdatasync covers every line that was written before it began. */
static int audit_sync(struct audit *audit, uint64_t sequence)
{
    (void)pthread_mutex_lock(&audit->sync_mutex);
    int rc = audit->sync_failed;
    if (rc == 0 && audit->synced < sequence) {
        (void)pthread_mutex_lock(&audit->mutex);
        const uint64_t newest = audit->sequence;
        (void)pthread_mutex_unlock(&audit->mutex);
        /* A failed write-back is reported once, and its pages then pass for clean: another sync
         * would succeed and prove nothing. So a failure lasts until the file is opened again. */
        if (fdatasync(audit->fd) != 0)
            audit->sync_failed = rc = -errno;
        else
            audit->synced = newest;
    }
    (void)pthread_mutex_unlock(&audit->sync_mutex);
    return rc;
}

int audit_append(struct audit *audit, const struct audit_event *event, bool durable,
                 uint64_t now_unix_ns)
{
    ASSERT(event->event != NULL);
    (void)pthread_mutex_lock(&audit->mutex);
    int rc = flock(audit->fd, LOCK_EX) != 0 ? -errno : 0;
    if (rc == 0) {
        rc = audit_write(audit, event, now_unix_ns);
        (void)flock(audit->fd, LOCK_UN);
    }
    const uint64_t sequence = audit->sequence;
    (void)pthread_mutex_unlock(&audit->mutex);
    return rc == 0 && durable ? audit_sync(audit, sequence) : rc;
}

void audit_head(struct audit *audit, uint64_t *sequence, char hash[AUDIT_HASH_CHARS + 1])
{
    (void)pthread_mutex_lock(&audit->mutex);
    *sequence = audit->sequence;
    memcpy(hash, audit->hash, AUDIT_HASH_CHARS + 1);
    (void)pthread_mutex_unlock(&audit->mutex);
}

int audit_verify(const char *path, struct audit_check *check)
{
    char line[AUDIT_LINE_BYTES_MAX + 2];
    int rc = 0;
    *check = (struct audit_check){.hash = AUDIT_START};
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return -errno;
    while (fgets(line, sizeof(line), file) != NULL) { /* the file's end bounds it */
        char hash[AUDIT_HASH_CHARS + 1];
        const size_t bytes = strlen(line);
        const bool whole = bytes > 0 && line[bytes - 1] == '\n';
        check->lines_count++;
        if (!whole || line_check(line, bytes - 1, check->hash, hash) != check->lines_count) {
            check->bad_line = check->lines_count;
            rc = -EBADMSG;
            break;
        }
        memcpy(check->hash, hash, sizeof(hash));
    }
    if (rc == 0 && ferror(file))
        rc = -EIO;
    (void)fclose(file);
    return rc;
}
