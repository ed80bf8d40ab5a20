#include "engine/waiting_internal.h"

#include "base/bytes.h"
#include "base/log.h"
#include "crypto/secret.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define CLOSE_NS_MAX    (10 * NS_PER_S)
#define CLOSE_PAUSE_NS  ((long)NS_PER_MS)
#define BUCKETS         (2 * WAITING_ENTRIES_MAX)
#define EVENT_ROUNDS    8
#define RETRY_NS        (10 * NS_PER_S) /* after a segment could not be made */
#define IDLE_NS         NS_PER_S        /* so that segments are made ahead of need */
#define PAUSE_SHIFT_MAX 8

static const char *const state_names[WAITING_STATES] = {
    [WAITING_FREE] = "free",     [WAITING_STORING] = "storing",
    [WAITING_KEY] = "key",       [WAITING_REGISTERING] = "registering",
    [WAITING_READY] = "ready",   [WAITING_EMITTING] = "emitting",
    [WAITING_ENDING] = "ending", [WAITING_LOST] = "lost",
};

const char *waiting_state_name(enum waiting_state state)
{
    return state_names[state];
}

static bool waiting_edge(enum waiting_state from, enum waiting_state to)
{
    switch (to) {
    case WAITING_FREE: return from == WAITING_STORING || from == WAITING_ENDING;
    case WAITING_STORING: return from == WAITING_FREE;
    case WAITING_KEY:
        return from == WAITING_FREE || from == WAITING_STORING || from == WAITING_REGISTERING;
    case WAITING_REGISTERING: return from == WAITING_KEY;
    case WAITING_READY:
        return from == WAITING_FREE || from == WAITING_REGISTERING || from == WAITING_EMITTING ||
               from == WAITING_ENDING;
    case WAITING_EMITTING: return from == WAITING_READY;
    case WAITING_ENDING: return from != WAITING_FREE && from != WAITING_ENDING;
    case WAITING_LOST: return from == WAITING_ENDING;
    }
    return false;
}

void row_enter(struct waiting *waiting, uint32_t index, enum waiting_state state)
{
    struct waiting_entry *entry = &waiting->entries[index];
    ASSERT(waiting_edge((enum waiting_state)entry->state, state));
    if (entry->state != WAITING_FREE)
        waiting->counts.states[entry->state]--;
    if (state != WAITING_FREE)
        waiting->counts.states[state]++;
    entry->state = (uint8_t)state;
}

static uint32_t bucket_of(const struct waiting *waiting, const struct id *id)
{
    /* Its last 62 bits are random, and nobody else's choice. */
    return (uint32_t)bytes_load_le64(id->bytes + 8) & waiting->buckets_mask;
}

uint32_t row_find(const struct waiting *waiting, const struct id *id)
{
    uint32_t index = waiting->buckets[bucket_of(waiting, id)] - 1;
    for (uint32_t n = 0; n < waiting->entries_used && index != WAITING_NONE; n++) {
        if (memcmp(waiting->entries[index].id.bytes, id->bytes, ID_BYTES) == 0)
            return index;
        index = waiting->entries[index].same;
    }
    return WAITING_NONE;
}

void row_prefetch(const struct waiting *waiting, const struct id *id)
{
    __builtin_prefetch(&waiting->buckets[bucket_of(waiting, id)], 1);
}

uint32_t row_take(struct waiting *waiting, const struct id *id)
{
    uint32_t index = waiting->entries_free;
    if (index != WAITING_NONE)
        waiting->entries_free = waiting->entries[index].next;
    else if (waiting->entries_used < waiting->entries_max)
        index = waiting->entries_used++;
    else
        return WAITING_NONE;
    uint32_t *bucket = &waiting->buckets[bucket_of(waiting, id)];
    waiting->entries[index] = (struct waiting_entry){.id = *id,
                                                     .place = SPOOL_NOWHERE,
                                                     .next = WAITING_NONE,
                                                     .prev = WAITING_NONE,
                                                     .same = *bucket - 1,
                                                     .slot = WAITING_NONE,
                                                     .list = LIST_NOWHERE,
                                                     .key_service = SERVICE_UNKNOWN};
    *bucket = index + 1;
    return index;
}

