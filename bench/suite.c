#include "bench/suite.h"

#include "base/clock.h"
#include "bench/engine_view.h"
#include "bench/folder.h"
#include "bench/machine.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#define SUITE_INPUT_BYTES   (160u << 20) /* four of the largest mail */
#define SUITE_CAPACITY_RUNS 3
#define SUITE_FORMAT        1

static const char usage[] =
    "usage: bulla-bench suite [--json FILE] [--short] [--corpus FOLDER] [--only ROW[,ROW]...]\n"
    "                         [--priority]\n"
    "\n"
    "  --json FILE       writes figures and claims as JSON\n"
    "  --short           some two minutes: the figures are rough\n"
    "  --corpus FOLDER   the real mail to seal (../shared/corpus/ham beside the sources)\n"
    "  --only ROWS       of small, large, corpus, size, browser, latency, tail, hotpath, memory,\n"
    "                    idle, keyservice, spool, scaling; the other claims stand as not measured\n"
    "  --priority        goes before the machine's other programs: nice -15\n";

/* Runs, warming up, engine, peers, rooflines, tail, idling; outage, settling. */
static const struct suite_pace suite_full = {
    .runs_count = 7,
    .warmup_ns = 300 * NS_PER_MS,
    .engine_ns = 1000 * NS_PER_MS,
    .peer_ns = 1000 * NS_PER_MS,
    .roofline_ns = 500 * NS_PER_MS,
    .tail_ns = 4000 * NS_PER_MS,
    .idle_ns = 5000 * NS_PER_MS,
    .outage_ns = 3000 * NS_PER_MS,
    .settle_ns = 5000 * NS_PER_MS,
};
static const struct suite_pace suite_rough = {
    .runs_count = 2,
    .warmup_ns = 100 * NS_PER_MS,
    .engine_ns = 400 * NS_PER_MS,
    .peer_ns = 300 * NS_PER_MS,
    .roofline_ns = 500 * NS_PER_MS,
    .tail_ns = 400 * NS_PER_MS,
    .idle_ns = 1000 * NS_PER_MS,
    .outage_ns = 500 * NS_PER_MS,
};

void suite_pace_set(struct suite *suite)
{
    suite->pace = suite->is_short ? suite_rough : suite_full;
}

bool suite_wants(const struct suite *suite, const char *row)
{
    const size_t bytes = strlen(row);
    for (const char *at = suite->only; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, row, bytes) == 0 && (at[bytes] == ',' || at[bytes] == '\0'))
            return true;
    }
    return suite->only == NULL;
}

