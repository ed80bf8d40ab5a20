/* Makes segments in the background, ahead of need, and removes what is surplus. */
#include "queue/spool_internal.h"

#include "base/log.h"

#include <errno.h>
#include <string.h>

static uint32_t lane_ahead(const struct lane *lane)
{
    const uint32_t share = lane->segments_max / 8;
    return MIN(MAX(share, (uint32_t)AHEAD_MIN), (uint32_t)AHEAD_MAX);
}

bool lane_has_work(const struct lane *lane)
{
    bool work = lane->op_first < lane->op_next;
    for (uint32_t n = 0; n < LINES_COUNT; n++)
        work = work || lane->lines[n].first < lane->lines[n].next;
    return work;
}

static bool maker_wants(struct lane *lane)
{
    struct maker *maker = &lane->maker;
    /* A former lane needs one when it has something to note, and none ahead. */
    const uint32_t ahead =
        lane->self == 0 ? lane_ahead(lane) : lane_has_work(lane) && lane->open == NONE;
    if (lane->free_count >= ahead || lane->segments_count >= lane_segments_max(lane))
        return false;
    if (maker->pause_runs > 0)
        maker->pause_runs--;
    if (maker->refused_count >= PAUSE_PUTS)
        maker->pause_runs = 0;
    return maker->pause_runs == 0;
}

static bool maker_find(struct spool *spool, struct lane *lane, enum segment_state state)
{
    for (uint32_t n = 0; n < spool->segments_count; n++) {
        const struct segment *segment = &spool->segments[n];
        if (segment->lane != lane->self || segment->state != state || segment->reads_count > 0)
            continue;
        lane->maker.segment = n;
        return true;
    }
    return false;
}

static void maker_choose(struct spool *spool, struct lane *lane)
{
    struct maker *maker = &lane->maker;
    if (maker->due) {
        if (maker_find(spool, lane, SEGMENT_SURPLUS)) {
            maker->state = MAKER_CLOSE;
            return;
        }
        if (maker_find(spool, lane, SEGMENT_RAW)) {
            spool->segments[maker->segment].state = SEGMENT_MAKING;
            maker->state = MAKER_FILL;
            maker->filled = 0;
            return;
        }
        maker->due = false;
    }
    if (!maker_wants(lane))
        return;
    const uint32_t segment = segment_take(spool, lane->self, spool->config.segment_bytes);
    if (segment == NONE)
        return;
    spool->segments[segment].state = SEGMENT_MAKING;
    spool->segments[segment].file_number = lane->file_number_next++;
    maker->segment = segment;
    maker->state = MAKER_CREATE;
    maker->filled = 0;
}

/* The header of a segment that may be used: number 0. */
static void blank_make(const struct lane *lane, uint8_t *block)
{
    struct format_head head = {.kind = FORMAT_SEGMENT, .epoch = lane->epoch, .lane = lane->number};
    const struct format_tail tail = {.magic = FORMAT_MAGIC_TAIL};
    format_head_seal(&head);
    memset(block, 0, DISK_BLOCK_BYTES);
    memcpy(block, &head, sizeof(head));
    memcpy(block + sizeof(head), &tail, sizeof(tail));
}

void maker_step(struct spool *spool, uint32_t lane_index)
{
    struct lane *lane = spool->lanes[lane_index];
    struct maker *maker = &lane->maker;
    if (maker->out || spool->disk_out == DISK_REQUESTS_MAX)
        return;
    if (maker->state == MAKER_IDLE)
        maker_choose(spool, lane);
    if (maker->state == MAKER_IDLE)
        return;
    const struct segment *segment = &spool->segments[maker->segment];
    struct disk_request request = {.file = segment->file, .tag = TAG(TAG_MAKER, lane_index, 0)};
    segment_name(spool, maker->segment, request.name);
    switch (maker->state) {
    case MAKER_IDLE: return;
    case MAKER_CREATE:
        request.kind = DISK_CREATE;
        request.bytes = segment->bytes;
        break;
    case MAKER_FILL:
        request.kind = DISK_FILL;
        request.at = spool->zeros;
        request.offset = maker->filled;
        request.bytes = MIN(segment->bytes - maker->filled, FILL_BYTES);
        break;
    case MAKER_SYNC: request.kind = DISK_SYNC; break;
    case MAKER_FOLDER: request.kind = DISK_SYNC_FOLDER; break;
    case MAKER_BLANK:
        blank_make(lane, maker->blank);
        request.kind = DISK_WRITE;
        request.at = maker->blank;
        request.bytes = DISK_BLOCK_BYTES;
        break;
    case MAKER_CLOSE: request.kind = DISK_CLOSE; break;
    case MAKER_UNLINK: request.kind = DISK_UNLINK; break;
    }
    maker->out = spool_submit(spool, &request);
}

