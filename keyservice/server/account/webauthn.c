#include "keyservice/server/account/webauthn.h"

#include "base/assert.h"
#include "crypto/secret.h"

#include <errno.h>
#include <fido.h>
#include <fido/eddsa.h>
#include <fido/es256.h>
#include <fido/rs256.h>
#include <jansson.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

/* Authenticator data begins with SHA-256 of the relying party's id, a byte of flags, a counter. */
#define FLAGS_AT           32
#define DATA_BYTES_MIN     37
#define FLAG_PRESENT       0x01
#define FLAG_VERIFIED      0x04
#define FLAG_CREDENTIAL    0x40
#define ATTESTED_AT        37 /* AAGUID, length, credential; then its key */
#define ATTESTED_BYTES     18
#define CBOR_ITEMS_MAX     64 /* heads of one data, and items that one of them declares */
#define CLIENT_NESTING_MAX 8  /* brackets of one client data: it is flat but for what may come */

void webauthn_party_fill(struct webauthn_party *party, const char *public_url)
{
    static const char port[] = ":443"; /* a browser does not name it */
    static const char scheme[] = "https://";
    ASSERT(strncmp(public_url, scheme, sizeof(scheme) - 1) == 0);
    config_url_host(public_url, party->id);
    const size_t chars = sizeof(scheme) - 1 + strcspn(public_url + sizeof(scheme) - 1, "/?#");
    (void)snprintf(party->origin, sizeof(party->origin), "%.*s", (int)chars, public_url);
    const size_t origin_chars = strlen(party->origin);
    if (origin_chars > sizeof(port) &&
        strcmp(party->origin + origin_chars - (sizeof(port) - 1), port) == 0)
        party->origin[origin_chars - (sizeof(port) - 1)] = '\0';
}

void webauthn_id(uint8_t id[STORE_ID_BYTES], const uint8_t *credential, size_t credential_bytes)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    (void)SHA256(credential, credential_bytes, digest);
    memcpy(id, digest, STORE_ID_BYTES);
}

static bool member_is(const json_t *root, const char *name, const char *wanted)
{
    const char *text = json_string_value(json_object_get(root, name));
    return text != NULL && strcmp(text, wanted) == 0;
}

int webauthn_client(const struct webauthn_party *party, const char *type,
                    struct webauthn_bytes client, char challenge[WEBAUTHN_CHALLENGE_CHARS + 1])
{
    uint32_t brackets = 0;
    for (size_t i = 0; i < client.bytes; i++)
        brackets += client.at[i] == '{' || client.at[i] == '[';
    if (client.bytes > WEBAUTHN_CLIENT_BYTES_MAX || brackets > CLIENT_NESTING_MAX)
        return -EACCES;
    json_t *root = json_loadb((const char *)client.at, client.bytes, JSON_REJECT_DUPLICATES, NULL);
    const char *text = json_string_value(json_object_get(root, "challenge"));
    const json_t *cross = json_object_get(root, "crossOrigin");
    const bool fine = member_is(root, "type", type) && member_is(root, "origin", party->origin) &&
                      (cross == NULL || json_is_false(cross)) && text != NULL &&
                      strlen(text) == WEBAUTHN_CHALLENGE_CHARS;
    if (fine)
        memcpy(challenge, text, WEBAUTHN_CHALLENGE_CHARS + 1);
    json_decref(root);
    return fine ? 0 : -EACCES;
}

/* The number that a head of CBOR has (RFC 8949, 3); 0: none that CTAP2 lets a program write. */
static size_t cbor_head(const uint8_t *at, size_t bytes, uint64_t *number)
{
    const uint8_t more = at[0] & 31;
    const size_t wide = more < 24 ? 0 : (size_t)1 << (more - 24);
    if (more > 27 || wide >= bytes)
        return 0;
    *number = wide == 0 ? more : 0;
    for (size_t i = 0; i < wide; i++)
        *number = *number << 8 | at[1 + i];
    return 1 + wide;
}

/* Few items in all, each as long as there are bytes: libcbor allocates what a head declares before
 * it looks whether anything follows. How they nest is libfido2's to see. */
static bool cbor_small(const uint8_t *at, size_t bytes)
{
    for (uint32_t n = 0; n < CBOR_ITEMS_MAX && bytes > 0; n++) {
        uint64_t number = 0;
        const uint8_t kind = at[0] >> 5;
        size_t used = cbor_head(at, bytes, &number);
        if (used == 0)
            return false;
        if ((kind == 2 || kind == 3) && number > bytes - used)
            return false;
        if ((kind == 4 || kind == 5) && number > CBOR_ITEMS_MAX)
            return false;
        if (kind == 2 || kind == 3)
            used += (size_t)number;
        at += used;
        bytes -= used;
    }
    return bytes == 0;
}

/* What stands behind the counter: a credential with its key, extensions. */
static bool data_small(struct webauthn_bytes data)
{
    size_t used = ATTESTED_AT;
    if ((data.at[FLAGS_AT] & FLAG_CREDENTIAL) != 0) {
        if (data.bytes < ATTESTED_AT + ATTESTED_BYTES)
            return false;
        const uint8_t *length = data.at + ATTESTED_AT + ATTESTED_BYTES - 2;
        used += ATTESTED_BYTES + ((size_t)length[0] << 8 | length[1]);
    }
    return used <= data.bytes && cbor_small(data.at + used, data.bytes - used);
}