void row_give(struct waiting *waiting, uint32_t index)
{
    struct waiting_entry *entry = &waiting->entries[index];
    const uint32_t bucket = bucket_of(waiting, &entry->id);
    ASSERT(entry->list == LIST_NOWHERE);
    row_unwatch(waiting, index);
    if ((entry->flags & ENTRY_HELD) != 0)
        waiting->counts.held--;
    if (waiting->buckets[bucket] == index + 1) {
        waiting->buckets[bucket] = entry->same + 1;
    } else {
        uint32_t before = waiting->buckets[bucket] - 1;
        while (waiting->entries[before].same != index)
            before = waiting->entries[before].same;
        waiting->entries[before].same = entry->same;
    }
    row_enter(waiting, index, WAITING_FREE);
    entry->next = waiting->entries_free;
    waiting->entries_free = index;
}

void row_unlist(struct waiting *waiting, uint32_t index)
{
    struct waiting_entry *entry = &waiting->entries[index];
    if (entry->list == LIST_NOWHERE)
        return;
    struct entries *list = &waiting->lists[entry->list];
    if (entry->prev == WAITING_NONE)
        list->first = entry->next;
    else
        waiting->entries[entry->prev].next = entry->next;
    if (entry->next == WAITING_NONE)
        list->last = entry->prev;
    else
        waiting->entries[entry->next].prev = entry->prev;
    list->count--;
    entry->next = WAITING_NONE;
    entry->prev = WAITING_NONE;
    entry->list = LIST_NOWHERE;
}

void row_list(struct waiting *waiting, uint32_t index, uint32_t list_index, bool front)
{
    struct waiting_entry *entry = &waiting->entries[index];
    struct entries *list = &waiting->lists[list_index];
    ASSERT(entry->list == LIST_NOWHERE);
    entry->list = (uint8_t)list_index;
    entry->prev = front ? WAITING_NONE : list->last;
    entry->next = front ? list->first : WAITING_NONE;
    if (entry->prev == WAITING_NONE)
        list->first = index;
    else
        waiting->entries[entry->prev].next = index;
    if (entry->next == WAITING_NONE)
        list->last = index;
    else
        waiting->entries[entry->next].prev = index;
    list->count++;
}

void row_unwatch(struct waiting *waiting, uint32_t index)
{
    struct waiting_entry *entry = &waiting->entries[index];
    if (wheel_has(&waiting->ends, index))
        wheel_remove(&waiting->ends, index);
    if ((entry->flags & ENTRY_PAUSED) != 0)
        wheel_remove(&waiting->pauses, index);
    entry->flags &= (uint8_t)~ENTRY_PAUSED;
}

void row_watch_end(struct waiting *waiting, uint32_t index)
{
    const struct waiting_entry *entry = &waiting->entries[index];
    if (entry->end_unix_ms != 0 && (entry->flags & (ENTRY_HELD | ENTRY_ENDED)) == 0)
        wheel_add(&waiting->ends, index, entry->end_unix_ms / 1000 + 1);
}

bool waiting_has_collector(const struct waiting *waiting)
{
    for (uint32_t i = 0; i < WAITING_COLLECTORS_MAX; i++) {
        const struct waiting_collector *collector = &waiting->collectors[i];
        if (collector->channel != NULL && !collector->ending && !collector->broken)
            return true;
    }
    return false;
}

void row_settle(struct waiting *waiting, uint32_t index)
{
    struct waiting_entry *entry = &waiting->entries[index];
    const bool ended = (entry->flags & ENTRY_ENDED) != 0;
    if (entry->state == WAITING_ENDING) { /* its slot holds what its sender is to be told */
        row_list(waiting, index,
                 (entry->flags & ENTRY_FORGET) != 0 ? LIST_FORGETTING : LIST_FAILING, false);
        return;
    }
    ASSERT(entry->state == WAITING_KEY || entry->state == WAITING_READY);
    entry->slot = WAITING_NONE;
    if ((entry->flags & ENTRY_HELD) != 0)
        return;
    if (entry->state == WAITING_READY && (!ended || waiting_has_collector(waiting)))
        row_list(waiting, index, LIST_READY,
                 (entry->flags & ENTRY_EMITTED) != 0 && entry->tries <= WAITING_FIRST_TRIES);
    else if (ended)
        row_fail(waiting, index, NOTICE_AWAY);
    else if (entry->key_service == SERVICE_UNKNOWN)
        row_list(waiting, index, LIST_UNKNOWN, false);
    else
        row_list(waiting, index, LIST_SERVICE + entry->key_service, false);
}

