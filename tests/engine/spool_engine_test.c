/* What the engine has taken over because the key service was away: nothing of it is lost. */
#include "tests/engine/spool_folder.h"

#include "base/clock.h"
#include "base/macros.h"
#include "engine/spool_key.h"
#include "envelope/unsealed.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define WAIT_MS    60000
#define PAUSE_MS   10
#define MAILS      8
#define MAIL_BYTES 4096
#define CROWD      3000 /* more than WAITING_EMITS_MAX, twice over */
#define SLOTS      512
#define QUICK_NS   (4 * NS_PER_S) /* of four that would wait 2 s each */

#define PROFILE_BRIEF "profile \"brief\" {\n key_service = main\n wait = 4s\n}\n"

static struct daemon bullad;
static struct spool_folder spool;

static void pause_ms(uint32_t ms)
{
    const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000 * NS_PER_MS)};
    (void)nanosleep(&pause, NULL);
}

static void start(const char *engine, const char *profiles)
{
    spool_folder_start(&spool, &bullad, engine[0] == '\0' ? "workers = 1" : engine, profiles);
}

static void finish(void)
{
    spool_folder_finish(&spool, &bullad);
}

static void die(void)
{
    int status;
    assert_int_equal(kill(bullad.pid, SIGKILL), 0);
    assert_int_equal(waitpid(bullad.pid, &status, 0), bullad.pid);
}

static uint64_t status_number(const char *name)
{
    char wanted[64];
    char *text = daemon_ask(&bullad, "status");
    (void)snprintf(wanted, sizeof(wanted), "\"%s\":", name);
    const char *workers = strstr(text, "\"workers\":");
    const char *at = strstr(workers == NULL ? text : workers, wanted);
    assert_non_null(at);
    const uint64_t value = strtoull(at + strlen(wanted), NULL, 10);
    free(text);
    return value;
}

static void expect_at_last(const char *name, uint64_t value)
{
    uint64_t found = 0;
    for (uint32_t ms = 0; ms < WAIT_MS; ms += PAUSE_MS) {
        found = status_number(name);
        if (found == value)
            return;
        pause_ms(PAUSE_MS);
    }
    fail_msg("%s is %llu", name, (unsigned long long)found);
}

static void queue(const char *profile, const uint8_t *mail, size_t mail_bytes)
{
    struct outcome outcome = daemon_seal(&bullad, profile, BULLA_QUEUE, mail, mail_bytes);
    if (outcome.rc != 0 || outcome.status != BULLA_QUEUED)
        print_error("rc %d status %d: %s\n", outcome.rc, (int)outcome.status, outcome.why);
    assert_int_equal(outcome.rc, 0);
    assert_int_equal(outcome.status, BULLA_QUEUED);
}

static size_t bytes_of(uint32_t n)
{
    return n == 3 ? 1000000 : MAIL_BYTES + n;
}

static void queue_mails(void)
{
    for (uint32_t n = 0; n < MAILS; n++) {
        uint8_t *mail = daemon_mail(bytes_of(n), n);
        queue("default", mail, bytes_of(n));
        free(mail);
    }
}

static struct bulla_collector *collect(void)
{
    struct bulla_collector *collector;
    const struct bulla_config config = {.socket_path = bullad.socket, .slots_count = SLOTS};
    assert_int_equal(bulla_collect(&collector, &config), 0);
    return collector;
}

static void take(struct bulla_collector *collector, struct bulla_emission *emission)
{
    for (uint32_t n = 0; n < 100; n++) {
        assert_true(bulla_collect_wait(collector, WAIT_MS) >= 0);
        const int count = bulla_collect_poll(collector, emission, 1);
        assert_true(count >= 0);
        if (count == 1)
            return;
    }
    fail_msg("nothing is emitted");
}

static uint8_t *join(const struct bulla_emission *emission)
{
    uint8_t *mail = malloc(emission->mail_bytes + 1);
    size_t used = 0;
    assert_non_null(mail);
    for (uint32_t i = 0; i < emission->spans_count; i++) {
        memcpy(mail + used, emission->spans[i].iov_base, emission->spans[i].iov_len);
        used += emission->spans[i].iov_len;
    }
    assert_int_equal(used, emission->mail_bytes);
    mail[used] = 0;
    return mail;
}

