/* The disk behind the spool's seam: each test runs on io_uring and on the thread. */
#include "queue/disk.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define LONG_NS      (20 * NS_PER_S) /* far longer than anything takes; a bound, not a timing */
#define MEMORY_BYTES ((size_t)1 << 20)
#define FILE_BYTES   ((uint64_t)256 << 10)

static char folder[64];
static uint8_t *memory;

/* Skips where the kernel has no io_uring for us; the thread's runs say the rest. */
static struct disk *disk_new(void **state)
{
    struct disk *disk = NULL;
    char why[DISK_WHY_BYTES] = "";
    const struct disk_memory fixed = {.at = memory, .bytes = MEMORY_BYTES / 2};
    if (*state == NULL) {
        assert_int_equal(disk_thread_open(&disk, folder, why), 0);
        return disk;
    }
    const int rc = disk_uring_open(&disk, folder, &fixed, why);
    if (rc == -EPERM || rc == -ENOSYS) {
        print_message("skipped: %s\n", why);
        skip();
    }
    assert_int_equal(rc, 0);
    return disk;
}

static int64_t wait_one(struct disk *disk, uint64_t tag)
{
    struct disk_result result = {0};
    const uint64_t end_ns = clock_monotonic_ns() + LONG_NS;
    while (disk->ops->reap(disk, LONG_NS, &result, 1) == 0)
        assert_true(clock_monotonic_ns() < end_ns);
    assert_int_equal(result.tag, tag);
    return result.result;
}

static int64_t one(struct disk *disk, struct disk_request request)
{
    static uint64_t tag = 1000;
    request.tag = ++tag;
    assert_true(disk->ops->submit(disk, &request));
    return wait_one(disk, tag);
}

static int64_t named(struct disk *disk, enum disk_kind kind, const char *name, uint64_t bytes)
{
    struct disk_request request = {.kind = kind, .bytes = bytes};
    (void)snprintf(request.name, sizeof(request.name), "%s", name);
    return one(disk, request);
}

static int64_t on_file(struct disk *disk, enum disk_kind kind, int64_t file, uint8_t *at,
                       uint64_t offset, uint64_t bytes)
{
    return one(
        disk, (struct disk_request){
                  .kind = kind, .file = (int32_t)file, .at = at, .offset = offset, .bytes = bytes});
}

/* From registered memory, and from the half that is not. */
static void written_blocks_are_read_again(void **state)
{
    struct disk *disk = disk_new(state);
    int64_t file = named(disk, DISK_CREATE, "a.log", FILE_BYTES);
    assert_true(file >= 0);
    for (size_t from = 0; from < MEMORY_BYTES; from += MEMORY_BYTES / 2) {
        memset(memory + from, (int)(from >> 16) + 1, 2 * DISK_BLOCK_BYTES);
        assert_int_equal(on_file(disk, DISK_WRITE, file, memory + from, 4096, 8192), 8192);
        assert_int_equal(on_file(disk, DISK_FILL, file, memory + from, 16384, 4096), 4096);
        assert_int_equal(on_file(disk, DISK_SYNC, file, NULL, 0, 0), 0);
        uint8_t *dst = memory + from + 65536;
        memset(dst, 0xee, 8192);
        assert_int_equal(on_file(disk, DISK_READ, file, dst, 4096, 8192), 8192);
        assert_memory_equal(dst, memory + from, 8192);
        assert_int_equal(on_file(disk, DISK_READ, file, dst, 16384, 4096), 4096);
        assert_memory_equal(dst, memory + from, 4096);
    }
    assert_int_equal(on_file(disk, DISK_CLOSE, file, NULL, 0, 0), 0);
    assert_int_equal(named(disk, DISK_SYNC_FOLDER, "", 0), 0);
    disk_close(disk);
    /* Another disk finds it. */
    disk = disk_new(state);
    file = named(disk, DISK_OPEN, "a.log", FILE_BYTES);
    assert_true(file >= 0);
    assert_int_equal(on_file(disk, DISK_READ, file, memory, 4096, 4096), 4096);
    assert_int_equal(memory[0], (MEMORY_BYTES / 2 >> 16) + 1);
    assert_int_equal(named(disk, DISK_UNLINK, "a.log", 0), 0);
    disk_close(disk);
}

