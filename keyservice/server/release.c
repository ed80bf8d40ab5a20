#include "keyservice/server/release.h"

#include "base/assert.h"
#include "crypto/secret.h"
#include "keyservice/server/digest.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define RELEASE_LABEL       "bulla/1 release" /* its NUL is part of the info */
#define RELEASE_SHARED      32
#define RELEASE_KEK_BYTES   32
#define RELEASE_IV_BYTES    12
#define RELEASE_TAG_BYTES   16
#define RELEASE_POINT_START 0x04

/* Looked up once: finding them anew by name costs more than what is done with them. */
static struct {
    EC_GROUP *group;
    EVP_CIPHER *cipher;
} algorithms;

static void algorithms_find(void)
{
    algorithms.group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    algorithms.cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
}

static bool algorithms_ready(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, algorithms_find);
    return algorithms.group != NULL && algorithms.cipher != NULL;
}

/*
 * The point of an encoding; NULL when it is none. Checked: coordinates in range, on the curve, not
 * its zero, which this form cannot express. P-256 has no other subgroup (its cofactor is 1), so
 * that is all of SP 800-56A 5.6.2.3.3 too, without multiplying by the order.
 */
static EC_POINT *point_read(const uint8_t pub[RELEASE_POINT_BYTES], BN_CTX *ctx)
{
    if (pub[0] != RELEASE_POINT_START)
        return NULL;
    EC_POINT *point = EC_POINT_new(algorithms.group);
    if (point != NULL &&
        EC_POINT_oct2point(algorithms.group, point, pub, RELEASE_POINT_BYTES, ctx) == 1 &&
        EC_POINT_is_on_curve(algorithms.group, point, ctx) == 1 &&
        EC_POINT_is_at_infinity(algorithms.group, point) == 0)
        return point;
    EC_POINT_free(point);
    return NULL;
}

bool release_point_valid(const uint8_t pub[RELEASE_POINT_BYTES])
{
    BN_CTX *ctx = algorithms_ready() ? BN_CTX_new() : NULL;
    EC_POINT *point = ctx == NULL ? NULL : point_read(pub, ctx);
    const bool valid = point != NULL;
    EC_POINT_free(point);
    BN_CTX_free(ctx);
    return valid;
}

/* A fresh secret number below the curve's order, and its point. */
static BIGNUM *own_make(uint8_t epk[RELEASE_POINT_BYTES], BN_CTX *ctx)
{
    const EC_GROUP *group = algorithms.group;
    BIGNUM *own = BN_secure_new();
    EC_POINT *point = EC_POINT_new(group);
    bool fine = own != NULL && point != NULL;
    if (fine)
        BN_set_flags(own, BN_FLG_CONSTTIME);
    fine = fine && BN_priv_rand_range(own, EC_GROUP_get0_order(group)) == 1 &&
           BN_is_zero(own) == 0 && EC_POINT_mul(group, point, own, NULL, NULL, ctx) == 1 &&
           EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, epk, RELEASE_POINT_BYTES,
                              ctx) == RELEASE_POINT_BYTES;
    EC_POINT_free(point);
    if (fine)
        return own;
    BN_clear_free(own);
    return NULL;
}

/* The first coordinate of `own` times `peer`: what OpenSSL's ECDH does, by the same function. */
static int release_share(const BIGNUM *own, const EC_POINT *peer, uint8_t shared[RELEASE_SHARED],
                         BN_CTX *ctx)
{
    const EC_GROUP *group = algorithms.group;
    EC_POINT *product = EC_POINT_new(group);
    BIGNUM *x = BN_secure_new();
    const bool fine = product != NULL && x != NULL &&
                      EC_POINT_mul(group, product, NULL, peer, own, ctx) == 1 &&
                      EC_POINT_is_at_infinity(group, product) == 0 &&
                      EC_POINT_get_affine_coordinates(group, product, x, NULL, ctx) == 1 &&
                      BN_bn2binpad(x, shared, RELEASE_SHARED) == RELEASE_SHARED;
    BN_clear_free(x);
    EC_POINT_clear_free(product);
    return fine ? 0 : -EIO;
}

static int release_encrypt(struct release *release, const uint8_t *kek, const uint8_t *iv,
                           const uint8_t *key, size_t key_bytes)
{
    int done = 0;
    int rest = 0;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    const bool fine = ctx != NULL &&
                      EVP_EncryptInit_ex2(ctx, algorithms.cipher, kek, iv, NULL) == 1 &&
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

static int release_wrap_own(struct release *release, const BIGNUM *own, const uint8_t *pub,
                            const uint8_t *key, size_t key_bytes, BN_CTX *ctx)
{
    uint8_t shared[RELEASE_SHARED] __attribute__((cleanup(secret_wipe_32)));
    uint8_t okm[RELEASE_KEK_BYTES + RELEASE_IV_BYTES];
    uint8_t info[sizeof(RELEASE_LABEL) + RELEASE_ID_BYTES + 2 * RELEASE_POINT_BYTES];

    EC_POINT *peer = point_read(pub, ctx);
    if (peer == NULL)
        return -EINVAL;
    int rc = release_share(own, peer, shared, ctx);
    EC_POINT_free(peer);
    if (rc != 0)
        return rc;

    uint8_t *at = info;
    memcpy(at, RELEASE_LABEL, sizeof(RELEASE_LABEL));
    at += sizeof(RELEASE_LABEL);
    memcpy(at, release->id, RELEASE_ID_BYTES);
    at += RELEASE_ID_BYTES;
    memcpy(at, release->epk, RELEASE_POINT_BYTES);
    memcpy(at + RELEASE_POINT_BYTES, pub, RELEASE_POINT_BYTES);

    rc = digest_hkdf(shared, sizeof(shared), info, sizeof(info), okm, sizeof(okm));
    if (rc == 0)
        rc = release_encrypt(release, okm, okm + RELEASE_KEK_BYTES, key, key_bytes);
    secret_wipe(okm, sizeof(okm));
    return rc;
}

int release_wrap(struct release *release, const uint8_t id[RELEASE_ID_BYTES],
                 const uint8_t pub[RELEASE_POINT_BYTES], const uint8_t *key, size_t key_bytes)
{
    ASSERT(key_bytes > 0 && key_bytes <= RELEASE_KEY_BYTES_MAX);
    BN_CTX *ctx = algorithms_ready() ? BN_CTX_new() : NULL;
    BIGNUM *own = ctx == NULL ? NULL : own_make(release->epk, ctx);
    int rc = -EIO;
    if (own != NULL) {
        memcpy(release->id, id, RELEASE_ID_BYTES);
        rc = release_wrap_own(release, own, pub, key, key_bytes, ctx);
    }
    BN_clear_free(own);
    BN_CTX_free(ctx);
    return rc;
}
