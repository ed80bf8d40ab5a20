#include "engine/placement.h"

#include "base/assert.h"

#include <errno.h>
#include <string.h>

#define NONE                UINT32_MAX
#define PLAN_KINDS_MAX      8 /* of processors; laptops have two or three */
#define PLAN_KIND_EFFICIENT "IntelAtom"

struct plan_core {
    uint32_t number;
    uint32_t node; /* in plan.nodes */
    uint32_t rank; /* 0 is the fastest kind */
    bool efficient;
    bool last;          /* first of its node: the last one of it that a worker takes */
    uint32_t first_cpu; /* in plan.cpus */
    uint32_t cpus_count;
    uint32_t cpus_used;
};

struct plan_node {
    uint32_t node;
    uint32_t memory_node;
    uint32_t cores_count;
    uint32_t fast_count; /* of them */
};

struct plan {
    struct plan_core cores[PLACEMENT_CPUS_MAX];
    uint32_t cores_count;
    uint32_t cpus[PLACEMENT_CPUS_MAX];
    uint32_t cpu_core[PLACEMENT_CPUS_MAX];
    bool cpu_used[PLACEMENT_CPUS_MAX];
    uint32_t cpus_count;
    struct plan_node nodes[PLACEMENT_NODES_MAX];
    uint32_t nodes_count;
    uint32_t ranks_count;
};

int placement_discover(hwloc_topology_t *topology)
{
    hwloc_topology_t made;
    if (hwloc_topology_init(&made) != 0)
        return -ENOMEM;
    const unsigned long flags =
        HWLOC_TOPOLOGY_FLAG_IS_THISSYSTEM | HWLOC_TOPOLOGY_FLAG_RESTRICT_TO_CPUBINDING;
    if (hwloc_topology_set_flags(made, flags) != 0 || hwloc_topology_load(made) != 0) {
        hwloc_topology_destroy(made);
        return -EIO;
    }
    *topology = made;
    return 0;
}

static bool has_memory(hwloc_obj_t node)
{
    return node->attr != NULL && node->attr->numanode.local_memory > 0;
}

/* The node whose own processors the core is of: of several (high-bandwidth memory beside the
 * ordinary kind) the first, with memory before one without. NULL where the cpuset keeps it out. */
static hwloc_obj_t core_home(hwloc_topology_t topology, hwloc_obj_t core)
{
    hwloc_obj_t bare = NULL;
    for (hwloc_obj_t node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, NULL);
         node != NULL; node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, node)) {
        if (hwloc_bitmap_iszero(node->cpuset) ||
            !hwloc_bitmap_isincluded(core->cpuset, node->cpuset))
            continue;
        if (has_memory(node))
            return node;
        bare = bare == NULL ? node : bare;
    }
    return bare;
}

/* By the firmware's distances; without any, every node is as near as the next. */
static uint64_t node_distance(struct hwloc_distances_s *distances, hwloc_obj_t from, hwloc_obj_t to)
{
    uint64_t there = UINT64_MAX - 1;
    uint64_t back;
    if (distances != NULL && from != NULL &&
        hwloc_distances_obj_pair_values(distances, from, to, &there, &back) != 0)
        there = UINT64_MAX - 1;
    return there;
}

/* The nearest node with memory that is allowed; NULL when the topology knows of none. */
static hwloc_obj_t node_memory(hwloc_topology_t topology, hwloc_obj_t home)
{
    struct hwloc_distances_s *distances = NULL;
    unsigned count = 1;
    hwloc_obj_t best = NULL;
    uint64_t best_distance = UINT64_MAX;
    if (home != NULL && has_memory(home))
        return home;
    const unsigned long kind = HWLOC_DISTANCES_KIND_MEANS_LATENCY;
    if (hwloc_distances_get_by_type(topology, HWLOC_OBJ_NUMANODE, &count, &distances, kind, 0) !=
            0 ||
        count == 0)
        distances = NULL;
    for (hwloc_obj_t node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, NULL);
         node != NULL; node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, node)) {
        const uint64_t distance =
            has_memory(node) ? node_distance(distances, home, node) : UINT64_MAX;
        if (distance < best_distance) {
            best = node;
            best_distance = distance;
        }
    }
    if (distances != NULL)
        hwloc_distances_release(topology, distances);
    return best;
}

