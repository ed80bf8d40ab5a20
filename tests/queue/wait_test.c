/* The wait point, on io_uring and on epoll: each test runs on both. */
#include "queue/wait.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#define LONG_NS  (20 * NS_PER_S) /* far longer than anything takes; a bound, not a timing */
#define SHORT_NS (5 * NS_PER_MS)

static bool with_uring = true;

static struct wait *wait_new(void **state)
{
    struct wait *wait;
    assert_int_equal(wait_open(&wait, *state != NULL), 0);
    if (*state == NULL)
        assert_false(wait_uses_io_uring(wait));
    return wait;
}

/* A sleep may end early with nothing (a signal; a ring of an earlier test that is being torn down);
 * a lost wake-up ends here after all of LONG_NS. */
static uint32_t wait_some(struct wait *wait, struct wait_event *events, uint32_t events_max)
{
    const uint64_t end_ns = clock_monotonic_ns() + LONG_NS;
    uint32_t count = 0;
    while (count == 0 && clock_monotonic_ns() < end_ns)
        count = wait_for(wait, LONG_NS, events, events_max);
    return count;
}

static int doorbell_new(void)
{
    const int fd = eventfd(0, EFD_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void doorbell_ring(int fd)
{
    const uint64_t one = 1;
    assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

static void rung_doorbells_are_named(void **state)
{
    struct wait *wait = wait_new(state);
    struct wait_event events[8];
    int fds[3];
    for (uint32_t n = 0; n < 3; n++) {
        fds[n] = doorbell_new();
        assert_int_equal(wait_add(wait, 70 + n, fds[n]), 0);
    }
    assert_int_equal(wait_for(wait, 0, events, 8), 0);
    for (uint32_t round = 0; round < 50; round++) {
        const uint32_t which = round % 3;
        doorbell_ring(fds[which]);
        assert_int_equal(wait_some(wait, events, 8), 1);
        assert_int_equal(events[0].tag, 70 + which);
        assert_int_equal(events[0].kind, WAIT_RUNG);
        assert_int_equal(wait_for(wait, 0, events, 8), 0); /* consumed */
    }
    wait_close(wait);
    for (uint32_t n = 0; n < 3; n++)
        assert_int_equal(close(fds[n]), 0);
}

static void a_ring_before_the_sleep_is_not_lost(void **state)
{
    struct wait *wait = wait_new(state);
    struct wait_event events[8];
    const int fd = doorbell_new();
    doorbell_ring(fd); /* even before it was added */
    assert_int_equal(wait_add(wait, 1, fd), 0);
    assert_int_equal(wait_some(wait, events, 8), 1);
    wait_ring(wait);
    assert_int_equal(wait_some(wait, events, 8), 1);
    assert_int_equal(events[0].tag, WAIT_TAG_OWN);
    wait_close(wait);
    assert_int_equal(close(fd), 0);
}

static void time_ends_a_sleep(void **state)
{
    struct wait *wait = wait_new(state);
    struct wait_event event;
    assert_int_equal(wait_for(wait, SHORT_NS, &event, 1), 0);
    wait_close(wait);
}

static void events_that_find_no_room_come_next_time(void **state)
{
    struct wait *wait = wait_new(state);
    int fds[10];
    bool seen[10] = {false};
    struct wait_event events[3];
    for (uint32_t n = 0; n < 10; n++) {
        fds[n] = doorbell_new();
        assert_int_equal(wait_add(wait, n, fds[n]), 0);
        doorbell_ring(fds[n]);
    }
    for (uint32_t got = 0; got < 10;) {
        const uint32_t count = wait_some(wait, events, 3);
        assert_in_range(count, 1, 3);
        for (uint32_t n = 0; n < count; n++) {
            assert_false(seen[events[n].tag]);
            seen[events[n].tag] = true;
        }
        got += count;
    }
    assert_int_equal(wait_for(wait, 0, events, 3), 0);
    wait_close(wait);
    for (uint32_t n = 0; n < 10; n++)
        assert_int_equal(close(fds[n]), 0);
}

static void removed_doorbells_are_silent(void **state)
{
    struct wait *wait = wait_new(state);
    struct wait_event events[8];
    const int kept = doorbell_new();
    assert_int_equal(wait_add(wait, 1, kept), 0);
    /* Many more comings and goings than there are places, in every state a place can be in. */
    for (uint32_t round = 0; round < 5000; round++) {
        const int fd = doorbell_new();
        assert_int_equal(wait_add(wait, 2, fd), 0);
        if (round % 4 != 0)
            assert_int_equal(wait_for(wait, 0, events, 8), 0);
        if (round % 2 != 0)
            doorbell_ring(fd);
        wait_remove(wait, 2);
        assert_int_equal(close(fd), 0);
        const uint32_t count = wait_for(wait, 0, events, 8);
        assert_int_equal(count, 0);
    }
    doorbell_ring(kept);
    assert_int_equal(wait_some(wait, events, 8), 1);
    assert_int_equal(events[0].tag, 1);
    wait_close(wait);
    assert_int_equal(close(kept), 0);
}

static void misuse_is_declined(void **state)
{
    struct wait *wait = wait_new(state);
    const int fd = doorbell_new();
    assert_int_equal(wait_add(wait, WAIT_TAG_OWN, fd), -EINVAL);
    assert_int_equal(wait_add(wait, 1, -1), -EINVAL);
    assert_int_equal(wait_add(wait, 1, fd), 0);
    assert_int_equal(wait_add(wait, 1, fd), -EEXIST);
    wait_close(wait);
    assert_int_equal(close(fd), 0);
    wait_close(NULL);
}

static void doorbells_are_bounded(void **state)
{
    struct wait *wait = wait_new(state);
    static int fds[WAIT_DOORBELLS_MAX + 1];
    struct wait_event events[64];
    for (uint32_t n = 0; n <= WAIT_DOORBELLS_MAX; n++) {
        fds[n] = doorbell_new();
        assert_int_equal(wait_add(wait, n, fds[n]), n < WAIT_DOORBELLS_MAX ? 0 : -ENOSPC);
    }
    for (uint32_t n = 0; n < WAIT_DOORBELLS_MAX; n++)
        doorbell_ring(fds[n]);
    uint32_t got = 0;
    while (got < WAIT_DOORBELLS_MAX) {
        const uint32_t count = wait_some(wait, events, 64);
        assert_true(count > 0);
        got += count;
    }
    assert_int_equal(wait_for(wait, 0, events, 64), 0);
    wait_remove(wait, 0);
    assert_int_equal(wait_add(wait, WAIT_DOORBELLS_MAX, fds[WAIT_DOORBELLS_MAX]), 0);
    wait_close(wait);
    for (uint32_t n = 0; n <= WAIT_DOORBELLS_MAX; n++)
        assert_int_equal(close(fds[n]), 0);
}

/* What a hostile client can do to the descriptor that it was given. */
static void a_client_that_sets_nonblock_hurts_itself_only(void **state)
{
    struct wait *wait = wait_new(state);
    struct wait_event events[8];
    const int good = doorbell_new();
    const int bad = doorbell_new();
    assert_int_equal(wait_add(wait, 1, good), 0);
    assert_int_equal(wait_add(wait, 2, bad), 0);
    assert_int_equal(fcntl(bad, F_SETFL, O_NONBLOCK), 0);
    /* A kernel whose eventfds know IOCB_NOWAIT takes no notice; another says -EAGAIN, once. */
    const uint32_t count = wait_for(wait, SHORT_NS, events, 8);
    assert_in_range(count, 0, 1);
    if (count == 1) {
        assert_int_equal(events[0].tag, 2);
        assert_int_equal(events[0].kind, WAIT_BROKEN);
    }
    doorbell_ring(bad);
    const uint32_t rung = wait_for(wait, SHORT_NS, events, 8);
    assert_in_range(rung, 0, 1);
    assert_int_equal(wait_for(wait, SHORT_NS, events, 8), 0); /* and no busy loop */
    doorbell_ring(good);
    assert_int_equal(wait_some(wait, events, 8), 1);
    assert_int_equal(events[0].tag, 1);
    assert_int_equal(events[0].kind, WAIT_RUNG);
    wait_remove(wait, 2);
    wait_close(wait);
    assert_int_equal(close(good) | close(bad), 0);
}

static void a_client_that_fills_or_drains_its_doorbell_hurts_itself_only(void **state)
{
    struct wait *wait = wait_new(state);
    struct wait_event events[8];
    const int good = doorbell_new();
    const int bad = doorbell_new();
    assert_int_equal(wait_add(wait, 1, good), 0);
    assert_int_equal(wait_add(wait, 2, bad), 0);
    const uint64_t most = UINT64_MAX - 1;
    assert_int_equal(write(bad, &most, sizeof(most)), sizeof(most));
    assert_int_equal(wait_some(wait, events, 8), 1);
    assert_int_equal(events[0].tag, 2);
    doorbell_ring(good);
    bool good_rung = false;
    for (uint32_t n = 0; n < 4 && !good_rung; n++) {
        const uint32_t count = wait_some(wait, events, 8);
        for (uint32_t m = 0; m < count; m++)
            good_rung |= events[m].tag == 1 && events[m].kind == WAIT_RUNG;
    }
    assert_true(good_rung);
    wait_close(wait);
    assert_int_equal(close(good) | close(bad), 0);
}

static void what_is_no_eventfd_is_broken(void **state)
{
    struct wait *wait = wait_new(state);
    struct wait_event events[8];
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(wait_add(wait, 5, ends[0]), 0);
    assert_int_equal(close(ends[1]), 0); /* end of file */
    assert_int_equal(wait_some(wait, events, 8), 1);
    assert_int_equal(events[0].tag, 5);
    assert_int_equal(events[0].kind, WAIT_BROKEN);
    assert_int_equal(wait_for(wait, SHORT_NS, events, 8), 0);
    wait_close(wait);
    assert_int_equal(close(ends[0]), 0);
}

struct ringer {
    struct wait *wait;
    _Atomic uint32_t wanted;
    _Atomic uint32_t rung;
};

static void *ringer_run(void *argument)
{
    struct ringer *ringer = argument;
    for (uint32_t n = 1; n <= 20000; n++) {
        while (atomic_load(&ringer->wanted) < n) /* the sleeper says go, and then sleeps */
            ;
        atomic_store(&ringer->rung, n);
        wait_ring(ringer->wait);
    }
    return NULL;
}

static void another_thread_wakes_it_every_time(void **state)
{
    struct ringer ringer = {.wait = wait_new(state)};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, ringer_run, &ringer), 0);
    for (uint32_t n = 1; n <= 20000; n++) {
        struct wait_event event;
        atomic_store(&ringer.wanted, n);
        if (n % 3 == 0)
            (void)sched_yield();
        assert_int_equal(wait_some(ringer.wait, &event, 1), 1);
        assert_int_equal(event.tag, WAIT_TAG_OWN);
        while (atomic_load(&ringer.rung) < n)
            ;
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    wait_close(ringer.wait);
}

/* The thread that added the doorbells ends; the one that sleeps here afterwards is woken. */
static void *adder_run(void *argument)
{
    struct wait_event event;
    (void)wait_for(argument, 0, &event, 1);
    return NULL;
}

static void doorbells_survive_the_thread_that_armed_them(void **state)
{
    struct wait *wait = wait_new(state);
    struct wait_event event;
    const int fd = doorbell_new();
    pthread_t thread;
    assert_int_equal(wait_add(wait, 9, fd), 0);
    assert_int_equal(pthread_create(&thread, NULL, adder_run, wait), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    (void)wait_for(wait, SHORT_NS, &event, 1);
    doorbell_ring(fd);
    assert_int_equal(wait_some(wait, &event, 1), 1);
    assert_int_equal(event.tag, 9);
    assert_int_equal(event.kind, WAIT_RUNG);
    wait_close(wait);
    assert_int_equal(close(fd), 0);
}

#define BOTH(test)                                                                                 \
    cmocka_unit_test_prestate(test, NULL), cmocka_unit_test_prestate(test, &with_uring)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(rung_doorbells_are_named),
        BOTH(a_ring_before_the_sleep_is_not_lost),
        BOTH(time_ends_a_sleep),
        BOTH(events_that_find_no_room_come_next_time),
        BOTH(removed_doorbells_are_silent),
        BOTH(misuse_is_declined),
        BOTH(doorbells_are_bounded),
        BOTH(a_client_that_sets_nonblock_hurts_itself_only),
        BOTH(a_client_that_fills_or_drains_its_doorbell_hurts_itself_only),
        BOTH(what_is_no_eventfd_is_broken),
        BOTH(another_thread_wakes_it_every_time),
        BOTH(doorbells_survive_the_thread_that_armed_them),
    };
    return cmocka_run_group_tests_name("wait", tests, NULL, NULL);
}
