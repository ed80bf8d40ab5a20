#include "tests/envelope/framing.h"

#include "base/clock.h"
#include "envelope/frame_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char SHELL[] = "<!doctype html>\n<p>{{key_service}}\n<div>{{logo}}</div>\n"
                            "<form action=\"{{key_service}}/online\">\n{{fields}}\n"
                            "<input type=\"hidden\" name=\"e\" value=\"1\">\n</form>\n";
static const char TEXT[] = "Subject: Secure mail, Gr\xc3\xbc\xc3\x9f"
                           "e\n\n{{sender}} wrote on {{date}}: {{subject}}\n"
                           "Open {{attachment}}, sign in at {{key_service}}.\n";
static const char HTML[] = "{{logo}}<p title=\"{{subject}}\">{{sender}}, {{sender_name}}</p>\n"
                           "<p>{{attachment}} {{key_service}} {{date}}</p>\n";

struct frame_config framing_config(void)
{
    return (struct frame_config){.suite = COBBLE_AES_256,
                                 .locale = "en",
                                 .key_service_url = FRAMING_KEYS,
                                 .message_id_host = FRAMING_HOST};
}

struct frame *framing_open(const struct frame_config *config)
{
    struct frame *frame = NULL;
    char why[FRAME_WHY_BYTES];
    const struct frame_parts parts = {{SHELL, SHELL}, TEXT, HTML};
    if (frame_open_parts(&frame, config, &parts, why) != 0)
        fail_msg("%s", why);
    return frame;
}

static size_t append(char *dst, const uint8_t *src, size_t bytes)
{
    memcpy(dst, src, bytes);
    return bytes;
}

char *framing_mail(const struct frame *frame, const uint8_t *mail, size_t mail_bytes,
                   const char *sender, const char *recipient, size_t *bytes)
{
    const struct id id = {{0x01, 0x9a, 2, 3, 4, 5, 0x76, 7, 0x88, 9, 10, 11, 12, 13, 14, 15}};
    /* Several, of whom the first is given: the comma tells. */
    const uint32_t recipients_count = strchr(recipient, ',') == NULL ? 1 : 2;
    uint8_t salt_commitment[COBBLE_HEADER_BYTES];
    uint8_t random[FRAME_BOUNDARY_BYTES];
    struct header header;
    memset(salt_commitment, 0xa5, sizeof(salt_commitment));
    memset(random, 0x5a, sizeof(random));
    header_read(&header, mail, mail_bytes, mail_bytes);
    /* Just the header, so that a sanitizer sees a byte read past it. */
    uint8_t *head = malloc(header.header_bytes + 1);
    assert_non_null(head);
    memcpy(head, mail, header.header_bytes);
    uint8_t *exact = realloc(head, header.header_bytes == 0 ? 1 : header.header_bytes);
    assert_non_null(exact);
    struct frame_time time = {0};
    frame_time_set(&time, FRAMING_NOW_UNIX_S * NS_PER_S);
    const struct frame_message message = {.id = &id,
                                          .mail = exact,
                                          .header = &header,
                                          .sender = (const uint8_t *)sender,
                                          .sender_bytes = (uint32_t)strlen(sender),
                                          .recipient = (const uint8_t *)recipient,
                                          .recipient_bytes = (uint32_t)strcspn(recipient, ","),
                                          .recipients_count = recipients_count,
                                          .time = &time,
                                          .salt_commitment = salt_commitment,
                                          .boundary_random = random};
    struct frame_shown shown;
    frame_show(frame, &message, &shown);
    const size_t room = frame_bytes_max(frame, &message, &shown);
    uint8_t *own = malloc(room);
    assert_non_null(own);
    struct frame_spans spans;
    frame_write(frame, &message, &shown, own, room, &spans);
    char *all = framing_join(frame, own, &spans, NULL, 0, bytes);
    free(own);
    free(exact);
    return all;
}

char *framing_join(const struct frame *frame, const uint8_t *own, const struct frame_spans *spans,
                   const uint8_t *ciphertext, size_t ciphertext_bytes, size_t *bytes)
{
    size_t head_bytes;
    size_t tail_bytes;
    const uint8_t *head = frame_head(frame, FRAME_SCRIPTED, &head_bytes);
    const uint8_t *tail = frame_tail(frame, FRAME_SCRIPTED, &tail_bytes);
    const uint8_t *epilogue = own + spans->prologue_bytes;
    char *all = malloc(spans->prologue_bytes + spans->epilogue_bytes + spans->fields_bytes +
                       head_bytes + tail_bytes + ciphertext_bytes + 1);
    assert_non_null(all);
    size_t at = append(all, own, spans->prologue_bytes);
    at += append(all + at, head, head_bytes);
    at += append(all + at, epilogue + spans->epilogue_bytes, spans->fields_bytes);
    if (ciphertext_bytes > 0)
        at += append(all + at, ciphertext, ciphertext_bytes);
    at += append(all + at, tail, tail_bytes);
    at += append(all + at, epilogue, spans->epilogue_bytes);
    all[at] = '\0';
    *bytes = at;
    return all;
}

