#include "engine/worker_internal.h"

#include "crypto/secret.h"

#include <string.h>

#define VECTOR_GROUP 8 /* messages framed, then sealed */

_Static_assert(FRAME_SUBJECT_BYTES_MAX <= RECORD_SUBJECT_BYTES_MAX, "a record takes it");
_Static_assert(HEADER_BYTES_MAX <= SEALER_SLICE_BYTES, "the first slice holds all of a header");

static uint8_t *stage_take(struct worker *worker, size_t bytes)
{
    const size_t whole = (bytes + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1);
    if (whole > WORKER_STAGE_BYTES - worker->stage_used)
        return NULL;
    uint8_t *at = worker->secrets->stage + worker->stage_used;
    worker->stage_used += whole;
    worker->stage_high = MAX(worker->stage_high, worker->stage_used);
    return at;
}

static bool record_take(struct worker *worker, struct job *job, size_t bytes)
{
    if (bytes <= WORKER_RECORD_BYTES) {
        job->record = worker->records + (size_t)worker_job_index(worker, job) * WORKER_RECORD_BYTES;
        job->record_large = JOB_NONE;
        return true;
    }
    if (worker->records_large_free_count == 0)
        return false;
    job->record_large = worker->records_large_free[--worker->records_large_free_count];
    job->record = worker->secrets->records_large[job->record_large];
    return true;
}

static void record_give(struct worker *worker, struct job *job)
{
    if (job->record == NULL)
        return;
    secret_wipe(job->record, job->record_bytes);
    if (job->record_large != JOB_NONE)
        worker->records_large_free[worker->records_large_free_count++] = job->record_large;
    job->record = NULL;
    job->record_bytes = 0;
    job->record_large = JOB_NONE;
}

void vector_give_sealer(struct worker *worker, struct job *job)
{
    const uint32_t is_large = job->submission.mail_bytes > SEALER_SLICE_BYTES;
    if (job->sealer == NULL)
        return;
    worker->large_count -= is_large;
    job->client->large_held -= is_large;
    sealer_wipe(job->sealer);
    worker->sealers_free[worker->sealers_free_count++] = job->sealer;
    job->sealer = NULL;
}

void vector_give_room(struct worker *worker, struct job *job)
{
    record_give(worker, job);
    if (job->space_bytes == 0)
        return;
    channel_space_give(job->client->channel, job->space_offset, job->space_bytes);
    worker_client_retry(job->client);
    job->space_bytes = 0;
}

static bool addresses_sound(const struct meta *meta)
{
    const uint8_t *address;
    uint16_t address_bytes;
    uint32_t offset = 0;
    if (!record_text_sound(meta->sender, meta->sender_bytes))
        return false;
    while (meta_recipient(meta, &offset, &address, &address_bytes)) {
        if (!record_text_sound(address, address_bytes))
            return false;
    }
    return true;
}

/* Everything that can refuse a message before its content is looked at. */
static enum job_verdict admit_meta(const struct worker *worker, struct job *job, struct meta *meta,
                                   const uint8_t *bytes_at)
{
    const struct ipc_submission *submission = &job->submission;
    if (meta_read(meta, bytes_at, submission->meta_bytes) != 0)
        return VERDICT_BAD_META;
    job->profile = snapshot_find(job->client->snapshot, meta->profile, meta->profile_bytes);
    if (job->profile == NULL)
        return VERDICT_NO_PROFILE;
    if (submission->mail_bytes > job->profile->profile.mail_bytes_max)
        return VERDICT_TOO_LARGE;
    /* One message at a time finds out whether the service is back; no other waits for that. */
    const struct worker_key *key = &worker->keys[job->profile->key_service];
    if (key->away && key->asked_count > 0 && !worker_may_spool(worker, job))
        return VERDICT_KEY_AWAY;
    return addresses_sound(meta) ? VERDICT_NONE : VERDICT_BAD_ADDRESS;
}

