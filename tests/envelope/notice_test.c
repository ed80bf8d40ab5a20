/* The failure notification: what it says, what it never says, and to whom none is due. */
#include "envelope/notice_internal.h"
#include "tests/envelope/mailgen.h"
#include "tests/envelope/noticing.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const LOCALES[] = {"en", "de", "fr", "es", "it", "pt",
                                      "nl", "pl", "sv", "ja", "zh", "ar"};

static void has(const char *text, const char *wanted)
{
    if (strstr(text, wanted) == NULL)
        fail_msg("\"%s\" is missing in:\n%s", wanted, text);
}

static void has_not(const char *text, const char *unwanted)
{
    if (strstr(text, unwanted) != NULL)
        fail_msg("\"%s\" stands in:\n%s", unwanted, text);
}

static const char documented[] =
    "From: MAILER-DAEMON@mail.example.com\r\n"
    "To: alice@a.example\r\n"
    "Subject: Your encrypted message could not be delivered\r\n"
    "Date: Sun, 22 Nov 2026 01:15:00 +0000\r\n"
    "Message-ID: <0192f0c1d2e37abc8def0123456789ab.notice@mail.example.com>\r\n"
    "In-Reply-To: <1@a.example>\r\n"
    "Auto-Submitted: auto-replied\r\n"
    "MIME-Version: 1.0\r\n"
    "Content-Type: multipart/report; report-type=delivery-status;\r\n"
    " boundary=\"=_r_0192f0c1d2e37abc8def0123456789ab\"\r\n"
    "\r\n"
    "--=_r_0192f0c1d2e37abc8def0123456789ab\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n"
    "Content-Transfer-Encoding: quoted-printable\r\n"
    "\r\n"
    "Your message of =\r\n"
    "2026-11-21 21:15 UTC=\r\n"
    " was not delivered to:\r\n"
    "\r\n"
    "bob@b.example, carol@c.example=\r\n"
    "\r\n"
    "\r\n"
    "The key service could not be reached for too long.=\r\n"
    "\r\n"
    "\r\n"
    "Nobody listed here has received it. Please send it again, or ask your admin=\r\n"
    "istrator.\r\n"
    "\r\n"
    "Message-ID: =\r\n"
    "<1@a.example>=\r\n"
    "\r\n"
    "\r\n"
    "--=_r_0192f0c1d2e37abc8def0123456789ab\r\n"
    "Content-Type: message/delivery-status\r\n"
    "\r\n"
    "Reporting-MTA: dns; mail.example.com\r\n"
    "Arrival-Date: Sat, 21 Nov 2026 21:15:00 +0000\r\n"
    "\r\n"
    "Final-Recipient: rfc822; bob@b.example\r\n"
    "Action: failed\r\n"
    "Status: 4.4.7\r\n"
    "Diagnostic-Code: X-Bulla; the key service was away for longer than the message may "
    "wait\r\n"
    "Last-Attempt-Date: Sun, 22 Nov 2026 01:15:00 +0000\r\n"
    "\r\n"
    "Final-Recipient: rfc822; carol@c.example\r\n"
    "Action: failed\r\n"
    "Status: 4.4.7\r\n"
    "Diagnostic-Code: X-Bulla; the key service was away for longer than the message may "
    "wait\r\n"
    "Last-Attempt-Date: Sun, 22 Nov 2026 01:15:00 +0000\r\n"
    "\r\n"
    "--=_r_0192f0c1d2e37abc8def0123456789ab\r\n"
    "Content-Type: text/rfc822-headers\r\n"
    "\r\n"
    "From: alice@a.example\r\n"
    "To: bob@b.example,\r\n"
    " carol@c.example\r\n"
    "Subject: Numbers\r\n"
    "Message-ID: <1@a.example>\r\n"
    "MIME-Version: 1.0\r\n"
    "Content-Type: multipart/mixed;\r\n"
    " boundary=\"=_m_x\"\r\n"
    "\r\n"
    "--=_r_0192f0c1d2e37abc8def0123456789ab--\r\n";

