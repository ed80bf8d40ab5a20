/*
 * alone: gives a peer or a limit what the engine has in its own turn: a worker's processor.
 * Ownership: borrows the engine from alone_begin() to alone_end().
 * Threads:   one, the caller's: it is moved to that processor and back.
 * Units:     none.
 * Errors:    none; what cannot be had is left as it is. Without an engine of ours nothing is done.
 *
 * A worker that polls takes a processor from everything else. On a busy machine the rest then
 * crowds onto the others, and a peer that ran there would look slower than it is. So the engine
 * stands still meanwhile.
 */
#ifndef BENCH_ALONE_H
#define BENCH_ALONE_H

#include "bench/spawn.h"

#include <sched.h>

struct alone {
    struct spawn *engine; /* NULL: nothing was done */
    cpu_set_t before;
};

void alone_begin(struct alone *alone, struct spawn *engine);
void alone_end(struct alone *alone);

#endif