static void admit_message(struct worker *worker, struct vector_entry *entry)
{
    struct job *job = entry->job;
    const uint8_t *recipient = NULL;
    uint16_t recipient_bytes = 0;
    uint32_t offset = 0;
    (void)meta_recipient(&entry->meta, &offset, &recipient, &recipient_bytes);
    options_decide(&entry->options, job->profile, &entry->meta.options);
    job->shell = entry->options.shell;
    frame_time_set(&worker->time, worker->unix_ns);
    entry->message = (struct frame_message){
        .id = &job->id,
        .mail = entry->mail,
        .header = &entry->header,
        .sender = entry->meta.sender,
        .sender_bytes = entry->meta.sender_bytes,
        .recipient = recipient,
        .recipient_bytes = recipient_bytes,
        .recipients_count = entry->meta.recipients_count,
        .time = &worker->time,
        .salt_commitment = entry->salt_commitment,
        .boundary_random = entry->boundary,
    };
    frame_show(job->profile->frame, &entry->message, &entry->shown);
}

/* Arena range and record slot, or neither. */
static enum admit admit_room(struct worker *worker, struct vector_entry *entry)
{
    struct job *job = entry->job;
    const struct frame *frame = job->profile->frame;
    const size_t record_bytes = RECORD_FIXED_BYTES + (size_t)job->profile->name_bytes +
                                entry->meta.sender_bytes + entry->shown.subject_bytes +
                                entry->meta.recipients_bytes;
    const size_t space_bytes = WORKER_SPAN_TABLE_BYTES +
                               frame_bytes_max(frame, &entry->message, &entry->shown) +
                               sealer_fields_bytes_max(job->submission.mail_bytes);
    if (record_bytes > RECORD_BYTES_MAX)
        job->verdict = VERDICT_RECIPIENTS;
    else if (space_bytes > channel_arena_bytes(job->client->channel))
        job->verdict = VERDICT_NO_ARENA;
    if (job->verdict != VERDICT_NONE)
        return ADMIT_DECIDED;
    if (!record_take(worker, job, record_bytes))
        return ADMIT_NO_ROOM;
    if (!channel_space_take(job->client->channel, space_bytes, &job->space_offset,
                            &job->space_at)) {
        record_give(worker, job);
        return ADMIT_NO_ARENA;
    }
    job->space_bytes = space_bytes;
    return ADMIT_TAKEN;
}

/* The next entry gets what no message is needed for. */
static void entry_begin(struct worker *worker)
{
    ASSERT(worker->begun_count < WORKER_VECTOR_MAX);
    ASSERT(worker->sealers_free_count > 0);
    struct vector_entry *entry = &worker->secrets->entries[worker->begun_count++];
    entry->sealer = worker->sealers_free[--worker->sealers_free_count];
    entry->suite = (uint8_t)worker->suite;
    entry->keyed = false;
    id_make(&entry->id, worker->core, worker->unix_ns);
}

/* Each client byte is copied once here and read only from the copy; a job that found no room
 * starts from nothing when it is tried again. */
enum admit vector_admit(struct worker *worker, struct job *job)
{
    const struct ipc_submission *submission = &job->submission;
    const bool is_large = submission->mail_bytes > SEALER_SLICE_BYTES;
    ASSERT(worker->vector_count < WORKER_VECTOR_MAX);
    ASSERT(job->state == JOB_WAIT_ROOM);
    if (is_large &&
        (worker->large_count == WORKER_LARGE_MAX || job->client->large_held >= worker->share_large))
        return ADMIT_LARGE;
    struct vector_entry *entry = &worker->secrets->entries[worker->vector_count];
    const size_t stage_used = worker->stage_used;
    entry->stage_from = stage_used;
    uint8_t *meta_at = stage_take(worker, submission->meta_bytes);
    if (meta_at == NULL)
        return ADMIT_NO_ROOM;
    channel_copy_meta(job->client->channel, submission, meta_at);
    job->verdict = admit_meta(worker, job, &entry->meta, meta_at);
    if (job->verdict != VERDICT_NONE) {
        worker->stage_used = stage_used;
        return ADMIT_DECIDED;
    }

