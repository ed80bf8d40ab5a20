/* What belongs to an account beside its password, in the database. */
#include "keyservice/server/store/store_person.h"
#include "tests/keyservice/server/store/store_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PASSWORD  "$argon2id$not-a-real-one"
#define PASSWORD2 "$argon2id$another-one"

static int64_t account_make(struct store *store, const char *address)
{
    struct store_account account;
    assert_int_equal(store_account_add(store, address, PASSWORD, NOW_MS), 0);
    assert_int_equal(store_account_get(store, address, &account), 0);
    return account.number;
}

static void hash_fill(uint8_t hash[STORE_HASH_BYTES], uint8_t value)
{
    memset(hash, value, STORE_HASH_BYTES);
}

static void session_make_one(struct store *store, int64_t number, uint8_t value)
{
    struct store_session session = {.account_number = number,
                                    .created_unix_ms = NOW_MS + value,
                                    .seen_unix_ms = NOW_MS + value};
    hash_fill(session.hash, value);
    (void)snprintf(session.label, sizeof(session.label), "Firefox, Linux %u", value);
    assert_int_equal(store_session_add(store, &session, NULL, NULL), 0);
}

static void a_reset_changes_the_password_once_and_ends_sessions(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct store_account account;
    struct store_place places[STORE_SESSIONS_MAX];
    uint32_t count = 0;
    uint8_t browser[STORE_HASH_BYTES];
    uint8_t code[STORE_HASH_BYTES];
    const int64_t number = account_make(store, "r@example.org");
    hash_fill(browser, 1);
    hash_fill(code, 2);
    struct store_pending pending = {.purpose = STORE_PENDING_PASSWORD,
                                    .address = "r@example.org",
                                    .browser = browser,
                                    .code_hash = code,
                                    .password = PASSWORD2,
                                    .now_unix_ms = NOW_MS,
                                    .expires_unix_ms = NOW_MS + 1000};
    session_make_one(store, number, 9);
    assert_int_equal(store_pending_put(store, &pending), 0);
    pending.now_unix_ms = NOW_MS + 1000; /* late */
    assert_int_equal(store_pending_spend(store, &pending), -EACCES);
    pending.now_unix_ms = NOW_MS;
    hash_fill(code, 3); /* wrong */
    for (int i = 0; i < 3; i++)
        assert_int_equal(store_pending_spend(store, &pending), -EACCES);
    hash_fill(code, 2);
    assert_int_equal(store_session_list(store, number, places, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(store_pending_spend(store, &pending), 0);
    assert_int_equal(store_pending_spend(store, &pending), -EACCES);
    assert_int_equal(store_account_get(store, "r@example.org", &account), 0);
    assert_string_equal(account.password, PASSWORD2);
    assert_int_equal(store_session_list(store, number, places, &count), 0);
    assert_int_equal(count, 0);
    /* Five wrong codes end it, and so does an account that is gone. */
    assert_int_equal(store_pending_put(store, &pending), 0);
    hash_fill(code, 3);
    for (int i = 0; i < STORE_CODE_TRIES_MAX; i++)
        assert_int_equal(store_pending_spend(store, &pending), -EACCES);
    hash_fill(code, 2);
    assert_int_equal(store_pending_spend(store, &pending), -EACCES);
    pending.address = "nobody@example.org";
    assert_int_equal(store_pending_put(store, &pending), 0);
    assert_int_equal(store_pending_spend(store, &pending), -EACCES);
}

static void sessions_are_listed_newest_first_and_ended_by_their_owner_alone(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct store_place places[STORE_SESSIONS_MAX];
    uint8_t hash[STORE_HASH_BYTES];
    uint32_t count = 0;
    const int64_t number = account_make(store, "s@example.org");
    const int64_t other = account_make(store, "t@example.org");
    for (uint8_t i = 1; i <= 3; i++)
        session_make_one(store, number, i);
    assert_int_equal(store_session_list(store, number, places, &count), 0);
    assert_int_equal(count, 3);
    assert_string_equal(places[0].label, "Firefox, Linux 3");
    assert_int_equal(store_session_end(store, other, places[0].hash), -ENOENT);
    assert_int_equal(store_session_end(store, number, places[0].hash), 0);
    assert_int_equal(store_session_end(store, number, places[0].hash), -ENOENT);
    hash_fill(hash, 1);
    assert_int_equal(store_session_end_others(store, number, hash), 0);
    assert_int_equal(store_session_list(store, number, places, &count), 0);
    assert_int_equal(count, 1);
    assert_memory_equal(places[0].hash, hash, sizeof(hash));
}

static void a_device_moves_on_with_all_its_accounts(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    char phrase[STORE_PHRASE_BYTES];
    uint8_t one[STORE_HASH_BYTES];
    uint8_t two[STORE_HASH_BYTES];
    struct store_place places[STORE_DEVICES_MAX];
    uint32_t count = 0;
    const int64_t number = account_make(store, "d@example.org");
    const int64_t other = account_make(store, "e@example.org");
    hash_fill(one, 1);
    hash_fill(two, 2);
    struct store_device device = {
        .hash = one, .account_number = number, .label = "Chrome", .now_unix_ms = NOW_MS};
    assert_int_equal(store_person_phrase(store, number, "blue zebra"), 0);
    assert_int_equal(store_device_put(store, &device), 0);
    assert_int_equal(store_device_get(store, one, "d@example.org", phrase), 0);
    assert_string_equal(phrase, "blue zebra");
    assert_int_equal(store_device_get(store, one, "e@example.org", phrase), -ENOENT);
    device.hash_old = one;
    device.hash = two;
    device.account_number = other;
    assert_int_equal(store_device_put(store, &device), 0);
    assert_int_equal(store_device_get(store, one, "d@example.org", phrase), -ENOENT);
    assert_int_equal(store_device_get(store, two, "d@example.org", phrase), 0);
    assert_int_equal(store_device_get(store, two, "e@example.org", phrase), 0);
    assert_string_equal(phrase, "");
    assert_int_equal(store_device_list(store, number, places, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(store_device_end(store, number, places[0].hash), 0);
    assert_int_equal(store_device_get(store, two, "d@example.org", phrase), -ENOENT);
    assert_int_equal(store_device_get(store, two, "e@example.org", phrase), 0);
}

static void an_account_has_a_few_devices_at_most(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct store_place places[STORE_DEVICES_MAX];
    uint8_t hash[STORE_HASH_BYTES];
    uint32_t count = 0;
    const int64_t number = account_make(store, "m@example.org");
    struct store_device device = {.hash = hash, .account_number = number, .label = ""};
    for (uint8_t i = 0; i < STORE_DEVICES_MAX + 3; i++) {
        hash_fill(hash, i);
        device.now_unix_ms = NOW_MS + i;
        assert_int_equal(store_device_put(store, &device), 0);
    }
    assert_int_equal(store_device_list(store, number, places, &count), 0);
    assert_int_equal(count, STORE_DEVICES_MAX);
    assert_int_equal(store_device_end_others(store, number, places[0].hash), 0);
    assert_int_equal(store_device_list(store, number, places, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(store_prune(store, 0, 0, NOW_MS + 2 * STORE_DEVICE_LIFE_MS), 0);
    assert_int_equal(store_device_list(store, number, places, &count), 0);
    assert_int_equal(count, 0);
}

static void a_second_factor_is_used_once_a_step_and_goes_with_its_codes(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct store_person person;
    struct store_account account;
    uint8_t codes[STORE_RECOVERY_COUNT][STORE_HASH_BYTES];
    struct store_totp totp = {.key_version = 1, .wrapped_bytes = 48, .step = 5};
    const int64_t number = account_make(store, "f@example.org");
    for (uint8_t i = 0; i < STORE_RECOVERY_COUNT; i++)
        hash_fill(codes[i], i);
    assert_int_equal(store_totp_get(store, number, &totp), -ENOENT);
    assert_int_equal(store_totp_put(store, number, &totp, codes), 0);
    assert_int_equal(store_totp_put(store, number, &totp, codes), -EEXIST);
    assert_int_equal(store_totp_get(store, number, &totp), 0);
    assert_int_equal(totp.step, 5);
    assert_int_equal(totp.wrapped_bytes, 48);
    assert_int_equal(store_totp_use(store, number, 5), -EACCES);
    assert_int_equal(store_totp_use(store, number, 7), 0);
    assert_int_equal(store_totp_use(store, number, 6), -EACCES);
    assert_int_equal(store_recovery_spend(store, number, codes[3]), 0);
    assert_int_equal(store_recovery_spend(store, number, codes[3]), -EACCES);
    assert_int_equal(store_person_get(store, number, &person), 0);
    assert_true(person.totp);
    assert_int_equal(person.recovery_count, STORE_RECOVERY_COUNT - 1);
    assert_int_equal(store_account_get(store, "f@example.org", &account), 0);
    assert_true(account.second_factor);
    assert_int_equal(store_recovery_put(store, number, codes), 0);
    assert_int_equal(store_person_get(store, number, &person), 0);
    assert_int_equal(person.recovery_count, STORE_RECOVERY_COUNT);
    assert_int_equal(store_totp_remove(store, number), 0);
    assert_int_equal(store_totp_remove(store, number), -ENOENT);
    assert_int_equal(store_person_get(store, number, &person), 0);
    assert_false(person.totp);
    assert_int_equal(person.recovery_count, 0);
}

static void passkey_fill(struct store_passkey *passkey, int64_t number, uint8_t value)
{
    *passkey = (struct store_passkey){.account_number = number,
                                      .algorithm = -257,
                                      .counter = 4,
                                      .created_unix_ms = NOW_MS + value,
                                      .credential_bytes = STORE_CREDENTIAL_BYTES_MAX,
                                      .public_key_bytes = 259};
    memset(passkey->id, value, sizeof(passkey->id));
    (void)snprintf(passkey->name, sizeof(passkey->name), "key %u", value);
}

static void visit_count(void *context, const struct store_passkey *passkey)
{
    uint32_t *count = context;
    assert_int_equal(passkey->algorithm, -257);
    (*count)++;
}

static void a_passkey_is_used_with_a_fresh_challenge_and_a_higher_counter(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct store_passkey passkey;
    struct store_passkey got;
    uint8_t challenge[STORE_HASH_BYTES];
    const int64_t number = account_make(store, "p@example.org");
    const int64_t other = account_make(store, "q@example.org");
    const uint64_t end_ms = NOW_MS + 1000;
    passkey_fill(&passkey, number, 1);
    assert_int_equal(store_passkey_get(store, passkey.id, &got), -ENOENT);
    assert_int_equal(store_passkey_add(store, &passkey), 0);
    assert_int_equal(store_passkey_add(store, &passkey), -EEXIST);
    assert_int_equal(store_passkey_get(store, passkey.id, &got), 0);
    assert_string_equal(got.address, "p@example.org");
    assert_int_equal(got.algorithm, -257);
    assert_int_equal(got.credential_bytes, STORE_CREDENTIAL_BYTES_MAX);
    hash_fill(challenge, 1);
    assert_int_equal(store_passkey_use(store, passkey.id, 5, challenge, end_ms, NOW_MS), 0);
    assert_int_equal(store_passkey_use(store, passkey.id, 6, challenge, end_ms, NOW_MS), -EEXIST);
    hash_fill(challenge, 2);
    assert_int_equal(store_passkey_use(store, passkey.id, 5, challenge, end_ms, NOW_MS), -EACCES);
    /* The challenge is spent even so, and a counter that went back to none is a clone's too. */
    assert_int_equal(store_challenge_spend(store, challenge, end_ms), -EEXIST);
    hash_fill(challenge, 3);
    assert_int_equal(store_passkey_use(store, passkey.id, 0, challenge, end_ms, NOW_MS), -EACCES);
    assert_int_equal(store_passkey_name(store, other, passkey.id, "mine"), -ENOENT);
    assert_int_equal(store_passkey_name(store, number, passkey.id, "mine"), 0);
    assert_int_equal(store_passkey_remove(store, other, passkey.id), -ENOENT);
    assert_int_equal(store_passkey_remove(store, number, passkey.id), 0);
    assert_int_equal(store_passkey_get(store, passkey.id, &got), -ENOENT);
    assert_int_equal(store_prune(store, 0, 0, end_ms + 1), 0);
    assert_int_equal(store_challenge_spend(store, challenge, end_ms), 0);
}

static void an_account_has_a_few_passkeys_and_they_go_with_it(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct store_passkey passkey;
    uint32_t count = 0;
    const int64_t number = account_make(store, "u@example.org");
    for (uint8_t i = 0; i < STORE_PASSKEYS_MAX; i++) {
        passkey_fill(&passkey, number, i);
        assert_int_equal(store_passkey_add(store, &passkey), 0);
    }
    passkey_fill(&passkey, number, 200);
    assert_int_equal(store_passkey_add(store, &passkey), -EEXIST);
    assert_int_equal(store_passkey_list(store, number, visit_count, &count), 0);
    assert_int_equal(count, STORE_PASSKEYS_MAX);
    assert_int_equal(store_passkey_clear(store, number), 0);
    passkey_fill(&passkey, number, 201);
    assert_int_equal(store_passkey_add(store, &passkey), 0);
    assert_int_equal(store_account_remove(store, "u@example.org"), 0);
    assert_int_equal(store_passkey_get(store, passkey.id, &passkey), -ENOENT);
}

static void language_and_phrase_are_kept(void **state)
{
    struct store *store = ((struct store_fixture *)*state)->store;
    struct store_person person;
    struct store_account account;
    const int64_t number = account_make(store, "l@example.org");
    assert_int_equal(store_person_get(store, number, &person), 0);
    assert_string_equal(person.language, "");
    assert_string_equal(person.phrase, "");
    assert_int_equal(store_person_language(store, number, "de"), 0);
    assert_int_equal(store_person_phrase(store, number, "Der blaue Käfer"), 0);
    assert_int_equal(store_person_get(store, number, &person), 0);
    assert_string_equal(person.phrase, "Der blaue Käfer");
    assert_int_equal(store_account_get(store, "l@example.org", &account), 0);
    assert_string_equal(account.language, "de");
    assert_int_equal(store_person_language(store, number + 1000, "de"), -ENOENT);
    assert_int_equal(store_person_get(store, number + 1000, &person), -ENOENT);
}

int main(void)
{
#define STORE_TEST(name)                                                                           \
    cmocka_unit_test_setup_teardown(name, store_fixture_setup, store_fixture_teardown)
    const struct CMUnitTest tests[] = {
        STORE_TEST(a_reset_changes_the_password_once_and_ends_sessions),
        STORE_TEST(sessions_are_listed_newest_first_and_ended_by_their_owner_alone),
        STORE_TEST(a_device_moves_on_with_all_its_accounts),
        STORE_TEST(an_account_has_a_few_devices_at_most),
        STORE_TEST(a_second_factor_is_used_once_a_step_and_goes_with_its_codes),
        STORE_TEST(a_passkey_is_used_with_a_fresh_challenge_and_a_higher_counter),
        STORE_TEST(an_account_has_a_few_passkeys_and_they_go_with_it),
        STORE_TEST(language_and_phrase_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
