/* Memory that is asked of a node, on whatever machine this is. */
#include "engine/node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#define BYTES ((size_t)600 * 4096)

static struct placement placement;

static void here(struct placement_node **node)
{
    char why[PLACEMENT_WHY_BYTES];
    hwloc_topology_t topology;
    assert_int_equal(placement_discover(&topology), 0);
    assert_int_equal(placement_plan(&placement, topology, 0, why), 0);
    hwloc_topology_destroy(topology);
    *node = &placement.nodes[0];
}

static void node_has_pages_where_they_were_asked_for(void **state)
{
    struct placement_node *node;
    struct node_stay stay;
    struct node_pages pages = {0};
    cpu_set_t before;
    cpu_set_t after;
    (void)state;
    here(&node);
    uint8_t *at = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(at, MAP_FAILED);
    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    node_enter(&stay, node);
    memset(at, 1, BYTES);
    node_leave(&stay);
    assert_int_equal(sched_getaffinity(0, sizeof(after), &after), 0);
    assert_true(CPU_EQUAL(&before, &after));
    node_count_pages(&pages, at, BYTES, node->memory_node);
    if (pages.count != 0) { /* else the kernel does not say */
        assert_int_equal(pages.count, 600);
        assert_int_equal(pages.elsewhere, 0);
        node_count_pages(&pages, at, BYTES, node->memory_node + 1);
        assert_int_equal(pages.count, 1200);
        assert_int_equal(pages.elsewhere, 600);
    }
    assert_int_equal(munmap(at, BYTES), 0);
}

static void node_counts_no_page_that_was_never_touched(void **state)
{
    struct node_pages pages = {0};
    (void)state;
    uint8_t *at = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(at, MAP_FAILED);
    node_count_pages(&pages, at, BYTES, 0);
    assert_int_equal(pages.count, 0);
    assert_int_equal(pages.elsewhere, 0);
    assert_int_equal(munmap(at, BYTES), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(node_has_pages_where_they_were_asked_for),
        cmocka_unit_test(node_counts_no_page_that_was_never_touched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