    entry->mail_bytes = MIN(submission->mail_bytes, (uint32_t)SEALER_SLICE_BYTES);
    uint8_t *mail_at = stage_take(worker, entry->mail_bytes);
    if (mail_at == NULL) {
        worker->stage_used = stage_used;
        return ADMIT_NO_ROOM;
    }
    channel_copy_mail(job->client->channel, submission, 0, mail_at, entry->mail_bytes);
    entry->job = job;
    entry->mail = mail_at;
    header_read(&entry->header, entry->mail, entry->mail_bytes, submission->mail_bytes);
    job->notify = worker_may_spool(worker, job) &&
                  notice_due(entry->meta.sender_bytes, entry->mail, &entry->header);
    admit_message(worker, entry);
    const enum admit admitted = admit_room(worker, entry);
    if (admitted != ADMIT_TAKEN) {
        frame_shown_wipe(&entry->shown);
        worker->stage_used = stage_used;
        return admitted;
    }
    if (worker->vector_count == worker->begun_count)
        entry_begin(worker);
    job->sealer = entry->sealer;
    job->id = entry->id;
    worker->suite = job->profile->suite;
    worker->large_count += is_large;
    job->client->large_held += is_large;
    sealer_init(job->sealer, worker->codec, job->profile->profile.compress);
    worker->vector_count++;
    return ADMIT_TAKEN;
}

static void seal_record(const struct worker *worker, const struct vector_entry *entry)
{
    struct job *job = entry->job;
    const struct snapshot_profile *profile = job->profile;
    const uint64_t sent_unix_ms = worker->unix_ns / 1000000;
    struct record record = {
        .suite = (uint8_t)profile->suite,
        .level = profile->record_level,
        .flags = entry->options.record_flags,
        .sent_unix_ms = sent_unix_ms,
        .mail_bytes = job->submission.mail_bytes,
        .profile = (const uint8_t *)profile->profile.name,
        .sender = entry->meta.sender,
        .subject = entry->shown.subject,
        .profile_bytes = profile->name_bytes,
        .sender_bytes = entry->meta.sender_bytes,
        .subject_bytes = (uint16_t)entry->shown.subject_bytes,
        .recipients_count = entry->meta.recipients_count,
        .recipients = entry->meta.recipients,
        .recipients_bytes = entry->meta.recipients_bytes,
    };
    if (entry->options.expires_after_s != 0)
        record.expires_unix_ms = sent_unix_ms + entry->options.expires_after_s * 1000;
    if (entry->options.read_by_after_s != 0)
        record.read_by_unix_ms = sent_unix_ms + entry->options.read_by_after_s * 1000;
    memcpy(record.id, job->id.bytes, sizeof(record.id));
    memcpy(record.key, entry->key, sizeof(record.key));
    const size_t room = job->record_large == JOB_NONE ? WORKER_RECORD_BYTES : RECORD_BYTES_MAX;
    job->record_bytes = (uint32_t)record_write(job->record, room, &record);
    ASSERT(job->record_bytes > 0);
    secret_wipe(record.key, sizeof(record.key));
}

static void seal_bytes(struct worker *worker, struct job *job, const uint8_t *src, uint32_t bytes)
{
    const bool last = job->mail_done + bytes == job->submission.mail_bytes;
    const size_t at = job->body_offset + job->body_bytes;
    job->body_bytes += sealer_step(job->sealer, worker->core, worker->scratch, src, bytes, last,
                                   job->space_at + at, job->space_bytes - at);
    job->mail_done += bytes;
}

/* Key, subject and copies go as soon as nothing reads them: they still stand in the first cache. */
static void entry_wipe(struct worker *worker, struct vector_entry *entry, size_t stage_end)
{
    secret_wipe(entry->key, sizeof(entry->key));
    frame_shown_wipe(&entry->shown);
    secret_wipe(worker->secrets->stage + entry->stage_from, stage_end - entry->stage_from);
}

/* What messages left that were looked at and did not get into the vector. */
static void vector_wipe_rest(struct worker *worker)
{
    struct worker_secrets *secrets = worker->secrets;
    secret_wipe(secrets->stage + worker->stage_used, worker->stage_high - worker->stage_used);
    worker->stage_used = 0;
    worker->stage_high = 0;
}

/* Prologue, epilogue and fields, around room for the table. */
static void seal_frame(struct vector_entry *entry)
{
    struct job *job = entry->job;
    const size_t at = WORKER_SPAN_TABLE_BYTES;
    struct frame_spans spans;
    frame_write(job->profile->frame, &entry->message, &entry->shown, job->space_at + at,
                job->space_bytes - at, &spans);
    job->prologue_bytes = (uint32_t)spans.prologue_bytes;
    job->epilogue_bytes = (uint32_t)spans.epilogue_bytes;
    job->body_offset = at + spans.prologue_bytes + spans.epilogue_bytes;
    job->body_bytes = spans.fields_bytes;
    job->mail_done = 0;
}

