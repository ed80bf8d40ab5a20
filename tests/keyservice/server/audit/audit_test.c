/* The audit log: chained, shared by writers, mended after a crash, and broken when it is touched.
 */
#include "keyservice/server/audit/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW_NS        UINT64_C(1700000000000000000)
#define THREADS_COUNT 8
#define EACH_COUNT    200
#define FILE_ROOM     (1024 * 1024)

struct fixture {
    char folder[64];
    char path[96];
    struct audit *audit;
};

static const struct audit_event event = {
    .event = "release", .id = "019b", .user = "bob@example.org", .from = "127.0.0.1"};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    if (fixture == NULL)
        return -1;
    (void)snprintf(fixture->folder, sizeof(fixture->folder), "/tmp/bulla-audit-XXXXXX");
    if (mkdtemp(fixture->folder) == NULL)
        return -1;
    (void)snprintf(fixture->path, sizeof(fixture->path), "%s/audit.log", fixture->folder);
    *state = fixture;
    return audit_open(&fixture->audit, fixture->path);
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    audit_close(fixture->audit);
    (void)unlink(fixture->path);
    (void)rmdir(fixture->folder);
    free(fixture);
    return 0;
}

static void append(struct audit *audit, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(audit_append(audit, &event, i % 16 == 0, NOW_NS), 0);
}

static size_t file_read(const struct fixture *fixture, char *text)
{
    const int fd = open(fixture->path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    const ssize_t bytes = read(fd, text, FILE_ROOM);
    assert_true(bytes >= 0 && bytes < FILE_ROOM);
    (void)close(fd);
    return (size_t)bytes;
}

static void file_write(const struct fixture *fixture, const char *text, size_t bytes)
{
    const int fd = open(fixture->path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, bytes), (ssize_t)bytes);
    (void)close(fd);
}

static void expect_unbroken(const struct fixture *fixture, uint64_t lines_count)
{
    struct audit_check check;
    assert_int_equal(audit_verify(fixture->path, &check), 0);
    assert_int_equal(check.lines_count, lines_count);
    assert_int_equal(check.bad_line, 0);
}

static void expect_broken(const struct fixture *fixture, uint64_t bad_line)
{
    struct audit_check check;
    assert_int_equal(audit_verify(fixture->path, &check), -EBADMSG);
    assert_int_equal(check.bad_line, bad_line);
}

/* Where line `number`, counted from 0, begins. */
static size_t line_at(const char *text, size_t bytes, uint32_t number)
{
    size_t at = 0;
    for (uint32_t i = 0; i < number; i++) {
        const char *end = memchr(text + at, '\n', bytes - at);
        assert_non_null(end);
        at = (size_t)(end - text) + 1;
    }
    return at;
}

static void the_chain_goes_on_after_opening_again(void **state)
{
    struct fixture *fixture = *state;
    uint64_t sequence[2];
    char hash[2][AUDIT_HASH_CHARS + 1];
    append(fixture->audit, 3);
    assert_int_equal(audit_head(fixture->audit, &sequence[0], hash[0]), 0);
    audit_close(fixture->audit);
    assert_int_equal(audit_open(&fixture->audit, fixture->path), 0);
    assert_int_equal(audit_head(fixture->audit, &sequence[1], hash[1]), 0);
    assert_int_equal(sequence[1], sequence[0]);
    assert_string_equal(hash[1], hash[0]);
    append(fixture->audit, 2);
    expect_unbroken(fixture, 5);
}

/* A crash can cut the last line at any of its bytes; each time it goes, and the chain goes on. */
static void half_a_last_line_is_cut_off_at_the_next_start(void **state)
{
    static char text[FILE_ROOM];
    struct fixture *fixture = *state;
    append(fixture->audit, 3);
    const size_t bytes = file_read(fixture, text);
    const size_t last = line_at(text, bytes, 2);
    for (size_t cut = last + 1; cut < bytes; cut++) {
        struct stat info;
        audit_close(fixture->audit);
        fixture->audit = NULL;
        file_write(fixture, text, cut);
        expect_broken(fixture, 3);
        assert_int_equal(audit_open(&fixture->audit, fixture->path), 0);
        assert_int_equal(stat(fixture->path, &info), 0);
        assert_int_equal(info.st_size, last);
        append(fixture->audit, 1);
        expect_unbroken(fixture, 3);
    }
}

