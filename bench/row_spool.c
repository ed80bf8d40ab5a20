/* The row spool: mail that waits while the key service is away: taken over, drained, kept, found
 * again. */
#include "bench/suite.h"

#include "base/clock.h"
#include "bench/engine_view.h"
#include "bench/folder.h"
#include "bench/raw_disk.h"
#include "mta/bulla.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define SPOOL_MAIL           "4KiB,4KiB,4KiB,4KiB"
#define SPOOL_STOCK_MAIL     "1KiB,1KiB,1KiB,1KiB" /* of those that only wait */
#define SPOOL_STOCK_COUNT    1000000
#define SPOOL_STOCK_ROUGH    200000
#define SPOOL_STOCK_NS       (120 * NS_PER_S) /* for taking them over */
#define SPOOL_STOCK_ROUGH_NS (4 * NS_PER_S)   /* then what waits is reckoned with */
#define SPOOL_STOCK_MIN      20000
#define SPOOL_RESTARTS       3
#define SPOOL_RUNS_MAX       5
#define SPOOL_SLOTS          1024               /* of the client that fills the spool */
#define SPOOL_COLLECTS       256                /* emissions under way                */
#define SPOOL_COLLECT_MAX    4                  /* between two looks at new mail      */
#define SPOOL_NEW_PER_S      5000               /* new mail beside the drain          */
#define SPOOL_AWAY_NS        (1200 * NS_PER_MS) /* workers know by then that keys are away */
#define SPOOL_BACK_NS        (5 * NS_PER_S)     /* for the first of what waited to come out */
#define SPOOL_DRAIN_NS       (30 * NS_PER_S)
#define SPOOL_SYNCED_MAX     100000
#define SPOOL_SYNCED_BYTES   ((size_t)64 << 10)
#define SPOOL_BUFFER_BYTES   ((size_t)4 << 20)
#define SPOOL_RAW_BYTES_MAX  ((uint64_t)2 << 30)
#define SPOOL_BYTES_MAX      ((uint64_t)16 << 30)
#define SPOOL_GIB            ((uint64_t)1 << 30)
#define SPOOL_ROOM_GIB       8 /* of the disk; half of that for --short */
#define SPOOL_TMPFS          0x01021994
#define SPOOL_MIB            1024.0 /* KiB */

enum spool_claim {
    SPOOL_OF_RAW,
    SPOOL_OF_SYNCED,
    SPOOL_MEMORY,
    SPOOL_DRAIN,
    SPOOL_BESIDE,
    SPOOL_RECOVERY,
    SPOOL_CLAIMS,
};

struct spool_row {
    struct suite *suite;
    struct claim *claims;
    char spool[SPAWN_PATH_BYTES + 16];
    char raw[SPAWN_PATH_BYTES + 16];
    uint64_t spool_bytes;
    struct spawn *engine;
    struct mailset *mail;
    struct load_result *result;
    struct engine_view *view;
    struct disk *disk; /* of the raw writer */
    uint8_t *buffer;
    struct bulla_collector *collector;
    uint64_t stock_count;
    uint64_t to_drain;
    uint64_t drained;
    uint64_t drain_from_ns;
    uint64_t drain_end_ns;
    double bytes_each; /* on disk */
    int collect_rc;
    char rough[64]; /* said of figures for a million when fewer wait */
};

/* What one turn found: intake, its limit and its peer, and the drain. */
struct spool_turn {
    double queued_per_s;
    double mb_per_s;
    double commit_bytes;
    double raw_mb_per_s;
    double raw_reads_per_s; /* each of a message */
    double synced_per_s;
    double drained_per_s;
    double alone_us;
    double beside_us;
};

static void spool_pause(uint64_t ns)
{
    const struct timespec rest = {.tv_sec = (time_t)(ns / NS_PER_S),
                                  .tv_nsec = (long)(ns % NS_PER_S)};
    (void)nanosleep(&rest, NULL);
}

static int spool_fail(struct spool_row *row, int rc, const char *what)
{
    (void)snprintf(row->suite->why, sizeof(row->suite->why), "%.150s: %s", what, strerror(-rc));
    return rc;
}

