/* Who sent what, who opened it, what its sender changed since; on SQLite and PostgreSQL. */
#include "base/bytes.h"
#include "keyservice/server/mail/outbox.h"
#include "keyservice/server/sent/sent_run.h"
#include "keyservice/server/store/store_opening.h"
#include "keyservice/server/store/store_report.h"
#include "keyservice/server/store/store_sent.h"
#include "tests/keyservice/format_example.h"
#include "tests/keyservice/server/store/store_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BOB "bob@example.org"
#define EVE "eve@example.org"
#define DAY ((uint32_t)(NOW_MS / SENT_DAY_MS))

static const uint8_t newest[RECORD_ID_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/* One that `sender` sent to Bob: its id ascends with the number. */
static void made_fill(struct store_made *made, uint32_t number, const char *sender)
{
    store_made_fill(made, number, BOB);
    memset(made->record.id, 0, RECORD_ID_BYTES);
    bytes_store_be32(made->record.id, number);
    made->record.id[6] = 0x70;
    made->record.id[8] = 0x80;
    made->record.sender = (const uint8_t *)sender;
    made->record.sender_bytes = (uint16_t)strlen(sender);
    made->record.expires_unix_ms = 0;
    made->put.wire_bytes = (uint32_t)record_write(made->wire, sizeof(made->wire), &made->record);
    assert_int_not_equal(made->put.wire_bytes, 0);
}

static void made_put(const struct store_fixture *fixture, uint32_t number, const char *sender)
{
    struct store_made made;
    made_fill(&made, number, sender);
    assert_int_equal(store_made_put(fixture, &made), STORE_PUT_STORED);
}

static void fold(const struct store_fixture *fixture, uint32_t runs_expected)
{
    uint32_t runs_count = 0;
    assert_int_equal(store_sent_fold(fixture->store, 1, &runs_count), 0);
    assert_int_equal(runs_count, runs_expected);
}

/* The numbers of the ids, newest first, end with a 0. */
static void ids_are(const struct store_fixture *fixture, const char *sender, const uint8_t *before,
                    uint32_t room, const uint32_t *numbers)
{
    uint8_t ids[STORE_SENT_LIST_MAX][RECORD_ID_BYTES];
    uint32_t count = room;
    uint32_t i = 0;
    assert_int_equal(store_sent_ids(fixture->store, sender, before, ids, &count), 0);
    for (; numbers[i] != 0; i++) {
        assert_true(i < count);
        assert_int_equal(__builtin_bswap32(bytes_load_le32(ids[i])), numbers[i]);
    }
    assert_int_equal(count, i);
}

static void a_sender_sees_his_messages_before_and_after_they_are_indexed(void **state)
{
    const struct store_fixture *fixture = *state;
    uint8_t third[RECORD_ID_BYTES] = {0, 0, 0, 3, 0, 0, 0x70, 0, 0x80};
    for (uint32_t n = 1; n <= 5; n++)
        made_put(fixture, n, n == 4 ? "Other@b" : "Sue@B.example");
    for (uint32_t round = 0; round < 2; round++) {
        ids_are(fixture, "sue@b.example", newest, 10, (const uint32_t[]){5, 3, 2, 1, 0});
        ids_are(fixture, "sue@b.example", newest, 2, (const uint32_t[]){5, 3, 0});
        ids_are(fixture, "sue@b.example", third, 10, (const uint32_t[]){2, 1, 0});
        ids_are(fixture, "other@b", newest, 10, (const uint32_t[]){4, 0});
        ids_are(fixture, "nobody@b", newest, 10, (const uint32_t[]){0});
        if (round == 0)
            fold(fixture, 5);
    }
    fold(fixture, 0);
    made_put(fixture, 6, "sue@b.example"); /* one half is taken in, the other is not */
    ids_are(fixture, "sue@b.example", newest, 3, (const uint32_t[]){6, 5, 3, 0});
}

static void a_batch_that_comes_again_is_indexed_and_counted_once(void **state)
{
    const struct store_fixture *fixture = *state;
    struct store_made made;
    made_fill(&made, 1, "a@b");
    assert_int_equal(store_made_put(fixture, &made), STORE_PUT_STORED);
    assert_int_equal(store_made_put(fixture, &made), STORE_PUT_STORED);
    fold(fixture, 1);
    ids_are(fixture, "a@b", newest, 10, (const uint32_t[]){1, 0});
    assert_int_equal(store_fixture_number(fixture, "SELECT sum(count) FROM report"), 1);
}

static void a_message_without_a_sender_is_nobodys(void **state)
{
    const struct store_fixture *fixture = *state;
    made_put(fixture, 1, "");
    fold(fixture, 0);
    ids_are(fixture, "", newest, 10, (const uint32_t[]){0});
}

static void a_damaged_run_does_not_stand_in_the_way(void **state)
{
    const struct store_fixture *fixture = *state;
    store_fixture_sql(fixture, fixture->schema[0] == '\0'
                                   ? "INSERT INTO sent_run (run) VALUES (x'0102')"
                                   : "INSERT INTO sent_run (run) VALUES ('\\x0102')");
    made_put(fixture, 1, "a@b");
    ids_are(fixture, "a@b", newest, 10, (const uint32_t[]){1, 0});
    fold(fixture, 2);
    ids_are(fixture, "a@b", newest, 10, (const uint32_t[]){1, 0});
}

static void a_full_batch_of_many_senders_is_indexed(void **state)
{
    static struct store_made made[RECORD_BATCH_RECORDS_MAX];
    static struct store_put puts[RECORD_BATCH_RECORDS_MAX];
    static char senders[RECORD_BATCH_RECORDS_MAX][32];
    const struct store_fixture *fixture = *state;
    for (uint32_t i = 0; i < RECORD_BATCH_RECORDS_MAX; i++) {
        (void)snprintf(senders[i], sizeof(senders[i]), "p%u@d%u.example", i % 300, i % 3);
        made_fill(&made[i], i + 1, senders[i]);
        puts[i] = made[i].put;
    }
    assert_int_equal(store_register_batch(fixture->store, puts, RECORD_BATCH_RECORDS_MAX), 0);
    ids_are(fixture, "p7@d1.example", newest, 10, (const uint32_t[]){308, 8, 0});
    fold(fixture, 1);
    ids_are(fixture, "p7@d1.example", newest, 10, (const uint32_t[]){308, 8, 0});
    assert_int_equal(store_fixture_number(fixture, "SELECT sum(count) FROM report"),
                     RECORD_BATCH_RECORDS_MAX);
    assert_int_equal(store_fixture_number(fixture, "SELECT count(*) FROM report"), 3);
    assert_int_equal(store_fixture_number(fixture, "SELECT count(*) FROM report_user"), 300);
}

/* As a database of the version before has it: no run, no opening. */
static void before_make(const struct store_fixture *fixture)
{
    store_fixture_sql(fixture, "DELETE FROM sent_run");
    store_fixture_sql(fixture, fixture->schema[0] == '\0'
                                   ? "INSERT INTO sent_back SELECT x'00', max(id) FROM envelope"
                                   : "INSERT INTO sent_back SELECT '\\x00', id FROM envelope"
                                     " ORDER BY id DESC LIMIT 1");
}

static void what_was_there_before_comes_into_the_index(void **state)
{
    const struct store_fixture *fixture = *state;
    bool more = true;
    uint32_t rounds = 0;
    for (uint32_t n = 1; n <= 70; n++)
        made_put(fixture, n, n % 2 == 0 ? "a@b" : "c@d");
    before_make(fixture);
    ids_are(fixture, "a@b", newest, 10, (const uint32_t[]){0});
    for (; more && rounds < 10; rounds++)
        assert_int_equal(store_sent_back(fixture->store, &more), 0);
    assert_int_equal(rounds, 3);
    assert_int_equal(store_fixture_number(fixture, "SELECT count(*) FROM sent_back"), 0);
    fold(fixture, 3);
    ids_are(fixture, "a@b", newest, 3, (const uint32_t[]){70, 68, 66, 0});
    assert_int_equal(store_fixture_number(fixture, "SELECT count(*) FROM sent"), 70);
}

static void a_damaged_row_of_before_is_passed_over(void **state)
{
    const struct store_fixture *fixture = *state;
    bool more = true;
    uint32_t rounds = 0;
    for (uint32_t n = 1; n <= 40; n++)
        made_put(fixture, n, "a@b");
    before_make(fixture);
    /* The last of the first write, and one behind it. */
    store_fixture_sql(fixture, fixture->schema[0] == '\0'
                                   ? "UPDATE envelope SET record = x'ff' WHERE id IN"
                                     " (x'00000020000070008000000000000000',"
                                     " x'00000022000070008000000000000000')"
                                   : "UPDATE envelope SET record = '\\xff' WHERE id IN"
                                     " ('\\x00000020000070008000000000000000',"
                                     " '\\x00000022000070008000000000000000')");
    for (; more && rounds < 10; rounds++)
        assert_int_equal(store_sent_back(fixture->store, &more), 0);
    assert_int_equal(rounds, 2);
    assert_int_equal(store_fixture_number(fixture, "SELECT count(*) FROM sent_back"), 0);
    fold(fixture, 2);
    ids_are(fixture, "a@b", newest, 8, (const uint32_t[]){40, 39, 38, 37, 36, 35, 33, 31, 0});
    assert_int_equal(store_fixture_number(fixture, "SELECT count(*) FROM sent"), 38);
}

/* --- openings --- */

struct seen {
    uint32_t count;
    struct store_opening last;
};

static void opening_see(void *context, const struct store_opening *opening)
{
    struct seen *seen = context;
    seen->count++;
    seen->last = *opening;
}

static void envelope_get(const struct store_fixture *fixture, uint32_t number,
                         struct store_envelope *envelope)
{
    struct store_made made;
    made_fill(&made, number, "a@b");
    assert_int_equal(store_envelope_get(fixture->store, made.record.id, envelope), 0);
}

static void openings_are_counted_for_each_address(void **state)
{
    const struct store_fixture *fixture = *state;
    struct store_envelope envelope;
    struct store_sent sent;
    struct seen seen = {.count = 0};
    made_put(fixture, 1, "a@b");
    envelope_get(fixture, 1, &envelope);
    for (uint64_t n = 0; n < 3; n++)
        assert_int_equal(store_opening_note(fixture->store, &envelope, BOB,
                                            n == 2 ? OPENING_ONLINE : OPENING_RELEASED, NOW_MS + n,
                                            NULL),
                         0);
    assert_int_equal(store_opening_list(fixture->store, envelope.id, opening_see, &seen), 0);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.last.address, BOB);
    assert_int_equal(seen.last.first_unix_ms, NOW_MS);
    assert_int_equal(seen.last.last_unix_ms, NOW_MS + 2);
    assert_int_equal(seen.last.times, 3);
    assert_int_equal(seen.last.how, OPENING_ONLINE | OPENING_RELEASED);
    assert_int_equal(
        store_opening_note(fixture->store, &envelope, EVE, OPENING_RELEASED, NOW_MS, NULL), 0);
    assert_int_equal(store_sent_get(fixture->store, envelope.id, "a@b", NULL, &sent), 0);
    assert_int_equal(sent.readers_count, 2);
    assert_int_equal(sent.recipients_count, 1);
    /* A message is counted as opened when its first reader has. */
    assert_int_equal(store_fixture_number(fixture, "SELECT sum(count) FROM report WHERE kind = 1"),
                     1);
}

