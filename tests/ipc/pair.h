/*
 * pair: the engine's channel and the memory of its client, which does what the test writes there.
 * Ownership: pair_up() makes `*state`, pair_down() ends it.
 * Threads:   one.
 * Units:     bytes and slots as in ipc/layout.h.
 * Errors:    -1, as a cmocka set-up gives it.
 */
#ifndef TESTS_IPC_PAIR_H
#define TESTS_IPC_PAIR_H

#include "ipc/channel.h"
#include "ipc/geometry.h"
#include "ipc/memfd.h"

#include <stdint.h>

#define PAIR_SLOTS       8
#define PAIR_ARENA_BYTES (1024 * 1024)

struct pair {
    struct channel *channel;
    struct ipc_page *page;       /* the client's */
    const struct ipc_page *peer; /* the engine's, as the client maps it */
    const uint8_t *peer_at;
    struct geometry client;
    struct memfd memory;
    int ends[2];
};

int pair_up(void **state, uint32_t kind, uint64_t constants_bytes);
int pair_up_slots(void **state, uint32_t kind, uint64_t constants_bytes, uint32_t slots_count);
int pair_down(void **state);
/* Writes a slot and moves the client's tail by one. */
void pair_submit(struct pair *pair, const struct ipc_submission *slot);

#endif
