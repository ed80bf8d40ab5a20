#include "crypto/hkdf_internal.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "crypto/core_internal.h"
#include "crypto/secret.h"

#include <string.h>

/* FIPS 198-1: a byte repeated. */
#define HMAC_INNER_PAD UINT64_C(0x3636363636363636)
#define HMAC_OUTER_PAD UINT64_C(0x5c5c5c5c5c5c5c5c)

/* One group: at most SHA512_LANES expansions that go through every block together. */
struct group {
    sha512_compress_fn *compress;
    struct hkdf_scratch *scratch;
    const struct hkdf_expansion *expansions;
    uint32_t lanes_count;
};

/* Block `block_index` of every lane; a lane past lanes_count repeats the first. */
static void group_compress(const struct group *group, struct sha512_lanes *lanes,
                           uint32_t block_index)
{
    const uint8_t *blocks[SHA512_LANES];
    for (uint32_t lane = 0; lane < SHA512_LANES; lane++)
        blocks[lane] = group->scratch->blocks[lane < group->lanes_count ? lane : 0] +
                       block_index * SHA512_BLOCK_BYTES;
    group->compress(lanes, blocks, group->lanes_count);
}

/* Each lane's key, zeros up to a block; group_key() turns it into its padded forms. */
static void group_load_keys(const struct group *group)
{
    for (uint32_t lane = 0; lane < group->lanes_count; lane++) {
        const struct hkdf_expansion *expansion = &group->expansions[lane];
        uint8_t *block = group->scratch->blocks[lane];
        memset(block, 0, SHA512_BLOCK_BYTES);
        if (expansion->prk_bytes > 0)
            memcpy(block, expansion->prk, expansion->prk_bytes);
    }
}

/*
 * The chaining value after the key's padded block: the same for every HMAC under that key. The
 * blocks stay as they are hashed, so the next pad is XORed onto the last one.
 */
static void group_key(const struct group *group, struct sha512_lanes *lanes, uint64_t pad)
{
    for (uint32_t lane = 0; lane < group->lanes_count; lane++) {
        uint8_t *block = group->scratch->blocks[lane];
        for (uint32_t i = 0; i < SHA512_BLOCK_BYTES; i += 8)
            bytes_store_le64(block + i, bytes_load_le64(block + i) ^ pad);
    }
    for (uint32_t i = 0; i < 8; i++)
        for (uint32_t lane = 0; lane < SHA512_LANES; lane++)
            lanes->word[i][lane] = sha512_initial[i];
    group_compress(group, lanes, 0);
}

/* SHA-512's end (FIPS 180-4, 5.1.2) of a message that followed one block of key. Returns blocks. */
static uint32_t message_pad(uint8_t *blocks, uint32_t bytes)
{
    const uint32_t blocks_count = (bytes + 17 + SHA512_BLOCK_BYTES - 1) / SHA512_BLOCK_BYTES;
    const uint32_t end = blocks_count * SHA512_BLOCK_BYTES;
    ASSERT_HOT(blocks_count <= HKDF_MESSAGE_BLOCKS_MAX);
    blocks[bytes] = 0x80;
    memset(blocks + bytes + 1, 0, end - bytes - 1 - 8);
    bytes_store_be64(blocks + end - 8, (uint64_t)(SHA512_BLOCK_BYTES + bytes) * 8);
    return blocks_count;
}

/* T(n - 1) || info || n for each lane that still wants bytes, padded. Returns the most blocks. */
static uint32_t group_messages(const struct group *group, uint32_t round,
                               uint32_t blocks_count[SHA512_LANES])
{
    uint32_t blocks_most = 0;
    for (uint32_t lane = 0; lane < group->lanes_count; lane++) {
        const struct hkdf_expansion *expansion = &group->expansions[lane];
        uint8_t *message = group->scratch->blocks[lane];
        uint32_t bytes = 0;
        if (round > 1) {
            memcpy(message, group->scratch->digests[lane], SHA512_DIGEST_BYTES);
            bytes = SHA512_DIGEST_BYTES;
        }
        if (expansion->info_bytes > 0)
            memcpy(message + bytes, expansion->info, expansion->info_bytes);
        bytes += expansion->info_bytes;
        message[bytes++] = (uint8_t)round;
        blocks_count[lane] = message_pad(message, bytes);
        blocks_most = MAX(blocks_most, blocks_count[lane]);
    }
    return blocks_most;
}

