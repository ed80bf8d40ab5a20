#include "engine/worker_spool.h"

void worker_spool_job(struct worker *worker, struct job *job)
{
    job_enter(job, JOB_WAIT_SPOOL);
    job_list_append(&worker->spooling, worker->jobs, worker_job_index(worker, job));
}

static struct spool_span span_own(const struct job *job, size_t offset, size_t bytes)
{
    return (struct spool_span){.at = job->space_at + offset, .bytes = (uint32_t)bytes};
}

/* The snapshot stays while the job holds it; docs/engine/data-path.md. */
static struct spool_span span_constant(const struct job *job, const struct snapshot_span *span)
{
    return (struct spool_span){
        .at = job->constants + span->offset, .bytes = span->bytes, .constant = span->number};
}

/* As seal_finish() has them for the client. */
static uint32_t spans_set(const struct job *job, struct spool_span spans[WORKER_SPANS])
{
    const size_t prologue = WORKER_SPAN_TABLE_BYTES;
    spans[0] = span_own(job, prologue, job->prologue_bytes);
    spans[1] = span_constant(job, &job->shell->head);
    spans[2] = span_own(job, job->body_offset, job->body_bytes);
    spans[3] = span_constant(job, &job->shell->tail);
    spans[4] = span_own(job, prologue + job->prologue_bytes, job->epilogue_bytes);
    return WORKER_SPANS;
}

static void mail_set(const struct worker *worker, const struct job *job, struct waiting_mail *mail,
                     struct spool_span spans[WORKER_SPANS])
{
    const struct worker_spool *spool = worker->spool;
    const bool large = job->record_large != JOB_NONE;
    const uint64_t arrived_unix_ms = worker->unix_ns / NS_PER_MS;
    *mail = (struct waiting_mail){
        .id = &job->id,
        .arrived_unix_ms = arrived_unix_ms,
        .end_unix_ms = arrived_unix_ms + (uint64_t)job->profile->profile.wait_s * 1000,
        .record = job->record,
        .record_bytes = job->record_bytes,
        .key_service = job->profile->key_service,
        .notify = job->notify,
        .head = large ? spool->heads_large + job->record_large * WORKER_HEAD_BYTES_LARGE
                      : spool->heads + (size_t)worker_job_index(worker, job) * WORKER_HEAD_BYTES,
        .head_room = large ? WORKER_HEAD_BYTES_LARGE : WORKER_HEAD_BYTES,
        .spans = spans,
        .spans_count = spans_set(job, spans),
    };
}

static uint32_t spool_put_jobs(struct worker *worker)
{
    struct waiting_mail mails[WORKER_VECTOR_MAX];
    struct spool_span spans[WORKER_VECTOR_MAX][WORKER_SPANS];
    uint32_t indexes[WORKER_VECTOR_MAX];
    uint32_t count = 0;
    ASSERT(worker->spooling.count > 0);
    uint32_t index = worker->spooling.first;
    ASSERT(index != JOB_NONE);
    do {
        mail_set(worker, &worker->jobs[index], &mails[count], spans[count]);
        indexes[count++] = index;
        index = worker->jobs[index].next;
    } while (index != JOB_NONE && count < WORKER_VECTOR_MAX);
    /* Out of the list first: a job may be answered, and so freed, by the call. */
    for (uint32_t i = 0; i < count; i++)
        job_list_remove(&worker->spooling, worker->jobs, indexes[i]);
    const uint32_t put = waiting_put_burst(worker->waiting, mails, indexes, count);
    for (uint32_t i = count; i > put; i--)
        job_list_prepend(&worker->spooling, worker->jobs, indexes[i - 1]);
    return put;
}

void worker_spool_count(struct worker *worker)
{
    const struct waiting_counts *counts = waiting_counts(worker->waiting);
    struct spool_stats spool;
    waiting_spool_counts(worker->waiting, &spool);
    uint64_t now = 0;
    for (uint32_t state = WAITING_FREE + 1; state < WAITING_STATES; state++)
        now += counts->states[state];
    const struct {
        enum worker_counter counter;
        uint64_t value;
    } values[] = {
        {COUNTER_QUEUED, counts->queued},
        {COUNTER_RECOVERED, counts->recovered},
        {COUNTER_WAITING, now - counts->states[WAITING_STORING]},
        {COUNTER_READY, counts->states[WAITING_READY]},
        {COUNTER_HELD, counts->held},
        {COUNTER_EMITTED, counts->emitted},
        {COUNTER_EMITTED_AGAIN, counts->emitted_again},
        {COUNTER_EXPIRED, counts->expired},
        {COUNTER_NOTIFIED, counts->notified},
        {COUNTER_SPOOL_FAILURES, counts->refused},
        {COUNTER_SPOOL_DAMAGED, counts->damaged + spool.damaged},
        {COUNTER_SPOOL_BYTES, spool.bytes_live},
        {COUNTER_SPOOL_COMMITS, spool.commits},
    };
    for (uint32_t i = 0; i < ARRAY_COUNT(values); i++)
        atomic_store_explicit(&worker->counters[values[i].counter], values[i].value,
                              memory_order_relaxed);
}

/* What comes while waiting mail is handed over waits for the end of that. */
static uint32_t spool_budget(struct worker *worker)
{
    /* What this pass sealed is answered by the next one: every other pass at the most. */
    const bool sealed = worker->small_ns == worker->now_ns && !worker->spool_yielded;
    worker->spool_yielded = sealed;
    if (sealed)
        return 0;
    return worker->now_ns - worker->small_ns < WORKER_SPOOL_LATELY_NS ? WORKER_SPOOL_SHARE
                                                                      : WORKER_SPOOL_BUDGET;
}

uint32_t worker_spool_run(struct worker *worker)
{
    uint32_t done = worker->spooling.count > 0 ? spool_put_jobs(worker) : 0;
    done += waiting_run(worker->waiting, worker->now_ns, worker->unix_ns, spool_budget(worker));
    if (done > 0)
        worker_spool_count(worker);
    return done;
}
