/*
 * One lane on one memory, so that ThreadSanitizer sees both sides: two mappings of a memfd are two
 * memories to it. No slot is torn, none lost, and no sleep outlives its wake-up.
 */
#include "ipc/lane.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#define SLOTS        32
#define STRESS_SLOTS UINT32_C(400000)
#define BELL_WAIT_MS 20000 /* a lost wake-up ends here */

struct slot {
    uint64_t words[8];
};

/* The memory of both sides, each page with its one writer. */
struct world {
    struct ipc_page writer_page;
    struct ipc_page reader_page;
    struct slot slots[SLOTS];
    int to_reader;
    int to_writer;
    _Atomic uint32_t lost;
    uint32_t start; /* where both indices begin */
    uint32_t sleeps;
};

static void bell_ring(int fd)
{
    const uint64_t one = 1;
    const ssize_t written = write(fd, &one, sizeof(one));
    ASSERT(written == (ssize_t)sizeof(one));
}

/* False when nobody rang for a very long time. */
static bool bell_wait(int fd)
{
    uint64_t rings;
    struct pollfd bell = {.fd = fd, .events = POLLIN};
    if (poll(&bell, 1, BELL_WAIT_MS) != 1)
        return false;
    const ssize_t got = read(fd, &rings, sizeof(rings));
    ASSERT(got == (ssize_t)sizeof(rings));
    return true;
}

static struct world *world_new(uint32_t start)
{
    struct world *world = aligned_alloc(CACHE_LINE, sizeof(*world));
    assert_non_null(world);
    memset(world, 0, sizeof(*world));
    atomic_store(&world->writer_page.tail, start);
    atomic_store(&world->reader_page.head, start);
    world->start = start;
    world->to_reader = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    world->to_writer = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_true(world->to_reader >= 0 && world->to_writer >= 0);
    return world;
}

static void world_free(struct world *world)
{
    assert_int_equal(close(world->to_reader) | close(world->to_writer), 0);
    free(world);
}

static struct lane_writer writer_new(struct world *world)
{
    return (struct lane_writer){.own = &world->writer_page,
                                .peer = &world->reader_page,
                                .slots = (uint8_t *)world->slots,
                                .slots_count = SLOTS,
                                .tail = world->start,
                                .published = world->start,
                                .released = world->start};
}

static struct lane_reader reader_new(struct world *world)
{
    return (struct lane_reader){.peer = &world->writer_page,
                                .slots = (const uint8_t *)world->slots,
                                .slots_count = SLOTS,
                                .head = world->start};
}

/* As a client waits for slots: asleep for heads. */
static void writer_wait(struct world *world, struct lane_writer *lane)
{
    uint32_t released = 0;
    lane_sleep(&world->writer_page, IPC_ASLEEP_HEAD);
    bool sound = lane_released(lane, &released);
    ASSERT(sound);
    if (released == 0 && !bell_wait(world->to_writer))
        atomic_store(&world->lost, 1);
    lane_awake(&world->writer_page);
    sound = lane_released(lane, &released);
    ASSERT(sound);
    lane->released += released;
}

static void *writer_run(void *argument)
{
    struct world *world = argument;
    struct lane_writer lane = writer_new(world);
    uint32_t written = 0;
    while (written < STRESS_SLOTS && !atomic_load(&world->lost)) {
        for (uint32_t n = 0; n < 1 + written % 7 && written < STRESS_SLOTS; n++) {
            if (lane.tail - lane.released == SLOTS)
                break;
            struct slot slot;
            for (uint32_t word = 0; word < 8; word++)
                slot.words[word] = (uint64_t)written * 8 + word;
            lane_write(&lane, &slot);
            written++;
        }
        if (lane_publish(&lane) && (lane_peer_sleeps(&world->reader_page) & IPC_ASLEEP_TAIL) != 0)
            bell_ring(world->to_reader);
        if (lane.tail - lane.released == SLOTS)
            writer_wait(world, &lane);
    }
    return NULL;
}

