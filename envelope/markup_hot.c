#include "envelope/markup.h"

#include "base/macros.h"
#include "envelope/text.h"

/* "&#1114111;" */
#define REFERENCE_CHARS_MAX 10

static bool is_harmless(uint8_t c)
{
    /* Blank ! ( ) + , - . / 0-9 : ? and @ A-Z _ a-z, as bits. */
    static const uint64_t harmless[2] = {UINT64_C(0x87fffb0300000000),
                                         UINT64_C(0x07fffffe87ffffff)};
    return c < 0x80 && (harmless[c >> 6] >> (c & 63) & 1) != 0;
}

HOT void markup_write(struct writer *writer, const uint8_t *src, size_t src_bytes, size_t chars_max)
{
    const uint8_t *end = src + src_bytes;
    size_t left = chars_max;
    while (src < end) {
        const uint8_t *run = src;
        while (run < end && is_harmless(*run))
            run++;
        const size_t run_bytes = MIN((size_t)(run - src), left);
        writer_copy(writer, src, run_bytes);
        src += run_bytes;
        left -= run_bytes;
        if (src == end || left == 0)
            return;
        uint32_t c = text_next(&src, end);
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
