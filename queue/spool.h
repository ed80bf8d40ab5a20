/*
 * spool: one worker's log of mail that waits: append, read, forget, recover, recycle.
 * Ownership: spool_open() allocates; the disk stays the caller's. What a record borrows is the
 *            caller's again with its event.
 * Threads:   one.
 * Units:     bytes; unix milliseconds; a place names a record for as long as it lives.
 * Errors:    -errno, or an event with -errno; nothing is reported stored before it is durable.
 *
 * docs/queue/spool.md, docs/format/spool.md. Heads, bodies and constants are opaque here.
 */
#ifndef QUEUE_SPOOL_H
#define QUEUE_SPOOL_H

#include "base/macros.h"
#include "queue/disk.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define SPOOL_ID_BYTES          16
#define SPOOL_SPANS_MAX         8
#define SPOOL_HEAD_BYTES_MAX    (160 * 1024)         /* addresses and the sealed key record */
#define SPOOL_SEGMENT_BYTES_MIN ((uint64_t)64 << 10) /* crash tests: whole logs, cheaply */
#define SPOOL_SEGMENTS_MAX      16384
#define SPOOL_WHY_BYTES         256
#define SPOOL_NOWHERE           UINT64_MAX

struct spool;

struct spool_config {
    struct disk *disk;
    uint32_t lane;          /* of this worker                                            */
    uint32_t lanes_count;   /* lanes from there on are former ones: lane % lanes_count   */
    uint64_t segment_bytes; /* a multiple of DISK_BLOCK_BYTES                            */
    uint64_t bytes_max;     /* of all segments of this lane                              */
    uint8_t *buffers;       /* block-aligned, in the disk's memory: group commits, reads */
    size_t buffers_bytes;   /* at least SPOOL_BUFFERS_MIN                                */
};
#define SPOOL_BUFFERS_MIN ((size_t)4 << 20)

enum spool_kind {
    SPOOL_MAIL = 1,
    SPOOL_NOTICE = 2, /* a notification that took a mail's place */
};

/* One span of a body. */
struct spool_span {
    const void *at;
    uint32_t bytes;
    uint32_t constant; /* 1 to 2^31-1: names bytes that many records share; once a segment */
};

struct spool_record {
    enum spool_kind kind;
    uint8_t id[SPOOL_ID_BYTES];
    uint64_t arrived_unix_ms;
    uint64_t end_unix_ms; /* 0: none */
    const void *head;
    uint32_t head_bytes;
    uint32_t spans_count;
    struct spool_span spans[SPOOL_SPANS_MAX];
    uint64_t replaces; /* a place that is forgotten by the same write, or SPOOL_NOWHERE */
};

/* A live record, as recovery finds it. */
struct spool_found {
    uint64_t place;
    enum spool_kind kind;
    uint8_t id[SPOOL_ID_BYTES];
    uint64_t arrived_unix_ms;
    uint64_t end_unix_ms;
    uint32_t head_bytes;
    uint32_t body_bytes; /* constants included */
    bool held;
};

enum spool_event_kind {
    SPOOL_STORED,    /* durable; place                                                    */
    SPOOL_FAILED,    /* not kept, nor found by any recovery; error (-ENOSPC, -EIO)        */
    SPOOL_READ,      /* bytes are in the caller's buffer; error -EBADMSG: damaged          */
    SPOOL_FORGOTTEN, /* the done record is durable: no recovery finds it again            */
    SPOOL_MARKED,    /* hold or release is durable                                        */
};

struct spool_event {
    enum spool_event_kind kind;
    int error;
    uint64_t tag;
    uint64_t place;
    uint32_t bytes;
};

/* Recovers, calling found() for each live record of this lane and the former ones it adopts, in
 * the order in which they were stored. Blocks. -EBADMSG, -EUCLEAN with the mend in `why`. */
MUST_USE int spool_open(struct spool **spool, const struct spool_config *config,
                        void (*found)(void *user, const struct spool_found *found), void *user,
                        char why[SPOOL_WHY_BYTES]);
/* Waits for the disk; what was not stored is perhaps kept, and found by the next start. */
void spool_close(struct spool *spool);

/* Borrows the record's bytes until STORED or FAILED. False: too much is under way, run first. */
HOT bool spool_put(struct spool *spool, const struct spool_record *record, uint64_t tag);
/* The head alone, or head and then the body with its constants in their places, `room` bytes at
 * least; CRCs are checked. False: too much is under way. */
bool spool_read_head(struct spool *spool, uint64_t place, uint8_t *dst, size_t room, uint64_t tag);
bool spool_read_all(struct spool *spool, uint64_t place, uint8_t *dst, size_t room, uint64_t tag);
/* Once a place; nothing else may be asked of it then, nor while a record that replaces it is out.
 */
bool spool_forget(struct spool *spool, uint64_t place, uint64_t tag);
bool spool_mark(struct spool *spool, uint64_t place, bool held, uint64_t tag);

/* Starts what is ready, gives what has ended; again at once while it gives events_max. Never
 * blocks. Idle ones are run too, once a second or so: segments are made ahead. */
HOT uint32_t spool_run(struct spool *spool, struct spool_event *events, uint32_t events_max);
/* What a run takes of all reads, at most: when it has taken so many bytes it begins no other; one
 * it always begins. Everything, at first. */
void spool_read_share(struct spool *spool, uint64_t bytes);
/* What could not be made for want of room is tried again by the next run: call it now and then. */
void spool_retry(struct spool *spool);
/* Something is under way: sleep on the disk's doorbell too. */
bool spool_busy(const struct spool *spool);
/* A run has something to do although no disk rings. */
bool spool_is_ready(const struct spool *spool);

struct spool_stats {
    uint64_t records;  /* live now */
    uint64_t segments; /* all; free; sealed off */
    uint64_t segments_free;
    uint64_t segments_bad;
    uint64_t bytes_live;
    uint64_t stored; /* ever, this run */
    uint64_t forgotten;
    uint64_t moved; /* written again to free a segment */
    uint64_t commits;
    uint64_t damaged; /* records that did not verify, at the start and when read */
    uint64_t failed;  /* writes and syncs */
};
void spool_stats(const struct spool *spool, struct spool_stats *stats);
/* The same without the segments, each of which has to be looked at: for every pass. */
HOT void spool_counts(const struct spool *spool, struct spool_stats *stats);

#endif
