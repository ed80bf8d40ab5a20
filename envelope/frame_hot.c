#include "envelope/frame.h"

#include "base/assert.h"
#include "base/clock.h"
#include "envelope/frame_internal.h"
#include "envelope/markup.h"
#include "envelope/outer.h"
#include "envelope/template_internal.h"
#include "envelope/window.h"

#include <string.h>

HOT void frame_time_set(struct frame_time *time, uint64_t now_unix_ns)
{
    const uint64_t unix_s = now_unix_ns / NS_PER_S;
    if (unix_s == time->unix_s && time->unix_chars != 0)
        return;
    const struct date now = {(int64_t)unix_s, 0};
    struct date_parts parts;
    date_split(&parts, &now);
    time->unix_s = unix_s;
    struct writer out = writer_make(time->unix_text, sizeof(time->unix_text));
    writer_decimal(&out, unix_s);
    time->unix_chars = (uint32_t)(out.at - time->unix_text);

    out = writer_make(time->day, sizeof(time->day));
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
    ASSERT(out.at == out.end);

    out = writer_make(time->attachment, sizeof(time->attachment));
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

    out = writer_make(time->date, sizeof(time->date));
    date_write_header(&out, &now);
    ASSERT(out.at == out.end);
}

/* Written at most once per mail, then copied. */
struct written {
    const uint8_t *at;
    size_t bytes;
};

/* What the scripts' holes and values are filled with. */
struct filling {
    const struct frame_message *message;
    const struct frame_shown *shown;
    const uint8_t *boundary; /* in `encoded` */
    struct written written[FRAME_VALUE_TEMPLATES];
    size_t sender_chars;
    char id[ID_HEX_CHARS];
    uint8_t encoded[2 * BASE64_LINE_STRIDE + BASE64_SLACK_BYTES];
    uint8_t sender[FRAME_SENDER_BYTES_MAX * MARKUP_CHARS_PER_BYTE_MAX]; /* as HTML */
};

/* The URL-safe alphabet's two characters for the other's. */
static void url_safe(uint8_t *chars)
{
    for (size_t at = 0; at < FRAME_BOUNDARY_CHARS; at += WINDOW_LANES) {
        __m128i lanes = window_lanes(chars + at);
        /* '+' + 2 is '-', '/' + 48 is '_'. */
        const __m128i plus = _mm_and_si128(window_equal(lanes, '+'), window_byte(2));
        const __m128i slash = _mm_and_si128(window_equal(lanes, '/'), window_byte(48));
        lanes = _mm_add_epi8(lanes, _mm_or_si128(plus, slash));
        _mm_storeu_si128((__m128i *)(void *)(chars + at), lanes);
    }
}
_Static_assert(FRAME_BOUNDARY_CHARS % WINDOW_LANES == 0, "whole lanes");

/*
 * Boundaries are random enough that no message can hold one; and "=_" before them stands in neither
 * encoding we write (RFC 2045, 6.7 (5)). Outer and inner differ early: neither is the other's
 * prefix. They and the key's salt are encoded in one go.
 */
static HOT void encode(struct filling *filling, const struct frame *frame)
{
    uint8_t raw[2 * BASE64_LINE_BYTES] = {0};
    memcpy(raw, filling->message->salt_commitment, COBBLE_HEADER_BYTES);
    memcpy(raw + BASE64_LINE_BYTES, filling->message->boundary_random, FRAME_BOUNDARY_BYTES);
    frame->codec->encode_lines(filling->encoded, raw, 2);
    /* The last byte of a line that is one too long: its zero bits become padding. */
    filling->encoded[BASE64_LINE_CHARS - 1] = '=';
    url_safe(filling->encoded + BASE64_LINE_STRIDE);
    filling->boundary = filling->encoded + BASE64_LINE_STRIDE;
}
_Static_assert(COBBLE_HEADER_BYTES == BASE64_LINE_BYTES - 1, "one character of padding");

static HOT void fill_hole(uint8_t *at, enum frame_hole hole, const struct filling *filling)
{
    const struct frame_time *time = filling->message->time;
    switch (hole) {
    case FRAME_HOLE_BOUNDARY: memcpy(at, filling->boundary, FRAME_BOUNDARY_CHARS); break;
    case FRAME_HOLE_ATTACHMENT: memcpy(at, time->attachment, FRAME_ATTACHMENT_CHARS); break;
    case FRAME_HOLE_DAY: memcpy(at, time->day, FRAME_DAY_CHARS); break;
    case FRAME_HOLE_ID: memcpy(at, filling->id, ID_HEX_CHARS); break;
    case FRAME_HOLE_SALT: memcpy(at, filling->encoded, BASE64_LINE_CHARS); break;
    }
}

