#include "keyservice/server/store/store.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "keyservice/server/store/store_sql.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define STORE_POOL_MAX          64
#define STORE_SINGLES_COUNT     8
#define STORE_READERS_LEFT      2 /* free ones that nobody takes beside one of its own */
#define STORE_LANES_MAX         3
#define STORE_GROUP_MAX         64   /* writes committed together                */
#define STORE_GROUP_TRIES_MAX   4    /* where other processes write too          */
#define STORE_WAITING_MAX       1024 /* writes queued; more are told to try again */
#define STORE_CHECKPOINT_PAGES  4096 /* of log before the writer folds it back   */
#define STORE_CHECKPOINT_FACTOR 16   /* of that, before it waits for readers too */
#define STORE_FAILED_NS         (60 * NS_PER_S)

/* One write: lives on its caller's stack until it was told. */
struct store_job {
    store_write_apply *apply;
    void *argument;
    struct store_line *line; /* or NULL */
    struct store_job *next;
    int rc;
    bool leads; /* told so: the next group is this one's to write; else told that it is done */
    sem_t told;
};

/* Connections that are lent to one thread at a time. */
struct store_pool {
    pthread_mutex_t mutex;
    pthread_cond_t given;
    struct sql connections[STORE_POOL_MAX];
    uint32_t free[STORE_POOL_MAX];
    uint32_t free_count;
    uint32_t count;
};

/* One writing connection and what waits for it. */
struct store_lane {
    struct store_writer writer; /* whoever leads has it */
    struct store_job *head;     /* this and all below: under the store's mutex */
    struct store_job *tail;
    uint32_t jobs_count;
    bool led;                   /* somebody works with the writer, without the mutex */
    _Atomic uint64_t failed_ns; /* when its last group was not committed; 0: it was */
};

struct store {
    /* The first has all that changes rows which others may change too, and all of SQLite's; the
     * others, where there are any, have batches: one is applied while another is synced. */
    struct store_lane lanes[STORE_LANES_MAX];
    uint32_t lanes_count;
    struct store_trail trail; /* constant once lines come */
    int log_pages; /* of the write-ahead log, told by a commit that wrote to it; with the lead */

    pthread_t folder; /* folds the log back into the database */
    pthread_mutex_t mutex;
    pthread_cond_t due;   /* for the folder: a long log, or the end */
    pthread_cond_t unled; /* for the folder: the lead is free       */
    bool fold_due;        /* the folder is the next to lead         */
    bool stop;
    atomic_bool lines_fail; /* the last lines behind a commit were not kept         */
    atomic_bool reached;    /* the last reading, or a group since, had a connection */

    struct store_pool readers;
    struct store_pool singles; /* none, unless nodes share */
};

/* Takes up to STORE_GROUP_MAX jobs off the queue, which is not empty. Under the mutex. */
static struct store_job *jobs_take(struct store_lane *lane)
{
    struct store_job *first = lane->head;
    struct store_job *last = first;
    uint32_t count = 1;
    ASSERT(first != NULL);
    for (; last->next != NULL && count < STORE_GROUP_MAX; count++)
        last = last->next;
    lane->head = last->next;
    if (lane->head == NULL)
        lane->tail = NULL;
    last->next = NULL;
    lane->jobs_count -= count;
    return first;
}

static bool refusal_keeps(int rc)
{
    return rc == 0 || rc == -ENOENT || rc == -EEXIST || rc == -EACCES;
}

/* The lines of those jobs that were not refused. */
static uint32_t lines_collect(struct store_job *jobs, struct store_line *lines[STORE_GROUP_MAX])
{
    uint32_t count = 0;
    for (struct store_job *job = jobs; job != NULL; job = job->next)
        if (job->line != NULL && job->rc == 0)
            lines[count++] = job->line;
    return count;
}

static int lines_within(struct store *store, struct store_lane *lane, struct store_job *jobs)
{
    struct store_line *lines[STORE_GROUP_MAX];
    const struct store_trail *trail = &store->trail;
    const uint32_t count = lines_collect(jobs, lines);
    if (count == 0 || trail->within == NULL)
        return 0;
    return trail->within(trail->context, &lane->writer, lines, count);
}

