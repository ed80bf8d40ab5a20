#include "engine/node.h"

#include "base/assert.h"
#include "base/kept.h"

#include <numaif.h>
#include <pthread.h>
#include <unistd.h>

#define NODE_LONG_BITS (8 * sizeof(unsigned long))
#define NODE_QUERY_MAX 512 /* pages asked about by one call */

void node_enter(struct node_stay *stay, const struct placement_node *node)
{
    unsigned long mask[NODE_NUMBERS_MAX / NODE_LONG_BITS] = {0};
    cpu_set_t cpus;
    *stay = (struct node_stay){0};
    ASSERT(node->memory_node < NODE_NUMBERS_MAX);
    mask[node->memory_node / NODE_LONG_BITS] |= 1UL << node->memory_node % NODE_LONG_BITS;
    stay->policy =
        get_mempolicy(&stay->mode_before, stay->mask_before, NODE_NUMBERS_MAX, NULL, 0) == 0 &&
        set_mempolicy(MPOL_PREFERRED, mask, NODE_NUMBERS_MAX) == 0;
    if (stay->policy || node->keys_elsewhere ||
        sched_getaffinity(0, sizeof(stay->before), &stay->before) != 0)
        return;
    CPU_ZERO(&cpus);
    for (uint32_t i = 0; i < node->keys_count; i++)
        CPU_SET(node->keys[i], &cpus);
    stay->moved = sched_setaffinity(0, sizeof(cpus), &cpus) == 0;
}

void node_leave(const struct node_stay *stay)
{
    if (stay->policy)
        (void)set_mempolicy(stay->mode_before, stay->mask_before, NODE_NUMBERS_MAX);
    if (stay->moved)
        (void)sched_setaffinity(0, sizeof(stay->before), &stay->before);
}

void node_keep_stack(void)
{
    pthread_attr_t attributes;
    void *at;
    size_t bytes;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0)
        return;
    if (pthread_attr_getstack(&attributes, &at, &bytes) == 0)
        kept_stay(at, bytes);
    (void)pthread_attr_destroy(&attributes);
}

void node_count_pages(struct node_pages *pages, const void *at, size_t bytes, uint32_t node)
{
    const uintptr_t page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    void *addresses[NODE_QUERY_MAX];
    int nodes[NODE_QUERY_MAX];
    uintptr_t next = (uintptr_t)at / page_bytes * page_bytes;
    const uintptr_t end = (uintptr_t)at + bytes;
    while (next < end) {
        uint32_t count = 0;
        for (; count < NODE_QUERY_MAX && next < end; next += page_bytes)
            addresses[count++] = (void *)next;
        if (move_pages(0, count, addresses, NULL, nodes, 0) != 0)
            return;
        for (uint32_t i = 0; i < count; i++) {
            pages->count += nodes[i] >= 0;
            pages->elsewhere += nodes[i] >= 0 && (uint32_t)nodes[i] != node;
        }
    }
}
