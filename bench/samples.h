/*
 * samples: what several runs of one measurement gave.
 * Ownership: the caller's memory; samples_json() gives a new reference.
 * Threads:   one.
 * Units:     the caller's.
 * Errors:    none; more than SAMPLES_MAX is a bug, and so is the spread of none.
 */
#ifndef BENCH_SAMPLES_H
#define BENCH_SAMPLES_H

#include <jansson.h>
#include <stdint.h>

#define SAMPLES_MAX 64

struct samples {
    double values[SAMPLES_MAX];
    uint32_t count;
};

struct samples_spread {
    double min;
    double median;
    double max;
};

void samples_add(struct samples *samples, double value);
struct samples_spread samples_spread(const struct samples *samples);
double samples_median(const struct samples *samples);

/* {"runs": [...], "min": , "median": , "max": }; null without any. */
json_t *samples_json(const struct samples *samples);

#endif
