/* The row keyservice, and the real engine before a real key service: its speed and an outage. */
#include "bench/suite.h"

#include "base/clock.h"
#include "bench/engine_view.h"
#include "bench/machine.h"
#include "bench/process.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#define KEYS_PER_S_TARGET   100000
#define KEYS_RUNS_MAX       5
#define KEYS_TIMEOUT_S      60
#define KEYS_ANSWER_BYTES   16384
#define REAL_TIMEOUT_S      180
#define REAL_MAIL           "4KiB,4KiB,4KiB,4KiB"
#define REAL_SLOTS          1024
#define OUTAGE_STEP_NS      (100 * NS_PER_MS)
#define OUTAGE_BEFORE_STEPS 15 /* of steady load before it */
#define OUTAGE_AFTER_NS     (6 * NS_PER_S)
#define OUTAGE_FULL_SHARE   0.9 /* of the rate before it: full again */

/* Figures of one run of service_bench, which starts a service of its own. */
static json_t *keys_run(struct suite *suite)
{
    static const char program[] = BULLA_BINARY_DIR "/bench/keyservice/service_bench";
    const char *const command[] = {
        program, "--json", "--runs", "1", "--seconds", suite->is_short ? "0.5" : "2", NULL};
    char *answer = malloc(KEYS_ANSWER_BYTES);
    json_t *figures = NULL;
    const int rc = answer == NULL
                       ? -ENOMEM
                       : process_run(command, NULL, KEYS_TIMEOUT_S, answer, KEYS_ANSWER_BYTES);
    if (rc == 0)
        figures = json_loads(answer, 0, NULL);
    if (figures == NULL)
        (void)snprintf(suite->why, sizeof(suite->why), "service_bench gave no figures: %s",
                       rc == 0 ? "no JSON" : strerror(-rc));
    free(answer);
    return figures;
}

static void keys_measure(struct suite *suite)
{
    struct claim claim = {.row = "keyservice",
                          .name = "real key service on the same machine, SQLite, synced: keys "
                                  "registered end to end in batches",
                          .unit = "keys/s",
                          .compare = CLAIM_AT_LEAST,
                          .target = KEYS_PER_S_TARGET,
                          .limit = {.name = "the disk alone: a batch's bytes and an fdatasync",
                                    .unit = "keys/s"}};
    json_t *runs = json_array();
    const uint32_t runs_count = MIN(suite->pace.runs_count, (uint32_t)KEYS_RUNS_MAX);
    bool good = suite_wants(suite, "keyservice");
    for (uint32_t i = 0; good && i < runs_count; i++) {
        json_t *run = keys_run(suite);
        const json_t *keys = json_object_get(json_object_get(run, "keys_per_s"), "median");
        const json_t *disk =
            json_object_get(json_object_get(run, "disk_limit_keys_per_s"), "median");
        good = json_is_number(keys);
        if (!good)
            continue;
        samples_add(&claim.runs, json_number_value(keys));
        if (json_is_number(disk))
            samples_add(&claim.limit.runs, json_number_value(disk));
        (void)json_array_append_new(runs, run);
    }
    (void)json_object_set_new(suite->figures, "keyservice", runs);
    if (good)
        claims_add(suite->claims, &claim);
    else
        suite_miss(suite, &claim, NULL);
}

