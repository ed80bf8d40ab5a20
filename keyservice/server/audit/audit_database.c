#include "keyservice/server/audit/audit_database.h"

#include "base/assert.h"
#include "base/log.h"
#include "keyservice/server/audit/audit_line.h"
#include "keyservice/server/store/store_sql.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* One line that waits for its row: lives on its caller's stack until `done`. */
struct audit_job {
    const struct audit_event *event;
    uint64_t now_unix_ns;
    struct audit_job *next;
    int rc;
    bool done;
};

struct audit_database {
    struct store *store;
    pthread_mutex_t mutex;
    pthread_cond_t written;
    struct audit_job *head;
    struct audit_job *tail;
    bool led;   /* somebody writes what was waiting, without the mutex */
    char *text; /* of one row; with the lead */
};

int audit_database_open(struct audit_database **database, const char *url)
{
    char why[STORE_WHY_BYTES] = "";
    const struct store_config config = {.path = url, .readers_count = 1};
    struct audit_database *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->text = malloc(AUDIT_DATABASE_GROUP_MAX * (size_t)AUDIT_LINE_BYTES_MAX + 1);
    int rc = made->text == NULL ? -ENOMEM : store_open(&made->store, &config, why);
    if (rc != 0) {
        log_line(LOG_LEVEL_ERROR, "audit_open_failed", "why=\"%s\"", why);
        free(made->text);
        free(made);
        return rc;
    }
    (void)pthread_mutex_init(&made->mutex, NULL);
    (void)pthread_cond_init(&made->written, NULL);
    *database = made;
    return 0;
}

void audit_database_close(struct audit_database *database)
{
    if (database == NULL)
        return;
    store_close(database->store);
    (void)pthread_cond_destroy(&database->written);
    (void)pthread_mutex_destroy(&database->mutex);
    free(database->text);
    free(database);
}

static int head_read(struct sql_statement *head, uint64_t *sequence,
                     char hash[AUDIT_HASH_CHARS + 1])
{
    int rc = -EIO;
    if (sql_step(head) == 1 && sql_column_string(head, 1, hash, AUDIT_HASH_CHARS + 1) &&
        strlen(hash) == AUDIT_HASH_CHARS) {
        *sequence = sql_column_u64(head, 0);
        rc = 0;
    }
    sql_done(head);
    return rc;
}

struct audit_write {
    struct audit_job *jobs;
    char *text;
};

/* The chain goes on from the newest row, which nobody else can go on from until this commits. */
static int write_apply(struct store_writer *writer, void *argument)
{
    const struct audit_write *write = argument;
    char hash[AUDIT_HASH_CHARS + 1];
    uint64_t sequence = 0;
    size_t used = 0;
    int rc = head_read(sql_use(&writer->sql, SQL_AUDIT_HEAD), &sequence, hash);
    const uint64_t first = sequence + 1;
    for (struct audit_job *job = write->jobs; job != NULL && rc == 0; job = job->next) {
        uint32_t bytes = 0;
        job->rc = audit_line_make(write->text + used, &bytes, job->event, sequence + 1,
                                  job->now_unix_ns, hash);
        sequence += job->rc == 0;
        used += bytes;
    }
    if (rc != 0 || used == 0)
        return rc;
    struct sql_statement *add = sql_use(&writer->sql, SQL_AUDIT_ADD);
    sql_bind_u64(add, 1, first);
    sql_bind_u64(add, 2, sequence);
    sql_bind_string(add, 3, hash);
    sql_bind_blob(add, 4, write->text, used);
    return sql_run(add) == 1 ? 0 : -EIO;
}

/* Up to AUDIT_DATABASE_GROUP_MAX of what waits. Under the mutex. */
static struct audit_job *jobs_take(struct audit_database *database)
{
    struct audit_job *first = database->head;
    struct audit_job *last = first;
    ASSERT(first != NULL);
    for (uint32_t count = 1; last->next != NULL && count < AUDIT_DATABASE_GROUP_MAX; count++)
        last = last->next;
    database->head = last->next;
    if (database->head == NULL)
        database->tail = NULL;
    last->next = NULL;
    return first;
}

