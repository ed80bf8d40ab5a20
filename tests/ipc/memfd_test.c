#include "ipc/memfd.h"

#include "base/macros.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE_BYTES  4096
#define BLOCK_BYTES 512
#define ODD_BYTES   ((UINT64_C(5) << 20) + PAGE_BYTES) /* two huge pages and a rest */
#define ODD_HUGE    (UINT64_C(4) << 20)

static const enum memfd_pages all_pages[] = {MEMFD_PAGES_SMALL, MEMFD_PAGES_HUGE};

static uint64_t allocated_bytes(int fd)
{
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    return (uint64_t)status.st_blocks * BLOCK_BYTES;
}

/* What maps `at`, of pages of 2 MiB. */
static uint64_t mapped_huge_bytes(const void *at)
{
    char line[512];
    unsigned long kib = 0;
    bool ours = false;
    FILE *file = fopen("/proc/self/smaps", "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        char *end;
        const unsigned long start = strtoul(line, &end, 16);
        if (*end == '-')
            ours = start <= (uintptr_t)at && strtoul(end + 1, NULL, 16) > (uintptr_t)at;
        else if (ours && sscanf(line, "ShmemPmdMapped: %lu kB", &kib) == 1)
            break;
    }
    (void)fclose(file);
    return (uint64_t)kib << 10;
}

/* The kernel's administrator lets shared memory have huge pages, in the word that is in brackets.
 */
static bool kernel_lets(void)
{
    char line[256] = "";
    FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "re");
    if (file == NULL)
        return false;
    const bool read = fgets(line, sizeof(line), file) != NULL;
    (void)fclose(file);
    return read && (strstr(line, "[advise]") != NULL || strstr(line, "[always]") != NULL ||
                    strstr(line, "[within_size]") != NULL || strstr(line, "[force]") != NULL);
}

static void every_page_is_there_and_no_more(void **state)
{
    static const uint64_t sizes[] = {PAGE_BYTES, (UINT64_C(2) << 20) - PAGE_BYTES, ODD_HUGE,
                                     ODD_BYTES};
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        for (size_t k = 0; k < ARRAY_COUNT(all_pages); k++) {
            struct memfd ours;
            struct memfd theirs;
            assert_int_equal(memfd_open(&ours, "test", sizes[i], all_pages[k]), 0);
            assert_int_equal(allocated_bytes(ours.fd), sizes[i]);
            assert_int_equal(ours.at[0] | ours.at[sizes[i] - 1], 0);
            ours.at[sizes[i] - 1] = 7;
            assert_int_equal(memfd_map_peer(&theirs, dup(ours.fd), sizes[i]), 0);
            assert_int_equal(theirs.at[sizes[i] - 1], 7);
            memfd_close(&theirs);
            memfd_close(&ours);
        }
    }
}

static void nobody_takes_a_page_away_again(void **state)
{
    (void)state;
    for (size_t k = 0; k < ARRAY_COUNT(all_pages); k++) {
        struct memfd ours;
        assert_int_equal(memfd_open(&ours, "test", ODD_BYTES, all_pages[k]), 0);
        const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
        assert_int_equal(fallocate(ours.fd, punch, 0, (off_t)ODD_HUGE), -1);
        assert_int_equal(errno, EPERM);
        assert_int_equal(fallocate(ours.fd, punch, (off_t)ODD_HUGE, PAGE_BYTES), -1);
        assert_int_equal(errno, EPERM);
        assert_int_equal(ftruncate(ours.fd, PAGE_BYTES), -1);
        assert_int_equal(errno, EPERM);
        assert_int_equal(ftruncate(ours.fd, (off_t)(2 * ODD_BYTES)), -1);
        /* MADV_REMOVE is the same by way of the mapping that may write. */
        assert_int_equal(madvise(ours.at, ODD_HUGE, MADV_REMOVE), -1);
        assert_int_equal(allocated_bytes(ours.fd), ODD_BYTES);
        memfd_close(&ours);
    }
}

/* Its last page is huge and reaches beyond the end, which makes up for the blocks of its first; -1:
 * no such thing can be had here. */
static int with_a_hole(void)
{
    const uint64_t bytes = ODD_HUGE + PAGE_BYTES;
    const uint64_t mapped_bytes = ODD_HUGE + (UINT64_C(2) << 20);
    const int fd = memfd_create("test", MFD_ALLOW_SEALING | MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
    uint8_t *at = mmap(NULL, mapped_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(at, MAP_FAILED);
    if (madvise(at, mapped_bytes, MADV_HUGEPAGE) == 0)
        at[ODD_HUGE] = 7;
    assert_int_equal(munmap(at, mapped_bytes), 0);
    assert_int_equal(fallocate(fd, 0, PAGE_BYTES, (off_t)(ODD_HUGE - PAGE_BYTES)), 0);
    if (allocated_bytes(fd) >= bytes && lseek(fd, 0, SEEK_HOLE) == 0)
        return fd;
    assert_int_equal(close(fd), 0);
    return -1;
}

/* Or it would be filled at the first look, if there is memory then. */
static void a_hole_that_a_huge_page_hides_is_filled_before_anything_is_read(void **state)
{
    struct memfd theirs;
    (void)state;
    const int fd = with_a_hole();
    if (fd < 0) {
        print_message("no huge page beyond a memory's end can be had here\n");
        skip();
    }
    assert_int_equal(fcntl(fd, F_ADD_SEALS, MEMFD_SEALS), 0);
    assert_int_equal(memfd_map_peer(&theirs, fd, ODD_HUGE + PAGE_BYTES), 0);
    assert_int_equal(lseek(fd, 0, SEEK_HOLE), ODD_HUGE + PAGE_BYTES);
    memfd_close(&theirs);
}

static void huge_pages_are_mapped_on_both_sides(void **state)
{
    struct memfd ours;
    struct memfd theirs;
    (void)state;
    if (!kernel_lets()) {
        print_message("no huge pages for shared memory here: "
                      "/sys/kernel/mm/transparent_hugepage/shmem_enabled does not say advise\n");
        skip();
    }
    assert_int_equal(memfd_open(&ours, "test", ODD_BYTES, MEMFD_PAGES_HUGE), 0);
    assert_int_equal(memfd_map_peer(&theirs, dup(ours.fd), ODD_BYTES), 0);
    const uint64_t ours_bytes = mapped_huge_bytes(ours.at);
    const uint64_t theirs_bytes = mapped_huge_bytes(theirs.at);
    memfd_close(&theirs);
    memfd_close(&ours);
    if (ours_bytes < ODD_HUGE) {
        print_message("the kernel found too few huge pages: memory is in small pieces\n");
        skip();
    }
    assert_int_equal(ours_bytes, ODD_HUGE);
    assert_int_equal(theirs_bytes, ODD_HUGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_page_is_there_and_no_more),
        cmocka_unit_test(nobody_takes_a_page_away_again),
        cmocka_unit_test(a_hole_that_a_huge_page_hides_is_filled_before_anything_is_read),
        cmocka_unit_test(huge_pages_are_mapped_on_both_sides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
