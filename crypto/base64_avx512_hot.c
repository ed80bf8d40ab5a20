#include "crypto/base64.h"
#include "crypto/base64_internal.h"

#include "base/assert.h"

#include <immintrin.h>
#include <string.h>

/* Four lines are worked on as one text of five vectors, so that no vector is mostly empty. */
#define BLOCK_LINES   4
#define BLOCK_VECTORS 5
#define BLOCK_CHARS   (BLOCK_LINES * BASE64_LINE_STRIDE)
#define BLOCK_BYTES   (BLOCK_LINES * BASE64_LINE_BYTES)

#define VECTOR_BYTES 64
#define PACKED_BYTES 48 /* what a vector of 64 characters carries */

/*
 * Encoding. Output character p of a block stands in column p % 78 of line p / 78. A vector takes
 * each group of eight output characters from eight source bytes, reversed so that they read as one
 * big-endian number, out of which multishift cuts six bits for each character. Line ends fall on
 * even places, since 78 and 64 are even: they are blended in last.
 */
#define CHAR_AT(p)      ((p) / 78 * 76 + (p) % 78) /* of the text without its line ends */
#define FIRST_BYTE(p)   (CHAR_AT((p) & ~7) * 6 / 8)
#define GATHER(p, base) ((uint8_t)((FIRST_BYTE(p) + 7 - ((p)&7) - (base)) & 63))
#define SHIFT(p, base)  ((uint8_t)((58 - 6 * CHAR_AT(p) + 8 * FIRST_BYTE(p)) & 63))
#define ROW_8(F, p, base)                                                                          \
    F((p), base), F((p) + 1, base), F((p) + 2, base), F((p) + 3, base), F((p) + 4, base),          \
        F((p) + 5, base), F((p) + 6, base), F((p) + 7, base)
#define ROW_64(F, p, base)                                                                         \
    ROW_8(F, (p), base), ROW_8(F, (p) + 8, base), ROW_8(F, (p) + 16, base),                        \
        ROW_8(F, (p) + 24, base), ROW_8(F, (p) + 32, base), ROW_8(F, (p) + 40, base),              \
        ROW_8(F, (p) + 48, base), ROW_8(F, (p) + 56, base)

/* Where each vector's 64 source bytes begin; the last begins early, to end with the block. */
#define BASE_0 0
#define BASE_1 48
#define BASE_2 94
#define BASE_3 141
#define BASE_4 (BLOCK_BYTES - VECTOR_BYTES)
_Static_assert(FIRST_BYTE(64) == BASE_1 && FIRST_BYTE(128) == BASE_2 && FIRST_BYTE(192) == BASE_3,
               "vectors begin at their first character's byte");
_Static_assert(BASE_4 <= FIRST_BYTE(256) && BASE_3 + VECTOR_BYTES <= BLOCK_BYTES,
               "no vector reads past the block");

static const uint8_t gathers[BLOCK_VECTORS][VECTOR_BYTES] __attribute__((aligned(64))) = {
    {ROW_64(GATHER, 0, BASE_0)},   {ROW_64(GATHER, 64, BASE_1)},  {ROW_64(GATHER, 128, BASE_2)},
    {ROW_64(GATHER, 192, BASE_3)}, {ROW_64(GATHER, 256, BASE_4)},
};
static const uint8_t shifts[BLOCK_VECTORS][VECTOR_BYTES] __attribute__((aligned(64))) = {
    {ROW_64(SHIFT, 0, BASE_0)},   {ROW_64(SHIFT, 64, BASE_1)},  {ROW_64(SHIFT, 128, BASE_2)},
    {ROW_64(SHIFT, 192, BASE_3)}, {ROW_64(SHIFT, 256, BASE_4)},
};

/* The two places of a vector where line `line` of the block ends. */
#define EOL_MASK(line, vector) (UINT64_C(3) << ((line)*78 + 76 - (vector)*64))

static inline __m512i vector_encode(__m512i bytes, __m512i gather, __m512i shift, __m512i alphabet)
{
    const __m512i gathered = _mm512_permutexvar_epi8(gather, bytes);
    const __m512i sixes = _mm512_multishift_epi64_epi8(shift, gathered);
    return _mm512_permutexvar_epi8(sixes, alphabet); /* looks at the low six bits only */
}

