#include "base/assert.h"
#include "base/bytes.h"
#include "crypto/aes_ctr_internal.h"
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
    const uint64_t clock = __builtin_ia32_rdtsc();
    bytes_store_le64(nonce, hardware ^ clock);
    bytes_store_le32(nonce + 8, (uint32_t)clock);
}

/* Fills `stream` with keystream, of which the first 32 bytes become the next key and are cleared.
 */
static void random_generate(struct crypto_core *core, uint8_t *stream, size_t units_count)
{
    struct random_state *random = &core->secrets->random;
    ASSERT(units_count > 0);
    ASSERT(units_count <= RANDOM_BUFFER_BYTES / AES_CTR_UNIT_BYTES);

    if (random->seeded_ago >= CRYPTO_RANDOM_RESEED_BYTES) {
        /* getrandom(2) cannot fail once it has worked; if it does, nothing may be sealed. */
        const int rc = random_seed(core);
        ASSERT(rc == 0);
    }
    uint8_t nonce[AES_CTR_NONCE_BYTES];
    random_nonce(core, nonce);
    aes_schedule_256_one(random->schedule, random->key);
    aes_ctr_256_fn *ctr = core->isa == ISA_AVX512 ? aes_ctr_256_avx512 : aes_ctr_256_sse;
    ctr(stream, units_count, random->schedule, nonce);
    memcpy(random->key, stream, RANDOM_KEY_BYTES);
    secret_wipe(stream, RANDOM_KEY_BYTES);
    secret_wipe(random->schedule, sizeof(random->schedule));
    random->seeded_ago += units_count * AES_CTR_UNIT_BYTES;
}

static void random_large(struct crypto_core *core, uint8_t *dst, size_t bytes)
{
    struct random_state *random = &core->secrets->random;
    for (size_t done = 0; done < bytes;) {
        const size_t now = MIN(bytes - done, RANDOM_BUFFER_BYTES - RANDOM_KEY_BYTES);
        const size_t units_count =
            (RANDOM_KEY_BYTES + now + AES_CTR_UNIT_BYTES - 1) / AES_CTR_UNIT_BYTES;
        random_generate(core, random->large, units_count);
        memcpy(dst + done, random->large + RANDOM_KEY_BYTES, now);
        secret_wipe(random->large, units_count * AES_CTR_UNIT_BYTES);
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
            random_generate(core, random->buffer, RANDOM_BUFFER_BYTES / AES_CTR_UNIT_BYTES);
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
