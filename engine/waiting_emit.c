#include "engine/waiting_internal.h"

#include "base/log.h"

#include <errno.h>
#include <string.h>

#define UNREAD_TRIES 8                           /* of which one says so in the log */
#define DONES_MAX    64                          /* of one collector, at a time ...   */
#define DONES_FEW    8                           /* ... while new mail must not wait  */
#define TEXTS_MAX    (WAITING_EMITS_MAX / 2)     /* that are kept: the rest is for mail ... */
#define REFUSALS_MAX (WAITING_EMITS_MAX / 8 * 7) /* ... and of what says who was refused   */

_Static_assert(sizeof(struct ipc_span) <= WAITING_TABLE_BYTES, "the table fits");
_Static_assert((WAITING_EMITS_MAX & (WAITING_EMITS_MAX - 1)) == 0, "a number holds a slot");

static uint64_t emit_number(const struct waiting *waiting, uint32_t slot)
{
    return (uint64_t)waiting->emits[slot].serial * WAITING_EMITS_MAX + slot;
}

void emit_give(struct waiting *waiting, uint32_t slot)
{
    waiting->emits[slot].state = EMIT_FREE;
    waiting->emits_free[waiting->emits_free_count++] = slot;
}

/* It is the collector's no more. */
static void emit_leave(struct waiting *waiting, const struct waiting_emit *emit)
{
    struct waiting_collector *collector = &waiting->collectors[emit->collector];
    ASSERT(collector->emits_count > 0 && waiting->emits_out > 0);
    collector->emits_count--;
    waiting->emits_out--;
}

static void emit_give_space(struct waiting *waiting, const struct waiting_emit *emit)
{
    struct waiting_collector *collector = &waiting->collectors[emit->collector];
    channel_space_give(collector->channel, emit->offset, emit->bytes);
}

/* It is as it was before it was read: ready. */
static void emit_return(struct waiting *waiting, uint32_t slot)
{
    const uint32_t index = waiting->emits[slot].entry;
    emit_leave(waiting, &waiting->emits[slot]);
    emit_give(waiting, slot);
    row_enter(waiting, index, WAITING_READY);
    row_settle(waiting, index);
}

/* Its collector ended without a word about it. It may have been what the collector ended of, or
 * stuck at: after a few times it waits behind the others, for longer and longer. And it may have
 * been sent: when its time is over it is tried once more, if a collector comes in a few seconds,
 * before its sender is told that it was not. */
static void emit_unsaid(struct waiting *waiting, uint32_t slot)
{
    const uint32_t index = waiting->emits[slot].entry;
    struct waiting_entry *entry = &waiting->entries[index];
    const bool ended = (entry->flags & ENTRY_ENDED) != 0;
    if (!ended && entry->tries < WAITING_FIRST_TRIES) {
        entry->tries++;
        emit_return(waiting, slot);
        return;
    }
    emit_leave(waiting, &waiting->emits[slot]);
    emit_give(waiting, slot);
    entry->slot = WAITING_NONE;
    row_enter(waiting, index, WAITING_READY);
    if (ended && (entry->flags & ENTRY_LAST) != 0) {
        row_fail(waiting, index, NOTICE_AWAY);
        return;
    }
    if (ended)
        entry->flags |= ENTRY_LAST;
    row_pause(waiting, index);
}

/* Span and meta stand where the log put them; the sealed key record is nobody's but ours. */
static bool emit_send(struct waiting *waiting, uint32_t slot)
{
    struct waiting_emit *emit = &waiting->emits[slot];
    struct waiting_entry *entry = &waiting->entries[emit->entry];
    struct waiting_collector *collector = &waiting->collectors[emit->collector];
    struct spool_head head;
    const int rc = spool_head_read(&head, emit->at + WAITING_TABLE_BYTES, entry->head_bytes);
    ASSERT(rc == 0); /* emit_read() has looked, and nobody else writes there */
    const struct ipc_span span = {
        .offset = (uint32_t)(emit->offset + WAITING_TABLE_BYTES + entry->head_bytes),
        .bytes = entry->body_bytes};
    memcpy(emit->at, &span, sizeof(span));
    struct ipc_completion emission = {
        .request_id = emit_number(waiting, slot),
        .status = IPC_EMIT,
        .spans_count = 1,
        .spans_offset = (uint32_t)emit->offset,
        .text_offset = (uint32_t)(emit->offset + (uint64_t)(head.meta_at - emit->at)),
        .text_bytes = head.meta_bytes,
        .mail_bytes = entry->body_bytes,
        .emission =
            (entry->flags & ENTRY_NOTICE) != 0 ? IPC_EMISSION_NOTIFICATION : IPC_EMISSION_MAIL,
    };
    memcpy(emission.envelope_id, entry->id.bytes, sizeof(emission.envelope_id));
    if (!channel_emit(collector->channel, &emission, emit->offset, emit->bytes))
        return false;
    emit->state = EMIT_OUT;
    collector->dirty = true;
    if ((entry->flags & ENTRY_EMITTED) != 0)
        waiting->counts.emitted_again++;
    entry->flags |= ENTRY_EMITTED;
    return true;
}

