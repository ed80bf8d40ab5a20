/* A collector's session, seen from the engine: what is emitted, and which DONEs are refused. */
#include "ipc/channel.h"

#include "tests/ipc/pair.h"
#include "tests/ipc/raw_client.h"
#include "tests/mta/echo_engine.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define META_BYTES 25
#define MAIL_BYTES 1000

static int up(void **state)
{
    return pair_up(state, IPC_KIND_COLLECTOR, 0);
}

/* A mail of one span, its table and its meta in one range. */
static bool emit(struct pair *pair, uint64_t number)
{
    uint64_t offset;
    uint8_t *at;
    const size_t bytes = sizeof(struct ipc_span) + META_BYTES + MAIL_BYTES;
    if (!channel_space_take(pair->channel, bytes, &offset, &at))
        return false;
    const struct ipc_span span = {.offset = (uint32_t)offset + 8 + META_BYTES, .bytes = MAIL_BYTES};
    memcpy(at, &span, sizeof(span));
    memset(at + sizeof(span), 'm', META_BYTES + MAIL_BYTES);
    const struct ipc_completion emission = {.request_id = number,
                                            .status = IPC_EMIT,
                                            .spans_count = 1,
                                            .spans_offset = (uint32_t)offset,
                                            .text_offset = (uint32_t)offset + 8,
                                            .text_bytes = META_BYTES,
                                            .mail_bytes = MAIL_BYTES,
                                            .emission = IPC_EMISSION_MAIL};
    if (channel_emit(pair->channel, &emission, offset, bytes))
        return true;
    channel_space_give(pair->channel, offset, bytes);
    return false;
}

static struct ipc_submission done_of(const struct pair *pair, uint64_t number)
{
    return (struct ipc_submission){.request_id = number,
                                   .meta_offset = pair->client.arena_offset,
                                   .meta_bytes = 6,
                                   .flags = IPC_SUBMIT_DONE,
                                   .done_result = IPC_DONE_SENT,
                                   .done_enhanced = {2, 0, 0}};
}

static void emissions_are_bounded_by_the_slots_until_they_are_done(void **state)
{
    struct pair *pair = *state;
    struct ipc_submission burst[PAIR_SLOTS];
    assert_true(channel_is_collector(pair->channel));
    for (uint64_t n = 0; n < PAIR_SLOTS; n++)
        assert_true(emit(pair, n));
    assert_false(emit(pair, 8));
    assert_int_equal(channel_outstanding(pair->channel), PAIR_SLOTS);
    channel_publish(pair->channel);
    assert_int_equal(atomic_load(&pair->peer->tail), PAIR_SLOTS);
    /* Released, but not done: as before. */
    atomic_store(&pair->page->head, PAIR_SLOTS);
    assert_true(channel_reclaim(pair->channel));
    assert_false(emit(pair, 8));
    const struct ipc_submission done = done_of(pair, 3);
    pair_submit(pair, &done);
    assert_int_equal(channel_take_burst(pair->channel, burst, PAIR_SLOTS), 1);
    assert_int_equal(burst[0].request_id, 3);
    assert_int_equal(atomic_load(&pair->peer->head), 1);
    assert_int_equal(channel_outstanding(pair->channel), PAIR_SLOTS - 1);
    assert_true(emit(pair, 8));
    assert_false(emit(pair, 9));
    assert_int_equal(channel_fault(pair->channel), CHANNEL_SOUND);
}

static void done_but_not_released_holds_its_slot(void **state)
{
    struct pair *pair = *state;
    struct ipc_submission burst[PAIR_SLOTS];
    for (uint64_t n = 0; n < PAIR_SLOTS; n++)
        assert_true(emit(pair, n));
    channel_publish(pair->channel);
    for (uint64_t n = 0; n < PAIR_SLOTS; n++) {
        const struct ipc_submission done = done_of(pair, n);
        pair_submit(pair, &done);
    }
    assert_int_equal(channel_take_burst(pair->channel, burst, PAIR_SLOTS), PAIR_SLOTS);
    assert_int_equal(channel_outstanding(pair->channel), 0);
    assert_false(emit(pair, 8));
    /* What waits for the release is rung by it. */
    assert_true(channel_sleep(pair->channel, true));
    assert_int_equal(atomic_load(&pair->peer->asleep), IPC_ASLEEP_TAIL | IPC_ASLEEP_HEAD);
    channel_awake(pair->channel);
    atomic_store(&pair->page->head, 1);
    assert_false(channel_sleep(pair->channel, true));
    assert_true(channel_reclaim(pair->channel));
    assert_true(emit(pair, 8));
    assert_false(emit(pair, 9));
}

