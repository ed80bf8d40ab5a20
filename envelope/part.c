#include "envelope/part.h"

#include "base/assert.h"
#include "crypto/base64.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define VALUE_BYTES_MAX 256 /* of a parameter; longer ones are none of ours */

/* A stretch of the mail. */
struct span {
    const uint8_t *at;
    const uint8_t *end;
};

struct boundary {
    uint8_t text[PART_BOUNDARY_BYTES_MAX];
    uint32_t bytes;
};

/* What a part's header says, as far as it matters here. */
struct about {
    struct boundary boundary; /* bytes 0: not a multipart */
    enum part_encoding encoding;
    bool html;
    bool message; /* message/rfc822 */
    bool named;
};

struct walk {
    struct boundary stack[PART_DEPTH_MAX];
    uint32_t depth;
};

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static const uint8_t *line_end(const uint8_t *at, const uint8_t *end)
{
    const uint8_t *lf = memchr(at, '\n', (size_t)(end - at));
    return lf == NULL ? end : lf + 1;
}

static bool span_is(struct span span, const char *lower)
{
    const size_t bytes = strlen(lower);
    return (size_t)(span.end - span.at) == bytes &&
           strncasecmp((const char *)span.at, lower, bytes) == 0;
}

/* Blanks, line ends and comments between the words of a structured field (RFC 5322, 3.2.2). */
static const uint8_t *skip_blanks(const uint8_t *at, const uint8_t *end)
{
    uint32_t depth = 0;

    for (; at != end; at++) {
        if (*at == '(')
            depth++;
        else if (*at == ')' && depth != 0)
            depth--;
        else if (*at == '\\' && depth != 0 && end - at > 1)
            at++;
        else if (depth == 0 && !is_space(*at))
            break;
    }
    return at;
}

static struct span word(const uint8_t *at, const uint8_t *end)
{
    struct span span = {.at = at, .end = at};

    while (span.end != end && !is_space(*span.end) && memchr(";=\"(", *span.end, 4) == NULL)
        span.end++;
    return span;
}

/* A parameter's value, quoted or bare, without its quoting; returns where it ended. */
static const uint8_t *parameter_value(const uint8_t *at, const uint8_t *end,
                                      uint8_t value[VALUE_BYTES_MAX], uint32_t *value_bytes)
{
    const bool quoted = at != end && *at == '"';
    uint32_t bytes = 0;

    for (at += quoted ? 1 : 0; at != end; at++) {
        if (quoted ? *at == '"' : is_space(*at) || *at == ';')
            break;
        if (quoted && *at == '\\' && end - at > 1)
            at++;
        if (*at == '\r' || *at == '\n')
            continue; /* a fold */
        if (bytes < VALUE_BYTES_MAX)
            value[bytes] = *at;
        bytes = MIN(bytes + 1, VALUE_BYTES_MAX + 1);
    }
    *value_bytes = bytes <= VALUE_BYTES_MAX ? bytes : 0;
    return quoted && at != end ? at + 1 : at;
}

/* docs/format/sealed-mail.md: securedoc_<time>.html; some gateways cut the suffix to three. */
static bool is_envelope_name(const uint8_t *name, uint32_t name_bytes)
{
    static const char stem[] = "securedoc_";
    const struct span tail4 = {name + name_bytes - MIN(name_bytes, 4u), name + name_bytes};
    const struct span tail5 = {name + name_bytes - MIN(name_bytes, 5u), name + name_bytes};

    if (!span_is(tail5, ".html") && !span_is(tail4, ".htm"))
        return false;
    for (uint32_t at = 0; at + sizeof(stem) - 1 <= name_bytes; at++) {
        /* RFC 2231 puts charset''  before the name. */
        if (strncasecmp((const char *)name + at, stem, sizeof(stem) - 1) == 0)
            return at == 0 || name[at - 1] == '\'';
    }
    return false;
}