static void after_a_lock_no_opening_is_noted(void **state)
{
    const struct store_fixture *fixture = *state;
    struct store_envelope envelope;
    struct seen seen = {.count = 0};
    made_put(fixture, 1, "a@b");
    envelope_get(fixture, 1, &envelope); /* as one who asks does, before the lock */
    assert_int_equal(store_envelope_lock(fixture->store, envelope.id, true), 0);
    assert_int_equal(store_opening_note(fixture->store, &envelope, BOB, OPENING_RELEASED, NOW_MS,
                                        NULL),
                     -EACCES);
    assert_int_equal(store_opening_list(fixture->store, envelope.id, opening_see, &seen), 0);
    assert_int_equal(seen.count, 0);
    assert_int_equal(store_envelope_lock(fixture->store, envelope.id, false), 0);
    assert_int_equal(
        store_opening_note(fixture->store, &envelope, BOB, OPENING_RELEASED, NOW_MS, NULL), 0);
}

static void a_lock_for_one_recipient_is_nobody_elses(void **state)
{
    const struct store_fixture *fixture = *state;
    struct store_envelope envelope;
    struct seen seen = {.count = 0};
    made_put(fixture, 1, "a@b");
    envelope_get(fixture, 1, &envelope);
    assert_int_equal(store_opening_check(fixture->store, envelope.id, BOB), 0);
    assert_int_equal(store_opening_lock(fixture->store, envelope.id, BOB, true), 0);
    assert_int_equal(store_opening_check(fixture->store, envelope.id, BOB), -EACCES);
    assert_int_equal(store_opening_check(fixture->store, envelope.id, EVE), 0);
    assert_int_equal(store_opening_note(fixture->store, &envelope, BOB, OPENING_RELEASED, NOW_MS,
                                        NULL),
                     -EACCES);
    assert_int_equal(
        store_opening_note(fixture->store, &envelope, EVE, OPENING_RELEASED, NOW_MS, NULL), 0);
    assert_int_equal(store_opening_lock(fixture->store, envelope.id, BOB, false), 0);
    assert_int_equal(
        store_opening_note(fixture->store, &envelope, BOB, OPENING_RELEASED, NOW_MS + 5, NULL), 0);
    assert_int_equal(store_opening_list(fixture->store, envelope.id, opening_see, &seen), 0);
    assert_int_equal(seen.count, 2);
    assert_int_equal(store_fixture_number(fixture, "SELECT count(*) FROM opening WHERE times = 1"),
                     2);
}

