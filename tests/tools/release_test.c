/* The wrapped key of docs/api/keyservice.md, wrapped here by other calls than those that unwrap. */
#include "tools/bulla/release.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct wrapping {
    EVP_PKEY *ours;
    EVP_PKEY *theirs;
    struct id id;
    uint8_t sealed[COBBLE_KEY_BYTES_MAX + 16];
    uint8_t key[COBBLE_KEY_BYTES_MAX];
    struct release_wrapped wrapped;
};

static void point_of(EVP_PKEY *pair, uint8_t point[RELEASE_POINT_BYTES])
{
    size_t bytes = 0;
    assert_int_equal(EVP_PKEY_get_octet_string_param(pair, OSSL_PKEY_PARAM_PUB_KEY, point,
                                                     RELEASE_POINT_BYTES, &bytes),
                     1);
    assert_int_equal(bytes, RELEASE_POINT_BYTES);
}

/* RFC 5869 by its definition: extract with a salt of zeros, then two blocks of expand. */
static void derive(const struct wrapping *w, const uint8_t z[32], uint8_t out[64])
{
    const uint8_t zeros[32] = {0};
    uint8_t prk[32];
    uint8_t text[32 + 256];
    unsigned int bytes = 0;
    size_t info_bytes = 0;
    HMAC(EVP_sha256(), zeros, sizeof(zeros), z, 32, prk, &bytes);
    uint8_t *info = text + 32;
    memcpy(info, "bulla/1 release\0", 16);
    memcpy(info + 16, w->id.bytes, ID_BYTES);
    memcpy(info + 32, w->wrapped.their_point, RELEASE_POINT_BYTES);
    memcpy(info + 97, w->wrapped.our_point, RELEASE_POINT_BYTES);
    info_bytes = 162;
    info[info_bytes] = 1;
    HMAC(EVP_sha256(), prk, 32, info, info_bytes + 1, out, &bytes);
    memcpy(text, out, 32);
    info[info_bytes] = 2;
    HMAC(EVP_sha256(), prk, 32, text, 32 + info_bytes + 1, out + 32, &bytes);
}

static void wrap(struct wrapping *w, size_t key_bytes)
{
    memset(w, 0, sizeof(*w));
    w->ours = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    w->theirs = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    assert_non_null(w->ours);
    assert_non_null(w->theirs);
    for (size_t i = 0; i < ID_BYTES; i++)
        w->id.bytes[i] = (uint8_t)(i * 17);
    for (size_t i = 0; i < key_bytes; i++)
        w->key[i] = (uint8_t)(255 - i);
    w->wrapped = (struct release_wrapped){
        .id = &w->id, .sealed = w->sealed, .sealed_bytes = key_bytes + 16, .key_bytes = key_bytes};
    point_of(w->ours, w->wrapped.our_point);
    point_of(w->theirs, w->wrapped.their_point);

    uint8_t z[32];
    uint8_t out[64];
    size_t z_bytes = sizeof(z);
    EVP_PKEY_CTX *agreement = EVP_PKEY_CTX_new(w->theirs, NULL);
    assert_int_equal(EVP_PKEY_derive_init(agreement), 1);
    assert_int_equal(EVP_PKEY_derive_set_peer(agreement, w->ours), 1);
    assert_int_equal(EVP_PKEY_derive(agreement, z, &z_bytes), 1);
    EVP_PKEY_CTX_free(agreement);
    derive(w, z, out);

    int bytes = 0;
    EVP_CIPHER_CTX *gcm = EVP_CIPHER_CTX_new();
    assert_int_equal(EVP_EncryptInit_ex(gcm, EVP_aes_256_gcm(), NULL, out, out + 32), 1);
    assert_int_equal(EVP_EncryptUpdate(gcm, w->sealed, &bytes, w->key, (int)key_bytes), 1);
    assert_int_equal(EVP_EncryptFinal_ex(gcm, w->sealed + bytes, &bytes), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_GET_TAG, 16, w->sealed + key_bytes), 1);
    EVP_CIPHER_CTX_free(gcm);
}

static void unwrap_fini(struct wrapping *w)
{
    EVP_PKEY_free(w->ours);
    EVP_PKEY_free(w->theirs);
}

static void release_unwraps_what_the_service_wrapped(void **state)
{
    (void)state;
    const size_t sizes[] = {32, 24};
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        struct wrapping w;
        uint8_t key[COBBLE_KEY_BYTES_MAX] = {0};
        wrap(&w, sizes[i]);
        assert_int_equal(release_unwrap(w.ours, &w.wrapped, key), 0);
        assert_memory_equal(key, w.key, sizeof(key));
        unwrap_fini(&w);
    }
}

static void release_refuses_a_changed_byte_of_anything(void **state)
{
    (void)state;
    struct wrapping w;
    uint8_t key[COBBLE_KEY_BYTES_MAX] = {0};
    const uint8_t untouched[COBBLE_KEY_BYTES_MAX] = {0};
    wrap(&w, 32);
    for (size_t i = 0; i < sizeof(w.sealed); i++) {
        w.sealed[i] ^= 1;
        assert_int_equal(release_unwrap(w.ours, &w.wrapped, key), -EBADMSG);
        w.sealed[i] ^= 1;
    }
    w.id.bytes[3] ^= 1;
    assert_int_equal(release_unwrap(w.ours, &w.wrapped, key), -EBADMSG);
    w.id.bytes[3] ^= 1;
    w.wrapped.our_point[9] ^= 1;
    assert_int_equal(release_unwrap(w.ours, &w.wrapped, key), -EBADMSG);
    assert_memory_equal(key, untouched, sizeof(key));
    unwrap_fini(&w);
}

static void release_refuses_a_point_off_the_curve(void **state)
{
    (void)state;
    struct wrapping w;
    uint8_t key[COBBLE_KEY_BYTES_MAX];
    wrap(&w, 32);
    w.wrapped.their_point[64] ^= 1;
    assert_int_equal(release_unwrap(w.ours, &w.wrapped, key), -EBADMSG);
    w.wrapped.their_point[64] ^= 1;
    w.wrapped.their_point[0] = 0x06; /* hybrid encoding: not what the page says */
    assert_int_equal(release_unwrap(w.ours, &w.wrapped, key), -EBADMSG);
    memset(w.wrapped.their_point, 0, sizeof(w.wrapped.their_point)); /* infinity */
    assert_int_equal(release_unwrap(w.ours, &w.wrapped, key), -EBADMSG);
    unwrap_fini(&w);
}

static void release_refuses_another_length(void **state)
{
    (void)state;
    struct wrapping w;
    uint8_t key[COBBLE_KEY_BYTES_MAX];
    wrap(&w, 32);
    w.wrapped.sealed_bytes--;
    assert_int_equal(release_unwrap(w.ours, &w.wrapped, key), -EBADMSG);
    w.wrapped.sealed_bytes = 0;
    assert_int_equal(release_unwrap(w.ours, &w.wrapped, key), -EBADMSG);
    w.wrapped.key_bytes = 33;
    w.wrapped.sealed_bytes = 49;
    assert_int_equal(release_unwrap(w.ours, &w.wrapped, key), -EBADMSG);
    unwrap_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(release_unwraps_what_the_service_wrapped),
        cmocka_unit_test(release_refuses_a_changed_byte_of_anything),
        cmocka_unit_test(release_refuses_a_point_off_the_curve),
        cmocka_unit_test(release_refuses_another_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
