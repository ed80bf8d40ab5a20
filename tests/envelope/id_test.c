#include "envelope/id.h"

#include "base/clock.h"
#include "base/macros.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct crypto_core *core;

static int setup(void **state)
{
    (void)state;
    return crypto_core_open(&core, isa_best());
}

static int teardown(void **state)
{
    (void)state;
    crypto_core_close(core);
    return 0;
}

static void id_is_a_uuid_of_version_7(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 1000; i++) {
        struct id id;
        id_make(&id, core, UINT64_C(1700000000123456789) + i * UINT64_C(997001));
        assert_int_equal(id.bytes[6] >> 4, 7);
        assert_int_equal(id.bytes[8] >> 6, 2);
    }
}

/* RFC 9562, 6.2, method 3: the fraction of the millisecond, in 4096 steps. */
static void id_carries_its_time(void **state)
{
    static const struct {
        uint64_t unix_ns;
        uint8_t expected[8];
    } times[] = {
        {0, {0, 0, 0, 0, 0, 0, 0x70, 0}},
        {NS_PER_MS, {0, 0, 0, 0, 0, 1, 0x70, 0}},
        {NS_PER_MS - 1, {0, 0, 0, 0, 0, 0, 0x7f, 0xff}},
        {NS_PER_MS / 2, {0, 0, 0, 0, 0, 0, 0x78, 0}},
        /* RFC 9562, A.6: 2022-02-22T19:22:22.00Z */
        {UINT64_C(1645557742000) * NS_PER_MS, {0x01, 0x7f, 0x22, 0xe2, 0x79, 0xb0, 0x70, 0}},
        {UINT64_MAX, {0x10, 0xc6, 0xf7, 0xa0, 0xb5, 0xed, 0x78, 0xd3}},
    };

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(times); i++) {
        struct id id;
        id_make(&id, core, times[i].unix_ns);
        assert_memory_equal(id.bytes, times[i].expected, 8);
    }
}

static void id_ascends_with_time(void **state)
{
    struct id before;

    (void)state;
    id_make(&before, core, NS_PER_S);
    for (uint32_t i = 1; i < 1000; i++) {
        struct id id;
        id_make(&id, core, NS_PER_S + i * UINT64_C(1000)); /* four steps of 244 ns apart */
        assert_true(memcmp(before.bytes, id.bytes, ID_BYTES) < 0);
        before = id;
    }
}

static void id_cannot_be_guessed_from_another(void **state)
{
    uint8_t seen_or[8] = {0};
    uint8_t seen_and[8];
    struct id ids[64];

    (void)state;
    memset(seen_and, 0xff, sizeof(seen_and));
    for (uint32_t i = 0; i < ARRAY_COUNT(ids); i++) {
        id_make(&ids[i], core, NS_PER_S);
        for (uint32_t k = 0; k < i; k++)
            assert_memory_not_equal(ids[i].bytes + 8, ids[k].bytes + 8, 8);
        for (uint32_t k = 0; k < 8; k++) {
            seen_or[k] |= ids[i].bytes[8 + k];
            seen_and[k] &= ids[i].bytes[8 + k];
        }
    }
    /* All 62 bits take both values, but for a chance of 2^-57. */
    assert_int_equal(seen_or[0], 0xbf);
    assert_int_equal(seen_and[0], 0x80);
    for (uint32_t k = 1; k < 8; k++) {
        assert_int_equal(seen_or[k], 0xff);
        assert_int_equal(seen_and[k], 0);
    }
}

static void id_goes_through_hex(void **state)
{
    static const char hex[] = "017f22e279b07cc398c4dc0c0c07398f";
    char again[ID_HEX_CHARS];
    struct id id;

    (void)state;
    assert_int_equal(id_from_hex(&id, hex, ID_HEX_CHARS), 0);
    assert_int_equal(id.bytes[0], 0x01);
    assert_int_equal(id.bytes[15], 0x8f);
    id_to_hex(again, &id);
    assert_memory_equal(again, hex, ID_HEX_CHARS);
}

static void id_refuses_other_hex(void **state)
{
    static const char *const bad[] = {
        "",
        "017f22e279b07cc398c4dc0c0c07398",
        "017f22e279b07cc398c4dc0c0c07398f0",
        "017F22E279B07CC398C4DC0C0C07398F",
        "017f22e279b07cc398c4dc0c0c07398g",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07",
        " 17f22e279b07cc398c4dc0c0c07398f",
        "017f22e279b07cc398c4dc0c0c07398\n",
    };
    struct id id = {.bytes = {0x5a}};

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_int_equal(id_from_hex(&id, bad[i], strlen(bad[i])), -EINVAL);
        assert_int_equal(id.bytes[0], 0x5a); /* untouched */
    }
}

static void id_makes_the_documented_context(void **state)
{
    static const uint8_t expected[ID_CONTEXT_BYTES] = {'b', 'u', 'l', 'l', 'a', '/', '1', 0, 2,
                                                       0,   1,   2,   3,   4,   5,   6,   7, 8,
                                                       9,   10,  11,  12,  13,  14,  15};
    struct id id;
    uint8_t context[ID_CONTEXT_BYTES];

    (void)state;
    for (uint32_t i = 0; i < ID_BYTES; i++)
        id.bytes[i] = (uint8_t)i;
    id_context(context, 2, &id);
    assert_memory_equal(context, expected, sizeof(expected));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(id_is_a_uuid_of_version_7),
        cmocka_unit_test(id_carries_its_time),
        cmocka_unit_test(id_ascends_with_time),
        cmocka_unit_test(id_cannot_be_guessed_from_another),
        cmocka_unit_test(id_goes_through_hex),
        cmocka_unit_test(id_refuses_other_hex),
        cmocka_unit_test(id_makes_the_documented_context),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
