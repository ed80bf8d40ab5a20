/* Segments: opened, closed, sealed off; made ahead of need, recycled, removed. */
#include "queue/spool_internal.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void segment_name(const struct spool *spool, uint32_t segment_index, char name[DISK_NAME_BYTES])
{
    const struct segment *segment = &spool->segments[segment_index];
    (void)snprintf(name, DISK_NAME_BYTES, "%02u-%08u.log", spool->lanes[segment->lane]->number,
                   segment->file_number);
}

uint32_t segment_take(struct spool *spool, uint32_t lane_index, uint64_t bytes)
{
    uint32_t index = 0;
    while (index < spool->segments_count && spool->segments[index].state != SEGMENT_NONE)
        index++;
    if (index == SPOOL_SEGMENTS_MAX)
        return NONE;
    spool->segments_count = MAX(spool->segments_count, index + 1);
    uint8_t *bits = spool->bits + 2 * spool->bits_bytes * index;
    spool->segments[index] = (struct segment){
        .lane = lane_index,
        .file = -1,
        .bytes = bytes,
        .first = NONE,
        .live = (uint64_t *)(void *)bits,
        .held = (uint64_t *)(void *)(bits + spool->bits_bytes),
    };
    spool->lanes[lane_index]->segments_count++;
    return index;
}

static uint64_t bitmap_bytes(uint32_t ordinals_count)
{
    return ((uint64_t)ordinals_count + 63) / 64 * sizeof(uint64_t);
}

static bool any_held(const struct segment *segment)
{
    for (uint64_t n = 0; n < bitmap_bytes(segment->ordinals_count) / 8; n++)
        if (segment->held[n] != 0)
            return true;
    return false;
}

/* Appends what the checkpoint says of one older segment; 0: no room. */
static uint64_t checkpoint_older(const struct segment *segment, uint8_t *dst, uint64_t room)
{
    struct format_older older = {
        .segment_number = segment->number,
        .epoch = segment->epoch,
        .ended = segment->ended,
        .index_at = segment->index_at,
        .ordinals_count = segment->ordinals_count,
        .live_count = segment->live_count,
    };
    const uint64_t bits = bitmap_bytes(segment->ordinals_count);
    if (segment->live_count < segment->ordinals_count)
        older.flags |= FORMAT_OLDER_BITS_LIVE;
    if (any_held(segment))
        older.flags |= FORMAT_OLDER_BITS_HELD;
    if (sizeof(older) + 2 * bits > room)
        return 0;
    uint64_t bytes = sizeof(older);
    memcpy(dst, &older, sizeof(older));
    if ((older.flags & FORMAT_OLDER_BITS_LIVE) != 0) {
        memcpy(dst + bytes, segment->live, bits);
        bytes += bits;
    }
    if ((older.flags & FORMAT_OLDER_BITS_HELD) != 0) {
        memcpy(dst + bytes, segment->held, bits);
        bytes += bits;
    }
    return bytes;
}

static bool checkpoint_build(struct spool *spool, struct lane *lane, uint64_t room)
{
    uint64_t bytes = 0;
    for (uint32_t n = 0; n < spool->segments_count; n++) {
        const struct segment *segment = &spool->segments[n];
        if (segment->lane != lane->self || segment->live_count == 0 ||
            (segment->state != SEGMENT_CLOSED && segment->state != SEGMENT_BAD))
            continue;
        const uint64_t added = checkpoint_older(segment, lane->checkpoint + bytes, room - bytes);
        if (added == 0)
            return false;
        bytes += added;
    }
    lane->checkpoint_bytes = bytes;
    lane->crowded = bytes > room / 2;
    return true;
}

/* What a header must leave: a record of notes, an index, and blocks that pad. */
static uint64_t checkpoint_room(uint64_t segment_bytes)
{
    return segment_bytes / 2 - 2 * (uint64_t)DISK_BLOCK_BYTES;
}

