/* Roles and disabled accounts in the database: who holds what, and that somebody always may. */
#include "keyservice/server/store/store_role.h"
#include "tests/keyservice/server/store/store_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PASSWORD "$argon2id$not-a-real-one"

static int64_t account_make(struct store *store, const char *address)
{
    struct store_account account;
    assert_int_equal(store_account_add(store, address, PASSWORD, NOW_MS), 0);
    assert_int_equal(store_account_get(store, address, &account), 0);
    return account.number;
}

static void a_grant_is_held_once_and_until_it_is_revoked(void **state)
{
    const struct store_fixture *fixture = *state;
    struct roles roles;
    const int64_t number = account_make(fixture->store, "h@example.org");
    assert_int_equal(store_role_grant(fixture->store, "no@example.org", ROLE_AUDITOR, "", NOW_MS),
                     -ENOENT);
    assert_int_equal(store_role_grant(fixture->store, "h@example.org", ROLE_HELPDESK, "", NOW_MS),
                     0);
    assert_int_equal(store_role_grant(fixture->store, "h@example.org", ROLE_HELPDESK, "", NOW_MS),
                     -EEXIST);
    assert_int_equal(roles_get(fixture->store, number, &roles), 0);
    assert_true(roles_allow(&roles, RIGHT_RESET, NULL));
    assert_false(roles_allow(&roles, RIGHT_ROLES, NULL));
    assert_false(roles_allow(&roles, RIGHT_AUDIT, NULL));
    assert_int_equal(store_role_revoke(fixture->store, "h@example.org", ROLE_HELPDESK, ""), 0);
    assert_int_equal(store_role_revoke(fixture->store, "h@example.org", ROLE_HELPDESK, ""),
                     -ENOENT);
    assert_int_equal(roles_get(fixture->store, number, &roles), 0);
    assert_int_equal(roles.held, 0);
}

static void a_profile_administrator_holds_the_named_profiles_only(void **state)
{
    const struct store_fixture *fixture = *state;
    struct roles roles;
    const int64_t number = account_make(fixture->store, "p@example.org");
    assert_int_equal(store_role_grant(fixture->store, "p@example.org", ROLE_PROFILE_ADMINISTRATOR,
                                      "sales", NOW_MS),
                     0);
    assert_int_equal(roles_get(fixture->store, number, &roles), 0);
    assert_true(roles_allow(&roles, RIGHT_PROFILES, "sales"));
    assert_false(roles_allow(&roles, RIGHT_PROFILES, "sale"));
    assert_false(roles_allow(&roles, RIGHT_PROFILES, NULL));
    assert_true(roles_allow_any(&roles, RIGHT_PROFILES));
    assert_false(roles_allow_any(&roles, RIGHT_USERS));
    assert_false(roles_allow(&roles, RIGHT_RETENTION, "sales"));
}

static void profiles_of_one_account_are_bounded(void **state)
{
    const struct store_fixture *fixture = *state;
    char name[16];
    (void)account_make(fixture->store, "p@example.org");
    for (uint32_t i = 0; i <= ROLES_PROFILES_MAX; i++) {
        (void)snprintf(name, sizeof(name), "p%u", i);
        assert_int_equal(store_role_grant(fixture->store, "p@example.org",
                                          ROLE_PROFILE_ADMINISTRATOR, name, NOW_MS),
                         i < ROLES_PROFILES_MAX ? 0 : -EACCES);
    }
}

static void the_last_administrator_stays(void **state)
{
    const struct store_fixture *fixture = *state;
    struct store *store = fixture->store;
    (void)account_make(store, "a@example.org");
    (void)account_make(store, "b@example.org");
    assert_int_equal(store_role_grant(store, "a@example.org", ROLE_ADMINISTRATOR, "", NOW_MS), 0);
    assert_int_equal(store_role_revoke(store, "a@example.org", ROLE_ADMINISTRATOR, ""), -EACCES);
    assert_int_equal(store_user_remove(store, "a@example.org"), -EACCES);
    assert_int_equal(store_user_disable(store, "a@example.org", NOW_MS), -EACCES);
    assert_int_equal(store_role_grant(store, "b@example.org", ROLE_ADMINISTRATOR, "", NOW_MS), 0);
    assert_int_equal(store_user_disable(store, "b@example.org", NOW_MS), 0);
    /* Who is disabled does not count. */
    assert_int_equal(store_user_remove(store, "a@example.org"), -EACCES);
    assert_int_equal(store_user_enable(store, "b@example.org"), 0);
    assert_int_equal(store_user_remove(store, "a@example.org"), 0);
    assert_int_equal(store_user_remove(store, "b@example.org"), -EACCES);
}

