/* Batches of key records: what is written is read, and nothing malformed is. */
#include "keyservice/record.h"

#include "tests/keyservice/format_example.h"

#include "base/bytes.h"
#include "crypto/cobblestone.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TEST_BATCH_BYTES 4096
#define RECORD_AT        RECORD_BATCH_HEAD_BYTES

struct batch {
    uint8_t bytes_at[TEST_BATCH_BYTES];
    size_t bytes;
};

static const uint8_t test_recipients[] = "\x0d\x00"
                                         "b@example.org"
                                         "\x0d\x00"
                                         "c@example.net";

static struct record example_record(void)
{
    struct record record = {
        .suite = COBBLE_AES_256,
        .level = RECORD_LEVEL_HIGH,
        .flags = RECORD_FLAG_RECEIPT | RECORD_FLAG_REPLY,
        .sent_unix_ms = UINT64_C(1767323045678),
        .mail_bytes = 4096,
        .profile = (const uint8_t *)"default",
        .profile_bytes = 7,
        .sender = (const uint8_t *)"a@example.com",
        .sender_bytes = 13,
        .subject = (const uint8_t *)"Gr\xc3\xbc\xc3\x9f"
                                    "e",
        .subject_bytes = 7,
        .recipients = test_recipients,
        .recipients_bytes = sizeof(test_recipients) - 1,
        .recipients_count = 2,
    };
    static const uint8_t id_tail[] = {0x7a, 0xbc, 0x8d, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab};
    uint8_t stamp[8];
    bytes_store_be64(stamp, record.sent_unix_ms);
    memcpy(record.id, stamp + 2, 6);
    memcpy(record.id + 6, id_tail, sizeof(id_tail));
    for (uint8_t i = 0; i < RECORD_KEY_BYTES_MAX; i++)
        record.key[i] = i;
    return record;
}

static void batch_of(struct batch *batch, const struct record *record)
{
    memset(batch, 0, sizeof(*batch));
    batch->bytes =
        RECORD_AT + record_write(batch->bytes_at + RECORD_AT, TEST_BATCH_BYTES - RECORD_AT, record);
    assert_true(batch->bytes > RECORD_AT);
    record_batch_head(batch->bytes_at, 1, (uint32_t)batch->bytes);
}

/* As a service reads: head, records, nothing left over. */
static int batch_read(const struct batch *batch, struct record *record)
{
    uint32_t count;
    size_t offset = RECORD_AT;
    if (record_batch_check(batch->bytes_at, batch->bytes, &count) != 0)
        return -EBADMSG;
    for (uint32_t i = 0; i < count; i++) {
        if (record_read(record, batch->bytes_at, batch->bytes, &offset) != 0)
            return -EBADMSG;
    }
    return offset == batch->bytes ? 0 : -EBADMSG;
}

static void record_reads_what_was_written(void **state)
{
    (void)state;
    const struct record record = example_record();
    struct record found;
    struct batch batch;
    batch_of(&batch, &record);
    assert_int_equal(batch_read(&batch, &found), 0);
    assert_int_equal(found.suite, record.suite);
    assert_int_equal(found.level, record.level);
    assert_int_equal(found.flags, record.flags);
    assert_memory_equal(found.id, record.id, RECORD_ID_BYTES);
    assert_memory_equal(found.key, record.key, RECORD_KEY_BYTES_MAX);
    assert_int_equal(found.sent_unix_ms, record.sent_unix_ms);
    assert_int_equal(found.mail_bytes, record.mail_bytes);
    assert_int_equal(found.sender_bytes, 13);
    assert_memory_equal(found.sender, "a@example.com", 13);
    assert_int_equal(found.subject_bytes, 7);
    assert_memory_equal(found.subject, record.subject, 7);

    const uint8_t *address;
    uint16_t address_bytes;
    uint32_t offset = 0;
    assert_true(record_recipient(&found, &offset, &address, &address_bytes));
    assert_int_equal(address_bytes, 13);
    assert_memory_equal(address, "b@example.org", 13);
    assert_true(record_recipient(&found, &offset, &address, &address_bytes));
    assert_memory_equal(address, "c@example.net", 13);
    assert_false(record_recipient(&found, &offset, &address, &address_bytes));
}

