/*
 * key_link: the two rings between one worker and one key thread.
 * Ownership: the worker makes them; a request borrows the job's record until its verdict is back.
 * Threads:   worker pushes requests and pops verdicts; the key thread the other way round.
 * Units:     jobs; nanoseconds of monotonic time.
 * Errors:    none: either ring holds all of a worker's jobs, so a push always finds room.
 */
#ifndef ENGINE_KEY_LINK_H
#define ENGINE_KEY_LINK_H

#include <rte_ring.h>
#include <stdatomic.h>
#include <stdint.h>

/* DPDK has one of its own, an int. */
#undef NS_PER_S
#include "base/clock.h"
#ifndef NS_PER_S
#define NS_PER_S UINT64_C(1000000000)
#endif

struct worker;

struct key_request {
    const uint8_t *record;
    uint64_t deadline_ns;
    uint32_t record_bytes;
    uint32_t job_index;
};
_Static_assert(sizeof(struct key_request) % 4 == 0, "what rte_ring's element rings take");

struct key_verdict {
    uint32_t job_index;
    uint32_t status; /* enum key_result_status */
};

struct key_link {
    struct rte_ring *requests;
    struct rte_ring *verdicts;
    struct worker *worker;    /* to wake it */
    _Atomic uint32_t *asleep; /* the worker's memory: the key thread sleeps, or is about to */
};

#endif
