/*
 * wait: the one place where a worker sleeps: its doorbells, its timer, later its spool.
 * Ownership: wait_open() makes an io_uring, or an epoll where io_uring is not allowed; the opener
 *            closes. Doorbell descriptors stay the caller's and outlive their registration.
 * Threads:   one thread; wait_ring() alone may be called by any.
 * Units:     nanoseconds; doorbells are named by a tag of the caller's.
 * Errors:    -errno; a doorbell that misbehaves is reported as WAIT_BROKEN for its tag alone.
 *
 * A doorbell is an eventfd. The ring keeps one read armed on each, so a wake-up is consumed by the
 * kernel and no peer can make the worker block by changing the descriptor's flags.
 */
#ifndef QUEUE_WAIT_H
#define QUEUE_WAIT_H

#include "base/macros.h"

#include <stdbool.h>
#include <stdint.h>

#define WAIT_DOORBELLS_MAX 1024
#define WAIT_TAG_OWN       UINT32_MAX /* wait_ring() was called */

enum wait_event_kind {
    WAIT_RUNG,
    WAIT_BROKEN,
};

struct wait_event {
    uint32_t tag;
    enum wait_event_kind kind;
};

struct wait;

MUST_USE int wait_open(struct wait **wait, bool allow_io_uring);
void wait_close(struct wait *wait);
bool wait_uses_io_uring(const struct wait *wait);

MUST_USE int wait_add(struct wait *wait, uint32_t tag, int eventfd_fd);
void wait_remove(struct wait *wait, uint32_t tag);

/* Sleeps until a doorbell, wait_ring() or timeout_ns; 0 only looks. Returns events written; none
 * may come before time is up (a signal), and the caller looks at its clock. */
uint32_t wait_for(struct wait *wait, uint64_t timeout_ns, struct wait_event *events,
                  uint32_t events_max);

/* Wakes wait_for() from another thread. */
void wait_ring(struct wait *wait);

#endif
