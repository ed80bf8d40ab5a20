/* The real bullad, from a client's submission to a key service's answer and back. */
#include "base/clock.h"
#include "base/macros.h"
#include "tests/engine/daemon.h"
#include "tests/engine/pump.h"
#include "tests/ipc/raw_client.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MANY           DAEMON_COUNT(5000)
#define MANY_BYTES     4096
#define SEND_AGAIN_MAX 200
#define NOBODY         65534
#define PROFILE_HIGH                                                                               \
    "profile \"high\" {\n key_service = \"main\"\n algorithm = aes-192\n"                          \
    " hide_subject = yes\n}\n"

#define PROFILE_COMPACT "profile \"compact\" {\n key_service = \"main\"\n compress = on\n}\n"

static struct daemon bullad;

static void finish(void)
{
    assert_int_equal(daemon_stop(&bullad), 0);
    daemon_fini(&bullad);
}

static void expect_answer(const struct outcome *outcome, enum bulla_status status, const char *text)
{
    if (outcome->rc != 0 || outcome->status != status || strstr(outcome->why, text) == NULL)
        print_error("rc %d status %d: %s\n", outcome->rc, (int)outcome->status, outcome->why);
    assert_int_equal(outcome->rc, 0);
    assert_int_equal(outcome->status, status);
    assert_non_null(strstr(outcome->why, text));
    assert_null(outcome->sealed);
}

/* The RFC 3463 code, which bulla_seal_one() does not give. */
static void expect_code(enum stand_in_mode mode, const char *profile, const char *code)
{
    const char *const recipients[] = {"b@example.org"};
    const struct bulla_config config = {.socket_path = bullad.socket};
    const struct bulla_request request = {
        .profile = profile, .recipients = recipients, .recipients_count = 1, .mail_bytes = 5};
    struct bulla *bulla;
    struct bulla_reservation reservation;
    struct bulla_completion completion;
    stand_in_set(bullad.service, mode);
    assert_int_equal(bulla_attach(&bulla, &config), 0);
    assert_int_equal(bulla_reserve(bulla, &request, &reservation), 0);
    memcpy(reservation.mail, "hello", 5);
    assert_int_equal(bulla_submit(bulla, &reservation), 0);
    assert_int_equal(bulla_wait(bulla, DAEMON_WAIT_MS), 1);
    assert_int_equal(bulla_poll(bulla, &completion, 1), 1);
    assert_int_equal(completion.status, BULLA_REFUSED);
    assert_string_equal(completion.enhanced_status, code);
    bulla_release(bulla, &completion);
    bulla_detach(bulla);
}

static void seals(const char *profile, size_t bytes)
{
    uint8_t *mail = daemon_mail(bytes, (uint32_t)bytes);
    struct outcome outcome = daemon_seal(&bullad, profile, 0, mail, bytes);
    daemon_expect_opens(&bullad, &outcome, mail, bytes);
    free(outcome.sealed);
    free(mail);
}

/* After the key service came back: its next probe may be a moment away. */
static void seals_at_last(void)
{
    uint8_t *mail = daemon_mail(MANY_BYTES, 1);
    struct outcome outcome = daemon_seal(&bullad, "default", 0, mail, MANY_BYTES);
    for (uint32_t i = 0; i < SEND_AGAIN_MAX && outcome.status != BULLA_SEALED; i++)
        outcome = daemon_seal(&bullad, "default", 0, mail, MANY_BYTES);
    daemon_expect_opens(&bullad, &outcome, mail, MANY_BYTES);
    free(outcome.sealed);
    free(mail);
}

static void bullad_seals_messages_of_every_size(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,     1,     3,      4096,   65535,   65536,
                                   65537, 81920, 131072, 999999, 26214400};
    daemon_start(&bullad, "", PROFILE_HIGH PROFILE_COMPACT, 0);
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        seals("default", sizes[i]);
        seals("compact", sizes[i]);
    }
    seals("high", 4096);
    seals("high", 200000);
    finish();
}

