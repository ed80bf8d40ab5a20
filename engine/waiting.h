/*
 * waiting: one worker's mail that waits: stored, registered, emitted, or come to its end.
 * Ownership: waiting_open() takes memory that grows as it is touched; waiting_close() gives it
 *            back. A mail's bytes are borrowed from waiting_put_burst() until ops.put_ended().
 * Threads:   the worker's.
 * Units:     messages; bytes; unix milliseconds for ends, monotonic nanoseconds for pauses.
 * Errors:    open gives -errno with a sentence in `why`; what befalls one message is its own.
 *
 * docs/queue/spool.md has the states. Bodies are never in memory while they wait: what is emitted
 * is read into the collector's arena, what needs a notification into a buffer for a few of them.
 */
#ifndef ENGINE_WAITING_H
#define ENGINE_WAITING_H

#include "base/macros.h"
#include "crypto/core.h"
#include "engine/config.h"
#include "envelope/id.h"
#include "ipc/meta.h"
#include "queue/spool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WAITING_WHY_BYTES      512
#define WAITING_ASKS_MAX       256 /* key records on their way to key services */
#define WAITING_COLLECTORS_MAX 16  /* of one worker, those that end included   */

enum waiting_state {
    WAITING_FREE,
    WAITING_STORING,     /* in the log's buffers; its client is not answered yet        */
    WAITING_KEY,         /* on disk; its key is not stored at the key service           */
    WAITING_REGISTERING, /* its key is on the way there                                 */
    WAITING_READY,       /* its key is stored, or it needs none; wants a collector      */
    WAITING_EMITTING,    /* a collector has it                                          */
    WAITING_ENDING,      /* a notification is being made, or its record being forgotten */
    WAITING_LOST,        /* damaged, so that nobody can be told: kept for a person       */
};
#define WAITING_STATES 8

struct channel;
struct key_request;
struct snapshot;

/* What the worker does for its waiting mail. */
struct waiting_ops {
    bool (*key_up)(void *user, uint32_t key_service);
    /* Never without room: WAITING_ASKS_MAX at most are out, over all services. Answered by
     * waiting_take_verdict(). */
    void (*ask)(void *user, uint32_t key_service, const struct key_request *request);
    /* The newest. */
    const struct snapshot *(*snapshot)(void *user);
    /* Of a waiting_put(): 0 when it is durable, or why it was not kept. False: nobody is there any
     * more who may be told that it was: it is forgotten again. */
    bool (*put_ended)(void *user, uint32_t job_index, int error);
    /* A collector did what it may not: its session ends. */
    void (*broken)(void *user, uint32_t session);
};

struct waiting_config {
    struct disk *disk; /* becomes the waiting's: closed with it */
    uint32_t lane;
    uint32_t lanes_count;
    uint64_t segment_bytes;
    uint64_t bytes_max;
    uint8_t *buffers; /* the log's, in the disk's memory */
    size_t buffers_bytes;
    const uint8_t *key; /* SPOOL_KEY_BYTES; secret, borrowed for as long as it is open */
    struct crypto_core *core;
    uint32_t key_services_count;
    const char *key_names[CONFIG_KEY_SERVICES_MAX];
    uint64_t ask_ns; /* a key record waits so long at its key client */
    uint64_t now_ns;
    uint64_t now_unix_ns;
    const struct waiting_ops *ops;
    void *user;
};

struct waiting;

/* What it takes in secret pages. */
size_t waiting_secret_bytes(void);
/* Recovers what waits; blocks. Borrows the names. */
MUST_USE int waiting_open(struct waiting **waiting, const struct waiting_config *config,
                          char why[WAITING_WHY_BYTES]);
/* Waits, for seconds at the most, until the disk has nothing of ours. False: the disk may still use
 * the memory it was given, which must stay. NULL is harmless. */
MUST_USE bool waiting_close(struct waiting *waiting);

/* A sealed mail and its key record, which is sealed by the call, and need not stay. */
struct waiting_mail {
    const struct id *id;
    uint64_t arrived_unix_ms;
    uint64_t end_unix_ms; /* 0: none */
    const uint8_t *record;
    uint32_t record_bytes;
    uint32_t key_service;
    bool notify;   /* notice_due() */
    uint8_t *head; /* waiting_head_bytes_max() of room, borrowed like the spans */
    size_t head_room;
    const struct spool_span *spans;
    uint32_t spans_count;
};
size_t waiting_head_bytes_max(uint32_t record_bytes);

