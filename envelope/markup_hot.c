#include "envelope/markup.h"

#include "base/macros.h"
#include "envelope/text.h"
#include "envelope/window.h"

/* "&#1114111;" */
#define REFERENCE_CHARS_MAX 10

static bool is_harmless(uint8_t c)
{
    /* Blank ! ( ) + , - . / 0-9 : ? and @ A-Z _ a-z, as bits. */
    static const uint64_t harmless[2] = {UINT64_C(0x87fffb0300000000),
                                         UINT64_C(0x07fffffe87ffffff)};
    return c < 0x80 && (harmless[c >> 6] >> (c & 63) & 1) != 0;
}

static __m128i in_range(__m128i lanes, uint8_t first, uint8_t last)
{
    const __m128i from_first = _mm_sub_epi8(lanes, window_byte(first));
    const __m128i width = window_byte((uint8_t)(last - first));
    return _mm_cmpeq_epi8(_mm_min_epu8(from_first, width), from_first);
}

/* The same as is_harmless(), for 16 bytes. */
static __m128i harmless_lanes(__m128i lanes)
{
    const __m128i bit_0 = _mm_or_si128(lanes, window_byte(0x01));
    __m128i harmless = _mm_or_si128(in_range(lanes, '+', ':'), in_range(lanes, '?', 'Z'));
    harmless = _mm_or_si128(harmless, in_range(lanes, 'a', 'z'));
    harmless = _mm_or_si128(harmless, window_equal(bit_0, '!')); /* blank and ! */
    harmless = _mm_or_si128(harmless, window_equal(bit_0, ')')); /* ( and )     */
    return _mm_or_si128(harmless, window_equal(lanes, '_'));
}

/* How many bytes from here on stand for themselves. */
static HOT size_t harmless_bytes(const uint8_t *src, const uint8_t *end)
{
    const uint8_t *at = src;
    for (; end - at >= WINDOW_LANES; at += WINDOW_LANES) {
        const uint32_t stops = window_bits(harmless_lanes(window_lanes(at))) ^ 0xffff;
        if (stops != 0)
            return (size_t)(at - src) + (size_t)__builtin_ctz(stops);
    }
    while (at < end && is_harmless(*at))
        at++;
    return (size_t)(at - src);
}

HOT bool markup_is_harmless(const uint8_t *src, size_t src_bytes)
{
    uint32_t stops = 0;
    for (size_t i = 0; i < src_bytes; i += WINDOW_LANES)
        stops |= (window_bits(harmless_lanes(window_lanes(src + i))) ^ 0xffff) &
                 (uint32_t)window_below((uint32_t)MIN(src_bytes - i, (size_t)WINDOW_LANES));
    return stops == 0;
}

HOT void markup_write(struct writer *writer, const uint8_t *src, size_t src_bytes, size_t chars_max)
{
    const uint8_t *end = src + src_bytes;
    size_t left = chars_max;
    while (src < end) {
        const size_t run_bytes = MIN(harmless_bytes(src, end), left);
        writer_copy(writer, src, run_bytes);
        src += run_bytes;
        left -= run_bytes;
        if (src == end || left == 0)
            return;
        uint32_t c = text_next(&src, end);
        if (c == TEXT_MALFORMED)
            c = TEXT_REPLACEMENT;
        /* "&#1114111;" from its end. */
        uint8_t reference[REFERENCE_CHARS_MAX];
        size_t first = sizeof(reference) - 1;
        reference[first] = ';';
        for (; c != 0; c /= 10)
            reference[--first] = (uint8_t)('0' + c % 10);
        reference[--first] = '#';
        reference[--first] = '&';
        const size_t chars = sizeof(reference) - first;
        if (chars > left)
            return;
        writer_copy(writer, reference + first, chars);
        left -= chars;
    }
}
