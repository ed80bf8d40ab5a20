#include <immintrin.h>

#define VECTOR_LANES 8
#define VECTOR_TERNARY(a, b, c, table)                                                             \
    ((vector)_mm512_ternarylogic_epi64((__m512i)(a), (__m512i)(b), (__m512i)(c), (table)))
#include "crypto/sha512_vector_internal.h"

HOT void sha512_compress_avx512(sha512_row *after, const sha512_row *before,
                                const sha512_row *block, uint32_t lanes_count)
{
    /* A vector costs the same however few of its lanes are wanted. */
    if (lanes_count == 1)
        sha512_compress_avx512_1(after, before, block, 1);
    else if (lanes_count <= SHA512_LANES / 2)
        sha512_compress_avx512_4(after, before, block, lanes_count);
    else
        compress_vector(after, before, block, 0);
}
