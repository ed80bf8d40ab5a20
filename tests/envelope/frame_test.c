#include "base/clock.h"
#include "envelope/frame_internal.h"
#include "envelope/outer.h"
#include "tests/envelope/framing.h"
#include "tests/envelope/mailgen.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char PLAIN[] = "{{logo}}\n{{fields}}\n";

/* What the outer mail says for one original header, with the default config. */
static char *sealed_with(const struct frame_config *config, const char *mail)
{
    struct frame *frame = framing_open(config);
    size_t bytes;
    char *sealed = framing_mail(frame, (const uint8_t *)mail, strlen(mail), "env@sender.example",
                                "env@recipient.example", &bytes);
    framing_check(sealed, bytes);
    frame_close(frame);
    return sealed;
}

static void field_is(const char *sealed, const char *name, const char *expected)
{
    size_t bytes = 0;
    const char *field = framing_field(sealed, name, &bytes);
    if (expected == NULL) {
        assert_null(field);
        return;
    }
    if (field == NULL || bytes != strlen(expected) || memcmp(field, expected, bytes) != 0)
        fail_msg("\"%.*s\" is not \"%s\"", (int)bytes, field == NULL ? "" : field, expected);
}

static void becomes(const char *mail, const char *name, const char *expected)
{
    struct frame_config config = framing_config();
    config.keep_references = true;
    char *sealed = sealed_with(&config, mail);
    field_is(sealed, name, expected);
    free(sealed);
}

static void frame_re_emits_what_is_clean(void **state)
{
    (void)state;
    const char *mail = "From: Alice <alice@example.com>\nTo: bob@example.org, Carol <c@d>\n"
                       "Cc: d@e\nReply-To: r@s\nSubject: Hello there\n"
                       "Date: Sat, 21 Nov 2026 10:00:00 +0100\nMessage-ID: <1@example.com>\n"
                       "In-Reply-To: <0@example.com>\nReferences: <a@b>\n <0@example.com>\n"
                       "Auto-Submitted: auto-generated; x=y\n\nbody";
    struct frame_config config = framing_config();
    config.keep_references = true;
    char *sealed = sealed_with(&config, mail);
    field_is(sealed, "From", "From: Alice <alice@example.com>");
    field_is(sealed, "To", "To: bob@example.org,\r\n Carol <c@d>");
    field_is(sealed, "Cc", "Cc: d@e");
    field_is(sealed, "Reply-To", "Reply-To: r@s");
    field_is(sealed, "Subject", "Subject: Hello there");
    field_is(sealed, "Date", "Date: Sat, 21 Nov 2026 10:00:00 +0100");
    field_is(sealed, "Message-ID", "Message-ID: <1@example.com>");
    field_is(sealed, "In-Reply-To", "In-Reply-To: <0@example.com>");
    field_is(sealed, "References", "References: <a@b>\r\n <0@example.com>");
    field_is(sealed, "Auto-Submitted", "Auto-Submitted: auto-generated");
    field_is(sealed, "Sender", NULL);
    free(sealed);
    config.keep_references = false;
    sealed = sealed_with(&config, mail);
    field_is(sealed, "In-Reply-To", NULL);
    field_is(sealed, "References", NULL);
    free(sealed);
}

static void frame_drops_what_is_not_on_the_list(void **state)
{
    (void)state;
    struct frame_config config = framing_config();
    char *sealed = sealed_with(&config, "Received: from secret\nBcc: hidden@example.com\n"
                                        "DKIM-Signature: v=1\nX-Bulla-Profile: high\nFrom: a@b\n"
                                        "Resent-To: r@s\nSender: s@t\nReturn-Path: <p@q>\n"
                                        "Content-Type: text/secret\nTo: c@d\n\n");
    static const char *const gone[] = {
        "Received", "hidden@example.com", "DKIM", "X-Bulla", "Resent", "Sender:", "p@q", "secret"};
    for (size_t i = 0; i < ARRAY_COUNT(gone); i++)
        assert_null(strstr(sealed, gone[i]));
    free(sealed);
}