/* The group is committed: its lines follow where they did not go with it. */
static void lines_behind(struct store *store, struct store_job *jobs)
{
    struct store_line *lines[STORE_GROUP_MAX];
    const struct store_trail *trail = &store->trail;
    const uint32_t count = lines_collect(jobs, lines);
    int rc = 0;
    if (count == 0)
        return;
    ASSERT(trail->within != NULL || trail->behind != NULL);
    if (trail->behind != NULL)
        rc = trail->behind(trail->context, lines, count);
    atomic_store_explicit(&store->lines_fail, rc != 0, memory_order_relaxed);
    for (struct store_job *job = jobs; job != NULL; job = job->next)
        if (job->line != NULL && job->rc == 0)
            job->rc = rc != 0 ? rc : job->line->rc;
}

/* Applies every job in one transaction; 0 when it is committed. */
static int jobs_try(struct store *store, struct store_lane *lane, struct store_job *jobs)
{
    struct sql *sql = &lane->writer.sql;
    int rc = sql_run(sql_use(sql, SQL_BEGIN)) < 0 ? -EIO : 0;
    for (struct store_job *job = jobs; job != NULL && rc == 0; job = job->next) {
        job->rc = job->apply(&lane->writer, job->argument);
        if (!refusal_keeps(job->rc))
            rc = job->rc;
    }
    if (rc == 0)
        rc = lines_within(store, lane, jobs);
    return rc == 0 && sql_run(sql_use(sql, SQL_COMMIT)) >= 0 ? 0 : -EIO;
}

/* Nothing of a group is kept that fails; it is run again where another writer was in the way. */
static int jobs_commit(struct store *store, struct store_lane *lane, struct store_job *jobs)
{
    struct sql *sql = &lane->writer.sql;
    for (uint32_t tries = 1; tries <= STORE_GROUP_TRIES_MAX; tries++) {
        if (jobs_try(store, lane, jobs) == 0)
            return 0;
        const bool again = sql_again(sql) && tries < STORE_GROUP_TRIES_MAX;
        if (!again)
            log_line(LOG_LEVEL_ERROR, "store_commit_failed", "why=\"%s\"", sql_why(sql));
        if (sql_in_transaction(sql) && sql_run(sql_use(sql, SQL_ROLLBACK)) < 0)
            log_line(LOG_LEVEL_ERROR, "store_rollback_failed", "why=\"%s\"", sql_why(sql));
        if (!again)
            break;
    }
    return -EIO;
}

/* Each caller is woken alone, and none of them meets the others at a lock. */
static void jobs_tell(struct store_job *jobs, const struct store_job *own, int rc)
{
    for (struct store_job *job = jobs; job != NULL;) {
        struct store_job *next = job->next; /* the job is gone once its caller was told */
        if (rc != 0)
            job->rc = rc;
        if (job != own)
            (void)sem_post(&job->told);
        job = next;
    }
}

/* Who leads next: the folder where a fold is due, else the first that waits, who is to be told, or
 * nobody. Under the mutex. */
static struct store_job *lead_pass(struct store *store, struct store_lane *lane)
{
    ASSERT(lane->led);
    struct store_job *next = store->fold_due ? NULL : lane->head;
    lane->led = next != NULL;
    if (store->fold_due)
        (void)pthread_cond_signal(&store->unled);
    if (next != NULL)
        next->leads = true;
    return next;
}

/* With the lead, without the mutex. */
static void checkpoint(struct store *store)
{
    sqlite_fold(&store->lanes[0].writer.sql,
                store->log_pages >= STORE_CHECKPOINT_PAGES * STORE_CHECKPOINT_FACTOR);
    store->log_pages = 0; /* the next commit tells again */
}

