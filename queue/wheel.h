/*
 * wheel: what ends when: a hierarchical timing wheel over the seconds of the wall clock.
 * Ownership: borrows the caller's array of nodes, which is zero at first; it must not move.
 * Threads:   one.
 * Units:     unix seconds, any 64-bit number of them; nodes by index.
 * Errors:    none; adding a node twice or removing one that is not in is a bug.
 *
 * docs/queue/wheel.md. The wall clock may step: forward by years at bounded work, and back, after
 * which nothing is given before the clock says so again.
 */
#ifndef QUEUE_WHEEL_H
#define QUEUE_WHEEL_H

#include "base/macros.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define WHEEL_SLOT_BITS   6
#define WHEEL_SLOTS       64 /* a level */
#define WHEEL_LEVELS      11 /* 11 × 6 bits: there is no end that does not fit */
#define WHEEL_LISTS       (WHEEL_LEVELS * WHEEL_SLOTS + 1)
#define WHEEL_NODES_MAX   ((uint32_t)1 << 31)
#define WHEEL_STEP_BACK_S 2 /* a step back of no more is waited out */
#define WHEEL_NEVER       UINT64_MAX

/* Neighbours in a ring of nodes and the one list that they are in. */
struct wheel_link {
    uint32_t next;
    uint32_t prev;
};

/* All zero: in no wheel. Private but for its size. */
struct wheel_node {
    uint64_t end_s;
    struct wheel_link link;
};
_Static_assert(sizeof(struct wheel_node) == 16, "a million of them wait");

struct wheel {
    struct wheel_node *nodes;
    uint32_t nodes_max;
    uint32_t nodes_count; /* in the wheel now */
    uint64_t now_s;       /* the slots are as seen from here */
    uint64_t occupied[WHEEL_LEVELS];
    struct wheel_link lists[WHEEL_LISTS]; /* slots, then the loose ones, which have none yet */
};

void wheel_init(struct wheel *wheel, struct wheel_node *nodes, uint32_t nodes_max, uint64_t now_s);

/* An end that has passed is given by the next wheel_advance(). */
void wheel_add(struct wheel *wheel, uint32_t node_index, uint64_t end_s);
void wheel_remove(struct wheel *wheel, uint32_t node_index);
void wheel_move(struct wheel *wheel, uint32_t node_index, uint64_t end_s);
bool wheel_has(const struct wheel *wheel, uint32_t node_index);
/* Of a node that is in. */
uint64_t wheel_end_s(const struct wheel *wheel, uint32_t node_index);

/* Takes out nodes whose end is now_s or before, in no order, and writes their indices to `ended`,
 * which has room for nodes_max. Touches nodes_max nodes at most, so there may be more to do:
 * wheel_next_s() tells. */
uint32_t wheel_advance(struct wheel *wheel, uint64_t now_s, uint32_t *ended, uint32_t nodes_max);

/* When wheel_advance() has something to do: 0 for at once, and never after the first end, but by
 * WHEEL_STEP_BACK_S + 1 seconds after a short step back. */
uint64_t wheel_next_s(const struct wheel *wheel);

/* Every list, bit and count agrees with every other. Looks at each node. */
bool wheel_validate(const struct wheel *wheel);
/* For a person: now, counts, and each slot that is in use with its first ends. */
void wheel_dump(const struct wheel *wheel, FILE *to);

#endif