void suite_settle(const struct suite *suite)
{
    const struct timespec pause = {.tv_sec = (time_t)(suite->pace.settle_ns / NS_PER_S)};
    (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
}

void suite_miss(struct suite *suite, struct claim *claim, const char *why)
{
    claim->runs.count = 0;
    if (!suite_wants(suite, claim->row))
        claim->why = "left out by --only";
    else
        claim->why = why != NULL             ? why
                     : suite->why[0] != '\0' ? suite->why
                                             : "it could not be measured";
    claims_add(suite->claims, claim);
}

int suite_engine(struct suite *suite, struct spawn **engine, const struct spawn_config *config)
{
    struct engine_view *view = calloc(1, sizeof(*view));
    uint32_t cpus[ENGINE_VIEW_WORKERS_MAX];
    machine_unpin(); /* or the engine would be pinned to the client's processor of the last one */
    int rc = view == NULL ? -ENOMEM : spawn_open(engine, config, suite->why);
    if (rc == 0) {
        rc = engine_view_take(view, (*engine)->socket_path);
        for (uint32_t i = 0; i < view->workers_count; i++)
            cpus[i] = view->workers[i].cpu;
        const int client_cpu = machine_pin(cpus, view->workers_count, -1);
        if (client_cpu < 0)
            (void)fprintf(stderr, "bulla-bench: every processor is a worker's: not pinned\n");
        (void)json_object_set_new(suite->figures, "placement",
                                  json_pack("{s:i, s:i, s:i}", "client_cpu", client_cpu,
                                            "first_worker_cpu", (int)cpus[0], "workers",
                                            (int)view->workers_count));
        if (rc != 0) {
            (void)snprintf(suite->why, sizeof(suite->why), "the engine gives no status: %s",
                           strerror(-rc));
            spawn_close(*engine);
            *engine = NULL;
        }
    }
    free(view);
    return rc;
}

struct load_config suite_load(const struct suite *suite, const struct spawn *engine,
                              const struct mailset *set)
{
    return (struct load_config){
        .socket_path = engine != NULL ? engine->socket_path : getenv("BULLA_SOCKET"),
        .engine = engine,
        .sender = "accounts@example.com",
        .recipient = "erin@example.net",
        .clients_count = 1,
        .input_bytes = MAX((uint64_t)SUITE_INPUT_BYTES, 4 * (uint64_t)set->bytes_max),
        .warmup_ns = suite->pace.warmup_ns,
        .duration_ns = suite->pace.engine_ns,
        .seed = 1,
    };
}

int suite_capacity(struct suite *suite, const struct load_config *config, const struct mailset *set,
                   double *per_s)
{
    struct samples rates = {.count = 0};
    struct load_config full = *config;
    struct load_result *result = malloc(sizeof(*result));
    int rc = result == NULL ? -ENOMEM : 0;
    full.rate_per_s = 0;
    for (uint32_t i = 0; rc == 0 && i < SUITE_CAPACITY_RUNS; i++) {
        full.seed = i + 1;
        rc = load_run(&full, set, result, suite->why);
        if (rc == 0)
            samples_add(&rates, (double)result->sealed_count / result->seconds);
    }
    if (rc == 0 && samples_median(&rates) <= 0) {
        (void)snprintf(suite->why, sizeof(suite->why), "nothing was sealed: %.150s",
                       result->other_text);
        rc = -EIO;
    }
    if (rc == 0)
        *per_s = samples_median(&rates);
    free(result);
    return rc;
}

json_t *suite_latency_json(const struct histogram *latency)
{
    static const struct {
        const char *name;
        uint32_t per_million;
    } points[] = {{"p50_us", 500000},
                  {"p90_us", 900000},
                  {"p99_us", 990000},
                  {"p99.9_us", 999000},
                  {"p99.99_us", 999900}};
    static const uint32_t list[] = {100000, 250000, 500000, 750000, 900000, 950000, 980000,
                                    990000, 995000, 998000, 999000, 999500, 999900, 999990};
    json_t *object = json_object();
    for (size_t i = 0; i < ARRAY_COUNT(points); i++)
        (void)json_object_set_new(
            object, points[i].name,
            json_real((double)histogram_percentile_ns(latency, points[i].per_million) / 1e3));
    (void)json_object_set_new(object, "max_us",
                              json_real(latency->count == 0 ? 0 : (double)latency->ns_max / 1e3));
    (void)json_object_set_new(object, "messages", json_integer((json_int_t)latency->count));
    json_t *percentiles = json_array();
    for (size_t i = 0; i < ARRAY_COUNT(list); i++)
        (void)json_array_append_new(
            percentiles, json_pack("{s:f, s:f}", "percent", (double)list[i] / 1e4, "us",
                                   (double)histogram_percentile_ns(latency, list[i]) / 1e3));
    (void)json_object_set_new(object, "percentiles", percentiles);
    return object;
}

static int suite_options(struct suite *suite, int argc, char **argv)
{
    static const struct option known[] = {
        {"json", required_argument, NULL, 'j'},
        {"short", no_argument, NULL, 's'},
        {"corpus", required_argument, NULL, 'c'},
        {"only", required_argument, NULL, 'o'},
        {"priority", no_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'j': suite->json_path = optarg; break;
        case 's': suite->is_short = true; break;
        case 'c': suite->corpus = optarg; break;
        case 'o': suite->only = optarg; break;
        case 'p': machine_go_first(); break;
        case 'h': (void)fputs(usage, stdout); exit(0);
        default: return -EINVAL;
        }
    }
    return optind == argc ? 0 : -EINVAL;
}

static int suite_open(struct suite *suite)
{
    static const char corpus[] = BULLA_SOURCE_DIR "/../shared/corpus/ham";
    suite_pace_set(suite);
    if (suite->corpus == NULL && access(corpus, R_OK) == 0)
        suite->corpus = corpus;
    suite->claims = json_array();
    suite->figures = json_object();
    if (suite->claims == NULL || suite->figures == NULL)
        return -ENOMEM;
    return folder_make(suite->folder, sizeof(suite->folder), "bulla-suite");
}

static void suite_close(struct suite *suite)
{
    folder_remove(suite->folder);
    json_decref(suite->claims);
    json_decref(suite->figures);
}

static void suite_rows(struct suite *suite)
{
    static const struct {
        const char *says;
        void (*measure)(struct suite *suite);
    } rows[] = {
        {"rates: engine, peers and limits in turns", row_rates},
        {"sizes", row_sizes},
        {"latency", row_latency},
        {"what the hot path calls", row_hotpath},
        {"memory", row_memory},
        {"idling", row_idle},
        {"workers, mixes, clients", row_scaling},
        {"the real key service", row_keyservice},
        {"the spool", row_spool},
        {"browsers", row_browser},
    };
    const uint64_t start_ns = clock_monotonic_ns();
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        (void)fprintf(stderr, "bulla-bench: %3lu s  %s\n",
                      (unsigned long)((clock_monotonic_ns() - start_ns) / NS_PER_S), rows[i].says);
        suite->why[0] = '\0';
        rows[i].measure(suite);
    }
}

static int suite_write(const struct suite *suite, uint64_t took_ns)
{
    json_t *root =
        json_pack("{s:s, s:i, s:I, s:b, s:f, s:o, s:O, s:O}", "tool", "bulla-bench suite", "format",
                  SUITE_FORMAT, "unix_s", (json_int_t)time(NULL), "short", (int)suite->is_short,
                  "took_s", (double)took_ns / 1e9, "machine", machine_json(), "claims",
                  suite->claims, "figures", suite->figures);
    if (root == NULL)
        return -ENOMEM;
    const int rc = json_dump_file(root, suite->json_path, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(root);
    return rc == 0 ? 0 : -EIO;
}

int suite_main(int argc, char **argv)
{
    struct suite suite = {.corpus = NULL};
    if (suite_options(&suite, argc, argv) != 0) {
        (void)fputs(usage, stderr);
        return EX_USAGE;
    }
    if (!spawn_in_build_tree()) {
        (void)fputs("bulla-bench: suite runs programs of its build tree: run bench/bulla-bench "
                    "there, not a copy or what was installed\n",
                    stderr);
        return EX_UNAVAILABLE;
    }
    if (suite_open(&suite) != 0) {
        (void)fprintf(stderr, "bulla-bench: no folder in TMPDIR, or else /tmp: %s\n",
                      strerror(errno));
        return EX_CANTCREAT;
    }
    const uint64_t start_ns = clock_monotonic_ns();
    suite_rows(&suite);
    claims_print(suite.claims, stdout);
    int status = 0;
    if (suite.json_path != NULL && suite_write(&suite, clock_monotonic_ns() - start_ns) != 0) {
        (void)fprintf(stderr, "bulla-bench: %s cannot be written\n", suite.json_path);
        status = EX_CANTCREAT;
    }
    suite_close(&suite);
    return status;
}