static void every_range_comes_back(void **state)
{
    struct pair *pair = *state;
    struct ipc_submission burst[PAIR_SLOTS];
    uint64_t offset;
    uint8_t *at;
    for (uint64_t n = 0; n < 100; n++) {
        assert_true(emit(pair, n));
        channel_publish(pair->channel);
        const struct ipc_submission done = done_of(pair, n);
        pair_submit(pair, &done);
        assert_int_equal(channel_take_burst(pair->channel, burst, PAIR_SLOTS), 1);
        atomic_fetch_add(&pair->page->head, 1);
        assert_true(channel_reclaim(pair->channel));
    }
    assert_true(channel_space_take(pair->channel, PAIR_ARENA_BYTES, &offset, &at));
    channel_space_give(pair->channel, offset, PAIR_ARENA_BYTES);
}

static void a_done_before_the_sleep_prevents_it(void **state)
{
    struct pair *pair = *state;
    struct ipc_submission burst[1];
    assert_true(emit(pair, 5));
    assert_true(channel_sleep(pair->channel, true));
    assert_int_equal(atomic_load(&pair->peer->asleep), IPC_ASLEEP_TAIL);
    channel_awake(pair->channel);
    const struct ipc_submission done = done_of(pair, 5);
    pair_submit(pair, &done);
    assert_false(channel_sleep(pair->channel, true));
    assert_true(channel_pending(pair->channel));
    assert_int_equal(channel_take_burst(pair->channel, burst, 1), 1);
    assert_true(channel_sleep(pair->channel, true));
    channel_awake(pair->channel);
}

static void a_reply_is_made_printable(void **state)
{
    struct pair *pair = *state;
    struct ipc_submission burst[2];
    char text[IPC_TEXT_BYTES_MAX];
    memcpy(pair->memory.at + pair->client.arena_offset, "a\r\n\0\x7f\xff", 6);
    assert_true(emit(pair, 5) && emit(pair, 6));
    struct ipc_submission done = done_of(pair, 5);
    pair_submit(pair, &done);
    done.meta_bytes = 0;
    done.meta_offset = 0;
    pair_submit(pair, &done);
    assert_int_equal(channel_take_burst(pair->channel, burst, 2), 2);
    assert_int_equal(channel_copy_reply(pair->channel, &burst[0], text), 6);
    assert_memory_equal(text, "a?????", 6);
    assert_int_equal(channel_copy_reply(pair->channel, &burst[1], text), 0);
}

static void edit_done(struct pair *pair, struct ipc_submission *slot, uint32_t which)
{
    const uint64_t end = pair->client.memfd_bytes;
    switch (which) {
    case 0: slot->flags = 0; break; /* an ordinary one */
    case 1: slot->flags = IPC_SUBMIT_QUEUE; break;
    case 2: slot->flags = IPC_SUBMIT_DONE | IPC_SUBMIT_QUEUE; break;
    case 3: slot->flags = IPC_SUBMIT_DONE | UINT32_C(1) << 31; break;
    case 4: slot->done_result = 0; break;
    case 5: slot->done_result = 4; break;
    case 6: slot->done_result = 255; break;
    case 7: slot->done_enhanced[0] = 5; break; /* sent, and yet refused */
    case 8: slot->done_enhanced[0] = 0, slot->done_enhanced[2] = 1; break;
    case 9: slot->mail_bytes = 1; break;
    case 10: slot->mail_offset = pair->client.arena_offset; break;
    case 11: slot->meta_bytes = IPC_TEXT_BYTES_MAX + 1; break;
    case 12: slot->meta_bytes = 0; break; /* and an offset */
    case 13: slot->meta_offset = end - 5; break;
    case 14: slot->meta_offset = pair->client.arena_offset - 1; break;
    case 15: slot->meta_offset = UINT64_MAX - 2; break;
    case 16: slot->reserved[0] = 1; break;
    case 17: slot->reserved[23] = 0x80; break;
    case 18: memset(slot, 0xff, sizeof(*slot)); break;
    case 19: slot->flags = IPC_SUBMIT_DONE | IPC_SUBMIT_REFUSALS; break; /* of what was sent */
    case 20: slot->flags = IPC_SUBMIT_REFUSALS; break;
    case 21:
        slot->flags = IPC_SUBMIT_DONE | IPC_SUBMIT_REFUSALS;
        slot->done_result = IPC_DONE_REFUSED;
        slot->done_enhanced[0] = 5;
        slot->meta_bytes = IPC_REFUSALS_BYTES_MAX + 1;
        break;
    default: memset(slot, 0, sizeof(*slot)); break;
    }
}

