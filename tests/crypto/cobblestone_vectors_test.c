#include "crypto/cobblestone.h"
#include "crypto/gcm_internal.h"
#include "tests/crypto/vectors.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <zlib.h>

#include <cmocka.h>

#define SEALED_BYTES_MAX ((size_t)16 << 20)

/* One vector of a Wycheproof chunked-encryption file. */
struct vector {
    struct vector_bytes key;
    struct vector_bytes context;
    struct vector_bytes aead_key;
    struct vector_bytes base_nonce;
    struct vector_bytes message_sha512;
    uint8_t *sealed;
    size_t sealed_bytes;
    size_t message_bytes;
    bool valid;
    bool header_failure;
    bool partial;
};

/* What a file's vectors have in common. */
struct run {
    struct crypto_core *core;
    enum cobble_suite suite;
    uint32_t valid;
    uint32_t invalid;
    uint32_t key_sizes;
    uint32_t raw;
};

static void inflate_hex(const json_t *test, struct vector *vector)
{
    struct vector_bytes packed = vector_from_json(test, "ct");
    uLongf bytes = SEALED_BYTES_MAX;
    vector->sealed = malloc(SEALED_BYTES_MAX);
    assert_non_null(vector->sealed);
    assert_int_equal(uncompress(vector->sealed, &bytes, packed.at, packed.bytes), Z_OK);
    vector->sealed_bytes = bytes;
    vector_free(&packed);
}

static void vector_load(struct vector *vector, const json_t *test)
{
    vector->key = vector_from_json(test, "key");
    vector->context = vector_from_json(test, "ctx");
    /* Invalid vectors have these only where some part of them is genuine. */
    if (json_object_get(test, "aeadKey") != NULL) {
        vector->aead_key = vector_from_json(test, "aeadKey");
        vector->base_nonce = vector_from_json(test, "baseNonce");
    }
    if (json_object_get(test, "msgSha512") != NULL)
        vector->message_sha512 = vector_from_json(test, "msgSha512");
    vector->message_bytes = (size_t)json_integer_value(json_object_get(test, "msgLength"));
    vector->valid = strcmp(vector_text(test, "result"), "valid") == 0;
    vector->header_failure = vector_has_flag(test, "HeaderFailure") != 0;
    vector->partial = vector_has_flag(test, "PartialPlaintext") != 0;
    inflate_hex(test, vector);
}

static void vector_drop(struct vector *vector)
{
    vector_free(&vector->key);
    vector_free(&vector->context);
    vector_free(&vector->aead_key);
    vector_free(&vector->base_nonce);
    vector_free(&vector->message_sha512);
    free(vector->sealed);
}

static void check_hash(const struct vector *vector, const uint8_t *plain, size_t plain_bytes)
{
    uint8_t hash[64];
    assert_int_equal(plain_bytes, vector->message_bytes);
    assert_int_equal(vector->message_sha512.bytes, sizeof(hash));
    assert_int_equal(EVP_Digest(plain, plain_bytes, hash, NULL, EVP_sha512(), NULL), 1);
    assert_memory_equal(hash, vector->message_sha512.at, sizeof(hash));
}

/* The same salt under the same key and context must give the very same bytes. */
static void check_seal(const struct run *run, const struct vector *vector, const uint8_t *plain)
{
    uint8_t *sealed = malloc(vector->sealed_bytes);
    struct cobble cobble;
    assert_non_null(sealed);
    struct cobble_derivation derivation = {
        .suite = run->suite,
        .key = vector->key.at,
        .salt = vector->sealed,
        .context = vector->context.at,
        .context_bytes = (uint32_t)vector->context.bytes,
        .cobble = &cobble,
    };
    cobble_derive_burst(run->core, &derivation, 1);
    memcpy(sealed, vector->sealed, COBBLE_SALT_BYTES);
    memcpy(sealed + COBBLE_SALT_BYTES, derivation.commitment, COBBLE_COMMITMENT_BYTES);
    assert_int_equal(COBBLE_HEADER_BYTES + cobble_sealed_bytes(vector->message_bytes),
                     vector->sealed_bytes);
    const size_t bytes = cobble_seal(run->core, &cobble, sealed + COBBLE_HEADER_BYTES, plain,
                                     vector->message_bytes, true);
    assert_int_equal(COBBLE_HEADER_BYTES + bytes, vector->sealed_bytes);
    assert_memory_equal(sealed, vector->sealed, vector->sealed_bytes);
    cobble_wipe(&cobble);
    free(sealed);
}

static void check_open(const struct run *run, const struct vector *vector)
{
    uint8_t *plain = malloc(vector->sealed_bytes + 1);
    size_t plain_bytes = SIZE_MAX;
    assert_non_null(plain);
    memset(plain, 0, vector->sealed_bytes);
    const int rc = cobble_open_message(run->core, run->suite, vector->key.at, vector->context.at,
                                       (uint32_t)vector->context.bytes, vector->sealed,
                                       vector->sealed_bytes, plain, &plain_bytes);
    if (vector->valid) {
        assert_int_equal(rc, 0);
        check_hash(vector, plain, plain_bytes);
        check_seal(run, vector, plain);
    } else {
        assert_int_equal(rc, -EBADMSG);
        assert_int_equal(plain_bytes, SIZE_MAX);
        for (size_t i = 0; i < vector->sealed_bytes; i++)
            assert_int_equal(plain[i], 0);
    }
    free(plain);
}

