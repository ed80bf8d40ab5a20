/* The outbox: kept until the relay has it, sent once, given up in the end, and bounded. */
#include "keyservice/server/mail/outbox.h"

#include "base/clock.h"
#include "keyservice/server/store/store_outbox.h"
#include "keyservice/server/store/store_sql.h"
#include "tests/keyservice/server/store/store_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define WAIT_ROUNDS 3000 /* of 10 ms */
#define LONG_BYTES  (2 * OUTBOX_PART_BYTES + 4321)

static const char *const both[] = {"bob@example.org", "sue@example.org"};

static struct outbox_mail mail_of(const uint8_t *id, const char *text)
{
    return (struct outbox_mail){.id = id,
                                .account = "alice@example.com",
                                .from_envelope = "keys@example.com",
                                .to = both,
                                .to_count = 2,
                                .mail = text,
                                .mail_bytes = strlen(text),
                                .kind = OUTBOX_MESSAGE};
}

static uint32_t due_count(const struct store_fixture *fixture, uint64_t now_ms,
                          struct outbox_due *due)
{
    uint32_t count = 0;
    assert_int_equal(store_outbox_due(fixture->store, now_ms, due, 8, &count), 0);
    return count;
}

static void a_mail_waits_for_each_of_its_recipients(void **state)
{
    static const uint8_t id[OUTBOX_ID_BYTES] = {1};
    struct store_fixture *fixture = *state;
    struct outbox_due due[8];
    uint8_t part[OUTBOX_PART_BYTES];
    size_t bytes = sizeof(part);
    const struct outbox_mail mail = mail_of(id, "Subject: x\r\n\r\nHi\r\n");
    assert_int_equal(outbox_put(fixture->store, &mail, NOW_MS), 0);
    assert_int_equal(due_count(fixture, NOW_MS - 1, due), 0);
    assert_int_equal(due_count(fixture, NOW_MS, due), 2);
    assert_string_equal(due[0].account, "alice@example.com");
    assert_string_equal(due[0].sender, "keys@example.com");
    assert_int_equal(due[0].bytes, mail.mail_bytes);
    assert_int_equal(store_outbox_end(fixture->store, &due[0], NULL, NOW_MS), 0);
    assert_int_equal(store_outbox_part(fixture->store, due[1].body, 0, part, &bytes), 0);
    assert_memory_equal(part, mail.mail, mail.mail_bytes);
    assert_int_equal(store_outbox_end(fixture->store, &due[1], NULL, NOW_MS), 0);
    bytes = sizeof(part);
    assert_int_equal(store_outbox_part(fixture->store, due[1].body, 0, part, &bytes), -ENOENT);
    assert_int_equal(due_count(fixture, NOW_MS, due), 0);
}

static void a_mail_that_was_sent_is_not_taken_again(void **state)
{
    static const uint8_t id[OUTBOX_ID_BYTES] = {2};
    struct store_fixture *fixture = *state;
    struct outbox_due due[8];
    struct outbox_mail mail = mail_of(id, "x\r\n");
    mail.to_count = 1;
    assert_int_equal(outbox_put(fixture->store, &mail, NOW_MS), 0);
    assert_int_equal(outbox_put(fixture->store, &mail, NOW_MS), -EEXIST);
    assert_int_equal(due_count(fixture, NOW_MS, due), 1);
    assert_int_equal(store_outbox_end(fixture->store, &due[0], NULL, NOW_MS), 0);
    assert_int_equal(outbox_prune(fixture->store, NOW_MS + OUTBOX_KEPT_MS), 0);
    assert_int_equal(outbox_put(fixture->store, &mail, NOW_MS), -EEXIST);
    assert_int_equal(outbox_prune(fixture->store, NOW_MS + OUTBOX_KEPT_MS + 1), 0);
    assert_int_equal(outbox_put(fixture->store, &mail, NOW_MS), 0);
}

