/* The model of a disk: what it keeps, what it may lose, and how it fails. */
#include "tests/queue/disk_model.h"

#include "base/macros.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FILE_BYTES ((uint64_t)8 * DISK_BLOCK_BYTES)
#define SECTORS    (DISK_BLOCK_BYTES / DISK_MODEL_SECTOR_BYTES)
#define SEEDS      200

static _Alignas(DISK_BLOCK_BYTES) uint8_t page[FILE_BYTES];
static _Alignas(DISK_BLOCK_BYTES) uint8_t seen[FILE_BYTES];

static const struct disk_model_config config = {.seed = 7, .file_bytes_max = FILE_BYTES};

static void submit(struct disk_model *model, const struct disk_request *request)
{
    struct disk *disk = disk_model_disk(model);
    assert_true(disk->ops->submit(disk, request));
}

static int64_t reap_one(struct disk_model *model)
{
    struct disk_result result;
    struct disk *disk = disk_model_disk(model);
    assert_int_equal(disk->ops->reap(disk, 1, &result, 1), 1);
    return result.result;
}

static int64_t do_one(struct disk_model *model, const struct disk_request *request)
{
    submit(model, request);
    return reap_one(model);
}

static struct disk_request named(enum disk_kind kind, const char *name)
{
    struct disk_request request = {.kind = kind, .bytes = FILE_BYTES};
    (void)snprintf(request.name, sizeof(request.name), "%s", name);
    return request;
}

static struct disk_request transfer(enum disk_kind kind, int32_t file, uint8_t *at, uint64_t block,
                                    uint64_t blocks_count)
{
    return (struct disk_request){.kind = kind,
                                 .file = file,
                                 .at = at,
                                 .offset = block * DISK_BLOCK_BYTES,
                                 .bytes = blocks_count * DISK_BLOCK_BYTES};
}

static int64_t put(struct disk_model *model, enum disk_kind kind, int32_t file, uint64_t block,
                   uint8_t value)
{
    memset(page, value, DISK_BLOCK_BYTES);
    const struct disk_request request = transfer(kind, file, page, block, 1);
    return do_one(model, &request);
}

static int64_t simple(struct disk_model *model, enum disk_kind kind, int32_t file)
{
    const struct disk_request request = {.kind = kind, .file = file};
    return do_one(model, &request);
}

/* A disk with one durable file of ones. */
static struct disk_model *with_a_file(int32_t *file)
{
    struct disk_model *model = disk_model_open(&config);
    const struct disk_request create = named(DISK_CREATE, "a");
    *file = (int32_t)do_one(model, &create);
    assert_true(*file >= 0);
    for (uint64_t n = 0; n < FILE_BYTES / DISK_BLOCK_BYTES; n++)
        assert_int_equal(put(model, DISK_WRITE, *file, n, 1), DISK_BLOCK_BYTES);
    assert_int_equal(simple(model, DISK_SYNC, *file), 0);
    assert_int_equal(simple(model, DISK_SYNC_FOLDER, 0), 0);
    assert_false(disk_model_is_undecided(model));
    return model;
}

/* Reads a block of file `name`; false: there is no such file. */
static bool look(struct disk_model *model, const char *name, uint64_t block)
{
    const struct disk_request open = named(DISK_OPEN, name);
    const int64_t file = do_one(model, &open);
    if (file < 0)
        return false;
    const struct disk_request read = transfer(DISK_READ, (int32_t)file, seen, block, 1);
    memset(seen, 0xee, DISK_BLOCK_BYTES);
    assert_true(do_one(model, &read) >= 0);
    assert_int_equal(simple(model, DISK_CLOSE, (int32_t)file), 0);
    return true;
}

/* All of a sector is one value: which, or fails. */
static uint8_t sector(uint32_t n)
{
    const uint8_t *at = seen + (size_t)n * DISK_MODEL_SECTOR_BYTES;
    for (uint32_t i = 1; i < DISK_MODEL_SECTOR_BYTES; i++)
        assert_int_equal(at[i], at[0]);
    return at[0];
}

