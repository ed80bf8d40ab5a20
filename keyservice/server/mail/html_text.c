#include "keyservice/server/mail/html_text.h"

#include "base/assert.h"
#include "base/macros.h"
#include "envelope/text.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NAME_CHARS_MAX   12
#define ENTITY_CHARS_MAX 10
#define HREF_BYTES_MAX   2000
#define BLANK_LINES_MAX  2 /* line ends in a row */

/* What an element does to the text around it. */
enum element_kind {
    ELEMENT_INLINE,
    ELEMENT_HIDDEN, /* gone with all that is in it */
    ELEMENT_BREAK,  /* one line end                */
    ELEMENT_LINE,   /* begins a line               */
    ELEMENT_BLOCK,  /* an empty line around it     */
    ELEMENT_CELL,
    ELEMENT_ITEM,
    ELEMENT_LINK,
    ELEMENT_RULE,
};

static const struct {
    const char *name;
    enum element_kind kind;
} elements[] = {
    {"script", ELEMENT_HIDDEN},    {"style", ELEMENT_HIDDEN},  {"title", ELEMENT_HIDDEN},
    {"template", ELEMENT_HIDDEN},  {"select", ELEMENT_HIDDEN}, {"textarea", ELEMENT_HIDDEN},
    {"object", ELEMENT_HIDDEN},    {"iframe", ELEMENT_HIDDEN}, {"br", ELEMENT_BREAK},
    {"div", ELEMENT_LINE},         {"tr", ELEMENT_LINE},       {"section", ELEMENT_LINE},
    {"article", ELEMENT_LINE},     {"header", ELEMENT_LINE},   {"footer", ELEMENT_LINE},
    {"dt", ELEMENT_LINE},          {"dd", ELEMENT_LINE},       {"caption", ELEMENT_LINE},
    {"p", ELEMENT_BLOCK},          {"h1", ELEMENT_BLOCK},      {"h2", ELEMENT_BLOCK},
    {"h3", ELEMENT_BLOCK},         {"h4", ELEMENT_BLOCK},      {"h5", ELEMENT_BLOCK},
    {"h6", ELEMENT_BLOCK},         {"table", ELEMENT_BLOCK},   {"ul", ELEMENT_BLOCK},
    {"ol", ELEMENT_BLOCK},         {"dl", ELEMENT_BLOCK},      {"pre", ELEMENT_BLOCK},
    {"blockquote", ELEMENT_BLOCK}, {"td", ELEMENT_CELL},       {"th", ELEMENT_CELL},
    {"li", ELEMENT_ITEM},          {"a", ELEMENT_LINK},        {"hr", ELEMENT_RULE},
};

static const struct {
    const char *name;
    uint32_t code_point;
} entities[] = {
    {"amp", '&'},      {"lt", '<'},       {"gt", '>'},       {"quot", '"'},      {"apos", '\''},
    {"nbsp", ' '},     {"copy", 0xa9},    {"reg", 0xae},     {"deg", 0xb0},      {"middot", 0xb7},
    {"laquo", 0xab},   {"raquo", 0xbb},   {"sect", 0xa7},    {"para", 0xb6},     {"iexcl", 0xa1},
    {"iquest", 0xbf},  {"pound", 0xa3},   {"yen", 0xa5},     {"euro", 0x20ac},   {"ndash", 0x2013},
    {"mdash", 0x2014}, {"lsquo", 0x2018}, {"rsquo", 0x2019}, {"sbquo", 0x201a},  {"ldquo", 0x201c},
    {"rdquo", 0x201d}, {"bdquo", 0x201e}, {"bull", 0x2022},  {"hellip", 0x2026}, {"trade", 0x2122},
    {"rarr", 0x2192},  {"larr", 0x2190},  {"times", 0xd7},   {"auml", 0xe4},     {"ouml", 0xf6},
    {"uuml", 0xfc},    {"Auml", 0xc4},    {"Ouml", 0xd6},    {"Uuml", 0xdc},     {"szlig", 0xdf},
    {"agrave", 0xe0},  {"aacute", 0xe1},  {"acirc", 0xe2},   {"atilde", 0xe3},   {"aring", 0xe5},
    {"aelig", 0xe6},   {"ccedil", 0xe7},  {"egrave", 0xe8},  {"eacute", 0xe9},   {"ecirc", 0xea},
    {"euml", 0xeb},    {"iacute", 0xed},  {"icirc", 0xee},   {"iuml", 0xef},     {"ntilde", 0xf1},
    {"oacute", 0xf3},  {"ocirc", 0xf4},   {"otilde", 0xf5},  {"oslash", 0xf8},   {"uacute", 0xfa},
    {"ugrave", 0xf9},  {"ucirc", 0xfb},   {"Eacute", 0xc9},  {"Agrave", 0xc0},   {"Ccedil", 0xc7},
    {"Aring", 0xc5},   {"Oslash", 0xd8},
};

