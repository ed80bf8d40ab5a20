#include "crypto/cobblestone.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "crypto/core_internal.h"
#include "crypto/gcm_internal.h"
#include "crypto/hkdf_internal.h"
#include "crypto/secret.h"

#include <errno.h>
#include <string.h>

_Static_assert(COBBLE_EXPANDED_BYTES == GCM_EXPANDED_BYTES, "one size of expanded key");
_Static_assert(COBBLE_DERIVE_BURST_MAX == CORE_DERIVE_BURST, "the core has room for a burst");
_Static_assert(COBBLE_KEY_BYTES_MAX + COBBLE_NONCE_BYTES + COBBLE_COMMITMENT_BYTES ==
                   CORE_OKM_BYTES,
               "and for what it derives");

/* C2SP chunked-encryption: the counter stays below 2^38, 4 PiB of plaintext. */
#define CHUNKS_MAX (UINT64_C(1) << 38)

#define NUMBER_SHIFT 32 /* chunks of one number */
_Static_assert(COBBLE_NUMBERS_MAX <= CHUNKS_MAX >> NUMBER_SHIFT, "all numbers' chunks are there");
_Static_assert(COBBLE_NUMBERS_MAX <= 32, "a bit for each");

#define INFO_PREFIX       "c2sp.org/chunked-encryption@v1+"
#define INFO_PREFIX_BYTES (sizeof(INFO_PREFIX) - 1)
#define AEAD_NAME         "AEAD_AES_256_GCM" /* each suite's name is as long */
#define AEAD_NAME_BYTES   (sizeof(AEAD_NAME) - 1)
#define INFO_BYTES_MAX                                                                             \
    (INFO_PREFIX_BYTES + AEAD_NAME_BYTES + 1 + COBBLE_SALT_BYTES + COBBLE_CONTEXT_BYTES_MAX)
_Static_assert(INFO_BYTES_MAX <= HKDF_INFO_BYTES_MAX, "info has room");

static const struct gcm_aad NO_AAD = {.bytes_at = NULL, .bytes = 0};

static const char *aead_name(enum cobble_suite suite)
{
    switch (suite) {
    case COBBLE_AES_256: return "AEAD_AES_256_GCM";
    case COBBLE_AES_192: return "AEAD_AES_192_GCM";
    case COBBLE_AES_128: return "AEAD_AES_128_GCM";
    }
    assert_failed("a suite outside its enum", __FILE__, __LINE__);
}

/* info = prefix || aead || 0x00 || salt || context. Returns its bytes. */
static uint32_t info_build(uint8_t info[INFO_BYTES_MAX], const struct cobble_derivation *derivation)
{
    ASSERT(derivation->context_bytes <= COBBLE_CONTEXT_BYTES_MAX);
    uint8_t *at = info;
    memcpy(at, INFO_PREFIX, INFO_PREFIX_BYTES);
    at += INFO_PREFIX_BYTES;
    memcpy(at, aead_name(derivation->suite), AEAD_NAME_BYTES + 1);
    at += AEAD_NAME_BYTES + 1;
    memcpy(at, derivation->salt, COBBLE_SALT_BYTES);
    at += COBBLE_SALT_BYTES;
    if (derivation->context_bytes > 0)
        memcpy(at, derivation->context, derivation->context_bytes);
    at += derivation->context_bytes;
    return (uint32_t)(at - info);
}

/* key || base nonce || commitment; the key's turn comes with the others'. */
static void derivation_finish(struct cobble_derivation *derivation, const uint8_t *okm)
{
    struct cobble *cobble = derivation->cobble;
    const uint32_t key_bytes = cobble_key_bytes(derivation->suite);
    memcpy(cobble->base_nonce, okm + key_bytes, COBBLE_NONCE_BYTES);
    memcpy(derivation->commitment, okm + key_bytes + COBBLE_NONCE_BYTES, COBBLE_COMMITMENT_BYTES);
    cobble->suite = derivation->suite;
    cobble->chunk_index = 0;
    cobble->numbers = 0;
}

