/* The real bullad at its edges: arenas of every size, slow clients, many clients, memory. */
#include "base/clock.h"
#include "base/macros.h"
#include "ipc/layout.h"
#include "tests/engine/daemon.h"
#include "tests/engine/pump.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct daemon bullad;

static void finish(void)
{
    assert_int_equal(daemon_stop(&bullad), 0);
    daemon_fini(&bullad);
}

static struct bulla *attach(uint32_t slots_count, size_t input_bytes)
{
    struct bulla *bulla;
    const struct bulla_config config = {
        .socket_path = bullad.socket, .slots_count = slots_count, .input_bytes = input_bytes};
    assert_int_equal(bulla_attach(&bulla, &config), 0);
    return bulla;
}

/* 0, or -EAGAIN when there is no room. */
static int submit(struct bulla *bulla, size_t bytes)
{
    const char *const recipients[] = {"b@example.org"};
    const struct bulla_request request = {
        .recipients = recipients, .recipients_count = 1, .mail_bytes = bytes};
    struct bulla_reservation reservation;
    const int rc = bulla_reserve(bulla, &request, &reservation);
    if (rc != 0)
        return rc;
    memset(reservation.mail, 'x', bytes);
    assert_int_equal(bulla_submit(bulla, &reservation), 0);
    return 0;
}

static void seals(size_t bytes)
{
    uint8_t *mail = daemon_mail(bytes, (uint32_t)bytes);
    struct outcome outcome = daemon_seal(&bullad, "default", 0, mail, bytes);
    daemon_expect_opens(&bullad, &outcome, mail, bytes);
    free(outcome.sealed);
    free(mail);
}

/* ---- arenas ---- */

/* Mails that fill the arena to the byte, one too large, and a crowd of odd ones. */
static void arena_holds_up(size_t input_bytes, size_t mail_bytes_max)
{
    const size_t sizes[] = {mail_bytes_max,
                            0,
                            1,
                            mail_bytes_max / 2,
                            mail_bytes_max / 2 + 1,
                            mail_bytes_max / 7,
                            65535,
                            65536,
                            65537,
                            4097};
    const struct pump pump = {.daemon = &bullad,
                              .sizes = sizes,
                              .sizes_count = ARRAY_COUNT(sizes),
                              .count = 2 * ARRAY_COUNT(sizes),
                              .held_max = 3,
                              .slots_count = 16,
                              .input_bytes = input_bytes,
                              .opens = true};
    pump_run(&pump);
    struct bulla *bulla = attach(8, input_bytes);
    assert_int_equal(submit(bulla, IPC_ARENA_BYTES_MAX), -EMSGSIZE);
    bulla_detach(bulla);
}

static void bullad_serves_arenas_of_every_size(void **state)
{
    (void)state;
    /* The smallest, beside a page's and a line's bounds, and what no power of two divides. */
    static const size_t inputs[] = {
        1, (1 << 20) - IPC_META_BYTES_MAX, 1 << 20, (1 << 20) + 1, 3333333, (5 << 20) - 1};
    daemon_start(&bullad, "workers = 1", "", 0);
    for (size_t i = 0; i < ARRAY_COUNT(inputs); i++) {
        const size_t arena = MAX(inputs[i], (size_t)IPC_ARENA_BYTES_MIN - IPC_META_BYTES_MAX);
        arena_holds_up(inputs[i], arena);
    }
    finish();
}

/* The largest of all where there is time for it: making and zeroing both memfds of it takes seconds
 * on a busy machine, and a client waits ten for its welcome. */
static void bullad_serves_arenas_that_are_large(void **state)
{
    (void)state;
    static const size_t sizes[] = {32 << 20, 4096, 65537};
    const struct pump pump = {.daemon = &bullad,
                              .sizes = sizes,
                              .sizes_count = ARRAY_COUNT(sizes),
                              .count = 6,
                              .held_max = 6,
                              .input_bytes = getenv("BULLA_SOAK") != NULL
                                                 ? IPC_ARENA_BYTES_MAX - IPC_META_BYTES_MAX
                                                 : 128 << 20,
                              .opens = true};
    daemon_start(&bullad, "workers = 1\noutput_arena = 1GB\nsession_memory = 4GB", "", 0);
    pump_run(&pump);
    finish();
}

/* ---- clients that do not do their part ---- */

#define TURNS_OF_ROOM 40 /* the fault came within 15 */
#define FULL_SLOTS    8

