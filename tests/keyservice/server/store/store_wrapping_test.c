/* Old master keys' end: what still needs one, what becomes of a database from before. */
#include "tests/keyservice/server/store/store_fixture.h"

#include "keyservice/server/store/store_person.h"
#include "keyservice/server/store/store_rewrap.h"
#include "keyservice/server/store/store_wrapping.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PASSWORD "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"

/* The secret of a code app, under the newest key; its last byte is the account's. */
static void factor_put(const struct store_fixture *fixture, uint32_t i)
{
    static const uint8_t codes[STORE_RECOVERY_COUNT][STORE_HASH_BYTES] = {{0}};
    char address[64];
    uint8_t id[MASTER_ID_BYTES];
    uint8_t secret[24] = {[23] = (uint8_t)i};
    struct master_burst *burst = NULL;
    struct store_account account;
    struct store_totp totp = {.key_version = master_version(fixture->master)};
    (void)snprintf(address, sizeof(address), "user%u@example.org", i);
    assert_int_equal(store_account_add(fixture->store, address, PASSWORD, NOW_MS), 0);
    assert_int_equal(store_account_get(fixture->store, address, &account), 0);
    store_totp_id(id, account.number);
    struct master_wrap wrap = {
        .id = id, .key = secret, .key_bytes = sizeof(secret), .wrapped = totp.wrapped};
    assert_int_equal(master_burst_open(&burst, fixture->master, totp.key_version), 0);
    assert_int_equal(master_burst_wrap(burst, &wrap, 1), 0);
    master_burst_close(burst);
    totp.wrapped_bytes = wrap.wrapped_bytes;
    assert_int_equal(store_totp_put(fixture->store, account.number, &totp, codes), 0);
}

static void factor_expect(const struct store_fixture *fixture, uint32_t i, uint32_t version)
{
    char address[64];
    uint8_t id[MASTER_ID_BYTES];
    uint8_t secret[MASTER_PLAIN_BYTES_MAX];
    size_t secret_bytes = 0;
    struct store_account account;
    struct store_totp totp;
    (void)snprintf(address, sizeof(address), "user%u@example.org", i);
    assert_int_equal(store_account_get(fixture->store, address, &account), 0);
    assert_int_equal(store_totp_get(fixture->store, account.number, &totp), 0);
    assert_int_equal(totp.key_version, version);
    store_totp_id(id, account.number);
    assert_int_equal(master_unwrap(fixture->master, version, id, totp.wrapped, totp.wrapped_bytes,
                                   secret, &secret_bytes),
                     0);
    assert_int_equal(secret_bytes, 24);
    assert_int_equal(secret[23], (uint8_t)i);
}

static void master_again(struct store_fixture *fixture)
{
    char why[MASTER_WHY_BYTES] = "";
    store_close(fixture->store);
    master_close(fixture->master);
    assert_int_equal(master_open(&fixture->master, fixture->master_path, why), 0);
    store_fixture_open(fixture);
}

static void master_add_one(struct store_fixture *fixture)
{
    char why[STORE_WHY_BYTES] = "";
    assert_int_equal(master_add(fixture->master_path, why), 0);
    master_again(fixture);
    assert_int_equal(store_wrapping_check(fixture->store, why), 0);
}

static void rewrap_all(const struct store_fixture *fixture)
{
    bool more = true;
    for (uint32_t steps = 0; more && steps < 10; steps++)
        assert_int_equal(store_rewrap_some(fixture->store, &more), 0);
    assert_false(more);
}

/* More than a step's rows between the others, under the key that is to come. */
static void factors_fill(const struct store_fixture *fixture)
{
    store_fixture_sql(fixture,
                      fixture->schema[0] != '\0'
                          ? "INSERT INTO account (address, password, created)"
                            " SELECT convert_to('f' || n, 'UTF8'), '', 0"
                            " FROM generate_series(1, 300) AS n;"
                          : "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s"
                            " WHERE n < 300) INSERT INTO account (address, password, created)"
                            " SELECT 'f' || n, '', 0 FROM s");
    store_fixture_sql(fixture, "INSERT INTO totp (account, key_version, wrapped, step)"
                               " SELECT number, 2, 'x', 0 FROM account"
                               " WHERE number NOT IN (SELECT account FROM totp)");
}