static void notice_writes_the_documented_message(void **state)
{
    (void)state;
    const struct notice_config config = noticing_config();
    const struct notice_message message = noticing_message();
    struct notice *notice = noticing_open(&config);
    size_t bytes;
    char *text = noticing_write(notice, &message, &bytes);
    assert_string_equal(text, documented);
    size_t again_bytes;
    char *again = noticing_write(notice, &message, &again_bytes);
    assert_int_equal(bytes, again_bytes);
    assert_memory_equal(text, again, bytes);
    free(again);
    free(text);
    notice_close(notice);
}

static void notice_names_each_reason(void **state)
{
    static const struct {
        enum notice_reason reason;
        const char *remote_text;
        uint8_t enhanced[NOTICE_ENHANCED_COUNT];
        const char *status;
        const char *diagnostic;
    } cases[] = {
        {NOTICE_AWAY, "550 not this", {5, 1, 1}, "Status: 4.4.7\r\n", "X-Bulla; the key service"},
        {NOTICE_KEY_REFUSED, NULL, {0}, "Status: 5.6.0\r\n", "X-Bulla; the key service refused"},
        {NOTICE_DAMAGED, NULL, {0}, "Status: 5.3.0\r\n", "X-Bulla; the stored message"},
        {NOTICE_REFUSED, NULL, {0}, "Status: 5.0.0\r\n", "X-Bulla; the mail server"},
        {NOTICE_REFUSED, "", {2, 0, 0}, "Status: 5.0.0\r\n", "X-Bulla; the mail server"},
        {NOTICE_REFUSED,
         "552 5.3.4 too big",
         {5, 3, 4},
         "Status: 5.3.4\r\n",
         "smtp; 552 5.3.4 too big\r\n"},
        {NOTICE_REFUSED,
         "550 a\r\nTo: b\x80",
         {255, 255, 255},
         "Status: 5.0.0\r\n",
         "smtp; 550 a??To: b?\r\n"},
    };
    (void)state;
    const struct notice_config config = noticing_config();
    struct notice *notice = noticing_open(&config);
    for (size_t n = 0; n < ARRAY_COUNT(cases); n++) {
        struct notice_message message = noticing_message();
        size_t bytes;
        message.reason = cases[n].reason;
        message.remote_text = cases[n].remote_text;
        memcpy(message.enhanced, cases[n].enhanced, sizeof(message.enhanced));
        char *text = noticing_write(notice, &message, &bytes);
        has(text, cases[n].status);
        has(text, cases[n].diagnostic);
        free(text);
    }
    notice_close(notice);
}

/* The others have the mail: nobody may read that they have not. */
static void notice_names_those_that_were_refused_each_with_its_own_words(void **state)
{
    static const char *const addresses[] = {"has@b.example", "gone@c.example", "too@d.example",
                                            "full@e.example"};
    static const uint8_t which[] = {0, 1, 0, 2};
    static const struct notice_reply replies[] = {
        {{5, 1, 1}, "550 <gone@c.example>:\r\nnobody", 29},
        {{5, 2, 2}, NULL, 0},
    };
    uint8_t recipients[128];
    uint32_t recipients_bytes = 0;
    size_t bytes;
    (void)state;
    for (size_t n = 0; n < ARRAY_COUNT(addresses); n++) {
        const size_t chars = strlen(addresses[n]);
        recipients[recipients_bytes] = (uint8_t)chars;
        recipients[recipients_bytes + 1] = 0;
        memcpy(recipients + recipients_bytes + 2, addresses[n], chars);
        recipients_bytes += 2 + (uint32_t)chars;
    }
    const struct notice_config config = noticing_config();
    struct notice *notice = noticing_open(&config);
    struct notice_message message = noticing_message();
    message.reason = NOTICE_REFUSED;
    message.recipients = recipients;
    message.recipients_bytes = recipients_bytes;
    message.which = which;
    message.which_count = ARRAY_COUNT(which);
    message.replies = replies;
    char *text = noticing_write(notice, &message, &bytes);
    has(text,
        "\r\n\r\nFinal-Recipient: rfc822; gone@c.example\r\nAction: failed\r\nStatus: 5.1.1\r\n"
        "Diagnostic-Code: smtp; 550 <gone@c.example>:??nobody\r\n");
    has(text,
        "\r\n\r\nFinal-Recipient: rfc822; full@e.example\r\nAction: failed\r\nStatus: 5.2.2\r\n"
        "Diagnostic-Code: X-Bulla; the mail server refused the sealed mail\r\n");
    has(text, "\r\ngone@c.example, full@e.example=\r\n");
    has_not(text, "has@b.example");
    has_not(text, "too@d.example");
    free(text);
    notice_close(notice);
}