/* What is text, up to 0.75 of it, which base64 alone would make 1.33. */
static void bullad_compresses_what_the_profile_compresses(void **state)
{
    (void)state;
    const size_t bytes = 200000;
    uint8_t *mail = daemon_mail(bytes, 1);
    for (size_t at = 200; at < bytes; at++)
        mail[at] = (uint8_t) "the figures of the quarter, as agreed\r\n"[(at * 7 + at / 997) % 39];
    daemon_start(&bullad, "", PROFILE_COMPACT, 0);
    struct outcome plain = daemon_seal(&bullad, "default", 0, mail, bytes);
    struct outcome compact = daemon_seal(&bullad, "compact", 0, mail, bytes);
    daemon_expect_opens(&bullad, &plain, mail, bytes);
    daemon_expect_opens(&bullad, &compact, mail, bytes);
    assert_true(compact.sealed_bytes < bytes * 3 / 4);
    assert_true(plain.sealed_bytes > bytes);
    free(plain.sealed);
    free(compact.sealed);
    free(mail);
    finish();
}

static void bullad_hides_what_the_profile_hides(void **state)
{
    (void)state;
    daemon_start(&bullad, "", PROFILE_HIGH, 0);
    uint8_t *mail = daemon_mail(4096, 1);
    struct outcome shown = daemon_seal(&bullad, "default", 0, mail, 4096);
    struct outcome hidden = daemon_seal(&bullad, "high", 0, mail, 4096);
    daemon_expect_opens(&bullad, &shown, mail, 4096);
    daemon_expect_opens(&bullad, &hidden, mail, 4096);
    assert_non_null(memmem(shown.sealed, shown.sealed_bytes, "quarterly figures", 17));
    assert_null(memmem(hidden.sealed, hidden.sealed_bytes, "quarterly figures", 17));
    assert_null(memmem(shown.sealed, shown.sealed_bytes, "MIME-Version: 1.0\r\n\r\nABC", 24));
    free(shown.sealed);
    free(hidden.sealed);
    free(mail);
    finish();
}

static void bullad_warns_of_large_messages(void **state)
{
    (void)state;
    daemon_start(&bullad, "",
                 "profile \"warns\" {\n key_service = main\n size_warning = 100kB\n}\n", 0);
    seals("warns", 102400);
    seals("warns", 102401);
    assert_true(daemon_logged(&bullad, "size_warning worker=0 largest_bytes=102401 ever=1"));
    daemon_expect_answer(&bullad, "status", "\"size_warnings\":1");
    finish();
}

static void bullad_refuses_with_the_reason(void **state)
{
    (void)state;
    daemon_start(&bullad, "",
                 PROFILE_HIGH "profile \"small\" {\n key_service = main\n size_limit = 1kB\n}\n",
                 0);
    uint8_t *mail = daemon_mail(4096, 1);
    struct outcome outcome = daemon_seal(&bullad, "nosuch", 0, mail, 4096);
    expect_answer(&outcome, BULLA_REFUSED, "no profile \"nosuch\"; profiles: default, high, small");
    outcome = daemon_seal(&bullad, "small", 0, mail, 1025);
    expect_answer(&outcome, BULLA_REFUSED, "1025 bytes is over profile \"small\"'s limit of 1024");
    outcome = daemon_seal(&bullad, "small", 0, mail, 1024);
    daemon_expect_opens(&bullad, &outcome, mail, 1024);
    free(outcome.sealed);
    free(mail);
    assert_int_equal(stand_in_stored(bullad.service), 1);
    finish();
}

static void bullad_gives_nothing_out_while_the_key_service_is_away(void **state)
{
    (void)state;
    daemon_start(&bullad, "", "", 0);
    seals("default", 4096);
    stand_in_stop(bullad.service);
    uint8_t *mail = daemon_mail(4096, 1);
    struct outcome outcome = daemon_seal(&bullad, "default", 0, mail, 4096);
    expect_answer(&outcome, BULLA_RETRY, "the key service cannot be reached");
    outcome = daemon_seal(&bullad, "default", BULLA_QUEUE, mail, 4096);
    expect_answer(&outcome, BULLA_RETRY, "no spool");
    assert_true(daemon_logged(&bullad, "key_service_away name=main why=\""));
    free(mail);
    stand_in_start(bullad.service);
    seals_at_last();
    finish();
}

