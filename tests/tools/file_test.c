#include "tools/bulla/file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define PATH_ROOM 256

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/bulla-file-test.XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static const char *in_folder(const char *name)
{
    static char path[PATH_ROOM];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void file_comes_back_as_it_was_written(void **state)
{
    (void)state;
    const size_t sizes[] = {0, 1, 65535, 65536, 65537, 300000};
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        uint8_t *written = malloc(sizes[i] + 1);
        assert_non_null(written);
        for (size_t n = 0; n < sizes[i]; n++)
            written[n] = (uint8_t)(n * 31 >> 3);
        assert_int_equal(file_replace(in_folder("f"), 0600, written, sizes[i]), 0);
        uint8_t *got = NULL;
        size_t got_bytes = 1;
        assert_int_equal(file_read(in_folder("f"), sizes[i], &got, &got_bytes), 0);
        assert_int_equal(got_bytes, sizes[i]);
        assert_memory_equal(got, written, sizes[i]);
        assert_int_equal(got[got_bytes], 0);
        file_forget(got, got_bytes);
        free(written);
    }
    assert_int_equal(unlink(in_folder("f")), 0);
}

static void file_read_takes_a_pipe_of_unknown_length(void **state)
{
    (void)state;
    static uint8_t written[200000];
    for (size_t n = 0; n < sizeof(written); n++)
        written[n] = (uint8_t)(n % 251);
    assert_int_equal(file_replace(in_folder("p"), 0600, written, sizeof(written)), 0);
    int before = dup(STDIN_FILENO);
    char shell[PATH_ROOM + 16];
    snprintf(shell, sizeof(shell), "cat %s", in_folder("p"));
    FILE *pipe_end = popen(shell, "r");
    assert_non_null(pipe_end);
    dup2(fileno(pipe_end), STDIN_FILENO);
    uint8_t *got = NULL;
    size_t got_bytes = 0;
    assert_int_equal(file_read("-", 1 << 20, &got, &got_bytes), 0);
    dup2(before, STDIN_FILENO);
    close(before);
    pclose(pipe_end);
    assert_int_equal(got_bytes, sizeof(written));
    assert_memory_equal(got, written, sizeof(written));
    file_forget(got, got_bytes);
    assert_int_equal(unlink(in_folder("p")), 0);
}

static void file_read_refuses_one_byte_too_many(void **state)
{
    (void)state;
    uint8_t *got = NULL;
    size_t got_bytes = 7;
    assert_int_equal(file_replace(in_folder("f"), 0600, (const uint8_t *)"12345", 5), 0);
    assert_int_equal(file_read(in_folder("f"), 4, &got, &got_bytes), -EFBIG);
    assert_null(got);
    assert_int_equal(got_bytes, 7);
    assert_int_equal(unlink(in_folder("f")), 0);
}

static void file_read_names_what_is_wrong(void **state)
{
    (void)state;
    uint8_t *got = NULL;
    size_t got_bytes = 0;
    assert_int_equal(file_read(in_folder("nosuch"), 10, &got, &got_bytes), -ENOENT);
    assert_int_equal(file_read(folder, 10, &got, &got_bytes), -EISDIR);
    assert_null(got);
}

static void file_replace_sets_the_mode_whatever_the_umask(void **state)
{
    (void)state;
    struct stat status;
    mode_t before = umask(0);
    assert_int_equal(file_replace(in_folder("k"), 0600, (const uint8_t *)"k", 1), 0);
    umask(0777);
    assert_int_equal(file_replace(in_folder("c"), 0644, (const uint8_t *)"c", 1), 0);
    umask(before);
    assert_int_equal(stat(in_folder("k"), &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(stat(in_folder("c"), &status), 0);
    assert_int_equal(status.st_mode & 07777, 0644);
    assert_int_equal(unlink(in_folder("k")), 0);
    assert_int_equal(unlink(in_folder("c")), 0);
}

static void file_replace_leaves_nothing_when_it_cannot(void **state)
{
    (void)state;
    assert_int_equal(file_replace(in_folder("no/such"), 0600, (const uint8_t *)"x", 1), -ENOENT);
    assert_int_equal(mkdir(in_folder("d"), 0700), 0);
    assert_true(file_replace(in_folder("d"), 0600, (const uint8_t *)"x", 1) < 0);
    assert_int_equal(access(in_folder("d.new"), F_OK), -1);
    assert_int_equal(rmdir(in_folder("d")), 0);
}

static void file_write_all_tells_of_a_full_device(void **state)
{
    (void)state;
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(file_write_all(fd, (const uint8_t *)"x", 1), -ENOSPC);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(file_comes_back_as_it_was_written),
        cmocka_unit_test(file_read_takes_a_pipe_of_unknown_length),
        cmocka_unit_test(file_read_refuses_one_byte_too_many),
        cmocka_unit_test(file_read_names_what_is_wrong),
        cmocka_unit_test(file_replace_sets_the_mode_whatever_the_umask),
        cmocka_unit_test(file_replace_leaves_nothing_when_it_cannot),
        cmocka_unit_test(file_write_all_tells_of_a_full_device),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
