#include "tests/queue/spool_load.h"

#include "base/assert.h"
#include "base/macros.h"
#include "tests/queue/spool_load_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS 16

enum asked { ASKED_PUT, ASKED_READ, ASKED_FORGET, ASKED_HOLD, ASKED_RELEASE };
#define TAG(asked, n) ((uint64_t)(asked) << 32 | (n))

uint8_t load_pool[POOL_BYTES];

uint64_t load_random(uint64_t *random)
{
    *random ^= *random >> 12;
    *random ^= *random << 25;
    *random ^= *random >> 27;
    return *random * UINT64_C(0x2545f4914f6cdd1d);
}

void load_pool_fill(void)
{
    uint64_t random = UINT64_C(0x9001);
    for (uint32_t n = 0; n < POOL_BYTES; n += 8) {
        const uint64_t value = load_random(&random);
        memcpy(load_pool + n, &value, sizeof(value));
    }
}

uint32_t load_pool_at(uint32_t record, uint32_t span)
{
    return (uint32_t)((record * UINT64_C(2654435761) + span * UINT64_C(40503)) % (POOL_BYTES / 2));
}

/* A record's number twice, so that no bit of it changes unseen. */
void load_id(uint32_t record, uint8_t id[SPOOL_ID_BYTES])
{
    const uint64_t number = record;
    const uint64_t other = (number + 1) * UINT64_C(0x9e3779b97f4a7c15);
    memcpy(id, &number, 8);
    memcpy(id + 8, &other, 8);
}

static const void *span_at(const struct load_record *r, uint32_t record, uint32_t span)
{
    return load_pool + (r->constants[span] != 0 ? POOL_BYTES / 2 + r->constants[span] * 8192
                                                : load_pool_at(record, span + 1));
}

bool load_bytes_are(const struct load_record *records, uint32_t record, const uint8_t *at, bool all)
{
    const struct load_record *r = &records[record];
    if (memcmp(at, load_pool + load_pool_at(record, 0), r->head_bytes) != 0)
        return false;
    at += r->head_bytes;
    for (uint32_t n = 0; all && n < r->spans_count; n++) {
        if (memcmp(at, span_at(r, record, n), r->spans_bytes[n]) != 0)
            return false;
        at += r->spans_bytes[n];
    }
    return true;
}

struct spool *load_spool_open(const struct load_config *config, struct disk_model *model,
                              uint8_t *buffers,
                              void (*found)(void *user, const struct spool_found *found),
                              void *user, char why[SPOOL_WHY_BYTES])
{
    struct spool *spool = NULL;
    const struct spool_config spool_config = {.disk = disk_model_disk(model),
                                              .lane = config->lane,
                                              .lanes_count = config->lanes_count,
                                              .segment_bytes = config->segment_bytes,
                                              .bytes_max =
                                                  config->segment_bytes * config->segments_count,
                                              .buffers = buffers,
                                              .buffers_bytes = BUFFERS_BYTES};
    const int rc = spool_open(&spool, &spool_config, found, user, why);
    return rc == 0 ? spool : NULL;
}

struct load *load_open(const struct load_config *config)
{
    struct load *load = calloc(1, sizeof(*load));
    ASSERT(load != NULL);
    load_pool_fill();
    load->config = *config;
    load->random = config->seed * 2 + 1;
    load->buffers = aligned_alloc(DISK_BLOCK_BYTES, BUFFERS_BYTES);
    ASSERT(load->buffers != NULL);
    for (uint32_t n = 0; n < READERS; n++) {
        load->readers[n].at = malloc(READ_ROOM);
        ASSERT(load->readers[n].at != NULL);
    }
    return load;
}

void load_live_remove(struct load *load, uint32_t record)
{
    uint32_t n = 0;
    while (n < load->live_count && load->live[n] != record)
        n++;
    ASSERT(n < load->live_count);
    memmove(&load->live[n], &load->live[n + 1], (load->live_count - n - 1) * sizeof(uint32_t));
    load->live_count--;
}

static void record_gone(struct load *load, uint32_t record)
{
    load->records[record].state = LOAD_GONE;
    load_live_remove(load, record);
}

/* Body and head of any size: mostly small, now and then larger than a segment takes. */
static void record_shape(struct load *load, struct load_record *r)
{
    const uint64_t choice = load_random(&load->random) % 64;
    const uint32_t usual = load->config.body_usual;
    const uint64_t most = choice == 0  ? load->config.segment_bytes + load->config.segment_bytes / 8
                          : choice < 6 ? load->config.segment_bytes / 3
                          : choice < 20 ? usual * 4
                                        : usual;
    uint64_t left = MIN(load_random(&load->random) % (most + 1), (uint64_t)POOL_BYTES / 4);
    r->head_bytes = (uint32_t)(load_random(&load->random) % (choice % 8 == 0 ? 3000 : 300));
    r->spans_count = (uint32_t)(load_random(&load->random) % (SPOOL_SPANS_MAX + 1));
    for (uint32_t n = 0; n < r->spans_count; n++) {
        const uint64_t bytes =
            n + 1 == r->spans_count ? left : load_random(&load->random) % (left + 1);
        if (load_random(&load->random) % 6 == 0) { /* same name, same bytes */
            r->constants[n] = 1 + (uint32_t)(load_random(&load->random) % CONSTANTS);
            r->spans_bytes[n] = 100 + 700 * r->constants[n];
        } else {
            r->spans_bytes[n] = (uint32_t)bytes;
            left -= bytes;
        }
        r->body_bytes += r->spans_bytes[n];
    }
}

