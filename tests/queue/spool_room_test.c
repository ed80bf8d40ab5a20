/* A spool whose room runs out: what it refuses, what it moves, and that it mends itself. */
#include "tests/queue/spool_model.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* Nothing is half-kept: what was refused is not found, and what was stored is not lost. */
static void a_full_spool_refuses_and_mends_itself(void **state)
{
    model_begin(state);
    model_open(SEGMENT_BYTES, 5 * SEGMENT_BYTES);
    uint32_t refused = 0;
    for (uint32_t n = 0; n < 1200 && refused < 20; n++) {
        const uint32_t one = model_put(8000, 0, 0);
        model_run_all();
        refused += model_at[one].life == LIFE_FAILED;
    }
    assert_int_equal(refused, 20);
    assert_int_equal(model_failed_error, ENOSPC);
    /* A notification still takes its mail's place. */
    (void)model_put(300, 0, 1 + 7);
    model_run_all();
    assert_int_equal(model_at[model_count - 1].life, LIFE_LIVES);
    model_reopen();
    model_compare(true);
    for (uint32_t n = 0; n < model_count; n++)
        if (model_at[n].life == LIFE_LIVES && n % 8 != 0)
            model_forget(n);
    model_run_all();
    for (uint32_t n = 0; n < 200; n++) {
        const uint32_t one = model_put(8000, 0, 0);
        model_run_all();
        assert_int_equal(model_at[one].life, LIFE_LIVES);
    }
    model_reopen();
    model_compare(true);
    model_close();
}

static void live_records_are_moved_when_segments_run_out(void **state)
{
    model_begin(state);
    model_open(SEGMENT_BYTES, 8 * SEGMENT_BYTES);
    struct spool_stats stats = {0};
    uint32_t last = 0;
    /* One of twenty stays for ever: every segment holds some of those. */
    for (uint32_t n = 0; n < 3000 && stats.moved < 20; n++) {
        const uint32_t one = model_put(8000, n % 3, 0);
        if (n % 50 == 49)
            model_run_all();
        assert_int_not_equal(model_at[one].life, LIFE_FAILED);
        for (; last + 60 < model_count; last++)
            if (last % 20 != 0 && model_at[last].life == LIFE_LIVES)
                model_forget(last);
        spool_stats(model_log.spool, &stats);
    }
    assert_true(stats.moved >= 20);
    model_run_all();
    for (uint32_t n = 0; n < model_count; n += 20)
        if (model_at[n].life == LIFE_LIVES)
            model_read(n);
    model_reopen();
    model_compare(true);
    model_close();
}

static void a_record_larger_than_a_segment_is_refused(void **state)
{
    model_begin(state);
    model_open(SEGMENT_BYTES, 8 * SEGMENT_BYTES);
    const uint32_t small = model_put(100, 0, 0);
    const uint32_t large = model_put(2 << 20, 0, 0);
    const uint32_t after = model_put(100, 0, 0);
    model_run_all();
    assert_int_equal(model_at[small].life, LIFE_LIVES);
    assert_int_equal(model_at[large].life, LIFE_FAILED);
    assert_int_equal(model_failed_error, EMSGSIZE);
    assert_int_equal(model_at[after].life, LIFE_LIVES);
    model_reopen();
    model_compare(true);
    model_close();
}

static void a_spool_that_is_too_small_says_so(void **state)
{
    model_begin(state);
    assert_int_equal(model_try(0, 1, SEGMENT_BYTES, 3 * SEGMENT_BYTES), -EINVAL);
    assert_int_equal(model_try(0, 1, SEGMENT_BYTES + 5, 30 * SEGMENT_BYTES), -EINVAL);
    assert_int_equal(model_try(0, 1, 4096, 30 * SEGMENT_BYTES), -EINVAL);
}

int main(int arguments_count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        MODEL_BOTH(a_full_spool_refuses_and_mends_itself),
        MODEL_BOTH(live_records_are_moved_when_segments_run_out),
        MODEL_BOTH(a_record_larger_than_a_segment_is_refused),
        MODEL_BOTH(a_spool_that_is_too_small_says_so),
    };
    if (arguments_count > 1)
        cmocka_set_test_filter(arguments[1]);
    return cmocka_run_group_tests(tests, model_folder_make, model_folder_remove);
}
