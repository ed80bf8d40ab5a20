/*
 * node: has memory taken from one NUMA node, and looks where pages are.
 * Ownership: node_enter() changes the calling thread until node_leave(); the two stand in pairs.
 * Threads:   any; each for itself.
 * Units:     NUMA nodes by the operating system's numbers; pages.
 * Errors:    none: where the kernel refuses, the first touch decides, as everywhere.
 *
 * docs/engine/placement.md. Memory is preferred, not bound: a node that is full costs distance, and
 * never the engine's life.
 */
#ifndef ENGINE_NODE_H
#define ENGINE_NODE_H

#include "engine/placement.h"

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NODE_NUMBERS_MAX 1024 /* as the kernel's configuration allows */

/* What node_leave() puts back. */
struct node_stay {
    bool policy;
    bool moved;
    int mode_before;
    unsigned long mask_before[NODE_NUMBERS_MAX / (8 * sizeof(unsigned long))];
    cpu_set_t before;
};

/* Pages that this thread touches first come from the node. Containers often refuse memory policies:
 * then the thread runs on the node's processors without workers meanwhile, if there are any. */
void node_enter(struct node_stay *stay, const struct placement_node *node);
void node_leave(const struct node_stay *stay);

/* The calling thread's stack stays where its pages are, and where it touches more of them. */
void node_keep_stack(void);

struct node_pages {
    uint64_t count; /* 0: the kernel does not say */
    uint64_t elsewhere;
};

/* Adds the pages of [at, at + bytes) that are present, and how many of them are not on the node. */
void node_count_pages(struct node_pages *pages, const void *at, size_t bytes, uint32_t node);

#endif
