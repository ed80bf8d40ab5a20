/* libbulla against the echo engine: what a mail server may rely on. */
#include "tests/mta/fixture.h"

#include "base/clock.h"
#include "ipc/layout.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- attach ---- */

static void attach_names_why_there_is_no_engine(void **state)
{
    (void)state;
    struct bulla *bulla;
    char folder[] = "/tmp/bulla-test-XXXXXX";
    char path[64];
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/none.sock", folder);
    struct bulla_config config = {.socket_path = path, .input_bytes = 4096};
    assert_int_equal(bulla_attach(&bulla, &config), -ENOENT);
    char long_path[200];
    memset(long_path, 'x', sizeof(long_path) - 1);
    long_path[sizeof(long_path) - 1] = '\0';
    config.socket_path = long_path;
    assert_int_equal(bulla_attach(&bulla, &config), -ENAMETOOLONG);
    config.socket_path = "";
    assert_int_equal(bulla_attach(&bulla, &config), -EINVAL);
    assert_int_equal(rmdir(folder), 0);
}

static void attach_passes_on_the_engines_refusal(void **state)
{
    (void)state;
    struct bulla *bulla;
    struct echo_engine *engine = engine_with((struct echo_engine_config){.decline = EACCES});
    struct bulla_config config = {.socket_path = echo_engine_path(engine), .input_bytes = 4096};
    assert_int_equal(bulla_attach(&bulla, &config), -EACCES);
    echo_engine_close(engine);

    engine = engine_with((struct echo_engine_config){.hang_up = true});
    config.socket_path = echo_engine_path(engine);
    assert_int_equal(bulla_attach(&bulla, &config), -ECONNREFUSED);
    echo_engine_close(engine);
}

static void attach_refuses_an_engine_whose_memory_can_shrink(void **state)
{
    (void)state;
    struct bulla *bulla;
    struct echo_engine *engine = engine_with((struct echo_engine_config){.bad_memfd = true});
    const struct bulla_config config = {.socket_path = echo_engine_path(engine),
                                        .input_bytes = 4096};
    assert_int_equal(bulla_attach(&bulla, &config), -EPROTO);
    echo_engine_close(engine);
}

static void attach_refuses_sizes_that_no_engine_takes(void **state)
{
    (void)state;
    struct bulla *bulla;
    struct echo_engine *engine = engine_with((struct echo_engine_config){0});
    struct bulla_config config = {.socket_path = echo_engine_path(engine), .input_bytes = 4096};
    static const uint32_t bad_slots[] = {1, 4, 9, 100, 8192, UINT32_MAX};
    for (size_t n = 0; n < ARRAY_COUNT(bad_slots); n++) {
        config.slots_count = bad_slots[n];
        assert_int_equal(bulla_attach(&bulla, &config), -EINVAL);
    }
    config.slots_count = 8;
    config.input_bytes = (size_t)1 << 30;
    assert_int_equal(bulla_attach(&bulla, &config), -EINVAL);
    config.input_bytes = SIZE_MAX;
    assert_int_equal(bulla_attach(&bulla, &config), -EINVAL);
    echo_engine_close(engine);
    bulla_detach(NULL);
}

/* ---- one message ---- */

static void seal_one_gives_head_mail_and_tail(void **state)
{
    (void)state;
    struct echo_engine *engine = engine_with((struct echo_engine_config){.allow_io_uring = true});
    const struct bulla_config config = {.socket_path = echo_engine_path(engine)};
    static const char mail[] = "Subject: x\r\n\r\nbody\r\n";
    const struct bulla_request request = request_for(NULL, sizeof(mail) - 1, NULL);
    enum bulla_status status;
    uint8_t *sealed;
    size_t sealed_bytes;
    char why[64];
    assert_int_equal(bulla_seal_one(&config, &request, mail, WAIT_MS, &status, &sealed,
                                    &sealed_bytes, why, sizeof(why)),
                     0);
    static const char expected[] = ECHO_HEAD "Subject: x\r\n\r\nbody\r\n" ECHO_TAIL;
    assert_int_equal(status, BULLA_SEALED);
    assert_int_equal(sealed_bytes, sizeof(expected) - 1);
    assert_memory_equal(sealed, expected, sealed_bytes);
    assert_string_equal(why, "");
    free(sealed);
    echo_engine_close(engine);
}