static void sent(struct bulla_collector *collector, const struct bulla_emission *emission)
{
    assert_int_equal(bulla_collect_done(collector, emission, BULLA_EMIT_SENT, "2.0.0", "taken"), 0);
}

/* Opens it with the key that the key service has by now: each original has a length of its own. */
static uint32_t which(const struct bulla_emission *emission)
{
    struct crypto_core *core;
    struct unsealed unsealed;
    uint8_t key[32];
    uint8_t *opened = NULL;
    size_t opened_bytes = 0;
    uint32_t n = 0;
    uint8_t *sealed = join(emission);
    assert_int_equal(crypto_core_open(&core, isa_best()), 0);
    assert_int_equal(unsealed_read(&unsealed, sealed, emission->mail_bytes), 0);
    assert_true(stand_in_has(bullad.service, unsealed.id.bytes, key));
    assert_int_equal(unsealed_open(&unsealed, core, key, &opened, &opened_bytes), 0);
    while (n < MAILS && bytes_of(n) != opened_bytes)
        n++;
    assert_true(n < MAILS);
    uint8_t *mail = daemon_mail(bytes_of(n), n);
    assert_memory_equal(opened, mail, opened_bytes);
    free(mail);
    free(opened);
    free(sealed);
    unsealed_fini(&unsealed);
    crypto_core_close(core);
    return n;
}

/* Takes one: each once, in any order, as it was sealed. */
static void take_mail(struct bulla_collector *collector, uint32_t *seen)
{
    struct bulla_emission emission;
    take(collector, &emission);
    assert_int_equal(emission.kind, BULLA_EMISSION_MAIL);
    assert_string_equal(emission.sender, "a@example.com");
    assert_int_equal(emission.recipients_count, 2);
    assert_string_equal(emission.recipients[1], "c@example.net");
    const uint32_t n = which(&emission);
    assert_int_equal(*seen >> n & 1, 0);
    *seen |= 1U << n;
    sent(collector, &emission);
}

static void take_mails(void)
{
    struct bulla_collector *collector = collect();
    uint32_t seen = 0;
    for (uint32_t n = 0; n < MAILS; n++)
        take_mail(collector, &seen);
    expect_at_last("waiting", 0);
    expect_at_last("emitted", MAILS);
    bulla_collect_end(collector);
}

static void take_notice(const char *holds)
{
    struct bulla_emission emission;
    struct bulla_collector *collector = collect();
    take(collector, &emission);
    assert_int_equal(emission.kind, BULLA_EMISSION_NOTIFICATION);
    assert_string_equal(emission.sender, "");
    assert_int_equal(emission.recipients_count, 1);
    assert_string_equal(emission.recipients[0], "a@example.com");
    uint8_t *mail = join(&emission);
    assert_non_null(strstr((const char *)mail, "multipart/report"));
    assert_non_null(strstr((const char *)mail, holds));
    free(mail);
    sent(collector, &emission);
    expect_at_last("notified", 1);
    expect_at_last("waiting", 0);
    bulla_collect_end(collector);
}

static void spool_keeps_mail_over_a_restart_until_the_service_is_back(void **state)
{
    (void)state;
    start("", "");
    stand_in_stop(bullad.service);
    queue_mails();
    assert_int_equal(daemon_stop(&bullad), 0);
    daemon_launch(&bullad, 0);
    struct bulla_emission emission;
    expect_at_last("recovered", MAILS);
    struct bulla_collector *collector = collect();
    pause_ms(500);
    assert_int_equal(bulla_collect_poll(collector, &emission, 1), 0); /* no key, no mail */
    bulla_collect_end(collector);
    stand_in_start(bullad.service);
    take_mails();
    assert_int_equal(stand_in_stored(bullad.service), MAILS);
    assert_int_equal(daemon_stop(&bullad), 0);
    daemon_launch(&bullad, 0);
    expect_at_last("recovered", 0);
    finish();
}

static void spool_keeps_what_was_queued_when_the_engine_is_killed(void **state)
{
    (void)state;
    start("workers = 1\n io_uring = no", "");
    stand_in_stop(bullad.service);
    queue_mails();
    die();
    stand_in_start(bullad.service);
    daemon_launch(&bullad, 0);
    take_mails();
    die();
    daemon_launch(&bullad, 0);
    expect_at_last("waiting", 0);
    finish();
}

