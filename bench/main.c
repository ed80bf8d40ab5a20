/*
 * bulla-bench: what an engine does under load, next to the hardware's limit and today's peer.
 *
 * Claim:   sealed messages a second and their latency, through the real shared-memory queue.
 * Metric:  messages/s, MB/s of original mail, latency percentiles from the moment a message was
 * due. Command: bulla-bench --instant --sizes 4KiB --json out.json (an engine of its own, whose key
 * service acknowledges at once), or tools/demo --exec bulla-bench --sizes 4KiB (the real thing).
 */
#include "base/clock.h"
#include "base/macros.h"
#include "bench/alone.h"
#include "bench/engine_view.h"
#include "bench/load.h"
#include "bench/machine.h"
#include "bench/mailset.h"
#include "bench/peer.h"
#include "bench/report.h"
#include "bench/spawn.h"
#include "bench/suite.h"
#include "mta/bulla.h"

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

static const char usage[] =
    "usage: bulla-bench [option]...\n"
    "       bulla-bench suite [--json FILE] [--short] ...  everything in one go: suite --help\n"
    "\n"
    "  --socket PATH      the engine's socket ($BULLA_SOCKET, else " BULLA_SOCKET_DEFAULT ")\n"
    "  --instant          starts and stops an engine of its own instead, whose key service\n"
    "                     acknowledges at once; only from a build tree\n"
    "  --workers N        of that engine (all cores but one)\n"
    "  --sleeping         that engine waits adaptively instead of polling for ever\n"
    "  --arena SIZE       its output arena for each client (the engine's default)\n"
    "  --profile NAME     the engine's profile (default)\n"
    "  --sizes LIST       4KiB, or a mix 4KiB:70,64KiB:25,25MiB:5 (4KiB)\n"
    "  --mail FOLDER      the messages of a folder instead\n"
    "  --rate N           open loop: N messages a second, Poisson; without it the queue is kept "
    "full\n"
    "  --load PERCENT     open loop at this share of the capacity that a first run finds\n"
    "  --clients N        attachments, served in turn (1)\n"
    "  --seconds S        measured time of a run (5)\n"
    "  --warmup S         unmeasured time before it (1)\n"
    "  --runs N           runs; minimum, median and maximum are shown (3)\n"
    "  --from, --to ADDR  envelope addresses (accounts@example.com, $BULLA_USER or "
    "erin@example.net)\n"
    "  --slots N          messages under way per client (256)\n"
    "  --flatten          copy every sealed mail into one buffer too\n"
    "  --cpu N            pin this process to a processor (the first that no worker runs on)\n"
    "  --priority         goes before other programs, and the engine of --instant too: nice -15\n"
    "  --no-peers         leave out the limit and OpenSSL's CMS\n"
    "  --json FILE        write the figures as JSON too\n";

struct bench {
    struct load_config load;
    const char *sizes;
    const char *folder;
    const char *json_path;
    double load_percent;
    uint32_t runs_count;
    struct engine_view view; /* before the first run */
    int cpu;
    bool peers;
    bool instant;
    struct spawn_config spawn_config;
    struct spawn *spawn; /* NULL: somebody else's engine */
};

static double bench_number(const char *option, const char *text, double min, double max)
{
    char *end;
    errno = 0;
    const double number = strtod(text, &end);
    if (errno != 0 || end == text || *end != '\0' || !(number >= min && number <= max)) {
        (void)fprintf(stderr, "bulla-bench: --%s %s: give a number from %g to %g\n", option, text,
                      min, max);
        exit(EX_USAGE);
    }
    return number;
}

static uint64_t bench_size(const char *option, const char *text)
{
    const uint64_t bytes = mailset_size(text);
    if (bytes == 0) {
        (void)fprintf(stderr, "bulla-bench: --%s %s: write a size as 40MiB\n", option, text);
        exit(EX_USAGE);
    }
    return bytes;
}

enum bench_option {
    BENCH_SOCKET = 1,
    BENCH_INSTANT,
    BENCH_WORKERS,
    BENCH_SLEEPING,
    BENCH_ARENA,
    BENCH_PROFILE,
    BENCH_SIZES,
    BENCH_MAIL,
    BENCH_RATE,
    BENCH_LOAD,
    BENCH_CLIENTS,
    BENCH_SECONDS,
    BENCH_WARMUP,
    BENCH_RUNS,
    BENCH_FROM,
    BENCH_TO,
    BENCH_SLOTS,
    BENCH_FLATTEN,
    BENCH_CPU,
    BENCH_PRIORITY,
    BENCH_NO_PEERS,
    BENCH_JSON,
    BENCH_HELP,
};