void base64_avx512_encode_lines(uint8_t *dst, const uint8_t *src, size_t lines_count)
{
    const __m512i alphabet = _mm512_loadu_si512(base64_alphabet);
    const __m512i eol = _mm512_set1_epi16('\r' | '\n' << 8);
    __m512i gather[BLOCK_VECTORS];
    __m512i shift[BLOCK_VECTORS];
    for (uint32_t i = 0; i < BLOCK_VECTORS; i++) {
        gather[i] = _mm512_load_si512(gathers[i]);
        shift[i] = _mm512_load_si512(shifts[i]);
    }
    size_t line = 0;
#define ENCODE(i, base)                                                                            \
    vector_encode(_mm512_loadu_si512(src + (base)), gather[i], shift[i], alphabet)
    for (; lines_count - line >= BLOCK_LINES; line += BLOCK_LINES) {
        const __m512i v0 = ENCODE(0, BASE_0);
        const __m512i v1 = _mm512_mask_mov_epi8(ENCODE(1, BASE_1), EOL_MASK(0, 1), eol);
        const __m512i v2 = _mm512_mask_mov_epi8(ENCODE(2, BASE_2), EOL_MASK(1, 2), eol);
        const __m512i v3 = _mm512_mask_mov_epi8(ENCODE(3, BASE_3), EOL_MASK(2, 3), eol);
        const __m512i v4 = _mm512_mask_mov_epi8(ENCODE(4, BASE_4), EOL_MASK(3, 4), eol);
        _mm512_storeu_si512(dst, v0);
        _mm512_storeu_si512(dst + 64, v1);
        _mm512_storeu_si512(dst + 128, v2);
        _mm512_storeu_si512(dst + 192, v3);
        _mm512_storeu_si512(dst + 256, v4);
        src += BLOCK_BYTES;
        dst += BLOCK_CHARS;
    }
#undef ENCODE
    for (; line < lines_count; line++) {
        /* One line is the first 78 places of a block; masked loads stay within it. */
        const __m512i first = _mm512_maskz_loadu_epi8((UINT64_C(1) << PACKED_BYTES) - 1, src);
        const __m512i rest = _mm512_maskz_loadu_epi8(
            (UINT64_C(1) << (BASE64_LINE_BYTES - PACKED_BYTES)) - 1, src + PACKED_BYTES);
        const __m512i v0 = vector_encode(first, gather[0], shift[0], alphabet);
        const __m512i v1 = vector_encode(rest, gather[1], shift[1], alphabet);
        _mm512_storeu_si512(dst, v0);
        _mm512_mask_storeu_epi8(dst + 64, (UINT64_C(1) << (BASE64_LINE_STRIDE - 64)) - 1,
                                _mm512_mask_mov_epi8(v1, EOL_MASK(0, 1), eol));
        src += BASE64_LINE_BYTES;
        dst += BASE64_LINE_STRIDE;
    }
}

/* As a line's, with what pads and ends it where it ends. Both stand within a group of four
 * characters, so neither crosses from one vector into the next. */
