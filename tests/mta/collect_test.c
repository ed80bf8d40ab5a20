/* What the engine took over comes back: each emission exactly once until its DONE is said. */
#include "tests/mta/fixture.h"

#include "base/clock.h"
#include "ipc/layout.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct bulla_collector *collect_from(const struct echo_engine *engine, uint32_t slots_count)
{
    struct bulla_collector *collector;
    const struct bulla_config config = {.socket_path = echo_engine_path(engine),
                                        .slots_count = slots_count};
    assert_int_equal(bulla_collect(&collector, &config), 0);
    return collector;
}

/* Submits and sees it taken over. */
static void queue_mail(struct bulla *bulla, uint64_t seed, size_t mail_bytes)
{
    submit(bulla, "queue", seed, mail_bytes);
    const struct bulla_completion completion = wait_one(bulla);
    assert_int_equal(completion.status, BULLA_QUEUED);
    bulla_release(bulla, &completion);
}

static struct bulla_emission collect_one(struct bulla_collector *collector)
{
    struct bulla_emission emission;
    assert_int_equal(bulla_collect_wait(collector, WAIT_MS), 1);
    assert_int_equal(bulla_collect_poll(collector, &emission, 1), 1);
    return emission;
}

static void done(struct bulla_collector *collector, const struct bulla_emission *emission,
                 enum bulla_emit_result result)
{
    assert_int_equal(bulla_collect_done(collector, emission, result, NULL, NULL), 0);
}

static void assert_count(const _Atomic uint64_t *counter, uint64_t wanted)
{
    for (uint32_t n = 0; n < 2000 && atomic_load(counter) < wanted; n++)
        (void)usleep(10000);
    assert_int_equal(atomic_load(counter), wanted);
}

static void assert_reply(struct echo_spool *spool, const char *wanted)
{
    char reply[IPC_TEXT_BYTES_MAX + 1];
    echo_spool_reply(spool, reply);
    assert_string_equal(reply, wanted);
}

static void assert_mail(const struct bulla_emission *emission, uint64_t seed, size_t mail_bytes)
{
    assert_int_equal(emission->kind, BULLA_EMISSION_MAIL);
    assert_int_equal(emission->mail_bytes, mail_bytes);
    size_t at = 0;
    for (uint32_t n = 0; n < emission->spans_count; n++) {
        const uint8_t *bytes = emission->spans[n].iov_base;
        for (size_t m = 0; m < emission->spans[n].iov_len; m++, at++) {
            if (bytes[m] != pattern(seed, at))
                fail_msg("mail %llu differs at byte %zu", (unsigned long long)seed, at);
        }
    }
    assert_int_equal(at, mail_bytes);
}

static void what_was_queued_is_emitted_with_its_addresses(void **state)
{
    (void)state;
    struct echo_engine *engine = engine_with((struct echo_engine_config){0});
    struct bulla *bulla = attach_to(engine, 8, 100000);
    struct bulla_collector *collector = collect_from(engine, 8);
    assert_int_equal(bulla_collect_wait(collector, 0), 0);
    static const char *const three[] = {"a@example.net", "j\xc3\xb6rg@example.net", "x@y"};
    const struct bulla_options options = {.set = BULLA_OPTION_FORWARD | BULLA_OPTION_EXPIRES,
                                          .expires_after_s = 7};
    const struct bulla_request request = {.profile = "queue",
                                          .sender = "bob@example.org",
                                          .recipients = three,
                                          .recipients_count = 3,
                                          .flags = BULLA_QUEUE,
                                          .options = &options,
                                          .mail_bytes = 70000};
    struct bulla_reservation reservation;
    assert_int_equal(bulla_reserve(bulla, &request, &reservation), 0);
    pattern_write(reservation.mail, 3, 70000);
    assert_int_equal(bulla_submit(bulla, &reservation), 0);
    const struct bulla_completion completion = wait_one(bulla);
    assert_int_equal(completion.status, BULLA_QUEUED);
    bulla_release(bulla, &completion);

    const struct bulla_emission emission = collect_one(collector);
    assert_string_equal(emission.profile, "queue");
    assert_string_equal(emission.sender, "bob@example.org");
    assert_int_equal(emission.recipients_count, 3);
    for (uint32_t n = 0; n < 3; n++)
        assert_string_equal(emission.recipients[n], three[n]);
    assert_string_equal(emission.envelope_id, "01010101010101010101010101010101");
    assert_mail(&emission, 3, 70000);
    assert_int_equal(bulla_collect_done(collector, &emission, BULLA_EMIT_SENT, "2.0.0",
                                        "Ok: queued as 4F\r\n"),
                     0);
    struct echo_spool *spool = echo_engine_spool(engine);
    assert_count(&spool->sent, 1);
    assert_reply(spool, "Ok: queued as 4F");
    assert_int_equal(atomic_load(&spool->reply_enhanced), 0x020000);
    assert_int_equal(bulla_collect_wait(collector, 20), 0); /* and is not emitted again */
    bulla_collect_end(collector);
    bulla_detach(bulla);
    echo_engine_close(engine);
}

