/* Marks: what has the shape of one, and that only the key makes the right one. */
#include "mta/milter/mark.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define ID    "0192a4b3c5d67e8f90a1b2c3d4e5f607"
#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"

static const struct mark_key key = {.bytes = 32, .at = "0123456789abcdef0123456789abcdef"};
static const char mail[] = "From: a@b.example\r\n\r\nbody\r\n\r\nmore\r\n";

static void mark_is_the_hmac_of_label_id_and_body(void **state)
{
    char value[MARK_VALUE_BYTES];
    (void)state;
    const struct iovec whole = {(void *)(uintptr_t)mail, sizeof(mail) - 1};
    assert_true(mark_mail(&key, ID, &whole, 1, value));
    /* as openssl dgst -sha256 -hmac has it, of the three one after the other */
    assert_string_equal(value, "1 " ID
                               " 0b164613fcb77ddfa6ce67c68e2124f65bd8bf1590ffdfa4d1ccfbd70caf334f");
    const struct iovec parts[] = {{(void *)(uintptr_t)mail, 25},
                                  {(void *)(uintptr_t)(mail + 25), sizeof(mail) - 26}};
    char same[MARK_VALUE_BYTES];
    assert_true(mark_mail(&key, ID, parts, 2, same));
    assert_string_equal(value, same);

    struct mark *mark = mark_begin(&key, ID);
    mark_update(mark, mail + 21, sizeof(mail) - 22);
    char folded[MARK_VALUE_BYTES + 4];
    (void)snprintf(folded, sizeof(folded), " \n\t%s ", value);
    assert_true(mark_matches(mark, folded));
}

static void mark_needs_a_key_an_id_and_a_header(void **state)
{
    char value[MARK_VALUE_BYTES];
    const struct mark_key none = {.bytes = 0};
    const struct iovec whole = {(void *)(uintptr_t)mail, sizeof(mail) - 1};
    const struct iovec cut = {(void *)(uintptr_t)mail, 20};
    (void)state;
    assert_false(mark_mail(&none, ID, &whole, 1, value));
    assert_false(mark_mail(&key, "", &whole, 1, value));
    assert_false(mark_mail(&key, "0192A4B3C5D67E8F90A1B2C3D4E5F607", &whole, 1, value));
    assert_false(mark_mail(&key, ID, &cut, 1, value));
    assert_false(mark_mail(&key, ID, NULL, 0, value));
}

static void mark_of_another_shape_is_none(void **state)
{
    static const char *const values[] = {
        "",
        "1",
        "2 " ID " " ZEROS,
        "1 " ID,
        "1 " ID " ",
        "1 " ID " " ZEROS "0",
        "1 " ID "  " ZEROS,
        "1  " ID " " ZEROS,
        "1 " ID " " ZEROS " x",
        "1 0192A4B3C5D67E8F90A1B2C3D4E5F607 " ZEROS,
    };
    char id[MARK_ID_CHARS + 1] = "unchanged";
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(values); i++) {
        if (mark_id(values[i], id))
            fail_msg("\"%s\" was taken", values[i]);
        assert_false(mark_matches(mark_begin(&key, ID), values[i]));
    }
    assert_string_equal(id, "unchanged");
    assert_true(mark_id(" 1 " ID " " ZEROS "\r\n", id));
    assert_string_equal(id, ID);
    assert_false(mark_matches(mark_begin(&key, ID), " 1 " ID " " ZEROS));
}

static void mark_key_is_refused_when_too_short_or_too_long(void **state)
{
    static const size_t sizes[] = {0, 31, 32, 1024, 1025};
    static const bool taken[] = {false, false, true, true, false};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        char path[] = "/tmp/bulla-mark-XXXXXX";
        uint8_t bytes[1025] = {7};
        struct mark_key read_key = {0};
        const int fd = mkstemp(path);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, bytes, sizes[i]), (ssize_t)sizes[i]);
        assert_int_equal(close(fd), 0);
        assert_int_equal(mark_key_read(&read_key, path) == 0, taken[i]);
        assert_int_equal(read_key.bytes, taken[i] ? sizes[i] : 0);
        assert_int_equal(unlink(path), 0);
        assert_true(mark_key_read(&read_key, path) < 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mark_is_the_hmac_of_label_id_and_body),
        cmocka_unit_test(mark_needs_a_key_an_id_and_a_header),
        cmocka_unit_test(mark_of_another_shape_is_none),
        cmocka_unit_test(mark_key_is_refused_when_too_short_or_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
