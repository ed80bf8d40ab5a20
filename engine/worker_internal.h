/*
 * worker_internal: what a worker is made of, for the files that share its loop.
 * Ownership: as engine/worker.h says.
 * Threads:   the worker, but for the rings and the atomics.
 * Units:     as engine/worker.h says.
 * Errors:    none here.
 */
#ifndef ENGINE_WORKER_INTERNAL_H
#define ENGINE_WORKER_INTERNAL_H

#include "crypto/base64.h"
#include "crypto/cobblestone.h"
#include "crypto/core.h"
#include "engine/errand.h"
#include "engine/job.h"
#include "engine/key_link.h"
#include "engine/key_thread.h"
#include "engine/options.h"
#include "engine/waiting.h"
#include "engine/worker.h"
#include "envelope/frame.h"
#include "ipc/channel.h"
#include "ipc/meta.h"
#include "keyservice/record.h"
#include "queue/wait.h"

#include <stdatomic.h>

#define WORKER_VECTOR_MAX       32
#define WORKER_SLOT_BITS        8
#define WORKER_LARGE_MAX        32 /* large messages being sealed at once       */
#define WORKER_SEALERS          (WORKER_VECTOR_MAX + WORKER_LARGE_MAX)
#define WORKER_ORDERS_MAX       1024
#define WORKER_NOTICES_MAX      1024 /* two a session fit at once                 */
#define WORKER_RECORD_BYTES     512  /* a job's own slot; more recipients: large  */
#define WORKER_RECORDS_LARGE    64
#define WORKER_STAGE_BYTES      (1024 * 1024) /* a vector's private copies         */
#define WORKER_VECTOR_BYTES     (256 * 1024)  /* of copies end a vector: all in it wait for all */
#define WORKER_ANSWERS_MAX      32            /* of one client's that waited, a pass */
#define WORKER_WAITING_MAX      32  /* messages of one client that wait for its releases */
#define WORKER_SHARE_MIN        32  /* jobs that a client may have at least       */
#define WORKER_VERDICTS_MAX     512 /* of one key thread, a pass         */
#define WORKER_SPAN_TABLE_BYTES 64
/* A slice while small mail comes: as long as its latest vector took, about, and no shorter. */
#define WORKER_SLICE_BYTES     (16 * 1024)
#define WORKER_SLICE_A_MESSAGE (8 * 1024)
#define WORKER_LATELY_NS       NS_PER_MS
#define WORKER_UNIX_NS         NS_PER_MS /* between two looks at the wall clock */
#define WORKER_SPANS           5
#define WORKER_FETCH_MAX       4        /* of what was taken, fetched while keys are derived */
#define WORKER_AWAY_NS         NS_PER_S /* a service away for so long is known to be away   */
#define WORKER_QUEUE_WAIT_NS   (2 * NS_PER_S) /* for a key, when the mail may go to the spool     */
#define WORKER_SPOOL_BUDGET    8              /* what of the spool is begun a pass ...            */
#define WORKER_SPOOL_SHARE     1              /* ... and while new mail came lately               */
#define WORKER_SPOOL_LATELY_NS (10 * NS_PER_MS)
#define WORKER_LET_IN_NS       (500 * NS_PER_US) /* between two yields to the disk's kernel threads */

_Static_assert(WORKER_SPANS * sizeof(struct ipc_span) <= WORKER_SPAN_TABLE_BYTES, "the table fits");
_Static_assert(WORKER_VECTOR_MAX <= CHANNEL_AHEAD_MAX, "a vector can be looked at ahead");
_Static_assert(WORKER_NOTICES_MAX > 2 * WORKER_CLIENTS_MAX, "a notice always finds room");
_Static_assert(WORKER_STAGE_BYTES >= 2 * (SEALER_SLICE_BYTES + IPC_META_BYTES_MAX), "one fits");

enum client_state {
    CLIENT_FREE,
    CLIENT_LIVE,
    CLIENT_BROKEN, /* control was told; nothing more is taken or answered       */
    CLIENT_ENDING, /* dropped by control; released when its last job is free    */
};

