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
                               .count = DAEMON_COUNT(320),
                               .held_max = 64,
                               .slots_count = 1024};
    pump_run(&mixed);
    assert_int_equal(stand_in_stored(bullad.service), DAEMON_COUNT(320));
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

#define GREEDY_SLOTS 4096

static struct bulla *greedy_attach(size_t input_bytes)
{
    struct bulla *greedy;
    const struct bulla_config config = {
        .socket_path = bullad.socket, .slots_count = GREEDY_SLOTS, .input_bytes = input_bytes};
    assert_int_equal(bulla_attach(&greedy, &config), 0);
    return greedy;
}

/* Submits and never looks at an answer. */
static void greedy_submit(struct bulla *greedy, const char *profile, size_t bytes, uint32_t count)
{
    const char *const recipients[] = {"b@example.org"};
    const struct bulla_request request = {
        .profile = profile, .recipients = recipients, .recipients_count = 1, .mail_bytes = bytes};
    for (uint32_t i = 0; i < count; i++) {
        struct bulla_reservation reservation;
        assert_int_equal(bulla_reserve(greedy, &request, &reservation), 0);
        memset(reservation.mail, 'x', bytes);
        assert_int_equal(bulla_submit(greedy, &reservation), 0);
    }
}

static void seals(size_t bytes)
{
    uint8_t *mail = daemon_mail(bytes, (uint32_t)bytes);
    struct outcome outcome = daemon_seal(&bullad, "default", 0, mail, bytes);
    daemon_expect_opens(&bullad, &outcome, mail, bytes);
    free(outcome.sealed);
    free(mail);
}

static uint64_t counter(const char *name)
{
    char *text = daemon_ask(&bullad, "status");
    json_t *root = json_loads(text, 0, NULL);
    assert_non_null(root);
    const json_t *worker = json_array_get(json_object_get(root, "workers"), 0);
    assert_true(json_is_integer(json_object_get(worker, name)));
    const uint64_t value = (uint64_t)json_integer_value(json_object_get(worker, name));
    json_decref(root);
    free(text);
    return value;
}

/* Until the worker has come as far as it can with what the greedy one wants. */
static void counter_settles(const char *name, uint64_t least)
{
    uint64_t before = 0;
    for (uint32_t ms = 0; ms < DAEMON_WAIT_MS; ms += 100) {
        const uint64_t now = counter(name);
        if (now >= least && now == before)
            return;
        before = now;
        (void)usleep(100000);
    }
    fail_msg("%s does not settle", name);
}

static void bullad_serves_others_beside_one_that_never_releases(void **state)
{
    (void)state;
    daemon_start(&bullad, "workers = 1\noutput_arena = 46MB", "", 0);
    struct bulla *greedy = greedy_attach((size_t)240 << 20);
    greedy_submit(greedy, "default", 70000, 3000);
    counter_settles("sealed", 100);
    for (uint32_t i = 0; i < 3; i++) {
        seals(4096);
        seals(1 << 20);
    }
    /* Another one that does the same to small messages. */
    struct bulla *small = greedy_attach((size_t)240 << 20);
    greedy_submit(small, "default", 60000, 3000);
    counter_settles("sealed", 200);
    seals(4096);
    seals(1 << 20);
    assert_true(counter("jobs") <= 64);
    bulla_detach(greedy);
    bulla_detach(small);
    finish();
}

/* Sleeps are counted, and turns between them: a worker that spins has millions of those. */
static void bullad_sleeps_over_submissions_that_it_may_not_take(void **state)
{
    (void)state;
    daemon_start(&bullad, "workers = 1\noutput_arena = 46MB\nspin_us = 0", "", 0);
    struct bulla *greedy = greedy_attach((size_t)240 << 20);
    greedy_submit(greedy, "default", 60000, 3000);
    counter_settles("sealed", 100);
    const uint64_t sleeps = counter("sleeps");
    const uint64_t turns = counter("turns");
    uint64_t slept = 0;
    for (uint32_t ms = 0; ms < DAEMON_WAIT_MS && slept < 3; ms += 100) {
        (void)usleep(100000);
        slept = counter("sleeps") - sleeps;
    }
    assert_true(slept >= 3);
    assert_true(counter("turns") - turns < 1000);
    bulla_detach(greedy);
    finish();
}

