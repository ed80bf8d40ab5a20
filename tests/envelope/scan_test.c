#include "base/macros.h"
#include "envelope/scan.h"
#include "envelope/scan_internal.h"
#include "tests/envelope/mailgen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GUARD_BYTES 64
#define GUARD       0xa5

static const char dense[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\r\n";

/* Source in memory of exactly its size, guards around the destination. */
static size_t scan_guarded(scan_fn *scan, uint8_t *dst, const uint8_t *src, size_t src_bytes)
{
    uint8_t *copy = malloc(src_bytes + 1);

    assert_non_null(copy);
    memcpy(copy, src, src_bytes);
    memset(dst, GUARD, src_bytes + GUARD_BYTES);
    const size_t at = scan(dst, copy, src_bytes);
    for (size_t i = 0; i < GUARD_BYTES; i++)
        assert_int_equal(dst[src_bytes + i], GUARD);
    free(copy);
    return at;
}

static void same_everywhere(const uint8_t *src, size_t src_bytes)
{
    uint8_t *dst = malloc(src_bytes + GUARD_BYTES);

    assert_non_null(dst);
    const size_t expected = scan_guarded(scan_scalar, dst, src, src_bytes);
    assert_true(expected == src_bytes || expected % SCAN_BLOCK_BYTES == 0);
    for (int isa = ISA_SCALAR; isa <= (int)isa_best(); isa++) {
        assert_int_equal(scan_guarded(scan_for((enum isa)isa), dst, src, src_bytes), expected);
        assert_memory_equal(dst, src, expected);
    }
    free(dst);
}

static void scan_knows_every_byte_at_every_place(void **state)
{
    uint8_t src[5 * SCAN_BLOCK_BYTES];
    uint8_t dst[sizeof(src) + GUARD_BYTES];

    (void)state;
    for (uint32_t byte = 0; byte < 256; byte++) {
        const bool is_dense = byte != 0 && strchr(dense, (int)byte) != NULL;
        for (size_t at = 0; at < SCAN_BLOCK_BYTES * 3; at++) {
            /* Only the block with the byte may be dense; blanks and others before and after. */
            memset(src, at % 2 == 0 ? ' ' : '.', sizeof(src));
            memset(src + at / SCAN_BLOCK_BYTES * SCAN_BLOCK_BYTES, 'x', SCAN_BLOCK_BYTES);
            src[at] = (uint8_t)byte;
            const size_t expected =
                is_dense ? at / SCAN_BLOCK_BYTES * SCAN_BLOCK_BYTES : sizeof(src);
            assert_int_equal(scan_guarded(scan_scalar, dst, src, sizeof(src)), expected);
            same_everywhere(src, sizeof(src));
            same_everywhere(src, at + 1);
        }
    }
}

static void scan_agrees_on_random_bytes(void **state)
{
    struct mailgen gen = mailgen_seeded();
    uint8_t src[700];

    (void)state;
    for (uint32_t round = 0; round < 20000; round++) {
        const size_t src_bytes = mailgen_below(&gen, sizeof(src));
        const uint32_t rarity = 1 + mailgen_below(&gen, 60);
        for (size_t i = 0; i < src_bytes; i++)
            src[i] = mailgen_below(&gen, rarity) == 0
                         ? (uint8_t)mailgen_next(&gen)
                         : (uint8_t)dense[mailgen_below(&gen, sizeof(dense) - 1)];
        same_everywhere(src, src_bytes);
    }
}

static void corpus_message(const uint8_t *mail, size_t mail_bytes, void *context)
{
    (void)context;
    for (size_t at = 0; at < mail_bytes; at += 1 + mail_bytes / 5)
        same_everywhere(mail + at, mail_bytes - at);
}

static void scan_agrees_on_the_corpus(void **state)
{
    (void)state;
    if (!mailgen_corpus(corpus_message, NULL))
        skip();
}

static void scan_outside_names_each_byte(void **state)
{
    uint8_t block[SCAN_BLOCK_BYTES];

    (void)state;
    for (uint32_t byte = 0; byte < 256; byte++) {
        const bool is_dense = byte != 0 && strchr(dense, (int)byte) != NULL;
        for (uint32_t at = 0; at < SCAN_BLOCK_BYTES; at++) {
            memset(block, 'A', sizeof(block));
            block[at] = (uint8_t)byte;
            assert_int_equal(scan_outside(block), is_dense ? 0 : UINT32_C(1) << at);
        }
    }
    /* With a blank only blanks are named. */
    memset(block, '.', sizeof(block));
    block[7] = ' ';
    assert_int_equal(scan_outside(block), 1 << 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scan_knows_every_byte_at_every_place),
        cmocka_unit_test(scan_agrees_on_random_bytes),
        cmocka_unit_test(scan_agrees_on_the_corpus),
        cmocka_unit_test(scan_outside_names_each_byte),
    };
    return mailgen_verdict(cmocka_run_group_tests(tests, NULL, NULL));
}