static void changed_dates_are_those_of_the_envelope(void **state)
{
    const struct store_fixture *fixture = *state;
    struct store_envelope envelope;
    struct store_sent sent;
    struct store_made made;
    store_made_fill(&made, 1, BOB);
    assert_int_equal(store_made_put(fixture, &made), STORE_PUT_STORED);
    assert_int_equal(store_change_read_by(fixture->store, made.record.id, NOW_MS + 7), 0);
    assert_int_equal(store_envelope_get(fixture->store, made.record.id, &envelope), 0);
    assert_int_equal(envelope.expires_unix_ms, NOW_MS + 1);
    assert_int_equal(envelope.read_by_unix_ms, NOW_MS + 7);
    assert_int_equal(store_change_expires(fixture->store, made.record.id, 0), 0);
    assert_int_equal(store_sent_get(fixture->store, made.record.id, "a@b", NULL, &sent), 0);
    assert_int_equal(sent.envelope.expires_unix_ms, 0);
    assert_int_equal(sent.envelope.read_by_unix_ms, NOW_MS + 7);
    /* The record itself is as it was sent: the same batch is still the same. */
    assert_int_equal(store_made_put(fixture, &made), STORE_PUT_STORED);
}

static void only_the_sender_sees_a_message_and_finds_it_by_its_words(void **state)
{
    const struct store_fixture *fixture = *state;
    struct store_sent sent;
    struct store_made made;
    made_fill(&made, 1, "A@B");
    made.record.subject = (const uint8_t *)"The Figures";
    made.record.subject_bytes = 11;
    made.put.wire_bytes = (uint32_t)record_write(made.wire, sizeof(made.wire), &made.record);
    assert_int_equal(store_made_put(fixture, &made), STORE_PUT_STORED);
    assert_int_equal(store_sent_get(fixture->store, made.record.id, "a@b", NULL, &sent), 0);
    assert_string_equal(sent.envelope.subject, "The Figures");
    assert_int_equal(store_sent_get(fixture->store, made.record.id, "c@d", NULL, &sent), -ENOENT);
    assert_int_equal(store_sent_get(fixture->store, newest, "a@b", NULL, &sent), -ENOENT);
    assert_int_equal(store_sent_get(fixture->store, made.record.id, "a@b", "FIGURE", &sent), 0);
    assert_int_equal(store_sent_get(fixture->store, made.record.id, "a@b", "BOB@", &sent), 0);
    assert_int_equal(store_sent_get(fixture->store, made.record.id, "a@b", "eve", &sent), -ENODATA);
}