static void frame_fills_in_what_is_missing(void **state)
{
    (void)state;
    becomes("\nbody", "From", "From: env@sender.example");
    becomes("\nbody", "To", "To: env@recipient.example");
    becomes("\nbody", "Date", "Date: Sat, 21 Nov 2026 21:15:00 +0000");
    becomes("\nbody", "Message-ID",
            "Message-ID: <019a02030405760788090a0b0c0d0e0f@mail.example.com>");
    becomes("\nbody", "Subject", NULL);
    becomes("Cc: c@d\n\n", "To", NULL);
    becomes("From: nobody\n\n", "From", "From: env@sender.example");
    becomes("To: undisclosed-recipients:;\n\n", "To", "To: env@recipient.example");
    becomes("Date: yesterday\n\n", "Date", "Date: Sat, 21 Nov 2026 21:15:00 +0000");
    becomes("From: a@b, c@d\n\n", "Sender", "Sender: a@b");
    becomes("From: a@b, c@d\nSender: Eve <e@f>\n\n", "Sender", "Sender: Eve <e@f>");
    becomes("From: a@b\nSender: e@f\n\n", "Sender", NULL);

    struct frame_config config = framing_config();
    struct frame *frame = framing_open(&config);
    size_t bytes;
    char *sealed = framing_mail(frame, (const uint8_t *)"\n", 1, "", "", &bytes);
    framing_check(sealed, bytes);
    field_is(sealed, "From", "From: MAILER-DAEMON@mail.example.com");
    field_is(sealed, "To", "To: undisclosed-recipients:;");
    free(sealed);
    sealed = framing_mail(frame, (const uint8_t *)"\n", 1, "a@b", "c@d,e@f", &bytes);
    framing_check(sealed, bytes);
    field_is(sealed, "To", "To: undisclosed-recipients:;");
    assert_null(strstr(sealed, "c@d"));
    free(sealed);
    sealed = framing_mail(frame, (const uint8_t *)"\n", 1, "a@b>\r\nBcc: x@y", "c@d\ne", &bytes);
    framing_check(sealed, bytes);
    field_is(sealed, "From", "From: MAILER-DAEMON@mail.example.com");
    field_is(sealed, "To", "To: undisclosed-recipients:;");
    free(sealed);
    frame_close(frame);
}

static void frame_rebuilds_subjects_that_are_not_clean(void **state)
{
    (void)state;
    becomes("Subject: one\n two\n\n", "Subject", "Subject: one\r\n two");
    becomes("Subject:\n folded at once\n\n", "Subject", "Subject: folded at once");
    becomes("Subject: =?utf-8?q?J=C3=B6rg?=\n\n", "Subject", "Subject: =?utf-8?q?J=C3=B6rg?=");
    becomes("Subject: =?x-none?q?J=C3=B6rg?=\n\n", "Subject", "Subject: =?x-none?q?J=C3=B6rg?=");
    becomes("Subject: J\xc3\xb6rg\n\n", "Subject", "Subject: =?UTF-8?Q?J=C3=B6rg?=");
    becomes("Subject: J\xf6rg\n\n", "Subject", "Subject: =?UTF-8?Q?J=C3=B6rg?=");
    becomes("Subject: a\rBcc: x@y\n\n", "Subject", "Subject: a Bcc: x@y");
    becomes("Subject: a\x01z\n\n", "Subject", "Subject: az");
    becomes("Subject: =?utf-8?q?a=0D=0ABcc:_x=40y?=\n\n", "Subject", "Subject: a Bcc: x@y");
    becomes("Subject: a\n \n b\n\n", "Subject", "Subject: a b");
    becomes("Subject: =?utf-8?q?=E2=80=AEabc?=\n\n", "Subject", "Subject: abc");
    becomes("Subject: \n\n", "Subject", NULL);
    /* What is left undecoded must not be decoded by the next reader. */
    becomes("Subject: =?x-none?q?=00?=\n\n", "Subject",
            "Subject: =?UTF-8?Q?=3D=3Fx-none=3Fq=3F=3D00=3F=3D?=");
}

