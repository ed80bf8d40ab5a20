/* What is read of the disk, for all reads that want some of it: neighbours come in one request. */
#include "queue/spool_internal.h"

#include <errno.h>

#define READ_HEAD_BYTES ((size_t)1 << 10) /* more than most heads have, spans included */

static bool piece_holds(const struct piece *piece, const struct read *read, uint64_t at)
{
    return piece->number == read->number && piece->epoch == read->epoch &&
           piece->lane == read->lane && at >= piece->from && at < piece->from + piece->bytes;
}

static struct piece *piece_find(struct spool *spool, const struct read *read, uint64_t at)
{
    struct piece *last = &spool->pieces[spool->piece_last]; /* mostly that one */
    if (piece_holds(last, read, at) && last->state != PIECE_FREE && !last->only)
        return last;
    for (uint32_t n = 0; n < spool->pieces_count; n++) {
        struct piece *piece = &spool->pieces[n];
        if (piece_holds(piece, read, at) && piece->state != PIECE_FREE && !piece->only)
            return piece;
    }
    return NULL;
}

/* One that nobody waits for, unused for the longest time; NULL: there is none. */
static struct piece *piece_oldest(struct spool *spool)
{
    struct piece *oldest = NULL;
    for (uint32_t n = 0; n < spool->pieces_count; n++) {
        struct piece *piece = &spool->pieces[n];
        if (piece->state == PIECE_FREE)
            return piece;
        if (piece->reads_count == 0 && (oldest == NULL || piece->used < oldest->used))
            oldest = piece;
    }
    return oldest;
}

static void piece_enter(struct spool *spool, struct read *read, struct piece *piece)
{
    piece->used = ++spool->piece_clock;
    piece->reads_count++;
    read->piece = spool->piece_last = (uint32_t)(piece - spool->pieces);
    read_enter(spool, read, piece->state == PIECE_OUT ? READ_OUT : READ_HERE);
}

void piece_leave(struct spool *spool, struct read *read)
{
    struct piece *piece = &spool->pieces[read->piece];
    ASSERT(piece->reads_count > 0);
    piece->reads_count--;
    read->piece = NONE;
}

/* Of a record of which the head alone is wanted, no more than most heads have: a disk gives blocks
 * by the second. */
static uint64_t bytes_needed(const struct read *read, uint64_t offset)
{
    const uint64_t ahead = read->all ? READ_BYTES : READ_HEAD_BYTES;
    const uint64_t end = read->at + MIN(read->bytes, read->done + ahead);
    return MIN(format_blocks(end) - offset, (uint64_t)READ_BYTES);
}

static bool ahead_is(const struct ahead *ahead, const struct read *read, uint64_t offset)
{
    return ahead->number == read->number && ahead->lane == read->lane &&
           offset + READ_BYTES >= ahead->at && offset <= ahead->at + READ_BYTES;
}

/* The run that this read goes on, or the one that a new one takes the place of. */
static struct ahead *ahead_of(struct spool *spool, const struct read *read, uint64_t offset)
{
    for (uint32_t n = 0; n < AHEADS_MAX; n++)
        if (ahead_is(&spool->aheads[n], read, offset))
            return &spool->aheads[n];
    return &spool->aheads[spool->ahead_turn++ % AHEADS_MAX];
}

/* All that is durable from there on, as far as it fits. */
static uint64_t bytes_durable(const struct spool *spool, const struct read *read, uint64_t offset)
{
    const struct segment *segment = &spool->segments[read->segment];
    const uint64_t ended =
        segment->state == SEGMENT_OPEN ? spool->lanes[segment->lane]->ended : segment->ended;
    if (format_blocks(ended) <= offset)
        return 0;
    return MIN(format_blocks(ended) - offset, (uint64_t)READ_BYTES);
}

/* What this read needs; and when it goes on a run, that from the run's end on, as much as fits, so
 * that nothing between two heads is left out. */
