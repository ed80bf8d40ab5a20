#include "crypto/gcm_internal.h"

#include "base/assert.h"
#include "crypto/aes_schedule_internal.h"
#include "crypto/core_internal.h"
#include "crypto/gcm_powers_internal.h"
#include "crypto/secret.h"

#include <string.h>

_Static_assert(sizeof(struct gcm_key_data) <= GCM_EXPANDED_BYTES, "an expanded key has room");
_Static_assert(sizeof(((struct gcm_key_data *)NULL)->expanded_keys) >= AES_SCHEDULE_BYTES,
               "so have its round keys");
_Static_assert(sizeof(((struct gcm_key_data *)NULL)->ghash_keys.vaes_avx512) == GCM_POWERS_BYTES,
               "and the powers of H");
_Static_assert(GCM_POWERS_KEYS == AES_SCHEDULE_KEYS, "for the same keys");
_Static_assert(_Alignof(struct gcm_key_data) <= CACHE_LINE, "and its alignment");

void gcm_expand(struct crypto_core *core, uint8_t *expanded, const uint8_t *key, uint32_t key_bytes)
{
    ASSERT((uintptr_t)expanded % CACHE_LINE == 0);
    struct gcm_key_data *data = (struct gcm_key_data *)(void *)expanded;
    switch (key_bytes) {
    case 16: IMB_AES128_GCM_PRE(core->mgr, key, data); return;
    case 24: IMB_AES192_GCM_PRE(core->mgr, key, data); return;
    case 32: IMB_AES256_GCM_PRE(core->mgr, key, data); return;
    default: assert_failed("an AES key of 16, 24 or 32 bytes", __FILE__, __LINE__);
    }
}

/* Fewer are done sooner one after the other, each as one that is alone: bench/crypto/hash_bench.c.
 */
#define GROUP_LEAST 3

/* How many of the next keys go side by side: AES-256 alone does. */
static uint32_t group_count(const struct gcm_expansion *expansions, uint32_t expansions_count)
{
    uint32_t count = 0;
    while (count < MIN(expansions_count, (uint32_t)AES_SCHEDULE_KEYS) &&
           expansions[count].key_bytes == AES_SCHEDULE_KEY_BYTES)
        count++;
    return count;
}

/* The library's own key schedule is one key's after the other, and so are its powers of H. Where
 * there are fewer keys than go side by side the last one is made several times, in one place. */