static void real_say_log(const char *log_path)
{
    char line[512];
    FILE *file = fopen(log_path, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        (void)fprintf(stderr, "bulla-bench real: %s", line);
    if (file != NULL)
        (void)fclose(file);
}

/* Starts bulla-keyd and bullad by tools/demo and has this program measure them. */
static void real_measure(struct suite *suite)
{
    char self[2048];
    char json_path[SPAWN_PATH_BYTES + 16];
    char log_path[SPAWN_PATH_BYTES + 16];
    char said[4096];
    json_t *figures = NULL;
    const char *why = "bullad and bulla-keyd were not built, or did not start";
    if (spawn_program_folder(self, sizeof(self) - sizeof("/bulla-bench")) == 0) {
        (void)strncat(self, "/bulla-bench", sizeof(self) - strlen(self) - 1);
        (void)snprintf(json_path, sizeof(json_path), "%s/real.json", suite->folder);
        const char *const command[] = {
            BULLA_SOURCE_DIR "/tools/demo",     "--exec", self, "real", "--json", json_path,
            suite->is_short ? "--short" : NULL, NULL};
        (void)setenv("BULLA_BUILD_DIR", BULLA_BINARY_DIR, 1);
        (void)snprintf(log_path, sizeof(log_path), "%s/real.log", suite->folder);
        const int rc = process_run(command, log_path, REAL_TIMEOUT_S, said, sizeof(said));
        figures = json_load_file(json_path, 0, NULL); /* it says itself what it could not measure */
        if (rc != 0)
            real_say_log(log_path);
    }
    (void)json_object_set_new(suite->figures, "real",
                              figures != NULL ? figures : json_pack("{s:s}", "why", why));
}

void row_keyservice(struct suite *suite)
{
    keys_measure(suite);
    if (suite_wants(suite, "keyservice"))
        real_measure(suite);
}

static void outage_sleep(uint64_t ns)
{
    const struct timespec rest = {.tv_sec = (time_t)(ns / NS_PER_S),
                                  .tv_nsec = (long)(ns % NS_PER_S)};
    (void)nanosleep(&rest, NULL);
}

/* In a process of its own: stops the key service for a while. */
static _Noreturn void outage_make(pid_t keyd, uint64_t before_ns, uint64_t outage_ns)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* tools/demo continues what it stops */
    outage_sleep(before_ns);
    (void)kill(keyd, SIGSTOP);
    outage_sleep(outage_ns);
    (void)kill(keyd, SIGCONT);
    _exit(0);
}

static json_t *outage_json(const struct load_result *result, uint32_t outage_steps)
{
    const uint32_t end_step = OUTAGE_BEFORE_STEPS + outage_steps;
    const uint32_t steps_count =
        MIN(end_step + (uint32_t)(OUTAGE_AFTER_NS / OUTAGE_STEP_NS), (uint32_t)LOAD_SERIES_MAX);
    struct samples before = {.count = 0};
    json_t *series = json_array();
    uint64_t sealed_during = 0;
    uint64_t retries = 0;
    for (uint32_t i = 0; i < steps_count; i++) {
        if (i < OUTAGE_BEFORE_STEPS)
            samples_add(&before, result->series[i]);
        else if (i < end_step)
            sealed_during += result->series[i];
        retries += result->series_retries[i];
        (void)json_array_append_new(series, json_integer(result->series[i]));
    }
    const double steady = samples_median(&before);
    uint32_t full_step = end_step;
    while (full_step < steps_count && result->series[full_step] < OUTAGE_FULL_SHARE * steady)
        full_step++;
    return json_pack("{s:f, s:f, s:I, s:I, s:o, s:f, s:o}", "outage_s",
                     (double)outage_steps * OUTAGE_STEP_NS / 1e9, "sealed_per_s_before",
                     steady * (double)NS_PER_S / OUTAGE_STEP_NS, "sealed_during",
                     (json_int_t)sealed_during, "retries", (json_int_t)retries,
                     "until_full_rate_again_s",
                     full_step == steps_count
                         ? json_null()
                         : json_real((full_step - end_step) * (double)OUTAGE_STEP_NS / 1e9),
                     "step_s", (double)OUTAGE_STEP_NS / 1e9, "sealed_by_step", series);
}

