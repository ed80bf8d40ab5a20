/*
 * report: what a bench found, as a table for people and JSON for programs.
 * Ownership: borrows everything.
 * Threads:   one.
 * Units:     as the names say; MB is 10^6 bytes.
 * Errors:    report_json() gives -errno.
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "base/macros.h"
#include "bench/load.h"
#include "bench/peer.h"

#include <stdint.h>

#define REPORT_RUNS_MAX 32

struct report {
    const char *mail; /* what was sent, in the user's words */
    const struct load_config *config;
    uint32_t workers_count;  /* of the engine                    */
    uint32_t workers_active; /* of them, those that sealed something */
    const struct load_result *runs;
    uint32_t runs_count;
    bool limit_measured;
    struct peer_rate limit;
    bool peer_measured;
    struct peer_rate peer;
};

void report_table(const struct report *report);
MUST_USE int report_json(const struct report *report, const char *path);

#endif
