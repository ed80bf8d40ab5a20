/* The real bullad under contention: for its arenas, its jobs, its constants and its control. */
#include "base/clock.h"
#include "base/macros.h"
#include "tests/engine/daemon.h"
#include "tests/engine/pump.h"
#include "tests/ipc/raw_client.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct daemon bullad;

static void finish(void)
{
    assert_int_equal(daemon_stop(&bullad), 0);
    daemon_fini(&bullad);
}

/* Small ones that find no room, and in the same burst large ones behind them. */
static void bullad_keeps_small_and_large_apart_when_both_wait(void **state)
{
    (void)state;
    size_t sizes[32];
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++)
        sizes[i] = i < 20 ? 60000 : 800000;
    daemon_start(&bullad, "workers = 1\noutput_arena = 46MB", "", 0);
    const struct pump mixed = {.daemon = &bullad,
                               .sizes = sizes,
                               .sizes_count = ARRAY_COUNT(sizes),
                               .count = 320,
                               .held_max = 64,
                               .slots_count = 1024};
    pump_run(&mixed);
    assert_int_equal(stand_in_stored(bullad.service), 320);
    finish();
}

/* The constant spans of the profile "default", in any snapshot and at any place of it. */
static struct {
    uint8_t *head;
    uint8_t *tail;
    size_t head_bytes;
    size_t tail_bytes;
} known;

static void known_take(const struct bulla_completion *completion)
{
    assert_int_equal(completion->spans_count, 5);
    known.head_bytes = completion->spans[1].iov_len;
    known.tail_bytes = completion->spans[3].iov_len;
    known.head = malloc(known.head_bytes);
    known.tail = malloc(known.tail_bytes);
    assert_non_null(known.head);
    assert_non_null(known.tail);
    memcpy(known.head, completion->spans[1].iov_base, known.head_bytes);
    memcpy(known.tail, completion->spans[3].iov_base, known.tail_bytes);
}

static void known_expect(const struct bulla_completion *completion)
{
    assert_int_equal(completion->spans[1].iov_len, known.head_bytes);
    assert_int_equal(completion->spans[3].iov_len, known.tail_bytes);
    assert_memory_equal(completion->spans[1].iov_base, known.head, known.head_bytes);
    assert_memory_equal(completion->spans[3].iov_base, known.tail, known.tail_bytes);
}

/* Another profile first, in another language: all offsets move. The text closes the section that
 * daemon_write_config() opens, whose own brace then closes the profile. */
#define PROFILE_FIRST                                                                              \
    "workers = 1\n}\nprofile \"first\" {\n key_service = \"main\"\n locale = \"de\"\n"

static _Atomic bool reloading;

static void *reload_often(void *user)
{
    uint32_t turn = 0;
    (void)user;
    while (atomic_load(&reloading)) {
        daemon_write_config(&bullad, turn++ % 2 == 0 ? PROFILE_FIRST : "workers = 1", "");
        assert_int_equal(kill(bullad.pid, SIGHUP), 0);
        (void)usleep(30000);
    }
    return NULL;
}

static void bullad_keeps_each_messages_profile_through_reloads(void **state)
{
    (void)state;
    static const size_t one[] = {4096};
    static const size_t sizes[] = {26214400, 26214400, 4096, 70000};
    pthread_t thread;
    daemon_start(&bullad, "workers = 1", "", 0);
    struct pump pump = {.daemon = &bullad,
                        .sizes = one,
                        .sizes_count = 1,
                        .count = 1,
                        .held_max = 1,
                        .check = known_take};
    pump_run(&pump);
    pump.sizes = sizes;
    pump.sizes_count = ARRAY_COUNT(sizes);
    pump.count = 16;
    pump.opens = true;
    pump.check = known_expect;
    atomic_store(&reloading, true);
    assert_int_equal(pthread_create(&thread, NULL, reload_often, NULL), 0);
    pump_run(&pump);
    atomic_store(&reloading, false);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(daemon_logged(&bullad, "generation=3"));
    free(known.head);
    free(known.tail);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bullad_keeps_small_and_large_apart_when_both_wait),
        cmocka_unit_test(bullad_keeps_each_messages_profile_through_reloads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
