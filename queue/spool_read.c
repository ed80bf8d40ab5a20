/* Reading a record back: out of pieces, checked, its constants put in their places. */
#include "queue/spool_internal.h"

#include "queue/crc32c.h"

#include <errno.h>
#include <string.h>

void read_enter(struct spool *spool, struct read *read, enum read_state state)
{
    const uint32_t n = (uint32_t)(read - spool->reads);
    const uint64_t bit = UINT64_C(1) << n % 64;
    ASSERT(n < READS_MAX);
    ASSERT((spool->reads_in[read->state][n / 64] & bit) != 0);
    spool->reads_in[read->state][n / 64] &= ~bit;
    spool->reads_in[state][n / 64] |= bit;
    read->state = state;
}

/* The first one in that state from `from` on, or READS_MAX: those in other states stay untouched,
 * each being as large as several cache lines. */
uint32_t reads_next(const struct spool *spool, enum read_state state, uint32_t from)
{
    for (uint32_t n = from; n < READS_MAX; n = (n / 64 + 1) * 64) {
        const uint64_t left = spool->reads_in[state][n / 64] >> n % 64;
        if (left != 0)
            return n + (uint32_t)__builtin_ctzll(left);
    }
    return READS_MAX;
}

static void read_rewind(struct read *read)
{
    read->at = read->mail_at;
    read->bytes = read->mail_bytes;
    read->done = 0;
    read->crc = 0;
    read->span = 0;
    read->span_done = 0;
    read->constant_span = NONE;
    read->piece = NONE;
    read->shared = false;
}

void read_alone(struct spool *spool, struct read *read)
{
    read_rewind(read);
    read->alone = true;
    read_enter(spool, read, READ_WANTED);
}

static bool read_begin(struct spool *spool, uint64_t place, uint8_t *dst, size_t room, uint64_t tag,
                       bool all)
{
    const struct entry *entry = entry_of(spool, place);
    if (spool->reads_out == READS_MAX)
        return false;
    struct read *read = &spool->reads[reads_next(spool, READ_FREE, 0)];
    struct segment *segment = &spool->segments[entry->segment];
    *read = (struct read){
        .state = READ_FREE,
        .all = all,
        .tag = tag,
        .place = place,
        .dst = dst,
        .room = room,
        .segment = entry->segment,
        .lane = spool->lanes[segment->lane]->number,
        .number = segment->number,
        .epoch = segment->epoch,
        .mail_at = (uint64_t)entry->at * FORMAT_ALIGN,
        .mail_bytes = entry->bytes,
    };
    read_rewind(read);
    read_enter(spool, read, READ_WANTED);
    segment->reads_count++;
    spool->reads_out++;
    return true;
}

bool spool_read_head(struct spool *spool, uint64_t place, uint8_t *dst, size_t room, uint64_t tag)
{
    return read_begin(spool, place, dst, room, tag, false);
}

bool spool_read_all(struct spool *spool, uint64_t place, uint8_t *dst, size_t room, uint64_t tag)
{
    return read_begin(spool, place, dst, room, tag, true);
}

void read_end(struct spool *spool, struct read *read, int error)
{
    read_enter(spool, read, READ_ENDED);
    read->error = error;
}

static bool head_is_right(const struct read *read)
{
    const struct format_head *head = &read->head;
    if (!format_head_is(head, read->lane, read->at) || head->segment_number != read->number ||
        head->epoch != read->epoch || format_head_record_bytes(head) != read->bytes)
        return false;
    if (read->constant_span != NONE)
        return head->kind == FORMAT_CONSTANT &&
               head->inline_bytes == read->spans[read->constant_span].bytes;
    return head->kind == FORMAT_MAIL || head->kind == FORMAT_NOTICE;
}

static bool spans_are_right(const struct read *read)
{
    uint64_t body = 0;
    uint64_t here = 0;
    for (uint32_t n = 0; n < read->head.spans_count; n++) {
        body += read->spans[n].bytes;
        here += read->spans[n].constant_at == 0 ? read->spans[n].bytes : 0;
    }
    return body == read->head.body_bytes && here == read->head.inline_bytes;
}

/* Bytes of one region of the record, from done on: where it begins, how long it is. */
static uint64_t region_left(const struct read *read, uint64_t from, uint64_t bytes)
{
    return read->done >= from && read->done < from + bytes ? from + bytes - read->done : 0;
}

static void take_inline(struct read *read, const uint8_t *at, uint64_t bytes)
{
    read->crc = crc32c(read->crc, at, bytes);
    if (read->constant_span != NONE) {
        memcpy(read->dst + read->body_at, at, bytes);
        read->body_at += bytes;
        return;
    }
    while (bytes > 0) { /* spans_are_right(): the spans have so many */
        const struct format_span *span = &read->spans[read->span];
        if (span->constant_at != 0 || read->span_done == span->bytes) {
            read->body_at += span->constant_at != 0 ? span->bytes : 0;
            read->span++;
            read->span_done = 0;
            continue;
        }
        const uint64_t some = MIN(bytes, span->bytes - read->span_done);
        memcpy(read->dst + read->body_at, at, some);
        read->body_at += some;
        read->span_done += some;
        at += some;
        bytes -= some;
    }
}

