/*
 * extent: gives out and takes back byte ranges of an arena, lowest address first.
 * Ownership: the caller's memory; bookkeeping is private and never stands in the arena.
 * Threads:   one.
 * Units:     bytes from the arena's start, in granules of EXTENT_GRANULE_BYTES.
 * Errors:    extent_take() gives EXTENT_NONE when nothing fits; giving back what was not taken
 *            is a bug.
 *
 * First fit by address keeps a lightly used arena in the same few cache-warm pages. The free list
 * is bounded: at most extents_max ranges can be out at once.
 */
#ifndef QUEUE_EXTENT_H
#define QUEUE_EXTENT_H

#include "base/macros.h"

#include <stddef.h>
#include <stdint.h>

#define EXTENT_GRANULE_BYTES 64
#define EXTENT_NONE          UINT64_MAX

struct extent_free {
    uint32_t first; /* granule */
    uint32_t count;
};

struct extent {
    struct extent_free *free; /* ascending, never touching one another; extents_max + 1 */
    uint32_t free_count;
    uint32_t taken_count;
    uint32_t extents_max;
    uint32_t arena_granules;
    /* The first so many gaps are smaller than that: nobody who needs as much looks there. */
    uint32_t skip_count;
    uint32_t skip_granules;
};

/* `free` has room for extents_max + 1; borrowed until the extent is forgotten. */
void extent_init(struct extent *extent, struct extent_free *free, uint32_t extents_max,
                 uint64_t arena_bytes);
HOT uint64_t extent_take(struct extent *extent, uint64_t bytes);
/* Gives back the end of a taken range: its first keep_bytes stay taken. keep_bytes > 0. */
HOT void extent_trim(struct extent *extent, uint64_t offset, uint64_t bytes, uint64_t keep_bytes);
HOT void extent_give(struct extent *extent, uint64_t offset, uint64_t bytes);

#endif
