#include "queue/extent.h"

#include "base/assert.h"

#include <stdbool.h>
#include <string.h>

void extent_init(struct extent *extent, struct extent_free *free, uint32_t extents_max,
                 uint64_t arena_bytes)
{
    ASSERT(free != NULL);
    ASSERT(extents_max > 0);
    ASSERT(arena_bytes > 0 && arena_bytes % EXTENT_GRANULE_BYTES == 0);
    *extent = (struct extent){
        .free = free, .free_count = 1, .extents_max = extents_max, .arena_bytes = arena_bytes};
    free[0] = (struct extent_free){.offset = 0, .bytes = arena_bytes};
}

static uint64_t granules(uint64_t bytes)
{
    return (bytes + EXTENT_GRANULE_BYTES - 1) / EXTENT_GRANULE_BYTES * EXTENT_GRANULE_BYTES;
}

static void free_remove(struct extent *extent, uint32_t index)
{
    ASSERT(index < extent->free_count);
    extent->free_count--;
    memmove(&extent->free[index], &extent->free[index + 1],
            (extent->free_count - index) * sizeof(extent->free[0]));
}

static void free_insert(struct extent *extent, uint32_t index, uint64_t offset, uint64_t bytes)
{
    /* k ranges out leave at most k + 1 gaps, so the caller's extents_max + 1 always suffice. */
    ASSERT(extent->free_count <= extent->extents_max);
    memmove(&extent->free[index + 1], &extent->free[index],
            (extent->free_count - index) * sizeof(extent->free[0]));
    extent->free[index] = (struct extent_free){.offset = offset, .bytes = bytes};
    extent->free_count++;
}

HOT uint64_t extent_take(struct extent *extent, uint64_t bytes)
{
    ASSERT(bytes > 0);
    if (extent->taken_count == extent->extents_max || bytes > extent->arena_bytes)
        return EXTENT_NONE;
    const uint64_t need_bytes = granules(bytes);
    for (uint32_t n = 0; n < extent->free_count; n++) {
        struct extent_free *gap = &extent->free[n];
        if (gap->bytes < need_bytes)
            continue;
        const uint64_t offset = gap->offset;
        gap->offset += need_bytes;
        gap->bytes -= need_bytes;
        if (gap->bytes == 0)
            free_remove(extent, n);
        extent->taken_count++;
        return offset;
    }
    return EXTENT_NONE;
}

/* The first gap at or above `offset`. */
static uint32_t free_find(const struct extent *extent, uint64_t offset)
{
    uint32_t low = 0;
    uint32_t high = extent->free_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (extent->free[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Returns [offset, + bytes) to the gaps and joins it with its neighbours. */
static void free_join(struct extent *extent, uint64_t offset, uint64_t bytes)
{
    ASSERT(offset % EXTENT_GRANULE_BYTES == 0);
    ASSERT(offset < extent->arena_bytes && bytes <= extent->arena_bytes - offset);
    const uint32_t next = free_find(extent, offset);
    struct extent_free *above = next < extent->free_count ? &extent->free[next] : NULL;
    struct extent_free *below = next > 0 ? &extent->free[next - 1] : NULL;
    ASSERT(above == NULL || offset + bytes <= above->offset);        /* was not free */
    ASSERT(below == NULL || below->offset + below->bytes <= offset); /* was not free */

    const bool joins_above = above != NULL && offset + bytes == above->offset;
    const bool joins_below = below != NULL && below->offset + below->bytes == offset;
    if (joins_above && joins_below) {
        below->bytes += bytes + above->bytes;
        free_remove(extent, next);
    } else if (joins_above) {
        above->offset = offset;
        above->bytes += bytes;
    } else if (joins_below) {
        below->bytes += bytes;
    } else {
        free_insert(extent, next, offset, bytes);
    }
}

HOT void extent_trim(struct extent *extent, uint64_t offset, uint64_t bytes, uint64_t keep_bytes)
{
    ASSERT(keep_bytes > 0);
    ASSERT(keep_bytes <= bytes);
    const uint64_t taken_bytes = granules(bytes);
    const uint64_t kept_bytes = granules(keep_bytes);
    if (kept_bytes < taken_bytes)
        free_join(extent, offset + kept_bytes, taken_bytes - kept_bytes);
}

HOT void extent_give(struct extent *extent, uint64_t offset, uint64_t bytes)
{
    ASSERT(bytes > 0);
    ASSERT(extent->taken_count > 0);
    free_join(extent, offset, granules(bytes));
    extent->taken_count--;
}
