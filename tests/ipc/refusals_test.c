/* Which recipients were refused: what is written is read again, and nothing else is believed. */
#include "ipc/refusals.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t UNKNOWN[3] = {5, 1, 1};
static const uint8_t FULL[3] = {5, 2, 2};

static void what_is_added_is_read_again(void **state)
{
    struct refusals_draft draft;
    struct refusals read;
    uint8_t bytes[IPC_REFUSALS_BYTES_MAX];
    (void)state;
    refusals_begin(&draft, 4);
    refusals_add(&draft, 1, UNKNOWN, "no such user\r\nsecond line");
    refusals_add(&draft, 2, FULL, NULL);
    refusals_add(&draft, 3, UNKNOWN, "no such user");
    const uint32_t count = refusals_write(&draft, bytes);
    assert_int_equal(refusals_read(&read, bytes, count), 0);
    assert_int_equal(read.recipients_count, 4);
    assert_int_equal(read.replies_count, 2);
    assert_memory_equal(read.which, ((const uint8_t[]){0, 1, 2, 1}), 4);
    assert_memory_equal(read.replies[0].enhanced, UNKNOWN, 3);
    assert_int_equal(read.replies[0].text_bytes, 12);
    assert_memory_equal(read.replies[0].text, "no such user", 12);
    assert_memory_equal(read.replies[1].enhanced, FULL, 3);
    assert_int_equal(read.replies[1].text_bytes, 0);
}

/* docs/format/shared-memory.md */
static void the_documented_example_is_what_is_written(void **state)
{
    static const uint8_t wanted[] = {3, 0, 1, 5, 1, 1, 4, 'g', 'o', 'n', 'e', 0, 1, 0};
    struct refusals_draft draft;
    uint8_t bytes[IPC_REFUSALS_BYTES_MAX];
    (void)state;
    refusals_begin(&draft, 3);
    refusals_add(&draft, 1, UNKNOWN, "gone");
    assert_int_equal(refusals_write(&draft, bytes), sizeof(wanted));
    assert_memory_equal(bytes, wanted, sizeof(wanted));
}

/* A thousand, each with words of its own: statuses are exact, words as far as there is room. */
static void every_recipient_keeps_its_status(void **state)
{
    struct refusals_draft draft;
    struct refusals read;
    uint8_t bytes[IPC_REFUSALS_BYTES_MAX];
    (void)state;
    refusals_begin(&draft, IPC_RECIPIENTS_MAX);
    for (uint32_t n = 0; n < IPC_RECIPIENTS_MAX; n++) {
        char text[400];
        memset(text, 'x', sizeof(text));
        (void)snprintf(text + 300, 20, "%u", n);
        text[snprintf(text, 20, "<%u>", n)] = n % 2 == 0 ? '\x01' : ' ';
        refusals_add(&draft, n, n % 3 == 0 ? FULL : UNKNOWN, text);
    }
    const uint32_t count = refusals_write(&draft, bytes);
    assert_true(count <= IPC_REFUSALS_BYTES_MAX);
    assert_int_equal(refusals_read(&read, bytes, count), 0);
    for (uint32_t n = 0; n < IPC_RECIPIENTS_MAX; n++) {
        char own[16];
        const struct refusals_reply *reply = &read.replies[read.which[n] - 1];
        assert_memory_equal(reply->enhanced, n % 3 == 0 ? FULL : UNKNOWN, 3);
        const int chars = snprintf(own, sizeof(own), "<%u>%c", n, n % 2 == 0 ? '?' : ' ');
        if (reply->text_bytes > 0) /* never another's words */
            assert_memory_equal(reply->text, own, (size_t)chars);
    }
    assert_true(read.replies[0].text_bytes == IPC_REPLY_BYTES_MAX);
}

