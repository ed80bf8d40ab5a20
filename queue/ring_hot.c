#include "queue/ring.h"

#include "base/assert.h"

#include <stddef.h>
#include <string.h>

#define RING_ITEMS_MAX (UINT32_C(1) << 31) /* counts of a full and an empty ring must differ */

_Static_assert(offsetof(struct ring, tail) == 1 * CACHE_LINE, "one writer per line");
_Static_assert(offsetof(struct ring, head) == 2 * CACHE_LINE, "one writer per line");

void ring_init(struct ring *ring, void *items, uint32_t items_count, uint32_t item_bytes)
{
    ASSERT(items != NULL);
    ASSERT(items_count > 0 && items_count <= RING_ITEMS_MAX);
    ASSERT((items_count & (items_count - 1)) == 0);
    ASSERT(item_bytes > 0);
    *ring = (struct ring){.items = items, .mask = items_count - 1, .item_bytes = item_bytes};
    atomic_init(&ring->tail, 0);
    atomic_init(&ring->head, 0);
}

/* Items [index, + count) stand in one piece, or in two when they pass the end of the array. */
static uint32_t ring_first_piece(const struct ring *ring, uint32_t index, uint32_t count)
{
    const uint32_t until_end = ring->mask + 1 - (index & ring->mask);
    return MIN(count, until_end);
}

HOT uint32_t ring_push_burst(struct ring *ring, const void *items, uint32_t items_count)
{
    const uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    uint32_t room = ring->mask + 1 - (tail - ring->head_seen);
    if (room < items_count) {
        /* Acquire pairs with the release in ring_pop_burst(): those items have been copied out. */
        ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
        room = ring->mask + 1 - (tail - ring->head_seen);
        ASSERT(room <= ring->mask + 1);
    }
    const uint32_t count = MIN(items_count, room);
    if (count == 0)
        return 0;
    const size_t item_bytes = ring->item_bytes;
    const uint32_t first = ring_first_piece(ring, tail, count);
    memcpy(ring->items + (tail & ring->mask) * item_bytes, items, first * item_bytes);
    memcpy(ring->items, (const uint8_t *)items + first * item_bytes, (count - first) * item_bytes);
    /* Release pairs with the acquires in ring_pop_burst() and ring_count(): items are readable. */
    atomic_store_explicit(&ring->tail, tail + count, memory_order_release);
    return count;
}

HOT uint32_t ring_pop_burst(struct ring *ring, void *items, uint32_t items_count)
{
    const uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint32_t waiting = ring->tail_seen - head;
    if (waiting < items_count) {
        /* Acquire pairs with the release in ring_push_burst(): items below tail are readable. */
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
        waiting = ring->tail_seen - head;
        ASSERT(waiting <= ring->mask + 1);
    }
    const uint32_t count = MIN(items_count, waiting);
    if (count == 0)
        return 0;
    const size_t item_bytes = ring->item_bytes;
    const uint32_t first = ring_first_piece(ring, head, count);
    memcpy(items, ring->items + (head & ring->mask) * item_bytes, first * item_bytes);
    memcpy((uint8_t *)items + first * item_bytes, ring->items, (count - first) * item_bytes);
    /* Release pairs with the acquire in ring_push_burst(): the pusher may overwrite them. */
    atomic_store_explicit(&ring->head, head + count, memory_order_release);
    return count;
}

uint32_t ring_count(const struct ring *ring)
{
    /* Acquire pairs with the release in ring_push_burst(), as in a pop. */
    return atomic_load_explicit(&ring->tail, memory_order_acquire) -
           atomic_load_explicit(&ring->head, memory_order_relaxed);
}
