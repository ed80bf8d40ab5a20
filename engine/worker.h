/*
 * worker: one pinned thread that seals: takes submissions of its clients, gives completions.
 * Ownership: worker_open() takes memory of the worker's node from EAL, which eal_close() frees;
 *            channels stay control's, and are the worker's between ADOPT and RELEASED.
 * Threads:   open, start and close by the main thread; worker_run() on the worker's lcore; tell and
 *            hear by control; wake and count by any.
 * Units:     jobs; nanoseconds; bytes.
 * Errors:    -errno; a client that breaks the contract costs a notice, never the worker.
 *
 * docs/engine/data-path.md. Control changes a worker by orders alone, over a ring of its own.
 */
#ifndef ENGINE_WORKER_H
#define ENGINE_WORKER_H

#include "base/macros.h"
#include "engine/config.h"
#include "engine/snapshot.h"
#include "ipc/channel.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORKER_CLIENTS_MAX 256
#define WORKER_WHY_BYTES   512

struct worker;
struct errand;
struct key_thread;

struct worker_config {
    uint32_t index;
    uint32_t node;
    uint32_t jobs_count;
    uint32_t key_services_count;
    struct key_thread *keys[CONFIG_KEY_SERVICES_MAX]; /* of the worker's node */
    const struct snapshot *snapshot;
    uint64_t key_wait_ns;
    uint64_t spin_ns_max;
    bool busy_poll;
    bool allow_io_uring;
    int notice_eventfd; /* rung when there is something to hear */
    const char *spool;  /* folder; NULL: none. These three are the engine's, and stay */
    const uint8_t *spool_key;
    const char *key_names[CONFIG_KEY_SERVICES_MAX];
    uint32_t workers_count;
    uint64_t spool_bytes; /* of this worker's segments */
    uint64_t spool_segment_bytes;
};

/* What one worker takes of its node, for eal_config.node_bytes. */
size_t worker_memory_bytes(const struct worker_config *config);
/* What it takes in secret pages besides, which should be locked. */
size_t worker_secret_bytes(const struct worker_config *config);
MUST_USE int worker_open(struct worker **worker, const struct worker_config *config,
                         char why[WORKER_WHY_BYTES]);
/* As rte_eal_remote_launch() wants it; returns 0 after WORKER_STOP, else -errno. */
int worker_run(void *worker);
/* -EINPROGRESS until worker_run() serves or has failed. */
MUST_USE int worker_ready(const struct worker *worker);
/* Why it failed; "" for no more than its -errno. */
const char *worker_why(const struct worker *worker);
/* After worker_run() has returned and the key threads are closed. */
void worker_close(struct worker *worker);

enum worker_order_kind {
    WORKER_ADOPT,    /* channel, session                                            */
    WORKER_DROP,     /* session: its client has gone; answered by NOTICE_RELEASED   */
    WORKER_SNAPSHOT, /* snapshot: adopted by each client as soon as it can          */
    WORKER_EVICT,    /* generation: sessions that need it, or an older one, are broken */
    WORKER_ERRAND,   /* errand: one at a time; answered by NOTICE_ERRAND            */
    WORKER_DRAIN,    /* take nothing more; answered by NOTICE_DRAINED               */
    WORKER_STOP,
};

struct worker_order {
    enum worker_order_kind kind;
    uint32_t session;
    struct channel *channel;
    const struct snapshot *snapshot;
    struct errand *errand; /* the worker's until it is answered */
    uint64_t generation;
};

enum worker_notice_kind {
    NOTICE_BROKEN,   /* session: its client broke the contract; drop it             */
    NOTICE_RELEASED, /* session: its channel may be closed                          */
    NOTICE_ERRAND,   /* the errand is done                                          */
    NOTICE_DRAINED,  /* nothing is under way any more                               */
};

/* Why a session must end. */
enum worker_fault {
    WORKER_FAULT_NONE,
    WORKER_FAULT_INDEX,
    WORKER_FAULT_SUBMISSION,
    WORKER_FAULT_DOORBELL,
    WORKER_FAULT_CONSTANTS,
    WORKER_FAULT_SNAPSHOT,
};
#define WORKER_FAULTS 6

struct worker_notice {
    enum worker_notice_kind kind;
    uint32_t session;
    enum worker_fault fault; /* with NOTICE_BROKEN */
};

/* "it moved an index further than its ring holds". */
const char *worker_fault_words(enum worker_fault fault);

/* False when WORKER_ORDERS_MAX are waiting: try again. */
bool worker_tell(struct worker *worker, const struct worker_order *order);
uint32_t worker_hear(struct worker *worker, struct worker_notice *notices, uint32_t notices_max);
void worker_wake(struct worker *worker);

/* A client or job of this worker needs the snapshot, or may still be told of it. */
bool worker_uses(const struct worker *worker, const struct snapshot *snapshot);

enum worker_counter {
    COUNTER_SEALED,
    COUNTER_REFUSED,
    COUNTER_RETRIED,
    COUNTER_MAIL_BYTES,   /* of originals that were sealed     */
    COUNTER_SEALED_BYTES, /* of sealed mails                   */
    COUNTER_VECTORS,
    COUNTER_SLICES,        /* of large messages, after the first */
    COUNTER_ROOM_WAITS,    /* tries that found no room          */
    COUNTER_KEY_CONFLICTS, /* sealed anew                       */
    COUNTER_SIZE_WARNINGS, /* sealed, and over size_warning     */
    COUNTER_SLEEPS,
    COUNTER_TURNS,   /* of the loop                               */
    COUNTER_BROKEN,  /* clients that broke the contract           */
    COUNTER_JOBS,    /* under way now                             */
    COUNTER_CLIENTS, /* now                                       */
    COUNTER_BUSY_NS, /* in turns of the loop that did something   */
    COUNTER_QUEUED,  /* taken over: answered QUEUED               */
    COUNTER_RECOVERED,
    COUNTER_WAITING, /* in the spool now                          */
    COUNTER_READY,   /* of them, for a collector                  */
    COUNTER_HELD,    /* of them                                   */
    COUNTER_EMITTED, /* sent on                                   */
    COUNTER_EMITTED_AGAIN,
    COUNTER_EXPIRED,  /* ended unsent                             */
    COUNTER_NOTIFIED, /* notifications sent on                    */
    COUNTER_SPOOL_FAILURES,
    COUNTER_SPOOL_DAMAGED,
    COUNTER_SPOOL_BYTES, /* of live records                       */
    COUNTER_SPOOL_COMMITS,
};
#define WORKER_COUNTERS 29

const char *worker_counter_name(enum worker_counter counter);
uint64_t worker_counter(const struct worker *worker, enum worker_counter counter);
/* Bytes of the largest message over its profile's size_warning since the last call; 0: none. */
uint32_t worker_take_large(struct worker *worker);
/* Monotonic time at which the loop last turned: at most a second ago, or something is wrong. */
uint64_t worker_beat_ns(const struct worker *worker);
uint32_t worker_index(const struct worker *worker);

#endif
