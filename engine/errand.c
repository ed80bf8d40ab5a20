#include "engine/errand.h"

#include "base/assert.h"
#include "base/clock.h"

#include <errno.h>
#include <string.h>

#define ERRAND_NS_MAX      (2 * NS_PER_S)    /* then the page ends, or the rest is busy */
#define ERRAND_ITEM_NS_MAX (100 * NS_PER_MS) /* that one message's addresses are tried for */
#define ERRAND_BUSY_NS_MAX (5 * NS_PER_MS)   /* that a busy one holds up all others      */
#define ERRAND_STEP_MAX    16                /* messages a step                         */

/* One that is asked for alone is waited for; the others are not kept waiting by one. */
static uint64_t errand_patience_ns(const struct errand *errand)
{
    if (errand->kind == ERRAND_LIST || errand->kind == ERRAND_SHOW)
        return ERRAND_ITEM_NS_MAX;
    return errand->all ? ERRAND_BUSY_NS_MAX : ERRAND_NS_MAX;
}

void errand_begin(struct errand *errand, uint64_t now_ns)
{
    ASSERT(errand->items_max <= ERRAND_ITEMS_MAX);
    errand->rc = 0;
    errand->done_count = 0;
    errand->busy_count = 0;
    errand->items_count = 0;
    errand->next_cursor = 0;
    errand->meta_bytes = 0;
    errand->until_ns = now_ns + ERRAND_NS_MAX;
    errand->item_until_ns = now_ns + errand_patience_ns(errand);
    errand->found_count = 0;
    errand->found_next = 0;
    errand->found_cursor = errand->cursor;
    errand->reading = false;
}

/* Reads a message's addresses into `meta`: 0, -EINPROGRESS, or why it cannot be. Once the disk has
 * the memory it is waited for, however long that takes. */
static int errand_read(struct errand *errand, struct worker *worker, const struct id *id,
                       uint64_t now_ns)
{
    if (!errand->reading) {
        errand->read_rc = -EINPROGRESS;
        const int rc =
            waiting_show(worker, id, errand->meta, &errand->meta_bytes, &errand->read_rc);
        if (rc == -EBUSY && now_ns < errand->item_until_ns)
            return -EINPROGRESS;
        if (rc != 0)
            return rc;
        errand->reading = true;
    }
    if (errand->read_rc == -EINPROGRESS)
        return -EINPROGRESS;
    errand->reading = false;
    return errand->read_rc;
}

static void text_copy(char *dst, const uint8_t *text, uint16_t bytes)
{
    ASSERT(bytes <= IPC_ADDRESS_BYTES_MAX);
    memcpy(dst, text, bytes);
    dst[bytes] = '\0';
}

static void errand_note_item(struct errand *errand, const struct waiting_item *found, bool read)
{
    struct errand_item *item = &errand->items[errand->items_count++];
    struct meta meta;
    uint32_t offset = 0;
    const uint8_t *address;
    uint16_t address_bytes;
    *item = (struct errand_item){.item = *found};
    if (!read || meta_read(&meta, errand->meta, errand->meta_bytes) != 0 ||
        !meta_recipient(&meta, &offset, &address, &address_bytes))
        return;
    item->has_addresses = true;
    item->recipients_count = meta.recipients_count;
    text_copy(item->sender, meta.sender, meta.sender_bytes);
    text_copy(item->recipient, address, address_bytes);
}

/* The next of those that were found; false when there is none in this page. */
static bool errand_next(struct errand *errand, const struct worker *worker, uint32_t found_max)
{
    if (errand->found_next < errand->found_count)
        return true;
    errand->found_count = waiting_list(worker, errand->found_cursor, errand->found, found_max);
    errand->found_next = 0;
    if (errand->found_count > 0)
        errand->found_cursor = errand->found[errand->found_count - 1].cursor;
    return errand->found_count > 0;
}

static void errand_pass_item(struct errand *errand, uint64_t now_ns)
{
    errand->found_next++;
    errand->item_until_ns = now_ns + errand_patience_ns(errand);
}

