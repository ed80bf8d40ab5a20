#include "envelope/header.h"

#include "base/assert.h"
#include "envelope/window.h"

#include <string.h>

/* A longer name is a field, but none of ours. */
#define NAME_BYTES_MAX 16

struct header_name {
    char text[NAME_BYTES_MAX]; /* lower case */
    uint32_t field;
};

/* By length; NAMES_FIRST[n] is the first of n bytes or more. */
static const struct header_name NAMES[HEADER_FIELD_COUNT] = {
    {"to", HEADER_TO},
    {"cc", HEADER_CC},
    {"from", HEADER_FROM},
    {"date", HEADER_DATE},
    {"sender", HEADER_SENDER},
    {"subject", HEADER_SUBJECT},
    {"reply-to", HEADER_REPLY_TO},
    {"message-id", HEADER_MESSAGE_ID},
    {"references", HEADER_REFERENCES},
    {"precedence", HEADER_PRECEDENCE},
    {"in-reply-to", HEADER_IN_REPLY_TO},
    {"auto-submitted", HEADER_AUTO_SUBMITTED},
};
static const uint8_t NAMES_FIRST[NAME_BYTES_MAX + 2] = {0, 0, 0,  2,  2,  4,  4,  5,  6,
                                                        7, 7, 10, 11, 11, 11, 12, 12, 12};

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

/* Which of our fields has a name that the lanes begin with; HEADER_FIELD_COUNT: none. */
static inline uint32_t field_of(__m128i lanes, size_t name_bytes)
{
    static const uint8_t ones[2 * NAME_BYTES_MAX] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                                     0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                                     0xff, 0xff, 0xff, 0xff};
    if (name_bytes > NAME_BYTES_MAX || NAMES_FIRST[name_bytes] == NAMES_FIRST[name_bytes + 1])
        return HEADER_FIELD_COUNT;
    /* Bit 5 is the case of an ASCII letter; a hyphen has it set already. 0x0d would pass for one,
     * but a name holds no control bytes. */
    const __m128i lower = _mm_and_si128(_mm_or_si128(lanes, window_byte(0x20)),
                                        window_lanes(ones + NAME_BYTES_MAX - name_bytes));
    for (uint32_t n = NAMES_FIRST[name_bytes]; n < NAMES_FIRST[name_bytes + 1]; n++) {
        const __m128i ours = window_lanes((const uint8_t *)NAMES[n].text);
        if (window_bits(_mm_cmpeq_epi8(lower, ours)) == 0xffff)
            return NAMES[n].field;
    }
    return HEADER_FIELD_COUNT;
}

/* Does a name of these lanes begin with List-? RFC 2369 and 2919 have seven of them. */
static inline bool is_list_name(__m128i lanes, size_t name_bytes)
{
    static const uint64_t list = UINT64_C(0x2d7473696c); /* "list-", the case of its letters away */
    const uint64_t first = (uint64_t)_mm_cvtsi128_si64(lanes);
    return name_bytes > 5 && ((first | UINT64_C(0x2020202020)) & UINT64_C(0xffffffffff)) == list;
}

static inline void header_note(struct header *header, uint32_t field, uint32_t body_offset,
                               uint32_t body_bytes)
{
    header->fields_count++;
    if (field == HEADER_FIELD_COUNT)
        return;
    const uint32_t bit = UINT32_C(1) << field;
    if ((header->present & bit) != 0) {
        header->repeated |= bit;
        return;
    }
    header->present |= bit;
    header->field[field] = (struct header_span){body_offset, body_bytes};
}

/* Which of the lanes end a field's name; a zero does. */
static inline uint32_t name_stops(__m128i lanes)
{
    return window_bits(_mm_andnot_si128(window_equal(lanes, ':'), window_visible(lanes))) ^ 0xffff;
}

/*
 * The length of a field name at `line` (RFC 5322, 3.6.8; 4.5 allows blanks before the colon), and
 * where the colon stands. 0: this line is no field. A line end, or `end`, ends every name. `lanes`
 * are the line's first.
 */
static inline size_t header_name_bytes(const uint8_t *line, const uint8_t *end, __m128i lanes,
                                       size_t *colon_at)
{
    const size_t there = (size_t)(end - line);
    uint32_t stops = name_stops(lanes);
    size_t i = 0;
    while (stops == 0) {
        i += WINDOW_LANES;
        if (i >= there)
            return 0;
        stops = name_stops(window_lanes_until(line + i, end));
    }
    i += (size_t)__builtin_ctz(stops);
    const size_t name_bytes = i;
    while (i < there && is_blank(line[i]))
        i++;
    if (name_bytes == 0 || i >= there || line[i] != ':')
        return 0;
    *colon_at = i;
    return name_bytes;
}

