#include "envelope/outer.h"

#include "base/assert.h"
#include "base/clock.h"
#include "envelope/date.h"
#include "envelope/encoded_word.h"
#include "envelope/frame_internal.h"
#include "envelope/text.h"
#include "envelope/window.h"

#include <string.h>

/* A mailbox: a quoted name of escaped characters, folds, the address in brackets. */
#define PLAIN_NAME_BYTES_MAX  66 /* no word in it can be longer, and need to be encoded */
#define MAILBOX_BYTES_MAX     (ADDRESS_NAME_BYTES_MAX * 3 + 160 + ADDRESS_BYTES_MAX + 16)
#define SUBJECT_RAW_BYTES_MAX 8192 /* of a subject that is decoded; the rest is not looked at  */
#define FIELD_LINE_CHARS_MAX  900  /* RFC 5322, 2.1.1 says 998; the name stands before it       */
#define FIELD_FRAME_BYTES     64   /* name, folds and line end of any field                    */
_Static_assert(FRAME_SUBJECT_RE_BYTES_MAX * 3 + 160 <= OUTER_SUBJECT_BYTES_MAX, "it fits");

struct slice {
    const uint8_t *at;
    size_t bytes;
    const uint8_t *readable_end; /* of the header around it */
};

static inline bool is_blank(uint8_t c)
{
    return c <= ' ' && (c == ' ' || c == '\t' || c == '\r' || c == '\n');
}

/* A field's body without blanks and line ends around it; empty if there is none. */
static inline struct slice body_of(const struct frame_message *message, enum header_field field)
{
    const struct header_span span = message->header->field[field];
    const uint8_t *at = message->mail + span.offset;
    const uint8_t *end = at + span.bytes;
    ASSERT((uint64_t)span.offset + span.bytes <= message->header->header_bytes);
    while (at < end && is_blank(*at))
        at++;
    while (at < end && is_blank(end[-1]))
        end--;
    return (struct slice){at, (size_t)(end - at), message->mail + message->header->header_bytes};
}

/* ── addresses ─────────────────────────────────────────────────────────────────────────────── */

static HOT void write_mailbox(struct writer *writer, const struct address_mailbox *mailbox,
                              size_t column)
{
    ASSERT(mailbox->address.ascii);
    const bool named = mailbox->name_bytes > 0;
    const size_t address_chars = mailbox->address.bytes + (named ? 2U : 0U);
    encoded_word_write(writer, mailbox->name, mailbox->name_bytes, ENCODED_WORD_PHRASE, &column);
    if (named && column + 1 + address_chars > ENCODED_WORD_COLUMN_MAX)
        writer_literal(writer, "\r\n ");
    else if (named)
        writer_byte(writer, ' ');
    if (named)
        writer_byte(writer, '<');
    writer_copy(writer, mailbox->address.text, mailbox->address.bytes);
    if (named)
        writer_byte(writer, '>');
}

/* Does it stand on one line as it is: nothing to quote, encode or fold? */
static bool is_plain(const struct address_mailbox *mailbox, size_t column)
{
    return (mailbox->atoms || mailbox->name_bytes == 0) && mailbox->address.ascii &&
           mailbox->name_bytes <= PLAIN_NAME_BYTES_MAX &&
           column + mailbox->name_bytes + 3 + mailbox->address.bytes <= ENCODED_WORD_COLUMN_MAX;
}

static HOT void write_plain(struct writer *writer, const struct address_mailbox *mailbox)
{
    if (mailbox->name_bytes == 0) {
        writer_copy_few(writer, mailbox->address.text, mailbox->address.bytes);
        return;
    }
    writer_copy_few(writer, mailbox->name, mailbox->name_bytes);
    writer_literal(writer, " <");
    writer_copy_few(writer, mailbox->address.text, mailbox->address.bytes);
    writer_byte(writer, '>');
}

/*
 * Writes `label` and the addresses of the list that can stand in an ASCII header, one a line, as
 * long as they stay within bytes_max. Writes nothing when there is none; returns how many.
 */
