#include "envelope/notice.h"

#include "base/assert.h"
#include "envelope/address.h"
#include "envelope/address_report.h"
#include "envelope/date.h"
#include "envelope/encoded_word.h"
#include "envelope/notice_internal.h"
#include "envelope/subject.h"
#include "envelope/template.h"
#include "envelope/text.h"
#include "envelope/writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HOST_BYTES_MAX      255
#define REASON_BYTES_MAX    512
#define LIST_BYTES_MAX      900  /* of {{recipients}}: below what a template's value holds     */
#define LIST_REST_BYTES     24   /* of them: ", … (+1000)"                                     */
#define DAY_BYTES           20   /* "2026-11-21 21:15 UTC"                                     */
#define MSGID_BYTES_MAX     500  /* OUTER_MSGID_BYTES_MAX                                      */
#define LINE_CHARS_MAX      998  /* RFC 5322, 2.1.1                                            */
#define HEADER_LITERALS_MAX 2048 /* all that stands around values in header and parts          */
#define REPORT_LITERALS_MAX 256  /* around an address and the remote's text                    */
#define NOTICE_UNIX_S_MAX   INT64_C(253402300799) /* the year 9999 ends                        */

static const struct {
    const char *name; /* in reasons.txt */
    uint8_t enhanced[NOTICE_ENHANCED_COUNT];
    const char *diagnostic; /* printable ASCII */
} REASONS[NOTICE_REASON_COUNT] = {
    [NOTICE_AWAY] = {"away",
                     {4, 4, 7},
                     "the key service was away for longer than the message "
                     "may wait"},
    [NOTICE_KEY_REFUSED] = {"key", {5, 6, 0}, "the key service refused the message's key"},
    [NOTICE_REFUSED] = {"refused", {5, 0, 0}, "the mail server refused the sealed mail"},
    [NOTICE_DAMAGED] = {"damaged", {5, 3, 0}, "the stored message was damaged"},
};

struct notice {
    struct template *text;
    uint8_t *subject_line;
    size_t subject_line_bytes;
    size_t host_bytes;
    char host[HOST_BYTES_MAX];
    size_t reasons_bytes[NOTICE_REASON_COUNT];
    uint8_t reasons[NOTICE_REASON_COUNT][REASON_BYTES_MAX]; /* clean UTF-8 */
};

/* ── open ──────────────────────────────────────────────────────────────────────────────────── */

/* Host names only: it stands in headers as it is. */
static int host_open(struct notice *notice, const char *host, char why[NOTICE_WHY_BYTES])
{
    const size_t bytes = host == NULL ? 0 : strlen(host);
    bool sound =
        bytes > 0 && bytes <= HOST_BYTES_MAX && address_domain_ok((const uint8_t *)host, bytes);
    for (size_t i = 0; sound && i < bytes; i++)
        sound = host[i] > ' ' && host[i] <= '~';
    if (!sound) {
        (void)snprintf(why, NOTICE_WHY_BYTES,
                       "host name for Message-IDs: write this host's full name, in ASCII");
        return -EINVAL;
    }
    memcpy(notice->host, host, bytes);
    notice->host_bytes = bytes;
    return 0;
}

static int reason_open(struct notice *notice, uint32_t reason, const char *reasons,
                       char why[NOTICE_WHY_BYTES])
{
    const char *name = REASONS[reason].name;
    const size_t name_chars = strlen(name);
    for (const char *at = reasons; *at != '\0'; at += strspn(at, "\r\n")) {
        const size_t line = strcspn(at, "\r\n");
        if (strncmp(at, name, name_chars) == 0 && at[name_chars] == ':') {
            struct text out = text_make(notice->reasons[reason], REASON_BYTES_MAX);
            text_put_utf8(&out, (const uint8_t *)at + name_chars + 1, line - name_chars - 1);
            notice->reasons_bytes[reason] = out.bytes;
            if (out.bytes > 0 && !out.dirty && !out.cut)
                return 0;
        }
        at += line;
    }
    (void)snprintf(why, NOTICE_WHY_BYTES, "reasons: there is no sound line for \"%s\"", name);
    return -EINVAL;
}

