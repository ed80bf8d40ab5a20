#include "envelope/frame.h"

#include "base/assert.h"
#include "base/clock.h"
#include "envelope/date.h"
#include "envelope/encoded_word.h"
#include "envelope/frame_internal.h"
#include "envelope/markup.h"
#include "envelope/outer.h"
#include "envelope/text.h"

#include <string.h>

#define BOUNDARY_CHARS (FRAME_BOUNDARY_BYTES / 3 * 4)

#define NAME_CHARS (sizeof("securedoc_20261121T211500.html") - 1)
#define DAY_CHARS  (sizeof("2026-11-21 21:15 UTC") - 1)

/* docs/format/envelope.md: what is shown to the reader, in UTF-8 bytes and then in a line. */
#define SENDER_BYTES_MAX  320
#define SUBJECT_BYTES_MAX 512
#define VALUE_CHARS_MAX   900

/* The literals of prologue and fields, without their values; measured by the tests. */
#define PROLOGUE_LITERAL_BYTES_MAX 1024
#define FIELDS_LITERAL_BYTES_MAX   512

/* What the templates and the fields show; all clean UTF-8. */
struct shown {
    uint8_t sender[SENDER_BYTES_MAX];
    size_t sender_bytes;
    uint8_t name[ADDRESS_BYTES_MAX];
    size_t name_bytes;
    uint8_t subject[SUBJECT_BYTES_MAX];
    size_t subject_bytes;
    uint8_t day[DAY_CHARS];
    uint8_t attachment[NAME_CHARS];
};
_Static_assert(ADDRESS_BYTES_MAX >= ADDRESS_NAME_BYTES_MAX, "a name or an address fits");

/* `Name <address>`. The address always stands in full: a name alone proves nothing. */
static HOT void show_sender(struct shown *shown, const struct address_mailbox *mailbox)
{
    const size_t address_bytes = mailbox->address.bytes;
    struct writer out = writer_make(shown->sender, SENDER_BYTES_MAX);
    const size_t frame_bytes = 3; /* blank and brackets */

    /* Brackets in a name could pass for an address. */
    uint8_t name[ADDRESS_NAME_BYTES_MAX];
    size_t name_bytes = 0;
    for (size_t i = 0; i < mailbox->name_bytes; i++) {
        if (mailbox->name[i] != '<' && mailbox->name[i] != '>')
            name[name_bytes++] = mailbox->name[i];
    }
    const size_t room =
        SENDER_BYTES_MAX - MIN((size_t)SENDER_BYTES_MAX, address_bytes + frame_bytes);
    const size_t shown_bytes = text_prefix(name, name_bytes, room);
    if (shown_bytes > 0) {
        writer_copy(&out, name, shown_bytes);
        writer_literal(&out, " <");
    }
    writer_copy(&out, mailbox->address.text, address_bytes);
    if (shown_bytes > 0)
        writer_byte(&out, '>');
    shown->sender_bytes = (size_t)(out.at - shown->sender);

    shown->name_bytes = name_bytes > 0 ? name_bytes : address_bytes;
    memcpy(shown->name, name_bytes > 0 ? name : mailbox->address.text, shown->name_bytes);
}

static HOT void show_times(struct shown *shown, uint64_t now_unix_ns)
{
    const struct date now = {(int64_t)(now_unix_ns / NS_PER_S), 0};
    struct date_parts parts;
    date_split(&parts, &now);
    struct writer out = writer_make(shown->day, sizeof(shown->day));
    writer_padded(&out, parts.year, 4);
    writer_byte(&out, '-');
    writer_padded(&out, parts.month, 2);
    writer_byte(&out, '-');
    writer_padded(&out, parts.day, 2);
    writer_byte(&out, ' ');
    writer_padded(&out, parts.hour, 2);
    writer_byte(&out, ':');
    writer_padded(&out, parts.minute, 2);
    writer_literal(&out, " UTC");

    out = writer_make(shown->attachment, sizeof(shown->attachment));
    writer_literal(&out, "securedoc_");
    writer_padded(&out, parts.year, 4);
    writer_padded(&out, parts.month, 2);
    writer_padded(&out, parts.day, 2);
    writer_byte(&out, 'T');
    writer_padded(&out, parts.hour, 2);
    writer_padded(&out, parts.minute, 2);
    writer_padded(&out, parts.second, 2);
    writer_literal(&out, ".html");
    ASSERT(out.at == out.end);
}

static HOT void show_subject(struct shown *shown, const struct frame *frame,
                             const struct frame_message *message)
{
    shown->subject_bytes =
        frame->hide_subject ? 0 : frame_subject_text(message, shown->subject, SUBJECT_BYTES_MAX);
}

