/*
 * areas: every piece of memory that one worker of an engine in this process writes for its
 * messages. Ownership: borrows the worker's; valid while its clients are attached and nothing is
 * under way. Threads:   the test's, while the worker is idle. Units:     bytes. Errors:    none:
 * more pieces than there is room for fail the test.
 */
#ifndef TESTS_ENGINE_AREAS_H
#define TESTS_ENGINE_AREAS_H

#include "engine/worker_internal.h"

#include <stddef.h>
#include <stdint.h>

#define AREAS_MAX 128

struct area {
    const char *name;
    const void *at;
    size_t bytes;
};

struct areas {
    struct area area[AREAS_MAX];
    uint32_t count;
};

void areas_read(struct areas *areas, const struct worker *worker);

#endif
