/* Neighbours share what is read of the disk, and no fault of it; notes share what is written. */
#include "base/assert.h"
#include "queue/spool.h"
#include "tests/queue/disk_model.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SEGMENT_BYTES ((uint64_t)1 << 20)
#define RECORDS       24
#define HEAD_BYTES    100
#define BODY_BYTES    6000
#define REQUESTS_MAX  4     /* for 150 KB, at most: pieces of 128 KiB, and the first one's own */
#define RUNS_MAX      10000 /* a bound, not a timing */
#define EVENTS_MAX    64
#define ROUNDS        150 /* of 150 KB: several times what the spool holds */

static struct disk_model *model;
static struct spool *spool;
static uint8_t *buffers;
static uint8_t body[RECORDS][BODY_BYTES];
static uint64_t places[RECORDS];
static uint8_t read_at[RECORDS][HEAD_BYTES + BODY_BYTES];
static int errors[RECORDS];
static uint32_t ended_count;

static uint32_t run(void)
{
    struct spool_event events[EVENTS_MAX];
    const uint32_t count = spool_run(spool, events, EVENTS_MAX);
    for (uint32_t n = 0; n < count; n++) {
        if (events[n].kind == SPOOL_STORED)
            places[events[n].tag] = events[n].place;
        if (events[n].kind == SPOOL_READ)
            errors[events[n].tag] = events[n].error;
        ended_count++;
    }
    return count;
}

static void run_until(uint32_t count)
{
    for (uint32_t runs = 0; ended_count < count; runs++) {
        assert_true(runs < RUNS_MAX);
        (void)run();
    }
    assert_int_equal(ended_count, count);
    ended_count = 0;
}

/* Of each round other bytes. */
static void put_all(uint32_t round)
{
    for (uint32_t n = 0; n < RECORDS; n++) {
        for (uint32_t i = 0; i < BODY_BYTES; i++)
            body[n][i] = (uint8_t)(i * 7 + n + round * 31);
        const struct spool_record record = {.kind = SPOOL_MAIL,
                                            .id = {(uint8_t)n, 1, (uint8_t)round},
                                            .head = body[n],
                                            .head_bytes = HEAD_BYTES,
                                            .spans_count = 1,
                                            .spans = {{.at = body[n], .bytes = BODY_BYTES}},
                                            .replaces = SPOOL_NOWHERE};
        assert_true(spool_put(spool, &record, n));
    }
    run_until(RECORDS);
}

static int begin(void **state)
{
    char why[SPOOL_WHY_BYTES] = "";
    const struct disk_model_config config = {.seed = 5, .file_bytes_max = SEGMENT_BYTES};
    (void)state;
    model = disk_model_open(&config);
    buffers = aligned_alloc(DISK_BLOCK_BYTES, SPOOL_BUFFERS_MIN);
    const struct spool_config opened = {.disk = disk_model_disk(model),
                                        .lanes_count = 1,
                                        .segment_bytes = SEGMENT_BYTES,
                                        .bytes_max = 8 * SEGMENT_BYTES,
                                        .buffers = buffers,
                                        .buffers_bytes = SPOOL_BUFFERS_MIN};
    ended_count = 0;
    assert_int_equal(spool_open(&spool, &opened, NULL, NULL, why), 0);
    put_all(0);
    for (uint32_t runs = 0; runs < RUNS_MAX; runs++) /* free segments are made meanwhile */
        (void)run();
    return 0;
}

static int end(void **state)
{
    (void)state;
    spool_close(spool);
    disk_close(disk_model_disk(model));
    free(buffers);
    return 0;
}

static void reads_begin(void)
{
    memset(read_at, 0, sizeof(read_at));
    for (uint32_t n = 0; n < RECORDS; n++)
        assert_true(spool_read_all(spool, places[n], read_at[n], sizeof(read_at[n]), n));
}

/* How many of them failed; what did not is right. */
static uint32_t reads_end(void)
{
    uint32_t failed = 0;
    run_until(RECORDS);
    for (uint32_t n = 0; n < RECORDS; n++) {
        failed += errors[n] != 0;
        if (errors[n] != 0)
            continue;
        assert_memory_equal(read_at[n], body[n], HEAD_BYTES);
        assert_memory_equal(read_at[n] + HEAD_BYTES, body[n], BODY_BYTES);
    }
    return failed;
}

