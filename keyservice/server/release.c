#include "keyservice/server/release.h"

#include "base/assert.h"
#include "crypto/secret.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <string.h>

#define RELEASE_LABEL       "bulla/1 release" /* its NUL is part of the info */
#define RELEASE_SHARED      32
#define RELEASE_KEK_BYTES   32
#define RELEASE_IV_BYTES    12
#define RELEASE_TAG_BYTES   16
#define RELEASE_GROUP       "prime256v1"
#define RELEASE_POINT_START 0x04

static EVP_PKEY *point_to_key(const uint8_t pub[RELEASE_POINT_BYTES])
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME,
                                         (char *)(uintptr_t)RELEASE_GROUP, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)(uintptr_t)pub,
                                          RELEASE_POINT_BYTES),
        OSSL_PARAM_construct_end(),
    };
    if (pub[0] != RELEASE_POINT_START)
        return NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    if (ctx == NULL)
        return NULL;
    if (EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    if (key == NULL)
        return NULL;
    /* fromdata refuses points off the curve already; SP 800-56A 5.6.2.3.3 is checked in full. */
    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    const bool valid = ctx != NULL && EVP_PKEY_public_check(ctx) == 1;
    EVP_PKEY_CTX_free(ctx);
    if (!valid) {
        EVP_PKEY_free(key);
        return NULL;
    }
    return key;
}

bool release_point_valid(const uint8_t pub[RELEASE_POINT_BYTES])
{
    EVP_PKEY *key = point_to_key(pub);
    EVP_PKEY_free(key);
    return key != NULL;
}

static int release_share(EVP_PKEY *own, EVP_PKEY *peer, uint8_t shared[RELEASE_SHARED])
{
    size_t done = RELEASE_SHARED;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, own, NULL);
    const bool fine = ctx != NULL && EVP_PKEY_derive_init(ctx) == 1 &&
                      EVP_PKEY_derive_set_peer(ctx, peer) == 1 &&
                      EVP_PKEY_derive(ctx, shared, &done) == 1 && done == RELEASE_SHARED;
    EVP_PKEY_CTX_free(ctx);
    return fine ? 0 : -EIO;
}

static int release_derive(const uint8_t shared[RELEASE_SHARED], const uint8_t *info,
                          size_t info_bytes, uint8_t okm[RELEASE_KEK_BYTES + RELEASE_IV_BYTES])
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *ctx = kdf == NULL ? NULL : EVP_KDF_CTX_new(kdf);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t) "SHA256", 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)shared,
                                          RELEASE_SHARED),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)info, info_bytes),
        OSSL_PARAM_construct_end(),
    };
    const bool fine =
        ctx != NULL && EVP_KDF_derive(ctx, okm, RELEASE_KEK_BYTES + RELEASE_IV_BYTES, params) == 1;
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    return fine ? 0 : -EIO;
}

static int release_encrypt(struct release *release, const uint8_t *kek, const uint8_t *iv,
                           const uint8_t *key, size_t key_bytes)
{
    int done = 0;
    int rest = 0;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    const bool fine = ctx != NULL &&
                      EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, kek, iv) == 1 &&
                      EVP_EncryptUpdate(ctx, release->ct, &done, key, (int)key_bytes) == 1 &&
                      EVP_EncryptFinal_ex(ctx, release->ct + done, &rest) == 1 &&
                      EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, RELEASE_TAG_BYTES,
                                          release->ct + key_bytes) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (!fine)
        return -EIO;
    ASSERT((size_t)(done + rest) == key_bytes);
    release->ct_bytes = key_bytes + RELEASE_TAG_BYTES;
    return 0;
}

static int release_wrap_own(struct release *release, EVP_PKEY *own, const uint8_t *pub,
                            const uint8_t *key, size_t key_bytes)
{
    uint8_t shared[RELEASE_SHARED] __attribute__((cleanup(secret_wipe_32)));
    uint8_t okm[RELEASE_KEK_BYTES + RELEASE_IV_BYTES];
    uint8_t info[sizeof(RELEASE_LABEL) + RELEASE_ID_BYTES + 2 * RELEASE_POINT_BYTES];
    size_t epk_bytes = 0;

    EVP_PKEY *peer = point_to_key(pub);
    if (peer == NULL)
        return -EINVAL;
    int rc = release_share(own, peer, shared);
    EVP_PKEY_free(peer);
    if (rc != 0)
        return rc;
    if (EVP_PKEY_get_octet_string_param(own, OSSL_PKEY_PARAM_PUB_KEY, release->epk,
                                        sizeof(release->epk), &epk_bytes) != 1 ||
        epk_bytes != RELEASE_POINT_BYTES)
        return -EIO;

    uint8_t *at = info;
    memcpy(at, RELEASE_LABEL, sizeof(RELEASE_LABEL));
    at += sizeof(RELEASE_LABEL);
    memcpy(at, release->id, RELEASE_ID_BYTES);
    at += RELEASE_ID_BYTES;
    memcpy(at, release->epk, RELEASE_POINT_BYTES);
    memcpy(at + RELEASE_POINT_BYTES, pub, RELEASE_POINT_BYTES);

    rc = release_derive(shared, info, sizeof(info), okm);
    if (rc == 0)
        rc = release_encrypt(release, okm, okm + RELEASE_KEK_BYTES, key, key_bytes);
    secret_wipe(okm, sizeof(okm));
    return rc;
}

int release_wrap(struct release *release, const uint8_t id[RELEASE_ID_BYTES],
                 const uint8_t pub[RELEASE_POINT_BYTES], const uint8_t *key, size_t key_bytes)
{
    ASSERT(key_bytes > 0 && key_bytes <= RELEASE_KEY_BYTES_MAX);
    EVP_PKEY *own = EVP_EC_gen(RELEASE_GROUP);
    if (own == NULL)
        return -EIO;
    memcpy(release->id, id, RELEASE_ID_BYTES);
    const int rc = release_wrap_own(release, own, pub, key, key_bytes);
    EVP_PKEY_free(own);
    return rc;
}