static void several_are_looked_up_each_with_its_own_result(void **state)
{
    static struct store_sent_look looks[STORE_SENT_BURST];
    static const uint64_t patiences_ns[] = {UINT64_MAX, 0}; /* alone; side by side from the first */
    const struct store_fixture *fixture = *state;
    for (uint32_t i = 0; i < STORE_SENT_BURST; i += 2)
        made_put(fixture, i + 1, i % 4 == 0 ? "a@b" : "c@d");
    for (size_t turn = 0; turn < ARRAY_COUNT(patiences_ns); turn++) {
        for (uint32_t i = 0; i < STORE_SENT_BURST; i++) {
            struct store_made made;
            made_fill(&made, i + 1, "a@b");
            memcpy(looks[i].id, made.record.id, RECORD_ID_BYTES);
            looks[i].rc = 1;
            looks[i].sent.recipients_count = 0;
        }
        store_sent_burst(fixture->store, looks, STORE_SENT_BURST, "a@b", NULL, patiences_ns[turn]);
        for (uint32_t i = 0; i < STORE_SENT_BURST; i++) {
            assert_int_equal(looks[i].rc, i % 4 == 0 ? 0 : -ENOENT); /* another's; none at all */
            if (looks[i].rc == 0) {
                assert_memory_equal(looks[i].sent.envelope.id, looks[i].id, RECORD_ID_BYTES);
                assert_string_equal(looks[i].sent.envelope.sender, "a@b");
                assert_int_equal(looks[i].sent.recipients_count, 1);
            }
        }
    }
    store_sent_burst(fixture->store, looks, 0, "a@b", NULL, 0);
}

