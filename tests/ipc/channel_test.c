/* The engine's side alone, with a client that does exactly what the test says. */
#include "ipc/channel.h"

#include "tests/ipc/pair.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define CONSTANTS_BYTES 8192

static int up(void **state)
{
    return pair_up(state, IPC_KIND_SUBMITTER, CONSTANTS_BYTES);
}

static void client_submit(struct pair *pair, uint64_t request_id)
{
    const struct ipc_submission slot = {.request_id = request_id,
                                        .meta_offset = pair->client.arena_offset,
                                        .mail_offset = pair->client.arena_offset + 100,
                                        .meta_bytes = 10,
                                        .mail_bytes = 1000};
    pair_submit(pair, &slot);
}

static uint64_t take_one(struct pair *pair)
{
    struct ipc_submission submission;
    assert_int_equal(channel_take_burst(pair->channel, &submission, 1), 1);
    return submission.request_id;
}

/* A sealed mail of one constant span and one of the arena. */
static bool complete_sealed(struct pair *pair, uint64_t request_id, uint64_t constant_offset)
{
    uint64_t offset;
    uint8_t *at;
    assert_true(channel_space_take(pair->channel, 100, &offset, &at));
    const struct ipc_span spans[2] = {
        {.offset = (uint32_t)constant_offset, .bytes = 5},
        {.offset = (uint32_t)offset + 16, .bytes = 84},
    };
    memcpy(at, spans, sizeof(spans));
    memset(at + 16, 'x', 84);
    const struct ipc_completion completion = {.request_id = request_id,
                                              .status = IPC_SEALED,
                                              .spans_count = 2,
                                              .spans_offset = (uint32_t)offset,
                                              .mail_bytes = 89};
    return channel_complete(pair->channel, &completion, offset, 100);
}

static void submissions_are_copied_and_slots_given_back(void **state)
{
    struct pair *pair = *state;
    struct ipc_submission burst[PAIR_SLOTS];
    assert_false(channel_pending(pair->channel));
    for (uint64_t n = 0; n < 5; n++)
        client_submit(pair, 40 + n);
    assert_true(channel_pending(pair->channel));
    assert_int_equal(channel_take_burst(pair->channel, burst, 3), 3);
    assert_int_equal(atomic_load(&pair->peer->head), 3);
    assert_int_equal(channel_take_burst(pair->channel, burst + 3, PAIR_SLOTS), 2);
    for (uint64_t n = 0; n < 5; n++)
        assert_int_equal(burst[n].request_id, 40 + n);
    assert_int_equal(channel_outstanding(pair->channel), 5);
    assert_int_equal(channel_take_burst(pair->channel, burst, PAIR_SLOTS), 0);
    /* What the client writes now changes nothing: the copy is what is used. */
    memset(pair->memory.at + pair->client.slots_offset, 0xff, PAIR_SLOTS * sizeof(burst[0]));
    memset(pair->memory.at + pair->client.arena_offset + 100, 'm', 1000);
    uint8_t mail[300];
    channel_copy_mail(pair->channel, &burst[0], 700, mail, 300);
    for (size_t n = 0; n < sizeof(mail); n++)
        assert_int_equal(mail[n], 'm');
    assert_int_equal(channel_fault(pair->channel), CHANNEL_SOUND);
}

