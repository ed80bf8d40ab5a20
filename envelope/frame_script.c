#include "base/assert.h"
#include "envelope/frame.h"
#include "envelope/frame_internal.h"
#include "envelope/template_internal.h"

#include <errno.h>
#include <stdlib.h>

/* The literals around the templates, and the fields'; their holes are counted by script_hole(). */
#define LITERAL_BYTES_MAX 2048

struct script_maker {
    struct frame_script *script;
    struct writer out;
    size_t segment_at;
};

static int maker_open(struct script_maker *maker, struct frame_script *script, size_t room)
{
    script->text = malloc(room);
    if (script->text == NULL)
        return -ENOMEM;
    *maker = (struct script_maker){.script = script, .out = writer_make(script->text, room)};
    return 0;
}

static size_t script_at(const struct script_maker *maker)
{
    return (size_t)(maker->out.at - maker->script->text);
}

static size_t hole_chars(enum frame_hole hole)
{
    switch (hole) {
    case FRAME_HOLE_BOUNDARY: return FRAME_BOUNDARY_CHARS;
    case FRAME_HOLE_ATTACHMENT: return FRAME_ATTACHMENT_CHARS;
    case FRAME_HOLE_DAY: return FRAME_DAY_CHARS;
    case FRAME_HOLE_ID: return ID_HEX_CHARS;
    }
    assert_failed("a hole outside its enum", __FILE__, __LINE__);
}

static void put_hole(struct script_maker *maker, enum frame_hole hole)
{
    struct frame_script *script = maker->script;
    ASSERT(script->places_count < FRAME_HOLES_MAX);
    const size_t chars = hole_chars(hole);
    ASSERT(chars >= FRAME_HOLE_CHARS_MIN && chars <= FRAME_HOLE_CHARS_MAX);
    script->places[script->places_count++] = (struct frame_place){
        (uint32_t)(script_at(maker) - maker->segment_at), (uint32_t)chars, hole};
    for (size_t n = chars; n > 0; n--)
        writer_byte(&maker->out, '?');
}

/* Ends the segment with this value after it. */
static void put_value(struct script_maker *maker, enum frame_value value)
{
    struct frame_script *script = maker->script;
    const size_t at = script_at(maker);
    ASSERT(script->segments_count < FRAME_SEGMENTS_MAX);
    script->segments[script->segments_count++] = (struct frame_segment){
        .offset = (uint32_t)maker->segment_at,
        .bytes = (uint32_t)(at - maker->segment_at),
        .places_end = script->places_count,
        .value = value,
    };
    if (value != FRAME_VALUE_NONE)
        script->uses[value]++;
    maker->segment_at = at;
    script->text_bytes = at;
}

static void put_boundary(struct script_maker *maker, char which)
{
    writer_literal(&maker->out, "=_");
    writer_byte(&maker->out, (uint8_t)which);
    writer_byte(&maker->out, '_');
    put_hole(maker, FRAME_HOLE_BOUNDARY);
}

/*
 * What template_render() writes. The time's values are digits and harmless punctuation, of a fixed
 * length, so their encoding is themselves: they are holes. The soft break after a value is
 * constant.
 */
static void put_template(struct script_maker *maker, const struct template *template)
{
    const bool html = template->kind == TEMPLATE_HTML;
    for (uint32_t n = 0; n < template->segments_count; n++) {
        const struct template_segment *segment = &template->segments[n];
        writer_copy(&maker->out, template->encoded + segment->offset, segment->bytes);
        if (segment->variable == TEMPLATE_VARIABLE_COUNT)
            continue;
        switch ((enum template_variable)segment->variable) {
        case TEMPLATE_SENDER:
            put_value(maker, html ? FRAME_VALUE_SENDER_HTML : FRAME_VALUE_SENDER_TEXT);
            break;
        case TEMPLATE_SENDER_NAME:
            put_value(maker, html ? FRAME_VALUE_NAME_HTML : FRAME_VALUE_NAME_TEXT);
            break;
        case TEMPLATE_SUBJECT:
            put_value(maker, html ? FRAME_VALUE_SUBJECT_HTML : FRAME_VALUE_SUBJECT_TEXT);
            break;
        case TEMPLATE_DATE: put_hole(maker, FRAME_HOLE_DAY); break;
        case TEMPLATE_ATTACHMENT: put_hole(maker, FRAME_HOLE_ATTACHMENT); break;
        }
        writer_literal(&maker->out, "=\r\n");
    }
}