static void secrets_of_code_apps_come_under_the_newest_key_too(void **state)
{
    struct store_fixture *fixture = *state;
    struct store_rewrap rewrap;
    struct store_made made;
    factor_put(fixture, 0);
    factors_fill(fixture);
    factor_put(fixture, 1);
    _Static_assert(STORE_REWRAP_ROWS < 300, "more than one step");
    store_made_fill(&made, 1, "bob@example.org");
    assert_int_equal(store_made_put(fixture, &made), STORE_PUT_STORED);
    master_add_one(fixture);
    factor_expect(fixture, 0, 1);
    rewrap_all(fixture);
    factor_expect(fixture, 0, 2);
    factor_expect(fixture, 1, 2);
    assert_int_equal(store_rewrap_look(fixture->store, &rewrap), 0);
    assert_true(rewrap.done);
    assert_int_equal(rewrap.rows_count, 3);
}

/* A table that nobody thought of would be lost with the key. */
static void every_table_that_names_a_version_is_counted(void **state)
{
    const struct store_fixture *fixture = *state;
    const char *ask =
        fixture->schema[0] != '\0'
            ? "SELECT count(*) FROM information_schema.columns WHERE column_name = 'key_version'"
              " AND table_schema = current_schema() AND table_name NOT IN ('envelope', 'totp')"
            : "SELECT count(*) FROM sqlite_master WHERE sql LIKE '%key_version%'"
              " AND name NOT IN ('envelope', 'totp')";
    assert_int_equal(store_fixture_number(fixture, ask), 0);
}

static void what_needs_a_version_is_counted_and_the_mend_is_named(void **state)
{
    struct store_fixture *fixture = *state;
    char why[STORE_WHY_BYTES] = "";
    struct store_wrapping list[MASTER_VERSIONS_MAX + 1];
    struct store_made made[3];
    for (uint32_t i = 0; i < 3; i++) {
        store_made_fill(&made[i], 1 + i, "bob@example.org");
        assert_int_equal(store_made_put(fixture, &made[i]), STORE_PUT_STORED);
    }
    factor_put(fixture, 1);
    master_add_one(fixture);
    factor_put(fixture, 2);
    assert_int_equal(store_wrapping_list(fixture->store, list), 0);
    assert_int_equal(list[1].envelopes_count, 3);
    assert_int_equal(list[1].factors_count, 1);
    assert_int_equal(list[1].damaged_count, 0);
    assert_int_equal(list[2].factors_count, 1);
    assert_int_equal(store_wrapping_unneeded(fixture->store, 1, true, why), -ENOTEMPTY);
    assert_non_null(strstr(why, "3 keys of messages and 1 secrets"));
    assert_non_null(strstr(why, "master-key rewrap"));
    rewrap_all(fixture);
    assert_int_equal(store_wrapping_unneeded(fixture->store, 1, false, why), 0);
    assert_int_equal(store_wrapping_list(fixture->store, list), 0);
    assert_int_equal(list[2].envelopes_count, 3);
    assert_int_equal(list[2].factors_count, 2);
}

