#include "engine/placement.h"

#include "base/assert.h"

#include <errno.h>
#include <string.h>

#define NONE UINT32_MAX

struct plan_core {
    uint32_t number;
    uint32_t node;
    uint32_t first_cpu; /* in plan.cpus */
    uint32_t cpus_count;
    uint32_t cpus_used;
};

struct plan {
    struct plan_core cores[PLACEMENT_CPUS_MAX];
    uint32_t cores_count;
    uint32_t cpus[PLACEMENT_CPUS_MAX];
    bool cpu_used[PLACEMENT_CPUS_MAX];
    uint32_t cpus_count;
    uint32_t nodes[PLACEMENT_NODES_MAX];
    uint32_t nodes_count;
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

static uint32_t plan_node(struct plan *plan, hwloc_obj_t core)
{
    const int first = core->nodeset == NULL ? 0 : hwloc_bitmap_first(core->nodeset);
    const uint32_t node = first < 0 ? 0 : (uint32_t)first;
    for (uint32_t i = 0; i < plan->nodes_count; i++) {
        if (plan->nodes[i] == node)
            return node;
    }
    if (plan->nodes_count < PLACEMENT_NODES_MAX)
        plan->nodes[plan->nodes_count++] = node;
    return node;
}

static void plan_add_core(struct plan *plan, hwloc_obj_t object)
{
    struct plan_core core = {.number = object->logical_index,
                             .node = plan_node(plan, object),
                             .first_cpu = plan->cpus_count};
    int cpu;
    hwloc_bitmap_foreach_begin(cpu, object->cpuset) if (plan->cpus_count < PLACEMENT_CPUS_MAX)
    {
        plan->cpus[plan->cpus_count++] = (uint32_t)cpu;
        core.cpus_count++;
    }
    hwloc_bitmap_foreach_end();
    if (core.cpus_count > 0 && plan->cores_count < PLACEMENT_CPUS_MAX)
        plan->cores[plan->cores_count++] = core;
}

static void plan_read(struct plan *plan, hwloc_topology_t topology)
{
    memset(plan, 0, sizeof(*plan));
    /* Some virtual machines describe processors without cores. */
    const bool has_cores = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE) > 0;
    const hwloc_obj_type_t type = has_cores ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
    const int count = hwloc_get_nbobjs_by_type(topology, type);
    for (int i = 0; i < count; i++)
        plan_add_core(plan, hwloc_get_obj_by_type(topology, type, (unsigned)i));
}

/* A core of this node with exactly `used` workers on it. */
static uint32_t plan_pick(const struct plan *plan, uint32_t node, uint32_t used, uint32_t from)
{
    for (uint32_t i = from; i < plan->cores_count; i++) {
        const struct plan_core *core = &plan->cores[i];
        if (core->node == node && core->cpus_used == used && core->cpus_count > used)
            return i;
    }
    return NONE;
}

/* The next node's core of this depth; the very first core when there is no other on any node. */
static uint32_t plan_next(const struct plan *plan, uint32_t *turn, uint32_t used)
{
    for (uint32_t from = 2; from > 0; from--) {
        for (uint32_t tried = 0; tried < plan->nodes_count; tried++) {
            const uint32_t at = (*turn + tried) % plan->nodes_count;
            const uint32_t picked = plan_pick(plan, plan->nodes[at], used, from - 1);
            if (picked == NONE)
                continue;
            *turn = (at + 1) % plan->nodes_count;
            return picked;
        }
    }
    return NONE;
}

/* One worker; `turn` says which node is next. False when no core has room at this depth. */
static bool plan_place(struct plan *plan, struct placement *placement, uint32_t *turn,
                       uint32_t used)
{
    const uint32_t picked = plan_next(plan, turn, used);
    if (picked == NONE)
        return false;
    struct plan_core *core = &plan->cores[picked];
    const uint32_t cpu_index = core->first_cpu + core->cpus_used++;
    plan->cpu_used[cpu_index] = true;
    placement->workers[placement->workers_count++] =
        (struct placement_worker){.cpu = plan->cpus[cpu_index],
                                  .core = core->number,
                                  .node = core->node,
                                  .sibling = used > 0};
    return true;
}

static void plan_rest(const struct plan *plan, struct placement *placement)
{
    for (uint32_t i = 0; i < plan->cpus_count; i++) {
        if (!plan->cpu_used[i])
            placement->rest[placement->rest_count++] = plan->cpus[i];
    }
    placement->rest_shared = placement->rest_count == 0;
    for (uint32_t i = 0; placement->rest_shared && i < plan->cpus_count; i++)
        placement->rest[placement->rest_count++] = plan->cpus[i];
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
                       "workers to %u or less, or to 0 for all cores but one",
                       workers, plan.cores_count, plan.cpus_count, most);
        return -EINVAL;
    }
    const uint32_t wanted = workers > 0 ? workers : MIN(MAX(plan.cores_count - 1, 1U), most);
    uint32_t turn = 0;
    *placement = (struct placement){.cores_count = plan.cores_count,
                                    .cpus_count = plan.cpus_count,
                                    .nodes_count = plan.nodes_count};
    /* Each depth puts one more worker on every core; a core has fewer than CPUS_MAX. */
    for (uint32_t used = 0; used < PLACEMENT_CPUS_MAX; used++) {
        while (placement->workers_count < wanted && plan_place(&plan, placement, &turn, used))
            ;
        if (placement->workers_count == wanted)
            break;
    }
    ASSERT(placement->workers_count == wanted);
    plan_rest(&plan, placement);
    ASSERT(placement->rest_count > 0);
    return 0;
}

uint32_t placement_nodes(const struct placement *placement, uint32_t nodes[PLACEMENT_NODES_MAX])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < placement->workers_count; i++) {
        uint32_t at = 0;
        while (at < count && nodes[at] != placement->workers[i].node)
            at++;
        if (at == count && count < PLACEMENT_NODES_MAX)
            nodes[count++] = placement->workers[i].node;
    }
    return count;
}

void placement_print(const struct placement *placement, FILE *out)
{
    (void)fprintf(out, "machine  %u NUMA node%s, %u cores, %u processors\n", placement->nodes_count,
                  placement->nodes_count == 1 ? "" : "s", placement->cores_count,
                  placement->cpus_count);
    for (uint32_t i = 0; i < placement->workers_count; i++) {
        const struct placement_worker *worker = &placement->workers[i];
        (void)fprintf(out, "worker %-3u cpu %-4u core %-4u node %u%s\n", i, worker->cpu,
                      worker->core, worker->node,
                      worker->sibling ? "  (hyperthread sibling of another worker)" : "");
    }
    (void)fprintf(out, "control, keys  cpu");
    for (uint32_t i = 0; i < placement->rest_count; i++)
        (void)fprintf(out, " %u", placement->rest[i]);
    (void)fprintf(out, "%s\n",
                  placement->rest_shared ? "  (shared with workers: no processor is left)" : "");
}