static void bullad_seals_anew_after_a_conflict(void **state)
{
    (void)state;
    daemon_start(&bullad, "", "", 0);
    stand_in_set(bullad.service, STAND_IN_CONFLICTS_ONCE);
    seals("default", 4096);
    stand_in_set(bullad.service, STAND_IN_CONFLICTS_ONCE);
    seals("default", 1000000);
    assert_int_equal(stand_in_stored(bullad.service), 2);
    assert_int_equal(stand_in_requests(bullad.service), 4);
    stand_in_set(bullad.service, STAND_IN_CONFLICTS);
    uint8_t *mail = daemon_mail(4096, 1);
    struct outcome outcome = daemon_seal(&bullad, "default", 0, mail, 4096);
    expect_answer(&outcome, BULLA_RETRY, "other envelopes");
    assert_int_equal(stand_in_requests(bullad.service), 7);
    stand_in_set(bullad.service, STAND_IN_INVALID);
    outcome = daemon_seal(&bullad, "default", 0, mail, 4096);
    expect_answer(&outcome, BULLA_REFUSED, "refuses this envelope");
    expect_code(STAND_IN_INVALID, "default", "5.6.0"); /* the message's fault alone */
    expect_code(STAND_IN_INVALID, "nosuch", "5.3.5");  /* the configuration's */
    free(mail);
    finish();
}

static void bullad_reloads_profiles_and_keeps_the_old_on_a_fault(void **state)
{
    (void)state;
    daemon_start(&bullad, "", "", 0);
    uint8_t *mail = daemon_mail(4096, 1);
    struct outcome outcome = daemon_seal(&bullad, "high", 0, mail, 4096);
    expect_answer(&outcome, BULLA_REFUSED, "no profile");
    daemon_write_config(&bullad, "", PROFILE_HIGH);
    assert_int_equal(kill(bullad.pid, SIGHUP), 0);
    assert_true(daemon_logged(&bullad, "generation=2"));
    seals("high", 4096);
    daemon_write_config(&bullad, "", "profile \"high\" {\n level = top\n}\n");
    assert_int_equal(kill(bullad.pid, SIGHUP), 0);
    assert_true(daemon_logged(&bullad, "reload_refused"));
    assert_true(daemon_logged(&bullad, "high, medium or none"));
    seals("high", 4096);
    daemon_write_config(&bullad, "", "profile \"x\" {\n key_service = main\n logo = \"log\"\n}\n");
    assert_int_equal(kill(bullad.pid, SIGHUP), 0);
    assert_true(daemon_logged(&bullad, "convert it"));
    seals("high", 4096);
    daemon_write_config(&bullad, "message_id_host = new.example.com", PROFILE_HIGH);
    assert_int_equal(kill(bullad.pid, SIGHUP), 0);
    assert_true(daemon_logged(&bullad, "restart_needed"));
    outcome = daemon_seal(&bullad, "high", 0, mail, 4096);
    daemon_expect_opens(&bullad, &outcome, mail, 4096);
    assert_null(memmem(outcome.sealed, outcome.sealed_bytes, "new.example.com", 15));
    free(outcome.sealed);
    free(mail);
    finish();
}

static void pump(uint32_t count, uint32_t held_max, size_t bytes)
{
    const struct pump one_size = {
        .daemon = &bullad, .sizes = &bytes, .sizes_count = 1, .count = count, .held_max = held_max};
    pump_run(&one_size);
}

static void bullad_seals_many_in_vectors(void **state)
{
    (void)state;
    daemon_start(&bullad, "", "", 0);
    pump(MANY, 32, MANY_BYTES);
    assert_int_equal(stand_in_stored(bullad.service), MANY);
    /* Batches, not one request a message. */
    assert_true(stand_in_requests(bullad.service) < MANY / 2);
    finish();
}

