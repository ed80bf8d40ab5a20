#include "bench/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct histogram histogram;

static void histogram_is_exact_for_small_values(void **state)
{
    (void)state;
    histogram_init(&histogram);
    for (uint64_t ns = 0; ns < 100; ns++)
        histogram_record(&histogram, ns);
    assert_int_equal(histogram_percentile_ns(&histogram, 500000), 49);
    assert_int_equal(histogram_percentile_ns(&histogram, 990000), 98);
    assert_int_equal(histogram_percentile_ns(&histogram, 1000000), 99);
    assert_int_equal(histogram.ns_min, 0);
    assert_int_equal(histogram.ns_max, 99);
}

static int compare_u64(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a;
    const uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

/* Against sorting, over twelve orders of magnitude: off by at most one part in 128. */
static void histogram_agrees_with_sorting(void **state)
{
    enum { COUNT = 20000 };
    static uint64_t values[COUNT];
    uint64_t seed = 42;
    (void)state;
    histogram_init(&histogram);
    for (int i = 0; i < COUNT; i++) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407U;
        values[i] = (seed >> 24) >> (seed >> 59);
        histogram_record(&histogram, values[i]);
    }
    qsort(values, COUNT, sizeof(values[0]), compare_u64);
    for (uint32_t per_million = 1000; per_million <= 1000000; per_million += 999) {
        const uint64_t index = ((uint64_t)COUNT * per_million + 999999) / 1000000 - 1;
        const uint64_t exact = values[index];
        const uint64_t got = histogram_percentile_ns(&histogram, per_million);
        assert_true(got >= exact);
        assert_true(got - exact <= exact / 128 + 1);
    }
}

static void histogram_counts_what_is_beyond_its_end(void **state)
{
    (void)state;
    histogram_init(&histogram);
    histogram_record(&histogram, UINT64_MAX);
    assert_int_equal(histogram.count, 1);
    assert_true(histogram_percentile_ns(&histogram, 500000) == HISTOGRAM_NS_MAX);
}

static void histogram_of_nothing_is_zero(void **state)
{
    (void)state;
    histogram_init(&histogram);
    assert_int_equal(histogram_percentile_ns(&histogram, 999000), 0);
}

static void histogram_add_joins_two(void **state)
{
    static struct histogram other;
    (void)state;
    histogram_init(&histogram);
    histogram_init(&other);
    histogram_record(&histogram, 10);
    histogram_record(&other, 1000000);
    histogram_add(&histogram, &other);
    assert_int_equal(histogram.count, 2);
    assert_int_equal(histogram.ns_min, 10);
    assert_int_equal(histogram.ns_max, 1000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(histogram_is_exact_for_small_values),
        cmocka_unit_test(histogram_agrees_with_sorting),
        cmocka_unit_test(histogram_counts_what_is_beyond_its_end),
        cmocka_unit_test(histogram_of_nothing_is_zero),
        cmocka_unit_test(histogram_add_joins_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
