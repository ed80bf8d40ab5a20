#include "crypto/base64.h"
#include "crypto/base64_internal.h"

#include "base/assert.h"

#include <immintrin.h>
#include <string.h>

/*
 * A register of 32 characters carries 24 bytes, 12 in each half. A line of 57 bytes is two of
 * those and 12 bytes more, of which 3 overlap what stands before them; the rests of two lines
 * share one register. Method: W. Mula and D. Lemire, "Faster Base64 Encoding and Decoding using
 * AVX2 Instructions", ACM Transactions on the Web 12(3), 2018.
 */
#define HALF_CHARS     16
#define HALF_BYTES     12
#define REGISTER_CHARS 32
#define REGISTER_BYTES 24

static inline __m256i halves_load(const uint8_t *low, const uint8_t *high)
{
    const __m128i low_half = _mm_loadu_si128((const __m128i *)(const void *)low);
    const __m128i high_half = _mm_loadu_si128((const __m128i *)(const void *)high);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low_half), high_half, 1);
}

static inline __m256i both_halves(__m128i half)
{
    return _mm256_broadcastsi128_si256(half);
}

/* `spread` brings bytes 1 0 2 1 of each group of three into one 32-bit word. */
static inline __m256i register_encode(__m256i bytes, __m256i spread)
{
    const __m256i words = _mm256_shuffle_epi8(bytes, spread);
    /* Each 6-bit field goes to the bottom of its byte: two by a high, two by a low product. */
    const __m256i odd = _mm256_mulhi_epu16(_mm256_and_si256(words, _mm256_set1_epi32(0x0fc0fc00)),
                                           _mm256_set1_epi32(0x04000040));
    const __m256i even = _mm256_mullo_epi16(_mm256_and_si256(words, _mm256_set1_epi32(0x003f03f0)),
                                            _mm256_set1_epi32(0x01000010));
    const __m256i sixes = _mm256_or_si256(odd, even);
    /* The alphabet's ranges become 13 (A–Z), 0 (a–z), 1–10 (digits), 11 (+) and 12 (/). */
    const __m256i past_z = _mm256_subs_epu8(sixes, _mm256_set1_epi8(51));
    const __m256i upper = _mm256_cmpgt_epi8(_mm256_set1_epi8(26), sixes);
    const __m256i range = _mm256_or_si256(past_z, _mm256_and_si256(upper, _mm256_set1_epi8(13)));
    const __m256i offsets = both_halves(
        _mm_setr_epi8('a' - 26, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
                      '0' - 52, '0' - 52, '0' - 52, '0' - 52, '+' - 62, '/' - 63, 'A', 0, 0));
    return _mm256_add_epi8(sixes, _mm256_shuffle_epi8(offsets, range));
}

static inline void register_store(uint8_t *dst, __m256i value)
{
    _mm256_storeu_si256((__m256i *)(void *)dst, value);
}

static inline void half_store(uint8_t *dst, __m128i value)
{
    _mm_storeu_si128((__m128i *)(void *)dst, value);
}

void base64_avx2_encode_lines(uint8_t *dst, const uint8_t *src, size_t lines_count)
{
    const __m128i spread_first = _mm_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10);
    /* For a rest, loaded so as to end with the line: its 12 bytes are the last of 16. */
    const __m128i spread_last = _mm_add_epi8(spread_first, _mm_set1_epi8(4));
    const __m256i spread = both_halves(spread_first);
    const __m256i spread_rest = both_halves(spread_last);

    size_t line = 0;
    for (; lines_count - line >= 2; line += 2) {
        const uint8_t *src_b = src + BASE64_LINE_BYTES;
        uint8_t *dst_b = dst + BASE64_LINE_STRIDE;
        const __m256i a0 = register_encode(halves_load(src, src + 12), spread);
        const __m256i a1 = register_encode(halves_load(src + 24, src + 36), spread);
        const __m256i b0 = register_encode(halves_load(src_b, src_b + 12), spread);
        const __m256i b1 = register_encode(halves_load(src_b + 24, src_b + 36), spread);
        const __m256i rests = register_encode(halves_load(src + 41, src_b + 41), spread_rest);
        register_store(dst, a0);
        register_store(dst + REGISTER_CHARS, a1);
        half_store(dst + 60, _mm256_castsi256_si128(rests));
        memcpy(dst + BASE64_LINE_CHARS, "\r\n", 2);
        register_store(dst_b, b0);
        register_store(dst_b + REGISTER_CHARS, b1);
        half_store(dst_b + 60, _mm256_extracti128_si256(rests, 1));
        memcpy(dst_b + BASE64_LINE_CHARS, "\r\n", 2);
        src += 2 * BASE64_LINE_BYTES;
        dst += 2 * BASE64_LINE_STRIDE;
    }
    if (line < lines_count)
        base64_scalar_encode_lines(dst, src, 1);
}

/*
 * Characters to values. The top bit of a byte of *wrong is not meaningful; any nonzero byte there
 * means that some character is not of the alphabet: the two tables, indexed by each character's
 * halves, share a bit exactly then.
 */
