#include "base/assert.h"
#include "envelope/markup.h"
#include "envelope/template.h"
#include "envelope/template_internal.h"

/* A line of a value ends here, three characters early for the last escape and one for the `=`. */
#define VALUE_COLUMN_MAX (TEMPLATE_LINE_CHARS_MAX - 4)

/* Longer values are cut: no mail has one. */
#define VALUE_BYTES_MAX 1024

static HOT void write_value(struct writer *writer, const uint8_t *src, size_t bytes)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t column = 0;
    for (size_t i = 0; i < bytes; i++) {
        const uint8_t c = src[i];
        if (column > VALUE_COLUMN_MAX) {
            writer_literal(writer, "=\r\n");
            column = 0;
        }
        if (c >= ' ' && c <= '~' && c != '=') {
            writer_byte(writer, c);
            column++;
        } else {
            writer_byte(writer, '=');
            writer_byte(writer, (uint8_t)digits[c >> 4]);
            writer_byte(writer, (uint8_t)digits[c & 15]);
            column += 3;
        }
    }
    writer_literal(writer, "=\r\n");
}

/* What markup_write() wrote needs no escapes, only short lines. */
static HOT void write_escaped(struct writer *writer, const uint8_t *src, size_t chars)
{
    while (chars > VALUE_COLUMN_MAX) {
        writer_copy(writer, src, VALUE_COLUMN_MAX);
        writer_literal(writer, "=\r\n");
        src += VALUE_COLUMN_MAX;
        chars -= VALUE_COLUMN_MAX;
    }
    writer_copy(writer, src, chars);
    writer_literal(writer, "=\r\n");
}

HOT void template_render(const struct template *template, struct writer *writer,
                         const struct template_value values[TEMPLATE_VARIABLE_COUNT])
{
    ASSERT(template->segments_count > 0);
    for (uint32_t n = 0; n < template->segments_count; n++) {
        const struct template_segment *segment = &template->segments[n];
        writer_copy(writer, template->encoded + segment->offset, segment->bytes);
        if (segment->variable == TEMPLATE_VARIABLE_COUNT)
            continue;
        const struct template_value *value = &values[segment->variable];
        const size_t bytes = MIN(value->bytes, (size_t)VALUE_BYTES_MAX);
        if (template->kind == TEMPLATE_TEXT) {
            write_value(writer, value->text, bytes);
            continue;
        }
        uint8_t escaped[VALUE_BYTES_MAX * MARKUP_CHARS_PER_BYTE_MAX];
        struct writer out = writer_make(escaped, sizeof(escaped));
        markup_write(&out, value->text, bytes, sizeof(escaped));
        write_escaped(writer, escaped, (size_t)(out.at - escaped));
    }
}

size_t template_bytes_max(const struct template *template,
                          const struct template_value values[TEMPLATE_VARIABLE_COUNT])
{
    size_t total = template->encoded_bytes;
    for (uint32_t v = 0; v < TEMPLATE_VARIABLE_COUNT; v++) {
        const size_t bytes = MIN(values[v].bytes, (size_t)VALUE_BYTES_MAX);
        /* Each byte is an escape of three characters, or a reference that needs none. */
        const size_t chars = template->kind == TEMPLATE_TEXT ? bytes * 3 : markup_chars_max(bytes);
        total += template->uses[v] * (chars + (chars / VALUE_COLUMN_MAX + 1) * 3);
    }
    return total;
}