/* It is tried for ever, or until its end: somebody should know. */
static void emit_log_unread(struct waiting *waiting, const struct waiting_entry *entry, int error)
{
    char hex[ID_HEX_CHARS];
    if (!waiting_tells(waiting, WAITING_LOG_UNREADABLE))
        return;
    id_to_hex(hex, &entry->id);
    log_line(LOG_LEVEL_ERROR, "emission_unreadable",
             "id=%.*s tries=%u error=\"%s\" effect=\"it waits\" mend=\"look at the spool's disk\"",
             ID_HEX_CHARS, hex, entry->tries, strerror(-error));
}

/* It is tried another time, or held; false: its end has come, after which that would be for ever.
 */
static bool emit_again(struct waiting *waiting, uint32_t index)
{
    if ((waiting->entries[index].flags & (ENTRY_ENDED | ENTRY_HELD)) == ENTRY_ENDED) {
        row_fail(waiting, index, NOTICE_AWAY);
        return false;
    }
    row_pause(waiting, index);
    return true;
}

static void emit_failed(struct waiting *waiting, uint32_t slot, int error)
{
    const uint32_t index = waiting->emits[slot].entry;
    struct waiting_entry *entry = &waiting->entries[index];
    emit_give_space(waiting, &waiting->emits[slot]);
    emit_leave(waiting, &waiting->emits[slot]);
    emit_give(waiting, slot);
    entry->slot = WAITING_NONE;
    if (error == -EBADMSG) {
        waiting->counts.damaged++;
        row_fail(waiting, index, NOTICE_DAMAGED);
        return;
    }
    row_enter(waiting, index, WAITING_READY);
    if (emit_again(waiting, index) && entry->tries % UNREAD_TRIES == 0)
        emit_log_unread(waiting, entry, error);
}

void emit_read(struct waiting *waiting, const struct spool_event *event, uint32_t slot)
{
    struct waiting_emit *emit = &waiting->emits[slot];
    const struct waiting_entry *entry = &waiting->entries[emit->entry];
    struct waiting_collector *collector = &waiting->collectors[emit->collector];
    struct spool_head head;
    int rc = event->error;
    ASSERT(collector->reads_count > 0);
    collector->reads_count--;
    if (emit->state == EMIT_ORPHAN) {
        emit_return(waiting, slot);
        return;
    }
    ASSERT(emit->state == EMIT_READING);
    if (rc == 0)
        rc = spool_head_read(&head, emit->at + WAITING_TABLE_BYTES, entry->head_bytes);
    if (rc != 0) {
        emit_failed(waiting, slot, rc);
        return;
    }
    memset(emit->at + (head.sealed - emit->at), 0, head.sealed_bytes);
    emit->state = EMIT_READ;
    if (collector->read_count++ == 0)
        collector->read_first = slot;
    else
        waiting->emits[collector->read_last].next = slot;
    collector->read_last = slot;
    waiting->emits_read_count++;
}

static uint32_t read_take(struct waiting *waiting, struct waiting_collector *collector)
{
    const uint32_t slot = collector->read_first;
    ASSERT(collector->read_count > 0 && waiting->emits_read_count > 0);
    collector->read_first = waiting->emits[slot].next;
    collector->read_count--;
    waiting->emits_read_count--;
    return slot;
}

/* What was read, in that order of each collector, as far as it has slots: one that has none is
 * asked once, however much was read for it. */
static uint32_t emit_sends(struct waiting *waiting)
{
    uint32_t done = 0;
    for (uint32_t i = 0; i < WAITING_COLLECTORS_MAX; i++) {
        struct waiting_collector *collector = &waiting->collectors[i];
        while (collector->read_count > 0 && emit_send(waiting, collector->read_first)) {
            (void)read_take(waiting, collector);
            done++;
        }
        if (collector->dirty)
            channel_publish(collector->channel);
        collector->dirty = false;
    }
    return done;
}

