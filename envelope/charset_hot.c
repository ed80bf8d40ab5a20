#include "envelope/charset.h"

#include "base/assert.h"
#include "envelope/charset_tables.h"

#include <stdbool.h>
#include <string.h>

#define NAME_BYTES_MAX 16

enum charset_kind {
    CHARSET_UTF_8,
    CHARSET_ASCII,
    CHARSET_SINGLE,
    CHARSET_DOUBLE,      /* lead byte 0x81 up, trail byte 0x40 up */
    CHARSET_SHIFT_JIS,   /* as above, and half-width kana in one byte */
    CHARSET_EUC_JP,      /* through the Shift_JIS table               */
    CHARSET_ISO_2022_JP, /* likewise                                  */
};

struct charset {
    char name[NAME_BYTES_MAX]; /* lower-case letters and digits only */
    enum charset_kind kind;
    const uint16_t *table;
};

static const struct charset CHARSETS[] = {
    {"utf8", CHARSET_UTF_8, NULL},
    {"iso88591", CHARSET_SINGLE, charset_windows1252}, /* as browsers do: a superset */
    {"windows1252", CHARSET_SINGLE, charset_windows1252},
    {"usascii", CHARSET_ASCII, NULL},
    {"ascii", CHARSET_ASCII, NULL},
    {"iso885915", CHARSET_SINGLE, charset_iso885915},
    {"iso88592", CHARSET_SINGLE, charset_iso88592},
    {"iso2022jp", CHARSET_ISO_2022_JP, charset_shiftjis},
    {"shiftjis", CHARSET_SHIFT_JIS, charset_shiftjis},
    {"sjis", CHARSET_SHIFT_JIS, charset_shiftjis},
    {"xsjis", CHARSET_SHIFT_JIS, charset_shiftjis},
    {"windows31j", CHARSET_SHIFT_JIS, charset_shiftjis},
    {"cp932", CHARSET_SHIFT_JIS, charset_shiftjis},
    {"eucjp", CHARSET_EUC_JP, charset_shiftjis},
    {"gb2312", CHARSET_DOUBLE, charset_gbk},
    {"gbk", CHARSET_DOUBLE, charset_gbk},
    {"gb18030", CHARSET_DOUBLE, charset_gbk},
    {"cp936", CHARSET_DOUBLE, charset_gbk},
    {"big5", CHARSET_DOUBLE, charset_big5},
    {"big5hkscs", CHARSET_DOUBLE, charset_big5},
    {"euckr", CHARSET_DOUBLE, charset_uhc},
    {"ksc56011987", CHARSET_DOUBLE, charset_uhc},
    {"cp949", CHARSET_DOUBLE, charset_uhc},
    {"koi8r", CHARSET_SINGLE, charset_koi8r},
    {"koi8u", CHARSET_SINGLE, charset_koi8u},
    {"windows1250", CHARSET_SINGLE, charset_windows1250},
    {"windows1251", CHARSET_SINGLE, charset_windows1251},
    {"windows1253", CHARSET_SINGLE, charset_windows1253},
    {"windows1254", CHARSET_SINGLE, charset_windows1254},
    {"windows1255", CHARSET_SINGLE, charset_windows1255},
    {"windows1256", CHARSET_SINGLE, charset_windows1256},
    {"windows1257", CHARSET_SINGLE, charset_windows1257},
    {"windows1258", CHARSET_SINGLE, charset_windows1258},
    {"windows874", CHARSET_SINGLE, charset_windows874},
    {"tis620", CHARSET_SINGLE, charset_windows874},
    {"cp1250", CHARSET_SINGLE, charset_windows1250},
    {"cp1251", CHARSET_SINGLE, charset_windows1251},
    {"cp1252", CHARSET_SINGLE, charset_windows1252},
    {"latin1", CHARSET_SINGLE, charset_windows1252},
    {"iso88593", CHARSET_SINGLE, charset_iso88593},
    {"iso88594", CHARSET_SINGLE, charset_iso88594},
    {"iso88595", CHARSET_SINGLE, charset_iso88595},
    {"iso88596", CHARSET_SINGLE, charset_iso88596},
    {"iso88597", CHARSET_SINGLE, charset_iso88597},
    {"iso88598", CHARSET_SINGLE, charset_iso88598},
    {"iso88598i", CHARSET_SINGLE, charset_iso88598},
    {"iso88599", CHARSET_SINGLE, charset_windows1254},
    {"iso885910", CHARSET_SINGLE, charset_iso885910},
    {"iso885913", CHARSET_SINGLE, charset_iso885913},
    {"iso885914", CHARSET_SINGLE, charset_iso885914},
    {"iso885916", CHARSET_SINGLE, charset_iso885916},
    {"macintosh", CHARSET_SINGLE, charset_macintosh},
    {"ibm437", CHARSET_SINGLE, charset_ibm437},
    {"cp437", CHARSET_SINGLE, charset_ibm437},
    {"ibm850", CHARSET_SINGLE, charset_ibm850},
    {"cp850", CHARSET_SINGLE, charset_ibm850},
    {"ibm852", CHARSET_SINGLE, charset_ibm852},
    {"cp866", CHARSET_SINGLE, charset_ibm866},
};

