#include "tests/queue/spool_model.h"

#include "base/clock.h"
#include "queue/disk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define LONG_NS    (60 * NS_PER_S) /* far longer than anything takes; a bound, not a timing */
#define EVENTS_MAX 16
#define HEAD_MAX   700
#define BODY_MAX   (4 << 20)

char model_folder[64];
static uint8_t *buffers;
static uint8_t *source; /* any bytes: bodies and heads are spans of it */
static uint8_t constant_bytes[3][30000];

struct model model_at[MODEL_MAX];
uint32_t model_count;
uint32_t model_failed_error;

struct model_log model_log;
static uint64_t dice_state = 1;

uint32_t model_dice(uint32_t sides)
{
    dice_state ^= dice_state << 13;
    dice_state ^= dice_state >> 7;
    dice_state ^= dice_state << 17;
    return (uint32_t)(dice_state >> 33) % sides;
}

void model_id(uint32_t n, uint8_t id[SPOOL_ID_BYTES])
{
    memset(id, 0x5a, SPOOL_ID_BYTES);
    memcpy(id, &n, sizeof(n));
}

static void found(void *user, const struct spool_found *one)
{
    (void)user;
    uint32_t n;
    memcpy(&n, one->id, sizeof(n));
    assert_true(n < model_count);
    struct model *model = &model_at[n];
    assert_false(model->found);
    model->found = true;
    model->place = one->place;
    assert_int_equal(one->kind, model->kind);
    assert_int_equal(one->arrived_unix_ms, 1000 + n);
    assert_int_equal(one->end_unix_ms, 2000 + n);
    assert_int_equal(one->head_bytes, model->head_bytes);
    const uint32_t constant = model->constant == 0 ? 0 : (uint32_t)sizeof(constant_bytes[0]);
    assert_int_equal(one->body_bytes, model->body_bytes + constant);
    if (model->life == LIFE_LIVES)
        assert_int_equal(one->held, model->held);
}

static void disk_begin(bool uring)
{
    char why[DISK_WHY_BYTES] = "";
    const struct disk_memory memory = {.at = buffers, .bytes = SPOOL_BUFFERS_MIN};
    if (uring && disk_uring_open(&model_log.disk, model_folder, &memory, why) != 0) {
        print_message("skipped: %s\n", why);
        skip();
    }
    if (!uring)
        assert_int_equal(disk_thread_open(&model_log.disk, model_folder, why), 0);
}

int model_try(uint32_t lane, uint32_t lanes, uint64_t segment, uint64_t max)
{
    char why[SPOOL_WHY_BYTES] = "";
    disk_begin(model_log.uring);
    model_log.config = (struct spool_config){.disk = model_log.disk,
                                             .lane = lane,
                                             .lanes_count = lanes,
                                             .segment_bytes = segment,
                                             .bytes_max = max,
                                             .buffers = buffers,
                                             .buffers_bytes = SPOOL_BUFFERS_MIN};
    const int rc = spool_open(&model_log.spool, &model_log.config, found, NULL, why);
    if (rc != 0) {
        print_message("%s\n", why);
        disk_close(model_log.disk);
    }
    return rc;
}

void model_open(uint64_t segment, uint64_t max)
{
    assert_int_equal(model_try(0, 1, segment, max), 0);
}

void model_close(void)
{
    spool_close(model_log.spool);
    disk_close(model_log.disk);
}

static void event_take(const struct spool_event *event)
{
    struct model *model = event->tag < MODEL_MAX ? &model_at[event->tag] : NULL;
    switch (event->kind) {
    case SPOOL_STORED:
        assert_int_equal(model->life, LIFE_STORING);
        model->life = LIFE_LIVES;
        model->place = event->place;
        if (model->replaces != 0)
            model_at[model->replaces - 1].life = LIFE_GONE;
        return;
    case SPOOL_FAILED:
        assert_int_equal(model->life, LIFE_STORING);
        model->life = LIFE_FAILED;
        model_failed_error = (uint32_t)-event->error;
        if (model->replaces != 0)
            model_at[model->replaces - 1].life = LIFE_LIVES;
        return;
    case SPOOL_READ:
        model_log.read_count++;
        model_log.read_error = event->error;
        model_log.read_bytes = event->bytes;
        return;
    case SPOOL_FORGOTTEN:
        assert_int_equal(model->life, LIFE_ENDING);
        model->life = LIFE_GONE;
        return;
    case SPOOL_MARKED: return;
    }
}

