#include "envelope/header.h"
#include "tests/envelope/mailgen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

static struct header read_text(const char *mail)
{
    struct header header;
    header_read(&header, (const uint8_t *)mail, strlen(mail), strlen(mail));
    return header;
}

static void body_is(const char *mail, const struct header *header, enum header_field field,
                    const char *body)
{
    assert_true(header_has(header, field));
    const struct header_span span = header->field[field];
    assert_int_equal(span.bytes, strlen(body));
    assert_memory_equal(mail + span.offset, body, span.bytes);
}

static void header_finds_fields_whatever_their_case(void **state)
{
    (void)state;
    const char *mail = "FROM: a@x\r\nrePly-To: b@x\r\nIn-reply-TO:<1@x>\r\nX-From: no\r\n"
                       "Auto-Submitted: auto-replied\r\n\r\nTo: body@x\r\n";
    const struct header header = read_text(mail);
    body_is(mail, &header, HEADER_FROM, " a@x");
    body_is(mail, &header, HEADER_REPLY_TO, " b@x");
    body_is(mail, &header, HEADER_IN_REPLY_TO, "<1@x>");
    body_is(mail, &header, HEADER_AUTO_SUBMITTED, " auto-replied");
    assert_false(header_has(&header, HEADER_TO));
    assert_int_equal(header.fields_count, 5);
    assert_true(header.ended);
    assert_string_equal(mail + header.header_bytes, "To: body@x\r\n");
}

static void header_keeps_folds_inside_a_body(void **state)
{
    (void)state;
    const char *crlf = "Subject: one\r\n two\r\n\tthree\r\nTo: x@y\r\n\r\n";
    struct header header = read_text(crlf);
    body_is(crlf, &header, HEADER_SUBJECT, " one\r\n two\r\n\tthree");
    body_is(crlf, &header, HEADER_TO, " x@y");
    const char *lf = "Subject: one\n two\nTo: x@y\n\nbody";
    header = read_text(lf);
    body_is(lf, &header, HEADER_SUBJECT, " one\n two");
    assert_true(header.ended);
}

static void header_takes_the_first_and_notes_the_second(void **state)
{
    (void)state;
    const char *mail = "From: a@x\nTo: t@x\nFrom: b@x\n\n";
    const struct header header = read_text(mail);
    body_is(mail, &header, HEADER_FROM, " a@x");
    assert_int_equal(header.repeated, 1U << HEADER_FROM);
    assert_int_equal(header.fields_count, 3);
}

static void header_reads_obsolete_forms(void **state)
{
    (void)state;
    const char *mail = "From someone@x Sat Nov 21 2026\nSubject \t: spaced\nDate:\n\n";
    const struct header header = read_text(mail);
    body_is(mail, &header, HEADER_SUBJECT, " spaced");
    body_is(mail, &header, HEADER_DATE, "");
    assert_true(header.ended);
    const char *escaped = ">From x\nTo: a@b\n\n";
    const struct header escaped_header = read_text(escaped);
    body_is(escaped, &escaped_header, HEADER_TO, " a@b");
}

static void header_ends_at_the_first_line_that_is_no_field(void **state)
{
    (void)state;
    static const char *const junk[] = {"no colon here\n", ": no name\n", "a b: blank in name\n",
                                       "\x80: 8-bit\n", " fold of nothing\n"};
    for (size_t i = 0; i < ARRAY_COUNT(junk); i++) {
        char mail[128];
        (void)snprintf(mail, sizeof(mail), "%sTo: a@b\n\n", junk[i]);
        struct header header = read_text(mail);
        assert_int_equal(header.present, 0);
        assert_int_equal(header.header_bytes, 0);
        (void)snprintf(mail, sizeof(mail), "Cc: c@d\n%sTo: a@b\n\n", i == 4 ? "x\n" : junk[i]);
        header = read_text(mail);
        assert_int_equal(header.present, 1U << HEADER_CC);
        assert_int_equal(header.header_bytes, 8);
        assert_false(header.ended);
    }
}

