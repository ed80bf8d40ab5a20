/* Mail that waits, on a disk that fails as it is told, with a key service and collectors that do.
 */
#include "engine/waiting.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "crypto/core.h"
#include "engine/key_link.h"
#include "engine/worker_internal.h"
#include "envelope/notice.h"
#include "keyservice/key_client.h"
#include "keyservice/record.h"
#include "tests/engine/outage.h"
#include "tests/ipc/pair.h"
#include "tests/queue/disk_model.h"

#include <errno.h>
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
#define LARGE_BYTES   20000
#define PASSES        64
#define STEPS_MAX     20000 /* of a second; a bound, not a timing */
#define START_UNIX_S  UINT64_C(1800000000)
#define WAIT_S        60
#define ASKS_MAX      64

static struct disk_model *model;
static struct waiting *waiting;
static struct crypto_core *core;
static uint8_t *buffers;
static uint8_t head[HEAD_ROOM];
static uint8_t body[LARGE_BYTES];
static uint32_t body_bytes;
static uint32_t wait_s;
static bool notify;
static struct id last_id; /* of what was put */
static uint64_t last_end_unix_ms;
static uint8_t key[32];
static uint8_t put_key;      /* its first byte while a mail is put */
static struct worker worker; /* what control's questions are put to */
static uint64_t now_ns;
static uint64_t start_unix_s;           /* moves when the wall clock is set */
static const struct snapshot *snapshot; /* NULL: nothing may need a profile */
static uint32_t ended_count;
static uint32_t asked[ASKS_MAX]; /* indexes, by key service */
static uint32_t asks_count;
static bool answers; /* the service does, at once ... */
static bool up;      /* ... that the key is stored; else that it is away */

static bool op_key_up(void *user, uint32_t key_service)
{
    (void)user;
    (void)key_service;
    return up;
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
    assert_non_null(snapshot);
    return snapshot;
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

static uint64_t unix_ns(void)
{
    return start_unix_s * NS_PER_S + now_ns;
}

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
        .ask_ns = OUTAGE_ASK_S * NS_PER_S,
        .now_ns = now_ns,
        .now_unix_ns = unix_ns(),
        .ops = &ops,
    };
    if (waiting_open(&waiting, &config, why) != 0)
        fail_msg("%s", why);
    worker.waiting = waiting;
}

