#include "engine/worker_internal.h"

#include "crypto/secret.h"

#include <string.h>

static bool job_is_large(const struct job *job)
{
    return job->submission.mail_bytes > SEALER_SLICE_BYTES;
}

/* Each kind waits in a list of its own: a large message never stands before a small one. */
static void job_wait_room(struct worker *worker, struct job *job)
{
    struct job_list *list = job_is_large(job) ? &job->client->large : &job->client->room;
    ASSERT(job->state == JOB_WAIT_ROOM);
    job_list_append(list, worker->jobs, worker_job_index(worker, job));
}

/* From here on the job uses its client's snapshot and that half of the constants: neither is freed
 * or written over before job_unhold(), whatever the client adopts meanwhile. */
static void job_hold(struct job *job)
{
    if (job->generation != 0)
        return;
    job->generation = job->client->snapshot->generation;
    job->constants = job->client->snapshot->constants;
    job->constants_offset = job->client->constants_offset;
    job->client->jobs_current++;
}

static void job_unhold(struct job *job)
{
    struct client *client = job->client;
    if (job->generation == client->snapshot->generation)
        client->jobs_current--;
    else if (job->generation != 0)
        client->jobs_previous--;
    job->generation = 0;
    job->constants = NULL;
    job->constants_offset = 0;
    job->profile = NULL;
}

void worker_job_free(struct worker *worker, struct job *job)
{
    ASSERT(job->client->jobs_count > 0);
    vector_give_sealer(worker, job);
    vector_give_room(worker, job);
    job_unhold(job);
    job->client->jobs_count--;
    job->client = NULL;
    job->attempts_count = 0;
    job->verdict = VERDICT_NONE;
    job_enter(job, JOB_FREE);
    worker->jobs_free[worker->jobs_free_count++] = worker_job_index(worker, job);
}

/* A refusal's or a deferral's one line; false when the arena has no room for it. */
static bool answer_write(struct worker *worker, struct job *job, struct ipc_completion *completion)
{
    char text[IPC_TEXT_BYTES_MAX];
    const uint32_t bytes = answer_text(worker, job, text);
    uint64_t offset;
    uint8_t *at;
    if (bytes == 0)
        return true;
    if (!channel_space_take(job->client->channel, bytes, &offset, &at))
        return false;
    memcpy(at, text, bytes);
    job->space_offset = offset;
    job->space_bytes = bytes;
    completion->text_offset = (uint32_t)offset;
    completion->text_bytes = bytes;
    return true;
}

/* Relaxed: one that control's exchange overtakes is counted all the same. */
static void answer_warn(struct worker *worker, const struct job *job)
{
    const uint32_t bytes = job->submission.mail_bytes;
    if (bytes <= job->profile->profile.mail_bytes_warn)
        return;
    worker_count(worker, COUNTER_SIZE_WARNINGS, 1);
    if (bytes > atomic_load_explicit(&worker->large_bytes, memory_order_relaxed))
        atomic_store_explicit(&worker->large_bytes, bytes, memory_order_relaxed);
}

static void answer_count(struct worker *worker, const struct job *job,
                         const struct ipc_completion *completion)
{
    if (completion->status == IPC_SEALED) {
        worker_count(worker, COUNTER_SEALED, 1);
        worker_count(worker, COUNTER_MAIL_BYTES, job->submission.mail_bytes);
        worker_count(worker, COUNTER_SEALED_BYTES, completion->mail_bytes);
        answer_warn(worker, job);
    } else if (completion->status == IPC_QUEUED) {
        worker_count(worker, COUNTER_MAIL_BYTES, job->submission.mail_bytes);
        answer_warn(worker, job);
    } else {
        worker_count(worker, completion->status == IPC_REFUSED ? COUNTER_REFUSED : COUNTER_RETRIED,
                     1);
    }
}

/* pass_publish() empties the list before anything drops or adopts a client. */
static void client_note_dirty(struct worker *worker, struct client *client)
{
    if (client->dirty)
        return;
    ASSERT(worker->dirty_count < WORKER_CLIENTS_MAX);
    client->dirty = true;
    worker->dirty[worker->dirty_count++] = (uint32_t)(client - worker->clients);
}

