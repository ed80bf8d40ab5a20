/* The record's way: into a group, to the disk, acknowledged. */
#include "queue/spool_internal.h"

#include "queue/crc32c.h"

#include <errno.h>
#include <string.h>

#define LANE_CHANGES_MAX 8

bool spool_submit(struct spool *spool, const struct disk_request *request)
{
    if (spool->disk_out == DISK_REQUESTS_MAX || !spool->disk->ops->submit(spool->disk, request))
        return false;
    spool->disk_out++;
    return true;
}

static void cursor_piece(struct cursor *cursor, const void *at, uint64_t bytes)
{
    ASSERT(cursor->pieces_count < ARRAY_COUNT(cursor->pieces));
    if (bytes == 0)
        return;
    cursor->pieces[cursor->pieces_count].at = at;
    cursor->pieces[cursor->pieces_count].bytes = bytes;
    cursor->pieces_count++;
}

/* Begins a record where the lane's tail is. Its spans and pieces follow, then cursor_seal(). */
static struct format_head *cursor_begin(struct lane *lane, const struct spool *spool,
                                        enum format_kind kind)
{
    struct cursor *cursor = &lane->cursor;
    ASSERT(!cursor->active);
    cursor->pieces_count = 0;
    cursor->piece = 0;
    cursor->done = 0;
    cursor->line = NULL;
    cursor->ops_end = lane->op_encoded;
    cursor->counts_ordinal = false;
    cursor->end.tail = (struct format_tail){.magic = FORMAT_MAGIC_TAIL};
    cursor->head = (struct format_head){
        .kind = (uint8_t)kind,
        .segment_number = spool->segments[lane->open].number,
        .offset = lane->tail,
        .epoch = lane->epoch,
        .sequence = lane->sequence,
        .durable = lane->ended,
        .ordinal = lane->ordinals_count,
        .lane = lane->number,
    };
    return &cursor->head;
}

/* The opaque head and the inline spans are pieces from 0 on; the fixed ones are put before them. */
static void cursor_seal(struct lane *lane, const void *head, const struct spool_record *record)
{
    struct cursor *cursor = &lane->cursor;
    struct format_head *fixed = &cursor->head;
    const uint64_t spans_bytes = sizeof(cursor->spans[0]) * fixed->spans_count;
    fixed->head_crc = crc32c(crc32c(0, cursor->spans, spans_bytes), head, fixed->head_bytes);
    format_head_seal(fixed);
    cursor_piece(cursor, fixed, sizeof(*fixed));
    cursor_piece(cursor, cursor->spans, spans_bytes);
    cursor_piece(cursor, head, fixed->head_bytes);
    cursor->first_body_piece = cursor->pieces_count;
    for (uint32_t n = 0; record != NULL && n < record->spans_count; n++)
        if (cursor->spans[n].constant_at == 0)
            cursor_piece(cursor, record->spans[n].at, record->spans[n].bytes);
}

static void cursor_start(struct lane *lane)
{
    struct cursor *cursor = &lane->cursor;
    const struct format_head *head = &cursor->head;
    const uint64_t bytes = sizeof(*head) + sizeof(cursor->spans[0]) * head->spans_count +
                           (uint64_t)head->head_bytes + head->inline_bytes;
    const uint64_t zeros = (FORMAT_ALIGN - bytes % FORMAT_ALIGN) % FORMAT_ALIGN;
    cursor_piece(cursor, cursor->end.zeros + FORMAT_ALIGN - zeros,
                 zeros + sizeof(struct format_tail));
    cursor->active = true;
    lane->sequence++;
}

