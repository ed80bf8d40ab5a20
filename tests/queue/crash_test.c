/* Power cuts at any moment of any load of the spool: what recovery finds in the disks that could be
 * left. BULLA_CRASH_STATES: so many of them; BULLA_CRASH_SEED: the first load. */
#include "queue/spool.h"
#include "tests/queue/disk_model.h"
#include "tests/queue/spool_load.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/macros.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#ifdef __SANITIZE_ADDRESS__
#define STATES_USUAL 5000
#else
#define STATES_USUAL 100000 /* of the proof that every run gives */
#endif

#define CUTS_A_MOMENT     6
#define STATES_A_LOAD_MAX 4000
#define LARGE_ONE_IN      16  /* loads has records larger than a group of the log */
#define LARGE_STATES_MAX  200 /* each costs as much as ten                        */
#define STEPS_A_LOAD      700
#define SEEN_MAX          ((uint32_t)1 << 24)
#define MOMENTS_GUESSED   64 /* of a recovery, before one was counted */

/* One load and all that is tried on the way. */
struct explorer {
    uint64_t seed;
    uint64_t random;
    struct load *load;
    struct disk_model *disk;  /* the load's own                  */
    struct disk_model *cut;   /* what a power cut leaves         */
    struct disk_model *again; /* the same, to be cut in recovery */
    struct disk_model *inner; /* what that leaves                */
    uint64_t moments;
    uint64_t states; /* of this load */
    uint64_t states_max;
    uint32_t one_in; /* so many moments is tried */
    uint64_t inner_at;
    uint64_t inner_moments;      /* of the recovery under way */
    uint64_t inner_moments_last; /* of the one before         */
    bool exploring;
    const char *fault;
};

static struct {
    uint64_t states;
    uint64_t states_in_recovery;
    uint64_t second_recoveries;
    uint64_t kills;
    uint64_t repeated; /* images that were tried before */
    uint64_t loads;
    uint64_t restarts;
    uint64_t stored, failed, moved, recycled, commits;
} sums;

static uint64_t *seen;

static uint64_t next_random(uint64_t *random)
{
    *random ^= *random >> 12;
    *random ^= *random << 25;
    *random ^= *random >> 27;
    return *random * UINT64_C(0x2545f4914f6cdd1d);
}

static bool is_new(uint64_t number)
{
    number |= number == 0;
    for (uint32_t n = 0; n < 64; n++) {
        uint64_t *place = &seen[(number + n) % SEEN_MAX];
        if (*place == number)
            return false;
        if (*place == 0) {
            *place = number;
            return true;
        }
    }
    return true;
}

static void broken(struct explorer *x, const char *what, enum disk_model_cut how,
                   const char *sentence)
{
    if (x->fault != NULL)
        return;
    x->fault = sentence;
    print_message("seed %" PRIu64 ", moment %" PRIu64 ", cut %d, %s: %s\n", x->seed, x->moments,
                  (int)how, what, sentence);
    if (getenv("BULLA_CRASH_DUMP") != NULL) {
        load_dump(x->load, stdout);
        disk_model_dump(x->disk, stdout);
    }
}

/* Power goes again, in the recovery from the first cut. */
static void inner_moment(void *user, struct disk_model *model)
{
    struct explorer *x = user;
    if (x->inner_moments++ != x->inner_at || x->fault != NULL)
        return;
    const enum disk_model_cut how =
        (enum disk_model_cut)(next_random(&x->random) % DISK_MODEL_CUTS);
    (void)disk_model_cut(model, x->inner, how, next_random(&x->random));
    x->states++;
    sums.states_in_recovery++;
    const char *fault = load_check(x->load, x->inner, NULL);
    if (fault != NULL)
        broken(x, "after a cut in recovery", how, fault);
}

static void try_one(struct explorer *x, struct disk_model *model, enum disk_model_cut how,
                    uint64_t base)
{
    struct load_found found;
    struct load_found second;
    const uint64_t seed = next_random(&x->random);
    const uint64_t more = next_random(&x->random);
    const uint64_t number = disk_model_cut(model, x->cut, how, seed);
    x->inner_at = next_random(&x->random) % (x->inner_moments_last + 1);
    if (!is_new((number ^ base) * UINT64_C(0x9e3779b97f4a7c15) + base)) {
        sums.repeated++;
        return;
    }
    x->states++;
    const char *fault = load_check(x->load, x->cut, &found);
    if (fault != NULL) {
        broken(x, "first recovery", how, fault);
        return;
    }
    if (more % 8 == 0) {
        sums.second_recoveries++;
        fault = load_check(x->load, x->cut, &second);
        if (fault == NULL && !load_same(&found, &second))
            fault = "the second recovery finds another number or state of records";
        if (fault != NULL)
            broken(x, "second recovery", how, fault);
    }
    if (more / 8 % 4 == 0) {
        (void)disk_model_cut(model, x->again, how, seed);
        x->inner_moments = 0;
        fault = load_check(x->load, x->again, NULL);
        x->inner_moments_last = x->inner_moments;
        if (fault != NULL)
            broken(x, "first recovery, done again", how, fault);
    }
}

