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
    ASSERT(arena_bytes / EXTENT_GRANULE_BYTES <= UINT32_MAX);
    const uint32_t all = (uint32_t)(arena_bytes / EXTENT_GRANULE_BYTES);
    *extent = (struct extent){
        .free = free, .free_count = 1, .extents_max = extents_max, .arena_granules = all};
    free[0] = (struct extent_free){.first = 0, .count = all};
}

static uint64_t granules(uint64_t bytes)
{
    return bytes / EXTENT_GRANULE_BYTES + (bytes % EXTENT_GRANULE_BYTES != 0);
}

static void free_remove(struct extent *extent, uint32_t index)
{
    ASSERT(index < extent->free_count);
    extent->free_count--;
    memmove(&extent->free[index], &extent->free[index + 1],
            (extent->free_count - index) * sizeof(extent->free[0]));
}

static void free_insert(struct extent *extent, uint32_t index, uint32_t first, uint32_t count)
{
    /* k ranges out leave at most k + 1 gaps, so the caller's extents_max + 1 always suffice. */
    ASSERT(extent->free_count <= extent->extents_max);
    memmove(&extent->free[index + 1], &extent->free[index],
            (extent->free_count - index) * sizeof(extent->free[0]));
    extent->free[index] = (struct extent_free){.first = first, .count = count};
    extent->free_count++;
}

HOT uint64_t extent_take(struct extent *extent, uint64_t bytes)
{
    ASSERT(bytes > 0);
    const uint64_t need = granules(bytes);
    if (extent->taken_count == extent->extents_max || need > extent->arena_granules)
        return EXTENT_NONE;
    uint32_t n = need >= extent->skip_granules ? extent->skip_count : 0;
    while (n < extent->free_count && extent->free[n].count < need)
        n++;
    extent->skip_count = n;
    extent->skip_granules = (uint32_t)need;
    if (n == extent->free_count)
        return EXTENT_NONE;
    struct extent_free *gap = &extent->free[n];
    const uint64_t first = gap->first;
    gap->first += (uint32_t)need;
    gap->count -= (uint32_t)need;
    if (gap->count == 0)
        free_remove(extent, n);
    extent->taken_count++;
    return first * EXTENT_GRANULE_BYTES;
}

/* The first gap at or above `first`. */
static uint32_t free_find(const struct extent *extent, uint32_t first)
{
    uint32_t low = 0;
    uint32_t high = extent->free_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (extent->free[middle].first < first)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* What was skipped may be large enough now. */
static void free_grown(struct extent *extent, uint32_t index)
{
    if (index < extent->skip_count && extent->free[index].count >= extent->skip_granules)
        extent->skip_count = index;
}

/* Returns granules_count granules, `from` on, to the gaps and joins them with their neighbours. */
static void free_join(struct extent *extent, uint64_t from, uint64_t granules_count)
{
    ASSERT(from < extent->arena_granules);
    ASSERT(granules_count <= extent->arena_granules - from);
    const uint32_t first = (uint32_t)from;
    const uint32_t count = (uint32_t)granules_count;
    const uint32_t next = free_find(extent, first);
    struct extent_free *above = next < extent->free_count ? &extent->free[next] : NULL;
    struct extent_free *below = next > 0 ? &extent->free[next - 1] : NULL;
    ASSERT(above == NULL || first + count <= above->first);        /* was not free */
    ASSERT(below == NULL || below->first + below->count <= first); /* was not free */

    const bool joins_above = above != NULL && first + count == above->first;
    const bool joins_below = below != NULL && below->first + below->count == first;
    if (joins_above && joins_below) {
        below->count += count + above->count;
        free_remove(extent, next);
        extent->skip_count -= next < extent->skip_count ? 1 : 0;
        free_grown(extent, next - 1);
    } else if (joins_above) {
        above->first = first;
        above->count += count;
        free_grown(extent, next);
    } else if (joins_below) {
        below->count += count;
        free_grown(extent, next - 1);
    } else {
        free_insert(extent, next, first, count);
        extent->skip_count += next < extent->skip_count ? 1 : 0;
        free_grown(extent, next);
    }
}

HOT void extent_trim(struct extent *extent, uint64_t offset, uint64_t bytes, uint64_t keep_bytes)
{
    ASSERT(offset % EXTENT_GRANULE_BYTES == 0);
    ASSERT(keep_bytes > 0);
    ASSERT(keep_bytes <= bytes);
    const uint64_t taken = granules(bytes);
    const uint64_t kept = granules(keep_bytes);
    if (kept < taken)
        free_join(extent, offset / EXTENT_GRANULE_BYTES + kept, taken - kept);
}

HOT void extent_give(struct extent *extent, uint64_t offset, uint64_t bytes)
{
    ASSERT(offset % EXTENT_GRANULE_BYTES == 0);
    ASSERT(bytes > 0);
    ASSERT(extent->taken_count > 0);
    free_join(extent, offset / EXTENT_GRANULE_BYTES, granules(bytes));
    extent->taken_count--;
}