HOT const struct charset *charset_find(const uint8_t *name, size_t bytes)
{
    char plain[NAME_BYTES_MAX] = {0};
    size_t plain_bytes = 0;
    for (size_t i = 0; i < bytes; i++) {
        const uint8_t c = name[i];
        const uint8_t lower = c | 0x20;
        if ((lower < 'a' || lower > 'z') && (c < '0' || c > '9'))
            continue;
        if (plain_bytes == NAME_BYTES_MAX - 1)
            return NULL;
        plain[plain_bytes++] = (char)(c >= 'A' ? lower : c);
    }
    for (size_t i = 0; i < ARRAY_COUNT(CHARSETS); i++) {
        if (memcmp(CHARSETS[i].name, plain, NAME_BYTES_MAX) == 0)
            return &CHARSETS[i];
    }
    return NULL;
}

const struct charset *charset_fallback(void)
{
    return &CHARSETS[2];
}

static uint32_t unit_or_malformed(uint16_t unit)
{
    return unit == 0 ? TEXT_MALFORMED : unit;
}

/* What a lead and a trail byte mean; TEXT_MALFORMED outside the table. */
static uint32_t pair(const uint16_t *table, uint8_t lead, uint8_t trail)
{
    const uint32_t row = (uint32_t)lead - CHARSET_LEAD_FIRST;
    const uint32_t column = (uint32_t)trail - CHARSET_TRAIL_FIRST;
    if (row >= CHARSET_LEADS || column >= CHARSET_TRAILS)
        return TEXT_MALFORMED;
    return unit_or_malformed(table[row * CHARSET_TRAILS + column]);
}

/* JIS X 0208 row and cell, each 0x21 to 0x7e, folded into Shift_JIS (JIS X 0208:1997, annex 1). */
static uint32_t pair_jis(const uint16_t *table, uint8_t row, uint8_t cell)
{
    if (row < 0x21 || row > 0x7e || cell < 0x21 || cell > 0x7e)
        return TEXT_MALFORMED;
    uint32_t lead = (row - 0x21U) / 2 + 0x81;
    if (lead > 0x9f)
        lead += 0x40;
    uint32_t trail;
    if ((row & 1) != 0)
        trail = cell + 0x1fU + (cell >= 0x60 ? 1U : 0U);
    else
        trail = cell + 0x7eU;
    return pair(table, (uint8_t)lead, (uint8_t)trail);
}

static void decode_single(const uint16_t *table, struct text *text, const uint8_t *src,
                          size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        text_put(text, src[i] < 0x80 ? src[i] : unit_or_malformed(table[src[i] - 0x80]));
}

static void decode_ascii(struct text *text, const uint8_t *src, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        text_put(text, src[i] < 0x80 ? src[i] : TEXT_MALFORMED);
}

