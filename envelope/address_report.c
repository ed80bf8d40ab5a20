#include "envelope/address_report.h"

#include "base/assert.h"
#include "base/macros.h"
#include "envelope/text.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define TYPE_CHARS 8

static const char type_ascii[] = "rfc822; ";
static const char type_utf8[] = "utf-8; ";
_Static_assert(sizeof(type_ascii) - 1 <= TYPE_CHARS, "room for either");
_Static_assert(sizeof(type_utf8) - 1 <= TYPE_CHARS, "room for either");

static bool is_visible_ascii(const uint8_t *src, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (src[i] <= ' ' || src[i] > '~')
            return false;
    }
    return bytes > 0;
}

/* RFC 6533, 3: utf-8-addr-xtext, all of it ASCII. */
static size_t write_utf8(uint8_t *dst, size_t room, const uint8_t *src, size_t bytes)
{
    const uint8_t *at = src;
    const uint8_t *end = src + bytes;
    size_t used = 0;
    while (at < end) { /* text_next() moves on */
        uint32_t code_point = text_next(&at, end);
        char escape[16];
        if (code_point == TEXT_MALFORMED)
            code_point = TEXT_REPLACEMENT;
        const bool plain = code_point > ' ' && code_point <= '~' && code_point != '\\' &&
                           code_point != '+' && code_point != '=';
        const int chars = plain ? snprintf(escape, sizeof(escape), "%c", (char)code_point)
                                : snprintf(escape, sizeof(escape), "\\x{%02X}", code_point);
        ASSERT(chars > 0 && (size_t)chars < sizeof(escape));
        if (used + (size_t)chars > room)
            break;
        memcpy(dst + used, escape, (size_t)chars);
        used += (size_t)chars;
    }
    return used;
}

size_t address_report_write(uint8_t dst[ADDRESS_REPORT_CHARS_MAX], const uint8_t *address,
                            size_t address_bytes)
{
    const size_t room = ADDRESS_REPORT_CHARS_MAX - TYPE_CHARS;
    if (address_bytes <= room && is_visible_ascii(address, address_bytes)) {
        memcpy(dst, type_ascii, sizeof(type_ascii) - 1);
        memcpy(dst + sizeof(type_ascii) - 1, address, address_bytes);
        return sizeof(type_ascii) - 1 + address_bytes;
    }
    memcpy(dst, type_utf8, sizeof(type_utf8) - 1);
    return sizeof(type_utf8) - 1 +
           write_utf8(dst + sizeof(type_utf8) - 1, room, address, address_bytes);
}