static void one_of_two_nodes_claims_a_mail_and_the_other_does_not(void **state)
{
    static const uint8_t id[OUTBOX_ID_BYTES] = {3};
    struct store_fixture *fixture = *state;
    struct outbox_due ours[8];
    struct outbox_due theirs[8];
    const struct outbox_mail mail = mail_of(id, "x\r\n");
    assert_int_equal(outbox_put(fixture->store, &mail, NOW_MS), 0);
    assert_int_equal(due_count(fixture, NOW_MS, ours), 2);
    assert_int_equal(due_count(fixture, NOW_MS, theirs), 2);
    const uint64_t until_ms = NOW_MS + OUTBOX_LEASE_MS;
    assert_int_equal(store_outbox_claim(fixture->store, &ours[0], until_ms), 0);
    assert_int_equal(ours[0].attempts_count, 1);
    assert_int_equal(store_outbox_claim(fixture->store, &theirs[0], until_ms), -EACCES);
    assert_int_equal(store_outbox_end(fixture->store, &theirs[0], NULL, NOW_MS), -EACCES);
    assert_int_equal(due_count(fixture, until_ms - 1, theirs), 1);
    assert_int_equal(due_count(fixture, until_ms, theirs), 2); /* who claimed it is dead */
}

static void parts_without_a_head_go_and_others_stay(void **state)
{
    static const uint8_t id[OUTBOX_ID_BYTES] = {4};
    struct store_fixture *fixture = *state;
    char *text = malloc(LONG_BYTES + 1);
    assert_non_null(text);
    memset(text, 'x', LONG_BYTES);
    text[LONG_BYTES] = '\0';
    const struct outbox_mail mail = mail_of(id, text);
    assert_int_equal(outbox_put(fixture->store, &mail, NOW_MS), 0);
    store_fixture_sql(fixture, fixture->schema[0] == '\0'
                                   ? "INSERT INTO outbox_part VALUES (x'77', 0, 1, x'00')"
                                   : "INSERT INTO outbox_part VALUES ('\\x77', 0, 1, '\\x00')");
    assert_int_equal(store_fixture_number(fixture, "SELECT count(*) FROM outbox_part"), 4);
    assert_int_equal(outbox_prune(fixture->store, NOW_MS + 2 * OUTBOX_KEPT_MS), 0);
    assert_int_equal(store_fixture_number(fixture, "SELECT count(*) FROM outbox_part"), 3);
    free(text);
}

/* More parts than one commit removes: after the last recipient, and no sooner. */
static void of_a_large_mail_nothing_is_left_when_the_last_has_it(void **state)
{
    static const uint8_t id[OUTBOX_ID_BYTES] = {5};
    static const size_t bytes = (size_t)2 * OUTBOX_REMOVE_PARTS * OUTBOX_PART_BYTES;
    struct store_fixture *fixture = *state;
    struct outbox_due due[8];
    char *text = malloc(bytes + 1);
    assert_non_null(text);
    memset(text, 'x', bytes);
    text[bytes] = '\0';
    const struct outbox_mail mail = mail_of(id, text);
    assert_int_equal(outbox_put(fixture->store, &mail, NOW_MS), 0);
    free(text);
    assert_int_equal(due_count(fixture, NOW_MS, due), 2);
    assert_int_equal(store_outbox_end(fixture->store, &due[0], NULL, NOW_MS), 0);
    assert_int_equal(store_fixture_number(fixture, "SELECT count(*) FROM outbox_part"),
                     2 * OUTBOX_REMOVE_PARTS);
    assert_int_equal(store_outbox_end(fixture->store, &due[1], NULL, NOW_MS), 0);
    assert_int_equal(store_fixture_number(fixture, "SELECT count(*) FROM outbox_part"), 0);
}

static void an_account_has_its_share_and_no_more(void **state)
{
    struct store_fixture *fixture = *state;
    struct outbox_mail mail = mail_of(NULL, "x\r\n");
    for (uint32_t i = 0; i < OUTBOX_ROWS_SHARE; i++)
        assert_int_equal(outbox_put(fixture->store, &mail, NOW_MS), 0);
    assert_int_equal(outbox_put(fixture->store, &mail, NOW_MS), -EACCES);
    mail.account = "carol@example.com";
    assert_int_equal(outbox_put(fixture->store, &mail, NOW_MS), 0);
    mail.account = NULL;
    assert_int_equal(outbox_put(fixture->store, &mail, NOW_MS), 0);
}