/* Only the process is killed, and the next one finds what the kernel still has; then the power
 * goes, in that recovery or after it. What was found once is found again. */
static void try_kill(struct explorer *x, struct disk_model *model)
{
    struct load_found found;
    struct load_found second;
    disk_model_kill(model, x->again, next_random(&x->random));
    const enum disk_model_cut how =
        (enum disk_model_cut)(next_random(&x->random) % DISK_MODEL_CUTS);
    const uint64_t seed = next_random(&x->random);
    x->inner_at = next_random(&x->random) % (x->inner_moments_last + 1);
    x->inner_moments = 0;
    const char *fault = load_check(x->load, x->again, &found);
    x->inner_moments_last = x->inner_moments;
    if (fault == NULL) {
        (void)disk_model_cut(x->again, x->inner, how, seed);
        fault = load_check(x->load, x->inner, &second);
    }
    if (fault == NULL && !load_same(&found, &second))
        fault = "what a recovery found is gone after a power cut";
    if (fault != NULL)
        broken(x, "killed", how, fault);
    x->states += 2;
    sums.kills++;
}

static void explore(void *user, struct disk_model *model)
{
    struct explorer *x = user;
    x->moments++;
    if (!x->exploring || x->fault != NULL || x->states >= x->states_max ||
        next_random(&x->random) % x->one_in != 0)
        return;
    const uint32_t cuts_count = disk_model_is_undecided(model) ? CUTS_A_MOMENT : 1;
    const uint64_t base = disk_model_number(model) * 3 +
                          load_reported(x->load) * UINT64_C(0x9e3779b97f4a7c15) + x->seed;
    for (uint32_t n = 0; n < cuts_count && x->fault == NULL; n++)
        try_one(x, model, (enum disk_model_cut)(n % DISK_MODEL_CUTS), base);
    if (cuts_count > 1 && x->fault == NULL && next_random(&x->random) % 2 == 0)
        try_kill(x, model);
}

static struct disk_model *model_new(struct explorer *x, uint64_t file_bytes_max, uint32_t slowness,
                                    void (*moment)(void *user, struct disk_model *model))
{
    const struct disk_model_config config = {.seed = next_random(&x->random) >> 8,
                                             .file_bytes_max = file_bytes_max,
                                             .moment = moment,
                                             .user = x,
                                             .slowness = slowness};
    return disk_model_open(&config);
}

static struct load_config config_of(uint64_t seed, uint64_t *random)
{
    static const uint64_t segments_bytes[] = {64 << 10, 64 << 10, 96 << 10, 128 << 10};
    static const uint32_t bodies[] = {200, 1500, 6000, 6000};
    struct load_config config = {.seed = next_random(random) >> 8};
    config.segment_bytes = segments_bytes[seed % ARRAY_COUNT(segments_bytes)];
    config.segments_count = 4 + (uint32_t)(next_random(random) % 6);
    if (seed % LARGE_ONE_IN == 0)
        config.segment_bytes = UINT64_C(1) << 20;
    config.lanes_count = 1 + (uint32_t)(next_random(random) % 3);
    config.lane = (uint32_t)(next_random(random) % config.lanes_count);
    config.live_most = 6 + (uint32_t)(next_random(random) % 60);
    config.body_usual = bodies[next_random(random) % ARRAY_COUNT(bodies)];
    return config;
}

/* The machine goes down, or the process alone, and comes up again with what was left. */
static void restart(struct explorer *x, const struct load_config *config, uint32_t slowness)
{
    const enum disk_model_cut how =
        (enum disk_model_cut)(next_random(&x->random) % DISK_MODEL_CUTS);
    const uint64_t seed = next_random(&x->random);
    const uint32_t lanes_count =
        next_random(&x->random) % 4 == 0 ? 1 + (uint32_t)(seed % config->lanes_count) : 0;
    struct disk_model *next = model_new(x, config->segment_bytes, slowness, explore);
    if (seed % 3 == 0)
        disk_model_kill(x->disk, next, seed);
    else
        (void)disk_model_cut(x->disk, next, how, seed);
    disk_model_keep(next);
    x->exploring = false; /* until the old one is gone */
    struct disk_model *old = x->disk;
    x->disk = next;
    const char *fault = load_restart(x->load, next, lanes_count);
    x->exploring = true;
    disk_close(disk_model_disk(old));
    sums.restarts++;
    if (fault != NULL)
        broken(x, "restart", how, fault);
}

