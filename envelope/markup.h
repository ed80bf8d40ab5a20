/*
 * markup: text as it may stand inside an HTML attribute value or element.
 * Ownership: borrows the bytes for the call.
 * Threads:   any.
 * Units:     bytes of UTF-8 in, ASCII characters out.
 * Errors:    none; malformed bytes become U+FFFD.
 *
 * Everything but letters, digits, blanks and harmless punctuation stands as a numeric character
 * reference: no named entity, no byte above 0x7e, and no `=`, so the result is its own
 * quoted-printable.
 */
#ifndef ENVELOPE_MARKUP_H
#define ENVELOPE_MARKUP_H

#include "base/macros.h"
#include "envelope/writer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Appends src, cut between characters so that at most chars_max are written. */
HOT void markup_write(struct writer *writer, const uint8_t *src, size_t src_bytes,
                      size_t chars_max);

/* Does all of it stand for itself? Reads up to a whole 16 bytes, whatever stands behind src. */
HOT bool markup_is_harmless(const uint8_t *src, size_t src_bytes);

/* The worst is an ASCII character as `&#NN;`. */
#define MARKUP_CHARS_PER_BYTE_MAX 8
static inline size_t markup_chars_max(size_t src_bytes)
{
    return src_bytes * MARKUP_CHARS_PER_BYTE_MAX;
}

#endif
