#include "crypto/hkdf_internal.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "crypto/core_internal.h"
#include "crypto/secret.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Behind a digest that followed one block of key. */
static const uint64_t outer_padding[SHA512_BLOCK_ROWS - SHA512_STATE_ROWS] = {
    [0] = HKDF_END_MARK << 56,
    [7] = HKDF_LENGTH_BITS(SHA512_DIGEST_BYTES),
};

/* One group: at most SHA512_LANES expansions that go through every block together. */
struct group {
    sha512_compress_fn *compress;
    const struct hkdf_meanwhile *meanwhile; /* NULL: nothing */
    struct hkdf_scratch *scratch;
    const struct hkdf_expansion *expansions;
    uint32_t lanes_count;
    uint32_t message_rows; /* of scratch->message, that the longest of its messages takes */
};

static inline void group_compress(const struct group *group, sha512_row *after,
                                  const sha512_row *before, const sha512_row *block,
                                  uint32_t lanes_count)
{
    group->compress(after, before, block, lanes_count);
    if (group->meanwhile != NULL)
        group->meanwhile->step(group->meanwhile->user);
}

/* A lane's bytes as big-endian words, zeros up to rows_count. */
static inline void lane_load(sha512_row *rows, uint32_t rows_count, uint32_t lane,
                             const uint8_t *bytes_at, uint32_t bytes)
{
    const uint32_t whole = bytes / 8;
    for (uint32_t i = 0; i < whole; i++)
        rows[i][lane] = bytes_load_be64(bytes_at + 8 * i);
    if (whole == rows_count)
        return;
    uint64_t word = 0;
    for (uint32_t i = whole * 8; i < bytes; i++)
        word |= (uint64_t)bytes_at[i] << (56 - i % 8 * 8);
    rows[whole][lane] = word;
    for (uint32_t i = whole + 1; i < rows_count; i++)
        rows[i][lane] = 0;
}

/* And back. */
static inline void lane_store(uint8_t *dst, const sha512_row *rows, uint32_t lane, uint32_t bytes)
{
    const uint32_t whole = bytes / 8;
    for (uint32_t i = 0; i < whole; i++)
        bytes_store_be64(dst + 8 * i, rows[i][lane]);
    for (uint32_t i = whole * 8; i < bytes; i++)
        dst[i] = (uint8_t)(rows[whole][lane] >> (56 - i % 8 * 8));
}

/* info, a counter that is still 0, and the mark of the end, behind the place of T(n - 1). */
static void group_load_infos(const struct group *group)
{
    sha512_row *message = group->scratch->message + SHA512_STATE_ROWS;
    for (uint32_t lane = 0; lane < group->lanes_count; lane++) {
        const struct hkdf_expansion *expansion = &group->expansions[lane];
        const uint32_t mark = expansion->info_bytes + 1;
        lane_load(message, group->message_rows - SHA512_STATE_ROWS, lane, expansion->info,
                  expansion->info_bytes);
        message[mark / 8][lane] |= HKDF_END_MARK << (56 - mark % 8 * 8);
    }
}

/* Whole rows: lanes that hold nothing may, too. */
static void group_pad(const struct group *group, uint64_t pad)
{
    for (uint32_t i = 0; i < SHA512_BLOCK_ROWS; i++)
        for (uint32_t lane = 0; lane < SHA512_LANES; lane++)
            group->scratch->key[i][lane] ^= pad;
}

/*
 * The chaining values after the key's two padded blocks: the same for every HMAC under that key.
 * The rows stay as they are hashed, so the second pad is XORed onto the first. Where half of the
 * lanes are free the second block goes beside the first one.
 */
