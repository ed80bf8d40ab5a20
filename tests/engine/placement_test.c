/* Plans for machines that are not here: hwloc's synthetic topologies. */
#include "engine/placement.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct placement placement;
static char why[PLACEMENT_WHY_BYTES];

static hwloc_topology_t machine_make(const char *machine)
{
    hwloc_topology_t topology;
    assert_int_equal(hwloc_topology_init(&topology), 0);
    assert_int_equal(hwloc_topology_set_synthetic(topology, machine), 0);
    assert_int_equal(hwloc_topology_load(topology), 0);
    return topology;
}

static int machine_plan(hwloc_topology_t topology, uint32_t workers)
{
    memset(&placement, 0xff, sizeof(placement));
    const int rc = placement_plan(&placement, topology, workers, why);
    hwloc_topology_destroy(topology);
    return rc;
}

static int plan(const char *machine, uint32_t workers)
{
    return machine_plan(machine_make(machine), workers);
}

/* As a cgroup's cpuset, or processors that are switched off. */
static void machine_keep(hwloc_topology_t topology, const char *cpus)
{
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    assert_non_null(set);
    assert_int_equal(hwloc_bitmap_list_sscanf(set, cpus), 0);
    assert_int_equal(hwloc_topology_restrict(topology, set, 0), 0);
    hwloc_bitmap_free(set);
}

static void machine_take_memory(hwloc_topology_t topology, unsigned node)
{
    hwloc_obj_t object = hwloc_get_numanode_obj_by_os_index(topology, node);
    assert_non_null(object);
    object->attr->numanode.local_memory = 0;
}

static void machine_set_distances(hwloc_topology_t topology, unsigned count, hwloc_uint64_t *values)
{
    hwloc_obj_t nodes[8];
    assert_true(count <= 8);
    for (unsigned i = 0; i < count; i++)
        nodes[i] = hwloc_get_numanode_obj_by_os_index(topology, i);
    hwloc_distances_add_handle_t handle = hwloc_distances_add_create(
        topology, "test", HWLOC_DISTANCES_KIND_MEANS_LATENCY | HWLOC_DISTANCES_KIND_FROM_USER, 0);
    assert_non_null(handle);
    assert_int_equal(hwloc_distances_add_values(topology, handle, count, nodes, values, 0), 0);
    assert_int_equal(hwloc_distances_add_commit(topology, handle, 0), 0);
}

static void machine_set_kind(hwloc_topology_t topology, const char *cpus, int efficiency,
                             const char *type)
{
    char name[] = "CoreType";
    char value[32];
    (void)snprintf(value, sizeof(value), "%s", type);
    struct hwloc_info_s info = {.name = name, .value = value};
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    assert_non_null(set);
    assert_int_equal(hwloc_bitmap_list_sscanf(set, cpus), 0);
    assert_int_equal(hwloc_cpukinds_register(topology, set, efficiency, 1, &info, 0), 0);
    hwloc_bitmap_free(set);
}

static uint32_t workers_of_node(uint32_t node)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < placement.workers_count; i++)
        count += placement.workers[i].node == node;
    return count;
}

/* Of a machine whose nodes have cpus_a_node processors each, numbered node by node. */
static void keys_stay_on_their_node(uint32_t cpus_a_node)
{
    for (uint32_t n = 0; n < placement.nodes_count; n++) {
        const struct placement_node *node = &placement.nodes[n];
        assert_false(node->keys_elsewhere);
        assert_true(node->keys_count > 0);
        for (uint32_t i = 0; i < node->keys_count; i++)
            assert_int_equal(node->keys[i] / cpus_a_node, node->node);
        for (uint32_t w = 0; w < placement.workers_count; w++) {
            for (uint32_t i = 0; i < node->keys_count; i++)
                assert_int_not_equal(node->keys[i], placement.workers[w].cpu);
        }
    }
}

static void workers_stand_on_processors_of_their_own(void)
{
    for (uint32_t i = 0; i < placement.workers_count; i++) {
        for (uint32_t k = i + 1; k < placement.workers_count; k++)
            assert_int_not_equal(placement.workers[i].cpu, placement.workers[k].cpu);
        for (uint32_t r = 0; r < placement.rest_count && !placement.rest_shared; r++)
            assert_int_not_equal(placement.workers[i].cpu, placement.rest[r]);
    }
}

static void placement_shares_a_single_core(void **state)
{
    (void)state;
    assert_int_equal(plan("node:1 core:1 pu:1", 0), 0);
    assert_int_equal(placement.workers_count, 1);
    assert_int_equal(placement.workers[0].cpu, 0);
    assert_true(placement.rest_shared);
    assert_int_equal(placement.rest_count, 1);
}

