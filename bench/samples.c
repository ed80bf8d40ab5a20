#include "bench/samples.h"

#include "base/assert.h"

#include <stdlib.h>

static int samples_compare(const void *a, const void *b)
{
    const double left = *(const double *)a;
    const double right = *(const double *)b;
    return (left > right) - (left < right);
}

void samples_add(struct samples *samples, double value)
{
    ASSERT(samples->count < SAMPLES_MAX);
    samples->values[samples->count++] = value;
}

struct samples_spread samples_spread(const struct samples *samples)
{
    struct samples sorted = *samples;
    ASSERT(sorted.count > 0);
    qsort(sorted.values, sorted.count, sizeof(sorted.values[0]), samples_compare);
    return (struct samples_spread){
        .min = sorted.values[0],
        .median = (sorted.values[(sorted.count - 1) / 2] + sorted.values[sorted.count / 2]) / 2,
        .max = sorted.values[sorted.count - 1],
    };
}

double samples_median(const struct samples *samples)
{
    return samples_spread(samples).median;
}

json_t *samples_json(const struct samples *samples)
{
    if (samples->count == 0)
        return json_null();
    const struct samples_spread spread = samples_spread(samples);
    json_t *runs = json_array();
    for (uint32_t i = 0; i < samples->count; i++)
        (void)json_array_append_new(runs, json_real(samples->values[i]));
    return json_pack("{s:o, s:f, s:f, s:f}", "runs", runs, "min", spread.min, "median",
                     spread.median, "max", spread.max);
}
