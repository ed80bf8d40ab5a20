/*
 * tend: what the service does by itself every so often, in one thread.
 * Ownership: tend_open() makes it, tend_start() its thread; tend_close() waits for the task at
 * work. Threads:   tasks run one after another in tend's thread; tend_add() before tend_start().
 * Units:     seconds, by the monotonic clock.
 * Errors:    a task's -errno is logged and it is run again at its next time; tend_add(): -ENOSPC.
 */
#ifndef KEYSERVICE_SERVER_TEND_H
#define KEYSERVICE_SERVER_TEND_H

#include "base/macros.h"

#include <stdbool.h>
#include <stdint.h>

#define TEND_TASKS_MAX 32
#define TEND_AGAIN_MAX 64 /* rounds of TEND_AGAIN before a task pauses                */
#define TEND_PAUSE_MS  500
#define TEND_AGAIN     1 /* done so far, and there is more to do at once */

struct tend;

/* 0, TEND_AGAIN or -errno. */
typedef int tend_run(void *context);
/* Whether this node is the one to do it, where several serve one database; asked before each task.
 */
typedef bool tend_may(void *context);

/* `may` NULL: always. */
MUST_USE int tend_open(struct tend **tend, tend_may *may, void *context);
/* First `every_s` after the start. `name` is constant and stands in the log. */
MUST_USE int tend_add(struct tend *tend, const char *name, uint32_t every_s, tend_run *run,
                      void *context);
MUST_USE int tend_start(struct tend *tend);
void tend_close(struct tend *tend); /* NULL is harmless */

#endif
