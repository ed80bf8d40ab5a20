/*
 * kwp: AES key wrap with padding (RFC 5649, SP 800-38F KWP), many keys side by side.
 * Ownership: borrows everything for the call; `ecb` is the caller's.
 * Threads:   any; one call at a time with one context.
 * Units:     bytes; jobs.
 * Errors:    -EINVAL for a length that cannot be wrapped; -EIO when the cipher fails; -EBADMSG for
 *            what was not wrapped so.
 *
 * A wrap is a chain of blocks, each waiting for the one before: 36 for a 48-byte text. OpenSSL's
 * own goes through it block by block, without the processor's AES instructions. Here the same block
 * of KWP_LANES chains is one call of plain AES.
 */
#ifndef KEYSERVICE_SERVER_KWP_H
#define KEYSERVICE_SERVER_KWP_H

#include "base/macros.h"

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

#define KWP_LANES           64
#define KWP_PLAIN_BYTES_MAX 4096

/* What wrapping makes of `plain_bytes`. */
#define KWP_WRAPPED_BYTES(plain_bytes) (((size_t)(plain_bytes) + 7) / 8 * 8 + 8)

/* A context for kwp_wrap() under a key of 16, 24 or 32 bytes; EVP_CIPHER_CTX_free() wipes it. */
MUST_USE int kwp_open(EVP_CIPHER_CTX **ecb, const uint8_t *key, size_t key_bytes);

/* wrapped[i] = KWP(plain[i]), each of `plain_bytes` and KWP_WRAPPED_BYTES(plain_bytes). */
MUST_USE int kwp_wrap(EVP_CIPHER_CTX *ecb, const uint8_t *const *plain, size_t plain_bytes,
                      uint8_t *const *wrapped, uint32_t count);

/*
 * The way back, of one: `plain` has room for `wrapped_bytes`. -EBADMSG for every mismatch alike,
 * and `plain` is wiped.
 */
MUST_USE int kwp_unwrap(const uint8_t *key, size_t key_bytes, const uint8_t *wrapped,
                        size_t wrapped_bytes, uint8_t *plain, size_t *plain_bytes);

#endif