/* Writes what waits as one row. Under the mutex, which is open meanwhile. */
static void lead(struct audit_database *database)
{
    struct audit_write write = {.jobs = jobs_take(database), .text = database->text};
    ASSERT(!database->led);
    database->led = true;
    (void)pthread_mutex_unlock(&database->mutex);
    const int rc = store_write(database->store, write_apply, &write);
    (void)pthread_mutex_lock(&database->mutex);
    for (struct audit_job *job = write.jobs; job != NULL;) {
        struct audit_job *next = job->next; /* the job is gone once its caller sees `done` */
        if (rc != 0)
            job->rc = rc;
        job->done = true;
        job = next;
    }
    database->led = false;
    (void)pthread_cond_broadcast(&database->written);
}

int audit_database_append(struct audit_database *database, const struct audit_event *event,
                          uint64_t now_unix_ns)
{
    struct audit_job job = {.event = event, .now_unix_ns = now_unix_ns};
    (void)pthread_mutex_lock(&database->mutex);
    if (database->tail == NULL)
        database->head = &job;
    else
        database->tail->next = &job;
    database->tail = &job;
    while (!job.done) { /* each turn somebody's row is written, and the queue is in order */
        if (database->led)
            (void)pthread_cond_wait(&database->written, &database->mutex);
        else
            lead(database);
    }
    (void)pthread_mutex_unlock(&database->mutex);
    return job.rc;
}

int audit_database_head(struct audit_database *database, uint64_t *sequence,
                        char hash[AUDIT_HASH_CHARS + 1])
{
    struct sql *sql = store_reader_take(database->store);
    const int rc = head_read(sql_use(sql, SQL_AUDIT_PEEK), sequence, hash);
    store_reader_give(database->store, sql);
    return rc;
}

/* The lines of one row behind number `after`. */
static int row_each(struct sql_statement *read, uint64_t after, audit_visit *visit, void *context)
{
    size_t bytes = 0;
    uint64_t number = sql_column_u64(read, 0);
    const char *lines = sql_column_bytes(read, 2, &bytes);
    int rc = 0;
    for (size_t at = 0; at < bytes && rc == 0; number++) { /* a line a turn */
        const char *end = memchr(lines + at, '\n', bytes - at);
        const size_t line_bytes = end == NULL ? 0 : (size_t)(end - (lines + at)) + 1;
        if (line_bytes == 0)
            return -EBADMSG;
        if (number > after)
            rc = visit(context, lines + at, line_bytes);
        at += line_bytes;
    }
    return rc;
}

/* Some rows; `*last` is the number of the last line read. 1: there may be more. */
static int rows_each(struct audit_database *database, uint64_t *last, uint64_t newest,
                     audit_visit *visit, void *context)
{
    int step = 0;
    int rc = 0;
    uint32_t count = 0;
    const uint64_t after = *last;
    struct sql *sql = store_reader_take(database->store);
    struct sql_statement *read = sql_use(sql, SQL_AUDIT_READ);
    sql_bind_u64(read, 1, after);
    sql_bind_u64(read, 2, newest);
    sql_bind_u64(read, 3, AUDIT_DATABASE_ROWS);
    while (rc == 0 && (step = sql_step(read)) == 1) { /* the statement's own limit bounds it */
        rc = row_each(read, after, visit, context);
        *last = sql_column_u64(read, 1);
        count++;
    }
    sql_done(read);
    store_reader_give(database->store, sql);
    return rc != 0 ? rc : step < 0 ? -EIO : count == AUDIT_DATABASE_ROWS;
}

int audit_database_each(struct audit_database *database, uint64_t after, audit_visit *visit,
                        void *context)
{
    char hash[AUDIT_HASH_CHARS + 1];
    uint64_t newest = 0;
    uint64_t last = after;
    int rc = audit_database_head(database, &newest, hash);
    if (rc != 0)
        return rc;
    do /* `last` grows each turn, and `newest` bounds it */
        rc = rows_each(database, &last, newest, visit, context);
    while (rc > 0);
    return rc == 0 && last < newest ? -EBADMSG : rc;
}