static void bullad_goes_on_beside_a_full_completion_ring(void **state)
{
    (void)state;
    struct bulla_completion held[FULL_SLOTS];
    uint32_t held_count = 0;
    daemon_start(&bullad, "workers = 1", "", 0);
    struct bulla *full = attach(FULL_SLOTS, 1 << 20);
    for (uint32_t i = 0; i < FULL_SLOTS; i++)
        assert_int_equal(submit(full, 4096), 0);
    while (held_count < FULL_SLOTS) {
        assert_int_equal(bulla_wait(full, DAEMON_WAIT_MS), 1);
        const int count = bulla_poll(full, held + held_count, FULL_SLOTS - held_count);
        assert_true(count > 0);
        held_count += (uint32_t)count;
    }
    for (uint32_t turn = 0; turn < 10; turn++) {
        assert_int_equal(submit(full, 4096), -EAGAIN);
        seals(4096);
        seals(100000);
    }
    /* Not even the last can be used again while the first is held: slots come back in order. */
    bulla_release(full, &held[FULL_SLOTS - 1]);
    assert_int_equal(submit(full, 4096), -EAGAIN);
    for (uint32_t i = 0; i + 1 < FULL_SLOTS; i++)
        bulla_release(full, &held[i]);
    for (uint32_t i = 0; i < FULL_SLOTS; i++)
        assert_int_equal(submit(full, 4096), 0);
    assert_int_equal(bulla_wait(full, DAEMON_WAIT_MS), 1);
    bulla_detach(full);
    finish();
}

/* It asked to be woken, and then reads neither its ring nor its socket. */
static void bullad_goes_on_beside_a_client_that_never_polls(void **state)
{
    (void)state;
    uint32_t deaf_count = 0;
    daemon_start(&bullad, "workers = 1", "", 0);
    struct bulla *deaf = attach(IPC_SLOTS_MAX, 32 << 20);
    assert_true(bulla_fd(deaf) >= 0);
    for (uint32_t turn = 0; turn < 20; turn++) {
        for (uint32_t i = 0; i < 400 && submit(deaf, 2000) == 0; i++)
            deaf_count++;
        seals(4096);
    }
    assert_int_equal(deaf_count, IPC_SLOTS_MAX);
    assert_int_equal(submit(deaf, 2000), -EAGAIN);
    seals(1 << 20);
    bulla_detach(deaf);
    seals(4096);
    finish();
}

/* ---- many clients on one worker ---- */

#define CROWD          64
#define CROWD_WINDOW   16
#define CROWD_MESSAGES 6400 /* of them all, but for the greedy one's */
#define CROWD_SHARE    (CROWD_MESSAGES / (CROWD - 1))

struct member {
    struct bulla *bulla;
    uint32_t under_way;
    uint32_t done;
};

/* As many as the window takes; what is answered is released at once. */
static void member_turn(struct member *member, uint32_t window)
{
    struct bulla_completion completions[32];
    while (member->under_way < window && submit(member->bulla, 1500) == 0)
        member->under_way++;
    const int count = bulla_poll(member->bulla, completions, ARRAY_COUNT(completions));
    assert_true(count >= 0);
    for (int i = 0; i < count; i++) {
        assert_int_equal(completions[i].status, BULLA_SEALED);
        bulla_release(member->bulla, &completions[i]);
    }
    member->under_way -= (uint32_t)count;
    member->done += (uint32_t)count;
}

/* All of them want more than there is, the first one far more: none gets less than half of an even
 * share, and the first one no more than its window lets it have. */
static void bullad_serves_64_clients_of_one_worker_alike(void **state)
{
    (void)state;
    static struct member members[CROWD];
    uint32_t done = 0;
    const uint64_t until_ns = clock_monotonic_ns() + DAEMON_WAIT_MS * NS_PER_MS * 6;
    daemon_start(&bullad, "workers = 1\nsessions_per_user = 80", "", 0);
    memset(members, 0, sizeof(members));
    for (uint32_t i = 0; i < CROWD; i++)
        members[i].bulla = attach(i == 0 ? 1024 : CROWD_WINDOW, 1 << 20);
    while (done < CROWD_MESSAGES && clock_monotonic_ns() < until_ns) {
        member_turn(&members[0], 512);
        for (uint32_t i = 1; i < CROWD; i++) {
            const uint32_t before = members[i].done;
            member_turn(&members[i], CROWD_WINDOW);
            done += members[i].done - before;
        }
    }
    assert_true(done >= CROWD_MESSAGES);
    for (uint32_t i = 1; i < CROWD; i++) {
        if (members[i].done < CROWD_SHARE / 2 || members[i].done > 2 * CROWD_SHARE)
            print_error("client %u: %u of %u\n", i, members[i].done, CROWD_SHARE);
        assert_true(members[i].done >= CROWD_SHARE / 2);
        assert_true(members[i].done <= 2 * CROWD_SHARE);
    }
    for (uint32_t i = 0; i < CROWD; i++)
        bulla_detach(members[i].bulla);
    finish();
}

