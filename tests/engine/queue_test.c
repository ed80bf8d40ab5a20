/* `bulla queue` against a real engine whose key service is away: shows, holds, releases, removes.
 */
#include "tests/engine/spool_folder.h"

#include "base/clock.h"
#include "base/macros.h"

#include <errno.h>
#include <grp.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define WAIT_MS    60000
#define PAUSE_MS   10
#define MAILS      5
#define MAIL_BYTES 4096
#define TEXT_BYTES 65536
#define ID_CHARS   32
#define NOBODY     65534 /* user and group without rights of their own */

static struct daemon bullad;
static struct spool_folder spool;
static char text[TEXT_BYTES];

/* Two workers: what waits lies with both, or with either. */
static void start(const char *engine)
{
    char options[DAEMON_PATH_BYTES];
    (void)snprintf(options, sizeof(options), "workers = 2\n spool_size = 512MB\n %s", engine);
    spool_folder_start(&spool, &bullad, options, "");
}

static void finish(void)
{
    spool_folder_finish(&spool, &bullad);
}

/* Runs `bulla queue` with these words; what it says, on both streams, is `text`. */
static int run(const char *words)
{
    char command[3 * DAEMON_PATH_BYTES];
    (void)snprintf(command, sizeof(command), "%s queue %s --socket %s 2>&1", BULLA_PATH, words,
                   bullad.socket);
    FILE *stream = popen(command, "r");
    assert_non_null(stream);
    const size_t bytes = fread(text, 1, sizeof(text) - 1, stream);
    text[bytes] = '\0';
    const int status = pclose(stream);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void expect_run(const char *words, int exit_status, const char *holds)
{
    const int ended = run(words);
    if (ended != exit_status || strstr(text, holds) == NULL)
        fail_msg("queue %s ends with %d: \"%s\" is not in \"%s\"", words, ended, holds, text);
}

static json_int_t stat_of(const char *name)
{
    assert_int_equal(run("stats --json"), 0);
    json_t *stats = json_loads(text, 0, NULL);
    assert_non_null(stats);
    const json_int_t value = json_integer_value(json_object_get(stats, name));
    json_decref(stats);
    return value;
}

static void expect_at_last(const char *name, json_int_t value)
{
    const struct timespec pause = {.tv_nsec = PAUSE_MS * (long)NS_PER_MS};
    json_int_t found = -1;
    for (uint32_t ms = 0; ms < WAIT_MS && found != value; ms += PAUSE_MS) {
        found = stat_of(name);
        if (found != value)
            (void)nanosleep(&pause, NULL);
    }
    assert_int_equal(found, value);
}

static void queue_mails(void)
{
    stand_in_stop(bullad.service);
    for (uint32_t n = 0; n < MAILS; n++) {
        uint8_t *mail = daemon_mail(MAIL_BYTES, n);
        struct outcome outcome = daemon_seal(&bullad, "default", BULLA_QUEUE, mail, MAIL_BYTES);
        assert_int_equal(outcome.rc, 0);
        assert_int_equal(outcome.status, BULLA_QUEUED);
        free(mail);
    }
}

/* The ids as the list has them. */
static void list_ids(char ids[MAILS][ID_CHARS + 1])
{
    assert_int_equal(run("list --json"), 0);
    char *at = text;
    for (uint32_t n = 0; n < MAILS; n++) {
        char *end = strchr(at, '\n');
        assert_non_null(end);
        *end = '\0';
        json_t *message = json_loads(at, 0, NULL);
        assert_non_null(message);
        assert_string_equal(json_string_value(json_object_get(message, "sender")), "a@example.com");
        assert_int_equal(json_integer_value(json_object_get(message, "recipients")), 2);
        assert_null(json_object_get(message, "subject"));
        const char *id = json_string_value(json_object_get(message, "id"));
        assert_non_null(id);
        (void)snprintf(ids[n], ID_CHARS + 1, "%s", id);
        json_decref(message);
        at = end + 1;
    }
    assert_string_equal(at, ""); /* no more */
}

static void expect_one(const char *verb, const char *id, int exit_status, const char *holds)
{
    char words[64];
    (void)snprintf(words, sizeof(words), "%s %s", verb, id);
    expect_run(words, exit_status, holds);
}

static void what_waits_is_shown_held_released_and_removed(void **state)
{
    (void)state;
    char ids[MAILS][ID_CHARS + 1];
    start("");
    expect_run("list", 0, "nothing waits");
    queue_mails();
    expect_at_last("messages", MAILS);
    list_ids(ids);
    expect_run("list", 0, "a@example.com");
    expect_one("show", ids[1], 0, "c@example.net");
    assert_null(strstr(text, "ubject"));

    expect_one("hold", ids[1], 0, "held 1 message\n");
    expect_one("show", ids[1], 0, "held");
    assert_int_equal(stat_of("held"), 1);
    expect_one("remove", ids[0], 0, "removed 1 message\n");
    expect_at_last("messages", MAILS - 1);
    expect_one("show", ids[0], EX_DATAERR, "nothing waits under this id");
    expect_one("release", ids[0], EX_DATAERR, "nothing waits under this id");

    /* All but the held one leave once the service is back and somebody collects. */
    struct bulla_collector *collector;
    const struct bulla_config config = {.socket_path = bullad.socket};
    assert_int_equal(bulla_collect(&collector, &config), 0);
    stand_in_start(bullad.service);
    for (uint32_t left = MAILS - 1; left > 0; left--) {
        if (left == 1)
            expect_one("release", ids[1], 0, "released 1 message\n");
        struct bulla_emission emission;
        assert_int_equal(bulla_collect_wait(collector, WAIT_MS), 1);
        assert_int_equal(bulla_collect_poll(collector, &emission, 1), 1);
        assert_int_equal(strcmp(emission.envelope_id, ids[1]) == 0, left == 1);
        assert_int_not_equal(strcmp(emission.envelope_id, ids[0]), 0);
        assert_int_equal(
            bulla_collect_done(collector, &emission, BULLA_EMIT_SENT, "2.0.0", "taken"), 0);
    }
    expect_at_last("messages", 0);
    bulla_collect_end(collector);
    finish();
}

static void all_are_held_and_a_hold_outlives_a_restart(void **state)
{
    (void)state;
    start("");
    queue_mails();
    expect_at_last("messages", MAILS);
    expect_run("hold --all", 0, "held 5 messages\n");
    expect_run("hold --all", 0, "held 0 messages\n");
    assert_int_equal(daemon_stop(&bullad), 0);
    daemon_launch(&bullad, 0);
    assert_int_equal(stat_of("held"), MAILS);
    assert_int_equal(stat_of("messages"), MAILS);
    expect_run("release --all", 0, "released 5 messages\n");
    assert_int_equal(stat_of("held"), 0);
    expect_run("flush", 0, "trying");
    expect_run("remove --all", 0, "removed 5 messages\n");
    expect_at_last("messages", 0);
    finish();
}

/* Runs as a user whom allow_groups lets in, and nothing else. */
static int run_as_nobody(const char *question)
{
    const pid_t child = fork();
    assert_int_not_equal(child, -1);
    if (child == 0) {
        const gid_t group = NOBODY;
        if (setgroups(1, &group) != 0 || setgid(NOBODY) != 0 || setuid(NOBODY) != 0)
            _exit(1);
        (void)execl(BULLA_PATH, "bulla", question,
                    strcmp(question, "queue") == 0 ? "list" : "--json", "--socket", bullad.socket,
                    NULL);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void who_may_submit_may_not_see_the_queue(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        print_message("skipped: only root can be somebody else\n");
        return;
    }
    start("socket_mode = \"0666\"\n allow_groups = {\"nogroup\"}");
    assert_int_equal(chmod(stand_in_folder(bullad.service), 0711), 0);
    if (access(BULLA_PATH, X_OK) == 0 && run_as_nobody("status") == 0)
        assert_int_equal(run_as_nobody("queue"), EX_NOPERM);
    else
        print_message("skipped: nobody cannot reach the program or the socket\n");
    finish();
}

/* Who collects takes everybody's mail, and says what became of it. */
static void who_may_submit_may_not_collect(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        print_message("skipped: only root can be somebody else\n");
        return;
    }
    start("socket_mode = \"0666\"\n allow_groups = {\"nogroup\"}");
    assert_int_equal(chmod(stand_in_folder(bullad.service), 0711), 0);
    const pid_t child = fork();
    assert_int_not_equal(child, -1);
    if (child == 0) {
        const gid_t group = NOBODY;
        const struct bulla_config config = {.socket_path = bullad.socket};
        struct bulla *bulla;
        struct bulla_collector *collector;
        if (setgroups(1, &group) != 0 || setgid(NOBODY) != 0 || setuid(NOBODY) != 0)
            _exit(1);
        if (bulla_attach(&bulla, &config) != 0)
            _exit(2);
        _exit(bulla_collect(&collector, &config) == -EACCES ? 0 : 3);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_true(daemon_logged(&bullad, "mend=\"add the user to allow_users"));
    finish();
}

/* `bulla seal` of a small message; what it says, on both streams, is `text`. */
static int run_seal(const char *options)
{
    char command[3 * DAEMON_PATH_BYTES];
    (void)snprintf(
        command, sizeof(command),
        "printf 'Subject: x\\r\\n\\r\\nhello\\r\\n' | %s seal %s --from a@example.com --to "
        "b@example.org --socket %s 2>&1",
        BULLA_PATH, options, bullad.socket);
    FILE *stream = popen(command, "r");
    assert_non_null(stream);
    text[fread(text, 1, sizeof(text) - 1, stream)] = '\0';
    const int status = pclose(stream);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void a_message_is_given_away_only_when_it_may_be(void **state)
{
    (void)state;
    start("");
    stand_in_stop(bullad.service);
    assert_int_equal(run_seal(""), EX_TEMPFAIL);
    assert_non_null(strstr(text, "nothing was kept"));
    assert_int_equal(stat_of("messages"), 0);
    assert_int_equal(run_seal("--queue"), 0);
    char id[ID_CHARS + 1] = "";
    assert_int_equal(sscanf(text, "bulla seal: the engine keeps the message as %32[0-9a-f]", id),
                     1);
    assert_non_null(strstr(text, " and will send it on\n"));
    expect_one("show", id, 0, id);
    expect_at_last("messages", 1);
    finish();
}

static void no_more_than_four_collect_from_a_worker(void **state)
{
    (void)state;
    struct bulla_collector *collectors[4];
    struct bulla_collector *fifth = NULL;
    start("sessions_per_user = 1"); /* which is about those that submit */
    const struct bulla_config config = {.socket_path = bullad.socket};
    for (size_t n = 0; n < ARRAY_COUNT(collectors); n++)
        assert_int_equal(bulla_collect(&collectors[n], &config), 0);
    assert_int_equal(bulla_collect(&fifth, &config), -EUSERS);
    assert_true(daemon_logged(&bullad, "mend=\"stop one of those that collect already\""));
    bulla_collect_end(collectors[0]);
    int rc = -EUSERS;
    for (uint32_t ms = 0; ms < WAIT_MS && rc == -EUSERS; ms += PAUSE_MS) {
        const struct timespec pause = {.tv_nsec = PAUSE_MS * (long)NS_PER_MS};
        rc = bulla_collect(&fifth, &config);
        (void)nanosleep(&pause, NULL);
    }
    assert_int_equal(rc, 0);
    bulla_collect_end(fifth);
    for (size_t n = 1; n < ARRAY_COUNT(collectors); n++)
        bulla_collect_end(collectors[n]);
    finish();
}

static void an_engine_without_a_spool_says_so(void **state)
{
    (void)state;
    daemon_start(&bullad, "workers = 1", "", 0);
    expect_run("list", EX_CONFIG, "set spool");
    expect_run("stats", EX_CONFIG, "no spool");
    assert_int_equal(daemon_stop(&bullad), 0);
    daemon_fini(&bullad);
}

int main(void)
{
    daemon_size_limit = "2MB";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_waits_is_shown_held_released_and_removed),
        cmocka_unit_test(all_are_held_and_a_hold_outlives_a_restart),
        cmocka_unit_test(who_may_submit_may_not_see_the_queue),
        cmocka_unit_test(who_may_submit_may_not_collect),
        cmocka_unit_test(a_message_is_given_away_only_when_it_may_be),
        cmocka_unit_test(no_more_than_four_collect_from_a_worker),
        cmocka_unit_test(an_engine_without_a_spool_says_so),
    };
    return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
