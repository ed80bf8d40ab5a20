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

#define OUTER_BYTES_LIKELY 512  /* the outer header and the values of most mail */
#define FETCH_BYTES_MAX    4096 /* longer templates would push the mail out of the first cache */

/* Text of this mail that a script asks for. */
struct written {
    const uint8_t *at; /* NULL: not written yet; the first who asks writes it in its place */
    size_t bytes;
};

/* Above it, a value has lines of its own in the notification. */
#define PLAIN_CHARS_MAX TEMPLATE_VALUE_COLUMN_MAX

/* What the scripts' holes and values are filled with. */
struct filling {
    const struct frame_message *message;
    const struct frame_shown *shown;
    const uint8_t *holes[FRAME_HOLE_COUNT];
    struct written values[FRAME_VALUE_COUNT];
    size_t sender_chars; /* 0: not written as HTML                                    */
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
        window_put(chars + at, lanes);
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
}
_Static_assert(COBBLE_HEADER_BYTES == BASE64_LINE_BYTES - 1, "one character of padding");

static void set_value(struct filling *filling, enum frame_value value, const uint8_t *at,
                      size_t bytes)
{
    filling->values[value] = (struct written){at, bytes};
}

/* Text of one line in which nothing needs an escape of either kind: it is its own encoding. */
static HOT bool is_plain(const uint8_t *text, size_t bytes)
{
    return bytes <= PLAIN_CHARS_MAX && markup_is_harmless(text, bytes);
}
_Static_assert(FRAME_SENDER_BYTES_MAX >= PLAIN_CHARS_MAX + WINDOW_LANES &&
                   ADDRESS_NAME_BYTES_MAX >= PLAIN_CHARS_MAX + WINDOW_LANES,
               "lanes may be read beyond a plain text");

/* The sender of a plain name: all but its brackets are themselves. False: it is not that. */
static HOT bool fill_sender(struct filling *filling)
{
    static const char open[] = " &#60;";
    static const char close[] = "&#62;";
    const struct frame_shown *shown = filling->shown;
    const struct address *address = &shown->from.address;
    if (shown->name == address->text) {
        if (shown->sender_bytes != address->bytes)
            return false;
        set_value(filling, FRAME_VALUE_SENDER_HTML, shown->name, shown->name_bytes);
    } else {
        if (shown->sender_bytes != shown->name_bytes + 3 + address->bytes ||
            !is_plain(address->text, address->bytes))
            return false;
        struct writer out = writer_make(filling->sender, PLAIN_CHARS_MAX);
        if (shown->sender_bytes - 3 + sizeof(open) - 1 + sizeof(close) - 1 > PLAIN_CHARS_MAX)
            return false;
        writer_copy_few(&out, shown->name, shown->name_bytes);
        writer_literal(&out, open);
        writer_copy_few(&out, address->text, address->bytes);
        writer_literal(&out, close);
        filling->sender_chars = (size_t)(out.at - filling->sender);
        set_value(filling, FRAME_VALUE_SENDER_HTML, filling->sender, filling->sender_chars);
    }
    filling->values[FRAME_VALUE_SENDER_FIELD] = filling->values[FRAME_VALUE_SENDER_HTML];
    set_value(filling, FRAME_VALUE_SENDER_TEXT, shown->sender, shown->sender_bytes);
    return true;
}

/* Most names and subjects are plain; what is not, is written where it is first asked for. */
static HOT void fill_values(struct filling *filling)
{
    const struct frame_shown *shown = filling->shown;
    const struct frame_time *time = filling->message->time;
    for (uint32_t v = 0; v < FRAME_VALUE_COUNT; v++)
        filling->values[v] = (struct written){NULL, 0};
    set_value(filling, FRAME_VALUE_TIME_FIELD, time->unix_text, time->unix_chars);
    set_value(filling, FRAME_VALUE_SALT_FIELD, filling->encoded, BASE64_LINE_CHARS);
    set_value(filling, FRAME_VALUE_NONE, filling->encoded, 0);
    filling->sender_chars = 0;
    bool sender_plain = false;
    if (is_plain(shown->name, shown->name_bytes)) {
        set_value(filling, FRAME_VALUE_NAME_TEXT, shown->name, shown->name_bytes);
        set_value(filling, FRAME_VALUE_NAME_HTML, shown->name, shown->name_bytes);
        sender_plain = fill_sender(filling);
    }
    if (!sender_plain) {
        struct writer sender = writer_make(filling->sender, sizeof(filling->sender));
        markup_write(&sender, shown->sender, shown->sender_bytes, sizeof(filling->sender));
        filling->sender_chars = (size_t)(sender.at - filling->sender);
    }
    if (is_plain(shown->subject, shown->subject_bytes)) {
        set_value(filling, FRAME_VALUE_SUBJECT_TEXT, shown->subject, shown->subject_bytes);
        set_value(filling, FRAME_VALUE_SUBJECT_HTML, shown->subject, shown->subject_bytes);
        set_value(filling, FRAME_VALUE_SUBJECT_FIELD, shown->subject, shown->subject_bytes);
    }
}