static void attach_gives_up_on_an_engine_that_does_not_answer(void **state)
{
    (void)state;
    struct echo_engine *engine = engine_with((struct echo_engine_config){.mute_after = 1});
    struct bulla *first = attach_to(engine, 8, 4096);
    const struct bulla_config config = {.socket_path = echo_engine_path(engine),
                                        .attach_timeout_ms = 20};
    struct bulla *second = NULL;
    assert_int_equal(bulla_attach(&second, &config), -ETIMEDOUT);
    assert_null(second);
    bulla_detach(first);
    echo_engine_close(engine);
}

static void seal_one_reports_refusal_and_timeout(void **state)
{
    (void)state;
    struct echo_engine *engine = engine_with((struct echo_engine_config){0});
    const struct bulla_config config = {.socket_path = echo_engine_path(engine)};
    enum bulla_status status;
    uint8_t *sealed;
    size_t sealed_bytes;
    char why[64];
    struct bulla_request request = request_for("refuse", 3, NULL);
    assert_int_equal(bulla_seal_one(&config, &request, "abc", WAIT_MS, &status, &sealed,
                                    &sealed_bytes, why, sizeof(why)),
                     0);
    assert_int_equal(status, BULLA_REFUSED);
    assert_null(sealed);
    assert_string_equal(why, ECHO_WHY);
    request.profile = "hold";
    assert_int_equal(bulla_seal_one(&config, &request, "abc", 20, &status, &sealed, &sealed_bytes,
                                    NULL, 0),
                     -ETIMEDOUT);
    request.mail_bytes = (size_t)IPC_MAIL_BYTES_MAX + 1;
    assert_int_equal(bulla_seal_one(&config, &request, "abc", 20, &status, &sealed, &sealed_bytes,
                                    NULL, 0),
                     -EMSGSIZE);
    echo_engine_close(engine);
}

static void each_status_arrives_with_its_words(void **state)
{
    (void)state;
    static const struct {
        const char *profile;
        enum bulla_status status;
        const char *text;
        const char *enhanced_status;
    } cases[] = {
        {"default", BULLA_SEALED, "", ""},
        {"queue", BULLA_QUEUED, "", ""},
        {"pass", BULLA_PASSED, "", ""},
        {"refuse", BULLA_REFUSED, ECHO_WHY, "5.3.4"},
        {"retry", BULLA_RETRY, ECHO_WHY, "4.3.4"},
    };
    struct echo_engine *engine = engine_with((struct echo_engine_config){.allow_io_uring = true});
    struct bulla *bulla = attach_to(engine, 8, 4096);
    for (size_t n = 0; n < ARRAY_COUNT(cases); n++) {
        submit(bulla, cases[n].profile, n, 100);
        const struct bulla_completion completion = wait_one(bulla);
        assert_int_equal(completion.status, cases[n].status);
        assert_string_equal(completion.text, cases[n].text);
        assert_string_equal(completion.enhanced_status, cases[n].enhanced_status);
        assert_int_equal((uintptr_t)completion.user, n);
        const bool has_id = cases[n].status == BULLA_SEALED || cases[n].status == BULLA_QUEUED;
        assert_string_equal(completion.envelope_id,
                            has_id ? "abababababababababababababababab" : "");
        bulla_release(bulla, &completion);
    }
    bulla_detach(bulla);
    echo_engine_close(engine);
}

static void empty_mail_passes(void **state)
{
    (void)state;
    struct echo_engine *engine = engine_with((struct echo_engine_config){0});
    struct bulla *bulla = attach_to(engine, 8, 4096);
    submit(bulla, NULL, 1, 0);
    const struct bulla_completion completion = wait_one(bulla);
    assert_echo(&completion, 1, 0);
    bulla_release(bulla, &completion);
    bulla_detach(bulla);
    echo_engine_close(engine);
}

/* ---- requests that can never be taken ---- */