/* A thread of its own, so that no caller's answer waits for a fold that its own write made due. */
static void *folder_run(void *argument)
{
    struct store *store = argument;
    struct store_lane *lane = &store->lanes[0];
    (void)pthread_mutex_lock(&store->mutex);
    while (!store->stop) {
        if (!store->fold_due) {
            (void)pthread_cond_wait(&store->due, &store->mutex);
            continue;
        }
        while (lane->led)
            (void)pthread_cond_wait(&store->unled, &store->mutex);
        lane->led = true;
        (void)pthread_mutex_unlock(&store->mutex);
        checkpoint(store);
        (void)pthread_mutex_lock(&store->mutex);
        store->fold_due = false;
        struct store_job *next = lead_pass(store, lane);
        if (next != NULL)
            (void)sem_post(&next->told);
    }
    (void)pthread_mutex_unlock(&store->mutex);
    return NULL;
}

/* Commits what waits, the caller's own write before all others, and hands the lead on. */
static void lead(struct store *store, struct store_lane *lane, const struct store_job *own)
{
    (void)pthread_mutex_lock(&store->mutex);
    ASSERT(lane->led);
    ASSERT(lane->head == own);
    struct store_job *jobs = jobs_take(lane);
    (void)pthread_mutex_unlock(&store->mutex);
    const bool logs = lane->writer.sql.sqlite != NULL; /* then there is no other lane */
    if (logs)
        store->log_pages = 0;
    const int rc = jobs_commit(store, lane, jobs);
    const bool is_long = logs && store->log_pages >= STORE_CHECKPOINT_PAGES;
    /* SQLite writes nothing for a group that changed nothing, which so proves nothing. */
    const bool proves = !logs || store->log_pages > 0;
    if (rc != 0 || proves)
        atomic_store_explicit(&lane->failed_ns, rc == 0 ? 0 : clock_monotonic_ns(),
                              memory_order_relaxed);
    if (rc == 0)
        atomic_store_explicit(&store->reached, true, memory_order_relaxed);
    (void)pthread_mutex_lock(&store->mutex);
    if (is_long && !store->fold_due) {
        store->fold_due = true;
        (void)pthread_cond_signal(&store->due);
    }
    struct store_job *next = lead_pass(store, lane);
    (void)pthread_mutex_unlock(&store->mutex);
    if (next != NULL) /* and it writes its group while this one's lines are made durable */
        (void)sem_post(&next->told);
    if (rc == 0)
        lines_behind(store, jobs);
    jobs_tell(jobs, own, rc);
}

static void told_wait(struct store_job *job)
{
    while (sem_wait(&job->told) != 0) /* a signal's handler ran meanwhile: each ends one turn */
        ASSERT(errno == EINTR);
}

/* Of the lanes for batches the one with the fewest before it. Under the mutex. */
static struct store_lane *lane_of_batches(struct store *store)
{
    struct store_lane *least = &store->lanes[store->lanes_count - 1];
    for (uint32_t i = 1; i < store->lanes_count; i++) {
        struct store_lane *lane = &store->lanes[i];
        if (lane->jobs_count + lane->led < least->jobs_count + least->led)
            least = lane;
    }
    return least;
}

static int job_run(struct store *store, bool is_batch, struct store_job *job)
{
    (void)pthread_mutex_lock(&store->mutex);
    struct store_lane *lane = is_batch ? lane_of_batches(store) : &store->lanes[0];
    if (store->stop || lane->jobs_count == STORE_WAITING_MAX) {
        (void)pthread_mutex_unlock(&store->mutex);
        return -EAGAIN;
    }
    if (lane->tail == NULL)
        lane->head = job;
    else
        lane->tail->next = job;
    lane->tail = job;
    lane->jobs_count++;
    job->leads = !lane->led && !store->fold_due;
    lane->led = lane->led || job->leads;
    (void)sem_init(&job->told, 0, 0);
    const bool waits = !job->leads; /* and then whoever leads says how it goes on */
    (void)pthread_mutex_unlock(&store->mutex);
    if (waits)
        told_wait(job);
    if (job->leads)
        lead(store, lane, job);
    (void)sem_destroy(&job->told);
    return job->rc;
}