static uint64_t cursor_copy(struct cursor *cursor, uint8_t *dst, uint64_t room)
{
    uint64_t copied = 0;
    while (copied < room && cursor->piece < cursor->pieces_count) {
        const uint64_t bytes =
            MIN(cursor->pieces[cursor->piece].bytes - cursor->done, room - copied);
        const uint8_t *from = cursor->pieces[cursor->piece].at;
        const bool last = cursor->piece + 1 == cursor->pieces_count;
        uint32_t *crc = &cursor->end.tail.body_crc;
        /* Over the copy: that is what the disk gets. */
        if (cursor->piece >= cursor->first_body_piece && !last)
            *crc = crc32c_copy_out(*crc, dst + copied, from + cursor->done, bytes);
        else
            memcpy(dst + copied, from + cursor->done, bytes);
        copied += bytes;
        cursor->done += bytes;
        if (cursor->done == cursor->pieces[cursor->piece].bytes) {
            cursor->piece++;
            cursor->done = 0;
        }
    }
    return copied;
}

/* A record whose body is one piece. */
static void plain_start(struct spool *spool, struct lane *lane, enum format_kind kind,
                        const void *body, uint64_t bytes)
{
    struct format_head *head = cursor_begin(lane, spool, kind);
    ASSERT(bytes <= UINT32_MAX);
    head->body_bytes = head->inline_bytes = (uint32_t)bytes;
    cursor_seal(lane, NULL, NULL);
    cursor_piece(&lane->cursor, body, bytes);
    cursor_start(lane);
}

/* Room for the index, which ends the segment, and for what pads the groups before it. */
static bool lane_fits(const struct spool *spool, const struct lane *lane, uint64_t bytes)
{
    const uint64_t index =
        format_record_bytes(0, 0, 0) + sizeof(struct format_index) * (lane->ordinals_count + 1U);
    const uint64_t all = lane->tail + bytes + index + 2 * (uint64_t)DISK_BLOCK_BYTES;
    return all <= spool->segments[lane->open].bytes &&
           lane->ordinals_count + 1U < spool->bits_bytes * 8;
}

static bool notes_start(struct spool *spool, struct lane *lane)
{
    uint32_t count = 0;
    for (uint64_t n = lane->op_encoded; n < lane->op_next && count < NOTES_MAX; n++) {
        const struct op *op = &lane->ops[n % OPS_MAX];
        const struct entry *entry = &spool->entries[op->entry];
        if ((entry->flags & ENTRY_MOVING) != 0)
            break;
        lane->notes[count++] =
            (struct format_note){.segment_number = spool->segments[entry->segment].number,
                                 .ordinal = entry->ordinal,
                                 .kind = op->kind};
    }
    const uint64_t bytes = sizeof(lane->notes[0]) * count;
    if (count == 0)
        return false;
    if (!lane_fits(spool, lane, format_record_bytes(0, 0, (uint32_t)bytes))) {
        lane->state = LANE_CLOSING;
        return true;
    }
    plain_start(spool, lane, FORMAT_NOTES, lane->notes, bytes);
    lane->cursor.ops_end = lane->op_encoded + count;
    return true;
}

static struct constant *constant_find(struct lane *lane, const struct spool_span *span)
{
    for (uint32_t n = 0; n < lane->constants_count; n++)
        if (lane->constants[n].name == span->constant && lane->constants[n].bytes == span->bytes)
            return &lane->constants[n];
    return NULL;
}

/* What this record adds to the segment, and the first constant that it lacks there. */
static uint64_t put_needs(struct lane *lane, const struct put *put,
                          const struct spool_span **missing)
{
    const struct spool_record *record = &put->record;
    uint32_t inline_bytes = 0;
    uint64_t constants = 0;
    uint32_t count = lane->constants_count;
    *missing = NULL;
    for (uint32_t n = 0; n < record->spans_count; n++) {
        const struct spool_span *span = &record->spans[n];
        const bool shared = span->constant != 0 && span->bytes > 0;
        if (shared && constant_find(lane, span) != NULL)
            continue;
        if (shared && count < CONSTANTS_MAX) {
            constants += format_record_bytes(0, 0, span->bytes);
            count++;
            if (*missing == NULL)
                *missing = span;
            continue;
        }
        inline_bytes += span->bytes;
    }
    return constants + format_record_bytes(record->spans_count, record->head_bytes, inline_bytes);
}