static void sum_up(const struct explorer *x)
{
    struct spool_stats stats;
    load_stats(x->load, &stats);
    sums.loads++;
    sums.states += x->states;
    sums.stored += load_stored(x->load);
    sums.failed += load_failed(x->load);
    sums.moved += stats.moved;
    sums.commits += stats.commits;
}

static const char *explore_load(uint64_t seed)
{
    struct explorer x = {
        .seed = seed, .random = seed * 2 + 1, .inner_moments_last = MOMENTS_GUESSED};
    for (uint32_t n = 0; n < 8; n++)
        (void)next_random(&x.random);
    const struct load_config config = config_of(seed, &x.random);
    const uint32_t slowness = (uint32_t)(next_random(&x.random) % 15);
    x.states_max = seed % LARGE_ONE_IN == 0 ? LARGE_STATES_MAX : STATES_A_LOAD_MAX;
    x.one_in = (seed % LARGE_ONE_IN == 0 ? 10 : 1) + (uint32_t)(next_random(&x.random) % 6);
    x.disk = model_new(&x, config.segment_bytes, slowness, explore);
    x.cut = model_new(&x, config.segment_bytes, slowness / 2, NULL);
    x.again = model_new(&x, config.segment_bytes, slowness / 2, inner_moment);
    x.inner = model_new(&x, config.segment_bytes, 0, NULL);
    x.load = load_open(&config);
    x.exploring = true;
    const char *fault = load_start(x.load, x.disk);
    for (uint32_t n = 0; n < STEPS_A_LOAD && fault == NULL && x.fault == NULL; n++) {
        fault = load_step(x.load);
        if (next_random(&x.random) % 160 == 0 && fault == NULL)
            restart(&x, &config, slowness);
    }
    if (fault == NULL && x.fault == NULL)
        fault = load_settle(x.load);
    if (fault != NULL)
        broken(&x, "under way", DISK_MODEL_NONE, fault);
    x.exploring = false;
    sum_up(&x);
    if (x.fault == NULL) {
        load_close(x.load);
        disk_close(disk_model_disk(x.disk));
        disk_close(disk_model_disk(x.cut));
        disk_close(disk_model_disk(x.again));
        disk_close(disk_model_disk(x.inner));
    }
    return x.fault;
}

static uint64_t number_of(const char *name, uint64_t usual)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : usual;
}

static void a_crash_at_any_moment_loses_nothing(void **state)
{
    (void)state;
    const uint64_t wanted = number_of("BULLA_CRASH_STATES", STATES_USUAL);
    const uint64_t seed = number_of("BULLA_CRASH_SEED", 1);
    const uint64_t began_ns = clock_monotonic_ns();
    seen = calloc(SEEN_MAX, sizeof(*seen));
    assert_non_null(seen);
    for (uint64_t n = 0; sums.states < wanted; n++)
        assert_null(explore_load(seed + n));
    const uint64_t ms = (clock_monotonic_ns() - began_ns) / NS_PER_MS;
    print_message("crash: %" PRIu64 " states (%" PRIu64 " in recovery; %" PRIu64
                  " images again, left out), %" PRIu64 " second recoveries, %" PRIu64
                  " kills, %" PRIu64 " loads, %" PRIu64 " restarts, %" PRIu64
                  " records stored, %" PRIu64 " refused, %" PRIu64 " moved, %" PRIu64
                  " commits, 0 violations, %" PRIu64 ".%" PRIu64 " s\n",
                  sums.states, sums.states_in_recovery, sums.repeated, sums.second_recoveries,
                  sums.kills, sums.loads, sums.restarts, sums.stored, sums.failed, sums.moved,
                  sums.commits, ms / 1000, ms % 1000 / 100);
    free(seen);
    /* A load that never does these proves little. */
    assert_true(sums.stored > sums.loads && sums.restarts > 0 && sums.moved > 0);
}

int main(void)
{
    log_init("crash_test",
             (enum log_level)0); /* each fault is a line of the spool's: none is wanted */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crash_at_any_moment_loses_nothing),
    };
    return cmocka_run_group_tests_name("crash", tests, NULL, NULL);
}