static void spool_is_left_alone_while_the_service_answers(void **state)
{
    (void)state;
    start("", "");
    uint8_t *mail = daemon_mail(MAIL_BYTES, 1);
    struct outcome outcome = daemon_seal(&bullad, "default", BULLA_QUEUE, mail, MAIL_BYTES);
    daemon_expect_opens(&bullad, &outcome, mail, MAIL_BYTES);
    free(outcome.sealed);
    free(mail);
    assert_int_equal(status_number("queued"), 0);
    finish();
}

static void spool_notifies_the_sender_when_the_wait_is_over(void **state)
{
    (void)state;
    start("", PROFILE_BRIEF);
    stand_in_stop(bullad.service);
    uint8_t *mail = daemon_mail(MAIL_BYTES, 1);
    queue("brief", mail, MAIL_BYTES);
    free(mail);
    take_notice("b@example.org");
    expect_at_last("expired", 1);
    finish();
}

static void spool_tells_nobody_of_automatic_mail(void **state)
{
    static const char mail[] = "From: a@example.com\r\nAuto-Submitted: auto-generated\r\n\r\nx";
    (void)state;
    start("", PROFILE_BRIEF);
    stand_in_stop(bullad.service);
    queue("brief", (const uint8_t *)mail, sizeof(mail) - 1);
    expect_at_last("expired", 1);
    expect_at_last("waiting", 0);
    assert_int_equal(status_number("notified"), 0);
    assert_true(daemon_logged(&bullad, "message_ended id="));
    finish();
}

static void spool_notifies_of_what_service_or_server_refuse(void **state)
{
    struct bulla_emission emission;
    (void)state;
    start("", "");
    stand_in_stop(bullad.service);
    uint8_t *mail = daemon_mail(bytes_of(0), 0);
    queue("default", mail, bytes_of(0));
    stand_in_set(bullad.service, STAND_IN_CONFLICTS);
    stand_in_start(bullad.service);
    take_notice("b@example.org");
    assert_true(daemon_logged(&bullad, "spool_damaged id="));
    stand_in_set(bullad.service, STAND_IN_STORES);
    stand_in_stop(bullad.service);
    queue("default", mail, bytes_of(0));
    free(mail);
    stand_in_start(bullad.service);
    struct bulla_collector *collector = collect();
    take(collector, &emission);
    assert_int_equal(bulla_collect_done(collector, &emission, BULLA_EMIT_LATER, "4.2.0", "busy"),
                     0);
    take(collector, &emission); /* the same again, after a pause */
    (void)which(&emission);
    assert_int_equal(
        bulla_collect_done(collector, &emission, BULLA_EMIT_REFUSED, "5.1.1", "no such user"), 0);
    take(collector, &emission);
    assert_int_equal(emission.kind, BULLA_EMISSION_NOTIFICATION);
    uint8_t *notice = join(&emission);
    assert_non_null(strstr((const char *)notice, "no such user"));
    assert_non_null(strstr((const char *)notice, "5.1.1"));
    free(notice);
    /* A notification that is refused is the end. */
    assert_int_equal(bulla_collect_done(collector, &emission, BULLA_EMIT_REFUSED, "5.0.0", ""), 0);
    expect_at_last("waiting", 0);
    bulla_collect_end(collector);
    finish();
}

/* The second of two: the notification names it alone, with its own status and words. */
static void spool_notifies_of_the_refused_recipients_alone(void **state)
{
    struct bulla_emission emission;
    const struct bulla_refusal refusal = {
        .recipient = 1, .enhanced_status = "5.1.1", .text = "5.1.1 <c@example.net>: no such user"};
    (void)state;
    start("", "");
    stand_in_stop(bullad.service);
    uint8_t *mail = daemon_mail(MAIL_BYTES, 1);
    queue("default", mail, MAIL_BYTES);
    free(mail);
    stand_in_start(bullad.service);
    struct bulla_collector *collector = collect();
    take(collector, &emission);
    assert_string_equal(emission.recipients[1], "c@example.net");
    assert_int_equal(bulla_collect_refused(collector, &emission, &refusal, 1), 0);
    take(collector, &emission);
    assert_int_equal(emission.kind, BULLA_EMISSION_NOTIFICATION);
    uint8_t *notice = join(&emission);
    const char *report = strstr((const char *)notice, "message/delivery-status");
    assert_non_null(report);
    assert_non_null(strstr(report,
                           "Final-Recipient: rfc822; c@example.net\r\n"
                           "Action: failed\r\nStatus: 5.1.1\r\n"
                           "Diagnostic-Code: smtp; 5.1.1 <c@example.net>: no such user\r\n"));
    assert_null(strstr(report, "Final-Recipient: rfc822; b@example.org"));
    free(notice);
    sent(collector, &emission);
    expect_at_last("notified", 1);
    bulla_collect_end(collector);
    finish();
}

