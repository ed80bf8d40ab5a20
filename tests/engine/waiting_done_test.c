/* What becomes of what collectors report when many wait for it, and of one that reports nothing. */
#include "engine/waiting.h"

#include "engine/waiting_internal.h"
#include "envelope/notice.h"
#include "tests/engine/waiting_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define MANY      (WAITING_EMITS_MAX + 100)
#define TEXTS_MAX (WAITING_EMITS_MAX / 8 * 7) /* of those that were refused in part */
#define SMALL     10                          /* so that all are in a collector's memory at once */
#define TOGETHER  32
#define SLOTS     256
#define MORE      8
#define ROUNDS    1000

static void many_begin(uint32_t count)
{
    static struct made made[TOGETHER];
    struct waiting_mail mails[TOGETHER];
    const uint32_t job_indexes[TOGETHER] = {0};
    wait_s = 360000;
    up = true;
    body_bytes = SMALL;
    waiting_begin(1);
    for (uint32_t n = 0; n < count; n += TOGETHER) {
        const uint32_t some = MIN(count - n, (uint32_t)TOGETHER);
        for (uint32_t i = 0; i < some; i++)
            mail_make(&made[i], &mails[i], 0);
        assert_int_equal(waiting_put_burst(waiting, mails, job_indexes, some), some);
        put_settle(n + some);
    }
}

/* A pass that begins nothing: no notification either. */
static void pass_idle(void)
{
    (void)waiting_run(waiting, now_ns, unix_ns(), 0);
}

static void done_refused_in_part(struct pair *pair, uint32_t n)
{
    static struct refusals_draft draft;
    const struct ipc_completion *emission = emission_of(pair, n);
    const uint64_t at = pair->client.arena_offset + n % SLOTS * (uint64_t)CACHE_LINE;
    refusals_begin(&draft, 1);
    refusals_add(&draft, 0, (const uint8_t[]){5, 1, 1}, "no");
    const struct ipc_submission done = {.request_id = emission->request_id,
                                        .flags = IPC_SUBMIT_DONE | IPC_SUBMIT_REFUSALS,
                                        .meta_offset = at,
                                        .meta_bytes = refusals_write(&draft, pair->memory.at + at),
                                        .done_result = IPC_DONE_REFUSED,
                                        .done_enhanced = {5, 1, 1}};
    assert_true(done.meta_bytes <= CACHE_LINE);
    pair_submit(pair, &done);
    atomic_store(&pair->page->head, n + 1);
}

/* No notification is made: as many as there are places for are taken, and no more. */
static void places_fill(struct pair *pairs[2])
{
    uint32_t said[] = {0, 0};
    many_begin(TEXTS_MAX + MORE);
    for (uint32_t i = 0; i < 2; i++)
        pairs[i] = collector_begin_slots(i + 1, SLOTS);
    for (uint32_t n = 0; n < ROUNDS && in_state(WAITING_EMITTING) < TEXTS_MAX + MORE; n++)
        passes();
    assert_int_equal(in_state(WAITING_EMITTING), TEXTS_MAX + MORE);
    for (uint32_t n = 0; n < TEXTS_MAX + MORE; n++) {
        const uint32_t i = said[0] < atomic_load(&pairs[0]->peer->tail) ? 0 : 1;
        assert_true(said[i] < atomic_load(&pairs[i]->peer->tail));
        assert_int_equal(waiting_collector_takes(waiting, i + 1), n < TEXTS_MAX);
        done_refused_in_part(pairs[i], said[i]++);
        (void)waiting_collector_serve(waiting, i + 1);
        pass_idle();
        assert_int_equal(in_state(WAITING_ENDING), MIN(n + 1, (uint32_t)TEXTS_MAX));
    }
}