/* Index in plan.nodes; NONE when there are more than the plan holds. */
static uint32_t plan_node(struct plan *plan, hwloc_topology_t topology, hwloc_obj_t core)
{
    const hwloc_obj_t home = core_home(topology, core);
    const hwloc_obj_t memory = node_memory(topology, home);
    const uint32_t memory_node = memory == NULL ? 0 : memory->os_index;
    const uint32_t node = home == NULL ? memory_node : home->os_index;
    for (uint32_t i = 0; i < plan->nodes_count; i++) {
        if (plan->nodes[i].node == node)
            return i;
    }
    if (plan->nodes_count == PLACEMENT_NODES_MAX)
        return NONE;
    plan->nodes[plan->nodes_count] = (struct plan_node){.node = node, .memory_node = memory_node};
    return plan->nodes_count++;
}

/* hwloc orders kinds by efficiency: the last one is the fastest. */
static void plan_core_kind(struct plan *plan, hwloc_topology_t topology, hwloc_obj_t object,
                           struct plan_core *core)
{
    struct hwloc_info_s *infos = NULL;
    unsigned infos_count = 0;
    const int kinds = hwloc_cpukinds_get_nr(topology, 0);
    const int kind = hwloc_cpukinds_get_by_cpuset(topology, object->cpuset, 0);
    if (kinds <= 1 || kind < 0 || kind >= kinds)
        return;
    core->rank = MIN((uint32_t)(kinds - 1 - kind), (uint32_t)PLAN_KINDS_MAX - 1);
    plan->ranks_count = MAX(plan->ranks_count, core->rank + 1);
    if (hwloc_cpukinds_get_info(topology, (unsigned)kind, NULL, NULL, &infos_count, &infos, 0) != 0)
        return;
    for (unsigned i = 0; i < infos_count; i++)
        core->efficient = core->efficient || (strcmp(infos[i].name, "CoreType") == 0 &&
                                              strcmp(infos[i].value, PLAN_KIND_EFFICIENT) == 0);
}

static void plan_add_core(struct plan *plan, hwloc_topology_t topology, hwloc_obj_t object)
{
    struct plan_core core = {.number = object->logical_index, .first_cpu = plan->cpus_count};
    int cpu;
    core.node = plan_node(plan, topology, object);
    if (core.node == NONE || plan->cores_count == PLACEMENT_CPUS_MAX)
        return;
    plan_core_kind(plan, topology, object, &core);
    hwloc_bitmap_foreach_begin(cpu, object->cpuset) if (plan->cpus_count < PLACEMENT_CPUS_MAX)
    {
        plan->cpu_core[plan->cpus_count] = plan->cores_count;
        plan->cpus[plan->cpus_count++] = (uint32_t)cpu;
        core.cpus_count++;
    }
    hwloc_bitmap_foreach_end();
    if (core.cpus_count == 0)
        return;
    struct plan_node *node = &plan->nodes[core.node];
    core.last = node->cores_count++ == 0;
    node->fast_count += !core.efficient;
    plan->cores[plan->cores_count++] = core;
}

static void plan_read(struct plan *plan, hwloc_topology_t topology)
{
    memset(plan, 0, sizeof(*plan));
    plan->ranks_count = 1;
    /* Some virtual machines describe processors without cores. */
    const bool has_cores = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE) > 0;
    const hwloc_obj_type_t type = has_cores ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
    const int count = hwloc_get_nbobjs_by_type(topology, type);
    for (int i = 0; i < count; i++)
        plan_add_core(plan, topology, hwloc_get_obj_by_type(topology, type, (unsigned)i));
}

/* What is asked of a core that a worker is to have. */
struct plan_wish {
    uint32_t used; /* workers that it has already */
    uint32_t rank;
    bool last;  /* also cores that are kept for key threads */
    bool first; /* also the machine's first              */
};

static uint32_t plan_pick(const struct plan *plan, uint32_t node, const struct plan_wish *wish)
{
    for (uint32_t i = wish->first ? 0 : 1; i < plan->cores_count; i++) {
        const struct plan_core *core = &plan->cores[i];
        if (core->node == node && core->rank == wish->rank && core->cpus_used == wish->used &&
            core->cpus_count > wish->used && (wish->last || !core->last))
            return i;
    }
    return NONE;
}

