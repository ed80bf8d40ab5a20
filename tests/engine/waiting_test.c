/* Mail that waits, on a disk that fails as it is told, while no key service answers. */
#include "engine/waiting.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "crypto/core.h"
#include "engine/key_link.h"
#include "keyservice/key_client.h"
#include "keyservice/record.h"
#include "tests/queue/disk_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SEGMENT_BYTES ((uint64_t)256 << 10)
#define SEGMENTS      16
#define RECORD_ROOM   512
#define HEAD_ROOM     2048
#define BODY_BYTES    3000
#define STEPS_MAX     20000 /* of a second; a bound, not a timing */
#define START_UNIX_S  UINT64_C(1800000000)
#define WAIT_S        60
#define ASKS_MAX      8

static struct disk_model *model;
static struct waiting *waiting;
static struct crypto_core *core;
static uint8_t *buffers;
static uint8_t heads[ASKS_MAX][HEAD_ROOM];
static uint8_t body[BODY_BYTES];
static const uint8_t key[32] = {1};
static uint64_t now_ns;
static uint32_t ended_count;
static uint32_t asked[ASKS_MAX]; /* indexes, by key service */
static uint32_t asks_count;
static bool answers; /* that the service is away */

static bool op_key_up(void *user, uint32_t key_service)
{
    (void)user;
    (void)key_service;
    return false;
}

static void op_ask(void *user, uint32_t key_service, const struct key_request *request)
{
    (void)user;
    assert_true(asks_count < ASKS_MAX);
    assert_true(key_service < ASKS_MAX);
    asked[asks_count++] = request->job_index;
}

static const struct snapshot *op_snapshot(void *user)
{
    (void)user;
    fail_msg("nothing here needs a profile");
    return NULL;
}

static bool op_put_ended(void *user, uint32_t job_index, int error)
{
    (void)user;
    (void)job_index;
    assert_int_equal(error, 0);
    ended_count++;
    return true;
}

static void op_broken(void *user, uint32_t session)
{
    (void)user;
    (void)session;
}

static const struct waiting_ops ops = {.key_up = op_key_up,
                                       .ask = op_ask,
                                       .snapshot = op_snapshot,
                                       .put_ended = op_put_ended,
                                       .broken = op_broken};

static void model_open(struct disk_model **made)
{
    const struct disk_model_config config = {.seed = 7, .file_bytes_max = SEGMENT_BYTES};
    *made = disk_model_open(&config);
}

static void waiting_begin(uint32_t key_services_count)
{
    char why[WAITING_WHY_BYTES] = "";
    const struct waiting_config config = {
        .disk = disk_model_disk(model),
        .lanes_count = 1,
        .segment_bytes = SEGMENT_BYTES,
        .bytes_max = SEGMENTS * SEGMENT_BYTES,
        .buffers = buffers,
        .buffers_bytes = SPOOL_BUFFERS_MIN,
        .key = key,
        .core = core,
        .key_services_count = key_services_count,
        .key_names = {"one", "two"},
        .ask_ns = NS_PER_S,
        .now_ns = now_ns,
        .now_unix_ns = START_UNIX_S * NS_PER_S + now_ns,
        .ops = &ops,
    };
    if (waiting_open(&waiting, &config, why) != 0)
        fail_msg("%s", why);
}

static int begin(void **state)
{
    (void)state;
    now_ns = NS_PER_S;
    ended_count = 0;
    asks_count = 0;
    answers = true;
    buffers = aligned_alloc(DISK_BLOCK_BYTES, SPOOL_BUFFERS_MIN);
    model_open(&model);
    return buffers == NULL || crypto_core_open(&core, isa_best()) != 0 ? -1 : 0;
}

static int end(void **state)
{
    (void)state;
    assert_true(waiting_close(waiting));
    waiting = NULL;
    crypto_core_close(core);
    free(buffers);
    return 0;
}

/* A second later. */
static void step(void)
{
    now_ns += NS_PER_S;
    for (uint32_t n = 0; n < 64; n++) {
        (void)waiting_run(waiting, now_ns, START_UNIX_S * NS_PER_S + now_ns, 32);
        while (answers && asks_count > 0)
            waiting_take_verdict(waiting, asked[--asks_count], KEY_AWAY);
    }
}