static void put_notification(struct script_maker *maker, const struct frame *frame)
{
    writer_literal(&maker->out, "Content-Type: multipart/alternative;\r\n boundary=\"");
    put_boundary(maker, 'n');
    writer_literal(&maker->out, "\"\r\n\r\n--");
    put_boundary(maker, 'n');
    writer_literal(&maker->out, "\r\nContent-Type: text/plain; charset=utf-8\r\n"
                                "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
    put_template(maker, frame->text);
    writer_literal(&maker->out, "\r\n--");
    put_boundary(maker, 'n');
    writer_literal(&maker->out, "\r\nContent-Type: text/html; charset=utf-8\r\n"
                                "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
    put_template(maker, frame->html);
    writer_literal(&maker->out, "\r\n--");
    put_boundary(maker, 'n');
    writer_literal(&maker->out, "--\r\n");
}

static void make_prologue(struct script_maker *maker, const struct frame *frame)
{
    writer_literal(&maker->out, "MIME-Version: 1.0\r\n"
                                "Content-Type: multipart/mixed;\r\n boundary=\"");
    put_boundary(maker, 'm');
    writer_literal(&maker->out, "\"\r\n\r\n--");
    put_boundary(maker, 'm');
    writer_literal(&maker->out, "\r\n");
    put_notification(maker, frame);
    writer_literal(&maker->out, "\r\n--");
    put_boundary(maker, 'm');
    writer_literal(&maker->out, "\r\nContent-Type: text/html; charset=us-ascii;\r\n name=\"");
    put_hole(maker, FRAME_HOLE_ATTACHMENT);
    writer_literal(&maker->out, "\"\r\nContent-Disposition: attachment;\r\n filename=\"");
    put_hole(maker, FRAME_HOLE_ATTACHMENT);
    writer_literal(&maker->out, "\"\r\nContent-Transfer-Encoding: 7bit\r\n\r\n");
    put_value(maker, FRAME_VALUE_NONE);
}

static void open_field(struct script_maker *maker, char name)
{
    writer_literal(&maker->out, "<input type=\"hidden\" name=\"");
    writer_byte(&maker->out, (uint8_t)name);
    writer_literal(&maker->out, "\" value=\"");
}

static void close_field(struct script_maker *maker)
{
    writer_literal(&maker->out, "\">\r\n");
}

static void make_fields(struct script_maker *maker, const struct frame *frame)
{
    static const struct {
        char name;
        enum frame_value value;
    } values[] = {{'f', FRAME_VALUE_SENDER_FIELD},
                  {'u', FRAME_VALUE_SUBJECT_FIELD},
                  {'t', FRAME_VALUE_TIME_FIELD}};
    open_field(maker, 'v');
    writer_byte(&maker->out, '1');
    close_field(maker);
    open_field(maker, 's');
    writer_decimal(&maker->out, (uint64_t)frame->suite);
    close_field(maker);
    open_field(maker, 'm');
    put_hole(maker, FRAME_HOLE_ID);
    close_field(maker);
    for (size_t n = 0; n < ARRAY_COUNT(values); n++) {
        open_field(maker, values[n].name);
        put_value(maker, values[n].value);
        close_field(maker);
    }
    open_field(maker, 'k');
    put_value(maker, FRAME_VALUE_SALT_FIELD);
    close_field(maker);
    put_value(maker, FRAME_VALUE_NONE);
}

int frame_script_open(struct frame *frame)
{
    struct script_maker maker;
    /* A time's value takes the place of none, with its soft break. */
    const size_t times = (size_t)TEMPLATE_SEGMENTS_MAX * 2 * (FRAME_ATTACHMENT_CHARS + 3);
    int rc = maker_open(&maker, &frame->prologue,
                        LITERAL_BYTES_MAX + times + frame->text->encoded_bytes +
                            frame->html->encoded_bytes);
    if (rc != 0)
        return rc;
    make_prologue(&maker, frame);
    rc = maker_open(&maker, &frame->fields, LITERAL_BYTES_MAX);
    if (rc != 0)
        return rc;
    make_fields(&maker, frame);
    frame->script_bytes_max =
        frame->prologue.text_bytes + frame->fields.text_bytes + BASE64_LINE_CHARS;
    return 0;
}

void frame_script_close(struct frame *frame)
{
    free(frame->prologue.text);
    free(frame->fields.text);
}