static void frame_keeps_bytes_out_of_address_fields(void **state)
{
    (void)state;
    becomes("From: \"A\r\n B\" <a@b>\n\n", "From", "From: A B <a@b>");
    becomes("From: =?utf-8?q?A=0D=0AX=3A_y?= <a@b>\n\n", "From", "From: \"A X: y\" <a@b>");
    becomes("From: J\xc3\xb6rg <a@b>\n\n", "From", "From: =?UTF-8?Q?J=C3=B6rg?= <a@b>");
    becomes("From: a@b\rBcc: c@d\n\n", "From", "From: env@sender.example");
    becomes("From: <a@b\x80>\n\n", "From", "From: env@sender.example");
    becomes("From: j\xc3\xb6@b\xc3\xbc.example, c@d\n\n", "From", "From: c@d");
    becomes("To: a@b,\n \n c@d\n\n", "To", "To: a@b,\r\n c@d");
    becomes("To: (\n\n", "To", "To: env@recipient.example");
    becomes("Reply-To: nonsense\n\n", "Reply-To", NULL);
}

static void frame_keeps_only_sound_message_ids(void **state)
{
    (void)state;
    const char *own = "Message-ID: <019a02030405760788090a0b0c0d0e0f@mail.example.com>";
    becomes("Message-ID: <a$b.c@[1.2.3.4]>\n\n", "Message-ID", "Message-ID: <a$b.c@[1.2.3.4]>");
    becomes("Message-ID: (c) <a@b>\n\n", "Message-ID", "Message-ID: <a@b>");
    static const char *const bad[] = {"a@b",       "<a>",     "<@b>",      "<a@>",
                                      "<a@b",      "<a b@c>", "<a\xc3@b>", "<a@b@c>",
                                      "<\"a\"@b>", "<a\r@b>", "<>",        "<a,b@c>"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        char mail[64];
        (void)snprintf(mail, sizeof(mail), "Message-ID: %s\n\n", bad[i]);
        becomes(mail, "Message-ID", own);
    }
    becomes("References: junk <a@b> more <bad id@c> <d@e>,<f@g>\n\n", "References",
            "References: <a@b>\r\n <d@e>\r\n <f@g>");
    becomes("References: none\n\n", "References", NULL);
    becomes("Auto-Submitted: no\n\n", "Auto-Submitted", "Auto-Submitted: no");
    becomes("Auto-Submitted: AUTO-Replied (x)\n\n", "Auto-Submitted",
            "Auto-Submitted: auto-replied");
    becomes("Auto-Submitted: nonsense\n\n", "Auto-Submitted", NULL);
}

/* A field of `count` items, the last of them marked. */
static char *long_field(const char *name, const char *item, const char *separator, uint32_t count)
{
    const size_t room = strlen(name) + 32 + count * (strlen(item) + strlen(separator) + 12);
    char *mail = malloc(room);
    assert_non_null(mail);
    size_t at = (size_t)snprintf(mail, room, "%s: ", name);
    for (uint32_t n = 0; n < count; n++)
        at += (size_t)snprintf(mail + at, room - at, item, n);
    (void)snprintf(mail + at, room - at, "\n\n%s", separator);
    return mail;
}

static void frame_bounds_long_fields(void **state)
{
    (void)state;
    struct frame_config config = framing_config();
    config.keep_references = true;
    size_t bytes = 0;
    char *mail = long_field("To", "user%u@example.com,", "", 2500);
    char *sealed = sealed_with(&config, mail);
    assert_non_null(framing_field(sealed, "To", &bytes));
    assert_in_range(bytes, OUTER_TO_BYTES_MAX / 2, OUTER_TO_BYTES_MAX);
    free(sealed);
    free(mail);
    mail = long_field("References", "<m%u@example.com> ", "", 2500);
    sealed = sealed_with(&config, mail);
    assert_non_null(framing_field(sealed, "References", &bytes));
    assert_true(bytes < 1000);
    assert_non_null(strstr(sealed, "<m0@example.com>\r\n <m2469@example.com>"));
    assert_non_null(strstr(sealed, "<m2499@example.com>"));
    free(sealed);
    free(mail);
    static const char *const items[] = {
        "word%u ",  "x%u", "\xc3\xa9%u", "\xf0\x9f\x98\x80 %u", "=?utf-8?q?=C3=A9%u?= ",
        "\n fold%u"};
    for (size_t i = 0; i < ARRAY_COUNT(items); i++) {
        mail = long_field("Subject", items[i], "", 2000);
        sealed = sealed_with(&config, mail);
        assert_non_null(framing_field(sealed, "Subject", &bytes));
        assert_true(bytes <= OUTER_SUBJECT_BYTES_MAX);
        free(sealed);
        free(mail);
    }
}