static void placement_leaves_the_first_of_two_cores_to_control(void **state)
{
    (void)state;
    assert_int_equal(plan("node:1 core:2 pu:1", 0), 0);
    assert_int_equal(placement.workers_count, 1);
    assert_int_equal(placement.workers[0].cpu, 1);
    assert_int_equal(placement.rest_count, 1);
    assert_int_equal(placement.rest[0], 0);
    assert_false(placement.rest_shared);
}

static void placement_uses_every_core_when_told_to(void **state)
{
    (void)state;
    assert_int_equal(plan("node:1 core:2 pu:1", 2), 0);
    assert_int_equal(placement.workers_count, 2);
    assert_true(placement.rest_shared);
    workers_stand_on_processors_of_their_own();
}

static void placement_spreads_over_nodes_and_skips_siblings(void **state)
{
    (void)state;
    assert_int_equal(plan("node:2 core:8 pu:2", 0), 0);
    assert_int_equal(placement.machine_nodes_count, 2);
    assert_int_equal(placement.cores_count, 16);
    assert_int_equal(placement.cpus_count, 32);
    assert_int_equal(placement.workers_count, 14);
    for (uint32_t i = 0; i < placement.workers_count; i++) {
        assert_false(placement.workers[i].sibling);
        assert_int_equal(placement.workers[i].memory_node, placement.workers[i].node);
        for (uint32_t k = i + 1; k < placement.workers_count; k++)
            assert_int_not_equal(placement.workers[i].core, placement.workers[k].core);
    }
    assert_int_equal(workers_of_node(0), 7); /* one core of each node is the keys' */
    assert_int_equal(workers_of_node(1), 7);
    assert_int_equal(placement.nodes_count, 2);
    workers_stand_on_processors_of_their_own();
    keys_stay_on_their_node(16);
}

static void placement_leaves_whole_cores_to_keys_and_control(void **state)
{
    (void)state;
    assert_int_equal(plan("node:2 core:4 pu:2", 0), 0);
    for (uint32_t n = 0; n < 2; n++) {
        assert_int_equal(placement.nodes[n].keys_count, 2); /* a core, and no worker's sibling */
        assert_int_equal(placement.nodes[n].keys[0], n * 8);
        assert_int_equal(placement.nodes[n].keys[1], n * 8 + 1);
    }
    assert_int_equal(placement.rest_count, 4);
    /* Then the siblings: no core is left. */
    assert_int_equal(plan("node:2 core:4 pu:2", 8), 0);
    assert_int_equal(placement.nodes[1].keys_count, 4);
    keys_stay_on_their_node(8);
    assert_false(placement.rest_shared);
}

static void placement_keeps_each_of_four_nodes_to_itself(void **state)
{
    (void)state;
    assert_int_equal(plan("pack:2 node:2 core:4 pu:1", 0), 0);
    assert_int_equal(placement.workers_count, 12);
    assert_int_equal(placement.nodes_count, 4);
    for (uint32_t n = 0; n < 4; n++) {
        assert_int_equal(workers_of_node(n), 3);
        assert_int_equal(placement.nodes[n].memory_node, n);
        assert_int_equal(placement.nodes[n].keys_count, 1);
    }
    for (uint32_t i = 0; i < placement.workers_count; i++)
        assert_int_equal(placement.nodes[placement_node_of(&placement, i)].node,
                         placement.workers[i].node);
    keys_stay_on_their_node(4);
}

static void placement_lends_processors_to_the_keys_of_a_full_node(void **state)
{
    (void)state;
    assert_int_equal(plan("node:2 core:2 pu:1", 3), 0);
    assert_int_equal(workers_of_node(0), 1); /* the machine's first core comes last of all */
    assert_int_equal(workers_of_node(1), 2);
    assert_false(placement.nodes[0].keys_elsewhere);
    assert_true(placement.nodes[1].keys_elsewhere);
    assert_int_equal(placement.nodes[1].keys_count, 1);
    assert_int_equal(placement.nodes[1].keys[0], 0);
}

static void placement_serves_nodes_of_one_core(void **state)
{
    (void)state;
    assert_int_equal(plan("node:2 core:1 pu:1", 0), 0);
    assert_int_equal(placement.workers_count, 1);
    assert_int_equal(placement.workers[0].node, 1);
    assert_int_equal(placement.rest[0], 0);
    assert_int_equal(plan("node:4 core:1 pu:1", 4), 0);
    assert_true(placement.rest_shared);
    for (uint32_t n = 0; n < 4; n++)
        assert_int_equal(workers_of_node(n), 1);
}