static void mutated_dones_break_the_session(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < 23; n++) {
        void *own = NULL;
        struct ipc_submission burst[PAIR_SLOTS];
        assert_int_equal(up(&own), 0);
        struct pair *pair = own;
        assert_true(emit(pair, 7));
        struct ipc_submission slot = done_of(pair, 7);
        edit_done(pair, &slot, n);
        pair_submit(pair, &slot);
        assert_int_equal(channel_take_burst(pair->channel, burst, PAIR_SLOTS), 0);
        assert_int_equal(channel_fault(pair->channel), CHANNEL_BAD_SUBMISSION);
        assert_int_equal(channel_outstanding(pair->channel), 1); /* the emission is not done */
        assert_int_equal(pair_down(&own), 0);
    }
}

static void a_done_of_nothing_breaks_the_session(void **state)
{
    struct pair *pair = *state;
    struct ipc_submission burst[PAIR_SLOTS];
    assert_true(emit(pair, 7));
    const struct ipc_submission done = done_of(pair, 7);
    pair_submit(pair, &done);
    assert_int_equal(channel_take_burst(pair->channel, burst, PAIR_SLOTS), 1);
    pair_submit(pair, &done); /* twice: no emission is open any more */
    assert_int_equal(channel_take_burst(pair->channel, burst, PAIR_SLOTS), 0);
    assert_int_equal(channel_fault(pair->channel), CHANNEL_BAD_SUBMISSION);
}

/* ---- through the echo engine, which knows the numbers ---- */

static void collector_hello(struct ipc_hello *hello, uint64_t argument)
{
    hello->kind = IPC_KIND_COLLECTOR;
    hello->worker_wanted = (uint32_t)argument;
}

static struct echo_engine *engine_up(void)
{
    struct echo_engine *engine;
    const struct echo_engine_config config = {.allow_io_uring = true, .workers_count = 2};
    assert_int_equal(echo_engine_open(&engine, &config), 0);
    return engine;
}

static int collector_open(struct raw_client *client, const struct echo_engine *engine,
                          uint64_t worker)
{
    const struct raw_hello hello = {
        .path = echo_engine_path(engine), .seals = -1, .edit = collector_hello, .argument = worker};
    return raw_client_open(client, &hello);
}

static void await_tail(const struct raw_client *client, uint32_t tail)
{
    for (uint32_t n = 0; n < 2000 && atomic_load(&client->peer->tail) < tail; n++)
        (void)usleep(10000);
    assert_int_equal(atomic_load(&client->peer->tail), tail);
}

/* The engine has emitted as many mails to a collector as it takes, 1 to 8, and 9 to another. */
static void nine_emissions(struct echo_engine *engine, struct raw_client clients[2])
{
    static const uint8_t meta[] = {5, 0, 'q', 'u', 'e', 'u', 'e', 0, 0, 1, 0, 1, 0, 'a'};
    struct raw_client submitter;
    const struct raw_hello hello = {.path = echo_engine_path(engine), .seals = -1};
    assert_int_equal(raw_client_open(&submitter, &hello), 0);
    struct ipc_submission slot = raw_client_honest(&submitter);
    memcpy(submitter.at + slot.meta_offset, meta, sizeof(meta));
    slot.meta_bytes = sizeof(meta);
    for (uint32_t n = 0; n < PAIR_SLOTS + 1; n++) {
        raw_client_submit(&submitter, &slot);
        await_tail(&submitter, n + 1);
        atomic_store(&submitter.page->head, n + 1);
    }
    assert_int_equal(collector_open(&clients[0], engine, 0), 0);
    await_tail(&clients[0], PAIR_SLOTS);
    assert_int_equal(collector_open(&clients[1], engine, 1), 0);
    await_tail(&clients[1], 1);
    raw_client_close(&submitter);
}

