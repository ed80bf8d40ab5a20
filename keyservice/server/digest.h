/*
 * digest: SHA-256, HMAC and HKDF of a few bytes, without allocating.
 * Ownership: caller's memory.
 * Threads:   any.
 * Units:     bytes.
 * Errors:    -EIO where OpenSSL refuses, and nothing is written.
 *
 * OpenSSL's one-call forms look up what they use by its name each time, and its contexts are
 * allocated: either costs several times what the digest of a cookie does. Answers are theirs bit by
 * bit.
 */
#ifndef KEYSERVICE_SERVER_DIGEST_H
#define KEYSERVICE_SERVER_DIGEST_H

#include "base/macros.h"

#include <stddef.h>
#include <stdint.h>

#define DIGEST_BYTES       32
#define DIGEST_BLOCK_BYTES 64

struct digest_part {
    const void *bytes_at;
    size_t bytes;
};

/* Over the parts, one behind the other. */
MUST_USE int digest_parts(const struct digest_part *parts, uint32_t parts_count,
                          uint8_t digest[DIGEST_BYTES]);
MUST_USE int digest_one(const void *bytes_at, size_t bytes, uint8_t digest[DIGEST_BYTES]);
/* RFC 2104, with a key of at most DIGEST_BLOCK_BYTES. */
MUST_USE int digest_hmac(const uint8_t *key, size_t key_bytes, const struct digest_part *parts,
                         uint32_t parts_count, uint8_t mac[DIGEST_BYTES]);
/* RFC 5869 without a salt; of secrets of at most DIGEST_BLOCK_BYTES. */
MUST_USE int digest_hkdf(const uint8_t *secret, size_t secret_bytes, const uint8_t *info,
                         size_t info_bytes, uint8_t *okm, size_t okm_bytes);

#endif
