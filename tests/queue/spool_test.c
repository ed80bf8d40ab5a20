/* The spool on real disks, io_uring and the thread: what was stored is found, whatever came
 * between. */
#include "tests/queue/spool_model.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define RUNS_MAX 100000 /* a bound, not a timing */

static void stored_records_are_found_and_read_again(void **state)
{
    model_begin(state);
    model_open(8 * SEGMENT_BYTES, 64 * SEGMENT_BYTES);
    const uint32_t sizes[] = {0, 1, 7, 100, 4096, 8000, 65536, 300000, 3 << 20};
    for (uint32_t n = 0; n < 9; n++)
        for (uint32_t constant = 0; constant < 4; constant++)
            (void)model_put(sizes[n], constant, 0);
    model_run_all();
    for (uint32_t n = 0; n < model_count; n++) {
        assert_int_equal(model_at[n].life, LIFE_LIVES);
        model_read(n);
    }
    model_reopen();
    model_compare(true);
    model_reopen(); /* nothing was written: the same again */
    model_compare(false);
    model_close();
}

static void forgotten_held_and_replaced_stay_so(void **state)
{
    model_begin(state);
    model_open(SEGMENT_BYTES, 16 * SEGMENT_BYTES);
    for (uint32_t n = 0; n < 100; n++)
        (void)model_put(2000, n % 4, 0);
    model_run_all();
    for (uint32_t n = 0; n < 100; n += 3)
        model_forget(n);
    for (uint32_t n = 1; n < 100; n += 3) {
        assert_true(spool_mark(model_log.spool, model_at[n].place, true, MODEL_MAX));
        model_at[n].held = true;
    }
    for (uint32_t n = 2; n < 60; n += 3)
        (void)model_put(500, 0, n + 1);
    model_run_all();
    for (uint32_t n = 1; n < 50; n += 3) {
        assert_true(spool_mark(model_log.spool, model_at[n].place, false, MODEL_MAX));
        model_at[n].held = false;
    }
    model_run_all();
    for (uint32_t round = 0; round < 3; round++) {
        model_reopen();
        model_compare(true);
        (void)model_put(100, 0, 0); /* a new segment, a new checkpoint */
        model_run_all();
    }
    model_close();
}

/* A mark that was asked for before a replacement is about the old record, and never another. */
static void a_record_is_replaced_when_its_marks_are_written(void **state)
{
    model_begin(state);
    model_open(SEGMENT_BYTES, 16 * SEGMENT_BYTES);
    for (uint32_t n = 0; n < 40; n++) {
        const uint32_t mail = model_put(3000, 0, 0);
        model_run_all();
        assert_true(spool_mark(model_log.spool, model_at[mail].place, true, MODEL_MAX));
        if (n % 2 == 0)
            model_run_once();
        assert_true(spool_mark(model_log.spool, model_at[mail].place, false, MODEL_MAX));
        const uint32_t notice = model_put(900, 0, mail + 1);
        const uint32_t other = model_put(500, 0, 0);
        model_run_all();
        assert_int_equal(model_at[mail].life, LIFE_GONE);
        assert_int_equal(model_at[notice].life, LIFE_LIVES);
        assert_int_equal(model_at[other].life, LIFE_LIVES);
    }
    model_reopen();
    model_compare(true);
    model_close();
}

static void step(uint32_t live_max)
{
    const uint32_t what = model_dice(10);
    uint32_t live = 0;
    uint32_t any = 0;
    for (uint32_t n = 0; n < model_count; n++) {
        if (model_at[n].life != LIFE_LIVES)
            continue;
        live++;
        if (model_dice(live) == 0)
            any = n;
    }
    if (live == 0 || (what < 5 && live < live_max))
        (void)model_put(model_dice(20) == 0 ? model_dice(200000) : model_dice(9000), model_dice(4),
                        0);
    else if (what < 8)
        model_forget(any);
    else if (what == 8 && model_at[any].kind == SPOOL_MAIL)
        (void)model_put(model_dice(1000), 0, any + 1);
    else if (spool_mark(model_log.spool, model_at[any].place, !model_at[any].held, MODEL_MAX)) {
        model_at[any].held = !model_at[any].held;
        model_run_all(); /* a mark that is under way may have gone either way */
    }
}

static void any_history_is_found_again(void **state)
{
    model_begin(state);
    model_open(SEGMENT_BYTES, 12 * SEGMENT_BYTES);
    for (uint32_t n = 0; n < 6000 && model_count < MODEL_MAX - 100; n++) {
        step(300);
        if (model_dice(4) == 0)
            model_run_once();
        if (model_dice(300) != 0)
            continue;
        if (model_dice(2) == 0)
            model_run_all();
        model_reopen();
        model_compare(model_dice(4) == 0);
    }
    model_run_all();
    model_reopen();
    model_compare(true);
    model_close();
}

