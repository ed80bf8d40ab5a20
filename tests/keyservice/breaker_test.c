/* The circuit breaker on a clock of the test's own: minutes, days, and clocks that jump. */
#include "keyservice/breaker.h"

#include "base/clock.h"
#include "base/macros.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define DAY_NS (86400 * NS_PER_S)

static const struct breaker_config config = {
    .pause_ns_min = 50 * NS_PER_MS, .pause_ns_max = 10 * NS_PER_S, .probe_ns_min = NS_PER_S};

static uint64_t random_state = UINT64_C(0x9e3779b97f4a7c15);

static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static struct breaker opened(uint64_t now_ns, uint64_t random)
{
    struct breaker breaker;
    breaker_init(&breaker, &config);
    assert_true(breaker_allows(&breaker, now_ns));
    breaker_begin(&breaker, now_ns);
    assert_true(breaker_is_closed(&breaker));
    breaker_failed(&breaker, now_ns, 0, random);
    assert_false(breaker_is_closed(&breaker));
    return breaker;
}

/* One probe as soon as it is allowed, which ends `later_ns` after; returns when it began. */
static uint64_t probe_fails(struct breaker *breaker, uint64_t later_ns, uint64_t random)
{
    const uint64_t due_ns = breaker_due_ns(breaker);
    assert_false(breaker_allows(breaker, due_ns - 1));
    assert_true(breaker_allows(breaker, due_ns));
    breaker_begin(breaker, due_ns);
    breaker_failed(breaker, due_ns + later_ns, 0, random);
    return due_ns;
}

static void breaker_lets_all_pass_until_the_first_failure(void **state)
{
    struct breaker breaker;
    (void)state;
    breaker_init(&breaker, &config);
    for (uint64_t now_ns = 0; now_ns < 100; now_ns++) {
        assert_true(breaker_allows(&breaker, now_ns));
        breaker_begin(&breaker, now_ns);
        breaker_answered(&breaker);
    }
    breaker_failed(&breaker, 100, 0, 49 * NS_PER_MS);
    assert_false(breaker_allows(&breaker, 100));
    assert_int_equal(breaker_due_ns(&breaker), 100 + 49 * NS_PER_MS);
}

static void breaker_has_one_probe_out_at_a_time(void **state)
{
    struct breaker breaker = opened(NS_PER_S, 0);
    (void)state;
    assert_true(breaker_allows(&breaker, NS_PER_S));
    breaker_begin(&breaker, NS_PER_S);
    assert_false(breaker_allows(&breaker, NS_PER_S));
    assert_false(breaker_allows(&breaker, NS_PER_S + DAY_NS)); /* however long it takes */
    breaker_answered(&breaker);
    assert_true(breaker_is_closed(&breaker));
}

/* The pause is anything from nothing to the limit, and the limit doubles up to its own. */
static void breaker_pauses_with_full_jitter_below_a_doubling_limit(void **state)
{
    (void)state;
    for (uint32_t failures = 1; failures < 20; failures++) {
        uint64_t least_ns = UINT64_MAX;
        uint64_t most_ns = 0;
        uint64_t sum_ns = 0;
        const uint64_t limit_ns =
            failures > 8 ? config.pause_ns_max
                         : MIN(config.pause_ns_min << (failures - 1), config.pause_ns_max);
        for (uint32_t i = 0; i < 2000; i++) {
            struct breaker breaker = opened(NS_PER_S, random_next());
            uint64_t ended_ns = NS_PER_S;
            for (uint32_t n = 1; n < failures; n++) {
                const uint64_t began_ns = breaker_due_ns(&breaker);
                ended_ns = began_ns + 2 * NS_PER_S; /* so that the spacing does not show */
                (void)probe_fails(&breaker, 2 * NS_PER_S, random_next());
            }
            const uint64_t pause_ns = breaker_due_ns(&breaker) - ended_ns;
            assert_true(pause_ns < limit_ns);
            least_ns = MIN(least_ns, pause_ns);
            most_ns = MAX(most_ns, pause_ns);
            sum_ns += pause_ns;
        }
        assert_true(least_ns < limit_ns / 100);
        assert_true(most_ns > limit_ns - limit_ns / 100);
        assert_in_range(sum_ns / 2000, limit_ns * 9 / 20, limit_ns * 11 / 20);
    }
}

static void breaker_probes_at_most_once_a_second_for_days(void **state)
{
    struct breaker breaker = opened(NS_PER_S, random_next());
    uint64_t probes = 0;
    uint64_t last_ns = 0;
    (void)state;
    while (breaker_due_ns(&breaker) < 10 * DAY_NS) {
        const uint64_t began_ns = probe_fails(&breaker, random_next() % 1000, random_next());
        assert_true(probes == 0 || began_ns - last_ns >= NS_PER_S);
        assert_true(began_ns - last_ns <= config.pause_ns_max + NS_PER_S);
        last_ns = began_ns;
        probes++;
    }
    /* The mean pause is half the limit: some two hundred thousand in ten days, not millions. */
    assert_in_range(probes, 10 * 86400 / 6, 10 * 86400 / 4);
    assert_true(breaker_allows(&breaker, breaker_due_ns(&breaker)));
    breaker_begin(&breaker, breaker_due_ns(&breaker));
    breaker_answered(&breaker);
    assert_true(breaker_allows(&breaker, 10 * DAY_NS));
}

