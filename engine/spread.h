/*
 * spread: which worker the next client goes to, by how busy each one has been lately.
 * Ownership: plain values.
 * Threads:   the main thread.
 * Units:     load in nanoseconds of work per second; nanoseconds of monotonic time.
 * Errors:    none.
 *
 * docs/engine/placement.md. A client stays with its worker for good, and says nothing about what it
 * will send: until it has been measured it counts as much as the others do on average.
 */
#ifndef ENGINE_SPREAD_H
#define ENGINE_SPREAD_H

#include "engine/config.h"

#include <stdint.h>

#define SPREAD_SAMPLE_NS UINT64_C(500000000) /* the least between two samples */

struct spread_worker {
    uint64_t busy_ns; /* ever, at the last sample */
    uint64_t load;    /* smoothed */
    uint64_t fresh;   /* clients not measured yet, in SPREAD_ONE; fades as their load comes in */
    uint32_t sessions;
};

struct spread {
    struct spread_worker workers[CONFIG_WORKERS_MAX];
    uint32_t workers_count;
    uint64_t sampled_ns;
};

/* What a worker says of itself. */
struct spread_sample {
    uint64_t busy_ns; /* ever */
    uint64_t jobs;    /* under way now */
};

void spread_init(struct spread *spread, uint32_t workers_count, uint64_t now_ns);
/* One sample for each worker; does nothing before SPREAD_SAMPLE_NS have passed. */
void spread_note(struct spread *spread, const struct spread_sample *samples, uint64_t now_ns);
/* The least busy; then the one with the fewest clients, then with the fewest jobs. */
uint32_t spread_pick(const struct spread *spread, const struct spread_sample *samples);
void spread_join(struct spread *spread, uint32_t worker);
void spread_leave(struct spread *spread, uint32_t worker);

#endif
