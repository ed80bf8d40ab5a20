/*
 * waiting_internal: what the files of the waiting mail share: table, lists, and what is under way.
 * Ownership: struct waiting owns all of it.
 * Threads:   the worker's.
 * Units:     entries and slots by index; as engine/waiting.h says.
 * Errors:    none here.
 */
#ifndef ENGINE_WAITING_INTERNAL_H
#define ENGINE_WAITING_INTERNAL_H

#include "base/assert.h"
#include "base/log_limit.h"
#include "crypto/cobblestone.h"
#include "engine/key_link.h"
#include "engine/snapshot.h"
#include "engine/spool_head.h"
#include "engine/waiting.h"
#include "ipc/channel.h"
#include "ipc/refusals.h"
#include "keyservice/record.h"
#include "queue/wheel.h"

#define WAITING_NONE        UINT32_MAX
#define WAITING_ENTRIES_MAX ((uint32_t)1 << 22) /* of one worker: 450 MB, if they all come */
#define WAITING_BURST_MAX   32
#define WAITING_EVENTS_MAX  256
#define WAITING_READY_MAX                                                                          \
    64 /* that collectors are about to take, before more keys are asked for                        \
        */
#define WAITING_EVENTS_FEW   8                    /* a pass, while new mail must not wait ...     */
#define WAITING_EVENTS_PUTS  64                   /* ... unless it is new mail that is stored     */
#define WAITING_FEW          4                    /* a budget up to this says so                  */
#define WAITING_READ_BYTES   ((uint64_t)12 << 10) /* that a mail of the budget stands for */
#define WAITING_ENDS_MAX     64   /* of either wheel, a pass                       */
#define WAITING_SMALL_BYTES  2048 /* of a head, and of the record in it            */
#define WAITING_DERIVED_MAX  WAITING_BURST_MAX
#define WAITING_LARGE_MAX    4 /* heads over that, on their way to a key service */
#define WAITING_EMITS_MAX    1024
#define WAITING_NOTICES_MAX  8
#define WAITING_NOTICE_BYTES ((size_t)8 << 20) /* of one notification; touched as far as needed */
#define WAITING_KEEP_BYTES   ((size_t)1 << 20) /* of a buffer that stay touched               */
#define WAITING_TABLE_BYTES  64                /* of an emission's spans                      */
#define WAITING_FIRST_TRIES  2 /* a mail of which no collector said a word is the first again */
#define WAITING_PAUSE_S_MIN  2
#define WAITING_PAUSE_S_MAX  300

enum waiting_list {
    LIST_READY,
    LIST_FAILING,    /* want a notification           */
    LIST_FORGETTING, /* want their done record        */
    LIST_UNKNOWN,    /* whose key service is not read */
    LIST_SERVICE,    /* that, and the others after it */
};
#define WAITING_LISTS (LIST_SERVICE + CONFIG_KEY_SERVICES_MAX)
#define LIST_NOWHERE  UINT8_MAX

/* What is told of one by one, but for a flood of it: when a disk fails, or an outage ends the time
 * of many at once, a line for each would hold up the worker, and nobody would read them. */
enum waiting_log {
    WAITING_LOG_TOLD,
    WAITING_LOG_ENDED,
    WAITING_LOG_LOST,
    WAITING_LOG_DAMAGED,
    WAITING_LOG_UNREADABLE,
    WAITING_LOG_TOO_LARGE,
    WAITING_LOG_REFUSED,
};
#define WAITING_LOGS 7

enum {
    ENTRY_HELD = 1,
    ENTRY_ENDED = 2,   /* its end has come                              */
    ENTRY_EMITTED = 4, /* was with a collector that did not say it's done */
    ENTRY_FORGET = 8,  /* ENDING by its done record                     */
    ENTRY_NOTICE = 16, /* a notification                                */
    ENTRY_PAUSED = 32, /* stands in the wheel of the pauses             */
    ENTRY_LAST = 64,   /* has ended, and is tried once more: it may have been sent */
};

#define SERVICE_UNKNOWN UINT8_MAX