static HOT uint32_t write_list(struct writer *writer, const char *label, size_t label_bytes,
                               const struct address_mailbox *first, struct address_list list,
                               size_t bytes_max)
{
    const uint8_t *start = writer->at;
    struct address_mailbox read;
    const struct address_mailbox *mailbox = first;
    uint32_t count = 0;
    for (; mailbox != NULL; mailbox = address_list_next(&list, &read) ? &read : NULL) {
        if (!mailbox->address.ascii)
            continue;
        const size_t column = count == 0 ? label_bytes : 1;
        const bool plain = is_plain(mailbox, column);
        const size_t name_bytes = mailbox->name_bytes > 0 ? mailbox->name_bytes + 3U : 0;
        size_t one_bytes = name_bytes + mailbox->address.bytes;
        uint8_t one[MAILBOX_BYTES_MAX];
        if (!plain) {
            struct writer out = writer_make(one, sizeof(one));
            write_mailbox(&out, mailbox, column);
            one_bytes = (size_t)(out.at - one);
        }
        if ((size_t)(writer->at - start) + one_bytes + FIELD_FRAME_BYTES > bytes_max)
            break;
        if (count == 0)
            writer_copy_few(writer, (const uint8_t *)label, label_bytes);
        else
            writer_literal(writer, ",\r\n ");
        if (plain)
            write_plain(writer, mailbox);
        else
            writer_copy(writer, one, one_bytes);
        count++;
    }
    if (count > 0)
        writer_literal(writer, "\r\n");
    return count;
}

static HOT uint32_t write_mailboxes(struct writer *writer, const char *label, size_t label_bytes,
                                    struct slice body, size_t bytes_max)
{
    if (body.bytes == 0)
        return 0;
    struct address_list list = address_list_within(body.at, body.bytes, body.readable_end);
    struct address_mailbox first;
    if (!address_list_next(&list, &first))
        return 0;
    return write_list(writer, label, label_bytes, &first, list, bytes_max);
}

/* The label is a string literal. */
#define WRITE_MAILBOXES(writer, label, message, field, cap)                                        \
    write_mailboxes((writer), (label), sizeof(label) - 1, body_of((message), (field)),             \
                    mailboxes_bytes_max((message), (field), (cap)))

static size_t mailboxes_bytes_max(const struct frame_message *message, enum header_field field,
                                  size_t cap)
{
    if (!header_has(message->header, field))
        return 0;
    /* An 8-bit character of a name may become an encoded word of its own. */
    const size_t bytes = (size_t)message->header->field[field].bytes * 8 + 2 * FIELD_FRAME_BYTES;
    return MIN(bytes, cap);
}

/* Nobody is named in the message and nobody in the SMTP envelope: the mail is this host's. */
static void mailbox_of_host(struct address_mailbox *mailbox, const struct frame *frame)
{
    static const char local[] = "MAILER-DAEMON@";
    struct writer out = writer_make(mailbox->address.text, ADDRESS_BYTES_MAX);
    writer_copy(&out, local, sizeof(local) - 1);
    writer_copy(&out, frame->host, frame->host_bytes);
    mailbox->address.bytes = (uint32_t)(out.at - mailbox->address.text);
    mailbox->address.domain_offset = sizeof(local) - 1;
    mailbox->address.ascii = true;
    mailbox->name_bytes = 0;
    mailbox->atoms = true;
}
_Static_assert(FRAME_HOST_BYTES_MAX + 14 <= ADDRESS_BYTES_MAX, "it fits");

static void mailbox_of_envelope(struct address_mailbox *mailbox, const struct frame *frame,
                                const struct frame_message *message, bool ascii)
{
    mailbox->name_bytes = 0;
    mailbox->atoms = true;
    if (message->sender_bytes > 0 &&
        address_parse(&mailbox->address, message->sender, message->sender_bytes) == 0 &&
        (mailbox->address.ascii || !ascii))
        return;
    mailbox_of_host(mailbox, frame);
}

