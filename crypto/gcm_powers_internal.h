/*
 * gcm_powers_internal: what GHASH needs of a key, four keys side by side.
 * Ownership: borrows; all of it is secret.
 * Threads:   any.
 * Units:     powers of H, 16 bytes each.
 * Errors:    none.
 *
 * In the form and order that ipsec-mb's AVX-512 code keeps them in: a core compares the two when it
 * opens, and leaves the work to the library where they differ.
 */
#ifndef CRYPTO_GCM_POWERS_INTERNAL_H
#define CRYPTO_GCM_POWERS_INTERNAL_H

#include "base/macros.h"

#include <stdint.h>

#define GCM_POWERS_KEYS  4
#define GCM_POWERS_COUNT 48
#define GCM_POWERS_BYTES (GCM_POWERS_COUNT * 16)

/* Each of `powers` is written, GCM_POWERS_BYTES, from the AES-256 round keys in `schedules`. */
HOT void gcm_powers_256_avx512(uint8_t *const powers[GCM_POWERS_KEYS],
                               uint8_t *const schedules[GCM_POWERS_KEYS]);
/* Of one key alone. */
HOT void gcm_powers_256_one_avx512(uint8_t *powers, const uint8_t *schedule);

#endif