/* Four workers, then one: it finds what all of them stored, and goes on with it. */
static void former_lanes_are_adopted(void **state)
{
    model_begin(state);
    for (uint32_t lane = 0; lane < 4; lane++) {
        assert_int_equal(model_try(lane, 4, SEGMENT_BYTES, 8 * SEGMENT_BYTES), 0);
        for (uint32_t n = 0; n < 30; n++)
            (void)model_put(3000, 1 + lane % 3, 0);
        model_run_all();
        model_close();
    }
    assert_int_equal(model_try(0, 1, SEGMENT_BYTES, 8 * SEGMENT_BYTES), 0);
    model_compare(true);
    for (uint32_t n = 0; n < 120; n += 2)
        model_forget(n);
    for (uint32_t n = 1; n < 120; n += 6)
        (void)model_put(200, 0, n + 1);
    for (uint32_t n = 3; n < 120; n += 6) {
        assert_true(spool_mark(model_log.spool, model_at[n].place, true, MODEL_MAX));
        model_at[n].held = true;
    }
    model_run_all();
    model_reopen();
    model_compare(true);
    model_close();
    /* And four again. */
    for (uint32_t n = 0; n < model_count; n++)
        model_at[n].found = false;
    uint64_t records = 0;
    for (uint32_t lane = 0; lane < 4; lane++) {
        struct spool_stats stats;
        assert_int_equal(model_try(lane, 4, SEGMENT_BYTES, 8 * SEGMENT_BYTES), 0);
        spool_stats(model_log.spool, &stats);
        assert_int_equal(stats.damaged, 0);
        records += stats.records;
        model_close();
    }
    uint64_t lives = 0;
    for (uint32_t n = 0; n < model_count; n++) {
        lives += model_at[n].life == LIFE_LIVES;
        assert_true(model_at[n].found == (model_at[n].life == LIFE_LIVES));
    }
    assert_int_equal(records, lives);
}

/* Segments of the folder that belong to this lane. */
static uint32_t files_of_lane(uint32_t lane)
{
    char opens[16];
    uint32_t count = 0;
    (void)snprintf(opens, sizeof(opens), "%02u-", lane);
    DIR *folder = opendir(model_folder);
    assert_non_null(folder);
    for (const struct dirent *file = readdir(folder); file != NULL; file = readdir(folder))
        count += strncmp(file->d_name, opens, strlen(opens)) == 0;
    (void)closedir(folder);
    return count;
}

static void expect_files_at_last(uint32_t lane, uint32_t least, uint32_t most)
{
    for (uint32_t runs = 0; runs < RUNS_MAX && files_of_lane(lane) > most; runs++)
        model_run_once();
    assert_in_range(files_of_lane(lane), least, most);
}

/* What a lane without a worker holds comes back as its mail goes: at once but for the segment that
 * tells so and one ahead, and these with the next starts, one after the other. */
static void a_former_lane_gives_its_room_back(void **state)
{
    model_begin(state);
    assert_int_equal(model_try(1, 2, SEGMENT_BYTES, 8 * SEGMENT_BYTES), 0);
    for (uint32_t n = 0; n < 600; n++) {
        (void)model_put(8000, 0, 0);
        if (n % 50 == 49)
            model_run_all();
    }
    model_close();
    assert_true(files_of_lane(1) >= 5);
    assert_int_equal(model_try(0, 1, SEGMENT_BYTES, 8 * SEGMENT_BYTES), 0);
    for (uint32_t n = 0; n < model_count; n++)
        model_forget(n);
    model_run_all();
    expect_files_at_last(1, 1, 2);
    for (uint32_t starts = 0; starts < 2; starts++) {
        model_close();
        assert_int_equal(model_try(0, 1, SEGMENT_BYTES, 8 * SEGMENT_BYTES), 0);
        expect_files_at_last(1, 0, 1 - starts);
    }
    const uint32_t one = model_put(100, 0, 0); /* the lane that there is goes on */
    model_run_all();
    assert_int_equal(model_at[one].life, LIFE_LIVES);
    model_close();
}

int main(int arguments_count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        MODEL_BOTH(stored_records_are_found_and_read_again),
        MODEL_BOTH(forgotten_held_and_replaced_stay_so),
        MODEL_BOTH(a_record_is_replaced_when_its_marks_are_written),
        MODEL_BOTH(any_history_is_found_again),
        MODEL_BOTH(former_lanes_are_adopted),
        MODEL_BOTH(a_former_lane_gives_its_room_back),
    };
    if (arguments_count > 1)
        cmocka_set_test_filter(arguments[1]);
    return cmocka_run_group_tests(tests, model_folder_make, model_folder_remove);
}