static void bullad_waits_for_room_and_loses_nothing(void **state)
{
    (void)state;
    /* An arena for one of the largest messages, and mail of a tenth of it, unreleased. */
    daemon_start(&bullad, "output_arena = 46MB", "", 0);
    pump(DAEMON_COUNT(120), 8, 4000000);
    assert_int_equal(stand_in_stored(bullad.service), DAEMON_COUNT(120));
    pump(DAEMON_COUNT(2000), 64, 60000);
    finish();
}

static void bullad_serves_others_beside_a_hostile_client(void **state)
{
    (void)state;
    struct raw_client raw;
    daemon_start(&bullad, "", "", 0);
    const struct raw_hello hello = {.path = bullad.socket, .seals = -1, .memfds_count = 1};
    for (uint32_t trick = 0; trick < 8; trick++) {
        assert_int_equal(raw_client_open(&raw, &hello), 0);
        struct ipc_submission submission = raw_client_honest(&raw);
        switch (trick) {
        case 0: submission.mail_offset = UINT64_MAX - 4; break;
        case 1: submission.mail_bytes = UINT32_MAX; break;
        case 2: submission.meta_bytes = IPC_META_BYTES_MAX + 1; break;
        case 3: submission.flags = 0x80; break;
        case 4: submission.reserved[5] = 1; break;
        case 5: submission.meta_offset = 0; break;
        case 6: /* more than the ring holds */
            atomic_store(&raw.page->tail, 1000);
            raw_client_ring(&raw);
            break;
        default: /* releases what it never got */
            atomic_store(&raw.page->head, 7);
            raw_client_submit(&raw, &submission);
            break;
        }
        if (trick < 6)
            raw_client_submit(&raw, &submission);
        assert_true(raw_client_is_thrown_out(&raw));
        raw_client_close(&raw);
        seals("default", 4096);
    }
    assert_true(daemon_logged(&bullad, "session_broken"));
    finish();
}

static void bullad_refuses_malformed_addresses_alone(void **state)
{
    (void)state;
    struct raw_client raw;
    daemon_start(&bullad, "", "", 0);
    const struct raw_hello hello = {.path = bullad.socket, .seals = -1, .memfds_count = 1};
    assert_int_equal(raw_client_open(&raw, &hello), 0);
    struct ipc_submission submission = raw_client_honest(&raw);
    /* Lengths that go past the end of the meta. */
    memset(raw.at + submission.meta_offset, 0xff, submission.meta_bytes);
    raw_client_submit(&raw, &submission);
    const uint64_t until_ns = clock_monotonic_ns() + DAEMON_WAIT_MS * NS_PER_MS;
    while (atomic_load(&raw.peer->tail) == 0 && clock_monotonic_ns() < until_ns)
        (void)usleep(1000);
    assert_int_equal(atomic_load(&raw.peer->tail), 1); /* answered, not thrown out */
    const struct ipc_completion *completion =
        (const struct ipc_completion *)(const void *)((const uint8_t *)raw.peer +
                                                      raw.peer->slots_offset);
    assert_int_equal(completion->status, IPC_REFUSED);
    assert_int_equal(completion->enhanced_status[0], 5);
    assert_int_equal(completion->enhanced_status[1], 1);
    char text[IPC_TEXT_BYTES_MAX + 1] = "";
    memcpy(text, (const uint8_t *)raw.peer + completion->text_offset, completion->text_bytes);
    assert_string_equal(text, "the profile's name is not 64 bytes at most, or holds a control "
                              "character");
    raw_client_close(&raw);
    seals("default", 4096);
    finish();
}

