/* The row scaling: what a worker more costs another; without claims one to many workers, mixed
 * sizes, many clients. */
#include "bench/suite.h"

#include "base/clock.h"
#include "bench/engine_view.h"
#include "bench/machine.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SCALING_MAIL        "4KiB,4KiB,4KiB,4KiB"
#define SCALING_MIXED       "4KiB:900,64KiB:90,1MiB:9,25MiB/attached:1"
#define SCALING_CLIENTS     64
#define SCALING_WORKERS_MAX 32
#define SCALING_CLAIM_CORES 4

/* One process a worker, each with a client and a processor of its own. */
static int scaling_load(struct suite *suite, const struct spawn *engine, const struct mailset *set,
                        uint32_t count, struct load_result *results)
{
    pid_t children[SCALING_WORKERS_MAX];
    struct engine_view *view = calloc(1, sizeof(*view));
    uint32_t cpus[ENGINE_VIEW_WORKERS_MAX + SCALING_WORKERS_MAX];
    int rc = view == NULL ? -ENOMEM : engine_view_take(view, engine->socket_path);
    uint32_t cpus_count = 0;
    for (uint32_t i = 0; rc == 0 && i < view->workers_count; i++)
        cpus[cpus_count++] = view->workers[i].cpu;
    for (uint32_t i = 0; i < count; i++) {
        const int cpu = rc == 0 ? machine_pin(cpus, cpus_count, -1) : -1;
        if (cpu >= 0)
            cpus[cpus_count++] = (uint32_t)cpu;
        children[i] = rc == 0 ? fork() : -1;
        if (children[i] == 0) {
            struct load_config load = suite_load(suite, engine, set);
            load.seed = i + 1;
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
            _exit(load_run(&load, set, &results[i], suite->why) == 0 ? 0 : 1);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        int status = 1;
        if (children[i] > 0)
            (void)waitpid(children[i], &status, 0);
        if (rc == 0 && status != 0)
            rc = -EIO;
    }
    free(view);
    return rc;
}

static void scaling_workers(struct suite *suite, json_t *figures, const struct mailset *set,
                            uint32_t workers)
{
    const struct spawn_config config = {.workers = workers};
    const size_t bytes = workers * sizeof(struct load_result);
    struct spawn *engine = NULL;
    struct load_result *results =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct samples all = {.count = 0};
    struct samples each = {.count = 0};
    struct samples preempted = {.count = 0};
    if (results == MAP_FAILED)
        return;
    int rc = suite_engine(suite, &engine, &config);
    for (uint32_t run = 0; rc == 0 && run < MIN(suite->pace.runs_count, 3U); run++) {
        rc = scaling_load(suite, engine, set, workers, results);
        double sum = 0;
        for (uint32_t i = 0; rc == 0 && i < workers; i++)
            sum += (double)results[i].sealed_count / results[i].seconds;
        if (rc != 0)
            break;
        samples_add(&all, sum);
        samples_add(&each, sum / workers);
        samples_add(&preempted, results[0].worker_preempted_per_s);
    }
    spawn_close(engine);
    (void)munmap(results, bytes);
    if (rc == 0)
        (void)json_array_append_new(
            figures, json_pack("{s:i, s:o, s:o, s:o}", "workers", (int)workers, "messages_per_s",
                               samples_json(&all), "messages_per_s_per_worker", samples_json(&each),
                               "worker_preemptions_per_s", samples_json(&preempted)));
}

/* What the slowest of the workers seals, each with a client and all at once. */
static int scaling_slowest(struct suite *suite, const struct mailset *set, uint32_t workers,
                           double *per_s)
{
    const struct spawn_config config = {.workers = workers};
    const size_t bytes = workers * sizeof(struct load_result);
    struct spawn *engine = NULL;
    struct load_result *results =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (results == MAP_FAILED)
        return -errno;
    int rc = suite_engine(suite, &engine, &config);
    if (rc == 0)
        rc = scaling_load(suite, engine, set, workers, results);
    for (uint32_t i = 0; rc == 0 && i < workers; i++) {
        const double rate = (double)results[i].sealed_count / results[i].seconds;
        *per_s = i == 0 ? rate : MIN(*per_s, rate);
        if (!load_sound(&results[i], suite->why))
            rc = -EIO;
    }
    spawn_close(engine);
    (void)munmap(results, bytes);
    return rc;
}

/* In turns, so that what else happens on the machine hits one worker as it hits two. */
static void scaling_claim(struct suite *suite, const struct mailset *set)
{
    struct claim claim = {.row = "scaling",
                          .name = "adding a worker: how much slower another one then seals 4 KiB "
                                  "messages, each with a client of its own",
                          .unit = "%",
                          .compare = CLAIM_AT_MOST,
                          .target = 5};
    if (set == NULL || !machine_has_cores(SCALING_CLAIM_CORES)) {
        suite_miss(suite, &claim,
                   set == NULL ? NULL
                               : "two workers and their clients want four cores: here are fewer");
        return;
    }
    int rc = 0;
    for (uint32_t run = 0; rc == 0 && run < suite->pace.runs_count; run++) {
        double one = 0;
        double two = 0;
        rc = scaling_slowest(suite, set, 1, &one);
        if (rc == 0)
            rc = scaling_slowest(suite, set, 2, &two);
        if (rc == 0)
            samples_add(&claim.runs, 100 * (1 - two / one));
    }
    if (rc == 0)
        claims_add(suite->claims, &claim);
    else
        suite_miss(suite, &claim, NULL);
}

static json_t *scaling_one(struct suite *suite, const char *mail, uint32_t clients_count,
                           bool latency)
{
    const struct spawn_config config = {.workers = 1};
    struct mailset *set = NULL;
    struct spawn *engine = NULL;
    struct samples messages = {.count = 0};
    struct samples mb = {.count = 0};
    struct samples preempted = {.count = 0};
    struct load_result *result = malloc(sizeof(*result));
    json_t *half = json_null();
    int rc = result == NULL ? -ENOMEM : mailset_open_sizes(&set, mail, suite->why);
    if (rc == 0)
        rc = suite_engine(suite, &engine, &config);
    struct load_config load = {.clients_count = 0};
    if (rc == 0) {
        load = suite_load(suite, engine, set);
        load.clients_count = clients_count;
        if (clients_count > 1) {
            load.slots_count = 32;
            load.input_bytes = 1u << 20;
        }
    }
    for (uint32_t i = 0; rc == 0 && i < MIN(suite->pace.runs_count, 3U); i++) {
        load.seed = i + 1;
        rc = load_run(&load, set, result, suite->why);
        if (rc == 0) {
            samples_add(&messages, (double)result->sealed_count / result->seconds);
            samples_add(&mb, (double)result->mail_bytes / result->seconds / 1e6);
            samples_add(&preempted, result->worker_preempted_per_s);
        }
    }
    if (rc == 0 && latency) {
        load.rate_per_s = samples_median(&messages) / 2;
        rc = load_run(&load, set, result, suite->why);
        if (rc == 0)
            half = suite_latency_json(&result->latency);
    }
    spawn_close(engine);
    mailset_close(set);
    free(result);
    if (rc != 0) {
        json_decref(half);
        return json_pack("{s:s}", "why", suite->why);
    }
    return json_pack("{s:s, s:i, s:o, s:o, s:o, s:o}", "mail", mail, "clients", (int)clients_count,
                     "messages_per_s", samples_json(&messages), "mb_per_s", samples_json(&mb),
                     "worker_preemptions_per_s", samples_json(&preempted), "latency_half_load",
                     half);
}

void row_scaling(struct suite *suite)
{
    struct mailset *set = NULL;
    if (!suite_wants(suite, "scaling")) {
        scaling_claim(suite, NULL);
        return;
    }
    json_t *workers = json_array();
    /* Each worker wants a core for its client besides. */
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    const uint32_t most = MIN((uint32_t)MAX(cores / 2, 1L), (uint32_t)SCALING_WORKERS_MAX);
    if (mailset_open_sizes(&set, SCALING_MAIL, suite->why) == 0)
        for (uint32_t n = 1; n <= most; n = n == most ? most + 1 : MIN(2 * n, most))
            scaling_workers(suite, workers, set, n);
    scaling_claim(suite, set);
    mailset_close(set);
    (void)json_object_set_new(suite->figures, "workers", workers);
    (void)json_object_set_new(suite->figures, "mixed_sizes",
                              scaling_one(suite, SCALING_MIXED, 1, true));
    (void)json_object_set_new(suite->figures, "many_clients",
                              scaling_one(suite, SCALING_MAIL, SCALING_CLIENTS, true));
}