static void notice_speaks_every_locale(void **state)
{
    (void)state;
    for (size_t l = 0; l < ARRAY_COUNT(LOCALES); l++) {
        struct notice_config config = noticing_config();
        config.locale = LOCALES[l];
        struct notice *notice = noticing_open(&config);
        for (uint32_t r = 0; r < NOTICE_REASON_COUNT; r++) {
            struct notice_message message = noticing_message();
            size_t bytes;
            message.reason = (enum notice_reason)r;
            char *text = noticing_write(notice, &message, &bytes);
            has(text, "\r\nbob@b.example, carol@c.example=\r\n");
            has(text, "\r\n2026-11-21 21:15 UTC=\r\n");
            has(text, "\r\n<1@a.example>=\r\n");
            has_not(text, "{{");
            has_not(text, "secret");
            free(text);
        }
        notice_close(notice);
    }
}

static void notice_takes_the_profiles_texts(void **state)
{
    (void)state;
    struct notice_config config = noticing_config();
    const struct notice_message message = noticing_message();
    size_t bytes;
    config.failure_template = "Subject: From the file\n\n{{sender}}: {{reason}} {{key_service}}\n";
    struct notice *notice = noticing_open(&config);
    char *text = noticing_write(notice, &message, &bytes);
    has(text, "\r\nSubject: From the file\r\n");
    has(text, "\r\n\r\nalice@a.example=\r\n: =\r\nThe key service could");
    has(text, "https://keys.example.com\r\n");
    free(text);
    notice_close(notice);

    config.failure_subject = "Nicht \xc3\xbc"
                             "bermittelt";
    notice = noticing_open(&config);
    text = noticing_write(notice, &message, &bytes);
    has(text, "\r\nSubject: =?UTF-8?Q?Nicht_=C3=BCbermittelt?=\r\n");
    has_not(text, "From the file");
    free(text);
    notice_close(notice);

    config.failure_template = "no subject here";
    config.failure_subject = NULL;
    notice = noticing_open(&config);
    text = noticing_write(notice, &message, &bytes);
    has(text, "\r\nSubject: Your encrypted message could not be delivered\r\n");
    free(text);
    notice_close(notice);
}

static void open_refused(struct notice_config config, const char *wanted)
{
    struct notice *notice = NULL;
    char why[NOTICE_WHY_BYTES] = "";
    assert_int_equal(notice_open(&notice, &config, why), -EINVAL);
    assert_null(notice);
    has(why, wanted);
}

static void notice_refuses_what_an_administrator_got_wrong(void **state)
{
    struct notice *notice = NULL;
    char why[NOTICE_WHY_BYTES] = "";
    (void)state;
    struct notice_config config = noticing_config();
    config.failure_template = "{{recipients}}\n{{subject}}";
    open_refused(config, "failure template, line 2: unknown variable {{subject}}; known are "
                         "sender, recipients, date, reason, message_id and key_service");
    config.failure_template = "Subject: \xff\n\ntext";
    open_refused(config, "failure subject: write one line of UTF-8");
    config = noticing_config();
    config.failure_subject = "a\nb";
    open_refused(config, "failure subject: write one line of UTF-8");
    config = noticing_config();
    config.locale = "xx";
    open_refused(config, "locale \"xx\": choose one of");
    config = noticing_config();
    config.message_id_host = "mail example";
    open_refused(config, "write this host's full name");
    config.message_id_host = "";
    open_refused(config, "write this host's full name");
    config = noticing_config();
    assert_int_equal(notice_open_parts(&notice, &config, "Subject: s\n\nt",
                                       "away: a\nkey: b\nrefused: c\n", why),
                     -EINVAL);
    has(why, "no sound line for \"damaged\"");
}

