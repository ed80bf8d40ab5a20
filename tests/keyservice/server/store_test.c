#include "keyservice/server/store.h"

#include "base/bytes.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW_MS UINT64_C(1700000000000)

/* A store in a folder of its own. */
struct fixture {
    char folder[64];
    char database[96];
    char master_path[96];
    struct master *master;
    struct store *store;
};

/* A record with its wire bytes, as record_read() would give it. */
struct made {
    struct record record;
    struct store_put put;
    uint8_t wire[512];
    uint8_t recipients[256];
};

static void fixture_open(struct fixture *fixture)
{
    char why[STORE_WHY_BYTES] = "";
    const struct store_config config = {
        .path = fixture->database, .master = fixture->master, .readers_count = 2, .create = true};
    if (store_open(&fixture->store, &config, why) != 0)
        fail_msg("%s", why);
}

static int setup(void **state)
{
    char why[MASTER_WHY_BYTES];
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    if (fixture == NULL)
        return -1;
    (void)snprintf(fixture->folder, sizeof(fixture->folder), "/tmp/bulla-store-XXXXXX");
    if (mkdtemp(fixture->folder) == NULL)
        return -1;
    (void)snprintf(fixture->database, sizeof(fixture->database), "%s/keys.db", fixture->folder);
    (void)snprintf(fixture->master_path, sizeof(fixture->master_path), "%s/master.key",
                   fixture->folder);
    if (master_create(fixture->master_path) != 0 ||
        master_open(&fixture->master, fixture->master_path, why) != 0)
        return -1;
    fixture_open(fixture);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    static const char *const endings[] = {"", "-wal", "-shm"};
    struct fixture *fixture = *state;
    store_close(fixture->store);
    master_close(fixture->master);
    for (size_t i = 0; i < ARRAY_COUNT(endings); i++) {
        char path[128];
        (void)snprintf(path, sizeof(path), "%s%s", fixture->database, endings[i]);
        (void)unlink(path);
    }
    (void)unlink(fixture->master_path);
    (void)rmdir(fixture->folder);
    free(fixture);
    return 0;
}

static void made_fill(struct made *made, uint32_t number, const char *recipient)
{
    memset(made, 0, sizeof(*made));
    const size_t recipient_bytes = strlen(recipient);
    bytes_store_le16(made->recipients, (uint16_t)recipient_bytes);
    memcpy(made->recipients + 2, recipient, recipient_bytes);
    made->record = (struct record){.suite = 1,
                                   .level = RECORD_LEVEL_HIGH,
                                   .sent_unix_ms = NOW_MS,
                                   .expires_unix_ms = NOW_MS + 1,
                                   .mail_bytes = 17,
                                   .profile = (const uint8_t *)"p",
                                   .profile_bytes = 1,
                                   .sender = (const uint8_t *)"a@b",
                                   .sender_bytes = 3,
                                   .recipients_count = 1,
                                   .recipients = made->recipients,
                                   .recipients_bytes = (uint32_t)recipient_bytes + 2};
    bytes_store_le32(made->record.id, number);
    made->record.id[6] = 0x70; /* a UUIDv7, as no other record is taken */
    made->record.id[8] = 0x80;
    memset(made->record.key, (int)number, sizeof(made->record.key));
    const size_t bytes = record_write(made->wire, sizeof(made->wire), &made->record);
    assert_int_not_equal(bytes, 0);
    made->put = (struct store_put){
        .record = &made->record, .wire = made->wire, .wire_bytes = (uint32_t)bytes};
}

static enum store_put_result put(const struct fixture *fixture, struct made *made)
{
    assert_int_equal(store_register_batch(fixture->store, &made->put, 1), 0);
    return made->put.result;
}

static void an_envelope_and_its_key_come_back(void **state)
{
    const struct fixture *fixture = *state;
    struct made made;
    struct store_envelope envelope;
    uint8_t key[MASTER_PLAIN_BYTES_MAX];
    size_t key_bytes = 0;
    made_fill(&made, 7, "Bob@Example.org");
    assert_int_equal(put(fixture, &made), STORE_PUT_STORED);
    assert_int_equal(store_envelope_get(fixture->store, made.record.id, &envelope), 0);
    assert_string_equal(envelope.sender, "a@b");
    assert_string_equal(envelope.subject, "");
    assert_int_equal(envelope.expires_unix_ms, NOW_MS + 1);
    assert_int_equal(store_envelope_key(fixture->store, &envelope, key, &key_bytes), 0);
    assert_int_equal(key_bytes, 32);
    assert_memory_equal(key, made.record.key, 32);
    assert_int_equal(store_envelope_recipient(fixture->store, made.record.id, "bob@example.org"),
                     0);
    assert_int_equal(store_envelope_recipient(fixture->store, made.record.id, "eve@example.org"),
                     -ENOENT);
}