/* Random enough that no message can hold it; and "=_" stands in neither encoding we write
 * (RFC 2045, 6.7 (5)). Outer and inner differ early: neither is the other's prefix. */
struct boundary {
    uint8_t encoded[BOUNDARY_CHARS + BASE64_SLACK_BYTES];
};

static HOT void boundary_make(struct boundary *boundary, const struct frame_message *message)
{
    const size_t chars =
        base64url_encode_run(boundary->encoded, message->boundary_random, FRAME_BOUNDARY_BYTES);
    ASSERT(chars == BOUNDARY_CHARS);
}

static HOT void write_boundary(struct writer *writer, const struct boundary *boundary, char which)
{
    const uint8_t start[4] = {'=', '_', (uint8_t)which, '_'};
    writer_copy(writer, start, sizeof(start));
    writer_copy(writer, boundary->encoded, BOUNDARY_CHARS);
}

static void values_of(struct template_value values[TEMPLATE_VARIABLE_COUNT],
                      const struct shown *shown)
{
    values[TEMPLATE_SENDER] = (struct template_value){shown->sender, shown->sender_bytes};
    values[TEMPLATE_SENDER_NAME] = (struct template_value){shown->name, shown->name_bytes};
    values[TEMPLATE_SUBJECT] = (struct template_value){shown->subject, shown->subject_bytes};
    values[TEMPLATE_DATE] = (struct template_value){shown->day, DAY_CHARS};
    values[TEMPLATE_ATTACHMENT] = (struct template_value){shown->attachment, NAME_CHARS};
}

