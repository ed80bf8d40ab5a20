/* fuzz: links queue_disk_model queue */
/*
 * A spool's segments with bytes changed at will, and heads whose checksums were made good again:
 * recovery finds records that are whole, or declines; reads give bytes or an error.
 *
 * The input: 8 bytes a change: u8 which segment, u8 what, u16 value, u32 where. What: an even one
 * changes bytes anywhere, an odd one a field of the nearest head before, and seals that head anew.
 */
#include "base/assert.h"
#include "base/bytes.h"
#include "queue/spool_format.h"
#include "tests/queue/disk_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENT_BYTES  ((uint64_t)128 << 10)
#define SEGMENTS_COUNT 6
#define RECORDS_COUNT  160
#define BODY_BYTES     1500
#define CHANGES_MAX    32
#define CHANGE_BYTES   8
#define FOUND_MAX      4096
#define ROOM_BYTES     ((size_t)1 << 20)
#define RUNS_MAX       100000

struct found_list {
    uint64_t places[FOUND_MAX];
    uint32_t count;
};

static struct disk_model *base;
static uint8_t *buffers;
static uint8_t *room;
static uint8_t segment[SEGMENT_BYTES] __attribute__((aligned(DISK_BLOCK_BYTES)));

static struct spool_config config_of(struct disk_model *model)
{
    return (struct spool_config){.disk = disk_model_disk(model),
                                 .lanes_count = 1,
                                 .segment_bytes = SEGMENT_BYTES,
                                 .bytes_max = SEGMENTS_COUNT * SEGMENT_BYTES,
                                 .buffers = buffers,
                                 .buffers_bytes = SPOOL_BUFFERS_MIN};
}

static struct disk_model *model_new(void)
{
    const struct disk_model_config config = {.seed = 1, .file_bytes_max = SEGMENT_BYTES};
    return disk_model_open(&config);
}

/* One request, to its end. */
static int64_t disk_do(struct disk *disk, const struct disk_request *request)
{
    struct disk_result result;
    const bool taken = disk->ops->submit(disk, request);
    ASSERT(taken);
    while (disk->ops->reap(disk, 0, &result, 1) == 0)
        ;
    return result.result;
}

static void found_note(void *user, const struct spool_found *found)
{
    struct found_list *list = user;
    ASSERT(list->count < FOUND_MAX);
    list->places[list->count++] = found->place;
}

/* Until nothing is out; `wanted` events of reads came. */
static void settle(struct spool *spool, uint32_t wanted)
{
    struct spool_event events[16];
    for (uint32_t runs = 0; wanted > 0 || spool_busy(spool); runs++) {
        ASSERT(runs < RUNS_MAX);
        const uint32_t count = spool_run(spool, events, ARRAY_COUNT(events));
        for (uint32_t i = 0; i < count; i++)
            wanted -= events[i].kind == SPOOL_READ;
    }
}

/* Several segments: bodies with a constant, some forgotten, some held. */
static void write_base(struct spool *spool)
{
    static uint8_t body[BODY_BYTES];
    static uint8_t constant[3000];
    struct spool_event events[16];
    uint32_t put = 0;
    uint32_t stored = 0;
    while (stored < RECORDS_COUNT) {
        struct spool_record record = {.kind = SPOOL_MAIL,
                                      .id = {(uint8_t)put},
                                      .arrived_unix_ms = 1,
                                      .end_unix_ms = 2,
                                      .head = body,
                                      .head_bytes = 40,
                                      .spans_count = 2,
                                      .spans = {{body, BODY_BYTES, 0}, {constant, 3000, 1}},
                                      .replaces = SPOOL_NOWHERE};
        if (put < RECORDS_COUNT && spool_put(spool, &record, put))
            put++;
        const uint32_t count = spool_run(spool, events, ARRAY_COUNT(events));
        for (uint32_t i = 0; i < count; i++) {
            if (events[i].kind != SPOOL_STORED)
                continue;
            stored++;
            if (events[i].tag % 3 != 0)
                (void)spool_forget(spool, events[i].place, 0);
            else if (events[i].tag % 2 == 0)
                (void)spool_mark(spool, events[i].place, true, 0);
        }
    }
    settle(spool, 0);
}

