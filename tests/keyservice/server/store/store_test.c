#include "tests/keyservice/server/store/store_fixture.h"

#include "base/bytes.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void an_envelope_and_its_key_come_back(void **state)
{
    const struct store_fixture *fixture = *state;
    struct store_made made;
    struct store_envelope envelope;
    uint8_t key[MASTER_PLAIN_BYTES_MAX];
    size_t key_bytes = 0;
    store_made_fill(&made, 7, "Bob@Example.org");
    assert_int_equal(store_made_put(fixture, &made), STORE_PUT_STORED);
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
    const struct store_fixture *fixture = *state;
    struct store_made made[3];
    store_made_fill(&made[0], 1, "one@example.org");
    store_made_fill(&made[1], 2, "two@example.org");
    store_made_fill(&made[2], 3, "one@example.org");
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(store_made_put(fixture, &made[i]), STORE_PUT_STORED);
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
    const struct store_fixture *fixture = *state;
    struct store_made before;
    struct store_made many;
    struct store_made after;
    uint32_t used = 0;
    store_made_fill(&before, 1, "before@example.org");
    store_made_fill(&many, 2, "x@y");
    store_made_fill(&after, 3, "after@example.org");
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
    assert_int_equal(store_made_put(fixture, &before), STORE_PUT_STORED);
    assert_int_equal(store_made_put(fixture, &many), STORE_PUT_STORED);
    assert_int_equal(store_made_put(fixture, &after), STORE_PUT_STORED);

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
    const struct store_fixture *fixture = *state;
    struct store_made made;
    struct store_made other;
    store_made_fill(&made, 9, "bob@example.org");
    store_made_fill(&other, 9, "bob@example.org");
    other.record.key[31] ^= 1;
    other.put.wire_bytes = (uint32_t)record_write(other.wire, sizeof(other.wire), &other.record);
    assert_int_equal(store_made_put(fixture, &made), STORE_PUT_STORED);
    assert_int_equal(store_made_put(fixture, &made), STORE_PUT_STORED);
    assert_int_equal(store_made_put(fixture, &other), STORE_PUT_CONFLICT);
    assert_int_equal(store_made_put(fixture, &made), STORE_PUT_STORED);
}