static void bullad_serves_others_while_refusals_find_no_room(void **state)
{
    (void)state;
    daemon_start(&bullad, "workers = 1\noutput_arena = 46MB\njobs = 256", "", 0);
    struct bulla *greedy = greedy_attach((size_t)64 << 20);
    greedy_submit(greedy, "default", 70000, 500); /* a few more than the arena holds */
    counter_settles("sealed", 100);
    greedy_submit(greedy, "no-such-profile-and-a-long-name-for-it", 10, GREEDY_SLOTS - 500);
    counter_settles("refused", 100);
    for (uint32_t i = 0; i < 3; i++) {
        seals(4096);
        seals(1 << 20);
    }
    bulla_detach(greedy);
    finish();
}

static void bullad_gives_a_session_the_memory_that_it_can_use(void **state)
{
    (void)state;
    struct raw_client small, large;
    struct raw_hello hello = {.path = bullad.socket, .seals = -1, .memfds_count = 1};
    daemon_start(&bullad, "workers = 1", "", 0);
    assert_int_equal(raw_client_open(&small, &hello), 0);
    assert_true(small.peer_bytes < (5 << 20));
    hello.arena_bytes = (uint64_t)64 << 20;
    hello.slots_count = 256;
    assert_int_equal(raw_client_open(&large, &hello), 0);
    assert_true(large.peer_bytes > (90 << 20)); /* two messages of 32 MB, sealed */
    assert_true(large.peer_bytes < (102 << 20));
    raw_client_close(&small);
    raw_client_close(&large);
    seals(4096);
    seals(1 << 20);
    seals(26214400);
    finish();
}

static void bullad_bounds_the_memory_of_sessions(void **state)
{
    (void)state;
    struct raw_client clients[4];
    struct raw_hello hello = {.path = bullad.socket, .seals = -1, .memfds_count = 1};
    daemon_start(&bullad, "workers = 1\nsession_memory = 16MB", "", 0);
    hello.arena_bytes = (uint64_t)64 << 20;
    assert_int_equal(raw_client_open(&clients[0], &hello), ENOMEM);
    assert_true(daemon_logged(&bullad, "mend=\"raise session_memory"));
    hello.arena_bytes = 0;
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(raw_client_open(&clients[i], &hello), i < 3 ? 0 : ENOMEM);
    for (uint32_t i = 0; i < 3; i++)
        raw_client_close(&clients[i]);
    assert_int_equal(daemon_stop(&bullad), 0);
    daemon_fini(&bullad);
    daemon_start(&bullad, "workers = 1\nsession_memory = 64MB\nsessions_per_user = 3", "", 0);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(raw_client_open(&clients[i], &hello), i < 3 ? 0 : EUSERS);
    assert_true(daemon_logged(&bullad, "mend=\"raise sessions_per_user"));
    for (uint32_t i = 0; i < 3; i++)
        raw_client_close(&clients[i]);
    /* What they held is there again, once the engine has noticed. */
    int rc = EUSERS;
    for (uint32_t ms = 0; ms < DAEMON_WAIT_MS && rc == EUSERS; ms += 10) {
        rc = raw_client_open(&clients[0], &hello);
        (void)usleep(10000);
    }
    assert_int_equal(rc, 0);
    raw_client_close(&clients[0]);
    finish();
}