static void bullad_forgets_clients_that_die(void **state)
{
    (void)state;
    daemon_start(&bullad, "", "", 0);
    stand_in_stop(bullad.service); /* so that their messages are under way when they die */
    for (uint32_t i = 0; i < 8; i++) {
        const pid_t child = fork();
        if (child == 0) {
            struct raw_client raw;
            const struct raw_hello hello = {.path = bullad.socket, .seals = -1, .memfds_count = 1};
            if (raw_client_open(&raw, &hello) != 0)
                _exit(1);
            const struct ipc_submission submission = raw_client_honest(&raw);
            raw_client_submit(&raw, &submission);
            (void)usleep(20000);
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
    stand_in_start(bullad.service);
    seals_at_last();
    finish();
}

static void bullad_drains_on_sigterm(void **state)
{
    (void)state;
    const char *const recipients[] = {"b@example.org"};
    struct bulla *bulla;
    struct bulla_reservation reservation;
    struct bulla_completion completion;
    daemon_start(&bullad, "", "", 0);
    const struct bulla_config config = {.socket_path = bullad.socket};
    assert_int_equal(bulla_attach(&bulla, &config), 0);
    const struct bulla_request request = {
        .recipients = recipients, .recipients_count = 1, .mail_bytes = 10};
    stand_in_stop(bullad.service); /* the message waits for its key until key_wait is over */
    assert_int_equal(bulla_reserve(bulla, &request, &reservation), 0);
    memset(reservation.mail, 'x', 10);
    assert_int_equal(bulla_submit(bulla, &reservation), 0);
    assert_true(daemon_logged(&bullad, "key_service_away"));
    assert_int_equal(daemon_stop(&bullad), 0);
    /* It was answered before the engine ended. */
    assert_int_equal(bulla_poll(bulla, &completion, 1), 1);
    assert_int_equal(completion.status, BULLA_RETRY);
    bulla_release(bulla, &completion);
    bulla_detach(bulla);
    daemon_fini(&bullad);
}

static void bullad_tells_its_status_in_json(void **state)
{
    (void)state;
    daemon_start(&bullad, "workers = 2", "", 0);
    seals("default", 4096);
    /* The total, not a worker's: it stands between two others. */
    daemon_expect_answer(&bullad, "status", "\"sealed\":1,\"refused\":0,\"retried\":0,\"queued\"");
    daemon_expect_answer(&bullad, "status", "\"up\":true,\"stored\":1}");
    char *text = daemon_ask(&bullad, "status");
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    assert_int_equal(json_integer_value(json_object_get(root, "sealed")), 1);
    assert_int_equal(json_integer_value(json_object_get(root, "generation")), 1);
    assert_int_equal(json_array_size(json_object_get(root, "workers")), 2);
    json_t *service = json_array_get(json_object_get(root, "key_services"), 0);
    assert_string_equal(json_string_value(json_object_get(service, "name")), "main");
    assert_true(json_is_true(json_object_get(service, "up")));
    assert_int_equal(json_integer_value(json_object_get(service, "stored")), 1);
    assert_null(strstr(text, "example.org"));
    json_decref(root);
    free(text);
    text = daemon_ask(&bullad, "frobnicate");
    assert_non_null(strstr(text, "unknown command"));
    free(text);
    finish();
}

static void bullad_serves_without_privileges(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip(); /* it has none in all the other tests then */
    daemon_start(&bullad, "", "", NOBODY);
    seals("default", 4096);
    seals("default", 26214400);
    finish();
}

/* The last test: in many containers root may lower the limit and not raise it again. */
static void bullad_warns_when_memory_cannot_be_locked(void **state)
{
    (void)state;
    const struct rlimit little = {65536, 65536};
    if (geteuid() != 0)
        skip(); /* then the daemon is not started as somebody without privileges */
    assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &little), 0);
    daemon_start(&bullad, "", "", NOBODY);
    assert_true(daemon_logged(&bullad, "memory_not_locked"));
    assert_true(daemon_logged(&bullad, "LimitMEMLOCK"));
    seals("default", 4096);
    finish();
}

static void bullad_serves_without_io_uring(void **state)
{
    (void)state;
    daemon_start(&bullad, "io_uring = no\nspin_us = 0", "", 0);
    seals("default", 4096);
    seals("default", 200000);
    finish();
}