static void maker_failed(struct spool *spool, struct lane *lane, int64_t error)
{
    struct maker *maker = &lane->maker;
    char name[DISK_NAME_BYTES];
    segment_name(spool, maker->segment, name);
    log_line(LOG_LEVEL_WARNING, "spool_segment_not_made",
             "file=%s error=\"%s\" effect=\"no more mail is taken when the others are full\" "
             "mend=\"room on the disk\"",
             name, strerror((int)-error));
    maker->pause_runs = PAUSE_RUNS;
    maker->refused_count = 0;
    maker->state = spool->segments[maker->segment].file >= 0 ? MAKER_CLOSE : MAKER_UNLINK;
}

static void fill_done(struct spool *spool, struct lane *lane, int64_t result)
{
    struct maker *maker = &lane->maker;
    const struct segment *segment = &spool->segments[maker->segment];
    if (result <= 0 || (uint64_t)result > segment->bytes - maker->filled) {
        maker_failed(spool, lane, result < 0 ? result : -ENOSPC);
        return;
    }
    /* A short one goes on at the last whole block. */
    maker->filled += (uint64_t)result / DISK_BLOCK_BYTES * DISK_BLOCK_BYTES;
    if (result < DISK_BLOCK_BYTES)
        maker_failed(spool, lane, -ENOSPC);
    else if (maker->filled == segment->bytes)
        maker->state = MAKER_SYNC;
}

static void removed(struct spool *spool, struct lane *lane)
{
    struct maker *maker = &lane->maker;
    struct segment *segment = &spool->segments[maker->segment];
    ASSERT(segment->live_count == 0);
    segment->state = SEGMENT_NONE;
    lane->segments_count--;
    maker->state = MAKER_IDLE;
}

void maker_done(struct spool *spool, uint32_t lane_index, int64_t result)
{
    struct lane *lane = spool->lanes[lane_index];
    struct maker *maker = &lane->maker;
    struct segment *segment = &spool->segments[maker->segment];
    ASSERT(maker->out);
    maker->out = false;
    switch (maker->state) {
    case MAKER_IDLE: return;
    case MAKER_CREATE:
        if (result >= 0) {
            segment->file = (int32_t)result;
            maker->state = MAKER_FILL;
        } else if (result == -EEXIST) {
            segment->file_number = lane->file_number_next++;
        } else {
            maker_failed(spool, lane, result);
            removed(spool, lane);
        }
        return;
    case MAKER_FILL: fill_done(spool, lane, result); return;
    case MAKER_SYNC:
    case MAKER_FOLDER:
        if (result != 0)
            maker_failed(spool, lane, result);
        else
            maker->state = maker->state == MAKER_SYNC ? MAKER_FOLDER : MAKER_BLANK;
        return;
    case MAKER_BLANK:
        if (result != DISK_BLOCK_BYTES) {
            maker_failed(spool, lane, result < 0 ? result : -EIO);
            return;
        }
        segment->state = SEGMENT_FREE;
        lane->free_count++;
        maker->state = MAKER_IDLE;
        return;
    case MAKER_CLOSE:
        segment->file = -1;
        maker->state = MAKER_UNLINK;
        return;
    case MAKER_UNLINK: removed(spool, lane); return;
    }
}

void spool_retry(struct spool *spool)
{
    for (uint32_t n = 0; n < spool->lanes_count; n++)
        spool->lanes[n]->maker.pause_runs = 0;
}
