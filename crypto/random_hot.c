#include "base/assert.h"
#include "base/bytes.h"
#include "crypto/core_internal.h"
#include "crypto/secret.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

int random_seed(struct crypto_core *core)
{
    struct random_state *random = &core->secrets->random;
    __attribute__((cleanup(secret_wipe_32))) uint8_t seed[32];
    size_t have = 0;
    while (have < sizeof(seed)) {
        const ssize_t got = getrandom(seed + have, sizeof(seed) - have, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return -EIO;
        have += (size_t)got;
    }
    /* A dead state is all zeros, so this is the seed itself; a living key gains the seed. */
    for (size_t i = 0; i < sizeof(seed); i++)
        random->key[i] ^= seed[i];
    memset(random->buffer, 0, sizeof(random->buffer));
    random->next = RANDOM_BUFFER_BYTES;
    random->seeded_ago = 0;
    random->alive = RANDOM_ALIVE;
    return 0;
}

/*
 * The nonce is not needed for secrecy, every key being used once. It parts the futures of two
 * copies of one memory: a virtual machine that was resumed twice from one snapshot.
 */
static void random_nonce(const struct crypto_core *core, uint8_t nonce[12])
{
    unsigned long long hardware = 0;
    if (core->has_rdrand) {
        /* A processor whose generator runs dry leaves zero, and the clock still differs. */
        uint8_t done;
        __asm__ volatile("rdrand %0; setc %1" : "=r"(hardware), "=qm"(done) : : "cc");
    }
    bytes_store_le64(nonce, hardware ^ __builtin_ia32_rdtsc() << 32);
    bytes_store_le32(nonce + 8, (uint32_t)__builtin_ia32_rdtsc());
}

/* Fills `stream` with keystream, of which the first 32 bytes become the next key and are cleared.
 */
static void random_generate(struct crypto_core *core, uint8_t *stream, size_t stream_bytes)
{
    struct random_state *random = &core->secrets->random;
    ASSERT(stream_bytes > RANDOM_KEY_BYTES);
    ASSERT(stream_bytes <= RANDOM_BUFFER_BYTES);

    if (random->seeded_ago >= CRYPTO_RANDOM_RESEED_BYTES) {
        /* getrandom(2) cannot fail once it has worked; if it does, nothing may be sealed. */
        const int rc = random_seed(core);
        ASSERT(rc == 0);
    }
    uint8_t nonce[12];
    uint8_t tag[16];
    random_nonce(core, nonce);
    /* GCM over zeros is AES-256-CTR from counter 2, at the speed of the one cipher we have. */
    IMB_AES256_GCM_PRE(core->mgr, random->key, &random->expanded);
    IMB_AES256_GCM_ENC(core->mgr, &random->expanded, &random->context, stream, stream, stream_bytes,
                       nonce, NULL, 0, tag, sizeof(tag));
    memcpy(random->key, stream, RANDOM_KEY_BYTES);
    secret_wipe(stream, RANDOM_KEY_BYTES);
    secret_wipe(&random->expanded, sizeof(random->expanded));
    secret_wipe(&random->context, sizeof(random->context));
    secret_wipe(tag, sizeof(tag));
    random->seeded_ago += stream_bytes;
}

static void random_large(struct crypto_core *core, uint8_t *dst, size_t bytes)
{
    struct random_state *random = &core->secrets->random;
    for (size_t done = 0; done < bytes;) {
        const size_t now = MIN(bytes - done, RANDOM_BUFFER_BYTES - RANDOM_KEY_BYTES);
        /* `large` is zero between draws: what was given out was cleared. */
        random_generate(core, random->large, RANDOM_KEY_BYTES + now);
        memcpy(dst + done, random->large + RANDOM_KEY_BYTES, now);
        secret_wipe(random->large + RANDOM_KEY_BYTES, now);
        done += now;
    }
}

void crypto_random(struct crypto_core *core, uint8_t *dst, size_t bytes)
{
    struct random_state *random = &core->secrets->random;
    if (__builtin_expect(random->alive != RANDOM_ALIVE, 0)) {
        /* After a fork. A child without entropy must not go on with its parent's stream. */
        const int rc = random_seed(core);
        ASSERT(rc == 0);
    }
    if (bytes >= CRYPTO_RANDOM_LARGE_BYTES) {
        random_large(core, dst, bytes);
        return;
    }
    for (size_t done = 0; done < bytes;) {
        if (random->next == RANDOM_BUFFER_BYTES) {
            random_generate(core, random->buffer, RANDOM_BUFFER_BYTES);
            random->next = RANDOM_KEY_BYTES;
        }
        const size_t now = MIN(bytes - done, (size_t)(RANDOM_BUFFER_BYTES - random->next));
        memcpy(dst + done, random->buffer + random->next, now);
        /* No secret_wipe() for this: the buffer outlives the call, so no compiler may drop it. */
        memset(random->buffer + random->next, 0, now);
        random->next += (uint32_t)now;
        done += now;
    }
}