static void notice_makes_hostile_addresses_safe(void **state)
{
    static const uint8_t recipients[] = "\x0f\x00"
                                        "j\xc3\xb6rg@b.example"
                                        "\x0e\x00"
                                        "a\r\nBcc: x@y.zz"
                                        "\x07\x00"
                                        "\xff\xfe@+=\\\x7f"
                                        "\x05\x00"
                                        "a b@c"
                                        "\xff\xff"
                                        "cut off";
    (void)state;
    const struct notice_config config = noticing_config();
    struct notice *notice = noticing_open(&config);
    struct notice_message message = noticing_message();
    size_t bytes;
    message.recipients = recipients;
    message.recipients_bytes = sizeof(recipients) - 1;
    message.sender = (const uint8_t *)"z\xc3\xb6"
                                      "e\r\nX: y@a.example";
    message.sender_bytes = 20;
    char *text = noticing_write(notice, &message, &bytes);
    has(text, "Final-Recipient: utf-8; j\\x{F6}rg@b.example\r\n");
    has(text, "Final-Recipient: utf-8; a\\x{0D}\\x{0A}Bcc:\\x{20}x@y.zz\r\n");
    has(text, "Final-Recipient: utf-8; \\x{FFFD}\\x{FFFD}@\\x{2B}\\x{3D}\\x{5C}\\x{7F}\r\n");
    has(text, "Final-Recipient: utf-8; a\\x{20}b@c\r\n");
    has(text, "\r\nTo: =?UTF-8?Q?z=C3=B6e");
    has_not(text, "\nX: y");
    has_not(text, "\nBcc:");
    has_not(text, "cut off");
    free(text);
    notice_close(notice);
}

static void notice_holds_nothing_of_the_outer_mail_but_its_header(void **state)
{
    static const char outer[] = "From: a@b\r\n"
                                "--=_r_0192f0c1d2e37abc8def0123456789ab: out\r\n"
                                " fold of it\r\n"
                                "From : mailbox\r\n"
                                "X: \x80\x01\n"
                                " bare\rline\n"
                                "\n"
                                "body: not a field\r\n";
    (void)state;
    const struct notice_config config = noticing_config();
    struct notice *notice = noticing_open(&config);
    struct notice_message message = noticing_message();
    size_t bytes;
    message.outer = (const uint8_t *)outer;
    message.outer_bytes = sizeof(outer) - 1;
    char *text = noticing_write(notice, &message, &bytes);
    has(text, "text/rfc822-headers\r\n\r\nFrom: a@b\r\nX: ??\r\n bare?line\r\n\r\n--=_r_");
    has_not(text, "In-Reply-To");
    has_not(text, "not a field");
    free(text);
    message.outer = NULL;
    message.outer_bytes = 0;
    text = noticing_write(notice, &message, &bytes);
    has(text, "text/rfc822-headers\r\n\r\n\r\n--=_r_");
    free(text);
    notice_close(notice);
}

/* Without soft line breaks, in place. */
static const char *unfolded(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0';) {
        if (strncmp(from, "=\r\n", 3) == 0)
            from += 3;
        else
            *to++ = *from++;
    }
    *to = '\0';
    return text;
}

static void notice_holds_a_thousand_recipients(void **state)
{
    uint8_t *recipients = malloc(1001 * 322);
    uint32_t recipients_bytes = 0;
    (void)state;
    assert_non_null(recipients);
    for (uint32_t n = 0; n < 1001; n++) {
        uint8_t *at = recipients + recipients_bytes;
        at[0] = 320 & 255;
        at[1] = 320 >> 8;
        memset(at + 2, n % 2 == 0 ? '+' : 'x', 320);
        at[2] = n % 3 == 0 ? 0xc3 : 'a';
        at[3] = n % 3 == 0 ? 0xb6 : 'b';
        recipients_bytes += 322;
    }
    const struct notice_config config = noticing_config();
    struct notice *notice = noticing_open(&config);
    struct notice_message message = noticing_message();
    size_t bytes;
    message.recipients = recipients;
    message.recipients_bytes = recipients_bytes;
    message.reason = NOTICE_REFUSED;
    char remote[2 * NOTICE_REMOTE_BYTES_MAX];
    memset(remote, 'r', sizeof(remote) - 1);
    remote[sizeof(remote) - 1] = '\0';
    message.remote_text = remote;
    char *text = noticing_write(notice, &message, &bytes);
    uint32_t count = 0;
    for (const char *at = text; (at = strstr(at, "\r\nAction: failed\r\n")) != NULL; at++)
        count++;
    assert_int_equal(count, NOTICE_RECIPIENTS_MAX);
    has(unfolded(text), ", =E2=80=A6 (+998)\r\n");
    free(text);
    free(recipients);
    notice_close(notice);
}