static void what_comes_later_is_emitted_again(void **state)
{
    (void)state;
    struct echo_engine *engine = engine_with((struct echo_engine_config){0});
    struct bulla *bulla = attach_to(engine, 8, 4096);
    struct bulla_collector *collector = collect_from(engine, 8);
    queue_mail(bulla, 1, 500);
    for (uint32_t n = 0; n < 20; n++) { /* more often than there are slots */
        const struct bulla_emission emission = collect_one(collector);
        assert_mail(&emission, 1, 500);
        done(collector, &emission, BULLA_EMIT_LATER);
    }
    const struct bulla_emission emission = collect_one(collector);
    done(collector, &emission, BULLA_EMIT_SENT);
    assert_count(&echo_engine_spool(engine)->sent, 1);
    assert_int_equal(atomic_load(&echo_engine_spool(engine)->later), 20);
    bulla_collect_end(collector);
    bulla_detach(bulla);
    echo_engine_close(engine);
}

static void a_refusal_becomes_a_notification(void **state)
{
    (void)state;
    struct echo_engine *engine = engine_with((struct echo_engine_config){0});
    struct bulla *bulla = attach_to(engine, 8, 4096);
    struct bulla_collector *collector = collect_from(engine, 8);
    queue_mail(bulla, 1, 500);
    struct bulla_emission emission = collect_one(collector);
    done(collector, &emission, BULLA_EMIT_REFUSED);
    emission = collect_one(collector);
    assert_int_equal(emission.kind, BULLA_EMISSION_NOTIFICATION);
    assert_string_equal(emission.sender, "");
    assert_int_equal(emission.recipients_count, 1);
    assert_string_equal(emission.recipients[0], "bob@example.org");
    assert_int_equal(emission.mail_bytes, sizeof(ECHO_NOTICE) - 1);
    assert_memory_equal(emission.spans[0].iov_base, ECHO_NOTICE, sizeof(ECHO_NOTICE) - 1);
    done(collector, &emission, BULLA_EMIT_REFUSED); /* causes no other */
    assert_count(&echo_engine_spool(engine)->refused, 2);
    assert_int_equal(bulla_collect_wait(collector, 20), 0);
    bulla_collect_end(collector);
    bulla_detach(bulla);
    echo_engine_close(engine);
}

static void a_status_of_another_class_counts_as_none(void **state)
{
    (void)state;
    static const struct {
        enum bulla_emit_result result;
        const char *status;
        const char *text;
        uint32_t enhanced;
        const char *reply;
    } cases[] = {
        {BULLA_EMIT_LATER, "4.7.1", "greylisted", 0x040701, "greylisted"},
        {BULLA_EMIT_LATER, "5.7.1", "", 0, ""},
        {BULLA_EMIT_LATER, "4.256.1", "a\x01z\xc3\xb6", 0, "a?z??"},
        {BULLA_EMIT_LATER, "4.255.255", NULL, 0x04ffff, ""},
        {BULLA_EMIT_LATER, "4.1", "\r\n", 0, ""},
        {BULLA_EMIT_LATER, "4.1.1.1", "one\ntwo", 0, "one"},
        {BULLA_EMIT_LATER, "4..1", NULL, 0, ""},
        {BULLA_EMIT_LATER, "4.0001.1", NULL, 0, ""},
        {BULLA_EMIT_LATER, " 4.1.1", NULL, 0, ""},
        {BULLA_EMIT_LATER, "", NULL, 0, ""},
        {BULLA_EMIT_SENT, "2.6.0", "ok", 0x020600, "ok"},
    };
    struct echo_engine *engine = engine_with((struct echo_engine_config){0});
    struct bulla *bulla = attach_to(engine, 8, 4096);
    struct bulla_collector *collector = collect_from(engine, 8);
    struct echo_spool *spool = echo_engine_spool(engine);
    queue_mail(bulla, 1, 5);
    for (size_t n = 0; n < ARRAY_COUNT(cases); n++) {
        const struct bulla_emission emission = collect_one(collector);
        assert_int_equal(bulla_collect_done(collector, &emission, cases[n].result, cases[n].status,
                                            cases[n].text),
                         0);
        if (cases[n].result == BULLA_EMIT_LATER)
            assert_count(&spool->later, n + 1);
        else
            assert_count(&spool->sent, 1);
        assert_int_equal(atomic_load(&spool->reply_enhanced), cases[n].enhanced);
        assert_reply(spool, cases[n].reply);
    }
    queue_mail(bulla, 1, 5);
    char text[IPC_TEXT_BYTES_MAX + 10];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    const struct bulla_emission emission = collect_one(collector);
    assert_int_equal(bulla_collect_done(collector, &emission, BULLA_EMIT_SENT, NULL, text), 0);
    assert_count(&spool->sent, 2);
    text[IPC_TEXT_BYTES_MAX] = '\0';
    assert_reply(spool, text);
    bulla_collect_end(collector);
    bulla_detach(bulla);
    echo_engine_close(engine);
}

