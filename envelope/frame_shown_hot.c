#include "base/assert.h"
#include "crypto/secret.h"
#include "envelope/frame.h"
#include "envelope/frame_internal.h"
#include "envelope/markup.h"
#include "envelope/outer.h"
#include "envelope/template_internal.h"
#include "envelope/text.h"

#include <string.h>

_Static_assert(ADDRESS_BYTES_MAX <= FRAME_SENDER_BYTES_MAX, "an address is shown in full");

/* Brackets in a name could pass for an address: the name without them. */
static HOT void show_name(struct frame_shown *shown)
{
    const struct address_mailbox *from = &shown->from;
    shown->name = from->name;
    shown->name_bytes = from->name_bytes;
    if (from->atoms || (memchr(from->name, '<', from->name_bytes) == NULL &&
                        memchr(from->name, '>', from->name_bytes) == NULL))
        return;
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < from->name_bytes; i++) {
        if (from->name[i] != '<' && from->name[i] != '>')
            shown->name_bare[bytes++] = from->name[i];
    }
    shown->name = shown->name_bare;
    shown->name_bytes = bytes;
}

/* `Name <address>`. The address always stands in full: a name alone proves nothing. */
static HOT void show_sender(struct frame_shown *shown)
{
    const struct address *address = &shown->from.address;
    const size_t frame_bytes = 3; /* blank and brackets */
    struct writer out = writer_make(shown->sender, FRAME_SENDER_BYTES_MAX);
    show_name(shown);
    const size_t room =
        FRAME_SENDER_BYTES_MAX - MIN((size_t)FRAME_SENDER_BYTES_MAX, address->bytes + frame_bytes);
    const size_t name_bytes = text_prefix(shown->name, shown->name_bytes, room);
    if (name_bytes > 0) {
        writer_copy_few(&out, shown->name, name_bytes);
        writer_literal(&out, " <");
    }
    writer_copy_few(&out, address->text, address->bytes);
    if (name_bytes > 0)
        writer_byte(&out, '>');
    shown->sender_bytes = (uint32_t)(out.at - shown->sender);
    if (shown->name_bytes == 0) {
        shown->name = address->text;
        shown->name_bytes = address->bytes;
    }
}

/* Of all that was decoded, what a reader is shown: whole characters, and no blank at the end. */
static HOT void show_subject(struct frame_shown *shown)
{
    size_t bytes = text_prefix(shown->subject, shown->subject_re_bytes, FRAME_SUBJECT_BYTES_MAX);
    if (bytes > 0 && shown->subject[bytes - 1] == ' ')
        bytes--;
    shown->subject_bytes = (uint32_t)bytes;
}

HOT void frame_show(const struct frame *frame, const struct frame_message *message,
                    struct frame_shown *shown)
{
    outer_sender(shown, frame, message);
    show_sender(shown);
    shown->subject_bytes = 0;
    shown->subject_re_bytes = 0;
    shown->subject_used = 0;
    if (frame->hide_subject)
        return;
    outer_subject(shown, message);
    show_subject(shown);
}

HOT void frame_shown_wipe(struct frame_shown *shown)
{
    ASSERT(shown->subject_used <= FRAME_SUBJECT_RE_BYTES_MAX);
    secret_wipe(shown->subject, shown->subject_used);
    shown->subject_used = 0;
    shown->subject_bytes = 0;
    shown->subject_re_bytes = 0;
}

/* Of all the places in the templates where a value stands. */
static size_t value_bytes_max(const struct frame *frame, enum frame_value text,
                              enum frame_value html, size_t bytes)
{
    const uint32_t *uses = frame->prologue.uses;
    size_t total = 0;
    if (uses[text] > 0)
        total += uses[text] * template_value_bytes_max(TEMPLATE_TEXT, bytes);
    if (uses[html] > 0)
        total += uses[html] * template_value_bytes_max(TEMPLATE_HTML, bytes);
    return total;
}

HOT size_t frame_bytes_max(const struct frame *frame, const struct frame_message *message,
                           const struct frame_shown *shown)
{
    return frame->script_bytes_max + outer_bytes_max(frame, message, shown) + FRAME_EPILOGUE_BYTES +
           sizeof(message->time->unix_text) +
           value_bytes_max(frame, FRAME_VALUE_SENDER_TEXT, FRAME_VALUE_SENDER_HTML,
                           shown->sender_bytes) +
           value_bytes_max(frame, FRAME_VALUE_NAME_TEXT, FRAME_VALUE_NAME_HTML, shown->name_bytes) +
           value_bytes_max(frame, FRAME_VALUE_SUBJECT_TEXT, FRAME_VALUE_SUBJECT_HTML,
                           shown->subject_bytes) +
           MIN(markup_chars_max(shown->sender_bytes), (size_t)FRAME_VALUE_CHARS_MAX) +
           MIN(markup_chars_max(shown->subject_bytes), (size_t)FRAME_VALUE_CHARS_MAX);
}
