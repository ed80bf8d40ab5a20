/*
 * waiting: mail that one worker's engine has taken over, from QUEUED to its last hand-over.
 * Ownership: waiting_open() makes table, disk and log; waiting_close() frees them. What waits
 *            stands on disk; in memory there is an entry of WAITING_ENTRY_BYTES for each.
 * Threads:   its worker, all of it.
 * Units:     unix milliseconds for what is on disk; bytes; messages by envelope id.
 * Errors:    open gives -errno with a sentence in `why`. Later ones cost a counter and a state,
 *            never a message: docs/queue/spool.md has the states.
 */
#ifndef ENGINE_WAITING_H
#define ENGINE_WAITING_H

#include "base/macros.h"
#include "engine/spool_key.h"
#include "envelope/id.h"
#include "ipc/meta.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WAITING_ENTRIES_MAX (UINT32_C(1) << 22) /* of one worker */
#define WAITING_ENTRY_BYTES 512                 /* at most, with all that is found by it */
#define WAITING_WHY_BYTES   512
#define WAITING_ITEMS_MAX   256 /* a list's page */

struct worker;
struct waiting;
struct client;
struct job;
struct ipc_submission;

struct waiting_config {
    const char *folder;
    const uint8_t *key;   /* SPOOL_KEY_BYTES; copied into secret pages */
    uint32_t lane;        /* the worker's index                        */
    uint32_t lanes_count; /* workers                                   */
    uint64_t bytes_max;   /* of this lane's segments                   */
    uint64_t segment_bytes;
    bool allow_io_uring;
};

enum waiting_state {
    WAITING_FREE,
    WAITING_STORING,     /* in the log's buffers; its client has not been answered      */
    WAITING_KEY,         /* waits for the key service                                    */
    WAITING_OPENING,     /* its head is being read                                       */
    WAITING_REGISTERING, /* its key record is at the key thread                          */
    WAITING_READY,       /* the key is stored: waits for a collector                     */
    WAITING_FETCHING,    /* is read into a collector's arena                             */
    WAITING_EMITTING,    /* a collector has it                                           */
    WAITING_LATER,       /* a collector gave it back; waits for its next try             */
    WAITING_RECALLING,   /* its head is read for a notification                          */
    WAITING_NOTIFYING,   /* its notification is in the log's buffers                     */
    WAITING_FORGETTING,  /* its done record is in the log's buffers                      */
    WAITING_DAMAGED,     /* cannot be read any more: kept, for an administrator          */
};
#define WAITING_STATES 13
const char *waiting_state_name(enum waiting_state state);

/* What `bulla queue` shows of a message; addresses are read by waiting_show(). */
struct waiting_item {
    struct id id;
    enum waiting_state state;
    bool held;
    bool notification; /* not a mail: it tells a sender of a failure */
    uint8_t tries;     /* of emitting it */
    uint32_t body_bytes;
    uint32_t key_service; /* index into the configuration's */
    uint64_t arrived_unix_ms;
    uint64_t end_unix_ms; /* 0: none */
    uint32_t cursor;      /* for the page after this one */
};

/* Items after `cursor` (0: from the first), in no order of time; how many, 0 at the end. */
uint32_t waiting_list(const struct worker *worker, uint32_t cursor, struct waiting_item *items,
                      uint32_t items_max);
/* -ENOENT: nothing waits under this id. */
MUST_USE int waiting_find(const struct worker *worker, const struct id *id,
                          struct waiting_item *item);
/* Reads the addresses: fills `meta_bytes_at` (IPC_META_BYTES_MAX room) and sets *bytes by the time
 * that *done is no longer -EINPROGRESS. The two must live until then. -EBUSY: ask again. */
MUST_USE int waiting_show(struct worker *worker, const struct id *id, uint8_t *meta_bytes_at,
                          uint32_t *bytes, int *done);

/* 0 when it will be so, durably, soon; -ENOENT; -EBUSY: it is with a collector or the disk now, try
 * again. A held message is not tried and has no end; `remove` tells nobody. */
MUST_USE int waiting_hold(struct worker *worker, const struct id *id);
MUST_USE int waiting_release(struct worker *worker, const struct id *id);
MUST_USE int waiting_remove(struct worker *worker, const struct id *id);
/* All that waits for its next try is tried now; how many. */
uint32_t waiting_flush(struct worker *worker);

struct waiting_stats {
    uint64_t counts[WAITING_STATES]; /* messages now, by state */
    uint64_t held;
    uint64_t bytes_live; /* on disk */
    uint64_t segments;
    uint64_t segments_free;
    uint64_t segments_bad;
    uint64_t damaged;
    uint64_t failed;         /* writes and syncs */
    uint64_t oldest_unix_ms; /* arrival; 0: nothing waits */
};
/* NULL worker->waiting: zeros. */
void waiting_stats(const struct worker *worker, struct waiting_stats *stats);

/* For the worker. */
MUST_USE int waiting_open(struct worker *worker, const struct waiting_config *config,
                          char why[WAITING_WHY_BYTES]);
void waiting_close(struct worker *worker); /* NULL worker->waiting is harmless */

/* Takes a sealed job over; false: the log is busy, try again in the next pass. The job is answered
 * by VERDICT_QUEUED or VERDICT_SPOOL_FAILED. */
HOT bool waiting_put(struct worker *worker, struct job *job);
/* One pass over what the disk, the clock and collectors have to say; how much was done. */
HOT uint32_t waiting_pass(struct worker *worker);
/* The key thread's word on a waiting message's record. */
HOT void waiting_verdict(struct worker *worker, uint32_t index, uint32_t key_service,
                         uint32_t status);
/* A collector's DONE; false: it named an emission that is not open there, end the session. */
HOT bool waiting_done(struct worker *worker, const struct client *client,
                      const struct ipc_submission *submission);
/* What a collector that has gone had in hand is the next one's. */
void waiting_collector_gone(struct worker *worker, const struct client *client);
/* Something is under way: disk, or emissions that have no DONE yet. */
bool waiting_busy(const struct worker *worker);
/* Around a sleep: how long at the most; the disk's doorbell is armed. */
uint64_t waiting_sleep_ns(struct worker *worker);
void waiting_awake(struct worker *worker);

#endif