static const struct option bench_options[] = {
    {"socket", required_argument, NULL, BENCH_SOCKET},
    {"instant", no_argument, NULL, BENCH_INSTANT},
    {"workers", required_argument, NULL, BENCH_WORKERS},
    {"sleeping", no_argument, NULL, BENCH_SLEEPING},
    {"arena", required_argument, NULL, BENCH_ARENA},
    {"profile", required_argument, NULL, BENCH_PROFILE},
    {"sizes", required_argument, NULL, BENCH_SIZES},
    {"mail", required_argument, NULL, BENCH_MAIL},
    {"rate", required_argument, NULL, BENCH_RATE},
    {"load", required_argument, NULL, BENCH_LOAD},
    {"clients", required_argument, NULL, BENCH_CLIENTS},
    {"seconds", required_argument, NULL, BENCH_SECONDS},
    {"warmup", required_argument, NULL, BENCH_WARMUP},
    {"runs", required_argument, NULL, BENCH_RUNS},
    {"from", required_argument, NULL, BENCH_FROM},
    {"to", required_argument, NULL, BENCH_TO},
    {"slots", required_argument, NULL, BENCH_SLOTS},
    {"flatten", no_argument, NULL, BENCH_FLATTEN},
    {"cpu", required_argument, NULL, BENCH_CPU},
    {"priority", no_argument, NULL, BENCH_PRIORITY},
    {"no-peers", no_argument, NULL, BENCH_NO_PEERS},
    {"json", required_argument, NULL, BENCH_JSON},
    {"help", no_argument, NULL, BENCH_HELP},
    {NULL, 0, NULL, 0},
};

static void bench_option(struct bench *bench, int option, const char *value)
{
    struct load_config *load = &bench->load;
    switch (option) {
    case BENCH_SOCKET: load->socket_path = value; break;
    case BENCH_INSTANT: bench->instant = true; break;
    case BENCH_WORKERS:
        bench->spawn_config.workers = (uint32_t)bench_number("workers", value, 0, 64);
        break;
    case BENCH_SLEEPING: bench->spawn_config.sleeping = true; break;
    case BENCH_ARENA: bench->spawn_config.output_arena_bytes = bench_size("arena", value); break;
    case BENCH_PROFILE: load->profile = value; break;
    case BENCH_SIZES: bench->sizes = value; break;
    case BENCH_MAIL: bench->folder = value; break;
    case BENCH_RATE: load->rate_per_s = bench_number("rate", value, 0.1, 1e9); break;
    case BENCH_LOAD: bench->load_percent = bench_number("load", value, 1, 100); break;
    case BENCH_CLIENTS:
        load->clients_count = (uint32_t)bench_number("clients", value, 1, LOAD_CLIENTS_MAX);
        break;
    case BENCH_SECONDS:
        load->duration_ns = (uint64_t)(bench_number("seconds", value, 0.1, 3600) * 1e9);
        break;
    case BENCH_WARMUP:
        load->warmup_ns = (uint64_t)(bench_number("warmup", value, 0, 3600) * 1e9);
        break;
    case BENCH_RUNS:
        bench->runs_count = (uint32_t)bench_number("runs", value, 1, REPORT_RUNS_MAX);
        break;
    case BENCH_FROM: load->sender = value; break;
    case BENCH_TO: load->recipient = value; break;
    case BENCH_SLOTS: load->slots_count = (uint32_t)bench_number("slots", value, 8, 4096); break;
    case BENCH_FLATTEN: load->flatten = true; break;
    case BENCH_CPU: bench->cpu = (int)bench_number("cpu", value, 0, CPU_SETSIZE - 1); break;
    case BENCH_PRIORITY: machine_go_first(); break;
    case BENCH_NO_PEERS: bench->peers = false; break;
    case BENCH_JSON: bench->json_path = value; break;
    case BENCH_HELP: (void)fputs(usage, stdout); exit(0);
    default: (void)fputs(usage, stderr); exit(EX_USAGE);
    }
}

/* A client that shared a worker's processor would measure itself. */
static void bench_pin(const struct bench *bench)
{
    uint32_t cpus[ENGINE_VIEW_WORKERS_MAX];
    for (uint32_t i = 0; i < bench->view.workers_count; i++)
        cpus[i] = bench->view.workers[i].cpu;
    if (machine_pin(cpus, bench->view.workers_count, bench->cpu) < 0)
        (void)fprintf(stderr, "bulla-bench: no processor is free of workers: not pinned\n");
}

static int bench_fail(const char *why)
{
    (void)fprintf(stderr, "bulla-bench: %s\n", why);
    return EX_UNAVAILABLE;
}

/* Finds the capacity with the queue kept full; --load is a share of it. */
static int bench_find_rate(struct bench *bench, const struct mailset *set,
                           struct load_result *scratch, char why[MAILSET_WHY_BYTES])
{
    const int rc = load_run(&bench->load, set, scratch, why);
    if (rc != 0)
        return rc;
    bench->load.rate_per_s =
        (double)scratch->sealed_count / scratch->seconds * bench->load_percent / 100;
    if (bench->load.rate_per_s > 0)
        return 0;
    (void)snprintf(why, MAILSET_WHY_BYTES, "nothing was sealed: %.150s", scratch->other_text);
    return -EIO;
}

