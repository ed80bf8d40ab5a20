/* What is a comment, and that every line keeps its number. */
#include "base/uncommented.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void comments_become_blanks(void **state)
{
    static const struct {
        const char *text;
        const char *blank;
    } cases[] = {
        {"", ""},
        {"a = 1\n", "a = 1\n"},
        {"# x\na # y\n", "   \na    \n"},
        {"a // y\n#", "a     \n "},
        {"a /* y\n z */ b\n", "a     \n      b\n"},
        {"/* never ended\n \"x\"", "              \n    "},
        {"/*/ still */b", "            b"},
        {"a / b * c", "a / b * c"},
        {"\"# no // no /* no */\" # yes", "\"# no // no /* no */\"      "},
        {"\"a\\\"# no\" # yes", "\"a\\\"# no\"      "},
        {"'it # is' # yes", "'it # is'      "},
        {"'\\'# no' # yes", "'\\'# no'      "},
        {"\"open # no\n# no", "\"open # no\n# no"},
        {"\"open\\", "\"open\\"},
        {"{\"a\", # one\n \"b\"}", "{\"a\",      \n \"b\"}"},
    };
    (void)state;
    for (size_t n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
        char text[64];
        (void)snprintf(text, sizeof(text), "%s", cases[n].text);
        uncommented_blank(text, strlen(text));
        assert_string_equal(text, cases[n].blank);
    }
}

static void a_file_is_read_whole_or_not_at_all(void **state)
{
    char path[] = "/tmp/bulla-uncommented-XXXXXX";
    struct uncommented uncommented;
    char line[16];
    (void)state;
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(uncommented_open(&uncommented, path), 0);
    assert_string_equal(fgets(line, sizeof(line), uncommented.stream), "\n");
    uncommented_close(&uncommented);
    uncommented_close(&uncommented); /* harmless */
    assert_int_equal(ftruncate(fd, (off_t)UNCOMMENTED_BYTES_MAX), 0);
    assert_int_equal(uncommented_open(&uncommented, path), 0);
    uncommented_close(&uncommented);
    assert_int_equal(ftruncate(fd, (off_t)UNCOMMENTED_BYTES_MAX + 1), 0);
    assert_int_equal(uncommented_open(&uncommented, path), -EFBIG);
    (void)close(fd);
    (void)unlink(path);
    assert_int_equal(uncommented_open(&uncommented, path), -ENOENT);
    assert_int_equal(uncommented_open(&uncommented, "/tmp"), -EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comments_become_blanks),
        cmocka_unit_test(a_file_is_read_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
