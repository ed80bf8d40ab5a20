#include "crypto/hkdf_internal.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "crypto/core_internal.h"
#include "crypto/secret.h"

#include <stddef.h>

/* Bytes as big-endian words, zeros up to words_count. */
static void words_load(uint64_t *words, uint32_t words_count, const uint8_t *bytes_at,
                       uint32_t bytes)
{
    const uint32_t whole = bytes / 8;
    ASSERT(whole < words_count || bytes == 8 * words_count);
    for (uint32_t i = 0; i < whole; i++)
        words[i] = bytes_load_be64(bytes_at + 8 * i);
    for (uint32_t i = whole; i < words_count; i++)
        words[i] = 0;
    for (uint32_t i = whole * 8; i < bytes; i++)
        words[whole] |= (uint64_t)bytes_at[i] << (56 - i % 8 * 8);
}

/* And back. */
static void words_store(uint8_t *dst, const uint64_t *words, uint32_t bytes)
{
    const uint32_t whole = bytes / 8;
    for (uint32_t i = 0; i < whole; i++)
        bytes_store_be64(dst + 8 * i, words[i]);
    for (uint32_t i = whole * 8; i < bytes; i++)
        dst[i] = (uint8_t)(words[whole] >> (56 - i % 8 * 8));
}

/* The key's two padded blocks side by side: two lanes take less than one after the other. */
static void one_keys(struct hkdf_one *one, const struct hkdf_expansion *expansion)
{
    words_load(one->digest, SHA512_BLOCK_ROWS, expansion->prk, expansion->prk_bytes);
    for (uint32_t i = 0; i < SHA512_BLOCK_ROWS; i++) {
        one->keys[i][0] = one->digest[i] ^ HKDF_INNER_PAD;
        one->keys[i][1] = one->digest[i] ^ HKDF_OUTER_PAD;
    }
    sha512_compress_avx512_4(one->after, sha512_initial, one->keys, 2);
    for (uint32_t i = 0; i < SHA512_STATE_ROWS; i++) {
        one->inner[i] = one->after[i][0];
        one->outer[i] = one->after[i][1];
        /* The outer hash's block is a digest and its padding, which is always the same. */
        one->digest[SHA512_STATE_ROWS + i] = 0;
    }
    one->digest[SHA512_STATE_ROWS] = HKDF_END_MARK << 56;
    one->digest[SHA512_BLOCK_ROWS - 1] = HKDF_LENGTH_BITS(SHA512_DIGEST_BYTES);
}

/* T(round), to where the next message begins. */
static void one_round(struct hkdf_one *one, const struct hkdf_expansion *expansion, uint32_t round,
                      const struct hkdf_meanwhile *meanwhile)
{
    const uint32_t counter = expansion->info_bytes;
    const uint32_t blocks_count = hkdf_message_blocks(expansion, round);
    uint64_t *info = one->message + SHA512_STATE_ROWS;
    const uint64_t *block = round > 1 ? one->message : info;
    uint64_t *length = (round > 1 ? one->message : info) + blocks_count * SHA512_BLOCK_ROWS - 1;
    const uint64_t *before = one->inner;

    info[counter / 8] += UINT64_C(1) << (56 - counter % 8 * 8);
    *length = HKDF_LENGTH_BITS(hkdf_message_bytes(expansion, round));
    for (uint32_t n = 0; n < blocks_count; n++) {
        sha512_compress_one_avx512(one->digest, before, block + n * SHA512_BLOCK_ROWS);
        before = one->digest;
        if (meanwhile != NULL)
            meanwhile->step(meanwhile->user);
    }
    *length = 0;
    sha512_compress_one_avx512(one->message, one->outer, one->digest);
    if (meanwhile != NULL)
        meanwhile->step(meanwhile->user);
}

void hkdf_expand_one(struct crypto_core *core, const struct hkdf_expansion *expansion,
                     const struct hkdf_meanwhile *meanwhile)
{
    struct hkdf_one *one = &core->secrets->hkdf_one;
    ASSERT(expansion->prk_bytes <= HKDF_PRK_BYTES_MAX);
    ASSERT(expansion->info_bytes <= HKDF_INFO_BYTES_MAX);
    ASSERT(expansion->okm_bytes <= HKDF_OKM_BYTES_MAX);
    /* The first message begins behind T(n - 1)'s place and so ends no later than the second. */
    const uint32_t rows = SHA512_STATE_ROWS + hkdf_message_blocks(expansion, 2) * SHA512_BLOCK_ROWS;
    const uint32_t mark = expansion->info_bytes + 1;
    uint64_t *info = one->message + SHA512_STATE_ROWS;

    one_keys(one, expansion);
    if (meanwhile != NULL)
        meanwhile->step(meanwhile->user);
    words_load(info, rows - SHA512_STATE_ROWS, expansion->info, expansion->info_bytes);
    info[mark / 8] |= HKDF_END_MARK << (56 - mark % 8 * 8);
    for (uint32_t done = 0, round = 1; done < expansion->okm_bytes; round++) {
        const uint32_t bytes = MIN(expansion->okm_bytes - done, (uint32_t)SHA512_DIGEST_BYTES);
        one_round(one, expansion, round, meanwhile);
        words_store(expansion->okm + done, one->message, bytes);
        done += bytes;
    }
    secret_wipe(one, offsetof(struct hkdf_one, message) + rows * sizeof(one->message[0]));
    secret_wipe_stack(); /* of the compression's spilled registers: key blocks among them */
}