static void reserve_refuses_bad_requests(void **state)
{
    (void)state;
    struct echo_engine *engine = engine_with((struct echo_engine_config){0});
    struct bulla *bulla = attach_to(engine, 8, 1024 * 1024);
    struct bulla_reservation reservation;
    char long_address[IPC_ADDRESS_BYTES_MAX + 2];
    memset(long_address, 'a', sizeof(long_address) - 1);
    long_address[sizeof(long_address) - 1] = '\0';
    static const char *const hostile[] = {"", "a\r\nb@example.net", "a\nb", "\x7f", "a\tb"};

    struct bulla_request request = request_for(NULL, 10, NULL);
    request.recipients_count = 0;
    assert_int_equal(bulla_reserve(bulla, &request, &reservation), -EINVAL);
    request.recipients_count = IPC_RECIPIENTS_MAX + 1;
    assert_int_equal(bulla_reserve(bulla, &request, &reservation), -EMSGSIZE);
    request.recipients_count = 1;
    request.recipients = NULL;
    assert_int_equal(bulla_reserve(bulla, &request, &reservation), -EINVAL);
    for (size_t n = 0; n < ARRAY_COUNT(hostile); n++) {
        request.recipients = &hostile[n];
        assert_int_equal(bulla_reserve(bulla, &request, &reservation), -EINVAL);
    }
    const char *const long_list[] = {long_address};
    request.recipients = long_list;
    assert_int_equal(bulla_reserve(bulla, &request, &reservation), -EINVAL);
    request = request_for(NULL, 10, NULL);
    request.sender = long_address;
    assert_int_equal(bulla_reserve(bulla, &request, &reservation), -EINVAL);
    request.sender = "bob\n@example.org";
    assert_int_equal(bulla_reserve(bulla, &request, &reservation), -EINVAL);
    request = request_for("a profile name that is far longer than sixty-four bytes can ever hold",
                          10, NULL);
    assert_int_equal(bulla_reserve(bulla, &request, &reservation), -EINVAL);
    request = request_for(NULL, 10, NULL);
    request.flags = BULLA_QUEUE << 1;
    assert_int_equal(bulla_reserve(bulla, &request, &reservation), -EINVAL);
    bulla_detach(bulla);
    echo_engine_close(engine);
}

static void reserve_refuses_mail_that_can_never_fit(void **state)
{
    (void)state;
    struct echo_engine *engine = engine_with((struct echo_engine_config){0});
    struct bulla *bulla = attach_to(engine, 8, 2 * 1024 * 1024);
    struct bulla_reservation reservation;
    struct bulla_request request = request_for(NULL, 2 * 1024 * 1024, NULL);
    assert_int_equal(bulla_reserve(bulla, &request, &reservation), 0);
    bulla_cancel(bulla, &reservation);
    request.mail_bytes++;
    assert_int_equal(bulla_reserve(bulla, &request, &reservation), -EMSGSIZE);
    request.mail_bytes = SIZE_MAX;
    assert_int_equal(bulla_reserve(bulla, &request, &reservation), -EMSGSIZE);
    /* A thousand addresses of 300 bytes are more than a submission's addresses may be. */
    char address[300];
    memset(address, 'a', sizeof(address) - 1);
    address[sizeof(address) - 1] = '\0';
    const char *recipients[IPC_RECIPIENTS_MAX];
    for (size_t n = 0; n < IPC_RECIPIENTS_MAX; n++)
        recipients[n] = address;
    request = request_for(NULL, 10, NULL);
    request.recipients = recipients;
    request.recipients_count = IPC_RECIPIENTS_MAX;
    assert_int_equal(bulla_reserve(bulla, &request, &reservation), -EMSGSIZE);
    bulla_detach(bulla);
    echo_engine_close(engine);
}

/* ---- order, back-pressure ---- */

static void reservations_are_submitted_and_cancelled_in_any_order(void **state)
{
    (void)state;
    struct echo_engine *engine = engine_with((struct echo_engine_config){0});
    struct bulla *bulla = attach_to(engine, 8, 1024 * 1024);
    struct bulla_reservation first, second, third;
    const struct bulla_request request = request_for(NULL, 1000, NULL);
    for (uint32_t round = 0; round < 100; round++) {
        assert_int_equal(bulla_reserve(bulla, &request, &first), 0);
        assert_int_equal(bulla_reserve(bulla, &request, &second), 0);
        assert_int_equal(bulla_reserve(bulla, &request, &third), 0);
        assert_int_not_equal(first.id, second.id);
        pattern_write(third.mail, 3, 1000);
        pattern_write(first.mail, 1, 1000);
        assert_int_equal(bulla_submit(bulla, &third), 0);
        bulla_cancel(bulla, &second);
        assert_int_equal(bulla_submit(bulla, &first), 0);
        for (uint32_t n = 0; n < 2; n++) {
            const struct bulla_completion completion = wait_one(bulla);
            assert_true(completion.id == first.id || completion.id == third.id);
            assert_echo(&completion, completion.id == first.id ? 1 : 3, 1000);
            bulla_release(bulla, &completion);
        }
    }
    bulla_detach(bulla);
    echo_engine_close(engine);
}