/* A disk with room, by what it says beforehand. */
static int spool_room(struct spool_row *row)
{
    struct suite *suite = row->suite;
    struct statfs kind;
    struct statvfs room;
    const uint64_t need = SPOOL_GIB * SPOOL_ROOM_GIB / (suite->is_short ? 2 : 1);
    if (statfs(suite->folder, &kind) != 0 || statvfs(suite->folder, &room) != 0)
        return spool_fail(row, -errno, "the folder's disk is not known");
    const uint64_t there = (uint64_t)room.f_bavail * room.f_frsize;
    if (kind.f_type == SPOOL_TMPFS)
        (void)snprintf(suite->why, sizeof(suite->why),
                       "%.100s is in memory: let TMPDIR name a folder on a disk", suite->folder);
    else if (there < need)
        (void)snprintf(suite->why, sizeof(suite->why),
                       "%.100s has %.1f GiB free, %.0f are needed: let TMPDIR name another disk",
                       suite->folder, (double)there / (double)SPOOL_GIB,
                       (double)need / (double)SPOOL_GIB);
    row->spool_bytes = MIN(there / 4 * 3, SPOOL_BYTES_MAX);
    return kind.f_type == SPOOL_TMPFS || there < need ? -ENOSPC : 0;
}

static int spool_engine(struct spool_row *row, bool keys_away)
{
    const struct spawn_config config = {
        .workers = 1,
        .spool = row->spool,
        .spool_bytes = row->spool_bytes,
        .keys_away = keys_away,
    };
    if (mkdir(row->spool, 0700) != 0 && errno != EEXIST)
        return spool_fail(row, -errno, "no folder for the spool");
    return suite_engine(row->suite, &row->engine, &config);
}

/* With what was in its spool. */
static void spool_engine_end(struct spool_row *row)
{
    spawn_close(row->engine);
    row->engine = NULL;
    folder_remove(row->spool);
}

static int spool_look(struct spool_row *row)
{
    const int rc = engine_view_take(row->view, row->engine->socket_path);
    return rc == 0 ? 0 : spool_fail(row, rc, "the engine gives no status");
}

static struct load_config spool_load(const struct spool_row *row, bool queue)
{
    struct load_config load = suite_load(row->suite, row->engine, row->mail);
    load.queue = queue;
    if (queue)
        load.slots_count = SPOOL_SLOTS;
    else
        load.rate_per_s = SPOOL_NEW_PER_S;
    return load;
}

static int spool_load_run(struct spool_row *row, const struct load_config *load)
{
    const int rc = load_run(load, row->mail, row->result, row->suite->why);
    if (rc != 0)
        return rc;
    return load_sound(row->result, row->suite->why) ? 0 : -EIO;
}

/* What the disk gives others, in writes as large as the engine's were. */
static int spool_peers(struct spool_row *row, uint64_t all_bytes, struct spool_turn *turn)
{
    static const uint8_t message[SPOOL_SYNCED_BYTES];
    const uint64_t blocks = (uint64_t)turn->commit_bytes / DISK_BLOCK_BYTES + 1;
    const uint64_t one = MIN(blocks * DISK_BLOCK_BYTES, (uint64_t)SPOOL_BUFFER_BYTES);
    const uint64_t all = MAX(MIN(all_bytes, SPOOL_RAW_BYTES_MAX) / one, UINT64_C(1)) * one;
    const size_t synced_bytes = MIN((size_t)row->bytes_each, SPOOL_SYNCED_BYTES);
    /* A message begins anywhere in a block. */
    const uint64_t read_blocks = (uint64_t)row->bytes_each / DISK_BLOCK_BYTES + 1;
    const struct raw_disk_config config = {.disk = row->disk,
                                           .at = row->buffer,
                                           .write_bytes = one,
                                           .read_bytes = read_blocks * DISK_BLOCK_BYTES,
                                           .all_bytes = all};
    struct raw_disk_rates rates;
    int rc = raw_disk_run(&config, &rates);
    if (rc != 0)
        return spool_fail(row, rc, "the raw writer");
    turn->raw_mb_per_s = rates.write_mb_per_s;
    turn->raw_reads_per_s = rates.reads_per_s;
    rc = raw_disk_synced(row->raw, message, synced_bytes, SPOOL_SYNCED_MAX,
                         row->suite->pace.peer_ns, &turn->synced_per_s);
    return rc == 0 ? 0 : spool_fail(row, rc, "write and fdatasync");
}

