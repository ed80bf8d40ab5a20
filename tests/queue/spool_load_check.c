/* What a recovery must find, may find and must not find. */
#include "base/assert.h"
#include "base/macros.h"
#include "tests/queue/spool_load.h"
#include "tests/queue/spool_load_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS        16
#define READ_RUNS_MAX 20000

struct check {
    const struct load *load;
    const char *fault;
    struct load_found found;
    uint8_t seen[LOAD_RECORDS_MAX];
};

static char why_not[SPOOL_WHY_BYTES + 64];
static const char unreadable[] = "a record that is found cannot be read";

/* Buffers for recoveries within a recovery's moments. */
#define DEPTH_MAX 3
static uint32_t depth;
static uint8_t *buffers_of[DEPTH_MAX];
static uint8_t *room_of[DEPTH_MAX];

static const char *found_fault(const struct load_record *r, const struct spool_found *f)
{
    if (r->state == LOAD_GONE)
        return "what was reported forgotten, failed or replaced is found";
    if (f->kind != r->kind || f->arrived_unix_ms != r->arrived_unix_ms ||
        f->end_unix_ms != r->end_unix_ms || f->head_bytes != r->head_bytes ||
        f->body_bytes != r->body_bytes)
        return "a record is found with other particulars";
    if (f->held != r->held && (r->marks_out & (f->held ? 2 : 1)) == 0)
        return f->held ? "a record is held that was not" : "a record is not held any more";
    return LOAD_FINE;
}

static void found_one(void *user, const struct spool_found *f)
{
    struct check *check = user;
    const struct load *load = check->load;
    uint8_t id[SPOOL_ID_BYTES];
    uint64_t record;
    memcpy(&record, f->id, sizeof(record));
    if (check->fault != LOAD_FINE)
        return;
    if (record >= load->records_count) {
        check->fault = "a record is found that nobody put";
        return;
    }
    load_id((uint32_t)record, id);
    if (memcmp(id, f->id, sizeof(id)) != 0)
        check->fault = "a record is found with another id";
    else if (check->seen[record])
        check->fault = "a record is found twice";
    else if (check->found.count == LOAD_LIVE_MAX)
        check->fault = "more is found than lives";
    else
        check->fault = found_fault(&load->records[record], f);
    check->seen[record] = 1;
    if (check->found.count < LOAD_LIVE_MAX) {
        check->found.records[check->found.count] = (uint32_t)record;
        check->found.held[check->found.count] = f->held;
        check->found.places[check->found.count++] = f->place;
    }
}

static const char *check_all_there(const struct check *check)
{
    const struct load *load = check->load;
    for (uint32_t n = 0; n < load->live_count; n++) {
        const uint32_t record = load->live[n];
        const struct load_record *r = &load->records[record];
        const bool by_other = r->replaced_by != NO_RECORD && check->seen[r->replaced_by];
        if (check->seen[record] && by_other)
            return "both a record and what took its place are found";
        if (r->state == LOAD_STORED && !check->seen[record] && !by_other)
            return "a record that was reported stored is lost";
    }
    return LOAD_FINE;
}

/* One at a time: each with its exact bytes. */
static const char *check_bytes(const struct check *check, struct spool *spool, uint8_t *room)
{
    const struct load *load = check->load;
    for (uint32_t n = 0; n < check->found.count; n++) {
        const uint32_t record = check->found.records[n];
        const struct load_record *r = &load->records[record];
        struct spool_event events[EVENTS];
        uint32_t count = 0;
        bool asked = false;
        for (uint32_t runs = 0; runs < READ_RUNS_MAX && count == 0; runs++) {
            if (!asked)
                asked = spool_read_all(spool, check->found.places[n], room, READ_ROOM, record);
            count = spool_run(spool, events, EVENTS);
        }
        if (count != 1 || events[0].kind != SPOOL_READ || events[0].tag != record)
            return "a read after recovery was not answered";
        if (events[0].error != 0)
            return unreadable;
        if (events[0].bytes != r->head_bytes + r->body_bytes ||
            !load_bytes_are(load->records, record, room, true))
            return "a record is found with other bytes";
    }
    return LOAD_FINE;
}

