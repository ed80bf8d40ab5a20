#include "engine/worker_spool.h"

#include "engine/spool_key.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define TAG_DISK (WAIT_TAG_OWN - 1) /* among the doorbells; no session has this number */

static void *pages_take(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static void pages_give(void *at, size_t bytes)
{
    if (at != NULL)
        (void)munmap(at, bytes);
}

static void spool_free(struct worker_spool *spool)
{
    pages_give(spool->heads, spool->heads_bytes);
    pages_give(spool->heads_large, spool->heads_large_bytes);
    pages_give(spool->log, WORKER_LOG_BYTES);
    free(spool);
}

static int spool_take(struct worker *worker)
{
    struct worker_spool *spool = calloc(1, sizeof(*spool));
    if (spool == NULL)
        return -ENOMEM;
    ASSERT(waiting_head_bytes_max(WORKER_RECORD_BYTES) <= WORKER_HEAD_BYTES);
    ASSERT(waiting_head_bytes_max(RECORD_BYTES_MAX) <= WORKER_HEAD_BYTES_LARGE);
    spool->heads_bytes = (size_t)worker->config.jobs_count * WORKER_HEAD_BYTES;
    spool->heads_large_bytes = WORKER_RECORDS_LARGE * WORKER_HEAD_BYTES_LARGE;
    spool->heads = pages_take(spool->heads_bytes);
    spool->heads_large = pages_take(spool->heads_large_bytes);
    spool->log = pages_take(WORKER_LOG_BYTES);
    /* All of it is registered with the ring, and so in memory: in large pages a write of a group is
     * one piece for the disk. Where there are none, it is many. */
    if (spool->log != NULL)
        (void)madvise(spool->log, WORKER_LOG_BYTES, MADV_HUGEPAGE);
    if (spool->heads == NULL || spool->heads_large == NULL || spool->log == NULL) {
        spool_free(spool);
        return -ENOMEM;
    }
    worker->spool = spool;
    return 0;
}

static int spool_open_disk(struct worker *worker, struct disk **disk)
{
    const struct disk_memory memory = {.at = worker->spool->log, .bytes = WORKER_LOG_BYTES};
    char why[DISK_WHY_BYTES] = "";
    int rc = -ENOSYS;
    if (worker->config.allow_io_uring)
        rc = disk_uring_open(disk, worker->config.spool, &memory, why);
    if (rc == -EPERM || rc == -ENOSYS)
        rc = disk_thread_open(disk, worker->config.spool, why);
    if (rc != 0)
        (void)snprintf(worker->why, sizeof(worker->why), "the spool %.200s: %s",
                       worker->config.spool, why[0] == '\0' ? strerror(-rc) : why);
    return rc;
}

int worker_spool_open(struct worker *worker)
{
    struct disk *disk;
    if (worker->config.spool == NULL)
        return 0;
    int rc = spool_take(worker);
    if (rc != 0)
        return rc;
    rc = spool_open_disk(worker, &disk);
    if (rc != 0)
        return rc;
    struct waiting_config config = {
        .disk = disk,
        .lane = worker->config.index,
        .lanes_count = worker->config.workers_count,
        .segment_bytes = worker->config.spool_segment_bytes,
        .bytes_max = worker->config.spool_bytes,
        .buffers = worker->spool->log,
        .buffers_bytes = WORKER_LOG_BYTES,
        .key = worker->config.spool_key,
        .core = worker->core,
        .key_services_count = worker->config.key_services_count,
        .ask_ns = worker->config.key_wait_ns,
        .now_ns = clock_monotonic_ns(),
        .now_unix_ns = clock_unix_ns(),
        .ops = &worker_waiting_ops,
        .user = worker,
    };
    memcpy(config.key_names, worker->config.key_names, sizeof(config.key_names));
    rc = waiting_open(&worker->waiting, &config, worker->why);
    if (rc != 0) {
        disk_close(disk);
        return rc;
    }
    worker_spool_count(worker);
    const int doorbell = waiting_doorbell(worker->waiting);
    return doorbell < 0 ? 0 : wait_add(worker->wait, TAG_DISK, doorbell);
}

void worker_spool_close(struct worker *worker)
{
    const bool is_quiet = waiting_close(worker->waiting);
    worker->waiting = NULL;
    if (worker->spool != NULL && is_quiet)
        spool_free(worker->spool);
    worker->spool = NULL;
}

void worker_spool_let_in(struct worker *worker)
{
    if (worker->waiting == NULL || worker->now_ns < worker->let_in_ns ||
        waiting_counts(worker->waiting)->states[WAITING_STORING] == 0)
        return;
    worker->let_in_ns = worker->now_ns + WORKER_LET_IN_NS;
    (void)sched_yield();
}

static bool op_key_up(void *user, uint32_t key_service)
{
    const struct worker *worker = user;
    return worker->keys[key_service].away_from_ns == 0;
}

static void op_ask(void *user, uint32_t key_service, const struct key_request *request)
{
    struct worker *worker = user;
    struct key_request copy = *request;
    copy.job_index += worker->config.jobs_count;
    worker_ask_key(worker, key_service, &copy);
}

static const struct snapshot *op_snapshot(void *user)
{
    const struct worker *worker = user;
    return worker->snapshot;
}

static bool op_put_ended(void *user, uint32_t job_index, int error)
{
    struct worker *worker = user;
    struct job *job = &worker->jobs[job_index];
    ASSERT(job->state == JOB_WAIT_SPOOL);
    if (job->client->state != CLIENT_LIVE) {
        worker_job_free(worker, job);
        return false;
    }
    worker_job_decide(worker, job, error == 0 ? VERDICT_QUEUED : VERDICT_SPOOL_FAILED);
    return true;
}

static void op_broken(void *user, uint32_t session)
{
    struct worker *worker = user;
    for (uint32_t n = 0; n < worker->live_count; n++) {
        struct client *client = &worker->clients[worker->live[n]];
        if (client->session == session && client->state == CLIENT_LIVE)
            worker_break(worker, client, WORKER_FAULT_SUBMISSION);
    }
}

const struct waiting_ops worker_waiting_ops = {
    .key_up = op_key_up,
    .ask = op_ask,
    .snapshot = op_snapshot,
    .put_ended = op_put_ended,
    .broken = op_broken,
};