size_t base64_avx512_encode_short(uint8_t *dst, const uint8_t *src, size_t bytes)
{
    ASSERT(bytes > 0 && bytes < BASE64_LINE_BYTES);
    const size_t chars = base64_padded_chars(bytes);
    const size_t first_bytes = MIN(bytes, (size_t)PACKED_BYTES);
    const __m512i alphabet = _mm512_loadu_si512(base64_alphabet);
    const __m512i first = _mm512_maskz_loadu_epi8((UINT64_C(1) << first_bytes) - 1, src);
    const __m512i rest =
        _mm512_maskz_loadu_epi8((UINT64_C(1) << (bytes - first_bytes)) - 1, src + first_bytes);
    __m512i v0 =
        vector_encode(first, _mm512_load_si512(gathers[0]), _mm512_load_si512(shifts[0]), alphabet);
    __m512i v1 =
        vector_encode(rest, _mm512_load_si512(gathers[1]), _mm512_load_si512(shifts[1]), alphabet);
    const size_t pads_count = chars / 4 * 3 - bytes;
    const uint64_t pads = ((UINT64_C(1) << pads_count) - 1) << (chars - pads_count) % VECTOR_BYTES;
    const uint64_t eols = UINT64_C(3) << chars % VECTOR_BYTES;
    const __m512i pad = _mm512_set1_epi8('=');
    const __m512i eol = _mm512_set1_epi16('\r' | '\n' << 8);
    v0 = _mm512_mask_mov_epi8(v0, chars <= VECTOR_BYTES ? pads : 0, pad);
    v1 = _mm512_mask_mov_epi8(v1, chars <= VECTOR_BYTES ? 0 : pads, pad);
    v0 = _mm512_mask_mov_epi8(v0, chars < VECTOR_BYTES ? eols : 0, eol);
    v1 = _mm512_mask_mov_epi8(v1, chars < VECTOR_BYTES ? 0 : eols, eol);
    _mm512_storeu_si512(dst, v0);
    if (chars >= VECTOR_BYTES)
        _mm512_mask_storeu_epi8(dst + VECTOR_BYTES, (UINT64_C(1) << (chars + 2 - VECTOR_BYTES)) - 1,
                                v1);
    return chars + 2;
}

/* Decoding: 64 characters to values with the top bit set where one is not of the alphabet. */
static inline __m512i vector_values(__m512i chars, __m512i low, __m512i high)
{
    return _mm512_permutex2var_epi8(low, chars, high);
}

/* 64 values to 48 bytes at the front: pairs to 12 bits, fours to 24, then the bytes in order. */
static inline __m512i vector_pack(__m512i values, __m512i order)
{
    const __m512i twelves = _mm512_maddubs_epi16(values, _mm512_set1_epi32(0x01400140));
    const __m512i words = _mm512_madd_epi16(twelves, _mm512_set1_epi32(0x00011000));
    return _mm512_permutexvar_epi8(order, words);
}

#define PACK_ORDER_3(i) (uint8_t)(4 * (i) + 2), (uint8_t)(4 * (i) + 1), (uint8_t)(4 * (i))
#define PACK_ORDER_12(i)                                                                           \
    PACK_ORDER_3(i), PACK_ORDER_3((i) + 1), PACK_ORDER_3((i) + 2), PACK_ORDER_3((i) + 3)
static const uint8_t pack_order[VECTOR_BYTES] __attribute__((aligned(64))) = {
    PACK_ORDER_12(0), PACK_ORDER_12(4), PACK_ORDER_12(8), PACK_ORDER_12(12)};

struct decode_tables {
    __m512i low;  /* values of characters 0–63   */
    __m512i high; /* values of characters 64–127 */
    __m512i order;
};

/* A line of any width: at most two vectors, loaded under masks so that nothing past it is read. */
static inline bool line_decode(uint8_t *dst, const uint8_t *src, uint32_t width,
                               const struct decode_tables *tables)
{
    const uint32_t first_chars = MIN(width, (uint32_t)VECTOR_BYTES);
    const uint32_t second_chars = width - first_chars;
    const __mmask64 first_mask = ~UINT64_C(0) >> (VECTOR_BYTES - first_chars);
    const __mmask64 second_mask = (UINT64_C(1) << second_chars) - 1;
    const __m512i first = _mm512_maskz_loadu_epi8(first_mask, src);
    const __m512i second = _mm512_maskz_loadu_epi8(second_mask, src + first_chars);
    const __m512i first_values = vector_values(first, tables->low, tables->high);
    const __m512i second_values = vector_values(second, tables->low, tables->high);
    const __mmask64 wrong =
        (_mm512_movepi8_mask(_mm512_or_si512(first, first_values)) & first_mask) |
        (_mm512_movepi8_mask(_mm512_or_si512(second, second_values)) & second_mask);
    if (wrong != 0)
        return false;
    _mm512_storeu_si512(dst, vector_pack(first_values, tables->order));
    if (second_chars > 0)
        _mm512_storeu_si512(dst + PACKED_BYTES, vector_pack(second_values, tables->order));
    return true;
}

/*
 * Four lines of 76 characters and CRLF: 76 groups of four in five vectors. The first takes 16
 * groups; each other takes 15, from both sides of one line end, which a second load under a mask
 * leaves out. False when any of the 312 characters is wrong; then `dst` holds nothing of use.
 */
