/* The arena's allocator, against a model that is a byte for each granule. */
#include "queue/extent.h"

#include "base/macros.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define G              EXTENT_GRANULE_BYTES
#define MODEL_GRANULES 256
#define MODEL_EXTENTS  40

static void lowest_address_first(void **state)
{
    (void)state;
    struct extent_free gaps[9];
    struct extent extent;
    extent_init(&extent, gaps, 8, 10 * G);
    assert_int_equal(extent_take(&extent, 1), 0);
    assert_int_equal(extent_take(&extent, G), 1 * G);
    assert_int_equal(extent_take(&extent, G + 1), 2 * G);
    assert_int_equal(extent_take(&extent, 1), 4 * G);
    extent_give(&extent, 1 * G, G);
    extent_give(&extent, 0, 1);
    assert_int_equal(extent_take(&extent, 3 * G), 5 * G); /* does not fit before */
    assert_int_equal(extent_take(&extent, 2 * G), 0);
}

static void neighbours_join(void **state)
{
    (void)state;
    struct extent_free gaps[9];
    struct extent extent;
    extent_init(&extent, gaps, 8, 4 * G);
    for (uint32_t order = 0; order < 4; order++) {
        for (uint32_t n = 0; n < 4; n++)
            assert_int_equal(extent_take(&extent, G), n * G);
        assert_int_equal(extent.free_count, 0);
        assert_int_equal(extent_take(&extent, 1), EXTENT_NONE);
        for (uint32_t n = 0; n < 4; n++) /* four different orders of giving back */
            extent_give(&extent, (n * 3 + order) % 4 * G, G);
        assert_int_equal(extent.free_count, 1);
        assert_int_equal(extent.taken_count, 0);
        assert_int_equal(gaps[0].first, 0);
        assert_int_equal(gaps[0].count, 4);
    }
}

static void trim_gives_the_end_back(void **state)
{
    (void)state;
    struct extent_free gaps[9];
    struct extent extent;
    extent_init(&extent, gaps, 8, 10 * G);
    assert_int_equal(extent_take(&extent, 8 * G), 0);
    extent_trim(&extent, 0, 8 * G, 2 * G + 1);
    assert_int_equal(extent_take(&extent, 7 * G), 3 * G);
    assert_int_equal(extent_take(&extent, 1), EXTENT_NONE);
    extent_give(&extent, 0, 2 * G + 1);
    extent_trim(&extent, 3 * G, 7 * G, 7 * G - 1); /* within one granule: nothing to give */
    extent_give(&extent, 3 * G, 7 * G - 1);
    assert_int_equal(extent.free_count, 1);
    assert_int_equal(gaps[0].count, 10);
}

static void what_cannot_fit_is_declined(void **state)
{
    (void)state;
    struct extent_free gaps[4];
    struct extent extent;
    extent_init(&extent, gaps, 3, 8 * G);
    assert_int_equal(extent_take(&extent, 8 * G + 1), EXTENT_NONE);
    assert_int_equal(extent_take(&extent, UINT64_MAX), EXTENT_NONE);
    assert_int_equal(extent_take(&extent, UINT64_MAX - G), EXTENT_NONE);
    for (uint32_t n = 0; n < 3; n++)
        assert_int_not_equal(extent_take(&extent, 1), EXTENT_NONE);
    assert_int_equal(extent_take(&extent, 1), EXTENT_NONE); /* extents_max are out */
}

struct model_extent {
    uint64_t offset;
    uint64_t bytes;
};

struct model {
    uint8_t taken[MODEL_GRANULES];
    struct model_extent extents[MODEL_EXTENTS];
    uint32_t count;
};

static uint64_t model_fit(const struct model *model, uint64_t bytes)
{
    const uint64_t need = (bytes + G - 1) / G;
    uint64_t run = 0;
    if (model->count == MODEL_EXTENTS)
        return EXTENT_NONE;
    for (uint64_t n = 0; n < MODEL_GRANULES; n++) {
        run = model->taken[n] ? 0 : run + 1;
        if (run == need)
            return (n + 1 - need) * G;
    }
    return EXTENT_NONE;
}

static void model_mark(struct model *model, uint64_t offset, uint64_t bytes, uint8_t taken)
{
    for (uint64_t n = offset / G; n < offset / G + (bytes + G - 1) / G; n++) {
        assert_int_not_equal(model->taken[n], taken);
        model->taken[n] = taken;
    }
}

static uint32_t model_gaps(const struct model *model)
{
    uint32_t gaps_count = 0;
    for (uint32_t n = 0; n < MODEL_GRANULES; n++)
        gaps_count += !model->taken[n] && (n == 0 || model->taken[n - 1]);
    return gaps_count;
}

static uint64_t next_random(uint64_t *random)
{
    *random ^= *random >> 12;
    *random ^= *random << 25;
    *random ^= *random >> 27;
    return *random * UINT64_C(0x2545f4914f6cdd1d);
}

static void model_step(struct model *model, struct extent *extent, uint64_t *random)
{
    const uint64_t choice = next_random(random) % 10;
    if (choice < 5) {
        const uint64_t bytes = 1 + next_random(random) % (next_random(random) % 20 * G + G);
        const uint64_t expected = model_fit(model, bytes);
        assert_int_equal(extent_take(extent, bytes), expected);
        if (expected == EXTENT_NONE)
            return;
        model_mark(model, expected, bytes, 1);
        model->extents[model->count++] = (struct model_extent){expected, bytes};
        return;
    }
    if (model->count == 0)
        return;
    const uint32_t pick = (uint32_t)(next_random(random) % model->count);
    struct model_extent *picked = &model->extents[pick];
    if (choice < 7) {
        const uint64_t keep_bytes = 1 + next_random(random) % picked->bytes;
        extent_trim(extent, picked->offset, picked->bytes, keep_bytes);
        model_mark(model, picked->offset, picked->bytes, 0);
        model_mark(model, picked->offset, keep_bytes, 1);
        picked->bytes = keep_bytes;
        return;
    }
    extent_give(extent, picked->offset, picked->bytes);
    model_mark(model, picked->offset, picked->bytes, 0);
    *picked = model->extents[--model->count];
}

static void any_history_agrees_with_the_model(void **state)
{
    (void)state;
    uint64_t random = UINT64_C(0x1b0117a);
    print_message("seed %llu\n", (unsigned long long)random);
    for (uint32_t run = 0; run < 40; run++) {
        static struct model model;
        struct extent_free gaps[MODEL_EXTENTS + 1];
        struct extent extent;
        memset(&model, 0, sizeof(model));
        extent_init(&extent, gaps, MODEL_EXTENTS, MODEL_GRANULES * G);
        for (uint32_t step = 0; step < 2000; step++) {
            model_step(&model, &extent, &random);
            assert_int_equal(extent.free_count, model_gaps(&model));
            assert_int_equal(extent.taken_count, model.count);
        }
        while (model.count > 0) {
            model.count--;
            extent_give(&extent, model.extents[model.count].offset,
                        model.extents[model.count].bytes);
        }
        assert_int_equal(extent.free_count, 1);
        assert_int_equal(gaps[0].count, MODEL_GRANULES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lowest_address_first),
        cmocka_unit_test(neighbours_join),
        cmocka_unit_test(trim_gives_the_end_back),
        cmocka_unit_test(what_cannot_fit_is_declined),
        cmocka_unit_test(any_history_agrees_with_the_model),
    };
    return cmocka_run_group_tests_name("extent", tests, NULL, NULL);
}
