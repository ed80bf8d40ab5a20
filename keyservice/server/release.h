/*
 * release: wraps a message key to the one browser window or program that asked for it.
 * Ownership: borrows; the caller wipes the message key.
 * Threads:   any.
 * Units:     bytes.
 * Errors:    -EINVAL: `pub` is not a point of P-256; -EIO: OpenSSL failed.
 *
 * docs/api/keyservice.md, "The wrapped key": ECDH on P-256 with a fresh key, HKDF-SHA-256,
 * AES-256-GCM.
 */
#ifndef KEYSERVICE_SERVER_RELEASE_H
#define KEYSERVICE_SERVER_RELEASE_H

#include "base/macros.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RELEASE_POINT_BYTES   65
#define RELEASE_KEY_BYTES_MAX 32
#define RELEASE_CT_BYTES_MAX  (RELEASE_KEY_BYTES_MAX + 16)
#define RELEASE_ID_BYTES      16

struct release {
    uint8_t id[RELEASE_ID_BYTES];
    uint8_t epk[RELEASE_POINT_BYTES];
    uint8_t ct[RELEASE_CT_BYTES_MAX];
    size_t ct_bytes;
};

/* True if the bytes are an uncompressed point on the curve. */
bool release_point_valid(const uint8_t pub[RELEASE_POINT_BYTES]);

MUST_USE int release_wrap(struct release *release, const uint8_t id[RELEASE_ID_BYTES],
                          const uint8_t pub[RELEASE_POINT_BYTES], const uint8_t *key,
                          size_t key_bytes);

#endif
