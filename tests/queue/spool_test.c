/* The spool on real disks, io_uring and the thread: what was stored is found, whatever came
 * between. */
#include "queue/spool.h"

#include "base/clock.h"
#include "queue/crc32c.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define LONG_NS       (60 * NS_PER_S) /* far longer than anything takes; a bound, not a timing */
#define MODEL_MAX     6000
#define EVENTS_MAX    16
#define HEAD_MAX      700
#define BODY_MAX      (4 << 20)
#define SEGMENT_BYTES ((uint64_t)1 << 20)

static char folder[64];
static uint8_t *buffers;
static uint8_t *source; /* any bytes: bodies and heads are spans of it */
static uint8_t constant_bytes[3][30000];

enum life {
    LIFE_NONE,
    LIFE_STORING,
    LIFE_LIVES,
    LIFE_ENDING,
    LIFE_REPLACING,
    LIFE_GONE,
    LIFE_FAILED
};

struct model {
    enum life life;
    enum spool_kind kind;
    bool held;
    bool found;
    uint64_t place;
    uint32_t head_at, head_bytes;
    uint32_t body_at, body_bytes; /* inline */
    uint32_t constant;            /* 0: none */
    uint32_t replaces;            /* index + 1 */
};

static struct model models[MODEL_MAX];
static uint32_t models_count;
static uint32_t failed_error;

struct log {
    struct disk *disk;
    struct spool *spool;
    struct spool_config config;
    bool uring;
    uint32_t read_count;
    int read_error;
    uint32_t read_bytes;
};

static struct log log_;
static uint64_t dice_state = 1;

static uint32_t dice(uint32_t sides)
{
    dice_state ^= dice_state << 13;
    dice_state ^= dice_state >> 7;
    dice_state ^= dice_state << 17;
    return (uint32_t)(dice_state >> 33) % sides;
}

static void id_of(uint32_t n, uint8_t id[SPOOL_ID_BYTES])
{
    memset(id, 0x5a, SPOOL_ID_BYTES);
    memcpy(id, &n, sizeof(n));
}

static void found(void *user, const struct spool_found *one)
{
    (void)user;
    uint32_t n;
    memcpy(&n, one->id, sizeof(n));
    assert_true(n < models_count);
    struct model *model = &models[n];
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
    if (uring && disk_uring_open(&log_.disk, folder, &memory, why) != 0) {
        print_message("skipped: %s\n", why);
        skip();
    }
    if (!uring)
        assert_int_equal(disk_thread_open(&log_.disk, folder, why), 0);
}

static int log_try(uint32_t lane, uint32_t lanes, uint64_t segment, uint64_t max)
{
    char why[SPOOL_WHY_BYTES] = "";
    disk_begin(log_.uring);
    log_.config = (struct spool_config){.disk = log_.disk,
                                        .lane = lane,
                                        .lanes_count = lanes,
                                        .segment_bytes = segment,
                                        .bytes_max = max,
                                        .buffers = buffers,
                                        .buffers_bytes = SPOOL_BUFFERS_MIN};
    const int rc = spool_open(&log_.spool, &log_.config, found, NULL, why);
    if (rc != 0) {
        print_message("%s\n", why);
        disk_close(log_.disk);
    }
    return rc;
}

static void log_open(uint64_t segment, uint64_t max)
{
    assert_int_equal(log_try(0, 1, segment, max), 0);
}

static void log_close(void)
{
    spool_close(log_.spool);
    disk_close(log_.disk);
}

static void event_take(const struct spool_event *event)
{
    struct model *model = event->tag < MODEL_MAX ? &models[event->tag] : NULL;
    switch (event->kind) {
    case SPOOL_STORED:
        assert_int_equal(model->life, LIFE_STORING);
        model->life = LIFE_LIVES;
        model->place = event->place;
        if (model->replaces != 0)
            models[model->replaces - 1].life = LIFE_GONE;
        return;
    case SPOOL_FAILED:
        assert_int_equal(model->life, LIFE_STORING);
        model->life = LIFE_FAILED;
        failed_error = (uint32_t)-event->error;
        if (model->replaces != 0)
            models[model->replaces - 1].life = LIFE_LIVES;
        return;
    case SPOOL_READ:
        log_.read_count++;
        log_.read_error = event->error;
        log_.read_bytes = event->bytes;
        return;
    case SPOOL_FORGOTTEN:
        assert_int_equal(model->life, LIFE_ENDING);
        model->life = LIFE_GONE;
        return;
    case SPOOL_MARKED: return;
    }
}

