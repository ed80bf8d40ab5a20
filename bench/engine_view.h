/*
 * engine_view: what an engine says of its workers, before and after a bench.
 * Ownership: the caller's memory.
 * Threads:   one.
 * Units:     messages and bytes since the engine started.
 * Errors:    -errno as tools/bulla/control.h gives; -EPROTO for a status that is not understood.
 */
#ifndef BENCH_ENGINE_VIEW_H
#define BENCH_ENGINE_VIEW_H

#include "base/macros.h"

#include <stdint.h>

#define ENGINE_VIEW_WORKERS_MAX 256

struct engine_view_worker {
    uint32_t cpu;
    uint64_t sealed_count;
    uint64_t mail_bytes;
    uint64_t waiting; /* in the spool now */
    uint64_t recovered;
    uint64_t spool_bytes; /* of what waits */
    uint64_t spool_commits;
};

struct engine_view {
    struct engine_view_worker workers[ENGINE_VIEW_WORKERS_MAX];
    uint32_t workers_count;
};

MUST_USE int engine_view_take(struct engine_view *view, const char *socket_path);

/* Workers that sealed anything between the two. */
uint32_t engine_view_active(const struct engine_view *before, const struct engine_view *after);

#endif
