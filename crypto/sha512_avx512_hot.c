#include <immintrin.h>

#define VECTOR_LANES 8
#define VECTOR_TERNARY(a, b, c, table)                                                             \
    ((vector)_mm512_ternarylogic_epi64((__m512i)(a), (__m512i)(b), (__m512i)(c), (table)))
#include "crypto/sha512_vector_internal.h"

/* Row i holds eight words of lane i; afterwards row t holds word t of eight lanes. */
static inline void transpose(vector out[8], const __m512i row[8])
{
    __m512i pair[8];
    __m512i quad[8];
    for (uint32_t i = 0; i < 8; i += 2) {
        pair[i] = _mm512_unpacklo_epi64(row[i], row[i + 1]);
        pair[i + 1] = _mm512_unpackhi_epi64(row[i], row[i + 1]);
    }
    /* pair[i] has words 0 2 4 6 (i even) or 1 3 5 7 of lanes i, i + 1, two lanes to 128 bits. */
    for (uint32_t half = 0; half < 2; half++) {
        for (uint32_t odd = 0; odd < 2; odd++) {
            const __m512i low = pair[4 * half + odd];
            const __m512i high = pair[4 * half + 2 + odd];
            quad[4 * half + odd] = _mm512_shuffle_i64x2(low, high, 0x88);     /* words 0 4 */
            quad[4 * half + 2 + odd] = _mm512_shuffle_i64x2(low, high, 0xdd); /* words 2 6 */
        }
    }
    for (uint32_t word = 0; word < 4; word++) {
        out[word] = (vector)_mm512_shuffle_i64x2(quad[word], quad[4 + word], 0x88);
        out[4 + word] = (vector)_mm512_shuffle_i64x2(quad[word], quad[4 + word], 0xdd);
    }
}

static inline void schedule_load(vector schedule[16], const uint8_t *const *blocks)
{
    const __m512i big_endian =
        _mm512_broadcast_i32x4(_mm_setr_epi8(7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8));
    for (uint32_t half = 0; half < 2; half++) {
        __m512i row[8];
        for (uint32_t lane = 0; lane < 8; lane++)
            row[lane] =
                _mm512_shuffle_epi8(_mm512_loadu_si512(blocks[lane] + 64 * half), big_endian);
        transpose(schedule + 8 * half, row);
    }
}

HOT void sha512_compress_avx512(struct sha512_lanes *lanes, const uint8_t *const *blocks,
                                uint32_t lanes_count)
{
    /* A vector costs the same however few lanes are wanted, and one lane is faster without it. */
    if (lanes_count == 1)
        sha512_compress_scalar(lanes, blocks, 1);
    else
        compress_vector(lanes, blocks, 0);
}
