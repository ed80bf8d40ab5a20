#include "envelope/scan.h"

#include "base/assert.h"
#include "envelope/scan_internal.h"

#include <emmintrin.h>
#include <stdbool.h>
#include <string.h>

static bool dense_byte(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/' || c == '=' || c == '\n' || c == '\r';
}

HOT size_t scan_scalar(uint8_t *dst, const uint8_t *src, size_t src_bytes)
{
    size_t at = 0;

    for (; src_bytes - at >= SCAN_BLOCK_BYTES; at += SCAN_BLOCK_BYTES) {
        uint32_t dense_count = 0;
        while (dense_count < SCAN_BLOCK_BYTES && dense_byte(src[at + dense_count]))
            dense_count++;
        if (dense_count == SCAN_BLOCK_BYTES)
            return at;
        memcpy(dst + at, src + at, SCAN_BLOCK_BYTES);
    }
    memcpy(dst + at, src + at, src_bytes - at);
    return src_bytes;
}

/* One bit for each of 16 bytes that is not dense. */
static uint32_t outside(__m128i bytes)
{
    const __m128i lower = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
    const __m128i letter = _mm_sub_epi8(lower, _mm_set1_epi8('a'));
    const __m128i digit = _mm_sub_epi8(bytes, _mm_set1_epi8('/')); /* '/' stands before '0' */
    __m128i in = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(25)), letter);

    in = _mm_or_si128(in, _mm_cmpeq_epi8(_mm_min_epu8(digit, _mm_set1_epi8(10)), digit));
    in = _mm_or_si128(in, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('+')));
    in = _mm_or_si128(in, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('=')));
    in = _mm_or_si128(in, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\n')));
    in = _mm_or_si128(in, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\r')));
    return (uint32_t)_mm_movemask_epi8(in) ^ 0xffff;
}

static uint32_t block_outside(__m128i low, __m128i high)
{
    const __m128i blank = _mm_set1_epi8(' ');
    const uint32_t blanks = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(low, blank)) |
                            (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(high, blank)) << 16;

    return blanks != 0 ? blanks : outside(low) | outside(high) << 16;
}

HOT uint32_t scan_outside(const uint8_t *src)
{
    return block_outside(_mm_loadu_si128((const __m128i *)(const void *)src),
                         _mm_loadu_si128((const __m128i *)(const void *)(src + 16)));
}

HOT size_t scan_sse(uint8_t *dst, const uint8_t *src, size_t src_bytes)
{
    size_t at = 0;

    for (; src_bytes - at >= SCAN_BLOCK_BYTES; at += SCAN_BLOCK_BYTES) {
        const __m128i low = _mm_loadu_si128((const __m128i *)(const void *)(src + at));
        const __m128i high = _mm_loadu_si128((const __m128i *)(const void *)(src + at + 16));

        if (block_outside(low, high) == 0)
            return at;
        _mm_storeu_si128((__m128i *)(void *)(dst + at), low);
        _mm_storeu_si128((__m128i *)(void *)(dst + at + 16), high);
    }
    memcpy(dst + at, src + at, src_bytes - at);
    return src_bytes;
}

scan_fn *scan_for(enum isa isa)
{
    ASSERT(isa_supported(isa));
    switch (isa) {
    case ISA_SCALAR: return scan_scalar;
    case ISA_SSE: return scan_sse;
    case ISA_AVX2: return scan_avx2;
    case ISA_AVX512: return scan_avx512;
    }
    return scan_scalar;
}