/* The fixed head is there: what it says must be what is meant, and must fit. */
static int head_taken(struct read *read)
{
    if (!head_is_right(read))
        return -EBADMSG;
    read->crc = 0;
    if (read->constant_span != NONE)
        return 0;
    const uint64_t needed =
        read->head.head_bytes + (read->all ? (uint64_t)read->head.body_bytes : 0);
    read->body_at = read->head.head_bytes;
    return needed <= read->room ? 0 : -EMSGSIZE;
}

static int tail_taken(const struct read *read)
{
    struct format_tail tail;
    memcpy(&tail, read->tail, sizeof(tail));
    return tail.magic == FORMAT_MAGIC_TAIL && tail.body_crc == read->crc ? 0 : -EBADMSG;
}

/* The head is whole, and with it all that a read of the head alone wants. */
static int opaque_taken(struct read *read)
{
    const bool right =
        read->crc == read->head.head_crc && (read->constant_span != NONE || spans_are_right(read));
    read->crc = 0;
    return right ? 0 : -EBADMSG;
}

/* Takes some of these bytes; a negative result ends the read. */
static int64_t take_some(struct read *read, const uint8_t *at, uint64_t bytes)
{
    const struct format_head *head = &read->head;
    const uint64_t spans_at = sizeof(*head);
    uint64_t left = region_left(read, 0, spans_at);
    int rc = 0;
    if (left > 0) {
        const uint64_t some = MIN(left, bytes);
        memcpy((uint8_t *)&read->head + read->done, at, some);
        if (some == left)
            rc = head_taken(read);
        if (rc == 0 && some == left && head->spans_count == 0 && head->head_bytes == 0)
            rc = opaque_taken(read);
        return rc != 0 ? rc : (int64_t)some;
    }
    const uint64_t spans_bytes = sizeof(read->spans[0]) * head->spans_count;
    const uint64_t body_at = spans_at + spans_bytes + head->head_bytes;
    left = region_left(read, spans_at, spans_bytes + head->head_bytes);
    if (left > 0) {
        uint64_t some = MIN(left, bytes);
        const uint64_t from = read->done - spans_at;
        if (from < spans_bytes) {
            some = MIN(some, spans_bytes - from);
            memcpy((uint8_t *)read->spans + from, at, some);
        } else {
            memcpy(read->dst + from - spans_bytes, at, some);
        }
        read->crc = crc32c(read->crc, at, some);
        if (some == left)
            rc = opaque_taken(read);
        return rc != 0 ? rc : (int64_t)some;
    }
    left = region_left(read, body_at, head->inline_bytes);
    if (left > 0) {
        const uint64_t some = MIN(left, bytes);
        take_inline(read, at, some);
        return (int64_t)some;
    }
    const uint64_t tail_at = read->bytes - sizeof(struct format_tail);
    if (read->done < tail_at) /* zeros */
        return (int64_t)MIN(tail_at - read->done, bytes);
    const uint64_t some = MIN(read->bytes - read->done, bytes);
    memcpy(read->tail + (read->done - tail_at), at, some);
    if (read->done + some == read->bytes)
        rc = tail_taken(read);
    return rc != 0 ? rc : (int64_t)some;
}

static struct cached *cached_find(struct spool *spool, const struct read *read, uint64_t at)
{
    for (uint32_t n = 0; n < CACHE_COUNT; n++) {
        struct cached *cached = &spool->cached[n];
        if (cached->number == read->number && cached->lane == read->lane && cached->at == at &&
            cached->epoch == read->epoch)
            return cached;
    }
    return NULL;
}

static void cached_add(struct spool *spool, const struct read *read, const uint8_t *at,
                       uint32_t bytes)
{
    uint32_t oldest = 0;
    if (bytes > CACHE_BYTES)
        return;
    for (uint32_t n = 1; n < CACHE_COUNT; n++)
        if (spool->cached[n].used < spool->cached[oldest].used)
            oldest = n;
    spool->cached[oldest] = (struct cached){.number = read->number,
                                            .epoch = read->epoch,
                                            .lane = read->lane,
                                            .bytes = bytes,
                                            .at = read->at,
                                            .used = ++spool->cache_clock};
    memcpy(spool->cache + oldest * CACHE_BYTES, at, bytes);
}