static HOT void write_value(struct writer *writer, enum frame_value value,
                            const struct filling *filling)
{
    const struct frame_shown *shown = filling->shown;
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
        return;
    case FRAME_VALUE_SUBJECT_FIELD:
        markup_write(writer, shown->subject, shown->subject_bytes, FRAME_VALUE_CHARS_MAX);
        return;
    case FRAME_VALUE_TIME_FIELD:
    case FRAME_VALUE_SALT_FIELD:
    case FRAME_VALUE_NONE: return;
    }
    writer->at -= TEMPLATE_SOFT_BREAK_CHARS; /* it is the next segment's */
}

_Static_assert(FRAME_HOLE_CHARS_MIN >= WINDOW_LANES && FRAME_HOLE_CHARS_MAX <= 2 * WINDOW_LANES,
               "window_copy_halves() fills one");

static HOT void write_script(struct writer *writer, const struct frame_script *script,
                             struct filling *filling)
{
    const struct frame_place *place = script->places;
    for (uint32_t n = 0; n < script->segments_count; n++) {
        const struct frame_segment *segment = &script->segments[n];
        const struct frame_place *places_end = script->places + segment->places_end;
        uint8_t *at = writer->at;
        writer_copy(writer, script->text + segment->offset, segment->bytes);
        for (; place < places_end; place++)
            window_copy_halves(at + place->offset, filling->holes[place->hole], place->chars);
        struct written *value = &filling->values[segment->value];
        if (value->at != NULL) {
            writer_copy_few(writer, value->at, value->bytes);
            continue;
        }
        value->at = writer->at;
        write_value(writer, segment->value, filling);
        value->bytes = (size_t)(writer->at - value->at);
    }
}

/*
 * An arena's lines have seldom been written lately. -mprfchw makes this PREFETCHW, which gets them
 * for writing; processors that have none pass over it.
 */
HOT void frame_fetch(const struct frame *frame, const uint8_t *dst, size_t dst_room)
{
    const size_t bytes = MIN(frame->script_bytes_max + OUTER_BYTES_LIKELY, dst_room);
    for (size_t at = 0; at < MIN(bytes, (size_t)FETCH_BYTES_MAX); at += CACHE_LINE)
        __builtin_prefetch(dst + at, 1, 3);
}

HOT void frame_write(const struct frame *frame, const struct frame_message *message,
                     const struct frame_shown *shown, uint8_t *dst, size_t dst_room,
                     struct frame_spans *spans)
{
    struct writer writer = writer_make(dst, dst_room);
    struct filling filling;
    filling.message = message;
    filling.shown = shown;
    id_to_hex(filling.id, message->id);
    encode(&filling, frame);
    filling.holes[FRAME_HOLE_BOUNDARY] = filling.encoded + BASE64_LINE_STRIDE;
    filling.holes[FRAME_HOLE_ATTACHMENT] = message->time->attachment;
    filling.holes[FRAME_HOLE_DAY] = message->time->day;
    filling.holes[FRAME_HOLE_ID] = (const uint8_t *)filling.id;
    fill_values(&filling);

    outer_write(frame, message, shown, &writer);
    write_script(&writer, &frame->prologue, &filling);
    const uint8_t *prologue_end = writer.at;
    writer_literal(&writer, "\r\n--=_m_");
    writer_copy(&writer, filling.holes[FRAME_HOLE_BOUNDARY], FRAME_BOUNDARY_CHARS);
    writer_literal(&writer, "--\r\n");
    const uint8_t *epilogue_end = writer.at;
    write_script(&writer, &frame->fields, &filling);
    *spans = (struct frame_spans){
        .prologue_bytes = (size_t)(prologue_end - dst),
        .epilogue_bytes = (size_t)(epilogue_end - prologue_end),
        .fields_bytes = (size_t)(writer.at - epilogue_end),
    };
}

const uint8_t *frame_head(const struct frame *frame, enum frame_variant variant, size_t *bytes)
{
    const struct frame_shell *shell = &frame->shells[variant];
    *bytes = shell->head_bytes;
    return shell->text;
}

const uint8_t *frame_tail(const struct frame *frame, enum frame_variant variant, size_t *bytes)
{
    const struct frame_shell *shell = &frame->shells[variant];
    *bytes = shell->tail_bytes;
    return shell->text + shell->tail_offset;
}