/* Queues the completion and frees the job; false when that must wait for the client's release. */
static bool job_answer(struct worker *worker, struct job *job)
{
    struct client *client = job->client;
    struct ipc_completion completion = {.request_id = job->submission.request_id};
    ASSERT(job->state == JOB_WAIT_ANSWER);
    answer_status(job->verdict, &completion);
    if (job->verdict == VERDICT_SEALED || job->verdict == VERDICT_QUEUED)
        memcpy(completion.envelope_id, job->id.bytes, sizeof(completion.envelope_id));
    if (job->verdict == VERDICT_SEALED) {
        completion.spans_count = WORKER_SPANS;
        completion.spans_offset = (uint32_t)job->space_offset;
        completion.mail_bytes = job->prologue_bytes + job->epilogue_bytes +
                                (uint32_t)job->body_bytes + job->shell->head.bytes +
                                job->shell->tail.bytes;
    } else {
        vector_give_room(worker, job);
        if (!answer_write(worker, job, &completion))
            return false;
    }
    if (!channel_complete(client->channel, &completion, job->space_offset, job->space_bytes))
        return false;
    job->space_bytes = 0; /* the channel's until the client releases it */
    answer_count(worker, job, &completion);
    client_note_dirty(worker, client);
    worker_job_free(worker, job);
    return true;
}

void worker_job_decide(struct worker *worker, struct job *job, enum job_verdict verdict)
{
    job->verdict = verdict;
    job_enter(job, JOB_WAIT_ANSWER);
    if (job->client->state != CLIENT_LIVE)
        worker_job_free(worker, job);
    else if (!job_answer(worker, job))
        job_list_append(&job->client->answers, worker->jobs, worker_job_index(worker, job));
}

/* A fresh id and key: nothing of the first sealing is used again. */
static void job_seal_anew(struct worker *worker, struct job *job)
{
    job->attempts_count++;
    worker_count(worker, COUNTER_KEY_CONFLICTS, 1);
    if (job->attempts_count >= JOB_ATTEMPTS_MAX) {
        worker_job_decide(worker, job, VERDICT_KEY_CONFLICT);
        return;
    }
    if (job->client->state != CLIENT_LIVE) {
        worker_job_free(worker, job);
        return;
    }
    vector_give_room(worker, job);
    job_unhold(job);
    job->verdict = VERDICT_NONE;
    job_enter(job, JOB_WAIT_ROOM);
    job_wait_room(worker, job);
}

static void job_take_verdict(struct worker *worker, struct job *job, enum key_result_status status)
{
    ASSERT(job->state == JOB_WAIT_KEY);
    switch (status) {
    case KEY_STORED: worker_job_decide(worker, job, VERDICT_SEALED); break;
    case KEY_AWAY:
        if (worker_may_spool(worker, job) && job->client->state == CLIENT_LIVE)
            worker_spool_job(worker, job);
        else
            worker_job_decide(worker, job,
                              (job->submission.flags & IPC_SUBMIT_QUEUE) != 0 ? VERDICT_NO_SPOOL
                                                                              : VERDICT_KEY_AWAY);
        break;
    case KEY_INVALID: worker_job_decide(worker, job, VERDICT_KEY_INVALID); break;
    case KEY_CONFLICT: job_seal_anew(worker, job); break;
    }
}

static uint32_t pass_verdicts(struct worker *worker)
{
    struct key_verdict verdicts[WORKER_VECTOR_MAX];
    const uint32_t jobs_count = worker->config.jobs_count;
    uint32_t done = 0;
    for (uint32_t k = 0; k < worker->config.key_services_count; k++) {
        for (uint32_t n = 0; n < WORKER_VERDICTS_MAX; n += WORKER_VECTOR_MAX) {
            const uint32_t count =
                rte_ring_sc_dequeue_burst_elem(worker->keys[k].link.verdicts, verdicts,
                                               sizeof(verdicts[0]), WORKER_VECTOR_MAX, NULL);
            for (uint32_t i = 0; i < count; i++) {
                if (verdicts[i].job_index >= jobs_count)
                    waiting_take_verdict(worker->waiting, verdicts[i].job_index - jobs_count,
                                         verdicts[i].status);
                else
                    job_take_verdict(worker, &worker->jobs[verdicts[i].job_index],
                                     (enum key_result_status)verdicts[i].status);
            }
            worker->keys[k].asked_count -= count;
            done += count;
            if (count < WORKER_VECTOR_MAX)
                break;
        }
    }
    return done;
}