/* A slot is read once: what was looked at ahead is what is taken. */
static void what_was_looked_at_ahead_is_what_is_taken(void **state)
{
    struct pair *pair = *state;
    struct ipc_submission burst[PAIR_SLOTS];
    assert_int_equal(channel_look_ahead(pair->channel, CHANNEL_AHEAD_MAX), 0);
    for (uint64_t n = 0; n < 5; n++)
        client_submit(pair, 60 + n);
    assert_int_equal(channel_look_ahead(pair->channel, 2), 2);
    assert_int_equal(channel_look_ahead(pair->channel, 3), 3);
    for (uint32_t part = 0; part < CHANNEL_AHEAD_PARTS; part++)
        channel_prefetch_ahead(pair->channel, 2, part);
    assert_int_equal(atomic_load(&pair->peer->head), 0); /* nothing is taken by that */
    assert_true(channel_pending(pair->channel));
    memset(pair->memory.at + pair->client.slots_offset, 0xff, 3 * sizeof(burst[0]));
    assert_int_equal(channel_take_burst(pair->channel, burst, 2), 2);
    assert_int_equal(channel_look_ahead(pair->channel, 1), 1);
    assert_int_equal(channel_take_burst(pair->channel, burst + 2, PAIR_SLOTS), 3);
    for (uint64_t n = 0; n < 5; n++)
        assert_int_equal(burst[n].request_id, 60 + n);
    client_submit(pair, 65);
    assert_int_equal(channel_look_ahead(pair->channel, 1), 1);
    assert_int_equal(take_one(pair), 65);
    assert_int_equal(channel_fault(pair->channel), CHANNEL_SOUND);
}

static void a_bad_slot_is_not_looked_at_ahead(void **state)
{
    struct pair *pair = *state;
    struct ipc_submission burst[PAIR_SLOTS];
    client_submit(pair, 70);
    client_submit(pair, 71);
    memset(pair->memory.at + pair->client.slots_offset + sizeof(burst[0]), 0xff, sizeof(burst[0]));
    assert_int_equal(channel_look_ahead(pair->channel, CHANNEL_AHEAD_MAX), 1);
    assert_int_equal(channel_fault(pair->channel), CHANNEL_SOUND);
    assert_int_equal(channel_take_burst(pair->channel, burst, 1), 1);
    assert_int_equal(burst[0].request_id, 70);
    assert_int_equal(channel_take_burst(pair->channel, burst, 1), 0);
    assert_int_equal(channel_fault(pair->channel), CHANNEL_BAD_SUBMISSION);
    assert_int_equal(channel_look_ahead(pair->channel, CHANNEL_AHEAD_MAX), 0);
}

static void completions_are_seen_when_published(void **state)
{
    struct pair *pair = *state;
    uint64_t head_offset;
    const uint8_t constant[] = "const";
    assert_int_equal(channel_constants_write(pair->channel, constant, 5, &head_offset), 0);
    client_submit(pair, 7);
    client_submit(pair, 8);
    assert_int_equal(take_one(pair), 7);
    assert_int_equal(take_one(pair), 8);
    assert_true(complete_sealed(pair, 8, head_offset));
    assert_int_equal(atomic_load(&pair->peer->tail), 0);
    channel_publish(pair->channel);
    assert_int_equal(atomic_load(&pair->peer->tail), 1);
    struct ipc_completion slot;
    struct geometry engine;
    assert_int_equal(geometry_read_engine(&engine, pair->peer, PAIR_SLOTS,
                                          channel_engine_memfd_bytes(pair->channel)),
                     0);
    memcpy(&slot, pair->peer_at + engine.slots_offset, sizeof(slot));
    assert_int_equal(slot.request_id, 8);
    assert_memory_equal(pair->peer_at + head_offset, "const", 5);
    assert_int_equal(channel_outstanding(pair->channel), 1);
}

static void the_client_is_rung_only_when_it_sleeps(void **state)
{
    struct pair *pair = *state;
    uint64_t head_offset;
    uint8_t byte;
    assert_int_equal(
        channel_constants_write(pair->channel, (const uint8_t *)"const", 5, &head_offset), 0);
    for (uint32_t asleep = 0; asleep < 2; asleep++) {
        atomic_store(&pair->page->asleep, asleep);
        client_submit(pair, 1);
        (void)take_one(pair);
        assert_true(complete_sealed(pair, 1, head_offset));
        channel_publish(pair->channel);
        assert_int_equal(recv(pair->ends[1], &byte, 1, 0), asleep ? 1 : -1);
        channel_publish(pair->channel); /* nothing new */
        assert_int_equal(recv(pair->ends[1], &byte, 1, 0), -1);
        atomic_fetch_add(&pair->page->head, 1);
    }
}

