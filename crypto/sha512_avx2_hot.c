#include <immintrin.h>

#define VECTOR_LANES 4
#include "crypto/sha512_vector_internal.h"

/* Four lanes' words 4 * quarter … + 3, transposed. */
static inline void quarter_load(vector out[4], const uint8_t *const *blocks, uint32_t quarter)
{
    const __m256i big_endian = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8));
    __m256i row[4];
    for (uint32_t lane = 0; lane < 4; lane++) {
        const void *at = blocks[lane] + 32 * quarter;
        row[lane] = _mm256_shuffle_epi8(_mm256_loadu_si256(at), big_endian);
    }
    const __m256i even_01 = _mm256_unpacklo_epi64(row[0], row[1]);
    const __m256i odd_01 = _mm256_unpackhi_epi64(row[0], row[1]);
    const __m256i even_23 = _mm256_unpacklo_epi64(row[2], row[3]);
    const __m256i odd_23 = _mm256_unpackhi_epi64(row[2], row[3]);
    out[0] = (vector)_mm256_permute2x128_si256(even_01, even_23, 0x20);
    out[1] = (vector)_mm256_permute2x128_si256(odd_01, odd_23, 0x20);
    out[2] = (vector)_mm256_permute2x128_si256(even_01, even_23, 0x31);
    out[3] = (vector)_mm256_permute2x128_si256(odd_01, odd_23, 0x31);
}

static inline void schedule_load(vector schedule[16], const uint8_t *const *blocks)
{
    for (uint32_t quarter = 0; quarter < 4; quarter++)
        quarter_load(schedule + 4 * quarter, blocks, quarter);
}

HOT void sha512_compress_avx2(struct sha512_lanes *lanes, const uint8_t *const *blocks,
                              uint32_t lanes_count)
{
    if (lanes_count == 1) { /* without AVX-512's rotations a vector is slower than one lane */
        sha512_compress_scalar(lanes, blocks, 1);
        return;
    }
    compress_vector(lanes, blocks, 0);
    if (lanes_count > VECTOR_LANES)
        compress_vector(lanes, blocks, VECTOR_LANES);
}