struct waiting_entry {
    struct id id;
    uint64_t place; /* SPOOL_NOWHERE while STORING */
    uint64_t arrived_unix_ms;
    uint64_t end_unix_ms; /* 0: none */
    uint32_t next;        /* of its list; of the free ones */
    uint32_t prev;
    uint32_t same; /* the next one of its id's bucket */
    uint32_t head_bytes;
    uint32_t body_bytes;
    uint32_t slot; /* its job, ask, emission or notice: as its state says */
    uint16_t tries;
    uint8_t state;
    uint8_t list;
    uint8_t flags;
    uint8_t key_service;
    uint8_t reason;      /* enum notice_reason, once FAILING */
    uint8_t enhanced[3]; /* likewise, of the next hop        */
    uint8_t marks_count; /* holds and releases that are not durable yet */
};
_Static_assert(sizeof(struct waiting_entry) <= 80, "a million of them wait");

struct entries {
    uint32_t first;
    uint32_t last;
    uint32_t count;
};

/* A key record on its way. */
struct waiting_ask {
    uint32_t entry; /* WAITING_NONE: free */
    uint32_t large; /* of the large buffers; WAITING_NONE: its own */
    uint32_t record_bytes;
    bool reading; /* the head; else the key service has the record */
    bool counted; /* in asks_out[] of the entry's service           */
};

/* The key of records that were sealed together, as it was last derived. Secret. */
struct waiting_derived {
    struct cobble cobble;
    uint8_t salt_commitment[COBBLE_HEADER_BYTES];
    uint8_t context[SPOOL_HEAD_CONTEXT_BYTES];
    bool sound;             /* the commitment is this key's */
    uint32_t context_bytes; /* 0: none yet                  */
};

enum emit_state {
    EMIT_FREE,
    EMIT_READING,
    EMIT_READ, /* in the arena; wants the collector's slot          */
    EMIT_OUT,
    EMIT_ORPHAN, /* is still read for a collector that has ended      */
    EMIT_SAID,   /* refused: its text is kept until a notice is made  */
};

struct waiting_emit {
    enum emit_state state;
    uint32_t entry;
    uint32_t serial;
    uint32_t collector;
    uint32_t next; /* of those that its collector has no slot for yet */
    uint32_t text_bytes;
    uint32_t refusals_bytes; /* of its place in emit_refusals; 0: none */
    uint64_t offset;
    uint8_t *at;
    size_t bytes;
    char text[IPC_TEXT_BYTES_MAX];
};

struct waiting_collector {
    struct channel *channel; /* NULL: free */
    uint32_t session;
    uint32_t reads_count; /* into its arena */
    uint32_t emits_count; /* READING, READ and OUT: no more than its share */
    uint32_t read_first;  /* READ, in that order; as long as read_count says */
    uint32_t read_last;
    uint32_t read_count;
    bool ending;
    bool broken;
    bool dirty;
};

struct waiting_notice {
    uint32_t entry; /* WAITING_NONE: free */
    bool head_only; /* the body is damaged: what of the head? */
    size_t in_used;
    size_t out_used;
    uint32_t head_bytes; /* of what is written in its place */
    uint32_t body_bytes;
};

/* One reading of addresses, for control. */
struct waiting_showing {
    uint8_t *meta_at; /* NULL: none */
    uint32_t *meta_bytes;
    int *done;
    uint32_t head_bytes;
};

struct waiting {
    struct waiting_config config;
    struct spool *spool;
    uint32_t entries_max;
    uint32_t entries_used; /* ever */
    uint32_t entries_free;
    struct waiting_entry *entries;
    uint32_t *buckets; /* index + 1 */
    uint32_t buckets_mask;
    struct wheel_node *end_nodes;
    struct wheel_node *pause_nodes;
    struct wheel ends;   /* seconds of the wall clock   */
    struct wheel pauses; /* seconds of monotonic time   */
    struct entries lists[WAITING_LISTS];
    uint64_t now_ns;
    uint64_t now_unix_ns;
    uint32_t budget; /* of the pass */
    bool draining;
    bool touched;      /* the spool was given something since it ran */
    uint64_t idle_ns;  /* when it is run all the same                  */
    uint64_t retry_ns; /* when the spool is to look for room again     */
    struct log_limit logs[WAITING_LOGS];
    uint64_t jitter;

