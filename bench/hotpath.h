/*
 * hotpath: what a worker's thread calls, and what it asks of the kernel, while it seals.
 * Ownership: hotpath_start() starts a tracing process; hotpath_stop() ends it and frees.
 * Threads:   one; the load runs between start and stop.
 * Units:     calls, messages and events between start and stop.
 * Errors:    -errno with a sentence in `why`; where ptrace is refused `traced` is false.
 *
 * Calls of allocator, locks and log are counted in the engine itself (bench/engine/counts.h).
 * System calls are counted by ptrace: the kernel stops the thread at each one, so that none can be
 * missed. Page faults and context switches are /proc's.
 */
#ifndef BENCH_HOTPATH_H
#define BENCH_HOTPATH_H

#include "base/macros.h"
#include "bench/mailset.h"
#include "bench/spawn.h"

#include <stdbool.h>
#include <stdint.h>

#define HOTPATH_SYSCALLS_MAX 512

struct hotpath_counts {
    uint64_t messages;
    uint64_t allocator_calls;
    uint64_t lock_calls;
    uint64_t log_calls;
    uint64_t system_calls;
    uint64_t minor_faults;
    uint64_t major_faults;
    uint64_t voluntary_switches;
    uint64_t involuntary_switches; /* the machine's doing, not the worker's */
    uint32_t system_calls_by_number[HOTPATH_SYSCALLS_MAX];
    bool traced;
};

struct hotpath;

MUST_USE int hotpath_start(struct hotpath **hotpath, const struct spawn *engine,
                           char why[MAILSET_WHY_BYTES]);
/* Call while the load still runs or right after it. */
void hotpath_stop(struct hotpath *hotpath, struct hotpath_counts *counts);

/* How often the machine took the processor away from the first worker since it started; 0 before
 * it has sealed anything. */
uint64_t hotpath_preemptions(const struct spawn *engine);

#endif