static void constant_start(struct spool *spool, struct lane *lane, const struct spool_span *span)
{
    ASSERT(lane->constants_count < CONSTANTS_MAX);
    lane->constants[lane->constants_count++] = (struct constant){
        .name = span->constant, .bytes = span->bytes, .from = span->at, .at = lane->tail};
    plain_start(spool, lane, FORMAT_CONSTANT, span->at, span->bytes);
}

static void index_add(struct lane *lane, const struct format_head *head, uint64_t bytes)
{
    struct format_index *index = &lane->index[lane->ordinals_count];
    *index = (struct format_index){
        .offset = head->offset,
        .record_bytes = (uint32_t)bytes,
        .ordinal = head->ordinal,
        .arrived_unix_ms = head->arrived_unix_ms,
        .end_unix_ms = head->end_unix_ms,
        .head_bytes = head->head_bytes,
        .body_bytes = head->body_bytes,
        .kind = head->kind,
    };
    memcpy(index->id, head->id, sizeof(index->id));
}

static void mail_spans(struct lane *lane, const struct spool_record *record,
                       struct format_head *head)
{
    head->spans_count = (uint8_t)record->spans_count;
    for (uint32_t n = 0; n < record->spans_count; n++) {
        const struct spool_span *span = &record->spans[n];
        const struct constant *constant =
            span->constant != 0 && span->bytes > 0 ? constant_find(lane, span) : NULL;
        lane->cursor.spans[n] = (struct format_span){
            .constant_at = constant != NULL ? constant->at : 0, .bytes = span->bytes};
        head->body_bytes += span->bytes;
        head->inline_bytes += constant != NULL ? 0 : span->bytes;
    }
}

static void mail_start(struct spool *spool, struct lane *lane, struct line *line)
{
    struct put *put = &line->puts[line->encoded % PUTS_MAX];
    const struct spool_record *record = &put->record;
    struct format_head *head = cursor_begin(lane, spool, (enum format_kind)record->kind);
    head->flags = put->held ? FORMAT_HELD : 0;
    head->head_bytes = record->head_bytes;
    head->arrived_unix_ms = record->arrived_unix_ms;
    head->end_unix_ms = record->end_unix_ms;
    memcpy(head->id, record->id, sizeof(head->id));
    if (record->replaces != SPOOL_NOWHERE) {
        const struct entry *old = &spool->entries[(uint32_t)record->replaces];
        head->replaces_number = spool->segments[old->segment].number;
        head->replaces_ordinal = old->ordinal;
    }
    mail_spans(lane, record, head);
    cursor_seal(lane, record->head, record);
    cursor_start(lane);
    put->at = head->offset;
    put->bytes = (uint32_t)format_head_record_bytes(head);
    put->ordinal = head->ordinal;
    index_add(lane, head, put->bytes);
    lane->ordinals_count++;
    lane->cursor.line = line;
}

/* A copy of it, or a note about it, is under way: what replaces it comes after that. None of them
 * waits for the other: what moves has no notes, and notes stand before what replaces. */
static bool entry_is_written(const struct entry *entry)
{
    return (entry->flags & ENTRY_MOVING) != 0 || entry->notes_count > 0;
}

/* Something was begun, skipped or decided; false: nothing can be done now. */
static bool put_start(struct spool *spool, struct lane *lane, struct line *line)
{
    if (line->encoded == line->next)
        return false;
    struct put *put = &line->puts[line->encoded % PUTS_MAX];
    const bool replaces = put->record.replaces != SPOOL_NOWHERE;
    const struct spool_span *missing;
    if (put->error != 0) {
        line->encoded++;
        return true;
    }
    if (replaces && !put->moves &&
        entry_is_written(&spool->entries[(uint32_t)put->record.replaces]))
        return false;
    /* The last segments are for what makes room. */
    if (!replaces && (lane->free_count < RESERVE || lane->crowded))
        return false;
    if (!lane_fits(spool, lane, put_needs(lane, put, &missing))) {
        if (lane->ordinals_count > 0)
            lane->state = LANE_CLOSING;
        else
            put->error = -EMSGSIZE;
        return true;
    }
    if (missing != NULL)
        constant_start(spool, lane, missing);
    else
        mail_start(spool, lane, line);
    return true;
}