static void parameters_read(struct about *about, const uint8_t *at, const uint8_t *end,
                            bool multipart)
{
    while ((at = skip_blanks(at, end)) != end) {
        uint8_t value[VALUE_BYTES_MAX];
        uint32_t value_bytes = 0;
        const struct span name = word(at, end);

        if (name.end == at) {
            at++; /* ';' or something that has no place here */
            continue;
        }
        at = skip_blanks(name.end, end);
        if (at == end || *at != '=')
            continue;
        at = parameter_value(skip_blanks(at + 1, end), end, value, &value_bytes);
        if (multipart && span_is(name, "boundary") && value_bytes <= PART_BOUNDARY_BYTES_MAX) {
            memcpy(about->boundary.text, value, value_bytes);
            about->boundary.bytes = value_bytes;
        } else if (span_is(name, "name") || span_is(name, "name*") || span_is(name, "filename") ||
                   span_is(name, "filename*")) {
            about->named |= is_envelope_name(value, value_bytes);
        }
    }
}

static void field_read(struct about *about, struct span name, const uint8_t *at, const uint8_t *end)
{
    end = at + MIN(end - at, PART_FIELD_BYTES_MAX);
    at = skip_blanks(at, end);
    const struct span first = word(at, end);
    if (span_is(name, "content-type")) {
        const bool multipart =
            first.end - first.at > 10 && strncasecmp((const char *)first.at, "multipart/", 10) == 0;
        about->html = span_is(first, "text/html");
        about->message = span_is(first, "message/rfc822");
        parameters_read(about, first.end, end, multipart);
    } else if (span_is(name, "content-disposition")) {
        parameters_read(about, first.end, end, false);
    } else if (span_is(name, "content-transfer-encoding")) {
        if (span_is(first, "base64"))
            about->encoding = PART_BASE64;
        else if (span_is(first, "quoted-printable"))
            about->encoding = PART_QUOTED_PRINTABLE;
    }
}

/* Reads the header that starts at `at`; returns where the body starts. */
static const uint8_t *header_about(struct about *about, const uint8_t *at, const uint8_t *end)
{
    *about = (struct about){.encoding = PART_IDENTITY};
    while (at != end) {
        const uint8_t *next = line_end(at, end);
        if (*at == '\n' || (*at == '\r' && next - at == 2))
            return next;
        while (next != end && (*next == ' ' || *next == '\t'))
            next = line_end(next, end);
        const uint8_t *colon = memchr(at, ':', (size_t)(next - at));
        if (colon != NULL) {
            const struct span name = {at, colon};
            field_read(about, name, colon + 1, next);
        }
        at = next;
    }
    return at;
}

/* The depth whose boundary this line is, counted from 1, or 0; *closes: it ends the multipart. */
static uint32_t boundary_match(const struct walk *walk, const uint8_t *line, const uint8_t *next,
                               bool *closes)
{
    while (next != line && is_space(next[-1]))
        next--;
    if (next - line < 3 || line[0] != '-' || line[1] != '-')
        return 0;
    line += 2;
    const size_t bytes = (size_t)(next - line);
    for (uint32_t depth = walk->depth; depth != 0; depth--) {
        const struct boundary *boundary = &walk->stack[depth - 1];
        if (bytes < boundary->bytes || memcmp(line, boundary->text, boundary->bytes) != 0)
            continue;
        *closes = bytes == boundary->bytes + 2u && memcmp(next - 2, "--", 2) == 0;
        if (*closes || bytes == boundary->bytes)
            return depth;
    }
    return 0;
}

/*
 * Goes on to the next part's header, or the end. *body_end: where the part that `at` stands in
 * ended (with the line end before a boundary, which is white space to HTML and base64); *cut: the
 * mail ended before it.
 */
static const uint8_t *next_part(struct walk *walk, const uint8_t *at, const uint8_t *end,
                                const uint8_t **body_end, bool *cut)
{
    bool ended = false;

    *body_end = end;
    *cut = walk->depth != 0;
    while (at != end) {
        bool closes = false;
        const uint8_t *next = line_end(at, end);
        const uint32_t depth = boundary_match(walk, at, next, &closes);
        if (depth != 0) {
            *body_end = ended ? *body_end : at;
            *cut = false;
            ended = true;
            walk->depth = closes ? depth - 1 : depth;
        }
        at = next;
        if (depth != 0 && !closes)
            return at;
    }
    return end;
}

