/*
 * eal: starts DPDK's environment with the engine's lcores and memory, and nothing else of it.
 * Ownership: eal_open() once in a process; eal_close() last of all. eal_alloc() memory is freed by
 *            eal_close() alone.
 * Threads:   the main thread.
 * Units:     bytes; lcore 0 is control, lcore 1 + i is worker i.
 * Errors:    -errno with a sentence in `why` that names the mend.
 *
 * docs/engine/memory.md. With hugepages EAL's own memory is used; without them anonymous memory,
 * touched at start on its NUMA node, is added to EAL as heaps of our own.
 */
#ifndef ENGINE_EAL_H
#define ENGINE_EAL_H

#include "base/macros.h"
#include "engine/config.h"
#include "engine/placement.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EAL_WHY_BYTES 256

struct eal_config {
    const struct placement *placement;
    enum config_hugepages hugepages;
    size_t node_bytes;       /* most that will be asked of one node */
    const char *runtime_dir; /* for the telemetry socket; writable  */
    bool verbose;            /* EAL's own words on stderr           */
};

MUST_USE int eal_open(const struct eal_config *config, char why[EAL_WHY_BYTES]);
void eal_close(void);

bool eal_uses_hugepages(void);
/* Zeroed, on the node, in pages of its own; NULL when node_bytes was too little. */
void *eal_alloc(uint32_t node, size_t bytes);
/* What eal_alloc() of so many takes of node_bytes. */
size_t eal_bytes(size_t bytes);

#endif