static void a_made_file_is_allocated_and_made_once(void **state)
{
    struct disk *disk = disk_new(state);
    struct disk_entry entries[4];
    struct stat stat_of;
    char path[128];
    assert_true(named(disk, DISK_CREATE, "b.log", FILE_BYTES) >= 0);
    assert_int_equal(named(disk, DISK_CREATE, "b.log", FILE_BYTES), -EEXIST);
    assert_int_equal(disk->ops->list(disk, entries, 4), 1);
    assert_string_equal(entries[0].name, "b.log");
    assert_int_equal(entries[0].bytes, FILE_BYTES);
    (void)snprintf(path, sizeof(path), "%s/b.log", folder);
    assert_int_equal(stat(path, &stat_of), 0);
    assert_true((uint64_t)stat_of.st_blocks * 512 >= FILE_BYTES);
    assert_int_equal(stat_of.st_mode & 0777, 0600);
    assert_int_equal(named(disk, DISK_UNLINK, "b.log", 0), 0);
    assert_int_equal(disk->ops->list(disk, entries, 4), 0);
    disk_close(disk);
}

static void what_cannot_be_is_an_error_of_its_own(void **state)
{
    struct disk *disk = disk_new(state);
    assert_int_equal(named(disk, DISK_OPEN, "none.log", 0), -ENOENT);
    assert_int_equal(named(disk, DISK_UNLINK, "none.log", 0), -ENOENT);
    assert_int_equal(on_file(disk, DISK_READ, 3, memory, 0, 4096), -EBADF);
    assert_int_equal(on_file(disk, DISK_WRITE, -1, memory, 0, 4096), -EBADF);
    assert_int_equal(on_file(disk, DISK_CLOSE, 99999, NULL, 0, 0), -EBADF);
    /* No disk has so much room; nothing is left behind. */
    struct disk_entry entries[4];
    assert_true(named(disk, DISK_CREATE, "huge.log", (uint64_t)1 << 52) < 0);
    assert_int_equal(disk->ops->list(disk, entries, 4), 0);
    const int64_t file = named(disk, DISK_CREATE, "c.log", FILE_BYTES);
    assert_int_equal(on_file(disk, DISK_READ, file, memory, FILE_BYTES - 4096, 8192), 4096);
    assert_int_equal(on_file(disk, DISK_READ, file, memory, FILE_BYTES, 4096), 0);
    assert_int_equal(on_file(disk, DISK_CLOSE, file, NULL, 0, 0), 0);
    assert_int_equal(on_file(disk, DISK_CLOSE, file, NULL, 0, 0), -EBADF);
    assert_int_equal(named(disk, DISK_UNLINK, "c.log", 0), 0);
    disk_close(disk);
}

static void many_are_out_at_once_and_no_more_than_the_bound(void **state)
{
    struct disk *disk = disk_new(state);
    const int64_t file = named(disk, DISK_CREATE, "d.log", DISK_REQUESTS_MAX * 4096);
    assert_true(file >= 0);
    struct disk_request request = {.kind = DISK_WRITE, .file = (int32_t)file, .bytes = 4096};
    for (uint32_t n = 0; n < DISK_REQUESTS_MAX; n++) {
        request.tag = n;
        request.offset = (uint64_t)n * 4096;
        request.at = memory + (n % 128) * 4096;
        assert_true(disk->ops->submit(disk, &request));
    }
    assert_false(disk->ops->submit(disk, &request));
    bool seen[DISK_REQUESTS_MAX] = {false};
    struct disk_result results[7];
    const uint64_t end_ns = clock_monotonic_ns() + LONG_NS;
    for (uint32_t got = 0; got < DISK_REQUESTS_MAX;) {
        assert_true(clock_monotonic_ns() < end_ns);
        const uint32_t count = disk->ops->reap(disk, LONG_NS, results, 7);
        for (uint32_t n = 0; n < count; n++) {
            assert_int_equal(results[n].result, 4096);
            assert_false(seen[results[n].tag]);
            seen[results[n].tag] = true;
        }
        got += count;
    }
    assert_int_equal(disk->ops->reap(disk, NS_PER_MS, results, 7), 0);
    assert_int_equal(named(disk, DISK_UNLINK, "d.log", 0), 0);
    disk_close(disk);
}

static bool rings(struct disk *disk, int timeout_ms)
{
    struct pollfd wanted = {.fd = disk->ops->doorbell(disk), .events = POLLIN};
    const bool rung = poll(&wanted, 1, timeout_ms) == 1;
    uint64_t count;
    if (rung)
        assert_int_equal(read(wanted.fd, &count, sizeof(count)), sizeof(count));
    return rung;
}