static void placement_takes_the_nearest_memory_for_a_node_without(void **state)
{
    (void)state;
    hwloc_uint64_t distances[] = {10, 40, 20, 40, 40, 10, 20, 15, 20, 20, 10, 40, 40, 15, 40, 10};
    hwloc_topology_t topology = machine_make("node:4 core:2 pu:1");
    machine_set_distances(topology, 4, distances);
    machine_take_memory(topology, 1);
    assert_int_equal(machine_plan(topology, 0), 0);
    assert_int_equal(placement.workers_count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        const struct placement_worker *worker = &placement.workers[i];
        assert_int_equal(worker->memory_node, worker->node == 1 ? 3 : worker->node);
    }
    assert_int_equal(placement.nodes[1].node, 1);
    assert_int_equal(placement.nodes[1].memory_node, 3);
    keys_stay_on_their_node(2);
}

static void placement_needs_no_distances_for_a_node_without_memory(void **state)
{
    (void)state;
    hwloc_topology_t topology = machine_make("node:2 core:2 pu:1");
    machine_take_memory(topology, 0);
    assert_int_equal(machine_plan(topology, 0), 0);
    assert_int_equal(workers_of_node(0), 1);
    assert_int_equal(placement.nodes[0].memory_node, 1);
    assert_int_equal(placement.nodes[1].memory_node, 1);
}

static void placement_lives_where_no_node_says_its_memory(void **state)
{
    (void)state;
    hwloc_topology_t topology = machine_make("node:1 core:2 pu:1");
    machine_take_memory(topology, 0);
    assert_int_equal(machine_plan(topology, 0), 0);
    assert_int_equal(placement.workers_count, 1);
    assert_int_equal(placement.workers[0].node, 0);
    assert_int_equal(placement.workers[0].memory_node, 0);
}

static void placement_passes_over_a_node_without_processors(void **state)
{
    (void)state;
    hwloc_topology_t topology = machine_make("node:3 core:2 pu:1");
    machine_keep(topology, "2-5"); /* node 0 is memory alone now */
    assert_int_equal(machine_plan(topology, 0), 0);
    assert_int_equal(placement.machine_nodes_count, 2);
    assert_int_equal(placement.workers_count, 2);
    assert_int_equal(workers_of_node(0), 0);
    assert_int_equal(workers_of_node(1), 1);
    assert_int_equal(workers_of_node(2), 1);
    assert_int_equal(placement.nodes_count, 2);
    keys_stay_on_their_node(2);
}

static void placement_stays_in_a_cpuset(void **state)
{
    (void)state;
    hwloc_topology_t topology = machine_make("node:2 core:4 pu:2");
    machine_keep(topology, "3,5,6-7,14"); /* halves of two cores, a whole one, and one of node 1 */
    assert_int_equal(machine_plan(topology, 0), 0);
    assert_int_equal(placement.cores_count, 4);
    assert_int_equal(placement.cpus_count, 5);
    assert_int_equal(placement.workers_count, 2);
    assert_int_equal(workers_of_node(0), 2);
    assert_int_equal(placement.workers[0].cpu, 5);
    assert_int_equal(placement.workers[1].cpu, 6);
    assert_int_equal(placement.nodes[0].keys_count, 1);
    assert_int_equal(placement.nodes[0].keys[0], 3);
    workers_stand_on_processors_of_their_own();
}

static void placement_gives_workers_fast_cores_and_control_an_efficient_one(void **state)
{
    (void)state;
    for (uint32_t workers = 0; workers <= 8; workers += 8) {
        hwloc_topology_t topology = machine_make("node:1 core:10 pu:1");
        machine_set_kind(topology, "0-5", 1, "IntelCore");
        machine_set_kind(topology, "6-9", 0, "IntelAtom");
        assert_int_equal(machine_plan(topology, workers), 0);
        assert_int_equal(placement.workers_count, workers == 0 ? 6 : 8);
        for (uint32_t i = 0; i < placement.workers_count; i++) {
            assert_int_equal(placement.workers[i].efficient, i >= 6);
            assert_int_equal(placement.workers[i].cpu < 6, i < 6);
        }
        assert_true(placement.rest[0] >= 6);
        workers_stand_on_processors_of_their_own();
    }
}