    uint32_t asks_out[CONFIG_KEY_SERVICES_MAX];
    uint32_t asks_unknown;
    uint32_t asks_count;
    uint32_t asks_free[WAITING_ASKS_MAX];
    uint32_t asks_free_count;
    struct waiting_ask asks[WAITING_ASKS_MAX];
    uint32_t larges_free[WAITING_LARGE_MAX];
    uint32_t larges_free_count;
    uint32_t opens[WAITING_BURST_MAX]; /* slots whose heads were read: to be opened together */
    uint32_t opens_count;
    struct spool_head open_heads[WAITING_BURST_MAX];
    uint8_t *ask_heads;              /* small ones, then large ones   */
    uint8_t *ask_records;            /* secret: likewise              */
    struct waiting_derived *derived; /* secret: WAITING_DERIVED_MAX, in the same pages */
    uint32_t derived_turn;

    uint32_t emits_free[WAITING_EMITS_MAX];
    uint32_t emits_free_count;
    uint32_t emits_read_count; /* want a slot of their collector */
    uint32_t emits_out;        /* READING, READ, OUT, ORPHAN */
    uint32_t emit_serial;
    struct waiting_emit *emits;
    uint8_t *emit_refusals; /* IPC_REFUSALS_BYTES_MAX each; touched by those that have some */
    struct waiting_collector collectors[WAITING_COLLECTORS_MAX];
    uint32_t collector_turn;

    struct waiting_notice notices[WAITING_NOTICES_MAX];
    uint8_t *notice_pages; /* what is read and what is written, of each */
    size_t notice_in_bytes;

    struct waiting_showing showing;
    uint8_t *showing_head;
    uint32_t flush_cursor; /* entries before it were looked at; WAITING_NONE: no flush */
    uint32_t forgets_out;
    struct waiting_counts counts;
};

/* What a spool event is about. */
enum waiting_tag { TAG_PUT = 1, TAG_ASK, TAG_EMIT, TAG_NOTICE, TAG_FORGET, TAG_MARK, TAG_SHOW };
#define WAITING_TAG(kind, n) ((uint64_t)(kind) << 56 | (uint64_t)(n))

/* waiting.c */
uint32_t row_take(struct waiting *waiting, const struct id *id);
/* Before a burst of others and then this one: where it is looked for is in the cache by then. */
void row_prefetch(const struct waiting *waiting, const struct id *id);
void row_give(struct waiting *waiting, uint32_t index);
uint32_t row_find(const struct waiting *waiting, const struct id *id);
void row_enter(struct waiting *waiting, uint32_t index, enum waiting_state state);
void row_unlist(struct waiting *waiting, uint32_t index);
void row_list(struct waiting *waiting, uint32_t index, uint32_t list, bool front);
/* Puts it where its state and flags say, or into no list at all. */
void row_settle(struct waiting *waiting, uint32_t index);
/* Neither its end nor a pause is watched any more. */
void row_unwatch(struct waiting *waiting, uint32_t index);
void row_watch_end(struct waiting *waiting, uint32_t index);
/* It is tried again, after longer and longer. */
void row_pause(struct waiting *waiting, uint32_t index);
/* A notification, if one is due, else its end. */
void row_fail(struct waiting *waiting, uint32_t index, uint32_t reason);
/* It is over, and its record not needed. */
void row_forget(struct waiting *waiting, uint32_t index);
bool waiting_has_collector(const struct waiting *waiting);
/* False: too many of this kind are told of already in this second. */
bool waiting_tells(struct waiting *waiting, enum waiting_log log);

/* waiting_keys.c */
uint32_t keys_run(struct waiting *waiting, uint32_t budget);
void keys_read(struct waiting *waiting, const struct spool_event *event, uint32_t slot);
/* Those that were read are opened, and go to their key services. */
void keys_open(struct waiting *waiting);
uint8_t keys_service(const struct waiting *waiting, const struct spool_head *head);

/* waiting_emit.c */
uint32_t emit_run(struct waiting *waiting, uint32_t budget);
void emit_read(struct waiting *waiting, const struct spool_event *event, uint32_t slot);
/* The text that was kept goes. */
void emit_give(struct waiting *waiting, uint32_t slot);
/* False: no recipients were named. */
bool emit_refusals(const struct waiting *waiting, uint32_t slot, struct refusals *refusals);

/* waiting_notice.c */
uint32_t notices_run(struct waiting *waiting, uint32_t budget);
void notice_event(struct waiting *waiting, const struct spool_event *event, uint32_t slot);

/* waiting_queue.c */
uint32_t queue_run(struct waiting *waiting);
void queue_shown(struct waiting *waiting, const struct spool_event *event);

#endif
