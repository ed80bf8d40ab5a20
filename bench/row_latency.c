/* The rows latency and tail: how long a message takes at half load, and beside large ones. */
#include "bench/hotpath.h"
#include "bench/suite.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define LATENCY_MAIL          "4KiB,4KiB,4KiB,4KiB,4KiB,4KiB,4KiB,4KiB"
#define LATENCY_SHARE         0.5 /* of capacity, in the claim                              */
#define TAIL_SMALL_SHARE      0.2 /* of capacity for small messages, with and without large */
#define TAIL_LARGE_SHARE      0.3
#define TAIL_LARGE_SEALED     0.9 /* of the large ones offered, else they did not flow */
#define TAIL_RUNS_MAX         5
#define LATENCY_CURVE_PERCENT 10 /* a step of the curve */

struct latency {
    struct suite *suite;
    struct spawn *engine;
    struct mailset *small;
    struct mailset *large;
    struct load_result *result;
    double small_per_s; /* capacities */
    double large_per_s;
    double large_offered;
    double large_sealed;
    bool unsound;                /* something was not sealed: `why` says it            */
    char why[MAILSET_WHY_BYTES]; /* of the first such run                              */
    uint64_t worker_preempted;   /* in the latest run: what a busy machine does to its figures */
    uint64_t client_preempted;
};

static int latency_open(struct latency *latency)
{
    const struct spawn_config config = {.workers = 1};
    struct suite *suite = latency->suite;
    latency->result = malloc(sizeof(*latency->result));
    int rc = latency->result == NULL ? -ENOMEM : suite_engine(suite, &latency->engine, &config);
    if (rc == 0)
        rc = mailset_open_sizes(&latency->small, LATENCY_MAIL, suite->why);
    if (rc == 0)
        rc = mailset_open_sizes(&latency->large, SUITE_LARGE_MAIL, suite->why);
    if (rc != 0)
        return rc;
    struct load_config load = suite_load(suite, latency->engine, latency->small);
    rc = suite_capacity(suite, &load, latency->small, &latency->small_per_s);
    load.in_place = true;
    if (rc == 0)
        rc = suite_capacity(suite, &load, latency->large, &latency->large_per_s);
    return rc;
}

static void latency_close(struct latency *latency)
{
    spawn_close(latency->engine);
    mailset_close(latency->small);
    mailset_close(latency->large);
    free(latency->result);
}

static double us(const struct histogram *latency, uint32_t per_million)
{
    return (double)histogram_percentile_ns(latency, per_million) / 1e3;
}

static uint64_t latency_own_preemptions(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_nivcsw : 0;
}

static int latency_load(struct latency *latency, const struct load_config *load)
{
    const uint64_t worker = hotpath_preemptions(latency->engine);
    const uint64_t client = latency_own_preemptions();
    const int rc = load_run(load, latency->small, latency->result, latency->suite->why);
    latency->worker_preempted = hotpath_preemptions(latency->engine) - worker;
    latency->client_preempted = latency_own_preemptions() - client;
    return rc;
}

/* A run in which something was not sealed takes the row's claims. */
static void latency_check(struct latency *latency)
{
    if (!latency->unsound)
        latency->unsound = !load_sound(latency->result, latency->why);
}

static json_t *latency_json(const struct latency *latency)
{
    json_t *object = suite_latency_json(&latency->result->latency);
    (void)json_object_set_new(object, "worker_preemptions",
                              json_integer((json_int_t)latency->worker_preempted));
    (void)json_object_set_new(object, "client_preemptions",
                              json_integer((json_int_t)latency->client_preempted));
    (void)json_object_set_new(object, "worker_preemptions_per_s",
                              json_real(latency->result->worker_preempted_per_s));
    return object;
}

static struct load_config latency_config(const struct latency *latency, double share, uint32_t seed)
{
    struct load_config load = suite_load(latency->suite, latency->engine, latency->small);
    load.rate_per_s = latency->small_per_s * share;
    load.seed = seed;
    return load;
}