static void bullad_serves_by_polling(void **state)
{
    (void)state;
    daemon_start(&bullad, "busy_poll = yes", "", 0);
    seals("default", 4096);
    finish();
}

static int attach_as(uid_t uid)
{
    int status;
    const pid_t child = fork();
    if (child == 0) {
        struct bulla *bulla;
        const struct bulla_config config = {.socket_path = bullad.socket};
        if (setgid(uid) != 0 || setuid(uid) != 0)
            _exit(255);
        _exit(-bulla_attach(&bulla, &config));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void bullad_lets_in_its_users_alone(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    daemon_start(&bullad, "socket_mode = 0666\nallow_users = {\"1234\"}", "", 0);
    assert_int_equal(chmod(stand_in_folder(bullad.service), 0755), 0);
    assert_int_equal(attach_as(1234), 0);
    assert_int_equal(attach_as(NOBODY), EACCES);
    assert_true(daemon_logged(&bullad, "session_denied"));
    finish();
}

static void bullad_keeps_messages_out_of_its_log(void **state)
{
    (void)state;
    char line[2048];
    daemon_start(&bullad, "log_level = debug", "", 0);
    seals("default", 4096);
    FILE *file = fopen(bullad.log, "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        assert_null(strstr(line, "quarterly"));
        assert_null(strstr(line, "example.org"));
        assert_null(strstr(line, "a@example.com"));
    }
    (void)fclose(file);
    finish();
}

static void bullad_does_not_start_twice_or_with_a_bad_configuration(void **state)
{
    (void)state;
    daemon_start(&bullad, "", "", 0);
    for (uint32_t i = 0; i < 2; i++) {
        int status;
        const pid_t child = fork();
        if (i == 1)
            daemon_write_config(&bullad, "workers = many", "");
        if (child == 0) {
            (void)usleep(50000);
            if (freopen("/dev/null", "w", stderr) == NULL)
                _exit(1);
            (void)execl(BULLAD_PATH, "bullad", "--config", bullad.config, (char *)NULL);
            _exit(127);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), i == 0 ? 69 : 78); /* unavailable; configuration */
    }
    seals("default", 4096);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bullad_seals_messages_of_every_size),
        cmocka_unit_test(bullad_compresses_what_the_profile_compresses),
        cmocka_unit_test(bullad_hides_what_the_profile_hides),
        cmocka_unit_test(bullad_warns_of_large_messages),
        cmocka_unit_test(bullad_refuses_with_the_reason),
        cmocka_unit_test(bullad_gives_nothing_out_while_the_key_service_is_away),
        cmocka_unit_test(bullad_seals_anew_after_a_conflict),
        cmocka_unit_test(bullad_reloads_profiles_and_keeps_the_old_on_a_fault),
        cmocka_unit_test(bullad_seals_many_in_vectors),
        cmocka_unit_test(bullad_waits_for_room_and_loses_nothing),
        cmocka_unit_test(bullad_serves_others_beside_a_hostile_client),
        cmocka_unit_test(bullad_refuses_malformed_addresses_alone),
        cmocka_unit_test(bullad_forgets_clients_that_die),
        cmocka_unit_test(bullad_drains_on_sigterm),
        cmocka_unit_test(bullad_tells_its_status_in_json),
        cmocka_unit_test(bullad_serves_without_privileges),
        cmocka_unit_test(bullad_serves_without_io_uring),
        cmocka_unit_test(bullad_serves_by_polling),
        cmocka_unit_test(bullad_lets_in_its_users_alone),
        cmocka_unit_test(bullad_keeps_messages_out_of_its_log),
        cmocka_unit_test(bullad_does_not_start_twice_or_with_a_bad_configuration),
        cmocka_unit_test(bullad_warns_when_memory_cannot_be_locked),
    };
    cmocka_set_test_filter(getenv("BULLA_TEST")); /* NULL: all */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