/* The text while HTML is read. */
struct page {
    struct html_text *text;
    const uint8_t *end;
    uint32_t line_ends; /* in a row, at the end of the text; the beginning counts as many */
    bool space_due;
    uint32_t pre_depth;
    uint8_t href[HREF_BYTES_MAX]; /* of the link that is open */
    size_t href_bytes;
};

/* What a tag says that matters here. */
struct tag {
    char name[NAME_CHARS_MAX + 1];
    bool closes;
    const uint8_t *href; /* as it stands; NULL: none */
    size_t href_bytes;
};

static void put_code_point(struct html_text *text, uint32_t code_point)
{
    uint8_t encoded[4];
    const uint32_t bytes = text_encode(encoded, code_point);
    if (text->cut || text->bytes + bytes > text->room) {
        text->cut = true;
        return;
    }
    memcpy(text->dst + text->bytes, encoded, bytes);
    text->bytes += bytes;
}

void html_text_plain(struct html_text *text, const uint8_t *src, size_t bytes)
{
    const uint8_t *end = src + bytes;
    while (src < end && !text->cut) {
        uint32_t code_point = text_next(&src, end);
        if (code_point == '\r')
            continue;
        if (code_point == TEXT_MALFORMED)
            code_point = TEXT_REPLACEMENT;
        if (code_point == '\n' || code_point == '\t' || text_shows(code_point))
            put_code_point(text, code_point);
    }
}

static void put_line_ends(struct page *page, uint32_t count)
{
    page->space_due = false;
    while (page->line_ends < MIN(count, (uint32_t)BLANK_LINES_MAX)) {
        put_code_point(page->text, '\n');
        page->line_ends++;
    }
}

/* A character of the page's text: white space is one space, none at a line's beginning. */
static void put_shown(struct page *page, uint32_t code_point)
{
    const bool space = code_point == ' ' || code_point == '\t' || code_point == '\n' ||
                       code_point == '\r' || code_point == '\f' || code_point == 0xa0;
    if (page->pre_depth > 0 && space) {
        page->space_due = false;
        if (code_point != '\r')
            put_code_point(page->text, code_point == '\n' ? '\n' : ' ');
        page->line_ends = code_point == '\n' ? page->line_ends + 1 : page->line_ends;
        return;
    }
    if (space) {
        page->space_due = page->line_ends == 0;
        return;
    }
    if (!text_shows(code_point))
        return;
    if (page->space_due)
        put_code_point(page->text, ' ');
    page->space_due = false;
    page->line_ends = 0;
    put_code_point(page->text, code_point);
}

static void put_words(struct page *page, const char *words)
{
    for (; *words != '\0'; words++)
        put_shown(page, (uint8_t)*words);
}