/* A session as its worker sees it. */
struct client {
    enum client_state state;
    uint32_t session;
    struct channel *channel;
    const struct snapshot *snapshot;
    uint64_t constants_offset;    /* of that snapshot's, in the session's memfd      */
    uint64_t previous_generation; /* while jobs_previous > 0                         */
    uint32_t previous_slot;       /* of its snapshot                                 */
    uint32_t jobs_current;        /* of the snapshot's generation                    */
    uint32_t jobs_previous;       /* of the one before                               */
    uint32_t jobs_count;
    uint32_t large_held;     /* sealers that its large messages hold                 */
    struct job_list room;    /* small messages that wait for room                    */
    struct job_list large;   /* large ones, for room or for a sealer                 */
    struct job_list answers; /* refusals and deferrals, for room for their text      */
    bool small_full;         /* the arena had no room for a small message ...        */
    bool large_full;         /* ... for a large one ...                              */
    bool answers_full;       /* ... for a text; not tried again before some is freed */
    bool collector;          /* takes what the engine emits                          */
    bool watched;            /* its doorbell is registered                           */
    bool dirty;              /* stands in the worker's `dirty`                        */
};

/* One message of the vector that is being sealed. Secret. */
struct vector_entry {
    struct job *job;
    struct sealer *sealer; /* the job's, once it has one                  */
    struct id id;          /* likewise                                    */
    uint8_t suite;         /* enum cobble_suite, of the key, salt, boundary and commitment below */
    bool keyed;            /* they stand there                            */
    struct meta meta;
    struct header header;
    struct frame_message message;
    struct frame_shown shown;
    struct options options;
    const uint8_t *mail;
    uint32_t mail_bytes; /* of the first slice */
    size_t stage_from;   /* where its copies begin; they end where the next one's do */
    uint8_t key[COBBLE_KEY_BYTES_MAX];
    uint8_t salt_commitment[COBBLE_HEADER_BYTES];
    uint8_t boundary[FRAME_BOUNDARY_BYTES];
    uint8_t context[ID_CONTEXT_BYTES];
};

/* What a message needs that nobody can guess. */
struct vector_random {
    uint8_t key[COBBLE_KEY_BYTES_MAX];
    uint8_t salt[COBBLE_SALT_BYTES];
    uint8_t boundary[FRAME_BOUNDARY_BYTES];
};

/* What lives in private locked pages: keys, plaintext, records. */
struct worker_secrets {
    struct vector_entry entries[WORKER_VECTOR_MAX];
    struct vector_random randoms[WORKER_VECTOR_MAX]; /* zero between vectors */
    struct cobble_derivation derivations[WORKER_VECTOR_MAX];
    _Alignas(CACHE_LINE) uint8_t stage[WORKER_STAGE_BYTES];
    _Alignas(CACHE_LINE) uint8_t slice[SEALER_SLICE_BYTES];
    _Alignas(CACHE_LINE) uint8_t records_large[WORKER_RECORDS_LARGE][RECORD_BYTES_MAX];
};

/* A message that waits and that the next vector will hold, if nothing comes between. */
struct worker_ahead {
    const struct channel *channel;
    uint32_t nth;
};

struct worker_key {
    struct key_link link;
    struct key_thread *thread;
    struct key_request out[WORKER_VECTOR_MAX]; /* of this pass, not yet pushed */
    uint32_t out_count;
    uint32_t asked_count;  /* without a verdict                          */
    uint64_t away_from_ns; /* seen to be away since; 0: it is there      */
    bool away;             /* for so long that nobody need wait for it   */
    /* The key thread writes, the worker looks: a word for each worker, so that no worker's look
     * takes a line from another. */
    _Alignas(CACHE_LINE) _Atomic uint32_t asleep;
};

