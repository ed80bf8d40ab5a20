#include "queue/crc32c.h"

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>
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

#define WIDE __attribute__((target("avx512f,vpclmulqdq,sse4.2,pclmul")))

/* Four registers of 64 bytes go side by side, each folded over what comes 256 bytes later: its
 * 16-byte lanes are carried there by x^(8 * 256), the first half of a lane by 64 more. A reflected
 * product stands one bit too high: hence 63 and 1. */
#define WIDE_BYTES      ((size_t)256)
#define WIDE_FIRST      INT64_C(-0x165a274200000000) /* x^(8 * 256 + 64 - 1) */
#define WIDE_SECOND     INT64_C(0x1426a81500000000)  /* x^(8 * 256 - 1)      */
#define REGISTER_BYTES  ((size_t)64)
#define REGISTER_FIRST  INT64_C(0x1c19243b00000000) /* x^(8 * 64 + 64 - 1) */
#define REGISTER_SECOND INT64_C(0x75bba45b00000000) /* x^(8 * 64 - 1)      */

WIDE static inline __m512i folded(__m512i lanes, __m512i factors, __m512i onto)
{
    const __m512i first = _mm512_clmulepi64_epi128(lanes, factors, 0x00);
    const __m512i second = _mm512_clmulepi64_epi128(lanes, factors, 0x11);
    return _mm512_ternarylogic_epi64(first, second, onto, 0x96); /* all three, xor */
}

/* Sixty-four bytes, which are written too where somebody wants them: a whole line, so that what
 * stood there need not be fetched first. */
WIDE static inline __m512i taken(const uint8_t *at, uint8_t *dst, size_t n)
{
    const __m512i bytes = _mm512_loadu_si512(at + n);
    if (dst != NULL)
        _mm512_stream_si512((__m512i *)(void *)(dst + n), bytes);
    return bytes;
}

/* Of WIDE_BYTES at least; returns how many were taken, the rest is less than a register. */
WIDE static inline size_t wide_parts(uint32_t *state, uint8_t *dst, const uint8_t *at, size_t bytes)
{
    const __m512i wide = _mm512_set_epi64(WIDE_SECOND, WIDE_FIRST, WIDE_SECOND, WIDE_FIRST,
                                          WIDE_SECOND, WIDE_FIRST, WIDE_SECOND, WIDE_FIRST);
    const __m512i narrow =
        _mm512_set_epi64(REGISTER_SECOND, REGISTER_FIRST, REGISTER_SECOND, REGISTER_FIRST,
                         REGISTER_SECOND, REGISTER_FIRST, REGISTER_SECOND, REGISTER_FIRST);
    __m512i sums[4];
    for (uint32_t n = 0; n < 4; n++)
        sums[n] = taken(at, dst, n * REGISTER_BYTES);
    sums[0] = _mm512_xor_si512(sums[0], _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)*state)));
    size_t done = WIDE_BYTES;
    for (; bytes - done >= WIDE_BYTES; done += WIDE_BYTES)
        for (uint32_t n = 0; n < 4; n++)
            sums[n] = folded(sums[n], wide, taken(at, dst, done + n * REGISTER_BYTES));
    __m512i sum = sums[0];
    for (uint32_t n = 1; n < 4; n++)
        sum = folded(sum, narrow, sums[n]);
    for (; bytes - done >= REGISTER_BYTES; done += REGISTER_BYTES)
        sum = folded(sum, narrow, taken(at, dst, done));
    uint64_t eights[8];
    _mm512_storeu_si512(eights, sum);
    uint64_t left = 0;
    for (uint32_t n = 0; n < 8; n++)
        left = _mm_crc32_u64(left, eights[n]);
    *state = (uint32_t)left;
    return done;
}

WIDE static uint32_t wide_sum(uint32_t crc, const uint8_t *at, size_t bytes)
{
    uint32_t state = ~crc;
    const size_t done = wide_parts(&state, NULL, at, bytes);
    return crc32c_sse42(~state, at + done, bytes - done);
}

/* The whole lines of the copy are written as such; what is before and behind them is not. */
WIDE static uint32_t wide_copy(uint32_t crc, uint8_t *dst, const uint8_t *at, size_t bytes)
{
    const size_t before = (size_t)(-(uintptr_t)dst) % REGISTER_BYTES;
    memcpy(dst, at, before);
    uint32_t state = ~crc32c_sse42(crc, dst, before);
    const size_t done = before + wide_parts(&state, dst + before, at + before, bytes - before);
    memcpy(dst + done, at + done, bytes - done);
    return crc32c_sse42(~state, dst + done, bytes - done);
}

static bool has_wide(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("vpclmulqdq");
}

uint32_t crc32c_narrow(uint32_t crc, const void *at, size_t bytes)
{
    if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul"))
        return crc32c_sse42(crc, at, bytes);
    return crc32c_plain(crc, at, bytes);
}

uint32_t crc32c(uint32_t crc, const void *at, size_t bytes)
{
    return bytes >= WIDE_BYTES && has_wide() ? wide_sum(crc, at, bytes)
                                             : crc32c_narrow(crc, at, bytes);
}

uint32_t crc32c_copy_out(uint32_t crc, void *dst, const void *from, size_t bytes)
{
    if (bytes >= WIDE_BYTES + REGISTER_BYTES && has_wide())
        return wide_copy(crc, dst, from, bytes);
    memcpy(dst, from, bytes);
    return crc32c_narrow(crc, dst, bytes);
}

void crc32c_copied_out(void)
{
    _mm_sfence();
}