static bool is_letter(uint8_t c)
{
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* "&name;" or "&#12;" at `at`: its code point with *after behind it, or '&' and the next byte. */
static uint32_t entity_read(const uint8_t *at, const uint8_t *end, const uint8_t **after)
{
    char name[ENTITY_CHARS_MAX + 1] = "";
    size_t chars = 0;
    const uint8_t *next = at + 1;
    while (next < end && chars < ENTITY_CHARS_MAX &&
           (is_letter(*next) || is_digit(*next) || (*next == '#' && chars == 0)))
        name[chars++] = (char)*next++;
    name[chars] = '\0';
    *after = next < end && *next == ';' ? next + 1 : next;
    if (name[0] == '#') {
        const bool hex = (name[1] | 0x20) == 'x';
        const unsigned long value = strtoul(name + (hex ? 2 : 1), NULL, hex ? 16 : 10);
        return value == 0 || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)
                   ? TEXT_REPLACEMENT
                   : (uint32_t)value;
    }
    for (size_t i = 0; i < ARRAY_COUNT(entities); i++)
        if (strcmp(name, entities[i].name) == 0)
            return entities[i].code_point;
    *after = at + 1;
    return '&';
}

static enum element_kind kind_of(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(elements); i++)
        if (strcmp(name, elements[i].name) == 0)
            return elements[i].kind;
    return ELEMENT_INLINE;
}

static const uint8_t *skip_space(const uint8_t *at, const uint8_t *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r' || *at == '\f'))
        at++;
    return at;
}

/* An attribute's value at `at`, behind "=": what is behind it. */
static const uint8_t *value_read(const uint8_t *at, const uint8_t *end, const uint8_t **value,
                                 size_t *bytes)
{
    at = skip_space(at, end);
    const uint8_t quote = at < end && (*at == '"' || *at == '\'') ? *at++ : 0;
    *value = at;
    while (at < end && (quote != 0 ? *at != quote : skip_space(at, end) == at && *at != '>'))
        at++;
    *bytes = (size_t)(at - *value);
    return quote != 0 && at < end ? at + 1 : at;
}

/* The tag whose name begins at `at`: what is behind its ">". */
static const uint8_t *tag_read(struct tag *tag, const uint8_t *at, const uint8_t *end)
{
    size_t chars = 0;
    *tag = (struct tag){.closes = *at == '/'};
    for (at += tag->closes ? 1 : 0; at < end && (is_letter(*at) || is_digit(*at)); at++)
        if (chars < NAME_CHARS_MAX)
            tag->name[chars++] = (char)(is_letter(*at) ? *at | 0x20 : *at);
    while (at < end && *at != '>') { /* every round moves on */
        const uint8_t *name = at;
        while (at < end && *at != '>' && *at != '=' && skip_space(at, end) == at && *at != '/')
            at++;
        const size_t name_chars = (size_t)(at - name);
        const uint8_t *behind = skip_space(at, end);
        if (behind < end && *behind == '=') {
            const uint8_t *value = NULL;
            size_t bytes = 0;
            at = value_read(behind + 1, end, &value, &bytes);
            if (name_chars == 4 && strncasecmp((const char *)name, "href", 4) == 0 &&
                tag->href == NULL) {
                tag->href = value;
                tag->href_bytes = bytes;
            }
        } else
            at = behind > at ? behind : at + (at < end && *at != '>' ? 1 : 0);
    }
    return at < end ? at + 1 : end;
}

/* Behind the end tag of an element whose content is not looked at. */
static const uint8_t *skip_hidden(const char *name, const uint8_t *at, const uint8_t *end)
{
    const size_t chars = strlen(name);
    while (at < end) { /* every round moves on */
        at = memchr(at, '<', (size_t)(end - at));
        if (at == NULL)
            return end;
        at++;
        if ((size_t)(end - at) > chars && *at == '/' &&
            strncasecmp((const char *)at + 1, name, chars) == 0) {
            const uint8_t *close = memchr(at, '>', (size_t)(end - at));
            return close == NULL ? end : close + 1;
        }
    }
    return end;
}