static bool next_start(struct spool *spool, struct lane *lane)
{
    switch (lane->state) {
    case LANE_IDLE:
    case LANE_FAILING: return false;
    case LANE_OPENING:
        if (lane->header_written)
            return false;
        lane->header_written = true;
        plain_start(spool, lane, FORMAT_SEGMENT, lane->checkpoint, lane->checkpoint_bytes);
        return true;
    case LANE_OPEN:
        if (lane->op_encoded < lane->op_next && notes_start(spool, lane))
            return true;
        return put_start(spool, lane, &lane->lines[LINE_URGENT]) ||
               put_start(spool, lane, &lane->lines[LINE_MAIL]);
    case LANE_CLOSING:
        if (lane->index_written)
            return false;
        lane->index_written = true;
        lane->index_at = lane->tail;
        plain_start(spool, lane, FORMAT_INDEX, lane->index,
                    sizeof(lane->index[0]) * lane->ordinals_count);
        return true;
    }
    return false;
}

/* The record is whole with this group. */
static void cursor_end(struct lane *lane)
{
    struct cursor *cursor = &lane->cursor;
    cursor->active = false;
    for (; lane->op_encoded < cursor->ops_end; lane->op_encoded++)
        lane->ops[lane->op_encoded % OPS_MAX].end_group = lane->group_next;
    if (cursor->line != NULL) {
        struct line *line = cursor->line;
        line->puts[line->encoded % PUTS_MAX].end_group = lane->group_next;
        line->encoded++;
    }
    lane->whole_end = lane->tail;
    lane->whole_ordinals = lane->ordinals_count;
}

static uint64_t group_fill(struct spool *spool, struct lane *lane, uint8_t *buffer)
{
    uint64_t used = 0;
    while (used < GROUP_BYTES) { /* every pass adds bytes, skips a put, or is the last */
        if (!lane->cursor.active && !next_start(spool, lane))
            break;
        if (!lane->cursor.active)
            continue;
        const uint64_t copied = cursor_copy(&lane->cursor, buffer + used, GROUP_BYTES - used);
        used += copied;
        lane->tail += copied;
        if (lane->cursor.piece == lane->cursor.pieces_count)
            cursor_end(lane);
    }
    crc32c_copied_out(); /* whoever carries out the request reads all of it */
    return used;
}

static bool group_write(struct spool *spool, struct lane *lane)
{
    const uint32_t buffer = spool->buffers_free[spool->buffers_free_count - 1];
    uint8_t *at = spool->buffers + buffer * GROUP_BYTES;
    const uint64_t offset = lane->tail;
    const uint64_t used = group_fill(spool, lane, at);
    if (used == 0)
        return false;
    const uint64_t bytes = format_blocks(used);
    memset(at + used, 0, bytes - used);
    lane->tail = offset + bytes;
    lane->groups[lane->group_next % GROUPS_MAX] =
        (struct group){.state = GROUP_OUT,
                       .buffer = buffer,
                       .bytes = bytes,
                       .records_end = lane->whole_end,
                       .ordinals_count = lane->whole_ordinals};
    ASSERT(offset % DISK_BLOCK_BYTES == 0);
    ASSERT(lane->tail <= spool->segments[lane->open].bytes);
    const struct disk_request request = {
        .kind = DISK_WRITE,
        .file = spool->segments[lane->open].file,
        .at = at,
        .offset = offset,
        .bytes = bytes,
        .tag = TAG(TAG_GROUP, lane->self, lane->group_next % GROUPS_MAX),
    };
    const bool submitted = spool_submit(spool, &request);
    ASSERT(submitted); /* lane_write() has looked */
    spool->buffers_free_count--;
    lane->group_next++;
    spool->stats.commits++;
    return true;
}

