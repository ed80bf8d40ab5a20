#define VECTOR_LANES 4
#include "crypto/sha512_vector_internal.h"

HOT void sha512_compress_avx2(struct sha512_lanes *lanes, const uint8_t *const *blocks,
                              uint32_t lanes_count)
{
    compress_vector(lanes, blocks, 0);
    if (lanes_count > VECTOR_LANES)
        compress_vector(lanes, blocks, VECTOR_LANES);
}