static void decode_double(const struct charset *charset, struct text *text, const uint8_t *src,
                          size_t bytes)
{
    size_t i = 0;
    while (i < bytes) {
        const uint8_t c = src[i];
        if (c < 0x80) {
            text_put(text, c);
            i++;
        } else if (charset->kind == CHARSET_SHIFT_JIS && c >= 0xa1 && c <= 0xdf) {
            text_put(text, 0xff61U + (c - 0xa1U));
            i++;
        } else if (charset->table == charset_gbk && bytes - i >= 4 && src[i + 1] >= '0' &&
                   src[i + 1] <= '9') {
            text_put(text, TEXT_MALFORMED); /* GB 18030's four-byte form is not carried */
            i += 4;
        } else if (bytes - i < 2 || src[i + 1] < CHARSET_TRAIL_FIRST) {
            text_put(text, TEXT_MALFORMED); /* an ASCII byte after it speaks for itself */
            i++;
        } else {
            text_put(text, pair(charset->table, c, src[i + 1]));
            i += 2;
        }
    }
}

static void decode_euc_jp(const uint16_t *table, struct text *text, const uint8_t *src,
                          size_t bytes)
{
    size_t i = 0;
    while (i < bytes) {
        const uint8_t c = src[i];
        const uint8_t next = bytes - i >= 2 ? src[i + 1] : 0;
        if (c < 0x80) {
            text_put(text, c);
            i++;
        } else if (next < 0xa1) {
            text_put(text, TEXT_MALFORMED);
            i++;
        } else if (c == 0x8e) {
            text_put(text, next <= 0xdf ? 0xff61U + (next - 0xa1U) : TEXT_MALFORMED);
            i += 2;
        } else {
            text_put(text, pair_jis(table, c & 0x7f, next & 0x7f));
            i += 2;
        }
    }
}

/* RFC 1468, and the half-width kana that mail programs add. An escape that is not known is dropped
 * with its three bytes. */
/* The escapes of RFC 1468 and half-width kana. Any other stands for itself: a control, which may
 * hide nothing behind it. */
static bool is_jp_escape(const uint8_t *src, size_t bytes)
{
    if (bytes < 3 || src[0] != 0x1b)
        return false;
    if (src[1] == '$')
        return src[2] == '@' || src[2] == 'B';
    return src[1] == '(' && (src[2] == 'B' || src[2] == 'J' || src[2] == 'I');
}

static void decode_iso_2022_jp(const uint16_t *table, struct text *text, const uint8_t *src,
                               size_t bytes)
{
    enum { ROMAN, KANA, KANJI } mode = ROMAN;
    size_t i = 0;
    while (i < bytes) {
        const uint8_t c = src[i];
        if (is_jp_escape(src + i, bytes - i)) {
            if (src[i + 1] == '$')
                mode = KANJI;
            else
                mode = src[i + 2] == 'I' ? KANA : ROMAN;
            i += 3;
        } else if (mode == KANJI && c > ' ' && bytes - i >= 2) {
            text_put(text, pair_jis(table, c, src[i + 1]));
            i += 2;
        } else if (mode == KANA && c >= 0x21 && c <= 0x5f) {
            text_put(text, 0xff61U + (c - 0x21U));
            i++;
        } else {
            text_put(text, c < 0x80 ? c : TEXT_MALFORMED);
            i++;
        }
    }
}

HOT void charset_decode(const struct charset *charset, struct text *text, const uint8_t *src,
                        size_t bytes)
{
    ASSERT(charset != NULL);
    switch (charset->kind) {
    case CHARSET_UTF_8: text_put_utf8(text, src, bytes); break;
    case CHARSET_ASCII: decode_ascii(text, src, bytes); break;
    case CHARSET_SINGLE: decode_single(charset->table, text, src, bytes); break;
    case CHARSET_DOUBLE:
    case CHARSET_SHIFT_JIS: decode_double(charset, text, src, bytes); break;
    case CHARSET_EUC_JP: decode_euc_jp(charset->table, text, src, bytes); break;
    case CHARSET_ISO_2022_JP: decode_iso_2022_jp(charset->table, text, src, bytes); break;
    }
}