struct notices {
    uint32_t count;
    struct store_notice last;
};

static void notice_see(void *context, const struct store_notice *notice)
{
    struct notices *notices = context;
    notices->count++;
    notices->last = *notice;
}

static struct notices notices_list(const struct store_fixture *fixture)
{
    struct notices notices = {.count = 0};
    assert_int_equal(store_notice_list(fixture->store, 10, notice_see, &notices), 0);
    return notices;
}

static void a_receipt_is_due_once_for_each_recipient_who_opens(void **state)
{
    const struct store_fixture *fixture = *state;
    struct store_envelope envelope;
    made_put(fixture, 1, "a@b");
    envelope_get(fixture, 1, &envelope);
    assert_int_equal(
        store_opening_note(fixture->store, &envelope, BOB, OPENING_RELEASED, NOW_MS, NULL), 0);
    assert_int_equal(notices_list(fixture).count, 0); /* not asked for */
    envelope.flags |= RECORD_FLAG_RECEIPT;
    for (int n = 0; n < 3; n++)
        assert_int_equal(store_opening_note(fixture->store, &envelope, EVE, OPENING_RELEASED,
                                            NOW_MS + 1, NULL),
                         0);
    struct notices notices = notices_list(fixture);
    assert_int_equal(notices.count, 1);
    assert_int_equal(notices.last.kind, NOTICE_OPENED);
    assert_string_equal(notices.last.address, EVE);
    assert_memory_equal(notices.last.id, envelope.id, RECORD_ID_BYTES);
    assert_int_equal(store_notice_end(fixture->store, &notices.last, NULL, NOW_MS), 0);
    assert_int_equal(store_notice_end(fixture->store, &notices.last, NULL, NOW_MS), -ENOENT);
    assert_int_equal(notices_list(fixture).count, 0);
}