/* Whose subject counts: the profile's, its template's, the locale's. */
static int texts_open(struct notice *notice, const struct notice_config *config,
                      const char *template_default, char why[NOTICE_WHY_BYTES])
{
    const struct template_constants constants = {config->key_service_url, ""};
    const char *subject = NULL;
    const char *default_subject = NULL;
    size_t subject_bytes = 0;
    size_t default_bytes = 0;
    const char *text = template_default;
    (void)template_subject(template_default, &default_subject, &default_bytes);
    if (config->failure_template != NULL) {
        text = config->failure_template;
        (void)template_subject(text, &subject, &subject_bytes);
    }
    if (config->failure_subject != NULL) {
        subject = config->failure_subject;
        subject_bytes = strlen(subject);
    }
    if (subject == NULL) {
        subject = default_subject;
        subject_bytes = default_bytes;
    }
    const int rc = subject_open(&notice->subject_line, &notice->subject_line_bytes,
                                "failure subject", subject, subject_bytes, why);
    return rc != 0 ? rc
                   : template_open(&notice->text, TEMPLATE_FAILURE, "failure template", text,
                                   &constants, why);
}
_Static_assert(NOTICE_WHY_BYTES == TEMPLATE_WHY_BYTES, "one buffer serves both");
_Static_assert(NOTICE_WHY_BYTES == SUBJECT_WHY_BYTES, "and the subject");

int notice_open_parts(struct notice **notice, const struct notice_config *config,
                      const char *template_default, const char *reasons, char why[NOTICE_WHY_BYTES])
{
    ASSERT(template_default != NULL && reasons != NULL);
    ASSERT(config->key_service_url != NULL);
    struct notice *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        (void)snprintf(why, NOTICE_WHY_BYTES, "out of memory");
        return -ENOMEM;
    }
    int rc = host_open(made, config->message_id_host, why);
    for (uint32_t r = 0; r < NOTICE_REASON_COUNT && rc == 0; r++)
        rc = reason_open(made, r, reasons, why);
    if (rc == 0)
        rc = texts_open(made, config, template_default, why);
    if (rc != 0) {
        notice_close(made);
        return rc;
    }
    *notice = made;
    return 0;
}

void notice_close(struct notice *notice)
{
    if (notice == NULL)
        return;
    template_close(notice->text);
    free(notice->subject_line);
    free(notice);
}

/* ── what a message says ───────────────────────────────────────────────────────────────────── */

/* The next recipient; false at the end, or where lengths do not add up. */
static bool next_recipient(const struct notice_message *message, uint32_t *offset,
                           const uint8_t **address, size_t *address_bytes)
{
    if (message->recipients_bytes - *offset < 2)
        return false;
    const uint8_t *at = message->recipients + *offset;
    const uint32_t bytes = (uint32_t)at[0] | (uint32_t)at[1] << 8;
    if (bytes > message->recipients_bytes - *offset - 2)
        return false;
    *address = at + 2;
    *address_bytes = MIN((size_t)bytes, (size_t)ADDRESS_BYTES_MAX);
    *offset += 2 + bytes;
    return true;
}

/* Walks those that are to be named. */
struct failed {
    uint32_t offset;
    uint32_t recipient; /* of the next one */
    const uint8_t *address;
    size_t address_bytes;
    const struct notice_reply *reply; /* NULL: what is said of all */
};

static bool next_failed(const struct notice_message *message, struct failed *failed)
{
    while (failed->recipient < NOTICE_RECIPIENTS_MAX &&
           next_recipient(message, &failed->offset, &failed->address, &failed->address_bytes)) {
        const uint32_t n = failed->recipient++;
        failed->reply = NULL;
        if (message->which == NULL)
            return true;
        if (n < message->which_count && message->which[n] != 0) {
            failed->reply = &message->replies[message->which[n] - 1];
            return true;
        }
    }
    return false;
}