static struct ipc_span span_of(uint64_t offset, size_t bytes)
{
    return (struct ipc_span){.offset = (uint32_t)offset, .bytes = (uint32_t)bytes};
}

/* All ciphertext is written: the table, and what the bound had too much goes back. */
static void seal_finish(struct worker *worker, struct job *job)
{
    /* The job's own: the client may have adopted a newer snapshot since. */
    const uint64_t constants = job->constants_offset;
    ASSERT(job->generation != 0);
    const uint64_t own = job->space_offset;
    const uint64_t prologue = own + WORKER_SPAN_TABLE_BYTES;
    const struct ipc_span table[WORKER_SPANS] = {
        span_of(prologue, job->prologue_bytes),
        span_of(constants + job->shell->head.offset, job->shell->head.bytes),
        span_of(own + job->body_offset, job->body_bytes),
        span_of(constants + job->shell->tail.offset, job->shell->tail.bytes),
        span_of(prologue + job->prologue_bytes, job->epilogue_bytes),
    };
    memcpy(job->space_at, table, sizeof(table));
    const size_t used = job->body_offset + job->body_bytes;
    ASSERT(used <= job->space_bytes);
    channel_space_trim(job->client->channel, job->space_offset, job->space_bytes, used);
    job->space_bytes = used;
    vector_give_sealer(worker, job);
}

/* The record goes to the key thread with this pass's others. */
static void seal_ask_key(struct worker *worker, struct job *job)
{
    const uint32_t service = job->profile->key_service;
    const bool may_spool = worker_may_spool(worker, job);
    if (may_spool && worker->keys[service].away) {
        worker_spool_job(worker, job);
        return;
    }
    const uint64_t wait_ns =
        MIN(may_spool ? WORKER_QUEUE_WAIT_NS : worker->config.key_wait_ns,
            MIN(worker->config.key_wait_ns,
                (uint64_t)job->profile->profile.wait_s * UINT64_C(1000000000)));
    const struct key_request request = {
        .record = job->record,
        .deadline_ns = worker->now_ns + wait_ns,
        .record_bytes = job->record_bytes,
        .job_index = worker_job_index(worker, job),
    };
    worker_ask_key(worker, service, &request);
    job_enter(job, JOB_WAIT_KEY);
}

void worker_ask_key(struct worker *worker, uint32_t key_service, const struct key_request *request)
{
    struct worker_key *key = &worker->keys[key_service];
    if (key->out_count == ARRAY_COUNT(key->out)) {
        const uint32_t pushed = rte_ring_sp_enqueue_bulk_elem(
            key->link.requests, key->out, sizeof(key->out[0]), key->out_count, NULL);
        ASSERT(pushed == key->out_count); /* the ring holds all jobs, and all that waits asks */
        key->out_count = 0;
        key_thread_wake(key->thread, &key->link);
    }
    key->out[key->out_count++] = *request;
    key->asked_count++;
}

/* What was taken, while its keys are made: a few lines a step, for no more can be on their way at
 * once, and what waits for its turn holds up the work between. */
struct fetch {
    const struct worker *worker;
    uint32_t part; /* the next */
};

static void fetch_step(void *user)
{
    struct fetch *fetch = user;
    const struct worker *worker = fetch->worker;
    if (fetch->part == CHANNEL_AHEAD_PARTS)
        return;
    for (uint32_t i = 0; i < MIN(worker->taken_count, (uint32_t)WORKER_FETCH_MAX); i++)
        channel_prefetch_part(worker->taken[i]->client->channel, &worker->taken[i]->submission,
                              fetch->part);
    fetch->part++;
}