static void set_up_once(void)
{
    if (base != NULL)
        return;
    char why[SPOOL_WHY_BYTES] = "";
    struct found_list list = {.count = 0};
    struct spool *spool;
    buffers = aligned_alloc(DISK_BLOCK_BYTES, SPOOL_BUFFERS_MIN);
    room = malloc(ROOM_BYTES);
    ASSERT(buffers != NULL && room != NULL);
    base = model_new();
    const struct spool_config config = config_of(base);
    const int rc = spool_open(&spool, &config, found_note, &list, why);
    ASSERT(rc == 0 && list.count == 0);
    write_base(spool);
    spool_close(spool);
}

/* The nearest head at or before `offset`; SEGMENT_BYTES: there is none. */
static uint64_t head_before(uint64_t offset)
{
    offset =
        MIN(offset, SEGMENT_BYTES - sizeof(struct format_head)) & ~(uint64_t)(FORMAT_ALIGN - 1);
    for (;; offset -= FORMAT_ALIGN) {
        if (bytes_load_le32(segment + offset) == FORMAT_MAGIC_HEAD)
            return offset;
        if (offset == 0)
            return SEGMENT_BYTES;
    }
}

static void change(const uint8_t *at)
{
    const uint16_t value = bytes_load_le16(at + 2);
    const uint32_t where = bytes_load_le32(at + 4);
    struct format_head head;
    if ((at[1] & 1) == 0) {
        segment[where % SEGMENT_BYTES] ^= (uint8_t)value;
        return;
    }
    const uint64_t offset = head_before(where % SEGMENT_BYTES);
    if (offset == SEGMENT_BYTES)
        return;
    const uint32_t field = where % (offsetof(struct format_head, crc) - 1);
    segment[offset + field] ^= (uint8_t)value;
    segment[offset + field + 1] ^= (uint8_t)(value >> 8);
    memcpy(&head, segment + offset, sizeof(head));
    format_head_seal(&head);
    memcpy(segment + offset, &head, sizeof(head));
}

/* Changes of one segment, in its file. */
static void change_segment(struct disk *disk, uint32_t number, const uint8_t *changes,
                           uint32_t changes_count)
{
    struct disk_request request = {.kind = DISK_OPEN, .bytes = SEGMENT_BYTES};
    (void)snprintf(request.name, sizeof(request.name), "00-%08u.log", number + 1);
    const int64_t file = disk_do(disk, &request);
    if (file < 0)
        return;
    request = (struct disk_request){
        .kind = DISK_READ, .file = (int32_t)file, .at = segment, .bytes = SEGMENT_BYTES};
    int64_t rc = disk_do(disk, &request);
    ASSERT(rc == (int64_t)SEGMENT_BYTES);
    for (uint32_t i = 0; i < changes_count; i++) {
        if (changes[i * CHANGE_BYTES] % SEGMENTS_COUNT == number)
            change(changes + (size_t)i * CHANGE_BYTES);
    }
    request.kind = DISK_WRITE;
    rc = disk_do(disk, &request);
    ASSERT(rc == (int64_t)SEGMENT_BYTES);
    request.kind = DISK_CLOSE;
    rc = disk_do(disk, &request);
    ASSERT(rc == 0);
}

static void recover(struct disk_model *model)
{
    char why[SPOOL_WHY_BYTES] = "";
    struct found_list list = {.count = 0};
    struct spool *spool;
    const struct spool_config config = config_of(model);
    if (spool_open(&spool, &config, found_note, &list, why) != 0) {
        ASSERT(memchr(why, '\0', sizeof(why)) != NULL && why[0] != '\0');
        return;
    }
    for (uint32_t i = 0; i < list.count; i++) {
        uint32_t runs = 0;
        for (; !spool_read_all(spool, list.places[i], room, ROOM_BYTES, i); runs++) {
            ASSERT(runs < RUNS_MAX);
            settle(spool, 0);
        }
        settle(spool, 1);
    }
    settle(spool, 0);
    spool_close(spool);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes_at, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *bytes_at, size_t bytes)
{
    const uint32_t changes_count = (uint32_t)MIN(bytes / CHANGE_BYTES, (size_t)CHANGES_MAX);
    set_up_once();
    struct disk_model *model = model_new();
    (void)disk_model_cut(base, model, DISK_MODEL_ALL, 1);
    for (uint32_t number = 0; number < SEGMENTS_COUNT; number++)
        change_segment(disk_model_disk(model), number, bytes_at, changes_count);
    recover(model);
    disk_close(disk_model_disk(model));
    return 0;
}