/* At a share of capacity; the result is latency->result. */
static int latency_run(struct latency *latency, double share, uint32_t seed)
{
    const struct load_config load = latency_config(latency, share, seed);
    return latency_load(latency, &load);
}

/* Right after the run whose arrivals these are: the 99th percentile, and all of it beside the run.
 */
static double latency_gaps(struct latency *latency, double share, uint32_t seed, json_t *run)
{
    const struct load_config load = latency_config(latency, share, seed);
    load_gaps(&load, &latency->result->latency);
    (void)json_object_set_new(run, "machine_alone", suite_latency_json(&latency->result->latency));
    return us(&latency->result->latency, 990000);
}

static json_t *latency_point(const struct latency *latency, double percent)
{
    const struct load_result *result = latency->result;
    json_t *point = latency_json(latency);
    (void)json_object_set_new(point, "load_percent", json_real(percent));
    (void)json_object_set_new(point, "offered_per_s", json_real(result->offered_per_s));
    (void)json_object_set_new(point, "sealed_per_s",
                              json_real((double)result->sealed_count / result->seconds));
    (void)json_object_set_new(point, "backlog", json_integer((json_int_t)result->backlog_count));
    return point;
}

static int latency_half(struct latency *latency, struct claim *p50, struct claim *p99)
{
    json_t *runs = json_array();
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < latency->suite->pace.runs_count; i++) {
        rc = latency_run(latency, LATENCY_SHARE, i + 1);
        if (rc != 0)
            break;
        latency_check(latency);
        samples_add(&p50->runs, us(&latency->result->latency, 500000));
        samples_add(&p99->runs, us(&latency->result->latency, 990000));
        json_t *run = latency_point(latency, 100 * LATENCY_SHARE);
        samples_add(&p99->limit.runs, latency_gaps(latency, LATENCY_SHARE, i + 1, run));
        (void)json_array_append_new(runs, run);
    }
    (void)json_object_set_new(latency->suite->figures, "latency_half_load", runs);
    return rc;
}

static int latency_curve(struct latency *latency)
{
    json_t *curve = json_array();
    int rc = 0;
    for (uint32_t percent = LATENCY_CURVE_PERCENT; rc == 0 && percent < 100;
         percent += LATENCY_CURVE_PERCENT) {
        rc = latency_run(latency, percent / 100.0, percent);
        if (rc == 0)
            (void)json_array_append_new(curve, latency_point(latency, percent));
    }
    (void)json_object_set_new(latency->suite->figures, "latency_curve", curve);
    return rc;
}

static int tail_run(struct latency *latency, bool beside_large, uint32_t seed)
{
    struct load_config load = suite_load(latency->suite, latency->engine, latency->large);
    load.duration_ns = latency->suite->pace.tail_ns;
    load.rate_per_s = latency->small_per_s * TAIL_SMALL_SHARE;
    load.seed = seed;
    /* One thread makes both kinds of arrivals: copying 34 MiB would hold up the small ones. */
    load.in_place = true;
    if (beside_large) {
        load.clients_count = 2;
        load.other_set = latency->large;
        load.other_rate_per_s = latency->large_per_s * TAIL_LARGE_SHARE;
    }
    return latency_load(latency, &load);
}

