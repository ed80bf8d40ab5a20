/* The process that reads mail, with a reading of our own in its children: what they say is no harm
 * to the next mail. */
#include "keyservice/server/mail/mailview.h"
#include "keyservice/server/mail/reader.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void mailview_init(void)
{
}

/* Fails as the mail says, or gives the mail back. */
int mailview_write(uint8_t *dst, size_t room, size_t *written, const uint8_t *mail,
                   size_t mail_bytes, uint32_t part)
{
    (void)part;
    if (mail_bytes == 1)
        return (int8_t)mail[0];
    assert_true(mail_bytes <= room);
    memcpy(dst, mail, mail_bytes);
    *written = mail_bytes;
    return 0;
}

static int status_read(struct reader *reader, int status)
{
    uint8_t *items = NULL;
    size_t items_bytes = 0;
    const uint8_t mail = (uint8_t)status;
    return reader_read(reader, &mail, 1, 0, &items, &items_bytes);
}

static void whatever_a_child_says_the_next_mail_is_read(void **state)
{
    static const int known[] = {-EBADMSG, -ENOENT, -EFBIG};
    static const int others[] = {-EIO, -EACCES, -1, 1, 5, 127, -128};
    struct reader *reader = NULL;
    uint8_t *items = NULL;
    size_t items_bytes = 0;
    (void)state;
    assert_int_equal(reader_open(&reader, ""), 0);
    for (size_t i = 0; i < ARRAY_COUNT(known); i++)
        assert_int_equal(status_read(reader, known[i]), known[i]);
    for (size_t i = 0; i < ARRAY_COUNT(others); i++)
        assert_int_equal(status_read(reader, others[i]), -EBADMSG);
    assert_int_equal(reader_read(reader, (const uint8_t *)"mail", 4, 0, &items, &items_bytes), 0);
    assert_int_equal(items_bytes, 4);
    assert_memory_equal(items, "mail", 4);
    free(items);
    reader_close(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_a_child_says_the_next_mail_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
