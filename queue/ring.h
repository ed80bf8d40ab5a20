/*
 * ring: hands fixed-size items from one thread to one other.
 * Ownership: borrows `items`; the caller frees them after both threads are done.
 * Threads:   one pusher, one popper; anything else is a bug.
 * Units:     items of item_bytes; items_count is a power of two.
 * Errors:    full or empty is a short count, not an error.
 */
#ifndef QUEUE_RING_H
#define QUEUE_RING_H

#include "base/macros.h"

#include <stdatomic.h>
#include <stdint.h>

struct ring {
    _Alignas(CACHE_LINE) uint8_t *items; /* line 0: constant after init */
    uint32_t mask;
    uint32_t item_bytes;
    _Alignas(CACHE_LINE) _Atomic uint32_t tail; /* line 1: pusher writes */
    uint32_t head_seen;                         /* old head; spares a miss */
    _Alignas(CACHE_LINE) _Atomic uint32_t head; /* line 2: popper writes */
    uint32_t tail_seen;
};

/* `items` holds items_count × item_bytes. */
void ring_init(struct ring *ring, void *items, uint32_t items_count, uint32_t item_bytes);
HOT uint32_t ring_push_burst(struct ring *ring, const void *items, uint32_t items_count);
HOT uint32_t ring_pop_burst(struct ring *ring, void *items, uint32_t items_count);
/* Items waiting, as the popper sees it. */
uint32_t ring_count(const struct ring *ring);

#endif