static uint32_t count_failed(const struct notice_message *message)
{
    struct failed failed = {0};
    uint32_t count = 0;
    while (next_failed(message, &failed))
        count++;
    return count;
}

static struct date date_of(uint64_t unix_ms)
{
    const uint64_t unix_s = unix_ms / 1000;
    return (struct date){.unix_s = (int64_t)MIN(unix_s, (uint64_t)NOTICE_UNIX_S_MAX)};
}

/* What of one message is written in more than one place. */
struct facts {
    struct header header; /* of the outer one */
    const uint8_t *outer;
    uint32_t failed_count; /* recipients that are named */
    size_t msgid_bytes;
    size_t list_bytes;
    uint8_t msgid[MSGID_BYTES_MAX]; /* of the sealed mail, with its brackets; printable ASCII */
    uint8_t list[LIST_BYTES_MAX];   /* {{recipients}} */
    uint8_t sender[ADDRESS_BYTES_MAX];
    size_t sender_bytes;
    uint8_t day[DAY_BYTES];
};

static void read_msgid(struct facts *facts)
{
    const struct header_span span = facts->header.field[HEADER_MESSAGE_ID];
    const uint8_t *at = facts->outer + span.offset;
    size_t bytes = span.bytes;
    while (bytes > 0 && (*at == ' ' || *at == '\t')) {
        at++;
        bytes--;
    }
    if (bytes < 3 || bytes > MSGID_BYTES_MAX || at[0] != '<' || at[bytes - 1] != '>')
        return;
    for (size_t i = 0; i < bytes; i++) {
        if (at[i] <= ' ' || at[i] > '~')
            return;
    }
    memcpy(facts->msgid, at, bytes);
    facts->msgid_bytes = bytes;
}

/* Whole addresses, as many as there is room for, then how many more there are. */
static void list_recipients(struct facts *facts, const struct notice_message *message)
{
    struct failed failed = {0};
    struct text out = text_make(facts->list, LIST_BYTES_MAX - LIST_REST_BYTES);
    for (uint32_t n = 0; next_failed(message, &failed); n++) {
        const struct text before = out;
        if (n > 0)
            text_put_utf8(&out, (const uint8_t *)", ", 2);
        text_put_utf8(&out, failed.address, failed.address_bytes);
        if (!out.cut)
            continue;
        const int rest =
            snprintf((char *)facts->list + before.bytes, LIST_REST_BYTES, "%s\xe2\x80\xa6 (+%u)",
                     n > 0 ? ", " : "", facts->failed_count - n);
        facts->list_bytes = before.bytes + (size_t)rest;
        return;
    }
    facts->list_bytes = out.bytes;
}

static void read_facts(struct facts *facts, const struct notice_message *message)
{
    const size_t outer_bytes = MIN(message->outer_bytes, (size_t)NOTICE_OUTER_BYTES_MAX);
    const struct date arrived = date_of(message->arrived_unix_ms);
    struct date_parts parts;
    facts->msgid_bytes = 0;
    facts->outer = message->outer_bytes == 0 ? (const uint8_t *)"" : message->outer;
    header_read(&facts->header, facts->outer, outer_bytes, message->outer_bytes);
    facts->failed_count = count_failed(message);
    read_msgid(facts);
    list_recipients(facts, message);
    struct text sender = text_make(facts->sender, sizeof(facts->sender));
    text_put_utf8(&sender, message->sender, message->sender_bytes);
    facts->sender_bytes = sender.bytes;
    date_split(&parts, &arrived);
    struct writer day = writer_make(facts->day, DAY_BYTES);
    writer_padded(&day, parts.year, 4);
    writer_byte(&day, '-');
    writer_padded(&day, parts.month, 2);
    writer_byte(&day, '-');
    writer_padded(&day, parts.day, 2);
    writer_byte(&day, ' ');
    writer_padded(&day, parts.hour, 2);
    writer_byte(&day, ':');
    writer_padded(&day, parts.minute, 2);
    writer_literal(&day, " UTC");
}
_Static_assert(NOTICE_OUTER_BYTES_MAX >= HEADER_BYTES_MAX, "header_read() wants as many");