static uint32_t serve_answers(struct worker *worker, struct client *client)
{
    uint32_t done = 0;
    while (client->answers.count > 0 && !client->answers_full && done < WORKER_ANSWERS_MAX) {
        const uint32_t index = client->answers.first;
        job_list_remove(&client->answers, worker->jobs, index);
        if (job_answer(worker, &worker->jobs[index])) {
            done++;
        } else {
            job_list_prepend(&client->answers, worker->jobs, index);
            client->answers_full = true;
        }
    }
    return done;
}

/* A small one. */
/* Whether the next entry is its own. */
static bool pass_admit(struct worker *worker, struct job *job)
{
    const enum admit admitted = vector_admit(worker, job);
    ASSERT(admitted != ADMIT_LARGE);
    if (admitted == ADMIT_TAKEN || admitted == ADMIT_DECIDED) {
        job_hold(job);
        if (admitted == ADMIT_DECIDED)
            worker_job_decide(worker, job, job->verdict);
        return admitted == ADMIT_TAKEN;
    }
    job->client->small_full = admitted == ADMIT_NO_ARENA;
    worker_count(worker, COUNTER_ROOM_WAITS, 1);
    job_wait_room(worker, job);
    return false;
}

static bool vector_is_full(const struct worker *worker)
{
    return worker->vector_count == WORKER_VECTOR_MAX || worker->stage_used >= WORKER_VECTOR_BYTES;
}

/* With what was taken and is looked at last. */
static bool pass_is_full(const struct worker *worker)
{
    return vector_is_full(worker) ||
           worker->vector_count + worker->taken_count >= WORKER_VECTOR_MAX;
}

/* Those that waited first: while one waits, nothing new is taken from its client. */
static uint32_t serve_room(struct worker *worker, struct client *client)
{
    uint32_t done = 0;
    while (client->room.count > 0 && !client->small_full && !pass_is_full(worker) &&
           done < WORKER_VECTOR_MAX) {
        const uint32_t index = client->room.first;
        struct job *job = &worker->jobs[index];
        job_list_remove(&client->room, worker->jobs, index);
        const enum admit admitted = vector_admit(worker, job);
        if (admitted == ADMIT_NO_ROOM || admitted == ADMIT_NO_ARENA) {
            client->small_full = admitted == ADMIT_NO_ARENA;
            job_list_prepend(&client->room, worker->jobs, index);
            break;
        }
        ASSERT(admitted != ADMIT_LARGE);
        job_hold(job);
        if (admitted == ADMIT_DECIDED)
            worker_job_decide(worker, job, job->verdict);
        done++;
    }
    return done;
}

static struct job *job_take(struct worker *worker, struct client *client,
                            const struct ipc_submission *submission)
{
    ASSERT(worker->jobs_free_count > 0);
    struct job *job = &worker->jobs[worker->jobs_free[--worker->jobs_free_count]];
    job->submission = *submission;
    job->client = client;
    client->jobs_count++;
    job_enter(job, JOB_WAIT_ROOM);
    return job;
}

uint32_t worker_client_room(const struct worker *worker, const struct client *client)
{
    const uint32_t waiting = client->room.count + client->large.count + client->answers.count;
    if (worker->draining || client->room.count > 0 || waiting >= worker->share_waiting ||
        client->jobs_count >= worker->share)
        return 0;
    return MIN(worker->jobs_free_count,
               MIN(worker->share_waiting - waiting, worker->share - client->jobs_count));
}

/* Looked at by pass_taken(), once nothing more is taken in this pass. */
static uint32_t serve_new(struct worker *worker, struct client *client)
{
    struct ipc_submission submissions[WORKER_VECTOR_MAX];
    ASSERT(worker->vector_count + worker->taken_count <= WORKER_VECTOR_MAX);
    const uint32_t room = MIN(WORKER_VECTOR_MAX - worker->vector_count - worker->taken_count,
                              worker_client_room(worker, client));
    const uint32_t count = channel_take_burst(client->channel, submissions, room);
    for (uint32_t i = 0; i < count; i++)
        worker->taken[worker->taken_count++] = job_take(worker, client, &submissions[i]);
    return count;
}