/* One that takes nothing leaves the others theirs. */
static uint32_t collector_share(const struct waiting *waiting)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < WAITING_COLLECTORS_MAX; i++)
        count += waiting->collectors[i].channel != NULL;
    return WAITING_EMITS_MAX / MAX(count, 1U);
}

/* Room in one collector's arena, the next one's first. WAITING_NONE: none has any now. */
static uint32_t emit_place(struct waiting *waiting, size_t bytes, struct waiting_emit *emit,
                           bool *fits)
{
    const uint32_t share = collector_share(waiting);
    *fits = false;
    for (uint32_t n = 0; n < WAITING_COLLECTORS_MAX; n++) {
        const uint32_t i = waiting->collector_turn++ % WAITING_COLLECTORS_MAX;
        struct waiting_collector *collector = &waiting->collectors[i];
        if (collector->channel == NULL || collector->ending || collector->broken)
            continue;
        if (bytes > channel_arena_bytes(collector->channel))
            continue;
        *fits = true;
        if (collector->emits_count < share &&
            channel_space_take(collector->channel, bytes, &emit->offset, &emit->at))
            return i;
    }
    return WAITING_NONE;
}

static void emit_log_large(const struct waiting_entry *entry, size_t bytes)
{
    char hex[ID_HEX_CHARS];
    id_to_hex(hex, &entry->id);
    log_line(
        LOG_LEVEL_WARNING, "emission_too_large",
        "id=%.*s bytes=%zu effect=\"it waits\" mend=\"start anew what collects: it gets memory "
        "for the largest mail of today's profiles\"",
        ID_HEX_CHARS, hex, bytes);
}

static bool emit_begin(struct waiting *waiting)
{
    const uint32_t index = waiting->lists[LIST_READY].first;
    struct waiting_entry *entry = &waiting->entries[index];
    const uint32_t slot = waiting->emits_free[waiting->emits_free_count - 1];
    struct waiting_emit *emit = &waiting->emits[slot];
    const size_t room = (size_t)entry->head_bytes + entry->body_bytes;
    bool fits;
    const uint32_t collector = emit_place(waiting, WAITING_TABLE_BYTES + room, emit, &fits);
    if (collector == WAITING_NONE) {
        if (!fits) { /* larger than any profile allowed when they came: no other waits behind it */
            if (waiting_tells(waiting, WAITING_LOG_TOO_LARGE))
                emit_log_large(entry, room);
            row_unlist(waiting, index);
            (void)emit_again(waiting, index);
        }
        return !fits;
    }
    emit->bytes = WAITING_TABLE_BYTES + room;
    emit->collector = collector;
    if (!spool_read_all(waiting->spool, entry->place, emit->at + WAITING_TABLE_BYTES, room,
                        WAITING_TAG(TAG_EMIT, slot))) {
        emit_give_space(waiting, emit);
        return false;
    }
    waiting->touched = true;
    waiting->emits_free_count--;
    waiting->emits_out++;
    waiting->collectors[collector].reads_count++;
    waiting->collectors[collector].emits_count++;
    emit->state = EMIT_READING;
    emit->entry = index;
    emit->serial = ++waiting->emit_serial;
    emit->text_bytes = 0;
    emit->refusals_bytes = 0;
    row_unlist(waiting, index);
    row_enter(waiting, index, WAITING_EMITTING);
    entry->slot = slot;
    return true;
}

uint32_t emit_run(struct waiting *waiting, uint32_t budget)
{
    uint32_t done = waiting->emits_read_count > 0 ? emit_sends(waiting) : 0;
    if (waiting->lists[LIST_READY].count == 0 || !waiting_has_collector(waiting))
        return done;
    for (uint32_t n = 0; n < budget && waiting->lists[LIST_READY].count > 0 &&
                         waiting->emits_free_count > 0 && emit_begin(waiting);
         n++)
        done++;
    return done;
}

static void done_sent(struct waiting *waiting, uint32_t index)
{
    waiting->counts.emitted++;
    if ((waiting->entries[index].flags & ENTRY_NOTICE) != 0)
        waiting->counts.notified++;
    row_forget(waiting, index);
}

