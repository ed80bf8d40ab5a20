/*
 * attachment: the inside of a struct bulla: the client's end of a session, a submitter's or one of
 *            a collector's.
 * Ownership: attach.c makes and frees it; the others work on it.
 * Threads:   one at a time.
 * Units:     slots; bytes from the start of a memfd for offsets.
 * Errors:    as bulla.h says.
 */
#ifndef MTA_ATTACHMENT_H
#define MTA_ATTACHMENT_H

#include "ipc/arena.h"
#include "ipc/geometry.h"
#include "ipc/lane.h"
#include "ipc/memfd.h"
#include "mta/bulla.h"

#include <stdbool.h>
#include <stdint.h>

#define ATTACH_SLOTS_DEFAULT       256
#define ATTACH_INPUT_BYTES_DEFAULT (64 * 1024 * 1024)
#define ATTACH_SPIN_US_DEFAULT     50
#define ATTACH_SPIN_US_MAX         UINT32_C(1000000)
#define ATTACH_TIMEOUT_MS_DEFAULT  UINT32_C(10000) /* for the engine to answer the hello */

/* Where one message stands. */
enum message_state {
    MESSAGE_NONE,      /* the entry is free                                        */
    MESSAGE_RESERVED,  /* the caller writes its bytes                              */
    MESSAGE_SUBMITTED, /* the engine reads them                                    */
    MESSAGE_COMPLETED, /* the caller reads the engine's; then bulla_release()      */
};

struct message {
    void *user;
    uint64_t space_offset; /* in our memfd */
    uint64_t space_bytes;
    uint64_t mail_offset; /* in our memfd */
    uint32_t meta_bytes;
    uint32_t mail_bytes;
    uint32_t flags;
    uint32_t generation;       /* the id's upper half: an old id is not a new message's */
    uint32_t completion_index; /* in the engine's ring, when completed                  */
    enum message_state state;
    char text[IPC_TEXT_BYTES_MAX + 1];
};

struct bulla {
    enum ipc_kind kind;
    uint32_t worker_wanted; /* a collector's */
    uint32_t workers_count; /* of the engine */
    int socket_fd;
    int doorbell;
    bool gone;      /* the engine hung up or broke the contract               */
    bool fd_wanted; /* bulla_fd() was called: the engine is to ring the socket */
    bool armed;     /* asleep is set in our page                              */
    uint32_t spin_us_max;
    uint32_t spin_us; /* the next wait's, between 1 and spin_us_max           */
    uint32_t empty_polls_count;
    struct ipc_page *own;
    const struct ipc_page *peer;
    struct lane_writer submissions;
    struct lane_reader completions;
    uint32_t head_given;     /* completions below it were given back            */
    uint64_t *released;      /* bit per ring slot: released, not yet given back  */
    struct message *message; /* a submitter's: slots_count                     */
    uint32_t *free_indices;  /* of `message`, a stack                           */
    uint32_t free_count;
    uint32_t reserved_count; /* reservations that have no slot yet */
    struct arena arena;
    struct geometry client;
    struct geometry engine;
    struct memfd client_memfd;
    struct memfd engine_memfd;
};

/* bulla_attach() of this kind; bulla_detach() ends it. */
MUST_USE int attachment_open(struct bulla **bulla, const struct bulla_config *config,
                             enum ipc_kind kind, uint32_t worker_wanted);

/* Takes what came on the socket: wake-ups are dropped, a hang-up sets `gone`. */
void attachment_drain(struct bulla *bulla);
/* Wakes the engine. */
void attachment_ring(const struct bulla *bulla);

/* poll_hot.c: completions to take; 0 and `gone` when the engine's tail cannot be. */
uint32_t attachment_waiting(struct bulla *bulla);
/* The engine is to ring the socket after each completion, or need not any more. */
void attachment_arm(struct bulla *bulla);
void attachment_disarm(struct bulla *bulla);
/* The spans of a checked slot; false when one lies outside the engine's memory, or the sum is not
 * mail_bytes. */
MUST_USE bool attachment_spans(const struct bulla *bulla, const struct ipc_completion *slot,
                               struct iovec spans[BULLA_SPANS_MAX]);
/* 32 digits and NUL. */
void attachment_id_text(const uint8_t id[16], char text[33]);

/* submit_hot.c: hands over a slot; -EAGAIN the engine has not looked yet, -EPIPE it is gone. */
MUST_USE int attachment_submit(struct bulla *bulla, const struct ipc_submission *slot);
/* The completion at this index of the ring is done with. */
void attachment_give_back(struct bulla *bulla, uint32_t completion_index);

#endif
