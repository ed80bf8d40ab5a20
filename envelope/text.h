/*
 * text: collects code points into clean UTF-8 that may be shown to a person.
 * Ownership: borrows the destination.
 * Threads:   one.
 * Units:     bytes of UTF-8; the destination is cut between code points, never inside one.
 * Errors:    none: what may not be shown is left out and noted.
 *
 * Clean means: well-formed UTF-8; no C0, DEL or C1 control; no bidi embedding, override or isolate
 * (they make one name look like another); no invisible separators; white space of any kind is one
 * space, none at either end.
 */
#ifndef ENVELOPE_TEXT_H
#define ENVELOPE_TEXT_H

#include "base/macros.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_REPLACEMENT UINT32_C(0xfffd)
#define TEXT_MALFORMED   UINT32_MAX

struct text {
    uint8_t *dst;
    size_t bytes;
    size_t room;
    bool space; /* white space is due before the next character */
    bool dirty; /* something was left out or replaced           */
    bool cut;   /* the room was used up                         */
};

static inline struct text text_make(uint8_t *dst, size_t room)
{
    return (struct text){.dst = dst, .room = room};
}

/* Appends one code point as the rules above say. */
HOT void text_put(struct text *text, uint32_t code_point);

/* Appends UTF-8; malformed bytes become one U+FFFD each. */
HOT void text_put_utf8(struct text *text, const uint8_t *src, size_t bytes);

/* The next code point, or TEXT_MALFORMED with *at moved by one byte. *at < end. */
HOT uint32_t text_next(const uint8_t **at, const uint8_t *end);

/* 1 to 4 bytes; returns how many. */
HOT uint32_t text_encode(uint8_t dst[4], uint32_t code_point);

HOT bool text_is_utf8(const uint8_t *src, size_t bytes);

/* May this code point be shown? White space may. */
HOT bool text_shows(uint32_t code_point);

/* RFC 5322, 3.2.3: may stand in an atom. */
static inline bool text_is_atext(uint8_t c)
{
#define TEXT_BIT(c) (UINT64_C(1) << ((c)&63))
    static const uint64_t atext[2] = {
        ~(UINT64_C(0x1ffffffff) | TEXT_BIT('"') | TEXT_BIT('(') | TEXT_BIT(')') | TEXT_BIT(',') |
          TEXT_BIT('.') | TEXT_BIT(':') | TEXT_BIT(';') | TEXT_BIT('<') | TEXT_BIT('>')),
        ~(TEXT_BIT('@') | TEXT_BIT('[') | TEXT_BIT('\\') | TEXT_BIT(']') | TEXT_BIT(0x7f)),
    };
#undef TEXT_BIT
    return c < 0x80 && (atext[c >> 6] >> (c & 63) & 1) != 0;
}

/* The longest prefix of well-formed UTF-8 that has at most `bytes_max`. */
HOT size_t text_prefix(const uint8_t *src, size_t bytes, size_t bytes_max);

#endif