static HOT void write_value(struct writer *writer, enum frame_value value,
                            const struct filling *filling)
{
    const struct frame_shown *shown = filling->shown;
    const struct frame_time *time = filling->message->time;
    switch (value) {
    case FRAME_VALUE_SENDER_TEXT:
        template_write_value(TEMPLATE_TEXT, writer, shown->sender, shown->sender_bytes);
        break;
    case FRAME_VALUE_SENDER_HTML:
        template_write_escaped(writer, filling->sender, filling->sender_chars);
        break;
    case FRAME_VALUE_NAME_TEXT:
        template_write_value(TEMPLATE_TEXT, writer, shown->name, shown->name_bytes);
        break;
    case FRAME_VALUE_NAME_HTML:
        template_write_value(TEMPLATE_HTML, writer, shown->name, shown->name_bytes);
        break;
    case FRAME_VALUE_SUBJECT_TEXT:
        template_write_value(TEMPLATE_TEXT, writer, shown->subject, shown->subject_bytes);
        break;
    case FRAME_VALUE_SUBJECT_HTML:
        template_write_value(TEMPLATE_HTML, writer, shown->subject, shown->subject_bytes);
        break;
    case FRAME_VALUE_SENDER_FIELD:
        if (filling->sender_chars <= FRAME_VALUE_CHARS_MAX)
            writer_copy(writer, filling->sender, filling->sender_chars);
        else
            markup_write(writer, shown->sender, shown->sender_bytes, FRAME_VALUE_CHARS_MAX);
        break;
    case FRAME_VALUE_SUBJECT_FIELD:
        markup_write(writer, shown->subject, shown->subject_bytes, FRAME_VALUE_CHARS_MAX);
        break;
    case FRAME_VALUE_TIME_FIELD: writer_copy(writer, time->unix_text, time->unix_chars); break;
    case FRAME_VALUE_NONE: break;
    }
}

static HOT void write_script(struct writer *writer, const struct frame_script *script,
                             struct filling *filling)
{
    uint32_t place = 0;
    for (uint32_t n = 0; n < script->segments_count; n++) {
        const struct frame_segment *segment = &script->segments[n];
        uint8_t *base = writer->at;
        writer_copy(writer, script->text + segment->offset, segment->bytes);
        for (; place < segment->places_end; place++)
            fill_hole(base + (script->places[place].offset - segment->offset),
                      script->places[place].hole, filling);
        if (segment->value >= FRAME_VALUE_TEMPLATES) {
            write_value(writer, segment->value, filling);
            continue;
        }
        struct written *written = &filling->written[segment->value];
        if (written->at != NULL) {
            writer_copy(writer, written->at, written->bytes);
            continue;
        }
        written->at = writer->at;
        write_value(writer, segment->value, filling);
        written->bytes = (size_t)(writer->at - written->at);
    }
}

HOT void frame_write(const struct frame *frame, const struct frame_message *message,
                     const struct frame_shown *shown, uint8_t *dst, size_t dst_room,
                     struct frame_spans *spans)
{
    struct writer writer = writer_make(dst, dst_room);
    struct filling filling;
    filling.message = message;
    filling.shown = shown;
    memset(filling.written, 0, sizeof(filling.written));
    id_to_hex(filling.id, message->id);
    encode(&filling, frame);
    struct writer sender = writer_make(filling.sender, sizeof(filling.sender));
    markup_write(&sender, shown->sender, shown->sender_bytes, sizeof(filling.sender));
    filling.sender_chars = (size_t)(sender.at - filling.sender);

    outer_write(frame, message, shown, &writer);
    write_script(&writer, &frame->prologue, &filling);
    const uint8_t *prologue_end = writer.at;
    writer_literal(&writer, "\r\n--=_m_");
    writer_copy(&writer, filling.boundary, FRAME_BOUNDARY_CHARS);
    writer_literal(&writer, "--\r\n");
    const uint8_t *epilogue_end = writer.at;
    write_script(&writer, &frame->fields, &filling);
    *spans = (struct frame_spans){
        .prologue_bytes = (size_t)(prologue_end - dst),
        .epilogue_bytes = (size_t)(epilogue_end - prologue_end),
        .fields_bytes = (size_t)(writer.at - epilogue_end),
    };
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
