/*
 * aes_schedule_internal: AES-256's key schedule for several keys side by side.
 * Ownership: borrows; keys and schedules are secret and the caller's.
 * Threads:   any.
 * Units:     keys, AES_SCHEDULE_KEYS at once; bytes.
 * Errors:    none.
 *
 * One key alone waits thirteen times for the instruction before; four wait together.
 */
#ifndef CRYPTO_AES_SCHEDULE_INTERNAL_H
#define CRYPTO_AES_SCHEDULE_INTERNAL_H

#include "base/macros.h"

#include <stdint.h>

#define AES_SCHEDULE_KEYS      4
#define AES_SCHEDULE_KEY_BYTES 32
#define AES_SCHEDULE_BYTES     240 /* fifteen round keys (FIPS 197, 5.2), in the order of their use */

HOT void aes_schedule_256(uint8_t *const schedules[AES_SCHEDULE_KEYS],
                          const uint8_t *const keys[AES_SCHEDULE_KEYS]);
/* Of one key alone. */
HOT void aes_schedule_256_one(uint8_t *schedule, const uint8_t *key);

#endif