HOT void outer_sender(struct frame_shown *shown, const struct frame *frame,
                      const struct frame_message *message)
{
    const struct slice body = body_of(message, HEADER_FROM);
    shown->from_rest = address_list_within(body.at, body.bytes, body.readable_end);
    shown->from_field = address_list_next(&shown->from_rest, &shown->from);
    if (!shown->from_field)
        mailbox_of_envelope(&shown->from, frame, message, false);
}

static void write_one(struct writer *writer, const char *label,
                      const struct address_mailbox *mailbox)
{
    writer_copy(writer, label, strlen(label));
    write_mailbox(writer, mailbox, strlen(label));
    writer_literal(writer, "\r\n");
}

static HOT void write_from(const struct frame *frame, const struct frame_message *message,
                           const struct frame_shown *shown, struct writer *writer)
{
    const size_t bytes_max = mailboxes_bytes_max(message, HEADER_FROM, OUTER_FROM_BYTES_MAX);
    uint32_t count = 0;
    if (shown->from_field)
        count = write_list(writer, "From: ", sizeof("From: ") - 1, &shown->from, shown->from_rest,
                           bytes_max);
    struct address_mailbox mailbox;
    if (count == 0) {
        mailbox_of_envelope(&mailbox, frame, message, true);
        write_one(writer, "From: ", &mailbox);
    }
    if (count < 2)
        return;
    /* RFC 5322, 3.6.2: several authors need one Sender, which stands in no other case. */
    struct slice body = body_of(message, HEADER_SENDER);
    for (uint32_t n = 0; n < 2; n++) {
        struct address_list list = address_list_make(body.at, body.bytes);
        while (address_list_next(&list, &mailbox)) {
            if (!mailbox.address.ascii)
                continue;
            write_one(writer, "Sender: ", &mailbox);
            return;
        }
        body = body_of(message, HEADER_FROM);
    }
}

static HOT void write_to(const struct frame_message *message, struct writer *writer)
{
    const uint32_t to_count =
        WRITE_MAILBOXES(writer, "To: ", message, HEADER_TO, OUTER_TO_BYTES_MAX);
    const uint32_t cc_count =
        WRITE_MAILBOXES(writer, "Cc: ", message, HEADER_CC, OUTER_TO_BYTES_MAX);
    if (to_count + cc_count > 0)
        return;
    struct address_mailbox mailbox;
    mailbox.name_bytes = 0;
    mailbox.atoms = true;
    if (message->recipients_count == 1 && message->recipient_bytes > 0 &&
        address_parse(&mailbox.address, message->recipient, message->recipient_bytes) == 0 &&
        mailbox.address.ascii)
        write_one(writer, "To: ", &mailbox);
    else
        writer_literal(writer, "To: undisclosed-recipients:;\r\n");
}

/* ── subject ───────────────────────────────────────────────────────────────────────────────── */

/*
 * May this body be written as it stands? Printable ASCII and tabs, every line end followed by a
 * blank, no line empty or long. Bare LF is the line end of local mail and is written as CRLF.
 */
static HOT bool is_clean(struct slice body)
{
    size_t line_chars = 0;
    bool shows = true; /* the line has more than blanks; the first has the field's name */
    for (size_t i = 0; i < body.bytes; i++) {
        uint8_t c = body.at[i];
        if (c == '\r' && i + 1 < body.bytes && body.at[i + 1] == '\n')
            c = body.at[++i];
        if (c == '\n') {
            /* `body` is trimmed, so a byte follows. */
            if (!shows || (body.at[i + 1] != ' ' && body.at[i + 1] != '\t'))
                return false;
            line_chars = 0;
            shows = false;
            continue;
        }
        if ((c < ' ' && c != '\t') || c > '~' || ++line_chars > FIELD_LINE_CHARS_MAX)
            return false;
        shows |= c > ' ';
    }
    return true;
}

