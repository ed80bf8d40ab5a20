#include "crypto/aes_ctr_internal.h"

#include <immintrin.h>
#include <string.h>

#define ROUNDS_COUNT 14
#define UNIT_BLOCKS  4
#define BLOCKS_MOST  8 /* side by side: a round's latency, on two ports */

static inline __m128i round_key(const uint8_t *schedule, uint32_t round)
{
    return _mm_loadu_si128((const __m128i *)(const void *)(schedule + (size_t)round * 16));
}

/* The next `count` blocks; a constant, so that the loops over them are written out. */
static inline __attribute__((always_inline)) __m128i
blocks(uint8_t *stream, uint32_t count, const uint8_t *schedule, __m128i counter)
{
    /* Its last word is a number of the processor's own order until it is wanted. */
    const __m128i swap = _mm_set_epi8(12, 13, 14, 15, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m128i one = _mm_set_epi32(1, 0, 0, 0);
    __m128i block[BLOCKS_MOST];
#pragma GCC unroll 8
    for (uint32_t i = 0; i < count; i++) {
        block[i] = _mm_xor_si128(_mm_shuffle_epi8(counter, swap), round_key(schedule, 0));
        counter = _mm_add_epi32(counter, one);
    }
    for (uint32_t round = 1; round < ROUNDS_COUNT; round++) {
        const __m128i key = round_key(schedule, round);
#pragma GCC unroll 8
        for (uint32_t i = 0; i < count; i++)
            block[i] = _mm_aesenc_si128(block[i], key);
    }
    const __m128i last = round_key(schedule, ROUNDS_COUNT);
#pragma GCC unroll 8
    for (uint32_t i = 0; i < count; i++)
        _mm_storeu_si128((__m128i *)(void *)(stream + (size_t)i * 16),
                         _mm_aesenclast_si128(block[i], last));
    return counter;
}

void aes_ctr_256_sse(uint8_t *stream, size_t units_count, const uint8_t *schedule,
                     const uint8_t nonce[AES_CTR_NONCE_BYTES])
{
    uint8_t first[16] = {0};
    memcpy(first, nonce, AES_CTR_NONCE_BYTES);
    /* SP 800-38D, 7.1: counter 1 is the tag's. */
    __m128i counter = _mm_or_si128(_mm_loadu_si128((const __m128i *)(const void *)first),
                                   _mm_set_epi32(2, 0, 0, 0));
    const uint32_t units_most = BLOCKS_MOST / UNIT_BLOCKS;
    size_t unit = 0;
    for (; units_count - unit >= units_most; unit += units_most)
        counter = blocks(stream + unit * AES_CTR_UNIT_BYTES, BLOCKS_MOST, schedule, counter);
    if (unit < units_count)
        (void)blocks(stream + unit * AES_CTR_UNIT_BYTES, UNIT_BLOCKS, schedule, counter);
}