static void reader_wait(struct world *world, const struct lane_reader *lane)
{
    uint32_t waiting = 0;
    lane_sleep(&world->reader_page, IPC_ASLEEP_TAIL);
    const bool sound = lane_waiting(lane, &waiting);
    ASSERT(sound);
    if (waiting == 0) {
        world->sleeps++;
        if (!bell_wait(world->to_reader))
            atomic_store(&world->lost, 1);
    }
    lane_awake(&world->reader_page);
}

static void reader_run(struct world *world)
{
    struct lane_reader lane = reader_new(world);
    uint32_t seen = 0;
    while (seen < STRESS_SLOTS && !atomic_load(&world->lost)) {
        uint32_t waiting = 0;
        assert_true(lane_waiting(&lane, &waiting));
        if (waiting == 0) {
            reader_wait(world, &lane);
            continue;
        }
        for (uint32_t n = 0; n < waiting; n++, seen++) {
            struct slot slot;
            lane_copy(&lane, n, &slot);
            for (uint32_t word = 0; word < 8; word++) {
                if (slot.words[word] != (uint64_t)seen * 8 + word)
                    fail_msg("slot %u is torn", seen);
            }
        }
        lane.head += waiting;
        lane_give_back(&world->reader_page, lane.head);
        if ((lane_peer_sleeps(&world->writer_page) & IPC_ASLEEP_HEAD) != 0)
            bell_ring(world->to_writer);
    }
    assert_int_equal(atomic_load(&world->lost), 0);
    assert_int_equal(seen, STRESS_SLOTS);
}

static void no_slot_is_torn_and_no_wake_up_lost(void **state)
{
    (void)state;
    /* From zero, and across the wrap of the indices. */
    static const uint32_t starts[] = {0, UINT32_MAX - STRESS_SLOTS / 2};
    for (size_t n = 0; n < ARRAY_COUNT(starts); n++) {
        struct world *world = world_new(starts[n]);
        pthread_t writer;
        assert_int_equal(pthread_create(&writer, NULL, writer_run, world), 0);
        reader_run(world);
        assert_int_equal(pthread_join(writer, NULL), 0);
        print_message("%u sleeps in %u slots\n", world->sleeps, STRESS_SLOTS);
        world_free(world);
    }
}

static void indices_that_no_peer_can_mean_are_seen(void **state)
{
    (void)state;
    static const uint32_t starts[] = {0, 5, UINT32_MAX - 3, UINT32_C(1) << 31};
    for (size_t n = 0; n < ARRAY_COUNT(starts); n++) {
        struct world *world = world_new(starts[n]);
        struct lane_reader reader = reader_new(world);
        struct lane_writer writer = writer_new(world);
        uint32_t count = 77;
        for (uint32_t ahead = 0; ahead <= SLOTS; ahead++) {
            atomic_store(&world->writer_page.tail, starts[n] + ahead);
            assert_true(lane_waiting(&reader, &count));
            assert_int_equal(count, ahead);
        }
        static const uint32_t wrong[] = {SLOTS + 1, 1000, UINT32_C(1) << 31, UINT32_MAX};
        for (size_t m = 0; m < ARRAY_COUNT(wrong); m++) {
            atomic_store(&world->writer_page.tail, starts[n] + wrong[m]);
            assert_false(lane_waiting(&reader, &count));
        }
        const struct slot slot = {{0}};
        for (uint32_t written = 0; written < 3; written++)
            lane_write(&writer, &slot);
        /* Written is not published: it cannot have been released. */
        atomic_store(&world->reader_page.head, starts[n] + 1);
        assert_false(lane_released(&writer, &count));
        assert_true(lane_publish(&writer));
        assert_false(lane_publish(&writer));
        assert_true(lane_released(&writer, &count));
        assert_int_equal(count, 1);
        atomic_store(&world->reader_page.head, starts[n] + 4);
        assert_false(lane_released(&writer, &count));
        atomic_store(&world->reader_page.head, starts[n] - 1);
        assert_false(lane_released(&writer, &count));
        world_free(world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(indices_that_no_peer_can_mean_are_seen),
        cmocka_unit_test(no_slot_is_torn_and_no_wake_up_lost),
    };
    return cmocka_run_group_tests_name("lane", tests, NULL, NULL);
}
