/* The small parts of the service: guesses, sessions, pickups, accounts, mail, wrapped keys, JSON.
 */
#include "base/clock.h"
#include "crypto/secret.h"
#include "keyservice/server/account/account.h"
#include "keyservice/server/account/session.h"
#include "keyservice/server/api/api.h"
#include "keyservice/server/guess.h"
#include "keyservice/server/mail/mail.h"
#include "keyservice/server/pickup.h"
#include "keyservice/server/release.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#define START_NS (UINT64_C(1000) * NS_PER_S)

static struct guess *guess_fine(void)
{
    struct guess *guess = NULL;
    assert_int_equal(guess_open(&guess), 0);
    return guess;
}

static uint32_t takes_until_refused(struct guess *guess, const char *key, uint64_t now_ns)
{
    uint32_t count = 0;
    while (count < 1000 && guess_take(guess, GUESS_PAIR, key, strlen(key), now_ns) == 0)
        count++;
    return count;
}

static void guesses_refill_one_by_one(void **state)
{
    (void)state;
    struct guess *guess = guess_fine();
    assert_int_equal(takes_until_refused(guess, "a", START_NS), 10);
    const uint64_t wait_ns = guess_take(guess, GUESS_PAIR, "a", 1, START_NS);
    assert_true(wait_ns > 0 && wait_ns <= 60 * NS_PER_S);
    assert_true(guess_take(guess, GUESS_PAIR, "a", 1, START_NS + wait_ns - 1) > 0);
    assert_int_equal(guess_take(guess, GUESS_PAIR, "a", 1, START_NS + wait_ns), 0);
    assert_true(guess_take(guess, GUESS_PAIR, "a", 1, START_NS + wait_ns) > 0);
    assert_int_equal(takes_until_refused(guess, "a", START_NS + 3600 * NS_PER_S), 10);
    guess_close(guess);
}

static void a_refused_guess_does_not_lengthen_the_wait(void **state)
{
    (void)state;
    struct guess *guess = guess_fine();
    (void)takes_until_refused(guess, "a", START_NS);
    const uint64_t wait_ns = guess_take(guess, GUESS_PAIR, "a", 1, START_NS);
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(guess_take(guess, GUESS_PAIR, "a", 1, START_NS), wait_ns);
    guess_close(guess);
}

static void one_keys_guesses_do_not_count_for_another(void **state)
{
    (void)state;
    struct guess *guess = guess_fine();
    assert_int_equal(takes_until_refused(guess, "a", START_NS), 10);
    assert_int_equal(takes_until_refused(guess, "b", START_NS), 10);
    assert_int_equal(guess_take(guess, GUESS_ACCOUNT, "a", 1, START_NS), 0);
    guess_close(guess);
}

static void a_right_guess_is_given_back(void **state)
{
    (void)state;
    struct guess *guess = guess_fine();
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(guess_take(guess, GUESS_PAIR, "a", 1, START_NS), 0);
        guess_give(guess, GUESS_PAIR, "a", 1, START_NS);
    }
    assert_int_equal(takes_until_refused(guess, "a", START_NS), 10);
    guess_close(guess);
}

static void made_up_keys_neither_grow_memory_nor_free_a_guesser(void **state)
{
    (void)state;
    uint32_t refused_count = 0;
    struct guess *guess = guess_fine();
    (void)takes_until_refused(guess, "target", START_NS);
    for (uint32_t i = 0; i < 10000; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "made-up %u", i);
        (void)guess_take(guess, GUESS_PAIR, key, strlen(key), START_NS);
        refused_count += guess_take(guess, GUESS_PAIR, "target", 6, START_NS) > 0;
    }
    assert_int_equal(refused_count, 10000);
    guess_close(guess);
}

static void known_networks_are_remembered_for_their_account(void **state)
{
    (void)state;
    struct guess *guess = guess_fine();
    assert_false(guess_known(guess, "a", 1));
    guess_known_add(guess, "a", 1);
    assert_true(guess_known(guess, "a", 1));
    assert_false(guess_known(guess, "b", 1));
    guess_close(guess);
}

static void a_token_fits_its_own_cookie_and_secret_alone(void **state)
{
    (void)state;
    uint8_t secret[SESSION_SECRET_BYTES] = {1};
    struct session_token one;
    struct session_token two;
    struct session_token csrf;
    assert_int_equal(session_make(&one), 0);
    assert_int_equal(session_make(&two), 0);
    assert_string_not_equal(one.text, two.text);
    session_csrf(secret, &one, &csrf);
    assert_true(session_csrf_valid(secret, &one, csrf.text));
    assert_false(session_csrf_valid(secret, &two, csrf.text));
    assert_false(session_csrf_valid(secret, &one, one.text));
    assert_false(session_csrf_valid(secret, &one, ""));
    assert_false(session_csrf_valid(secret, &one, NULL));
    secret[0] = 2;
    assert_false(session_csrf_valid(secret, &one, csrf.text));
}