static void header_survives_having_no_end(void **state)
{
    (void)state;
    struct header header = read_text("");
    assert_int_equal(header.header_bytes, 0);
    assert_false(header.ended);
    const char *cut = "From: a@x\r\nTo: b";
    header = read_text(cut);
    body_is(cut, &header, HEADER_TO, " b");
    assert_false(header.ended);
    assert_int_equal(header.header_bytes, strlen(cut));
    header = read_text("\r\nbody");
    assert_true(header.ended);
    assert_int_equal(header.header_bytes, 2);
}

static void header_does_not_end_lines_at_a_lone_cr_or_nul(void **state)
{
    (void)state;
    static const char mail[] = "Subject: a\rBcc: evil@x\0more\nTo: b@c\n\n";
    struct header header;
    header_read(&header, (const uint8_t *)mail, sizeof(mail) - 1, sizeof(mail) - 1);
    assert_int_equal(header.fields_count, 2);
    assert_int_equal(header.field[HEADER_SUBJECT].bytes, 19);
    assert_true(header_has(&header, HEADER_TO));
}

static void header_believes_no_field_that_the_limit_cut(void **state)
{
    (void)state;
    const size_t bytes = HEADER_BYTES_MAX + 4096;
    uint8_t *mail = malloc(bytes);
    assert_non_null(mail);
    memset(mail, 'x', bytes);
    memcpy(mail, "From: a@x\nSubject: ", 19);
    struct header header;
    header_read(&header, mail, bytes, bytes);
    assert_int_equal(header.present, 1U << HEADER_FROM);
    assert_int_equal(header.header_bytes, 10);

    /* The engine looks at the first slice only; the message goes on. */
    header_read(&header, mail, HEADER_BYTES_MAX, bytes);
    assert_int_equal(header.present, 1U << HEADER_FROM);
    assert_int_equal(header.header_bytes, 10);

    /* The same field is believed when the message, not the limit, ends there. */
    header_read(&header, mail, HEADER_BYTES_MAX, HEADER_BYTES_MAX);
    assert_true(header_has(&header, HEADER_SUBJECT));
    assert_int_equal(header.header_bytes, HEADER_BYTES_MAX);
    free(mail);
}

/* The plainest reading of the contract, line by line and byte by byte. */
static void reference_read(struct header *header, const uint8_t *mail, size_t mail_bytes)
{
    static const char *const names[HEADER_FIELD_COUNT] = {
        "from",        "sender",     "reply-to",       "to",
        "cc",          "subject",    "date",           "message-id",
        "in-reply-to", "references", "auto-submitted", "precedence"};
    memset(header, 0, sizeof(*header));
    size_t at = 0;
    while (at < mail_bytes) {
        size_t end = at; /* one field: a line and its folds */
        do {
            while (end < mail_bytes && mail[end] != '\n')
                end++;
            end += end < mail_bytes ? 1 : 0;
        } while (end < mail_bytes && (mail[end] == ' ' || mail[end] == '\t') &&
                 !(mail[at] == '\n' || (mail[at] == '\r' && mail[at + 1] == '\n')));
        size_t body_end = end;
        if (body_end > at && mail[body_end - 1] == '\n')
            body_end -= body_end - at >= 2 && mail[body_end - 2] == '\r' ? 2 : 1;
        if (body_end == at) {
            header->ended = true;
            at = end;
            break;
        }
        size_t colon = at;
        while (colon < body_end && mail[colon] != ':')
            colon++;
        size_t name_end = colon;
        while (name_end > at && (mail[name_end - 1] == ' ' || mail[name_end - 1] == '\t'))
            name_end--;
        bool name = colon < body_end && name_end > at;
        for (size_t i = at; i < name_end; i++)
            name = name && mail[i] > ' ' && mail[i] < 0x7f;
        if (!name) {
            size_t from = at + (mail[at] == '>' ? 1 : 0);
            if (at != 0 || mail_bytes - from < 5 || memcmp(mail + from, "From ", 5) != 0)
                break;
            while (mail[at] != '\n' && at + 1 < mail_bytes) /* its folds are no folds */
                at++;
            at++;
            continue;
        }
        header->fields_count++;
        header->list |= name_end - at > 5 && strncasecmp("list-", (const char *)mail + at, 5) == 0;
        for (uint32_t f = 0; f < HEADER_FIELD_COUNT; f++) {
            if (strlen(names[f]) != name_end - at ||
                strncasecmp(names[f], (const char *)mail + at, name_end - at) != 0)
                continue;
            if ((header->present >> f & 1) != 0) {
                header->repeated |= 1U << f;
                continue;
            }
            header->present |= 1U << f;
            header->field[f].offset = (uint32_t)colon + 1;
            header->field[f].bytes = (uint32_t)(body_end - colon - 1);
        }
        at = end;
    }
    header->header_bytes = (uint32_t)at;
}