int store_write(struct store *store, store_write_apply *apply, void *argument)
{
    return store_write_line(store, apply, argument, NULL);
}

int store_write_line(struct store *store, store_write_apply *apply, void *argument,
                     struct store_line *line)
{
    struct store_job job = {.apply = apply, .argument = argument, .line = line};
    return job_run(store, false, &job);
}

int store_write_batch(struct store *store, store_write_apply *apply, void *argument)
{
    struct store_job job = {.apply = apply, .argument = argument};
    return job_run(store, true, &job);
}

void store_trail_set(struct store *store, const struct store_trail *trail)
{
    ASSERT((trail->within == NULL) != (trail->behind == NULL));
    store->trail = *trail;
}

bool store_is_url(const char *path)
{
    return strncmp(path, "postgresql://", 13) == 0 || strncmp(path, "postgres://", 11) == 0;
}

static struct sql *pool_take(struct store_pool *pool)
{
    (void)pthread_mutex_lock(&pool->mutex);
    while (pool->free_count == 0)
        (void)pthread_cond_wait(&pool->given, &pool->mutex);
    const uint32_t index = pool->free[--pool->free_count];
    (void)pthread_mutex_unlock(&pool->mutex);
    return &pool->connections[index];
}

static void pool_give(struct store_pool *pool, struct sql *sql)
{
    const uint32_t index = (uint32_t)(sql - pool->connections);
    ASSERT(index < pool->count);
    (void)pthread_mutex_lock(&pool->mutex);
    ASSERT(pool->free_count < pool->count);
    pool->free[pool->free_count++] = index;
    (void)pthread_cond_signal(&pool->given);
    (void)pthread_mutex_unlock(&pool->mutex);
}

static int pool_open(struct store_pool *pool, const struct sql_place *place, uint32_t count,
                     char why[STORE_WHY_BYTES])
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        rc = sql_open(&pool->connections[i], place, why);
        if (rc == 0) {
            pool->free[pool->free_count++] = i;
            pool->count++;
        }
    }
    return rc;
}

static void pool_close(struct store_pool *pool)
{
    for (uint32_t i = 0; i < pool->count; i++)
        sql_close(&pool->connections[i]);
}

struct sql *store_reader_take(struct store *store)
{
    return pool_take(&store->readers);
}

struct sql *store_reader_try(struct store *store)
{
    struct store_pool *pool = &store->readers;
    struct sql *sql = NULL;
    (void)pthread_mutex_lock(&pool->mutex);
    if (pool->free_count > STORE_READERS_LEFT)
        sql = &pool->connections[pool->free[--pool->free_count]];
    (void)pthread_mutex_unlock(&pool->mutex);
    return sql;
}

void store_reader_give(struct store *store, struct sql *sql)
{
    atomic_store_explicit(&store->reached, sql_connected(sql), memory_order_relaxed);
    pool_give(&store->readers, sql);
}

bool store_shares(const struct store *store)
{
    return store->singles.count > 0;
}

struct sql *store_single_take(struct store *store)
{
    ASSERT(store_shares(store));
    return pool_take(&store->singles);
}

void store_single_give(struct store *store, struct sql *sql)
{
    atomic_store_explicit(&store->reached, sql_connected(sql), memory_order_relaxed);
    pool_give(&store->singles, sql);
}

const struct master *store_master(const struct store *store)
{
    return store->lanes[0].writer.master;
}

/* One that always fails is not hidden by the others. But a lane of batches may get no more of them,
 * where another takes them all or a service that is away has none: its failure counts for a time.
 */
static bool lane_healthy(const struct store *store, uint32_t index)
{
    const uint64_t failed_ns =
        atomic_load_explicit(&store->lanes[index].failed_ns, memory_order_relaxed);
    return failed_ns == 0 || (index > 0 && clock_monotonic_ns() - failed_ns > STORE_FAILED_NS);
}