static void cookies_that_cannot_be_ours_are_refused(void **state)
{
    (void)state;
    struct session_token cookie;
    struct session_token parsed;
    assert_int_equal(session_make(&cookie), 0);
    assert_true(session_parse(&parsed, cookie.text));
    assert_string_equal(parsed.text, cookie.text);
    char longer[SESSION_TOKEN_CHARS + 2];
    (void)snprintf(longer, sizeof(longer), "%sA", cookie.text);
    assert_false(session_parse(&parsed, longer));
    cookie.text[5] = ' ';
    assert_false(session_parse(&parsed, cookie.text));
    cookie.text[5] = '\0';
    assert_false(session_parse(&parsed, cookie.text));
    assert_false(session_parse(&parsed, NULL));
}

static void a_pickup_is_there_once_and_for_a_minute(void **state)
{
    (void)state;
    struct pickup *pickup = NULL;
    char text[PICKUP_TEXT_BYTES];
    const uint8_t name[PICKUP_NAME_BYTES] = {1};
    const uint8_t other[PICKUP_NAME_BYTES] = {2};
    assert_int_equal(pickup_open(&pickup), 0);
    assert_int_equal(pickup_park(pickup, "owner", 5, name, "text", START_NS), 0);
    assert_int_equal(pickup_take(pickup, other, START_NS, text), -ENOENT);
    assert_int_equal(pickup_take(pickup, name, START_NS + PICKUP_LIFE_NS - 1, text), 0);
    assert_string_equal(text, "text");
    assert_int_equal(pickup_take(pickup, name, START_NS, text), -ENOENT);
    assert_int_equal(pickup_park(pickup, "owner", 5, name, "late", START_NS), 0);
    assert_int_equal(pickup_take(pickup, name, START_NS + PICKUP_LIFE_NS, text), -ENOENT);
    assert_int_equal(pickup_take(pickup, name, START_NS, text), -ENOENT);
    pickup_close(pickup);
}

static void pickups_fill(struct pickup *pickup, const char *owner, uint32_t start, uint32_t count)
{
    uint8_t name[PICKUP_NAME_BYTES] = {0};
    for (uint32_t i = start; i < start + count; i++) {
        memcpy(name, &i, sizeof(i));
        assert_int_equal(pickup_park(pickup, owner, strlen(owner), name, "text", START_NS + i), 0);
    }
}

static int pickup_number(struct pickup *pickup, uint32_t number)
{
    char text[PICKUP_TEXT_BYTES];
    uint8_t name[PICKUP_NAME_BYTES] = {0};
    memcpy(name, &number, sizeof(number));
    return pickup_take(pickup, name, START_NS + number, text);
}

static void too_many_pickups_cost_their_owners_oldest(void **state)
{
    (void)state;
    struct pickup *pickup = NULL;
    assert_int_equal(pickup_open(&pickup), 0);
    pickups_fill(pickup, "another", 0, 1);
    pickups_fill(pickup, "flood", 1, 2 * PICKUP_COUNT);
    assert_int_equal(pickup_number(pickup, 0), 0); /* the oldest of all, and still there */
    const uint32_t kept = 2 * PICKUP_COUNT - PICKUP_SHARE;
    assert_int_equal(pickup_number(pickup, kept), -ENOENT);
    for (uint32_t i = kept + 1; i <= 2 * PICKUP_COUNT; i++)
        assert_int_equal(pickup_number(pickup, i), 0);
    pickup_close(pickup);
}

static void in_a_full_table_who_holds_most_gives_up(void **state)
{
    (void)state;
    struct pickup *pickup = NULL;
    uint32_t next = 1;
    assert_int_equal(pickup_open(&pickup), 0);
    pickups_fill(pickup, "another", 0, 1);
    for (uint32_t i = 0; i < 2 * PICKUP_COUNT / PICKUP_SHARE; i++, next += PICKUP_SHARE) {
        char owner[16];
        (void)snprintf(owner, sizeof(owner), "flood %u", i);
        pickups_fill(pickup, owner, next, PICKUP_SHARE);
    }
    assert_int_equal(pickup_number(pickup, 0), 0);
    assert_int_equal(pickup_number(pickup, next - 1), 0);
    pickup_close(pickup);
}

