/* Mail that waits, and its collectors: its turns, its ends, and days of outage. */
#include "engine/waiting.h"

#include "base/clock.h"
#include "envelope/notice.h"
#include "keyservice/key_client.h"
#include "tests/engine/outage.h"
#include "tests/engine/waiting_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

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

/* A time that is over ends it too: its sender is told when no collector comes for a last try. */
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
    assert_int_equal(waiting_counts(waiting)->expired, 0);
    for (uint32_t n = 0; n < 16; n++)
        step();
    assert_int_equal(waiting_counts(waiting)->expired, 1);
    assert_int_equal(waiting_counts(waiting)->emitted, 0);
}

/* Its time ends while a collector has it, which then ends without a word: it may have been sent.
 * The next collector has it once, and only what that one leaves unsaid is told as a failure. */
static void what_ended_with_a_collector_that_ended_is_tried_once_more(void **state)
{
    (void)state;
    up = true;
    notify = false;
    waiting_begin(1);
    for (uint32_t round = 0; round < 2; round++) {
        put(0);
        struct pair *pair = collector_begin(1);
        for (uint32_t n = 0; n < 2 * WAIT_S; n++)
            step();
        assert_int_equal(atomic_load(&pair->peer->tail), 1);
        collector_finish(pair, 1);
        assert_int_equal(waiting_counts(waiting)->expired, 0);
        pair = collector_begin(2);
        for (uint32_t n = 0; n < 16; n++)
            step();
        assert_int_equal(atomic_load(&pair->peer->tail), 1);
        assert_true(is_about(emission_of(pair, 0), &last_id));
        if (round == 0)
            collector_sent(pair, 2, 0);
        passes();
        collector_finish(pair, 2);
        for (uint32_t n = 0; n < 4; n++)
            step();
        assert_int_equal(waiting_counts(waiting)->emitted, 1);
        assert_int_equal(waiting_counts(waiting)->expired, round);
    }
}

/* Its time ends while the disk is asked for it, and the disk never gives it. */
static void what_ended_and_is_never_read_is_not_tried_for_ever(void **state)
{
    (void)state;
    notify = false;
    body_bytes = LARGE_BYTES;
    waiting_begin(1);
    put(0);
    start_again(1);
    up = true;
    step();
    assert_int_equal(in_state(WAITING_READY), 1);
    disk_model_fail(model, DISK_MODEL_EIO, disk_model_submitted(model), UINT32_MAX);
    disk_model_slow(model, 16);
    struct pair *pair = collector_begin(1);
    for (uint32_t n = 0; n < 2 * WAIT_S; n++)
        step();
    assert_int_equal(in_state(WAITING_EMITTING), 1);
    disk_model_slow(model, 0);
    for (uint32_t steps = 0; waiting_counts(waiting)->expired == 0; steps++) {
        assert_true(steps < STEPS_MAX);
        step();
    }
    assert_int_equal(atomic_load(&pair->peer->tail), 0);
    disk_model_fail(model, DISK_MODEL_SOUND, 0, 0);
    for (uint32_t n = 0; n < 20; n++)
        step(); /* its end is written */
    collector_finish(pair, 1);
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
        cmocka_unit_test_setup_teardown(segments_are_made_before_the_first_mail, rig_begin,
                                        rig_end),
        cmocka_unit_test_setup_teardown(room_is_looked_for_again_though_no_mail_comes, rig_begin,
                                        rig_end),
        cmocka_unit_test_setup_teardown(
            mail_that_the_disk_never_reads_is_lost_at_last_and_not_tried_for_ever, rig_begin,
            rig_end),
        cmocka_unit_test_setup_teardown(a_mail_that_ends_its_collectors_lets_the_others_pass,
                                        rig_begin, rig_end),
        cmocka_unit_test_setup_teardown(a_mail_that_ends_its_collectors_is_not_the_first_for_ever,
                                        rig_begin, rig_end),
        cmocka_unit_test_setup_teardown(a_mail_that_ends_its_collectors_ends_with_its_time,
                                        rig_begin, rig_end),
        cmocka_unit_test_setup_teardown(what_ended_with_a_collector_that_ended_is_tried_once_more,
                                        rig_begin, rig_end),
        cmocka_unit_test_setup_teardown(what_ended_and_is_never_read_is_not_tried_for_ever,
                                        rig_begin, rig_end),
        cmocka_unit_test_setup_teardown(what_was_read_is_sent_in_order_as_slots_come_free,
                                        rig_begin, rig_end),
        cmocka_unit_test_setup_teardown(what_a_collector_had_no_slot_for_goes_to_the_next,
                                        rig_begin, rig_end),
        cmocka_unit_test_setup_teardown(each_mail_of_days_of_outage_is_sent_or_told_of_once,
                                        rig_begin, rig_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
