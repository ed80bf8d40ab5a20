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

/* FIPS 198-1: a byte repeated. */
#define HKDF_INNER_PAD UINT64_C(0x3636363636363636)
#define HKDF_OUTER_PAD UINT64_C(0x5c5c5c5c5c5c5c5c)

#define HKDF_END_MARK UINT64_C(0x80) /* SHA-512's byte after the message (FIPS 180-4, 5.1.2) */
/* The length that ends it, in bits, with the key's block that went before. */
#define HKDF_LENGTH_BITS(bytes) ((uint64_t)(SHA512_BLOCK_BYTES + (bytes)) * 8)

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

/* Of T(round)'s inner hash, behind the key's block. */
static inline uint32_t hkdf_message_bytes(const struct hkdf_expansion *expansion, uint32_t round)
{
    return (round > 1 ? SHA512_DIGEST_BYTES : 0) + expansion->info_bytes + 1;
}

static inline uint32_t hkdf_message_blocks(const struct hkdf_expansion *expansion, uint32_t round)
{
    return (hkdf_message_bytes(expansion, round) + 17 + SHA512_BLOCK_BYTES - 1) /
           SHA512_BLOCK_BYTES;
}

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

/* One expansion alone: words one behind the other, so that little is touched and wiped. Secret. */
struct hkdf_one {
    /* The key's padded blocks beside each other in two lanes, and what follows them. */
    _Alignas(CACHE_LINE) sha512_row keys[SHA512_BLOCK_ROWS];
    sha512_row after[SHA512_STATE_ROWS];
    uint64_t inner[SHA512_STATE_ROWS];
    uint64_t outer[SHA512_STATE_ROWS];
    uint64_t digest[SHA512_BLOCK_ROWS];
    uint64_t message[HKDF_MESSAGE_ROWS];
};

/* hkdf_one_hot.c: with ISA_AVX512; elsewhere lanes are as good. */
HOT void hkdf_expand_one(struct crypto_core *core, const struct hkdf_expansion *expansion,
                         const struct hkdf_meanwhile *meanwhile);

/* `meanwhile` may be NULL. */
HOT void hkdf_expand_burst(struct crypto_core *core, const struct hkdf_expansion *expansions,
                           uint32_t expansions_count, const struct hkdf_meanwhile *meanwhile);

#endif