static void no_mail_has_a_header_that_is_not_ascii(void **state)
{
    (void)state;
    static const uint8_t unique[16] = {1};
    char mail[MAIL_BYTES_MAX];
    struct mail_message message = {
        .to = "joerg@example.org", .subject = "Grüße", .text = "Grüße", .language = "de"};
    const size_t bytes = mail_format(mail, "bulla@example.org", &message, unique, START_NS);
    assert_true(bytes > 0);
    for (size_t i = 0; i < bytes; i++)
        assert_true((unsigned char)mail[i] < 0x80);
    assert_int_equal(mail_format(mail, "bülla@example.org", &message, unique, START_NS), 0);
    message.to = "jörg@example.org";
    assert_int_equal(mail_format(mail, "bulla@example.org", &message, unique, START_NS), 0);
}

static void what_is_refused_as_malformed_is_wiped(void **state)
{
    (void)state;
    static const char body[] = "{\"password\":\"correct horse\",\"more\":\"x\"}";
    static const char none[32];
    char password[32] = "what stood there";
    const struct api_field fields[] = {
        {.name = "password", .text = password, .room = sizeof(password)}};
    assert_int_equal(api_fields((const uint8_t *)body, sizeof(body) - 1, fields, 1), -EBADMSG);
    assert_memory_equal(password, none, sizeof(password));
}

static void passwords_verify_against_their_own_hash_alone(void **state)
{
    (void)state;
    char one[ACCOUNT_HASH_BYTES];
    char two[ACCOUNT_HASH_BYTES];
    assert_int_equal(account_password_hash("correct horse", 13, one), 0);
    assert_int_equal(account_password_hash("correct horse", 13, two), 0);
    assert_string_not_equal(one, two);
    assert_non_null(strstr(one, "$argon2id$v=19$m=19456,t=2,p=1$"));
    assert_true(account_password_verify(one, "correct horse", 13));
    assert_false(account_password_verify(one, "correct horsf", 13));
    assert_false(account_password_verify(one, "", 0));
    assert_false(account_password_verify("", "correct horse", 13));
    assert_false(account_password_verify("$argon2id$nonsense", "correct horse", 13));
    /* One that was made for somebody has an end beside it, which is no part of the secret. */
    assert_int_equal(account_password_until(one), 0);
    assert_int_equal(account_password_hash_made("correct horse", 13, 1763800000000, two), 0);
    assert_int_equal(account_password_until(two), 1763800000000);
    assert_true(account_password_verify(two, "correct horse", 13));
    assert_false(account_password_verify(two, "correct horsf", 13));
    assert_false(account_password_verify("until=1763800000000", "correct horse", 13));
}

static void addresses_are_one_mailbox_in_lower_case(void **state)
{
    (void)state;
    char normal[ACCOUNT_ADDRESS_BYTES];
    static const char *const bad[] = {"",      "ab",    "@b",       "a@",     "a@b@c", "a b@c",
                                      "a@b,c", "<a@b>", "a@b\nx@y", "a@\x80", "a;@b",  "\"a\"@b"};
    assert_int_equal(account_normalise(normal, " Bob@Example.ORG\r\n", 18), 0);
    assert_string_equal(normal, "bob@example.org");
    assert_int_equal(account_normalise(normal, "J\xc3\xb6rg@b", 7), 0);
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_int_equal(account_normalise(normal, bad[i], strlen(bad[i])), -EINVAL);
    assert_int_equal(account_normalise(normal, "a@b\0c", 5), -EINVAL);
}

static void weak_passwords_are_told_apart(void **state)
{
    (void)state;
    char why[ACCOUNT_WHY_BYTES];
    char longest[ACCOUNT_PASSWORD_BYTES_MAX + 2];
    memset(longest, 'x', sizeof(longest));
    assert_int_equal(account_password_check("0918273645", 10, "a@b", why), 0);
    assert_int_equal(account_password_check("091827364", 9, "a@b", why), -EINVAL);
    /* Characters count, not bytes. */
    assert_int_equal(account_password_check("\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6", 10, "a@b",
                                            why),
                     -EINVAL);
    assert_int_equal(account_password_check("A@EXAMPLE.ORG", 13, "a@example.org", why), -EINVAL);
    assert_int_equal(account_password_check("Password1234", 12, "a@b", why), -EINVAL);
    assert_non_null(strstr(why, "many people"));
    assert_int_equal(account_password_check("Example-Anna1", 13, "anna@example.org", why), -EINVAL);
    assert_non_null(strstr(why, "address"));
    assert_int_equal(account_password_check("tab\tinside it", 13, "a@b", why), -EINVAL);
    assert_int_equal(account_password_check(longest, ACCOUNT_PASSWORD_BYTES_MAX + 1, "a@b", why),
                     -EINVAL);
    assert_int_equal(account_password_check(longest, ACCOUNT_PASSWORD_BYTES_MAX, "a@b", why), 0);
}