void cobble_derive_burst(struct crypto_core *core, struct cobble_derivation *derivations,
                         uint32_t derivations_count)
{
    cobble_derive_burst_while(core, derivations, derivations_count, NULL, NULL);
}

void cobble_derive_burst_while(struct crypto_core *core, struct cobble_derivation *derivations,
                               uint32_t derivations_count, void (*step)(void *user), void *user)
{
    const struct hkdf_meanwhile meanwhile = {.step = step, .user = user};
    ASSERT(derivations_count <= COBBLE_DERIVE_BURST_MAX);
    if (derivations_count == 0)
        return;
    uint8_t infos[COBBLE_DERIVE_BURST_MAX][INFO_BYTES_MAX];
    struct hkdf_expansion expansions[COBBLE_DERIVE_BURST_MAX];
    struct gcm_expansion keys[COBBLE_DERIVE_BURST_MAX];
    uint8_t(*okm)[CORE_OKM_BYTES] = core->secrets->okm;

    for (uint32_t i = 0; i < derivations_count; i++) {
        const struct cobble_derivation *derivation = &derivations[i];
        const uint32_t key_bytes = cobble_key_bytes(derivation->suite);
        expansions[i] = (struct hkdf_expansion){
            .prk = derivation->key,
            .prk_bytes = key_bytes,
            .info = infos[i],
            .info_bytes = info_build(infos[i], derivation),
            .okm = okm[i],
            .okm_bytes = key_bytes + COBBLE_NONCE_BYTES + COBBLE_COMMITMENT_BYTES,
        };
    }
    hkdf_expand_burst(core, expansions, derivations_count, step == NULL ? NULL : &meanwhile);
    for (uint32_t i = 0; i < derivations_count; i++) {
        derivation_finish(&derivations[i], okm[i]);
        keys[i] = (struct gcm_expansion){
            .expanded = derivations[i].cobble->expanded,
            .key = okm[i],
            .key_bytes = expansions[i].prk_bytes,
        };
    }
    gcm_expand_burst(core, keys, derivations_count);
    secret_wipe(okm, derivations_count * sizeof(okm[0]));
}

/* base nonce XOR chunk index, big-endian and as wide as the nonce. */
static void chunk_nonce(const struct cobble *cobble, uint8_t nonce[COBBLE_NONCE_BYTES])
{
    memcpy(nonce, cobble->base_nonce, COBBLE_NONCE_BYTES);
    bytes_store_be64(nonce + 4, bytes_load_be64(nonce + 4) ^ cobble->chunk_index);
}

static void chunk_seal(struct crypto_core *core, struct cobble *cobble, uint8_t *sealed,
                       const uint8_t *plain, size_t plain_bytes)
{
    uint8_t nonce[COBBLE_NONCE_BYTES];
    ASSERT(cobble->chunk_index < CHUNKS_MAX); /* neither closed nor worn out */
    chunk_nonce(cobble, nonce);
    gcm_seal(core, cobble->expanded, cobble_key_bytes((enum cobble_suite)cobble->suite), nonce,
             NO_AAD, sealed, plain, plain_bytes);
    cobble->chunk_index++;
}

size_t cobble_seal(struct crypto_core *core, struct cobble *cobble, uint8_t *sealed,
                   const uint8_t *plain, size_t plain_bytes, bool last)
{
    const size_t chunks_count = plain_bytes / COBBLE_CHUNK_BYTES;
    const size_t rest_bytes = plain_bytes % COBBLE_CHUNK_BYTES;
    ASSERT(cobble->chunk_index != COBBLE_CLOSED);
    ASSERT(last || rest_bytes == 0);

    uint8_t *at = sealed;
    for (size_t i = 0; i < chunks_count; i++) {
        chunk_seal(core, cobble, at, plain, COBBLE_CHUNK_BYTES);
        at += COBBLE_SEALED_CHUNK_BYTES;
        plain += COBBLE_CHUNK_BYTES;
    }
    if (last) {
        chunk_seal(core, cobble, at, plain, rest_bytes);
        at += rest_bytes + COBBLE_TAG_BYTES;
        cobble->chunk_index = COBBLE_CLOSED;
    }
    return (size_t)(at - sealed);
}

