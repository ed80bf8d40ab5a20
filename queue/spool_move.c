/* Makes room: what lives in the emptiest segment is written again at the end of the log. */
#include "queue/spool_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define MOVE_PIECE     ((uint64_t)1 << 20)
#define MOVE_PUTS_MAX  (PUTS_MAX / 2)       /* the rest of the ring stays for mail */
#define MOVE_STEP_MAX  64                   /* records a run */
#define MOVE_NAMES     UINT32_C(0x80000000) /* of constants: not the engine's */
#define MOVE_LIVE_PART 4                    /* a segment with more than 3/4 alive is not worth it */

enum move_state { MOVE_IDLE, MOVE_READING, MOVE_PUTTING };

struct move_constant {
    uint64_t at;
    uint32_t name;
};

struct move {
    enum move_state state;
    uint32_t segment;
    uint32_t lane;
    bool out;
    uint64_t done;
    uint64_t map_bytes;
    uint8_t *map;
    uint32_t puts_out;
    uint32_t fruitless; /* segments emptied since something was stored or forgotten */
    uint64_t fruits;    /* what was stored and forgotten by then                    */
    uint32_t name;      /* the last one given */
    uint32_t constants_count;
    struct move_constant constants[CONSTANTS_MAX];
};

int move_open(struct spool *spool)
{
    const uint64_t bytes =
        (sizeof(struct move) + DISK_BLOCK_BYTES) / DISK_BLOCK_BYTES * DISK_BLOCK_BYTES;
    uint8_t *at = mmap(NULL, bytes + spool->segment_bytes_max, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return -ENOMEM;
    spool->move = (struct move *)(void *)at;
    spool->move->map = at + bytes;
    spool->move->map_bytes = spool->segment_bytes_max;
    return 0;
}

void move_close(struct spool *spool)
{
    struct move *move = spool->move;
    if (move != NULL)
        (void)munmap(move, (size_t)(move->map - (uint8_t *)move) + move->map_bytes);
}

/* What is written must fit into the rest of the open segment when nothing else is free. */
static uint32_t victim_find(const struct spool *spool, const struct lane *lane)
{
    uint32_t best = NONE;
    if (lane->state != LANE_OPEN)
        return NONE;
    const uint64_t left = spool->segments[lane->open].bytes - lane->tail;
    for (uint32_t n = 0; n < spool->segments_count; n++) {
        const struct segment *segment = &spool->segments[n];
        if (segment->lane != lane->self || segment->live_count == 0 || segment->stays ||
            (segment->state != SEGMENT_CLOSED && segment->state != SEGMENT_BAD) ||
            segment->bytes_live > segment->bytes / MOVE_LIVE_PART * (MOVE_LIVE_PART - 1))
            continue;
        const uint64_t index = sizeof(struct format_index) * (segment->live_count + 1ULL);
        if (lane->free_count == 0 && segment->bytes_live + index + segment->bytes / 8 > left)
            continue;
        if (best == NONE || segment->bytes_live < spool->segments[best].bytes_live)
            best = n;
    }
    return best;
}

/* Only when nothing else makes room. */
static bool lane_is_full(const struct lane *lane)
{
    const struct maker *maker = &lane->maker;
    return lane->free_count < RESERVE && lane->state == LANE_OPEN && maker->state == MAKER_IDLE &&
           !maker->due && (lane->segments_count >= lane->segments_max || maker->pause_runs > 0);
}

/* Each segment was emptied once and nothing came of it: there is no room, only wear. */
static bool move_is_fruitless(const struct spool *spool)
{
    const struct move *move = spool->move;
    return move->fruits == spool->stats.stored + spool->stats.forgotten &&
           move->fruitless > spool->lanes[0]->segments_count;
}

bool move_has_hope(const struct spool *spool, uint32_t lane_index)
{
    const struct lane *lane = spool->lanes[lane_index];
    const struct move *move = spool->move;
    if (lane->state != LANE_OPEN || lane_index != 0 || move_is_fruitless(spool))
        return false;
    return move->state != MOVE_IDLE || victim_find(spool, lane) != NONE;
}

static void move_end(struct spool *spool, bool stays)
{
    struct move *move = spool->move;
    spool->segments[move->segment].stays = stays;
    spool->segments[move->segment].reads_count--;
    spool->recycle_due = true;
    move->state = MOVE_IDLE;
    const uint64_t fruits = spool->stats.stored + spool->stats.forgotten;
    move->fruitless = move->fruits == fruits ? move->fruitless + 1 : 1;
    move->fruits = fruits;
    (void)madvise(move->map, move->map_bytes, MADV_DONTNEED);
}

static void move_begin(struct spool *spool)
{
    struct move *move = spool->move;
    if (!lane_is_full(spool->lanes[0]) || spool->recycle_due || move_is_fruitless(spool))
        return;
    const uint32_t victim = victim_find(spool, spool->lanes[0]);
    if (victim == NONE)
        return;
    move->segment = victim;
    move->lane = 0;
    move->done = 0;
    move->constants_count = 0;
    move->state = MOVE_READING;
    spool->segments[victim].reads_count++;
}

static void move_read(struct spool *spool)
{
    struct move *move = spool->move;
    const struct segment *segment = &spool->segments[move->segment];
    const struct disk_request request = {
        .kind = DISK_READ,
        .file = segment->file,
        .at = move->map + move->done,
        .offset = move->done,
        .bytes = MIN(format_blocks(segment->ended) - move->done, MOVE_PIECE),
        .tag = TAG(TAG_MOVE, 0, 0),
    };
    if (!move->out)
        move->out = spool_submit(spool, &request);
}

void move_done(struct spool *spool, int64_t result)
{
    struct move *move = spool->move;
    const uint64_t end = format_blocks(spool->segments[move->segment].ended);
    ASSERT(move->state == MOVE_READING && move->out);
    move->out = false;
    if (result < DISK_BLOCK_BYTES || (uint64_t)result > end - move->done) {
        spool->stats.failed++;
        move_end(spool, true);
        return;
    }
    move->done += (uint64_t)result / DISK_BLOCK_BYTES * DISK_BLOCK_BYTES;
    if (move->done == end)
        move->state = MOVE_PUTTING;
}

static bool constant_span(struct spool *spool, uint64_t at, uint32_t bytes, struct spool_span *span)
{
    struct move *move = spool->move;
    const struct segment *segment = &spool->segments[move->segment];
    struct format_head head;
    if (at >= segment->ended || !format_record_is(move->map + at, segment->ended - at,
                                                  spool->lanes[move->lane]->number, at))
        return false;
    memcpy(&head, move->map + at, sizeof(head));
    if (head.kind != FORMAT_CONSTANT || head.inline_bytes != bytes ||
        head.segment_number != segment->number || head.epoch != segment->epoch)
        return false;
    uint32_t n = 0;
    while (n < move->constants_count && move->constants[n].at != at)
        n++;
    if (n == CONSTANTS_MAX)
        return false;
    if (n == move->constants_count)
        move->constants[move->constants_count++] =
            (struct move_constant){.at = at, .name = MOVE_NAMES | ++move->name};
    *span = (struct spool_span){
        .at = format_body(move->map + at), .bytes = bytes, .constant = move->constants[n].name};
    return true;
}

/* The record as it was put, from the bytes on the disk; false: they do not verify. */
static bool record_again(struct spool *spool, const struct entry *entry,
                         struct spool_record *record)
{
    const struct move *move = spool->move;
    const struct segment *segment = &spool->segments[move->segment];
    const uint64_t at = (uint64_t)entry->at * FORMAT_ALIGN;
    struct format_head head;
    if (at >= segment->ended || !format_record_is(move->map + at, segment->ended - at,
                                                  spool->lanes[move->lane]->number, at))
        return false;
    memcpy(&head, move->map + at, sizeof(head));
    if ((head.kind != FORMAT_MAIL && head.kind != FORMAT_NOTICE) ||
        head.segment_number != segment->number || head.epoch != segment->epoch ||
        head.ordinal != entry->ordinal)
        return false;
    const uint8_t *spans = move->map + at + sizeof(head);
    const uint8_t *body = format_body(move->map + at);
    *record = (struct spool_record){
        .kind = head.kind == FORMAT_MAIL ? SPOOL_MAIL : SPOOL_NOTICE,
        .arrived_unix_ms = head.arrived_unix_ms,
        .end_unix_ms = head.end_unix_ms,
        .head = spans + sizeof(struct format_span) * head.spans_count,
        .head_bytes = head.head_bytes,
        .spans_count = head.spans_count,
    };
    memcpy(record->id, head.id, sizeof(record->id));
    for (uint32_t n = 0; n < head.spans_count; n++) {
        struct format_span span;
        memcpy(&span, spans + n * sizeof(span), sizeof(span));
        if (span.constant_at != 0) {
            if (!constant_span(spool, span.constant_at, span.bytes, &record->spans[n]))
                return false;
            continue;
        }
        record->spans[n] = (struct spool_span){.at = body, .bytes = span.bytes};
        body += span.bytes;
    }
    return true;
}

static void move_put(struct spool *spool)
{
    struct move *move = spool->move;
    struct segment *segment = &spool->segments[move->segment];
    struct lane *lane = spool->lanes[move->lane];
    struct line *line = &lane->lines[LINE_URGENT];
    uint32_t added = 0;
    bool stays = false;
    uint32_t next;
    for (uint32_t n = segment->first; n != NONE && added < MOVE_STEP_MAX; n = next) {
        struct entry *entry = &spool->entries[n];
        next = entry->next;
        if ((entry->flags & (ENTRY_BUSY | ENTRY_MOVING)) != 0 || entry->notes_count > 0)
            continue;
        if (line->next - line->first >= MOVE_PUTS_MAX || lane->state != LANE_OPEN)
            return;
        struct put put = {.entry = n, .moves = true, .held = (entry->flags & ENTRY_HELD) != 0};
        if (segment->stays || !record_again(spool, entry, &put.record)) {
            stays = true;
            continue;
        }
        put.record.replaces = entry_place_of(spool, n);
        entry->flags |= ENTRY_MOVING;
        line->puts[line->next++ % PUTS_MAX] = put;
        move->puts_out++;
        added++;
    }
    if (move->puts_out == 0 && (segment->first == NONE || stays))
        move_end(spool, stays || segment->live_count > 0);
}

void move_ended(struct spool *spool, struct lane *lane, const struct put *put)
{
    struct move *move = spool->move;
    ASSERT(move->state == MOVE_PUTTING && move->puts_out > 0);
    move->puts_out--;
    spool->entries[put->entry].flags &= (uint8_t)~ENTRY_MOVING;
    if (put->error != 0) {
        spool->segments[move->segment].stays = true;
        return;
    }
    put_lives(spool, lane, put);
    spool->stats.moved++;
}

void move_step(struct spool *spool)
{
    switch (spool->move->state) {
    case MOVE_IDLE: move_begin(spool); return;
    case MOVE_READING: move_read(spool); return;
    case MOVE_PUTTING: move_put(spool); return;
    }
}
