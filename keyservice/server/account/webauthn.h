/*
 * webauthn: is this credential's registration, or its assertion, what was asked for?
 * Ownership: borrows; a key is the caller's memory.
 * Threads:   any.
 * Units:     bytes; counters as the authenticator counts.
 * Errors:    -EACCES for whatever does not verify, -ENOTSUP for an algorithm that is not ours.
 *
 * W3C Web Authentication level 2, 7.1 and 7.2: type, challenge, origin, relying party, user present
 * and verified. Authenticator data and signatures are read and checked by libfido2. Attestation is
 * neither asked for nor believed: a credential says which key its owner chose, and no more.
 */
#ifndef KEYSERVICE_SERVER_ACCOUNT_WEBAUTHN_H
#define KEYSERVICE_SERVER_ACCOUNT_WEBAUTHN_H

#include "base/macros.h"
#include "keyservice/server/config.h"
#include "keyservice/server/store/store_person.h"

#include <stddef.h>
#include <stdint.h>

#define WEBAUTHN_CLIENT_BYTES_MAX    4096
#define WEBAUTHN_DATA_BYTES_MAX      4096
#define WEBAUTHN_SIGNATURE_BYTES_MAX 1024
#define WEBAUTHN_CHALLENGE_CHARS     86

/* Whom credentials belong to: the host and the origin of the service's public address. */
struct webauthn_party {
    char id[CONFIG_TEXT_BYTES];
    char origin[CONFIG_TEXT_BYTES];
};
void webauthn_party_fill(struct webauthn_party *party, const char *public_url);

struct webauthn_bytes {
    const uint8_t *at;
    size_t bytes;
};

/* The challenge that the client data answers, as it was sent; `type` is "webauthn.create" or
 * ".get".
 */
MUST_USE int webauthn_client(const struct webauthn_party *party, const char *type,
                             struct webauthn_bytes client,
                             char challenge[WEBAUTHN_CHALLENGE_CHARS + 1]);

/* Fills id, algorithm, credential, public key and counter. */
MUST_USE int webauthn_register(const struct webauthn_party *party, struct webauthn_bytes client,
                               struct webauthn_bytes data, struct store_passkey *passkey);

MUST_USE int webauthn_assert(const struct webauthn_party *party,
                             const struct store_passkey *passkey, struct webauthn_bytes client,
                             struct webauthn_bytes data, struct webauthn_bytes signature,
                             uint32_t *counter);

/* How the service names a credential. */
void webauthn_id(uint8_t id[STORE_ID_BYTES], const uint8_t *credential, size_t credential_bytes);

#endif
