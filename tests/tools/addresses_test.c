#include "tools/bulla/addresses.h"

#include "ipc/layout.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct addresses read_text(const char *text)
{
    struct addresses addresses;
    assert_int_equal(addresses_read(&addresses, (const uint8_t *)text, strlen(text)), 0);
    return addresses;
}

static void addresses_takes_to_cc_and_bcc_in_order(void **state)
{
    (void)state;
    struct addresses got = read_text("From: A <a@s.example>\r\nTo: b@r.example, C <c@r.example>\r\n"
                                     "Cc: d@r.example\r\nbcc : e@r.example\r\n\r\nTo: f@r.example");
    assert_string_equal(got.sender, "a@s.example");
    assert_int_equal(got.recipients_count, 4);
    assert_string_equal(got.recipients[0], "b@r.example");
    assert_string_equal(got.recipients[1], "c@r.example");
    assert_string_equal(got.recipients[2], "d@r.example");
    assert_string_equal(got.recipients[3], "e@r.example");
    addresses_fini(&got);
}

static void addresses_reads_folds_groups_and_bare_line_feeds(void **state)
{
    (void)state;
    struct addresses got =
        read_text("Subject: x\nTo: \"Last, First\"\n <b@r.example>,\n\tteam: c@r.example, "
                  "d@r.example;\nTo: e@r.example\nFrom: a@s.example\n\nbody");
    assert_string_equal(got.sender, "a@s.example");
    assert_int_equal(got.recipients_count, 4);
    assert_string_equal(got.recipients[0], "b@r.example");
    assert_string_equal(got.recipients[3], "e@r.example");
    addresses_fini(&got);
}

static void addresses_names_each_recipient_once(void **state)
{
    (void)state;
    struct addresses got =
        read_text("To: b@r.example, b@r.example\r\nCc: b@r.example, c@r.example\r\n\r\n");
    assert_int_equal(got.recipients_count, 2);
    addresses_fini(&got);
}

static void addresses_falls_back_to_sender(void **state)
{
    (void)state;
    struct addresses got = read_text("Sender: s@s.example\nFrom: nobody at all\n\n");
    assert_string_equal(got.sender, "s@s.example");
    addresses_fini(&got);
    got = read_text("Sender: s@s.example\nFrom: a@s.example\n\n");
    assert_string_equal(got.sender, "a@s.example");
    addresses_fini(&got);
}

static void addresses_finds_none_in_what_is_no_mail(void **state)
{
    (void)state;
    const char *const texts[] = {"",
                                 "\n",
                                 ":",
                                 "To",
                                 "To:",
                                 "To: ",
                                 "To: nobody\n\n",
                                 "\r\n\r\n",
                                 "Dear To: b@r.example\n",
                                 "X-To: b@r.example\n\n",
                                 "\nTo: b@r.example\n"};
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        struct addresses got = read_text(texts[i]);
        assert_null(got.sender);
        assert_int_equal(got.recipients_count, 0);
        addresses_fini(&got);
    }
}

static void addresses_refuses_more_than_an_envelope_takes(void **state)
{
    (void)state;
    const size_t room = (IPC_RECIPIENTS_MAX + 1) * 24 + 8;
    char *text = malloc(room);
    assert_non_null(text);
    size_t used = (size_t)snprintf(text, room, "To: ");
    for (uint32_t i = 0; i <= IPC_RECIPIENTS_MAX; i++)
        used += (size_t)snprintf(text + used, room - used, "u%u@r.example,\n ", i);
    struct addresses got;
    assert_int_equal(addresses_read(&got, (const uint8_t *)text, used), -E2BIG);
    assert_int_equal(got.recipients_count, IPC_RECIPIENTS_MAX);
    addresses_fini(&got);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_takes_to_cc_and_bcc_in_order),
        cmocka_unit_test(addresses_reads_folds_groups_and_bare_line_feeds),
        cmocka_unit_test(addresses_names_each_recipient_once),
        cmocka_unit_test(addresses_falls_back_to_sender),
        cmocka_unit_test(addresses_finds_none_in_what_is_no_mail),
        cmocka_unit_test(addresses_refuses_more_than_an_envelope_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