static int session_begin(struct store *store, int64_t number, uint8_t first)
{
    struct store_session session = {.account_number = number,
                                    .created_unix_ms = NOW_MS,
                                    .seen_unix_ms = NOW_MS,
                                    .password_unix_ms = NOW_MS};
    session.hash[0] = first;
    return store_session_add(store, &session, NULL, NULL);
}

static void no_session_of_a_disabled_account_begins_or_goes_on(void **state)
{
    const struct store_fixture *fixture = *state;
    struct store_session session;
    const uint8_t one[STORE_HASH_BYTES] = {1};
    const int64_t number = account_make(fixture->store, "d@example.org");
    assert_int_equal(session_begin(fixture->store, number, 1), 0);
    assert_int_equal(store_user_disable(fixture->store, "d@example.org", NOW_MS), 0);
    assert_int_equal(store_session_get(fixture->store, one, &session), -ENOENT);
    assert_int_equal(session_begin(fixture->store, number, 2), -ENOENT);
    assert_int_equal(store_user_enabled(fixture->store, "d@example.org"), -EACCES);
    assert_int_equal(store_user_enable(fixture->store, "d@example.org"), 0);
    assert_int_equal(store_user_enabled(fixture->store, "d@example.org"), 0);
    assert_int_equal(store_user_enabled(fixture->store, "x@example.org"), -ENOENT);
    assert_int_equal(session_begin(fixture->store, number, 2), 0);
    assert_int_equal(store_user_sessions_end(fixture->store, "d@example.org"), 0);
}

static void grants_go_with_their_account(void **state)
{
    const struct store_fixture *fixture = *state;
    (void)account_make(fixture->store, "g@example.org");
    assert_int_equal(store_role_grant(fixture->store, "g@example.org", ROLE_AUDITOR, "", NOW_MS),
                     0);
    assert_int_equal(store_account_remove(fixture->store, "g@example.org"), 0);
    assert_int_equal(store_fixture_number(fixture, "SELECT count(*) FROM role_grant"), 0);
}

struct seen {
    uint32_t count;
    int64_t last;
    uint32_t held;
};

static void user_seen(void *context, const struct store_user *user)
{
    struct seen *seen = context;
    seen->count++;
    seen->last = user->number;
    seen->held = user->held;
}

static void users_are_listed_in_pages_and_found_by_a_part(void **state)
{
    const struct store_fixture *fixture = *state;
    char address[64];
    struct store_user user;
    struct seen seen = {0};
    for (uint32_t i = 0; i < STORE_USERS_PAGE_MAX + 3; i++) {
        (void)snprintf(address, sizeof(address), "u%03u@example.org", i);
        (void)account_make(fixture->store, address);
    }
    assert_int_equal(store_user_list(fixture->store, "", 0, user_seen, &seen), 0);
    assert_int_equal(seen.count, STORE_USERS_PAGE_MAX);
    assert_int_equal(store_user_list(fixture->store, "", seen.last, user_seen, &seen), 0);
    assert_int_equal(seen.count, STORE_USERS_PAGE_MAX + 3);
    assert_int_equal(
        store_role_grant(fixture->store, "u042@example.org", ROLE_ADMINISTRATOR, "", NOW_MS), 0);
    assert_int_equal(store_role_grant(fixture->store, "u042@example.org", ROLE_AUDITOR, "", NOW_MS),
                     0);
    seen = (struct seen){0};
    assert_int_equal(store_user_list(fixture->store, "042@ex", 0, user_seen, &seen), 0);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.held, 1 << ROLE_ADMINISTRATOR | 1 << ROLE_AUDITOR);
    assert_int_equal(session_begin(fixture->store, seen.last, 9), 0);
    assert_int_equal(store_user_get(fixture->store, seen.last, &user), 0);
    assert_int_equal(user.sessions_count, 1);
    assert_int_equal(user.seen_unix_ms, NOW_MS);
    assert_string_equal(user.address, "u042@example.org");
    assert_int_equal(store_user_get(fixture->store, 1000000, &user), -ENOENT);
    seen = (struct seen){0};
    assert_int_equal(store_user_list(fixture->store, "%", 0, user_seen, &seen), 0);
    assert_int_equal(seen.count, 0);
}

#define WITH_STORE(test)                                                                           \
    cmocka_unit_test_setup_teardown(test, store_fixture_setup, store_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STORE(a_grant_is_held_once_and_until_it_is_revoked),
        WITH_STORE(a_profile_administrator_holds_the_named_profiles_only),
        WITH_STORE(profiles_of_one_account_are_bounded),
        WITH_STORE(the_last_administrator_stays),
        WITH_STORE(no_session_of_a_disabled_account_begins_or_goes_on),
        WITH_STORE(grants_go_with_their_account),
        WITH_STORE(users_are_listed_in_pages_and_found_by_a_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
