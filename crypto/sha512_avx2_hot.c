#define VECTOR_LANES 4
#include "crypto/sha512_vector_internal.h"

HOT void sha512_compress_avx2(sha512_row *after, const sha512_row *before, const sha512_row *block,
                              uint32_t lanes_count)
{
    if (lanes_count == 1) { /* without AVX-512's rotations a vector is slower than one lane */
        sha512_compress_scalar(after, before, block, 1);
        return;
    }
    compress_vector(after, before, block, 0);
    if (lanes_count > VECTOR_LANES)
        compress_vector(after, before, block, VECTOR_LANES);
}