static void placement_leaves_nodes_out_that_are_too_many(void **state)
{
    (void)state;
    assert_int_equal(plan("node:20 core:2 pu:1", 0), 0);
    assert_int_equal(placement.machine_nodes_count, PLACEMENT_NODES_MAX);
    assert_int_equal(placement.workers_count, PLACEMENT_NODES_MAX);
    assert_int_equal(plan("node:20 core:2 pu:1", 33), -EINVAL);
}

static void placement_takes_nodes_in_turn(void **state)
{
    (void)state;
    assert_int_equal(plan("node:2 core:8 pu:2", 4), 0);
    assert_int_equal(placement.workers_count, 4);
    assert_int_equal(placement.workers[0].node, 0);
    assert_int_equal(placement.workers[1].node, 1);
    assert_int_equal(placement.workers[2].node, 0);
    assert_int_equal(placement.workers[3].node, 1);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_not_equal(placement.workers[i].core, 0);
}

static void placement_takes_siblings_only_after_all_cores(void **state)
{
    (void)state;
    uint32_t siblings = 0;
    assert_int_equal(plan("node:2 core:8 pu:2", 20), 0);
    for (uint32_t i = 0; i < 16; i++)
        assert_false(placement.workers[i].sibling);
    for (uint32_t i = 16; i < 20; i++)
        siblings += placement.workers[i].sibling;
    assert_int_equal(siblings, 4);
    workers_stand_on_processors_of_their_own();
}

static void placement_refuses_more_workers_than_processors(void **state)
{
    (void)state;
    assert_int_equal(plan("node:1 core:2 pu:1", 3), -EINVAL);
    assert_non_null(strstr(why, "workers = 3"));
    assert_non_null(strstr(why, "set workers to 2 or less"));
    assert_int_equal(plan("node:2 core:8 pu:2", 33), -EINVAL);
    assert_non_null(strstr(why, "set workers to 32 or less"));
}

static void placement_explains_itself(void **state)
{
    (void)state;
    char *text = NULL;
    size_t bytes = 0;
    assert_int_equal(plan("node:2 core:2 pu:1", 0), 0);
    FILE *out = open_memstream(&text, &bytes);
    assert_non_null(out);
    placement_print(&placement, out);
    assert_int_equal(fclose(out), 0);
    assert_non_null(strstr(text, "2 NUMA nodes, 4 cores, 4 processors"));
    assert_non_null(strstr(text, "worker 0"));
    assert_non_null(strstr(text, "control  cpu 0 2\n"));
    assert_non_null(strstr(text, "keys of node 1  cpu 2\n"));
    free(text);
}

static void placement_respects_the_affinity_mask(void **state)
{
    (void)state;
    hwloc_topology_t topology;
    cpu_set_t before;
    cpu_set_t one;
    size_t cpu = 0;
    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    while (!CPU_ISSET(cpu, &before))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    assert_int_equal(placement_discover(&topology), 0);
    assert_int_equal(placement_plan(&placement, topology, 0, why), 0);
    hwloc_topology_destroy(topology);
    assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
    assert_int_equal(placement.cpus_count, 1);
    assert_int_equal(placement.workers[0].cpu, cpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(placement_shares_a_single_core),
        cmocka_unit_test(placement_leaves_the_first_of_two_cores_to_control),
        cmocka_unit_test(placement_uses_every_core_when_told_to),
        cmocka_unit_test(placement_spreads_over_nodes_and_skips_siblings),
        cmocka_unit_test(placement_leaves_whole_cores_to_keys_and_control),
        cmocka_unit_test(placement_keeps_each_of_four_nodes_to_itself),
        cmocka_unit_test(placement_lends_processors_to_the_keys_of_a_full_node),
        cmocka_unit_test(placement_serves_nodes_of_one_core),
        cmocka_unit_test(placement_takes_the_nearest_memory_for_a_node_without),
        cmocka_unit_test(placement_needs_no_distances_for_a_node_without_memory),
        cmocka_unit_test(placement_lives_where_no_node_says_its_memory),
        cmocka_unit_test(placement_passes_over_a_node_without_processors),
        cmocka_unit_test(placement_stays_in_a_cpuset),
        cmocka_unit_test(placement_gives_workers_fast_cores_and_control_an_efficient_one),
        cmocka_unit_test(placement_leaves_nodes_out_that_are_too_many),
        cmocka_unit_test(placement_takes_nodes_in_turn),
        cmocka_unit_test(placement_takes_siblings_only_after_all_cores),
        cmocka_unit_test(placement_refuses_more_workers_than_processors),
        cmocka_unit_test(placement_explains_itself),
        cmocka_unit_test(placement_respects_the_affinity_mask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
