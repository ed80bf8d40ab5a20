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

void cobble_open_burst(struct crypto_core *core, enum cobble_suite suite,
                       struct cobble_opening *openings, uint32_t openings_count)
{
    struct cobble cobbles[COBBLE_DERIVE_BURST_MAX];
    struct cobble_derivation derivations[COBBLE_DERIVE_BURST_MAX];
    uint32_t which[COBBLE_DERIVE_BURST_MAX];
    uint32_t count = 0;
    ASSERT(openings_count <= COBBLE_DERIVE_BURST_MAX);
    for (uint32_t i = 0; i < openings_count; i++) {
        openings[i].rc = -EBADMSG;
        if (openings[i].sealed_bytes < COBBLE_HEADER_BYTES + COBBLE_TAG_BYTES)
            continue;
        derivations[count] = (struct cobble_derivation){
            .suite = suite,
            .key = openings[i].key,
            .salt = openings[i].sealed,
            .context = openings[i].context,
            .context_bytes = openings[i].context_bytes,
            .cobble = &cobbles[count],
        };
        which[count++] = i;
    }
    if (count > 0)
        cobble_derive_burst(core, derivations, count);
    for (uint32_t n = 0; n < count; n++) {
        struct cobble_opening *opening = &openings[which[n]];
        const uint8_t *sealed = opening->sealed;
        if (ct_equal(derivations[n].commitment, sealed + COBBLE_SALT_BYTES,
                     COBBLE_COMMITMENT_BYTES))
            opening->rc =
                cobble_open(core, &cobbles[n], opening->plain, sealed + COBBLE_HEADER_BYTES,
                            opening->sealed_bytes - COBBLE_HEADER_BYTES, true,
                            &opening->plain_bytes);
        secret_wipe(derivations[n].commitment, sizeof(derivations[n].commitment));
        cobble_wipe(&cobbles[n]);
    }
}

int cobble_open_message(struct crypto_core *core, enum cobble_suite suite, const uint8_t *key,
                        const uint8_t *context, uint32_t context_bytes, const uint8_t *sealed,
                        size_t sealed_bytes, uint8_t *plain, size_t *plain_bytes)
{
    ASSERT(plain_bytes != NULL);
    struct cobble_opening opening = {
        .key = key,
        .context = context,
        .context_bytes = context_bytes,
        .sealed = sealed,
        .sealed_bytes = sealed_bytes,
        .plain = plain,
    };
    cobble_open_burst(core, suite, &opening, 1);
    if (opening.rc == 0)
        *plain_bytes = opening.plain_bytes;
    return opening.rc;
}

void cobble_wipe(struct cobble *cobble)
{
    secret_wipe(cobble, sizeof(*cobble));
    cobble->chunk_index = COBBLE_CLOSED;
}
