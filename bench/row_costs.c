/* The rows hotpath, memory and idle: what sealing costs beside time. */
#include "bench/hotpath.h"
#include "bench/suite.h"

#include "base/clock.h"
#include "mta/bulla.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COSTS_MAIL            "4KiB,4KiB,4KiB,4KiB"
#define COSTS_MIXED_MAIL      "4KiB:200,100KiB:10,1MiB/attached:2"
#define HOTPATH_CONTROL_PER_S 500
#define COSTS_SETTLE_NS       NS_PER_S
#define COSTS_MIB             1024.0 /* KiB */
#define MEMORY_GROWTH_MIB     1.0    /* a page here and there is no growth */

struct costs {
    struct suite *suite;
    const struct spawn *engine;
    struct hotpath *hotpath;
    struct hotpath_counts counts;
    int rc;
    double private_mib;
    double resident_mib;
};

static void hotpath_begin(void *user)
{
    struct costs *costs = user;
    costs->rc = hotpath_start(&costs->hotpath, costs->engine, costs->suite->why);
}

static void hotpath_end(void *user)
{
    struct costs *costs = user;
    if (costs->hotpath != NULL)
        hotpath_stop(costs->hotpath, &costs->counts);
    costs->hotpath = NULL;
}

static int hotpath_run(struct costs *costs, const char *mail, double rate_per_s)
{
    struct suite *suite = costs->suite;
    struct mailset *set = NULL;
    struct load_result *result = malloc(sizeof(*result));
    int rc = result == NULL ? -ENOMEM : mailset_open_sizes(&set, mail, suite->why);
    if (rc == 0) {
        struct load_config load = suite_load(suite, costs->engine, set);
        load.rate_per_s = rate_per_s;
        load.hooks = (struct load_hooks){.start = hotpath_begin, .end = hotpath_end, .user = costs};
        rc = load_run(&load, set, result, suite->why);
    }
    if (rc == 0)
        rc = costs->rc;
    if (rc == 0 && costs->counts.messages == 0) {
        (void)snprintf(suite->why, sizeof(suite->why), "nothing was sealed meanwhile");
        rc = -EIO;
    }
    mailset_close(set);
    free(result);
    return rc;
}

static json_t *hotpath_json(const struct hotpath_counts *counts)
{
    json_t *numbers = json_object();
    for (uint32_t i = 0; i < HOTPATH_SYSCALLS_MAX; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "%u", i);
        if (counts->system_calls_by_number[i] > 0)
            (void)json_object_set_new(numbers, name,
                                      json_integer(counts->system_calls_by_number[i]));
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:b, s:o, s:I, s:I, s:I, s:I}", "messages",
                     (json_int_t)counts->messages, "allocator_calls",
                     (json_int_t)counts->allocator_calls, "lock_calls",
                     (json_int_t)counts->lock_calls, "log_calls", (json_int_t)counts->log_calls,
                     "system_calls", (json_int_t)counts->system_calls, "system_calls_traced",
                     (int)counts->traced, "system_calls_by_number", numbers, "minor_page_faults",
                     (json_int_t)counts->minor_faults, "major_page_faults",
                     (json_int_t)counts->major_faults, "voluntary_context_switches",
                     (json_int_t)counts->voluntary_switches, "involuntary_context_switches",
                     (json_int_t)counts->involuntary_switches);
}

/* Whether a count of nothing means anything: an engine that sleeps between rare messages must be
 * seen asking the kernel, and starting one must be seen allocating. */
static int hotpath_control(struct suite *suite)
{
    const struct spawn_config config = {.workers = 1, .sleeping = true};
    struct spawn *engine = NULL;
    int rc = suite_engine(suite, &engine, &config);
    if (rc != 0)
        return rc;
    struct costs costs = {.suite = suite, .engine = engine};
    rc = hotpath_run(&costs, COSTS_MAIL, HOTPATH_CONTROL_PER_S);
    uint64_t allocator_calls = 0;
    for (uint32_t i = 0; i < COUNTS_THREADS_MAX; i++)
        allocator_calls +=
            atomic_load_explicit(&engine->counts->threads[i].allocator_calls, memory_order_relaxed);
    if (rc == 0) {
        json_t *figure = hotpath_json(&costs.counts);
        (void)json_object_set_new(figure, "allocator_calls_of_all_threads",
                                  json_integer((json_int_t)allocator_calls));
        (void)json_object_set_new(suite->figures, "hotpath_control", figure);
        if (allocator_calls == 0 || (costs.counts.traced && costs.counts.system_calls == 0)) {
            (void)snprintf(suite->why, sizeof(suite->why),
                           "the counters are blind: an engine that sleeps shows no calls either");
            rc = -EIO;
        }
    }
    spawn_close(engine);
    return rc;
}

