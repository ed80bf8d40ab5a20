#include "crypto/cobblestone.h"

#include "base/assert.h"
#include "crypto/secret.h"

#include <errno.h>
#include <string.h>

uint32_t cobble_key_bytes(enum cobble_suite suite)
{
    switch (suite) {
    case COBBLE_AES_256: return 32;
    case COBBLE_AES_192: return 24;
    case COBBLE_AES_128: return 16;
    }
    assert_failed("a suite outside its enum", __FILE__, __LINE__);
}

size_t cobble_sealed_bytes(size_t plain_bytes)
{
    /* The last chunk is always shorter than a whole one, so there is always one more. */
    const size_t chunks_count = plain_bytes / COBBLE_CHUNK_BYTES + 1;
    return plain_bytes + chunks_count * COBBLE_TAG_BYTES;
}

int cobble_open_message(struct crypto_core *core, enum cobble_suite suite, const uint8_t *key,
                        const uint8_t *context, uint32_t context_bytes, const uint8_t *sealed,
                        size_t sealed_bytes, uint8_t *plain, size_t *plain_bytes)
{
    ASSERT(plain_bytes != NULL);
    if (sealed_bytes < COBBLE_HEADER_BYTES + COBBLE_TAG_BYTES)
        return -EBADMSG;

    struct cobble cobble;
    struct cobble_derivation derivation = {
        .suite = suite,
        .key = key,
        .salt = sealed,
        .context = context,
        .context_bytes = context_bytes,
        .cobble = &cobble,
    };
    cobble_derive_burst(core, &derivation, 1);
    int rc = -EBADMSG;
    if (ct_equal(derivation.commitment, sealed + COBBLE_SALT_BYTES, COBBLE_COMMITMENT_BYTES))
        rc = cobble_open(core, &cobble, plain, sealed + COBBLE_HEADER_BYTES,
                         sealed_bytes - COBBLE_HEADER_BYTES, true, plain_bytes);
    secret_wipe(derivation.commitment, sizeof(derivation.commitment));
    cobble_wipe(&cobble);
    return rc;
}

void cobble_wipe(struct cobble *cobble)
{
    secret_wipe(cobble, sizeof(*cobble));
    cobble->chunk_index = COBBLE_CLOSED;
}