/* Rows of the table itself, as many as there may be of a kind. */
static void kind_fill(const struct store_fixture *fixture, enum outbox_kind kind)
{
    char statement[400];
    const bool sqlite = fixture->schema[0] == '\0';
    const char *bytes = sqlite ? "CAST(i AS BLOB)" : "convert_to(i::text, 'UTF8')";
    (void)snprintf(statement, sizeof(statement),
                   "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
                   " INSERT INTO outbox (id, body, account, sender, kind, bytes, created)"
                   " SELECT %s, %s, '', '', %d, 0, 1 FROM n",
                   OUTBOX_ROWS_MAX, bytes, bytes, (int)kind);
    store_fixture_sql(fixture, statement);
}

static void notices_do_not_take_the_room_of_messages(void **state)
{
    struct store_fixture *fixture = *state;
    struct outbox_mail mail = mail_of(NULL, "x\r\n");
    struct outbox_mail notice = mail_of(NULL, "x\r\n");
    notice.kind = OUTBOX_NOTICE;
    notice.account = NULL;
    kind_fill(fixture, OUTBOX_NOTICE);
    assert_int_equal(outbox_put(fixture->store, &notice, NOW_MS), -EACCES);
    assert_int_equal(outbox_put(fixture->store, &mail, NOW_MS), 0);
    store_fixture_sql(fixture, "DELETE FROM outbox");
    kind_fill(fixture, OUTBOX_MESSAGE);
    assert_int_equal(outbox_put(fixture->store, &mail, NOW_MS), -EACCES);
    assert_int_equal(outbox_put(fixture->store, &notice, NOW_MS), 0);
}

static void what_cannot_stand_in_smtp_is_refused(void **state)
{
    static const char *const bad[] = {"bob@example.org\r\nRCPT TO:<eve@example.org>", "bob",
                                      "b\xc3\xb6"
                                      "b@example.org",
                                      "<bob@example.org>", ""};
    struct store_fixture *fixture = *state;
    struct outbox_mail mail = mail_of(NULL, "x\r\n");
    mail.to_count = 1;
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        mail.to = &bad[i];
        assert_int_equal(outbox_put(fixture->store, &mail, NOW_MS), -EINVAL);
    }
    mail.to_count = 0;
    assert_int_equal(outbox_put(fixture->store, &mail, NOW_MS), -EINVAL);
}

/* A folder in place of a relay, an audit log, and the sender's thread. */
struct sending {
    struct mail *mail;
    struct audit *audit;
    struct outbox *outbox;
    char folder[128];
    char log[128];
};

static size_t tell_failed(void *context, char mail[MAIL_BYTES_MAX], const char *account,
                          const char *to)
{
    (void)context;
    return (size_t)snprintf(mail, MAIL_BYTES_MAX, "To: %s\r\n\r\nnot to %s\r\n", account, to);
}

static void sending_open(struct sending *sending, const struct store_fixture *fixture,
                         const char *relay)
{
    (void)snprintf(sending->folder, sizeof(sending->folder), "%s/out", fixture->folder);
    (void)snprintf(sending->log, sizeof(sending->log), "%s/audit.log", fixture->folder);
    (void)mkdir(sending->folder, 0700);
    const struct mail_config mail_config = {
        .smtp_relay = relay, .spool_dir = sending->folder, .from = "keys@example.com"};
    assert_int_equal(mail_open(&sending->mail, &mail_config), 0);
    assert_int_equal(audit_open(&sending->audit, sending->log), 0);
    const struct outbox_config config = {.store = fixture->store,
                                         .mail = sending->mail,
                                         .audit = sending->audit,
                                         .failed = tell_failed,
                                         .retry_ms = 1,
                                         .life_ms = 50};
    assert_int_equal(outbox_open(&sending->outbox, &config), 0);
}