static HOT void write_folded(struct writer *writer, struct slice body)
{
    size_t at = 0;
    while (at < body.bytes) {
        const uint8_t *lf = memchr(body.at + at, '\n', body.bytes - at);
        size_t end = lf == NULL ? body.bytes : (size_t)(lf - body.at);
        const size_t after = lf == NULL ? end : end + 1;
        if (lf != NULL && end > at && body.at[end - 1] == '\r')
            end--;
        writer_copy(writer, body.at + at, end - at);
        writer_literal(writer, "\r\n");
        at = after;
    }
}

HOT void outer_subject(struct frame_shown *shown, const struct frame_message *message)
{
    const struct slice body = body_of(message, HEADER_SUBJECT);
    struct encoded_word_text text = {0};
    shown->subject_raw = body.at;
    shown->subject_raw_bytes = (uint32_t)body.bytes;
    if (body.bytes > 0)
        encoded_word_decode(&text, shown->subject, FRAME_SUBJECT_RE_BYTES_MAX, body.at,
                            MIN(body.bytes, (size_t)SUBJECT_RAW_BYTES_MAX));
    ASSERT(text.bytes <= FRAME_SUBJECT_RE_BYTES_MAX);
    shown->subject_re_bytes = (uint32_t)text.bytes;
    /* The first attempt at decoding writes what stands there. */
    shown->subject_used =
        (uint32_t)MIN(MAX(text.bytes, body.bytes), (size_t)FRAME_SUBJECT_RE_BYTES_MAX);
    shown->subject_same = text.same;
    shown->subject_clean =
        text.same || (body.bytes <= OUTER_SUBJECT_BYTES_MAX / 2 && is_clean(body) && !text.dirty);
}
_Static_assert(FRAME_SUBJECT_RE_BYTES_MAX <= FIELD_LINE_CHARS_MAX, "one that is shown as it is");

static HOT void write_subject(const struct frame *frame, const struct frame_shown *shown,
                              struct writer *writer)
{
    if (frame->hide_subject) {
        writer_copy(writer, frame->subject_line, frame->subject_line_bytes);
        return;
    }
    if (shown->subject_raw_bytes == 0)
        return;
    writer_literal(writer, "Subject: ");
    if (shown->subject_same) {
        writer_copy_few(writer, shown->subject, shown->subject_re_bytes);
    } else if (shown->subject_clean) {
        write_folded(writer, (struct slice){shown->subject_raw, shown->subject_raw_bytes, NULL});
        return;
    } else {
        size_t column = sizeof("Subject: ") - 1;
        encoded_word_write(writer, shown->subject, shown->subject_re_bytes,
                           ENCODED_WORD_UNSTRUCTURED, &column);
    }
    writer_literal(writer, "\r\n");
}

/* ── message ids ───────────────────────────────────────────────────────────────────────────── */

static __m128i msgid_lanes(__m128i lanes)
{
    const __m128i bit_0 = _mm_or_si128(lanes, window_byte(0x01));
    __m128i other = window_equal(bit_0, ')'); /* ( ) */
    other = _mm_or_si128(other, window_equal(_mm_or_si128(lanes, window_byte(0x02)), '>'));
    other = _mm_or_si128(other, window_equal(lanes, ','));
    other = _mm_or_si128(other, window_equal(lanes, ';'));
    other = _mm_or_si128(other, window_equal(lanes, '"'));
    other = _mm_or_si128(other, window_equal(lanes, '\\'));
    return _mm_andnot_si128(other, window_visible(lanes));
}

/* How many bytes may stand in a message id: atext and . @ [ ] : and where its at sign is. */
static HOT size_t msgid_bytes(struct slice rest, size_t *at_index, uint32_t *at_signs)
{
    size_t i = 0;
    while (i < rest.bytes) {
        const __m128i lanes = window_lanes_until(rest.at + i, rest.readable_end);
        const size_t there = MIN(rest.bytes - i, (size_t)WINDOW_LANES);
        const uint32_t stops = ~window_bits(msgid_lanes(lanes)) | UINT32_C(1) << there;
        const uint32_t run = (uint32_t)__builtin_ctz(stops);
        const uint32_t ats = window_bits(window_equal(lanes, '@')) & (uint32_t)window_below(run);
        if (ats != 0) {
            *at_signs += (ats & (ats - 1)) == 0 ? 1 : 2;
            *at_index = i + (size_t)__builtin_ctz(ats);
        }
        i += run;
        if (run < WINDOW_LANES)
            break;
    }
    return i;
}