void row_hotpath(struct suite *suite)
{
    static const char *const names[] = {"allocations", "locks", "log calls", "system calls"};
    static const char *const mails[] = {COSTS_MAIL, COSTS_MIXED_MAIL};
    const struct spawn_config config = {.workers = 1};
    struct samples found[ARRAY_COUNT(names)] = {{.count = 0}};
    struct spawn *engine = NULL;
    json_t *figures = json_array();
    bool traced = true;
    int rc = suite_wants(suite, "hotpath") ? hotpath_control(suite) : -ECANCELED;
    if (rc == 0)
        rc = suite_engine(suite, &engine, &config);
    for (size_t i = 0; rc == 0 && i < ARRAY_COUNT(mails); i++) {
        struct costs costs = {.suite = suite, .engine = engine};
        rc = hotpath_run(&costs, mails[i], 0);
        if (rc != 0)
            break;
        const struct hotpath_counts *counts = &costs.counts;
        const uint64_t calls[ARRAY_COUNT(names)] = {counts->allocator_calls, counts->lock_calls,
                                                    counts->log_calls, counts->system_calls};
        for (size_t k = 0; k < ARRAY_COUNT(names); k++)
            samples_add(&found[k], (double)calls[k] / (double)counts->messages);
        traced = traced && counts->traced;
        json_t *figure = hotpath_json(counts);
        (void)json_object_set_new(figure, "mail", json_string(mails[i]));
        (void)json_array_append_new(figures, figure);
    }
    (void)json_object_set_new(suite->figures, "hotpath", figures);
    spawn_close(engine);
    for (size_t k = 0; k < ARRAY_COUNT(names); k++) {
        char name[96];
        (void)snprintf(name, sizeof(name), "%s per message on the hot path", names[k]);
        struct claim claim = {.row = "hotpath",
                              .name = name,
                              .unit = "/message",
                              .compare = CLAIM_AT_MOST,
                              .target = 0,
                              .runs = found[k]};
        if (rc != 0)
            suite_miss(suite, &claim, NULL);
        else if (k + 1 == ARRAY_COUNT(names) && !traced)
            suite_miss(suite, &claim, "this machine allows no ptrace");
        else
            claims_add(suite->claims, &claim);
    }
}

/* What is resident but no arena: shared memory is arenas alone, with their slots and constants. */
static void memory_look(void *user)
{
    struct costs *costs = user;
    const pid_t pid = costs->engine->pid;
    const uint64_t all_kib =
        spawn_memory_kib(pid, "VmRSS:") + spawn_memory_kib(pid, "HugetlbPages:");
    costs->resident_mib = (double)all_kib / COSTS_MIB;
    costs->private_mib = ((double)all_kib - (double)spawn_memory_kib(pid, "RssShmem:")) / COSTS_MIB;
}

/* While the client is still attached, so that arenas stand. */
static int memory_after(struct costs *costs, const char *mail, const char *name, json_t *figures,
                        double *private_mib)
{
    struct mailset *set = NULL;
    struct load_result *result = malloc(sizeof(*result));
    int rc = result == NULL ? -ENOMEM : mailset_open_sizes(&set, mail, costs->suite->why);
    if (rc == 0) {
        struct load_config load = suite_load(costs->suite, costs->engine, set);
        load.hooks = (struct load_hooks){.end = memory_look, .user = costs};
        rc = load_run(&load, set, result, costs->suite->why);
    }
    if (rc == 0) {
        *private_mib = costs->private_mib;
        (void)json_array_append_new(figures,
                                    json_pack("{s:s, s:I, s:f, s:f, s:f}", "after", name, "sealed",
                                              (json_int_t)result->sealed_count, "resident_mib",
                                              costs->resident_mib, "arenas_mib",
                                              costs->resident_mib - costs->private_mib,
                                              "beside_arenas_mib", costs->private_mib));
    }
    mailset_close(set);
    free(result);
    return rc;
}