/* Full jitter below a limit that doubles; the generator needs no secrecy. */
void row_pause(struct waiting *waiting, uint32_t index)
{
    struct waiting_entry *entry = &waiting->entries[index];
    const uint32_t shift = MIN((uint32_t)entry->tries, (uint32_t)PAUSE_SHIFT_MAX);
    const uint64_t limit =
        MIN((uint64_t)WAITING_PAUSE_S_MIN << shift, (uint64_t)WAITING_PAUSE_S_MAX);
    waiting->jitter =
        waiting->jitter * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    entry->tries = (uint16_t)MIN((uint32_t)entry->tries + 1, (uint32_t)UINT16_MAX);
    if (entry->state != WAITING_ENDING) {
        entry->slot = WAITING_NONE;
        if ((entry->flags & ENTRY_HELD) != 0)
            return;
    }
    entry->flags |= ENTRY_PAUSED;
    wheel_add(&waiting->pauses, index,
              waiting->now_ns / NS_PER_S + 1 + (waiting->jitter >> 33) % limit);
}

void row_fail(struct waiting *waiting, uint32_t index, uint32_t reason)
{
    struct waiting_entry *entry = &waiting->entries[index];
    row_unlist(waiting, index);
    row_unwatch(waiting, index);
    entry->reason = (uint8_t)reason;
    entry->tries = 0; /* from now on, of telling its sender */
    entry->flags &= (uint8_t)~ENTRY_FORGET;
    row_enter(waiting, index, WAITING_ENDING);
    /* A slot with what the next hop said is kept until it is told. */
    row_list(waiting, index, LIST_FAILING, false);
}

void row_forget(struct waiting *waiting, uint32_t index)
{
    struct waiting_entry *entry = &waiting->entries[index];
    row_unlist(waiting, index);
    row_unwatch(waiting, index);
    entry->flags |= ENTRY_FORGET;
    entry->slot = WAITING_NONE;
    if (entry->state != WAITING_ENDING)
        row_enter(waiting, index, WAITING_ENDING);
    row_list(waiting, index, LIST_FORGETTING, false);
}

static void *pages_take(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    (void)madvise(at, bytes, MADV_DONTDUMP);
    return at;
}

static size_t ask_bytes(void)
{
    return (size_t)WAITING_ASKS_MAX * WAITING_SMALL_BYTES +
           (size_t)WAITING_LARGE_MAX * SPOOL_HEAD_BYTES_MAX;
}

/* The derived keys, then the records. */
static size_t derived_bytes(void)
{
    return WAITING_DERIVED_MAX * sizeof(struct waiting_derived);
}

size_t waiting_secret_bytes(void)
{
    return derived_bytes() + ask_bytes();
}

static size_t notice_bytes(const struct waiting *waiting)
{
    return WAITING_NOTICES_MAX * (waiting->notice_in_bytes + WAITING_NOTICE_BYTES);
}

static void pages_give(void *at, size_t bytes)
{
    if (at != NULL)
        (void)munmap(at, bytes);
}

static void waiting_free(struct waiting *waiting)
{
    pages_give(waiting->entries, WAITING_ENTRIES_MAX * sizeof(struct waiting_entry));
    pages_give(waiting->buckets, BUCKETS * sizeof(uint32_t));
    pages_give(waiting->end_nodes, WAITING_ENTRIES_MAX * sizeof(struct wheel_node));
    pages_give(waiting->pause_nodes, WAITING_ENTRIES_MAX * sizeof(struct wheel_node));
    pages_give(waiting->ask_heads, ask_bytes());
    pages_give(waiting->emits, WAITING_EMITS_MAX * sizeof(struct waiting_emit));
    pages_give(waiting->emit_refusals, WAITING_EMITS_MAX * (size_t)IPC_REFUSALS_BYTES_MAX);
    pages_give(waiting->notice_pages, notice_bytes(waiting));
    pages_give(waiting->showing_head, SPOOL_HEAD_BYTES_MAX);
    if (waiting->derived != NULL)
        secret_pages_close(waiting->derived, waiting_secret_bytes());
    free(waiting);
}

