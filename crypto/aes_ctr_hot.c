#include "crypto/aes_ctr_internal.h"

#include "base/bytes.h"

#include <immintrin.h>
#include <string.h>

#define ROUNDS_COUNT  14
#define BLOCKS        4 /* of a unit: enough to hide most of a round's latency */
#define COUNTER_FIRST 2 /* SP 800-38D, 7.1: 1 is the tag's */

static inline __m128i round_key(const uint8_t *schedule, uint32_t round)
{
    return _mm_loadu_si128((const __m128i *)(const void *)(schedule + (size_t)round * 16));
}

void aes_ctr_256_sse(uint8_t *stream, size_t units_count, const uint8_t *schedule,
                     const uint8_t nonce[AES_CTR_NONCE_BYTES])
{
    uint8_t first[16];
    memcpy(first, nonce, AES_CTR_NONCE_BYTES);
    uint32_t counter = COUNTER_FIRST;
    for (size_t unit = 0; unit < units_count; unit++) {
        __m128i block[BLOCKS];
        for (uint32_t i = 0; i < BLOCKS; i++) {
            bytes_store_be32(first + AES_CTR_NONCE_BYTES, counter++);
            block[i] = _mm_xor_si128(_mm_loadu_si128((const __m128i *)(const void *)first),
                                     round_key(schedule, 0));
        }
        for (uint32_t round = 1; round < ROUNDS_COUNT; round++) {
#pragma GCC unroll 4
            for (uint32_t i = 0; i < BLOCKS; i++)
                block[i] = _mm_aesenc_si128(block[i], round_key(schedule, round));
        }
        for (uint32_t i = 0; i < BLOCKS; i++)
            _mm_storeu_si128((__m128i *)(void *)(stream + unit * AES_CTR_UNIT_BYTES + i * 16ul),
                             _mm_aesenclast_si128(block[i], round_key(schedule, ROUNDS_COUNT)));
    }
}
