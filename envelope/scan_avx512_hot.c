#include "envelope/scan_internal.h"

#include <immintrin.h>
#include <stdbool.h>

#define STRIDE_BYTES (2 * SCAN_BLOCK_BYTES)

/* 0x80 for each ASCII character that is not dense. */
#define OUT      0x80
#define OUT4     OUT, OUT, OUT, OUT
#define OUT8     OUT4, OUT4
#define IN4      0, 0, 0, 0
#define LETTERS  OUT, 0, 0, 0, IN4, IN4, IN4, IN4, IN4, 0, 0, 0, OUT, OUT4
#define CONTROLS OUT8, OUT, OUT, 0, OUT, OUT, 0, OUT, OUT, OUT8, OUT8
#define MARKS    OUT8, OUT, OUT, OUT, 0, OUT, OUT, OUT, 0
#define DIGITS   IN4, IN4, 0, 0, OUT, OUT, OUT, 0, OUT, OUT

static const uint8_t controls_and_marks[STRIDE_BYTES] = {CONTROLS, MARKS, DIGITS};
static const uint8_t letters[STRIDE_BYTES] = {LETTERS, LETTERS};

/* One bit for each of 64 bytes that is not dense. */
static inline uint64_t outside(__m512i bytes)
{
    const __m512i low = _mm512_loadu_si512(controls_and_marks);
    const __m512i high = _mm512_loadu_si512(letters);
    const __m512i looked_up = _mm512_permutex2var_epi8(low, bytes, high); /* by the lower 7 bits */

    return _mm512_movepi8_mask(_mm512_or_si512(looked_up, bytes));
}

static inline bool blank_in_both(__m512i bytes)
{
    const uint64_t blanks = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(' '));

    return ((uint32_t)blanks != 0) & (blanks >> SCAN_BLOCK_BYTES != 0);
}

/*
 * Copies while each block has a blank; returns the bytes of whole turns. Four loads go before the
 * first store: where source and destination lie alike within their pages, a load that follows a
 * store closely waits for it.
 */
static inline size_t pass_blanks(uint8_t *dst, const uint8_t *src, size_t src_bytes)
{
    size_t at = 0;

    for (; src_bytes - at >= 4 * STRIDE_BYTES; at += 4 * STRIDE_BYTES) {
        const __m512i a = _mm512_loadu_si512(src + at);
        const __m512i b = _mm512_loadu_si512(src + at + STRIDE_BYTES);
        const __m512i c = _mm512_loadu_si512(src + at + 2 * STRIDE_BYTES);
        const __m512i d = _mm512_loadu_si512(src + at + 3 * STRIDE_BYTES);

        _mm512_storeu_si512(dst + at, a);
        _mm512_storeu_si512(dst + at + STRIDE_BYTES, b);
        _mm512_storeu_si512(dst + at + 2 * STRIDE_BYTES, c);
        _mm512_storeu_si512(dst + at + 3 * STRIDE_BYTES, d);
        if (!(blank_in_both(a) & blank_in_both(b) & blank_in_both(c) & blank_in_both(d)))
            break;
    }
    return at;
}

HOT size_t scan_avx512(uint8_t *dst, const uint8_t *src, size_t src_bytes)
{
    size_t at = pass_blanks(dst, src, src_bytes);

    while (src_bytes - at >= STRIDE_BYTES) {
        const __m512i bytes = _mm512_loadu_si512(src + at);

        _mm512_storeu_si512(dst + at, bytes);
        const uint64_t mask = outside(bytes);
        if ((uint32_t)mask == 0)
            return at;
        if (mask >> SCAN_BLOCK_BYTES == 0)
            return at + SCAN_BLOCK_BYTES;
        at += STRIDE_BYTES;
        if (at % (4 * STRIDE_BYTES) == 0)
            at += pass_blanks(dst + at, src + at, src_bytes - at);
    }
    /* The rest: less than two blocks, of which one may be whole. */
    const size_t rest_bytes = src_bytes - at;
    const __mmask64 rest = (UINT64_C(1) << rest_bytes) - 1;
    const __m512i bytes = _mm512_maskz_loadu_epi8(rest, src + at);
    if (rest_bytes >= SCAN_BLOCK_BYTES && (uint32_t)outside(bytes) == 0)
        return at;
    _mm512_mask_storeu_epi8(dst + at, rest, bytes);
    return src_bytes;
}