/* "From " opens a message in a mailbox file; gateways write ">From " for it. */
static bool is_mbox_line(const uint8_t *line, size_t there)
{
    if (there > 0 && line[0] == '>') {
        line++;
        there--;
    }
    return there >= 5 && memcmp(line, "From ", 5) == 0;
}

/* The line ends of a text in their order. */
struct line_ends {
    const uint8_t *mail;
    size_t end;
    size_t window_at;
    uint64_t ends; /* of the window, not yet taken */
};

static inline void line_ends_load(struct line_ends *lines)
{
    const uint8_t *at = lines->mail + lines->window_at;
    uint8_t padded[WINDOW_BYTES];
    if (__builtin_expect(lines->end - lines->window_at < WINDOW_BYTES, 0)) {
        memset(padded, 0, sizeof(padded));
        memcpy(padded, at, lines->end - lines->window_at);
        at = padded;
    }
    lines->ends = window_join(window_equal(window_lanes(at), '\n'),
                              window_equal(window_lanes(at + WINDOW_LANES), '\n'),
                              window_equal(window_lanes(at + 2 * WINDOW_LANES), '\n'),
                              window_equal(window_lanes(at + 3 * WINDOW_LANES), '\n'));
}

/* The offset just past the next one; `end` when there is none. */
static inline size_t line_ends_next(struct line_ends *lines)
{
    while (lines->ends == 0) {
        if (lines->end - lines->window_at <= WINDOW_BYTES)
            return lines->end;
        lines->window_at += WINDOW_BYTES;
        line_ends_load(lines);
    }
    const size_t after = lines->window_at + (size_t)__builtin_ctzll(lines->ends) + 1;
    lines->ends &= lines->ends - 1;
    return after;
}

/* Where the line that ends at `after` ends without its line end. It has a byte beside that. */
static inline size_t line_body_end(const uint8_t *mail, size_t after)
{
    size_t end = after;
    if (mail[end - 1] == '\n') {
        end--;
        end -= mail[end - 1] == '\r' ? 1 : 0;
    }
    return end;
}

/* The bytes of an empty line at `at`; 0 if it is none. */
static inline size_t empty_line_bytes(const uint8_t *mail, size_t at, size_t end)
{
    if (mail[at] == '\n')
        return 1;
    return mail[at] == '\r' && end - at > 1 && mail[at + 1] == '\n' ? 2 : 0;
}

static inline void header_clear(struct header *header)
{
    for (uint32_t f = 0; f < HEADER_FIELD_COUNT; f++)
        header->field[f] = (struct header_span){0, 0};
    header->present = 0;
    header->repeated = 0;
    header->fields_count = 0;
    header->ended = false;
    header->list = false;
}

HOT void header_read(struct header *header, const uint8_t *mail, size_t there_bytes,
                     size_t mail_bytes)
{
    ASSERT(there_bytes <= mail_bytes);
    ASSERT(there_bytes == mail_bytes || there_bytes >= HEADER_BYTES_MAX);
    const size_t end = MIN(there_bytes, (size_t)HEADER_BYTES_MAX);
    const bool cut = mail_bytes > end;
    size_t at = 0;
    struct line_ends lines = {.mail = mail, .end = end};
    header_clear(header);
    line_ends_load(&lines);

    while (at < end) {
        const size_t empty_bytes = empty_line_bytes(mail, at, end);
        if (empty_bytes > 0) {
            header->ended = true;
            at += empty_bytes;
            break;
        }
        size_t colon_at = 0;
        const __m128i lanes = window_lanes_until(mail + at, mail + end);
        const size_t name_bytes = header_name_bytes(mail + at, mail + end, lanes, &colon_at);
        if (name_bytes == 0) {
            /* Only the mailbox line may stand before the fields; elsewhere the body has begun. */
            if (at != 0 || !is_mbox_line(mail, end))
                break;
            at = line_ends_next(&lines);
            continue;
        }
        size_t after = line_ends_next(&lines);
        while (after < end && is_blank(mail[after]))
            after = line_ends_next(&lines);
        /* A field that the limit cut in two, or may have, is not believed. */
        if (cut && after == end)
            break;
        const size_t body_at = at + colon_at + 1;
        const size_t body_end = line_body_end(mail, after);
        ASSERT_HOT(body_end >= body_at);
        header_note(header, field_of(lanes, name_bytes), (uint32_t)body_at,
                    (uint32_t)(body_end - body_at));
        header->list |= is_list_name(lanes, name_bytes);
        at = after;
    }
    ASSERT(at <= end);
    header->header_bytes = (uint32_t)at;
}
