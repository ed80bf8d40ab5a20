#include "bench/histogram.h"

#include "base/assert.h"
#include "base/macros.h"

#include <string.h>

void histogram_init(struct histogram *histogram)
{
    memset(histogram, 0, sizeof(*histogram));
    histogram->ns_min = UINT64_MAX;
}

/* Below 2^SUB_BITS a bucket holds one value; above, the leading bit picks the group. */
static uint32_t histogram_bucket(uint64_t ns)
{
    if (ns < (UINT64_C(1) << HISTOGRAM_SUB_BITS))
        return (uint32_t)ns;
    const uint32_t top_bit = 63 - (uint32_t)__builtin_clzll(ns);
    const uint32_t shift = top_bit - HISTOGRAM_SUB_BITS;
    const uint32_t sub = (uint32_t)(ns >> shift) - (1U << HISTOGRAM_SUB_BITS);
    return ((shift + 1) << HISTOGRAM_SUB_BITS) + sub;
}

static uint64_t histogram_bucket_end_ns(uint32_t bucket)
{
    if (bucket < (1U << HISTOGRAM_SUB_BITS))
        return bucket;
    const uint32_t shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
    const uint64_t sub = bucket & ((1U << HISTOGRAM_SUB_BITS) - 1);
    return ((sub + (1U << HISTOGRAM_SUB_BITS) + 1) << shift) - 1;
}

void histogram_record(struct histogram *histogram, uint64_t ns)
{
    const uint64_t bounded_ns = MIN(ns, HISTOGRAM_NS_MAX);
    const uint32_t bucket = histogram_bucket(bounded_ns);
    ASSERT(bucket < HISTOGRAM_BUCKETS);
    histogram->buckets[bucket]++;
    histogram->count++;
    histogram->ns_min = MIN(histogram->ns_min, bounded_ns);
    histogram->ns_max = MAX(histogram->ns_max, bounded_ns);
}

void histogram_add(struct histogram *histogram, const struct histogram *other)
{
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        histogram->buckets[i] += other->buckets[i];
    histogram->count += other->count;
    histogram->ns_min = MIN(histogram->ns_min, other->ns_min);
    histogram->ns_max = MAX(histogram->ns_max, other->ns_max);
}

uint64_t histogram_percentile_ns(const struct histogram *histogram, uint32_t per_million)
{
    ASSERT(per_million <= 1000000);
    if (histogram->count == 0)
        return 0;
    const uint64_t wanted = (histogram->count * per_million + 999999) / 1000000;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen >= wanted && seen > 0)
            return MIN(histogram_bucket_end_ns(i), histogram->ns_max);
    }
    return histogram->ns_max;
}