/* The mail itself is there: its constants, from memory or from the disk, one after the other. */
static void constants_next(struct spool *spool, struct read *read, uint32_t from)
{
    uint64_t at = read->mail.head_bytes;
    for (uint32_t n = 0; n < read->mail.spans_count; n++) {
        const struct format_span *span = &read->spans[n];
        if (n >= from && span->constant_at != 0) {
            struct cached *cached = cached_find(spool, read, span->constant_at);
            if (cached == NULL || cached->bytes != span->bytes) {
                read->constant_span = n;
                read->body_at = at;
                read->at = span->constant_at;
                read->bytes = format_record_bytes(0, 0, span->bytes);
                read->done = 0;
                read_enter(spool, read, READ_WANTED);
                return;
            }
            cached->used = ++spool->cache_clock;
            memcpy(read->dst + at, spool->cache + (size_t)(cached - spool->cached) * CACHE_BYTES,
                   span->bytes);
            spool->read_taken += span->bytes;
        }
        at += span->bytes;
    }
    read_end(spool, read, 0);
}

static void record_taken(struct spool *spool, struct read *read)
{
    if (read->constant_span == NONE) {
        read->mail = read->head;
        constants_next(spool, read, 0);
        return;
    }
    const uint32_t bytes = read->spans[read->constant_span].bytes;
    cached_add(spool, read, read->dst + read->body_at - bytes, bytes);
    constants_next(spool, read, read->constant_span + 1);
}

static bool head_is_enough(const struct read *read)
{
    return !read->all && read->done >= sizeof(read->head) &&
           read->done >= sizeof(read->head) + sizeof(read->spans[0]) * read->head.spans_count +
                             read->head.head_bytes;
}

/* What others had a part in is read once more, for it alone, before it counts as damaged. */
static void read_fault(struct spool *spool, struct read *read, int error)
{
    const bool damaged = error == -EBADMSG;
    if (damaged)
        pieces_forget(spool, read);
    if (damaged && read->shared)
        read_alone(spool, read);
    else
        read_end(spool, read, error);
}

/* Takes what its piece has. */
static void read_take(struct spool *spool, struct read *read)
{
    uint64_t left;
    const uint8_t *at = piece_bytes(spool, read, &left);
    left = MIN(left, read->bytes - read->done);
    spool->read_taken += READ_TAKES;
    int64_t took = 0;
    while (left > 0 && !head_is_enough(read)) { /* every pass takes some */
        took = take_some(read, at, left);
        if (took < 0)
            break;
        ASSERT(took > 0);
        at += took;
        left -= (uint64_t)took;
        spool->read_taken += (uint64_t)took;
        read->done += (uint64_t)took;
    }
    piece_leave(spool, read);
    if (took < 0) {
        read_fault(spool, read, (int)took);
    } else if (head_is_enough(read)) {
        read->mail = read->head;
        read_end(spool, read, 0);
    } else if (read->done == read->bytes) {
        record_taken(spool, read);
    } else {
        read_enter(spool, read, READ_WANTED);
    }
}

static void reads_want(struct spool *spool)
{
    for (uint32_t n = reads_next(spool, READ_WANTED, 0); n < READS_MAX;
         n = reads_next(spool, READ_WANTED, n + 1))
        piece_want(spool, &spool->reads[n]);
}

/* One after the other takes what is there, the next run's first behind this one's last. */
void read_step(struct spool *spool)
{
    spool->read_taken = 0;
    if (spool->reads_out == 0)
        return;
    reads_want(spool);
    for (uint32_t n = 0; n < READS_MAX && spool->read_taken < spool->read_share; n++) {
        uint32_t index = reads_next(spool, READ_HERE, spool->read_turn);
        if (index == READS_MAX)
            index = reads_next(spool, READ_HERE, 0);
        if (index == READS_MAX)
            break;
        spool->read_turn = (index + 1) % READS_MAX;
        read_take(spool, &spool->reads[index]);
    }
    reads_want(spool);
}

void spool_read_share(struct spool *spool, uint64_t bytes)
{
    spool->read_share = bytes;
}

uint32_t read_retire(struct spool *spool, struct spool_event *events, uint32_t events_max)
{
    uint32_t count = 0;
    for (uint32_t n = reads_next(spool, READ_ENDED, 0); n < READS_MAX && count < events_max;
         n = reads_next(spool, READ_ENDED, n + 1)) {
        struct read *read = &spool->reads[n];
        struct segment *segment = &spool->segments[read->segment];
        ASSERT(segment->reads_count > 0);
        segment->reads_count--;
        spool->recycle_due = spool->recycle_due || segment->live_count == 0;
        spool->reads_out--;
        if (read->error == -EBADMSG)
            spool->stats.damaged++;
        const uint32_t body = read->all ? read->mail.body_bytes : 0;
        events[count++] = (struct spool_event){
            .kind = SPOOL_READ,
            .error = read->error,
            .tag = read->tag,
            .place = read->place,
            .bytes = read->error == 0 ? read->mail.head_bytes + body : 0,
        };
        read_enter(spool, read, READ_FREE);
    }
    return count;
}
