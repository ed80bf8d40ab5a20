/* The timing wheel, against a model that looks at every end there is. */
#include "queue/wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW_S   UINT64_C(1795000000)
#define DAY_S   UINT64_C(86400)
#define YEAR_S  (365 * DAY_S)
#define NODES   300
#define MANY    1000000
#define BATCH   64
#define STEPS   60000
#define LATE_S  (WHEEL_STEP_BACK_S + 1)
#define NOWHERE UINT64_MAX

static struct wheel wheel;
static struct wheel_node nodes[NODES];

static void fresh(uint64_t now_s)
{
    memset(nodes, 0, sizeof(nodes));
    wheel_init(&wheel, nodes, NODES, now_s);
    assert_true(wheel_validate(&wheel));
}

static uint64_t next_random(uint64_t *random)
{
    *random ^= *random >> 12;
    *random ^= *random << 25;
    *random ^= *random >> 27;
    return *random * UINT64_C(0x2545f4914f6cdd1d);
}

/* Advances until there is no more to do; the number given. */
static uint32_t drain(uint64_t now_s, uint32_t batch)
{
    uint32_t ended[NODES];
    uint32_t ended_count = 0;
    for (uint32_t n = 0; n < 100 * NODES; n++) {
        ended_count += wheel_advance(&wheel, now_s, ended, batch);
        if (wheel_next_s(&wheel) > now_s)
            return ended_count;
    }
    fail_msg("no end of ends");
    return ended_count;
}

static void nothing_ends_before_its_second(void **state)
{
    (void)state;
    static const uint64_t waits_s[] = {
        1, 2, 63, 64, 65, 4095, 4096, 4097, DAY_S, 5 * DAY_S, YEAR_S, 30 * YEAR_S, 5000 * YEAR_S};
    for (uint32_t n = 0; n < sizeof(waits_s) / sizeof(waits_s[0]); n++) {
        for (uint64_t shift = 0; shift < 70; shift++) {
            uint32_t ended[1];
            fresh(NOW_S + shift);
            const uint64_t end_s = NOW_S + shift + waits_s[n];
            wheel_add(&wheel, 7, end_s);
            assert_true(wheel_next_s(&wheel) <= end_s);
            assert_int_equal(drain(end_s - 1, 1), 0);
            assert_true(wheel_has(&wheel, 7));
            assert_int_equal(wheel_next_s(&wheel), end_s);
            assert_int_equal(wheel_advance(&wheel, end_s, ended, 1), 1);
            assert_int_equal(ended[0], 7);
            assert_false(wheel_has(&wheel, 7));
            assert_int_equal(wheel_next_s(&wheel), WHEEL_NEVER);
        }
    }
}

static void an_end_in_the_past_comes_at_once(void **state)
{
    (void)state;
    fresh(NOW_S);
    wheel_add(&wheel, 0, NOW_S);
    wheel_add(&wheel, 1, 0);
    assert_int_equal(wheel_next_s(&wheel), 0);
    assert_int_equal(drain(NOW_S, BATCH), 2);
}

static void the_last_second_of_all_has_a_place(void **state)
{
    (void)state;
    fresh(0);
    wheel_add(&wheel, 0, UINT64_MAX);
    wheel_add(&wheel, 1, UINT64_MAX - 1);
    assert_true(wheel_validate(&wheel));
    assert_int_equal(drain(UINT64_MAX - 2, BATCH), 0);
    assert_int_equal(drain(UINT64_MAX - 1, BATCH), 1);
    uint32_t ended[BATCH];
    assert_int_equal(wheel_advance(&wheel, UINT64_MAX, ended, BATCH), 1);
    assert_int_equal(wheel_next_s(&wheel), WHEEL_NEVER);
}

static void removed_and_moved_nodes_do_not_end(void **state)
{
    (void)state;
    fresh(NOW_S);
    for (uint32_t n = 0; n < 10; n++)
        wheel_add(&wheel, n, NOW_S + 100); /* all in one slot: first, middle and last leave it */
    wheel_remove(&wheel, 0);
    wheel_remove(&wheel, 5);
    wheel_remove(&wheel, 9);
    wheel_move(&wheel, 3, NOW_S + YEAR_S);
    assert_true(wheel_validate(&wheel));
    assert_int_equal(drain(NOW_S + 100, BATCH), 6);
    assert_true(wheel_has(&wheel, 3));
    assert_int_equal(wheel_end_s(&wheel, 3), NOW_S + YEAR_S);
    wheel_remove(&wheel, 3);
    assert_int_equal(wheel_next_s(&wheel), WHEEL_NEVER);
    assert_true(wheel_validate(&wheel));
}

