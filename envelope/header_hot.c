#include "envelope/header.h"

#include "base/assert.h"

#include <string.h>

/* The longest name that is looked up; a longer one is a field, but none of ours. */
#define NAME_BYTES_MAX 16

struct header_name {
    uint8_t bytes;
    uint8_t field;
    char text[NAME_BYTES_MAX]; /* lower case */
};

static const struct header_name NAMES[HEADER_FIELD_COUNT] = {
    {4, HEADER_FROM, "from"},
    {6, HEADER_SENDER, "sender"},
    {8, HEADER_REPLY_TO, "reply-to"},
    {2, HEADER_TO, "to"},
    {2, HEADER_CC, "cc"},
    {7, HEADER_SUBJECT, "subject"},
    {4, HEADER_DATE, "date"},
    {10, HEADER_MESSAGE_ID, "message-id"},
    {11, HEADER_IN_REPLY_TO, "in-reply-to"},
    {10, HEADER_REFERENCES, "references"},
    {14, HEADER_AUTO_SUBMITTED, "auto-submitted"},
};

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static HOT void header_note(struct header *header, const uint8_t *name, size_t name_bytes,
                            uint32_t body_offset, uint32_t body_bytes)
{
    header->fields_count++;
    for (uint32_t n = 0; n < HEADER_FIELD_COUNT; n++) {
        if (NAMES[n].bytes != name_bytes)
            continue;
        uint32_t differ = 0;
        /* Bit 5 is the case of an ASCII letter; a hyphen has it set already. */
        for (size_t i = 0; i < name_bytes; i++)
            differ |= (uint32_t)((name[i] | 0x20) ^ (uint8_t)NAMES[n].text[i]);
        /* 0x0d would pass for a hyphen under the bit; a name holds no control bytes. */
        if (differ != 0)
            continue;
        const uint32_t bit = UINT32_C(1) << NAMES[n].field;
        if ((header->present & bit) != 0) {
            header->repeated |= bit;
            return;
        }
        header->present |= bit;
        header->field[NAMES[n].field] = (struct header_span){body_offset, body_bytes};
        return;
    }
}

/*
 * The length of a field name at `line` (RFC 5322, 3.6.8; 4.5 allows blanks before the colon), and
 * where the colon stands. 0: this line is no field.
 */
static HOT size_t header_name_bytes(const uint8_t *line, size_t line_bytes, size_t *colon_at)
{
    size_t i = 0;
    while (i < line_bytes && line[i] > ' ' && line[i] < 0x7f && line[i] != ':')
        i++;
    const size_t name_bytes = i;
    while (i < line_bytes && is_blank(line[i]))
        i++;
    if (name_bytes == 0 || i == line_bytes || line[i] != ':')
        return 0;
    *colon_at = i;
    return name_bytes;
}

/* "From " opens a message in a mailbox file; gateways write ">From " for it. */
static bool is_mbox_line(const uint8_t *line, size_t line_bytes)
{
    if (line_bytes > 0 && line[0] == '>') {
        line++;
        line_bytes--;
    }
    return line_bytes >= 5 && memcmp(line, "From ", 5) == 0;
}

/* The offset just past the line that starts at `at`; `end` when it has no line end. */
static HOT size_t line_after(const uint8_t *mail, size_t at, size_t end)
{
    const uint8_t *lf = memchr(mail + at, '\n', end - at);
    return lf == NULL ? end : (size_t)(lf - mail) + 1;
}

/* Bytes of mail[at, after) without the line end. */
static size_t line_body_bytes(const uint8_t *mail, size_t at, size_t after)
{
    size_t end = after;
    if (end > at && mail[end - 1] == '\n') {
        end--;
        if (end > at && mail[end - 1] == '\r')
            end--;
    }
    return end - at;
}

HOT void header_read(struct header *header, const uint8_t *mail, size_t there_bytes,
                     size_t mail_bytes)
{
    ASSERT(there_bytes <= mail_bytes);
    ASSERT(there_bytes == mail_bytes || there_bytes >= HEADER_BYTES_MAX);
    *header = (struct header){0};
    const size_t end = MIN(there_bytes, (size_t)HEADER_BYTES_MAX);
    const bool cut = mail_bytes > end;
    size_t at = 0;

    while (at < end) {
        size_t after = line_after(mail, at, end);
        const size_t line_bytes = line_body_bytes(mail, at, after);
        if (line_bytes == 0 && mail[after - 1] == '\n') {
            header->ended = true;
            at = after;
            break;
        }
        size_t colon_at = 0;
        const size_t name_bytes = header_name_bytes(mail + at, line_bytes, &colon_at);
        if (name_bytes == 0) {
            /* Only the mailbox line may stand before the fields; elsewhere the body has begun. */
            if (at != 0 || !is_mbox_line(mail, line_bytes))
                break;
            at = after;
            continue;
        }
        size_t last = at; /* start of the field's last line */
        while (after < end && is_blank(mail[after])) {
            last = after;
            after = line_after(mail, after, end);
        }
        /* A field that the limit cut in two, or may have, is not believed. */
        if (cut && after == end)
            break;
        const size_t body_at = at + colon_at + 1;
        const size_t body_end = last + line_body_bytes(mail, last, after);
        ASSERT_HOT(body_end >= body_at);
        header_note(header, mail + at, name_bytes, (uint32_t)body_at,
                    (uint32_t)(body_end - body_at));
        at = after;
    }
    ASSERT(at <= end);
    header->header_bytes = (uint32_t)at;
}