static void space_comes_back_when_the_client_releases(void **state)
{
    struct pair *pair = *state;
    uint64_t head_offset, offset, other;
    uint8_t *at;
    assert_int_equal(
        channel_constants_write(pair->channel, (const uint8_t *)"const", 5, &head_offset), 0);
    client_submit(pair, 1);
    (void)take_one(pair);
    assert_true(complete_sealed(pair, 1, head_offset));
    channel_publish(pair->channel);
    assert_true(channel_space_take(pair->channel, PAIR_ARENA_BYTES - 128, &offset, &at));
    assert_false(channel_space_take(pair->channel, 1, &other, &at));
    assert_false(channel_reclaim(pair->channel));
    /* It waits for space now: a release that came already keeps it awake, the next one rings. */
    assert_true(channel_sleep(pair->channel, true));
    assert_int_equal(atomic_load(&pair->peer->asleep), IPC_ASLEEP_TAIL | IPC_ASLEEP_HEAD);
    channel_awake(pair->channel);
    atomic_store(&pair->page->head, 1);
    assert_false(channel_sleep(pair->channel, true));
    assert_int_equal(atomic_load(&pair->peer->asleep), 0);
    assert_true(channel_reclaim(pair->channel));
    assert_false(channel_reclaim(pair->channel));
    assert_true(channel_space_take(pair->channel, 128, &other, &at));
    channel_space_give(pair->channel, other, 128);
    channel_space_trim(pair->channel, offset, PAIR_ARENA_BYTES - 128, 64);
    channel_space_give(pair->channel, offset, 64);
    assert_true(channel_space_take(pair->channel, PAIR_ARENA_BYTES, &other, &at));
    channel_space_give(pair->channel, other, PAIR_ARENA_BYTES);
    assert_true(channel_sleep(pair->channel, true));
    assert_int_equal(atomic_load(&pair->peer->asleep), IPC_ASLEEP_TAIL);
    channel_awake(pair->channel);
}

static void a_submission_that_may_not_be_taken_is_slept_over(void **state)
{
    struct pair *pair = *state;
    uint64_t offset, other;
    uint8_t *at;
    client_submit(pair, 1);
    assert_true(channel_sleep(pair->channel, false));
    assert_int_equal(atomic_load(&pair->peer->asleep), 0); /* more of them would change nothing */
    channel_awake(pair->channel);
    assert_true(channel_space_take(pair->channel, PAIR_ARENA_BYTES, &offset, &at));
    assert_false(channel_space_take(pair->channel, 1, &other, &at));
    assert_true(channel_sleep(pair->channel, false));
    assert_int_equal(atomic_load(&pair->peer->asleep), IPC_ASLEEP_HEAD);
    channel_awake(pair->channel);
    channel_space_give(pair->channel, offset, PAIR_ARENA_BYTES);
    assert_false(channel_sleep(pair->channel, true));
}

static void a_submission_before_the_sleep_prevents_it(void **state)
{
    struct pair *pair = *state;
    client_submit(pair, 1);
    assert_false(channel_sleep(pair->channel, true));
    assert_int_equal(atomic_load(&pair->peer->asleep), 0);
    (void)take_one(pair);
    assert_true(channel_sleep(pair->channel, true));
    assert_int_equal(atomic_load(&pair->peer->asleep), IPC_ASLEEP_TAIL);
    channel_awake(pair->channel);
    assert_int_equal(atomic_load(&pair->peer->asleep), 0);
}