static uint8_t *refusals_at(const struct waiting *waiting, uint32_t slot)
{
    return waiting->emit_refusals + (size_t)slot * IPC_REFUSALS_BYTES_MAX;
}

bool emit_refusals(const struct waiting *waiting, uint32_t slot, struct refusals *refusals)
{
    const uint32_t bytes = waiting->emits[slot].refusals_bytes;
    return bytes > 0 && refusals_read(refusals, refusals_at(waiting, slot), bytes) == 0;
}

/* What the next hop said, copied once; false: it breaks the contract. */
static bool done_copy(struct waiting *waiting, const struct channel *channel, uint32_t slot,
                      const struct ipc_submission *done)
{
    struct waiting_emit *emit = &waiting->emits[slot];
    struct refusals refusals;
    emit->text_bytes = 0;
    emit->refusals_bytes = 0;
    if ((done->flags & IPC_SUBMIT_REFUSALS) == 0) {
        emit->text_bytes = channel_copy_reply(channel, done, emit->text);
        return true;
    }
    channel_copy_meta(channel, done, refusals_at(waiting, slot));
    emit->refusals_bytes = done->meta_bytes;
    return emit_refusals(waiting, slot, &refusals);
}

/* Places whose mail is with no collector, and what was said of it kept. */
static uint32_t texts_count(const struct waiting *waiting)
{
    return WAITING_EMITS_MAX - waiting->emits_free_count - waiting->emits_out;
}

/* Its sender is told the text. When many are to be told, the rest is told without: no emission ever
 * waits for a notification. Who was refused is kept for longer, since others have the mail. */
static void done_keep_text(struct waiting *waiting, uint32_t slot, uint32_t index)
{
    const bool refusals = waiting->emits[slot].refusals_bytes > 0;
    /* The slot itself is neither free nor out. */
    if (texts_count(waiting) <= (refusals ? (uint32_t)REFUSALS_MAX : (uint32_t)TEXTS_MAX)) {
        waiting->emits[slot].state = EMIT_SAID;
        return;
    }
    waiting->entries[index].slot = WAITING_NONE;
    emit_give(waiting, slot);
}

static void done_later(struct waiting *waiting, uint32_t slot, uint32_t index)
{
    struct waiting_entry *entry = &waiting->entries[index];
    waiting->counts.later++;
    if ((entry->flags & ENTRY_ENDED) != 0) { /* the last try was this one */
        done_keep_text(waiting, slot, index);
        row_fail(waiting, index, NOTICE_REFUSED);
        return;
    }
    emit_give(waiting, slot);
    row_enter(waiting, index, WAITING_READY);
    row_pause(waiting, index);
}

static void done_refused(struct waiting *waiting, uint32_t slot, uint32_t index)
{
    struct waiting_entry *entry = &waiting->entries[index];
    char hex[ID_HEX_CHARS];
    id_to_hex(hex, &entry->id);
    if ((entry->flags & ENTRY_NOTICE) == 0) {
        done_keep_text(waiting, slot, index);
        row_fail(waiting, index, NOTICE_REFUSED);
        return;
    }
    /* A notification never causes another. */
    if (waiting_tells(waiting, WAITING_LOG_REFUSED))
        log_line(LOG_LEVEL_WARNING, "notification_refused", "id=%.*s code=%u.%u.%u", ID_HEX_CHARS,
                 hex, entry->enhanced[0], entry->enhanced[1], entry->enhanced[2]);
    emit_give(waiting, slot);
    row_forget(waiting, index);
}

/* False: no emission of this collector has that number, or what it says of it cannot be. */
static bool done_take(struct waiting *waiting, uint32_t collector_index,
                      const struct ipc_submission *done)
{
    const uint32_t slot = (uint32_t)(done->request_id % WAITING_EMITS_MAX);
    struct waiting_emit *emit = &waiting->emits[slot];
    if (emit->state != EMIT_OUT || emit->collector != collector_index ||
        emit_number(waiting, slot) != done->request_id)
        return false;
    const uint32_t index = emit->entry;
    struct waiting_entry *entry = &waiting->entries[index];
    ASSERT(entry->state == WAITING_EMITTING);
    if (!done_copy(waiting, waiting->collectors[collector_index].channel, slot, done))
        return false;
    memcpy(entry->enhanced, done->done_enhanced, sizeof(entry->enhanced));
    emit_leave(waiting, emit);
    entry->flags &= (uint8_t)~ENTRY_EMITTED; /* it was said what became of it */
    if (done->done_result == IPC_DONE_LATER) {
        done_later(waiting, slot, index);
    } else if (done->done_result == IPC_DONE_REFUSED) {
        done_refused(waiting, slot, index);
    } else {
        emit_give(waiting, slot);
        done_sent(waiting, index);
    }
    return true;
}