void model_run_once(void)
{
    struct spool_event events[EVENTS_MAX];
    const uint32_t count = spool_run(model_log.spool, events, EVENTS_MAX);
    for (uint32_t n = 0; n < count; n++)
        event_take(&events[n]);
}

void model_run_all(void)
{
    const uint64_t end_ns = clock_monotonic_ns() + LONG_NS;
    while (spool_busy(model_log.spool)) {
        model_run_once();
        assert_true(clock_monotonic_ns() < end_ns);
    }
}

void model_reopen(void)
{
    const struct spool_config was = model_log.config;
    model_close();
    for (uint32_t n = 0; n < model_count; n++)
        model_at[n].found = false;
    assert_int_equal(model_try(was.lane, was.lanes_count, was.segment_bytes, was.bytes_max), 0);
}

static void record_of(const struct model *model, uint32_t n, struct spool_record *record)
{
    *record = (struct spool_record){.kind = model->kind,
                                    .arrived_unix_ms = 1000 + n,
                                    .end_unix_ms = 2000 + n,
                                    .head = source + model->head_at,
                                    .head_bytes = model->head_bytes,
                                    .replaces = SPOOL_NOWHERE};
    model_id(n, record->id);
    const uint32_t half = model->body_bytes / 2;
    record->spans[record->spans_count++] =
        (struct spool_span){.at = source + model->body_at, .bytes = half};
    if (model->constant != 0)
        record->spans[record->spans_count++] =
            (struct spool_span){.at = constant_bytes[model->constant - 1],
                                .bytes = sizeof(constant_bytes[0]),
                                .constant = model->constant};
    record->spans[record->spans_count++] = (struct spool_span){.at = source + model->body_at + half,
                                                               .bytes = model->body_bytes - half};
}

uint32_t model_put(uint32_t body_bytes, uint32_t constant, uint32_t replaces)
{
    assert_true(model_count < MODEL_MAX);
    const uint32_t n = model_count++;
    struct model *model = &model_at[n];
    *model = (struct model){.life = LIFE_STORING,
                            .kind = replaces != 0 ? SPOOL_NOTICE : SPOOL_MAIL,
                            .head_at = model_dice(1000),
                            .head_bytes = model_dice(HEAD_MAX),
                            .body_at = model_dice(1000),
                            .body_bytes = body_bytes,
                            .constant = constant,
                            .replaces = replaces};
    struct spool_record record;
    record_of(model, n, &record);
    if (replaces != 0) {
        record.replaces = model_at[replaces - 1].place;
        model_at[replaces - 1].life = LIFE_REPLACING;
    }
    const uint64_t end_ns = clock_monotonic_ns() + LONG_NS;
    while (!spool_put(model_log.spool, &record, n)) {
        model_run_once();
        assert_true(clock_monotonic_ns() < end_ns);
    }
    return n;
}

void model_forget(uint32_t n)
{
    assert_int_equal(model_at[n].life, LIFE_LIVES);
    model_at[n].life = LIFE_ENDING;
    while (!spool_forget(model_log.spool, model_at[n].place, n))
        model_run_once();
}