static void slots_are_back_pressure_until_release(void **state)
{
    (void)state;
    struct echo_engine *engine = engine_with((struct echo_engine_config){.allow_io_uring = true});
    struct bulla *bulla = attach_to(engine, 8, 1024 * 1024);
    struct bulla_completion completions[8];
    struct bulla_reservation reservation;
    const struct bulla_request request = request_for(NULL, 10, NULL);
    for (uint32_t n = 0; n < 8; n++)
        submit(bulla, NULL, n, 500);
    assert_int_equal(bulla_reserve(bulla, &request, &reservation), -EAGAIN);
    for (uint32_t n = 0; n < 8; n++)
        completions[n] = wait_one(bulla);
    /* Completed is not released. */
    assert_int_equal(bulla_reserve(bulla, &request, &reservation), -EAGAIN);
    /* Out of order: the last first. What is unreleased stays readable. */
    for (uint32_t n = 8; n > 0; n--) {
        for (uint32_t m = 0; m < n; m++)
            assert_echo(&completions[m], (uintptr_t)completions[m].user, 500);
        bulla_release(bulla, &completions[n - 1]);
        /* Slots come back in the order of completion: the oldest one's release frees them all. */
        assert_int_equal(bulla_reserve(bulla, &request, &reservation), n > 1 ? -EAGAIN : 0);
    }
    bulla_cancel(bulla, &reservation);
    for (uint32_t n = 0; n < 8; n++)
        submit(bulla, NULL, 100 + n, 500);
    for (uint32_t n = 0; n < 8; n++) {
        const struct bulla_completion completion = wait_one(bulla);
        assert_echo(&completion, (uintptr_t)completion.user, 500);
        bulla_release(bulla, &completion);
    }
    bulla_detach(bulla);
    echo_engine_close(engine);
}

static void input_memory_is_back_pressure(void **state)
{
    (void)state;
    struct echo_engine *engine = engine_with((struct echo_engine_config){0});
    struct bulla *bulla = attach_to(engine, 64, 1024 * 1024);
    struct bulla_reservation reservations[64];
    struct bulla_reservation one;
    const struct bulla_request request = request_for(NULL, 100 * 1024, NULL);
    uint32_t count = 0;
    while (bulla_reserve(bulla, &request, &reservations[count]) == 0)
        count++;
    assert_int_equal(count, 10); /* ten times 100 KiB and their addresses; not eleven */
    assert_int_equal(bulla_reserve(bulla, &request, &one), -EAGAIN);
    bulla_cancel(bulla, &reservations[4]);
    assert_int_equal(bulla_reserve(bulla, &request, &one), 0);
    assert_ptr_equal(one.mail, reservations[4].mail);
    bulla_detach(bulla); /* with everything reserved */
    echo_engine_close(engine);
}

/* The output is full while the client holds completions; a release must wake a sleeping engine. */
static void full_output_waits_for_the_client(void **state)
{
    const bool allow_io_uring = *state != NULL;
    struct echo_engine *engine = engine_with(
        (struct echo_engine_config){.arena_bytes = 1024 * 1024, .allow_io_uring = allow_io_uring});
    struct bulla *bulla = attach_to(engine, 16, 8 * 1024 * 1024);
    struct bulla_completion held[16];
    for (uint32_t n = 0; n < 16; n++)
        submit(bulla, NULL, n, 300 * 1024);
    for (uint32_t first = 0; first < 16; first += 3) {
        const uint32_t end = MIN(first + 3, UINT32_C(16)); /* 3 × 300 KiB fit in 1 MiB */
        for (uint32_t n = first; n < end; n++)
            held[n] = wait_one(bulla);
        assert_int_equal(bulla_wait(bulla, 20), 0);
        for (uint32_t n = first; n < end; n++) {
            assert_echo(&held[n], n, 300 * 1024);
            bulla_release(bulla, &held[n]);
        }
    }
    bulla_detach(bulla);
    echo_engine_close(engine);
}

/* ---- ends ---- */