static int waiting_take_pages(struct waiting *waiting)
{
    void *secret = NULL;
    waiting->entries_max = WAITING_ENTRIES_MAX;
    waiting->buckets_mask = BUCKETS - 1;
    waiting->notice_in_bytes = waiting->config.segment_bytes;
    waiting->entries = pages_take(WAITING_ENTRIES_MAX * sizeof(struct waiting_entry));
    waiting->buckets = pages_take(BUCKETS * sizeof(uint32_t));
    waiting->end_nodes = pages_take(WAITING_ENTRIES_MAX * sizeof(struct wheel_node));
    waiting->pause_nodes = pages_take(WAITING_ENTRIES_MAX * sizeof(struct wheel_node));
    waiting->ask_heads = pages_take(ask_bytes());
    waiting->emits = pages_take(WAITING_EMITS_MAX * sizeof(struct waiting_emit));
    waiting->emit_refusals = pages_take(WAITING_EMITS_MAX * (size_t)IPC_REFUSALS_BYTES_MAX);
    waiting->notice_pages = pages_take(notice_bytes(waiting));
    waiting->showing_head = pages_take(SPOOL_HEAD_BYTES_MAX);
    const int rc = secret_pages_open(&secret, waiting_secret_bytes());
    if (rc != 0)
        return rc;
    waiting->derived = secret;
    waiting->ask_records = (uint8_t *)secret + derived_bytes();
    const bool all = waiting->entries != NULL && waiting->buckets != NULL &&
                     waiting->end_nodes != NULL && waiting->pause_nodes != NULL &&
                     waiting->ask_heads != NULL && waiting->emits != NULL &&
                     waiting->emit_refusals != NULL && waiting->notice_pages != NULL &&
                     waiting->showing_head != NULL;
    return all ? 0 : -ENOMEM;
}

static void waiting_init(struct waiting *waiting)
{
    waiting->entries_free = WAITING_NONE;
    waiting->flush_cursor = WAITING_NONE;
    waiting->jitter = waiting->config.now_ns | 1;
    for (uint32_t i = 0; i < WAITING_LISTS; i++)
        waiting->lists[i] = (struct entries){.first = WAITING_NONE, .last = WAITING_NONE};
    for (uint32_t i = 0; i < WAITING_ASKS_MAX; i++) {
        waiting->asks[i].entry = WAITING_NONE;
        waiting->asks_free[waiting->asks_free_count++] = WAITING_ASKS_MAX - 1 - i;
    }
    for (uint32_t i = 0; i < WAITING_LARGE_MAX; i++)
        waiting->larges_free[waiting->larges_free_count++] = i;
    for (uint32_t i = 0; i < WAITING_EMITS_MAX; i++)
        waiting->emits_free[waiting->emits_free_count++] = WAITING_EMITS_MAX - 1 - i;
    for (uint32_t i = 0; i < WAITING_NOTICES_MAX; i++)
        waiting->notices[i].entry = WAITING_NONE;
    wheel_init(&waiting->ends, waiting->end_nodes, WAITING_ENTRIES_MAX,
               waiting->now_unix_ns / NS_PER_S);
    wheel_init(&waiting->pauses, waiting->pause_nodes, WAITING_ENTRIES_MAX,
               waiting->now_ns / NS_PER_S);
}

