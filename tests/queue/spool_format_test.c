/* The format's worked example is what is written, and every bit of it counts. */
#include "queue/spool_format.h"

#include "tests/keyservice/format_example.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define LANE 3

static void example_header_is_what_is_written(void **state)
{
    (void)state;
    uint8_t example[256];
    const size_t bytes = format_example("docs/format/spool.md", example, sizeof(example));
    struct format_head head = {
        .kind = FORMAT_SEGMENT, .segment_number = 1, .epoch = 1, .lane = LANE};
    const struct format_tail tail = {.magic = FORMAT_MAGIC_TAIL};
    format_head_seal(&head);
    assert_int_equal(bytes, sizeof(head) + sizeof(tail));
    assert_memory_equal(example, &head, sizeof(head));
    assert_memory_equal(example + sizeof(head), &tail, sizeof(tail));
    assert_true(format_record_is(example, bytes, LANE, 0));
}

static void every_flipped_bit_is_no_record(void **state)
{
    (void)state;
    uint8_t example[256];
    const size_t bytes = format_example("docs/format/spool.md", example, sizeof(example));
    for (size_t bit = 0; bit < 8 * bytes; bit++) {
        example[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        assert_false(format_record_is(example, bytes, LANE, 0));
        example[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    }
    for (size_t short_by = 1; short_by <= bytes; short_by++)
        assert_false(format_record_is(example, bytes - short_by, LANE, 0));
}

static void another_place_or_lane_is_no_record(void **state)
{
    (void)state;
    uint8_t example[256];
    const size_t bytes = format_example("docs/format/spool.md", example, sizeof(example));
    assert_false(format_record_is(example, bytes, LANE, 4096));
    assert_false(format_record_is(example, bytes, LANE + 1, 0));
}

static void unknown_kinds_flags_and_lengths_are_no_records(void **state)
{
    (void)state;
    struct format_head head = {.kind = FORMAT_MAIL, .lane = LANE};
    format_head_seal(&head);
    assert_true(format_head_is(&head, LANE, 0));
    struct format_head wrong = head;
    wrong.kind = FORMAT_INDEX + 1;
    format_head_seal(&wrong);
    assert_false(format_head_is(&wrong, LANE, 0));
    wrong = head;
    wrong.flags = 2;
    format_head_seal(&wrong);
    assert_false(format_head_is(&wrong, LANE, 0));
    wrong = head;
    wrong.spans_count = SPOOL_SPANS_MAX + 1;
    format_head_seal(&wrong);
    assert_false(format_head_is(&wrong, LANE, 0));
    wrong = head;
    wrong.head_bytes = SPOOL_HEAD_BYTES_MAX + 1;
    format_head_seal(&wrong);
    assert_false(format_head_is(&wrong, LANE, 0));
    wrong = head;
    wrong.inline_bytes = 1;
    format_head_seal(&wrong);
    assert_false(format_head_is(&wrong, LANE, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(example_header_is_what_is_written),
        cmocka_unit_test(every_flipped_bit_is_no_record),
        cmocka_unit_test(another_place_or_lane_is_no_record),
        cmocka_unit_test(unknown_kinds_flags_and_lengths_are_no_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