/* Looks at many cuts of now: bit v of the result: some sector was v; 128: some block was mixed. */
static uint32_t values_after_cuts(const struct disk_model *model, uint64_t block)
{
    struct disk_model *after = disk_model_open(&config);
    uint32_t values = 0;
    for (uint32_t n = 0; n < SEEDS * DISK_MODEL_CUTS; n++) {
        (void)disk_model_cut(model, after, n % DISK_MODEL_CUTS, n);
        assert_true(look(after, "a", block));
        for (uint32_t s = 0; s < SECTORS; s++) {
            values |= 1u << sector(s);
            values |= sector(s) != sector(0) ? 128 : 0;
        }
    }
    disk_close(disk_model_disk(after));
    return values;
}

static void a_write_is_durable_when_it_is_done(void **state)
{
    (void)state;
    int32_t file;
    struct disk_model *model = with_a_file(&file);
    memset(page, 2, DISK_BLOCK_BYTES);
    const struct disk_request write = transfer(DISK_WRITE, file, page, 3, 1);
    submit(model, &write);
    assert_int_equal(values_after_cuts(model, 3), 1u << 1 | 1u << 2 | 128);
    assert_int_equal(reap_one(model), DISK_BLOCK_BYTES);
    assert_int_equal(values_after_cuts(model, 3), 1u << 2);
    assert_int_equal(values_after_cuts(model, 4), 1u << 1);
    disk_close(disk_model_disk(model));
}

static void a_fill_waits_for_a_sync_that_came_after(void **state)
{
    (void)state;
    int32_t file;
    struct disk_model *model = with_a_file(&file);
    const struct disk_request sync = {.kind = DISK_SYNC, .file = file};
    assert_int_equal(put(model, DISK_FILL, file, 3, 2), DISK_BLOCK_BYTES);
    assert_true(look(model, "a", 3));
    assert_int_equal(sector(0), 2); /* seen, but not kept */
    assert_int_equal(values_after_cuts(model, 3), 1u << 1 | 1u << 2 | 128);
    submit(model, &sync);
    assert_int_equal(values_after_cuts(model, 3), 1u << 1 | 1u << 2 | 128);
    assert_int_equal(reap_one(model), 0);
    assert_int_equal(values_after_cuts(model, 3), 1u << 2);
    /* A fill that was out when the sync began is not covered. */
    uint64_t uncovered = 0;
    for (uint32_t n = 0; n < 32; n++) {
        struct disk_result results[2];
        struct disk *disk = disk_model_disk(model);
        memset(page, 3, DISK_BLOCK_BYTES);
        const struct disk_request fill = transfer(DISK_FILL, file, page, 3, 1);
        submit(model, &fill);
        submit(model, &sync);
        assert_int_equal(disk->ops->reap(disk, 1, results, 2), 2);
        uncovered += disk_model_is_undecided(model);
        assert_int_equal(simple(model, DISK_SYNC, file), 0);
        assert_false(disk_model_is_undecided(model));
    }
    assert_int_equal(uncovered, 32);
    disk_close(disk_model_disk(model));
}

static void the_later_of_two_stays(void **state)
{
    (void)state;
    int32_t file;
    struct disk_model *model = with_a_file(&file);
    (void)put(model, DISK_FILL, file, 0, 2);
    (void)put(model, DISK_FILL, file, 0, 3);
    assert_int_equal(values_after_cuts(model, 0), 1u << 1 | 1u << 2 | 1u << 3 | 128);
    assert_int_equal(simple(model, DISK_SYNC, file), 0);
    assert_int_equal(values_after_cuts(model, 0), 1u << 3);
    (void)put(model, DISK_FILL, file, 0, 4);
    (void)put(model, DISK_WRITE, file, 0, 5);
    assert_int_equal(values_after_cuts(model, 0), 1u << 5);
    disk_close(disk_model_disk(model));
}