static void group_digests(const struct group *group)
{
    for (uint32_t lane = 0; lane < group->lanes_count; lane++)
        for (uint32_t i = 0; i < 8; i++)
            bytes_store_be64(group->scratch->digests[lane] + 8 * i,
                             group->scratch->work.word[i][lane]);
}

/* The messages of a group may differ in blocks: a lane's digest is taken after its own last. */
static void group_hash(const struct group *group, const uint32_t blocks_count[SHA512_LANES],
                       uint32_t blocks_most)
{
    struct hkdf_scratch *scratch = group->scratch;
    for (uint32_t block = 0; block < blocks_most; block++) {
        group_compress(group, &scratch->work, block);
        for (uint32_t lane = 0; lane < group->lanes_count; lane++) {
            if (blocks_count[lane] != block + 1)
                continue;
            for (uint32_t i = 0; i < 8; i++)
                bytes_store_be64(scratch->digests[lane] + 8 * i, scratch->work.word[i][lane]);
        }
    }
}

/* T(round) of every lane into `digests`. */
static void group_round(const struct group *group, uint32_t round)
{
    struct hkdf_scratch *scratch = group->scratch;
    uint32_t blocks_count[SHA512_LANES];
    const uint32_t blocks_most = group_messages(group, round, blocks_count);
    scratch->work = scratch->inner;
    group_hash(group, blocks_count, blocks_most);

    for (uint32_t lane = 0; lane < group->lanes_count; lane++) {
        memcpy(scratch->blocks[lane], scratch->digests[lane], SHA512_DIGEST_BYTES);
        (void)message_pad(scratch->blocks[lane], SHA512_DIGEST_BYTES);
    }
    scratch->work = scratch->outer;
    group_compress(group, &scratch->work, 0);
    group_digests(group);
}

static void group_expand(const struct group *group)
{
    uint32_t okm_most = 0;
    for (uint32_t lane = 0; lane < group->lanes_count; lane++) {
        const struct hkdf_expansion *expansion = &group->expansions[lane];
        ASSERT(expansion->prk_bytes <= HKDF_PRK_BYTES_MAX);
        ASSERT(expansion->info_bytes <= HKDF_INFO_BYTES_MAX);
        ASSERT(expansion->okm_bytes <= HKDF_OKM_BYTES_MAX);
        okm_most = MAX(okm_most, expansion->okm_bytes);
    }
    group_load_keys(group);
    group_key(group, &group->scratch->inner, HMAC_INNER_PAD);
    group_key(group, &group->scratch->outer, HMAC_INNER_PAD ^ HMAC_OUTER_PAD);
    const uint32_t rounds = (okm_most + SHA512_DIGEST_BYTES - 1) / SHA512_DIGEST_BYTES;
    for (uint32_t round = 1; round <= rounds; round++) {
        group_round(group, round);
        for (uint32_t lane = 0; lane < group->lanes_count; lane++) {
            const struct hkdf_expansion *expansion = &group->expansions[lane];
            const uint32_t done = (round - 1) * SHA512_DIGEST_BYTES;
            if (done >= expansion->okm_bytes)
                continue;
            const uint32_t now = MIN(expansion->okm_bytes - done, (uint32_t)SHA512_DIGEST_BYTES);
            memcpy(expansion->okm + done, group->scratch->digests[lane], now);
        }
    }
}

void hkdf_expand_burst(struct crypto_core *core, const struct hkdf_expansion *expansions,
                       uint32_t expansions_count)
{
    struct group group = {
        .compress = sha512_compress(core->isa),
        .scratch = &core->secrets->hkdf,
    };
    for (uint32_t done = 0; done < expansions_count; done += group.lanes_count) {
        group.expansions = expansions + done;
        group.lanes_count = MIN(expansions_count - done, (uint32_t)SHA512_LANES);
        group_expand(&group);
    }
    secret_wipe(group.scratch, sizeof(*group.scratch));
    secret_wipe_stack(); /* of the compression's spilled registers: key blocks among them */
}