static void agrees(const uint8_t *mail, size_t mail_bytes)
{
    struct header expected;
    struct header header;
    /* Memory of exactly that size: a sanitizer sees the first byte read past it. */
    uint8_t *copy = malloc(mail_bytes + (mail_bytes == 0 ? 1 : 0));
    assert_non_null(copy);
    memcpy(copy, mail, mail_bytes);
    header_read(&header, copy, mail_bytes, mail_bytes);
    reference_read(&expected, copy, mail_bytes);
    assert_int_equal(header.present, expected.present);
    assert_int_equal(header.repeated, expected.repeated);
    assert_int_equal(header.fields_count, expected.fields_count);
    assert_int_equal(header.header_bytes, expected.header_bytes);
    assert_int_equal(header.ended, expected.ended);
    assert_int_equal(header.list, expected.list);
    assert_memory_equal(header.field, expected.field, sizeof(header.field));
    free(copy);
}

static void header_agrees_with_the_reference_on_generated_headers(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "From",       "To",   "Subject", "cc",     "DATE", "Message-ID",    "X-Y",  "List-",
        "preCEDence", ":",    ": ",      " ",      "\t",   "\r\n",          "\n",   "\r",
        "\r\n ",      "\n\t", "From ",   ">From ", "a@b",  "=?utf-8?q?x?=", "\x80", "(",
        "\n\n"};
    struct mailgen gen = mailgen_seeded();
    for (uint32_t n = 0; n < 50000; n++) {
        uint8_t mail[512];
        size_t bytes = 0;
        const uint32_t count = mailgen_below(&gen, 30);
        for (uint32_t i = 0; i < count; i++) {
            const char *piece = pieces[mailgen_below(&gen, ARRAY_COUNT(pieces))];
            const size_t piece_bytes = strlen(piece);
            memcpy(mail + bytes, piece, piece_bytes);
            bytes += piece_bytes;
            if (mailgen_below(&gen, 12) == 0)
                mail[bytes++] = (uint8_t)mailgen_next(&gen);
        }
        agrees(mail, bytes);
    }
}

static void corpus_message(const uint8_t *mail, size_t mail_bytes, void *context)
{
    (void)context;
    struct header header;
    header_read(&header, mail, mail_bytes, mail_bytes);
    assert_true(header.header_bytes <= mail_bytes);
    if (header.ended || header.header_bytes < HEADER_BYTES_MAX)
        agrees(mail, mail_bytes);
}

static void header_agrees_with_the_reference_on_the_corpus(void **state)
{
    (void)state;
    if (!mailgen_corpus(corpus_message, NULL))
        skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_finds_fields_whatever_their_case),
        cmocka_unit_test(header_keeps_folds_inside_a_body),
        cmocka_unit_test(header_takes_the_first_and_notes_the_second),
        cmocka_unit_test(header_reads_obsolete_forms),
        cmocka_unit_test(header_ends_at_the_first_line_that_is_no_field),
        cmocka_unit_test(header_survives_having_no_end),
        cmocka_unit_test(header_does_not_end_lines_at_a_lone_cr_or_nul),
        cmocka_unit_test(header_believes_no_field_that_the_limit_cut),
        cmocka_unit_test(header_agrees_with_the_reference_on_generated_headers),
        cmocka_unit_test(header_agrees_with_the_reference_on_the_corpus),
    };
    return mailgen_verdict(cmocka_run_group_tests(tests, NULL, NULL));
}
