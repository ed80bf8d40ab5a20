/* fuzz: links crypto base */
#include "base/assert.h"
#include "base/bytes.h"
#include "crypto/cobblestone.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_BYTES_MAX (1 << 20)
#define HEAD_BYTES      16

static struct crypto_core *core_once(void)
{
    static struct crypto_core *core;
    if (core == NULL) {
        const int rc = crypto_core_open(&core, isa_best());
        ASSERT(rc == 0);
    }
    return core;
}

static const uint8_t key[COBBLE_KEY_BYTES_MAX] = "a key only a fuzzer would use";

/* Bytes from anywhere never open, and never leave a byte behind. */
static void check_hostile(enum cobble_suite suite, const uint8_t *sealed, size_t sealed_bytes)
{
    uint8_t *copy = malloc(sealed_bytes + 1);
    uint8_t *plain = calloc(1, sealed_bytes + 1);
    size_t plain_bytes = 0;
    ASSERT(copy != NULL && plain != NULL);
    memcpy(copy + 1, sealed, sealed_bytes);
    const int rc = cobble_open_message(core_once(), suite, key, NULL, 0, copy + 1, sealed_bytes,
                                       plain, &plain_bytes);
    ASSERT(rc == -EBADMSG);
    ASSERT(plain_bytes == 0);
    for (size_t i = 0; i <= sealed_bytes; i++)
        ASSERT(plain[i] == 0);
    free(copy);
    free(plain);
}

/* Sealed in slices and opened in others, a message comes back; with one byte changed it does not.
 */
static void check_round_trip(enum cobble_suite suite, const uint8_t *head, const uint8_t *plain,
                             size_t plain_bytes)
{
    struct crypto_core *core = core_once();
    const size_t chunks_first = MIN((size_t)head[1] % 8, plain_bytes / COBBLE_CHUNK_BYTES);
    const size_t first_bytes = chunks_first * COBBLE_CHUNK_BYTES;
    const size_t sealed_bytes = COBBLE_HEADER_BYTES + cobble_sealed_bytes(plain_bytes);
    uint8_t *sealed = malloc(sealed_bytes);
    uint8_t *opened = calloc(1, sealed_bytes);
    struct cobble cobble;
    ASSERT(sealed != NULL && opened != NULL);
    crypto_random(core, sealed, COBBLE_SALT_BYTES);
    struct cobble_derivation derivation = {
        .suite = suite,
        .key = key,
        .salt = sealed,
        .context = head,
        .context_bytes = head[2] % (HEAD_BYTES + 1u),
        .cobble = &cobble,
    };
    cobble_derive_burst(core, &derivation, 1);
    memcpy(sealed + COBBLE_SALT_BYTES, derivation.commitment, COBBLE_COMMITMENT_BYTES);
    uint8_t *at = sealed + COBBLE_HEADER_BYTES;
    at += cobble_seal(core, &cobble, at, plain, first_bytes, false);
    at += cobble_seal(core, &cobble, at, plain + first_bytes, plain_bytes - first_bytes, true);
    ASSERT((size_t)(at - sealed) == sealed_bytes);

    size_t opened_bytes = 0;
    int rc = cobble_open_message(core, suite, key, head, derivation.context_bytes, sealed,
                                 sealed_bytes, opened, &opened_bytes);
    ASSERT(rc == 0);
    ASSERT(opened_bytes == plain_bytes);
    ASSERT(memcmp(opened, plain, plain_bytes) == 0);

    const size_t place = bytes_load_le32(head + 4) % sealed_bytes;
    sealed[place] ^= head[8] == 0 ? 1 : head[8];
    memset(opened, 0, sealed_bytes);
    rc = cobble_open_message(core, suite, key, head, derivation.context_bytes, sealed, sealed_bytes,
                             opened, &opened_bytes);
    ASSERT(rc == -EBADMSG);
    for (size_t i = 0; i < sealed_bytes; i++)
        ASSERT(opened[i] == 0);
    cobble_wipe(&cobble);
    free(sealed);
    free(opened);
}

/* 16 bytes of choices, then a sealed message to refuse, which is also a message to seal. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD_BYTES || size > INPUT_BYTES_MAX)
        return 0;
    const enum cobble_suite suite = (enum cobble_suite)(COBBLE_AES_256 + data[0] % 3);
    check_hostile(suite, data + HEAD_BYTES, size - HEAD_BYTES);
    check_round_trip(suite, data, data + HEAD_BYTES, size - HEAD_BYTES);
    return 0;
}
