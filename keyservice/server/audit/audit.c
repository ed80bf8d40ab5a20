#include "keyservice/server/audit/audit.h"

#include "base/assert.h"
#include "keyservice/server/audit/audit_database.h"
#include "keyservice/server/audit/audit_line.h"
#include "keyservice/server/store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define AUDIT_PIECE_BYTES 65536

struct audit {
    struct audit_database *database; /* that has the log, or NULL: the file has */
    char *path;                      /* of the file                             */
    pthread_mutex_t mutex;
    pthread_mutex_t sync_mutex;
    int fd;
    uint64_t sequence; /* of the last line */
    uint64_t synced;   /* last line known to be on stable storage; under sync_mutex */
    int sync_failed;   /* 0, or why no line of this run is trusted any more; under sync_mutex */
    off_t end;         /* of the file as we left it; another length: someone else wrote */
    char hash[AUDIT_HASH_CHARS + 1];
    char piece[AUDIT_PIECE_BYTES]; /* lines that are written at once; under mutex */
};

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
    audit->sequence = audit_line_check(tail + start, tail_bytes - 1 - start, NULL, audit->hash);
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

static int file_open(struct audit *made, const char *path)
{
    struct stat info;
    int rc = 0;
    made->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (made->fd < 0)
        return -errno;
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
        (void)close(made->fd);
    made->synced = made->sequence;
    return rc;
}

int audit_open(struct audit **audit, const char *place)
{
    struct audit *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    int rc = 0;
    if (store_is_url(place))
        rc = audit_database_open(&made->database, place);
    else if ((made->path = strdup(place)) == NULL)
        rc = -ENOMEM;
    else
        rc = file_open(made, place);
    if (rc != 0) {
        free(made->path);
        free(made);
        return rc;
    }
    (void)pthread_mutex_init(&made->mutex, NULL);
    (void)pthread_mutex_init(&made->sync_mutex, NULL);
    *audit = made;
    return 0;
}

void audit_close(struct audit *audit)
{
    if (audit == NULL)
        return;
    if (audit->database == NULL) {
        (void)fdatasync(audit->fd);
        (void)close(audit->fd);
    }
    audit_database_close(audit->database);
    (void)pthread_mutex_destroy(&audit->sync_mutex);
    (void)pthread_mutex_destroy(&audit->mutex);
    free(audit->path);
    free(audit);
}

/* With the file locked: as many of the lines as fit one piece go behind the last; how many. */
static int piece_write(struct audit *audit, struct store_line *const *lines, uint32_t lines_count)
{
    char hash[AUDIT_HASH_CHARS + 1];
    uint64_t sequence = audit->sequence;
    size_t used = 0;
    uint32_t taken = 0;
    memcpy(hash, audit->hash, sizeof(hash));
    for (; taken < lines_count && used + AUDIT_LINE_BYTES_MAX < sizeof(audit->piece); taken++) {
        struct store_line *line = lines[taken];
        uint32_t chars = 0;
        line->rc = audit_line_make(audit->piece + used, &chars, line->event, sequence + 1,
                                   line->now_unix_ns, hash);
        sequence += line->rc == 0;
        used += chars;
    }
    if (write(audit->fd, audit->piece, used) != (ssize_t)used) {
        /* Half a line would break the chain. If it stays, the next event finds a file that is
         * longer than it should be, and audit_resume() deals with it. */
        const int cut = ftruncate(audit->fd, audit->end);
        return cut == 0 ? -EIO : -errno;
    }
    memcpy(audit->hash, hash, sizeof(hash));
    audit->sequence = sequence;
    audit->end += (off_t)used;
    return (int)taken;
}