static void spool_emits_again_what_a_collector_took_along(void **state)
{
    struct bulla_emission emission;
    (void)state;
    start("", "");
    stand_in_stop(bullad.service);
    queue_mails();
    stand_in_start(bullad.service);
    struct bulla_collector *first = collect();
    take(first, &emission);
    bulla_collect_end(first);
    take_mails();
    assert_true(status_number("emitted_again") > 0);
    finish();
}

static void spool_that_is_full_has_the_client_keep_the_message(void **state)
{
    struct outcome outcome = {.status = BULLA_QUEUED};
    (void)state;
    start("workers = 1\n spool_size = 64MB", "");
    stand_in_stop(bullad.service);
    const size_t bytes = 3 << 19;
    uint8_t *mail = daemon_mail(bytes, 1);
    uint32_t queued = 0;
    while (outcome.status == BULLA_QUEUED && queued < 64) {
        outcome = daemon_seal(&bullad, "default", BULLA_QUEUE, mail, bytes);
        assert_int_equal(outcome.rc, 0);
        queued += outcome.status == BULLA_QUEUED;
    }
    free(mail);
    assert_int_equal(outcome.status, BULLA_RETRY);
    assert_non_null(strstr(outcome.why, "the spool takes no more mail"));
    assert_true(queued > 0);
    expect_at_last("waiting", queued);
    finish();
}

static void expect_command(const char *command, const char *holds)
{
    char *text = daemon_ask(&bullad, command);
    if (strstr(text, holds) == NULL)
        fail_msg("%s: %s", command, text);
    free(text);
}

static void service_that_is_away_keeps_only_one_message_waiting(void **state)
{
    (void)state;
    start("", "");
    stand_in_stop(bullad.service);
    uint8_t *mail = daemon_mail(MAIL_BYTES, 1);
    queue("default", mail, MAIL_BYTES);
    daemon_expect_answer(&bullad, "queue stats", "\"registering\":1"); /* it asks, and waits */
    const uint64_t from_ns = clock_monotonic_ns();
    for (uint32_t n = 0; n < 4; n++) {
        const struct outcome outcome = daemon_seal(&bullad, "default", 0, mail, MAIL_BYTES);
        assert_int_equal(outcome.status, BULLA_RETRY);
    }
    assert_true(clock_monotonic_ns() - from_ns < QUICK_NS);
    free(mail);
    finish();
}

static void spool_holds_releases_and_removes_as_it_is_told(void **state)
{
    struct bulla_emission emission;
    (void)state;
    start("", "");
    stand_in_stop(bullad.service);
    queue_mails();
    expect_command("queue hold all 0:0", "8");
    expect_at_last("held", MAILS);
    assert_int_equal(daemon_stop(&bullad), 0);
    stand_in_start(bullad.service);
    daemon_launch(&bullad, 0);
    struct bulla_collector *collector = collect();
    pause_ms(500);
    assert_int_equal(bulla_collect_poll(collector, &emission, 1), 0);
    bulla_collect_end(collector);
    expect_command("queue list 0:0 0", "b@example.org");
    expect_command("queue release all 0:0", "8");
    take_mails();
    stand_in_stop(bullad.service);
    queue_mails();
    expect_command("queue hold all 0:0", "8");
    /* The one that asks for the service is busy until its client gives it up. */
    for (uint32_t ms = 0; ms < WAIT_MS && status_number("waiting") > 0; ms += PAUSE_MS) {
        expect_command("queue remove all 0:0", "\"done\"");
        pause_ms(PAUSE_MS);
    }
    assert_int_equal(status_number("waiting"), 0);
    finish();
}

static void crowd_submit(struct bulla *bulla, const uint8_t *mail, uint32_t *submitted)
{
    const char *const recipients[] = {"b@example.org"};
    const struct bulla_request request = {.profile = "default",
                                          .sender = "a@example.com",
                                          .recipients = recipients,
                                          .recipients_count = 1,
                                          .flags = BULLA_QUEUE,
                                          .mail_bytes = MAIL_BYTES};
    struct bulla_reservation reservation;
    while (*submitted < CROWD && bulla_reserve(bulla, &request, &reservation) == 0) {
        memcpy(reservation.mail, mail, MAIL_BYTES);
        assert_int_equal(bulla_submit(bulla, &reservation), 0);
        ++*submitted;
    }
}

