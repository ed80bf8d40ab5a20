/*
 * worker_spool: what of a worker its waiting mail borrows: heads, and the log's buffers.
 * Ownership: worker_spool_open() maps; worker_spool_close() unmaps.
 * Threads:   the worker's.
 * Units:     bytes; heads by the job's or the large record's index.
 * Errors:    none here.
 */
#ifndef ENGINE_WORKER_SPOOL_H
#define ENGINE_WORKER_SPOOL_H

#include "engine/spool_head.h"
#include "engine/worker_internal.h"

/* Room for a head whose record is WORKER_RECORD_BYTES, or RECORD_BYTES_MAX; worker_spool.c checks.
 */
#define WORKER_HEAD_BYTES       1280
#define WORKER_HEAD_BYTES_LARGE ((size_t)136 * 1024)
#define WORKER_LOG_BYTES        ((size_t)16 << 20)

struct worker_spool {
    uint8_t *heads;       /* jobs_count × WORKER_HEAD_BYTES */
    uint8_t *heads_large; /* WORKER_RECORDS_LARGE × WORKER_HEAD_BYTES_LARGE */
    size_t heads_bytes;
    size_t heads_large_bytes;
    uint8_t *log; /* WORKER_LOG_BYTES */
};

/* Tells control, in its counters. */
HOT void worker_spool_count(struct worker *worker);

extern const struct waiting_ops worker_waiting_ops;

#endif