static void a_clock_set_back_ends_nothing_early(void **state)
{
    (void)state;
    fresh(NOW_S);
    wheel_add(&wheel, 0, NOW_S + DAY_S);
    assert_int_equal(drain(NOW_S + DAY_S - 1, BATCH), 0);
    assert_int_equal(drain(NOW_S - 10 * YEAR_S, BATCH), 0);
    wheel_add(&wheel, 1, NOW_S - 9 * YEAR_S); /* before all that the wheel had seen */
    assert_true(wheel_validate(&wheel));
    assert_int_equal(drain(NOW_S - 9 * YEAR_S - 1, BATCH), 0);
    assert_int_equal(drain(NOW_S - 9 * YEAR_S, BATCH), 1);
    assert_int_equal(drain(NOW_S + DAY_S - 1, BATCH), 0);
    assert_int_equal(drain(NOW_S + DAY_S, BATCH), 1);
}

static void a_short_step_back_moves_nothing(void **state)
{
    (void)state;
    fresh(NOW_S);
    wheel_add(&wheel, 0, NOW_S + 10);
    assert_int_equal(drain(NOW_S + 5, BATCH), 0);
    const uint64_t seen_s = wheel.now_s;
    assert_int_equal(drain(NOW_S + 5 - WHEEL_STEP_BACK_S, BATCH), 0);
    assert_int_equal(wheel.now_s, seen_s);
    wheel_add(&wheel, 1, NOW_S + 4); /* not yet by the clock, but behind the wheel */
    assert_int_equal(drain(NOW_S + 3, BATCH), 0);
    assert_true(wheel_validate(&wheel));
    assert_int_equal(drain(NOW_S + 4 + LATE_S, BATCH), 1);
}

/* A million messages and a clock that is set forward by years: many short steps, no long one. */
static void each_step_is_bounded_whatever_the_clock_does(void **state)
{
    (void)state;
    static uint32_t ended[BATCH];
    struct wheel_node *many = calloc(MANY, sizeof(*many));
    uint64_t random = UINT64_C(0x5eed);
    uint32_t given = 0;
    uint32_t steps = 0;
    assert_non_null(many);
    wheel_init(&wheel, many, MANY, NOW_S);
    for (uint32_t n = 0; n < MANY; n++)
        wheel_add(&wheel, n, NOW_S + 1 + next_random(&random) % (5 * DAY_S));
    while (wheel_next_s(&wheel) != WHEEL_NEVER) {
        const uint64_t now_s = steps < 100 ? NOW_S + DAY_S : NOW_S + 20 * YEAR_S;
        given += wheel_advance(&wheel, steps % 50 == 9 ? NOW_S : now_s, ended, BATCH);
        assert_true(++steps < 4 * MANY / BATCH);
    }
    assert_int_equal(given, MANY);
    assert_true(wheel_validate(&wheel));
    free(many);
}

struct model {
    uint64_t end_s[NODES]; /* NOWHERE: not in */
    uint64_t now_s;
    uint64_t late_s; /* what may remain for how long */
};

static uint64_t any_wait_s(uint64_t *random)
{
    return next_random(random) >> (next_random(random) % 40 + 24); /* 0 to some 34 000 years */
}

static void model_advance(struct model *model, uint32_t batch)
{
    uint32_t ended[NODES];
    const uint32_t ended_count = wheel_advance(&wheel, model->now_s, ended, batch);
    assert_true(ended_count <= batch);
    for (uint32_t n = 0; n < ended_count; n++) {
        assert_true(model->end_s[ended[n]] <= model->now_s); /* was in, and has ended */
        model->end_s[ended[n]] = NOWHERE;
    }
    if (wheel_next_s(&wheel) <= model->now_s)
        return; /* there is more */
    for (uint32_t n = 0; n < NODES; n++)
        assert_true(model->end_s[n] == NOWHERE || model->end_s[n] + model->late_s > model->now_s);
}

/* By more than the wheel waits out; it sees each, or some would together be a short one. */
static void model_step_back(struct model *model, uint64_t back_s)
{
    if (wheel.now_s < NOW_S + back_s + WHEEL_STEP_BACK_S + 1)
        return;
    model->now_s = wheel.now_s - back_s - WHEEL_STEP_BACK_S - 1;
    model_advance(model, 1);
}