/* A link's address stands behind its words, where it leads out of the mail. */
static void link_begin(struct page *page, const struct tag *tag)
{
    page->href_bytes = 0;
    if (tag->href == NULL || tag->href_bytes > HREF_BYTES_MAX)
        return;
    const char *href = (const char *)tag->href;
    if ((tag->href_bytes > 7 && strncasecmp(href, "http://", 7) == 0) ||
        (tag->href_bytes > 8 && strncasecmp(href, "https://", 8) == 0)) {
        memcpy(page->href, tag->href, tag->href_bytes);
        page->href_bytes = tag->href_bytes;
    }
}

static void link_end(struct page *page)
{
    const uint8_t *at = page->href;
    const uint8_t *end = at + page->href_bytes;
    if (page->href_bytes == 0)
        return;
    put_words(page, " <");
    while (at < end) {
        const bool entity = *at == '&';
        const uint32_t code_point = entity ? entity_read(at, end, &at) : text_next(&at, end);
        if (code_point > ' ' && code_point != TEXT_MALFORMED)
            put_shown(page, code_point);
    }
    put_words(page, ">");
    page->href_bytes = 0;
}

static const uint8_t *tag_do(struct page *page, const struct tag *tag, const uint8_t *at)
{
    switch (kind_of(tag->name)) {
    case ELEMENT_HIDDEN: return tag->closes ? at : skip_hidden(tag->name, at, page->end);
    case ELEMENT_BREAK: put_line_ends(page, page->line_ends + 1); break;
    case ELEMENT_LINE: put_line_ends(page, 1); break;
    case ELEMENT_BLOCK: put_line_ends(page, BLANK_LINES_MAX); break;
    case ELEMENT_CELL: page->space_due = page->line_ends == 0; break;
    case ELEMENT_ITEM:
        put_line_ends(page, 1);
        put_words(page, tag->closes ? "" : "* ");
        break;
    case ELEMENT_LINK:
        if (tag->closes)
            link_end(page);
        else
            link_begin(page, tag);
        break;
    case ELEMENT_RULE:
        put_line_ends(page, 1);
        put_words(page, "----------");
        put_line_ends(page, 1);
        break;
    case ELEMENT_INLINE: break;
    }
    if (strcmp(tag->name, "pre") == 0 && (!tag->closes || page->pre_depth > 0))
        page->pre_depth = tag->closes ? page->pre_depth - 1 : page->pre_depth + 1;
    return at;
}

/* What begins with "<" at `at`: what is behind it. */
static const uint8_t *markup_read(struct page *page, const uint8_t *at)
{
    const uint8_t *end = page->end;
    const uint8_t *next = at + 1;
    struct tag tag;
    if (end - next >= 3 && memcmp(next, "!--", 3) == 0) {
        const uint8_t *close = memmem(next + 3, (size_t)(end - next) - 3, "-->", 3);
        return close == NULL ? end : close + 3;
    }
    if (next < end && (*next == '!' || *next == '?')) {
        const uint8_t *close = memchr(next, '>', (size_t)(end - next));
        return close == NULL ? end : close + 1;
    }
    if (next < end && (is_letter(*next) || (*next == '/' && end - next > 1 && is_letter(next[1]))))
        return tag_do(page, &tag, tag_read(&tag, next, end));
    put_shown(page, '<');
    return next;
}

void html_text_write(struct html_text *text, const uint8_t *html, size_t bytes)
{
    struct page page = {.text = text, .end = html + bytes, .line_ends = BLANK_LINES_MAX};
    const uint8_t *at = html;
    while (at < page.end && !text->cut) { /* every round moves on */
        if (*at == '<') {
            at = markup_read(&page, at);
            continue;
        }
        const bool entity = *at == '&';
        const uint32_t code_point =
            entity ? entity_read(at, page.end, &at) : text_next(&at, page.end);
        put_shown(&page, code_point == TEXT_MALFORMED ? TEXT_REPLACEMENT : code_point);
    }
    put_line_ends(&page, 1);
}
