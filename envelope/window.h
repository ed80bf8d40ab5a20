/*
 * window: 64 bytes of a text, and which of them are what, as the bits of one word.
 * Ownership: a value on the stack.
 * Threads:   any.
 * Units:     bytes; bit n of a mask is byte n of the window.
 * Errors:    none; beyond the end of the text stand zeros, and nothing is read there.
 *
 * SSE2, which every x86-64 has: on header fields of some tens of bytes wider vectors gain nothing.
 */
#ifndef ENVELOPE_WINDOW_H
#define ENVELOPE_WINDOW_H

#include "base/macros.h"

#include <emmintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WINDOW_BYTES 64
#define WINDOW_LANES 16 /* bytes compared at once */

struct window {
    __m128i lanes[WINDOW_BYTES / WINDOW_LANES];
};

static inline __m128i window_lanes(const uint8_t *at)
{
    return _mm_loadu_si128((const __m128i *)(const void *)at);
}

/* WINDOW_LANES bytes at `at`, zeros after `end`. */
static inline __m128i window_lanes_until(const uint8_t *at, const uint8_t *end)
{
    if (end - at >= WINDOW_LANES)
        return window_lanes(at);
    uint8_t padded[WINDOW_LANES] = {0};
    memcpy(padded, at, (size_t)(end - at));
    return window_lanes(padded);
}

/* Unrolled, so that a window lives in registers. */
static inline struct window window_of(const uint8_t *at)
{
    return (struct window){{window_lanes(at), window_lanes(at + WINDOW_LANES),
                            window_lanes(at + 2 * WINDOW_LANES),
                            window_lanes(at + 3 * WINDOW_LANES)}};
}

static inline void window_put(uint8_t *at, __m128i lanes)
{
    _mm_storeu_si128((__m128i *)(void *)at, lanes);
}

/* 16 to 32 bytes: two halves from either end, which overlap. */
static inline void window_copy_halves(uint8_t *dst, const uint8_t *src, size_t bytes)
{
    const __m128i first = window_lanes(src);
    const __m128i last = window_lanes(src + bytes - WINDOW_LANES);
    window_put(dst, first);
    window_put(dst + bytes - WINDOW_LANES, last);
}

/* Copies as memcpy() does, and no byte more: for what is nearly always shorter than a window. */
static inline void window_copy(uint8_t *dst, const uint8_t *src, size_t bytes)
{
    if (bytes > WINDOW_BYTES) {
        memcpy(dst, src, bytes);
    } else if (bytes > WINDOW_BYTES / 2) {
        const size_t rest = bytes - WINDOW_BYTES / 2;
        window_copy_halves(dst, src, WINDOW_BYTES / 2);
        window_copy_halves(dst + rest, src + rest, WINDOW_BYTES / 2);
    } else if (bytes >= WINDOW_LANES) {
        window_copy_halves(dst, src, bytes);
    } else if (bytes >= sizeof(uint64_t)) {
        uint64_t half[2];
        memcpy(&half[0], src, sizeof(half[0]));
        memcpy(&half[1], src + bytes - sizeof(half[1]), sizeof(half[1]));
        memcpy(dst, &half[0], sizeof(half[0]));
        memcpy(dst + bytes - sizeof(half[1]), &half[1], sizeof(half[1]));
    } else {
        for (size_t i = 0; i < bytes; i++)
            dst[i] = src[i];
    }
}

static inline void window_load(struct window *window, const uint8_t *at, const uint8_t *end)
{
    if (__builtin_expect(end - at >= WINDOW_BYTES, 1)) {
        *window = window_of(at);
        return;
    }
    uint8_t padded[WINDOW_BYTES] = {0};
    memcpy(padded, at, (size_t)(end - at));
    *window = window_of(padded);
}

/* Which lanes of a comparison hold. */
static inline uint32_t window_bits(__m128i holds)
{
    return (uint32_t)_mm_movemask_epi8(holds);
}

static inline __m128i window_byte(uint8_t byte)
{
    return _mm_set1_epi8((char)byte);
}

static inline __m128i window_equal(__m128i lanes, uint8_t byte)
{
    return _mm_cmpeq_epi8(lanes, window_byte(byte));
}

/* 0x21 to 0x7e: as signed bytes all others are below, but for DEL. */
static inline __m128i window_visible(__m128i lanes)
{
    return _mm_andnot_si128(window_equal(lanes, 0x7f), _mm_cmpgt_epi8(lanes, window_byte(' ')));
}

/* RFC 5322, 3.2.3, ASCII alone: visible, and no special. The pairs differ in one bit. */
static inline __m128i window_atext(__m128i lanes)
{
    const __m128i bit_0 = _mm_or_si128(lanes, window_byte(0x01));
    const __m128i bit_1 = _mm_or_si128(lanes, window_byte(0x02));
    __m128i special = window_equal(bit_0, ')');                /* ( ) */
    special = _mm_or_si128(special, window_equal(bit_0, ';')); /* : ; */
    special = _mm_or_si128(special, window_equal(bit_1, '>')); /* < > */
    special = _mm_or_si128(special, window_equal(bit_1, '.')); /* , . */
    special = _mm_or_si128(special, window_equal(lanes, '"'));
    special = _mm_or_si128(special, window_equal(lanes, '@'));
    special = _mm_or_si128(special, window_equal(lanes, '['));
    special = _mm_or_si128(special, window_equal(lanes, '\\'));
    special = _mm_or_si128(special, window_equal(lanes, ']'));
    return _mm_andnot_si128(special, window_visible(lanes));
}

/* Bits [from, to) of a mask; from ≤ to ≤ 64. */
static inline uint64_t window_below(uint32_t to)
{
    return to >= WINDOW_BYTES ? UINT64_MAX : (UINT64_C(1) << to) - 1;
}

/* The bits of four comparisons in one word. */
static inline uint64_t window_join(__m128i first, __m128i second, __m128i third, __m128i fourth)
{
    const uint64_t low = window_bits(first) | (uint64_t)window_bits(second) << WINDOW_LANES;
    const uint64_t high = window_bits(third) | (uint64_t)window_bits(fourth) << WINDOW_LANES;
    return low | high << (2 * WINDOW_LANES);
}

#endif
