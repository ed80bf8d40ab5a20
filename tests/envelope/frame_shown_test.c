/* What a message says of itself goes when it is wiped: nothing of its subject stays anywhere. */
#include "envelope/frame.h"
#include "envelope/header.h"
#include "tests/envelope/framing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void frame_wipes_the_subject_it_showed(void **state)
{
    (void)state;
    struct frame_config config = framing_config();
    struct frame *frame = framing_open(&config);
    static const char mail[] = "Subject: SecretPlan\n\n";
    static const uint8_t zeros[FRAME_SUBJECT_RE_BYTES_MAX];
    struct header header;
    struct frame_shown shown;
    memset(&shown, 0, sizeof(shown));
    header_read(&header, (const uint8_t *)mail, sizeof(mail) - 1, sizeof(mail) - 1);
    const struct frame_message message = {.mail = (const uint8_t *)mail, .header = &header};
    frame_show(frame, &message, &shown);
    assert_memory_equal(shown.subject, "SecretPlan", 10);
    frame_shown_wipe(&shown);
    assert_int_equal(shown.subject_bytes, 0);
    assert_memory_equal(shown.subject, zeros, sizeof(zeros));
    frame_close(frame);
}

/* As many bytes of the secret are found wherever they stand. */
#define SECRET_PART_BYTES 6

static void shown_wiped_holds_nothing(const struct frame *frame, const char *mail,
                                      const char *secret)
{
    struct header header;
    struct frame_shown shown;
    const size_t bytes = strlen(mail);
    memset(&shown, 0, sizeof(shown));
    header_read(&header, (const uint8_t *)mail, bytes, bytes);
    const struct frame_message message = {.mail = (const uint8_t *)mail, .header = &header};
    frame_show(frame, &message, &shown);
    /* It was there: the test looks for what it should. */
    assert_non_null(memmem(&shown, sizeof(shown), secret, SECRET_PART_BYTES));
    frame_shown_wipe(&shown);
    for (size_t at = 0; at + SECRET_PART_BYTES <= strlen(secret); at++)
        if (memmem(&shown, sizeof(shown), secret + at, SECRET_PART_BYTES) != NULL)
            fail_msg("\"%s\" stands in what was wiped, of: %s", secret + at, mail);
}

static void frame_keeps_nothing_of_a_wiped_subject_anywhere(void **state)
{
    (void)state;
    static const char secret[] = "MergerOfXandY1234567890PleaseTellNobodyOfIt";
    static const char *const before[] = {
        "",
        "From: a@b.example\n",
        "From: Al <a@b.example>\r\n",
        "From: \"Al\" <a@b.example>\n",
        "From: =?utf-8?q?J=C3=B6rg?= <a@b>\r\n",
        "From: J\xf6rg <a@b>\n",
        "From: Al (of Al's) <a@b>\n",
        "From: nobody\n",
        "From: a@b,\n",
        "To: a@b.example\nFrom: <a@b>\n",
        "From:\n",
    };
    static const char *const labels[] = {"Subject: ", "subject:", "Subject:\n ",
                                         "Subject: =?utf-8?q?J=C3=B6?= "};
    static const char *const after[] = {
        "\n\n", "\r\nFrom: a@b\r\n\r\n", "\nFrom: Al <a@b>\nTo: c@d\n\n",
        "\n\nA body of some length, so that whole windows may be read of all that stands above."};
    struct frame_config config = framing_config();
    struct frame *frame = framing_open(&config);
    for (size_t b = 0; b < ARRAY_COUNT(before); b++)
        for (size_t l = 0; l < ARRAY_COUNT(labels); l++)
            for (size_t a = 0; a < ARRAY_COUNT(after); a++) {
                char mail[512];
                (void)snprintf(mail, sizeof(mail), "%s%s%s%s", before[b], labels[l], secret,
                               after[a]);
                shown_wiped_holds_nothing(frame, mail, secret);
            }
    frame_close(frame);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_wipes_the_subject_it_showed),
        cmocka_unit_test(frame_keeps_nothing_of_a_wiped_subject_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
