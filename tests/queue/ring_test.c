/* The single-producer ring: order, bounds, and two real threads. */
#include "queue/ring.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STRESS_ITEMS 2000000

static void ring_gives_items_back_in_order(void **state)
{
    (void)state;
    uint64_t items[8];
    struct ring ring;
    ring_init(&ring, items, 8, sizeof(items[0]));
    uint64_t next_in = 0;
    uint64_t next_out = 0;
    /* Bursts of 5 and 3 drift over the end of the array in every position. */
    for (uint32_t round = 0; round < 1000; round++) {
        uint64_t burst[5];
        for (uint32_t n = 0; n < 5; n++)
            burst[n] = next_in + n;
        next_in += ring_push_burst(&ring, burst, 5);
        uint64_t out[3];
        const uint32_t count = ring_pop_burst(&ring, out, 3);
        for (uint32_t n = 0; n < count; n++)
            assert_int_equal(out[n], next_out++);
        assert_int_equal(ring_count(&ring), next_in - next_out);
    }
    assert_true(next_in > 2500);
}

static void full_ring_takes_what_fits(void **state)
{
    (void)state;
    uint32_t items[4];
    const uint32_t in[6] = {1, 2, 3, 4, 5, 6};
    struct ring ring;
    ring_init(&ring, items, 4, sizeof(items[0]));
    assert_int_equal(ring_push_burst(&ring, in, 3), 3);
    assert_int_equal(ring_push_burst(&ring, in + 3, 3), 1);
    assert_int_equal(ring_push_burst(&ring, in, 1), 0);
    assert_int_equal(ring_push_burst(&ring, in, 0), 0);
    uint32_t out[6];
    assert_int_equal(ring_pop_burst(&ring, out, 6), 4);
    assert_memory_equal(out, in, 4 * sizeof(out[0]));
    assert_int_equal(ring_pop_burst(&ring, out, 6), 0);
    assert_int_equal(ring_pop_burst(&ring, out, 0), 0);
}

static void ring_of_one_works(void **state)
{
    (void)state;
    uint8_t item[64];
    uint8_t in[64];
    uint8_t out[64];
    struct ring ring;
    ring_init(&ring, item, 1, sizeof(item));
    for (uint8_t n = 0; n < 200; n++) {
        memset(in, n, sizeof(in));
        assert_int_equal(ring_push_burst(&ring, in, 1), 1);
        assert_int_equal(ring_push_burst(&ring, in, 1), 0);
        assert_int_equal(ring_pop_burst(&ring, out, 1), 1);
        assert_memory_equal(in, out, sizeof(in));
    }
}

/* Counts run for ever; a ring that has passed 2^32 is as good as a new one. */
static void counts_wrap_at_32_bits(void **state)
{
    (void)state;
    uint32_t items[8];
    struct ring ring;
    ring_init(&ring, items, 8, sizeof(items[0]));
    const uint32_t near_end = UINT32_MAX - 5;
    atomic_store(&ring.tail, near_end);
    atomic_store(&ring.head, near_end);
    ring.head_seen = near_end;
    ring.tail_seen = near_end;
    for (uint32_t n = 0; n < 100; n++) {
        const uint32_t in[3] = {n, n + 1, n + 2};
        uint32_t out[3];
        assert_int_equal(ring_push_burst(&ring, in, 3), 3);
        assert_int_equal(ring_count(&ring), 3);
        assert_int_equal(ring_pop_burst(&ring, out, 3), 3);
        assert_memory_equal(in, out, sizeof(in));
    }
}

struct stress_item {
    uint64_t number;
    uint64_t check;
    uint8_t rest[48];
};

static void *stress_push(void *argument)
{
    struct ring *ring = argument;
    struct stress_item burst[32];
    uint64_t number = 0;
    while (number < STRESS_ITEMS) {
        uint32_t count = 0;
        for (; count < 1 + number % 32 && number + count < STRESS_ITEMS; count++) {
            burst[count].number = number + count;
            burst[count].check = ~(number + count);
            memset(burst[count].rest, (int)(number + count), sizeof(burst[count].rest));
        }
        number += ring_push_burst(ring, burst, count);
    }
    return NULL;
}

static void two_threads_lose_and_tear_nothing(void **state)
{
    (void)state;
    static struct stress_item items[256];
    struct ring ring;
    ring_init(&ring, items, 256, sizeof(items[0]));
    pthread_t pusher;
    assert_int_equal(pthread_create(&pusher, NULL, stress_push, &ring), 0);
    uint64_t expected = 0;
    while (expected < STRESS_ITEMS) {
        struct stress_item out[24];
        const uint32_t count = ring_pop_burst(&ring, out, 24);
        for (uint32_t n = 0; n < count; n++, expected++) {
            if (out[n].number != expected || out[n].check != ~expected ||
                out[n].rest[0] != (uint8_t)expected || out[n].rest[47] != (uint8_t)expected)
                fail_msg("item %llu is torn", (unsigned long long)expected);
        }
    }
    assert_int_equal(pthread_join(pusher, NULL), 0);
    assert_int_equal(ring_count(&ring), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ring_gives_items_back_in_order),
        cmocka_unit_test(full_ring_takes_what_fits),
        cmocka_unit_test(ring_of_one_works),
        cmocka_unit_test(counts_wrap_at_32_bits),
        cmocka_unit_test(two_threads_lose_and_tear_nothing),
    };
    return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