/* The next node's core of this depth and kind; first cores when there is no other on any node. */
static uint32_t plan_next(const struct plan *plan, uint32_t *turn, uint32_t used, uint32_t rank)
{
    for (uint32_t pass = 0; pass < 3; pass++) {
        const struct plan_wish wish = {
            .used = used, .rank = rank, .last = pass > 0, .first = pass > 1};
        for (uint32_t tried = 0; tried < plan->nodes_count; tried++) {
            const uint32_t at = (*turn + tried) % plan->nodes_count;
            const uint32_t picked = plan_pick(plan, at, &wish);
            if (picked == NONE)
                continue;
            *turn = (at + 1) % plan->nodes_count;
            return picked;
        }
    }
    return NONE;
}

/* One worker; `turn` says which node is next. False when no such core has room at this depth. */
static bool plan_place(struct plan *plan, struct placement *placement, uint32_t *turn,
                       uint32_t used, uint32_t rank)
{
    const uint32_t picked = plan_next(plan, turn, used, rank);
    if (picked == NONE)
        return false;
    struct plan_core *core = &plan->cores[picked];
    const uint32_t cpu_index = core->first_cpu + core->cpus_used++;
    plan->cpu_used[cpu_index] = true;
    placement->workers[placement->workers_count++] =
        (struct placement_worker){.cpu = plan->cpus[cpu_index],
                                  .core = core->number,
                                  .node = plan->nodes[core->node].node,
                                  .memory_node = plan->nodes[core->node].memory_node,
                                  .sibling = used > 0,
                                  .efficient = core->efficient};
    return true;
}

static void plan_workers(struct plan *plan, struct placement *placement, uint32_t wanted)
{
    uint32_t turn = 0;
    /* Each depth puts one more worker on every core; a core has fewer than CPUS_MAX. */
    for (uint32_t used = 0; used < PLACEMENT_CPUS_MAX; used++) {
        for (uint32_t rank = 0; rank < plan->ranks_count; rank++) {
            while (placement->workers_count < wanted &&
                   plan_place(plan, placement, &turn, used, rank))
                ;
        }
        if (placement->workers_count == wanted)
            break;
    }
    ASSERT(placement->workers_count == wanted);
}

/* Processors without a worker, of one node or (NONE) of all: those of idle cores, else idle
 * siblings of workers. */
static uint32_t plan_free(const struct plan *plan, uint32_t node, uint32_t cpus[PLACEMENT_CPUS_MAX])
{
    uint32_t count = 0;
    for (uint32_t siblings = 0; siblings < 2 && count == 0; siblings++) {
        for (uint32_t i = 0; i < plan->cpus_count; i++) {
            const struct plan_core *core = &plan->cores[plan->cpu_core[i]];
            const bool here = node == NONE || core->node == node;
            if (here && !plan->cpu_used[i] && (core->cpus_used > 0) == (siblings > 0))
                cpus[count++] = plan->cpus[i];
        }
    }
    return count;
}

static void plan_rest(const struct plan *plan, struct placement *placement)
{
    placement->rest_count = plan_free(plan, NONE, placement->rest);
    placement->rest_shared = placement->rest_count == 0;
    for (uint32_t i = 0; placement->rest_shared && i < plan->cpus_count; i++)
        placement->rest[placement->rest_count++] = plan->cpus[i];
}

static bool node_has_worker(const struct placement *placement, uint32_t node)
{
    for (uint32_t i = 0; i < placement->workers_count; i++) {
        if (placement->workers[i].node == node)
            return true;
    }
    return false;
}

/* After plan_rest(): a node that the workers fill borrows of it. */
static void plan_nodes(const struct plan *plan, struct placement *placement)
{
    for (uint32_t i = 0; i < plan->nodes_count; i++) {
        const struct plan_node *from = &plan->nodes[i];
        if (!node_has_worker(placement, from->node))
            continue;
        struct placement_node *node = &placement->nodes[placement->nodes_count++];
        node->node = from->node;
        node->memory_node = from->memory_node;
        node->keys_count = plan_free(plan, i, node->keys);
        node->keys_elsewhere = node->keys_count == 0;
        if (!node->keys_elsewhere)
            continue;
        memcpy(node->keys, placement->rest, sizeof(placement->rest));
        node->keys_count = placement->rest_count;
    }
}