static void the_doorbell_rings_only_while_armed(void **state)
{
    struct disk *disk = disk_new(state);
    assert_true(disk->ops->doorbell(disk) >= 0);
    const int64_t file = named(disk, DISK_CREATE, "e.log", FILE_BYTES);
    assert_false(rings(disk, 0));
    const struct disk_request request = {
        .kind = DISK_WRITE, .file = (int32_t)file, .at = memory, .bytes = 4096, .tag = 5};
    struct disk_result result;
    for (uint32_t round = 0; round < 20; round++) {
        assert_true(disk->ops->submit(disk, &request));
        disk->ops->arm(disk, true);
        /* Hands it over; a result that is there already is as good as the bell. */
        if (disk->ops->reap(disk, 0, &result, 1) == 0) {
            assert_true(rings(disk, 20000));
            assert_int_equal(wait_one(disk, 5), 4096);
        }
        disk->ops->arm(disk, false);
        (void)rings(disk, 0);
        assert_int_equal(one(disk, request), 4096);
        assert_false(rings(disk, 0));
    }
    /* What is done before the bell is armed rings at once. */
    assert_true(disk->ops->submit(disk, &request));
    (void)disk->ops->reap(disk, 0, &result, 0);
    (void)usleep(50000);
    disk->ops->arm(disk, true);
    assert_true(rings(disk, 20000));
    assert_int_equal(wait_one(disk, 5), 4096);
    assert_int_equal(named(disk, DISK_UNLINK, "e.log", 0), 0);
    disk_close(disk);
}

static void a_wait_ends_by_time(void **state)
{
    struct disk *disk = disk_new(state);
    struct disk_result result;
    assert_int_equal(disk->ops->reap(disk, 5 * NS_PER_MS, &result, 1), 0);
    disk_close(disk);
}

static void other_files_are_not_listed(void **state)
{
    struct disk *disk = disk_new(state);
    struct disk_entry entries[2];
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/.hidden", folder);
    const int hidden = open(path, O_CREAT | O_RDWR, 0600);
    assert_true(hidden >= 0);
    char folder_in[128];
    (void)snprintf(folder_in, sizeof(folder_in), "%s/folder", folder);
    assert_int_equal(mkdir(folder_in, 0700), 0);
    assert_int_equal(disk->ops->list(disk, entries, 2), 0);
    for (char name[] = "1.log"; name[0] <= '3'; name[0]++)
        assert_true(named(disk, DISK_CREATE, name, 4096) >= 0);
    assert_int_equal(disk->ops->list(disk, entries, 2), -E2BIG);
    for (char name[] = "1.log"; name[0] <= '3'; name[0]++)
        assert_int_equal(named(disk, DISK_UNLINK, name, 0), 0);
    assert_int_equal(close(hidden), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder_in), 0);
    disk_close(disk);
}

static void a_missing_folder_is_named(void **state)
{
    struct disk *disk = NULL;
    char why[DISK_WHY_BYTES] = "";
    const int rc = *state == NULL ? disk_thread_open(&disk, "/nonexistent/spool", why)
                                  : disk_uring_open(&disk, "/nonexistent/spool", NULL, why);
    assert_int_equal(rc, -ENOENT);
    assert_non_null(strstr(why, "/nonexistent/spool"));
    disk_close(NULL);
}

static int folder_make(void **state)
{
    (void)state;
    if (getenv("TMPDIR") != NULL)
        (void)snprintf(folder, sizeof(folder), "%.40s/disk_test.XXXXXX", getenv("TMPDIR"));
    else
        (void)snprintf(folder, sizeof(folder), "/tmp/disk_test.XXXXXX");
    memory = aligned_alloc(DISK_BLOCK_BYTES, MEMORY_BYTES);
    return memory != NULL && mkdtemp(folder) != NULL ? 0 : -1;
}

static int folder_remove(void **state)
{
    (void)state;
    free(memory);
    return rmdir(folder);
}

#define BOTH(test)                                                                                 \
    {#test " (io_uring)", test, NULL, NULL, folder},                                               \
    {                                                                                              \
#test " (thread)", test, NULL, NULL, NULL                                                  \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(written_blocks_are_read_again),
        BOTH(a_made_file_is_allocated_and_made_once),
        BOTH(what_cannot_be_is_an_error_of_its_own),
        BOTH(many_are_out_at_once_and_no_more_than_the_bound),
        BOTH(the_doorbell_rings_only_while_armed),
        BOTH(a_wait_ends_by_time),
        BOTH(other_files_are_not_listed),
        BOTH(a_missing_folder_is_named),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
