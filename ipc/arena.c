#include "ipc/arena.h"

#include "base/assert.h"

#include <errno.h>
#include <stdlib.h>

int arena_open(struct arena *arena, uint64_t start, uint64_t bytes, uint32_t extents_max)
{
    ASSERT(extents_max > 0);
    struct extent_free *gaps = calloc((size_t)extents_max + 1, sizeof(*gaps));
    if (gaps == NULL)
        return -ENOMEM;
    arena->gaps = gaps;
    arena->start = start;
    extent_init(&arena->extent, gaps, extents_max, bytes);
    return 0;
}

void arena_close(struct arena *arena)
{
    free(arena->gaps);
    arena->gaps = NULL;
}
