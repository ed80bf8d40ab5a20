/*
 * errand: what `bulla queue` wants of one worker, done bit by bit between its passes.
 * Ownership: control's memory; the worker has it between WORKER_ERRAND and NOTICE_ERRAND.
 * Threads:   one at a time.
 * Units:     messages by envelope id; nanoseconds of monotonic time.
 * Errors:    in `rc`: -ENOENT nothing waits under that id, -EBUSY try again, -EIO it cannot be
 * read.
 */
#ifndef ENGINE_ERRAND_H
#define ENGINE_ERRAND_H

#include "base/macros.h"
#include "engine/waiting.h"
#include "envelope/id.h"
#include "ipc/layout.h"

#include <stdbool.h>
#include <stdint.h>

#define ERRAND_ITEMS_MAX 64 /* a page; each costs a read of the disk */

enum errand_kind {
    ERRAND_LIST,    /* a page of messages after `cursor`, with who and to whom  */
    ERRAND_SHOW,    /* one, with all addresses                                  */
    ERRAND_HOLD,    /* one, or all                                              */
    ERRAND_RELEASE, /* the same                                                 */
    ERRAND_REMOVE,  /* the same                                                 */
    ERRAND_FLUSH,
    ERRAND_STATS,
};

struct errand_item {
    struct waiting_item item;
    bool has_addresses; /* they could be read */
    uint16_t recipients_count;
    char sender[IPC_ADDRESS_BYTES_MAX + 1];
    char recipient[IPC_ADDRESS_BYTES_MAX + 1]; /* the first */
};

struct errand {
    enum errand_kind kind;
    bool all;   /* instead of `id` */
    bool brief; /* a list without addresses: nothing is read */
    struct id id;
    uint32_t cursor;    /* 0: from the first */
    uint32_t items_max; /* 1 to ERRAND_ITEMS_MAX */

    int rc;
    uint64_t done_count;
    uint64_t busy_count; /* of all, those that could not be done now */
    uint32_t items_count;
    uint32_t next_cursor; /* 0: that was the end */
    uint32_t meta_bytes;  /* of what is shown */
    struct errand_item items[ERRAND_ITEMS_MAX];
    uint8_t meta[IPC_META_BYTES_MAX];
    struct waiting_stats stats;

    /* The worker's. */
    uint64_t until_ns; /* for the whole, and then for what is tried now */
    uint64_t item_until_ns;
    struct waiting_item found[ERRAND_ITEMS_MAX];
    uint32_t found_count;
    uint32_t found_next;
    uint32_t found_cursor;
    bool reading;
    int read_rc; /* -EINPROGRESS while the disk has `meta` */
};

/* On the worker's thread, with times in nanoseconds. step: true when it is done. */
void errand_begin(struct errand *errand, uint64_t now_ns);
MUST_USE bool errand_step(struct errand *errand, struct worker *worker, uint64_t now_ns);

#endif
