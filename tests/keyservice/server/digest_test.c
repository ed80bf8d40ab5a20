/* Digests of keyservice/server/digest.h against published answers and OpenSSL's own. */
#include "keyservice/server/digest.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void parts_are_digested_as_what_they_make_together(void **state)
{
    /* FIPS 180-2, B.1: "abc". */
    static const uint8_t right[DIGEST_BYTES] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea,
                                                0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
                                                0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c,
                                                0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    const struct digest_part parts[] = {{"a", 1}, {"", 0}, {"bc", 2}};
    uint8_t digest[DIGEST_BYTES];
    (void)state;
    assert_int_equal(digest_parts(parts, 3, digest), 0);
    assert_memory_equal(digest, right, sizeof(right));
    memset(digest, 0, sizeof(digest));
    assert_int_equal(digest_one("abc", 3, digest), 0);
    assert_memory_equal(digest, right, sizeof(right));
}

static void a_mac_is_that_of_openssl_for_every_length_of_key_and_text(void **state)
{
    uint8_t key[DIGEST_BLOCK_BYTES];
    uint8_t text[200];
    uint8_t mac[DIGEST_BYTES];
    uint8_t right[EVP_MAX_MD_SIZE];
    unsigned int right_bytes = 0;
    (void)state;
    for (uint32_t i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)(i * 7 + 1);
    for (uint32_t i = 0; i < sizeof(text); i++)
        text[i] = (uint8_t)(i * 13 + 5);
    for (uint32_t key_bytes = 1; key_bytes <= sizeof(key); key_bytes++)
        for (uint32_t bytes = 0; bytes <= sizeof(text); bytes++) {
            const struct digest_part parts[] = {{text, bytes / 3},
                                                {text + bytes / 3, bytes - bytes / 3}};
            assert_int_equal(digest_hmac(key, key_bytes, parts, 2, mac), 0);
            assert_non_null(
                HMAC(EVP_sha256(), key, (int)key_bytes, text, bytes, right, &right_bytes));
            assert_memory_equal(mac, right, DIGEST_BYTES);
        }
}

static void what_is_derived_is_that_of_rfc_5869(void **state)
{
    /* A.3: no salt, no info. */
    static const uint8_t right[42] = {0x8d, 0xa4, 0xe7, 0x75, 0xa5, 0x63, 0xc1, 0x8f, 0x71,
                                      0x5f, 0x80, 0x2a, 0x06, 0x3c, 0x5a, 0x31, 0xb8, 0xa1,
                                      0x1f, 0x5c, 0x5e, 0xe1, 0x87, 0x9e, 0xc3, 0x45, 0x4e,
                                      0x5f, 0x3c, 0x73, 0x8d, 0x2d, 0x9d, 0x20, 0x13, 0x95,
                                      0xfa, 0xa4, 0xb6, 0x1a, 0x96, 0xc8};
    uint8_t secret[22];
    uint8_t okm[43];
    uint8_t shorter[20];
    uint8_t other[20];
    (void)state;
    memset(secret, 0x0b, sizeof(secret));
    okm[42] = 0xaa;
    assert_int_equal(digest_hkdf(secret, sizeof(secret), NULL, 0, okm, 42), 0);
    assert_memory_equal(okm, right, sizeof(right));
    assert_int_equal(okm[42], 0xaa);
    assert_int_equal(digest_hkdf(secret, sizeof(secret), NULL, 0, shorter, sizeof(shorter)), 0);
    assert_memory_equal(shorter, right, sizeof(shorter));
    assert_int_equal(
        digest_hkdf(secret, sizeof(secret), (const uint8_t *)"x", 1, other, sizeof(other)), 0);
    assert_memory_not_equal(other, shorter, sizeof(other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_digested_as_what_they_make_together),
        cmocka_unit_test(a_mac_is_that_of_openssl_for_every_length_of_key_and_text),
        cmocka_unit_test(what_is_derived_is_that_of_rfc_5869),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
