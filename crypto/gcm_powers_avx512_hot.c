#include "crypto/gcm_powers_internal.h"

#include <immintrin.h>

#define ROUNDS_COUNT 14 /* of AES-256 */
#define VECTOR_BYTES 64
#define STEPS_COUNT  (GCM_POWERS_COUNT / 4)

static inline __m128i round_key(const uint8_t *schedule, uint32_t round)
{
    return _mm_loadu_si128((const __m128i *)(const void *)(schedule + (size_t)round * 16));
}

static inline void powers_store(uint8_t *powers, uint32_t step, __m512i four)
{
    _mm512_storeu_si512(powers + (size_t)step * VECTOR_BYTES, four);
}

/* x^128 + x^127 + x^126 + x^121 + 1, without the first, as GHASH reflects it. */
static inline __m512i polynomial(void)
{
    return _mm512_set4_epi64((long long)0xc200000000000000, 1, (long long)0xc200000000000000, 1);
}

/* What 64 bits at the lower end are worth at the upper ones. */
static inline __m512i fold(__m512i value)
{
    return _mm512_xor_si512(_mm512_shuffle_epi32(value, _MM_PERM_BADC),
                            _mm512_clmulepi64_epi128(polynomial(), value, 0x01));
}

/*
 * Products of four pairs in GF(2^128), reflected, each factor shifted left by one as the library
 * keeps them: so is the product. With the one factor folded beforehand for the other's lower half
 * there is a single reduction: six instructions on the port that has them all, not eight.
 */
static inline __m512i multiply(__m512i a, __m512i b, __m512i b_folded)
{
    const __m512i low = _mm512_xor_si512(_mm512_clmulepi64_epi128(a, b, 0x01),
                                         _mm512_clmulepi64_epi128(a, b_folded, 0x00));
    const __m512i high = _mm512_xor_si512(_mm512_clmulepi64_epi128(a, b, 0x11),
                                          _mm512_clmulepi64_epi128(a, b_folded, 0x10));
    const __m512i swapped = _mm512_shuffle_epi32(low, _MM_PERM_BADC);
    const __m512i reduced = _mm512_clmulepi64_epi128(polynomial(), low, 0x01);
    return _mm512_ternarylogic_epi64(high, swapped, reduced, 0x96);
}