static void logo_write(const char *name)
{
    char path[DAEMON_PATH_BYTES * 2];
    static const char magic[] = "\x89PNG\r\n\x1a\n";
    (void)snprintf(path, sizeof(path), "%s/%s", stand_in_folder(bullad.service), name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(magic, 1, sizeof(magic), file), sizeof(magic));
    for (uint32_t i = 0; i < 60000; i++)
        assert_int_not_equal(fputc((int)(i % 251), file), EOF);
    assert_int_equal(fclose(file), 0);
}

static void bullad_ends_a_session_that_new_profiles_outgrow(void **state)
{
    (void)state;
    static const char *const locales[] = {"de", "fr", "es", "it", "nl", "pl", "pt", "sv"};
    struct raw_client client;
    char path[DAEMON_PATH_BYTES * 2];
    char profiles[1024];
    size_t used = 0;
    const struct raw_hello hello = {.path = bullad.socket, .seals = -1, .memfds_count = 1};
    daemon_start(&bullad, "workers = 1", "", 0);
    assert_int_equal(raw_client_open(&client, &hello), 0);
    logo_write("logo.png");
    for (size_t i = 0; i < ARRAY_COUNT(locales); i++)
        used += (size_t)snprintf(profiles + used, sizeof(profiles) - used,
                                 "profile \"%s\" {\n key_service = main\n locale = %s\n"
                                 " logo = \"logo.png\"\n}\n",
                                 locales[i], locales[i]);
    daemon_write_config(&bullad, "workers = 1", profiles);
    assert_int_equal(kill(bullad.pid, SIGHUP), 0);
    assert_true(daemon_logged(&bullad, "outgrew"));
    assert_true(raw_client_is_thrown_out(&client));
    raw_client_close(&client);
    assert_int_equal(raw_client_open(&client, &hello), 0); /* with more room */
    raw_client_close(&client);
    seals(4096);
    (void)snprintf(path, sizeof(path), "%s/logo.png", stand_in_folder(bullad.service));
    (void)unlink(path);
    finish();
}

static struct bulla *holds_one_mail(void)
{
    struct bulla *bulla;
    struct bulla_completion completion;
    const struct bulla_config config = {
        .socket_path = bullad.socket, .slots_count = 8, .input_bytes = 4096};
    assert_int_equal(bulla_attach(&bulla, &config), 0);
    greedy_submit(bulla, "default", 10, 1);
    assert_int_equal(bulla_wait(bulla, DAEMON_WAIT_MS), 1);
    assert_int_equal(bulla_poll(bulla, &completion, 1), 1);
    assert_int_equal(completion.status, BULLA_SEALED);
    return bulla; /* never released */
}

static void reload_to(uint32_t generation)
{
    char text[32];
    (void)snprintf(text, sizeof(text), "reloaded generation=%u", generation);
    assert_int_equal(kill(bullad.pid, SIGHUP), 0);
    assert_true(daemon_logged(&bullad, text));
}

static void bullad_reloads_beside_mail_that_is_never_released(void **state)
{
    (void)state;
    daemon_start(&bullad, "workers = 1", "", 0);
    struct bulla *bulla = holds_one_mail();
    for (uint32_t generation = 2; generation < 14; generation++)
        reload_to(generation);
    assert_int_equal(bulla_wait(bulla, 0), 0); /* it has not been ended */
    bulla_detach(bulla);
    seals(4096);
    finish();
}

static void bullad_ends_the_session_that_holds_the_oldest_profiles(void **state)
{
    (void)state;
    struct bulla *holders[7];
    daemon_start(&bullad, "workers = 1", "", 0);
    for (uint32_t i = 0; i < ARRAY_COUNT(holders); i++) {
        holders[i] = holds_one_mail();
        reload_to(i + 2);
    }
    reload_to(9);
    reload_to(10); /* one holder goes, or there is no place */
    assert_true(daemon_logged(&bullad, "session_broken session="));
    assert_true(daemon_logged(&bullad, "unreleased mail"));
    assert_int_equal(bulla_wait(holders[0], DAEMON_WAIT_MS), -EPIPE);
    assert_int_equal(bulla_wait(holders[6], 0), 0);
    for (uint32_t i = 0; i < ARRAY_COUNT(holders); i++)
        bulla_detach(holders[i]);
    seals(4096);
    finish();
}