static void waiting_found(void *user, const struct spool_found *found)
{
    struct waiting *waiting = user;
    struct id id;
    _Static_assert(SPOOL_ID_BYTES == ID_BYTES, "one id");
    memcpy(id.bytes, found->id, sizeof(id.bytes));
    waiting->counts.recovered++;
    const uint32_t index = row_take(waiting, &id);
    if (index == WAITING_NONE) /* waiting_open() looks at the sum */
        return;
    struct waiting_entry *entry = &waiting->entries[index];
    const bool notice = found->kind == SPOOL_NOTICE;
    entry->place = found->place;
    entry->arrived_unix_ms = found->arrived_unix_ms;
    entry->end_unix_ms = found->end_unix_ms;
    entry->head_bytes = found->head_bytes;
    entry->body_bytes = found->body_bytes;
    entry->flags = (uint8_t)((notice ? ENTRY_NOTICE : 0) | (found->held ? ENTRY_HELD : 0));
    waiting->counts.held += found->held;
    if (waiting->config.key_services_count == 1)
        entry->key_service = 0;
    row_enter(waiting, index, notice ? WAITING_READY : WAITING_KEY);
    row_watch_end(waiting, index);
    row_settle(waiting, index);
}

int waiting_open(struct waiting **waiting, const struct waiting_config *config,
                 char why[WAITING_WHY_BYTES])
{
    char spool_why[SPOOL_WHY_BYTES] = "";
    struct waiting *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        (void)snprintf(why, WAITING_WHY_BYTES, "out of memory");
        return -ENOMEM;
    }
    made->config = *config;
    made->now_ns = config->now_ns;
    made->now_unix_ns = config->now_unix_ns;
    int rc = waiting_take_pages(made);
    if (rc != 0) {
        (void)snprintf(why, WAITING_WHY_BYTES, "no memory for the table of waiting mail");
        waiting_free(made);
        return rc;
    }
    waiting_init(made);
    const struct spool_config spool = {
        .disk = config->disk,
        .lane = config->lane,
        .lanes_count = config->lanes_count,
        .segment_bytes = config->segment_bytes,
        .bytes_max = config->bytes_max,
        .buffers = config->buffers,
        .buffers_bytes = config->buffers_bytes,
    };
    rc = spool_open(&made->spool, &spool, waiting_found, made, spool_why);
    if (rc == 0 && made->counts.recovered > made->entries_used) {
        (void)snprintf(spool_why, sizeof(spool_why),
                       "more messages wait than one worker takes: raise workers");
        spool_close(made->spool);
        rc = -EFBIG;
    }
    if (rc != 0) {
        (void)snprintf(why, WAITING_WHY_BYTES, "the spool: %s",
                       spool_why[0] == '\0' ? strerror(-rc) : spool_why);
        waiting_free(made);
        return rc;
    }
    *waiting = made;
    return 0;
}

bool waiting_close(struct waiting *waiting)
{
    struct spool_event events[WAITING_EVENTS_MAX];
    if (waiting == NULL)
        return true;
    const uint64_t until_ns = clock_monotonic_ns() + CLOSE_NS_MAX;
    spool_read_share(waiting->spool, UINT64_MAX); /* the last pass may have left it nothing */
    while (spool_busy(waiting->spool) && clock_monotonic_ns() < until_ns) {
        const struct timespec pause = {.tv_nsec = CLOSE_PAUSE_NS};
        if (spool_run(waiting->spool, events, WAITING_EVENTS_MAX) == 0)
            (void)nanosleep(&pause, NULL);
    }
    if (spool_busy(waiting->spool)) { /* a disk that does not answer may still read our buffers */
        log_line(LOG_LEVEL_ERROR, "spool_stuck", "why=\"the disk does not answer\"");
        return false;
    }
    spool_close(waiting->spool);
    disk_close(waiting->config.disk);
    waiting_free(waiting);
    return true;
}

static void event_put(struct waiting *waiting, const struct spool_event *event, uint32_t index)
{
    struct waiting_entry *entry = &waiting->entries[index];
    const uint32_t job_index = entry->slot;
    const int error = event->kind == SPOOL_STORED ? 0 : event->error;
    ASSERT(entry->state == WAITING_STORING);
    entry->place = event->place;
    entry->slot = WAITING_NONE;
    const bool kept = waiting->config.ops->put_ended(waiting->config.user, job_index, error);
    if (error != 0) {
        waiting->counts.refused++;
        row_give(waiting, index);
    } else if (!kept) {
        row_forget(waiting, index);
    } else {
        waiting->counts.queued++;
        row_enter(waiting, index, WAITING_KEY);
        row_settle(waiting, index);
    }
}

