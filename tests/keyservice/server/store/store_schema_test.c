/* A database of another version: taken forward whole, or refused and left as it is. */
#include "tests/keyservice/server/store/store_fixture.h"

#include "base/bytes.h"

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

static void a_newer_database_is_refused(void **state)
{
    struct store_fixture *fixture = *state;
    char why[STORE_WHY_BYTES] = "";
    store_close(fixture->store);
    fixture->store = NULL;
    store_fixture_sql(fixture, "INSERT INTO schema_version VALUES (1000, 0)");
    const struct store_config config = {
        .path = fixture->database, .master = fixture->master, .readers_count = 1};
    assert_int_equal(store_open(&fixture->store, &config, why), -EPROTO);
    assert_non_null(strstr(why, "newer"));
}

/* Version 1 as its program made it, with an envelope for two people. */
static const char version_1[] =
    "CREATE TABLE schema_version (version INTEGER PRIMARY KEY, applied INTEGER NOT NULL);"
    "INSERT INTO schema_version VALUES (1, 0);"
    "CREATE TABLE account (number INTEGER PRIMARY KEY AUTOINCREMENT, address TEXT NOT NULL UNIQUE,"
    " password TEXT NOT NULL, created INTEGER NOT NULL);"
    "CREATE TABLE pending (address TEXT NOT NULL, browser BLOB NOT NULL, code BLOB NOT NULL,"
    " password TEXT NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL,"
    " tries INTEGER NOT NULL, PRIMARY KEY (address, browser));"
    "CREATE TABLE session (hash BLOB PRIMARY KEY, account INTEGER NOT NULL,"
    " created INTEGER NOT NULL, seen INTEGER NOT NULL, password INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE engine (fingerprint BLOB PRIMARY KEY, name TEXT NOT NULL,"
    " created INTEGER NOT NULL, revoked INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE enrol (code BLOB PRIMARY KEY, name TEXT NOT NULL,"
    " expires INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE address (number INTEGER PRIMARY KEY, address TEXT NOT NULL UNIQUE);"
    "CREATE TABLE envelope (number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE,"
    " digest BLOB NOT NULL, key_version INTEGER NOT NULL, wrapped BLOB NOT NULL,"
    " suite INTEGER NOT NULL, level INTEGER NOT NULL, flags INTEGER NOT NULL,"
    " locked INTEGER NOT NULL DEFAULT 0, sent INTEGER NOT NULL, expires INTEGER NOT NULL,"
    " read_by INTEGER NOT NULL, mail_bytes INTEGER NOT NULL, profile TEXT NOT NULL,"
    " sender TEXT NOT NULL, subject TEXT NOT NULL);"
    "CREATE TABLE recipient (number INTEGER PRIMARY KEY, address INTEGER NOT NULL);"
    "INSERT INTO address VALUES (3, 'bob@example.org'), (4, 'eve@example.org'),"
    " (5, 'sue@example.org');"
    "INSERT INTO envelope VALUES (7, x'00000000000070008000000000000007', x'00', 1, x'0102', 1, 2,"
    " 3, 1, 1700000000000, 1700000000001, 0, 17, 'p', 'a@b', 'subject');"
    "INSERT INTO recipient VALUES (7168, 5), (7169, 3), (8192, 4);";

static void fixture_to_version_1(struct store_fixture *fixture, const char *more)
{
    if (fixture->schema[0] != '\0')
        skip(); /* PostgreSQL's first version is the present one */
    store_close(fixture->store);
    fixture->store = NULL;
    assert_int_equal(unlink(fixture->database), 0); /* the log went with the last connection */
    store_fixture_sql(fixture, version_1);
    store_fixture_sql(fixture, more);
}

static void an_older_database_is_taken_forward_whole(void **state)
{
    static const uint8_t id[RECORD_ID_BYTES] = {[6] = 0x70, [8] = 0x80, [15] = 7};
    struct store_fixture *fixture = *state;
    struct store_envelope envelope;
    struct store_made made;
    fixture_to_version_1(fixture, "");
    store_fixture_open(fixture);
    assert_int_equal(store_envelope_get(fixture->store, id, &envelope), 0);
    assert_true(envelope.locked);
    assert_int_equal(envelope.level, 2);
    assert_int_equal(envelope.flags, 3);
    assert_int_equal(envelope.expires_unix_ms, NOW_MS + 1);
    assert_int_equal(envelope.mail_bytes, 17);
    assert_string_equal(envelope.subject, "subject");
    assert_int_equal(envelope.wrapped_bytes, 2);
    assert_int_equal(store_envelope_recipient(fixture->store, id, "bob@example.org"), 0);
    assert_int_equal(store_envelope_recipient(fixture->store, id, "sue@example.org"), 0);
    assert_int_equal(store_envelope_recipient(fixture->store, id, "eve@example.org"), -ENOENT);
    store_made_fill(&made, 8, "bob@example.org");
    assert_int_equal(store_made_put(fixture, &made), STORE_PUT_STORED);
}

static void an_older_database_that_is_damaged_stays_as_it_is(void **state)
{
    struct store_fixture *fixture = *state;
    char why[STORE_WHY_BYTES] = "";
    const struct store_config config = {
        .path = fixture->database, .master = fixture->master, .readers_count = 1};
    fixture_to_version_1(fixture, "DELETE FROM recipient");
    assert_int_equal(store_open(&fixture->store, &config, why), -EIO);
    assert_non_null(strstr(why, "damaged"));
    assert_int_equal(store_fixture_number(fixture, "SELECT count(digest) FROM envelope"), 1);
}

static void a_missing_database_is_not_made_unasked(void **state)
{
    struct store_fixture *fixture = *state;
    char why[STORE_WHY_BYTES] = "";
    struct store *store = NULL;
    const struct store_config config = {
        .path = "/tmp/bulla-no-such-folder/keys.db", .master = fixture->master, .readers_count = 1};
    assert_int_equal(store_open(&store, &config, why), -ENOENT);
    assert_null(store);
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, store_fixture_setup, store_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_newer_database_is_refused),
        TEST(an_older_database_is_taken_forward_whole),
        TEST(an_older_database_that_is_damaged_stays_as_it_is),
        TEST(a_missing_database_is_not_made_unasked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