static uint32_t collector_find(const struct waiting *waiting, uint32_t session)
{
    for (uint32_t i = 0; i < WAITING_COLLECTORS_MAX; i++) {
        if (waiting->collectors[i].channel != NULL && waiting->collectors[i].session == session)
            return i;
    }
    return WAITING_NONE;
}

bool waiting_collector_add(struct waiting *waiting, uint32_t session, struct channel *channel)
{
    for (uint32_t i = 0; i < WAITING_COLLECTORS_MAX; i++) {
        if (waiting->collectors[i].channel != NULL)
            continue;
        waiting->collectors[i] = (struct waiting_collector){.channel = channel, .session = session};
        return true;
    }
    return false;
}

/* What may say who was refused stays with its collector until there is a place for that; of one
 * that ends, and when the engine does, all is taken: what was sent must not be sent again. */
static uint32_t dones_most(const struct waiting *waiting, const struct waiting_collector *collector)
{
    const uint32_t budget = waiting->budget <= WAITING_FEW ? DONES_FEW : DONES_MAX;
    const uint32_t kept = MIN(texts_count(waiting), (uint32_t)REFUSALS_MAX);
    const bool all = collector->ending || waiting->draining;
    return all ? budget : MIN(budget, REFUSALS_MAX - kept);
}

static uint32_t collector_take(struct waiting *waiting, uint32_t i)
{
    struct waiting_collector *collector = &waiting->collectors[i];
    struct ipc_submission dones[DONES_MAX];
    const uint32_t most = dones_most(waiting, collector);
    const uint32_t count = most == 0 ? 0 : channel_take_burst(collector->channel, dones, most);
    for (uint32_t n = 0; n < count && !collector->broken; n++)
        collector->broken = !done_take(waiting, i, &dones[n]);
    return count;
}

uint32_t waiting_collector_serve(struct waiting *waiting, uint32_t session)
{
    const uint32_t i = collector_find(waiting, session);
    if (i == WAITING_NONE || waiting->collectors[i].broken)
        return 0;
    struct waiting_collector *collector = &waiting->collectors[i];
    uint32_t done = channel_reclaim(collector->channel) ? 1 : 0;
    done += collector_take(waiting, i);
    if (collector->broken || channel_fault(collector->channel) != CHANNEL_SOUND) {
        collector->broken = true;
        waiting->config.ops->broken(waiting->config.user, session);
    }
    return done;
}

bool waiting_collector_takes(const struct waiting *waiting, uint32_t session)
{
    const uint32_t i = collector_find(waiting, session);
    if (i == WAITING_NONE || waiting->collectors[i].broken)
        return false;
    return dones_most(waiting, &waiting->collectors[i]) > 0;
}

void waiting_collector_end(struct waiting *waiting, uint32_t session)
{
    const uint32_t i = collector_find(waiting, session);
    if (i == WAITING_NONE)
        return;
    struct waiting_collector *collector = &waiting->collectors[i];
    collector->ending = true;
    /* What it has said before it went is not sent again. */
    for (uint32_t n = 0; n < WAITING_EMITS_MAX && !collector->broken; n++) {
        if (collector_take(waiting, i) == 0)
            break;
    }
    for (uint32_t slot = 0; slot < WAITING_EMITS_MAX; slot++) {
        struct waiting_emit *emit = &waiting->emits[slot];
        if (emit->collector != i)
            continue;
        if (emit->state == EMIT_READING)
            emit->state = EMIT_ORPHAN; /* its read ends it */
        else if (emit->state == EMIT_OUT)
            emit_unsaid(waiting, slot);
    }
    while (collector->read_count > 0)
        emit_return(waiting, read_take(waiting, collector));
}

bool waiting_collector_gone(struct waiting *waiting, uint32_t session)
{
    const uint32_t i = collector_find(waiting, session);
    if (i == WAITING_NONE)
        return true;
    if (waiting->collectors[i].reads_count > 0)
        return false;
    ASSERT(waiting->collectors[i].emits_count == 0 && waiting->collectors[i].read_count == 0);
    waiting->collectors[i] = (struct waiting_collector){0};
    return true;
}