/* What waits to be written, as far as it matters. */
static uint64_t line_bytes(const struct line *line)
{
    uint64_t bytes = 0;
    for (uint64_t n = line->encoded; n < line->next && bytes < GROUP_BYTES_MIN; n++) {
        const struct spool_record *record = &line->puts[n % PUTS_MAX].record;
        bytes += record->head_bytes;
        for (uint32_t span = 0; span < record->spans_count; span++)
            bytes += record->spans[span].constant == 0 ? record->spans[span].bytes : 0;
    }
    return bytes;
}

static bool line_waits(const struct line *line)
{
    return line->encoded < line->next;
}

/* Few may be out however small; more only when they are worth a command of the disk. Notes alone
 * are what nobody waits for: they go together, when nothing is out. */
static bool group_is_due(const struct lane *lane)
{
    const uint64_t out = lane->group_next - lane->group_acked;
    if (out == 0 || lane->cursor.active)
        return true;
    if (lane->state == LANE_OPEN && !line_waits(&lane->lines[LINE_MAIL]) &&
        !line_waits(&lane->lines[LINE_URGENT]))
        return lane->op_next - lane->op_encoded >= NOTES_MAX;
    if (out < GROUPS_EARLY)
        return true;
    const uint64_t bytes =
        line_bytes(&lane->lines[LINE_MAIL]) + line_bytes(&lane->lines[LINE_URGENT]);
    return bytes >= GROUP_BYTES_MIN;
}

void lane_write(struct spool *spool, struct lane *lane)
{
    for (uint32_t n = 0; n < GROUPS_MAX; n++) {
        if (lane->group_next - lane->group_acked == GROUPS_MAX || spool->buffers_free_count == 0 ||
            spool->disk_out == DISK_REQUESTS_MAX || !group_is_due(lane))
            return;
        if (!group_write(spool, lane))
            return;
    }
}

void lane_written(struct spool *spool, struct lane *lane, uint32_t slot, int64_t result)
{
    struct group *group = &lane->groups[slot];
    ASSERT(group->state == GROUP_OUT);
    const bool whole = result >= 0 && (uint64_t)result == group->bytes;
    group->state = whole ? GROUP_DONE : GROUP_FAILED;
    if (!whole) {
        spool->stats.failed++;
        lane->state = LANE_FAILING;
    }
    while (lane->group_acked < lane->group_next) {
        const struct group *first = &lane->groups[lane->group_acked % GROUPS_MAX];
        if (first->state != GROUP_DONE)
            break;
        lane->ended = first->records_end;
        lane->ended_ordinals = first->ordinals_count;
        spool->buffers_free[spool->buffers_free_count++] = first->buffer;
        lane->group_acked++;
    }
}

/* A record is durable: from now on it lives, and what it replaces does not. */
void put_lives(struct spool *spool, struct lane *lane, const struct put *put)
{
    if (put->record.replaces != SPOOL_NOWHERE) {
        const uint32_t old = (uint32_t)put->record.replaces;
        entry_unplace(spool, old);
        if (!put->moves) {
            entry_give(spool, old);
            spool->stats.forgotten++;
        }
    }
    entry_place(spool, put->entry, lane->open, put->at, put->bytes, put->ordinal);
}

static struct spool_event put_event(struct spool *spool, struct lane *lane, struct put *put)
{
    if (put->error == 0) {
        put_lives(spool, lane, put);
        spool->stats.stored++;
        return (struct spool_event){
            .kind = SPOOL_STORED, .tag = put->tag, .place = entry_place_of(spool, put->entry)};
    }
    if (put->entry != NONE)
        entry_give(spool, put->entry);
    if (put->record.replaces != SPOOL_NOWHERE)
        spool->entries[(uint32_t)put->record.replaces].flags &= (uint8_t)~ENTRY_BUSY;
    put->told = true;
    return (struct spool_event){
        .kind = SPOOL_FAILED, .error = put->error, .tag = put->tag, .place = SPOOL_NOWHERE};
}