static bool record_is_idle(const struct load_record *r)
{
    return r->state == LOAD_STORED && r->replaced_by == NO_RECORD && r->marks_count == 0 &&
           r->reads_count == 0;
}

static void do_put(struct load *load, uint32_t replaces)
{
    const uint32_t record = load->records_count;
    if (record == LOAD_RECORDS_MAX || load->live_count == LOAD_LIVE_MAX)
        return;
    struct load_record *r = &load->records[record];
    *r = (struct load_record){.state = LOAD_PUTTING,
                              .kind = replaces == NO_RECORD ? SPOOL_MAIL : SPOOL_NOTICE,
                              .place = SPOOL_NOWHERE,
                              .arrived_unix_ms = load_random(&load->random) >> 20,
                              .end_unix_ms = load_random(&load->random) >> 20,
                              .replaces = replaces,
                              .replaced_by = NO_RECORD};
    record_shape(load, r);
    struct spool_record put = {.kind = r->kind,
                               .arrived_unix_ms = r->arrived_unix_ms,
                               .end_unix_ms = r->end_unix_ms,
                               .head = load_pool + load_pool_at(record, 0),
                               .head_bytes = r->head_bytes,
                               .spans_count = r->spans_count,
                               .replaces = SPOOL_NOWHERE};
    load_id(record, put.id);
    for (uint32_t n = 0; n < r->spans_count; n++)
        put.spans[n] =
            (struct spool_span){span_at(r, record, n), r->spans_bytes[n], r->constants[n]};
    if (replaces != NO_RECORD)
        put.replaces = load->records[replaces].place;
    if (!spool_put(load->spool, &put, TAG(ASKED_PUT, record)))
        return;
    if (replaces != NO_RECORD)
        load->records[replaces].replaced_by = record;
    load->live[load->live_count++] = record;
    load->records_count++;
}

static void do_mark(struct load *load, uint32_t record)
{
    struct load_record *r = &load->records[record];
    const bool hold = load_random(&load->random) >> 63;
    const enum asked asked = hold ? ASKED_HOLD : ASKED_RELEASE;
    if (!spool_mark(load->spool, r->place, hold, TAG(asked, record)))
        return;
    r->marks_count++;
    r->marks_out |= hold ? 2 : 1;
}

static void do_forget(struct load *load, uint32_t record)
{
    struct load_record *r = &load->records[record];
    if (spool_forget(load->spool, r->place, TAG(ASKED_FORGET, record)))
        r->state = LOAD_FORGETTING;
}

static void do_read(struct load *load, uint32_t record)
{
    struct load_record *r = &load->records[record];
    for (uint32_t n = 0; n < READERS; n++) {
        struct load_reader *reader = &load->readers[n];
        if (reader->busy)
            continue;
        const bool all = load_random(&load->random) >> 63;
        const uint64_t tag = TAG(ASKED_READ, n);
        reader->busy = all ? spool_read_all(load->spool, r->place, reader->at, READ_ROOM, tag)
                           : spool_read_head(load->spool, r->place, reader->at, READ_ROOM, tag);
        reader->record = record;
        reader->all = all;
        r->reads_count += reader->busy;
        return;
    }
}

static const char *event_put(struct load *load, const struct spool_event *event, uint32_t record)
{
    struct load_record *r = &load->records[record];
    if (r->state != LOAD_PUTTING)
        return "a put was answered twice";
    if (event->kind == SPOOL_FAILED) {
        load->failed_count++;
        if (event->error >= 0)
            return "a put failed without an error";
        if (r->replaces != NO_RECORD)
            load->records[r->replaces].replaced_by = NO_RECORD;
        record_gone(load, record);
        return LOAD_FINE;
    }
    load->stored_count++;
    r->state = LOAD_STORED;
    r->place = event->place;
    if (r->replaces != NO_RECORD)
        record_gone(load, r->replaces);
    return LOAD_FINE;
}

static const char *event_read(struct load *load, const struct spool_event *event, uint32_t place)
{
    struct load_reader *reader = &load->readers[place];
    struct load_record *r = &load->records[reader->record];
    const uint32_t bytes = r->head_bytes + (reader->all ? r->body_bytes : 0);
    if (!reader->busy)
        return "a read was answered twice";
    reader->busy = false;
    r->reads_count--;
    if (event->error != 0)
        return load->config.faulty ? LOAD_FINE : "a stored record could not be read";
    if (event->bytes != bytes)
        return "a read gave another number of bytes";
    return load_bytes_are(load->records, reader->record, reader->at, reader->all)
               ? LOAD_FINE
               : "a read gave other bytes";
}