static void record_writes_the_example_of_the_document(void **state)
{
    (void)state;
    const struct record record = example_record();
    struct batch batch;
    uint8_t expected[512];
    batch_of(&batch, &record);
    const size_t expected_bytes =
        format_example("docs/format/key-batch.md", expected, sizeof(expected));
    assert_int_equal(batch.bytes, expected_bytes);
    assert_memory_equal(batch.bytes_at, expected, expected_bytes);
}

static void record_refuses_to_write_past_the_room(void **state)
{
    (void)state;
    const struct record record = example_record();
    uint8_t dst[512];
    const size_t bytes = record_write(dst, sizeof(dst), &record);
    assert_int_not_equal(bytes, 0);
    assert_int_equal(record_write(dst, bytes - 1, &record), 0);
    assert_int_equal(record_write(dst, bytes, &record), bytes);
}

static void record_refuses_every_cut(void **state)
{
    (void)state;
    const struct record record = example_record();
    struct record found;
    struct batch batch;
    batch_of(&batch, &record);
    const size_t whole = batch.bytes;
    for (batch.bytes = 0; batch.bytes < whole; batch.bytes++) {
        assert_int_equal(batch_read(&batch, &found), -EBADMSG);
        /* Also when the head says so itself. */
        if (batch.bytes >= RECORD_AT) {
            struct batch told = batch;
            bytes_store_le32(told.bytes_at + 8, (uint32_t)told.bytes);
            assert_int_equal(batch_read(&told, &found), -EBADMSG);
        }
    }
}

struct fault {
    size_t offset; /* in the batch */
    uint8_t bytes_at[8];
    size_t bytes;
};

static void record_refuses_every_field_out_of_range(void **state)
{
    (void)state;
    static const struct fault faults[] = {
        {0, {'X'}, 1},                                  /* magic                    */
        {4, {0}, 1},                                    /* no records               */
        {4, {2}, 1},                                    /* more than there are      */
        {4, {1, 2}, 2},                                 /* 513                      */
        {8, {1}, 1},                                    /* batch bytes              */
        {12, {1}, 1},                                   /* reserved                 */
        {RECORD_AT, {95}, 1},                           /* shorter than fixed part  */
        {RECORD_AT, {0x98}, 1},                         /* one short                */
        {RECORD_AT, {0x9a}, 1},                         /* one over                 */
        {RECORD_AT + 4, {0}, 1},                        /* suite                    */
        {RECORD_AT + 4, {3}, 1},                        /* AES-128                  */
        {RECORD_AT + 4, {2}, 1},                        /* AES-192 with 32 bytes    */
        {RECORD_AT + 5, {0}, 1},                        /* level                    */
        {RECORD_AT + 5, {4}, 1},                        /* level                    */
        {RECORD_AT + 6, {0x20}, 1},                     /* unknown flag             */
        {RECORD_AT + 7, {0x80}, 1},                     /* unknown flag             */
        {RECORD_AT + 14, {0x4a}, 1},                    /* UUIDv4                   */
        {RECORD_AT + 16, {0x0d}, 1},                    /* variant                  */
        {RECORD_AT + 24, {0, 0, 0, 0, 0, 0, 0, 0}, 8},  /* never sealed             */
        {RECORD_AT + 31, {0x80}, 1},                    /* 2^63                     */
        {RECORD_AT + 32, {1}, 1},                       /* expired before sealing   */
        {RECORD_AT + 40, {1}, 1},                       /* read by before sealing   */
        {RECORD_AT + 55, {0x80}, 1},                    /* 2^63 bytes               */
        {RECORD_AT + 88, {0}, 1},                       /* no profile               */
        {RECORD_AT + 89, {1}, 1},                       /* past the record          */
        {RECORD_AT + 90, {0x41, 1}, 2},                 /* sender of 321            */
        {RECORD_AT + 92, {1, 2}, 2},                    /* subject of 513           */
        {RECORD_AT + 92, {6}, 1},                       /* subject one short        */
        {RECORD_AT + 94, {0}, 1},                       /* no recipients            */
        {RECORD_AT + 94, {1}, 1},                       /* one left over            */
        {RECORD_AT + 94, {3}, 1},                       /* one too many             */
        {RECORD_AT + 96, {'\r'}, 1},                    /* control in profile       */
        {RECORD_AT + 103, {'\n'}, 1},                   /* control in sender        */
        {RECORD_AT + 116, {0x7f}, 1},                   /* control in subject       */
        {RECORD_AT + 118, {0xc2, 0x85}, 2},             /* C1 control               */
        {RECORD_AT + 118, {0xc0, 0xaf}, 2},             /* overlong                 */
        {RECORD_AT + 118, {0xff, 0xbc}, 2},             /* no lead byte             */
        {RECORD_AT + 116, {0xed, 0xa0, 0x80}, 3},       /* surrogate                */
        {RECORD_AT + 116, {0xf4, 0x90, 0x80, 0x80}, 4}, /* past U+10FFFF            */
        {RECORD_AT + 123, {0}, 1},                      /* empty recipient          */
        {RECORD_AT + 123, {0x0e}, 1},                   /* recipient's length off   */
        {RECORD_AT + 125, {0}, 1},                      /* NUL in recipient         */
    };
    const struct record record = example_record();
    for (size_t i = 0; i < ARRAY_COUNT(faults); i++) {
        struct record found = {.suite = 77};
        struct batch batch;
        batch_of(&batch, &record);
        assert_memory_not_equal(batch.bytes_at + faults[i].offset, faults[i].bytes_at,
                                faults[i].bytes);
        memcpy(batch.bytes_at + faults[i].offset, faults[i].bytes_at, faults[i].bytes);
        const int rc = batch_read(&batch, &found);
        if (rc != -EBADMSG)
            print_error("fault %zu at offset %zu was taken\n", i, faults[i].offset);
        assert_int_equal(rc, -EBADMSG);
    }
}

