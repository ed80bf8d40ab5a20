#include "keyservice/server/store/store_row.h"

#include "base/bytes.h"
#include "tests/keyservice/format_example.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ID_AT  (RECORD_BATCH_HEAD_BYTES + 8)
#define KEY_AT (RECORD_BATCH_HEAD_BYTES + 56)

static uint8_t wire_again[STORE_ROW_WIRE_BYTES_MAX];

static void a_row_is_the_record_without_length_id_and_key(void **state)
{
    uint8_t batch[512];
    uint8_t expected[512];
    uint8_t row[512];
    struct record record;
    (void)state;
    const size_t batch_bytes =
        format_example("docs/format/key-batch.md", batch, sizeof(batch)) - RECORD_BATCH_HEAD_BYTES;
    const size_t expected_bytes =
        format_example("docs/format/key-row.md", expected, sizeof(expected));
    assert_int_equal(store_row_pack(row, batch + RECORD_BATCH_HEAD_BYTES, (uint32_t)batch_bytes),
                     expected_bytes);
    assert_memory_equal(row, expected, expected_bytes);

    assert_int_equal(store_row_read(&record, wire_again, batch + ID_AT, row, expected_bytes), 0);
    memset(batch + KEY_AT, 0, RECORD_KEY_BYTES_MAX);
    assert_memory_equal(wire_again + RECORD_BATCH_HEAD_BYTES, batch + RECORD_BATCH_HEAD_BYTES,
                        batch_bytes);
    assert_int_equal(record.recipients_count, 2);
    assert_memory_equal(record.id, batch + ID_AT, RECORD_ID_BYTES);
}

static void a_row_that_is_cut_or_changed_is_refused(void **state)
{
    uint8_t row[512];
    struct record record;
    const uint8_t id[RECORD_ID_BYTES] = {[6] = 0x70, [8] = 0x80};
    const uint8_t no_v7[RECORD_ID_BYTES] = {0};
    (void)state;
    const size_t bytes = format_example("docs/format/key-row.md", row, sizeof(row));
    assert_int_equal(store_row_read(&record, wire_again, id, row, bytes), 0);
    assert_int_equal(store_row_read(&record, wire_again, no_v7, row, bytes), -EBADMSG);
    assert_int_equal(store_row_read(&record, wire_again, id, NULL, bytes), -EBADMSG);
    for (size_t cut = 0; cut < bytes; cut++)
        assert_int_equal(store_row_read(&record, wire_again, id, row, cut), -EBADMSG);
    assert_int_equal(store_row_read(&record, wire_again, id, row, RECORD_BYTES_MAX), -EBADMSG);
    row[0] = 9; /* no such suite */
    assert_int_equal(store_row_read(&record, wire_again, id, row, bytes), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_is_the_record_without_length_id_and_key),
        cmocka_unit_test(a_row_that_is_cut_or_changed_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