/* Enough for every size of statement, one of them stored before. */
static void of_a_batch_every_record_has_its_own_end(void **state)
{
    enum { COUNT = 64 + 2 * 8 + 3 };
    const struct store_fixture *fixture = *state;
    struct store_made made[COUNT];
    struct store_made taken;
    struct store_put puts[COUNT];
    for (uint32_t n = 0; n < COUNT; n += 13) {
        for (uint32_t i = 0; i < COUNT; i++) {
            store_made_fill(&made[i], 1000 * (n + 1) + i, "bob@example.org");
            puts[i] = made[i].put;
        }
        store_made_fill(&taken, 1000 * (n + 1) + n, "eve@example.org");
        assert_int_equal(store_made_put(fixture, &taken), STORE_PUT_STORED);
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
    struct store_fixture *fixture = *state;
    char why[MASTER_WHY_BYTES];
    struct store_made made;
    struct store_made other;
    store_made_fill(&made, 9, "bob@example.org");
    store_made_fill(&other, 9, "bob@example.org");
    other.record.key[0] ^= 1;
    other.put.wire_bytes = (uint32_t)record_write(other.wire, sizeof(other.wire), &other.record);
    assert_int_equal(store_made_put(fixture, &made), STORE_PUT_STORED);
    store_close(fixture->store);
    fixture->store = NULL;
    master_close(fixture->master);
    fixture->master = NULL;
    assert_int_equal(master_add(fixture->master_path, why), 0);
    assert_int_equal(master_open(&fixture->master, fixture->master_path, why), 0);
    store_fixture_open(fixture);
    assert_int_equal(store_made_put(fixture, &made), STORE_PUT_STORED);
    assert_int_equal(store_made_put(fixture, &other), STORE_PUT_CONFLICT);
}

static void a_batch_may_name_an_id_twice(void **state)
{
    const struct store_fixture *fixture = *state;
    struct store_made made;
    struct store_made other;
    store_made_fill(&made, 9, "bob@example.org");
    store_made_fill(&other, 9, "eve@example.org");
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
    struct store_fixture *fixture = *state;
    struct store_made made;
    store_made_fill(&made, 5, "bob@example.org");
    assert_int_equal(store_made_put(fixture, &made), STORE_PUT_STORED);
    store_close(fixture->store);
    store_fixture_open(fixture);
    assert_int_equal(store_made_put(fixture, &made), STORE_PUT_STORED);
    assert_int_equal(store_envelope_recipient(fixture->store, made.record.id, "bob@example.org"),
                     0);
}

static void an_envelope_is_locked_and_unlocked(void **state)
{
    const struct store_fixture *fixture = *state;
    struct store_made made;
    struct store_envelope envelope;
    store_made_fill(&made, 5, "bob@example.org");
    assert_int_equal(store_envelope_lock(fixture->store, made.record.id, true), -ENOENT);
    assert_int_equal(store_made_put(fixture, &made), STORE_PUT_STORED);
    for (int locked = 1; locked >= 0; locked--) {
        assert_int_equal(store_envelope_lock(fixture->store, made.record.id, locked == 1), 0);
        assert_int_equal(store_envelope_get(fixture->store, made.record.id, &envelope), 0);
        assert_int_equal(envelope.locked, locked == 1);
    }
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
    const struct store_fixture *fixture = *state;
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
    const struct store_fixture *fixture = *state;
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
    const struct store_fixture *fixture = *state;
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
    const struct store_fixture *fixture = *state;
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
    const struct store_fixture *fixture = *state;
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
    const struct store_fixture *fixture = *state;
    store_fixture_sql(fixture,
                      fixture->schema[0] == '\0'
                          ? "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
                            " WHERE i < 2000) INSERT INTO pending SELECT 'a' || i, x'00',"
                            " x'00', 'hash', 1, i, 0 FROM n"
                          : "INSERT INTO pending (address, browser, code, password,"
                            " created, expires, tries) SELECT ('a' || i)::bytea, '', '',"
                            " 'hash', 1, i, 0 FROM generate_series(1, 2000) AS n (i)");
    assert_int_equal(store_prune(fixture->store, 0, 0, 1991), 0);
    assert_int_equal(store_fixture_number(fixture, "SELECT count(*) FROM pending"), 10);
}

/* An address is bytes: the database's encoding is no concern of who sends one. */
static void an_address_may_hold_any_bytes(void **state)
{
    const struct store_fixture *fixture = *state;
    struct store_account account;
    const char *address = "b\xff\xc3\\'b@example.org";
    assert_int_equal(store_account_add(fixture->store, address, "hash", NOW_MS), 0);
    assert_int_equal(store_account_get(fixture->store, address, &account), 0);
    assert_string_equal(account.address, address);
}

static void address_keep(void *context, const struct store_account *account)
{
    struct names *names = context;
    (void)snprintf(names->all[names->count++], sizeof(names->all[0]), "%.31s", account->address);
}

static void accounts_are_listed_in_the_order_of_their_bytes(void **state)
{
    static const char *const addresses[] = {"Z@x", "a@x", "b@x", "b@x.y", "\xc3\xa4@x"};
    static struct names names;
    const struct store_fixture *fixture = *state;
    names.count = 0;
    for (size_t i = 0; i < ARRAY_COUNT(addresses); i++)
        assert_int_equal(store_account_add(fixture->store, addresses[(i * 2) % 5], "hash", NOW_MS),
                         0);
    assert_int_equal(store_account_list(fixture->store, address_keep, &names), 0);
    assert_int_equal(names.count, ARRAY_COUNT(addresses));
    for (size_t i = 0; i < ARRAY_COUNT(addresses); i++)
        assert_string_equal(names.all[i], addresses[i]);
}

static struct store_session session_of(const struct store_fixture *fixture, uint8_t number)
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
    const struct store_fixture *fixture = *state;
    struct store_session found;
    assert_int_equal(store_account_add(fixture->store, "bob@example.org", "hash", NOW_MS), 0);
    const struct store_session one = session_of(fixture, 1);
    const struct store_session two = session_of(fixture, 2);
    assert_int_equal(store_session_add(fixture->store, &one, NULL, NULL), 0);
    assert_int_equal(store_session_get(fixture->store, one.hash, &found), 0);
    assert_string_equal(found.address, "bob@example.org");
    assert_int_equal(store_session_add(fixture->store, &two, NULL, one.hash), 0);
    assert_int_equal(store_session_get(fixture->store, one.hash, &found), -ENOENT);
    assert_int_equal(store_session_get(fixture->store, two.hash, &found), 0);
}

