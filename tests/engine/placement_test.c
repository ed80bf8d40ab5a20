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

static int plan(const char *machine, uint32_t workers)
{
    hwloc_topology_t topology;
    assert_int_equal(hwloc_topology_init(&topology), 0);
    assert_int_equal(hwloc_topology_set_synthetic(topology, machine), 0);
    assert_int_equal(hwloc_topology_load(topology), 0);
    memset(&placement, 0, sizeof(placement));
    const int rc = placement_plan(&placement, topology, workers, why);
    hwloc_topology_destroy(topology);
    return rc;
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
    uint32_t of_node[2] = {0, 0};
    uint32_t nodes[PLACEMENT_NODES_MAX];
    assert_int_equal(plan("node:2 core:8 pu:2", 0), 0);
    assert_int_equal(placement.cores_count, 16);
    assert_int_equal(placement.cpus_count, 32);
    assert_int_equal(placement.workers_count, 15);
    for (uint32_t i = 0; i < placement.workers_count; i++) {
        assert_false(placement.workers[i].sibling);
        of_node[placement.workers[i].node]++;
        for (uint32_t k = i + 1; k < placement.workers_count; k++)
            assert_int_not_equal(placement.workers[i].core, placement.workers[k].core);
    }
    assert_int_equal(of_node[0], 7); /* one core of node 0 is control's */
    assert_int_equal(of_node[1], 8);
    assert_int_equal(placement_nodes(&placement, nodes), 2);
    workers_stand_on_processors_of_their_own();
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
    assert_non_null(strstr(text, "control, keys  cpu 0"));
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
        cmocka_unit_test(placement_takes_nodes_in_turn),
        cmocka_unit_test(placement_takes_siblings_only_after_all_cores),
        cmocka_unit_test(placement_refuses_more_workers_than_processors),
        cmocka_unit_test(placement_explains_itself),
        cmocka_unit_test(placement_respects_the_affinity_mask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
