/*
 * base64_internal: the line codecs of each instruction set, for base64.c to choose from.
 * Ownership: as base64.h.
 * Threads:   any.
 * Units:     as base64.h.
 * Errors:    as base64.h.
 */
#ifndef CRYPTO_BASE64_INTERNAL_H
#define CRYPTO_BASE64_INTERNAL_H

#include "base/macros.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BASE64_INVALID 0x80 /* in base64_values: not of the alphabet; the value's top bit */

extern const uint8_t base64_alphabet[64];
extern const uint8_t base64_values[256]; /* 0–63, or BASE64_INVALID */

HOT void base64_scalar_encode_lines(uint8_t *dst, const uint8_t *src, size_t lines_count);
HOT void base64_avx2_encode_lines(uint8_t *dst, const uint8_t *src, size_t lines_count);
HOT void base64_avx512_encode_lines(uint8_t *dst, const uint8_t *src, size_t lines_count);

HOT size_t base64_scalar_encode_short(uint8_t *dst, const uint8_t *src, size_t bytes);
HOT size_t base64_avx2_encode_short(uint8_t *dst, const uint8_t *src, size_t bytes);
HOT size_t base64_avx512_encode_short(uint8_t *dst, const uint8_t *src, size_t bytes);

HOT size_t base64_scalar_decode_lines(uint8_t *dst, const uint8_t *src, size_t src_bytes,
                                      uint32_t width, uint32_t eol_bytes);
HOT size_t base64_avx2_decode_lines(uint8_t *dst, const uint8_t *src, size_t src_bytes,
                                    uint32_t width, uint32_t eol_bytes);
HOT size_t base64_avx512_decode_lines(uint8_t *dst, const uint8_t *src, size_t src_bytes,
                                      uint32_t width, uint32_t eol_bytes);

/* RFC 4648, 4: four characters for each three bytes or fewer. */
static inline size_t base64_padded_chars(size_t bytes)
{
    return (bytes + 2) / 3 * 4;
}

/* Whether the eol_bytes at `at` are the line end that decode_lines was asked for. */
static inline bool base64_eol_is(const uint8_t *at, uint32_t eol_bytes)
{
    return eol_bytes == 2 ? at[0] == '\r' && at[1] == '\n' : at[0] == '\n';
}

#endif