static uint32_t serve_client(struct worker *worker, struct client *client)
{
    if (client->collector)
        return worker->waiting == NULL ? 0
                                       : waiting_collector_serve(worker->waiting, client->session);
    uint32_t done = channel_reclaim(client->channel) ? 1 : 0;
    if (done > 0)
        worker_client_retry(client);
    if (client->answers.count > 0)
        done += serve_answers(worker, client);
    if (client->room.count > 0)
        done += serve_room(worker, client);
    done += serve_new(worker, client);
    switch (channel_fault(client->channel)) {
    case CHANNEL_SOUND: break;
    case CHANNEL_BAD_INDEX: worker_break(worker, client, WORKER_FAULT_INDEX); break;
    case CHANNEL_BAD_SUBMISSION: worker_break(worker, client, WORKER_FAULT_SUBMISSION); break;
    }
    return done;
}

/* All that was taken, after its keys: a client's freshest bytes take as long to come over as a key
 * takes to be derived. Large ones are begun one a pass, by pass_large(). */
static void pass_taken(struct worker *worker)
{
    if (worker->taken_count > 0)
        vector_prepare(worker);
    for (uint32_t i = 0; i < worker->taken_count; i++) {
        struct job *job = worker->taken[i];
        if (i + 1 < worker->taken_count && i + 1 >= WORKER_FETCH_MAX)
            channel_prefetch(worker->taken[i + 1]->client->channel,
                             &worker->taken[i + 1]->submission);
        bool admitted = false;
        /* Behind one that waits for room all of its client's wait. */
        if (job_is_large(job) || job->client->room.count > 0 || vector_is_full(worker))
            job_wait_room(worker, job);
        else
            admitted = pass_admit(worker, job);
        /* What a client can change must not move other messages to other keys: docs/crypto.md. */
        if (!admitted && !job_is_large(job))
            vector_forget_keys(worker);
    }
    worker->taken_count = 0;
}

/* One vector out of all clients; the next pass starts with another one. */
static uint32_t pass_clients(struct worker *worker)
{
    uint32_t done = 0;
    uint32_t turn = worker->turn + 1 < worker->live_count ? worker->turn + 1 : 0;
    worker->turn = turn;
    for (uint32_t n = 0; n < worker->live_count; n++) {
        struct client *client = &worker->clients[worker->live[turn]];
        if (client->state == CLIENT_LIVE)
            done += serve_client(worker, client);
        if (pass_is_full(worker))
            break;
        turn = turn + 1 < worker->live_count ? turn + 1 : 0;
    }
    pass_taken(worker);
    return done;
}

/* False when the client's first large message cannot be begun now. */
static bool begin_large(struct worker *worker, struct client *client)
{
    const uint32_t index = client->large.first;
    struct job *job = &worker->jobs[index];
    job_list_remove(&client->large, worker->jobs, index);
    const enum admit admitted = vector_admit(worker, job);
    if (admitted != ADMIT_TAKEN && admitted != ADMIT_DECIDED) {
        client->large_full = admitted == ADMIT_NO_ARENA;
        worker_count(worker, COUNTER_ROOM_WAITS, client->large_full);
        job_list_prepend(&client->large, worker->jobs, index);
        return false;
    }
    job_hold(job);
    if (admitted == ADMIT_DECIDED)
        worker_job_decide(worker, job, job->verdict);
    return true;
}

/* One message at the most, of each client in turn; who comes next is remembered over passes. What
 * is refused at once is not counted. */
static uint32_t pass_large(struct worker *worker)
{
    uint32_t done = 0;
    uint32_t idle = 0; /* clients in a row that had nothing to begin */
    ASSERT(worker->vector_count == 0);
    while (idle < worker->live_count && done < WORKER_LARGE_MAX &&
           worker->large_count < WORKER_LARGE_MAX && worker->vector_count == 0) {
        worker->turn_large =
            worker->turn_large + 1 < worker->live_count ? worker->turn_large + 1 : 0;
        struct client *client = &worker->clients[worker->live[worker->turn_large]];
        const bool tries =
            client->state == CLIENT_LIVE && client->large.count > 0 && !client->large_full;
        if (tries && begin_large(worker, client)) {
            done++;
            idle = 0;
        } else {
            idle++;
        }
    }
    return done;
}