static void set_values(struct template_value values[TEMPLATE_VARIABLE_COUNT],
                       const struct notice *notice, const struct notice_message *message,
                       const struct facts *facts)
{
    values[TEMPLATE_FAILURE_SENDER] = (struct template_value){facts->sender, facts->sender_bytes};
    values[TEMPLATE_FAILURE_RECIPIENTS] = (struct template_value){facts->list, facts->list_bytes};
    values[TEMPLATE_FAILURE_DATE] = (struct template_value){facts->day, DAY_BYTES};
    values[TEMPLATE_FAILURE_REASON] = (struct template_value){
        notice->reasons[message->reason], notice->reasons_bytes[message->reason]};
    values[TEMPLATE_FAILURE_MESSAGE_ID] = (struct template_value){facts->msgid, facts->msgid_bytes};
}

/* ── the header ────────────────────────────────────────────────────────────────────────────── */

static void write_boundary(struct writer *writer, const struct notice_message *message)
{
    char hex[ID_HEX_CHARS];
    id_to_hex(hex, message->id);
    writer_literal(writer, "=_r_");
    writer_copy(writer, hex, sizeof(hex));
}

static void write_delimiter(struct writer *writer, const struct notice_message *message)
{
    writer_literal(writer, "\r\n--");
    write_boundary(writer, message);
    writer_literal(writer, "\r\n");
}

static void write_date(struct writer *writer, uint64_t unix_ms)
{
    const struct date date = date_of(unix_ms);
    date_write_header(writer, &date);
    writer_literal(writer, "\r\n");
}

/* An address that an ASCII header cannot hold is shown as RFC 6857, 3.1.9 does: the name of an
 * empty group. */
static void write_to(struct writer *writer, const struct notice_message *message,
                     const struct facts *facts)
{
    struct address address;
    writer_literal(writer, "To: ");
    if (address_parse(&address, message->sender, message->sender_bytes) == 0 && address.ascii) {
        writer_copy(writer, address.text, address.bytes);
    } else if (facts->sender_bytes == 0) {
        writer_literal(writer, "undisclosed-recipients:;");
    } else {
        size_t column = sizeof("To: ") - 1;
        encoded_word_write(writer, facts->sender, facts->sender_bytes, ENCODED_WORD_PHRASE,
                           &column);
        writer_literal(writer, " :;");
    }
    writer_literal(writer, "\r\n");
}

static void write_header(struct writer *writer, const struct notice *notice,
                         const struct notice_message *message, const struct facts *facts)
{
    char hex[ID_HEX_CHARS];
    id_to_hex(hex, message->id);
    writer_literal(writer, "From: MAILER-DAEMON@");
    writer_copy(writer, notice->host, notice->host_bytes);
    writer_literal(writer, "\r\n");
    write_to(writer, message, facts);
    writer_copy(writer, notice->subject_line, notice->subject_line_bytes);
    writer_literal(writer, "Date: ");
    write_date(writer, message->ended_unix_ms);
    writer_literal(writer, "Message-ID: <");
    writer_copy(writer, hex, sizeof(hex));
    writer_literal(writer, ".notice@");
    writer_copy(writer, notice->host, notice->host_bytes);
    writer_literal(writer, ">\r\n");
    if (facts->msgid_bytes > 0) {
        writer_literal(writer, "In-Reply-To: ");
        writer_copy(writer, facts->msgid, facts->msgid_bytes);
        writer_literal(writer, "\r\n");
    }
    writer_literal(writer, "Auto-Submitted: auto-replied\r\n"
                           "MIME-Version: 1.0\r\n"
                           "Content-Type: multipart/report; report-type=delivery-status;\r\n"
                           " boundary=\"");
    write_boundary(writer, message);
    writer_literal(writer, "\"\r\n");
}

/* ── the report ────────────────────────────────────────────────────────────────────────────── */

