/*
 * work: a few threads that do what would hold up a server's event loop.
 * Ownership: work_open() starts the threads; work_close() finishes what is queued and joins them.
 * Threads:   work_push() by any; tasks run on the pool's own.
 * Units:     tasks; a fixed ring of WORK_WAITING_MAX.
 * Errors:    work_push() gives false when the ring is full: the caller says "busy".
 */
#ifndef KEYSERVICE_SERVER_HTTP_WORK_H
#define KEYSERVICE_SERVER_HTTP_WORK_H

#include "base/macros.h"

#include <stdbool.h>
#include <stdint.h>

#define WORK_THREADS_MAX 32
#define WORK_WAITING_MAX 256

struct work;

typedef void work_run(void *task);

MUST_USE int work_open(struct work **work, uint32_t threads_count, work_run *run);
void work_close(struct work *work); /* NULL is harmless */
bool work_push(struct work *work, void *task);

#endif