/* Key, salt and boundary of an entry, and what is to be derived of them. */
static void entry_key(struct vector_entry *entry, const struct vector_random *random,
                      struct cobble_derivation *derivation)
{
    const enum cobble_suite suite = (enum cobble_suite)entry->suite;
    const uint32_t key_bytes = cobble_key_bytes(suite);
    memcpy(entry->key, random->key, key_bytes);
    memset(entry->key + key_bytes, 0, sizeof(entry->key) - key_bytes);
    memcpy(entry->salt_commitment, random->salt, COBBLE_SALT_BYTES);
    memcpy(entry->boundary, random->boundary, FRAME_BOUNDARY_BYTES);
    id_context(entry->context, suite, &entry->id);
    *derivation = (struct cobble_derivation){
        .suite = suite,
        .key = entry->key,
        .salt = entry->salt_commitment,
        .context = entry->context,
        .context_bytes = ID_CONTEXT_BYTES,
        .cobble = sealer_cobble(entry->sealer),
    };
}

/*
 * One draw for all that have no key yet. crypto_random() serves small draws from a buffer, which
 * two machines resumed from one snapshot would share; a draw of CRYPTO_RANDOM_LARGE_BYTES or more
 * is made afresh and parted by the processor's own generator, so keys never meet again (DESIGN 8,
 * 4). Nor are they drawn before their messages are handed over: docs/crypto.md.
 */
static void vector_keys(struct worker *worker)
{
    struct worker_secrets *secrets = worker->secrets;
    struct vector_entry *entries[WORKER_VECTOR_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < worker->begun_count; i++)
        if (!secrets->entries[i].keyed)
            entries[count++] = &secrets->entries[i];
    if (count == 0)
        return;
    const size_t bytes =
        MAX(count * sizeof(secrets->randoms[0]), (size_t)CRYPTO_RANDOM_LARGE_BYTES);
    struct fetch fetch = {.worker = worker};
    fetch_step(&fetch);
    crypto_random(worker->core, (uint8_t *)secrets->randoms, bytes);
    for (uint32_t i = 0; i < count; i++)
        entry_key(entries[i], &secrets->randoms[i], &secrets->derivations[i]);
    secret_wipe(secrets->randoms, bytes);
    cobble_derive_burst_while(worker->core, secrets->derivations, count, fetch_step, &fetch);
    for (uint32_t i = 0; i < count; i++) {
        memcpy(entries[i]->salt_commitment + COBBLE_SALT_BYTES, secrets->derivations[i].commitment,
               COBBLE_COMMITMENT_BYTES);
        entries[i]->keyed = true;
    }
}

void vector_prepare(struct worker *worker)
{
    uint32_t end = worker->vector_count;
    for (uint32_t i = 0; i < worker->taken_count; i++)
        end += worker->taken[i]->submission.mail_bytes <= SEALER_SLICE_BYTES;
    ASSERT(end <= WORKER_VECTOR_MAX);
    while (worker->begun_count < end)
        entry_begin(worker);
    vector_keys(worker);
}

void vector_forget_keys(struct worker *worker)
{
    for (uint32_t i = worker->vector_count; i < worker->begun_count; i++) {
        struct vector_entry *entry = &worker->secrets->entries[i];
        secret_wipe(entry->key, sizeof(entry->key));
        entry->keyed = false; /* vector_keys() draws anew, behind the copies */
    }
}

/* Of another suite than was thought, an entry's key is made anew: all of it. */
static void vector_check_suites(struct worker *worker)
{
    for (uint32_t i = 0; i < worker->vector_count; i++) {
        struct vector_entry *entry = &worker->secrets->entries[i];
        const enum cobble_suite suite = entry->job->profile->suite;
        entry->keyed = entry->keyed && entry->suite == suite;
        entry->suite = (uint8_t)suite;
    }
}

/* Keys that were made for messages which did not get into the vector seal nothing. */
static void vector_drop_rest(struct worker *worker)
{
    while (worker->begun_count > worker->vector_count) {
        struct vector_entry *entry = &worker->secrets->entries[--worker->begun_count];
        secret_wipe(entry->key, sizeof(entry->key));
        sealer_wipe(entry->sealer);
        worker->sealers_free[worker->sealers_free_count++] = entry->sealer;
    }
}

/* So that the next message's first lines arrive while this one is sealed. */
static void fetch_space(const struct job *job)
{
    frame_fetch(job->profile->frame, job->space_at, job->space_bytes);
}

/* What the next pass will copy is another processor's freshest: while this vector is sealed, its
 * lines come over. In the order in which pass_clients() will serve. */