/* With the file locked: appends the lines after whatever stands last. */
static int audit_write(struct audit *audit, struct store_line *const *lines, uint32_t lines_count)
{
    struct stat info;
    if (fstat(audit->fd, &info) != 0)
        return -errno;
    int rc = info.st_size == audit->end ? 0 : audit_resume(audit, info.st_size);
    for (uint32_t at = 0; rc >= 0 && at < lines_count;) { /* a piece holds a line at least */
        rc = piece_write(audit, lines + at, lines_count - at);
        at += rc > 0 ? (uint32_t)rc : 0;
    }
    return MIN(rc, 0);
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

static int lines_append(struct audit *audit, struct store_line *const *lines, uint32_t lines_count,
                        bool durable)
{
    (void)pthread_mutex_lock(&audit->mutex);
    int rc = flock(audit->fd, LOCK_EX) != 0 ? -errno : 0;
    if (rc == 0) {
        rc = audit_write(audit, lines, lines_count);
        (void)flock(audit->fd, LOCK_UN);
    }
    const uint64_t sequence = audit->sequence;
    (void)pthread_mutex_unlock(&audit->mutex);
    return rc == 0 && durable ? audit_sync(audit, sequence) : rc;
}

int audit_append(struct audit *audit, const struct audit_event *event, bool durable,
                 uint64_t now_unix_ns)
{
    struct store_line line = {.event = event, .now_unix_ns = now_unix_ns};
    struct store_line *const lines[] = {&line};
    ASSERT(event->event != NULL);
    if (audit->database != NULL)
        return audit_database_append(audit->database, &line);
    const int rc = lines_append(audit, lines, 1, durable);
    return rc != 0 ? rc : line.rc;
}

static int lines_behind(void *context, struct store_line *const *lines, uint32_t lines_count)
{
    return lines_append(context, lines, lines_count, true);
}

void audit_join(struct audit *audit, struct store *store)
{
    const struct store_trail trail = {.context = audit, .behind = lines_behind};
    if (audit->database != NULL)
        audit_database_join(store);
    else
        store_trail_set(store, &trail);
}

int audit_head(struct audit *audit, uint64_t *sequence, char hash[AUDIT_HASH_CHARS + 1])
{
    if (audit->database != NULL)
        return audit_database_head(audit->database, sequence, hash);
    (void)pthread_mutex_lock(&audit->mutex);
    *sequence = audit->sequence;
    memcpy(hash, audit->hash, AUDIT_HASH_CHARS + 1);
    (void)pthread_mutex_unlock(&audit->mutex);
    return 0;
}

/* The number of the first line that begins at or behind `offset`, and where; 0: none that is one.
 */
static uint64_t line_at(FILE *file, long offset, long *start)
{
    char line[AUDIT_LINE_BYTES_MAX + 2];
    char hash[AUDIT_HASH_CHARS + 1];
    if (fseek(file, offset, SEEK_SET) != 0 ||
        (offset > 0 && fgets(line, sizeof(line), file) == NULL)) /* what it stands in */
        return 0;
    *start = ftell(file);
    if (fgets(line, sizeof(line), file) == NULL)
        return 0;
    const size_t bytes = strlen(line);
    return bytes == 0 ? 0 : audit_line_check(line, bytes - 1, NULL, hash);
}

/* Goes to a line not behind number `after` + 1, and gives its number: the lines count upwards. */
static uint64_t file_seek(FILE *file, uint64_t after)
{
    long low = 0;
    uint64_t low_number = 1;
    if (after == 0 || fseek(file, 0, SEEK_END) != 0)
        goto found;
    long high = ftell(file);
    while (high - low > 2 * AUDIT_LINE_BYTES_MAX) { /* halves each turn */
        long start = 0;
        const long middle = low + (high - low) / 2;
        const uint64_t number = line_at(file, middle, &start);
        if (number == 0 || number > after + 1) {
            high = middle;
        } else {
            low = start;
            low_number = number;
        }
    }
found:
    return fseek(file, low, SEEK_SET) == 0 ? low_number : 0;
}

/* A reading of the file: its lines, or the number of the first that is none. */
static int file_each(const char *path, uint64_t after, audit_visit *visit, void *context)
{
    char line[AUDIT_LINE_BYTES_MAX + 2];
    int rc = 0;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return -errno;
    for (uint64_t at = file_seek(file, after); rc == 0 && fgets(line, sizeof(line), file) != NULL;
         at++) { /* to its end */
        const size_t bytes = strlen(line);
        if (bytes == 0 || line[bytes - 1] != '\n')
            rc = -EBADMSG;
        else if (at > after)
            rc = visit(context, line, bytes);
    }
    if (rc == 0 && ferror(file))
        rc = -EIO;
    (void)fclose(file);
    return rc;
}

int audit_read(struct audit *audit, uint64_t after, audit_visit *visit, void *context)
{
    return audit->database != NULL ? audit_database_each(audit->database, after, visit, context)
                                   : file_each(audit->path, after, visit, context);
}

int audit_each(const char *place, uint64_t after, audit_visit *visit, void *context)
{
    struct audit_database *database = NULL;
    if (!store_is_url(place))
        return file_each(place, after, visit, context);
    int rc = audit_database_open(&database, place);
    if (rc == 0)
        rc = audit_database_each(database, after, visit, context);
    audit_database_close(database);
    return rc;
}

static int line_verify(void *context, const char *line, size_t bytes)
{
    struct audit_check *check = context;
    char hash[AUDIT_HASH_CHARS + 1];
    if (audit_line_check(line, bytes - 1, check->hash, hash) != check->lines_count + 1)
        return -EBADMSG;
    check->lines_count++;
    memcpy(check->hash, hash, sizeof(hash));
    return 0;
}

static int check_end(struct audit_check *check, int rc)
{
    if (rc == -EBADMSG)
        check->bad_line = ++check->lines_count;
    return rc;
}

int audit_check(struct audit *audit, struct audit_check *check)
{
    *check = (struct audit_check){.hash = AUDIT_START};
    return check_end(check, audit_read(audit, 0, line_verify, check));
}

int audit_verify(const char *place, struct audit_check *check)
{
    *check = (struct audit_check){.hash = AUDIT_START};
    return check_end(check, audit_each(place, 0, line_verify, check));
}