static void every_envelope_knows_its_own_recipients(void **state)
{
    const struct fixture *fixture = *state;
    struct made made[3];
    made_fill(&made[0], 1, "one@example.org");
    made_fill(&made[1], 2, "two@example.org");
    made_fill(&made[2], 3, "one@example.org");
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(put(fixture, &made[i]), STORE_PUT_STORED);
    for (size_t i = 0; i < 3; i++) {
        const char *own = i == 1 ? "two@example.org" : "one@example.org";
        const char *other = i == 1 ? "one@example.org" : "two@example.org";
        assert_int_equal(store_envelope_recipient(fixture->store, made[i].record.id, own), 0);
        assert_int_equal(store_envelope_recipient(fixture->store, made[i].record.id, other),
                         -ENOENT);
    }
}

struct names {
    uint32_t count;
    char all[RECORD_RECIPIENTS_MAX][32];
};

static void name_keep(void *context, const char *text)
{
    struct names *names = context;
    assert_true(names->count < RECORD_RECIPIENTS_MAX);
    (void)snprintf(names->all[names->count++], sizeof(names->all[0]), "%s", text);
}

/* As many as a record may have, the last one twice, beside neighbours with others. */
static void a_thousand_recipients_are_its_own_alone(void **state)
{
    static uint8_t recipients[RECORD_RECIPIENTS_MAX * 32];
    static uint8_t wire[RECORD_BYTES_MAX];
    static struct names names;
    const struct fixture *fixture = *state;
    struct made before;
    struct made many;
    struct made after;
    uint32_t used = 0;
    made_fill(&before, 1, "before@example.org");
    made_fill(&many, 2, "x@y");
    made_fill(&after, 3, "after@example.org");
    for (uint32_t i = 0; i < RECORD_RECIPIENTS_MAX; i++) {
        const int chars = snprintf((char *)recipients + used + 2, 30, "p%03u@example.org",
                                   MIN(i, RECORD_RECIPIENTS_MAX - 2));
        bytes_store_le16(recipients + used, (uint16_t)chars);
        used += 2 + (uint32_t)chars;
    }
    many.record.recipients = recipients;
    many.record.recipients_bytes = used;
    many.record.recipients_count = RECORD_RECIPIENTS_MAX;
    many.put.wire = wire;
    many.put.wire_bytes = (uint32_t)record_write(wire, sizeof(wire), &many.record);
    assert_int_equal(put(fixture, &before), STORE_PUT_STORED);
    assert_int_equal(put(fixture, &many), STORE_PUT_STORED);
    assert_int_equal(put(fixture, &after), STORE_PUT_STORED);

    memset(&names, 0, sizeof(names));
    assert_int_equal(store_envelope_recipients(fixture->store, many.record.id, name_keep, &names),
                     0);
    assert_int_equal(names.count, RECORD_RECIPIENTS_MAX - 1);
    for (uint32_t i = 0; i < names.count; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "p%03u@example.org", i);
        assert_string_equal(names.all[i], name);
        assert_int_equal(store_envelope_recipient(fixture->store, many.record.id, name), 0);
        assert_int_equal(store_envelope_recipient(fixture->store, before.record.id, name), -ENOENT);
        assert_int_equal(store_envelope_recipient(fixture->store, after.record.id, name), -ENOENT);
    }
    assert_int_equal(store_envelope_recipient(fixture->store, many.record.id, "after@example.org"),
                     -ENOENT);
    assert_int_equal(store_envelope_recipient(fixture->store, many.record.id, "before@example.org"),
                     -ENOENT);
}

