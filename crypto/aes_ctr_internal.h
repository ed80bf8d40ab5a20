/*
 * aes_ctr_internal: the keystream of AES-256 in counter mode, for the generator.
 * Ownership: borrows; schedule and keystream are secret and the caller's.
 * Threads:   any.
 * Units:     AES_CTR_UNIT_BYTES, four blocks.
 * Errors:    none.
 *
 * It is AES-GCM's keystream over the same nonce, from its first block of text on: counter 2. The
 * library's GCM gives that too, at the price of 48 powers of H and a tag that nobody wants.
 */
#ifndef CRYPTO_AES_CTR_INTERNAL_H
#define CRYPTO_AES_CTR_INTERNAL_H

#include "base/macros.h"

#include <stddef.h>
#include <stdint.h>

#define AES_CTR_UNIT_BYTES  64
#define AES_CTR_NONCE_BYTES 12

/* `schedule` is aes_schedule_256()'s; units_count × AES_CTR_UNIT_BYTES of `stream` are written. */
typedef void aes_ctr_256_fn(uint8_t *stream, size_t units_count, const uint8_t *schedule,
                            const uint8_t nonce[AES_CTR_NONCE_BYTES]);

HOT aes_ctr_256_fn aes_ctr_256_sse;
HOT aes_ctr_256_fn aes_ctr_256_avx512;

#endif