static void neighbours_come_in_one_request(void **state)
{
    (void)state;
    const uint64_t before = disk_model_submitted(model);
    reads_begin();
    assert_int_equal(reads_end(), 0);
    const uint64_t asked = disk_model_submitted(model) - before;
    assert_in_range(asked, 1, REQUESTS_MAX);
    reads_begin();
    assert_int_equal(reads_end(), 0);
    assert_int_equal(disk_model_submitted(model) - before, asked);
}

static void a_fault_is_one_reads_at_the_most(void **state)
{
    static const enum disk_model_fault faults[] = {DISK_MODEL_EIO, DISK_MODEL_SHORT,
                                                   DISK_MODEL_FLIPPED};
    for (uint32_t fault = 0; fault < ARRAY_COUNT(faults); fault++) {
        for (uint32_t nth = 0; nth < REQUESTS_MAX; nth++) {
            const uint64_t first = disk_model_submitted(model) + nth;
            disk_model_fail(model, faults[fault], first, 1);
            reads_begin();
            const uint32_t failed = reads_end();
            assert_true(failed <= (nth == 0 ? 1 : 0)); /* only the first is one read's own */
            disk_model_fail(model, DISK_MODEL_SOUND, 0, 0);
            reads_begin();
            assert_int_equal(reads_end(), 0); /* what was wrong is in no memory */
            assert_int_equal(end(state), 0);
            assert_int_equal(begin(state), 0);
        }
    }
}

static void a_run_takes_its_share_and_one_at_least(void **state)
{
    (void)state;
    reads_begin();
    assert_int_equal(reads_end(), 0); /* all of it is in memory now */
    spool_read_share(spool, 0);
    reads_begin();
    for (uint32_t n = 0; n < 8; n++)
        assert_int_equal(run(), 0);
    assert_true(spool_is_ready(spool));
    spool_read_share(spool, 1);
    for (uint32_t n = 0; n < RECORDS / 2; n++)
        assert_in_range(run(), 0, 1); /* none: the rest of it stands in the next piece */
    assert_in_range(ended_count, 1, RECORDS / 2);
    spool_read_share(spool, UINT64_MAX);
    assert_int_equal(reads_end(), 0);
    assert_false(spool_is_ready(spool));
}

static void notes_alone_are_written_one_after_the_other(void **state)
{
    (void)state;
    const uint64_t before = disk_model_submitted(model);
    disk_model_slow(model, 16);
    for (uint32_t n = 0; n < RECORDS; n++) {
        assert_true(spool_forget(spool, places[n], n));
        assert_int_equal(run(), 0);
    }
    assert_int_equal(disk_model_submitted(model) - before, 1);
    disk_model_slow(model, 0);
    run_until(RECORDS);
    assert_int_equal(disk_model_submitted(model) - before, 2);
}

/* What was read of a segment stays in memory; when the segment is used again, what is read of it is
 * what was written there since. */
static void a_segment_that_is_used_again_never_gives_old_bytes(void **state)
{
    struct spool_stats stats;
    (void)state;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        if (round > 0)
            put_all(round);
        reads_begin();
        assert_int_equal(reads_end(), 0);
        for (uint32_t n = 0; n < RECORDS; n++)
            assert_true(spool_forget(spool, places[n], n));
        run_until(RECORDS);
    }
    spool_stats(spool, &stats);
    assert_true((uint64_t)ROUNDS * RECORDS * BODY_BYTES > 2 * stats.segments * SEGMENT_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(neighbours_come_in_one_request, begin, end),
        cmocka_unit_test_setup_teardown(a_fault_is_one_reads_at_the_most, begin, end),
        cmocka_unit_test_setup_teardown(a_run_takes_its_share_and_one_at_least, begin, end),
        cmocka_unit_test_setup_teardown(notes_alone_are_written_one_after_the_other, begin, end),
        cmocka_unit_test_setup_teardown(a_segment_that_is_used_again_never_gives_old_bytes, begin,
                                        end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
