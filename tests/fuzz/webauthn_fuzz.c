/* fuzz: links keyd */
/*
 * What a browser sends of a passkey: 'c' and client data; 'r' and a registration's authenticator
 * data; 'a', a letter for the algorithm, two lengths of two bytes, little-endian, a stored key and
 * authenticator data of these, and a signature. The data is made to be for this relying party, so
 * that what libfido2 reads of it is reached. Client data beside a signature is always the same.
 */
#include "base/assert.h"
#include "base/bytes.h"
#include "keyservice/server/account/webauthn.h"

#include <errno.h>
#include <fido.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#define FLAGS      0x05 /* present, verified */
#define HEAD_BYTES 5    /* algorithm and two lengths */
#define CLIENT     "{\"type\":\"webauthn.get\"}"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void client_try(const struct webauthn_party *party, struct webauthn_bytes client)
{
    static const char *const types[] = {"webauthn.create", "webauthn.get"};
    for (size_t i = 0; i < ARRAY_COUNT(types); i++) {
        char challenge[WEBAUTHN_CHALLENGE_CHARS + 1];
        const int rc = webauthn_client(party, types[i], client, challenge);
        ASSERT(rc == 0 || rc == -EACCES);
        ASSERT(rc != 0 || strlen(challenge) == WEBAUTHN_CHALLENGE_CHARS);
    }
}

/* A copy of their exact size, for the party and with the flags; the caller frees it. */
static uint8_t *data_make(const struct webauthn_party *party, const uint8_t *at, size_t bytes)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    uint8_t *copy = malloc(MAX(bytes, (size_t)1));
    if (copy == NULL)
        return NULL;
    if (bytes > 0)
        memcpy(copy, at, bytes);
    (void)SHA256((const uint8_t *)party->id, strlen(party->id), digest);
    memcpy(copy, digest, MIN(bytes, sizeof(digest)));
    if (bytes > sizeof(digest))
        copy[sizeof(digest)] |= FLAGS;
    return copy;
}

static void register_try(const struct webauthn_party *party, const uint8_t *at, size_t bytes)
{
    struct store_passkey passkey = {.credential_bytes = 0};
    uint8_t *copy = data_make(party, at, bytes);
    if (copy == NULL)
        return;
    const struct webauthn_bytes none = {.at = copy, .bytes = 0};
    const struct webauthn_bytes made = {.at = copy, .bytes = bytes};
    const int rc = webauthn_register(party, none, made, &passkey);
    ASSERT(rc == 0 || rc == -EACCES || rc == -ENOTSUP);
    if (rc == 0) {
        ASSERT(passkey.credential_bytes > 0);
        ASSERT(passkey.credential_bytes <= sizeof(passkey.credential));
        ASSERT(passkey.public_key_bytes > 0);
        ASSERT(passkey.public_key_bytes <= sizeof(passkey.public_key));
    }
    free(copy);
}

static void assert_try(const struct webauthn_party *party, const uint8_t *at, size_t bytes)
{
    struct store_passkey passkey = {.credential_bytes = 0};
    uint32_t counter = 0;
    if (bytes < HEAD_BYTES)
        return;
    const size_t key_bytes = MIN((size_t)bytes_load_le16(at + 1), sizeof(passkey.public_key));
    const size_t data_bytes = bytes_load_le16(at + 3);
    if (key_bytes + data_bytes > bytes - HEAD_BYTES)
        return;
    passkey.algorithm = at[0] == 'e' ? COSE_ES256 : at[0] == 'd' ? COSE_EDDSA : COSE_RS256;
    memcpy(passkey.public_key, at + HEAD_BYTES, key_bytes);
    passkey.public_key_bytes = key_bytes;
    uint8_t *copy = data_make(party, at + HEAD_BYTES + key_bytes, data_bytes);
    if (copy == NULL)
        return;
    const size_t used = HEAD_BYTES + key_bytes + data_bytes;
    const struct webauthn_bytes client = {.at = (const uint8_t *)CLIENT,
                                          .bytes = sizeof(CLIENT) - 1};
    const struct webauthn_bytes made = {.at = copy, .bytes = data_bytes};
    const struct webauthn_bytes signature = {.at = at + used, .bytes = bytes - used};
    const int rc = webauthn_assert(party, &passkey, client, made, signature, &counter);
    ASSERT(rc == 0 || rc == -EACCES || rc == -ENOMEM);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct webauthn_party party;
    if (bytes == 0)
        return 0;
    fido_init(0);
    webauthn_party_fill(&party, "https://keys.example");
    if (data[0] == 'r')
        register_try(&party, data + 1, bytes - 1);
    else if (data[0] == 'a')
        assert_try(&party, data + 1, bytes - 1);
    else
        client_try(&party, (struct webauthn_bytes){.at = data + 1, .bytes = bytes - 1});
    return 0;
}