static void constants_wait_for_the_last_reader_of_their_half(void **state)
{
    struct pair *pair = *state;
    uint64_t first, second, third;
    uint8_t large[CONSTANTS_BYTES / 2 + 1];
    memset(large, 'c', sizeof(large));
    assert_int_equal(channel_constants_write(pair->channel, large, sizeof(large), &first), -EFBIG);
    assert_int_equal(channel_constants_write(pair->channel, large, sizeof(large) - 1, &first), 0);
    client_submit(pair, 1);
    client_submit(pair, 2);
    (void)take_one(pair);
    (void)take_one(pair);
    assert_true(complete_sealed(pair, 1, first));
    channel_publish(pair->channel);
    assert_int_equal(channel_constants_write(pair->channel, (const uint8_t *)"second", 6, &second),
                     0);
    assert_int_not_equal(first, second);
    assert_int_equal(channel_constants_write(pair->channel, (const uint8_t *)"third", 5, &third),
                     -EBUSY);
    assert_true(complete_sealed(pair, 2, second));
    channel_publish(pair->channel);
    assert_memory_equal(pair->peer_at + first, "cccccc", 6); /* still what it was */
    atomic_store(&pair->page->head, 1);                      /* releases the first only */
    assert_int_equal(channel_constants_write(pair->channel, (const uint8_t *)"third", 5, &third),
                     0);
    assert_int_equal(third, first);
    assert_memory_equal(pair->peer_at + second, "second", 6);
    assert_int_equal(channel_constants_write(pair->channel, (const uint8_t *)"fourth", 6, &third),
                     -EBUSY);
}

static void a_broken_channel_gives_nothing(void **state)
{
    struct pair *pair = *state;
    struct ipc_submission burst[PAIR_SLOTS];
    client_submit(pair, 1);
    client_submit(pair, 2);
    pair->memory.at[pair->client.slots_offset + sizeof(burst[0]) + 63] = 1; /* reserved */
    assert_int_equal(channel_take_burst(pair->channel, burst, PAIR_SLOTS), 0);
    assert_int_equal(channel_fault(pair->channel), CHANNEL_BAD_SUBMISSION);
    assert_false(channel_pending(pair->channel));
    assert_int_equal(channel_take_burst(pair->channel, burst, PAIR_SLOTS), 0);
    assert_false(channel_reclaim(pair->channel));
    channel_publish(pair->channel);
    assert_true(channel_sleep(pair->channel, true));
    assert_int_equal(channel_outstanding(pair->channel), 0);
}

static void an_open_that_fails_leaves_the_descriptor(void **state)
{
    struct pair *pair = *state;
    struct channel *channel;
    struct ipc_hello hello = {.slots_count = PAIR_SLOTS,
                              .arena_bytes = PAIR_ARENA_BYTES,
                              .memfd_bytes = pair->client.memfd_bytes + 4096};
    struct channel_config config = {.arena_bytes = PAIR_ARENA_BYTES, .constants_bytes = 0};
    const int fd = dup(pair->memory.fd);
    assert_int_equal(channel_open(&channel, &hello, fd, pair->ends[0], &config), -EBADMSG);
    hello.memfd_bytes = pair->client.memfd_bytes;
    config.arena_bytes = 1000;
    assert_int_equal(channel_open(&channel, &hello, fd, pair->ends[0], &config), -EINVAL);
    config.arena_bytes = PAIR_ARENA_BYTES;
    assert_int_equal(channel_open(&channel, &hello, fd, pair->ends[0], &config), 0);
    uint64_t offset;
    assert_int_equal(channel_constants_write(channel, (const uint8_t *)"x", 1, &offset), -EFBIG);
    channel_close(channel);
    assert_int_equal(close(fd), -1); /* it was the channel's */
    channel_close(NULL);
}

static void the_page_is_what_the_document_shows(void **state)
{
    struct pair *pair = *state;
    /* docs/format/shared-memory.md, "A memfd", worked example: the engine's. */
    static const uint8_t expected[] = {
        'b',  'u',  'l',  'l',  'a',  '/',  'E',  '1',  /* magic                       */
        0x02, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00, /* version 2, 8 slots          */
        0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* slots at 0x1000             */
        0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* constants at 0x2000         */
        0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* 0x2000 bytes of them        */
        0x00, 0x40, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* arena at 0x4000             */
        0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, /* 1 MiB of it                 */
        0x00, 0x40, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, /* 0x104000 bytes in all       */
    };
    assert_memory_equal(pair->peer_at, expected, sizeof(expected));
}

