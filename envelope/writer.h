/*
 * writer: appends to a buffer whose end is known, and stops the program rather than pass it.
 * Ownership: borrows the buffer; a writer is a value on the stack.
 * Threads:   one.
 * Units:     bytes.
 * Errors:    writing past the end is a bug: every caller computes its bound first.
 */
#ifndef ENVELOPE_WRITER_H
#define ENVELOPE_WRITER_H

#include "base/assert.h"
#include "envelope/window.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct writer {
    uint8_t *at;
    uint8_t *end;
};

static inline struct writer writer_make(uint8_t *dst, size_t dst_room)
{
    return (struct writer){dst, dst + dst_room};
}

static inline size_t writer_room(const struct writer *writer)
{
    return (size_t)(writer->end - writer->at);
}

static inline void writer_byte(struct writer *writer, uint8_t byte)
{
    ASSERT(writer->at < writer->end);
    *writer->at++ = byte;
}

static inline void writer_copy(struct writer *writer, const void *src, size_t bytes)
{
    ASSERT(bytes <= writer_room(writer));
    if (bytes > 0)
        memcpy(writer->at, src, bytes);
    writer->at += bytes;
}

/* The same, quicker where few bytes are likely. */
static inline void writer_copy_few(struct writer *writer, const uint8_t *src, size_t bytes)
{
    ASSERT(bytes <= writer_room(writer));
    window_copy(writer->at, src, bytes);
    writer->at += bytes;
}

/* `text` is a string literal. */
#define writer_literal(writer, text) writer_copy((writer), (text), sizeof(text) - 1)

static inline void writer_decimal(struct writer *writer, uint64_t value)
{
    uint8_t digits[20];
    size_t first = sizeof(digits);
    do {
        digits[--first] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    writer_copy(writer, digits + first, sizeof(digits) - first);
}

/* The last `digits` decimal digits of the value, zeros in front. */
static inline void writer_padded(struct writer *writer, uint64_t value, uint32_t digits)
{
    ASSERT(digits <= writer_room(writer));
    for (uint32_t i = digits; i > 0; i--) {
        writer->at[i - 1] = (uint8_t)('0' + value % 10);
        value /= 10;
    }
    writer->at += digits;
}

#endif
