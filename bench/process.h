/*
 * process: runs another program to its end and keeps what it said on standard output.
 * Ownership: the caller's buffer.
 * Threads:   one.
 * Units:     seconds.
 * Errors:    -errno; -ETIMEDOUT when it was ended for being late; -EIO for an exit status but 0.
 */
#ifndef BENCH_PROCESS_H
#define BENCH_PROCESS_H

#include "base/macros.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `out` gets up to out_bytes - 1 bytes and a NUL; what comes after them is dropped. Standard error
 * goes to log_path, or nowhere. The program runs on any processor, whatever ours is pinned to. */
MUST_USE int process_run(const char *const argv[], const char *log_path, uint32_t timeout_s,
                         char *out, size_t out_bytes);

/* Whether a program of that name is on PATH. */
bool process_on_path(const char *name);

#endif