static int real_outage(struct suite *suite, const struct mailset *set, struct load_config load,
                       struct load_result *result)
{
    const char *keyd = getenv("BULLA_DEMO_KEYD_PID");
    if (keyd == NULL) {
        (void)snprintf(suite->why, sizeof(suite->why), "run inside tools/demo --exec");
        return -EINVAL;
    }
    load.rate_per_s = 0;
    load.series_ns = OUTAGE_STEP_NS;
    load.duration_ns =
        OUTAGE_BEFORE_STEPS * OUTAGE_STEP_NS + suite->pace.outage_ns + OUTAGE_AFTER_NS;
    const pid_t child = fork();
    if (child == 0)
        outage_make((pid_t)strtol(keyd, NULL, 10),
                    load.warmup_ns + OUTAGE_BEFORE_STEPS * OUTAGE_STEP_NS, suite->pace.outage_ns);
    const int rc = child < 0 ? -errno : load_run(&load, set, result, suite->why);
    if (child > 0)
        (void)waitpid(child, NULL, 0);
    if (rc == 0)
        (void)json_object_set_new(suite->figures, "outage",
                                  outage_json(result,
                                              (uint32_t)(suite->pace.outage_ns / OUTAGE_STEP_NS)));
    return rc;
}

static int real_measure_all(struct suite *suite, const struct mailset *set,
                            struct load_result *result)
{
    struct load_config load = suite_load(suite, NULL, set);
    struct samples rates = {.count = 0};
    int rc = 0;
    load.warmup_ns *= 3;
    load.sleeps = true;
    load.slots_count = REAL_SLOTS;
    for (uint32_t i = 0; rc == 0 && i < MIN(suite->pace.runs_count, (uint32_t)KEYS_RUNS_MAX); i++) {
        load.seed = i + 1;
        rc = load_run(&load, set, result, suite->why);
        if (rc == 0)
            samples_add(&rates, (double)result->sealed_count / result->seconds);
    }
    if (rc != 0)
        return rc;
    (void)json_object_set_new(suite->figures, "mail", json_string(REAL_MAIL));
    (void)json_object_set_new(suite->figures, "sealed_per_s", samples_json(&rates));
    load.rate_per_s = samples_median(&rates) / 2;
    if (load.rate_per_s > 0) {
        rc = load_run(&load, set, result, suite->why);
        if (rc == 0)
            (void)json_object_set_new(suite->figures, "latency_half_load",
                                      suite_latency_json(&result->latency));
    }
    return rc != 0 ? rc : real_outage(suite, set, load, result);
}

int suite_real_main(int argc, char **argv)
{
    struct suite suite = {.figures = json_object()};
    const char *json_path = NULL;
    static const struct option known[] = {{"json", required_argument, NULL, 'j'},
                                          {"short", no_argument, NULL, 's'},
                                          {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        json_path = option == 'j' ? optarg : json_path;
        suite.is_short = suite.is_short || option == 's';
    }
    if (json_path == NULL || getenv("BULLA_SOCKET") == NULL) {
        (void)fprintf(stderr, "usage: tools/demo --exec bulla-bench real --json FILE [--short]\n");
        return EX_USAGE;
    }
    suite_pace_set(&suite);
    machine_go_along(); /* the key service has the client's processor */
    struct engine_view *view = calloc(1, sizeof(*view));
    struct load_result *result = malloc(sizeof(*result));
    struct mailset *set = NULL;
    int rc =
        view == NULL || result == NULL ? -ENOMEM : mailset_open_sizes(&set, REAL_MAIL, suite.why);
    if (rc == 0)
        rc = engine_view_take(view, getenv("BULLA_SOCKET"));
    if (rc == 0) {
        uint32_t cpus[ENGINE_VIEW_WORKERS_MAX];
        for (uint32_t i = 0; i < view->workers_count; i++)
            cpus[i] = view->workers[i].cpu;
        (void)machine_pin(cpus, view->workers_count, -1);
        rc = real_measure_all(&suite, set, result);
    }
    if (rc != 0)
        (void)json_object_set_new(suite.figures, "why", json_string(suite.why));
    if (json_dump_file(suite.figures, json_path, JSON_REAL_PRECISION(9)) != 0)
        rc = -EIO;
    json_decref(suite.figures);
    mailset_close(set);
    free(result);
    free(view);
    return rc == 0 ? 0 : EX_UNAVAILABLE;
}