uint32_t part_list(struct part parts[PART_COUNT_MAX], const uint8_t *mail, size_t mail_bytes)
{
    struct walk walk = {.depth = 0};
    uint32_t parts_count = 0;
    const uint8_t *end = mail + mail_bytes;
    const uint8_t *at = mail;

    while (at != end && parts_count < PART_COUNT_MAX) {
        struct about about;
        const uint8_t *body = header_about(&about, at, end);
        const uint8_t *body_end = NULL;
        bool cut = false;

        if (about.message && about.encoding == PART_IDENTITY && body != at) {
            at = body; /* its own header follows */
            continue;
        }
        if (about.boundary.bytes != 0 && walk.depth < PART_DEPTH_MAX)
            walk.stack[walk.depth++] = about.boundary;
        at = next_part(&walk, body, end, &body_end, &cut);
        if (about.boundary.bytes != 0 || !(about.named || about.html))
            continue;
        parts[parts_count++] = (struct part){.body = body,
                                             .body_bytes = (size_t)(body_end - body),
                                             .encoding = about.encoding,
                                             .named = about.named,
                                             .cut = cut};
    }
    return parts_count;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    const uint8_t lower = c | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Returns bytes written, never more than were read. */
static size_t quoted_printable_decode(uint8_t *dst, const uint8_t *at, const uint8_t *end)
{
    uint8_t *const start = dst;

    while (at != end) {
        if (*at != '=') {
            *dst++ = *at++;
            continue;
        }
        const uint8_t *next = at + 1;
        while (next != end && (*next == ' ' || *next == '\t' || *next == '\r'))
            next++;
        if (next == end || *next == '\n') { /* a soft line break */
            at = next == end ? end : next + 1;
            continue;
        }
        const int high = hex_digit(at[1]);
        const int low = end - at > 2 ? hex_digit(at[2]) : -1;
        if (high < 0 || low < 0) { /* as it stands, RFC 2045, 6.7 */
            *dst++ = *at++;
            continue;
        }
        *dst++ = (uint8_t)(high << 4 | low);
        at += 3;
    }
    return (size_t)(dst - start);
}

/* Where whole groups end in a text that was cut: the last one may be incomplete, and so may the
 * boundary line after it. */
static size_t whole_groups_bytes(const uint8_t *text, size_t text_bytes)
{
    const uint8_t *lf = memrchr(text, '\n', text_bytes);
    size_t chars_count = 0;

    if (lf != NULL && lf + 1 != text + text_bytes && lf[1] == '-')
        text_bytes = (size_t)(lf - text);

    for (size_t i = 0; i < text_bytes; i++)
        chars_count += is_space(text[i]) ? 0 : 1;
    for (size_t surplus = chars_count % 4; surplus != 0; text_bytes--)
        surplus -= is_space(text[text_bytes - 1]) ? 0 : 1;
    return text_bytes;
}

int part_decode(const struct part *part, uint8_t **decoded, size_t *decoded_bytes)
{
    size_t text_bytes = part->body_bytes;
    size_t bytes = 0;
    int rc = 0;
    uint8_t *buffer = malloc(text_bytes + BASE64_SLACK_BYTES);

    if (buffer == NULL)
        return -ENOMEM;
    switch (part->encoding) {
    case PART_IDENTITY:
        memcpy(buffer, part->body, text_bytes);
        bytes = text_bytes;
        break;
    case PART_QUOTED_PRINTABLE:
        bytes = quoted_printable_decode(buffer, part->body, part->body + text_bytes);
        break;
    case PART_BASE64:
        if (part->cut)
            text_bytes = whole_groups_bytes(part->body, text_bytes);
        rc = base64_decode(base64_codec(isa_best()), buffer, part->body, text_bytes, &bytes);
        break;
    }
    if (rc != 0) {
        free(buffer);
        return rc;
    }
    ASSERT(bytes <= part->body_bytes);
    *decoded = buffer;
    *decoded_bytes = bytes;
    return 0;
}
