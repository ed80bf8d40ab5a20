/* What keys a pass of retention destroys, when rules change or a row is damaged meanwhile. */
#include "keyservice/server/retention.h"
#include "keyservice/server/store/store_profile.h"
#include "tests/keyservice/server/store/store_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define DAY_MS    UINT64_C(86400000)
#define LATER_MS  (NOW_MS + 30 * DAY_MS)
#define ENVELOPES 3

struct pass {
    struct retention retention;
    char log[96];
};

static void days_set(const struct store_fixture *fixture, uint64_t days)
{
    const struct store_profile profile = {.name = "p", .retention_days = days};
    assert_int_equal(store_profile_put(fixture->store, &profile, true), 0);
}

static uint64_t kept(const struct store_fixture *fixture)
{
    return store_fixture_number(fixture, "SELECT count(*) FROM envelope");
}

/* Envelopes of profile p, sent at NOW_MS, and a pass that began thirty days later. */
static struct pass *pass_begin(const struct store_fixture *fixture, uint64_t days)
{
    struct pass *pass = calloc(1, sizeof(*pass));
    struct store_made made;
    assert_non_null(pass);
    for (uint32_t i = 1; i <= ENVELOPES; i++) {
        store_made_fill(&made, i << 8, "h@example.org"); /* an id of long ago */
        assert_int_equal(store_made_put(fixture, &made), STORE_PUT_STORED);
    }
    days_set(fixture, days);
    (void)snprintf(pass->log, sizeof(pass->log), "%s/audit.log", fixture->folder);
    assert_int_equal(audit_open(&pass->retention.audit, pass->log), 0);
    pass->retention.store = fixture->store;
    assert_int_equal(retention_begin(&pass->retention, LATER_MS), 0);
    return pass;
}

static void pass_end(struct pass *pass)
{
    audit_close(pass->retention.audit);
    assert_int_equal(unlink(pass->log), 0);
    free(pass);
}

static void what_is_old_is_destroyed_and_counted(void **state)
{
    struct pass *pass = pass_begin(*state, 29);
    assert_int_equal(retention_round(&pass->retention), 0);
    assert_int_equal(kept(*state), 0);
    assert_int_equal(pass->retention.rules_count, 1);
    assert_int_equal(pass->retention.rules[0].count, ENVELOPES);
    pass_end(pass);
}

static void a_rule_that_was_taken_back_destroys_nothing_more(void **state)
{
    struct pass *pass = pass_begin(*state, 29);
    days_set(*state, 0);
    assert_int_equal(retention_round(&pass->retention), 0);
    assert_int_equal(kept(*state), ENVELOPES);
    pass_end(pass);
}

static void a_rule_that_was_changed_holds_from_then_on(void **state)
{
    struct pass *pass = pass_begin(*state, 31);
    days_set(*state, 28);
    assert_int_equal(retention_round(&pass->retention), 0);
    assert_int_equal(kept(*state), 0);
    pass_end(pass);
}

static void a_change_of_a_profiles_text_leaves_its_rule(void **state)
{
    const struct store_fixture *fixture = *state;
    struct store_profile profile = {.name = "p", .title = "read before the rule was"};
    struct store_profile there;
    days_set(fixture, 30);
    assert_int_equal(store_profile_put(fixture->store, &profile, false), 0);
    assert_int_equal(store_profile_get(fixture->store, "p", &there), 0);
    assert_string_equal(there.title, profile.title);
    assert_int_equal(there.retention_days, 30);
    days_set(fixture, 0);
    assert_int_equal(store_profile_get(fixture->store, "p", &there), 0);
    assert_int_equal(there.retention_days, 0);
}

static void a_damaged_row_does_not_stand_in_the_way(void **state)
{
    struct pass *pass = pass_begin(*state, 29);
    store_fixture_sql(*state, "UPDATE envelope SET record = wrapped"
                              " WHERE id = (SELECT id FROM envelope ORDER BY id LIMIT 1)");
    assert_int_equal(retention_round(&pass->retention), 0);
    assert_int_equal(kept(*state), 1);
    pass_end(pass);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, store_fixture_setup, store_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_old_is_destroyed_and_counted),
        TEST(a_rule_that_was_taken_back_destroys_nothing_more),
        TEST(a_rule_that_was_changed_holds_from_then_on),
        TEST(a_change_of_a_profiles_text_leaves_its_rule),
        TEST(a_damaged_row_does_not_stand_in_the_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