static bool segment_open(struct spool *spool, struct lane *lane)
{
    uint32_t index = 0;
    while (index < spool->segments_count && (spool->segments[index].lane != lane->self ||
                                             spool->segments[index].state != SEGMENT_FREE))
        index++;
    ASSERT(index < spool->segments_count); /* free_count says so */
    struct segment *segment = &spool->segments[index];
    if (!checkpoint_build(spool, lane, checkpoint_room(segment->bytes)))
        return false;
    ASSERT(segment->live_count == 0);
    segment->state = SEGMENT_OPEN;
    segment->number = lane->number_next++;
    segment->epoch = lane->epoch;
    segment->ended = 0;
    segment->index_at = 0;
    segment->ordinals_count = 0;
    segment->stays = false;
    memset(segment->live, 0, spool->bits_bytes);
    memset(segment->held, 0, spool->bits_bytes);
    lane->free_count--;
    lane->open = index;
    lane->state = LANE_OPENING;
    lane->tail = lane->ended = lane->whole_end = 0;
    lane->sequence = 0;
    lane->index_at = 0;
    lane->ordinals_count = lane->ended_ordinals = lane->whole_ordinals = 0;
    lane->header_written = lane->index_written = false;
    lane->constants_count = 0;
    ASSERT(lane->group_acked == lane->group_next);
    return true;
}

/* Mail that cannot be written and stands nowhere is refused now; with `written` that too which
 * stands in a failed segment, whose end is durable by now. */
static bool line_refuse(struct lane *lane, struct line *line, bool written)
{
    bool any = false;
    for (uint64_t n = line->encoded; n < line->next; n++) {
        struct put *put = &line->puts[n % PUTS_MAX];
        const bool stands = put->tries > 0 && !written && !put->moves;
        const bool half = n == line->encoded && lane->cursor.active && lane->cursor.line == line;
        if (put->error != 0 || stands || half)
            continue;
        put->error = -ENOSPC;
        line->refused = any = true;
        lane->maker.refused_count++;
    }
    return any;
}

/* Records that failed in too many segments: the header that was just written disowns them. */
static void line_doom(struct line *line)
{
    for (uint64_t n = line->first; n < line->next; n++) {
        struct put *put = &line->puts[n % PUTS_MAX];
        if (put->error == 0 && put->tries >= TRIES_MAX) {
            put->error = -EIO;
            line->refused = true;
        }
    }
}

/* What is not durable is to be written again. */
static void line_put_back(const struct lane *lane, struct line *line)
{
    const bool half = lane->cursor.active && lane->cursor.line == line;
    for (uint64_t n = line->first; n < line->encoded + half; n++)
        line->puts[n % PUTS_MAX].tries++;
    line->encoded = line->first;
}

static void segment_fail(struct spool *spool, struct lane *lane)
{
    struct segment *segment = &spool->segments[lane->open];
    segment->state = SEGMENT_BAD;
    segment->ended = lane->ended;
    segment->ordinals_count = lane->ended_ordinals;
    segment->index_at = 0;
    for (; lane->group_acked < lane->group_next; lane->group_acked++)
        spool->buffers_free[spool->buffers_free_count++] =
            lane->groups[lane->group_acked % GROUPS_MAX].buffer;
    line_put_back(lane, &lane->lines[LINE_URGENT]);
    line_put_back(lane, &lane->lines[LINE_MAIL]);
    lane->op_encoded = lane->op_first;
    lane->cursor.active = false;
    lane->open = NONE;
    lane->state = LANE_IDLE;
    spool->recycle_due = true;
    char name[DISK_NAME_BYTES];
    segment_name(spool, (uint32_t)(segment - spool->segments), name);
    log_line(LOG_LEVEL_ERROR, "spool_segment_failed",
             "file=%s ended=%llu effect=\"sealed off, its mail is written elsewhere\" "
             "mend=\"look at the disk\"",
             name, (unsigned long long)segment->ended);
}

static void segment_close(struct spool *spool, struct lane *lane)
{
    struct segment *segment = &spool->segments[lane->open];
    segment->state = SEGMENT_CLOSED;
    segment->ended = lane->ended;
    segment->index_at = lane->index_at;
    segment->ordinals_count = lane->ordinals_count;
    lane->open = NONE;
    lane->state = LANE_IDLE;
}