static int tail_measure(struct latency *latency, struct claim *claim)
{
    json_t *runs = json_array();
    const uint32_t runs_count = MIN(latency->suite->pace.runs_count, (uint32_t)TAIL_RUNS_MAX);
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < runs_count; i++) {
        suite_settle(latency->suite);
        rc = tail_run(latency, false, i + 1);
        if (rc != 0)
            break;
        latency_check(latency);
        const double alone_us = us(&latency->result->latency, 999000);
        json_t *alone = latency_json(latency);
        rc = tail_run(latency, true, i + 1);
        const double beside_us = us(&latency->result->latency, 999000);
        json_t *run =
            json_pack("{s:o, s:o, s:o, s:f}", "alone", alone, "beside_large", latency_json(latency),
                      "large", suite_latency_json(&latency->result->other_latency),
                      "large_sealed_per_s",
                      (double)latency->result->other_sealed_count / latency->result->seconds);
        (void)json_array_append_new(runs, run);
        if (rc != 0)
            break;
        latency_check(latency);
        latency->large_offered += (double)latency->result->other_offered_count;
        latency->large_sealed += (double)latency->result->other_sealed_count;
        samples_add(&claim->runs, beside_us / MAX(alone_us, 0.001));
        samples_add(&claim->limit.runs, alone_us);
    }
    (void)json_object_set_new(latency->suite->figures, "tail",
                              json_pack("{s:f, s:f, s:f, s:f, s:o}", "small_share_of_capacity",
                                        TAIL_SMALL_SHARE, "large_share_of_capacity",
                                        TAIL_LARGE_SHARE, "small_capacity_per_s",
                                        latency->small_per_s, "large_capacity_per_s",
                                        latency->large_per_s, "runs", runs));
    return rc;
}

/* Large mail that is offered and not sealed disturbs nothing: one a run may still be under way. */
static void tail_check(struct latency *latency, const struct claim *claim)
{
    if (latency->unsound ||
        (latency->large_sealed > 0 &&
         latency->large_sealed + claim->runs.count >= TAIL_LARGE_SEALED * latency->large_offered))
        return;
    latency->unsound = true;
    (void)snprintf(latency->why, sizeof(latency->why),
                   "of %.0f large messages offered %.0f were sealed: they did not flow",
                   latency->large_offered, latency->large_sealed);
}

static void latency_claim(const struct latency *latency, struct claim *claim, int rc)
{
    struct suite *suite = latency->suite;
    if (rc != 0 || claim->runs.count == 0)
        suite_miss(suite, claim, suite->why[0] != '\0' ? NULL : "nothing was measured");
    else if (latency->unsound)
        suite_miss(suite, claim, latency->why);
    else
        claims_add(suite->claims, claim);
}

void row_latency(struct suite *suite)
{
    struct claim p50 = {.row = "latency",
                        .name = "latency at 50 % load, submit to sealed completion (instant key "
                                "acknowledgement), busy-polling: p50",
                        .unit = "us",
                        .compare = CLAIM_AT_MOST,
                        .target = 10};
    struct claim p99 = {.row = "latency",
                        .name = "latency at 50 % load, submit to sealed completion (instant key "
                                "acknowledgement), busy-polling: p99",
                        .unit = "us",
                        .compare = CLAIM_AT_MOST,
                        .target = 60,
                        .limit = {.name = "the machine alone: p99 of the same arrivals noticed by "
                                          "the client's thread with nothing else to do",
                                  .unit = "us"}};
    struct claim tail = {.row = "tail",
                         .name = "p99.9 of a 4 KiB message while 25 MiB ones flow at 30 % of "
                                 "capacity, against its p99.9 without them",
                         .unit = "x",
                         .compare = CLAIM_AT_MOST,
                         .target = 3,
                         .limit = {.name = "p99.9 without large messages", .unit = "us"}};
    struct latency latency = {.suite = suite};
    const bool wants_latency = suite_wants(suite, "latency");
    const bool wants_tail = suite_wants(suite, "tail");
    int rc = -ECANCELED;
    if (wants_latency || wants_tail) {
        suite_settle(suite);
        rc = latency_open(&latency);
    }
    if (rc == 0 && wants_latency)
        rc = latency_half(&latency, &p50, &p99);
    latency_claim(&latency, &p50, rc);
    latency_claim(&latency, &p99, rc);
    if (rc == 0 && wants_latency)
        rc = latency_curve(&latency);
    latency.unsound = false;
    if (rc == 0 && wants_tail)
        rc = tail_measure(&latency, &tail);
    tail_check(&latency, &tail);
    latency_claim(&latency, &tail, rc);
    latency_close(&latency);
}
