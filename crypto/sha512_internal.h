/*
 * sha512_internal: SHA-512's compression function, several messages side by side.
 * Ownership: borrows; the lanes are secret when the message is.
 * Threads:   any.
 * Units:     blocks of SHA512_BLOCK_BYTES; lanes, one a message, at most SHA512_LANES.
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

extern const uint64_t sha512_initial[8];
extern const uint64_t sha512_constants[SHA512_ROUNDS];

/* word[i][lane] is word i of that lane's chaining value: what one vector register holds. */
struct sha512_lanes {
    _Alignas(CACHE_LINE) uint64_t word[8][SHA512_LANES];
};

/*
 * One block into each of the first lanes_count lanes. blocks[] has SHA512_LANES readable entries,
 * and the lanes past lanes_count may change: a vector has no shorter form.
 */
typedef void sha512_compress_fn(struct sha512_lanes *lanes, const uint8_t *const *blocks,
                                uint32_t lanes_count);

sha512_compress_fn sha512_compress_scalar;
sha512_compress_fn sha512_compress_avx2;
sha512_compress_fn sha512_compress_avx512;

sha512_compress_fn *sha512_compress(enum isa isa); /* for a supported ISA */

#endif