/* A message under key and nonce that the vector names, as it would stand after its derivation. */
static struct cobble *raw_cobble(const struct run *run, const struct vector *vector)
{
    struct cobble *cobble = aligned_alloc(CACHE_LINE, sizeof(*cobble));
    assert_non_null(cobble);
    memset(cobble, 0, sizeof(*cobble));
    gcm_expand(run->core, cobble->expanded, vector->aead_key.at, (uint32_t)vector->aead_key.bytes);
    memcpy(cobble->base_nonce, vector->base_nonce.at, COBBLE_NONCE_BYTES);
    cobble->suite = run->suite;
    return cobble;
}

/*
 * Streaming: chunk by chunk, as a slow network would bring it. What came out before the fault is
 * at most the prefix that the vector allows, and after the fault nothing is opened any more.
 */
static void check_stream(const struct run *run, const struct vector *vector)
{
    struct cobble *cobble = raw_cobble(run, vector);
    const uint8_t *at = vector->sealed + COBBLE_HEADER_BYTES;
    size_t left = vector->sealed_bytes - COBBLE_HEADER_BYTES;
    uint8_t *plain = malloc(vector->sealed_bytes + 1);
    size_t have = 0;
    size_t now = 0;
    int rc = 0;
    assert_non_null(plain);
    while (rc == 0 && left >= COBBLE_SEALED_CHUNK_BYTES) {
        rc = cobble_open(run->core, cobble, plain + have, at, COBBLE_SEALED_CHUNK_BYTES, false,
                         &now);
        have += rc == 0 ? now : 0;
        at += COBBLE_SEALED_CHUNK_BYTES;
        left -= COBBLE_SEALED_CHUNK_BYTES;
    }
    if (rc == 0) {
        rc = cobble_open(run->core, cobble, plain + have, at, left, true, &now);
        have += rc == 0 ? now : 0;
    }
    assert_int_equal(rc, vector->valid ? 0 : -EBADMSG);
    if (vector->valid || vector->partial) {
        assert_true(have <= vector->message_bytes);
        if (have == vector->message_bytes)
            check_hash(vector, plain, have);
    } else {
        assert_int_equal(have, 0);
    }
    assert_int_equal(cobble_open(run->core, cobble, plain + have, vector->sealed, 0, false, &now),
                     -EBADMSG);
    cobble_wipe(cobble);
    free(cobble);
    free(plain);
}

static void check(struct run *run, const json_t *test)
{
    struct vector vector = {0};
    vector_load(&vector, test);
    if (vector.key.bytes != cobble_key_bytes(run->suite)) {
        /* A key has its suite's length by type here: the caller could not hand this one over. */
        assert_true(vector_has_flag(test, "InvalidKeySize"));
        assert_false(vector.valid);
        run->key_sizes++;
    } else {
        check_open(run, &vector);
        if (vector.valid)
            run->valid++;
        else
            run->invalid++;
        if (!vector.header_failure) {
            check_stream(run, &vector);
            run->raw++;
        }
    }
    vector_drop(&vector);
}

static void wycheproof_file(const char *name, enum cobble_suite suite)
{
    json_t *root = vectors_load(name);
    if (root == NULL)
        skip();
    for (enum isa isa = ISA_SCALAR; isa <= isa_best(); isa++) {
        struct run run = {.suite = suite};
        assert_int_equal(crypto_core_open(&run.core, isa), 0);
        size_t i;
        size_t j;
        json_t *group;
        json_t *test;
        json_array_foreach(json_object_get(root, "testGroups"), i, group)
            json_array_foreach(json_object_get(group, "tests"), j, test) check(&run, test);
        print_message("%s %s: %u valid, %u invalid, of them %u in raw mode too; %u of a key size "
                      "that the type excludes\n",
                      name, isa_name(isa), run.valid, run.invalid, run.raw, run.key_sizes);
        assert_int_equal(run.valid + run.invalid + run.key_sizes,
                         json_integer_value(json_object_get(root, "numberOfTests")));
        assert_true(run.valid > 0 && run.raw > 0);
        crypto_core_close(run.core);
    }
    json_decref(root);
}

static void wycheproof_cobblestone_128(void **state)
{
    (void)state;
    wycheproof_file("c2sp_chunked_encryption_aes_128_gcm_test.json", COBBLE_AES_128);
}

static void wycheproof_cobblestone_256(void **state)
{
    (void)state;
    wycheproof_file("c2sp_chunked_encryption_aes_256_gcm_test.json", COBBLE_AES_256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wycheproof_cobblestone_128),
        cmocka_unit_test(wycheproof_cobblestone_256),
    };
    return vectors_verdict(cmocka_run_group_tests(tests, NULL, NULL));
}
