/*
 * core: one thread's cryptography: an ipsec-mb manager and a random generator.
 * Ownership: crypto_core_open() allocates; the opener closes, which wipes.
 * Threads:   one thread at a time per core; give each worker its own.
 * Units:     bytes.
 * Errors:    open gives -errno (-ENOTSUP: the processor lacks `isa`; -EIO: no entropy).
 */
#ifndef CRYPTO_CORE_H
#define CRYPTO_CORE_H

#include "base/macros.h"
#include "crypto/isa.h"

#include <stddef.h>
#include <stdint.h>

struct crypto_core;

MUST_USE int crypto_core_open(struct crypto_core **core, enum isa isa);
void crypto_core_close(struct crypto_core *core); /* NULL is harmless */
enum isa crypto_core_isa(const struct crypto_core *core);

/*
 * Fast-key-erasure generator (Bernstein, "Fast-key-erasure random-number generators", 2017):
 * AES-256-CTR blocks whose first 32 bytes replace the key before any are given out; seeded from
 * getrandom(2), seeded again after a fork and after every CRYPTO_RANDOM_RESEED_BYTES.
 */
#define CRYPTO_RANDOM_RESEED_BYTES (UINT64_C(1) << 30)
/* Draws of this many bytes or more are generated for the call; smaller ones share a buffer of up to
 * 4 KiB, which two machines resumed from one snapshot would both give out. Draw keys in blocks. */
#define CRYPTO_RANDOM_LARGE_BYTES 256
HOT void crypto_random(struct crypto_core *core, uint8_t *dst, size_t bytes);

#endif