#define VANDAL_SEED   UINT32_C(20260101)
#define VANDAL_WRITES 256 /* into the page, between two looks at the socket */

static _Atomic bool vandalism;

/* Writes anything into all that it shares with the engine, and comes again when it is thrown out.
 */
static void *vandal_run(void *user)
{
    uint32_t state = VANDAL_SEED;
    struct raw_client raw;
    const struct raw_hello hello = {.path = bullad.socket, .seals = -1, .memfds_count = 1};
    uint32_t *thrown_out = user;
    while (atomic_load(&vandalism)) {
        if (raw_client_open(&raw, &hello) != 0)
            continue; /* its last session is still ending */
        const struct ipc_submission honest = raw_client_honest(&raw);
        raw_client_submit(&raw, &honest);
        for (uint32_t i = 0; i < VANDAL_WRITES; i++) {
            state = state * 1664525 + 1013904223;
            _Atomic uint32_t *const places[] = {&raw.page->tail, &raw.page->head,
                                                &raw.page->asleep};
            const size_t bytes = raw.geometry.memfd_bytes - IPC_PAGE_BYTES;
            raw.at[IPC_PAGE_BYTES + (state >> 3) % bytes] = (uint8_t)(state >> 24);
            if (i % 8 == 7)
                atomic_store(places[(state >> 8) % 3], state >> 28);
            raw_client_ring(&raw);
        }
        (*thrown_out)++;
        raw_client_close(&raw);
    }
    return NULL;
}

static void bullad_seals_for_the_honest_beside_a_vandal_and_a_hoarder(void **state)
{
    (void)state;
    static const size_t sizes[] = {100, 4096, 60000, 70000, 1 << 20, 5 << 20};
    uint32_t visits = 0;
    pthread_t vandal;
    print_message("seed %u\n", (unsigned)VANDAL_SEED);
    daemon_start(&bullad, "workers = 1\noutput_arena = 46MB", "", 0);
    struct bulla *greedy = greedy_attach((size_t)120 << 20);
    greedy_submit(greedy, "default", 70000, 1500);
    atomic_store(&vandalism, true);
    assert_int_equal(pthread_create(&vandal, NULL, vandal_run, &visits), 0);
    const struct pump pump = {.daemon = &bullad,
                              .sizes = sizes,
                              .sizes_count = ARRAY_COUNT(sizes),
                              .count = DAEMON_COUNT(300),
                              .held_max = 8,
                              .opens = true};
    pump_run(&pump);
    atomic_store(&vandalism, false);
    assert_int_equal(pthread_join(vandal, NULL), 0);
    assert_true(visits > 0);
    bulla_detach(greedy);
    seals(4096);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bullad_keeps_small_and_large_apart_when_both_wait),
        cmocka_unit_test(bullad_keeps_each_messages_profile_through_reloads),
        cmocka_unit_test(bullad_serves_others_beside_one_that_never_releases),
        cmocka_unit_test(bullad_sleeps_over_submissions_that_it_may_not_take),
        cmocka_unit_test(bullad_serves_others_while_refusals_find_no_room),
        cmocka_unit_test(bullad_seals_for_the_honest_beside_a_vandal_and_a_hoarder),
        cmocka_unit_test(bullad_gives_a_session_the_memory_that_it_can_use),
        cmocka_unit_test(bullad_bounds_the_memory_of_sessions),
        cmocka_unit_test(bullad_ends_a_session_that_new_profiles_outgrow),
        cmocka_unit_test(bullad_reloads_beside_mail_that_is_never_released),
        cmocka_unit_test(bullad_ends_the_session_that_holds_the_oldest_profiles),
    };
    cmocka_set_test_filter(getenv("BULLA_TEST")); /* NULL: all */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
