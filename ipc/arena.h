/*
 * arena: gives out and takes back ranges of the arena at the end of our memfd.
 * Ownership: arena_open() allocates the bookkeeping, which never stands in shared memory.
 * Threads:   one.
 * Units:     bytes; offsets from the start of the memfd, as slots and spans say them.
 * Errors:    arena_take() gives ARENA_FULL; the rest is queue/extent.h's.
 */
#ifndef IPC_ARENA_H
#define IPC_ARENA_H

#include "base/macros.h"
#include "queue/extent.h"

#include <stdint.h>

#define ARENA_FULL UINT64_MAX

struct arena {
    struct extent extent;
    struct extent_free *gaps;
    size_t gaps_bytes;
    uint64_t start; /* the arena's place in the memfd */
};

MUST_USE int arena_open(struct arena *arena, uint64_t start, uint64_t bytes, uint32_t extents_max);
void arena_close(struct arena *arena); /* harmless twice, and on zeros */

static inline uint64_t arena_take(struct arena *arena, uint64_t bytes)
{
    const uint64_t place = extent_take(&arena->extent, bytes);
    return place == EXTENT_NONE ? ARENA_FULL : arena->start + place;
}

static inline void arena_trim(struct arena *arena, uint64_t offset, uint64_t bytes,
                              uint64_t keep_bytes)
{
    extent_trim(&arena->extent, offset - arena->start, bytes, keep_bytes);
}

static inline void arena_give(struct arena *arena, uint64_t offset, uint64_t bytes)
{
    extent_give(&arena->extent, offset - arena->start, bytes);
}

#endif
