#include "base/macros.h"
#include "crypto/hkdf_internal.h"
#include "tests/crypto/vectors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <cmocka.h>

static struct crypto_core *core_for(enum isa isa)
{
    struct crypto_core *core = NULL;
    assert_int_equal(crypto_core_open(&core, isa), 0);
    return core;
}

/* RFC 5869, 2.3, word for word, on OpenSSL's HMAC. */
static void expand_by_openssl(const uint8_t *prk, size_t prk_bytes, const uint8_t *info,
                              size_t info_bytes, uint8_t *okm, size_t okm_bytes)
{
    uint8_t message[SHA512_DIGEST_BYTES + HKDF_INFO_BYTES_MAX + 1];
    uint8_t previous[SHA512_DIGEST_BYTES];
    size_t previous_bytes = 0;
    uint8_t counter = 1;
    for (size_t done = 0; done < okm_bytes; done += SHA512_DIGEST_BYTES) {
        memcpy(message, previous, previous_bytes);
        memcpy(message + previous_bytes, info, info_bytes);
        message[previous_bytes + info_bytes] = counter++;
        assert_non_null(HMAC(EVP_sha512(), prk, (int)prk_bytes, message,
                             previous_bytes + info_bytes + 1, previous, NULL));
        previous_bytes = SHA512_DIGEST_BYTES;
        memcpy(okm + done, previous, MIN(okm_bytes - done, (size_t)SHA512_DIGEST_BYTES));
    }
}

/* Wycheproof gives whole HKDF: the extraction is OpenSSL's, the expansion ours. */
static void wycheproof_hkdf_sha512(void **state)
{
    (void)state;
    json_t *root = vectors_load("hkdf_sha512_test.json");
    if (root == NULL)
        skip();
    for (enum isa isa = ISA_SCALAR; isa <= isa_best(); isa++) {
        struct crypto_core *core = core_for(isa);
        uint32_t checked = 0;
        uint32_t refused = 0;
        size_t i;
        size_t j;
        json_t *group;
        json_t *test;
        json_array_foreach(json_object_get(root, "testGroups"), i, group)
            json_array_foreach(json_object_get(group, "tests"), j, test)
        {
            if (strcmp(vector_text(test, "result"), "valid") != 0) {
                /* Too long for RFC 5869: past HKDF_OKM_BYTES_MAX, which is a bug to ask for. */
                assert_true(json_integer_value(json_object_get(test, "size")) > HKDF_OKM_BYTES_MAX);
                refused++;
                continue;
            }
            struct vector_bytes ikm = vector_from_json(test, "ikm");
            struct vector_bytes salt = vector_from_json(test, "salt");
            struct vector_bytes info = vector_from_json(test, "info");
            struct vector_bytes okm = vector_from_json(test, "okm");
            uint8_t prk[SHA512_DIGEST_BYTES];
            uint8_t *got = malloc(okm.bytes + 1);
            assert_non_null(got);
            assert_non_null(
                HMAC(EVP_sha512(), salt.at, (int)salt.bytes, ikm.at, ikm.bytes, prk, NULL));
            const struct hkdf_expansion expansion = {
                .prk = prk,
                .prk_bytes = sizeof(prk),
                .info = info.at,
                .info_bytes = (uint32_t)info.bytes,
                .okm = got,
                .okm_bytes = (uint32_t)okm.bytes,
            };
            hkdf_expand_burst(core, &expansion, 1, NULL);
            assert_memory_equal(got, okm.at, okm.bytes);
            checked++;
            free(got);
            vector_free(&ikm);
            vector_free(&salt);
            vector_free(&info);
            vector_free(&okm);
        }
        print_message("%s: %u vectors; %u longer than any caller may ask\n", isa_name(isa), checked,
                      refused);
        assert_int_equal(checked + refused,
                         json_integer_value(json_object_get(root, "numberOfTests")));
        crypto_core_close(core);
    }
    json_decref(root);
}

enum { BURST = 32, OKM_ROOM = 300 };

/* Bursts of every size, of messages that differ in every length, against OpenSSL one by one. */
static void a_burst_of_unlike_messages_agrees_with_openssl(void **state)
{
    (void)state;
    static uint8_t prk[BURST][HKDF_PRK_BYTES_MAX];
    static uint8_t info[BURST][HKDF_INFO_BYTES_MAX];
    static uint8_t okm[BURST][OKM_ROOM];
    struct hkdf_expansion expansions[BURST];
    for (enum isa isa = ISA_SCALAR; isa <= isa_best(); isa++) {
        struct crypto_core *core = core_for(isa);
        for (uint32_t round = 0; round < 8 * BURST; round++) {
            const uint32_t count = round % BURST + 1;
            assert_int_equal(RAND_bytes(prk[0], sizeof(prk)), 1);
            assert_int_equal(RAND_bytes(info[0], sizeof(info)), 1);
            memset(okm, 0xaa, sizeof(okm));
            for (uint32_t i = 0; i < count; i++) {
                expansions[i] = (struct hkdf_expansion){
                    .prk = prk[i],
                    .prk_bytes = (uint32_t)prk[i][0] % (HKDF_PRK_BYTES_MAX + 1),
                    .info = info[i],
                    .info_bytes = (uint32_t)info[i][0] % (HKDF_INFO_BYTES_MAX + 1),
                    .okm = okm[i],
                    .okm_bytes = (uint32_t)info[i][1] % (OKM_ROOM - 1),
                };
            }
            hkdf_expand_burst(core, expansions, count, NULL);
            for (uint32_t i = 0; i < count; i++) {
                uint8_t want[OKM_ROOM];
                expand_by_openssl(prk[i], expansions[i].prk_bytes, info[i],
                                  expansions[i].info_bytes, want, expansions[i].okm_bytes);
                assert_memory_equal(okm[i], want, expansions[i].okm_bytes);
                assert_int_equal(okm[i][expansions[i].okm_bytes], 0xaa);
            }
        }
        crypto_core_close(core);
    }
}

/* Each vector of the compression function against the plain one, lane by lane. */
static void compression_agrees_with_the_plain_one(void **state)
{
    (void)state;
    static _Alignas(CACHE_LINE) sha512_row block[SHA512_BLOCK_ROWS];
    _Alignas(CACHE_LINE) sha512_row before[SHA512_STATE_ROWS];
    _Alignas(CACHE_LINE) sha512_row want[SHA512_STATE_ROWS];
    _Alignas(CACHE_LINE) sha512_row got[SHA512_STATE_ROWS];
    for (enum isa isa = ISA_SCALAR; isa <= isa_best(); isa++) {
        for (uint32_t round = 0; round < 2000; round++) {
            const uint32_t count = round % SHA512_LANES + 1;
            assert_int_equal(RAND_bytes((uint8_t *)block, sizeof(block)), 1);
            assert_int_equal(RAND_bytes((uint8_t *)before, sizeof(before)), 1);
            sha512_compress_scalar(want, before, block, count);
            sha512_compress(isa)(got, before, block, count);
            sha512_compress(isa)(before, before, block, count); /* in place as well */
            for (uint32_t i = 0; i < SHA512_STATE_ROWS; i++) {
                assert_memory_equal(got[i], want[i], count * sizeof(got[i][0]));
                assert_memory_equal(before[i], want[i], count * sizeof(got[i][0]));
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compression_agrees_with_the_plain_one),
        cmocka_unit_test(wycheproof_hkdf_sha512),
        cmocka_unit_test(a_burst_of_unlike_messages_agrees_with_openssl),
    };
    return vectors_verdict(cmocka_run_group_tests(tests, NULL, NULL));
}
