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

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, const uint8_t *at,
                                                               size_t bytes)
{
    uint64_t state = ~crc;
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
    if (__builtin_cpu_supports("sse4.2"))
        return crc32c_sse42(crc, at, bytes);
    return crc32c_plain(crc, at, bytes);
}
