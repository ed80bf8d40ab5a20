/* A disk that fails at each index of a load, and at each of a recovery: nothing that was reported
 * stored is lost, and when the disk works again the spool goes on by itself.
 * BULLA_FAULT_LOADS: so many loads; BULLA_FAULT_SEED: the first. */
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

#define SEGMENT_BYTES ((uint64_t)64 << 10)
#define STEPS         60
#define STEPS_AFTER   20000
#define STORED_AFTER  3
#define CUT_ONE_IN    64
#define INDEXES_MAX   2000
#define LONG_FAULT    40

static struct {
    uint64_t runs;
    uint64_t faults; /* that came to pass */
    uint64_t cuts;
    uint64_t recoveries;
    uint64_t declined;
    uint64_t damaged; /* by writes that went elsewhere */
} sums;

struct run {
    uint64_t seed;
    uint64_t random;
    struct load *load;
    struct disk_model *disk;
    struct disk_model *cut;
    const char *fault;
};

static uint64_t next_random(uint64_t *random)
{
    *random ^= *random >> 12;
    *random ^= *random << 25;
    *random ^= *random >> 27;
    return *random * UINT64_C(0x2545f4914f6cdd1d);
}

/* Power cuts in between: what was reported before the fault and after it is there. */
static void moment(void *user, struct disk_model *model)
{
    struct run *run = user;
    if (run->load == NULL || run->fault != NULL || next_random(&run->random) % CUT_ONE_IN != 0)
        return;
    const enum disk_model_cut how =
        (enum disk_model_cut)(next_random(&run->random) % DISK_MODEL_CUTS);
    (void)disk_model_cut(model, run->cut, how, next_random(&run->random));
    sums.cuts++;
    run->fault = load_check(run->load, run->cut, NULL);
}

static void run_open(struct run *run, uint64_t seed, bool with_cuts)
{
    const struct disk_model_config config = {.seed = seed,
                                             .file_bytes_max = SEGMENT_BYTES,
                                             .moment = with_cuts ? moment : NULL,
                                             .user = run,
                                             .slowness = (uint32_t)(seed % 12)};
    const struct disk_model_config sound = {.seed = seed, .file_bytes_max = SEGMENT_BYTES};
    const struct load_config load = {.seed = seed,
                                     .segment_bytes = SEGMENT_BYTES,
                                     .segments_count = 4 + (uint32_t)(seed % 3),
                                     .lanes_count = 1,
                                     .live_most = 10 + (uint32_t)(seed % 20),
                                     .body_usual = seed % 2 == 0 ? 1500 : 6000,
                                     .faulty = true};
    *run = (struct run){.seed = seed, .random = seed * 2 + 1};
    run->disk = disk_model_open(&config);
    run->cut = disk_model_open(&sound);
    run->load = load_open(&load);
}

static void run_close(struct run *run)
{
    load_close(run->load);
    disk_close(disk_model_disk(run->disk));
    disk_close(disk_model_disk(run->cut));
}

static void steps(struct run *run, uint32_t count)
{
    for (uint32_t n = 0; n < count && run->fault == NULL; n++)
        run->fault = load_step(run->load);
}

/* The disk works again: new mail is stored before long, with nobody's help. */
static void goes_on(struct run *run)
{
    const uint32_t before = load_stored(run->load);
    for (uint32_t n = 0; n < STEPS_AFTER && run->fault == NULL && !load_is_spent(run->load); n++) {
        run->fault = load_step(run->load);
        if (load_stored(run->load) >= before + STORED_AFTER)
            return;
    }
    if (run->fault == NULL)
        run->fault = "the spool does not go on when the disk works again";
}

static void fail_at(struct run *run, enum disk_model_fault fault, uint64_t first, uint64_t count)
{
    disk_model_fail(run->disk, fault, first, count);
    const char *declined = load_start(run->load, run->disk);
    if (declined != NULL && load_is_said(declined)) {
        disk_model_fail(run->disk, DISK_MODEL_SOUND, 0, 0);
        declined = load_start(run->load, run->disk); /* the operator's second try */
        disk_model_fail(run->disk, fault, first, count);
    }
    run->fault = declined;
    steps(run, STEPS);
    disk_model_fail(run->disk, DISK_MODEL_SOUND, 0, 0);
    if (run->fault == NULL)
        goes_on(run);
    if (run->fault == NULL)
        run->fault = load_settle(run->load);
    sums.runs++;
    sums.faults += disk_model_failed(run->disk);
}

static void judge(const struct run *run, enum disk_model_fault fault, uint64_t first,
                  uint64_t count)
{
    if (run->fault == NULL)
        return;
    print_message("seed %" PRIu64 ", %s at %" PRIu64 " for %" PRIu64 ": %s\n", run->seed,
                  disk_model_fault_name(fault), first, count, run->fault);
    if (getenv("BULLA_FAULT_DUMP") != NULL) {
        load_dump(run->load, stdout);
        disk_model_dump(run->disk, stdout);
    }
    fail();
}

/* How many requests a load makes when nothing fails. */
static uint64_t requests_of(uint64_t seed)
{
    struct run run;
    run_open(&run, seed, false);
    assert_null(load_start(run.load, run.disk));
    steps(&run, STEPS);
    assert_null(run.fault);
    const uint64_t count = disk_model_submitted(run.disk);
    run_close(&run);
    return MIN(count, (uint64_t)INDEXES_MAX);
}