static HOT void write_notification(const struct frame *frame, const struct boundary *boundary,
                                   const struct shown *shown, struct writer *writer)
{
    struct template_value values[TEMPLATE_VARIABLE_COUNT];
    values_of(values, shown);
    writer_literal(writer, "Content-Type: multipart/alternative;\r\n boundary=\"");
    write_boundary(writer, boundary, 'n');
    writer_literal(writer, "\"\r\n\r\n--");
    write_boundary(writer, boundary, 'n');
    writer_literal(writer, "\r\nContent-Type: text/plain; charset=utf-8\r\n"
                           "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
    template_render(frame->text, writer, values);
    writer_literal(writer, "\r\n--");
    write_boundary(writer, boundary, 'n');
    writer_literal(writer, "\r\nContent-Type: text/html; charset=utf-8\r\n"
                           "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
    template_render(frame->html, writer, values);
    writer_literal(writer, "\r\n--");
    write_boundary(writer, boundary, 'n');
    writer_literal(writer, "--\r\n");
}

HOT size_t frame_prologue(const struct frame *frame, const struct frame_message *message,
                          uint8_t *dst, size_t dst_room)
{
    struct writer writer = writer_make(dst, dst_room);
    struct shown shown;
    struct boundary boundary;
    struct outer_sender sender;
    outer_sender(&sender, frame, message);
    boundary_make(&boundary, message);
    show_sender(&shown, &sender.mailbox);
    show_times(&shown, message->now_unix_ns);
    shown.subject_bytes = 0;
    if (frame->shows_subject)
        show_subject(&shown, frame, message);

    outer_write(frame, message, &sender, &writer);
    writer_literal(&writer, "MIME-Version: 1.0\r\n"
                            "Content-Type: multipart/mixed;\r\n boundary=\"");
    write_boundary(&writer, &boundary, 'm');
    writer_literal(&writer, "\"\r\n\r\n--");
    write_boundary(&writer, &boundary, 'm');
    writer_literal(&writer, "\r\n");
    write_notification(frame, &boundary, &shown, &writer);
    writer_literal(&writer, "\r\n--");
    write_boundary(&writer, &boundary, 'm');
    writer_literal(&writer, "\r\nContent-Type: text/html; charset=us-ascii;\r\n name=\"");
    writer_copy(&writer, shown.attachment, NAME_CHARS);
    writer_literal(&writer, "\"\r\nContent-Disposition: attachment;\r\n filename=\"");
    writer_copy(&writer, shown.attachment, NAME_CHARS);
    writer_literal(&writer, "\"\r\nContent-Transfer-Encoding: 7bit\r\n\r\n");
    return (size_t)(writer.at - dst);
}

/* Of `Name <address>` as it is shown. A byte of a header becomes at most three (U+FFFD, or a
 * character of an 8-bit charset); quoting an address adds to it. */
static size_t sender_bytes_max(const struct frame *frame, const struct frame_message *message)
{
    const size_t from = (size_t)message->header->field[HEADER_FROM].bytes * 3;
    const size_t envelope = (size_t)message->sender_bytes * 2;
    return MAX(MAX(from, envelope), (size_t)frame->host_bytes) + 32;
}

size_t frame_prologue_bytes_max(const struct frame *frame, const struct frame_message *message)
{
    const struct header *header = message->header;
    const size_t from = sender_bytes_max(frame, message);
    const size_t subject = (size_t)header->field[HEADER_SUBJECT].bytes * 3;
    struct template_value values[TEMPLATE_VARIABLE_COUNT] = {
        [TEMPLATE_SENDER] = {.bytes = MIN(from, (size_t)SENDER_BYTES_MAX)},
        [TEMPLATE_SENDER_NAME] = {.bytes = MIN(from, (size_t)ADDRESS_BYTES_MAX)},
        [TEMPLATE_SUBJECT] = {.bytes = MIN(subject, (size_t)SUBJECT_BYTES_MAX)},
        [TEMPLATE_DATE] = {.bytes = DAY_CHARS},
        [TEMPLATE_ATTACHMENT] = {.bytes = NAME_CHARS},
    };
    return outer_bytes_max(frame, message) + PROLOGUE_LITERAL_BYTES_MAX +
           template_bytes_max(frame->text, values) + template_bytes_max(frame->html, values);
}

static void open_field(struct writer *writer, char name)
{
    writer_literal(writer, "<input type=\"hidden\" name=\"");
    writer_byte(writer, (uint8_t)name);
    writer_literal(writer, "\" value=\"");
}

#define close_field(writer) writer_literal((writer), "\">\r\n")

HOT size_t frame_fields(const struct frame *frame, const struct frame_message *message,
                        uint8_t *dst, size_t dst_room)
{
    struct writer writer = writer_make(dst, dst_room);
    struct shown shown;
    struct outer_sender sender;
    outer_sender(&sender, frame, message);
    show_sender(&shown, &sender.mailbox);
    show_subject(&shown, frame, message);
    char hex[ID_HEX_CHARS];
    id_to_hex(hex, message->id);
    uint8_t encoded[BASE64_LINE_CHARS + BASE64_SLACK_BYTES];
    const size_t encoded_chars =
        base64_encode_run(encoded, message->salt_commitment, COBBLE_HEADER_BYTES);
    ASSERT(encoded_chars == BASE64_LINE_CHARS);

    open_field(&writer, 'v');
    writer_byte(&writer, '1');
    close_field(&writer);
    open_field(&writer, 's');
    writer_decimal(&writer, (uint64_t)frame->suite);
    close_field(&writer);
    open_field(&writer, 'm');
    writer_copy(&writer, hex, ID_HEX_CHARS);
    close_field(&writer);
    open_field(&writer, 'f');
    markup_write(&writer, shown.sender, shown.sender_bytes, VALUE_CHARS_MAX);
    close_field(&writer);
    open_field(&writer, 'u');
    markup_write(&writer, shown.subject, shown.subject_bytes, VALUE_CHARS_MAX);
    close_field(&writer);
    open_field(&writer, 't');
    writer_decimal(&writer, message->now_unix_ns / NS_PER_S);
    close_field(&writer);
    open_field(&writer, 'k');
    writer_copy(&writer, encoded, encoded_chars);
    close_field(&writer);
    return (size_t)(writer.at - dst);
}

size_t frame_fields_bytes_max(const struct frame *frame, const struct frame_message *message)
{
    const struct header *header = message->header;
    const size_t from = sender_bytes_max(frame, message);
    const size_t subject =
        frame->hide_subject ? 0 : (size_t)header->field[HEADER_SUBJECT].bytes * 3;
    return FIELDS_LITERAL_BYTES_MAX + MIN(markup_chars_max(from), (size_t)VALUE_CHARS_MAX) +
           MIN(markup_chars_max(subject), (size_t)VALUE_CHARS_MAX);
}

HOT size_t frame_epilogue(const struct frame *frame, const struct frame_message *message,
                          uint8_t *dst, size_t dst_room)
{
    (void)frame;
    struct writer writer = writer_make(dst, dst_room);
    struct boundary boundary;
    boundary_make(&boundary, message);
    writer_literal(&writer, "\r\n--");
    write_boundary(&writer, &boundary, 'm');
    writer_literal(&writer, "--\r\n");
    ASSERT((size_t)(writer.at - dst) <= FRAME_EPILOGUE_BYTES_MAX);
    return (size_t)(writer.at - dst);
}

const uint8_t *frame_head(const struct frame *frame, size_t *bytes)
{
    *bytes = frame->head_bytes;
    return frame->shell;
}

const uint8_t *frame_tail(const struct frame *frame, size_t *bytes)
{
    *bytes = frame->tail_bytes;
    return frame->shell + frame->tail_offset;
}