#define PART_CHARS 60

static inline __m512i load_over_eol(const uint8_t *src, uint32_t chars_before)
{
    const __mmask64 before = (UINT64_C(1) << chars_before) - 1;
    const __mmask64 after = ((UINT64_C(1) << PART_CHARS) - 1) ^ before;
    const __m512i head = _mm512_mask_loadu_epi8(_mm512_set1_epi8('A'), before, src);
    return _mm512_mask_loadu_epi8(head, after, src + 2);
}

static inline bool block_decode(uint8_t *dst, const uint8_t *src,
                                const struct decode_tables *tables)
{
    const __m512i c0 = _mm512_loadu_si512(src);
    const __m512i c1 = load_over_eol(src + 64, 12);
    const __m512i c2 = load_over_eol(src + 126, 28);
    const __m512i c3 = load_over_eol(src + 188, 44);
    const __m512i c4 = load_over_eol(src + 250, PART_CHARS);
    const __m512i v0 = vector_values(c0, tables->low, tables->high);
    const __m512i v1 = vector_values(c1, tables->low, tables->high);
    const __m512i v2 = vector_values(c2, tables->low, tables->high);
    const __m512i v3 = vector_values(c3, tables->low, tables->high);
    const __m512i v4 = vector_values(c4, tables->low, tables->high);
    /* 0xfe is the OR of three. */
    __m512i seen = _mm512_ternarylogic_epi64(c0, v0, c1, 0xfe);
    seen = _mm512_ternarylogic_epi64(seen, v1, c2, 0xfe);
    seen = _mm512_ternarylogic_epi64(seen, v2, c3, 0xfe);
    seen = _mm512_ternarylogic_epi64(seen, v3, c4, 0xfe);
    seen = _mm512_or_si512(seen, v4);
    uint16_t eols[BLOCK_LINES];
    for (uint32_t i = 0; i < BLOCK_LINES; i++)
        memcpy(&eols[i], src + i * BASE64_LINE_STRIDE + BASE64_LINE_CHARS, sizeof(eols[i]));
    const uint32_t crlf = '\r' | '\n' << 8;
    const uint32_t differing =
        (eols[0] ^ crlf) | (eols[1] ^ crlf) | (eols[2] ^ crlf) | (eols[3] ^ crlf);
    if (_mm512_movepi8_mask(seen) != 0 || differing != 0)
        return false;
    _mm512_storeu_si512(dst, vector_pack(v0, tables->order));
    _mm512_storeu_si512(dst + 48, vector_pack(v1, tables->order));
    _mm512_storeu_si512(dst + 93, vector_pack(v2, tables->order));
    _mm512_storeu_si512(dst + 138, vector_pack(v3, tables->order));
    _mm512_storeu_si512(dst + 183, vector_pack(v4, tables->order));
    return true;
}

size_t base64_avx512_decode_lines(uint8_t *dst, const uint8_t *src, size_t src_bytes,
                                  uint32_t width, uint32_t eol_bytes)
{
    ASSERT(width >= 4 && width <= BASE64_LINE_CHARS && width % 4 == 0);
    ASSERT(eol_bytes == 1 || eol_bytes == 2);
    const struct decode_tables tables = {
        .low = _mm512_loadu_si512(base64_values),
        .high = _mm512_loadu_si512(base64_values + VECTOR_BYTES),
        .order = _mm512_load_si512(pack_order),
    };
    const size_t stride = width + eol_bytes;
    const size_t line_bytes = width / 4 * 3;
    const size_t whole_lines = src_bytes / stride;
    size_t line = 0;
    if (width == BASE64_LINE_CHARS && eol_bytes == 2) {
        while (whole_lines - line >= BLOCK_LINES && block_decode(dst, src, &tables)) {
            src += BLOCK_CHARS;
            dst += BLOCK_BYTES;
            line += BLOCK_LINES;
        }
    }
    /* Other widths, the last few lines, and the lines before the first wrong one of a block. */
    for (; line < whole_lines; line++) {
        if (!base64_eol_is(src + width, eol_bytes) || !line_decode(dst, src, width, &tables))
            break;
        src += stride;
        dst += line_bytes;
    }
    return line;
}