static void frame_reads_shells_with_either_line_end(void **state)
{
    (void)state;
    const struct frame_config config = framing_config();
    static const char *const shells[] = {"a\n{{logo}}\n{{fields}}\nb\n",
                                         "a\r\n{{logo}}\r\n{{fields}}\r\nb\r\n"};
    for (size_t i = 0; i < ARRAY_COUNT(shells); i++) {
        struct frame *frame = NULL;
        char why[FRAME_WHY_BYTES];
        size_t bytes;
        const struct frame_parts parts = {{PLAIN, shells[i]}, "Subject: s\n\nt", "h"};
        assert_int_equal(frame_open_parts(&frame, &config, &parts, why), 0);
        const uint8_t *head = frame_head(frame, FRAME_PLAIN, &bytes);
        assert_int_equal(bytes, 5);
        assert_memory_equal(head, "a\r\n\r\n", 5);
        const uint8_t *tail = frame_tail(frame, FRAME_PLAIN, &bytes);
        assert_int_equal(bytes, 3);
        assert_memory_equal(tail, "b\r\n", 3);
        frame_close(frame);
    }
}

static void frame_hides_the_subject_when_asked(void **state)
{
    (void)state;
    struct frame_config config = framing_config();
    config.hide_subject = true;
    const char *mail = "From: a@b\nTo: c@d\nSubject: SecretPlan\n\n";
    char *sealed = sealed_with(&config, mail);
    assert_null(strstr(sealed, "SecretPlan"));
    field_is(sealed, "Subject", "Subject: =?UTF-8?Q?Secure_mail=2C_Gr=C3=BC=C3=9Fe?=");
    assert_non_null(strstr(sealed, "name=\"u\" value=\"\">"));
    free(sealed);
    config.notification_subject = "For you";
    sealed = sealed_with(&config, mail);
    field_is(sealed, "Subject", "Subject: For you");
    free(sealed);
    config.notification_subject = NULL;
    config.text_template = "Subject: Own line\n\nText of our own from {{sender}}\n";
    config.html_template = "<p>{{subject}}\n";
    sealed = sealed_with(&config, mail);
    field_is(sealed, "Subject", "Subject: Own line");
    assert_non_null(strstr(sealed, "Text of our own"));
    assert_null(strstr(sealed, "Subject: Own line\r\n\r\nText"));
    free(sealed);
    config.hide_subject = false;
    sealed = sealed_with(&config, mail);
    field_is(sealed, "Subject", "Subject: SecretPlan");
    free(sealed);
}

static void frame_escapes_what_the_attachment_shows(void **state)
{
    (void)state;
    struct frame_config config = framing_config();
    char *sealed =
        sealed_with(&config, "From: \"x\\\"><script>\" <a@b>\nSubject: <b>\"'& \xe2\x82\xac\n\n");
    assert_non_null(strstr(sealed, "name=\"f\" value=\"x&#34;script &#60;a@b&#62;\">\r\n"));
    assert_non_null(strstr(sealed, "name=\"u\" value=\"&#60;b&#62;&#34;&#39;&#38; &#8364;\">\r\n"));
    assert_null(strstr(strstr(sealed, "multipart/mixed"), "<script"));
    assert_non_null(strstr(sealed, "name=\"m\" value=\"019a02030405760788090a0b0c0d0e0f\">\r\n"));
    assert_non_null(strstr(sealed, "name=\"t\" value=\"1795295700\">\r\n"));
    assert_non_null(strstr(sealed, "name=\"s\" value=\"1\">\r\n"));
    assert_non_null(strstr(sealed, "<form action=\"https://keys.example.com/online\">\r\n<input"));
    free(sealed);
    /* A name with an address in it cannot pass for the address. */
    sealed = sealed_with(&config, "From: \"Boss <boss@bank>\" <evil@x>\n\n");
    assert_non_null(strstr(sealed, "value=\"Boss boss@bank &#60;evil@x&#62;\""));
    free(sealed);
    /* An international address is shown, though no header may carry it. */
    sealed = sealed_with(&config, "From: \xe4\xb8\xad@\xe4\xb8\xad.example\n\n");
    assert_non_null(strstr(sealed, "value=\"&#20013;@&#20013;.example\""));
    field_is(sealed, "From", "From: env@sender.example");
    free(sealed);
}