bool store_healthy(const struct store *store)
{
    for (uint32_t i = 0; i < store->lanes_count; i++)
        if (!lane_healthy(store, i))
            return false;
    return !atomic_load_explicit(&store->lines_fail, memory_order_relaxed) &&
           atomic_load_explicit(&store->reached, memory_order_relaxed);
}

static void connections_close(struct store *store)
{
    pool_close(&store->singles);
    pool_close(&store->readers);
    for (uint32_t i = STORE_LANES_MAX; i-- > 0;) /* the first last: it folds SQLite's log */
        sql_close(&store->lanes[i].writer.sql);
}

static int connections_open(struct store *store, const struct store_config *config,
                            char why[STORE_WHY_BYTES])
{
    struct sql_place place = {.path = config->path,
                              .purpose = config->alone    ? SQL_WRITES_ALONE
                                         : config->serves ? SQL_WRITES_SERVING
                                                          : SQL_WRITES,
                              .create = config->create};
    int rc = sql_open(&store->lanes[0].writer.sql, &place, why);
    if (rc != 0)
        return rc;
    rc = sql_migrate(&store->lanes[0].writer.sql, why);
    place.create = false;
    store->lanes_count = config->serves && store_is_url(config->path) ? STORE_LANES_MAX : 1;
    for (uint32_t i = 1; i < store->lanes_count && rc == 0; i++)
        rc = sql_open(&store->lanes[i].writer.sql, &place, why);
    place.purpose = SQL_READS;
    if (rc == 0)
        rc = pool_open(&store->readers, &place, config->readers_count, why);
    place.purpose = SQL_SINGLES;
    if (rc == 0 && config->serves && store_is_url(config->path))
        rc = pool_open(&store->singles, &place, STORE_SINGLES_COUNT, why);
    if (rc != 0) {
        connections_close(store);
        return rc;
    }
    sqlite_watch(&store->lanes[0].writer.sql, &store->log_pages);
    return 0;
}

int store_open(struct store **store, const struct store_config *config, char why[STORE_WHY_BYTES])
{
    struct stat info;
    ASSERT(config->readers_count > 0 && config->readers_count <= STORE_POOL_MAX);
    if (!store_is_url(config->path) && !config->create && stat(config->path, &info) != 0) {
        const int rc = -errno;
        (void)snprintf(why, STORE_WHY_BYTES, "%s: %s", config->path, strerror(-rc));
        return rc;
    }
    struct store *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < STORE_LANES_MAX; i++)
        made->lanes[i].writer.master = config->master;
    int rc = connections_open(made, config, why);
    if (rc != 0)
        goto free_made;
    (void)pthread_mutex_init(&made->mutex, NULL);
    (void)pthread_mutex_init(&made->readers.mutex, NULL);
    (void)pthread_mutex_init(&made->singles.mutex, NULL);
    (void)pthread_cond_init(&made->due, NULL);
    (void)pthread_cond_init(&made->unled, NULL);
    (void)pthread_cond_init(&made->readers.given, NULL);
    (void)pthread_cond_init(&made->singles.given, NULL);
    atomic_store_explicit(&made->reached, true, memory_order_relaxed);
    rc = -pthread_create(&made->folder, NULL, folder_run, made);
    if (rc != 0)
        goto close_connections;
    *store = made;
    return 0;

close_connections:
    connections_close(made);
free_made:
    free(made);
    return rc;
}

void store_close(struct store *store)
{
    if (store == NULL)
        return;
    (void)pthread_mutex_lock(&store->mutex);
    store->stop = true;
    (void)pthread_cond_signal(&store->due);
    (void)pthread_mutex_unlock(&store->mutex);
    (void)pthread_join(store->folder, NULL);
    connections_close(store);
    (void)pthread_cond_destroy(&store->singles.given);
    (void)pthread_cond_destroy(&store->readers.given);
    (void)pthread_cond_destroy(&store->unled);
    (void)pthread_cond_destroy(&store->due);
    (void)pthread_mutex_destroy(&store->singles.mutex);
    (void)pthread_mutex_destroy(&store->readers.mutex);
    (void)pthread_mutex_destroy(&store->mutex);
    free(store);
}
