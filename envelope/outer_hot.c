#include "envelope/outer.h"

#include "base/assert.h"
#include "base/clock.h"
#include "envelope/date.h"
#include "envelope/encoded_word.h"
#include "envelope/frame_internal.h"
#include "envelope/text.h"

#include <string.h>

/* A mailbox: a quoted name of escaped characters, folds, the address in brackets. */
#define MAILBOX_BYTES_MAX      (ADDRESS_NAME_BYTES_MAX * 3 + 160 + ADDRESS_BYTES_MAX + 16)
#define SUBJECT_TEXT_BYTES_MAX 600  /* decoded; as encoded words within OUTER_SUBJECT_BYTES_MAX */
#define SUBJECT_RAW_BYTES_MAX  8192 /* of a subject that is decoded; the rest is not looked at  */
#define FIELD_LINE_CHARS_MAX   900  /* RFC 5322, 2.1.1 says 998; the name stands before it       */
#define FIELD_FRAME_BYTES      64   /* name, folds and line end of any field                    */
_Static_assert(SUBJECT_TEXT_BYTES_MAX * 3 + 160 <= OUTER_SUBJECT_BYTES_MAX, "it fits");

struct slice {
    const uint8_t *at;
    size_t bytes;
};

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* A field's body without blanks and line ends around it; empty if there is none. */
static struct slice body_of(const struct frame_message *message, enum header_field field)
{
    const struct header_span span = message->header->field[field];
    ASSERT((uint64_t)span.offset + span.bytes <= message->header->header_bytes);
    struct slice body = {message->mail + span.offset, span.bytes};
    while (body.bytes > 0 && is_blank(body.at[0])) {
        body.at++;
        body.bytes--;
    }
    while (body.bytes > 0 && is_blank(body.at[body.bytes - 1]))
        body.bytes--;
    return body;
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

/*
 * Writes `label` and the addresses of the list that can stand in an ASCII header, one a line, as
 * long as they stay within bytes_max. Writes nothing when there is none; returns how many.
 */
static HOT uint32_t write_list(struct writer *writer, const char *label,
                               const struct address_mailbox *first, struct address_list list,
                               size_t bytes_max)
{
    const size_t label_bytes = strlen(label);
    const uint8_t *start = writer->at;
    struct address_mailbox read;
    const struct address_mailbox *mailbox = first;
    uint32_t count = 0;
    for (; mailbox != NULL; mailbox = address_list_next(&list, &read) ? &read : NULL) {
        if (!mailbox->address.ascii)
            continue;
        uint8_t one[MAILBOX_BYTES_MAX];
        struct writer out = writer_make(one, sizeof(one));
        write_mailbox(&out, mailbox, count == 0 ? label_bytes : 1);
        const size_t one_bytes = (size_t)(out.at - one);
        if ((size_t)(writer->at - start) + one_bytes + FIELD_FRAME_BYTES > bytes_max)
            break;
        if (count == 0)
            writer_copy(writer, label, label_bytes);
        else
            writer_literal(writer, ",\r\n ");
        writer_copy(writer, one, one_bytes);
        count++;
    }
    if (count > 0)
        writer_literal(writer, "\r\n");
    return count;
}

static HOT uint32_t write_mailboxes(struct writer *writer, const char *label, struct slice body,
                                    size_t bytes_max)
{
    struct address_list list = address_list_make(body.at, body.bytes);
    struct address_mailbox first;
    if (!address_list_next(&list, &first))
        return 0;
    return write_list(writer, label, &first, list, bytes_max);
}

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
}
_Static_assert(FRAME_HOST_BYTES_MAX + 14 <= ADDRESS_BYTES_MAX, "it fits");

static void mailbox_of_envelope(struct address_mailbox *mailbox, const struct frame *frame,
                                const struct frame_message *message, bool ascii)
{
    mailbox->name_bytes = 0;
    if (message->sender_bytes > 0 &&
        address_parse(&mailbox->address, message->sender, message->sender_bytes) == 0 &&
        (mailbox->address.ascii || !ascii))
        return;
    mailbox_of_host(mailbox, frame);
}

HOT void outer_sender(struct outer_sender *sender, const struct frame *frame,
                      const struct frame_message *message)
{
    const struct slice body = body_of(message, HEADER_FROM);
    sender->rest = address_list_make(body.at, body.bytes);
    sender->from_field = address_list_next(&sender->rest, &sender->mailbox);
    if (!sender->from_field)
        mailbox_of_envelope(&sender->mailbox, frame, message, false);
}

static void write_one(struct writer *writer, const char *label,
                      const struct address_mailbox *mailbox)
{
    writer_copy(writer, label, strlen(label));
    write_mailbox(writer, mailbox, strlen(label));
    writer_literal(writer, "\r\n");
}