static void engine_death_leaves_every_message_the_clients(void **state)
{
    (void)state;
    struct echo_engine *engine = engine_with((struct echo_engine_config){.allow_io_uring = true});
    struct bulla *bulla = attach_to(engine, 16, 1024 * 1024);
    submit(bulla, NULL, 7, 1000);
    assert_int_equal(bulla_wait(bulla, WAIT_MS), 1);
    submit(bulla, "hold", 1, 10);
    struct bulla_reservation reservation;
    const struct bulla_request request = request_for(NULL, 10, NULL);
    assert_int_equal(bulla_reserve(bulla, &request, &reservation), 0);
    echo_engine_close(engine);

    /* What it completed before its end is still given. */
    struct bulla_completion completion;
    assert_int_equal(bulla_wait(bulla, WAIT_MS), 1);
    assert_int_equal(bulla_poll(bulla, &completion, 1), 1);
    assert_echo(&completion, 7, 1000);
    bulla_release(bulla, &completion);
    assert_int_equal(bulla_wait(bulla, WAIT_MS), -EPIPE);
    assert_int_equal(bulla_poll(bulla, &completion, 1), -EPIPE);
    assert_int_equal(bulla_submit(bulla, &reservation), -EPIPE);
    bulla_cancel(bulla, &reservation);
    assert_int_equal(bulla_reserve(bulla, &request, &reservation), -EPIPE);
    bulla_detach(bulla);
}

static void a_poller_that_never_sleeps_sees_the_end_too(void **state)
{
    (void)state;
    struct echo_engine *engine = engine_with((struct echo_engine_config){0});
    struct bulla *bulla = attach_to(engine, 8, 4096);
    submit(bulla, "hold", 1, 10);
    echo_engine_close(engine);
    struct bulla_completion completion;
    int rc = 0;
    for (uint32_t n = 0; n < 1000 && rc == 0; n++)
        rc = bulla_poll(bulla, &completion, 1);
    assert_int_equal(rc, -EPIPE);
    bulla_detach(bulla);
}

static void an_engine_that_points_outside_its_memory_is_gone(void **state)
{
    (void)state;
    struct echo_engine *engine = engine_with((struct echo_engine_config){.bad_spans = true});
    struct bulla *bulla = attach_to(engine, 8, 4096);
    submit(bulla, NULL, 1, 10);
    struct bulla_completion completion;
    assert_int_equal(bulla_wait(bulla, WAIT_MS), 1);
    assert_int_equal(bulla_poll(bulla, &completion, 1), -EPIPE);
    const struct bulla_request request = request_for(NULL, 10, NULL);
    struct bulla_reservation reservation;
    assert_int_equal(bulla_reserve(bulla, &request, &reservation), -EPIPE);
    bulla_detach(bulla);
    echo_engine_close(engine);
}

/* A client is killed at a random point of its work; the others never notice. */
static void client_death_frees_its_session_only(void **state)
{
    (void)state;
    struct echo_engine *engine = engine_with((struct echo_engine_config){.allow_io_uring = true});
    struct bulla *bulla = attach_to(engine, 16, 1024 * 1024);
    for (uint32_t n = 0; n < 10; n++) {
        int ready[2];
        assert_int_equal(pipe(ready), 0);
        const pid_t child = fork();
        assert_int_not_equal(child, -1);
        if (child == 0) {
            const struct bulla_config config = {
                .socket_path = echo_engine_path(engine), .slots_count = 8, .input_bytes = 4096};
            struct bulla *own;
            if (bulla_attach(&own, &config) != 0)
                _exit(1);
            uint64_t sent = 0;
            for (;;) {
                const struct bulla_request request = request_for(NULL, 100, NULL);
                struct bulla_reservation reservation;
                struct bulla_completion completion;
                if (bulla_reserve(own, &request, &reservation) == 0)
                    (void)bulla_submit(own, &reservation);
                if (bulla_poll(own, &completion, 1) == 1 && sent % 3 != 0)
                    bulla_release(own, &completion);
                if (++sent == 5 && write(ready[1], "x", 1) != 1)
                    _exit(1);
            }
        }
        char byte;
        assert_int_equal(read(ready[0], &byte, 1), 1);
        submit(bulla, NULL, n, 5000);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        const struct bulla_completion completion = wait_one(bulla);
        assert_echo(&completion, n, 5000);
        bulla_release(bulla, &completion);
        assert_int_equal(close(ready[0]) | close(ready[1]), 0);
    }
    /* Every dead client's session ends; a bounded wait for the engine to have seen the last. */
    const struct echo_counters *counters = echo_engine_counters(engine);
    for (uint32_t n = 0; n < 2000 && atomic_load(&counters->ended) < 10; n++)
        (void)usleep(10000);
    assert_int_equal(atomic_load(&counters->ended), 10);
    assert_int_equal(atomic_load(&counters->faults), 0);
    bulla_detach(bulla);
    echo_engine_close(engine);
}

