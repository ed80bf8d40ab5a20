/* A spool whose files were changed by something else: all of it is told, and none of it given. */
#include "tests/queue/spool_model.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* The bytes of the first segment file; the disk writes from its beginning. */
static int segment_fd(uint32_t number)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/00-%08u.log", model_folder, number);
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

/* Some byte of the body of this model, in the file. */
static off_t body_offset(int fd, uint32_t n)
{
    static uint8_t map[SEGMENT_BYTES];
    uint8_t id[SPOOL_ID_BYTES];
    model_id(n, id);
    assert_int_equal(pread(fd, map, sizeof(map), 0), sizeof(map));
    const uint8_t *at = memmem(map, sizeof(map), id, sizeof(id));
    assert_non_null(at);
    return (off_t)(at - map) + 300 + (off_t)model_at[n].head_bytes;
}

static void flip(int fd, off_t offset)
{
    uint8_t byte;
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
}

/* A bit that changed in acknowledged mail is told, at a start and by a read; the rest is found. */
static void damaged_mail_is_told_and_never_given(void **state)
{
    model_begin(state);
    model_open(SEGMENT_BYTES, 8 * SEGMENT_BYTES);
    for (uint32_t n = 0; n < 12; n++) {
        (void)model_put(3000, 0, 0);
        model_run_all(); /* each in a group of its own: later heads tell that earlier ones are
                            durable */
    }
    const int fd = segment_fd(1);
    const off_t offset = body_offset(fd, 5);
    flip(fd, offset);
    static uint8_t dst[65536];
    assert_true(spool_read_all(model_log.spool, model_at[5].place, dst, sizeof(dst), MODEL_MAX));
    model_run_all();
    assert_int_equal(model_log.read_error, -EBADMSG);
    model_read(6);
    model_reopen();
    struct spool_stats stats;
    spool_stats(model_log.spool, &stats);
    assert_int_equal(stats.damaged, 1);
    assert_int_equal(stats.records, 11);
    for (uint32_t n = 0; n < 12; n++)
        assert_true(model_at[n].found == (n != 5));
    for (uint32_t round = 0; round < 3; round++) {
        (void)model_put(100, 0, 0);
        model_run_all();
        model_reopen(); /* from the checkpoint now: still told, its segment still there */
        spool_stats(model_log.spool, &stats);
        assert_true(stats.damaged >= 1);
        assert_int_equal(stats.records, 12 + round);
    }
    flip(fd, offset); /* put right: it is found again */
    model_at[5].life = LIFE_LIVES;
    model_reopen();
    model_compare(true);
    assert_int_equal(close(fd), 0);
    model_close();
}

/* The last write was not acknowledged: whatever a crash left of it, the rest is whole. */
static void a_torn_end_is_no_damage(void **state)
{
    model_begin(state);
    model_open(SEGMENT_BYTES, 8 * SEGMENT_BYTES);
    for (uint32_t n = 0; n < 12; n++) {
        (void)model_put(3000, 0, 0);
        model_run_all();
    }
    const int fd = segment_fd(1);
    const off_t offset = body_offset(fd, 11);
    flip(fd, offset);
    model_at[11].life = LIFE_GONE;
    model_reopen();
    model_compare(true);
    (void)model_put(3000, 0, 0);
    model_run_all();
    flip(fd, offset); /* what was not found once is not found later */
    model_reopen();
    model_compare(true);
    assert_int_equal(close(fd), 0);
    model_close();
}

static void a_damaged_beginning_is_an_error_with_a_mend(void **state)
{
    model_begin(state);
    model_open(SEGMENT_BYTES, 8 * SEGMENT_BYTES);
    for (uint32_t n = 0; n < 5; n++)
        (void)model_put(3000, 0, 0);
    model_run_all();
    model_close();
    const int fd = segment_fd(1);
    flip(fd, 40);
    assert_int_equal(model_try(0, 1, SEGMENT_BYTES, 8 * SEGMENT_BYTES), -EUCLEAN);
    flip(fd, 40);
    assert_int_equal(model_try(0, 1, SEGMENT_BYTES, 8 * SEGMENT_BYTES), 0);
    model_compare(true);
    assert_int_equal(close(fd), 0);
    model_close();
}

int main(int arguments_count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        MODEL_BOTH(damaged_mail_is_told_and_never_given),
        MODEL_BOTH(a_torn_end_is_no_damage),
        MODEL_BOTH(a_damaged_beginning_is_an_error_with_a_mend),
    };
    if (arguments_count > 1)
        cmocka_set_test_filter(arguments[1]);
    return cmocka_run_group_tests(tests, model_folder_make, model_folder_remove);
}