static HOT void write_from(const struct frame *frame, const struct frame_message *message,
                           const struct outer_sender *sender, struct writer *writer)
{
    const size_t bytes_max = mailboxes_bytes_max(message, HEADER_FROM, OUTER_FROM_BYTES_MAX);
    const uint32_t count =
        sender->from_field ? write_list(writer, "From: ", &sender->mailbox, sender->rest, bytes_max)
                           : 0;
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
        write_mailboxes(writer, "To: ", body_of(message, HEADER_TO),
                        mailboxes_bytes_max(message, HEADER_TO, OUTER_TO_BYTES_MAX));
    const uint32_t cc_count =
        write_mailboxes(writer, "Cc: ", body_of(message, HEADER_CC),
                        mailboxes_bytes_max(message, HEADER_CC, OUTER_TO_BYTES_MAX));
    if (to_count + cc_count > 0)
        return;
    struct address_mailbox mailbox = {.name_bytes = 0};
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

static HOT void write_subject(const struct frame *frame, const struct frame_message *message,
                              struct writer *writer)
{
    if (frame->hide_subject) {
        writer_copy(writer, frame->subject_line, frame->subject_line_bytes);
        return;
    }
    struct slice body = body_of(message, HEADER_SUBJECT);
    if (body.bytes == 0)
        return;
    bool clean = body.bytes <= OUTER_SUBJECT_BYTES_MAX / 2 && is_clean(body);
    struct encoded_word_text text = {0};
    uint8_t decoded[SUBJECT_TEXT_BYTES_MAX];
    if (!clean || memmem(body.at, body.bytes, "=?", 2) != NULL) {
        body.bytes = MIN(body.bytes, (size_t)SUBJECT_RAW_BYTES_MAX);
        encoded_word_decode(&text, decoded, sizeof(decoded), body.at, body.bytes);
        clean &= !text.dirty;
    }
    writer_literal(writer, "Subject: ");
    if (clean) {
        write_folded(writer, body);
        return;
    }
    size_t column = sizeof("Subject: ") - 1;
    encoded_word_write(writer, decoded, text.bytes, ENCODED_WORD_UNSTRUCTURED, &column);
    writer_literal(writer, "\r\n");
}

size_t frame_subject_text(const struct frame_message *message, uint8_t *dst, size_t dst_bytes)
{
    struct slice body = body_of(message, HEADER_SUBJECT);
    body.bytes = MIN(body.bytes, (size_t)SUBJECT_RAW_BYTES_MAX);
    struct encoded_word_text text;
    encoded_word_decode(&text, dst, dst_bytes, body.at, body.bytes);
    ASSERT(text.bytes <= dst_bytes);
    return text.bytes;
}

/* ── message ids ───────────────────────────────────────────────────────────────────────────── */

static bool is_msgid_char(uint8_t c)
{
    return text_is_atext(c) || c == '.' || c == '@' || c == '[' || c == ']' || c == ':';
}

/*
 * The next `<left@right>` in *rest, angle brackets included; bytes 0 at the end. Looser than
 * RFC 5322, 3.6.4, for threads must not break on a peer's odd ids, but nothing in it can end a
 * line, a token or a comment.
 */
static HOT struct slice msgid_next(struct slice *rest)
{
    while (rest->bytes > 0) {
        const uint8_t *open = memchr(rest->at, '<', rest->bytes);
        if (open == NULL)
            break;
        rest->bytes -= (size_t)(open - rest->at) + 1;
        rest->at = open + 1;
        size_t i = 0;
        size_t at_signs = 0;
        size_t at_index = 0;
        while (i < rest->bytes && is_msgid_char(rest->at[i])) {
            if (rest->at[i] == '@') {
                at_signs++;
                at_index = i;
            }
            i++;
        }
        const bool closed = i < rest->bytes && rest->at[i] == '>';
        rest->at += i;
        rest->bytes -= i;
        if (closed && at_signs == 1 && at_index > 0 && at_index + 1 < i &&
            i + 2 <= OUTER_MSGID_BYTES_MAX)
            return (struct slice){open, i + 2};
    }
    rest->bytes = 0;
    return (struct slice){NULL, 0};
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
        writer_copy(writer, token.at, token.bytes);
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
    if (body.bytes == 0 || date_parse(&date, body.at, body.bytes) != 0)
        date = (struct date){(int64_t)(message->now_unix_ns / NS_PER_S), 0};
    writer_literal(writer, "Date: ");
    date_write_header(writer, &date);
    writer_literal(writer, "\r\n");
}

/* RFC 3834, 5: the keyword alone; what follows it is for programs that can open the envelope. */
static HOT void write_auto_submitted(const struct frame_message *message, struct writer *writer)
{
    static const char *const keywords[] = {"auto-generated", "auto-replied", "auto-notified", "no"};
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
                     const struct outer_sender *sender, struct writer *writer)
{
    write_from(frame, message, sender, writer);
    (void)write_mailboxes(writer, "Reply-To: ", body_of(message, HEADER_REPLY_TO),
                          mailboxes_bytes_max(message, HEADER_REPLY_TO, OUTER_FROM_BYTES_MAX));
    write_to(message, writer);
    write_subject(frame, message, writer);
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

/* Can the From field hold two addresses? */
static bool is_list(const struct frame_message *message)
{
    const struct slice body = body_of(message, HEADER_FROM);
    return body.bytes > 0 &&
           (memchr(body.at, ',', body.bytes) != NULL || memchr(body.at, ';', body.bytes) != NULL);
}

size_t outer_bytes_max(const struct frame *frame, const struct frame_message *message)
{
    const struct header_span *field = message->header->field;
    size_t total = envelope_bytes_max(message->sender_bytes) +
                   envelope_bytes_max(message->recipient_bytes) + frame->host_bytes;
    total += mailboxes_bytes_max(message, HEADER_FROM, OUTER_FROM_BYTES_MAX);
    total += is_list(message) ? MAILBOX_BYTES_MAX + FIELD_FRAME_BYTES : 0;
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