/*
 * The next `<left@right>` in *rest, angle brackets included; bytes 0 at the end. Looser than
 * RFC 5322, 3.6.4, for threads must not break on a peer's odd ids, but nothing in it can end a
 * line, a token or a comment.
 */
static HOT struct slice msgid_next(struct slice *rest)
{
    while (rest->bytes > 0) {
        const uint8_t *open = rest->at[0] == '<' ? rest->at : memchr(rest->at, '<', rest->bytes);
        if (open == NULL)
            break;
        rest->bytes -= (size_t)(open - rest->at) + 1;
        rest->at = open + 1;
        uint32_t at_signs = 0;
        size_t at_index = 0;
        const size_t i = msgid_bytes(*rest, &at_index, &at_signs);
        const bool closed = i < rest->bytes && rest->at[i] == '>';
        rest->at += i;
        rest->bytes -= i;
        if (closed && at_signs == 1 && at_index > 0 && at_index + 1 < i &&
            i + 2 <= OUTER_MSGID_BYTES_MAX)
            return (struct slice){open, i + 2, NULL};
    }
    rest->bytes = 0;
    return (struct slice){NULL, 0, NULL};
}

static HOT void write_msgids(struct writer *writer, const char *label, struct slice body)
{
    uint32_t total = 0;
    struct slice rest = body;
    while (msgid_next(&rest).bytes > 0)
        total++;
    if (total == 0)
        return;
    /* RFC 5322, 3.6.4 lets a long thread lose its middle: its root and its last part matter. */
    const uint32_t skipped = total > OUTER_REFERENCES_MAX ? total - OUTER_REFERENCES_MAX : 0;
    writer_copy(writer, label, strlen(label));
    rest = body;
    for (uint32_t n = 0; n < total; n++) {
        const struct slice token = msgid_next(&rest);
        if (n >= 1 && n <= skipped)
            continue;
        if (n > 0)
            writer_literal(writer, "\r\n ");
        writer_copy(writer, token.at, token.bytes);
    }
    writer_literal(writer, "\r\n");
}

static size_t msgids_bytes_max(const struct frame_message *message, enum header_field field)
{
    /* A token of at least five characters gains a fold of three. */
    return MIN((size_t)message->header->field[field].bytes * 2,
               (size_t)OUTER_REFERENCES_MAX * (OUTER_MSGID_BYTES_MAX + 3)) +
           FIELD_FRAME_BYTES;
}

static HOT void write_message_id(const struct frame *frame, const struct frame_message *message,
                                 struct writer *writer)
{
    struct slice rest = body_of(message, HEADER_MESSAGE_ID);
    const struct slice token = msgid_next(&rest);
    writer_literal(writer, "Message-ID: ");
    if (token.bytes > 0) {
        writer_copy_few(writer, token.at, token.bytes);
    } else {
        char hex[ID_HEX_CHARS];
        id_to_hex(hex, message->id);
        writer_byte(writer, '<');
        writer_copy(writer, hex, ID_HEX_CHARS);
        writer_byte(writer, '@');
        writer_copy(writer, frame->host, frame->host_bytes);
        writer_byte(writer, '>');
    }
    writer_literal(writer, "\r\n");
}

/* ── the rest ──────────────────────────────────────────────────────────────────────────────── */

static HOT void write_date(const struct frame_message *message, struct writer *writer)
{
    const struct slice body = body_of(message, HEADER_DATE);
    struct date date;
    writer_literal(writer, "Date: ");
    if (writer_room(writer) >= DATE_HEADER_BYTES && date_copy_try(writer->at, body.at, body.bytes))
        writer->at += DATE_HEADER_BYTES;
    else if (body.bytes > 0 && date_parse(&date, body.at, body.bytes) == 0)
        date_write_header(writer, &date);
    else
        writer_copy(writer, message->time->date, DATE_HEADER_BYTES);
    writer_literal(writer, "\r\n");
}