static bool quiet(struct spool *spool)
{
    struct spool_event events[EVENTS];
    for (uint32_t runs = 0; runs < READ_RUNS_MAX; runs++) {
        if (spool_run(spool, events, EVENTS) != 0)
            return false;
        if (!spool_busy(spool))
            return true;
    }
    return false;
}

const char *load_check(const struct load *load, struct disk_model *model, struct load_found *found)
{
    char why[SPOOL_WHY_BYTES] = "";
    static struct check checks[DEPTH_MAX];
    ASSERT(depth < DEPTH_MAX);
    if (buffers_of[depth] == NULL) {
        buffers_of[depth] = aligned_alloc(DISK_BLOCK_BYTES, BUFFERS_BYTES);
        room_of[depth] = malloc(READ_ROOM);
        ASSERT(buffers_of[depth] != NULL && room_of[depth] != NULL);
    }
    struct check *check = &checks[depth];
    check->load = load;
    check->fault = LOAD_FINE;
    check->found.count = 0;
    memset(check->seen, 0, load->records_count);
    depth++;
    struct spool *spool =
        load_spool_open(&load->config, model, buffers_of[depth - 1], found_one, check, why);
    if (spool == NULL) {
        (void)snprintf(why_not, sizeof(why_not), "recovery declines: %s", why);
        check->fault = why_not;
    } else {
        if (check->fault == LOAD_FINE)
            check->fault = check_all_there(check);
        if (check->fault == LOAD_FINE)
            check->fault = check_bytes(check, spool, room_of[depth - 1]);
        if (!quiet(spool) && check->fault == LOAD_FINE)
            check->fault = "the spool does not come to rest after recovery";
        spool_close(spool);
    }
    depth--;
    if (found != NULL)
        *found = check->found;
    return check->fault;
}

bool load_is_said(const char *fault)
{
    return fault == why_not || fault == unreadable;
}

bool load_same(const struct load_found *a, const struct load_found *b)
{
    if (a->count != b->count)
        return false;
    for (uint32_t n = 0; n < a->count; n++)
        if (a->records[n] != b->records[n] || a->held[n] != b->held[n])
            return false;
    return true;
}

/* The oracle takes over what the recovery found: so much is known now. */
static void load_adopt(struct load *load, const struct check *check)
{
    for (uint32_t n = load->live_count; n > 0; n--) {
        const uint32_t record = load->live[n - 1];
        struct load_record *r = &load->records[record];
        r->replaces = r->replaced_by = NO_RECORD;
        r->marks_count = r->reads_count = 0;
        r->marks_out = 0;
        r->state = check->seen[record] ? LOAD_STORED : LOAD_GONE;
        if (r->state == LOAD_GONE)
            load_live_remove(load, record);
    }
    for (uint32_t n = 0; n < check->found.count; n++) {
        struct load_record *r = &load->records[check->found.records[n]];
        r->place = check->found.places[n];
        r->held = check->found.held[n];
    }
}

static const char *load_begin(struct load *load, struct disk_model *model)
{
    static struct check check;
    char why[SPOOL_WHY_BYTES] = "";
    load->model = model;
    check = (struct check){.load = load};
    load->spool = load_spool_open(&load->config, model, load->buffers, found_one, &check, why);
    if (load->spool == NULL) {
        (void)snprintf(why_not, sizeof(why_not), "recovery declines: %s", why);
        return why_not;
    }
    if (check.fault == LOAD_FINE)
        check.fault = check_all_there(&check);
    if (check.fault == LOAD_FINE)
        load_adopt(load, &check);
    return check.fault;
}

const char *load_start(struct load *load, struct disk_model *model)
{
    ASSERT(load->spool == NULL && load->records_count == 0);
    return load_begin(load, model);
}

const char *load_restart(struct load *load, struct disk_model *model, uint32_t lanes_count)
{
    static struct load before;
    before = *load; /* what is reported from here on, nobody hears */
    (void)load_settle(load);
    spool_close(load->spool);
    *load = before;
    load->spool = NULL;
    for (uint32_t n = 0; n < READERS; n++)
        load->readers[n].busy = false;
    if (lanes_count > 0)
        load->config.lanes_count = MIN(lanes_count, load->config.lanes_count);
    load->config.lane %= load->config.lanes_count;
    load->reported++;
    return load_begin(load, model);
}