static void what_an_ended_collector_had_goes_to_the_next(void **state)
{
    (void)state;
    struct echo_engine *engine = engine_with((struct echo_engine_config){0});
    struct bulla *bulla = attach_to(engine, 8, 4096);
    struct bulla_collector *first = collect_from(engine, 8);
    queue_mail(bulla, 1, 500);
    queue_mail(bulla, 2, 500);
    struct bulla_emission emission = collect_one(first);
    assert_mail(&emission, 1, 500);
    done(first, &emission, BULLA_EMIT_SENT);
    emission = collect_one(first);
    bulla_collect_end(first);
    assert_count(&echo_engine_spool(engine)->emitted_again, 1);
    struct bulla_collector *second = collect_from(engine, 8);
    emission = collect_one(second);
    assert_mail(&emission, 2, 500);
    done(second, &emission, BULLA_EMIT_SENT);
    assert_count(&echo_engine_spool(engine)->sent, 2);
    assert_int_equal(atomic_load(&echo_engine_spool(engine)->emitted_again), 1);
    bulla_collect_end(second);
    bulla_collect_end(NULL);
    bulla_detach(bulla);
    echo_engine_close(engine);
}

static void a_killed_collector_loses_nothing(void **state)
{
    (void)state;
    struct echo_engine *engine = engine_with((struct echo_engine_config){.allow_io_uring = true});
    struct bulla *bulla = attach_to(engine, 8, 4096);
    for (uint64_t n = 0; n < 20; n++)
        queue_mail(bulla, n, 100);
    for (uint32_t n = 0; n < 5; n++) {
        int ready[2];
        assert_int_equal(pipe(ready), 0);
        const pid_t child = fork();
        assert_int_not_equal(child, -1);
        if (child == 0) {
            const struct bulla_config config = {.socket_path = echo_engine_path(engine)};
            struct bulla_collector *own;
            struct bulla_emission emission;
            if (bulla_collect(&own, &config) != 0 || bulla_collect_wait(own, WAIT_MS) != 1 ||
                bulla_collect_poll(own, &emission, 1) != 1 || write(ready[1], "x", 1) != 1)
                _exit(1);
            for (;;)
                (void)pause();
        }
        char byte;
        assert_int_equal(read(ready[0], &byte, 1), 1);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        assert_int_equal(close(ready[0]) | close(ready[1]), 0);
    }
    struct bulla_collector *collector = collect_from(engine, 8);
    uint32_t seen = 0;
    for (uint32_t n = 0; n < 20; n++) {
        const struct bulla_emission emission = collect_one(collector);
        uint8_t first = *(const uint8_t *)emission.spans[0].iov_base;
        uint64_t seed = 0;
        while (seed < 20 && ((seen >> seed & 1) != 0 || pattern(seed, 0) != first))
            seed++;
        assert_true(seed < 20);
        seen |= 1U << seed;
        assert_mail(&emission, seed, 100);
        done(collector, &emission, BULLA_EMIT_SENT);
    }
    assert_count(&echo_engine_spool(engine)->sent, 20);
    assert_int_equal(seen, (1U << 20) - 1);
    bulla_collect_end(collector);
    bulla_detach(bulla);
    echo_engine_close(engine);
}