/* RFC 3834, 5: the keyword alone; what follows it is for programs that can open the envelope. */
static HOT void write_auto_submitted(const struct frame_message *message, struct writer *writer)
{
    static const char *const keywords[] = {"auto-generated", "auto-replied", "auto-notified", "no"};
    if (!header_has(message->header, HEADER_AUTO_SUBMITTED))
        return;
    const struct slice body = body_of(message, HEADER_AUTO_SUBMITTED);
    for (uint32_t n = 0; n < ARRAY_COUNT(keywords); n++) {
        const size_t bytes = strlen(keywords[n]);
        if (body.bytes < bytes || strncasecmp((const char *)body.at, keywords[n], bytes) != 0)
            continue;
        if (body.bytes > bytes && memchr(" \t\r\n;(", body.at[bytes], 6) == NULL)
            continue;
        writer_literal(writer, "Auto-Submitted: ");
        writer_copy(writer, keywords[n], bytes);
        writer_literal(writer, "\r\n");
        return;
    }
}

HOT void outer_write(const struct frame *frame, const struct frame_message *message,
                     const struct frame_shown *shown, struct writer *writer)
{
    write_from(frame, message, shown, writer);
    (void)WRITE_MAILBOXES(writer, "Reply-To: ", message, HEADER_REPLY_TO, OUTER_FROM_BYTES_MAX);
    write_to(message, writer);
    write_subject(frame, shown, writer);
    write_date(message, writer);
    write_message_id(frame, message, writer);
    if (frame->keep_references) {
        write_msgids(writer, "In-Reply-To: ", body_of(message, HEADER_IN_REPLY_TO));
        write_msgids(writer, "References: ", body_of(message, HEADER_REFERENCES));
    }
    write_auto_submitted(message, writer);
}

/* An address of the SMTP envelope, canonical: it may gain quotes and escapes. */
static size_t envelope_bytes_max(uint32_t bytes)
{
    return MIN((size_t)bytes * 2 + 16, (size_t)ADDRESS_BYTES_MAX) + FIELD_FRAME_BYTES;
}

size_t outer_bytes_max(const struct frame *frame, const struct frame_message *message,
                       const struct frame_shown *shown)
{
    const struct header_span *field = message->header->field;
    size_t total = envelope_bytes_max(message->sender_bytes) +
                   envelope_bytes_max(message->recipient_bytes) + frame->host_bytes;
    total += mailboxes_bytes_max(message, HEADER_FROM, OUTER_FROM_BYTES_MAX);
    /* Two authors need a Sender. */
    total += shown->from_rest.at < shown->from_rest.end ? MAILBOX_BYTES_MAX + FIELD_FRAME_BYTES : 0;
    total += mailboxes_bytes_max(message, HEADER_REPLY_TO, OUTER_FROM_BYTES_MAX);
    total += mailboxes_bytes_max(message, HEADER_TO, OUTER_TO_BYTES_MAX);
    total += mailboxes_bytes_max(message, HEADER_CC, OUTER_TO_BYTES_MAX);
    /* As it stands, or as encoded words of at most three bytes a raw one, thrice that long. */
    total += frame->hide_subject ? frame->subject_line_bytes
                                 : MIN((size_t)field[HEADER_SUBJECT].bytes * 9 + 256,
                                       (size_t)OUTER_SUBJECT_BYTES_MAX + FIELD_FRAME_BYTES);
    total += FIELD_FRAME_BYTES + DATE_HEADER_BYTES;
    total += MIN((size_t)field[HEADER_MESSAGE_ID].bytes, (size_t)OUTER_MSGID_BYTES_MAX) +
             ID_HEX_CHARS + frame->host_bytes + FIELD_FRAME_BYTES;
    if (frame->keep_references)
        total += msgids_bytes_max(message, HEADER_IN_REPLY_TO) +
                 msgids_bytes_max(message, HEADER_REFERENCES);
    return total + FIELD_FRAME_BYTES; /* Auto-Submitted */
}