/* One at least of a burst; how many were taken. Those behind wait: run first. Each of the taken
 * ends by ops.put_ended() with its job's index. */
HOT uint32_t waiting_put_burst(struct waiting *waiting, const struct waiting_mail *mails,
                               const uint32_t *job_indexes, uint32_t count);

/* What key_request.job_index was given to ops.ask(); `status` is enum key_result_status. */
void waiting_take_verdict(struct waiting *waiting, uint32_t index, uint32_t status);

/* One pass: what the disk has done, what may be registered, emitted, ended; `budget` bounds how
 * much of the latter is begun and read, in mails: with 0 nothing is. How much was done. */
uint32_t waiting_run(struct waiting *waiting, uint64_t now_ns, uint64_t now_unix_ns,
                     uint32_t budget);
/* Nothing new is registered, emitted or ended from now on; what is under way comes to its end. */
void waiting_drain(struct waiting *waiting);
/* Nothing whose end anybody should wait for is at the disk or at a collector. */
bool waiting_is_quiet(const struct waiting *waiting);

/* Around a sleep: the disk's doorbell rings while armed. -1: there is none. */
int waiting_doorbell(const struct waiting *waiting);
void waiting_arm(struct waiting *waiting, bool armed);
/* False: something is at the disk, and nothing will ring. */
bool waiting_may_sleep(const struct waiting *waiting);

/* Collectors. False: WAITING_COLLECTORS_MAX are there. */
bool waiting_collector_add(struct waiting *waiting, uint32_t session, struct channel *channel);
/* Its session ends. What it has not said to be done is emitted again, to another. */
void waiting_collector_end(struct waiting *waiting, uint32_t session);
/* No read into its arena is under way any more: its channel may be closed. */
bool waiting_collector_gone(struct waiting *waiting, uint32_t session);
/* Takes releases and what the collector says is done; how many. */
uint32_t waiting_collector_serve(struct waiting *waiting, uint32_t session);
/* False: what it says now stays in its ring until something else was done. */
bool waiting_collector_takes(const struct waiting *waiting, uint32_t session);

struct waiting_counts {
    uint64_t states[WAITING_STATES]; /* now, by state           */
    uint64_t held;                   /* of these                */
    uint64_t queued;                 /* ever, this run: stored  */
    uint64_t recovered;
    uint64_t refused; /* no room, or the disk failed */
    uint64_t registered;
    uint64_t emitted; /* sent on            */
    uint64_t emitted_again;
    uint64_t later;   /* tries that the next hop put off             */
    uint64_t expired; /* ended without being sent, whyever            */
    uint64_t notified;
    uint64_t damaged;
};
const struct waiting_counts *waiting_counts(const struct waiting *waiting);
void waiting_spool_stats(const struct waiting *waiting, struct spool_stats *stats);
/* spool_counts() */
HOT void waiting_spool_counts(const struct waiting *waiting, struct spool_stats *stats);
const char *waiting_state_name(enum waiting_state state);

/*
 * For `bulla queue`, on the worker's thread, by an errand of control's. All of them take a worker
 * without a spool: nothing waits there.
 */
struct worker;

/* What is shown of a message; waiting_show() reads its addresses. */
struct waiting_item {
    struct id id;
    enum waiting_state state;
    bool held;
    bool notification; /* not a mail: it tells a sender of a failure */
    uint8_t tries;     /* of emitting it */
    uint32_t pause_s;  /* until it is tried again; 0: it does not pause */
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
 * that *done is no longer -EINPROGRESS. They must live until then. -EBUSY: ask again. */
MUST_USE int waiting_show(struct worker *worker, const struct id *id, uint8_t *meta_bytes_at,
                          uint32_t *bytes, int *done);

/* 0 when it will be so, durably, soon; -ENOENT; -EBUSY: it is with a collector or the disk now, try
 * again. A held message is not tried and has no end; `remove` tells nobody. */
MUST_USE int waiting_hold(struct worker *worker, const struct id *id);
MUST_USE int waiting_release(struct worker *worker, const struct id *id);
MUST_USE int waiting_remove(struct worker *worker, const struct id *id);
/* All that pauses after a try is tried now; how many. */
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
    uint64_t oldest_unix_ms; /* arrival, of those that are next; 0: nothing waits */
};
void waiting_stats(const struct worker *worker, struct waiting_stats *stats);

#endif