static void damaged_keys_are_given_up_when_that_is_said_alone(void **state)
{
    struct store_fixture *fixture = *state;
    char why[STORE_WHY_BYTES] = "";
    struct store_made made;
    store_made_fill(&made, 1, "bob@example.org");
    assert_int_equal(store_made_put(fixture, &made), STORE_PUT_STORED);
    store_fixture_sql(fixture, fixture->schema[0] != '\0'
                                   ? "UPDATE envelope SET wrapped = decode(repeat('00', 56), 'hex')"
                                   : "UPDATE envelope SET wrapped = zeroblob(56)");
    master_add_one(fixture);
    rewrap_all(fixture);
    assert_int_equal(store_wrapping_unneeded(fixture->store, 1, false, why), -ENOTEMPTY);
    assert_non_null(strstr(why, "1 keys are under master key 1 and damaged"));
    assert_int_equal(store_wrapping_unneeded(fixture->store, 1, true, why), 0);
    assert_int_equal(store_wrapping_retire(fixture->store, 1, NOW_MS), 0);
    assert_int_equal(master_retire(fixture->master_path, 1, why), 0);
    master_again(fixture);
    /* Who sends it once more is told, and fails nobody else's. */
    assert_int_equal(store_made_put(fixture, &made), STORE_PUT_CONFLICT);
}

static void retire(struct store_fixture *fixture)
{
    char why[STORE_WHY_BYTES] = "";
    assert_int_equal(store_wrapping_unneeded(fixture->store, 1, false, why), 0);
    assert_int_equal(store_wrapping_retire(fixture->store, 1, NOW_MS), 0);
    assert_int_equal(store_wrapping_retire(fixture->store, 1, NOW_MS), -ENOENT);
    /* Cut off here, the file has the key still: it is served, and the log says so. */
    assert_int_equal(store_wrapping_check(fixture->store, why), 0);
    assert_int_equal(master_retire(fixture->master_path, 1, why), 0);
    master_again(fixture);
    assert_int_equal(store_wrapping_check(fixture->store, why), 0);
}

static void a_backup_from_before_is_refused_in_words(void **state)
{
    struct store_fixture *fixture = *state;
    char why[STORE_WHY_BYTES] = "";
    struct store_made made;
    store_made_fill(&made, 1, "bob@example.org");
    assert_int_equal(store_made_put(fixture, &made), STORE_PUT_STORED);
    store_fixture_sql(fixture, "CREATE TABLE was AS SELECT key_version, wrapped FROM envelope");
    master_add_one(fixture);
    rewrap_all(fixture);
    retire(fixture);
    store_fixture_sql(fixture, "UPDATE wrapping SET retired = 0;"
                               "UPDATE envelope SET key_version = (SELECT key_version FROM was),"
                               " wrapped = (SELECT wrapped FROM was)");
    assert_int_equal(store_wrapping_check(fixture->store, why), -ENOKEY);
    assert_non_null(strstr(why, "1 keys in this database are under master key 1, which was "
                                "retired"));
}

static void a_backup_that_needs_the_key_no_more_takes_its_end_over(void **state)
{
    struct store_fixture *fixture = *state;
    char why[STORE_WHY_BYTES] = "";
    struct store_wrapping list[MASTER_VERSIONS_MAX + 1];
    struct store_made made;
    store_made_fill(&made, 1, "bob@example.org");
    assert_int_equal(store_made_put(fixture, &made), STORE_PUT_STORED);
    master_add_one(fixture);
    rewrap_all(fixture);
    retire(fixture);
    store_fixture_sql(fixture, "UPDATE wrapping SET retired = 0");
    assert_int_equal(store_wrapping_check(fixture->store, why), 0);
    assert_int_equal(store_wrapping_look(fixture->store, list), 0);
    assert_int_not_equal(list[1].retired_unix_ms, 0);
    assert_int_equal(list[2].retired_unix_ms, 0);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, store_fixture_setup, store_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(secrets_of_code_apps_come_under_the_newest_key_too),
        TEST(every_table_that_names_a_version_is_counted),
        TEST(what_needs_a_version_is_counted_and_the_mend_is_named),
        TEST(damaged_keys_are_given_up_when_that_is_said_alone),
        TEST(a_backup_from_before_is_refused_in_words),
        TEST(a_backup_that_needs_the_key_no_more_takes_its_end_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
