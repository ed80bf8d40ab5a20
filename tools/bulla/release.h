/*
 * release: asks the key service for one envelope's key, as one of its recipients.
 * Ownership: the caller's memory; the key is secret: wipe it.
 * Threads:   one.
 * Units:     bytes.
 * Errors:    0; else an exit status, after one line on stderr.
 *
 * docs/api/keyservice.md, "The wrapped key": the service wraps the key to a P-256 key pair that is
 * made here for this one request and forgotten after it.
 */
#ifndef TOOLS_BULLA_RELEASE_H
#define TOOLS_BULLA_RELEASE_H

#include "base/macros.h"
#include "crypto/cobblestone.h"
#include "envelope/id.h"

#include <stddef.h>
#include <stdint.h>

#define RELEASE_POINT_BYTES 65 /* SEC 1, 2.3.3: 0x04, x, y */

/* Borrowed for the call. */
struct release_request {
    const char *key_service_url;
    const char *ca_file; /* NULL: the system's */
    const char *user;
    const char *password;
    const char *totp; /* six digits of the account's app, or a recovery code; NULL: none */
    uint32_t timeout_s;
    const struct id *id;
    enum cobble_suite suite;
};

/* Nothing was said: the account has a second factor, ask for its code. */
#define RELEASE_CODE_NEEDED (-1)

/* An exit status, or RELEASE_CODE_NEEDED where `totp` is NULL. */
MUST_USE int release_fetch(const struct release_request *request,
                           uint8_t key[COBBLE_KEY_BYTES_MAX]);

/* What the service wrapped, and for whom; for release_unwrap() and its tests. */
struct release_wrapped {
    const struct id *id;
    uint8_t their_point[RELEASE_POINT_BYTES];
    uint8_t our_point[RELEASE_POINT_BYTES];
    const uint8_t *sealed; /* key_bytes and a tag of 16 */
    size_t sealed_bytes;
    size_t key_bytes;
};

/* `our_pair` is an EVP_PKEY *. -EBADMSG for a point off the curve, a wrong length, a wrong tag. */
MUST_USE int release_unwrap(void *our_pair, const struct release_wrapped *wrapped,
                            uint8_t key[COBBLE_KEY_BYTES_MAX]);

#endif