static void a_name_waits_for_the_folder(void **state)
{
    (void)state;
    int32_t file;
    struct disk_model *model = with_a_file(&file);
    struct disk_model *after = disk_model_open(&config);
    const struct disk_request create = named(DISK_CREATE, "b");
    const struct disk_request unlink = named(DISK_UNLINK, "a");
    assert_true(do_one(model, &create) >= 0);
    assert_int_equal(do_one(model, &create), -EEXIST);
    assert_int_equal(do_one(model, &unlink), 0);
    assert_int_equal(do_one(model, &unlink), -ENOENT);
    uint32_t seen_files = 0; /* a bit for each combination */
    for (uint32_t n = 0; n < SEEDS; n++) {
        (void)disk_model_cut(model, after, DISK_MODEL_SECTORS, n);
        seen_files |= 1u << (look(after, "a", 0) + 2 * look(after, "b", 0));
    }
    assert_int_equal(seen_files, 15);
    assert_int_equal(simple(model, DISK_SYNC_FOLDER, 0), 0);
    for (uint32_t n = 0; n < SEEDS; n++) {
        (void)disk_model_cut(model, after, n % DISK_MODEL_CUTS, n);
        assert_false(look(after, "a", 0));
        assert_true(look(after, "b", 0));
    }
    disk_close(disk_model_disk(after));
    disk_close(disk_model_disk(model));
}

static void a_length_waits_for_a_sync(void **state)
{
    (void)state;
    struct disk_model *model = disk_model_open(&config);
    struct disk_model *after = disk_model_open(&config);
    const struct disk_request create = named(DISK_CREATE, "a");
    const int32_t file = (int32_t)do_one(model, &create);
    struct disk_entry entry;
    uint64_t lengths = 0;
    assert_int_equal(simple(model, DISK_SYNC_FOLDER, 0), 0);
    for (uint32_t n = 0; n < SEEDS; n++) {
        struct disk *disk = disk_model_disk(after);
        (void)disk_model_cut(model, after, n % DISK_MODEL_CUTS, n);
        assert_int_equal(disk->ops->list(disk, &entry, 1), 1);
        lengths |= (uint64_t)1 << entry.bytes / DISK_BLOCK_BYTES;
    }
    assert_int_equal(lengths, 0x1ff);
    assert_int_equal(simple(model, DISK_SYNC, file), 0);
    assert_false(disk_model_is_undecided(model));
    disk_close(disk_model_disk(after));
    disk_close(disk_model_disk(model));
}

static void a_failed_write_or_sync_is_undecided_for_ever(void **state)
{
    (void)state;
    static const enum disk_model_fault faults[] = {DISK_MODEL_EIO, DISK_MODEL_ENOSPC,
                                                   DISK_MODEL_EINTR, DISK_MODEL_ECANCELED,
                                                   DISK_MODEL_SHORT};
    for (uint32_t n = 0; n < ARRAY_COUNT(faults); n++) {
        int32_t file;
        struct disk_model *model = with_a_file(&file);
        disk_model_fail(model, faults[n], disk_model_submitted(model), 1);
        assert_true(put(model, DISK_WRITE, file, 2, 2) < DISK_BLOCK_BYTES);
        assert_int_equal(disk_model_failed(model), 1);
        assert_int_equal(simple(model, DISK_SYNC, file), 0);
        assert_int_equal(values_after_cuts(model, 2), 1u << 1 | 1u << 2 | 128);
        (void)put(model, DISK_FILL, file, 5, 3);
        if (faults[n] != DISK_MODEL_SHORT) {
            disk_model_fail(model, faults[n], disk_model_submitted(model), 1);
            assert_true(simple(model, DISK_SYNC, file) < 0);
            assert_int_equal(simple(model, DISK_SYNC, file), 0);
            assert_int_equal(values_after_cuts(model, 5), 1u << 1 | 1u << 3 | 128);
        }
        (void)put(model, DISK_WRITE, file, 2, 4);
        (void)put(model, DISK_WRITE, file, 5, 4);
        assert_false(disk_model_is_undecided(model));
        disk_close(disk_model_disk(model));
    }
}