/* ---- waiting ---- */

static void wait_gives_up_when_time_is_up(void **state)
{
    (void)state;
    struct echo_engine *engine = engine_with((struct echo_engine_config){0});
    struct bulla *bulla = attach_to(engine, 8, 4096);
    submit(bulla, "hold", 1, 10);
    assert_int_equal(bulla_wait(bulla, 0), 0);
    const uint64_t before_ns = clock_monotonic_ns();
    assert_int_equal(bulla_wait(bulla, 30), 0);
    assert_true(clock_monotonic_ns() - before_ns >= 30 * NS_PER_MS); /* never too early */
    bulla_detach(bulla);
    echo_engine_close(engine);
}

static void an_event_loop_sleeps_on_the_descriptor(void **state)
{
    const bool allow_io_uring = *state != NULL;
    struct echo_engine *engine =
        engine_with((struct echo_engine_config){.allow_io_uring = allow_io_uring});
    struct bulla *bulla = attach_to(engine, 16, 1024 * 1024);
    struct pollfd bell = {.fd = bulla_fd(bulla), .events = POLLIN};
    struct bulla_completion completions[4];
    uint64_t sent = 0;
    uint64_t received = 0;
    while (received < 5000) {
        while (sent < 5000 && sent - received < 1 + sent % 11)
            submit(bulla, NULL, sent++, 64);
        const int count = bulla_poll(bulla, completions, ARRAY_COUNT(completions));
        assert_true(count >= 0);
        for (int n = 0; n < count; n++) {
            assert_echo(&completions[n], (uintptr_t)completions[n].user, 64);
            bulla_release(bulla, &completions[n]);
        }
        received += (uint64_t)count;
        if (count < (int)ARRAY_COUNT(completions) && received < sent)
            assert_int_equal(poll(&bell, 1, WAIT_MS), 1); /* a lost wake-up ends here */
    }
    echo_engine_close(engine);
    assert_int_equal(poll(&bell, 1, WAIT_MS), 1);
    assert_int_equal(bulla_poll(bulla, completions, ARRAY_COUNT(completions)), -EPIPE);
    bulla_detach(bulla);
}

int main(void)
{
    static bool yes = true;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attach_names_why_there_is_no_engine),
        cmocka_unit_test(attach_passes_on_the_engines_refusal),
        cmocka_unit_test(attach_refuses_an_engine_whose_memory_can_shrink),
        cmocka_unit_test(attach_refuses_sizes_that_no_engine_takes),
        cmocka_unit_test(seal_one_gives_head_mail_and_tail),
        cmocka_unit_test(attach_gives_up_on_an_engine_that_does_not_answer),
        cmocka_unit_test(seal_one_reports_refusal_and_timeout),
        cmocka_unit_test(each_status_arrives_with_its_words),
        cmocka_unit_test(empty_mail_passes),
        cmocka_unit_test(reserve_refuses_bad_requests),
        cmocka_unit_test(reserve_refuses_mail_that_can_never_fit),
        cmocka_unit_test(reservations_are_submitted_and_cancelled_in_any_order),
        cmocka_unit_test(slots_are_back_pressure_until_release),
        cmocka_unit_test(input_memory_is_back_pressure),
        cmocka_unit_test_prestate(full_output_waits_for_the_client, NULL),
        cmocka_unit_test_prestate(full_output_waits_for_the_client, &yes),
        cmocka_unit_test(engine_death_leaves_every_message_the_clients),
        cmocka_unit_test(a_poller_that_never_sleeps_sees_the_end_too),
        cmocka_unit_test(an_engine_that_points_outside_its_memory_is_gone),
        cmocka_unit_test(client_death_frees_its_session_only),
        cmocka_unit_test(wait_gives_up_when_time_is_up),
        cmocka_unit_test_prestate(an_event_loop_sleeps_on_the_descriptor, NULL),
        cmocka_unit_test_prestate(an_event_loop_sleeps_on_the_descriptor, &yes),
    };
    return cmocka_run_group_tests_name("bulla", tests, NULL, NULL);
}