/* What is known of one recipient: the mail server's own words, or the reason. */
static void write_diagnostic(struct writer *writer, const struct notice_message *message,
                             const struct notice_reply *reply)
{
    const char *remote = reply != NULL ? reply->text : message->remote_text;
    const size_t chars = reply != NULL ? MIN(reply->text_bytes, (uint32_t)NOTICE_REMOTE_BYTES_MAX)
                         : remote != NULL ? strnlen(remote, NOTICE_REMOTE_BYTES_MAX)
                                          : 0;
    if (message->reason != NOTICE_REFUSED || chars == 0) {
        writer_literal(writer, "Diagnostic-Code: X-Bulla; ");
        writer_copy(writer, REASONS[message->reason].diagnostic,
                    strlen(REASONS[message->reason].diagnostic));
    } else {
        writer_literal(writer, "Diagnostic-Code: smtp; ");
        for (size_t i = 0; i < chars; i++)
            writer_byte(writer, remote[i] >= ' ' && remote[i] <= '~' ? (uint8_t)remote[i] : '?');
    }
    writer_literal(writer, "\r\n");
}

static void write_status(struct writer *writer, const struct notice_message *message,
                         const struct notice_reply *reply)
{
    const uint8_t *enhanced = reply != NULL ? reply->enhanced : message->enhanced;
    /* Of the remote's only what means failure: a relay may say 2 or nonsense. */
    if (message->reason != NOTICE_REFUSED || (enhanced[0] != 4 && enhanced[0] != 5))
        enhanced = REASONS[message->reason].enhanced;
    writer_literal(writer, "Status: ");
    for (uint32_t n = 0; n < NOTICE_ENHANCED_COUNT; n++) {
        if (n > 0)
            writer_byte(writer, '.');
        writer_decimal(writer, enhanced[n]);
    }
    writer_literal(writer, "\r\n");
}

static void write_report(struct writer *writer, const struct notice *notice,
                         const struct notice_message *message, const struct facts *facts)
{
    uint8_t typed[ADDRESS_REPORT_CHARS_MAX];
    struct failed failed = {0};
    writer_literal(writer, "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; ");
    writer_copy(writer, notice->host, notice->host_bytes);
    writer_literal(writer, "\r\nArrival-Date: ");
    write_date(writer, message->arrived_unix_ms);
    for (uint32_t n = facts->failed_count; n > 0; n--) {
        if (!next_failed(message, &failed))
            break;
        writer_literal(writer, "\r\nFinal-Recipient: ");
        writer_copy(writer, typed,
                    address_report_write(typed, failed.address, failed.address_bytes));
        writer_literal(writer, "\r\nAction: failed\r\n");
        write_status(writer, message, failed.reply);
        write_diagnostic(writer, message, failed.reply);
        writer_literal(writer, "Last-Attempt-Date: ");
        write_date(writer, message->ended_unix_ms);
    }
}

/* ── the sealed mail's header ──────────────────────────────────────────────────────────────── */

/* A line that could end this part, or that mailboxes rewrite. No field of ours begins so. */
static bool line_allowed(const uint8_t *line, size_t bytes)
{
    return bytes > 0 && line[0] != '-' && line[0] != '>' &&
           !(bytes >= 5 && memcmp(line, "From ", 5) == 0);
}

/* Fields only, in printable ASCII: it comes from a disk. */
static void write_outer(struct writer *writer, const struct facts *facts)
{
    const uint8_t *at = facts->outer;
    const uint8_t *end = at + facts->header.header_bytes;
    bool allowed = false;
    writer_literal(writer, "Content-Type: text/rfc822-headers\r\n\r\n");
    while (at < end) {
        const uint8_t *line_end = memchr(at, '\n', (size_t)(end - at));
        const uint8_t *next = line_end == NULL ? end : line_end + 1;
        size_t bytes = (size_t)((line_end == NULL ? end : line_end) - at);
        if (bytes > 0 && at[bytes - 1] == '\r')
            bytes--;
        if (bytes == 0)
            break;
        /* A fold belongs to the line before it. */
        if (at[0] != ' ' && at[0] != '\t')
            allowed = line_allowed(at, bytes);
        bytes = MIN(bytes, (size_t)LINE_CHARS_MAX);
        for (size_t i = 0; i < bytes && allowed; i++)
            writer_byte(writer, at[i] == '\t' || (at[i] >= ' ' && at[i] <= '~') ? at[i] : '?');
        if (allowed)
            writer_literal(writer, "\r\n");
        at = next;
    }
}