static void reads_and_places_go_wrong_without_a_word(void **state)
{
    (void)state;
    int32_t file;
    struct disk_model *model = with_a_file(&file);
    const struct disk_request read = transfer(DISK_READ, file, seen, 1, 1);
    (void)put(model, DISK_WRITE, file, 1, 2);
    disk_model_fail(model, DISK_MODEL_STALE, disk_model_submitted(model), 1);
    assert_int_equal(do_one(model, &read), DISK_BLOCK_BYTES);
    assert_int_equal(sector(0), 1);
    disk_model_fail(model, DISK_MODEL_FLIPPED, disk_model_submitted(model), 1);
    assert_int_equal(do_one(model, &read), DISK_BLOCK_BYTES);
    uint32_t bits = 0;
    for (uint32_t n = 0; n < DISK_BLOCK_BYTES; n++)
        bits += (uint32_t)__builtin_popcount(seen[n] ^ 2u);
    assert_int_equal(bits, 1);
    assert_int_equal(do_one(model, &read), DISK_BLOCK_BYTES);
    assert_int_equal(sector(0), 2);
    disk_model_fail(model, DISK_MODEL_SHORT, disk_model_submitted(model), 1);
    assert_int_equal(do_one(model, &read), DISK_BLOCK_BYTES / 2);

    uint32_t elsewhere = 0;
    for (uint64_t n = 0; n < 20; n++) {
        disk_model_fail(model, DISK_MODEL_MISDIRECTED, disk_model_submitted(model), 1);
        assert_int_equal(put(model, DISK_WRITE, file, 0, (uint8_t)(10 + n)), DISK_BLOCK_BYTES);
        disk_model_fail(model, DISK_MODEL_SOUND, 0, 0);
        assert_true(look(model, "a", 0));
        elsewhere += sector(0) != 10 + n;
    }
    assert_true(elsewhere > 10);
    disk_close(disk_model_disk(model));
}

static void count_moment(void *user, struct disk_model *model)
{
    (void)model;
    ++*(uint32_t *)user;
}

static void requests_are_done_in_any_order(void **state)
{
    (void)state;
    bool other_order = false;
    for (uint64_t seed = 0; seed < 20; seed++) {
        uint32_t moments = 0;
        struct disk_model_config slow = {.seed = seed,
                                         .file_bytes_max = FILE_BYTES,
                                         .moment = count_moment,
                                         .user = &moments,
                                         .slowness = 8};
        struct disk_model *model = disk_model_open(&slow);
        struct disk *disk = disk_model_disk(model);
        struct disk_request request = named(DISK_OPEN, "nowhere");
        for (uint64_t n = 0; n < DISK_REQUESTS_MAX; n++) {
            request.tag = n;
            submit(model, &request);
        }
        assert_false(disk->ops->submit(disk, &request));
        uint64_t tags = 0;
        for (uint32_t count = 0, rounds = 0; count < DISK_REQUESTS_MAX; rounds++) {
            struct disk_result results[8];
            const uint32_t got = disk->ops->reap(disk, 0, results, ARRAY_COUNT(results));
            for (uint32_t n = 0; n < got; n++) {
                other_order |= results[n].tag != count + n;
                tags += results[n].tag;
                assert_int_equal(results[n].result, -ENOENT);
            }
            count += got;
            assert_true(rounds < 4096);
        }
        assert_int_equal(tags, DISK_REQUESTS_MAX * (DISK_REQUESTS_MAX - 1) / 2);
        assert_int_equal(moments, DISK_REQUESTS_MAX + 1);
        disk_close(disk);
    }
    assert_true(other_order);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_is_durable_when_it_is_done),
        cmocka_unit_test(a_fill_waits_for_a_sync_that_came_after),
        cmocka_unit_test(the_later_of_two_stays),
        cmocka_unit_test(a_name_waits_for_the_folder),
        cmocka_unit_test(a_length_waits_for_a_sync),
        cmocka_unit_test(a_failed_write_or_sync_is_undecided_for_ever),
        cmocka_unit_test(reads_and_places_go_wrong_without_a_word),
        cmocka_unit_test(requests_are_done_in_any_order),
    };
    return cmocka_run_group_tests_name("disk_model", tests, NULL, NULL);
}