static inline __m256i register_values(__m256i chars, __m256i *wrong)
{
    const __m256i low_table =
        both_halves(_mm_setr_epi8(0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x13,
                                  0x1a, 0x1b, 0x1b, 0x1b, 0x1a));
    const __m256i high_table =
        both_halves(_mm_setr_epi8(0x10, 0x10, 0x01, 0x02, 0x04, 0x08, 0x04, 0x08, 0x10, 0x10, 0x10,
                                  0x10, 0x10, 0x10, 0x10, 0x10));
    const __m256i roll_table =
        both_halves(_mm_setr_epi8(0, 16, 19, 4, -65, -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0));
    const __m256i slash = _mm256_set1_epi8('/');
    const __m256i high = _mm256_and_si256(_mm256_srli_epi32(chars, 4), slash);
    const __m256i low = _mm256_and_si256(chars, slash);
    const __m256i fault = _mm256_and_si256(_mm256_shuffle_epi8(low_table, low),
                                           _mm256_shuffle_epi8(high_table, high));
    *wrong = _mm256_or_si256(*wrong, fault);
    /* '/' shares its high half with '+' and has an entry of its own, one before. */
    const __m256i is_slash = _mm256_cmpeq_epi8(chars, slash);
    const __m256i roll = _mm256_shuffle_epi8(roll_table, _mm256_add_epi8(is_slash, high));
    return _mm256_add_epi8(chars, roll);
}

/* 16 values of each half to 12 bytes at its front. */
static inline __m256i register_pack(__m256i values)
{
    const __m256i twelves = _mm256_maddubs_epi16(values, _mm256_set1_epi32(0x01400140));
    const __m256i words = _mm256_madd_epi16(twelves, _mm256_set1_epi32(0x00011000));
    return _mm256_shuffle_epi8(
        words, both_halves(_mm_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1)));
}

/* 32 values to 24 bytes, stored as 32. */
static inline void values_store(uint8_t *dst, __m256i values)
{
    const __m256i joined = _mm256_permutevar8x32_epi32(register_pack(values),
                                                       _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7));
    register_store(dst, joined);
}

static inline __m256i register_load(const uint8_t *src)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)src);
}

/* Two lines of 76 characters and CRLF; false, and nothing of use in `dst`, when any is wrong. */
static inline bool pair_decode(uint8_t *dst, const uint8_t *src)
{
    const uint8_t *src_b = src + BASE64_LINE_STRIDE;
    uint8_t *dst_b = dst + BASE64_LINE_BYTES;
    __m256i wrong = _mm256_setzero_si256();
    /* The last 16 characters of both lines: the first group of each is decoded twice. */
    const __m256i rests = register_pack(register_values(halves_load(src + 60, src_b + 60), &wrong));
    /* In this order, since each store spills past its bytes into the next one's. */
    values_store(dst, register_values(register_load(src), &wrong));
    values_store(dst + REGISTER_BYTES, register_values(register_load(src + 32), &wrong));
    half_store(dst + 45, _mm256_castsi256_si128(rests));
    values_store(dst_b, register_values(register_load(src_b), &wrong));
    values_store(dst_b + REGISTER_BYTES, register_values(register_load(src_b + 32), &wrong));
    half_store(dst_b + 45, _mm256_extracti128_si256(rests, 1));
    return _mm256_testz_si256(wrong, wrong) && base64_eol_is(src + BASE64_LINE_CHARS, 2) &&
           base64_eol_is(src_b + BASE64_LINE_CHARS, 2);
}

/*
 * A line of any width from 16: registers, then halves, the last one ending with the line whatever
 * it overlaps. Spills at most 16 bytes past the line's own.
 */
static inline bool line_decode(uint8_t *dst, const uint8_t *src, uint32_t width)
{
    __m256i wrong = _mm256_setzero_si256();
    uint32_t at = 0;
    for (; width - at >= REGISTER_CHARS; at += REGISTER_CHARS)
        values_store(dst + at / 4 * 3, register_values(register_load(src + at), &wrong));
    while (at < width) {
        at = MIN(at, width - HALF_CHARS);
        const __m256i values = register_values(halves_load(src + at, src + at), &wrong);
        half_store(dst + at / 4 * 3, _mm256_castsi256_si128(register_pack(values)));
        at += HALF_CHARS;
    }
    return _mm256_testz_si256(wrong, wrong) != 0;
}

size_t base64_avx2_decode_lines(uint8_t *dst, const uint8_t *src, size_t src_bytes, uint32_t width,
                                uint32_t eol_bytes)
{
    ASSERT(width >= 4 && width <= BASE64_LINE_CHARS && width % 4 == 0);
    ASSERT(eol_bytes == 1 || eol_bytes == 2);
    if (width < HALF_CHARS)
        return base64_scalar_decode_lines(dst, src, src_bytes, width, eol_bytes);
    const size_t stride = width + eol_bytes;
    const size_t line_bytes = width / 4 * 3;
    const size_t whole_lines = src_bytes / stride;
    size_t line = 0;
    if (width == BASE64_LINE_CHARS && eol_bytes == 2) {
        while (whole_lines - line >= 2 && pair_decode(dst, src)) {
            src += 2 * BASE64_LINE_STRIDE;
            dst += 2 * BASE64_LINE_BYTES;
            line += 2;
        }
    }
    for (; line < whole_lines; line++) {
        if (!base64_eol_is(src + width, eol_bytes) || !line_decode(dst, src, width))
            break;
        src += stride;
        dst += line_bytes;
    }
    return line;
}