/* A check of a password takes its time, and the password may be changed meanwhile. */
static void nothing_begins_by_a_password_that_is_another_by_now(void **state)
{
    const struct store_fixture *fixture = *state;
    struct store_session found;
    struct store_account typed;
    struct store_account now;
    const char *address = "bob@example.org";
    assert_int_equal(store_account_add(fixture->store, address, "until=1$hash", NOW_MS), 0);
    assert_int_equal(store_account_get(fixture->store, address, &typed), 0);
    assert_true(typed.made);
    const struct store_session one = session_of(fixture, 1);
    const struct store_session two = session_of(fixture, 2);
    assert_int_equal(store_session_add(fixture->store, &one, &typed, NULL), 0);
    assert_int_equal(store_account_renew(fixture->store, &typed, "own"), 0);
    assert_int_equal(store_session_get(fixture->store, one.hash, &found), -ENOENT);
    assert_int_equal(store_account_get(fixture->store, address, &now), 0);
    assert_string_equal(now.password, "own");
    assert_false(now.made);
    assert_int_equal(store_session_add(fixture->store, &one, &now, NULL), 0);
    assert_int_equal(store_session_add(fixture->store, &two, &typed, one.hash), -ENOENT);
    assert_int_equal(store_session_get(fixture->store, two.hash, &found), -ENOENT);
    assert_int_equal(store_account_renew(fixture->store, &typed, "another's"), -ENOENT);
    assert_int_equal(store_session_get(fixture->store, one.hash, &found), 0);
    assert_int_equal(store_account_get(fixture->store, address, &now), 0);
    assert_string_equal(now.password, "own");
}

static void a_typed_password_is_used_up_once(void **state)
{
    const struct store_fixture *fixture = *state;
    struct store_session found;
    assert_int_equal(store_account_add(fixture->store, "bob@example.org", "hash", NOW_MS), 0);
    const struct store_session session = session_of(fixture, 1);
    assert_int_equal(store_session_add(fixture->store, &session, NULL, NULL), 0);
    assert_int_equal(store_session_use_password(fixture->store, session.hash), 0);
    assert_int_equal(store_session_use_password(fixture->store, session.hash), -EACCES);
    assert_int_equal(store_session_get(fixture->store, session.hash, &found), 0);
    assert_int_equal(found.password_unix_ms, 0);
}

static void sessions_end_by_age_by_password_and_with_their_account(void **state)
{
    const struct store_fixture *fixture = *state;
    struct store_session found;
    assert_int_equal(store_account_add(fixture->store, "bob@example.org", "hash", NOW_MS), 0);
    const struct store_session one = session_of(fixture, 1);
    const struct store_session two = session_of(fixture, 2);
    assert_int_equal(store_session_add(fixture->store, &one, NULL, NULL), 0);
    assert_int_equal(store_session_add(fixture->store, &two, NULL, NULL), 0);
    assert_int_equal(store_prune(fixture->store, NOW_MS + 2, 0, NOW_MS), 0);
    assert_int_equal(store_session_get(fixture->store, one.hash, &found), -ENOENT);
    assert_int_equal(store_session_get(fixture->store, two.hash, &found), 0);
    assert_int_equal(store_account_password(fixture->store, "bob@example.org", "new"), 0);
    assert_int_equal(store_session_get(fixture->store, two.hash, &found), -ENOENT);
    assert_int_equal(store_session_add(fixture->store, &two, NULL, NULL), 0);
    assert_int_equal(store_account_remove(fixture->store, "bob@example.org"), 0);
    assert_int_equal(store_session_get(fixture->store, two.hash, &found), -ENOENT);
    assert_int_equal(store_session_add(fixture->store, &two, NULL, NULL), -ENOENT);
    assert_int_equal(store_account_remove(fixture->store, "bob@example.org"), -ENOENT);
}