/* ---- memory ---- */

#define RESIDENT_BYTES_MAX   (UINT64_C(64) << 20)
#define RESIDENT_GROWTH_MAX  (UINT64_C(2) << 20)
#define RESIDENT_SMALL_COUNT 20000
#define LARGE_BYTES          (25 << 20)

/* What the daemon holds beside the memfds of its sessions. */
static uint64_t resident_bytes(void)
{
    char path[64];
    char line[256];
    uint64_t all_kb = 0;
    uint64_t shared_kb = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)bullad.pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "VmRSS:", 6) == 0)
            all_kb = strtoull(line + 6, NULL, 10);
        else if (strncmp(line, "RssShmem:", 9) == 0)
            shared_kb = strtoull(line + 9, NULL, 10);
    }
    (void)fclose(file);
    assert_true(all_kb > shared_kb);
    return (all_kb - shared_kb) * 1024;
}

static void pump_sizes(const size_t *sizes, uint32_t sizes_count, uint32_t count)
{
    const struct pump pump = {.daemon = &bullad,
                              .sizes = sizes,
                              .sizes_count = sizes_count,
                              .count = count,
                              .held_max = 4};
    pump_run(&pump);
}

static void bullad_needs_no_more_memory_for_more_or_larger_messages(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* a sanitizer keeps more than the engine does */
#endif
    static const size_t small[] = {100, 4096, 20000};
    static const size_t large[] = {LARGE_BYTES};
    daemon_start(&bullad, "workers = 1", "", 0);
    pump_sizes(small, ARRAY_COUNT(small), RESIDENT_SMALL_COUNT / 10);
    const uint64_t few = resident_bytes();
    pump_sizes(small, ARRAY_COUNT(small), RESIDENT_SMALL_COUNT);
    const uint64_t many = resident_bytes();
    pump_sizes(large, ARRAY_COUNT(large), 6);
    const uint64_t largest = resident_bytes();
    print_message("resident beside the arenas: %llu KiB, %llu after many, %llu after large ones\n",
                  (unsigned long long)few / 1024, (unsigned long long)many / 1024,
                  (unsigned long long)largest / 1024);
    assert_true(largest <= RESIDENT_BYTES_MAX);
    assert_true(many <= few + RESIDENT_GROWTH_MAX);
    assert_true(largest <= few + RESIDENT_GROWTH_MAX);
    finish();
}

/* One client's waiting mail gets its room all at once, behind another that has taken some already.
 */
static void bullad_takes_no_more_than_a_vector(void **state)
{
    static struct bulla_completion held[4096];
    struct member busy = {0};
    (void)state;
    daemon_size_limit = "100KB"; /* else a large message would not fit that arena */
    daemon_start(&bullad, "workers = 1\noutput_arena = 2MB", "", 0);
    daemon_size_limit = DAEMON_SIZE_LIMIT;
    busy.bulla = attach(512, 4 << 20);
    struct bulla *slow = attach(1024, 16 << 20);
    for (uint32_t turn = 0; turn < TURNS_OF_ROOM; turn++) {
        uint32_t held_count = 0;
        for (uint32_t i = 0; i < 800 && submit(slow, 2000) == 0; i++)
            ;
        const uint64_t until_ns = clock_monotonic_ns() + 20 * NS_PER_MS;
        while (clock_monotonic_ns() < until_ns && held_count <= ARRAY_COUNT(held) - 64) {
            const int count = bulla_poll(slow, held + held_count, 64);
            assert_true(count >= 0);
            held_count += (uint32_t)count;
            member_turn(&busy, 8);
        }
        for (uint32_t n = 0; n < 20; n++)
            member_turn(&busy, 8);
        for (uint32_t i = 0; i < held_count; i++)
            bulla_release(slow, &held[i]);
        for (uint32_t n = 0; n < 2000; n++)
            member_turn(&busy, 24);
    }
    bulla_detach(busy.bulla);
    bulla_detach(slow);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bullad_takes_no_more_than_a_vector),
        cmocka_unit_test(bullad_serves_arenas_of_every_size),
        cmocka_unit_test(bullad_serves_arenas_that_are_large),
        cmocka_unit_test(bullad_goes_on_beside_a_full_completion_ring),
        cmocka_unit_test(bullad_goes_on_beside_a_client_that_never_polls),
        cmocka_unit_test(bullad_serves_64_clients_of_one_worker_alike),
        cmocka_unit_test(bullad_needs_no_more_memory_for_more_or_larger_messages),
    };
    cmocka_set_test_filter(getenv("BULLA_TEST")); /* NULL: all */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