static void mail_lines_stay_short_and_headers_closed(void **state)
{
    (void)state;
    static char text[MAIL_BYTES_MAX];
    const uint8_t unique[16] = {0};
    struct mail_message message = {
        .to = "reader@example.org",
        .subject = "\xe5\xb0\x81\xe5\x8d\xb0\xe3\x81\x95\xe3\x82\x8c\xe3\x81\x9f\xe3\x83\xa1\xe3"
                   "\x83\xbc\xe3\x83\xab\xe3\x81\xae\xe3\x82\xb3\xe3\x83\xbc\xe3\x83\x89\xe3\x81"
                   "\xa7\xe3\x81\x99",
        .text = "one\ntwo\n",
        .language = "ja"};
    const size_t bytes = mail_format(text, "bulla@keys.example", &message, unique, START_NS);
    assert_int_not_equal(bytes, 0);
    size_t line = 0;
    for (size_t i = 0; i < bytes; i++) {
        assert_in_range((unsigned char)text[i], 1, 126);
        line = text[i] == '\n' ? 0 : line + 1;
        assert_true(line <= 79);
        if (text[i] == '\n')
            assert_int_equal(text[i - 1], '\r');
    }
    message.to = "a@b\r\nBcc: c@d";
    assert_int_equal(mail_format(text, "bulla@keys.example", &message, unique, START_NS), 0);
    message.to = "a@b>, <c@d";
    assert_int_equal(mail_format(text, "bulla@keys.example", &message, unique, START_NS), 0);
    message.to = "reader@example.org";
    message.subject = "one\r\nBcc: c@d";
    assert_int_equal(mail_format(text, "bulla@keys.example", &message, unique, START_NS), 0);
}

/* The receiver's side of docs/api/keyservice.md, written apart from release.c. */
static bool unwrap(const struct release *release, EVP_PKEY *own, const uint8_t pub[65],
                   uint8_t *key)
{
    uint8_t shared[32];
    uint8_t prk[32];
    uint8_t okm[64];
    uint8_t block[32 + 16 + 16 + 130 + 1];
    unsigned int mac_bytes = 0;
    size_t shared_bytes = sizeof(shared);
    int done = 0;
    EVP_PKEY *peer = EVP_PKEY_new();
    assert_int_equal(EVP_PKEY_copy_parameters(peer, own), 1);
    assert_int_equal(EVP_PKEY_set1_encoded_public_key(peer, release->epk, 65), 1);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(own, NULL);
    assert_int_equal(EVP_PKEY_derive_init(ctx), 1);
    assert_int_equal(EVP_PKEY_derive_set_peer(ctx, peer), 1);
    assert_int_equal(EVP_PKEY_derive(ctx, shared, &shared_bytes), 1);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(peer);
    /* RFC 5869: extract with a salt of zeros, then two blocks. */
    const uint8_t salt[32] = {0};
    (void)HMAC(EVP_sha256(), salt, 32, shared, 32, prk, &mac_bytes);
    for (uint8_t round = 1; round <= 2; round++) {
        size_t used = 0;
        if (round == 2) {
            memcpy(block, okm, 32);
            used = 32;
        }
        memcpy(block + used, "bulla/1 release", 16); /* with its zero */
        memcpy(block + used + 16, release->id, 16);
        memcpy(block + used + 32, release->epk, 65);
        memcpy(block + used + 97, pub, 65);
        block[used + 162] = round;
        (void)HMAC(EVP_sha256(), prk, 32, block, used + 163, okm + 32 * (round - 1), &mac_bytes);
    }
    const size_t key_bytes = release->ct_bytes - 16;
    EVP_CIPHER_CTX *gcm = EVP_CIPHER_CTX_new();
    assert_int_equal(EVP_DecryptInit_ex(gcm, EVP_aes_256_gcm(), NULL, okm, okm + 32), 1);
    assert_int_equal(EVP_DecryptUpdate(gcm, key, &done, release->ct, (int)key_bytes), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_GCM_SET_TAG, 16,
                                         (void *)(uintptr_t)(release->ct + key_bytes)),
                     1);
    const bool fine = EVP_DecryptFinal_ex(gcm, key + done, &done) == 1;
    EVP_CIPHER_CTX_free(gcm);
    return fine;
}