const char *framing_field(const char *sealed, const char *name, size_t *field_bytes)
{
    const char *line = sealed;
    const size_t name_bytes = strlen(name);
    while (*line != '\r') {
        const char *end = strstr(line, "\r\n");
        while (end[2] == ' ' || end[2] == '\t')
            end = strstr(end + 2, "\r\n");
        if (strncmp(line, name, name_bytes) == 0 && line[name_bytes] == ':') {
            *field_bytes = (size_t)(end - line);
            return line;
        }
        line = end + 2;
    }
    return NULL;
}

static void check_bytes(const char *sealed, size_t bytes)
{
    size_t line = 0;
    for (size_t i = 0; i < bytes; i++) {
        const uint8_t c = (uint8_t)sealed[i];
        if (c == '\r') {
            assert_true(i + 1 < bytes && sealed[i + 1] == '\n');
            i++;
            line = 0;
            continue;
        }
        if (c != '\t' && (c < ' ' || c > '~'))
            fail_msg("byte 0x%02x at %zu", c, i);
        assert_true(++line <= 998);
    }
    assert_int_equal(line, 0);
}

/* The fields' names, in order, each at most once. */
static void check_fields(const char *sealed)
{
    static const char *const allowed[] = {
        "From",           "Sender",       "Reply-To",    "To",          "Cc",
        "Subject",        "Date",         "Message-ID",  "In-Reply-To", "References",
        "Auto-Submitted", "MIME-Version", "Content-Type"};
    static const char *const needed[] = {"From", "Date", "Message-ID", "MIME-Version",
                                         "Content-Type"};
    size_t next = 0;
    const char *line = sealed;
    while (*line != '\r') {
        const char *end = strstr(line, "\r\n");
        assert_non_null(end);
        if (*line == ' ' || *line == '\t') {
            assert_ptr_not_equal(line, sealed);
            /* A fold of blanks alone could be read as the end of the header. */
            assert_true(strspn(line, " \t") < (size_t)(end - line));
        } else {
            while (next < ARRAY_COUNT(allowed) &&
                   (strncmp(line, allowed[next], strlen(allowed[next])) != 0 ||
                    line[strlen(allowed[next])] != ':'))
                next++;
            if (next == ARRAY_COUNT(allowed))
                fail_msg("field not allowed, twice or out of order: %.*s", (int)(end - line), line);
            next++;
        }
        line = end + 2;
    }
    for (size_t i = 0; i < ARRAY_COUNT(needed); i++) {
        size_t field_bytes;
        assert_non_null(framing_field(sealed, needed[i], &field_bytes));
    }
}

static const char *expect(const char *at, const char *text)
{
    const char *found = strstr(at, text);
    if (found == NULL)
        fail_msg("\"%s\" is not where it should be", text);
    return found == NULL ? at : found + strlen(text);
}

/* Where the next delimiter of this boundary stands; how many there are in all is counted. */
static uint32_t delimiters(const char *sealed, const char *boundary)
{
    uint32_t count = 0;
    for (const char *at = strstr(sealed, boundary); at != NULL; at = strstr(at + 1, boundary))
        count++;
    return count;
}

void framing_check(const char *sealed, size_t bytes)
{
    check_bytes(sealed, bytes);
    check_fields(sealed);
    char mixed[64];
    char alternative[64];
    const char *at = expect(sealed, "Content-Type: multipart/mixed;\r\n boundary=\"");
    (void)snprintf(mixed, sizeof(mixed), "\r\n--%.*s", (int)strcspn(at, "\""), at);
    assert_in_range(strlen(mixed), 20, 4 + 70);
    at = expect(at, mixed);
    at = expect(at, "Content-Type: multipart/alternative;\r\n boundary=\"");
    (void)snprintf(alternative, sizeof(alternative), "\r\n--%.*s", (int)strcspn(at, "\""), at);
    at = expect(at, alternative);
    at = expect(at, "\r\nContent-Type: text/plain; charset=utf-8\r\n"
                    "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
    at = expect(at, alternative);
    at = expect(at, "\r\nContent-Type: text/html; charset=utf-8\r\n"
                    "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
    at = expect(at, alternative);
    at = expect(at, "--\r\n");
    at = expect(at - 2, mixed);
    at = expect(at, "\r\nContent-Type: text/html; charset=us-ascii;\r\n"
                    " name=\"securedoc_20261121T211500.html\"\r\n"
                    "Content-Disposition: attachment;\r\n"
                    " filename=\"securedoc_20261121T211500.html\"\r\n"
                    "Content-Transfer-Encoding: 7bit\r\n\r\n<!");
    at = expect(at, "<input type=\"hidden\" name=\"v\" value=\"1\">\r\n");
    at = expect(at, "<input type=\"hidden\" name=\"e\" value=\"1\">\r\n");
    at = expect(at, mixed);
    assert_string_equal(at, "--\r\n");
    assert_int_equal(delimiters(sealed, mixed), 3);
    assert_int_equal(delimiters(sealed, alternative), 3);
}