static const char *event_take(struct load *load, const struct spool_event *event)
{
    const uint32_t n = (uint32_t)event->tag;
    struct load_record *r = &load->records[n];
    const enum asked asked = (enum asked)(event->tag >> 32);
    load->reported++;
    switch (event->kind) {
    case SPOOL_STORED:
    case SPOOL_FAILED:
        return asked == ASKED_PUT ? event_put(load, event, n) : "an event with another's tag";
    case SPOOL_READ:
        return asked == ASKED_READ ? event_read(load, event, n) : "an event with another's tag";
    case SPOOL_FORGOTTEN:
        if (asked != ASKED_FORGET || r->state != LOAD_FORGETTING)
            return "forgotten, and nobody asked";
        record_gone(load, n);
        return LOAD_FINE;
    case SPOOL_MARKED:
        if ((asked != ASKED_HOLD && asked != ASKED_RELEASE) || r->marks_count == 0)
            return "marked, and nobody asked";
        r->held = asked == ASKED_HOLD;
        if (--r->marks_count == 0)
            r->marks_out = 0;
        return LOAD_FINE;
    }
    return "an unknown event";
}

static const char *run(struct load *load, uint32_t *events_count)
{
    struct spool_event events[EVENTS];
    const uint32_t count = spool_run(load->spool, events, EVENTS);
    *events_count = count;
    for (uint32_t n = 0; n < count; n++) {
        const char *fault = event_take(load, &events[n]);
        if (fault != LOAD_FINE)
            return fault;
    }
    return LOAD_FINE;
}

static void action(struct load *load)
{
    const uint64_t choice = load_random(&load->random) % 100;
    const bool full = load->live_count >= load->config.live_most;
    const uint32_t record = load->live_count > 0
                                ? load->live[load_random(&load->random) % load->live_count]
                                : NO_RECORD;
    if (choice < (full ? 10 : 45)) {
        do_put(load, NO_RECORD);
        return;
    }
    if (record == NO_RECORD || load->records[record].state != LOAD_STORED ||
        load->records[record].replaced_by != NO_RECORD)
        return;
    if (choice < 75) {
        if (record_is_idle(&load->records[record]))
            do_forget(load, record);
    } else if (choice < 80) {
        if (record_is_idle(&load->records[record]))
            do_put(load, record);
    } else if (choice < 87) {
        do_mark(load, record);
    } else if (choice < 93) {
        do_read(load, record);
    }
}

const char *load_step(struct load *load)
{
    uint32_t events_count;
    const uint32_t actions = (uint32_t)(load_random(&load->random) % 4);
    for (uint32_t n = 0; n < actions; n++)
        action(load);
    return run(load, &events_count);
}

static bool load_is_idle(const struct load *load)
{
    for (uint32_t n = 0; n < load->live_count; n++) {
        const struct load_record *r = &load->records[load->live[n]];
        if (r->state != LOAD_STORED || r->marks_count > 0 || r->reads_count > 0)
            return false;
    }
    return true;
}

const char *load_settle(struct load *load)
{
    for (uint32_t n = 0; n < SETTLE_RUNS_MAX; n++) {
        uint32_t events_count;
        const char *fault = run(load, &events_count);
        if (fault != LOAD_FINE)
            return fault;
        if (load_is_idle(load) && events_count == 0 && !spool_busy(load->spool))
            return LOAD_FINE;
    }
    return load_is_idle(load) ? "the spool is busy for ever" : "something was never answered";
}

void load_close(struct load *load)
{
    if (load == NULL)
        return;
    if (load->spool != NULL) {
        (void)load_settle(load);
        spool_close(load->spool);
    }
    for (uint32_t n = 0; n < READERS; n++)
        free(load->readers[n].at);
    free(load->buffers);
    free(load);
}

uint64_t load_reported(const struct load *load)
{
    return load->reported;
}

void load_stats(const struct load *load, struct spool_stats *stats)
{
    spool_stats(load->spool, stats);
}

uint32_t load_failed(const struct load *load)
{
    return load->failed_count;
}

uint32_t load_stored(const struct load *load)
{
    return load->stored_count;
}

bool load_is_spent(const struct load *load)
{
    return load->records_count == LOAD_RECORDS_MAX;
}

void load_dump(const struct load *load, FILE *to)
{
    static const char *const states[] = {"putting", "stored", "forgetting", "gone"};
    for (uint32_t n = 0; n < load->live_count; n++) {
        const uint32_t record = load->live[n];
        const struct load_record *r = &load->records[record];
        (void)fprintf(to,
                      "record %u %s place %" PRIx64
                      " head %u body %u%s marks %u replaces %d by %d\n",
                      record, states[r->state], r->place, r->head_bytes, r->body_bytes,
                      r->held ? " held" : "", r->marks_out, (int)r->replaces, (int)r->replaced_by);
    }
}