static void crowd_queue(void)
{
    struct bulla *bulla;
    struct bulla_completion completion;
    const struct bulla_config config = {.socket_path = bullad.socket};
    uint8_t *mail = daemon_mail(MAIL_BYTES, 1);
    uint32_t submitted = 0;
    uint32_t done = 0;
    assert_int_equal(bulla_attach(&bulla, &config), 0);
    while (done < CROWD) {
        crowd_submit(bulla, mail, &submitted);
        const int n = bulla_poll(bulla, &completion, 1);
        assert_true(n >= 0);
        if (n == 0) {
            assert_true(bulla_wait(bulla, WAIT_MS) >= 0);
            continue;
        }
        assert_int_equal(completion.status, BULLA_QUEUED);
        bulla_release(bulla, &completion);
        done++;
    }
    bulla_detach(bulla);
    free(mail);
}

static void spool_takes_and_gives_many(void **state)
{
    struct bulla_emission emissions[64];
    (void)state;
    start("", "");
    stand_in_stop(bullad.service);
    uint8_t *mail = daemon_mail(MAIL_BYTES, 1);
    queue("default", mail, MAIL_BYTES);
    free(mail);
    uint64_t from_ns = clock_monotonic_ns();
    crowd_queue();
    print_message("taken: %.0f a second\n", CROWD * 1e9 / (double)(clock_monotonic_ns() - from_ns));
    expect_at_last("waiting", CROWD + 1);
    struct bulla_collector *collector = collect();
    stand_in_start(bullad.service);
    from_ns = 0;
    uint32_t given = 0;
    while (given < CROWD + 1) {
        const int n = bulla_collect_poll(collector, emissions, ARRAY_COUNT(emissions));
        assert_true(n >= 0);
        if (n == 0)
            assert_true(bulla_collect_wait(collector, WAIT_MS) >= 0);
        else if (from_ns == 0)
            from_ns = clock_monotonic_ns();
        for (int i = 0; i < n; i++)
            sent(collector, &emissions[i]);
        given += (uint32_t)n;
    }
    print_message("given: %.0f a second\n", CROWD * 1e9 / (double)(clock_monotonic_ns() - from_ns));
    expect_at_last("waiting", 0);
    assert_int_equal(stand_in_stored(bullad.service), CROWD + 1);
    bulla_collect_end(collector);
    finish();
}

/* More than there are places for what the server said: each sender is told all the same, once. */
static void each_sender_is_told_when_a_server_refuses_a_crowd(void **state)
{
    struct bulla_emission emissions[64];
    uint32_t told = 0;
    (void)state;
    start("", "");
    stand_in_stop(bullad.service);
    crowd_queue();
    struct bulla_collector *collector = collect();
    stand_in_start(bullad.service);
    while (told < CROWD) {
        const int n = bulla_collect_poll(collector, emissions, ARRAY_COUNT(emissions));
        assert_true(n >= 0);
        if (n == 0)
            assert_int_equal(bulla_collect_wait(collector, WAIT_MS), 1);
        for (int i = 0; i < n; i++) {
            const bool mail = emissions[i].kind == BULLA_EMISSION_MAIL;
            assert_int_equal(bulla_collect_done(collector, &emissions[i],
                                                mail ? BULLA_EMIT_REFUSED : BULLA_EMIT_SENT, NULL,
                                                mail ? "no such user" : "taken"),
                             0);
            told += !mail;
        }
    }
    expect_at_last("waiting", 0);
    expect_at_last("notified", CROWD);
    bulla_collect_end(collector);
    finish();
}

static void held_message_has_no_end(void **state)
{
    (void)state;
    start("", PROFILE_BRIEF);
    stand_in_stop(bullad.service);
    uint8_t *mail = daemon_mail(MAIL_BYTES, 1);
    queue("brief", mail, MAIL_BYTES);
    free(mail);
    expect_command("queue hold all 0:0", "\"done\":1");
    pause_ms(5000); /* its wait is 4 s */
    assert_int_equal(status_number("expired"), 0);
    expect_at_last("held", 1);
    expect_command("queue release all 0:0", "\"done\":1");
    take_notice("b@example.org");
    finish();
}

