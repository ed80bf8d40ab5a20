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
/* T(n - 1)'s place, empty for the first message, then the rest. */
#define HKDF_MESSAGE_ROWS (SHA512_STATE_ROWS + HKDF_MESSAGE_BLOCKS_MAX * SHA512_BLOCK_ROWS)

struct hkdf_expansion {
    const uint8_t *prk;
    uint32_t prk_bytes;
    uint32_t info_bytes;
    const uint8_t *info;
    uint8_t *okm; /* out */
    uint32_t okm_bytes;
};

/* What the caller has to do meanwhile: called between one compression and the next. */
struct hkdf_meanwhile {
    void (*step)(void *user);
    void *user;
};

/* One group of lanes at work; secret. */
struct hkdf_scratch {
    _Alignas(CACHE_LINE) sha512_row inner[SHA512_STATE_ROWS]; /* after the key's ipad block */
    sha512_row outer[SHA512_STATE_ROWS];                      /* after its opad block       */
    sha512_row work[SHA512_STATE_ROWS];
    sha512_row key[SHA512_BLOCK_ROWS];    /* padded                                    */
    sha512_row digest[SHA512_BLOCK_ROWS]; /* of the inner hash, as the outer one's block */
    sha512_row message[HKDF_MESSAGE_ROWS];
};

/* `meanwhile` may be NULL. */
HOT void hkdf_expand_burst(struct crypto_core *core, const struct hkdf_expansion *expansions,
                           uint32_t expansions_count, const struct hkdf_meanwhile *meanwhile);

#endif