static bool errand_list(struct errand *errand, struct worker *worker, uint64_t now_ns)
{
    for (uint32_t n = 0; n < ERRAND_STEP_MAX; n++) {
        /* A page is full, or took long enough: the next one begins behind what stands in it. */
        if (errand->items_count == errand->items_max ||
            (!errand->reading && errand->items_count > 0 && now_ns >= errand->until_ns))
            return true;
        if (!errand_next(errand, worker, errand->items_max - errand->items_count)) {
            errand->next_cursor = 0;
            return true;
        }
        const struct waiting_item *found = &errand->found[errand->found_next];
        const int rc = errand->brief ? 0 : errand_read(errand, worker, &found->id, now_ns);
        if (rc == -EINPROGRESS)
            return false;
        /* Gone meanwhile: it waits no more. */
        if (rc != -ENOENT)
            errand_note_item(errand, found, rc == 0 && !errand->brief);
        errand->next_cursor = found->cursor;
        errand_pass_item(errand, now_ns);
    }
    return false;
}

static bool errand_show(struct errand *errand, struct worker *worker, uint64_t now_ns)
{
    struct waiting_item found;
    if (!errand->reading) {
        errand->rc = waiting_find(worker, &errand->id, &found);
        if (errand->rc != 0)
            return true;
        errand->items[0] = (struct errand_item){.item = found};
        errand->items_count = 1;
    }
    const int rc = errand_read(errand, worker, &errand->id, now_ns);
    if (rc == -EINPROGRESS)
        return false;
    errand->rc = rc;
    return true;
}

/* What is just now under way is held, so that it rests when it comes back, and can be removed. */
static int errand_remove(struct worker *worker, const struct id *id)
{
    const int rc = waiting_remove(worker, id);
    if (rc == -EBUSY) {
        const int held = waiting_hold(worker, id);
        (void)held; /* -EBUSY again: the next try holds it */
    }
    return rc;
}

static int errand_act(const struct errand *errand, struct worker *worker, const struct id *id)
{
    switch (errand->kind) {
    case ERRAND_HOLD: return waiting_hold(worker, id);
    case ERRAND_RELEASE: return waiting_release(worker, id);
    case ERRAND_REMOVE: return errand_remove(worker, id);
    case ERRAND_LIST:
    case ERRAND_SHOW:
    case ERRAND_FLUSH:
    case ERRAND_STATS: break;
    }
    ASSERT(false);
    return -EINVAL;
}

static bool errand_one(struct errand *errand, struct worker *worker, uint64_t now_ns)
{
    errand->rc = errand_act(errand, worker, &errand->id);
    if (errand->rc == -EBUSY && now_ns < errand->item_until_ns)
        return false;
    errand->done_count = errand->rc == 0;
    return true;
}

/* What is so already needs no second record. */
static bool errand_is_due(const struct errand *errand, const struct waiting_item *found)
{
    if (errand->kind == ERRAND_HOLD)
        return !found->held;
    return errand->kind != ERRAND_RELEASE || found->held;
}

/* All: for as long as one call may take; who asks goes on at next_cursor. */
static bool errand_all(struct errand *errand, struct worker *worker, uint64_t now_ns)
{
    for (uint32_t n = 0; n < ERRAND_STEP_MAX; n++) {
        if (now_ns >= errand->until_ns)
            return true;
        if (!errand_next(errand, worker, ERRAND_ITEMS_MAX)) {
            errand->next_cursor = 0;
            return true;
        }
        const struct waiting_item *found = &errand->found[errand->found_next];
        const int rc =
            errand_is_due(errand, found) ? errand_act(errand, worker, &found->id) : -ENOENT;
        if (rc == -EBUSY && now_ns < errand->item_until_ns)
            return false;
        errand->done_count += rc == 0;
        errand->busy_count += rc != 0 && rc != -ENOENT;
        errand->next_cursor = found->cursor;
        errand_pass_item(errand, now_ns);
    }
    return false;
}

bool errand_step(struct errand *errand, struct worker *worker, uint64_t now_ns)
{
    switch (errand->kind) {
    case ERRAND_LIST: return errand_list(errand, worker, now_ns);
    case ERRAND_SHOW: return errand_show(errand, worker, now_ns);
    case ERRAND_HOLD:
    case ERRAND_RELEASE:
    case ERRAND_REMOVE:
        return errand->all ? errand_all(errand, worker, now_ns)
                           : errand_one(errand, worker, now_ns);
    case ERRAND_FLUSH: errand->done_count = waiting_flush(worker); return true;
    case ERRAND_STATS: waiting_stats(worker, &errand->stats); return true;
    }
    return true;
}