void row_memory(struct suite *suite)
{
    struct claim claims[] = {
        {.row = "memory", .name = "resident memory beside arenas", .unit = "MiB", .target = 64},
        {.row = "memory",
         .name = "resident memory: growth from 4 KiB messages to 25 MiB ones",
         .unit = "MiB",
         .target = MEMORY_GROWTH_MIB},
        {.row = "memory",
         .name = "resident memory: growth with the number of messages sealed",
         .unit = "MiB",
         .target = MEMORY_GROWTH_MIB},
    };
    const struct spawn_config config = {.workers = 1};
    struct spawn *engine = NULL;
    json_t *figures = json_array();
    double first = 0;
    double large = 0;
    double last = 0;
    int rc = suite_wants(suite, "memory") ? suite_engine(suite, &engine, &config) : -ECANCELED;
    struct costs costs = {.suite = suite, .engine = engine};
    if (rc == 0)
        rc = memory_after(&costs, COSTS_MAIL, "4 KiB messages", figures, &first);
    if (rc == 0)
        rc = memory_after(&costs, SUITE_LARGE_MAIL, "25 MiB messages", figures, &large);
    for (uint32_t i = 0; rc == 0 && i < suite->pace.runs_count; i++)
        rc = memory_after(&costs, COSTS_MAIL, "more 4 KiB messages", figures, &last);
    spawn_close(engine);
    (void)json_object_set_new(suite->figures, "memory", figures);
    const double values[] = {MAX(MAX(first, large), last), large - first, last - MAX(first, large)};
    for (size_t i = 0; i < ARRAY_COUNT(claims); i++) {
        claims[i].compare = CLAIM_AT_MOST;
        samples_add(&claims[i].runs, values[i]);
        if (rc == 0)
            claims_add(suite->claims, &claims[i]);
        else
            suite_miss(suite, &claims[i], NULL);
    }
}

static uint64_t idle_spent_ns(pid_t pid)
{
    clockid_t clock;
    struct timespec spent = {.tv_sec = 0};
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &spent) != 0)
        return 0;
    return (uint64_t)spent.tv_sec * NS_PER_S + (uint64_t)spent.tv_nsec;
}

static void idle_sleep(uint64_t ns)
{
    const struct timespec rest = {.tv_sec = (time_t)(ns / NS_PER_S),
                                  .tv_nsec = (long)(ns % NS_PER_S)};
    (void)nanosleep(&rest, NULL);
}

void row_idle(struct suite *suite)
{
    struct claim claim = {.row = "idle",
                          .name = "idle engine with adaptive waiting: share of a core",
                          .unit = "%",
                          .compare = CLAIM_BELOW,
                          .target = 1};
    const struct spawn_config config = {.workers = 1, .sleeping = true};
    struct spawn *engine = NULL;
    struct bulla *bulla = NULL;
    int rc = suite_wants(suite, "idle") ? suite_engine(suite, &engine, &config) : -ECANCELED;
    if (rc == 0) {
        const struct bulla_config attach = {.socket_path = engine->socket_path};
        rc = bulla_attach(&bulla, &attach);
        if (rc != 0)
            (void)snprintf(suite->why, sizeof(suite->why), "cannot attach: %s", strerror(-rc));
    }
    if (rc == 0) {
        idle_sleep(COSTS_SETTLE_NS);
        const uint64_t from_ns = clock_monotonic_ns();
        const uint64_t spent_ns = idle_spent_ns(engine->pid);
        idle_sleep(suite->pace.idle_ns);
        const uint64_t spent_more_ns = idle_spent_ns(engine->pid) - spent_ns;
        samples_add(&claim.runs,
                    100.0 * (double)spent_more_ns / (double)(clock_monotonic_ns() - from_ns));
        bulla_detach(bulla);
        (void)json_object_set_new(
            suite->figures, "idle",
            json_pack("{s:f, s:f, s:i}", "processor_s", (double)spent_more_ns / 1e9, "seconds",
                      (double)suite->pace.idle_ns / 1e9, "attached_clients", 1));
    }
    spawn_close(engine);
    if (rc == 0)
        claims_add(suite->claims, &claim);
    else
        suite_miss(suite, &claim, NULL);
}