static void group_keys(const struct group *group)
{
    struct hkdf_scratch *scratch = group->scratch;
    const uint32_t lanes_count = group->lanes_count;
    for (uint32_t lane = 0; lane < lanes_count; lane++)
        lane_load(scratch->key, SHA512_BLOCK_ROWS, lane, group->expansions[lane].prk,
                  group->expansions[lane].prk_bytes);
    if (lanes_count > SHA512_LANES / 2) {
        group_pad(group, HKDF_INNER_PAD);
        group_compress(group, scratch->inner, sha512_initial, scratch->key, lanes_count);
        group_pad(group, HKDF_INNER_PAD ^ HKDF_OUTER_PAD);
        group_compress(group, scratch->outer, sha512_initial, scratch->key, lanes_count);
        return;
    }
    for (uint32_t i = 0; i < SHA512_BLOCK_ROWS; i++)
        for (uint32_t lane = 0; lane < lanes_count; lane++) {
            const uint64_t word = scratch->key[i][lane];
            scratch->key[i][lane] = word ^ HKDF_INNER_PAD;
            scratch->key[i][lanes_count + lane] = word ^ HKDF_OUTER_PAD;
        }
    group_compress(group, scratch->inner, sha512_initial, scratch->key, 2 * lanes_count);
    for (uint32_t i = 0; i < SHA512_STATE_ROWS; i++)
        for (uint32_t lane = 0; lane < lanes_count; lane++)
            scratch->outer[i][lane] = scratch->inner[i][lanes_count + lane];
}

/* The outer hash's block is a digest and its padding, which is always the same. */
static void scratch_outer_padding(struct hkdf_scratch *scratch)
{
    sha512_row *padding = scratch->digest + SHA512_STATE_ROWS;
    for (uint32_t i = 0; i < SHA512_BLOCK_ROWS - SHA512_STATE_ROWS; i++)
        for (uint32_t lane = 0; lane < SHA512_LANES; lane++)
            padding[i][lane] = outer_padding[i];
}

static sha512_row *round_message(const struct group *group, uint32_t round)
{
    return group->scratch->message + (round > 1 ? 0 : SHA512_STATE_ROWS);
}

/* The last word of the lane's last block. */
static uint64_t *message_length(const struct group *group, uint32_t lane, uint32_t round)
{
    const uint32_t blocks_count = hkdf_message_blocks(&group->expansions[lane], round);
    return &round_message(group, round)[blocks_count * SHA512_BLOCK_ROWS - 1][lane];
}

/* The counter goes on by one, and the length stands where this round's message ends. */
static void group_messages(const struct group *group, uint32_t round)
{
    for (uint32_t lane = 0; lane < group->lanes_count; lane++) {
        const struct hkdf_expansion *expansion = &group->expansions[lane];
        const uint32_t counter = expansion->info_bytes;
        group->scratch->message[SHA512_STATE_ROWS + counter / 8][lane] += UINT64_C(1)
                                                                          << (56 - counter % 8 * 8);
        if (round > 1)
            *message_length(group, lane, round - 1) = 0;
        *message_length(group, lane, round) =
            HKDF_LENGTH_BITS(hkdf_message_bytes(expansion, round));
    }
}

/* Lanes whose message is over keep the digest they had. */
static void group_keep_digests(const struct group *group, uint32_t round, uint32_t blocks_done)
{
    struct hkdf_scratch *scratch = group->scratch;
    for (uint32_t lane = 0; lane < group->lanes_count; lane++) {
        if (hkdf_message_blocks(&group->expansions[lane], round) != blocks_done)
            continue;
        for (uint32_t i = 0; i < SHA512_STATE_ROWS; i++)
            scratch->digest[i][lane] = scratch->work[i][lane];
    }
}

