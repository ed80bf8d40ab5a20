/*
 * channel_steps: a hostile client of a session, whose slots, indices and arena bytes are an input.
 * Ownership: channel_steps_run() opens a channel and closes it; its memory stays for the next.
 * Threads:   one.
 * Units:     bytes; each step is a byte that says which, then its operands.
 * Errors:    the input ends where a step's operands do; what a channel may never do aborts.
 */
#ifndef TESTS_FUZZ_CHANNEL_STEPS_H
#define TESTS_FUZZ_CHANNEL_STEPS_H

#include "ipc/channel.h"
#include "ipc/geometry.h"

#include <stddef.h>
#include <stdint.h>

struct channel_steps {
    uint32_t kind; /* of the session */
    /* What an honest client could submit; a step has the input change a few bytes of it. */
    struct ipc_submission (*honest)(const struct geometry *geometry);
    /* The engine's side runs once; `number` is the step's byte, and 0 at the end. */
    void (*pass)(struct channel *channel, uint64_t number);
};

void channel_steps_run(const struct channel_steps *steps, const uint8_t *bytes_at, size_t bytes);

#endif
