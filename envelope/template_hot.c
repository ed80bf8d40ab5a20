#include "base/assert.h"
#include "envelope/markup.h"
#include "envelope/template.h"
#include "envelope/template_internal.h"
#include "envelope/window.h"

#include <stdbool.h>

/* One line of nothing but what stands for itself? */
static HOT bool is_literal_line(const uint8_t *src, size_t bytes)
{
    if (bytes > TEMPLATE_VALUE_COLUMN_MAX)
        return false;
    for (size_t i = 0; i < bytes; i += WINDOW_LANES) {
        const __m128i lanes = window_lanes_until(src + i, src + bytes);
        const __m128i literal =
            _mm_or_si128(_mm_andnot_si128(window_equal(lanes, '='), window_visible(lanes)),
                         window_equal(lanes, ' '));
        if ((~window_bits(literal) &
             (uint32_t)window_below((uint32_t)MIN(bytes - i, (size_t)WINDOW_LANES))) != 0)
            return false;
    }
    return true;
}

static HOT void write_text(struct writer *writer, const uint8_t *src, size_t bytes)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t column = 0;
    if (is_literal_line(src, bytes)) {
        writer_copy(writer, src, bytes);
        writer_literal(writer, "=\r\n");
        return;
    }
    for (size_t i = 0; i < bytes; i++) {
        const uint8_t c = src[i];
        if (column > TEMPLATE_VALUE_COLUMN_MAX) {
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
HOT void template_write_escaped(struct writer *writer, const uint8_t *src, size_t chars)
{
    while (chars > TEMPLATE_VALUE_COLUMN_MAX) {
        writer_copy(writer, src, TEMPLATE_VALUE_COLUMN_MAX);
        writer_literal(writer, "=\r\n");
        src += TEMPLATE_VALUE_COLUMN_MAX;
        chars -= TEMPLATE_VALUE_COLUMN_MAX;
    }
    writer_copy(writer, src, chars);
    writer_literal(writer, "=\r\n");
}

HOT void template_write_value(enum template_kind kind, struct writer *writer, const uint8_t *src,
                              size_t bytes)
{
    bytes = MIN(bytes, (size_t)TEMPLATE_VALUE_BYTES_MAX);
    if (kind != TEMPLATE_HTML) {
        write_text(writer, src, bytes);
        return;
    }
    uint8_t escaped[TEMPLATE_VALUE_BYTES_MAX * MARKUP_CHARS_PER_BYTE_MAX];
    struct writer out = writer_make(escaped, sizeof(escaped));
    markup_write(&out, src, bytes, sizeof(escaped));
    template_write_escaped(writer, escaped, (size_t)(out.at - escaped));
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
        template_write_value(template->kind, writer, value->text, value->bytes);
    }
}

size_t template_value_bytes_max(enum template_kind kind, size_t bytes)
{
    bytes = MIN(bytes, (size_t)TEMPLATE_VALUE_BYTES_MAX);
    /* Each byte is an escape of three characters, or a reference that needs none. */
    const size_t chars = kind != TEMPLATE_HTML ? bytes * 3 : markup_chars_max(bytes);
    return chars + (chars / TEMPLATE_VALUE_COLUMN_MAX + 1) * 3;
}

size_t template_bytes_max(const struct template *template,
                          const struct template_value values[TEMPLATE_VARIABLE_COUNT])
{
    size_t total = template->encoded_bytes;
    for (uint32_t v = 0; v < TEMPLATE_VARIABLE_COUNT; v++)
        total += template->uses[v] * template_value_bytes_max(template->kind, values[v].bytes);
    return total;
}