static void record_takes_an_aes_192_key_with_zero_filling(void **state)
{
    (void)state;
    struct record record = example_record();
    struct record found;
    struct batch batch;
    record.suite = COBBLE_AES_192;
    memset(record.key + 24, 0, 8);
    batch_of(&batch, &record);
    assert_int_equal(batch_read(&batch, &found), 0);
    assert_int_equal(found.suite, COBBLE_AES_192);
}

static void record_takes_the_null_sender_and_a_hidden_subject(void **state)
{
    (void)state;
    struct record record = example_record();
    struct record found;
    struct batch batch;
    record.sender_bytes = 0;
    record.subject_bytes = 0;
    record.expires_unix_ms = record.sent_unix_ms + 1;
    batch_of(&batch, &record);
    assert_int_equal(batch_read(&batch, &found), 0);
    assert_int_equal(found.sender_bytes, 0);
    assert_int_equal(found.expires_unix_ms, record.expires_unix_ms);
}

static void record_refuses_bytes_left_over_after_the_last(void **state)
{
    (void)state;
    const struct record record = example_record();
    struct record found;
    struct batch batch;
    batch_of(&batch, &record);
    batch.bytes += 96;
    bytes_store_le32(batch.bytes_at + 8, (uint32_t)batch.bytes);
    assert_int_equal(batch_read(&batch, &found), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(record_reads_what_was_written),
        cmocka_unit_test(record_writes_the_example_of_the_document),
        cmocka_unit_test(record_refuses_to_write_past_the_room),
        cmocka_unit_test(record_refuses_every_cut),
        cmocka_unit_test(record_refuses_every_field_out_of_range),
        cmocka_unit_test(record_takes_an_aes_192_key_with_zero_filling),
        cmocka_unit_test(record_takes_the_null_sender_and_a_hidden_subject),
        cmocka_unit_test(record_refuses_bytes_left_over_after_the_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