void model_read(uint32_t n)
{
    static uint8_t dst[BODY_MAX + 65536];
    const struct model *model = &model_at[n];
    const uint32_t half = model->body_bytes / 2;
    const uint32_t constant = model->constant == 0 ? 0 : (uint32_t)sizeof(constant_bytes[0]);
    const uint64_t end_ns = clock_monotonic_ns() + LONG_NS;
    for (uint32_t all = 0; all < 2; all++) {
        const uint32_t expected = model_log.read_count + 1;
        memset(dst, 0xcc, model->head_bytes + model->body_bytes + constant);
        while (!(all == 0
                     ? spool_read_head(model_log.spool, model->place, dst, sizeof(dst), MODEL_MAX)
                     : spool_read_all(model_log.spool, model->place, dst, sizeof(dst), MODEL_MAX)))
            model_run_once();
        while (model_log.read_count < expected) {
            model_run_once();
            assert_true(clock_monotonic_ns() < end_ns);
        }
        assert_int_equal(model_log.read_error, 0);
        assert_memory_equal(dst, source + model->head_at, model->head_bytes);
    }
    assert_int_equal(model_log.read_bytes, model->head_bytes + model->body_bytes + constant);
    const uint8_t *at = dst + model->head_bytes;
    assert_memory_equal(at, source + model->body_at, half);
    if (constant != 0)
        assert_memory_equal(at + half, constant_bytes[model->constant - 1], constant);
    assert_memory_equal(at + half + constant, source + model->body_at + half,
                        model->body_bytes - half);
}

void model_compare(bool reads)
{
    struct spool_stats stats;
    spool_stats(model_log.spool, &stats);
    assert_int_equal(stats.damaged, 0);
    uint64_t lives = 0;
    for (uint32_t n = 0; n < model_count; n++) {
        struct model *model = &model_at[n];
        if (model->life == LIFE_LIVES)
            assert_true(model->found);
        if (model->life == LIFE_GONE || model->life == LIFE_FAILED)
            assert_false(model->found);
        /* What was under way may have gone either way. */
        if (model->life == LIFE_STORING || model->life == LIFE_ENDING ||
            model->life == LIFE_REPLACING)
            model->life = model->found ? LIFE_LIVES : LIFE_GONE;
        lives += model->life == LIFE_LIVES;
        if (reads && model->life == LIFE_LIVES)
            model_read(n);
    }
    assert_int_equal(stats.records, lives);
}

void model_begin(void **state)
{
    model_log = (struct model_log){.uring = *state != NULL};
    model_count = 0;
    dice_state = 88172645463325252ULL;
}

static void folder_clear(void)
{
    char path[128];
    struct disk *disk = NULL;
    char why[DISK_WHY_BYTES];
    static struct disk_entry entries[SPOOL_SEGMENTS_MAX];
    assert_int_equal(disk_thread_open(&disk, model_folder, why), 0);
    const int count = disk->ops->list(disk, entries, SPOOL_SEGMENTS_MAX);
    for (int n = 0; n < count; n++) {
        (void)snprintf(path, sizeof(path), "%.63s/%.31s", model_folder, entries[n].name);
        assert_int_equal(unlink(path), 0);
    }
    disk_close(disk);
}

int model_end(void **state)
{
    (void)state;
    folder_clear();
    return 0;
}

int model_folder_make(void **state)
{
    (void)state;
    const char *under = getenv("TMPDIR");
    (void)snprintf(model_folder, sizeof(model_folder), "%.40s/spool_model.XXXXXX",
                   under != NULL ? under : "/tmp");
    buffers = aligned_alloc(DISK_BLOCK_BYTES, SPOOL_BUFFERS_MIN);
    source = malloc(BODY_MAX + 65536);
    if (buffers == NULL || source == NULL || mkdtemp(model_folder) == NULL)
        return -1;
    for (size_t n = 0; n < BODY_MAX + 65536; n++)
        source[n] = (uint8_t)model_dice(256);
    for (uint32_t n = 0; n < 3; n++)
        memset(constant_bytes[n], (int)n + 1, sizeof(constant_bytes[n]));
    return 0;
}

int model_folder_remove(void **state)
{
    (void)state;
    free(buffers);
    free(source);
    return rmdir(model_folder);
}