static void model_step(struct model *model, uint64_t *random)
{
    const uint32_t node = (uint32_t)(next_random(random) % NODES);
    const uint64_t choice = next_random(random) % 100;
    const uint64_t wait_s = any_wait_s(random);
    const uint64_t end_s = choice % 7 == 0 ? model->now_s - wait_s % 9 : model->now_s + wait_s;
    assert_int_equal(wheel_has(&wheel, node), model->end_s[node] != NOWHERE);
    if (choice < 60) {
        if (model->end_s[node] == NOWHERE)
            wheel_add(&wheel, node, end_s);
        else
            wheel_move(&wheel, node, end_s);
        model->end_s[node] = end_s;
    } else if (choice < 70) {
        if (model->end_s[node] != NOWHERE)
            wheel_remove(&wheel, node);
        model->end_s[node] = NOWHERE;
    } else if (choice < 75) {
        model->now_s += wait_s;
    } else if (choice < 77) {
        model_step_back(model, wait_s);
    } else if (choice < 80 && model->late_s > 1) {
        model->now_s -= MIN(model->now_s - NOW_S, 1 + wait_s % WHEEL_STEP_BACK_S);
    } else {
        model->now_s += choice % 2;
        model_advance(model, 1 + (uint32_t)(wait_s % NODES));
    }
    if (model->now_s > UINT64_MAX / 4)
        model->now_s = NOW_S;
}

static void any_history_agrees_with_the_model(void **state)
{
    (void)state;
    uint64_t random = UINT64_C(0x3ee1);
    print_message("seed %llu\n", (unsigned long long)random);
    for (uint32_t run = 0; run < 8; run++) {
        static struct model model;
        model = (struct model){.now_s = NOW_S, .late_s = run % 2 == 0 ? 1 : LATE_S + 1};
        memset(model.end_s, 0xff, sizeof(model.end_s));
        fresh(NOW_S);
        for (uint32_t step = 0; step < STEPS; step++) {
            model_step(&model, &random);
            if (step % 16 == 0)
                assert_true(wheel_validate(&wheel));
        }
        uint32_t left = 0;
        for (uint32_t n = 0; n < NODES; n++)
            left += model.end_s[n] != NOWHERE;
        assert_int_equal(wheel.nodes_count, left);
        assert_int_equal(drain(UINT64_MAX - 1, BATCH), left);
    }
}

static void damage_is_seen(void **state)
{
    (void)state;
    fresh(NOW_S);
    wheel_add(&wheel, 1, NOW_S + 5);
    wheel_add(&wheel, 2, NOW_S + 5);
    nodes[2].end_s += 64 * 64;
    assert_false(wheel_validate(&wheel));
    nodes[2].end_s -= 64 * 64;
    wheel.occupied[0] ^= 1;
    assert_false(wheel_validate(&wheel));
    wheel.occupied[0] ^= 1;
    wheel.nodes_count++;
    assert_false(wheel_validate(&wheel));
    wheel.nodes_count--;
    const uint32_t prev = nodes[2].link.prev;
    nodes[2].link.prev = nodes[2].link.next;
    assert_false(wheel_validate(&wheel));
    nodes[2].link.prev = prev;
    assert_true(wheel_validate(&wheel));
}

static void a_dump_names_each_slot_in_use(void **state)
{
    (void)state;
    char *text = NULL;
    size_t text_bytes = 0;
    FILE *to = open_memstream(&text, &text_bytes);
    assert_non_null(to);
    fresh(NOW_S - NOW_S % 4096);
    for (uint32_t n = 0; n < 6; n++)
        wheel_add(&wheel, n, wheel.now_s + 3);
    wheel_add(&wheel, 6, wheel.now_s + 64);
    wheel_add(&wheel, 7, 1);
    wheel_dump(&wheel, to);
    assert_int_equal(fclose(to), 0);
    assert_non_null(strstr(text, ", 8 of 300 nodes\n"));
    assert_non_null(strstr(text, "level 0 slot 3: 0 ends "));
    assert_non_null(strstr(text, " ... (6)\n"));
    assert_non_null(strstr(text, "level 1 slot 1: 6 ends "));
    assert_non_null(strstr(text, "loose: 7 ends 1 (1)\n"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_ends_before_its_second),
        cmocka_unit_test(an_end_in_the_past_comes_at_once),
        cmocka_unit_test(the_last_second_of_all_has_a_place),
        cmocka_unit_test(removed_and_moved_nodes_do_not_end),
        cmocka_unit_test(a_clock_set_back_ends_nothing_early),
        cmocka_unit_test(a_short_step_back_moves_nothing),
        cmocka_unit_test(each_step_is_bounded_whatever_the_clock_does),
        cmocka_unit_test(any_history_agrees_with_the_model),
        cmocka_unit_test(damage_is_seen),
        cmocka_unit_test(a_dump_names_each_slot_in_use),
    };
    return cmocka_run_group_tests_name("wheel", tests, NULL, NULL);
}