/* More statuses than there are replies: what is left has none, and never another's. */
static void too_many_statuses_leave_some_without(void **state)
{
    struct refusals_draft draft;
    struct refusals read;
    uint8_t bytes[IPC_REFUSALS_BYTES_MAX];
    (void)state;
    refusals_begin(&draft, 100);
    for (uint32_t n = 0; n < 100; n++)
        refusals_add(&draft, n, (const uint8_t[]){5, 7, (uint8_t)n}, "no");
    assert_int_equal(refusals_read(&read, bytes, refusals_write(&draft, bytes)), 0);
    for (uint32_t n = 0; n < 100; n++) {
        const struct refusals_reply *reply = &read.replies[read.which[n] - 1];
        assert_true(reply->enhanced[0] == 0 || reply->enhanced[2] == n);
        assert_true(n >= IPC_REPLIES_MAX - 1 || reply->enhanced[2] == n);
    }
}

static void every_cut_and_every_wrong_byte_is_refused_or_sound(void **state)
{
    static const uint8_t good[] = {3, 0, 1, 5, 1, 1, 4, 'g', 'o', 'n', 'e', 0, 1, 0};
    struct refusals read;
    (void)state;
    for (size_t bytes = 0; bytes < sizeof(good); bytes++)
        assert_int_equal(refusals_read(&read, good, bytes), -EBADMSG);
    for (size_t at = 0; at < sizeof(good); at++) {
        for (uint32_t value = 0; value < 256; value++) {
            uint8_t bytes[sizeof(good)];
            memcpy(bytes, good, sizeof(good));
            bytes[at] = (uint8_t)value;
            const int rc = refusals_read(&read, bytes, sizeof(bytes));
            assert_true(rc == 0 || rc == -EBADMSG);
            if (rc == 0)
                for (uint32_t n = 0; n < read.recipients_count; n++)
                    assert_true(read.which[n] <= read.replies_count);
        }
    }
    static const uint8_t wrong[][14] = {
        {0, 0, 1, 5, 1, 1, 4, 'g', 'o', 'n', 'e', 0, 1, 0},   /* no recipients         */
        {3, 0, 0, 5, 1, 1, 4, 'g', 'o', 'n', 'e', 0, 1, 0},   /* no reply              */
        {3, 0, 13, 5, 1, 1, 4, 'g', 'o', 'n', 'e', 0, 1, 0},  /* too many              */
        {3, 0, 1, 4, 1, 1, 4, 'g', 'o', 'n', 'e', 0, 1, 0},   /* not a refusal's class */
        {3, 0, 1, 5, 1, 1, 241, 'g', 'o', 'n', 'e', 0, 1, 0}, /* a text beyond the end */
        {3, 0, 1, 5, 1, 1, 4, 'g', 'o', 'n', 'e', 0, 0, 0},   /* nobody is refused     */
        {3, 0, 1, 5, 1, 1, 4, 'g', 'o', 'n', 'e', 0, 2, 0},   /* a reply that is not   */
    };
    for (size_t n = 0; n < ARRAY_COUNT(wrong); n++)
        assert_int_equal(refusals_read(&read, wrong[n], sizeof(wrong[n])), -EBADMSG);
}

static void more_replies_than_there_is_room_for_are_refused(void **state)
{
    uint8_t bytes[3 + 4 * (IPC_REPLIES_MAX + 1) + 1] = {1};
    struct refusals read;
    (void)state;
    for (uint8_t replies = IPC_REPLIES_MAX; replies <= IPC_REPLIES_MAX + 1; replies++) {
        const size_t end = 3 + 4 * (size_t)replies;
        bytes[2] = replies; /* of no status and no text */
        bytes[end] = replies;
        assert_int_equal(refusals_read(&read, bytes, end + 1),
                         replies <= IPC_REPLIES_MAX ? 0 : -EBADMSG);
        bytes[end] = 0;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_added_is_read_again),
        cmocka_unit_test(the_documented_example_is_what_is_written),
        cmocka_unit_test(every_recipient_keeps_its_status),
        cmocka_unit_test(too_many_statuses_leave_some_without),
        cmocka_unit_test(every_cut_and_every_wrong_byte_is_refused_or_sound),
        cmocka_unit_test(more_replies_than_there_is_room_for_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