static void what_is_set_up_in_a_session_is_its_own(void **state)
{
    const struct store_fixture *fixture = *state;
    struct store_session found;
    assert_int_equal(store_account_add(fixture->store, "bob@example.org", "hash", NOW_MS), 0);
    struct store_session one = session_of(fixture, 1);
    struct store_session two = session_of(fixture, 2);
    one.factors = STORE_FACTOR_PASSWORD;
    two.factors = STORE_FACTOR_PASSKEY;
    assert_int_equal(store_session_add(fixture->store, &one, NULL, NULL), 0);
    assert_int_equal(store_session_add(fixture->store, &two, NULL, NULL), 0);
    assert_int_equal(store_session_factor(fixture->store, one.hash, STORE_FACTOR_CODE_APP), 0);
    assert_int_equal(store_session_get(fixture->store, one.hash, &found), 0);
    assert_int_equal(found.factors, STORE_FACTOR_PASSWORD | STORE_FACTOR_CODE_APP);
    assert_int_equal(store_session_get(fixture->store, two.hash, &found), 0);
    assert_int_equal(found.factors, STORE_FACTOR_PASSKEY);
    assert_int_equal(store_session_remove(fixture->store, one.hash), 0);
    assert_int_equal(store_session_factor(fixture->store, one.hash, STORE_FACTOR_PASSKEY), -ENOENT);
}

static void an_account_has_a_few_sessions_at_most(void **state)
{
    const struct store_fixture *fixture = *state;
    struct store_session found;
    assert_int_equal(store_account_add(fixture->store, "bob@example.org", "hash", NOW_MS), 0);
    for (uint8_t i = 0; i <= STORE_SESSIONS_MAX; i++) {
        const struct store_session session = session_of(fixture, i);
        assert_int_equal(store_session_add(fixture->store, &session, NULL, NULL), 0);
    }
    assert_int_equal(store_session_get(fixture->store, session_of(fixture, 0).hash, &found),
                     -ENOENT);
    assert_int_equal(store_session_get(fixture->store, session_of(fixture, 1).hash, &found), 0);
}

static void an_enrolment_code_is_spent_once_and_in_time(void **state)
{
    const struct store_fixture *fixture = *state;
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
    const struct store_fixture *fixture;
    uint32_t first;
    uint32_t faults_count;
};

static void *crowd_run(void *argument)
{
    struct crowd *crowd = argument;
    for (uint32_t i = 0; i < WRITES_COUNT; i++) {
        struct store_made made;
        store_made_fill(&made, crowd->first + i, "bob@example.org");
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

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, store_fixture_setup, store_fixture_teardown)

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
        TEST(a_code_makes_an_account_once),
        TEST(a_code_is_worth_nothing_late_or_elsewhere_or_after_five_tries),
        TEST(an_address_has_a_few_registrations_at_most),
        TEST(a_right_code_does_not_take_over_an_account_there_is),
        TEST(an_accounts_number_is_not_used_again),
        TEST(pruning_leaves_nothing_that_is_over),
        TEST(an_address_may_hold_any_bytes),
        TEST(accounts_are_listed_in_the_order_of_their_bytes),
        TEST(a_new_session_ends_the_one_before),
        TEST(nothing_begins_by_a_password_that_is_another_by_now),
        TEST(a_typed_password_is_used_up_once),
        TEST(sessions_end_by_age_by_password_and_with_their_account),
        TEST(what_is_set_up_in_a_session_is_its_own),
        TEST(an_account_has_a_few_sessions_at_most),
        TEST(an_enrolment_code_is_spent_once_and_in_time),
        TEST(threads_side_by_side_see_what_they_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