static void half_a_first_line_is_cut_off_too(void **state)
{
    static char text[FILE_ROOM];
    struct fixture *fixture = *state;
    append(fixture->audit, 1);
    const size_t bytes = file_read(fixture, text);
    audit_close(fixture->audit);
    fixture->audit = NULL;
    file_write(fixture, text, bytes / 2);
    assert_int_equal(audit_open(&fixture->audit, fixture->path), 0);
    append(fixture->audit, 2);
    expect_unbroken(fixture, 2);
}

/* What no crash of ours leaves behind is not cut away: somebody should look. */
static void a_file_that_is_not_a_log_is_refused_and_left_alone(void **state)
{
    static char text[FILE_ROOM];
    struct fixture *fixture = *state;
    struct stat info;
    struct audit *audit = NULL;
    memset(text, 'x', sizeof(text));
    file_write(fixture, text, 3 * AUDIT_LINE_BYTES_MAX);
    assert_int_equal(audit_open(&audit, fixture->path), -EBADMSG);
    assert_int_equal(stat(fixture->path, &info), 0);
    assert_int_equal(info.st_size, 3 * AUDIT_LINE_BYTES_MAX);
    file_write(fixture, "not a line\n", 11);
    assert_int_equal(audit_open(&audit, fixture->path), -EBADMSG);
    assert_null(audit);
}

struct writer {
    struct audit *audit;
    uint32_t index;
    int rc;
};

static void *writer_run(void *argument)
{
    struct writer *writer = argument;
    for (uint32_t i = 0; i < EACH_COUNT && writer->rc == 0; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "w%u-%u.", writer->index, i);
        const struct audit_event own = {.event = "release", .id = id};
        writer->rc = audit_append(writer->audit, &own, i % 50 == 0, NOW_NS + i);
    }
    return NULL;
}