static bool put_is_durable(const struct lane *lane, const struct line *line)
{
    return line->first < line->encoded &&
           line->puts[line->first % PUTS_MAX].end_group < lane->group_acked;
}

static uint32_t line_retire(struct spool *spool, struct lane *lane, struct line *line,
                            struct spool_event *events, uint32_t events_max)
{
    uint32_t count = 0;
    while (line->first < line->next && count < events_max) {
        struct put *put = &line->puts[line->first % PUTS_MAX];
        if (put->error == 0 && !put_is_durable(lane, line))
            break;
        if (put->moves && !put->told)
            move_ended(spool, lane, put);
        else if (!put->told)
            events[count++] = put_event(spool, lane, put);
        line->first++;
        line->encoded = MAX(line->encoded, line->first);
    }
    /* Refused ones behind one that must wait. */
    for (uint64_t n = line->first; line->refused && n < line->next; n++) {
        struct put *put = &line->puts[n % PUTS_MAX];
        if (put->error == 0 || put->told || put->moves)
            continue;
        if (count == events_max)
            return count;
        events[count++] = put_event(spool, lane, put);
    }
    line->refused = false;
    return count;
}

static struct spool_event op_event(struct spool *spool, const struct op *op)
{
    const uint64_t place = entry_place_of(spool, op->entry);
    struct entry *entry = &spool->entries[op->entry];
    ASSERT(entry->notes_count > 0);
    entry->notes_count--;
    if (op->kind != FORMAT_NOTE_DONE) {
        entry_hold(spool, op->entry, op->kind == FORMAT_NOTE_HOLD);
        return (struct spool_event){.kind = SPOOL_MARKED, .tag = op->tag, .place = place};
    }
    entry_unplace(spool, op->entry);
    entry_give(spool, op->entry);
    spool->stats.forgotten++;
    return (struct spool_event){.kind = SPOOL_FORGOTTEN, .tag = op->tag, .place = place};
}

uint32_t lane_retire(struct spool *spool, struct lane *lane, struct spool_event *events,
                     uint32_t events_max)
{
    uint32_t count = 0;
    for (uint32_t n = 0; n < LINES_COUNT; n++)
        count += line_retire(spool, lane, &lane->lines[n], events + count, events_max - count);
    for (; lane->op_first < lane->op_encoded && count < events_max; lane->op_first++) {
        const struct op *op = &lane->ops[lane->op_first % OPS_MAX];
        if (op->end_group >= lane->group_acked)
            break;
        events[count++] = op_event(spool, op);
    }
    return count;
}

/* Everything durable was told: the lane's state may change. */
bool lane_is_told(const struct lane *lane)
{
    const bool ops = lane->op_first < lane->op_encoded &&
                     lane->ops[lane->op_first % OPS_MAX].end_group < lane->group_acked;
    return !ops && !put_is_durable(lane, &lane->lines[LINE_MAIL]) &&
           !put_is_durable(lane, &lane->lines[LINE_URGENT]);
}

bool spool_put(struct spool *spool, const struct spool_record *record, uint64_t tag)
{
    ASSERT(record->spans_count <= SPOOL_SPANS_MAX);
    ASSERT(record->head_bytes <= SPOOL_HEAD_BYTES_MAX);
    struct lane *lane = spool->lanes[0];
    if (record->replaces != SPOOL_NOWHERE) {
        const struct entry *old = entry_of(spool, record->replaces);
        ASSERT((old->flags & ENTRY_BUSY) == 0);
        lane = spool->lanes[spool->segments[old->segment].lane];
    }
    const bool urgent = record->replaces != SPOOL_NOWHERE;
    struct line *line = &lane->lines[urgent ? LINE_URGENT : LINE_MAIL];
    if (line->next - line->first == PUTS_MAX)
        return false;
    struct put *put = &line->puts[line->next++ % PUTS_MAX];
    *put = (struct put){.record = *record, .tag = tag, .entry = entry_take(spool)};
    if (put->entry == NONE) {
        put->error = -ENOSPC;
        line->refused = true;
    }
    if (record->replaces != SPOOL_NOWHERE)
        spool->entries[(uint32_t)record->replaces].flags |= ENTRY_BUSY;
    return true;
}