static void event_take(struct waiting *waiting, const struct spool_event *event)
{
    const uint32_t n = (uint32_t)event->tag;
    switch ((enum waiting_tag)(event->tag >> 56)) {
    case TAG_PUT: event_put(waiting, event, n); return;
    case TAG_ASK: keys_read(waiting, event, n); return;
    case TAG_EMIT: emit_read(waiting, event, n); return;
    case TAG_NOTICE: notice_event(waiting, event, n); return;
    case TAG_FORGET:
        waiting->forgets_out--;
        row_give(waiting, n);
        return;
    case TAG_MARK:
        ASSERT(waiting->entries[n].marks_count > 0);
        waiting->entries[n].marks_count--;
        return;
    case TAG_SHOW: queue_shown(waiting, event); return;
    }
    ASSERT(false);
}

/* What the disk has done costs time too: of a burst of it, new mail waits for a part only. */
static uint32_t run_events_max(const struct waiting *waiting)
{
    if (waiting->budget > WAITING_FEW)
        return WAITING_EVENTS_MAX;
    return waiting->counts.states[WAITING_STORING] > 0 ? WAITING_EVENTS_PUTS : WAITING_EVENTS_FEW;
}

/* Records are forgotten in bursts, and stand anywhere. */
static void events_prefetch(const struct waiting *waiting, const struct spool_event *events,
                            uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (events[i].kind == SPOOL_FORGOTTEN)
            __builtin_prefetch(&waiting->entries[(uint32_t)events[i].tag], 1);
    for (uint32_t i = 0; i < count; i++)
        if (events[i].kind == SPOOL_FORGOTTEN)
            row_prefetch(waiting, &waiting->entries[(uint32_t)events[i].tag].id);
}

static uint32_t run_spool(struct waiting *waiting)
{
    struct spool_event events[WAITING_EVENTS_MAX];
    uint32_t done = 0;
    if (!waiting->touched && !spool_busy(waiting->spool) && waiting->now_ns < waiting->idle_ns)
        return 0;
    waiting->touched = false;
    waiting->idle_ns = waiting->now_ns + IDLE_NS;
    const bool few = waiting->budget <= WAITING_FEW;
    const uint32_t events_max = run_events_max(waiting);
    if (waiting->now_ns >= waiting->retry_ns) {
        waiting->retry_ns = waiting->now_ns + RETRY_NS;
        spool_retry(waiting->spool);
    }
    spool_read_share(waiting->spool, waiting->budget * WAITING_READ_BYTES);
    for (uint32_t n = 0; n < EVENT_ROUNDS; n++) {
        const uint32_t count = spool_run(waiting->spool, events, events_max);
        events_prefetch(waiting, events, count);
        for (uint32_t i = 0; i < count; i++)
            event_take(waiting, &events[i]);
        keys_open(waiting);
        done += count;
        if (count < events_max || few)
            break;
    }
    return done;
}

static uint32_t run_forgets(struct waiting *waiting)
{
    struct entries *list = &waiting->lists[LIST_FORGETTING];
    uint32_t done = 0;
    while (list->first != WAITING_NONE) {
        const uint32_t index = list->first;
        if (!spool_forget(waiting->spool, waiting->entries[index].place,
                          WAITING_TAG(TAG_FORGET, index)))
            break;
        row_unlist(waiting, index);
        waiting->forgets_out++;
        waiting->touched = true;
        done++;
    }
    return done;
}

static void run_end(struct waiting *waiting, uint32_t index)
{
    struct waiting_entry *entry = &waiting->entries[index];
    entry->flags |= ENTRY_ENDED;
    if (entry->state != WAITING_KEY && entry->state != WAITING_READY)
        return; /* what is under way comes to its end first */
    row_fail(waiting, index, NOTICE_AWAY);
}