static struct piece piece_plan(struct spool *spool, const struct read *read, uint64_t offset)
{
    struct ahead *ahead = ahead_of(spool, read, offset);
    const uint64_t needed = bytes_needed(read, offset);
    struct piece piece = {
        .state = PIECE_OUT,
        .only = read->alone,
        .lane = read->lane,
        .number = read->number,
        .epoch = read->epoch,
        .from = offset,
        .bytes = needed,
    };
    if (!read->alone && ahead_is(ahead, read, offset)) {
        if (ahead->at < offset && offset + needed <= ahead->at + READ_BYTES)
            piece.from = ahead->at;
        piece.bytes = MAX(offset + needed - piece.from, bytes_durable(spool, read, piece.from));
    }
    *ahead =
        (struct ahead){.number = read->number, .at = piece.from + piece.bytes, .lane = read->lane};
    return piece;
}

static void piece_begin(struct spool *spool, struct read *read, uint64_t offset)
{
    struct piece *piece = piece_oldest(spool);
    if (piece == NULL || spool->disk_out == DISK_REQUESTS_MAX)
        return;
    const struct piece planned = piece_plan(spool, read, offset);
    const uint32_t n = (uint32_t)(piece - spool->pieces);
    const struct disk_request request = {
        .kind = DISK_READ,
        .file = spool->segments[read->segment].file,
        .at = spool->piece_buffers + n * READ_BYTES,
        .offset = planned.from,
        .bytes = planned.bytes,
        .tag = TAG(TAG_READ, 0, n),
    };
    if (!spool_submit(spool, &request))
        return;
    *piece = planned;
    read->shared = read->shared || planned.bytes > bytes_needed(read, offset);
    piece_enter(spool, read, piece);
}

void piece_want(struct spool *spool, struct read *read)
{
    const uint64_t at = read->at + read->done;
    struct piece *piece = read->alone ? NULL : piece_find(spool, read, at);
    ASSERT(read->state == READ_WANTED);
    if (piece == NULL) {
        piece_begin(spool, read, at / DISK_BLOCK_BYTES * DISK_BLOCK_BYTES);
        return;
    }
    read->shared = true;
    piece_enter(spool, read, piece);
}

const uint8_t *piece_bytes(const struct spool *spool, const struct read *read, uint64_t *bytes)
{
    const struct piece *piece = &spool->pieces[read->piece];
    const uint64_t at = read->at + read->done;
    ASSERT(piece->state == PIECE_THERE);
    ASSERT(piece_holds(piece, read, at));
    *bytes = piece->from + piece->bytes - at;
    return spool->piece_buffers + read->piece * READ_BYTES + (at - piece->from);
}

/* The disk gave less than this read needs. When more was asked for than that, it may have failed
 * for bytes of others. */
static void read_lacks(struct spool *spool, struct read *read, int64_t result)
{
    piece_leave(spool, read);
    if (read->shared)
        read_alone(spool, read);
    else
        read_end(spool, read, result < 0 ? (int)result : -EIO);
}

void piece_done(struct spool *spool, uint32_t piece_index, int64_t result)
{
    struct piece *piece = &spool->pieces[piece_index];
    ASSERT(piece->state == PIECE_OUT);
    piece->state = PIECE_THERE;
    piece->only = false;
    piece->bytes = result > 0 ? MIN((uint64_t)result, piece->bytes) : 0;
    for (uint32_t n = reads_next(spool, READ_OUT, 0); n < READS_MAX;
         n = reads_next(spool, READ_OUT, n + 1)) {
        struct read *read = &spool->reads[n];
        if (read->piece != piece_index)
            continue;
        if (piece_holds(piece, read, read->at + read->done))
            read_enter(spool, read, READ_HERE);
        else
            read_lacks(spool, read, result);
    }
    if (result <= 0)
        piece->state = PIECE_FREE;
}

void pieces_forget(struct spool *spool, const struct read *read)
{
    for (uint32_t n = 0; n < spool->pieces_count; n++) {
        struct piece *piece = &spool->pieces[n];
        if (piece->state == PIECE_THERE && piece->reads_count == 0 &&
            piece->number == read->number && piece->lane == read->lane)
            piece->state = PIECE_FREE;
    }
}