static void the_same_record_is_stored_again_and_another_conflicts(void **state)
{
    const struct fixture *fixture = *state;
    struct made made;
    struct made other;
    made_fill(&made, 9, "bob@example.org");
    made_fill(&other, 9, "bob@example.org");
    other.record.key[31] ^= 1;
    other.put.wire_bytes = (uint32_t)record_write(other.wire, sizeof(other.wire), &other.record);
    assert_int_equal(put(fixture, &made), STORE_PUT_STORED);
    assert_int_equal(put(fixture, &made), STORE_PUT_STORED);
    assert_int_equal(put(fixture, &other), STORE_PUT_CONFLICT);
    assert_int_equal(put(fixture, &made), STORE_PUT_STORED);
}

/* Enough for every size of statement, one of them stored before. */
static void of_a_batch_every_record_has_its_own_end(void **state)
{
    enum { COUNT = 64 + 2 * 8 + 3 };
    const struct fixture *fixture = *state;
    struct made made[COUNT];
    struct made taken;
    struct store_put puts[COUNT];
    for (uint32_t n = 0; n < COUNT; n += 13) {
        for (uint32_t i = 0; i < COUNT; i++) {
            made_fill(&made[i], 1000 * (n + 1) + i, "bob@example.org");
            puts[i] = made[i].put;
        }
        made_fill(&taken, 1000 * (n + 1) + n, "eve@example.org");
        assert_int_equal(put(fixture, &taken), STORE_PUT_STORED);
        for (uint32_t again = 0; again < 2; again++) {
            assert_int_equal(store_register_batch(fixture->store, puts, COUNT), 0);
            for (uint32_t i = 0; i < COUNT; i++)
                assert_int_equal(puts[i].result, i == n ? STORE_PUT_CONFLICT : STORE_PUT_STORED);
        }
        for (uint32_t i = 0; i < COUNT; i++)
            assert_int_equal(store_envelope_recipient(fixture->store, made[i].record.id,
                                                      "bob@example.org"),
                             i == n ? -ENOENT : 0);
    }
}

static void a_record_is_the_same_under_a_later_master_key(void **state)
{
    struct fixture *fixture = *state;
    char why[MASTER_WHY_BYTES];
    struct made made;
    struct made other;
    made_fill(&made, 9, "bob@example.org");
    made_fill(&other, 9, "bob@example.org");
    other.record.key[0] ^= 1;
    other.put.wire_bytes = (uint32_t)record_write(other.wire, sizeof(other.wire), &other.record);
    assert_int_equal(put(fixture, &made), STORE_PUT_STORED);
    store_close(fixture->store);
    fixture->store = NULL;
    master_close(fixture->master);
    fixture->master = NULL;
    assert_int_equal(master_add(fixture->master_path, why), 0);
    assert_int_equal(master_open(&fixture->master, fixture->master_path, why), 0);
    fixture_open(fixture);
    assert_int_equal(put(fixture, &made), STORE_PUT_STORED);
    assert_int_equal(put(fixture, &other), STORE_PUT_CONFLICT);
}

static void a_batch_may_name_an_id_twice(void **state)
{
    const struct fixture *fixture = *state;
    struct made made;
    struct made other;
    made_fill(&made, 9, "bob@example.org");
    made_fill(&other, 9, "eve@example.org");
    struct store_put puts[3] = {made.put, made.put, other.put};
    assert_int_equal(store_register_batch(fixture->store, puts, 3), 0);
    assert_int_equal(puts[0].result, STORE_PUT_STORED);
    assert_int_equal(puts[1].result, STORE_PUT_STORED);
    assert_int_equal(puts[2].result, STORE_PUT_CONFLICT);
    assert_int_equal(store_envelope_recipient(fixture->store, made.record.id, "eve@example.org"),
                     -ENOENT);
}

static void what_was_stored_is_there_after_opening_again(void **state)
{
    struct fixture *fixture = *state;
    struct made made;
    made_fill(&made, 5, "bob@example.org");
    assert_int_equal(put(fixture, &made), STORE_PUT_STORED);
    store_close(fixture->store);
    fixture_open(fixture);
    assert_int_equal(put(fixture, &made), STORE_PUT_STORED);
    assert_int_equal(store_envelope_recipient(fixture->store, made.record.id, "bob@example.org"),
                     0);
}