/* Keys go away; the spool is filled for as long as a run takes. */
static int spool_intake(struct spool_row *row, struct spool_turn *turn)
{
    const struct load_config load = spool_load(row, true);
    spawn_keys_away(row->engine, true);
    spool_pause(SPOOL_AWAY_NS);
    int rc = spool_look(row);
    const uint64_t commits = row->view->workers[0].spool_commits;
    if (rc == 0)
        rc = spool_load_run(row, &load);
    if (rc == 0)
        rc = spool_look(row);
    if (rc != 0)
        return rc;
    const struct engine_view_worker *worker = &row->view->workers[0];
    if (worker->waiting == 0 || worker->spool_commits == commits) {
        (void)snprintf(row->suite->why, sizeof(row->suite->why), "nothing waits in the spool");
        return -EIO;
    }
    row->to_drain = worker->waiting;
    row->bytes_each = (double)worker->spool_bytes / (double)worker->waiting;
    turn->queued_per_s = (double)row->result->queued_count / row->result->seconds;
    turn->mb_per_s = turn->queued_per_s * row->bytes_each / 1e6;
    turn->commit_bytes = (double)worker->spool_bytes / (double)(worker->spool_commits - commits);
    return spool_peers(row, worker->spool_bytes, turn);
}

/* The next hop that answers at once; false when nothing more will come. */
static bool drain_turn(void *user)
{
    struct spool_row *row = user;
    struct bulla_emission emissions[SPOOL_COLLECT_MAX];
    const int count = bulla_collect_poll(row->collector, emissions, SPOOL_COLLECT_MAX);
    row->collect_rc = count < 0 ? count : 0;
    for (int n = 0; n < count && row->collect_rc == 0; n++)
        row->collect_rc =
            bulla_collect_done(row->collector, &emissions[n], BULLA_EMIT_SENT, "", "");
    if (count > 0) {
        row->drained += (uint64_t)count;
        row->drain_end_ns = clock_monotonic_ns();
    }
    return row->collect_rc == 0 && row->drained < row->to_drain;
}

/* New mail comes when the first of what waited is out: the worker knows by then that keys are back,
 * and refuses nothing. */
static void drain_start(void *user)
{
    struct spool_row *row = user;
    row->drained = 0;
    row->collect_rc = 0;
    row->drain_from_ns = clock_monotonic_ns();
    row->drain_end_ns = row->drain_from_ns;
    spawn_keys_away(row->engine, false);
    while (row->drained == 0 && drain_turn(row) &&
           clock_monotonic_ns() - row->drain_from_ns < SPOOL_BACK_NS)
        ;
}

/* Keys come back, a collector takes what waited, and new mail arrives beside it. */
static int spool_drain(struct spool_row *row, struct spool_turn *turn)
{
    const struct bulla_config config = {.socket_path = row->engine->socket_path,
                                        .slots_count = SPOOL_COLLECTS};
    struct load_config load = spool_load(row, false);
    load.warmup_ns = 0;
    load.duration_ns = SPOOL_DRAIN_NS;
    load.hooks = (struct load_hooks){.start = drain_start, .turn = drain_turn, .user = row};
    int rc = bulla_collect(&row->collector, &config);
    if (rc != 0)
        return spool_fail(row, rc, "no collector");
    rc = spool_load_run(row, &load);
    bulla_collect_end(row->collector);
    row->collector = NULL;
    if (rc == 0 && row->collect_rc != 0)
        rc = spool_fail(row, row->collect_rc, "the collector lost the engine");
    if (rc != 0)
        return rc;
    const uint64_t took_ns = row->drain_end_ns - row->drain_from_ns;
    turn->drained_per_s = (double)row->drained * 1e9 / (double)MAX(took_ns, UINT64_C(1));
    turn->beside_us = (double)histogram_percentile_ns(&row->result->latency, 990000) / 1e3;
    if (row->drained < row->to_drain) {
        (void)snprintf(row->suite->why, sizeof(row->suite->why),
                       "of %lu waiting messages %lu came out in %lu s",
                       (unsigned long)row->to_drain, (unsigned long)row->drained,
                       (unsigned long)(SPOOL_DRAIN_NS / NS_PER_S));
        rc = -ETIMEDOUT;
    }
    return rc;
}

static int spool_alone(struct spool_row *row, struct spool_turn *turn)
{
    const struct load_config load = spool_load(row, false);
    const int rc = spool_load_run(row, &load);
    turn->alone_us = (double)histogram_percentile_ns(&row->result->latency, 990000) / 1e3;
    return rc;
}

