#include "envelope/text.h"

#include "base/assert.h"
#include "envelope/window.h"

#include <string.h>

HOT uint32_t text_next(const uint8_t **at, const uint8_t *end)
{
    const uint8_t *s = *at;
    ASSERT_HOT(s < end);
    const size_t left = (size_t)(end - s);
    const uint32_t c = s[0];
    uint32_t need;
    uint32_t code_point;
    uint32_t least;

    *at = s + 1;
    if (c < 0x80)
        return c;
    if (c >= 0xc2 && c <= 0xdf) {
        need = 1;
        code_point = c & 0x1f;
        least = 0x80;
    } else if (c >= 0xe0 && c <= 0xef) {
        need = 2;
        code_point = c & 0x0f;
        least = 0x800;
    } else if (c >= 0xf0 && c <= 0xf4) {
        need = 3;
        code_point = c & 0x07;
        least = 0x10000;
    } else {
        return TEXT_MALFORMED;
    }
    if (left <= need)
        return TEXT_MALFORMED;
    for (uint32_t i = 1; i <= need; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return TEXT_MALFORMED;
        code_point = code_point << 6 | (s[i] & 0x3f);
    }
    /* RFC 3629: no overlong form, no surrogate, nothing above U+10FFFF. */
    if (code_point < least || code_point > 0x10ffff ||
        (code_point >= 0xd800 && code_point <= 0xdfff))
        return TEXT_MALFORMED;
    *at = s + 1 + need;
    return code_point;
}

HOT uint32_t text_encode(uint8_t dst[4], uint32_t code_point)
{
    ASSERT_HOT(code_point <= 0x10ffff);
    if (code_point < 0x80) {
        dst[0] = (uint8_t)code_point;
        return 1;
    }
    if (code_point < 0x800) {
        dst[0] = (uint8_t)(0xc0 | code_point >> 6);
        dst[1] = (uint8_t)(0x80 | (code_point & 0x3f));
        return 2;
    }
    if (code_point < 0x10000) {
        dst[0] = (uint8_t)(0xe0 | code_point >> 12);
        dst[1] = (uint8_t)(0x80 | (code_point >> 6 & 0x3f));
        dst[2] = (uint8_t)(0x80 | (code_point & 0x3f));
        return 3;
    }
    dst[0] = (uint8_t)(0xf0 | code_point >> 18);
    dst[1] = (uint8_t)(0x80 | (code_point >> 12 & 0x3f));
    dst[2] = (uint8_t)(0x80 | (code_point >> 6 & 0x3f));
    dst[3] = (uint8_t)(0x80 | (code_point & 0x3f));
    return 4;
}

HOT bool text_is_utf8(const uint8_t *src, size_t bytes)
{
    const uint8_t *end = src + bytes;
    while (src < end) {
        if (end - src >= WINDOW_LANES && window_bits(window_lanes(src)) == 0) {
            src += WINDOW_LANES; /* no byte has its highest bit set */
            continue;
        }
        if (*src < 0x80)
            src++;
        else if (text_next(&src, end) == TEXT_MALFORMED)
            return false;
    }
    return true;
}

HOT bool text_shows(uint32_t c)
{
    if (c < 0x20 || c == 0x7f)
        return c == '\t' || c == '\n' || c == '\r';
    if (c < 0x80)
        return true;
    if (c < 0xa0)
        return false;
    if (c < 0x2000)
        return c != 0xad;
    /* Kept: U+200C to U+200F, without which Persian and emoji break and mixed text misreads. */
    if (c == 0x200b || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f))
        return false;
    if (c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb))
        return false;
    if ((c & 0xfffe) == 0xfffe || (c >= 0xfdd0 && c <= 0xfdef))
        return false;
    return c < 0xe0000 || c > 0xe007f;
}

static bool is_space(uint32_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == 0xa0 || c == 0x3000;
}

HOT void text_put(struct text *text, uint32_t code_point)
{
    /* Most are visible ASCII, inside a word. */
    if (code_point > ' ' && code_point < 0x7f && !text->space && !text->cut &&
        text->bytes < text->room) {
        text->dst[text->bytes++] = (uint8_t)code_point;
        return;
    }
    if (code_point == TEXT_MALFORMED) {
        text->dirty = true;
        code_point = TEXT_REPLACEMENT;
    }
    if (is_space(code_point)) {
        text->space = text->bytes > 0;
        return;
    }
    if (!text_shows(code_point)) {
        text->dirty = true;
        return;
    }
    uint8_t encoded[4];
    const uint32_t bytes = text_encode(encoded, code_point);
    const size_t space = text->space ? 1 : 0;
    if (text->cut || text->bytes + space + bytes > text->room) {
        text->cut = true;
        return;
    }
    if (space != 0)
        text->dst[text->bytes++] = ' ';
    text->space = false;
    memcpy(text->dst + text->bytes, encoded, bytes);
    text->bytes += bytes;
    ASSERT_HOT(text->bytes <= text->room);
}

HOT void text_put_utf8(struct text *text, const uint8_t *src, size_t bytes)
{
    const uint8_t *end = src + bytes;
    while (src < end)
        text_put(text, text_next(&src, end));
}

HOT size_t text_prefix(const uint8_t *src, size_t bytes, size_t bytes_max)
{
    if (bytes <= bytes_max)
        return bytes;
    size_t prefix = bytes_max;
    /* At most three steps in well-formed UTF-8. */
    while (prefix > 0 && (src[prefix] & 0xc0) == 0x80)
        prefix--;
    return prefix;
}