static void no_more_are_open_than_there_are_slots(void **state)
{
    (void)state;
    struct echo_engine *engine = engine_with((struct echo_engine_config){0});
    struct bulla *bulla = attach_to(engine, 8, 4096);
    struct bulla_collector *collector = collect_from(engine, 8);
    struct bulla_emission emissions[12];
    for (uint64_t n = 0; n < 12; n++)
        queue_mail(bulla, n, 50);
    uint32_t count = 0;
    while (count < 8) {
        assert_int_equal(bulla_collect_wait(collector, WAIT_MS), 1);
        const int got = bulla_collect_poll(collector, emissions + count, 12 - count);
        assert_true(got > 0);
        count += (uint32_t)got;
    }
    assert_int_equal(count, 8);
    assert_int_equal(bulla_collect_wait(collector, 30), 0);
    /* In another order than they came: a slot comes back with the oldest that is done. */
    for (uint32_t n = 8; n > 0; n--)
        done(collector, &emissions[n - 1], BULLA_EMIT_SENT);
    for (count = 0; count < 4; count++) {
        const struct bulla_emission emission = collect_one(collector);
        assert_mail(&emission, 8 + count, 50);
        done(collector, &emission, BULLA_EMIT_SENT);
    }
    assert_count(&echo_engine_spool(engine)->sent, 12);
    bulla_collect_end(collector);
    bulla_detach(bulla);
    echo_engine_close(engine);
}

static void every_worker_is_collected_from(void **state)
{
    (void)state;
    struct echo_engine *engine = engine_with((struct echo_engine_config){.workers_count = 5});
    struct bulla *bulla = attach_to(engine, 8, 4096);
    struct bulla_collector *collector = collect_from(engine, 8);
    assert_int_equal(atomic_load(&echo_engine_counters(engine)->welcomed), 6);
    for (uint64_t n = 0; n < 100; n++) {
        queue_mail(bulla, n, 50);
        const struct bulla_emission emission = collect_one(collector);
        assert_mail(&emission, n, 50);
        done(collector, &emission, BULLA_EMIT_SENT);
    }
    assert_count(&echo_engine_spool(engine)->sent, 100);
    bulla_collect_end(collector);
    bulla_detach(bulla);
    echo_engine_close(engine);
}

static void an_engine_without_a_spool_says_so(void **state)
{
    (void)state;
    struct bulla_collector *collector;
    struct echo_engine *engine = engine_with((struct echo_engine_config){.no_spool = true});
    struct bulla_config config = {.socket_path = echo_engine_path(engine)};
    assert_int_equal(bulla_collect(&collector, &config), -ENOTSUP);
    config.slots_count = 7;
    assert_int_equal(bulla_collect(&collector, &config), -EINVAL);
    config.slots_count = UINT32_MAX;
    assert_int_equal(bulla_collect(&collector, &config), -EINVAL);
    echo_engine_close(engine);
    engine = engine_with((struct echo_engine_config){.decline = EUSERS});
    config = (struct bulla_config){.socket_path = echo_engine_path(engine)};
    assert_int_equal(bulla_collect(&collector, &config), -EUSERS);
    echo_engine_close(engine);
    config.socket_path = "/nonexistent/engine.sock";
    assert_int_equal(bulla_collect(&collector, &config), -ENOENT);
}

static void the_engines_end_is_told(void **state)
{
    (void)state;
    struct echo_engine *engine = engine_with((struct echo_engine_config){0});
    struct bulla *bulla = attach_to(engine, 8, 4096);
    struct bulla_collector *collector = collect_from(engine, 8);
    queue_mail(bulla, 1, 500);
    const struct bulla_emission emission = collect_one(collector);
    bulla_detach(bulla);
    echo_engine_close(engine);
    assert_mail(&emission, 1, 500); /* its bytes stay readable */
    assert_int_equal(bulla_collect_wait(collector, WAIT_MS), -EPIPE);
    struct bulla_emission another;
    assert_int_equal(bulla_collect_poll(collector, &another, 1), -EPIPE);
    assert_int_equal(bulla_collect_done(collector, &emission, BULLA_EMIT_SENT, NULL, NULL), -EPIPE);
    bulla_collect_end(collector);
}

static void a_poller_that_never_sleeps_sees_the_end_too(void **state)
{
    (void)state;
    struct echo_engine *engine = engine_with((struct echo_engine_config){0});
    struct bulla_collector *collector = collect_from(engine, 8);
    echo_engine_close(engine);
    struct bulla_emission emission;
    int rc = 0;
    for (uint32_t n = 0; n < 1000 && rc == 0; n++)
        rc = bulla_collect_poll(collector, &emission, 1);
    assert_int_equal(rc, -EPIPE);
    bulla_collect_end(collector);
}

