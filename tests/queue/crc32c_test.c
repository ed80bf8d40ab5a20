/* CRC32C against published vectors, and the fast form against the definition. */
#include "queue/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* RFC 3720, B.4, read as little-endian numbers. */
static void published_vectors_match(void **state)
{
    (void)state;
    uint8_t bytes[32];
    memset(bytes, 0, sizeof(bytes));
    assert_int_equal(crc32c(0, bytes, 32), 0x8a9136aa);
    memset(bytes, 0xff, sizeof(bytes));
    assert_int_equal(crc32c(0, bytes, 32), 0x62a8ab43);
    for (uint8_t n = 0; n < 32; n++)
        bytes[n] = n;
    assert_int_equal(crc32c(0, bytes, 32), 0x46dd794e);
    for (uint8_t n = 0; n < 32; n++)
        bytes[n] = (uint8_t)(31 - n);
    assert_int_equal(crc32c(0, bytes, 32), 0x113fdb5c);
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c(0, "", 0), 0);
}

static void fast_equals_plain_at_every_length_and_alignment(void **state)
{
    (void)state;
    uint8_t bytes[1024];
    uint32_t x = 1;
    for (size_t n = 0; n < sizeof(bytes); n++) {
        x = x * 1664525 + 1013904223;
        bytes[n] = (uint8_t)(x >> 24);
    }
    for (size_t from = 0; from < 16; from++)
        for (size_t length = 0; length <= 1000; length++) {
            const uint32_t plain = crc32c_plain(7, bytes + from, length);
            assert_int_equal(crc32c(7, bytes + from, length), plain);
            assert_int_equal(crc32c_narrow(7, bytes + from, length), plain);
        }
}

/* Around the lengths at which more than one piece goes side by side. */
static void fast_equals_plain_over_long_pieces(void **state)
{
    (void)state;
    static uint8_t bytes[3 * 3072 + 600];
    uint32_t x = 7;
    for (size_t n = 0; n < sizeof(bytes); n++) {
        x = x * 1664525 + 1013904223;
        bytes[n] = (uint8_t)(x >> 24);
    }
    for (size_t pieces = 1; pieces <= 3; pieces++)
        for (size_t length = 3072 * pieces - 20; length <= 3072 * pieces + 20; length++) {
            const uint32_t plain = crc32c_plain(0x1234567, bytes + pieces, length);
            assert_int_equal(crc32c(0x1234567, bytes + pieces, length), plain);
            assert_int_equal(crc32c_narrow(0x1234567, bytes + pieces, length), plain);
        }
}

static void a_copy_is_whole_and_summed_at_every_length(void **state)
{
    (void)state;
    uint8_t bytes[1024];
    uint8_t copy[1024];
    uint8_t expected[1024];
    uint32_t x = 3;
    for (size_t n = 0; n < sizeof(bytes); n++) {
        x = x * 1664525 + 1013904223;
        bytes[n] = (uint8_t)(x >> 24);
    }
    for (size_t length = 0; length <= 1000; length++) {
        const size_t from = length % 17;
        const size_t to = length % 23;
        memset(copy, 0xa5, sizeof(copy));
        memset(expected, 0xa5, sizeof(expected));
        memcpy(expected + to, bytes + from, length);
        assert_int_equal(crc32c_copy_out(7, copy + to, bytes + from, length),
                         crc32c_plain(7, bytes + from, length));
        crc32c_copied_out();
        assert_memory_equal(copy, expected, sizeof(copy)); /* and nothing beside it */
    }
}

static void spans_in_turn_are_the_whole(void **state)
{
    (void)state;
    const char text[] = "a checksum of several spans in turn";
    const uint32_t whole = crc32c(0, text, sizeof(text));
    for (size_t cut = 0; cut <= sizeof(text); cut++)
        assert_int_equal(crc32c(crc32c(0, text, cut), text + cut, sizeof(text) - cut), whole);
}

static void every_flipped_bit_is_told(void **state)
{
    (void)state;
    uint8_t bytes[128] = {1, 2, 3};
    const uint32_t whole = crc32c(0, bytes, sizeof(bytes));
    for (uint32_t bit = 0; bit < 8 * sizeof(bytes); bit++) {
        bytes[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        assert_int_not_equal(crc32c(0, bytes, sizeof(bytes)), whole);
        bytes[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_vectors_match),
        cmocka_unit_test(fast_equals_plain_at_every_length_and_alignment),
        cmocka_unit_test(fast_equals_plain_over_long_pieces),
        cmocka_unit_test(a_copy_is_whole_and_summed_at_every_length),
        cmocka_unit_test(spans_in_turn_are_the_whole),
        cmocka_unit_test(every_flipped_bit_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
