/*
 * raw_client: a client that says and writes whatever a test wants, right or wrong.
 * Ownership: raw_client_open() connects and shakes hands; the opener closes.
 * Threads:   one.
 * Units:     bytes and slots as in ipc/layout.h.
 * Errors:    -errno; a positive value is the errno that the engine declined with; -EPIPE it hung
 *            up.
 */
#ifndef TESTS_IPC_RAW_CLIENT_H
#define TESTS_IPC_RAW_CLIENT_H

#include "ipc/geometry.h"
#include "ipc/layout.h"

#include <stdbool.h>
#include <stdint.h>

#define RAW_FDS_MAX 12

/* What differs from an honest hello. */
struct raw_hello {
    const char *path;
    uint32_t slots_count; /* 0: 8 */
    uint64_t arena_bytes; /* 0: the least */
    int seals;            /* -1: all of them */
    int64_t size_delta;   /* of the memory against what the hello says */
    bool sparse;          /* not allocated: holes */
    uint32_t memfds_count;
    bool no_memfd;
    bool pipe_instead;
    uint32_t hello_bytes; /* 0: sizeof(struct ipc_hello) */
    /* Called on the hello before it is sent, if not NULL. */
    void (*edit)(struct ipc_hello *hello, uint64_t argument);
    uint64_t argument;
};

struct raw_client {
    int socket_fd;
    int doorbell;
    struct geometry geometry;
    struct ipc_page *page;       /* ours */
    uint8_t *at;                 /* our memory */
    const struct ipc_page *peer; /* the engine's */
    uint64_t peer_bytes;
};

int raw_client_open(struct raw_client *client, const struct raw_hello *hello);
void raw_client_close(struct raw_client *client);

/* Writes a slot, moves the tail by one and rings. */
void raw_client_submit(struct raw_client *client, const struct ipc_submission *submission);
/* A submission that an honest client could send: meta and 10 bytes of mail. */
struct ipc_submission raw_client_honest(struct raw_client *client);
void raw_client_ring(const struct raw_client *client);
/* Waits for the engine to hang up; false when it did not within many seconds. */
bool raw_client_is_thrown_out(const struct raw_client *client);

#endif