static void turn_add(struct spool_row *row, const struct spool_turn *turn, json_t *turns)
{
    struct claim *claims = row->claims;
    samples_add(&claims[SPOOL_OF_RAW].runs, turn->mb_per_s / turn->raw_mb_per_s);
    samples_add(&claims[SPOOL_OF_RAW].limit.runs, turn->raw_mb_per_s);
    samples_add(&claims[SPOOL_OF_SYNCED].runs, turn->queued_per_s / turn->synced_per_s);
    samples_add(&claims[SPOOL_OF_SYNCED].peer.runs, turn->synced_per_s);
    samples_add(&claims[SPOOL_DRAIN].runs, turn->drained_per_s);
    samples_add(&claims[SPOOL_DRAIN].limit.runs, turn->raw_reads_per_s);
    samples_add(&claims[SPOOL_BESIDE].runs, turn->beside_us / MAX(turn->alone_us, 0.001));
    samples_add(&claims[SPOOL_BESIDE].limit.runs, turn->alone_us);
    (void)json_array_append_new(
        turns, json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:f, s:f, s:f}", "queued_per_s",
                         turn->queued_per_s, "mb_per_s", turn->mb_per_s, "bytes_a_message",
                         row->bytes_each, "bytes_a_write", turn->commit_bytes, "raw_mb_per_s",
                         turn->raw_mb_per_s, "raw_reads_per_s", turn->raw_reads_per_s,
                         "synced_per_s", turn->synced_per_s, "drained", (json_int_t)row->drained,
                         "drained_per_s", turn->drained_per_s, "new_mail_p99_us", turn->alone_us,
                         "new_mail_beside_drain_p99_us", turn->beside_us));
}

/* The first turn makes the segments; the others, which count, write into recycled ones. */
static int spool_turns(struct spool_row *row, json_t *turns)
{
    const uint32_t count =
        row->suite->is_short ? 1 : MIN(row->suite->pace.runs_count, (uint32_t)SPOOL_RUNS_MAX);
    int rc = mailset_open_sizes(&row->mail, SPOOL_MAIL, row->suite->why);
    if (rc == 0)
        rc = spool_engine(row, false);
    for (uint32_t i = 0; rc == 0 && i <= count; i++) {
        struct spool_turn turn = {.alone_us = 0};
        suite_settle(row->suite);
        rc = spool_alone(row, &turn);
        if (rc == 0)
            rc = spool_intake(row, &turn);
        if (rc == 0)
            rc = spool_drain(row, &turn);
        if (rc == 0 && i > 0)
            turn_add(row, &turn, turns);
    }
    spool_engine_end(row);
    mailset_close(row->mail);
    row->mail = NULL;
    return rc;
}

static double spool_resident_mib(const struct spool_row *row)
{
    const pid_t pid = row->engine->pid;
    return (double)(spawn_memory_kib(pid, "VmRSS:") + spawn_memory_kib(pid, "HugetlbPages:")) /
           SPOOL_MIB;
}

static bool stock_turn(void *user)
{
    const struct spool_row *row = user;
    return row->result->queued_count < row->stock_count;
}

/* Fills the spool; MiB before and after, with no client attached. */
static int stock_fill(struct spool_row *row, double *before_mib, double *after_mib)
{
    struct load_config load = spool_load(row, true);
    load.warmup_ns = 0;
    load.duration_ns = row->suite->is_short ? SPOOL_STOCK_ROUGH_NS : SPOOL_STOCK_NS;
    load.hooks = (struct load_hooks){.turn = stock_turn, .user = row};
    spool_pause(SPOOL_AWAY_NS);
    *before_mib = spool_resident_mib(row);
    int rc = spool_load_run(row, &load);
    if (rc == 0)
        rc = spool_look(row);
    *after_mib = spool_resident_mib(row);
    const uint64_t waiting = row->view->workers[0].waiting;
    if (rc == 0 && waiting < (row->suite->is_short ? SPOOL_STOCK_MIN : row->stock_count)) {
        (void)snprintf(row->suite->why, sizeof(row->suite->why),
                       "no more than %lu messages wait after %lu s", (unsigned long)waiting,
                       (unsigned long)(load.duration_ns / NS_PER_S));
        rc = -ETIMEDOUT;
    }
    (void)snprintf(row->rough, sizeof(row->rough), "reckoned from %lu waiting messages",
                   (unsigned long)waiting);
    return rc;
}

