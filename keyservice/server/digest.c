/* OpenSSL 3 would rather see its newer interface used, which allocates a context, and one within,
 * for each digest: that costs several times what a cookie's digest does. The code behind both is
 * one. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "keyservice/server/digest.h"

#include "base/assert.h"
#include "crypto/secret.h"

#include <errno.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <string.h>

#define HMAC_INNER 0x36
#define HMAC_OUTER 0x5c

_Static_assert(DIGEST_BYTES == SHA256_DIGEST_LENGTH, "SHA-256");
_Static_assert(DIGEST_BLOCK_BYTES == SHA256_CBLOCK, "of its blocks");

/* `pad` is a block, or NULL. */
static bool parts_run(const uint8_t *pad, const struct digest_part *parts, uint32_t parts_count,
                      uint8_t digest[DIGEST_BYTES])
{
    SHA256_CTX ctx;
    bool fine = SHA256_Init(&ctx) == 1 &&
                (pad == NULL || SHA256_Update(&ctx, pad, DIGEST_BLOCK_BYTES) == 1);
    for (uint32_t i = 0; i < parts_count && fine; i++)
        fine = SHA256_Update(&ctx, parts[i].bytes_at, parts[i].bytes) == 1;
    fine = fine && SHA256_Final(digest, &ctx) == 1;
    secret_wipe(&ctx, sizeof(ctx));
    return fine;
}

int digest_parts(const struct digest_part *parts, uint32_t parts_count,
                 uint8_t digest[DIGEST_BYTES])
{
    uint8_t made[DIGEST_BYTES];
    if (!parts_run(NULL, parts, parts_count, made))
        return -EIO;
    memcpy(digest, made, DIGEST_BYTES);
    return 0;
}

int digest_one(const void *bytes_at, size_t bytes, uint8_t digest[DIGEST_BYTES])
{
    const struct digest_part part = {.bytes_at = bytes_at, .bytes = bytes};
    return digest_parts(&part, 1, digest);
}

static void pad_fill(uint8_t pad[DIGEST_BLOCK_BYTES], const uint8_t *key, size_t key_bytes,
                     uint8_t with)
{
    memset(pad, with, DIGEST_BLOCK_BYTES);
    for (size_t i = 0; i < key_bytes; i++)
        pad[i] ^= key[i];
}

int digest_hmac(const uint8_t *key, size_t key_bytes, const struct digest_part *parts,
                uint32_t parts_count, uint8_t mac[DIGEST_BYTES])
{
    uint8_t pad[DIGEST_BLOCK_BYTES];
    uint8_t made[DIGEST_BYTES];
    const struct digest_part inner = {.bytes_at = made, .bytes = sizeof(made)};
    ASSERT(key_bytes <= DIGEST_BLOCK_BYTES);
    pad_fill(pad, key, key_bytes, HMAC_INNER);
    bool fine = parts_run(pad, parts, parts_count, made);
    pad_fill(pad, key, key_bytes, HMAC_OUTER);
    fine = fine && parts_run(pad, &inner, 1, made);
    if (fine)
        memcpy(mac, made, DIGEST_BYTES);
    secret_wipe(pad, sizeof(pad));
    secret_wipe(made, sizeof(made));
    return fine ? 0 : -EIO;
}

int digest_hkdf(const uint8_t *secret, size_t secret_bytes, const uint8_t *info, size_t info_bytes,
                uint8_t *okm, size_t okm_bytes)
{
    static const uint8_t salt[DIGEST_BYTES];
    uint8_t key[DIGEST_BYTES];
    uint8_t block[DIGEST_BYTES];
    uint8_t number = 1;
    const struct digest_part whole = {.bytes_at = secret, .bytes = secret_bytes};
    const struct digest_part parts[] = {{.bytes_at = block, .bytes = sizeof(block)},
                                        {.bytes_at = info, .bytes = info_bytes},
                                        {.bytes_at = &number, .bytes = 1}};
    ASSERT(okm_bytes > 0 && okm_bytes <= 255 * DIGEST_BYTES);
    int rc = digest_hmac(salt, sizeof(salt), &whole, 1, key);
    for (size_t at = 0; at < okm_bytes && rc == 0; at += DIGEST_BYTES, number++) {
        const uint32_t first = at == 0 ? 1 : 0; /* no block before the first */
        rc = digest_hmac(key, sizeof(key), parts + first, 3 - first, block);
        if (rc == 0)
            memcpy(okm + at, block, MIN(okm_bytes - at, sizeof(block)));
    }
    if (rc != 0)
        secret_wipe(okm, okm_bytes);
    secret_wipe(key, sizeof(key));
    secret_wipe(block, sizeof(block));
    return rc;
}