static int bench_peers(const struct bench *bench, const struct mailset *set, struct report *report,
                       char why[MAILSET_WHY_BYTES])
{
    const uint64_t peer_ns = MIN(bench->load.duration_ns, 2 * NS_PER_S);
    struct alone alone;
    alone_begin(&alone, bench->spawn);
    int rc = peer_gcm(set, peer_ns, &report->limit, why);
    report->limit_measured = rc == 0;
    if (rc == 0)
        rc = peer_cms(set, peer_ns, &report->peer, why);
    report->peer_measured = rc == 0;
    alone_end(&alone);
    return rc;
}

static int bench_measure(struct bench *bench, const struct mailset *set, struct report *report,
                         struct load_result *runs, char why[MAILSET_WHY_BYTES])
{
    int rc = 0;
    if (bench->load_percent > 0)
        rc = bench_find_rate(bench, set, &runs[0], why);
    for (uint32_t i = 0; rc == 0 && i < bench->runs_count; i++) {
        bench->load.seed = i + 1;
        rc = load_run(&bench->load, set, &runs[i], why);
    }
    struct engine_view after;
    if (rc == 0 && engine_view_take(&after, bench->load.socket_path) == 0)
        report->workers_active = engine_view_active(&bench->view, &after);
    if (rc == 0 && bench->peers)
        rc = bench_peers(bench, set, report, why);
    return rc;
}

/* Finds the engine, or starts one. */
static bool bench_attach(struct bench *bench)
{
    char why[MAILSET_WHY_BYTES] = "";
    if (bench->instant) {
        if (spawn_open(&bench->spawn, &bench->spawn_config, why) != 0) {
            (void)bench_fail(why);
            return false;
        }
        bench->load.socket_path = bench->spawn->socket_path;
        bench->load.engine = bench->spawn;
    }
    if (bench->load.socket_path == NULL)
        bench->load.socket_path = BULLA_SOCKET_DEFAULT;
    const int rc = engine_view_take(&bench->view, bench->load.socket_path);
    if (rc != 0)
        (void)fprintf(stderr,
                      "bulla-bench: no engine at %s (%s): start bullad, or give --socket or "
                      "--instant\n",
                      bench->load.socket_path, strerror(-rc));
    return rc == 0;
}

static int bench_run(struct bench *bench, const struct mailset *set)
{
    char why[MAILSET_WHY_BYTES] = "";
    struct load_result *runs = calloc(bench->runs_count, sizeof(*runs));
    if (runs == NULL)
        return EX_OSERR;
    bench_pin(bench);
    struct report report = {.mail = bench->folder != NULL ? bench->folder : bench->sizes,
                            .config = &bench->load,
                            .workers_count = bench->view.workers_count,
                            .runs = runs,
                            .runs_count = bench->runs_count};
    const int rc = bench_measure(bench, set, &report, runs, why);
    int status = rc == 0 ? 0 : bench_fail(why);
    if (rc == 0) {
        report_table(&report);
        if (bench->json_path != NULL && report_json(&report, bench->json_path) != 0)
            status = bench_fail("the JSON file cannot be written");
    }
    free(runs);
    return status;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "suite") == 0)
        return suite_main(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "real") == 0)
        return suite_real_main(argc - 1, argv + 1);
    const char *user = getenv("BULLA_USER");
    struct bench bench = {
        .load = {.socket_path = getenv("BULLA_SOCKET"),
                 .sender = "accounts@example.com",
                 .recipient = user != NULL ? user : "erin@example.net",
                 .clients_count = 1,
                 .warmup_ns = NS_PER_S,
                 .duration_ns = 5 * NS_PER_S},
        .sizes = "4KiB",
        .runs_count = 3,
        .cpu = -1,
        .peers = true,
    };
    int option;
    while ((option = getopt_long(argc, argv, "", bench_options, NULL)) != -1)
        bench_option(&bench, option, optarg);
    if (optind != argc) {
        (void)fputs(usage, stderr);
        return EX_USAGE;
    }

    char why[MAILSET_WHY_BYTES] = "";
    struct mailset *set = NULL;
    int rc = bench.folder != NULL ? mailset_open_folder(&set, bench.folder, why)
                                  : mailset_open_sizes(&set, bench.sizes, why);
    if (rc != 0) {
        (void)fprintf(stderr, "bulla-bench: %s\n", why);
        return EX_NOINPUT;
    }
    /* A client needs room for several of the largest message at once. */
    bench.load.input_bytes = MAX((uint64_t)64 << 20, 4 * (uint64_t)set->bytes_max);
    const int status = bench_attach(&bench) ? bench_run(&bench, set) : EX_UNAVAILABLE;
    spawn_close(bench.spawn);
    mailset_close(set);
    return status;
}
