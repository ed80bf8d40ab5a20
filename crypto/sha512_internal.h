/*
 * sha512_internal: SHA-512's compression function, several messages side by side.
 * Ownership: borrows; the lanes are secret when the message is.
 * Threads:   any.
 * Units:     rows of 64-bit words; lanes, one a message, at most SHA512_LANES.
 * Errors:    none.
 *
 * ipsec-mb's HMAC jobs want each key's two padded blocks hashed beforehand, one key at a time. Here
 * those run side by side too, in half the time: bench/crypto/hash_bench.c.
 */
#ifndef CRYPTO_SHA512_INTERNAL_H
#define CRYPTO_SHA512_INTERNAL_H

#include "base/macros.h"
#include "crypto/isa.h"

#include <stdint.h>

#define SHA512_BLOCK_BYTES  128
#define SHA512_DIGEST_BYTES 64
#define SHA512_ROUNDS       80
#define SHA512_LANES        8

extern const uint64_t sha512_constants[SHA512_ROUNDS];

/*
 * Word i of every lane side by side, as numbers: what one vector register holds. A chaining value
 * is SHA512_STATE_ROWS of them and a block SHA512_BLOCK_ROWS, so a digest is the next block's first
 * half where it stands. Rows are CACHE_LINE aligned.
 */
typedef uint64_t sha512_row[SHA512_LANES];
#define SHA512_STATE_ROWS 8
#define SHA512_BLOCK_ROWS 16

extern const sha512_row sha512_initial[SHA512_STATE_ROWS];

/*
 * `after` becomes the chaining value that follows `before` (they may be one) when `block` is taken
 * into each of the first lanes_count lanes. The lanes past lanes_count are read and may change: a
 * vector has no shorter form.
 */
typedef void sha512_compress_fn(sha512_row *after, const sha512_row *before,
                                const sha512_row *block, uint32_t lanes_count);

sha512_compress_fn sha512_compress_scalar;
sha512_compress_fn sha512_compress_avx2;
sha512_compress_fn sha512_compress_avx512;
/* What sha512_compress_avx512() takes for one lane, and for two to four. */
sha512_compress_fn sha512_compress_avx512_1;
sha512_compress_fn sha512_compress_avx512_4;

sha512_compress_fn *sha512_compress(enum isa isa); /* for a supported ISA */

/* The same of one message whose words stand one behind the other, not one a row. */
HOT void sha512_compress_one_avx512(uint64_t after[SHA512_STATE_ROWS],
                                    const uint64_t before[SHA512_STATE_ROWS],
                                    const uint64_t block[SHA512_BLOCK_ROWS]);

#endif