/* Until a notification was made. */
static void what_says_who_was_refused_waits_for_a_place(void **state)
{
    struct pair *pairs[2];
    static struct snapshot texts;
    const struct notice_config config = {.locale = "en",
                                         .key_service_url = "https://keys.example.com",
                                         .message_id_host = "mx.example.com"};
    char why[NOTICE_WHY_BYTES];
    (void)state;
    texts.profiles_count = 1;
    texts.profiles[0].name_bytes = 7;
    memcpy(texts.profiles[0].profile.name, "default", 8);
    assert_int_equal(notice_open(&texts.profiles[0].notice, &config, why), 0);
    snapshot = &texts;
    places_fill(pairs);
    for (uint32_t n = 0; n < ROUNDS && waiting_counts(waiting)->expired < TEXTS_MAX + MORE; n++) {
        step();
        (void)waiting_collector_serve(waiting, 1);
        (void)waiting_collector_serve(waiting, 2);
    }
    assert_int_equal(waiting_counts(waiting)->expired, TEXTS_MAX + MORE);
    assert_true(waiting_collector_takes(waiting, 1));
    collector_finish(pairs[0], 1);
    collector_finish(pairs[1], 2);
    notice_close(texts.profiles[0].notice);
}

/* No notification is made any more: what was reported would wait for nothing, and be sent again by
 * the next engine. */
static void all_that_was_reported_is_taken_when_the_engine_stops(void **state)
{
    struct pair *pairs[2];
    (void)state;
    places_fill(pairs);
    assert_int_equal(in_state(WAITING_EMITTING), MORE);
    assert_false(waiting_is_quiet(waiting));
    waiting_drain(waiting);
    for (uint32_t i = 0; i < 2; i++) {
        assert_true(waiting_collector_takes(waiting, i + 1));
        (void)waiting_collector_serve(waiting, i + 1);
    }
    passes();
    assert_int_equal(in_state(WAITING_EMITTING), 0);
    assert_true(waiting_is_quiet(waiting));
    collector_finish(pairs[0], 1);
    collector_finish(pairs[1], 2);
}

/* It breaks the contract: its session is over, and nothing is refused by it. */
static void refusals_that_are_unsound_refuse_nothing(void **state)
{
    (void)state;
    many_begin(1);
    struct pair *pair = collector_begin_slots(1, SLOTS);
    passes();
    const struct ipc_submission done = {.request_id = emission_of(pair, 0)->request_id,
                                        .flags = IPC_SUBMIT_DONE | IPC_SUBMIT_REFUSALS,
                                        .meta_offset = pair->client.arena_offset,
                                        .meta_bytes = 8, /* zeros */
                                        .done_result = IPC_DONE_REFUSED,
                                        .done_enhanced = {5, 1, 1}};
    pair_submit(pair, &done);
    (void)waiting_collector_serve(waiting, 1);
    assert_int_equal(in_state(WAITING_EMITTING), 1);
    assert_int_equal(in_state(WAITING_ENDING), 0);
    collector_finish(pair, 1);
}

/* They have their thirds of what may be under way, and all else goes through the third one. */
static void those_that_take_nothing_leave_another_its_part(void **state)
{
    const uint32_t sent = MANY - 2 * (WAITING_EMITS_MAX / 3);
    uint32_t taken = 0;
    (void)state;
    many_begin(MANY);
    struct pair *stuck[] = {collector_begin_slots(1, SLOTS), collector_begin_slots(2, SLOTS)};
    struct pair *other = collector_begin_slots(3, SLOTS);
    for (uint32_t n = 0; n < ROUNDS && waiting_counts(waiting)->emitted < sent; n++) {
        passes();
        for (; taken < atomic_load(&other->peer->tail); taken++)
            collector_sent(other, 3, taken);
    }
    assert_true(waiting_counts(waiting)->emitted >= sent);
    collector_finish(stuck[0], 1);
    collector_finish(stuck[1], 2);
    collector_finish(other, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_says_who_was_refused_waits_for_a_place, rig_begin,
                                        rig_end),
        cmocka_unit_test_setup_teardown(all_that_was_reported_is_taken_when_the_engine_stops,
                                        rig_begin, rig_end),
        cmocka_unit_test_setup_teardown(refusals_that_are_unsound_refuse_nothing, rig_begin,
                                        rig_end),
        cmocka_unit_test_setup_teardown(those_that_take_nothing_leave_another_its_part, rig_begin,
                                        rig_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