/* ── all of it ─────────────────────────────────────────────────────────────────────────────── */

size_t notice_bytes_max(const struct notice *notice, const struct notice_message *message)
{
    struct template_value values[TEMPLATE_VARIABLE_COUNT];
    struct facts facts;
    read_facts(&facts, message);
    set_values(values, notice, message, &facts);
    size_t remote =
        message->remote_text == NULL ? 0 : strnlen(message->remote_text, NOTICE_REMOTE_BYTES_MAX);
    struct failed failed = {0};
    while (next_failed(message, &failed))
        if (failed.reply != NULL)
            remote = MAX(remote, (size_t)failed.reply->text_bytes);
    /* A line end of the outer header gains a byte. */
    return HEADER_LITERALS_MAX + notice->subject_line_bytes + 4 * HOST_BYTES_MAX + MSGID_BYTES_MAX +
           encoded_word_write_bytes_max(facts.sender_bytes) + ADDRESS_BYTES_MAX +
           template_bytes_max(notice->text, values) +
           facts.failed_count * (REPORT_LITERALS_MAX + ADDRESS_REPORT_CHARS_MAX + remote) +
           2 * (size_t)facts.header.header_bytes;
}

size_t notice_write(const struct notice *notice, const struct notice_message *message, uint8_t *dst,
                    size_t dst_room)
{
    struct template_value values[TEMPLATE_VARIABLE_COUNT];
    struct facts facts;
    struct writer writer = writer_make(dst, dst_room);
    ASSERT((uint32_t)message->reason < NOTICE_REASON_COUNT);
    ASSERT(message->sender_bytes > 0); /* the null sender is never notified */
    read_facts(&facts, message);
    set_values(values, notice, message, &facts);
    write_header(&writer, notice, message, &facts);
    write_delimiter(&writer, message);
    writer_literal(&writer, "Content-Type: text/plain; charset=utf-8\r\n"
                            "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
    template_render(notice->text, &writer, values);
    write_delimiter(&writer, message);
    write_report(&writer, notice, message, &facts);
    write_delimiter(&writer, message);
    write_outer(&writer, &facts);
    writer_literal(&writer, "\r\n--");
    write_boundary(&writer, message);
    writer_literal(&writer, "--\r\n");
    return (size_t)(writer.at - dst);
}

/* ── whether at all ────────────────────────────────────────────────────────────────────────── */

/* A field's first word, which blanks, comments and parameters may follow. */
static bool word_is(const uint8_t *mail, const struct header *header, enum header_field field,
                    const char *word)
{
    const struct header_span span = header->field[field];
    const uint8_t *at = mail + span.offset;
    const uint8_t *end = at + span.bytes;
    const size_t chars = strlen(word);
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n'))
        at++;
    if ((size_t)(end - at) < chars || strncasecmp((const char *)at, word, chars) != 0)
        return false;
    at += chars;
    return at == end || memchr(" \t\r\n;(", *at, 6) != NULL;
}

HOT bool notice_due(uint32_t sender_bytes, const uint8_t *mail, const struct header *header)
{
    if (sender_bytes == 0 || header->list)
        return false;
    if (header_has(header, HEADER_AUTO_SUBMITTED) &&
        !word_is(mail, header, HEADER_AUTO_SUBMITTED, "no"))
        return false;
    return !header_has(header, HEADER_PRECEDENCE) ||
           !(word_is(mail, header, HEADER_PRECEDENCE, "bulk") ||
             word_is(mail, header, HEADER_PRECEDENCE, "list") ||
             word_is(mail, header, HEADER_PRECEDENCE, "junk"));
}