static void assert_refused_done(uint64_t number, uint32_t times)
{
    struct echo_engine *engine = engine_up();
    struct raw_client clients[2];
    nine_emissions(engine, clients);
    const struct ipc_submission done = {
        .request_id = number, .flags = IPC_SUBMIT_DONE, .done_result = IPC_DONE_SENT};
    for (uint32_t n = 0; n < times; n++)
        raw_client_submit(&clients[0], &done);
    assert_true(raw_client_is_thrown_out(&clients[0]));
    raw_client_close(&clients[0]);
    /* The other's emission is untouched. */
    const struct ipc_submission honest = {
        .request_id = PAIR_SLOTS + 1, .flags = IPC_SUBMIT_DONE, .done_result = IPC_DONE_SENT};
    const uint64_t before = atomic_load(&echo_engine_spool(engine)->sent);
    raw_client_submit(&clients[1], &honest);
    for (uint32_t n = 0; n < 2000 && atomic_load(&echo_engine_spool(engine)->sent) == before; n++)
        (void)usleep(10000);
    assert_int_equal(atomic_load(&echo_engine_spool(engine)->sent), before + 1);
    raw_client_close(&clients[1]);
    echo_engine_close(engine);
}

static void a_number_that_is_not_its_own_ends_the_session(void **state)
{
    (void)state;
    assert_refused_done(PAIR_SLOTS + 1, 1); /* the other collector's */
    assert_refused_done(0, 1);
    assert_refused_done(PAIR_SLOTS + 2, 1);
    assert_refused_done(UINT64_MAX, 1);
    assert_refused_done(1, 2); /* its own, twice */
}

static void a_worker_that_is_not_there_is_refused(void **state)
{
    (void)state;
    struct echo_engine *engine = engine_up();
    struct raw_client client;
    assert_int_equal(collector_open(&client, engine, 2), ERANGE);
    raw_client_close(&client);
    assert_int_equal(collector_open(&client, engine, UINT32_MAX), ERANGE);
    raw_client_close(&client);
    assert_int_equal(collector_open(&client, engine, 1), 0);
    raw_client_close(&client);
    echo_engine_close(engine);
}

static void the_slots_are_what_the_document_shows(void **state)
{
    (void)state;
    /* docs/format/shared-memory.md, "Emission"; what is not written out is zero. */
    static const uint8_t emission_bytes[64] = {7,    0,    0,    0,    0,    0,    0,    0,    6,
                                               1,    0,    0,    0,    0,    0,    0,    0,    0x40,
                                               0,    0,    0x40, 0x40, 0,    0,    0x19, 0,    0,
                                               0,    0xc0, 0x5d, 0,    0,    1,    0x93, 0x6a, 0x5b,
                                               0x7c, 0x1d, 0x7e, 0x2f, 0x8a, 0x4b, 0x01, 0x23, 0x45,
                                               0x67, 0x89, 0xab, 1};
    const struct ipc_completion emission = {.request_id = 7,
                                            .status = IPC_EMIT,
                                            .spans_count = 1,
                                            .spans_offset = 0x4000,
                                            .text_offset = 0x4040,
                                            .text_bytes = 25,
                                            .mail_bytes = 24000,
                                            .envelope_id = {0x01, 0x93, 0x6a, 0x5b, 0x7c, 0x1d,
                                                            0x7e, 0x2f, 0x8a, 0x4b, 0x01, 0x23,
                                                            0x45, 0x67, 0x89, 0xab},
                                            .emission = IPC_EMISSION_MAIL};
    assert_memory_equal(&emission, emission_bytes, sizeof(emission));
    static const uint8_t done_bytes[64] = {7, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0,
                                           0, 0, 0, 0, 0, 0, 0, 0, 0, 0,    0, 6, 0,
                                           0, 0, 0, 0, 0, 0, 2, 0, 0, 0,    1, 2};
    const struct ipc_submission done = {.request_id = 7,
                                        .meta_offset = 0x2000,
                                        .meta_bytes = 6,
                                        .flags = IPC_SUBMIT_DONE,
                                        .done_result = IPC_DONE_SENT,
                                        .done_enhanced = {2, 0, 0}};
    assert_memory_equal(&done, done_bytes, sizeof(done));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, up, pair_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(emissions_are_bounded_by_the_slots_until_they_are_done),
        TEST(done_but_not_released_holds_its_slot),
        TEST(every_range_comes_back),
        TEST(a_done_before_the_sleep_prevents_it),
        TEST(a_reply_is_made_printable),
        cmocka_unit_test(mutated_dones_break_the_session),
        TEST(a_done_of_nothing_breaks_the_session),
        cmocka_unit_test(a_number_that_is_not_its_own_ends_the_session),
        cmocka_unit_test(a_worker_that_is_not_there_is_refused),
        cmocka_unit_test(the_slots_are_what_the_document_shows),
    };
    return cmocka_run_group_tests_name("collector", tests, NULL, NULL);
}