/* What comes while a slice is sealed waits for its end: where vectors are short, slices are. */
static uint32_t slice_bytes_max(const struct worker *worker)
{
    if (worker->now_ns - worker->small_ns >= WORKER_LATELY_NS)
        return SEALER_SLICE_BYTES;
    const uint32_t bytes = worker->small_count * WORKER_SLICE_A_MESSAGE;
    return MIN(MAX(bytes, (uint32_t)WORKER_SLICE_BYTES), (uint32_t)SEALER_SLICE_BYTES);
}

/* One slice a pass, of one large message after the other. */
static uint32_t pass_slice(struct worker *worker)
{
    const uint32_t index = worker->sealing.first;
    if (index == JOB_NONE)
        return 0;
    job_list_remove(&worker->sealing, worker->jobs, index);
    if (!vector_slice(worker, &worker->jobs[index], slice_bytes_max(worker)))
        job_list_append(&worker->sealing, worker->jobs, index);
    return 1;
}

static void pass_keys(struct worker *worker)
{
    for (uint32_t k = 0; k < worker->config.key_services_count; k++) {
        struct worker_key *key = &worker->keys[k];
        if (key->out_count == 0)
            continue;
        const uint32_t pushed = rte_ring_sp_enqueue_bulk_elem(
            key->link.requests, key->out, sizeof(key->out[0]), key->out_count, NULL);
        ASSERT(pushed == key->out_count); /* the ring holds all jobs */
        key->out_count = 0;
        key_thread_wake(key->thread, &key->link);
    }
}

static void pass_publish(struct worker *worker)
{
    for (uint32_t n = 0; n < worker->dirty_count; n++) {
        struct client *client = &worker->clients[worker->dirty[n]];
        client->dirty = false;
        channel_publish(client->channel);
    }
    worker->dirty_count = 0;
}

/* What is decided goes out at once: no sealed mail waits for the sealing of others. */
static uint32_t pass_settle(struct worker *worker)
{
    const uint32_t done = pass_verdicts(worker);
    pass_publish(worker);
    return done;
}

uint32_t worker_pass_spool(struct worker *worker)
{
    const uint32_t done = worker_spool_run(worker);
    pass_keys(worker);
    pass_publish(worker);
    return done;
}

uint32_t worker_pass(struct worker *worker)
{
    uint32_t done = pass_settle(worker);
    /* Before the small ones: they may fill each vector, and then none would ever be begun. */
    done += pass_large(worker);
    const bool began_large = worker->vector_count > 0;
    done += pass_clients(worker);
    const uint32_t small_count = worker->vector_count - (began_large ? 1 : 0);
    if (small_count > 0) {
        worker->small_ns = worker->now_ns;
        worker->small_count = small_count;
    }
    if (worker->begun_count > 0 || worker->stage_high > 0)
        vector_seal(worker);
    pass_keys(worker);
    if (worker->sealing.count > 0 && !began_large) {
        done += pass_settle(worker);
        done += pass_slice(worker);
        pass_keys(worker);
    }
    if (worker->waiting != NULL)
        return done + worker_pass_spool(worker);
    pass_publish(worker);
    return done;
}

static void list_clear(struct worker *worker, struct job_list *list, const struct client *client)
{
    uint32_t index = list->first;
    const uint32_t count = list->count;
    for (uint32_t n = 0; n < count; n++) {
        const uint32_t next = worker->jobs[index].next;
        if (worker->jobs[index].client == client) {
            job_list_remove(list, worker->jobs, index);
            worker_job_free(worker, &worker->jobs[index]);
        }
        index = next;
    }
}

void worker_client_clear(struct worker *worker, struct client *client)
{
    list_clear(worker, &client->room, client);
    list_clear(worker, &client->large, client);
    list_clear(worker, &client->answers, client);
    list_clear(worker, &worker->sealing, client);
    list_clear(worker, &worker->spooling, client);
}