/* What lives nowhere and is in no newest checkpoint is free for another use. */
static void segments_recycle(struct spool *spool)
{
    spool->recycle_due = false;
    for (uint32_t n = 0; n < spool->segments_count; n++) {
        struct segment *segment = &spool->segments[n];
        struct lane *lane = spool->lanes[segment->lane];
        if ((segment->state != SEGMENT_CLOSED && segment->state != SEGMENT_BAD) ||
            segment->live_count > 0 || segment->reads_count > 0 ||
            segment->number >= lane->header_number)
            continue;
        if (segment->file < 0) { /* only the checkpoint knew it: its file was removed in time */
            segment->state = SEGMENT_NONE;
            lane->segments_count--;
            continue;
        }
        const bool many = lane->self != 0 ? lane->free_count > 0
                                          : lane->segments_count > lane->segments_max &&
                                                lane->free_count >= RESERVE;
        if (segment->state == SEGMENT_CLOSED && segment->bytes == spool->config.segment_bytes &&
            !many) {
            segment->state = SEGMENT_FREE;
            lane->free_count++;
        } else {
            segment->state = SEGMENT_SURPLUS;
            lane->maker.due = true;
        }
    }
}

/* The newest segment, which a crash left closed, cannot be recycled before there is a newer one. */
uint32_t lane_segments_max(const struct lane *lane)
{
    const bool stuck = lane->state == LANE_IDLE && lane->free_count == 0 && lane_has_work(lane);
    return lane->segments_max + (stuck ? SEGMENTS_SPARE : 0);
}

bool lane_has_hope(const struct spool *spool, const struct lane *lane)
{
    const struct maker *maker = &lane->maker;
    if (maker->state != MAKER_IDLE || maker->due || spool->recycle_due)
        return true;
    if (lane->segments_count < lane_segments_max(lane) && maker->pause_runs == 0)
        return true;
    return move_has_hope(spool, lane->self);
}

static bool lane_idle_step(struct spool *spool, struct lane *lane)
{
    if (!lane_has_work(lane))
        return false;
    if (lane->free_count > 0 && segment_open(spool, lane))
        return true;
    if (lane_has_hope(spool, lane))
        return false;
    const bool urgent = line_refuse(lane, &lane->lines[LINE_URGENT], false);
    return line_refuse(lane, &lane->lines[LINE_MAIL], false) || urgent;
}

static bool lane_open_step(struct spool *spool, struct lane *lane)
{
    struct line *line = &lane->lines[LINE_MAIL];
    if (line->encoded == line->next || (lane->free_count >= RESERVE && !lane->crowded))
        return false;
    if (!lane->crowded && lane_has_hope(spool, lane))
        return false;
    return line_refuse(lane, line, true);
}

bool lane_step(struct spool *spool, struct lane *lane)
{
    if (spool->recycle_due)
        segments_recycle(spool);
    switch (lane->state) {
    case LANE_IDLE: return lane_idle_step(spool, lane);
    case LANE_OPENING:
        if (!lane->header_written || lane->cursor.active || lane->group_acked < lane->group_next)
            return false;
        lane->state = LANE_OPEN;
        lane->header_number = spool->segments[lane->open].number;
        spool->recycle_due = true;
        line_doom(&lane->lines[LINE_URGENT]);
        line_doom(&lane->lines[LINE_MAIL]);
        return true;
    case LANE_OPEN: return lane_open_step(spool, lane);
    case LANE_CLOSING:
        if (!lane->index_written || lane->cursor.active || lane->group_acked < lane->group_next ||
            !lane_is_told(lane))
            return false;
        segment_close(spool, lane);
        return true;
    case LANE_FAILING:
        for (uint64_t n = lane->group_acked; n < lane->group_next; n++)
            if (lane->groups[n % GROUPS_MAX].state == GROUP_OUT)
                return false;
        if (!lane_is_told(lane))
            return false;
        segment_fail(spool, lane);
        return true;
    }
    return false;
}
