/*
 * histogram: counts latencies with a bounded relative error, at any scale, in fixed memory.
 * Ownership: the caller's memory; no pointers inside.
 * Threads:   one; histogram_add() joins several afterwards.
 * Units:     nanoseconds.
 * Errors:    none; values above HISTOGRAM_NS_MAX count as that.
 *
 * The layout of Gil Tene's HdrHistogram: each power of two is split into 2^HISTOGRAM_SUB_BITS equal
 * buckets, so a value is known to 1 part in 128.
 */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 7
#define HISTOGRAM_NS_MAX   ((UINT64_C(1) << 40) - 1) /* 18 minutes */
#define HISTOGRAM_BUCKETS  ((40 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

struct histogram {
    uint64_t count;
    uint64_t ns_min;
    uint64_t ns_max;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_init(struct histogram *histogram);
void histogram_record(struct histogram *histogram, uint64_t ns);
void histogram_add(struct histogram *histogram, const struct histogram *other);

/* The smallest bucket end that `per_million` of all values do not exceed; 0 when empty. */
uint64_t histogram_percentile_ns(const struct histogram *histogram, uint32_t per_million);

#endif