static void an_event_loop_sleeps_on_the_descriptor(void **state)
{
    const bool allow_io_uring = *state != NULL;
    struct echo_engine *engine = engine_with(
        (struct echo_engine_config){.allow_io_uring = allow_io_uring, .workers_count = 2});
    struct bulla *bulla = attach_to(engine, 64, 1024 * 1024);
    struct bulla_collector *collector = collect_from(engine, 16);
    struct pollfd bell = {.fd = bulla_collect_fd(collector), .events = POLLIN};
    struct bulla_emission emissions[4];
    uint64_t sent = 0;
    for (uint64_t received = 0; received < 1000;) {
        while (sent < 1000 && sent - received < 1 + sent % 23)
            queue_mail(bulla, sent++, 64);
        const int count = bulla_collect_poll(collector, emissions, ARRAY_COUNT(emissions));
        assert_true(count >= 0);
        for (int n = 0; n < count; n++)
            done(collector, &emissions[n], BULLA_EMIT_SENT);
        received += (uint64_t)count;
        if (count < (int)ARRAY_COUNT(emissions) && received < sent)
            assert_int_equal(poll(&bell, 1, WAIT_MS), 1); /* a lost wake-up ends here */
    }
    assert_count(&echo_engine_spool(engine)->sent, 1000);
    assert_int_equal(atomic_load(&echo_engine_counters(engine)->faults), 0);
    bulla_detach(bulla);
    echo_engine_close(engine);
    assert_int_equal(poll(&bell, 1, WAIT_MS), 1);
    assert_int_equal(bulla_collect_poll(collector, emissions, ARRAY_COUNT(emissions)), -EPIPE);
    bulla_collect_end(collector);
}

/* Any size, any order of done, any result, with room for a few of them only. */
static void many_emissions_end_once_each(void **state)
{
    (void)state;
    struct echo_engine *engine = engine_with(
        (struct echo_engine_config){.arena_bytes = 1024 * 1024, .allow_io_uring = true});
    struct bulla *bulla = attach_to(engine, 64, 4 * 1024 * 1024);
    struct bulla_collector *collector = collect_from(engine, 64);
    struct bulla_emission held[64];
    uint32_t held_count = 0;
    uint64_t random = 88172645463325252;
    uint64_t queued = 0;
    uint64_t ended = 0; /* sent, or refused and notified */
    while (ended < 2000) {
        while (queued < 2000 && queued - ended < 200)
            queue_mail(bulla, queued++, 1 + next_random(&random) % 40000);
        if (held_count == 0)
            assert_int_equal(bulla_collect_wait(collector, WAIT_MS), 1);
        const int count = bulla_collect_poll(collector, held + held_count, 64 - held_count);
        assert_true(count >= 0);
        held_count += (uint32_t)count;
        while (held_count > next_random(&random) % 8) {
            const uint32_t pick = (uint32_t)(next_random(&random) % held_count);
            const bool mail = held[pick].kind == BULLA_EMISSION_MAIL;
            const enum bulla_emit_result result =
                (enum bulla_emit_result)(1 + next_random(&random) % 3);
            done(collector, &held[pick], result);
            held[pick] = held[--held_count];
            ended += result == BULLA_EMIT_SENT || (result == BULLA_EMIT_REFUSED && !mail);
        }
    }
    assert_int_equal(bulla_collect_wait(collector, 20), 0);
    assert_int_equal(atomic_load(&echo_engine_counters(engine)->faults), 0);
    assert_int_equal(atomic_load(&echo_engine_spool(engine)->emitted_again), 0);
    bulla_collect_end(collector);
    bulla_detach(bulla);
    echo_engine_close(engine);
}

int main(void)
{
    static bool yes = true;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_queued_is_emitted_with_its_addresses),
        cmocka_unit_test(what_comes_later_is_emitted_again),
        cmocka_unit_test(a_refusal_becomes_a_notification),
        cmocka_unit_test(a_status_of_another_class_counts_as_none),
        cmocka_unit_test(what_an_ended_collector_had_goes_to_the_next),
        cmocka_unit_test(a_killed_collector_loses_nothing),
        cmocka_unit_test(no_more_are_open_than_there_are_slots),
        cmocka_unit_test(every_worker_is_collected_from),
        cmocka_unit_test(an_engine_without_a_spool_says_so),
        cmocka_unit_test(the_engines_end_is_told),
        cmocka_unit_test(a_poller_that_never_sleeps_sees_the_end_too),
        cmocka_unit_test_prestate(an_event_loop_sleeps_on_the_descriptor, NULL),
        cmocka_unit_test_prestate(an_event_loop_sleeps_on_the_descriptor, &yes),
        cmocka_unit_test(many_emissions_end_once_each),
    };
    return cmocka_run_group_tests_name("collect", tests, NULL, NULL);
}
