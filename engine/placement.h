/*
 * placement: which processor each of the engine's threads runs on.
 * Ownership: a plain struct; placement_plan() borrows the topology, an hwloc_topology_t.
 * Threads:   any; a pure function of topology and wish.
 * Units:     processors (PUs) and NUMA nodes by the operating system's numbers.
 * Errors:    -EINVAL with a sentence in `why` that names the mend.
 *
 * Workers stand on cores of their own, taken in turn from every NUMA node; hyperthread siblings
 * come only when all cores have one worker. The first core stays free for control and key threads
 * as long as there is another: that is where the kernel's interrupts land.
 */
#ifndef ENGINE_PLACEMENT_H
#define ENGINE_PLACEMENT_H

#include "base/macros.h"
#include "engine/config.h"

#include <hwloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define PLACEMENT_CPUS_MAX  1024
#define PLACEMENT_NODES_MAX 16
#define PLACEMENT_WHY_BYTES 256

struct placement_worker {
    uint32_t cpu;
    uint32_t core; /* logical number, for the eye */
    uint32_t node;
    bool sibling; /* shares its core with another worker */
};

struct placement {
    struct placement_worker workers[CONFIG_WORKERS_MAX];
    uint32_t workers_count;
    uint32_t rest[PLACEMENT_CPUS_MAX]; /* for control and key threads; never empty */
    uint32_t rest_count;
    bool rest_shared; /* every processor has a worker: the rest is shared with them */
    uint32_t cores_count;
    uint32_t cpus_count;
    uint32_t nodes_count;
};

/* The machine as this process may use it: cgroup and affinity mask respected. */
MUST_USE int placement_discover(hwloc_topology_t *topology);
/* `workers` 0: all cores but one, at least one. */
MUST_USE int placement_plan(struct placement *placement, hwloc_topology_t topology,
                            uint32_t workers, char why[PLACEMENT_WHY_BYTES]);
/* Nodes that have a worker, each once; returns how many. */
uint32_t placement_nodes(const struct placement *placement, uint32_t nodes[PLACEMENT_NODES_MAX]);
/* For `bullad --explain-placement`. */
void placement_print(const struct placement *placement, FILE *out);

#endif