static void put(uint32_t n, uint32_t key_service)
{
    static const uint8_t to[] = {13,  0,   'b', '@', 'e', 'x', 'a', 'm',
                                 'p', 'l', 'e', '.', 'o', 'r', 'g'};
    uint8_t record[RECORD_ROOM];
    struct id id;
    id_make(&id, core, START_UNIX_S * NS_PER_S + now_ns);
    struct record wrote = {.suite = 1,
                           .level = RECORD_LEVEL_HIGH,
                           .sent_unix_ms = START_UNIX_S * 1000,
                           .mail_bytes = BODY_BYTES,
                           .profile = (const uint8_t *)"default",
                           .profile_bytes = 7,
                           .sender = (const uint8_t *)"a@example.com",
                           .sender_bytes = 13,
                           .recipients = to,
                           .recipients_count = 1,
                           .recipients_bytes = sizeof(to)};
    memcpy(wrote.id, id.bytes, sizeof(wrote.id));
    const size_t record_bytes = record_write(record, sizeof(record), &wrote);
    assert_true(record_bytes > 0);
    const struct spool_span span = {.at = body, .bytes = BODY_BYTES};
    const uint64_t unix_ms = START_UNIX_S * 1000 + now_ns / NS_PER_MS;
    const struct waiting_mail mail = {.id = &id,
                                      .arrived_unix_ms = unix_ms,
                                      .end_unix_ms = unix_ms + WAIT_S * 1000,
                                      .record = record,
                                      .record_bytes = (uint32_t)record_bytes,
                                      .key_service = key_service,
                                      .notify = true,
                                      .head = heads[n],
                                      .head_room = HEAD_ROOM,
                                      .spans = &span,
                                      .spans_count = 1};
    const uint32_t before = ended_count;
    assert_int_equal(waiting_put_burst(waiting, &mail, &n, 1), 1);
    for (uint32_t steps = 0; ended_count == before; steps++) {
        assert_true(steps < STEPS_MAX);
        step();
    }
}

static uint64_t in_state(enum waiting_state state)
{
    return waiting_counts(waiting)->states[state];
}

static void segments_are_made_before_the_first_mail(void **state)
{
    struct spool_stats stats;
    (void)state;
    waiting_begin(1);
    for (uint32_t n = 0; n < 8; n++)
        step();
    waiting_spool_stats(waiting, &stats);
    assert_true(stats.segments_free >= 3);
}

/* No mail comes, so that none is refused: time alone finds the room. */
static void room_is_looked_for_again_though_no_mail_comes(void **state)
{
    struct spool_stats stats;
    (void)state;
    waiting_begin(1);
    disk_model_fail(model, DISK_MODEL_ENOSPC, disk_model_submitted(model), UINT32_MAX);
    for (uint32_t n = 0; n < 3; n++)
        step();
    waiting_spool_stats(waiting, &stats);
    assert_int_equal(stats.segments_free, 0);
    disk_model_fail(model, DISK_MODEL_SOUND, 0, 0);
    for (uint32_t n = 0; n < 20; n++)
        step();
    waiting_spool_stats(waiting, &stats);
    assert_true(stats.segments_free >= 3);
}

/* As after a kill: nothing that was read before is in memory. */
static void start_again(uint32_t key_services_count)
{
    struct disk_model *next;
    model_open(&next);
    disk_model_kill(model, next, 1);
    disk_model_keep(next);
    assert_true(waiting_close(waiting));
    model = next;
    asks_count = 0;
    waiting_begin(key_services_count);
}

static void mail_that_the_disk_never_reads_is_lost_at_last_and_not_tried_for_ever(void **state)
{
    (void)state;
    waiting_begin(1);
    put(0, 0);
    start_again(1);
    assert_int_equal(in_state(WAITING_KEY) + in_state(WAITING_REGISTERING), 1);
    disk_model_fail(model, DISK_MODEL_EIO, disk_model_submitted(model), UINT32_MAX);
    for (uint32_t steps = 0; in_state(WAITING_LOST) == 0; steps++) {
        assert_true(steps < STEPS_MAX);
        step();
    }
    assert_int_equal(waiting_counts(waiting)->expired, 0);
}

static void each_service_is_asked_though_another_does_not_answer(void **state)
{
    (void)state;
    waiting_begin(2);
    put(0, 0);
    put(1, 1);
    answers = false;
    start_again(2);
    assert_int_equal(waiting_counts(waiting)->recovered, 2);
    for (uint32_t n = 0; n < 8; n++)
        step();
    assert_int_equal(asks_count, 2);
    answers = true;
    step();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(segments_are_made_before_the_first_mail, begin, end),
        cmocka_unit_test_setup_teardown(room_is_looked_for_again_though_no_mail_comes, begin, end),
        cmocka_unit_test_setup_teardown(
            mail_that_the_disk_never_reads_is_lost_at_last_and_not_tried_for_ever, begin, end),
        cmocka_unit_test_setup_teardown(each_service_is_asked_though_another_does_not_answer, begin,
                                        end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