static void a_notice_goes_with_its_mail_or_stays(void **state)
{
    const struct store_fixture *fixture = *state;
    static const uint8_t id[OUTBOX_ID_BYTES] = {7};
    const char *to = "a@b.example";
    struct store_envelope envelope;
    const struct outbox_mail mail = {.id = id,
                                     .from_envelope = "",
                                     .to = &to,
                                     .to_count = 1,
                                     .mail = "From: x\r\n\r\n",
                                     .mail_bytes = 11,
                                     .kind = OUTBOX_NOTICE};
    made_put(fixture, 1, "a@b");
    envelope_get(fixture, 1, &envelope);
    envelope.flags |= RECORD_FLAG_RECEIPT;
    assert_int_equal(
        store_opening_note(fixture->store, &envelope, BOB, OPENING_RELEASED, NOW_MS, NULL), 0);
    const struct notices notices = notices_list(fixture);
    assert_int_equal(store_notice_end(fixture->store, &notices.last, &mail, NOW_MS), 0);
    /* Whoever comes second, after a crash or from another node, sends nothing. */
    assert_int_equal(store_notice_end(fixture->store, &notices.last, &mail, NOW_MS), -ENOENT);
    assert_int_equal(store_fixture_number(fixture, "SELECT count(*) FROM outbox_to"), 1);
    assert_int_equal(notices_list(fixture).count, 0);
}

static void unread_find(const struct store_fixture *fixture, uint64_t now_ms, uint32_t expected)
{
    uint32_t count = 0;
    assert_int_equal(store_unread_find(fixture->store, now_ms, &count), 0);
    assert_int_equal(count, expected);
}

static void an_unread_message_is_told_of_once_at_its_date(void **state)
{
    const struct store_fixture *fixture = *state;
    struct store_made made;
    made_fill(&made, 1, "a@b");
    made.record.read_by_unix_ms = NOW_MS + 10;
    made.put.wire_bytes = (uint32_t)record_write(made.wire, sizeof(made.wire), &made.record);
    assert_int_equal(store_made_put(fixture, &made), STORE_PUT_STORED);
    fold(fixture, 1);
    unread_find(fixture, NOW_MS + 9, 0);
    unread_find(fixture, NOW_MS + 10, 1);
    unread_find(fixture, NOW_MS + 11, 0);
    assert_int_equal(notices_list(fixture).count, 1);
    assert_int_equal(notices_list(fixture).last.kind, NOTICE_UNREAD);
    /* A new date may be told of anew; the ones before it no more. */
    assert_int_equal(store_change_read_by(fixture->store, made.record.id, NOW_MS + 20), 0);
    assert_int_equal(store_change_read_by(fixture->store, made.record.id, NOW_MS + 30), 0);
    unread_find(fixture, NOW_MS + 25, 1);
    assert_int_equal(notices_list(fixture).count, 1);
    unread_find(fixture, NOW_MS + 30, 1);
    assert_int_equal(notices_list(fixture).count, 2);
    assert_int_equal(store_change_read_by(fixture->store, made.record.id, 0), 0);
    unread_find(fixture, NOW_MS + 99, 0);
}