struct worker {
    struct worker_config config;
    struct job *jobs;
    uint32_t *jobs_free; /* a stack */
    uint32_t jobs_free_count;
    struct client *clients; /* WORKER_CLIENTS_MAX */
    uint32_t live[WORKER_CLIENTS_MAX];
    uint32_t live_count;
    uint32_t dirty[WORKER_CLIENTS_MAX]; /* have completions to publish; empty between passes */
    uint32_t dirty_count;
    uint32_t turn;           /* of `live`: who is served first                    */
    uint32_t turn_large;     /* whose large message is tried first                */
    uint32_t share;          /* jobs that one client may have                     */
    uint32_t share_waiting;  /* of them, such as wait for its releases            */
    uint32_t share_large;    /* sealers that one client's large messages may hold */
    struct job_list sealing; /* large messages, one slice a turn                  */
    struct sealer *sealers_free[WORKER_SEALERS];
    uint32_t sealers_free_count;
    uint32_t large_count; /* sealers held by large messages */
    uint32_t records_large_free[WORKER_RECORDS_LARGE];
    uint32_t records_large_free_count;
    struct worker_key keys[CONFIG_KEY_SERVICES_MAX];
    const struct snapshot *snapshot; /* the newest */
    struct errand *errand;           /* control's, while it is done; NULL */
    struct waiting *waiting;         /* NULL: there is no spool          */
    struct job_list spooling;        /* want to be put there             */
    struct worker_spool *spool;      /* what of it the waiting mail borrows */
    bool spool_yielded;              /* the last pass left it to what that had sealed */
    uint64_t let_in_ns;              /* no yield before */
    uint64_t now_ns;
    uint64_t unix_ns;
    uint64_t unix_read_ns;  /* when that was looked at; between, it goes with now_ns */
    uint64_t small_ns;      /* when a vector last held small mail ... */
    uint32_t small_count;   /* ... and how much of it                 */
    struct frame_time time; /* of the last message taken */
    size_t stage_used;
    size_t stage_high;                    /* most of the stage that holds bytes not yet wiped */
    struct job *taken[WORKER_VECTOR_MAX]; /* in this pass, not yet looked at */
    uint32_t taken_count;
    uint32_t vector_count;
    uint32_t begun_count; /* entries that have a sealer and an id: the vector's, and perhaps more */
    enum cobble_suite suite; /* of the latest message: likely the next one's too */
    struct worker_ahead ahead[WORKER_VECTOR_MAX]; /* while a vector is sealed */
    uint32_t ahead_count;
    bool draining;
    bool drained;
    bool stopping;

    struct crypto_core *core;
    const struct base64_codec *codec;
    struct wait *wait;
    struct worker_secrets *secrets;
    uint8_t *records;               /* secret: jobs_count × WORKER_RECORD_BYTES */
    uint8_t *sealers;               /* secret: WORKER_SEALERS × sealer_stride   */
    struct sealer_scratch *scratch; /* secret */
    size_t sealer_stride;
    uint64_t spin_ns; /* adapts between nothing and spin_ns_max */

    struct rte_ring *orders;
    struct rte_ring *notices;

    _Alignas(CACHE_LINE) _Atomic uint64_t counters[WORKER_COUNTERS];
    _Alignas(CACHE_LINE) _Atomic uint32_t asleep;
    /* WORKER_SLOT_BITS of snapshots in use, by slot; above them the newest generation told of. */
    _Alignas(CACHE_LINE) _Atomic uint64_t used;
    _Atomic uint64_t beat_ns;     /* monotonic time of the last turn of the loop */
    _Atomic uint32_t large_bytes; /* the largest over size_warning; control sets it to 0 */
    _Atomic int ready;
    char why[WAITING_WHY_BYTES]; /* written before `ready` */
    _Atomic uint32_t ended;
};

