#include "crypto/aes_ctr_internal.h"

#include <immintrin.h>
#include <string.h>

#define ROUNDS_COUNT 14
#define UNITS_MOST   4 /* side by side: a round's latency, on two ports */

static inline __m512i round_key(const uint8_t *schedule, uint32_t round)
{
    return _mm512_broadcast_i32x4(
        _mm_loadu_si128((const __m128i *)(const void *)(schedule + (size_t)round * 16)));
}

/* The next `count` units; a constant, so that the loops over them are written out. */
static inline __attribute__((always_inline)) __m512i
units(uint8_t *stream, uint32_t count, const uint8_t *schedule, __m512i counters)
{
    /* The counters' last words, as numbers of the processor's own order until they are wanted. */
    const __m512i swap =
        _mm512_broadcast_i32x4(_mm_set_epi8(12, 13, 14, 15, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
    const __m512i four = _mm512_broadcast_i32x4(_mm_set_epi32(4, 0, 0, 0));
    __m512i block[UNITS_MOST];
#pragma GCC unroll 4
    for (uint32_t i = 0; i < count; i++) {
        block[i] = _mm512_xor_si512(_mm512_shuffle_epi8(counters, swap), round_key(schedule, 0));
        counters = _mm512_add_epi32(counters, four);
    }
#pragma GCC unroll 13
    for (uint32_t round = 1; round < ROUNDS_COUNT; round++) {
        const __m512i key = round_key(schedule, round);
#pragma GCC unroll 4
        for (uint32_t i = 0; i < count; i++)
            block[i] = _mm512_aesenc_epi128(block[i], key);
    }
    const __m512i last = round_key(schedule, ROUNDS_COUNT);
#pragma GCC unroll 4
    for (uint32_t i = 0; i < count; i++)
        _mm512_storeu_si512(stream + (size_t)i * AES_CTR_UNIT_BYTES,
                            _mm512_aesenclast_epi128(block[i], last));
    return counters;
}

void aes_ctr_256_avx512(uint8_t *stream, size_t units_count, const uint8_t *schedule,
                        const uint8_t nonce[AES_CTR_NONCE_BYTES])
{
    uint8_t first[16] = {0};
    memcpy(first, nonce, AES_CTR_NONCE_BYTES);
    /* SP 800-38D, 7.1: counter 1 is the tag's. */
    const __m512i lanes = _mm512_set_epi32(5, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0);
    __m512i counters = _mm512_or_si512(
        _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)first)), lanes);
    size_t unit = 0;
    for (; units_count - unit >= UNITS_MOST; unit += UNITS_MOST)
        counters = units(stream + unit * AES_CTR_UNIT_BYTES, UNITS_MOST, schedule, counters);
    for (; unit < units_count; unit++)
        counters = units(stream + unit * AES_CTR_UNIT_BYTES, 1, schedule, counters);
}
