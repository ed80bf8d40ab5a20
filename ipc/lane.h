/*
 * lane: one direction of a session: slots published in one memfd, released through the other.
 * Ownership: borrows both mappings.
 * Threads:   one writer and one reader, in different processes; the indices are what they share.
 * Units:     slots of LANE_SLOT_BYTES; indices count for ever and wrap at 2^32.
 * Errors:    false for an index that an honest peer cannot have written; the session is over.
 *
 * A sleep loses no wake-up: the sleeper stores `asleep` and then looks at the peer's index, the
 * peer stores its index and then looks at `asleep`, all four sequentially consistent, so at least
 * one of the two sees the other.
 */
#ifndef IPC_LANE_H
#define IPC_LANE_H

#include "base/assert.h"
#include "base/macros.h"
#include "ipc/layout.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define LANE_SLOT_BYTES 64

struct lane_writer {
    struct ipc_page *own;        /* tail goes here                              */
    const struct ipc_page *peer; /* head comes from here                        */
    uint8_t *slots;              /* in our memfd                                */
    uint32_t slots_count;
    uint32_t tail;      /* written, maybe not yet published                     */
    uint32_t published; /* as the peer sees it                                  */
    uint32_t released;  /* the peer's head, checked                             */
};

struct lane_reader {
    const struct ipc_page *peer; /* tail comes from here                        */
    const uint8_t *slots;        /* in the peer's memfd                         */
    uint32_t slots_count;
    uint32_t head; /* taken; the owner says when it is given back               */
};

/* Room is the caller's to know: writing over an unreleased slot is a bug. */
static inline void lane_write(struct lane_writer *lane, const void *slot)
{
    ASSERT(lane->tail - lane->released < lane->slots_count);
    const size_t index = lane->tail & (lane->slots_count - 1);
    memcpy(lane->slots + index * LANE_SLOT_BYTES, slot, LANE_SLOT_BYTES);
    lane->tail++;
}

/* Makes what was written visible; false if that was nothing. Then ask lane_peer_sleeps(). */
static inline bool lane_publish(struct lane_writer *lane)
{
    if (lane->published == lane->tail)
        return false;
    /* Pairs with the acquire in lane_waiting(): slots and arena bytes below tail are readable; and
     * with the sleeper's store in lane_sleep(), which is why it is sequentially consistent. */
    atomic_store_explicit(&lane->own->tail, lane->tail, memory_order_seq_cst);
    lane->published = lane->tail;
    return true;
}

/* Takes note of the reader's head; *count is how many slots it has given back since. */
MUST_USE static inline bool lane_released(struct lane_writer *lane, uint32_t *count)
{
    /* Pairs with the store in lane_give_back(): those slots' arena bytes are no longer read. */
    const uint32_t head = atomic_load_explicit(&lane->peer->head, memory_order_seq_cst);
    const uint32_t advance = head - lane->released;
    if (advance > lane->published - lane->released)
        return false;
    *count = advance;
    return true;
}

/* Slots that can be taken. */
MUST_USE static inline bool lane_waiting(const struct lane_reader *lane, uint32_t *count)
{
    /* Pairs with the store in lane_publish(). */
    const uint32_t tail = atomic_load_explicit(&lane->peer->tail, memory_order_seq_cst);
    const uint32_t waiting = tail - lane->head;
    if (waiting > lane->slots_count)
        return false;
    *count = waiting;
    return true;
}

/* Copies the nth waiting slot, each word exactly once: the peer may change it meanwhile. */
static inline void lane_copy(const struct lane_reader *lane, uint32_t nth, void *slot)
{
    const size_t index = (lane->head + nth) & (lane->slots_count - 1);
    const uint64_t *words = (const uint64_t *)(const void *)(lane->slots + index * LANE_SLOT_BYTES);
    uint64_t copy[LANE_SLOT_BYTES / sizeof(uint64_t)];
    for (size_t n = 0; n < ARRAY_COUNT(copy); n++)
        copy[n] = __atomic_load_n(&words[n], __ATOMIC_RELAXED);
    memcpy(slot, copy, sizeof(copy));
}

/* Tells the writer that everything below `head` is done with. */
static inline void lane_give_back(struct ipc_page *own, uint32_t head)
{
    /* Pairs with the load in lane_released(), and with lane_sleep() as in lane_publish(). */
    atomic_store_explicit(&own->head, head, memory_order_seq_cst);
}

/* The IPC_ASLEEP_* bits for which the peer wants to be rung; ask after storing an index. */
static inline uint32_t lane_peer_sleeps(const struct ipc_page *peer)
{
    return atomic_load_explicit(&peer->asleep, memory_order_seq_cst);
}

/* Announces a sleep; then look once more, and only then sleep. */
static inline void lane_sleep(struct ipc_page *own, uint32_t bits)
{
    atomic_store_explicit(&own->asleep, bits, memory_order_seq_cst);
}

static inline void lane_awake(struct ipc_page *own)
{
    /* Relaxed: a doorbell rung too often is harmless. */
    atomic_store_explicit(&own->asleep, 0, memory_order_relaxed);
}

#endif
