#define VECTOR_LANES 8
#include "crypto/sha512_vector_internal.h"

HOT void sha512_compress_avx512(struct sha512_lanes *lanes, const uint8_t *const *blocks,
                                uint32_t lanes_count)
{
    (void)lanes_count; /* one vector holds them all */
    compress_vector(lanes, blocks, 0);
}
