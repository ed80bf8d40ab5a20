/*
 * hkdf_internal: HKDF-Expand with SHA-512 (RFC 5869, 2.3) for many messages side by side.
 * Ownership: borrows everything for the call; scratch stands in the core's secret pages.
 * Threads:   as the crypto_core that is passed.
 * Units:     bytes.
 * Errors:    none; lengths past the bounds below are bugs.
 */
#ifndef CRYPTO_HKDF_INTERNAL_H
#define CRYPTO_HKDF_INTERNAL_H

#include "base/macros.h"
#include "crypto/core.h"
#include "crypto/sha512_internal.h"

#include <stdint.h>

#define HKDF_PRK_BYTES_MAX  SHA512_BLOCK_BYTES /* longer ones are hashed first, which none needs */
#define HKDF_INFO_BYTES_MAX 256
#define HKDF_OKM_BYTES_MAX  (255 * SHA512_DIGEST_BYTES) /* RFC 5869: the counter is one byte */

/* T(n - 1), info, counter, then SHA-512's 0x80 and 16-byte length, in whole blocks. */
#define HKDF_MESSAGE_BLOCKS_MAX                                                                    \
    ((SHA512_DIGEST_BYTES + HKDF_INFO_BYTES_MAX + 1 + 17 + SHA512_BLOCK_BYTES - 1) /               \
     SHA512_BLOCK_BYTES)

struct hkdf_expansion {
    const uint8_t *prk;
    uint32_t prk_bytes;
    uint32_t info_bytes;
    const uint8_t *info;
    uint8_t *okm; /* out */
    uint32_t okm_bytes;
};

/* One group of lanes at work; secret. */
struct hkdf_scratch {
    struct sha512_lanes inner; /* after the key's ipad block */
    struct sha512_lanes outer; /* after the key's opad block */
    struct sha512_lanes work;
    _Alignas(CACHE_LINE) uint8_t blocks[SHA512_LANES][HKDF_MESSAGE_BLOCKS_MAX * SHA512_BLOCK_BYTES];
    uint8_t digests[SHA512_LANES][SHA512_DIGEST_BYTES];
};

HOT void hkdf_expand_burst(struct crypto_core *core, const struct hkdf_expansion *expansions,
                           uint32_t expansions_count);

#endif
