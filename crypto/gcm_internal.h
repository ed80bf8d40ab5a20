/*
 * gcm_internal: AES-GCM with 12-byte nonces and 16-byte tags, one call a chunk.
 * Ownership: borrows everything for the call; an expanded key is secret and the caller's.
 * Threads:   as the crypto_core that is passed.
 * Units:     bytes; keys of 16, 24 or 32 bytes.
 * Errors:    gcm_open() says false for a wrong tag and leaves zeros in `plain`.
 *
 * For crypto/ and its tests alone: a nonce used twice under one key gives both messages away, and
 * cobblestone.h is the part that never does. AAD is there for the published vectors.
 */
#ifndef CRYPTO_GCM_INTERNAL_H
#define CRYPTO_GCM_INTERNAL_H

#include "base/macros.h"
#include "crypto/core.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GCM_NONCE_BYTES    12
#define GCM_TAG_BYTES      16
#define GCM_EXPANDED_BYTES 1024

struct gcm_aad {
    const uint8_t *bytes_at; /* NULL for none */
    size_t bytes;
};

/* `expanded` is CACHE_LINE aligned and GCM_EXPANDED_BYTES long. */
HOT void gcm_expand(struct crypto_core *core, uint8_t *expanded, const uint8_t *key,
                    uint32_t key_bytes);

struct gcm_expansion {
    uint8_t *expanded;
    const uint8_t *key;
    uint32_t key_bytes;
};

/* The same for many keys, those of 32 bytes side by side. */
HOT void gcm_expand_burst(struct crypto_core *core, const struct gcm_expansion *expansions,
                          uint32_t expansions_count);

/* Whether the library keeps the powers of H as gcm_powers_internal.h does; asked once a core. */
MUST_USE bool gcm_powers_fit(struct crypto_core *core);

/* Writes `bytes` and the tag after them to `sealed`. */
HOT void gcm_seal(struct crypto_core *core, const uint8_t *expanded, uint32_t key_bytes,
                  const uint8_t nonce[GCM_NONCE_BYTES], struct gcm_aad aad, uint8_t *sealed,
                  const uint8_t *plain, size_t bytes);

/* Reads `bytes` and the tag after them from `sealed`. */
MUST_USE bool gcm_open(struct crypto_core *core, const uint8_t *expanded, uint32_t key_bytes,
                       const uint8_t nonce[GCM_NONCE_BYTES], struct gcm_aad aad, uint8_t *plain,
                       const uint8_t *sealed, size_t bytes);

#endif