static void sending_close(struct sending *sending)
{
    outbox_close(sending->outbox);
    mail_close(sending->mail);
    audit_close(sending->audit);
    (void)unlink(sending->log);
}

/* Whole mails in the folder, all removed when `clean`. */
static uint32_t folder_count(const struct sending *sending, bool clean)
{
    uint32_t count = 0;
    DIR *folder = opendir(sending->folder);
    assert_non_null(folder);
    for (const struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        char path[512];
        if (strstr(entry->d_name, ".eml") == NULL)
            continue;
        count++;
        (void)snprintf(path, sizeof(path), "%s/%s", sending->folder, entry->d_name);
        if (clean)
            (void)unlink(path);
    }
    (void)closedir(folder);
    if (clean)
        (void)rmdir(sending->folder);
    return count;
}

static void wait_for(const struct store_fixture *fixture, const char *query, uint64_t wanted)
{
    uint32_t rounds = 0;
    while (store_fixture_number(fixture, query) != wanted) {
        assert_true(++rounds < WAIT_ROUNDS);
        (void)usleep(10000);
    }
}

static void a_long_mail_arrives_whole_once_for_each_recipient(void **state)
{
    static const uint8_t id[OUTBOX_ID_BYTES] = {5};
    struct store_fixture *fixture = *state;
    struct sending sending;
    struct stat info;
    char path[512];
    char *text = malloc(LONG_BYTES + 1);
    assert_non_null(text);
    for (size_t i = 0; i < LONG_BYTES; i++)
        text[i] = (char)('a' + i % 23);
    text[LONG_BYTES] = '\0';
    const struct outbox_mail mail = mail_of(id, text);
    assert_int_equal(outbox_put(fixture->store, &mail, clock_unix_ns() / NS_PER_MS), 0);
    sending_open(&sending, fixture, "");
    wait_for(fixture, "SELECT count(*) FROM outbox_to", 0);
    sending_close(&sending);
    (void)snprintf(path, sizeof(path), "%s/05000000000000000000000000000000-1.eml", sending.folder);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_size, LONG_BYTES);
    FILE *file = fopen(path, "r");
    char *back = malloc(LONG_BYTES);
    assert_true(file != NULL && back != NULL);
    assert_int_equal(fread(back, 1, LONG_BYTES, file), LONG_BYTES);
    assert_memory_equal(back, text, LONG_BYTES);
    (void)fclose(file);
    free(back);
    free(text);
    assert_int_equal(folder_count(&sending, true), 2);
}

static void a_mail_that_nobody_takes_ends_and_its_account_is_told(void **state)
{
    static const uint8_t id[OUTBOX_ID_BYTES] = {6};
    struct store_fixture *fixture = *state;
    struct sending sending;
    struct outbox_due due[8];
    struct outbox_mail mail = mail_of(id, "x\r\n");
    mail.to_count = 1;
    assert_int_equal(outbox_put(fixture->store, &mail, clock_unix_ns() / NS_PER_MS), 0);
    sending_open(&sending, fixture, "smtp://127.0.0.1:1"); /* nobody listens there */
    /* Then the notice's own end comes, and nobody is told of that. */
    wait_for(fixture, "SELECT count(*) FROM outbox WHERE account = ''", 1);
    wait_for(fixture, "SELECT count(*) FROM outbox_to", 0);
    assert_int_equal(due_count(fixture, UINT64_MAX >> 1, due), 0);
    assert_int_equal(store_fixture_number(fixture, "SELECT count(*) FROM outbox"), 2);
    sending_close(&sending);
    assert_int_equal(folder_count(&sending, true), 0);
}

/* Claims fail, and are undone whole, while reading goes on. */
static void claims_break(const struct store_fixture *fixture)
{
    store_fixture_sql(fixture, fixture->schema[0] == '\0'
                                   ? "CREATE TRIGGER broken BEFORE UPDATE ON outbox_to"
                                     " BEGIN SELECT RAISE(ABORT, 'broken'); END"
                                   : "ALTER TABLE outbox_to ADD CHECK (attempts = 0)");
}