/* One writer, so no locked instruction: a load, an add and a store. */
static inline void worker_count(struct worker *worker, enum worker_counter counter, uint64_t n)
{
    _Atomic uint64_t *at = &worker->counters[counter];
    atomic_store_explicit(at, atomic_load_explicit(at, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline uint32_t worker_job_index(const struct worker *worker, const struct job *job)
{
    return (uint32_t)(job - worker->jobs);
}

/* worker_hot.c: one pass over everything; returns how much was done. */
HOT uint32_t worker_pass(struct worker *worker);
/* Its last part alone: what the spool has to say. */
HOT uint32_t worker_pass_spool(struct worker *worker);
/* The job's verdict is known: it is answered now, or when its client has room for that. */
HOT void worker_job_decide(struct worker *worker, struct job *job, enum job_verdict verdict);
/* Submissions that may be taken of a client now. */
HOT uint32_t worker_client_room(const struct worker *worker, const struct client *client);
/* Gives back all that a job owns, then the job. */
HOT void worker_job_free(struct worker *worker, struct job *job);
/* Room may have been freed, so what waits for it may be tried again. */
static inline void worker_client_retry(struct client *client)
{
    client->small_full = false;
    client->large_full = false;
    client->answers_full = false;
}

/* A dropped client's jobs go, but for those that the key thread reads. */
void worker_client_clear(struct worker *worker, struct client *client);
void worker_notify(struct worker *worker, enum worker_notice_kind kind, uint32_t session,
                   enum worker_fault fault);
/* Nothing more is taken of the client or answered; control is told why. */
void worker_break(struct worker *worker, struct client *client, enum worker_fault fault);

enum admit {
    ADMIT_TAKEN,    /* stands in the vector                              */
    ADMIT_DECIDED,  /* its verdict is known: answer it                   */
    ADMIT_NO_ROOM,  /* nothing was kept: try again in the next pass      */
    ADMIT_NO_ARENA, /* nothing was kept: try again when the client released something */
    ADMIT_LARGE,    /* waits for one of the large messages to be done    */
};

/* vector_hot.c: fills and seals one vector; also wipes what others that it looked at left. Keys for
 * what was taken may be made before it is looked at: meanwhile its bytes come over. */
HOT void vector_prepare(struct worker *worker);
HOT enum admit vector_admit(struct worker *worker, struct job *job);
/* A message that was taken got no entry: those behind it move up, to keys that are drawn anew. */
HOT void vector_forget_keys(struct worker *worker);
HOT void vector_seal(struct worker *worker);
/* The next slice of a large message, at most SEALER_SLICE_BYTES; true when that was the last. */
HOT bool vector_slice(struct worker *worker, struct job *job, uint32_t bytes_max);
/* The sealer goes back, wiped; harmless without one. */
HOT void vector_give_sealer(struct worker *worker, struct job *job);
/* The record slot and the arena range go back; the record is wiped. */
HOT void vector_give_room(struct worker *worker, struct job *job);

/* The client lets the engine keep the message, and there is where. */
static inline bool worker_may_spool(const struct worker *worker, const struct job *job)
{
    return worker->waiting != NULL && (job->submission.flags & IPC_SUBMIT_QUEUE) != 0;
}

/* vector_hot.c: a request to a key service, pushed with this pass's others. */
HOT void worker_ask_key(struct worker *worker, uint32_t key_service,
                        const struct key_request *request);

/* worker_spool_hot.c: the job's sealed mail goes to the spool, in this pass or a later one. */
HOT void worker_spool_job(struct worker *worker, struct job *job);
/* One pass over what waits; how much was done. */
HOT uint32_t worker_spool_run(struct worker *worker);

/* worker_spool.c: on the worker's thread; 0 without a spool. */
MUST_USE int worker_spool_open(struct worker *worker);
/* After the key threads: they read what waits. */
void worker_spool_close(struct worker *worker);
/* The kernel ends durable writes in a thread of this processor, which would wait for the end of our
 * time slice: it goes first now and then, while somebody waits for the disk. No call otherwise. Not
 * once a turn: who yields loses his slice to whatever else runs there. */
void worker_spool_let_in(struct worker *worker);

/* answer.c: the words for a verdict; returns bytes written, ≤ IPC_TEXT_BYTES_MAX. */
uint32_t answer_text(const struct worker *worker, const struct job *job,
                     char text[IPC_TEXT_BYTES_MAX]);
/* Status and enhanced status of a verdict. */
HOT void answer_status(enum job_verdict verdict, struct ipc_completion *completion);

#endif