static void run_once(void)
{
    struct spool_event events[EVENTS_MAX];
    const uint32_t count = spool_run(log_.spool, events, EVENTS_MAX);
    for (uint32_t n = 0; n < count; n++)
        event_take(&events[n]);
}

static void run_all(void)
{
    const uint64_t end_ns = clock_monotonic_ns() + LONG_NS;
    while (spool_busy(log_.spool)) {
        run_once();
        assert_true(clock_monotonic_ns() < end_ns);
    }
}

/* What a crash does to the process: nothing is waited for but what the kernel has. */
static void log_reopen(void)
{
    const struct spool_config was = log_.config;
    log_close();
    for (uint32_t n = 0; n < models_count; n++)
        models[n].found = false;
    assert_int_equal(log_try(was.lane, was.lanes_count, was.segment_bytes, was.bytes_max), 0);
}

static void record_of(const struct model *model, uint32_t n, struct spool_record *record)
{
    *record = (struct spool_record){.kind = model->kind,
                                    .arrived_unix_ms = 1000 + n,
                                    .end_unix_ms = 2000 + n,
                                    .head = source + model->head_at,
                                    .head_bytes = model->head_bytes,
                                    .replaces = SPOOL_NOWHERE};
    id_of(n, record->id);
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

static uint32_t put(uint32_t body_bytes, uint32_t constant, uint32_t replaces)
{
    assert_true(models_count < MODEL_MAX);
    const uint32_t n = models_count++;
    struct model *model = &models[n];
    *model = (struct model){.life = LIFE_STORING,
                            .kind = replaces != 0 ? SPOOL_NOTICE : SPOOL_MAIL,
                            .head_at = dice(1000),
                            .head_bytes = dice(HEAD_MAX),
                            .body_at = dice(1000),
                            .body_bytes = body_bytes,
                            .constant = constant,
                            .replaces = replaces};
    struct spool_record record;
    record_of(model, n, &record);
    if (replaces != 0) {
        record.replaces = models[replaces - 1].place;
        models[replaces - 1].life = LIFE_REPLACING;
    }
    const uint64_t end_ns = clock_monotonic_ns() + LONG_NS;
    while (!spool_put(log_.spool, &record, n)) {
        run_once();
        assert_true(clock_monotonic_ns() < end_ns);
    }
    return n;
}

static void forget(uint32_t n)
{
    assert_int_equal(models[n].life, LIFE_LIVES);
    models[n].life = LIFE_ENDING;
    while (!spool_forget(log_.spool, models[n].place, n))
        run_once();
}

static void read_and_compare(uint32_t n)
{
    static uint8_t dst[BODY_MAX + 65536];
    const struct model *model = &models[n];
    const uint32_t half = model->body_bytes / 2;
    const uint32_t constant = model->constant == 0 ? 0 : (uint32_t)sizeof(constant_bytes[0]);
    const uint64_t end_ns = clock_monotonic_ns() + LONG_NS;
    for (uint32_t all = 0; all < 2; all++) {
        const uint32_t expected = log_.read_count + 1;
        memset(dst, 0xcc, model->head_bytes + model->body_bytes + constant);
        while (!(all == 0 ? spool_read_head(log_.spool, model->place, dst, sizeof(dst), MODEL_MAX)
                          : spool_read_all(log_.spool, model->place, dst, sizeof(dst), MODEL_MAX)))
            run_once();
        while (log_.read_count < expected) {
            run_once();
            assert_true(clock_monotonic_ns() < end_ns);
        }
        assert_int_equal(log_.read_error, 0);
        assert_memory_equal(dst, source + model->head_at, model->head_bytes);
    }
    assert_int_equal(log_.read_bytes, model->head_bytes + model->body_bytes + constant);
    const uint8_t *at = dst + model->head_bytes;
    assert_memory_equal(at, source + model->body_at, half);
    if (constant != 0)
        assert_memory_equal(at + half, constant_bytes[model->constant - 1], constant);
    assert_memory_equal(at + half + constant, source + model->body_at + half,
                        model->body_bytes - half);
}

/* After a reopening: all that was acknowledged lives, and nothing that was forgotten or refused. */
static void compare_all(bool reads)
{
    struct spool_stats stats;
    spool_stats(log_.spool, &stats);
    assert_int_equal(stats.damaged, 0);
    uint64_t lives = 0;
    for (uint32_t n = 0; n < models_count; n++) {
        struct model *model = &models[n];
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
            read_and_compare(n);
    }
    assert_int_equal(stats.records, lives);
}

static void begin(void **state)
{
    log_ = (struct log){.uring = *state != NULL};
    models_count = 0;
    dice_state = 88172645463325252ULL;
}

static void folder_clear(void)
{
    char path[128];
    struct disk *disk = NULL;
    char why[DISK_WHY_BYTES];
    static struct disk_entry entries[SPOOL_SEGMENTS_MAX];
    assert_int_equal(disk_thread_open(&disk, folder, why), 0);
    const int count = disk->ops->list(disk, entries, SPOOL_SEGMENTS_MAX);
    for (int n = 0; n < count; n++) {
        (void)snprintf(path, sizeof(path), "%.63s/%.31s", folder, entries[n].name);
        assert_int_equal(unlink(path), 0);
    }
    disk_close(disk);
}

static int end(void **state)
{
    (void)state;
    folder_clear();
    return 0;
}

static void stored_records_are_found_and_read_again(void **state)
{
    begin(state);
    log_open(8 * SEGMENT_BYTES, 64 * SEGMENT_BYTES);
    const uint32_t sizes[] = {0, 1, 7, 100, 4096, 8000, 65536, 300000, 3 << 20};
    for (uint32_t n = 0; n < 9; n++)
        for (uint32_t constant = 0; constant < 4; constant++)
            (void)put(sizes[n], constant, 0);
    run_all();
    for (uint32_t n = 0; n < models_count; n++) {
        assert_int_equal(models[n].life, LIFE_LIVES);
        read_and_compare(n);
    }
    log_reopen();
    compare_all(true);
    log_reopen(); /* nothing was written: the same again */
    compare_all(false);
    log_close();
}

static void forgotten_held_and_replaced_stay_so(void **state)
{
    begin(state);
    log_open(SEGMENT_BYTES, 16 * SEGMENT_BYTES);
    for (uint32_t n = 0; n < 100; n++)
        (void)put(2000, n % 4, 0);
    run_all();
    for (uint32_t n = 0; n < 100; n += 3)
        forget(n);
    for (uint32_t n = 1; n < 100; n += 3) {
        assert_true(spool_mark(log_.spool, models[n].place, true, MODEL_MAX));
        models[n].held = true;
    }
    for (uint32_t n = 2; n < 60; n += 3)
        (void)put(500, 0, n + 1);
    run_all();
    for (uint32_t n = 1; n < 50; n += 3) {
        assert_true(spool_mark(log_.spool, models[n].place, false, MODEL_MAX));
        models[n].held = false;
    }
    run_all();
    for (uint32_t round = 0; round < 3; round++) {
        log_reopen();
        compare_all(true);
        (void)put(100, 0, 0); /* a new segment, a new checkpoint */
        run_all();
    }
    log_close();
}

/* A mark that was asked for before a replacement is about the old record, and never another. */
static void a_record_is_replaced_when_its_marks_are_written(void **state)
{
    begin(state);
    log_open(SEGMENT_BYTES, 16 * SEGMENT_BYTES);
    for (uint32_t n = 0; n < 40; n++) {
        const uint32_t mail = put(3000, 0, 0);
        run_all();
        assert_true(spool_mark(log_.spool, models[mail].place, true, MODEL_MAX));
        if (n % 2 == 0)
            run_once();
        assert_true(spool_mark(log_.spool, models[mail].place, false, MODEL_MAX));
        const uint32_t notice = put(900, 0, mail + 1);
        const uint32_t other = put(500, 0, 0);
        run_all();
        assert_int_equal(models[mail].life, LIFE_GONE);
        assert_int_equal(models[notice].life, LIFE_LIVES);
        assert_int_equal(models[other].life, LIFE_LIVES);
    }
    log_reopen();
    compare_all(true);
    log_close();
}

static void step(uint32_t live_max)
{
    const uint32_t what = dice(10);
    uint32_t live = 0;
    uint32_t any = 0;
    for (uint32_t n = 0; n < models_count; n++) {
        if (models[n].life != LIFE_LIVES)
            continue;
        live++;
        if (dice(live) == 0)
            any = n;
    }
    if (live == 0 || (what < 5 && live < live_max))
        (void)put(dice(20) == 0 ? dice(200000) : dice(9000), dice(4), 0);
    else if (what < 8)
        forget(any);
    else if (what == 8 && models[any].kind == SPOOL_MAIL)
        (void)put(dice(1000), 0, any + 1);
    else if (spool_mark(log_.spool, models[any].place, !models[any].held, MODEL_MAX)) {
        models[any].held = !models[any].held;
        run_all(); /* a mark that is under way may have gone either way */
    }
}

static void any_history_is_found_again(void **state)
{
    begin(state);
    log_open(SEGMENT_BYTES, 12 * SEGMENT_BYTES);
    for (uint32_t n = 0; n < 6000 && models_count < MODEL_MAX - 100; n++) {
        step(300);
        if (dice(4) == 0)
            run_once();
        if (dice(300) != 0)
            continue;
        if (dice(2) == 0)
            run_all();
        log_reopen();
        compare_all(dice(4) == 0);
    }
    run_all();
    log_reopen();
    compare_all(true);
    log_close();
}

/* Nothing is half-kept: what was refused is not found, and what was stored is not lost. */
static void a_full_spool_refuses_and_mends_itself(void **state)
{
    begin(state);
    log_open(SEGMENT_BYTES, 5 * SEGMENT_BYTES);
    uint32_t refused = 0;
    for (uint32_t n = 0; n < 1200 && refused < 20; n++) {
        const uint32_t one = put(8000, 0, 0);
        run_all();
        refused += models[one].life == LIFE_FAILED;
    }
    assert_int_equal(refused, 20);
    assert_int_equal(failed_error, ENOSPC);
    /* A notification still takes its mail's place. */
    (void)put(300, 0, 1 + 7);
    run_all();
    assert_int_equal(models[models_count - 1].life, LIFE_LIVES);
    log_reopen();
    compare_all(true);
    for (uint32_t n = 0; n < models_count; n++)
        if (models[n].life == LIFE_LIVES && n % 8 != 0)
            forget(n);
    run_all();
    for (uint32_t n = 0; n < 200; n++) {
        const uint32_t one = put(8000, 0, 0);
        run_all();
        assert_int_equal(models[one].life, LIFE_LIVES);
    }
    log_reopen();
    compare_all(true);
    log_close();
}

static void live_records_are_moved_when_segments_run_out(void **state)
{
    begin(state);
    log_open(SEGMENT_BYTES, 8 * SEGMENT_BYTES);
    struct spool_stats stats = {0};
    uint32_t last = 0;
    /* One of twenty stays for ever: every segment holds some of those. */
    for (uint32_t n = 0; n < 3000 && stats.moved < 20; n++) {
        const uint32_t one = put(8000, n % 3, 0);
        if (n % 50 == 49)
            run_all();
        assert_int_not_equal(models[one].life, LIFE_FAILED);
        for (; last + 60 < models_count; last++)
            if (last % 20 != 0 && models[last].life == LIFE_LIVES)
                forget(last);
        spool_stats(log_.spool, &stats);
    }
    assert_true(stats.moved >= 20);
    run_all();
    for (uint32_t n = 0; n < models_count; n += 20)
        if (models[n].life == LIFE_LIVES)
            read_and_compare(n);
    log_reopen();
    compare_all(true);
    log_close();
}

static void a_record_larger_than_a_segment_is_refused(void **state)
{
    begin(state);
    log_open(SEGMENT_BYTES, 8 * SEGMENT_BYTES);
    const uint32_t small = put(100, 0, 0);
    const uint32_t large = put(2 << 20, 0, 0);
    const uint32_t after = put(100, 0, 0);
    run_all();
    assert_int_equal(models[small].life, LIFE_LIVES);
    assert_int_equal(models[large].life, LIFE_FAILED);
    assert_int_equal(failed_error, EMSGSIZE);
    assert_int_equal(models[after].life, LIFE_LIVES);
    log_reopen();
    compare_all(true);
    log_close();
}

/* Four workers, then one: it finds what all of them stored, and goes on with it. */
static void former_lanes_are_adopted(void **state)
{
    begin(state);
    for (uint32_t lane = 0; lane < 4; lane++) {
        assert_int_equal(log_try(lane, 4, SEGMENT_BYTES, 8 * SEGMENT_BYTES), 0);
        for (uint32_t n = 0; n < 30; n++)
            (void)put(3000, 1 + lane % 3, 0);
        run_all();
        log_close();
    }
    assert_int_equal(log_try(0, 1, SEGMENT_BYTES, 8 * SEGMENT_BYTES), 0);
    compare_all(true);
    for (uint32_t n = 0; n < 120; n += 2)
        forget(n);
    for (uint32_t n = 1; n < 120; n += 6)
        (void)put(200, 0, n + 1);
    for (uint32_t n = 3; n < 120; n += 6) {
        assert_true(spool_mark(log_.spool, models[n].place, true, MODEL_MAX));
        models[n].held = true;
    }
    run_all();
    log_reopen();
    compare_all(true);
    log_close();
    /* And four again. */
    for (uint32_t n = 0; n < models_count; n++)
        models[n].found = false;
    uint64_t records = 0;
    for (uint32_t lane = 0; lane < 4; lane++) {
        struct spool_stats stats;
        assert_int_equal(log_try(lane, 4, SEGMENT_BYTES, 8 * SEGMENT_BYTES), 0);
        spool_stats(log_.spool, &stats);
        assert_int_equal(stats.damaged, 0);
        records += stats.records;
        log_close();
    }
    uint64_t lives = 0;
    for (uint32_t n = 0; n < models_count; n++) {
        lives += models[n].life == LIFE_LIVES;
        assert_true(models[n].found == (models[n].life == LIFE_LIVES));
    }
    assert_int_equal(records, lives);
}

/* The bytes of the first segment file; the disk writes from its beginning. */
static int segment_fd(uint32_t number)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/00-%08u.log", folder, number);
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

/* Some byte of the body of this model, in the file. */
static off_t body_offset(int fd, uint32_t n)
{
    static uint8_t map[SEGMENT_BYTES];
    uint8_t id[SPOOL_ID_BYTES];
    id_of(n, id);
    assert_int_equal(pread(fd, map, sizeof(map), 0), sizeof(map));
    const uint8_t *at = memmem(map, sizeof(map), id, sizeof(id));
    assert_non_null(at);
    return (off_t)(at - map) + 300 + (off_t)models[n].head_bytes;
}

static void flip(int fd, off_t offset)
{
    uint8_t byte;
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
}

/* A bit that changed in acknowledged mail is told, at a start and by a read; the rest is found. */
static void damaged_mail_is_told_and_never_given(void **state)
{
    begin(state);
    log_open(SEGMENT_BYTES, 8 * SEGMENT_BYTES);
    for (uint32_t n = 0; n < 12; n++) {
        (void)put(3000, 0, 0);
        run_all(); /* each in a group of its own: later heads tell that earlier ones are durable */
    }
    const int fd = segment_fd(1);
    const off_t offset = body_offset(fd, 5);
    flip(fd, offset);
    static uint8_t dst[65536];
    assert_true(spool_read_all(log_.spool, models[5].place, dst, sizeof(dst), MODEL_MAX));
    run_all();
    assert_int_equal(log_.read_error, -EBADMSG);
    read_and_compare(6);
    log_reopen();
    struct spool_stats stats;
    spool_stats(log_.spool, &stats);
    assert_int_equal(stats.damaged, 1);
    assert_int_equal(stats.records, 11);
    for (uint32_t n = 0; n < 12; n++)
        assert_true(models[n].found == (n != 5));
    for (uint32_t round = 0; round < 3; round++) {
        (void)put(100, 0, 0);
        run_all();
        log_reopen(); /* from the checkpoint now: still told, its segment still there */
        spool_stats(log_.spool, &stats);
        assert_true(stats.damaged >= 1);
        assert_int_equal(stats.records, 12 + round);
    }
    flip(fd, offset); /* put right: it is found again */
    models[5].life = LIFE_LIVES;
    log_reopen();
    compare_all(true);
    assert_int_equal(close(fd), 0);
    log_close();
}

/* The last write was not acknowledged: whatever a crash left of it, the rest is whole. */
static void a_torn_end_is_no_damage(void **state)
{
    begin(state);
    log_open(SEGMENT_BYTES, 8 * SEGMENT_BYTES);
    for (uint32_t n = 0; n < 12; n++) {
        (void)put(3000, 0, 0);
        run_all();
    }
    const int fd = segment_fd(1);
    const off_t offset = body_offset(fd, 11);
    flip(fd, offset);
    models[11].life = LIFE_GONE;
    log_reopen();
    compare_all(true);
    (void)put(3000, 0, 0);
    run_all();
    flip(fd, offset); /* what was not found once is not found later */
    log_reopen();
    compare_all(true);
    assert_int_equal(close(fd), 0);
    log_close();
}

static void a_damaged_beginning_is_an_error_with_a_mend(void **state)
{
    begin(state);
    log_open(SEGMENT_BYTES, 8 * SEGMENT_BYTES);
    for (uint32_t n = 0; n < 5; n++)
        (void)put(3000, 0, 0);
    run_all();
    log_close();
    const int fd = segment_fd(1);
    flip(fd, 40);
    assert_int_equal(log_try(0, 1, SEGMENT_BYTES, 8 * SEGMENT_BYTES), -EUCLEAN);
    flip(fd, 40);
    assert_int_equal(log_try(0, 1, SEGMENT_BYTES, 8 * SEGMENT_BYTES), 0);
    compare_all(true);
    assert_int_equal(close(fd), 0);
    log_close();
}

static void a_spool_that_is_too_small_says_so(void **state)
{
    begin(state);
    assert_int_equal(log_try(0, 1, SEGMENT_BYTES, 3 * SEGMENT_BYTES), -EINVAL);
    assert_int_equal(log_try(0, 1, SEGMENT_BYTES + 5, 30 * SEGMENT_BYTES), -EINVAL);
    assert_int_equal(log_try(0, 1, 4096, 30 * SEGMENT_BYTES), -EINVAL);
}

#define BOTH(test)                                                                                 \
    {#test " (io_uring)", test, NULL, end, folder},                                                \
    {                                                                                              \
#test " (thread)", test, NULL, end, NULL                                                   \
    }

static int folder_make(void **state)
{
    (void)state;
    const char *under = getenv("TMPDIR");
    (void)snprintf(folder, sizeof(folder), "%.40s/spool_test.XXXXXX",
                   under != NULL ? under : "/tmp");
    buffers = aligned_alloc(DISK_BLOCK_BYTES, SPOOL_BUFFERS_MIN);
    source = malloc(BODY_MAX + 65536);
    if (buffers == NULL || source == NULL || mkdtemp(folder) == NULL)
        return -1;
    for (size_t n = 0; n < BODY_MAX + 65536; n++)
        source[n] = (uint8_t)dice(256);
    for (uint32_t n = 0; n < 3; n++)
        memset(constant_bytes[n], (int)n + 1, sizeof(constant_bytes[n]));
    return 0;
}

static int folder_remove(void **state)
{
    (void)state;
    free(buffers);
    free(source);
    return rmdir(folder);
}

int main(int arguments_count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        BOTH(stored_records_are_found_and_read_again),
        BOTH(forgotten_held_and_replaced_stay_so),
        BOTH(a_record_is_replaced_when_its_marks_are_written),
        BOTH(any_history_is_found_again),
        BOTH(a_full_spool_refuses_and_mends_itself),
        BOTH(live_records_are_moved_when_segments_run_out),
        BOTH(a_record_larger_than_a_segment_is_refused),
        BOTH(former_lanes_are_adopted),
        BOTH(damaged_mail_is_told_and_never_given),
        BOTH(a_torn_end_is_no_damage),
        BOTH(a_damaged_beginning_is_an_error_with_a_mend),
        BOTH(a_spool_that_is_too_small_says_so),
    };
    if (arguments_count > 1)
        cmocka_set_test_filter(arguments[1]);
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