static void threads_run(struct audit *const *audits, uint32_t audits_count)
{
    pthread_t threads[THREADS_COUNT];
    struct writer writers[THREADS_COUNT];
    for (uint32_t i = 0; i < THREADS_COUNT; i++) {
        writers[i] = (struct writer){.audit = audits[i % audits_count], .index = i};
        assert_int_equal(pthread_create(&threads[i], NULL, writer_run, &writers[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS_COUNT; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(writers[i].rc, 0);
    }
}

/* Every event is there once, and each writer's own are in their order. */
static void expect_all_events(const struct fixture *fixture)
{
    static char text[FILE_ROOM];
    const size_t bytes = file_read(fixture, text);
    for (uint32_t w = 0; w < THREADS_COUNT; w++) {
        size_t at = 0;
        for (uint32_t i = 0; i < EACH_COUNT; i++) {
            char id[24];
            const int chars = snprintf(id, sizeof(id), "\"w%u-%u.\"", w, i);
            const char *found = memmem(text + at, bytes - at, id, (size_t)chars);
            assert_non_null(found);
            at = (size_t)(found - text) + 1;
            assert_null(memmem(text + at, bytes - at, id, (size_t)chars));
        }
    }
}

static void threads_side_by_side_make_one_chain(void **state)
{
    const struct fixture *fixture = *state;
    threads_run(&fixture->audit, 1);
    expect_unbroken(fixture, THREADS_COUNT * EACH_COUNT);
    expect_all_events(fixture);
}

/* The service and the operator's subcommands have the file open side by side. */
static void openings_side_by_side_make_one_chain(void **state)
{
    const struct fixture *fixture = *state;
    struct audit *audits[3] = {fixture->audit, NULL, NULL};
    assert_int_equal(audit_open(&audits[1], fixture->path), 0);
    assert_int_equal(audit_open(&audits[2], fixture->path), 0);
    threads_run(audits, 3);
    audit_close(audits[1]);
    audit_close(audits[2]);
    expect_unbroken(fixture, THREADS_COUNT * EACH_COUNT);
    expect_all_events(fixture);
}

static void a_changed_byte_is_found_at_its_line(void **state)
{
    static char text[FILE_ROOM];
    const struct fixture *fixture = *state;
    append(fixture->audit, 4);
    const size_t bytes = file_read(fixture, text);
    for (size_t at = 0; at < bytes; at++) {
        uint64_t line = 1;
        for (size_t i = 0; i < at; i++)
            line += text[i] == '\n' ? 1 : 0;
        text[at] ^= 1;
        file_write(fixture, text, bytes);
        expect_broken(fixture, line);
        text[at] ^= 1;
    }
    file_write(fixture, text, bytes);
    expect_unbroken(fixture, 4);
}

static void a_removed_line_is_found_at_its_place(void **state)
{
    static char text[FILE_ROOM];
    static char other[FILE_ROOM];
    const struct fixture *fixture = *state;
    append(fixture->audit, 5);
    const size_t bytes = file_read(fixture, text);
    for (uint32_t line = 0; line < 4; line++) { /* without its last line a chain is a chain */
        const size_t start = line_at(text, bytes, line);
        const size_t end = line_at(text, bytes, line + 1);
        memcpy(other, text, start);
        memcpy(other + start, text + end, bytes - end);
        file_write(fixture, other, bytes - (end - start));
        expect_broken(fixture, line + 1);
    }
}

static void reordered_and_repeated_lines_are_found(void **state)
{
    static char text[FILE_ROOM];
    static char other[FILE_ROOM];
    const struct fixture *fixture = *state;
    append(fixture->audit, 4);
    const size_t bytes = file_read(fixture, text);
    const size_t one = line_at(text, bytes, 1);
    const size_t two = line_at(text, bytes, 2);
    const size_t three = line_at(text, bytes, 3);
    memcpy(other, text, bytes);
    memcpy(other + one, text + two, three - two);
    memcpy(other + one + (three - two), text + one, two - one);
    file_write(fixture, other, bytes);
    expect_broken(fixture, 2);
    memcpy(other, text, two);
    memcpy(other + two, text + one, bytes - one);
    file_write(fixture, other, bytes + (two - one));
    expect_broken(fixture, 3);
}

static void what_people_type_stays_within_its_line(void **state)
{
    static char text[FILE_ROOM];
    const struct fixture *fixture = *state;
    const struct audit_event hostile = {.event = "sign_in",
                                        .outcome = "credentials",
                                        .user = "a\"}\n0000 {\"seq\":9,\"x\":\"@b\x7f\r",
                                        .from = "\\\"\t"};
    const struct audit_event broken = {.event = "sign_in", .user = "\xff\xfe@b"};
    assert_int_equal(audit_append(fixture->audit, &hostile, true, NOW_NS), 0);
    assert_int_equal(audit_append(fixture->audit, &broken, true, NOW_NS), 0);
    expect_unbroken(fixture, 2);
    const size_t bytes = file_read(fixture, text);
    assert_int_equal(line_at(text, bytes, 2), bytes);
}

static void a_line_over_the_limit_is_refused_and_the_chain_goes_on(void **state)
{
    static char user[2 * AUDIT_LINE_BYTES_MAX];
    const struct fixture *fixture = *state;
    memset(user, 'u', sizeof(user) - 1);
    const struct audit_event large = {.event = "sign_in", .user = user};
    append(fixture->audit, 1);
    assert_int_equal(audit_append(fixture->audit, &large, true, NOW_NS), -EMSGSIZE);
    append(fixture->audit, 1);
    expect_unbroken(fixture, 2);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_chain_goes_on_after_opening_again),
        CASE(half_a_last_line_is_cut_off_at_the_next_start),
        CASE(half_a_first_line_is_cut_off_too),
        CASE(a_file_that_is_not_a_log_is_refused_and_left_alone),
        CASE(threads_side_by_side_make_one_chain),
        CASE(openings_side_by_side_make_one_chain),
        CASE(a_changed_byte_is_found_at_its_line),
        CASE(a_removed_line_is_found_at_its_place),
        CASE(reordered_and_repeated_lines_are_found),
        CASE(what_people_type_stays_within_its_line),
        CASE(a_line_over_the_limit_is_refused_and_the_chain_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