/* What GHASH multiplies by, of each lane's cipher of a block of zeros: in its order, shifted. */
static inline __m512i shifted(__m512i ciphers)
{
    const __m512i backwards =
        _mm512_broadcast_i32x4(_mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    __m512i h = _mm512_shuffle_epi8(ciphers, backwards);
    /* Bit 63 moves on to bit 64, and bit 127 becomes the polynomial. */
    const __m512i carried = _mm512_bslli_epi128(_mm512_srli_epi64(h, 63), 8);
    const __m512i wraps = _mm512_shuffle_epi32(_mm512_srai_epi64(h, 63), _MM_PERM_DCDC);
    h = _mm512_or_si512(_mm512_add_epi64(h, h), carried);
    return _mm512_xor_si512(h, _mm512_and_si512(wraps, polynomial()));
}

/* H of four keys, one a lane. */
static inline __m512i first_powers(uint8_t *const schedules[GCM_POWERS_KEYS])
{
    __m128i block[GCM_POWERS_KEYS];
#pragma GCC unroll 4
    for (uint32_t i = 0; i < GCM_POWERS_KEYS; i++)
        block[i] = round_key(schedules[i], 0);
    for (uint32_t round = 1; round < ROUNDS_COUNT; round++) {
#pragma GCC unroll 4
        for (uint32_t i = 0; i < GCM_POWERS_KEYS; i++)
            block[i] = _mm_aesenc_si128(block[i], round_key(schedules[i], round));
    }
#pragma GCC unroll 4
    for (uint32_t i = 0; i < GCM_POWERS_KEYS; i++)
        block[i] = _mm_aesenclast_si128(block[i], round_key(schedules[i], ROUNDS_COUNT));
    __m512i h = _mm512_castsi128_si512(block[0]);
    h = _mm512_inserti32x4(h, block[1], 1);
    h = _mm512_inserti32x4(h, block[2], 2);
    return shifted(_mm512_inserti32x4(h, block[3], 3));
}

/* Four rows of four lanes, across: what was one power of four keys is four powers of one key. */
static inline void transpose(__m512i rows[4])
{
    const __m512i low_01 = _mm512_shuffle_i64x2(rows[0], rows[1], 0x44);
    const __m512i low_23 = _mm512_shuffle_i64x2(rows[2], rows[3], 0x44);
    const __m512i high_01 = _mm512_shuffle_i64x2(rows[0], rows[1], 0xee);
    const __m512i high_23 = _mm512_shuffle_i64x2(rows[2], rows[3], 0xee);
    rows[0] = _mm512_shuffle_i64x2(low_01, low_23, 0x88);
    rows[1] = _mm512_shuffle_i64x2(low_01, low_23, 0xdd);
    rows[2] = _mm512_shuffle_i64x2(high_01, high_23, 0x88);
    rows[3] = _mm512_shuffle_i64x2(high_01, high_23, 0xdd);
}

/*
 * A product waits for the one before it through two carry-less multiplications, one after the
 * other: one key alone is nothing but waiting. The highest power comes first.
 */
void gcm_powers_256_avx512(uint8_t *const powers[GCM_POWERS_KEYS],
                           uint8_t *const schedules[GCM_POWERS_KEYS])
{
    __m512i four[4]; /* four powers of each key, after the transposition */
    four[3] = first_powers(schedules);
    const __m512i first_folded = fold(four[3]);
    four[2] = multiply(four[3], four[3], first_folded);
    four[1] = multiply(four[2], four[3], first_folded);
    four[0] = multiply(four[1], four[3], first_folded);
    transpose(four);
    __m512i fourth[4];
    __m512i fourth_folded[4];
#pragma GCC unroll 4
    for (uint32_t i = 0; i < GCM_POWERS_KEYS; i++) {
        fourth[i] = _mm512_shuffle_i64x2(four[i], four[i], 0);
        fourth_folded[i] = fold(fourth[i]);
        powers_store(powers[i], STEPS_COUNT - 1, four[i]);
    }
    for (uint32_t left = STEPS_COUNT - 1; left-- > 0;) {
#pragma GCC unroll 4
        for (uint32_t i = 0; i < GCM_POWERS_KEYS; i++) {
            four[i] = multiply(four[i], fourth[i], fourth_folded[i]);
            powers_store(powers[i], left, four[i]);
        }
    }
}

static inline __m512i highest(__m512i powers)
{
    return _mm512_shuffle_i64x2(powers, powers, 0);
}

/*
 * What is there is multiplied by its highest power, which doubles it: six products one after the
 * other, where one step after the other would be fourteen. GHASH's order: the highest power first.
 */
void gcm_powers_256_one_avx512(uint8_t *powers, const uint8_t *schedule)
{
    __m128i block = round_key(schedule, 0);
#pragma GCC unroll 13
    for (uint32_t round = 1; round < ROUNDS_COUNT; round++)
        block = _mm_aesenc_si128(block, round_key(schedule, round));
    block = _mm_aesenclast_si128(block, round_key(schedule, ROUNDS_COUNT));
    const __m512i first = shifted(_mm512_broadcast_i32x4(block));
    const __m512i second = multiply(first, first, fold(first));
    const __m512i one_two = _mm512_mask_blend_epi64(0x33, first, second); /* 2, 1, 2, 1 */
    const __m512i three_four = multiply(one_two, second, fold(second));   /* 4, 3, 4, 3 */
    __m512i four[STEPS_COUNT]; /* powers 1 to 4, 5 to 8, … */
    four[0] = _mm512_mask_blend_epi64(0x0f, one_two, three_four);
    uint32_t count = 1;
#pragma GCC unroll 3
    while (count <= 4) { /* of four powers each: 1, 2, 4 and then 8 */
        const __m512i by = highest(four[count - 1]);
        const __m512i by_folded = fold(by);
#pragma GCC unroll 4
        for (uint32_t i = 0; i < count; i++)
            four[count + i] = multiply(four[i], by, by_folded);
        count *= 2;
    }
    const __m512i by = highest(four[count - 1]);
    const __m512i by_folded = fold(by);
#pragma GCC unroll 4
    for (uint32_t i = 0; i < STEPS_COUNT - 8; i++)
        four[8 + i] = multiply(four[i], by, by_folded);
#pragma GCC unroll 12
    for (uint32_t i = 0; i < STEPS_COUNT; i++)
        powers_store(powers, STEPS_COUNT - 1 - i, four[i]);
}
