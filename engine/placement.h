/*
 * placement: which processor each of the engine's threads runs on.
 * Ownership: a plain struct; placement_plan() borrows the topology, an hwloc_topology_t.
 * Threads:   any; a pure function of topology and wish.
 * Units:     processors (PUs) and NUMA nodes by the operating system's numbers.
 * Errors:    -EINVAL with a sentence in `why` that names the mend.
 *
 * docs/engine/placement.md. Workers stand on cores of their own, taken in turn from every NUMA
 * node, fast cores before efficient ones; hyperthread siblings come only when all cores have one
 * worker. The first core of each node stays free for key threads, and that of the machine for
 * control, as long as there is another.
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
#define PLACEMENT_NODES_MAX 16 /* DPDK has 32 heaps: its own and ours for each */
#define PLACEMENT_WHY_BYTES 256

struct placement_worker {
    uint32_t cpu;
    uint32_t core;        /* logical number, for the eye */
    uint32_t node;        /* that the processor belongs to */
    uint32_t memory_node; /* `node`, or the nearest one when that has no memory */
    bool sibling;         /* shares its core with another worker */
    bool efficient;       /* of the slower kind, where the machine has two */
};

/* A node with workers. */
struct placement_node {
    uint32_t node;
    uint32_t memory_node;
    uint32_t keys[PLACEMENT_CPUS_MAX]; /* where its key threads float; never empty */
    uint32_t keys_count;
    bool keys_elsewhere; /* the workers take all of the node: keys float over `rest` */
};

struct placement {
    struct placement_worker workers[CONFIG_WORKERS_MAX];
    uint32_t workers_count;
    struct placement_node nodes[PLACEMENT_NODES_MAX]; /* with workers, each once */
    uint32_t nodes_count;
    uint32_t rest[PLACEMENT_CPUS_MAX]; /* for control; never empty */
    uint32_t rest_count;
    bool rest_shared;             /* every processor has a worker: the rest is shared with them */
    uint32_t machine_nodes_count; /* with processors */
    uint32_t cores_count;
    uint32_t cpus_count;
};

/* The machine as this process may use it: cgroup and affinity mask respected. */
MUST_USE int placement_discover(hwloc_topology_t *topology);
/* `workers` 0: of each node all fast cores but one, at least one in all. */
MUST_USE int placement_plan(struct placement *placement, hwloc_topology_t topology,
                            uint32_t workers, char why[PLACEMENT_WHY_BYTES]);
/* Of placement->nodes, the one that the worker stands on. */
uint32_t placement_node_of(const struct placement *placement, uint32_t worker);
/* For `bullad --explain-placement`. */
void placement_print(const struct placement *placement, FILE *out);

#endif