static uint64_t number_of(const char *name, uint64_t usual)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : usual;
}

static void loud_faults_lose_nothing(void **state)
{
    (void)state;
    static const enum disk_model_fault faults[] = {DISK_MODEL_EIO,   DISK_MODEL_ENOSPC,
                                                   DISK_MODEL_EINTR, DISK_MODEL_ECANCELED,
                                                   DISK_MODEL_SHORT, DISK_MODEL_FLIPPED,
                                                   DISK_MODEL_STALE};
    const uint64_t seed = number_of("BULLA_FAULT_SEED", 1);
    for (uint64_t s = seed; s < seed + number_of("BULLA_FAULT_LOADS", 2); s++) {
        const uint64_t requests_count = requests_of(s);
        for (uint64_t first = 0; first < requests_count; first++) {
            for (uint32_t f = 0; f < ARRAY_COUNT(faults); f++) {
                struct run run;
                const uint64_t count = (first + f) % 5 == 0 ? LONG_FAULT : 1;
                run_open(&run, s, true);
                fail_at(&run, faults[f], first, count);
                if (run.fault == NULL) {
                    (void)disk_model_cut(run.disk, run.cut, DISK_MODEL_NONE, 0);
                    run.fault = load_check(run.load, run.cut, NULL);
                }
                judge(&run, faults[f], first, count);
                run_close(&run);
            }
        }
    }
}

/* Nobody can have what went elsewhere; but wrong bytes are never taken for a record's. */
static void a_write_that_goes_elsewhere_is_never_believed(void **state)
{
    (void)state;
    const uint64_t seed = number_of("BULLA_FAULT_SEED", 1);
    for (uint64_t s = seed; s < seed + number_of("BULLA_FAULT_LOADS", 2); s++) {
        const uint64_t requests_count = requests_of(s);
        for (uint64_t first = 0; first < requests_count; first++) {
            struct run run;
            struct load_found found;
            run_open(&run, s, false);
            fail_at(&run, DISK_MODEL_MISDIRECTED, first, 1);
            judge(&run, DISK_MODEL_MISDIRECTED, first, 1);
            (void)disk_model_cut(run.disk, run.cut, DISK_MODEL_NONE, 0);
            const char *fault = load_check(run.load, run.cut, &found);
            sums.damaged += fault != NULL;
            if (fault != NULL && strstr(fault, "other") != NULL) {
                run.fault = fault;
                judge(&run, DISK_MODEL_MISDIRECTED, first, 1);
            }
            run_close(&run);
        }
    }
}

/* Each request of a recovery fails once: it declines or finds all, and the next one finds all. A
 * block as it was before is a sound block: of such a read no more is asked than true bytes. */
static void a_recovery_that_fails_spoils_nothing(void **state)
{
    (void)state;
    const uint64_t seed = number_of("BULLA_FAULT_SEED", 1);
    for (uint64_t s = seed; s < seed + 4 * number_of("BULLA_FAULT_LOADS", 2); s++) {
        struct run run;
        run_open(&run, s, false);
        assert_null(load_start(run.load, run.disk));
        steps(&run, 4 * STEPS + 7 * (uint32_t)(s % 16));
        (void)disk_model_cut(run.disk, run.cut, DISK_MODEL_SECTORS, s);
        assert_null(load_check(run.load, run.cut, NULL));
        const uint64_t requests_count = disk_model_submitted(run.cut);
        for (uint64_t first = 0; first < requests_count; first++) {
            for (uint32_t f = DISK_MODEL_EIO; f <= DISK_MODEL_STALE; f++) {
                (void)disk_model_cut(run.disk, run.cut, DISK_MODEL_SECTORS, s);
                disk_model_fail(run.cut, (enum disk_model_fault)f, first, 1);
                const char *fault = load_check(run.load, run.cut, NULL);
                sums.recoveries++;
                sums.declined += fault != NULL;
                disk_model_fail(run.cut, DISK_MODEL_SOUND, 0, 0);
                if (f == DISK_MODEL_STALE)
                    fault = fault != NULL && strstr(fault, "other") != NULL ? fault : NULL;
                else if (fault == NULL || load_is_said(fault))
                    fault = load_check(run.load, run.cut, NULL);
                run.fault = fault;
                judge(&run, (enum disk_model_fault)f, first, 1);
            }
        }
        run_close(&run);
    }
}

static void figures(void **state)
{
    (void)state;
    print_message("faults: %" PRIu64 " loads with %" PRIu64 " faults, %" PRIu64
                  " power cuts, %" PRIu64 " recoveries with a fault (%" PRIu64
                  " declined), %" PRIu64 " loads damaged by a write elsewhere, 0 violations\n",
                  sums.runs, sums.faults, sums.cuts, sums.recoveries, sums.declined, sums.damaged);
    assert_true(sums.faults > 0 && sums.cuts > 0 && sums.declined > 0);
}

int main(void)
{
    log_init("fault_test",
             (enum log_level)0); /* each fault is a line of the spool's: none is wanted */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loud_faults_lose_nothing),
        cmocka_unit_test(a_write_that_goes_elsewhere_is_never_believed),
        cmocka_unit_test(a_recovery_that_fails_spoils_nothing),
        cmocka_unit_test(figures),
    };
    return cmocka_run_group_tests_name("fault", tests, NULL, NULL);
}