size_t cobble_seal_numbered(struct crypto_core *core, struct cobble *cobble, uint32_t number,
                            uint8_t *sealed, const uint8_t *plain, size_t plain_bytes)
{
    const uint32_t bit = UINT32_C(1) << (number % COBBLE_NUMBERS_MAX);
    ASSERT(number < COBBLE_NUMBERS_MAX);
    ASSERT((cobble->numbers & bit) == 0); /* or its nonces would come again */
    /* And none of them was used by cobble_seal(). */
    ASSERT(cobble->chunk_index == (cobble->numbers == 0 ? 0 : COBBLE_CLOSED));
    ASSERT(plain_bytes / COBBLE_CHUNK_BYTES < UINT64_C(1) << NUMBER_SHIFT);
    cobble->numbers |= bit;
    cobble->chunk_index = (uint64_t)number << NUMBER_SHIFT;
    return cobble_seal(core, cobble, sealed, plain, plain_bytes, true);
}

static bool chunk_open(struct crypto_core *core, struct cobble *cobble, uint8_t *plain,
                       const uint8_t *sealed, size_t plain_bytes)
{
    uint8_t nonce[COBBLE_NONCE_BYTES];
    if (cobble->chunk_index >= CHUNKS_MAX)
        return false;
    chunk_nonce(cobble, nonce);
    cobble->chunk_index++;
    return gcm_open(core, cobble->expanded, cobble_key_bytes((enum cobble_suite)cobble->suite),
                    nonce, NO_AAD, plain, sealed, plain_bytes);
}

int cobble_open(struct crypto_core *core, struct cobble *cobble, uint8_t *plain,
                const uint8_t *sealed, size_t sealed_bytes, bool last, size_t *plain_bytes)
{
    const size_t chunks_count = sealed_bytes / COBBLE_SEALED_CHUNK_BYTES;
    const size_t rest_bytes = sealed_bytes % COBBLE_SEALED_CHUNK_BYTES;
    uint8_t *at = plain;
    /* A message that is over stays so, even for a call that brings nothing. */
    if (cobble->chunk_index == COBBLE_CLOSED)
        goto refuse;
    /* A last chunk without room for its tag, or as long as a whole one, is a cut message. */
    if (last ? rest_bytes < COBBLE_TAG_BYTES : rest_bytes != 0)
        goto refuse;
    for (size_t i = 0; i < chunks_count; i++) {
        if (!chunk_open(core, cobble, at, sealed, COBBLE_CHUNK_BYTES))
            goto refuse;
        at += COBBLE_CHUNK_BYTES;
        sealed += COBBLE_SEALED_CHUNK_BYTES;
    }
    if (last) {
        if (!chunk_open(core, cobble, at, sealed, rest_bytes - COBBLE_TAG_BYTES))
            goto refuse;
        at += rest_bytes - COBBLE_TAG_BYTES;
        cobble->chunk_index = COBBLE_CLOSED;
    }
    *plain_bytes = (size_t)(at - plain);
    return 0;

refuse:
    /* All of this call or nothing: gcm_open() has cleared the chunk that failed, this clears those
     * before it. And what comes after a fault is never opened. */
    secret_wipe(plain, (size_t)(at - plain));
    cobble->chunk_index = COBBLE_CLOSED;
    return -EBADMSG;
}

int cobble_open_numbered(struct crypto_core *core, struct cobble *cobble, uint32_t number,
                         uint8_t *plain, const uint8_t *sealed, size_t sealed_bytes,
                         size_t *plain_bytes)
{
    ASSERT(number < COBBLE_NUMBERS_MAX);
    cobble->chunk_index = (uint64_t)number << NUMBER_SHIFT;
    return cobble_open(core, cobble, plain, sealed, sealed_bytes, true, plain_bytes);
}