static void the_packets_and_slots_are_what_the_document_shows(void **state)
{
    (void)state;
    /* docs/format/shared-memory.md; what is not written out is zero. */
    static const uint8_t submission_bytes[64] = {0, 0, 0,    0, 1, 0,    0,    0,    0, 0x20, 0,
                                                 0, 0, 0,    0, 0, 0x40, 0x20, 0,    0, 0,    0,
                                                 0, 0, 0x19, 0, 0, 0,    0xe8, 0x03, 0, 0,    1};
    const struct ipc_submission submission = {.request_id = UINT64_C(1) << 32,
                                              .meta_offset = 0x2000,
                                              .mail_offset = 0x2040,
                                              .meta_bytes = 25,
                                              .mail_bytes = 1000,
                                              .flags = IPC_SUBMIT_QUEUE};
    assert_memory_equal(&submission, submission_bytes, sizeof(submission));

    static const uint8_t completion_bytes[64] = {0, 0, 0, 0, 1, 0, 0, 0, 4,    0, 5, 3,   4,
                                                 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0x16};
    const struct ipc_completion completion = {.request_id = UINT64_C(1) << 32,
                                              .status = IPC_REFUSED,
                                              .enhanced_status = {5, 3, 4},
                                              .text_offset = 0x4000,
                                              .text_bytes = 22};
    assert_memory_equal(&completion, completion_bytes, sizeof(completion));

    static const uint8_t hello_bytes[64] = {'b', 'u', 'l', 'l',  'a',  '/', 'C', '1',  2, 0, 0,
                                            0,   8,   0,   0,    0,    0,   0,   0x10, 0, 0, 0,
                                            0,   0,   0,   0x20, 0x10, 0,   0,   0,    0, 0, 1};
    const struct ipc_hello hello = {.magic = IPC_MAGIC_CLIENT,
                                    .version = IPC_VERSION,
                                    .slots_count = 8,
                                    .arena_bytes = 1024 * 1024,
                                    .memfd_bytes = 0x102000,
                                    .kind = IPC_KIND_SUBMITTER};
    assert_memory_equal(&hello, hello_bytes, sizeof(hello));

    static const uint8_t welcome_bytes[64] = {'b', 'u', 'l', 'l', 'a', '/', 'E',  '1',  2, 0, 0,
                                              0,   0,   0,   0,   0,   0,   0x40, 0x10, 0, 0, 0,
                                              0,   0,   7,   0,   0,   0,   0,    0,    0, 0, 2};
    const struct ipc_welcome welcome = {.magic = IPC_MAGIC_ENGINE,
                                        .version = IPC_VERSION,
                                        .memfd_bytes = 0x104000,
                                        .session_id = 7,
                                        .workers_count = 2};
    assert_memory_equal(&welcome, welcome_bytes, sizeof(welcome));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, up, pair_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(submissions_are_copied_and_slots_given_back),
        TEST(what_was_looked_at_ahead_is_what_is_taken),
        TEST(a_bad_slot_is_not_looked_at_ahead),
        TEST(completions_are_seen_when_published),
        TEST(the_client_is_rung_only_when_it_sleeps),
        TEST(space_comes_back_when_the_client_releases),
        TEST(a_submission_before_the_sleep_prevents_it),
        TEST(a_submission_that_may_not_be_taken_is_slept_over),
        TEST(constants_wait_for_the_last_reader_of_their_half),
        TEST(a_broken_channel_gives_nothing),
        TEST(an_open_that_fails_leaves_the_descriptor),
        TEST(the_page_is_what_the_document_shows),
        cmocka_unit_test(the_packets_and_slots_are_what_the_document_shows),
    };
    return cmocka_run_group_tests_name("channel", tests, NULL, NULL);
}