static void frame_puts_the_logo_in(void **state)
{
    (void)state;
    char logo[4000] = "data:image/png;base64,";
    memset(logo + 22, 'A', sizeof(logo) - 23);
    logo[sizeof(logo) - 1] = '\0';
    struct frame_config config = framing_config();
    config.logo_data_url = logo;
    config.logo_link = "https://example.com/?a=1&b=2";
    char *sealed = sealed_with(&config, "From: a@b\n\n");
    assert_non_null(strstr(sealed, "<a href=\"https://example.com/?a&#61;1&#38;b&#61;2\""));
    assert_non_null(strstr(sealed, "src=\"data:image/png;base64,AAAA"));
    free(sealed);
}

static void subject_shows(const char *mail, const char *expected)
{
    struct frame_config config = framing_config();
    struct frame *frame = framing_open(&config);
    struct header header;
    struct frame_shown shown;
    header_read(&header, (const uint8_t *)mail, strlen(mail), strlen(mail));
    const struct frame_message message = {.mail = (const uint8_t *)mail, .header = &header};
    frame_show(frame, &message, &shown);
    assert_int_equal(shown.subject_bytes, strlen(expected));
    assert_memory_equal(shown.subject, expected, shown.subject_bytes);
    frame_close(frame);
}

static void frame_shows_a_clean_subject(void **state)
{
    (void)state;
    subject_shows("From: a@b\n\n", "");
    subject_shows("Subject: a\r\n b\r\n\r\n", "a b");
    subject_shows("Subject: =?utf-8?q?a=0Ab=00=E2=80=AE?=\n\n", "a b");
    subject_shows("Subject: \xc3\xa9\xc3\xa9\n\n", "\xc3\xa9\xc3\xa9");
    /* Cut between characters, and no blank left at the end. */
    char mail[1024];
    char expected[FRAME_SUBJECT_BYTES_MAX + 1];
    for (int pad = FRAME_SUBJECT_BYTES_MAX - 3; pad <= FRAME_SUBJECT_BYTES_MAX; pad++) {
        (void)snprintf(mail, sizeof(mail), "Subject: %0*d\xc3\xa9 yz\n\n", pad, 7);
        (void)snprintf(expected, sizeof(expected), "%0*d%s", pad, 7,
                       pad <= FRAME_SUBJECT_BYTES_MAX - 2 ? "\xc3\xa9" : "");
        subject_shows(mail, expected);
    }
}

/* The notification is written from a script made at open; the template's own renderer is the plain
 * reference. */
static void rendered_is_in(const char *sealed, enum template_kind kind, const char *text,
                           const struct template_value values[TEMPLATE_VARIABLE_COUNT])
{
    static const struct template_constants constants = {FRAMING_KEYS, ""};
    struct template *template = NULL;
    char why[TEMPLATE_WHY_BYTES];
    assert_int_equal(template_open(&template, kind, "t", text, &constants, why), 0);
    const size_t room = template_bytes_max(template, values);
    char *rendered = malloc(room + 1);
    assert_non_null(rendered);
    struct writer writer = writer_make((uint8_t *)rendered, room);
    template_render(template, &writer, values);
    *writer.at = '\0';
    assert_non_null(strstr(sealed, rendered));
    free(rendered);
    template_close(template);
}

