#include "envelope/markup.h"

#include "envelope/text.h"

/* "&#1114111;" */
#define REFERENCE_CHARS_MAX 10

static bool is_harmless(uint32_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == ' ' ||
           c == '.' || c == ',' || c == '-' || c == '_' || c == '@' || c == '/' || c == ':' ||
           c == '(' || c == ')' || c == '+' || c == '!' || c == '?';
}

HOT void markup_write(struct writer *writer, const uint8_t *src, size_t src_bytes, size_t chars_max)
{
    const uint8_t *end = src + src_bytes;
    size_t left = chars_max;
    while (src < end) {
        uint32_t c = text_next(&src, end);
        if (is_harmless(c)) {
            if (left == 0)
                return;
            writer_byte(writer, (uint8_t)c);
            left--;
            continue;
        }
        if (c == TEXT_MALFORMED)
            c = TEXT_REPLACEMENT;
        uint8_t reference[REFERENCE_CHARS_MAX];
        struct writer out = writer_make(reference, sizeof(reference));
        writer_literal(&out, "&#");
        writer_decimal(&out, c);
        writer_byte(&out, ';');
        const size_t chars = (size_t)(out.at - reference);
        if (chars > left)
            return;
        writer_copy(writer, reference, chars);
        left -= chars;
    }
}