static const uint8_t ODD[] = "\r\n:-@+\\\x80";

static void notice_is_safe_whatever_it_is_given(void **state)
{
    struct mailgen gen = mailgen_seeded();
    const struct notice_config config = noticing_config();
    struct notice *notice = noticing_open(&config);
    (void)state;
    for (uint32_t n = 0; n < 5000; n++) {
        uint8_t junk[600];
        const uint32_t used = mailgen_below(&gen, sizeof(junk));
        for (uint32_t i = 0; i < used; i++)
            junk[i] = mailgen_below(&gen, 4) == 0 ? ODD[mailgen_below(&gen, 8)]
                                                  : (uint8_t)mailgen_next(&gen);
        struct notice_message message = noticing_message();
        size_t bytes;
        message.reason = (enum notice_reason)mailgen_below(&gen, NOTICE_REASON_COUNT);
        message.sender = junk;
        message.sender_bytes = 1 + mailgen_below(&gen, 320);
        message.recipients = junk;
        message.recipients_bytes = used;
        message.outer = junk;
        message.outer_bytes = used;
        message.arrived_unix_ms = ((uint64_t)mailgen_next(&gen) << 32) | mailgen_next(&gen);
        char *text = noticing_write(notice, &message, &bytes);
        free(text);
    }
    notice_close(notice);
}

static bool due(const char *sender, const char *mail)
{
    struct header header;
    header_read(&header, (const uint8_t *)mail, strlen(mail), strlen(mail));
    return notice_due((uint32_t)strlen(sender), (const uint8_t *)mail, &header);
}

static void notice_is_due_to_people_alone(void **state)
{
    static const char *const people[] = {
        "Subject: x\r\n\r\n",
        "Auto-Submitted: no\r\n\r\n",
        "auto-submitted:\r\n NO (really); a=b\r\n\r\n",
        "Precedence: first-class\r\n\r\n",
        "Precedence: special\r\n\r\n",
        "Precedence: bulky\r\n\r\n",
        "X-List-Id: x\r\nList: x\r\n\r\n",
        "Subject: x\r\n\r\nList-Id: in the body\r\n",
    };
    static const char *const machines[] = {
        "Auto-Submitted: auto-generated\r\n\r\n",
        "Auto-Submitted: auto-replied; x=y\r\n\r\n",
        "AUTO-SUBMITTED: nobody\r\n\r\n",
        "Auto-Submitted:\r\n\r\n",
        "Precedence: bulk\r\n\r\n",
        "precedence:\r\n\tLIST \r\n\r\n",
        "Precedence: junk (so)\r\n\r\n",
        "List-Id: <a.b>\r\n\r\n",
        "From: a@b\r\nlist-unsubscribe: <mailto:a@b>\r\n\r\n",
        "LIST-UNSUBSCRIBE-POST: x\r\n\r\n",
        "List-Post : NO\r\n\r\n",
    };
    (void)state;
    for (size_t n = 0; n < ARRAY_COUNT(people); n++) {
        if (!due("a@b", people[n]))
            fail_msg("none is due for %s", people[n]);
        assert_false(due("", people[n]));
    }
    for (size_t n = 0; n < ARRAY_COUNT(machines); n++) {
        if (due("a@b", machines[n]))
            fail_msg("one is due for %s", machines[n]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notice_writes_the_documented_message),
        cmocka_unit_test(notice_names_each_reason),
        cmocka_unit_test(notice_names_those_that_were_refused_each_with_its_own_words),
        cmocka_unit_test(notice_speaks_every_locale),
        cmocka_unit_test(notice_takes_the_profiles_texts),
        cmocka_unit_test(notice_refuses_what_an_administrator_got_wrong),
        cmocka_unit_test(notice_makes_hostile_addresses_safe),
        cmocka_unit_test(notice_holds_nothing_of_the_outer_mail_but_its_header),
        cmocka_unit_test(notice_holds_a_thousand_recipients),
        cmocka_unit_test(notice_is_safe_whatever_it_is_given),
        cmocka_unit_test(notice_is_due_to_people_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