/* The inner hash of every lane into `digest`. */
static void group_hash(const struct group *group, uint32_t round)
{
    struct hkdf_scratch *scratch = group->scratch;
    const sha512_row *block = round_message(group, round);
    const sha512_row *before = scratch->inner;
    uint32_t blocks_least = UINT32_MAX;
    uint32_t blocks_most = 0;
    for (uint32_t lane = 0; lane < group->lanes_count; lane++) {
        const uint32_t blocks_count = hkdf_message_blocks(&group->expansions[lane], round);
        blocks_least = MIN(blocks_least, blocks_count);
        blocks_most = MAX(blocks_most, blocks_count);
    }
    for (uint32_t n = 1; n <= blocks_most; n++) {
        const bool all_end = n == blocks_most && blocks_least == blocks_most;
        sha512_row *after = all_end ? scratch->digest : scratch->work;
        group_compress(group, after, before, block, group->lanes_count);
        if (blocks_least != blocks_most)
            group_keep_digests(group, round, n);
        before = after;
        block += SHA512_BLOCK_ROWS;
    }
}

/* T(round) of every lane, to where the next message begins. */
static void group_round(const struct group *group, uint32_t round)
{
    struct hkdf_scratch *scratch = group->scratch;
    group_messages(group, round);
    group_hash(group, round);
    group_compress(group, scratch->message, scratch->outer, scratch->digest, group->lanes_count);
}

/* The lane's share of T(round), as far as it is wanted. */
static void lane_give(const struct group *group, uint32_t lane, uint32_t round)
{
    const struct hkdf_expansion *expansion = &group->expansions[lane];
    const uint32_t done = (round - 1) * SHA512_DIGEST_BYTES;
    if (done < expansion->okm_bytes)
        lane_store(expansion->okm + done, group->scratch->message, lane,
                   MIN(expansion->okm_bytes - done, (uint32_t)SHA512_DIGEST_BYTES));
}

static void group_expand(struct group *group)
{
    uint32_t okm_most = 0;
    uint32_t blocks_most = 0;
    for (uint32_t lane = 0; lane < group->lanes_count; lane++) {
        const struct hkdf_expansion *expansion = &group->expansions[lane];
        ASSERT(expansion->prk_bytes <= HKDF_PRK_BYTES_MAX);
        ASSERT(expansion->info_bytes <= HKDF_INFO_BYTES_MAX);
        ASSERT(expansion->okm_bytes <= HKDF_OKM_BYTES_MAX);
        okm_most = MAX(okm_most, expansion->okm_bytes);
        blocks_most = MAX(blocks_most, hkdf_message_blocks(expansion, 2));
    }
    /* The first message begins behind T(n - 1)'s place and so ends no later than the second. */
    group->message_rows = SHA512_STATE_ROWS + blocks_most * SHA512_BLOCK_ROWS;
    group_keys(group);
    group_load_infos(group);
    const uint32_t rounds = (okm_most + SHA512_DIGEST_BYTES - 1) / SHA512_DIGEST_BYTES;
    for (uint32_t round = 1; round <= rounds; round++) {
        group_round(group, round);
        for (uint32_t lane = 0; lane < group->lanes_count; lane++)
            lane_give(group, lane, round);
    }
}

void hkdf_expand_burst(struct crypto_core *core, const struct hkdf_expansion *expansions,
                       uint32_t expansions_count, const struct hkdf_meanwhile *meanwhile)
{
    if (expansions_count == 1 && core->isa == ISA_AVX512) {
        hkdf_expand_one(core, expansions, meanwhile);
        return;
    }
    struct group group = {
        .compress = sha512_compress(core->isa),
        .meanwhile = meanwhile,
        .scratch = &core->secrets->hkdf,
    };
    uint32_t rows_used = 0;
    scratch_outer_padding(group.scratch);
    for (uint32_t done = 0; done < expansions_count; done += group.lanes_count) {
        group.expansions = expansions + done;
        group.lanes_count = MIN(expansions_count - done, (uint32_t)SHA512_LANES);
        group_expand(&group);
        rows_used = MAX(rows_used, group.message_rows);
    }
    secret_wipe(group.scratch,
                offsetof(struct hkdf_scratch, message) + rows_used * sizeof(sha512_row));
    secret_wipe_stack(); /* of the compression's spilled registers: key blocks among them */
}
