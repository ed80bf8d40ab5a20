/* Which worker the next client goes to. */
#include "engine/spread.h"

#include "base/clock.h"
#include "base/macros.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct spread spread;
static struct spread_sample samples[CONFIG_WORKERS_MAX];
static uint64_t now_ns;

static void start(uint32_t workers)
{
    memset(samples, 0, sizeof(samples));
    now_ns = 7 * NS_PER_S;
    spread_init(&spread, workers, now_ns);
}

/* Seconds in which each worker is busy for so many percent. */
static void pass(const uint32_t *percents, uint32_t seconds)
{
    for (uint32_t s = 0; s < 2 * seconds; s++) {
        now_ns += SPREAD_SAMPLE_NS;
        for (uint32_t i = 0; i < spread.workers_count; i++)
            samples[i].busy_ns += SPREAD_SAMPLE_NS / 100 * percents[i];
        spread_note(&spread, samples, now_ns);
    }
}

static uint32_t join(void)
{
    const uint32_t worker = spread_pick(&spread, samples);
    spread_join(&spread, worker);
    return worker;
}

static void spread_deals_out_clients_that_come_at_once(void **state)
{
    (void)state;
    start(3);
    for (uint32_t i = 0; i < 9; i++)
        assert_int_equal(join(), i % 3);
}

static void spread_passes_over_a_busy_worker_that_has_fewer_clients(void **state)
{
    (void)state;
    const uint32_t percents[] = {90, 1};
    start(2);
    assert_int_equal(join(), 0);
    assert_int_equal(join(), 1);
    assert_int_equal(join(), 0);
    spread_leave(&spread, 0);
    spread_join(&spread, 1);
    pass(percents, 10);
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(join(), 1);
}

static void spread_counts_new_clients_before_they_are_measured(void **state)
{
    (void)state;
    const uint32_t percents[] = {30, 0, 30};
    start(3);
    for (uint32_t i = 0; i < 3; i++)
        (void)join();
    pass(percents, 10);
    /* Three clients make 60 %: each new one counts as 20 until it has shown otherwise. */
    assert_int_equal(join(), 1);
    assert_int_equal(join(), 1);
    assert_int_equal(join(), 0);
    assert_int_equal(join(), 2);
}

static void spread_forgets_a_load_that_has_ended(void **state)
{
    (void)state;
    const uint32_t busy[] = {80, 10};
    const uint32_t quiet[] = {0, 10};
    start(2);
    (void)join();
    (void)join();
    pass(busy, 10);
    assert_int_equal(spread_pick(&spread, samples), 1);
    pass(quiet, 10);
    assert_int_equal(spread_pick(&spread, samples), 0);
}

static void spread_counts_clients_where_all_are_full(void **state)
{
    (void)state;
    const uint32_t percents[] = {100, 93};
    start(2);
    (void)join();
    (void)join();
    spread_join(&spread, 1);
    pass(percents, 20);
    assert_int_equal(join(), 0);
}

static void spread_breaks_a_tie_by_jobs_under_way(void **state)
{
    (void)state;
    start(2);
    samples[0].jobs = 5;
    assert_int_equal(spread_pick(&spread, samples), 1);
    samples[1].jobs = 6;
    assert_int_equal(spread_pick(&spread, samples), 0);
}

static void spread_waits_for_a_whole_sample(void **state)
{
    (void)state;
    start(2);
    samples[0].busy_ns = NS_PER_MS;
    spread_note(&spread, samples, now_ns + NS_PER_MS);
    spread_note(&spread, samples, now_ns - NS_PER_MS); /* a clock that went back */
    assert_int_equal(spread.workers[0].load, 0);
    assert_int_equal(spread.workers[0].busy_ns, 0);
}

static void spread_survives_days_between_two_samples(void **state)
{
    (void)state;
    start(1);
    (void)join();
    samples[0].busy_ns = 30 * UINT64_C(86400) * NS_PER_S;
    spread_note(&spread, samples, now_ns + 60 * UINT64_C(86400) * NS_PER_S);
    assert_in_range(spread.workers[0].load, NS_PER_S / 8 - NS_PER_S / 100, NS_PER_S / 8);
    assert_int_equal(spread_pick(&spread, samples), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spread_deals_out_clients_that_come_at_once),
        cmocka_unit_test(spread_passes_over_a_busy_worker_that_has_fewer_clients),
        cmocka_unit_test(spread_counts_new_clients_before_they_are_measured),
        cmocka_unit_test(spread_forgets_a_load_that_has_ended),
        cmocka_unit_test(spread_counts_clients_where_all_are_full),
        cmocka_unit_test(spread_breaks_a_tie_by_jobs_under_way),
        cmocka_unit_test(spread_waits_for_a_whole_sample),
        cmocka_unit_test(spread_survives_days_between_two_samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
