/*
 * suite: `bulla-bench suite`: everything that is promised of bulla, measured in one go.
 * Ownership: suite_main() owns it all; rows borrow the suite and add to its claims and figures.
 * Threads:   one, pinned beside the worker; what a row starts it stops.
 * Units:     in the names of the figures.
 * Errors:    a row that cannot be measured says why in its claims; the suite goes on.
 *
 * Figures of the engine, its peers and its limits are taken in turns, so that what else happens on
 * the machine hits all of them alike. docs/man/bulla-bench.1 says what each claim measures.
 */
#ifndef BENCH_SUITE_H
#define BENCH_SUITE_H

#include "bench/claims.h"
#include "bench/load.h"
#include "bench/mailset.h"
#include "bench/spawn.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define SUITE_LARGE_MAIL "25MiB/attached"

/* How long everything takes. */
struct suite_pace {
    uint32_t runs_count;
    uint64_t warmup_ns;
    uint64_t engine_ns;
    uint64_t peer_ns;
    uint64_t roofline_ns; /* of each of them */
    uint64_t tail_ns;     /* for the p99.9 */
    uint64_t idle_ns;
    uint64_t outage_ns;
    uint64_t settle_ns;
};

struct suite {
    const char *json_path;
    const char *corpus;
    const char *only; /* rows, with commas; NULL: all */
    bool is_short;
    struct suite_pace pace;
    json_t *claims;
    json_t *figures;
    char folder[SPAWN_PATH_BYTES]; /* for what other programs write */
    char why[MAILSET_WHY_BYTES];
};

int suite_main(int argc, char **argv);
/* `bulla-bench real`: what the suite runs inside `tools/demo --exec`. */
int suite_real_main(int argc, char **argv);

void suite_pace_set(struct suite *suite);
/* False when --only leaves the row out. */
bool suite_wants(const struct suite *suite, const char *row);
/*
 * Waits until the machine has forgotten the run before: what that gave back, a guest reports to its
 * host within some seconds, 2 MiB at a time, and its processors stand still for milliseconds
 * meanwhile.
 */
void suite_settle(const struct suite *suite);
/* A claim that could not be measured, with suite->why unless `why` is given. */
void suite_miss(struct suite *suite, struct claim *claim, const char *why);

/* An engine, and this process pinned beside its workers. */
MUST_USE int suite_engine(struct suite *suite, struct spawn **engine,
                          const struct spawn_config *config);
/* NULL: the engine that BULLA_SOCKET names. */
struct load_config suite_load(const struct suite *suite, const struct spawn *engine,
                              const struct mailset *set);
/* Messages per second that the engine seals when its queue is kept full: the median of a few. */
MUST_USE int suite_capacity(struct suite *suite, const struct load_config *config,
                            const struct mailset *set, double *per_s);

/* {"p50_us": ...}: percentiles of a latency, and their list for drawing. */
json_t *suite_latency_json(const struct histogram *latency);

/* The rows; each file is one concern. */
void row_rates(struct suite *suite);      /* small, large, corpus                  */
void row_sizes(struct suite *suite);      /* size                                  */
void row_browser(struct suite *suite);    /* browser                               */
void row_latency(struct suite *suite);    /* latency, tail                         */
void row_hotpath(struct suite *suite);    /* hotpath                               */
void row_memory(struct suite *suite);     /* memory                                */
void row_idle(struct suite *suite);       /* idle                                  */
void row_keyservice(struct suite *suite); /* keyservice, and the real engine's way */
void row_spool(struct suite *suite);      /* spool                                 */
void row_scaling(struct suite *suite);    /* scaling; workers, mixes, clients      */

#endif