/* Who opened it before openings were noted is not known: nobody is told a wrong thing. */
static void a_date_of_before_the_index_is_not_told_of(void **state)
{
    const struct store_fixture *fixture = *state;
    struct store_made made;
    bool more = true;
    for (uint32_t n = 1; n <= 2; n++) {
        made_fill(&made, n, "a@b");
        made.record.read_by_unix_ms = NOW_MS + 9 + n;
        made.put.wire_bytes = (uint32_t)record_write(made.wire, sizeof(made.wire), &made.record);
        assert_int_equal(store_made_put(fixture, &made), STORE_PUT_STORED);
    }
    before_make(fixture);
    assert_int_equal(store_sent_back(fixture->store, &more), 0);
    fold(fixture, 1);
    ids_are(fixture, "a@b", newest, 3, (const uint32_t[]){2, 1, 0});
    unread_find(fixture, NOW_MS + 12, 0);
    assert_int_equal(notices_list(fixture).count, 0);
    /* A date that its sender sets from now on is. */
    assert_int_equal(store_change_read_by(fixture->store, made.record.id, NOW_MS + 20), 0);
    unread_find(fixture, NOW_MS + 20, 1);
    assert_int_equal(notices_list(fixture).count, 1);
}

static void nothing_is_left_of_an_envelope_that_is_removed(void **state)
{
    const struct store_fixture *fixture = *state;
    struct store_envelope envelope;
    made_put(fixture, 1, "A@b");
    fold(fixture, 1);
    envelope_get(fixture, 1, &envelope);
    envelope.flags |= RECORD_FLAG_RECEIPT;
    assert_int_equal(store_change_expires(fixture->store, envelope.id, NOW_MS), 0);
    assert_int_equal(
        store_opening_note(fixture->store, &envelope, BOB, OPENING_RELEASED, NOW_MS, NULL), 0);
    assert_int_equal(store_envelope_remove(fixture->store, envelope.id), 0);
    assert_int_equal(store_envelope_remove(fixture->store, envelope.id), -ENOENT);
    assert_int_equal(store_fixture_number(fixture, "SELECT (SELECT count(*) FROM envelope)"
                                                   " + (SELECT count(*) FROM sent)"
                                                   " + (SELECT count(*) FROM sent_change)"
                                                   " + (SELECT count(*) FROM opening)"
                                                   " + (SELECT count(*) FROM notice)"),
                     0);
}

/* --- reports --- */

struct report {
    uint32_t rows_count;
    struct store_report_row rows[8];
};

static void report_see(void *context, const struct store_report_row *row)
{
    struct report *report = context;
    assert_true(report->rows_count < ARRAY_COUNT(report->rows));
    report->rows[report->rows_count++] = *row;
}

static struct report report_get(const struct store_fixture *fixture, enum store_report_by by,
                                uint32_t first, uint32_t last)
{
    struct report report = {.rows_count = 0};
    assert_int_equal(store_report_list(fixture->store, by, first, last, report_see, &report), 0);
    return report;
}

static void reports_add_up_by_day_policy_domain_and_user(void **state)
{
    const struct store_fixture *fixture = *state;
    struct store_envelope envelope;
    made_put(fixture, 1, "a@b");
    made_put(fixture, 2, "\"c\\d\"@B");
    made_put(fixture, 3, "a@e");
    fold(fixture, 3);
    envelope_get(fixture, 1, &envelope);
    assert_int_equal(
        store_report_count(fixture->store, REPORT_EXPIRED, &envelope, NOW_MS + SENT_DAY_MS), 0);
    assert_int_equal(
        store_report_count(fixture->store, REPORT_EXPIRED, &envelope, NOW_MS + SENT_DAY_MS), 0);
    struct report report = report_get(fixture, REPORT_BY_DAY, DAY, DAY + 1);
    assert_int_equal(report.rows_count, 2);
    assert_int_equal(report.rows[0].day, DAY);
    assert_int_equal(report.rows[0].counts[REPORT_SEALED], 3);
    assert_int_equal(report.rows[1].counts[REPORT_SEALED], 0);
    assert_int_equal(report.rows[1].counts[REPORT_EXPIRED], 2);
    report = report_get(fixture, REPORT_BY_DOMAIN, DAY, DAY);
    assert_int_equal(report.rows_count, 2);
    assert_string_equal(report.rows[0].name, "b");
    assert_int_equal(report.rows[0].counts[REPORT_SEALED], 2);
    report = report_get(fixture, REPORT_BY_POLICY, DAY, DAY + 1);
    assert_int_equal(report.rows_count, 1);
    assert_string_equal(report.rows[0].name, "p");
    assert_int_equal(report.rows[0].counts[REPORT_SEALED], 3);
    report = report_get(fixture, REPORT_BY_USER, DAY, DAY);
    assert_int_equal(report.rows_count, 3);
    assert_string_equal(report.rows[0].name, "\"c\\d\"@b");
    assert_string_equal(report.rows[1].name, "a@b");
    assert_int_equal(store_report_prune(fixture->store, NOW_MS + 401 * SENT_DAY_MS), 0);
    assert_int_equal(report_get(fixture, REPORT_BY_DAY, 0, DAY + 1).rows_count, 1);
}