/* For this relying party, by somebody who was there and proved who they are. */
static bool data_sound(const struct webauthn_party *party, struct webauthn_bytes data,
                       uint8_t flags)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    if (data.bytes < DATA_BYTES_MIN || data.bytes > WEBAUTHN_DATA_BYTES_MAX)
        return false;
    (void)SHA256((const uint8_t *)party->id, strlen(party->id), digest);
    flags |= FLAG_PRESENT | FLAG_VERIFIED;
    return ct_equal(digest, data.at, sizeof(digest)) && (data.at[FLAGS_AT] & flags) == flags &&
           data_small(data);
}

/* A credential of libfido2 that has read the data, or NULL: its algorithm has to be told first. */
static fido_cred_t *cred_read(struct webauthn_bytes data, int algorithm)
{
    fido_cred_t *cred = fido_cred_new();
    if (cred != NULL && fido_cred_set_type(cred, algorithm) == FIDO_OK &&
        fido_cred_set_authdata_raw(cred, data.at, data.bytes) == FIDO_OK)
        return cred;
    fido_cred_free(&cred);
    return NULL;
}

int webauthn_register(const struct webauthn_party *party, struct webauthn_bytes client,
                      struct webauthn_bytes data, struct store_passkey *passkey)
{
    static const int algorithms[] = {COSE_ES256, COSE_EDDSA, COSE_RS256};
    fido_cred_t *cred = NULL;
    (void)client; /* looked at by webauthn_client(); without attestation nothing signs it */
    if (!data_sound(party, data, FLAG_CREDENTIAL))
        return -EACCES;
    for (size_t i = 0; i < ARRAY_COUNT(algorithms) && cred == NULL; i++)
        cred = cred_read(data, algorithms[i]);
    if (cred == NULL)
        return -ENOTSUP;
    const size_t credential_bytes = fido_cred_id_len(cred);
    const size_t key_bytes = fido_cred_pubkey_len(cred);
    int rc = credential_bytes == 0 || credential_bytes > sizeof(passkey->credential) ||
                     key_bytes == 0 || key_bytes > sizeof(passkey->public_key)
                 ? -EACCES
                 : 0;
    if (rc == 0) {
        memcpy(passkey->credential, fido_cred_id_ptr(cred), credential_bytes);
        memcpy(passkey->public_key, fido_cred_pubkey_ptr(cred), key_bytes);
        passkey->credential_bytes = credential_bytes;
        passkey->public_key_bytes = key_bytes;
        passkey->algorithm = fido_cred_type(cred);
        passkey->counter = fido_cred_sigcount(cred);
        webauthn_id(passkey->id, passkey->credential, credential_bytes);
    }
    fido_cred_free(&cred);
    return rc;
}

/* By the stored key, which libfido2 takes apart once more and refuses if it can be none. */
static bool signature_right(const fido_assert_t *assertion, const struct store_passkey *passkey)
{
    const uint8_t *at = passkey->public_key;
    const size_t bytes = passkey->public_key_bytes;
    es256_pk_t *es256 = passkey->algorithm == COSE_ES256 ? es256_pk_new() : NULL;
    eddsa_pk_t *eddsa = passkey->algorithm == COSE_EDDSA ? eddsa_pk_new() : NULL;
    rs256_pk_t *rs256 = passkey->algorithm == COSE_RS256 ? rs256_pk_new() : NULL;
    const void *key = NULL;
    if (es256 != NULL && es256_pk_from_ptr(es256, at, bytes) == FIDO_OK)
        key = es256;
    else if (eddsa != NULL && eddsa_pk_from_ptr(eddsa, at, bytes) == FIDO_OK)
        key = eddsa;
    else if (rs256 != NULL && rs256_pk_from_ptr(rs256, at, bytes) == FIDO_OK)
        key = rs256;
    const bool right =
        key != NULL && fido_assert_verify(assertion, 0, passkey->algorithm, key) == FIDO_OK;
    es256_pk_free(&es256);
    eddsa_pk_free(&eddsa);
    rs256_pk_free(&rs256);
    return right;
}

int webauthn_assert(const struct webauthn_party *party, const struct store_passkey *passkey,
                    struct webauthn_bytes client, struct webauthn_bytes data,
                    struct webauthn_bytes signature, uint32_t *counter)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    if (!data_sound(party, data, 0) || signature.bytes == 0 ||
        signature.bytes > WEBAUTHN_SIGNATURE_BYTES_MAX)
        return -EACCES;
    (void)SHA256(client.at, client.bytes, digest);
    fido_assert_t *assertion = fido_assert_new();
    if (assertion == NULL)
        return -ENOMEM;
    const bool fine =
        fido_assert_set_count(assertion, 1) == FIDO_OK &&
        fido_assert_set_clientdata_hash(assertion, digest, sizeof(digest)) == FIDO_OK &&
        fido_assert_set_rp(assertion, party->id) == FIDO_OK &&
        fido_assert_set_up(assertion, FIDO_OPT_TRUE) == FIDO_OK &&
        fido_assert_set_uv(assertion, FIDO_OPT_TRUE) == FIDO_OK &&
        fido_assert_set_authdata_raw(assertion, 0, data.at, data.bytes) == FIDO_OK &&
        fido_assert_set_sig(assertion, 0, signature.at, signature.bytes) == FIDO_OK &&
        signature_right(assertion, passkey);
    if (fine)
        *counter = fido_assert_sigcount(assertion, 0);
    fido_assert_free(&assertion);
    return fine ? 0 : -EACCES;
}
