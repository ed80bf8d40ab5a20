#include "bench/mailset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void mailset_makes_messages_of_the_sizes_asked(void **state)
{
    char why[MAILSET_WHY_BYTES] = "";
    struct mailset *set = NULL;
    (void)state;
    assert_int_equal(mailset_open_sizes(&set, "4KiB:70,64KiB:25,1MiB:5", why), 0);
    assert_int_equal(set->mails_count, 3);
    assert_int_equal(set->mails[0].bytes, 4096);
    assert_in_range(set->mails[1].bytes, 65536 - 200, 65536);
    assert_in_range(set->mails[2].bytes, 1048576 - 200, 1048576);
    for (uint32_t i = 0; i < set->mails_count; i++) {
        const uint8_t *end = set->mails[i].bytes_at + set->mails[i].bytes;
        assert_memory_equal(set->mails[i].bytes_at, "From: ", 6);
        assert_memory_equal(end - 2, "\r\n", 2);
    }
    mailset_close(set);
}

static void mailset_makes_text_and_attachments_of_any_size(void **state)
{
    char why[MAILSET_WHY_BYTES] = "";
    struct mailset *set = NULL;
    (void)state;
    assert_int_equal(mailset_open_sizes(&set, "64KiB/text,1MiB/attached:3", why), 0);
    assert_int_equal(set->mails_count, 2);
    assert_int_equal(set->mails[0].bytes, 65536);
    assert_null(memmem(set->mails[0].bytes_at, 1024, "base64", 6));
    assert_non_null(memmem(set->mails[1].bytes_at, 1024, "base64", 6));
    /* 18,397 full lines of 78 characters carry the megabyte. */
    assert_in_range(set->mails[1].bytes, 18397 * 78, 18397 * 78 + 1024);
    assert_int_equal(set->mails[1].weight_end - set->mails[0].weight_end, 3);
    mailset_close(set);
}

static void mailset_picks_by_weight(void **state)
{
    char why[MAILSET_WHY_BYTES] = "";
    struct mailset *set = NULL;
    uint32_t first = 0;
    uint64_t random = 7;
    (void)state;
    assert_int_equal(mailset_open_sizes(&set, "4096:3,8192:1", why), 0);
    for (int i = 0; i < 40000; i++)
        first += mailset_pick(set, mailset_random(&random)) == &set->mails[0];
    assert_in_range(first, 29500, 30500);
    mailset_close(set);
}

static void mailset_refuses_sizes_that_are_none(void **state)
{
    static const char *const bad[] = {"",      "0",          "4XiB",          "4KiB:0",
                                      "4KiB,", "4KiB:1;",    "65MiB",         "x",
                                      "4KiB/", "4KiB/texts", "40MiB/attached"};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        char why[MAILSET_WHY_BYTES] = "";
        struct mailset *set = NULL;
        assert_true(mailset_open_sizes(&set, bad[i], why) < 0);
        assert_null(set);
        assert_non_null(strstr(why, "4KiB"));
    }
}

static void mailset_reads_a_folder_in_name_order(void **state)
{
    char folder[] = "/tmp/mailset_test.XXXXXX";
    char path[64];
    char why[MAILSET_WHY_BYTES] = "";
    struct mailset *set = NULL;
    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_true(mailset_open_folder(&set, folder, why) < 0); /* empty */
    for (char name = 'b'; name >= 'a'; name--) {
        (void)snprintf(path, sizeof(path), "%s/%c.eml", folder, name);
        FILE *file = fopen(path, "we");
        assert_non_null(file);
        (void)fprintf(file, "Subject: %c\r\n", name);
        assert_int_equal(fclose(file), 0);
    }
    assert_int_equal(mailset_open_folder(&set, folder, why), 0);
    assert_int_equal(set->mails_count, 2);
    assert_memory_equal(set->mails[0].bytes_at, "Subject: a", 10);
    mailset_close(set);
    for (char name = 'a'; name <= 'b'; name++) {
        (void)snprintf(path, sizeof(path), "%s/%c.eml", folder, name);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(folder), 0);
    set = NULL;
    assert_true(mailset_open_folder(&set, folder, why) < 0); /* gone */
    assert_null(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mailset_makes_messages_of_the_sizes_asked),
        cmocka_unit_test(mailset_makes_text_and_attachments_of_any_size),
        cmocka_unit_test(mailset_picks_by_weight),
        cmocka_unit_test(mailset_refuses_sizes_that_are_none),
        cmocka_unit_test(mailset_reads_a_folder_in_name_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