static void a_month_begins_with_its_first_day(void **state)
{
    (void)state;
    assert_int_equal(store_report_month(0), 0);
    assert_int_equal(store_report_month(30), 0);
    assert_int_equal(store_report_month(31), 31);
    assert_int_equal(store_report_month(19789), 19783); /* 2024-03-07, after a 29th of February */
}

/* docs/format/sent-run.md, "Worked example". */
static void a_run_is_what_its_page_says(void **state)
{
    uint8_t example[512];
    uint8_t *run = NULL;
    uint32_t run_bytes = 0;
    struct store_made made;
    struct sent_run view;
    const struct record *record = &made.record;
    (void)state;
    made_fill(&made, 1, "A@b");
    assert_int_equal(sent_run_make(&record, 1, &run, &run_bytes), 0);
    const size_t bytes = format_example("docs/format/sent-run.md", example, sizeof(example));
    assert_int_equal(run_bytes, bytes);
    assert_memory_equal(run, example, bytes);
    assert_int_equal(sent_run_read(&view, run, run_bytes), 0);
    for (uint32_t cut = 0; cut < run_bytes; cut++)
        assert_int_equal(sent_run_read(&view, run, cut), -EBADMSG);
    for (uint32_t at = 4; at < 16; at++) { /* counts that the bytes behind them do not bear out */
        run[at] ^= 2;
        assert_int_equal(sent_run_read(&view, run, run_bytes), -EBADMSG);
        run[at] ^= 2;
    }
    free(run);
}

#define STORE_TEST(name)                                                                           \
    cmocka_unit_test_setup_teardown(name, store_fixture_setup, store_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(a_sender_sees_his_messages_before_and_after_they_are_indexed),
        STORE_TEST(a_batch_that_comes_again_is_indexed_and_counted_once),
        STORE_TEST(a_message_without_a_sender_is_nobodys),
        STORE_TEST(a_damaged_run_does_not_stand_in_the_way),
        STORE_TEST(a_full_batch_of_many_senders_is_indexed),
        STORE_TEST(what_was_there_before_comes_into_the_index),
        STORE_TEST(a_damaged_row_of_before_is_passed_over),
        STORE_TEST(openings_are_counted_for_each_address),
        STORE_TEST(after_a_lock_no_opening_is_noted),
        STORE_TEST(a_lock_for_one_recipient_is_nobody_elses),
        STORE_TEST(changed_dates_are_those_of_the_envelope),
        STORE_TEST(only_the_sender_sees_a_message_and_finds_it_by_its_words),
        STORE_TEST(several_are_looked_up_each_with_its_own_result),
        STORE_TEST(a_receipt_is_due_once_for_each_recipient_who_opens),
        STORE_TEST(a_notice_goes_with_its_mail_or_stays),
        STORE_TEST(an_unread_message_is_told_of_once_at_its_date),
        STORE_TEST(a_date_of_before_the_index_is_not_told_of),
        STORE_TEST(nothing_is_left_of_an_envelope_that_is_removed),
        STORE_TEST(reports_add_up_by_day_policy_domain_and_user),
        cmocka_unit_test(a_run_is_what_its_page_says),
        cmocka_unit_test(a_month_begins_with_its_first_day),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