static int begin(void **state)
{
    (void)state;
    now_ns = NS_PER_S;
    start_unix_s = START_UNIX_S;
    snapshot = NULL;
    ended_count = 0;
    asks_count = 0;
    answers = true;
    up = false;
    notify = true;
    body_bytes = BODY_BYTES;
    wait_s = WAIT_S;
    put_key = key[0] = 1;
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

/* All that can be done in this second. */
static void passes(void)
{
    for (uint32_t n = 0; n < PASSES; n++) {
        (void)waiting_run(waiting, now_ns, unix_ns(), 32);
        while (answers && asks_count > 0)
            waiting_take_verdict(waiting, asked[--asks_count], up ? KEY_STORED : KEY_AWAY);
    }
}

/* A second later. */
static void step(void)
{
    now_ns += NS_PER_S;
    passes();
}

static void put(uint32_t key_service)
{
    static const uint8_t to[] = {13,  0,   'b', '@', 'e', 'x', 'a', 'm',
                                 'p', 'l', 'e', '.', 'o', 'r', 'g'};
    uint8_t record[RECORD_ROOM];
    struct id id;
    id_make(&id, core, unix_ns());
    struct record wrote = {.suite = 1,
                           .level = RECORD_LEVEL_HIGH,
                           .sent_unix_ms = START_UNIX_S * 1000,
                           .mail_bytes = body_bytes,
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
    last_id = id;
    const struct spool_span span = {.at = body, .bytes = body_bytes};
    const uint64_t unix_ms = unix_ns() / NS_PER_MS;
    last_end_unix_ms = unix_ms + wait_s * UINT64_C(1000);
    const struct waiting_mail mail = {.id = &id,
                                      .arrived_unix_ms = unix_ms,
                                      .end_unix_ms = last_end_unix_ms,
                                      .record = record,
                                      .record_bytes = (uint32_t)record_bytes,
                                      .key_service = key_service,
                                      .notify = notify,
                                      .head = head,
                                      .head_room = HEAD_ROOM,
                                      .spans = &span,
                                      .spans_count = 1};
    const uint32_t before = ended_count;
    const uint32_t job_index = 0;
    key[0] = put_key;
    assert_int_equal(waiting_put_burst(waiting, &mail, &job_index, 1), 1);
    key[0] = 1;
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
    put(0);
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
    put(0);
    put(1);
    answers = false;
    start_again(2);
    assert_int_equal(waiting_counts(waiting)->recovered, 2);
    for (uint32_t n = 0; n < 8; n++)
        step();
    assert_int_equal(asks_count, 2);
    answers = true;
    step();
}

static const struct ipc_completion *emission_of(const struct pair *pair, uint32_t n)
{
    assert_true(n < atomic_load(&pair->peer->tail));
    const uint8_t *slots = pair->peer_at + pair->peer->slots_offset;
    return (const struct ipc_completion *)(const void *)(slots + n % PAIR_SLOTS *
                                                                     sizeof(struct ipc_completion));
}

static struct pair *collector_begin(uint32_t session)
{
    void *made = NULL;
    assert_int_equal(pair_up(&made, IPC_KIND_COLLECTOR, 0), 0);
    struct pair *pair = made;
    assert_true(waiting_collector_add(waiting, session, pair->channel));
    return pair;
}

/* Without a word about what it has. */
static void collector_finish(struct pair *pair, uint32_t session)
{
    void *made = pair;
    waiting_collector_end(waiting, session);
    for (uint32_t n = 0; !waiting_collector_gone(waiting, session); n++) {
        assert_true(n < STEPS_MAX);
        passes();
    }
    assert_int_equal(pair_down(&made), 0);
}

/* The nth emission is sent, and its memory given back. */
static void collector_sent(struct pair *pair, uint32_t session, uint32_t n)
{
    const struct ipc_submission done = {.request_id = emission_of(pair, n)->request_id,
                                        .flags = IPC_SUBMIT_DONE,
                                        .done_result = IPC_DONE_SENT};
    pair_submit(pair, &done);
    atomic_store(&pair->page->head, n + 1);
    assert_true(waiting_collector_serve(waiting, session) > 0);
}

static bool is_about(const struct ipc_completion *emission, const struct id *id)
{
    return memcmp(emission->envelope_id, id->bytes, ID_BYTES) == 0;
}

/* Three collectors in turn end while they have it: no fourth has it before the others' mail. */
static void a_mail_that_ends_its_collectors_lets_the_others_pass(void **state)
{
    struct waiting_item item;
    (void)state;
    wait_s = 3600;
    up = true;
    waiting_begin(1);
    put(0);
    const struct id poison = last_id;
    for (uint32_t session = 1; session <= 3; session++) {
        struct pair *pair = collector_begin(session);
        passes();
        assert_true(is_about(emission_of(pair, 0), &poison));
        collector_finish(pair, session);
    }
    assert_int_equal(waiting_find(&worker, &poison, &item), 0);
    assert_int_equal(item.tries, 3);
    assert_true(item.pause_s > 0);
    assert_int_equal(waiting_counts(waiting)->emitted_again, 2);
    struct pair *pair = collector_begin(4);
    put(0);
    const struct id other = last_id;
    for (uint32_t n = 0; n < 16 && atomic_load(&pair->peer->tail) < 2; n++)
        step();
    assert_int_equal(atomic_load(&pair->peer->tail), 2);
    assert_true(is_about(emission_of(pair, 0), &other) || is_about(emission_of(pair, 1), &other));
    collector_sent(pair, 4, 0);
    collector_sent(pair, 4, 1);
    passes();
    assert_int_equal(waiting_find(&worker, &poison, &item), -ENOENT);
    assert_int_equal(waiting_counts(waiting)->emitted, 2);
    collector_finish(pair, 4);
}

/* What a collector has taken along goes first, once or twice; what has been taken along more often
 * goes behind what nobody has seen. */
static void a_mail_that_ends_its_collectors_is_not_the_first_for_ever(void **state)
{
    (void)state;
    wait_s = 3600;
    up = true;
    waiting_begin(1);
    put(0);
    const struct id poison = last_id;
    for (uint32_t session = 1; session <= 3; session++) {
        struct pair *pair = collector_begin(session);
        passes();
        collector_finish(pair, session);
    }
    for (uint32_t n = 0; n < 3; n++)
        put(0);
    for (uint32_t n = 0; n < 16; n++)
        step(); /* its pause is over */
    assert_int_equal(in_state(WAITING_READY), 4);
    struct pair *pair = collector_begin(4);
    passes();
    assert_int_equal(atomic_load(&pair->peer->tail), 4);
    assert_false(is_about(emission_of(pair, 0), &poison));
    for (uint32_t n = 0; n < 4; n++)
        collector_sent(pair, 4, n);
    passes();
    assert_int_equal(waiting_counts(waiting)->emitted, 4);
    collector_finish(pair, 4);
}

/* A time that is over ends it too: its sender is told, and no collector is ended by it any more. */
static void a_mail_that_ends_its_collectors_ends_with_its_time(void **state)
{
    (void)state;
    up = true;
    notify = false;
    waiting_begin(1);
    put(0);
    for (uint32_t session = 1; session <= 3; session++) {
        struct pair *pair = collector_begin(session);
        passes();
        assert_int_equal(atomic_load(&pair->peer->tail), 1);
        if (session == 3)
            for (uint32_t n = 0; n < 2 * WAIT_S; n++)
                step();
        collector_finish(pair, session);
    }
    for (uint32_t n = 0; n < 4; n++)
        step();
    assert_int_equal(waiting_counts(waiting)->expired, 1);
    assert_int_equal(waiting_counts(waiting)->emitted, 0);
}

/* Twenty for one that has eight slots. */
static void what_was_read_is_sent_in_order_as_slots_come_free(void **state)
{
    struct id ids[20];
    (void)state;
    wait_s = 3600;
    up = true;
    waiting_begin(1);
    for (uint32_t n = 0; n < ARRAY_COUNT(ids); n++) {
        put(0);
        ids[n] = last_id;
    }
    passes();
    struct pair *pair = collector_begin(1);
    for (uint32_t n = 0; n < ARRAY_COUNT(ids); n++) {
        passes();
        assert_int_equal(atomic_load(&pair->peer->tail),
                         MIN(n + PAIR_SLOTS, (uint32_t)ARRAY_COUNT(ids)));
        assert_true(is_about(emission_of(pair, n), &ids[n]));
        collector_sent(pair, 1, n);
    }
    passes();
    assert_int_equal(waiting_counts(waiting)->emitted, ARRAY_COUNT(ids));
    assert_int_equal(waiting_counts(waiting)->emitted_again, 0);
    collector_finish(pair, 1);
}

/* What was read for a collector and never sent to it was not tried: it goes to the next one. */
static void what_a_collector_had_no_slot_for_goes_to_the_next(void **state)
{
    (void)state;
    wait_s = 3600;
    up = true;
    waiting_begin(1);
    for (uint32_t n = 0; n < 12; n++)
        put(0);
    struct pair *first = collector_begin(1);
    passes();
    assert_int_equal(in_state(WAITING_EMITTING), 12);
    collector_finish(first, 1);
    assert_int_equal(in_state(WAITING_READY), 12);
    struct pair *second = collector_begin(2);
    for (uint32_t n = 0; n < 12; n++) {
        passes();
        collector_sent(second, 2, n);
    }
    passes();
    assert_int_equal(waiting_counts(waiting)->emitted, 12);
    assert_int_equal(waiting_counts(waiting)->emitted_again, PAIR_SLOTS);
    collector_finish(second, 2);
}

/* One of a burst was sealed under another spool key, as far as its tag can tell. */
static void a_tag_that_does_not_verify_fails_its_own_mail_alone(void **state)
{
    struct waiting_item item;
    (void)state;
    notify = false; /* so that its end needs no profile's text */
    answers = false;
    waiting_begin(1);
    put(0);
    step();
    assert_int_equal(asks_count, 1); /* this one is the probe, and the others wait for its answer */
    put(0);
    put_key = 2;
    put(0);
    put_key = 1;
    const struct id odd = last_id;
    put(0);
    up = true;
    passes();
    assert_int_equal(asks_count, 3);
    assert_int_equal(waiting_counts(waiting)->damaged, 1);
    answers = true;
    step();
    assert_int_equal(waiting_counts(waiting)->registered, 3);
    assert_int_equal(waiting_counts(waiting)->expired, 1);
    assert_int_equal(in_state(WAITING_READY), 3);
    assert_int_equal(waiting_find(&worker, &odd, &item), -ENOENT);
}

/* A collector that is full keeps keys from being registered far ahead, but no service that is away
 * from being asked; and that by one record at a time. */
static void one_that_is_away_is_probed_though_the_collector_is_full(void **state)
{
    (void)state;
    wait_s = 36000;
    up = true;
    body_bytes = LARGE_BYTES;
    waiting_begin(1);
    struct pair *pair = collector_begin(1);
    for (uint32_t n = 0; n < 130; n++)
        put(0);
    step();
    assert_true(in_state(WAITING_READY) >= 64);
    answers = false;
    put(0);
    for (uint32_t n = 0; n < 8; n++)
        step();
    assert_int_equal(asks_count, 0); /* it is up, and nobody needs the key yet */
    up = false;
    put(0);
    for (uint32_t n = 0; n < 8; n++)
        step();
    assert_int_equal(asks_count, 1);
    answers = true;
    step();
    collector_finish(pair, 1);
}

/*
 * Days of outage: the service is there twice, the wall clock is set forward and back, and the
 * process is killed once.
 */
#define DAYS_HOURS   140
#define DAYS_LAST    136 /* the hour of a mail that waits alone, and for two hours */
#define DAYS_KILLED  64  /* in this hour */
#define DAYS_TOLD    15  /* 11 by a clock that was a day ahead, 4 in their time */
#define DAYS_SESSION 1
#define HOUR_NS      (3600 * NS_PER_S)

static struct outage outage;

/* Half a second later, or when the next probe is due. */
static void days_step(struct pair *pair, uint32_t *taken)
{
    const uint64_t due_ns = outage_due_ns(&outage);
    now_ns += due_ns > now_ns ? MIN(due_ns - now_ns, 10 * NS_PER_S) : NS_PER_S / 2;
    outage_clock(&outage, unix_ns() / NS_PER_S);
    for (uint32_t n = 0; n < 4; n++) {
        (void)waiting_run(waiting, now_ns, unix_ns(), 32);
        const enum outage_answer answer = outage_answer(&outage, asks_count, now_ns);
        up = breaker_is_closed(&outage.breaker);
        while (answer != OUTAGE_SILENT && asks_count > 0)
            waiting_take_verdict(waiting, asked[--asks_count],
                                 answer == OUTAGE_STORED ? KEY_STORED : KEY_AWAY);
    }
    for (; *taken < atomic_load(&pair->peer->tail); (*taken)++) {
        outage_came(&outage, emission_of(pair, *taken));
        collector_sent(pair, DAYS_SESSION, *taken);
    }
}

static void days_hour_begins(uint32_t hour)
{
    static const struct {
        uint32_t hour;
        int32_t step_s;
    } steps[] = {{12, 18000}, {20, -34200}, {40, 14400}, {100, 86400}, {101, -86400}, {110, -2}};
    for (uint32_t n = 0; n < ARRAY_COUNT(steps); n++)
        if (steps[n].hour == hour)
            start_unix_s += (uint64_t)(int64_t)steps[n].step_s;
    outage.here = (hour >= 30 && hour < 32) || (hour >= 131 && hour < DAYS_LAST);
    if (hour == DAYS_LAST)
        wait_s = 7200; /* it ends while the service is asked for it */
    if (hour < 96 ? hour % 2 == 0 : hour == DAYS_LAST) {
        put(0);
        outage_put(&outage, &last_id, last_end_unix_ms / 1000);
    }
}

static struct pair *days_kill(struct pair *pair)
{
    collector_finish(pair, DAYS_SESSION);
    start_again(1);
    outage_client_begin(&outage);
    return collector_begin(DAYS_SESSION);
}

static void each_mail_of_days_of_outage_is_sent_or_told_of_once(void **state)
{
    static struct snapshot texts;
    const struct notice_config config = {.locale = "en",
                                         .key_service_url = "https://keys.example.com",
                                         .message_id_host = "mx.example.com"};
    char why[NOTICE_WHY_BYTES];
    uint32_t taken = 0;
    (void)state;
    texts.profiles_count = 1;
    texts.profiles[0].name_bytes = 7;
    memcpy(texts.profiles[0].profile.name, "default", 8);
    assert_int_equal(notice_open(&texts.profiles[0].notice, &config, why), 0);
    snapshot = &texts;
    wait_s = 3 * 86400;
    answers = false; /* but as days_step() says */
    outage_client_begin(&outage);
    waiting_begin(1);
    struct pair *pair = collector_begin(DAYS_SESSION);
    for (uint32_t hour = 0; hour < DAYS_HOURS; hour++) {
        if (hour == DAYS_KILLED) {
            pair = days_kill(pair);
            taken = 0;
        }
        days_hour_begins(hour);
        while (now_ns < (hour + 1) * HOUR_NS)
            days_step(pair, &taken);
        const uint32_t waits = outage_waits(&outage);
        assert_true(!outage.here || waits == 0);
    }
    assert_int_equal(outage.mails_count, OUTAGE_MAILS_MAX);
    assert_int_equal(outage_waits(&outage), 0);
    assert_int_equal(outage_told(&outage), DAYS_TOLD);
    collector_finish(pair, DAYS_SESSION);
    notice_close(texts.profiles[0].notice);
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
        cmocka_unit_test_setup_teardown(a_mail_that_ends_its_collectors_lets_the_others_pass, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_mail_that_ends_its_collectors_is_not_the_first_for_ever,
                                        begin, end),
        cmocka_unit_test_setup_teardown(a_mail_that_ends_its_collectors_ends_with_its_time, begin,
                                        end),
        cmocka_unit_test_setup_teardown(what_was_read_is_sent_in_order_as_slots_come_free, begin,
                                        end),
        cmocka_unit_test_setup_teardown(what_a_collector_had_no_slot_for_goes_to_the_next, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_tag_that_does_not_verify_fails_its_own_mail_alone, begin,
                                        end),
        cmocka_unit_test_setup_teardown(one_that_is_away_is_probed_though_the_collector_is_full,
                                        begin, end),
        cmocka_unit_test_setup_teardown(each_mail_of_days_of_outage_is_sent_or_told_of_once, begin,
                                        end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