static void a_released_key_opens_for_its_window_alone(void **state)
{
    (void)state;
    const uint8_t id[16] = {1, 2, 3};
    uint8_t key[32];
    uint8_t got[32];
    uint8_t pub[65];
    size_t pub_bytes = 0;
    struct release release;
    memset(key, 0x5a, sizeof(key));
    EVP_PKEY *own = EVP_EC_gen("P-256");
    EVP_PKEY *other = EVP_EC_gen("P-256");
    assert_int_equal(EVP_PKEY_get_octet_string_param(own, OSSL_PKEY_PARAM_PUB_KEY, pub, sizeof(pub),
                                                     &pub_bytes),
                     1);
    for (size_t bytes = 24; bytes <= 32; bytes += 8) {
        assert_int_equal(release_wrap(&release, id, pub, key, bytes), 0);
        assert_int_equal(release.ct_bytes, bytes + 16);
        assert_true(unwrap(&release, own, pub, got));
        assert_memory_equal(got, key, bytes);
        assert_false(unwrap(&release, other, pub, got));
        release.id[0] ^= 1;
        assert_false(unwrap(&release, own, pub, got));
    }
    EVP_PKEY_free(other);
    EVP_PKEY_free(own);
}

static void points_off_the_curve_wrap_nothing(void **state)
{
    (void)state;
    uint8_t pub[65] = {4};
    const uint8_t id[16] = {0};
    const uint8_t key[32] = {0};
    struct release release;
    assert_false(release_point_valid(pub));
    assert_int_equal(release_wrap(&release, id, pub, key, sizeof(key)), -EINVAL);
    memset(pub, 0xff, sizeof(pub));
    assert_false(release_point_valid(pub));
    pub[0] = 4;
    assert_false(release_point_valid(pub));
}

static int fields_of(const char *body, char *one, char *two)
{
    const struct api_field fields[] = {
        {.name = "one", .text = one, .room = 8},
        {.name = "two", .text = two, .room = 8, .optional = true},
    };
    return api_fields((const uint8_t *)body, strlen(body), fields, ARRAY_COUNT(fields));
}

static void bodies_are_flat_objects_of_known_strings(void **state)
{
    (void)state;
    char one[8];
    char two[8];
    static const char *const bad[] = {"",
                                      "{}",
                                      "[]",
                                      "null",
                                      "\"one\"",
                                      "{\"two\":\"x\"}",
                                      "{\"one\":1}",
                                      "{\"one\":\"12345678\"}",
                                      "{\"one\":\"a\",\"three\":\"b\"}",
                                      "{\"one\":\"a\"} x",
                                      "{\"one\":\"a\",\"one\":\"b\"}",
                                      "{\"one\":\"a\\u0000b\"}",
                                      "{\"one\":[[[\"a\"]]]}",
                                      "{\"one\":\"\xff\"}",
                                      "{\"one\":\"a\""};
    assert_int_equal(fields_of(" {\"one\": \"1234567\"} ", one, two), 0);
    assert_string_equal(one, "1234567");
    assert_string_equal(two, "");
    assert_int_equal(fields_of("{\"two\":\"[[[[{\",\"one\":\"\\\"[\"}", one, two), 0);
    assert_string_equal(two, "[[[[{");
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_int_equal(fields_of(bad[i], one, two), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guesses_refill_one_by_one),
        cmocka_unit_test(a_refused_guess_does_not_lengthen_the_wait),
        cmocka_unit_test(one_keys_guesses_do_not_count_for_another),
        cmocka_unit_test(a_right_guess_is_given_back),
        cmocka_unit_test(made_up_keys_neither_grow_memory_nor_free_a_guesser),
        cmocka_unit_test(known_networks_are_remembered_for_their_account),
        cmocka_unit_test(a_token_fits_its_own_cookie_and_secret_alone),
        cmocka_unit_test(cookies_that_cannot_be_ours_are_refused),
        cmocka_unit_test(a_pickup_is_there_once_and_for_a_minute),
        cmocka_unit_test(too_many_pickups_cost_their_owners_oldest),
        cmocka_unit_test(in_a_full_table_who_holds_most_gives_up),
        cmocka_unit_test(what_is_refused_as_malformed_is_wiped),
        cmocka_unit_test(no_mail_has_a_header_that_is_not_ascii),
        cmocka_unit_test(passwords_verify_against_their_own_hash_alone),
        cmocka_unit_test(addresses_are_one_mailbox_in_lower_case),
        cmocka_unit_test(weak_passwords_are_told_apart),
        cmocka_unit_test(mail_lines_stay_short_and_headers_closed),
        cmocka_unit_test(a_released_key_opens_for_its_window_alone),
        cmocka_unit_test(points_off_the_curve_wrap_nothing),
        cmocka_unit_test(bodies_are_flat_objects_of_known_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
