/*
 * inside: an engine in the test's own process, so that its memory can be looked at.
 * Ownership: inside_open() starts the engine beside a stand-in key service; inside_close() ends
 * both. Threads:   inside_run() serves on the calling thread while `clients` runs on another.
 * Units:     none of its own.
 * Errors:    an engine that does not start or end fails the test. One in a process, ever: DPDK's
 *            environment starts once.
 */
#ifndef TESTS_ENGINE_INSIDE_H
#define TESTS_ENGINE_INSIDE_H

#include "engine/engine.h"
#include "tests/engine/daemon.h"

struct inside {
    struct daemon daemon; /* its files and its key service; there is no process */
    struct engine engine;
};

/* `engine` stands in the configuration's section of that name. */
void inside_open(struct inside *inside, const char *engine);
/* Until `clients` has returned and all is drained. */
void inside_run(struct inside *inside, void (*clients)(struct inside *inside));
void inside_close(struct inside *inside);

#endif