/* Seconds from its start until it serves, over what a killed one has left. */
static int stock_restart(struct spool_row *row, uint64_t waiting, double *seconds)
{
    spawn_kill(row->engine);
    spawn_close(row->engine);
    row->engine = NULL;
    const uint64_t from_ns = clock_monotonic_ns();
    int rc = spool_engine(row, true);
    *seconds = (double)(clock_monotonic_ns() - from_ns) / 1e9;
    if (rc == 0)
        rc = spool_look(row);
    if (rc == 0 && row->view->workers[0].recovered != waiting) {
        (void)snprintf(row->suite->why, sizeof(row->suite->why), "of %lu records %lu were found",
                       (unsigned long)waiting, (unsigned long)row->view->workers[0].recovered);
        rc = -EIO;
    }
    return rc;
}

/* What a million would be, when fewer wait. */
static double stock_scale(double empty, double full, uint64_t waiting)
{
    return waiting >= SPOOL_STOCK_COUNT
               ? full
               : empty + (full - empty) * SPOOL_STOCK_COUNT / (double)waiting;
}

static int stock_measure(struct spool_row *row, json_t *figures)
{
    double before_mib = 0;
    double after_mib = 0;
    const uint64_t from_ns = clock_monotonic_ns();
    int rc = spool_engine(row, true);
    const double empty_s = (double)(clock_monotonic_ns() - from_ns) / 1e9;
    if (rc == 0)
        rc = stock_fill(row, &before_mib, &after_mib);
    if (rc != 0)
        return rc;
    const uint64_t waiting = row->view->workers[0].waiting;
    const double disk_bytes = (double)row->view->workers[0].spool_bytes / (double)waiting;
    struct claim *memory = &row->claims[SPOOL_MEMORY];
    struct claim *recovery = &row->claims[SPOOL_RECOVERY];
    struct samples restarts = {.count = 0};
    samples_add(&memory->runs, stock_scale(before_mib, after_mib, waiting));
    samples_add(&memory->limit.runs, before_mib);
    samples_add(&recovery->limit.runs, empty_s);
    for (uint32_t i = 0; rc == 0 && i < (row->suite->is_short ? 1 : SPOOL_RESTARTS); i++) {
        double seconds;
        rc = stock_restart(row, waiting, &seconds);
        samples_add(&restarts, seconds);
        samples_add(&recovery->runs, stock_scale(empty_s, seconds, waiting));
    }
    const double each_bytes = (after_mib - before_mib) * 1048576 / (double)waiting;
    (void)json_object_set_new(
        figures, "waiting",
        json_pack("{s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:o}", "messages", (json_int_t)waiting,
                  "disk_bytes_each", disk_bytes, "resident_mib_before", before_mib, "resident_mib",
                  after_mib, "resident_bytes_each", each_bytes, "resident_mib_recovered",
                  rc == 0 ? spool_resident_mib(row) : 0, "start_empty_s", empty_s, "start_s",
                  samples_json(&restarts)));
    return rc;
}

static int spool_stock(struct spool_row *row, json_t *figures)
{
    row->stock_count = row->suite->is_short ? SPOOL_STOCK_ROUGH : SPOOL_STOCK_COUNT;
    if (row->suite->is_short) {
        row->claims[SPOOL_MEMORY].why = row->rough;
        row->claims[SPOOL_RECOVERY].why = row->rough;
    }
    int rc = spool_room(row);
    if (rc == 0)
        rc = mailset_open_sizes(&row->mail, SPOOL_STOCK_MAIL, row->suite->why);
    if (rc == 0)
        rc = stock_measure(row, figures);
    if (row->engine != NULL)
        spawn_kill(row->engine);
    spool_engine_end(row);
    mailset_close(row->mail);
    row->mail = NULL;
    return rc;
}