static void frame_renders_as_the_templates_do(void **state)
{
    (void)state;
    static const char text[] = "{{sender}}{{sender_name}}\n{{subject}} {{date}} {{attachment}}"
                               "{{subject}}{{sender}} end\n";
    static const struct {
        const char *mail;
        const char *values[TEMPLATE_VARIABLE_COUNT];
    } cases[] = {
        {"From: Alice <a@b>\nSubject: Hi\n\n", {"Alice <a@b>", "Alice", "Hi"}},
        {"From: a@b\n\n", {"a@b", "a@b", ""}},
        {"From: =?utf-8?q?J=C3=B6rg_=3Cx=3E?= <a@b>\nSubject: 1 = 1\n\n",
         {"J\xc3\xb6rg x <a@b>", "J\xc3\xb6rg x", "1 = 1"}},
        {"From: a@b\nSubject: A subject of seventy-four characters, which is one more than a line "
         "of "
         "a value\n\n",
         {"a@b", "a@b",
          "A subject of seventy-four characters, which is one more than a line of a value"}},
    };
    struct frame_config config = framing_config();
    config.text_template = text;
    config.html_template = text;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char *sealed = sealed_with(&config, cases[i].mail);
        struct template_value values[TEMPLATE_VARIABLE_COUNT];
        const char *strings[TEMPLATE_VARIABLE_COUNT];
        memcpy(strings, cases[i].values, sizeof(strings));
        strings[TEMPLATE_DATE] = "2026-11-21 21:15 UTC";
        strings[TEMPLATE_ATTACHMENT] = "securedoc_20261121T211500.html";
        for (uint32_t v = 0; v < TEMPLATE_VARIABLE_COUNT; v++)
            values[v] = (struct template_value){(const uint8_t *)strings[v], strlen(strings[v])};
        rendered_is_in(sealed, TEMPLATE_TEXT, text, values);
        rendered_is_in(sealed, TEMPLATE_HTML, text, values);
        free(sealed);
    }
}

static void frame_time_is_rendered_when_the_second_changes(void **state)
{
    (void)state;
    struct frame_time time = {0};
    frame_time_set(&time, 0);
    assert_memory_equal(time.unix_text, "0", time.unix_chars);
    assert_memory_equal(time.date, "Thu, 01 Jan 1970 00:00:00 +0000", DATE_HEADER_BYTES);
    frame_time_set(&time, FRAMING_NOW_UNIX_S * NS_PER_S);
    assert_memory_equal(time.unix_text, "1795295700", time.unix_chars);
    assert_memory_equal(time.day, "2026-11-21 21:15 UTC", sizeof(time.day));
    frame_time_set(&time, (FRAMING_NOW_UNIX_S + 1) * NS_PER_S - 1);
    assert_memory_equal(time.attachment, "securedoc_20261121T211500.html", sizeof(time.attachment));
    frame_time_set(&time, (FRAMING_NOW_UNIX_S + 1) * NS_PER_S);
    assert_memory_equal(time.attachment, "securedoc_20261121T211501.html", sizeof(time.attachment));
    assert_memory_equal(time.unix_text, "1795295701", time.unix_chars);
}

