/*
 * key_thread: registers one node's key records at one key service.
 * Ownership: key_thread_open() starts the thread; close stops and joins it.
 * Threads:   its own; attach before the workers run; wake by any worker; up by any.
 * Units:     one thread a key service and NUMA node.
 * Errors:    open gives -errno with a sentence in `why`.
 */
#ifndef ENGINE_KEY_THREAD_H
#define ENGINE_KEY_THREAD_H

#include "base/macros.h"
#include "engine/key_link.h"
#include "engine/placement.h"
#include "keyservice/key_client.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct key_thread;

/* What is sent at once by the service's batch format; what a pass takes from one worker. */
#define KEY_THREAD_BURST_MAX 512

struct key_thread_config {
    const char *name; /* of the key service */
    struct key_client_config client;
    const struct placement_node *node; /* whose processors it floats over */
};

MUST_USE int key_thread_open(struct key_thread **thread, const struct key_thread_config *config,
                             char why[KEY_CLIENT_WHY_BYTES]);
/* Before key_thread_start(); at most CONFIG_WORKERS_MAX. */
void key_thread_attach(struct key_thread *thread, const struct key_link *link);
MUST_USE int key_thread_start(struct key_thread *thread);
void key_thread_close(struct key_thread *thread); /* NULL is harmless */

/* After requests were pushed to that link: a system call only when the thread sleeps. */
void key_thread_wake(struct key_thread *thread, const struct key_link *link);
bool key_thread_up(const struct key_thread *thread);
/* Records stored, ever. */
uint64_t key_thread_stored(const struct key_thread *thread);

#endif