static void an_envelope_is_locked_and_unlocked(void **state)
{
    const struct fixture *fixture = *state;
    struct made made;
    struct store_envelope envelope;
    made_fill(&made, 5, "bob@example.org");
    assert_int_equal(store_envelope_lock(fixture->store, made.record.id, true), -ENOENT);
    assert_int_equal(put(fixture, &made), STORE_PUT_STORED);
    for (int locked = 1; locked >= 0; locked--) {
        assert_int_equal(store_envelope_lock(fixture->store, made.record.id, locked == 1), 0);
        assert_int_equal(store_envelope_get(fixture->store, made.record.id, &envelope), 0);
        assert_int_equal(envelope.locked, locked == 1);
    }
}

static void a_newer_database_is_refused(void **state)
{
    struct fixture *fixture = *state;
    char why[STORE_WHY_BYTES] = "";
    sqlite3 *db = NULL;
    store_close(fixture->store);
    fixture->store = NULL;
    assert_int_equal(sqlite3_open(fixture->database, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "INSERT INTO schema_version VALUES (1000, 0)", NULL, NULL,
                                  NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    const struct store_config config = {
        .path = fixture->database, .master = fixture->master, .readers_count = 1};
    assert_int_equal(store_open(&fixture->store, &config, why), -EPROTO);
    assert_non_null(strstr(why, "newer"));
}

/* Version 1 as its program made it, with an envelope for two people. */
static const char version_1[] =
    "DROP TABLE envelope; DELETE FROM schema_version; INSERT INTO schema_version VALUES (1, 0);"
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

static void fixture_to_version_1(struct fixture *fixture, const char *more)
{
    sqlite3 *db = NULL;
    store_close(fixture->store);
    fixture->store = NULL;
    assert_int_equal(sqlite3_open(fixture->database, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, version_1, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, more, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void an_older_database_is_taken_forward_whole(void **state)
{
    static const uint8_t id[RECORD_ID_BYTES] = {[6] = 0x70, [8] = 0x80, [15] = 7};
    struct fixture *fixture = *state;
    struct store_envelope envelope;
    struct made made;
    fixture_to_version_1(fixture, "");
    fixture_open(fixture);
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
    made_fill(&made, 8, "bob@example.org");
    assert_int_equal(put(fixture, &made), STORE_PUT_STORED);
}

static void an_older_database_that_is_damaged_stays_as_it_is(void **state)
{
    struct fixture *fixture = *state;
    char why[STORE_WHY_BYTES] = "";
    sqlite3 *db = NULL;
    const struct store_config config = {
        .path = fixture->database, .master = fixture->master, .readers_count = 1};
    fixture_to_version_1(fixture, "DELETE FROM recipient");
    assert_int_equal(store_open(&fixture->store, &config, why), -EIO);
    assert_non_null(strstr(why, "damaged"));
    assert_int_equal(sqlite3_open(fixture->database, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "SELECT digest FROM envelope", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void a_missing_database_is_not_made_unasked(void **state)
{
    struct fixture *fixture = *state;
    char why[STORE_WHY_BYTES] = "";
    struct store *store = NULL;
    const struct store_config config = {
        .path = "/tmp/bulla-no-such-folder/keys.db", .master = fixture->master, .readers_count = 1};
    assert_int_equal(store_open(&store, &config, why), -ENOENT);
    assert_null(store);
}

/* A registration of one browser: its number makes its hash. */
static struct store_pending pending_of(uint8_t *browser, uint8_t *code, uint8_t number)
{
    memset(browser, number, STORE_HASH_BYTES);
    memset(code, number + 100, STORE_HASH_BYTES);
    return (struct store_pending){.address = "new@example.org",
                                  .browser = browser,
                                  .code_hash = code,
                                  .password = "hash",
                                  .now_unix_ms = NOW_MS,
                                  .expires_unix_ms = NOW_MS + 1000};
}

static void a_code_makes_an_account_once(void **state)
{
    const struct fixture *fixture = *state;
    uint8_t browser[STORE_HASH_BYTES];
    uint8_t code[STORE_HASH_BYTES];
    struct store_account account;
    const struct store_pending pending = pending_of(browser, code, 1);
    assert_int_equal(store_pending_spend(fixture->store, &pending), -EACCES);
    assert_int_equal(store_pending_put(fixture->store, &pending), 0);
    assert_int_equal(store_account_get(fixture->store, "new@example.org", &account), -ENOENT);
    assert_int_equal(store_pending_spend(fixture->store, &pending), 0);
    assert_int_equal(store_account_get(fixture->store, "new@example.org", &account), 0);
    assert_string_equal(account.password, "hash");
    assert_int_equal(store_pending_spend(fixture->store, &pending), -EACCES);
}

static void a_code_is_worth_nothing_late_or_elsewhere_or_after_five_tries(void **state)
{
    const struct fixture *fixture = *state;
    uint8_t browser[STORE_HASH_BYTES];
    uint8_t other_browser[STORE_HASH_BYTES];
    uint8_t code[STORE_HASH_BYTES];
    uint8_t other_code[STORE_HASH_BYTES];
    struct store_pending pending = pending_of(browser, code, 1);
    struct store_pending other = pending_of(other_browser, other_code, 2);
    assert_int_equal(store_pending_put(fixture->store, &pending), 0);
    other.code_hash = code;
    assert_int_equal(store_pending_spend(fixture->store, &other), -EACCES);
    pending.now_unix_ms = NOW_MS + 1000;
    assert_int_equal(store_pending_spend(fixture->store, &pending), -EACCES);
    pending.now_unix_ms = NOW_MS;
    assert_int_equal(store_pending_put(fixture->store, &pending), 0);
    for (uint32_t i = 0; i < STORE_CODE_TRIES_MAX; i++) {
        pending.code_hash = other_code;
        assert_int_equal(store_pending_spend(fixture->store, &pending), -EACCES);
    }
    pending.code_hash = code;
    assert_int_equal(store_pending_spend(fixture->store, &pending), -EACCES);
}

static void an_address_has_a_few_registrations_at_most(void **state)
{
    const struct fixture *fixture = *state;
    uint8_t browser[STORE_HASH_BYTES];
    uint8_t code[STORE_HASH_BYTES];
    for (uint8_t i = 0; i < STORE_PENDING_MAX + 1; i++) {
        struct store_pending pending = pending_of(browser, code, i);
        pending.now_unix_ms += i;
        assert_int_equal(store_pending_put(fixture->store, &pending), 0);
    }
    const struct store_pending oldest = pending_of(browser, code, 0);
    assert_int_equal(store_pending_spend(fixture->store, &oldest), -EACCES);
    const struct store_pending newest = pending_of(browser, code, STORE_PENDING_MAX);
    assert_int_equal(store_pending_spend(fixture->store, &newest), 0);
}

static void a_right_code_does_not_take_over_an_account_there_is(void **state)
{
    const struct fixture *fixture = *state;
    uint8_t browser[STORE_HASH_BYTES];
    uint8_t code[STORE_HASH_BYTES];
    struct store_account account;
    assert_int_equal(store_account_add(fixture->store, "new@example.org", "owner's", NOW_MS), 0);
    const struct store_pending pending = pending_of(browser, code, 1);
    assert_int_equal(store_pending_put(fixture->store, &pending), 0);
    assert_int_equal(store_pending_spend(fixture->store, &pending), -EACCES);
    assert_int_equal(store_account_get(fixture->store, "new@example.org", &account), 0);
    assert_string_equal(account.password, "owner's");
}

static void an_accounts_number_is_not_used_again(void **state)
{
    const struct fixture *fixture = *state;
    struct store_account one;
    struct store_account two;
    assert_int_equal(store_account_add(fixture->store, "one@example.org", "hash", NOW_MS), 0);
    assert_int_equal(store_account_get(fixture->store, "one@example.org", &one), 0);
    assert_int_equal(store_account_remove(fixture->store, "one@example.org"), 0);
    assert_int_equal(store_account_add(fixture->store, "two@example.org", "hash", NOW_MS), 0);
    assert_int_equal(store_account_get(fixture->store, "two@example.org", &two), 0);
    assert_true(two.number > one.number);
}

static void pruning_leaves_nothing_that_is_over(void **state)
{
    const struct fixture *fixture = *state;
    sqlite3 *db = NULL;
    sqlite3_stmt *count = NULL;
    assert_int_equal(sqlite3_open(fixture->database, &db), SQLITE_OK);
    (void)sqlite3_busy_timeout(db, 5000);
    assert_int_equal(sqlite3_exec(db,
                                  "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
                                  " WHERE i < 2000) INSERT INTO pending SELECT 'a' || i, x'00',"
                                  " x'00', 'hash', 1, i, 0 FROM n",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(store_prune(fixture->store, 0, 0, 1991), 0);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(*) FROM pending", -1, &count, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(count), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(count, 0), 10);
    (void)sqlite3_finalize(count);
    (void)sqlite3_close(db);
}

static struct store_session session_of(const struct fixture *fixture, uint8_t number)
{
    struct store_account account;
    assert_int_equal(store_account_get(fixture->store, "bob@example.org", &account), 0);
    struct store_session session = {.account_number = account.number,
                                    .created_unix_ms = NOW_MS + number,
                                    .seen_unix_ms = NOW_MS + number,
                                    .password_unix_ms = NOW_MS};
    memset(session.hash, number, sizeof(session.hash));
    return session;
}

static void a_new_session_ends_the_one_before(void **state)
{
    const struct fixture *fixture = *state;
    struct store_session found;
    assert_int_equal(store_account_add(fixture->store, "bob@example.org", "hash", NOW_MS), 0);
    const struct store_session one = session_of(fixture, 1);
    const struct store_session two = session_of(fixture, 2);
    assert_int_equal(store_session_add(fixture->store, &one, NULL), 0);
    assert_int_equal(store_session_get(fixture->store, one.hash, &found), 0);
    assert_string_equal(found.address, "bob@example.org");
    assert_int_equal(store_session_add(fixture->store, &two, one.hash), 0);
    assert_int_equal(store_session_get(fixture->store, one.hash, &found), -ENOENT);
    assert_int_equal(store_session_get(fixture->store, two.hash, &found), 0);
}

static void a_typed_password_is_used_up_once(void **state)
{
    const struct fixture *fixture = *state;
    struct store_session found;
    assert_int_equal(store_account_add(fixture->store, "bob@example.org", "hash", NOW_MS), 0);
    const struct store_session session = session_of(fixture, 1);
    assert_int_equal(store_session_add(fixture->store, &session, NULL), 0);
    assert_int_equal(store_session_use_password(fixture->store, session.hash), 0);
    assert_int_equal(store_session_use_password(fixture->store, session.hash), -EACCES);
    assert_int_equal(store_session_get(fixture->store, session.hash, &found), 0);
    assert_int_equal(found.password_unix_ms, 0);
}

static void sessions_end_by_age_by_password_and_with_their_account(void **state)
{
    const struct fixture *fixture = *state;
    struct store_session found;
    assert_int_equal(store_account_add(fixture->store, "bob@example.org", "hash", NOW_MS), 0);
    const struct store_session one = session_of(fixture, 1);
    const struct store_session two = session_of(fixture, 2);
    assert_int_equal(store_session_add(fixture->store, &one, NULL), 0);
    assert_int_equal(store_session_add(fixture->store, &two, NULL), 0);
    assert_int_equal(store_prune(fixture->store, NOW_MS + 2, 0, NOW_MS), 0);
    assert_int_equal(store_session_get(fixture->store, one.hash, &found), -ENOENT);
    assert_int_equal(store_session_get(fixture->store, two.hash, &found), 0);
    assert_int_equal(store_account_password(fixture->store, "bob@example.org", "new"), 0);
    assert_int_equal(store_session_get(fixture->store, two.hash, &found), -ENOENT);
    assert_int_equal(store_session_add(fixture->store, &two, NULL), 0);
    assert_int_equal(store_account_remove(fixture->store, "bob@example.org"), 0);
    assert_int_equal(store_session_get(fixture->store, two.hash, &found), -ENOENT);
    assert_int_equal(store_session_add(fixture->store, &two, NULL), -ENOENT);
    assert_int_equal(store_account_remove(fixture->store, "bob@example.org"), -ENOENT);
}

static void an_account_has_a_few_sessions_at_most(void **state)
{
    const struct fixture *fixture = *state;
    struct store_session found;
    assert_int_equal(store_account_add(fixture->store, "bob@example.org", "hash", NOW_MS), 0);
    for (uint8_t i = 0; i <= STORE_SESSIONS_MAX; i++) {
        const struct store_session session = session_of(fixture, i);
        assert_int_equal(store_session_add(fixture->store, &session, NULL), 0);
    }
    assert_int_equal(store_session_get(fixture->store, session_of(fixture, 0).hash, &found),
                     -ENOENT);
    assert_int_equal(store_session_get(fixture->store, session_of(fixture, 1).hash, &found), 0);
}

static void an_enrolment_code_is_spent_once_and_in_time(void **state)
{
    const struct fixture *fixture = *state;
    char name[STORE_NAME_BYTES];
    uint8_t code[STORE_HASH_BYTES] = {1};
    struct store_engine engine = {.name = "mail-1", .fingerprint = {2}, .created_unix_ms = NOW_MS};
    assert_int_equal(store_enrol_add(fixture->store, code, "mail-1", NOW_MS + 10), 0);
    assert_int_equal(store_enrol_get(fixture->store, code, NOW_MS + 10, name), -ENOENT);
    assert_int_equal(store_enrol_get(fixture->store, code, NOW_MS, name), 0);
    assert_string_equal(name, "mail-1");
    assert_int_equal(store_enrol_spend(fixture->store, code, &engine), 0);
    engine.fingerprint[0] = 3;
    assert_int_equal(store_enrol_spend(fixture->store, code, &engine), -EACCES);
    assert_int_equal(store_engine_get(fixture->store, engine.fingerprint, &engine), -ENOENT);
    engine.fingerprint[0] = 2;
    assert_int_equal(store_engine_revoke(fixture->store, "mail-1", NOW_MS + 5), 0);
    assert_int_equal(store_engine_get(fixture->store, engine.fingerprint, &engine), 0);
    assert_int_equal(engine.revoked_unix_ms, NOW_MS + 5);
    assert_int_equal(store_engine_revoke(fixture->store, "mail-1", NOW_MS), -ENOENT);
}

#define WRITERS_COUNT 8
#define WRITES_COUNT  50

struct crowd {
    const struct fixture *fixture;
    uint32_t first;
    uint32_t faults_count;
};

static void *crowd_run(void *argument)
{
    struct crowd *crowd = argument;
    for (uint32_t i = 0; i < WRITES_COUNT; i++) {
        struct made made;
        made_fill(&made, crowd->first + i, "bob@example.org");
        if (store_register_batch(crowd->fixture->store, &made.put, 1) != 0 ||
            made.put.result != STORE_PUT_STORED ||
            store_envelope_recipient(crowd->fixture->store, made.record.id, "bob@example.org") != 0)
            crowd->faults_count++;
    }
    return NULL;
}

static void threads_side_by_side_see_what_they_stored(void **state)
{
    pthread_t threads[WRITERS_COUNT];
    struct crowd crowd[WRITERS_COUNT];
    for (uint32_t i = 0; i < WRITERS_COUNT; i++) {
        crowd[i] = (struct crowd){.fixture = *state, .first = 1 + i * WRITES_COUNT};
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_run, &crowd[i]), 0);
    }
    for (uint32_t i = 0; i < WRITERS_COUNT; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(crowd[i].faults_count, 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_envelope_and_its_key_come_back),
        TEST(every_envelope_knows_its_own_recipients),
        TEST(a_thousand_recipients_are_its_own_alone),
        TEST(the_same_record_is_stored_again_and_another_conflicts),
        TEST(of_a_batch_every_record_has_its_own_end),
        TEST(a_record_is_the_same_under_a_later_master_key),
        TEST(a_batch_may_name_an_id_twice),
        TEST(what_was_stored_is_there_after_opening_again),
        TEST(an_envelope_is_locked_and_unlocked),
        TEST(a_newer_database_is_refused),
        TEST(an_older_database_is_taken_forward_whole),
        TEST(an_older_database_that_is_damaged_stays_as_it_is),
        TEST(a_missing_database_is_not_made_unasked),
        TEST(a_code_makes_an_account_once),
        TEST(a_code_is_worth_nothing_late_or_elsewhere_or_after_five_tries),
        TEST(an_address_has_a_few_registrations_at_most),
        TEST(a_right_code_does_not_take_over_an_account_there_is),
        TEST(an_accounts_number_is_not_used_again),
        TEST(pruning_leaves_nothing_that_is_over),
        TEST(a_new_session_ends_the_one_before),
        TEST(a_typed_password_is_used_up_once),
        TEST(sessions_end_by_age_by_password_and_with_their_account),
        TEST(an_account_has_a_few_sessions_at_most),
        TEST(an_enrolment_code_is_spent_once_and_in_time),
        TEST(threads_side_by_side_see_what_they_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
