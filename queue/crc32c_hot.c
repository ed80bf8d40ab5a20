#include "queue/crc32c.h"

#include <immintrin.h>
#include <string.h>

#define POLYNOMIAL UINT32_C(0x82f63b78) /* reflected */

uint32_t crc32c_plain(uint32_t crc, const void *at, size_t bytes)
{
    const uint8_t *byte = at;
    crc = ~crc;
    for (size_t n = 0; n < bytes; n++) {
        crc ^= byte[n];
        for (uint32_t bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? POLYNOMIAL : 0);
    }
    return ~crc;
}

#define SSE42 __attribute__((target("sse4.2,pclmul")))

/* The instruction takes three cycles and one can begin in each: so three parts of a piece go side
 * by side, and the checksums of the first two are moved over what follows them. Reflected, a
 * product stands one bit too high and the instruction multiplies by x^32: hence 33. */
#define PART_BYTES 1024
#define OVER_ONE   0x170076fa /* x^(8 * 1024 - 33) */
#define OVER_TWO   0xa51b6135 /* x^(8 * 2048 - 33) */

SSE42 static uint64_t product(uint32_t crc, uint32_t factor)
{
    const __m128i both =
        _mm_clmulepi64_si128(_mm_cvtsi32_si128((int)crc), _mm_cvtsi32_si128((int)factor), 0);
    return (uint64_t)_mm_cvtsi128_si64(both);
}

SSE42 static uint64_t three_parts(uint64_t first, const uint8_t *at)
{
    uint64_t second = 0;
    uint64_t third = 0;
    for (size_t n = 0; n < PART_BYTES; n += 8) {
        uint64_t eights[3];
        memcpy(&eights[0], at + n, 8);
        memcpy(&eights[1], at + n + PART_BYTES, 8);
        memcpy(&eights[2], at + n + 2 * (size_t)PART_BYTES, 8);
        first = _mm_crc32_u64(first, eights[0]);
        second = _mm_crc32_u64(second, eights[1]);
        third = _mm_crc32_u64(third, eights[2]);
    }
    const uint64_t moved = product((uint32_t)first, OVER_TWO) ^ product((uint32_t)second, OVER_ONE);
    return _mm_crc32_u64(0, moved) ^ third;
}

SSE42 static uint32_t crc32c_sse42(uint32_t crc, const uint8_t *at, size_t bytes)
{
    uint64_t state = ~crc;
    for (; bytes >= 3 * (size_t)PART_BYTES; bytes -= 3 * (size_t)PART_BYTES) {
        state = three_parts(state, at);
        at += 3 * (size_t)PART_BYTES;
    }
    while (bytes >= 8) {
        uint64_t eight;
        memcpy(&eight, at, 8);
        state = _mm_crc32_u64(state, eight);
        at += 8;
        bytes -= 8;
    }
    uint32_t last = (uint32_t)state;
    for (; bytes > 0; at++, bytes--)
        last = _mm_crc32_u8(last, *at);
    return ~last;
}

uint32_t crc32c(uint32_t crc, const void *at, size_t bytes)
{
    if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul"))
        return crc32c_sse42(crc, at, bytes);
    return crc32c_plain(crc, at, bytes);
}
