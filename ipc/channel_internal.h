/*
 * channel_internal: what channel_open.c makes and channel_hot.c works on.
 * Ownership: as ipc/channel.h says.
 * Threads:   as ipc/channel.h says.
 * Units:     slots; bytes from the start of the memfd.
 * Errors:    none here.
 */
#ifndef IPC_CHANNEL_INTERNAL_H
#define IPC_CHANNEL_INTERNAL_H

#include "ipc/arena.h"
#include "ipc/channel.h"
#include "ipc/geometry.h"
#include "ipc/lane.h"
#include "ipc/memfd.h"

/* A message may hold a few ranges while it is built; one of them goes with its completion. */
#define CHANNEL_EXTENTS_PER_SLOT 4
#define CHANNEL_HALVES           2

/* What one unreleased completion holds. */
struct channel_held {
    uint64_t space_offset; /* in our memfd */
    uint64_t space_bytes;  /* 0: none                      */
    bool halves[CHANNEL_HALVES];
};

struct channel {
    size_t mapped_bytes; /* of this and `held` */
    struct lane_reader submissions;
    struct lane_writer completions;
    struct ipc_page *own;
    const struct ipc_page *peer;
    const uint8_t *client_at;
    uint8_t *engine_at;
    struct geometry client;
    struct geometry engine;
    struct arena arena;
    struct channel_held *held;          /* by completion index & mask                       */
    uint32_t half_refs[CHANNEL_HALVES]; /* unreleased completions pointing there    */
    uint32_t half_current;              /* CHANNEL_HALVES: none written yet         */
    uint32_t ahead_end;                 /* first submission that was not copied ahead */
    bool space_wanted;                  /* something waits for the client's release */
    bool collector;
    uint32_t emissions_open; /* a collector's: emitted, and no DONE was taken for them */
    enum channel_fault fault;
    int socket_fd;
    int doorbell;
    struct memfd client_memfd;
    struct memfd engine_memfd;
    struct ipc_submission ahead[CHANNEL_AHEAD_MAX]; /* by submission index % CHANNEL_AHEAD_MAX */
};

static inline uint64_t channel_half_bytes(const struct channel *channel)
{
    return channel->engine.constants_bytes / CHANNEL_HALVES;
}

#endif