static void seal_look_ahead(struct worker *worker)
{
    uint32_t turn = worker->turn;
    worker->ahead_count = 0;
    for (uint32_t n = 0; n < worker->live_count && worker->ahead_count < WORKER_VECTOR_MAX; n++) {
        turn = turn + 1 < worker->live_count ? turn + 1 : 0;
        const struct client *client = &worker->clients[worker->live[turn]];
        if (client->state != CLIENT_LIVE)
            continue;
        const uint32_t count =
            channel_look_ahead(client->channel, WORKER_VECTOR_MAX - worker->ahead_count);
        for (uint32_t i = 0; i < count; i++)
            worker->ahead[worker->ahead_count++] =
                (struct worker_ahead){.channel = client->channel, .nth = i};
    }
}

/* In parts between one piece of work and the next: a few lines can be on their way at once, and
 * what is prefetched beyond them holds up the loads of the work itself. */
static void seal_prefetch(const struct worker *worker, uint32_t index, uint32_t part)
{
    if (index < worker->ahead_count)
        channel_prefetch_ahead(worker->ahead[index].channel, worker->ahead[index].nth, part);
}

/* The record and the first slice of the ciphertext; of a small message that is all of it. */
static void seal_content(struct worker *worker, uint32_t index)
{
    struct vector_entry *entry = &worker->secrets->entries[index];
    struct job *job = entry->job;
    const size_t stage_end =
        index + 1 < worker->vector_count ? entry[1].stage_from : worker->stage_used;
    seal_prefetch(worker, index, 2);
    seal_record(worker, entry);
    seal_prefetch(worker, index, 3);
    seal_bytes(worker, job, entry->mail, entry->mail_bytes);
    seal_prefetch(worker, index, 4);
    entry_wipe(worker, entry, stage_end);
    if (job->mail_done == job->submission.mail_bytes) {
        seal_finish(worker, job);
        seal_ask_key(worker, job);
    } else {
        job_list_append(&worker->sealing, worker->jobs, worker_job_index(worker, job));
    }
}

/* A few messages at a time: the code of each half stays in the first cache for all of them, and
 * they stay in the second. */
static void seal_group(struct worker *worker, uint32_t first, uint32_t end)
{
    struct worker_secrets *secrets = worker->secrets;
    for (uint32_t i = first; i < end; i++) {
        struct vector_entry *entry = &secrets->entries[i];
        job_enter(entry->job, JOB_SEALING);
        if (i + 1 < worker->vector_count)
            fetch_space(entry[1].job);
        seal_prefetch(worker, i, 0);
        seal_frame(entry);
        seal_prefetch(worker, i, 1);
    }
    for (uint32_t i = first; i < end; i++) {
        seal_content(worker, i);
        seal_prefetch(worker, i, 5);
    }
}

void vector_seal(struct worker *worker)
{
    const uint32_t count = worker->vector_count;
    vector_drop_rest(worker);
    if (count > 0) {
        fetch_space(worker->secrets->entries[0].job);
        seal_look_ahead(worker);
        vector_check_suites(worker);
        vector_keys(worker);
    }
    for (uint32_t first = 0; first < count; first += VECTOR_GROUP)
        seal_group(worker, first, MIN(first + VECTOR_GROUP, count));
    vector_wipe_rest(worker);
    worker->vector_count = 0;
    worker->begun_count = 0;
    worker_count(worker, COUNTER_VECTORS, count > 0);
}

bool vector_slice(struct worker *worker, struct job *job, uint32_t bytes_max)
{
    const uint32_t left = job->submission.mail_bytes - job->mail_done;
    const uint32_t bytes = MIN(left, bytes_max);
    uint8_t *slice = worker->secrets->slice;
    ASSERT(job->state == JOB_SEALING);
    ASSERT(bytes > 0);
    ASSERT(bytes <= SEALER_SLICE_BYTES);
    channel_copy_mail(job->client->channel, &job->submission, job->mail_done, slice, bytes);
    sealer_ahead(job->sealer,
                 channel_mail_ahead(job->client->channel, &job->submission, job->mail_done + bytes),
                 MIN(left - bytes, bytes_max));
    seal_bytes(worker, job, slice, bytes);
    worker_count(worker, COUNTER_SLICES, 1);
    if (bytes < left)
        return false;
    secret_wipe(slice, SEALER_SLICE_BYTES);
    seal_finish(worker, job);
    seal_ask_key(worker, job);
    return true;
}