static uint32_t lines_with(const char *path, const char *word)
{
    char line[1024];
    uint32_t count = 0;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL)
        count += strstr(line, word) != NULL;
    (void)fclose(file);
    return count;
}

static void what_cannot_be_claimed_is_not_looked_at_without_a_pause(void **state)
{
    struct store_fixture *fixture = *state;
    struct sending sending;
    char path[128];
    uint32_t rounds = 0;
    struct outbox_mail mail = mail_of(NULL, "x\r\n");
    mail.to_count = 1;
    for (uint32_t i = 0; i < OUTBOX_SEND_BATCH; i++)
        assert_int_equal(outbox_put(fixture->store, &mail, clock_unix_ns() / NS_PER_MS), 0);
    claims_break(fixture);
    (void)snprintf(path, sizeof(path), "%s/stderr", fixture->folder);
    const int kept = dup(STDERR_FILENO);
    assert_true(kept >= 0 && freopen(path, "w", stderr) != NULL);
    const uint64_t begun_ns = clock_monotonic_ns();
    sending_open(&sending, fixture, "");
    /* A line for each round. */
    while (lines_with(path, "outbox_unclaimed") < 2 && ++rounds < WAIT_ROUNDS)
        (void)usleep(10000);
    const uint64_t took_ns = clock_monotonic_ns() - begun_ns;
    sending_close(&sending);
    (void)dup2(kept, STDERR_FILENO);
    (void)close(kept);
    (void)unlink(path);
    assert_true(rounds < WAIT_ROUNDS);
    assert_true(took_ns >= 2 * NS_PER_S);
    assert_int_equal(folder_count(&sending, true), 0);
}

struct put_inside {
    const struct outbox_mail *mail;
    int end;
};

static int inside_apply(struct store_writer *writer, void *argument)
{
    const struct put_inside *put = argument;
    const int rc = outbox_put_apply(writer, put->mail, NOW_MS);
    return rc == 0 ? put->end : rc;
}

static void a_notice_is_kept_with_the_write_it_belongs_to_or_not_at_all(void **state)
{
    static const uint8_t id[OUTBOX_ID_BYTES] = {7};
    struct store_fixture *fixture = *state;
    struct outbox_due due[8];
    struct outbox_mail mail = mail_of(id, "x\r\n");
    mail.kind = OUTBOX_NOTICE;
    struct put_inside put = {.mail = &mail, .end = -EIO};
    assert_int_equal(store_write(fixture->store, inside_apply, &put), -EIO);
    assert_int_equal(due_count(fixture, NOW_MS, due), 0);
    put.end = 0;
    assert_int_equal(store_write(fixture->store, inside_apply, &put), 0);
    assert_int_equal(due_count(fixture, NOW_MS, due), 2);
}

#define STORE_CASE(name)                                                                           \
    cmocka_unit_test_setup_teardown(name, store_fixture_setup, store_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_CASE(a_mail_waits_for_each_of_its_recipients),
        STORE_CASE(a_mail_that_was_sent_is_not_taken_again),
        STORE_CASE(one_of_two_nodes_claims_a_mail_and_the_other_does_not),
        STORE_CASE(parts_without_a_head_go_and_others_stay),
        STORE_CASE(of_a_large_mail_nothing_is_left_when_the_last_has_it),
        STORE_CASE(an_account_has_its_share_and_no_more),
        STORE_CASE(notices_do_not_take_the_room_of_messages),
        STORE_CASE(what_cannot_stand_in_smtp_is_refused),
        STORE_CASE(a_long_mail_arrives_whole_once_for_each_recipient),
        STORE_CASE(a_mail_that_nobody_takes_ends_and_its_account_is_told),
        STORE_CASE(what_cannot_be_claimed_is_not_looked_at_without_a_pause),
        STORE_CASE(a_notice_is_kept_with_the_write_it_belongs_to_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