static void group_expand(struct crypto_core *core, const struct gcm_expansion *expansions,
                         uint32_t count)
{
    const uint8_t *keys[AES_SCHEDULE_KEYS];
    uint8_t *schedules[AES_SCHEDULE_KEYS];
    struct gcm_key_data *data[AES_SCHEDULE_KEYS];
    uint8_t *powers[AES_SCHEDULE_KEYS];
    for (uint32_t i = 0; i < AES_SCHEDULE_KEYS; i++) {
        const struct gcm_expansion *expansion = &expansions[MIN(i, count - 1)];
        ASSERT((uintptr_t)expansion->expanded % CACHE_LINE == 0);
        data[i] = (struct gcm_key_data *)(void *)expansion->expanded;
        schedules[i] = data[i]->expanded_keys;
        powers[i] = data[i]->ghash_keys.vaes_avx512.shifted_hkey;
        keys[i] = expansion->key;
    }
    aes_schedule_256(schedules, keys);
    if (core->has_powers) {
        gcm_powers_256_avx512(powers, schedules);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        IMB_AES256_GCM_PRECOMP(core->mgr, data[i]);
}

/* One key alone has nothing to go beside. */
static void alone_expand(struct crypto_core *core, const struct gcm_expansion *expansion)
{
    struct gcm_key_data *data = (struct gcm_key_data *)(void *)expansion->expanded;
    if (!core->has_powers || expansion->key_bytes != AES_SCHEDULE_KEY_BYTES) {
        gcm_expand(core, expansion->expanded, expansion->key, expansion->key_bytes);
        return;
    }
    ASSERT((uintptr_t)expansion->expanded % CACHE_LINE == 0);
    aes_schedule_256_one(data->expanded_keys, expansion->key);
    gcm_powers_256_one_avx512(data->ghash_keys.vaes_avx512.shifted_hkey, data->expanded_keys);
}

/* Of some key, for nobody's message. */
bool gcm_powers_fit(struct crypto_core *core)
{
    static const uint8_t key[AES_SCHEDULE_KEY_BYTES] = {1, 2, 3};
    if (core->isa != ISA_AVX512)
        return false;
    struct gcm_key_data theirs;
    struct gcm_key_data ours;
    memset(&theirs, 0, sizeof(theirs));
    IMB_AES256_GCM_PRE(core->mgr, key, &theirs);
    ours = theirs;
    memset(&ours.ghash_keys, 0, sizeof(ours.ghash_keys));
    uint8_t *powers[GCM_POWERS_KEYS];
    uint8_t *schedules[GCM_POWERS_KEYS];
    for (uint32_t i = 0; i < GCM_POWERS_KEYS; i++) {
        powers[i] = ours.ghash_keys.vaes_avx512.shifted_hkey;
        schedules[i] = ours.expanded_keys;
    }
    gcm_powers_256_avx512(powers, schedules);
    if (memcmp(&ours, &theirs, sizeof(ours)) != 0)
        return false;
    memset(&ours.ghash_keys, 0, sizeof(ours.ghash_keys));
    gcm_powers_256_one_avx512(powers[0], schedules[0]);
    return memcmp(&ours, &theirs, sizeof(ours)) == 0;
}

void gcm_expand_burst(struct crypto_core *core, const struct gcm_expansion *expansions,
                      uint32_t expansions_count)
{
    for (uint32_t i = 0; i < expansions_count;) {
        const uint32_t count = group_count(expansions + i, expansions_count - i);
        if (count >= GROUP_LEAST) {
            group_expand(core, expansions + i, count);
            i += count;
        } else {
            alone_expand(core, &expansions[i]);
            i++;
        }
    }
}

/* The library leaves the nonce and the last block of keystream there. */
static inline void context_wipe(struct gcm_context_data *context)
{
    secret_wipe(context, sizeof(*context));
}

void gcm_seal(struct crypto_core *core, const uint8_t *expanded, uint32_t key_bytes,
              const uint8_t nonce[GCM_NONCE_BYTES], struct gcm_aad aad, uint8_t *sealed,
              const uint8_t *plain, size_t bytes)
{
    const struct gcm_key_data *data = (const struct gcm_key_data *)(const void *)expanded;
    struct gcm_context_data *context = &core->secrets->gcm_context;
    uint8_t *tag = sealed + bytes;
    switch (key_bytes) {
    case 16:
        IMB_AES128_GCM_ENC(core->mgr, data, context, sealed, plain, bytes, nonce, aad.bytes_at,
                           aad.bytes, tag, GCM_TAG_BYTES);
        break;
    case 24:
        IMB_AES192_GCM_ENC(core->mgr, data, context, sealed, plain, bytes, nonce, aad.bytes_at,
                           aad.bytes, tag, GCM_TAG_BYTES);
        break;
    case 32:
        IMB_AES256_GCM_ENC(core->mgr, data, context, sealed, plain, bytes, nonce, aad.bytes_at,
                           aad.bytes, tag, GCM_TAG_BYTES);
        break;
    default: assert_failed("an AES key of 16, 24 or 32 bytes", __FILE__, __LINE__);
    }
    context_wipe(context);
}

bool gcm_open(struct crypto_core *core, const uint8_t *expanded, uint32_t key_bytes,
              const uint8_t nonce[GCM_NONCE_BYTES], struct gcm_aad aad, uint8_t *plain,
              const uint8_t *sealed, size_t bytes)
{
    const struct gcm_key_data *data = (const struct gcm_key_data *)(const void *)expanded;
    struct gcm_context_data *context = &core->secrets->gcm_context;
    uint8_t tag[GCM_TAG_BYTES];
    switch (key_bytes) {
    case 16:
        IMB_AES128_GCM_DEC(core->mgr, data, context, plain, sealed, bytes, nonce, aad.bytes_at,
                           aad.bytes, tag, GCM_TAG_BYTES);
        break;
    case 24:
        IMB_AES192_GCM_DEC(core->mgr, data, context, plain, sealed, bytes, nonce, aad.bytes_at,
                           aad.bytes, tag, GCM_TAG_BYTES);
        break;
    case 32:
        IMB_AES256_GCM_DEC(core->mgr, data, context, plain, sealed, bytes, nonce, aad.bytes_at,
                           aad.bytes, tag, GCM_TAG_BYTES);
        break;
    default: assert_failed("an AES key of 16, 24 or 32 bytes", __FILE__, __LINE__);
    }
    context_wipe(context);
    const bool genuine = ct_equal(tag, sealed + bytes, GCM_TAG_BYTES);
    /* The right tag of a forged chunk would let its author forge it well. */
    secret_wipe(tag, sizeof(tag));
    if (!genuine)
        secret_wipe(plain, bytes);
    return genuine;
}