static uint32_t run_wheels(struct waiting *waiting, uint32_t budget)
{
    uint32_t indexes[WAITING_ENDS_MAX];
    const uint32_t most = MIN(budget, (uint32_t)WAITING_ENDS_MAX);
    const uint64_t unix_s = waiting->now_unix_ns / NS_PER_S;
    const uint64_t now_s = waiting->now_ns / NS_PER_S;
    uint32_t done = 0;
    if (wheel_next_s(&waiting->ends) <= unix_s || unix_s < waiting->ends.now_s) {
        const uint32_t count = wheel_advance(&waiting->ends, unix_s, indexes, most);
        for (uint32_t i = 0; i < count; i++)
            run_end(waiting, indexes[i]);
        done += count;
    }
    if (wheel_next_s(&waiting->pauses) <= now_s) {
        const uint32_t count = wheel_advance(&waiting->pauses, now_s, indexes, most);
        for (uint32_t i = 0; i < count; i++) {
            waiting->entries[indexes[i]].flags &= (uint8_t)~ENTRY_PAUSED;
            row_settle(waiting, indexes[i]);
        }
        done += count;
    }
    return done;
}

bool waiting_tells(struct waiting *waiting, enum waiting_log log)
{
    return log_limit_admits(&waiting->logs[log], waiting->now_ns);
}

/* Once a second is over: how many were not told of one by one. */
static void run_logs(struct waiting *waiting)
{
    static const char *const events[WAITING_LOGS] = {
        [WAITING_LOG_TOLD] = "sender_notified",
        [WAITING_LOG_ENDED] = "message_ended",
        [WAITING_LOG_LOST] = "message_lost",
        [WAITING_LOG_DAMAGED] = "spool_damaged",
        [WAITING_LOG_UNREADABLE] = "emission_unreadable",
        [WAITING_LOG_TOO_LARGE] = "emission_too_large",
        [WAITING_LOG_REFUSED] = "notification_refused",
    };
    for (uint32_t i = 0; i < WAITING_LOGS; i++) {
        const uint32_t count = log_limit_left_out(&waiting->logs[i], waiting->now_ns);
        if (count > 0)
            log_line(LOG_LEVEL_WARNING, "lines_left_out",
                     "event=\"%s\" count=%u why=\"more than %d in a second\" "
                     "look=\"bulla queue list, bulla queue stats\"",
                     events[i], count, LOG_LIMIT_LINES_MAX);
    }
}

uint32_t waiting_run(struct waiting *waiting, uint64_t now_ns, uint64_t now_unix_ns,
                     uint32_t budget)
{
    waiting->now_ns = now_ns;
    waiting->now_unix_ns = now_unix_ns;
    waiting->budget = budget;
    run_logs(waiting);
    uint32_t done = run_forgets(waiting);
    if (!waiting->draining && budget > 0) {
        done += run_wheels(waiting, budget);
        done += notices_run(waiting, budget);
        done += keys_run(waiting, budget);
    }
    done += emit_run(waiting, waiting->draining ? 0 : budget);
    done += queue_run(waiting);
    return done + run_spool(waiting);
}

void waiting_drain(struct waiting *waiting)
{
    waiting->draining = true;
}

bool waiting_is_quiet(const struct waiting *waiting)
{
    for (uint32_t i = 0; i < WAITING_NOTICES_MAX; i++) {
        if (waiting->notices[i].entry != WAITING_NONE)
            return false;
    }
    return waiting->emits_out == 0 && waiting->lists[LIST_FORGETTING].count == 0 &&
           waiting->forgets_out == 0 && waiting->counts.states[WAITING_STORING] == 0;
}

int waiting_doorbell(const struct waiting *waiting)
{
    struct disk *disk = waiting->config.disk;
    return disk->ops->doorbell(disk);
}

void waiting_arm(struct waiting *waiting, bool armed)
{
    struct disk *disk = waiting->config.disk;
    disk->ops->arm(disk, armed);
}

bool waiting_may_sleep(const struct waiting *waiting)
{
    if (spool_is_ready(waiting->spool))
        return false;
    return !spool_busy(waiting->spool) || waiting_doorbell(waiting) >= 0;
}

const struct waiting_counts *waiting_counts(const struct waiting *waiting)
{
    return &waiting->counts;
}

void waiting_spool_stats(const struct waiting *waiting, struct spool_stats *stats)
{
    spool_stats(waiting->spool, stats);
}
