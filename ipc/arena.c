#include "ipc/arena.h"

#include "base/assert.h"
#include "base/kept.h"

/* In pages of its own: it is written for every message, so no line of it may be another thread's.
 */
int arena_open(struct arena *arena, uint64_t start, uint64_t bytes, uint32_t extents_max)
{
    ASSERT(extents_max > 0);
    const size_t gaps_bytes = ((size_t)extents_max + 1) * sizeof(*arena->gaps);
    void *gaps;
    const int rc = kept_open(&gaps, gaps_bytes);
    if (rc != 0)
        return rc;
    arena->gaps = gaps;
    arena->gaps_bytes = gaps_bytes;
    arena->start = start;
    extent_init(&arena->extent, arena->gaps, extents_max, bytes);
    return 0;
}

void arena_close(struct arena *arena)
{
    kept_close(arena->gaps, arena->gaps_bytes);
    arena->gaps = NULL;
}