static bool op_add(struct spool *spool, uint64_t place, enum format_note_kind kind, uint64_t tag)
{
    struct entry *entry = entry_of(spool, place);
    struct lane *lane = spool->lanes[spool->segments[entry->segment].lane];
    ASSERT((entry->flags & ENTRY_BUSY) == 0);
    if (lane->op_next - lane->op_first == OPS_MAX)
        return false;
    if (kind == FORMAT_NOTE_DONE)
        entry->flags |= ENTRY_BUSY;
    entry->notes_count++;
    lane->ops[lane->op_next++ % OPS_MAX] =
        (struct op){.tag = tag, .entry = (uint32_t)place, .kind = kind};
    return true;
}

bool spool_forget(struct spool *spool, uint64_t place, uint64_t tag)
{
    return op_add(spool, place, FORMAT_NOTE_DONE, tag);
}

bool spool_mark(struct spool *spool, uint64_t place, bool held, uint64_t tag)
{
    return op_add(spool, place, held ? FORMAT_NOTE_HOLD : FORMAT_NOTE_RELEASE, tag);
}

void spool_counts(const struct spool *spool, struct spool_stats *stats)
{
    *stats = spool->stats;
}

static void result_take(struct spool *spool, const struct disk_result *result)
{
    const uint32_t lane = (uint32_t)(result->tag >> 40) & 0xffff;
    const uint32_t n = (uint32_t)result->tag;
    ASSERT(spool->disk_out > 0);
    spool->disk_out--;
    switch ((enum tag_kind)(result->tag >> 56)) {
    case TAG_GROUP: lane_written(spool, spool->lanes[lane], n, result->result); return;
    case TAG_READ: piece_done(spool, n, result->result); return;
    case TAG_MAKER: maker_done(spool, lane, result->result); return;
    case TAG_MOVE: move_done(spool, result->result); return;
    case TAG_WAIT: break;
    }
    ASSERT(false);
}

/* No change of a lane waits for a run that nothing may cause. */
static uint32_t lane_run(struct spool *spool, struct lane *lane, struct spool_event *events,
                         uint32_t events_max)
{
    uint32_t count = 0;
    bool changed = true;
    for (uint32_t n = 0; n < LANE_CHANGES_MAX && changed; n++) {
        count += lane_retire(spool, lane, events + count, events_max - count);
        changed = lane_step(spool, lane);
        lane_write(spool, lane);
    }
    return count;
}

uint32_t spool_run(struct spool *spool, struct spool_event *events, uint32_t events_max)
{
    struct disk_result results[REAP_MAX];
    uint32_t reaped = spool->disk->ops->reap(spool->disk, 0, results, REAP_MAX);
    for (uint32_t n = 0; n < reaped; n++)
        result_take(spool, &results[n]);
    read_step(spool);
    /* What is stored and forgotten never waits behind what is read. */
    uint32_t count = read_retire(spool, events, (events_max + 1) / 2);
    for (uint32_t n = 0; n < spool->lanes_count; n++) {
        count += lane_run(spool, spool->lanes[n], events + count, events_max - count);
        maker_step(spool, n);
    }
    move_step(spool);
    /* Hands over what was submitted above; what has ended already waits for the next run. */
    reaped = spool->disk->ops->reap(spool->disk, 0, results, 0);
    ASSERT(reaped == 0);
    return count;
}