static int spool_open(struct spool_row *row)
{
    struct suite *suite = row->suite;
    char why[DISK_WHY_BYTES] = "";
    row->result = malloc(sizeof(*row->result));
    row->view = calloc(1, sizeof(*row->view));
    row->buffer = aligned_alloc(DISK_BLOCK_BYTES, SPOOL_BUFFER_BYTES);
    if (row->result == NULL || row->view == NULL || row->buffer == NULL)
        return -ENOMEM;
    memset(row->buffer, 1, SPOOL_BUFFER_BYTES);
    (void)snprintf(row->spool, sizeof(row->spool), "%s/spool", suite->folder);
    (void)snprintf(row->raw, sizeof(row->raw), "%s/raw", suite->folder);
    if (mkdir(row->raw, 0700) != 0)
        return spool_fail(row, -errno, "no folder for the raw writer");
    int rc = spool_room(row);
    if (rc != 0)
        return rc;
    const struct disk_memory memory = {.at = row->buffer, .bytes = SPOOL_BUFFER_BYTES};
    rc = disk_uring_open(&row->disk, row->raw, &memory, why);
    if (rc == -EPERM || rc == -ENOSYS)
        rc = disk_thread_open(&row->disk, row->raw, why);
    if (rc != 0)
        (void)snprintf(suite->why, sizeof(suite->why), "%.200s", why);
    return rc;
}

static void spool_close(struct spool_row *row)
{
    disk_close(row->disk);
    free(row->buffer);
    free(row->view);
    free(row->result);
}

static void spool_claim(const struct spool_row *row, enum spool_claim which, int rc)
{
    struct claim *claim = &row->claims[which];
    if (rc != 0 || claim->runs.count == 0)
        suite_miss(row->suite, claim, NULL);
    else
        claims_add(row->suite->claims, claim);
}

void row_spool(struct suite *suite)
{
    struct claim claims[SPOOL_CLAIMS] = {
        [SPOOL_OF_RAW] = {.name = "durable intake of 4 KiB messages while the key service is away: "
                                  "bytes written, of what a raw O_DIRECT writer of the same sizes "
                                  "gets of the disk",
                          .unit = "of limit",
                          .compare = CLAIM_AT_LEAST,
                          .target = 0.6,
                          .limit = {.name = "raw O_DIRECT writer, 8 in flight", .unit = "MB/s"}},
        [SPOOL_OF_SYNCED] = {.name = "durable intake of 4 KiB messages while the key service is "
                                     "away, against write and fdatasync of each",
                             .unit = "x",
                             .compare = CLAIM_AT_LEAST,
                             .target = 20,
                             .peer = {.name = "write and fdatasync", .unit = "messages/s"}},
        [SPOOL_MEMORY] = {.name = "resident memory with a million messages waiting",
                          .unit = "MiB",
                          .compare = CLAIM_AT_MOST,
                          .target = 600,
                          .limit = {.name = "with none", .unit = "MiB"}},
        [SPOOL_DRAIN] = {.name = "drain after the outage, new mail beside it",
                         .unit = "messages/s",
                         .compare = CLAIM_AT_LEAST,
                         .target = 50000,
                         .limit = {.name = "reading each once, O_DIRECT, 128 in flight",
                                   .unit = "messages/s"}},
        [SPOOL_BESIDE] = {.name = "p99 of new 4 KiB messages during the drain, against their p99 "
                                  "without it",
                          .unit = "x",
                          .compare = CLAIM_AT_MOST,
                          .target = 2,
                          .limit = {.name = "p99 without a drain", .unit = "us"}},
        [SPOOL_RECOVERY] = {.name = "recovery of a million records: killed engine started again, "
                                    "until it serves",
                            .unit = "s",
                            .compare = CLAIM_AT_MOST,
                            .target = 5,
                            .limit = {.name = "start with an empty spool", .unit = "s"}},
    };
    for (uint32_t i = 0; i < SPOOL_CLAIMS; i++)
        claims[i].row = "spool";
    struct spool_row row = {.suite = suite, .claims = claims};
    json_t *turns = json_array();
    json_t *figures = json_object();
    int rc = suite_wants(suite, "spool") ? spool_open(&row) : -ECANCELED;
    const int opened = rc;
    if (opened == 0)
        rc = spool_turns(&row, turns);
    spool_claim(&row, SPOOL_OF_RAW, rc);
    spool_claim(&row, SPOOL_OF_SYNCED, rc);
    spool_claim(&row, SPOOL_DRAIN, rc);
    spool_claim(&row, SPOOL_BESIDE, rc);
    if (opened == 0) {
        suite->why[0] = '\0';
        rc = spool_stock(&row, figures);
    }
    spool_claim(&row, SPOOL_MEMORY, rc);
    spool_claim(&row, SPOOL_RECOVERY, rc);
    (void)json_object_set_new(figures, "turns", turns);
    (void)json_object_set_new(figures, "new_mail_per_s", json_integer(SPOOL_NEW_PER_S));
    (void)json_object_set_new(suite->figures, "spool", figures);
    spool_close(&row);
}
