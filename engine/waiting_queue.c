#include "engine/waiting_internal.h"
#include "engine/worker_internal.h"

#include <errno.h>
#include <string.h>

#define FLUSH_STEP 4096 /* entries that a pass looks at */

/* False: nothing that may be shown. */
static bool entry_shows(const struct waiting_entry *entry)
{
    return entry->state != WAITING_FREE && entry->state != WAITING_STORING &&
           !(entry->state == WAITING_ENDING && (entry->flags & ENTRY_FORGET) != 0);
}

static uint32_t find_shown(const struct waiting *waiting, const struct id *id)
{
    const uint32_t index = waiting == NULL ? WAITING_NONE : row_find(waiting, id);
    return index == WAITING_NONE || !entry_shows(&waiting->entries[index]) ? WAITING_NONE : index;
}

/* One at least while it pauses. */
static uint32_t entry_pause_s(const struct waiting *waiting, uint32_t index)
{
    if ((waiting->entries[index].flags & ENTRY_PAUSED) == 0)
        return 0;
    const uint64_t end_s = wheel_end_s(&waiting->pauses, index);
    const uint64_t now_s = waiting->now_ns / NS_PER_S;
    return end_s <= now_s ? 1 : (uint32_t)(end_s - now_s);
}

static void item_set(struct waiting_item *item, const struct waiting *waiting, uint32_t index)
{
    const struct waiting_entry *entry = &waiting->entries[index];
    *item = (struct waiting_item){
        .id = entry->id,
        .state = (enum waiting_state)entry->state,
        .held = (entry->flags & ENTRY_HELD) != 0,
        .notification = (entry->flags & ENTRY_NOTICE) != 0,
        .tries = (uint8_t)MIN((uint32_t)entry->tries, (uint32_t)UINT8_MAX),
        .pause_s = entry_pause_s(waiting, index),
        .body_bytes = entry->body_bytes,
        .key_service = entry->key_service == SERVICE_UNKNOWN ? 0 : entry->key_service,
        .arrived_unix_ms = entry->arrived_unix_ms,
        .end_unix_ms = entry->end_unix_ms,
        .cursor = index + 1,
    };
}

uint32_t waiting_list(const struct worker *worker, uint32_t cursor, struct waiting_item *items,
                      uint32_t items_max)
{
    const struct waiting *waiting = worker->waiting;
    uint32_t count = 0;
    if (waiting == NULL)
        return 0;
    for (uint32_t index = cursor; index < waiting->entries_used && count < items_max; index++) {
        if (entry_shows(&waiting->entries[index]))
            item_set(&items[count++], waiting, index);
    }
    return count;
}

int waiting_find(const struct worker *worker, const struct id *id, struct waiting_item *item)
{
    const uint32_t index = find_shown(worker->waiting, id);
    if (index == WAITING_NONE)
        return -ENOENT;
    item_set(item, worker->waiting, index);
    return 0;
}

int waiting_show(struct worker *worker, const struct id *id, uint8_t *meta_bytes_at,
                 uint32_t *bytes, int *done)
{
    struct waiting *waiting = worker->waiting;
    const uint32_t index = find_shown(waiting, id);
    if (index == WAITING_NONE)
        return -ENOENT;
    const struct waiting_entry *entry = &waiting->entries[index];
    if (waiting->showing.meta_at != NULL ||
        !spool_read_head(waiting->spool, entry->place, waiting->showing_head, SPOOL_HEAD_BYTES_MAX,
                         WAITING_TAG(TAG_SHOW, 0)))
        return -EBUSY;
    waiting->touched = true;
    *done = -EINPROGRESS;
    waiting->showing = (struct waiting_showing){.meta_at = meta_bytes_at,
                                                .meta_bytes = bytes,
                                                .done = done,
                                                .head_bytes = entry->head_bytes};
    return 0;
}

void queue_shown(struct waiting *waiting, const struct spool_event *event)
{
    const struct waiting_showing showing = waiting->showing;
    struct spool_head head;
    int rc = event->error;
    ASSERT(showing.meta_at != NULL);
    waiting->showing.meta_at = NULL;
    if (rc == 0)
        rc = spool_head_read(&head, waiting->showing_head, showing.head_bytes);
    if (rc == 0) {
        memcpy(showing.meta_at, head.meta_at, head.meta_bytes);
        *showing.meta_bytes = head.meta_bytes;
    }
    *showing.done = rc;
}

