#include "crypto/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* The sanitizers' run times turn mlock(2) into nothing. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(__clang__)
#define MLOCK_WORKS 0
#else
#define MLOCK_WORKS 1
#endif

static void ct_equal_sees_every_differing_bit(void **state)
{
    (void)state;
    uint8_t a[64];
    uint8_t b[64];
    for (size_t i = 0; i < sizeof(a); i++)
        a[i] = b[i] = (uint8_t)(i * 37 + 11);
    for (size_t bytes = 0; bytes <= sizeof(a); bytes++) {
        assert_true(ct_equal(a, b, bytes));
        for (size_t bit = 0; bit < sizeof(a) * 8; bit++) {
            b[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(ct_equal(a, b, bytes), bit / 8 >= bytes);
            b[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}

static void wipe_clears_just_the_bytes_it_is_given(void **state)
{
    (void)state;
    uint8_t bytes[96];
    memset(bytes, 0xee, sizeof(bytes));
    secret_wipe(bytes + 16, 64);
    for (size_t i = 0; i < sizeof(bytes); i++)
        assert_int_equal(bytes[i], i >= 16 && i < 80 ? 0 : 0xee);
    secret_wipe(NULL, 0);
}

/* Where the wiped bytes are seen after their scope: a local's own memory is gone by then. */
static uint8_t seen_by_wipe[32];

static void wipe_and_look(uint8_t (*secret)[32])
{
    secret_wipe_32(secret);
    memcpy(seen_by_wipe, *secret, sizeof(seen_by_wipe));
}

static void secret_wipe_32_clears_a_local_at_its_end(void **state)
{
    (void)state;
    memset(seen_by_wipe, 0x77, sizeof(seen_by_wipe));
    {
        __attribute__((cleanup(wipe_and_look))) uint8_t secret[32];
        memset(secret, 0x77, sizeof(secret));
    }
    for (size_t i = 0; i < sizeof(seen_by_wipe); i++)
        assert_int_equal(seen_by_wipe[i], 0);
}

/* The VmFlags line of the mapping that holds `at`; proc(5). */
static bool flags_of(const void *at, char *flags, size_t flags_room)
{
    FILE *smaps = fopen("/proc/self/smaps", "r");
    if (smaps == NULL)
        return false;
    char line[512];
    bool inside = false;
    bool found = false;
    while (!found && fgets(line, sizeof(line), smaps) != NULL) {
        unsigned long from;
        unsigned long to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            inside = (unsigned long)at >= from && (unsigned long)at < to;
        if (inside && strncmp(line, "VmFlags:", 8) == 0) {
            (void)snprintf(flags, flags_room, "%s ", line + 8);
            flags[strcspn(flags, "\n")] = ' ';
            found = true;
        }
    }
    (void)fclose(smaps);
    return found;
}

static void pages_stay_out_of_cores_and_children_and_huge_pages(void **state)
{
    (void)state;
    void *pages = NULL;
    char flags[512];
    assert_int_equal(secret_pages_open(&pages, 10000), 0);
    if (!flags_of(pages, flags, sizeof(flags))) {
        print_message("skipped: no VmFlags in /proc/self/smaps\n");
        secret_pages_close(pages, 10000);
        skip();
    }
    assert_non_null(strstr(flags, " dd ")); /* not in cores   */
    assert_non_null(strstr(flags, " wf ")); /* wiped on fork  */
    assert_non_null(strstr(flags, " nh ")); /* not huge       */
    assert_null(strstr(flags, " sh "));     /* private        */
    struct rlimit lock_limit;
    assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &lock_limit), 0);
    if (MLOCK_WORKS && lock_limit.rlim_cur >= 65536)
        assert_non_null(strstr(flags, " lo ")); /* never swapped */
    secret_pages_close(pages, 10000);
}

static void pages_open_zeroed_and_hold_bytes(void **state)
{
    (void)state;
    for (size_t bytes = 1; bytes <= 3 * 4096; bytes += 1365) {
        void *pages = NULL;
        assert_int_equal(secret_pages_open(&pages, bytes), 0);
        assert_true((uintptr_t)pages % 4096 == 0);
        uint8_t *at = pages;
        for (size_t i = 0; i < bytes; i++) {
            assert_int_equal(at[i], 0);
            at[i] = 0x5a;
        }
        secret_pages_close(pages, bytes);
    }
    secret_pages_close(NULL, 4096);
}

static void pages_are_zero_in_a_forked_child(void **state)
{
    (void)state;
    void *pages = NULL;
    assert_int_equal(secret_pages_open(&pages, 8192), 0);
    memset(pages, 0x42, 8192);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const uint8_t *at = pages;
        int seen = 0;
        for (size_t i = 0; i < 8192; i++)
            seen |= at[i];
        _exit(seen == 0 ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    const uint8_t *at = pages;
    assert_int_equal(at[0], 0x42); /* the parent keeps its own */
    assert_int_equal(at[8191], 0x42);
    secret_pages_close(pages, 8192);
}

static void pages_that_cannot_be_had_are_an_error(void **state)
{
    (void)state;
    void *pages = (void *)16;
    assert_true(secret_pages_open(&pages, (size_t)1 << 62) < 0);
    assert_ptr_equal(pages, (void *)16); /* untouched */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ct_equal_sees_every_differing_bit),
        cmocka_unit_test(wipe_clears_just_the_bytes_it_is_given),
        cmocka_unit_test(secret_wipe_32_clears_a_local_at_its_end),
        cmocka_unit_test(pages_stay_out_of_cores_and_children_and_huge_pages),
        cmocka_unit_test(pages_open_zeroed_and_hold_bytes),
        cmocka_unit_test(pages_are_zero_in_a_forked_child),
        cmocka_unit_test(pages_that_cannot_be_had_are_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
