#include <immintrin.h>

#define VECTOR_LANES 8
#define VECTOR_TERNARY(a, b, c, table)                                                             \
    ((vector)_mm512_ternarylogic_epi64((__m512i)(a), (__m512i)(b), (__m512i)(c), (table)))
#include "crypto/sha512_vector_internal.h"

HOT void sha512_compress_avx512(sha512_row *after, const sha512_row *before,
                                const sha512_row *block, uint32_t lanes_count)
{
    /* A vector costs the same however few lanes are wanted, and one lane is faster without it. */
    if (lanes_count == 1)
        sha512_compress_scalar(after, before, block, 1);
    else
        compress_vector(after, before, block, 0);
}
