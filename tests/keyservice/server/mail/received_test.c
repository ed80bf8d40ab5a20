/* What a mail that came here is, and what is believed of it. */
#include "keyservice/server/mail/received.h"

#include "crypto/cobblestone.h"
#include "keyservice/server/mail/mailview.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROOM 65536
#define HTML                                                                                       \
    "<form id=\"bulla\"><input type=hidden name=v value=1><input type=hidden name=s value=1>"      \
    "<input type=hidden name=m value=0192f0c1d2e37abc8def0123456789ab>"                            \
    "<input type=hidden name=k value=\"WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaI5dBslF0Nt0tw60C"           \
    "+IWAn3t4vefaDJ6BHksNyQi/I8E=\">"                                                              \
    "<input type=hidden name=c value=\"GL9ufPPQxwUUUGIBWpZXOed2nGDJKcoIQXwxPQ7HZ43Vn2ltET3c"       \
    "qS+GECPm\"><input type=hidden name=e value=1></form>\r\n"
#define FROM "From: \"Bob\" <Bob@Example.org>\r\n"
#define TYPE "MIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n"

static uint8_t items[ROOM];

/* 0 with what is to be answered; else why not. */
static int understand(const char *mail, struct received *received)
{
    size_t written = 0;
    const int rc =
        mailview_write(items, ROOM, &written, (const uint8_t *)mail, strlen(mail), RECEIVED_PART);
    return rc != 0 ? rc : received_read(received, items, written);
}

static void whose_and_which_envelope_is_told(void **state)
{
    static const uint8_t id[ID_BYTES] = {0x01, 0x92, 0xf0, 0xc1, 0xd2, 0xe3, 0x7a, 0xbc,
                                         0x8d, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab};
    struct received received;
    (void)state;
    assert_int_equal(understand(FROM TYPE HTML, &received), 0);
    assert_string_equal(received.address, "bob@example.org");
    assert_memory_equal(received.id.bytes, id, sizeof(id));
    assert_int_equal(received.suite, COBBLE_AES_256);
    assert_int_equal(received.sealed_bytes, COBBLE_HEADER_BYTES + 45);
    assert_int_equal(received.sealed[0], 'Z');
}

static void it_is_found_in_a_mail_within_a_mail(void **state)
{
    struct received received;
    (void)state;
    assert_int_equal(
        understand(FROM
                   "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nsee below\r\n"
                   "--x\r\nContent-Type: message/rfc822\r\n\r\nFrom: c@example.org\r\n"
                   "Auto-Submitted: auto-generated\r\nContent-Type: multipart/mixed; "
                   "boundary=y\r\n\r\n--y\r\nContent-Type: application/octet-stream\r\n\r\n" HTML
                   "--y--\r\n--x--\r\n",
                   &received),
        0);
    assert_string_equal(received.address, "bob@example.org");
}

static void nobody_is_answered_by_mistake(void **state)
{
    static const char *const mails[] = {
        TYPE HTML,
        FROM FROM TYPE HTML,
        "From: a@example.org, b@example.org\r\n" TYPE HTML,
        "From: friends: a@example.org;\r\n" TYPE HTML,
        "From: \r\n" TYPE HTML,
        FROM "Auto-Submitted: auto-replied\r\n" TYPE HTML,
        FROM "auto-submitted:\r\n auto-notified\r\n" TYPE HTML,
        FROM "PRECEDENCE: bulk\r\n" TYPE HTML,
        FROM "List-Post: <mailto:a@example.org>\r\n" TYPE HTML,
        FROM "Return-Path: <>\r\n" TYPE HTML,
        FROM "X-Auto-Response-Suppress: All\r\n" TYPE HTML,
        FROM "Content-Type: multipart/report; boundary=x\r\n\r\n--x\r\nContent-Type: "
             "text/html\r\n\r\n" HTML "--x--\r\n",
        FROM TYPE "<p>no envelope</p>\r\n",
        FROM TYPE,
        "",
    };
    struct received received;
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(mails); i++)
        if (understand(mails[i], &received) == 0)
            fail_msg("mail %zu would be answered", i);
    assert_int_equal(understand(FROM "Auto-Submitted: no\r\n" TYPE HTML, &received), 0);
}

static void a_mail_that_went_in_circles_is_not_answered(void **state)
{
    static const char hop[] = "Received: from a by b; x\r\n";
    struct received received;
    char *mail = malloc((RECEIVED_HOPS_MAX + 1) * sizeof(hop) + sizeof(FROM TYPE HTML));
    (void)state;
    assert_non_null(mail);
    for (uint32_t hops = RECEIVED_HOPS_MAX; hops <= RECEIVED_HOPS_MAX + 1; hops++) {
        char *at = mail;
        for (uint32_t i = 0; i < hops; i++)
            at = stpcpy(at, hop);
        (void)memcpy(at, FROM TYPE HTML, sizeof(FROM TYPE HTML));
        assert_int_equal(understand(mail, &received) == 0, hops == RECEIVED_HOPS_MAX);
    }
    free(mail);
}

static void items_of_a_process_that_was_taken_over_are_not_believed(void **state)
{
    struct received received;
    uint8_t copy[ROOM];
    size_t written = 0;
    (void)state;
    assert_int_equal(mailview_write(items, ROOM, &written, (const uint8_t *)FROM TYPE HTML,
                                    sizeof(FROM TYPE HTML) - 1, RECEIVED_PART),
                     0);
    for (size_t bytes = 0; bytes < written; bytes++) { /* cut anywhere */
        uint8_t *cut = malloc(bytes + 1);
        assert_non_null(cut);
        memcpy(cut, items, bytes);
        assert_int_equal(received_read(&received, cut, bytes), -EBADMSG);
        free(cut);
    }
    const size_t address_at = 5;
    const size_t suite_at = address_at + strlen("Bob@Example.org") + 5 + ID_BYTES;
    memcpy(copy, items, written);
    for (uint32_t suite = 0; suite < 256; suite++) {
        copy[suite_at] = (uint8_t)suite;
        assert_int_equal(received_read(&received, copy, written),
                         suite == COBBLE_AES_256 || suite == COBBLE_AES_192 ? 0 : -EBADMSG);
    }
    memcpy(copy, items, written);
    copy[address_at + 1] = '\n';
    assert_int_equal(received_read(&received, copy, written), -EBADMSG);
    copy[address_at + 1] = ',';
    assert_int_equal(received_read(&received, copy, written), -EBADMSG);
    copy[address_at + 1] = '\0';
    assert_int_equal(received_read(&received, copy, written), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whose_and_which_envelope_is_told),
        cmocka_unit_test(it_is_found_in_a_mail_within_a_mail),
        cmocka_unit_test(nobody_is_answered_by_mistake),
        cmocka_unit_test(a_mail_that_went_in_circles_is_not_answered),
        cmocka_unit_test(items_of_a_process_that_was_taken_over_are_not_believed),
    };
    mailview_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