int waiting_hold(struct worker *worker, const struct id *id)
{
    struct waiting *waiting = worker->waiting;
    const uint32_t index = find_shown(waiting, id);
    if (index == WAITING_NONE)
        return -ENOENT;
    struct waiting_entry *entry = &waiting->entries[index];
    if ((entry->flags & ENTRY_HELD) != 0)
        return 0;
    if (entry->state == WAITING_ENDING || entry->state == WAITING_LOST ||
        entry->marks_count == UINT8_MAX ||
        !spool_mark(waiting->spool, entry->place, true, WAITING_TAG(TAG_MARK, index)))
        return -EBUSY;
    waiting->touched = true;
    entry->marks_count++;
    waiting->counts.held++;
    entry->flags |= ENTRY_HELD;
    row_unwatch(waiting, index);
    row_unlist(waiting, index);
    return 0;
}

int waiting_release(struct worker *worker, const struct id *id)
{
    struct waiting *waiting = worker->waiting;
    const uint32_t index = find_shown(waiting, id);
    if (index == WAITING_NONE)
        return -ENOENT;
    struct waiting_entry *entry = &waiting->entries[index];
    if ((entry->flags & ENTRY_HELD) == 0)
        return 0;
    if (entry->state == WAITING_ENDING || entry->marks_count == UINT8_MAX ||
        !spool_mark(waiting->spool, entry->place, false, WAITING_TAG(TAG_MARK, index)))
        return -EBUSY;
    waiting->touched = true;
    entry->marks_count++;
    waiting->counts.held--;
    entry->flags &= (uint8_t)~ENTRY_HELD;
    row_watch_end(waiting, index);
    if (entry->state == WAITING_KEY || entry->state == WAITING_READY)
        row_settle(waiting, index);
    return 0;
}

int waiting_remove(struct worker *worker, const struct id *id)
{
    struct waiting *waiting = worker->waiting;
    const uint32_t index = find_shown(waiting, id);
    if (index == WAITING_NONE)
        return -ENOENT;
    const struct waiting_entry *entry = &waiting->entries[index];
    if (entry->state != WAITING_KEY && entry->state != WAITING_READY &&
        entry->state != WAITING_LOST)
        return -EBUSY;
    row_forget(waiting, index);
    return 0;
}

uint32_t waiting_flush(struct worker *worker)
{
    struct waiting *waiting = worker->waiting;
    if (waiting == NULL)
        return 0;
    waiting->flush_cursor = 0;
    return waiting->pauses.nodes_count;
}

uint32_t queue_run(struct waiting *waiting)
{
    uint32_t done = 0;
    for (; waiting->flush_cursor < waiting->entries_used && done < FLUSH_STEP; done++) {
        const uint32_t index = waiting->flush_cursor++;
        struct waiting_entry *entry = &waiting->entries[index];
        if ((entry->flags & ENTRY_PAUSED) == 0)
            continue;
        wheel_remove(&waiting->pauses, index);
        entry->flags &= (uint8_t)~ENTRY_PAUSED;
        row_settle(waiting, index);
    }
    if (waiting->flush_cursor >= waiting->entries_used)
        waiting->flush_cursor = WAITING_NONE;
    return done;
}

/* The longest-waiting of those that are next in some list. */
static uint64_t oldest_of(const struct waiting *waiting)
{
    uint64_t oldest = 0;
    for (uint32_t i = 0; i < WAITING_LISTS; i++) {
        const uint32_t first = waiting->lists[i].first;
        if (first == WAITING_NONE)
            continue;
        const uint64_t arrived = waiting->entries[first].arrived_unix_ms;
        oldest = oldest == 0 ? arrived : MIN(oldest, arrived);
    }
    return oldest;
}

void waiting_stats(const struct worker *worker, struct waiting_stats *stats)
{
    const struct waiting *waiting = worker->waiting;
    struct spool_stats spool;
    *stats = (struct waiting_stats){0};
    if (waiting == NULL)
        return;
    waiting_spool_stats(waiting, &spool);
    memcpy(stats->counts, waiting->counts.states, sizeof(stats->counts));
    stats->held = waiting->counts.held;
    stats->bytes_live = spool.bytes_live;
    stats->segments = spool.segments;
    stats->segments_free = spool.segments_free;
    stats->segments_bad = spool.segments_bad;
    stats->damaged = waiting->counts.damaged + spool.damaged;
    stats->failed = spool.failed;
    stats->oldest_unix_ms = oldest_of(waiting);
}