/* A service that answers every second request would else be asked without end. */
static void breaker_keeps_the_distance_while_a_service_flaps(void **state)
{
    struct breaker breaker = opened(NS_PER_S, random_next());
    uint64_t last_ns = 0;
    (void)state;
    for (uint32_t i = 0; i < 10000; i++) {
        const uint64_t now_ns = breaker_due_ns(&breaker);
        assert_true(breaker_allows(&breaker, now_ns));
        breaker_begin(&breaker, now_ns);
        assert_true(i == 0 || now_ns - last_ns >= NS_PER_S);
        last_ns = now_ns;
        breaker_answered(&breaker);
        breaker_begin(&breaker, now_ns);
        breaker_failed(&breaker, now_ns + NS_PER_MS, 0, random_next());
    }
}

/* Four were out when the service went away; that is one failure, not four. */
static void breaker_counts_failures_of_one_moment_once(void **state)
{
    struct breaker once = opened(NS_PER_S, 7);
    struct breaker often = once;
    (void)state;
    for (uint32_t i = 0; i < 3; i++)
        breaker_failed(&often, NS_PER_S + i, 0, random_next());
    assert_memory_equal(&once, &often, sizeof(once));
    /* And one of them that was answered after all closes it. */
    breaker_answered(&often);
    assert_true(breaker_is_closed(&often));
    assert_int_equal(often.pause_ns, config.pause_ns_min);
}

static void breaker_waits_as_long_as_the_service_asks_within_bounds(void **state)
{
    struct breaker breaker;
    (void)state;
    breaker_init(&breaker, &config);
    breaker_failed(&breaker, NS_PER_S, 7 * NS_PER_S, 0);
    assert_int_equal(breaker_due_ns(&breaker), 8 * NS_PER_S);
    /* Of those out with it the one that asks for most is heard. */
    breaker_failed(&breaker, NS_PER_S, 9 * NS_PER_S, 0);
    breaker_failed(&breaker, NS_PER_S, 3 * NS_PER_S, 0);
    assert_int_equal(breaker_due_ns(&breaker), 10 * NS_PER_S);
    breaker_init(&breaker, &config);
    breaker_failed(&breaker, NS_PER_S, UINT64_MAX, 49 * NS_PER_MS);
    assert_int_equal(breaker_due_ns(&breaker), NS_PER_S + BREAKER_ASKED_NS_MAX + 49 * NS_PER_MS);
}

static void breaker_never_waits_longer_when_the_clock_is_set_back(void **state)
{
    const uint64_t wait_ns_max = BREAKER_ASKED_NS_MAX + config.pause_ns_max;
    struct breaker breaker;
    (void)state;
    for (uint64_t asked_ns = 0; asked_ns < 2 * BREAKER_ASKED_NS_MAX; asked_ns += 100 * NS_PER_S) {
        breaker_init(&breaker, &config);
        breaker_failed(&breaker, 30 * DAY_NS, asked_ns, random_next());
        uint64_t now_ns = breaker_due_ns(&breaker);
        assert_true(breaker_allows(&breaker, now_ns));
        breaker_begin(&breaker, now_ns);
        breaker_failed(&breaker, now_ns, asked_ns, random_next());
        now_ns = DAY_NS; /* a month back */
        assert_false(breaker_allows(&breaker, now_ns));
        assert_true(breaker_due_ns(&breaker) <= now_ns + wait_ns_max);
        assert_true(breaker_allows(&breaker, now_ns + wait_ns_max));
        /* Back again while the probe is out. */
        breaker_begin(&breaker, now_ns + wait_ns_max);
        breaker_failed(&breaker, 0, 0, 0);
        assert_int_equal(breaker_due_ns(&breaker), config.probe_ns_min);
    }
}

static void breaker_probes_once_when_the_clock_is_set_forward(void **state)
{
    struct breaker breaker = opened(NS_PER_S, random_next());
    (void)state;
    assert_true(breaker_allows(&breaker, 400 * DAY_NS));
    breaker_begin(&breaker, 400 * DAY_NS);
    breaker_failed(&breaker, 400 * DAY_NS, 0, 0);
    assert_false(breaker_allows(&breaker, 400 * DAY_NS + NS_PER_S - 1));
    assert_true(breaker_allows(&breaker, 400 * DAY_NS + NS_PER_S));
    /* At the end of all time nothing wraps round. */
    breaker_begin(&breaker, UINT64_MAX - 1);
    breaker_failed(&breaker, UINT64_MAX - 1, UINT64_MAX, UINT64_MAX);
    assert_false(breaker_allows(&breaker, UINT64_MAX - 1));
    assert_int_equal(breaker_due_ns(&breaker), UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(breaker_lets_all_pass_until_the_first_failure),
        cmocka_unit_test(breaker_has_one_probe_out_at_a_time),
        cmocka_unit_test(breaker_pauses_with_full_jitter_below_a_doubling_limit),
        cmocka_unit_test(breaker_probes_at_most_once_a_second_for_days),
        cmocka_unit_test(breaker_keeps_the_distance_while_a_service_flaps),
        cmocka_unit_test(breaker_counts_failures_of_one_moment_once),
        cmocka_unit_test(breaker_waits_as_long_as_the_service_asks_within_bounds),
        cmocka_unit_test(breaker_never_waits_longer_when_the_clock_is_set_back),
        cmocka_unit_test(breaker_probes_once_when_the_clock_is_set_forward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