static void config_refused(struct frame_config config, const char *complaint)
{
    struct frame *frame = NULL;
    char why[FRAME_WHY_BYTES] = "";
    const struct frame_parts parts = {{PLAIN, PLAIN}, "Subject: s\n\nt", "h"};
    assert_int_equal(frame_open_parts(&frame, &config, &parts, why), -EINVAL);
    assert_null(frame);
    if (strstr(why, complaint) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", why, complaint);
}

static void frame_refuses_bad_configs(void **state)
{
    (void)state;
    static const char *const urls[] = {"",
                                       "keys.example.com",
                                       "http://keys.example.com",
                                       "https://",
                                       "https://a/b",
                                       "https://a\"b",
                                       "https://a;b",
                                       "https://a b",
                                       "https://a'b",
                                       "https://a,b",
                                       "https://*",
                                       "https://u@a",
                                       "javascript:alert(1)",
                                       "https://a\r\nb"};
    struct frame_config config;
    for (size_t i = 0; i < ARRAY_COUNT(urls); i++) {
        config = framing_config();
        config.key_service_url = urls[i];
        config_refused(config, "key service address");
    }
    static const char *const hosts[] = {"", "a b", "a>b", "b\xc3\xbc.example", "a..b", "-a"};
    for (size_t i = 0; i < ARRAY_COUNT(hosts); i++) {
        config = framing_config();
        config.message_id_host = hosts[i];
        config_refused(config, "host name");
    }
    static const char *const logos[] = {"",
                                        "https://x/y.png",
                                        "data:text/html;base64,AA==",
                                        "data:image/png;base64,",
                                        "data:image/png;base64,A\"B",
                                        "data:image/png,AAAA"};
    for (size_t i = 0; i < ARRAY_COUNT(logos); i++) {
        config = framing_config();
        config.logo_data_url = logos[i];
        config_refused(config, "logo");
    }
    static const char *const links[] = {"", "http://x", "https://", "javascript:x", "https://a\"b"};
    for (size_t i = 0; i < ARRAY_COUNT(links); i++) {
        config = framing_config();
        config.logo_link = links[i];
        config_refused(config, "logo link");
    }
    static const char *const subjects[] = {"",
                                           "a\nb",
                                           "a\rb",
                                           "\xff",
                                           "a\x01",
                                           "\xe2\x80\xae"
                                           "a"};
    for (size_t i = 0; i < ARRAY_COUNT(subjects); i++) {
        config = framing_config();
        config.notification_subject = subjects[i];
        config_refused(config, "notification subject");
    }
    config = framing_config();
    config.suite = COBBLE_AES_128;
    config_refused(config, "AES-256 or AES-192");
    config = framing_config();
    config.text_template = "\n{{nonsense}}";
    config_refused(config, "text template, line 2: unknown variable {{nonsense}}");
    config.text_template = "Subject: its own\r\n\r\n\r\n{{nonsense}}";
    config_refused(config, "text template, line 4: unknown variable {{nonsense}}");
    config.text_template = NULL;
    config.html_template = "{{sender";
    config_refused(config, "HTML template, line 1");
    frame_close(NULL);
}

static void frame_refuses_broken_shells(void **state)
{
    (void)state;
    char line[1100] = "{{logo}}\n{{fields}}\n";
    memset(line + 20, 'x', 1000);
    static const char *const shells[] = {
        "",
        "{{logo}}\n",
        "{{fields}}\n",
        "{{logo}}\n{{fields}}\n{{fields}}\n",
        "{{logo}}{{logo}}\n{{fields}}\n",
        "{{logo}} {{fields}}\n",
        "{{logo}}\n{{fields}} \n",
        "{{logo}}\n{{fields}}",
        "{{logo}}\n{{fields}}\n\xc3\xa9\n",
        "{{logo}}\n{{fields}}\n\x01\n",
    };
    const struct frame_config config = framing_config();
    for (size_t i = 0; i <= ARRAY_COUNT(shells); i++) {
        struct frame *frame = NULL;
        char why[FRAME_WHY_BYTES] = "";
        struct frame_parts parts = {{PLAIN, PLAIN}, "Subject: s\n\nt", "h"};
        parts.shells[i % 2] = i == ARRAY_COUNT(shells) ? line : shells[i];
        assert_int_equal(frame_open_parts(&frame, &config, &parts, why), -EINVAL);
        assert_non_null(strstr(why, "envelope shell"));
    }
}

/* Every kind of frame, so that each message is written in each way. */
struct frames {
    struct frame *frames[3];
    struct mailgen gen;
    uint32_t mails_count;
};

static void frames_open(struct frames *frames)
{
    struct frame_config config = framing_config();
    frames->frames[0] = framing_open(&config);
    config.keep_references = true;
    config.suite = COBBLE_AES_192;
    frames->frames[1] = framing_open(&config);
    config.hide_subject = true;
    frames->frames[2] = framing_open(&config);
    frames->mails_count = 0;
}

static void frames_close(struct frames *frames)
{
    for (size_t i = 0; i < ARRAY_COUNT(frames->frames); i++)
        frame_close(frames->frames[i]);
}

static void check_mail(const uint8_t *mail, size_t mail_bytes, void *context)
{
    struct frames *frames = context;
    static const char *const senders[] = {"", "s@t", "<s@t>", "\xc3\xa9@t", "s\r\n@t", "junk"};
    for (size_t i = 0; i < ARRAY_COUNT(frames->frames); i++) {
        size_t bytes;
        const char *sender = senders[mailgen_below(&frames->gen, ARRAY_COUNT(senders))];
        const char *recipient = senders[mailgen_below(&frames->gen, ARRAY_COUNT(senders))];
        char *sealed = framing_mail(frames->frames[i], mail, mail_bytes, sender, recipient, &bytes);
        framing_check(sealed, bytes);
        free(sealed);
    }
    frames->mails_count++;
}

static void frame_writes_sound_mail_for_the_corpus(void **state)
{
    (void)state;
    struct frames frames = {.gen = mailgen_seeded()};
    frames_open(&frames);
    const bool corpus = mailgen_corpus(check_mail, &frames);
    frames_close(&frames);
    if (!corpus)
        skip();
    assert_true(frames.mails_count > 1000);
}

static void frame_writes_sound_mail_for_hostile_headers(void **state)
{
    (void)state;
    static const char *const names[] = {"From",     "To",         "Cc",         "Subject",
                                        "Date",     "Message-ID", "References", "In-Reply-To",
                                        "Reply-To", "Sender",     "Bcc",        "Auto-Submitted"};
    static const char *const pieces[] = {
        "a@b",
        "Alice ",
        "<",
        ">",
        "<a@b>",
        ",",
        ";",
        ":",
        "(",
        ")",
        "\"",
        "\\",
        "\r",
        "\n ",
        "\r\n ",
        "\r\n\t",
        " \r\n \r\n ",
        "\xc3",
        "\xc3\xa9",
        "\xf6",
        "\x01",
        "\x7f",
        "\xe2\x80\xae",
        "=?utf-8?q?=0d=0aBcc:_x?=",
        "=?",
        "?=",
        "=?utf-8?b?AAAA?=",
        "=?iso-2022-jp?B?GyRCJF8kaCQmGyhC?=",
        " ",
        "\xf0\x9f\x98\x80",
        "21 Nov 2026 10:00:00 +0100",
        "auto-replied",
        "\nBcc: x@y\n",
        "averylongwordaverylongwordaverylongwordaverylongwordaverylongwordaverylongword"};
    struct frames frames = {.gen = mailgen_seeded()};
    frames_open(&frames);
    for (uint32_t n = 0; n < 4000; n++) {
        uint8_t mail[16384];
        size_t at = 0;
        for (uint32_t f = mailgen_below(&frames.gen, 9); f > 0; f--) {
            at += (size_t)snprintf((char *)mail + at, 64, "%s:%s",
                                   names[mailgen_below(&frames.gen, ARRAY_COUNT(names))],
                                   mailgen_below(&frames.gen, 4) == 0 ? "" : " ");
            const uint32_t repeat = mailgen_below(&frames.gen, 10) == 0 ? 10 : 1;
            for (uint32_t p = mailgen_below(&frames.gen, 10) * repeat; p > 0; p--) {
                const char *piece = pieces[mailgen_below(&frames.gen, ARRAY_COUNT(pieces))];
                memcpy(mail + at, piece, strlen(piece));
                at += strlen(piece);
                if (mailgen_below(&frames.gen, 20) == 0)
                    mail[at++] = (uint8_t)mailgen_next(&frames.gen);
            }
            mail[at++] = '\n';
        }
        mail[at++] = '\n';
        check_mail(mail, at, &frames);
    }
    frames_close(&frames);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_re_emits_what_is_clean),
        cmocka_unit_test(frame_drops_what_is_not_on_the_list),
        cmocka_unit_test(frame_fills_in_what_is_missing),
        cmocka_unit_test(frame_rebuilds_subjects_that_are_not_clean),
        cmocka_unit_test(frame_keeps_bytes_out_of_address_fields),
        cmocka_unit_test(frame_keeps_only_sound_message_ids),
        cmocka_unit_test(frame_bounds_long_fields),
        cmocka_unit_test(frame_reads_shells_with_either_line_end),
        cmocka_unit_test(frame_hides_the_subject_when_asked),
        cmocka_unit_test(frame_escapes_what_the_attachment_shows),
        cmocka_unit_test(frame_puts_the_logo_in),
        cmocka_unit_test(frame_shows_a_clean_subject),
        cmocka_unit_test(frame_renders_as_the_templates_do),
        cmocka_unit_test(frame_time_is_rendered_when_the_second_changes),
        cmocka_unit_test(frame_refuses_bad_configs),
        cmocka_unit_test(frame_refuses_broken_shells),
        cmocka_unit_test(frame_writes_sound_mail_for_the_corpus),
        cmocka_unit_test(frame_writes_sound_mail_for_hostile_headers),
    };
    return mailgen_verdict(cmocka_run_group_tests(tests, NULL, NULL));
}
