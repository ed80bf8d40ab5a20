/* libbulla under load: many messages, many clients, any order of release. */
#include "tests/mta/fixture.h"

#include "base/macros.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct stream {
    struct bulla *bulla;
    uint64_t messages_count;
    uint64_t random;
    uint64_t sent;
    uint64_t received;
    struct bulla_completion held[64]; /* completed, unreleased */
    uint32_t held_count;
    uint8_t *seen;
};

static size_t stream_bytes(uint64_t seed)
{
    const uint64_t mixed = seed * UINT64_C(0x9e3779b97f4a7c15) >> 40;
    return mixed % 100 == 0 ? mixed % 60000 : mixed % 700;
}

static bool stream_send(struct stream *stream)
{
    const size_t mail_bytes = stream_bytes(stream->sent);
    const struct bulla_request request =
        request_for(NULL, mail_bytes, (void *)(uintptr_t)stream->sent);
    struct bulla_reservation reservation;
    const int rc = bulla_reserve(stream->bulla, &request, &reservation);
    if (rc == -EAGAIN)
        return false;
    assert_int_equal(rc, 0);
    pattern_write(reservation.mail, stream->sent, mail_bytes);
    assert_int_equal(bulla_submit(stream->bulla, &reservation), 0);
    stream->sent++;
    return true;
}

static void stream_release_some(struct stream *stream, uint32_t keep_count)
{
    while (stream->held_count > keep_count) {
        const uint32_t pick = (uint32_t)(next_random(&stream->random) % stream->held_count);
        const struct bulla_completion *completion = &stream->held[pick];
        const uint64_t seed = (uintptr_t)completion->user;
        assert_echo(completion, seed, stream_bytes(seed));
        bulla_release(stream->bulla, completion);
        stream->held[pick] = stream->held[--stream->held_count];
    }
}

static void stream_receive(struct stream *stream)
{
    const int count =
        bulla_poll(stream->bulla, stream->held + stream->held_count,
                   (uint32_t)(next_random(&stream->random) % (64 - stream->held_count)) + 1);
    assert_true(count >= 0);
    for (int n = 0; n < count; n++) {
        const uint64_t seed = (uintptr_t)stream->held[stream->held_count++].user;
        assert_true(seed < stream->sent);
        assert_int_equal(stream->seen[seed], 0); /* each exactly once */
        stream->seen[seed] = 1;
    }
    stream->received += (uint64_t)count;
}

static void stream_run(struct stream *stream)
{
    stream->seen = calloc(stream->messages_count, 1);
    assert_non_null(stream->seen);
    while (stream->received < stream->messages_count) {
        const uint64_t burst = next_random(&stream->random) % 40;
        for (uint64_t n = 0; n < burst && stream->sent < stream->messages_count; n++) {
            if (!stream_send(stream))
                break;
        }
        stream_receive(stream);
        stream_release_some(stream, (uint32_t)(next_random(&stream->random) % 8));
        if (stream->received < stream->sent && next_random(&stream->random) % 4 == 0) {
            stream_release_some(stream, 0); /* or the engine may be the one that waits */
            assert_int_equal(bulla_wait(stream->bulla, WAIT_MS), 1);
        }
    }
    stream_release_some(stream, 0);
    free(stream->seen);
}

static void a_hundred_thousand_messages_come_back_whole(void **state)
{
    const bool allow_io_uring = *state != NULL;
    struct echo_engine *engine = engine_with((struct echo_engine_config){
        .arena_bytes = 1024 * 1024, .allow_io_uring = allow_io_uring, .reverse = true});
    struct stream stream = {.bulla = attach_to(engine, 64, 1024 * 1024),
                            .messages_count = 100000,
                            .random = 88172645463325252};
    stream_run(&stream);
    assert_int_equal(atomic_load(&echo_engine_counters(engine)->completed), 100000);
    bulla_detach(stream.bulla);
    echo_engine_close(engine);
}

static void *stream_thread(void *argument)
{
    stream_run(argument);
    return NULL;
}

static void thirty_two_clients_at_once(void **state)
{
    (void)state;
    struct echo_engine *engine = engine_with((struct echo_engine_config){
        .arena_bytes = 1024 * 1024, .allow_io_uring = true, .reverse = true});
    static struct stream streams[32];
    pthread_t threads[32];
    for (uint32_t n = 0; n < 32; n++) {
        streams[n] = (struct stream){
            .bulla = attach_to(engine, 16, 1024 * 1024), .messages_count = 1000, .random = 1 + n};
        assert_int_equal(pthread_create(&threads[n], NULL, stream_thread, &streams[n]), 0);
    }
    for (uint32_t n = 0; n < 32; n++) {
        assert_int_equal(pthread_join(threads[n], NULL), 0);
        assert_int_equal(streams[n].received, 1000);
        bulla_detach(streams[n].bulla);
    }
    assert_int_equal(atomic_load(&echo_engine_counters(engine)->welcomed), 32);
    assert_int_equal(atomic_load(&echo_engine_counters(engine)->faults), 0);
    echo_engine_close(engine);
}

int main(void)
{
    static bool yes = true;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(a_hundred_thousand_messages_come_back_whole, NULL),
        cmocka_unit_test_prestate(a_hundred_thousand_messages_come_back_whole, &yes),
        cmocka_unit_test(thirty_two_clients_at_once),
    };
    return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
