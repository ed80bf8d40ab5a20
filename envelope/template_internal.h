/*
 * template_internal: what template.c compiles and template_hot.c renders.
 * Ownership: the template's.
 * Threads:   constant after open; any.
 * Units:     bytes.
 * Errors:    none.
 */
#ifndef ENVELOPE_TEMPLATE_INTERNAL_H
#define ENVELOPE_TEMPLATE_INTERNAL_H

#include "envelope/template.h"

/* Encoded text, and the variable that follows it; the last segment has none. */
struct template_segment {
    uint32_t offset;
    uint32_t bytes;
    uint32_t variable; /* of the kind's enum, or TEMPLATE_VARIABLE_COUNT */
};

struct template
{
    enum template_kind kind;
    uint32_t segments_count;
    uint32_t uses[TEMPLATE_VARIABLE_COUNT];
    struct template_segment segments[TEMPLATE_SEGMENTS_MAX];
    uint8_t *encoded;
    size_t encoded_bytes;
};

/* RFC 2045, 6.7 (5): encoded lines are at most this long, with their soft break. */
#define TEMPLATE_LINE_CHARS_MAX 76

/* Longer values are cut: no mail has one. */
#define TEMPLATE_VALUE_BYTES_MAX 1024

/* After each value, so that the text behind it stands alone: "=" CRLF. */
#define TEMPLATE_SOFT_BREAK_CHARS 3
/* A line of a value ends here, three characters early for the last escape and one for the `=`. */
#define TEMPLATE_VALUE_COLUMN_MAX (TEMPLATE_LINE_CHARS_MAX - 4)

/* A value as it stands in the template, its soft break included. */
HOT void template_write_value(enum template_kind kind, struct writer *writer, const uint8_t *src,
                              size_t bytes);
/* The same of HTML, of what markup_write() wrote. */
HOT void template_write_escaped(struct writer *writer, const uint8_t *src, size_t chars);
/* At most these. */
size_t template_value_bytes_max(enum template_kind kind, size_t bytes);

#endif