/* With `workers` = 0. An efficient core serves control and keys as well as a fast one would. */
static uint32_t plan_default(const struct plan *plan)
{
    uint32_t wanted = 0;
    for (uint32_t i = 0; i < plan->nodes_count; i++) {
        const struct plan_node *node = &plan->nodes[i];
        wanted += MIN(node->fast_count, node->cores_count - 1);
    }
    return MIN(MAX(wanted, 1U), (uint32_t)CONFIG_WORKERS_MAX);
}

int placement_plan(struct placement *placement, hwloc_topology_t topology, uint32_t workers,
                   char why[PLACEMENT_WHY_BYTES])
{
    static struct plan plan; /* large; planning is done once, by one thread */
    plan_read(&plan, topology);
    if (plan.cores_count == 0) {
        (void)snprintf(why, PLACEMENT_WHY_BYTES,
                       "no processor may be used; widen the affinity mask or the cgroup's cpuset");
        return -EINVAL;
    }
    const uint32_t most = MIN(plan.cpus_count, (uint32_t)CONFIG_WORKERS_MAX);
    if (workers > most) {
        (void)snprintf(why, PLACEMENT_WHY_BYTES,
                       "workers = %u, but only %u cores with %u processors may be used; set "
                       "workers to %u or less, or to 0 for all cores but one of each node",
                       workers, plan.cores_count, plan.cpus_count, most);
        return -EINVAL;
    }
    memset(placement, 0, sizeof(*placement));
    placement->cores_count = plan.cores_count;
    placement->cpus_count = plan.cpus_count;
    placement->machine_nodes_count = plan.nodes_count;
    plan_workers(&plan, placement, workers > 0 ? workers : plan_default(&plan));
    plan_rest(&plan, placement);
    plan_nodes(&plan, placement);
    ASSERT(placement->rest_count > 0);
    ASSERT(placement->nodes_count > 0);
    return 0;
}

uint32_t placement_node_of(const struct placement *placement, uint32_t worker)
{
    ASSERT(worker < placement->workers_count);
    uint32_t at = 0;
    while (placement->nodes[at].node != placement->workers[worker].node)
        at++;
    ASSERT(at < placement->nodes_count);
    return at;
}

static void print_cpus(FILE *out, const uint32_t *cpus, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        (void)fprintf(out, " %u", cpus[i]);
}

void placement_print(const struct placement *placement, FILE *out)
{
    (void)fprintf(out, "machine  %u NUMA node%s, %u cores, %u processors\n",
                  placement->machine_nodes_count, placement->machine_nodes_count == 1 ? "" : "s",
                  placement->cores_count, placement->cpus_count);
    for (uint32_t i = 0; i < placement->workers_count; i++) {
        const struct placement_worker *worker = &placement->workers[i];
        (void)fprintf(out, "worker %-3u cpu %-4u core %-4u node %u", i, worker->cpu, worker->core,
                      worker->node);
        if (worker->memory_node != worker->node)
            (void)fprintf(out, "  (which has no memory: node %u's)", worker->memory_node);
        (void)fprintf(out, "%s%s\n", worker->efficient ? "  (efficient core)" : "",
                      worker->sibling ? "  (hyperthread sibling of another worker)" : "");
    }
    (void)fprintf(out, "control  cpu");
    print_cpus(out, placement->rest, placement->rest_count);
    (void)fprintf(out, "%s\n",
                  placement->rest_shared ? "  (shared with workers: no processor is left)" : "");
    for (uint32_t i = 0; i < placement->nodes_count; i++) {
        const struct placement_node *node = &placement->nodes[i];
        (void)fprintf(out, "keys of node %u  cpu", node->node);
        print_cpus(out, node->keys, node->keys_count);
        (void)fprintf(out, "%s\n",
                      node->keys_elsewhere ? "  (its workers leave none of its own)" : "");
    }
}
