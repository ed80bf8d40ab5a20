#include "bench/claims.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct claim claim_make(enum claim_compare compare, double target, double value)
{
    struct claim claim = {
        .row = "row", .name = "name", .unit = "x", .compare = compare, .target = target};
    samples_add(&claim.runs, value);
    return claim;
}

static bool claim_holds_in_json(enum claim_compare compare, double target, double value)
{
    json_t *claims = json_array();
    const struct claim claim = claim_make(compare, target, value);
    claims_add(claims, &claim);
    const bool holds = json_is_true(json_object_get(json_array_get(claims, 0), "holds"));
    json_decref(claims);
    return holds;
}

static void samples_take_the_middle_of_odd_and_even_numbers(void **state)
{
    struct samples samples = {.count = 0};
    (void)state;
    samples_add(&samples, 9);
    samples_add(&samples, 1);
    assert_true(samples_median(&samples) == 5);
    samples_add(&samples, 2);
    const struct samples_spread spread = samples_spread(&samples);
    assert_true(spread.min == 1 && spread.median == 2 && spread.max == 9);
    assert_true(samples.values[0] == 9); /* runs stay in their order */
}

static void claims_hold_at_their_target_and_not_beyond_it(void **state)
{
    (void)state;
    assert_true(claim_holds_in_json(CLAIM_AT_LEAST, 25, 25));
    assert_false(claim_holds_in_json(CLAIM_AT_LEAST, 25, 24.99));
    assert_true(claim_holds_in_json(CLAIM_AT_MOST, 0, 0));
    assert_false(claim_holds_in_json(CLAIM_AT_MOST, 0, 1e-9));
    assert_true(claim_holds_in_json(CLAIM_BELOW, 1, 0.99));
    assert_false(claim_holds_in_json(CLAIM_BELOW, 1, 1));
}

static void claims_that_were_not_measured_do_not_hold_and_say_why(void **state)
{
    json_t *claims = json_array();
    struct claim claim = claim_make(CLAIM_AT_MOST, 10, 1);
    (void)state;
    claim.runs.count = 0;
    claim.why = "no corpus here";
    claims_add(claims, &claim);
    claim.why = NULL;
    claims_add(claims, &claim);
    for (size_t i = 0; i < json_array_size(claims); i++) {
        const json_t *made = json_array_get(claims, i);
        assert_true(json_is_null(json_object_get(made, "value")));
        assert_true(json_is_false(json_object_get(made, "holds")));
        assert_true(strlen(json_string_value(json_object_get(made, "why"))) > 0);
    }
    json_decref(claims);
}

static void claims_carry_their_runs_and_their_peer(void **state)
{
    json_t *claims = json_array();
    struct claim claim = claim_make(CLAIM_AT_LEAST, 2, 3);
    (void)state;
    samples_add(&claim.runs, 5);
    claim.peer = (struct claim_side){.name = "a peer", .unit = "MB/s"};
    samples_add(&claim.peer.runs, 7);
    claims_add(claims, &claim);
    const json_t *made = json_array_get(claims, 0);
    assert_int_equal(json_array_size(json_object_get(made, "runs")), 2);
    assert_true(json_number_value(json_object_get(made, "value")) == 4);
    assert_true(json_number_value(json_object_get(json_object_get(made, "peer"), "value")) == 7);
    assert_true(json_is_null(json_object_get(made, "limit")));
    json_decref(claims);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_take_the_middle_of_odd_and_even_numbers),
        cmocka_unit_test(claims_hold_at_their_target_and_not_beyond_it),
        cmocka_unit_test(claims_that_were_not_measured_do_not_hold_and_say_why),
        cmocka_unit_test(claims_carry_their_runs_and_their_peer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