static void spool_of_two_workers_goes_on_with_one(void **state)
{
    (void)state;
    start("workers = 2", "");
    stand_in_stop(bullad.service);
    queue_mails();
    assert_int_equal(daemon_stop(&bullad), 0);
    spool_folder_config(&spool, &bullad, "workers = 1");
    stand_in_start(bullad.service);
    daemon_launch(&bullad, 0);
    take_mails();
    finish();
}

/* An engine with this configuration does not come up, and says why by its exit status. */
static void expect_engine_ends(int exit_status)
{
    int status;
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)execl(BULLAD_PATH, "bullad", "--config", bullad.config, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == exit_status);
}

/* Under a wrong key all that waits would look damaged, and every sender be told so. */
static void spool_is_not_opened_under_another_key(void **state)
{
    char why[SPOOL_KEY_WHY_BYTES] = "";
    char kept[DAEMON_PATH_BYTES + 16];
    (void)state;
    start("", "");
    assert_int_equal(daemon_stop(&bullad), 0);
    (void)snprintf(kept, sizeof(kept), "%s.kept", spool.key);
    assert_int_equal(rename(spool.key, kept), 0);
    assert_int_equal(spool_key_make(spool.key, why), 0);
    expect_engine_ends(EX_CONFIG);
    assert_int_equal(rename(kept, spool.key), 0);
    daemon_launch(&bullad, 0);
    finish();
}

/* Changes a byte of the first mail. */
static void damage_first_mail(void)
{
    static const char shows[] = "multipart/mixed";
    static uint8_t bytes[1 << 20];
    char path[DAEMON_PATH_BYTES + 256];
    (void)snprintf(path, sizeof(path), "%s/00-00000001.log", spool.path);
    FILE *file = fopen(path, "r+e");
    assert_non_null(file);
    const size_t count = fread(bytes, 1, sizeof(bytes), file);
    const uint8_t *at = memmem(bytes, count, shows, sizeof(shows) - 1);
    assert_non_null(at);
    assert_int_equal(fseek(file, (long)(at - bytes), SEEK_SET), 0);
    assert_int_equal(fputc('M', file), 'M');
    assert_int_equal(fclose(file), 0);
}

static void status_tells_of_damage_that_a_start_finds(void **state)
{
    (void)state;
    start("", "");
    stand_in_stop(bullad.service);
    queue_mails();
    assert_int_equal(daemon_stop(&bullad), 0);
    damage_first_mail();
    daemon_launch(&bullad, 0);
    expect_at_last("recovered", MAILS - 1);
    assert_true(status_number("spool_damaged") > 0);
    finish();
}

static void second_engine_does_not_touch_the_spool(void **state)
{
    (void)state;
    start("", "");
    expect_engine_ends(EX_UNAVAILABLE);
    finish();
}

int main(void)
{
    daemon_size_limit = "2MB";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spool_keeps_mail_over_a_restart_until_the_service_is_back),
        cmocka_unit_test(spool_keeps_what_was_queued_when_the_engine_is_killed),
        cmocka_unit_test(spool_is_left_alone_while_the_service_answers),
        cmocka_unit_test(spool_notifies_the_sender_when_the_wait_is_over),
        cmocka_unit_test(spool_tells_nobody_of_automatic_mail),
        cmocka_unit_test(spool_notifies_of_what_service_or_server_refuse),
        cmocka_unit_test(spool_notifies_of_the_refused_recipients_alone),
        cmocka_unit_test(spool_emits_again_what_a_collector_took_along),
        cmocka_unit_test(spool_that_is_full_has_the_client_keep_the_message),
        cmocka_unit_test(service_that_is_away_keeps_only_one_message_waiting),
        cmocka_unit_test(spool_holds_releases_and_removes_as_it_is_told),
        cmocka_unit_test(spool_takes_and_gives_many),
        cmocka_unit_test(each_sender_is_told_when_a_server_refuses_a_crowd),
        cmocka_unit_test(held_message_has_no_end),
        cmocka_unit_test(spool_of_two_workers_goes_on_with_one),
        cmocka_unit_test(spool_is_not_opened_under_another_key),
        cmocka_unit_test(status_tells_of_damage_that_a_start_finds),
        cmocka_unit_test(second_engine_does_not_touch_the_spool),
    };
    cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
