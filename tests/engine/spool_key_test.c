/* The spool's key: made once, read back, and refused with the mend where it is not safe. */
#include "engine/spool_key.h"

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

#define PATH_BYTES 256

static char folder[PATH_BYTES];
static char path[PATH_BYTES * 2];
static char why[SPOOL_KEY_WHY_BYTES];
static uint8_t key[SPOOL_KEY_BYTES];

static int setup(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(folder, sizeof(folder), "%s/bulla-test-XXXXXX", tmp == NULL ? "/tmp" : tmp);
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/key", folder);
    why[0] = '\0';
    memset(key, 0, sizeof(key));
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlink(path);
    assert_int_equal(rmdir(folder), 0);
    return 0;
}

static void file_write(const void *bytes_at, size_t bytes, mode_t mode)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes_at, bytes), bytes);
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(close(fd), 0);
}

static void made_key_is_random_private_and_loads(void **state)
{
    (void)state;
    uint8_t again[SPOOL_KEY_BYTES];
    static const uint8_t zero[SPOOL_KEY_BYTES];
    struct stat status;
    assert_int_equal(spool_key_make(path, why), 0);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(spool_key_load(key, path, "/usr", why), 0);
    assert_memory_not_equal(key, zero, sizeof(key));
    assert_int_equal(spool_key_load(again, path, "/usr", why), 0);
    assert_memory_equal(key, again, sizeof(key));
}

static void key_that_is_there_is_never_replaced(void **state)
{
    (void)state;
    uint8_t first[SPOOL_KEY_BYTES];
    assert_int_equal(spool_key_make(path, why), 0);
    assert_int_equal(spool_key_load(first, path, "/usr", why), 0);
    assert_int_equal(spool_key_make(path, why), -EEXIST);
    assert_non_null(strstr(why, "left as it is"));
    assert_int_equal(spool_key_load(key, path, "/usr", why), 0);
    assert_memory_equal(first, key, sizeof(key));
}

static void key_in_the_spool_is_refused(void **state)
{
    (void)state;
    assert_int_equal(spool_key_make(path, why), 0);
    assert_int_equal(spool_key_load(key, path, folder, why), -EINVAL);
    assert_non_null(strstr(why, "stands in the spool's folder"));
}

static void key_that_others_may_read_is_refused(void **state)
{
    (void)state;
    uint8_t bytes[SPOOL_KEY_BYTES] = {1};
    file_write(bytes, sizeof(bytes), 0640);
    assert_int_equal(spool_key_load(key, path, "/usr", why), -EINVAL);
    assert_non_null(strstr(why, "chmod 600"));
}

static void key_of_another_length_or_of_zeros_is_refused(void **state)
{
    (void)state;
    uint8_t bytes[SPOOL_KEY_BYTES + 1] = {1};
    file_write(bytes, SPOOL_KEY_BYTES - 1, 0600);
    assert_int_equal(spool_key_load(key, path, "/usr", why), -EINVAL);
    file_write(bytes, SPOOL_KEY_BYTES + 1, 0600);
    assert_int_equal(spool_key_load(key, path, "/usr", why), -EINVAL);
    assert_non_null(strstr(why, "--make-spool-key"));
    memset(bytes, 0, sizeof(bytes));
    file_write(bytes, SPOOL_KEY_BYTES, 0600);
    assert_int_equal(spool_key_load(key, path, "/usr", why), -EINVAL);
}

static void credential_serves_when_no_file_is_named(void **state)
{
    (void)state;
    uint8_t bytes[SPOOL_KEY_BYTES] = {7};
    assert_int_equal(spool_key_load(key, "", "/usr", why), -EINVAL);
    assert_non_null(strstr(why, "spool needs spool_key"));
    (void)snprintf(path, sizeof(path), "%s/%s", folder, SPOOL_KEY_CREDENTIAL);
    file_write(bytes, sizeof(bytes), 0440);
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", folder, 1), 0);
    assert_int_equal(spool_key_load(key, "", "/usr", why), 0);
    assert_memory_equal(key, bytes, sizeof(bytes));
}

static void missing_file_names_itself_and_the_mend(void **state)
{
    (void)state;
    assert_int_equal(spool_key_load(key, path, "/usr", why), -ENOENT);
    assert_non_null(strstr(why, path));
    assert_non_null(strstr(why, "--make-spool-key"));
}

#define KEY_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        KEY_TEST(made_key_is_random_private_and_loads),
        KEY_TEST(key_that_is_there_is_never_replaced),
        KEY_TEST(key_in_the_spool_is_refused),
        KEY_TEST(key_that_others_may_read_is_refused),
        KEY_TEST(key_of_another_length_or_of_zeros_is_refused),
        KEY_TEST(credential_serves_when_no_file_is_named),
        KEY_TEST(missing_file_names_itself_and_the_mend),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
