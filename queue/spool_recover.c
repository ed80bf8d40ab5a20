/* What a start finds: the newest checkpoint, what was written since, and where all that lives
 * stands. */
#include "queue/spool_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "queue/crc32c.h"
#include "queue/spool_scan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define WAIT_NS    NS_PER_S
#define WAITS_MAX  600 /* of a disk that gives no result */
#define PIECE      ((uint64_t)1 << 20)
#define PIECES_OUT 32

struct recovery {
    struct spool *spool;
    struct lane *lane;
    void (*found)(void *user, const struct spool_found *found);
    void *user;
    char *why;
    uint8_t *map; /* a whole segment */
    uint32_t best;
    uint32_t best_crc; /* of the whole of it, as it was read */
    uint32_t noted;    /* the segment that the last note was about */
    bool applies;      /* the records that are scanned change what lives */
    uint32_t segment;  /* that is scanned */
    uint64_t gaps;     /* mails of it that were not seen */
};

static int64_t wait_results(struct spool *spool, uint32_t count)
{
    int64_t worst = INT64_MAX;
    uint32_t waits = 0;
    while (count > 0) {
        struct disk_result results[PIECES_OUT];
        const uint32_t got = spool->disk->ops->reap(spool->disk, WAIT_NS, results, PIECES_OUT);
        if (got == 0 && ++waits == WAITS_MAX)
            return -ETIMEDOUT;
        for (uint32_t n = 0; n < got; n++)
            worst = MIN(worst, results[n].result);
        ASSERT(got <= count);
        count -= got;
        spool->disk_out -= got;
    }
    return worst;
}

int spool_drain(struct spool *spool)
{
    return wait_results(spool, spool->disk_out) == -ETIMEDOUT ? -ETIMEDOUT : 0;
}

int64_t spool_do(struct spool *spool, const struct disk_request *request)
{
    const bool submitted = spool_submit(spool, request);
    ASSERT(submitted); /* nothing else is out */
    return wait_results(spool, 1);
}

/* Whole blocks; -EIO for a short one. */
static int segment_read(struct spool *spool, const struct segment *segment, uint64_t offset,
                        uint64_t bytes, uint8_t *dst)
{
    ASSERT(offset % DISK_BLOCK_BYTES == 0 && bytes % DISK_BLOCK_BYTES == 0);
    for (uint64_t done = 0; done < bytes;) {
        uint32_t out = 0;
        uint64_t last = 0;
        for (; out < PIECES_OUT && done < bytes; out++) {
            last = MIN(bytes - done, PIECE);
            const struct disk_request request = {.kind = DISK_READ,
                                                 .file = segment->file,
                                                 .at = dst + done,
                                                 .offset = offset + done,
                                                 .bytes = last};
            const bool submitted = spool_submit(spool, &request);
            ASSERT(submitted);
            done += last;
        }
        const int64_t worst = wait_results(spool, out);
        if (worst < (int64_t)last)
            return worst < 0 ? (int)worst : -EIO;
    }
    return 0;
}

static int disk_fault(struct recovery *self, uint32_t segment, const char *what, int64_t error)
{
    char name[DISK_NAME_BYTES];
    segment_name(self->spool, segment, name);
    (void)snprintf(self->why, SPOOL_WHY_BYTES, "cannot %s %s: %s; look at the disk", what, name,
                   strerror((int)-error));
    return (int)error;
}

static struct segment *segment_numbered(struct recovery *self, uint64_t number)
{
    struct spool *spool = self->spool;
    for (uint32_t n = 0; n <= spool->segments_count; n++) {
        const uint32_t at = n == 0 ? self->noted : n - 1;
        struct segment *segment = &spool->segments[at];
        if (at < spool->segments_count && segment->lane == self->lane->self &&
            segment->number == number && segment->state == SEGMENT_CLOSED) {
            self->noted = at;
            return segment;
        }
    }
    return NULL;
}

static void bits_change(struct segment *segment, uint32_t ordinal, uint32_t kind)
{
    const uint64_t mask = UINT64_C(1) << (ordinal % 64);
    uint64_t *live = &segment->live[ordinal / 64];
    uint64_t *held = &segment->held[ordinal / 64];
    if (kind == FORMAT_NOTE_DONE) {
        segment->live_count -= (*live & mask) != 0;
        *live &= ~mask;
        *held &= ~mask;
    } else if (kind == FORMAT_NOTE_HOLD) {
        *held |= mask;
    } else {
        *held &= ~mask;
    }
}

/* Notes name only what verified when they were written: what is not there lives no more. */
static void note_apply(struct recovery *self, uint64_t number, uint32_t ordinal, uint32_t kind)
{
    struct segment *segment = segment_numbered(self, number);
    if (segment != NULL && ordinal < self->spool->bits_bytes * 8)
        bits_change(segment, ordinal, kind);
}

static void index_put(struct recovery *self, const struct format_head *head)
{
    struct spool *spool = self->spool;
    if (head->ordinal >= spool->bits_bytes * 8)
        return;
    struct format_index *index = &self->lane->index[head->ordinal];
    *index = (struct format_index){
        .offset = head->offset,
        .record_bytes = (uint32_t)format_head_record_bytes(head),
        .ordinal = head->ordinal,
        .arrived_unix_ms = head->arrived_unix_ms,
        .end_unix_ms = head->end_unix_ms,
        .head_bytes = head->head_bytes,
        .body_bytes = head->body_bytes,
        .kind = head->kind,
    };
    memcpy(index->id, head->id, sizeof(index->id));
    if (!self->applies)
        return;
    struct segment *segment = &spool->segments[self->segment];
    const uint64_t mask = UINT64_C(1) << (head->ordinal % 64);
    segment->live_count += (segment->live[head->ordinal / 64] & mask) == 0;
    segment->live[head->ordinal / 64] |= mask;
    if ((head->flags & FORMAT_HELD) != 0)
        segment->held[head->ordinal / 64] |= mask;
    segment->ordinals_count = MAX(segment->ordinals_count, head->ordinal + 1);
    if (head->replaces_number != 0)
        note_apply(self, head->replaces_number, head->replaces_ordinal, FORMAT_NOTE_DONE);
}

/* Every head tells how many mails were before it: those that were not seen are damaged, and kept.
 */
static void gap_keep(struct recovery *self, const struct format_head *head)
{
    struct segment *segment = &self->spool->segments[self->segment];
    if (head->ordinal >= self->spool->bits_bytes * 8)
        return;
    for (; segment->ordinals_count < head->ordinal; segment->ordinals_count++) {
        const uint32_t n = segment->ordinals_count;
        segment->live[n / 64] |= UINT64_C(1) << (n % 64);
        segment->live_count++;
        self->gaps++;
    }
}

static void record_found(void *user, const struct format_head *head, const uint8_t *record)
{
    struct recovery *self = user;
    if (self->applies)
        gap_keep(self, head);
    if (head->kind == FORMAT_MAIL || head->kind == FORMAT_NOTICE)
        index_put(self, head);
    if (head->kind == FORMAT_INDEX && self->applies)
        self->spool->segments[self->segment].index_at = head->offset;
    if (head->kind != FORMAT_NOTES || !self->applies)
        return;
    const uint8_t *body = format_body(record);
    for (uint32_t n = 0; n < head->inline_bytes / sizeof(struct format_note); n++) {
        struct format_note note;
        memcpy(&note, body + n * sizeof(note), sizeof(note));
        note_apply(self, note.segment_number, note.ordinal, note.kind);
    }
}

/* The segment's bytes are in the map. */
static uint64_t map_scan(struct recovery *self, uint32_t index, uint64_t limit)
{
    const struct segment *segment = &self->spool->segments[index];
    struct scan scan = {.at = self->map,
                        .bytes = segment->bytes,
                        .lane = self->lane->number,
                        .number = segment->number,
                        .epoch = segment->epoch,
                        .limit = limit,
                        .record = record_found,
                        .user = self};
    self->segment = index;
    self->gaps = 0;
    scan_segment(&scan);
    /* Mails are counted when they are missed; this is the rest. */
    if (self->applies && scan.damaged > self->gaps)
        self->spool->stats.damaged += scan.damaged - self->gaps;
    return scan.ended;
}

/* One older segment in the checkpoint at `at`; the bytes it takes, 0: it makes no sense. */
static uint64_t older_take(struct recovery *self, const uint8_t *at, uint64_t room)
{
    struct spool *spool = self->spool;
    struct format_older older;
    if (room < sizeof(older))
        return 0;
    memcpy(&older, at, sizeof(older));
    const uint64_t words = ((uint64_t)older.ordinals_count + 63) / 64;
    const bool live = (older.flags & FORMAT_OLDER_BITS_LIVE) != 0;
    const bool held = (older.flags & FORMAT_OLDER_BITS_HELD) != 0;
    const uint64_t bytes = sizeof(older) + 8 * words * ((uint64_t)live + held);
    if (bytes > room || words * 8 > spool->bits_bytes)
        return 0;
    struct segment *segment = segment_numbered(self, older.segment_number);
    if (segment == NULL) {
        /* Its file is gone: what lives in it is missed, unless notes since say that it is done. */
        const uint32_t slot = segment_take(spool, self->lane->self, 0);
        if (slot == NONE)
            return 0;
        segment = &spool->segments[slot];
        segment->state = SEGMENT_CLOSED;
        segment->number = older.segment_number;
    }
    segment->epoch = older.epoch;
    segment->ended = older.ended;
    segment->index_at = older.index_at;
    segment->ordinals_count = older.ordinals_count;
    segment->live_count = older.live_count;
    memset(segment->live, 0, spool->bits_bytes);
    memset(segment->held, 0, spool->bits_bytes);
    if (live)
        memcpy(segment->live, at + sizeof(older), 8 * words);
    else
        for (uint32_t n = 0; n < older.ordinals_count; n++)
            segment->live[n / 64] |= UINT64_C(1) << (n % 64);
    if (held)
        memcpy(segment->held, at + sizeof(older) + (live ? 8 * words : 0), 8 * words);
    return bytes;
}

/* Reads the header of `index`, checkpoint included; -EBADMSG: it does not verify. */
static int header_read(struct recovery *self, uint32_t index)
{
    struct spool *spool = self->spool;
    const struct segment *segment = &spool->segments[index];
    struct format_head head;
    int rc = segment_read(spool, segment, 0, DISK_BLOCK_BYTES, self->map);
    if (rc != 0)
        return disk_fault(self, index, "read", rc);
    memcpy(&head, self->map, sizeof(head));
    if (!format_head_is(&head, self->lane->number, 0) || head.kind != FORMAT_SEGMENT)
        return -EBADMSG;
    const uint64_t bytes = format_blocks(format_head_record_bytes(&head));
    if (bytes > segment->bytes)
        return -EBADMSG;
    rc = segment_read(spool, segment, 0, bytes, self->map);
    if (rc != 0)
        return disk_fault(self, index, "read", rc);
    return format_record_is(self->map, bytes, self->lane->number, 0) ? 0 : -EBADMSG;
}

static int first_blocks(struct recovery *self)
{
    struct spool *spool = self->spool;
    struct lane *lane = self->lane;
    for (uint32_t n = 0; n < spool->segments_count; n++) {
        struct segment *segment = &spool->segments[n];
        if (segment->lane != lane->self || segment->state == SEGMENT_NONE)
            continue;
        segment->state = SEGMENT_RAW;
        if (segment->bytes < DISK_BLOCK_BYTES)
            continue;
        struct format_head head;
        const int rc = segment_read(spool, segment, 0, DISK_BLOCK_BYTES, self->map);
        if (rc != 0)
            return disk_fault(self, n, "read", rc);
        memcpy(&head, self->map, sizeof(head));
        if (!format_head_is(&head, lane->number, 0) || head.kind != FORMAT_SEGMENT)
            continue;
        segment->number = head.segment_number;
        segment->epoch = head.epoch;
        segment->state = head.segment_number == 0 ? SEGMENT_FREE : SEGMENT_CLOSED;
        lane->number_next = MAX(lane->number_next, head.segment_number + 1);
        lane->epoch = MAX(lane->epoch, head.epoch + 1);
    }
    return 0;
}

static uint32_t newest_closed(const struct recovery *self)
{
    const struct spool *spool = self->spool;
    uint32_t best = NONE;
    for (uint32_t n = 0; n < spool->segments_count; n++)
        if (spool->segments[n].lane == self->lane->self &&
            spool->segments[n].state == SEGMENT_CLOSED &&
            (best == NONE || spool->segments[n].number > spool->segments[best].number))
            best = n;
    return best;
}

static int header_damaged(struct recovery *self, uint32_t index)
{
    char name[DISK_NAME_BYTES];
    segment_name(self->spool, index, name);
    (void)snprintf(
        self->why, SPOOL_WHY_BYTES,
        "the beginning of %s is damaged, and mail stands after it; put the file right from "
        "a copy, or move it away and lose the mail in it",
        name);
    return -EUCLEAN;
}

/* Records of a segment are written only after its header was durable: a header that does not verify
 * with none after it was never finished. */
static int best_find(struct recovery *self)
{
    struct spool *spool = self->spool;
    for (uint32_t tries = 0; tries <= spool->segments_count; tries++) {
        const uint32_t best = newest_closed(self);
        self->best = best;
        if (best == NONE)
            return 0;
        int rc = header_read(self, best);
        if (rc != -EBADMSG)
            return rc;
        struct segment *segment = &spool->segments[best];
        rc = segment_read(spool, segment, 0, segment->bytes, self->map);
        if (rc != 0)
            return disk_fault(self, best, "read", rc);
        struct format_head head;
        bool records = false;
        for (uint64_t n = FORMAT_ALIGN; n + sizeof(head) <= segment->bytes && !records;
             n += FORMAT_ALIGN) {
            memcpy(&head, self->map + n, sizeof(head));
            records = format_head_is(&head, self->lane->number, n) &&
                      head.segment_number == segment->number;
        }
        if (records)
            return header_damaged(self, best);
        segment->state = SEGMENT_RAW;
    }
    return 0;
}

/* A file without a header: was never used, or its header is damaged and its records tell which it
 * is. */
static int raw_look(struct recovery *self)
{
    struct spool *spool = self->spool;
    const uint64_t newest = self->best == NONE ? 0 : spool->segments[self->best].number;
    for (uint32_t n = 0; n < spool->segments_count; n++) {
        struct segment *segment = &spool->segments[n];
        if (segment->lane != self->lane->self || segment->state != SEGMENT_RAW ||
            segment->bytes < DISK_BLOCK_BYTES)
            continue;
        const uint64_t bytes = segment->bytes / DISK_BLOCK_BYTES * DISK_BLOCK_BYTES;
        const int rc = segment_read(spool, segment, 0, bytes, self->map);
        if (rc != 0)
            return disk_fault(self, n, "read", rc);
        uint64_t epoch = 0;
        const uint64_t number = scan_number(self->map, bytes, self->lane->number, &epoch);
        if (number > newest)
            return header_damaged(self, n);
        if (number == 0 || segment_numbered(self, number) != NULL)
            continue;
        segment->state = SEGMENT_CLOSED;
        segment->number = number;
        segment->epoch = epoch;
    }
    return 0;
}

/* Nothing tells where the newest segment ends but its records: a bit that was read wrong looks like
 * a write that was never finished. So it is read twice, and again for what was found in it, and
 * must be the same each time. */
static int best_map(struct recovery *self, bool again)
{
    const struct segment *best = &self->spool->segments[self->best];
    for (uint32_t n = again; n < 2; n++) {
        const int rc = segment_read(self->spool, best, 0, best->bytes, self->map);
        if (rc != 0)
            return disk_fault(self, self->best, "read", rc);
        const uint32_t crc = crc32c(0, self->map, best->bytes);
        if (n > 0 && crc != self->best_crc)
            return disk_fault(self, self->best, "read twice alike", -EIO);
        self->best_crc = crc;
    }
    return 0;
}

static int best_read(struct recovery *self)
{
    struct spool *spool = self->spool;
    struct segment *best = &spool->segments[self->best];
    int rc = header_read(self, self->best);
    if (rc != 0)
        return rc;
    struct format_head head;
    memcpy(&head, self->map, sizeof(head));
    const uint8_t *body = format_body(self->map);
    for (uint64_t done = 0; done < head.inline_bytes;) {
        const uint64_t took = older_take(self, body + done, head.inline_bytes - done);
        if (took == 0) {
            (void)snprintf(self->why, SPOOL_WHY_BYTES,
                           "a checkpoint names segments larger than any of the folder; are files "
                           "missing?");
            return -EUCLEAN;
        }
        done += took;
    }
    /* What is read now was perhaps never acknowledged, and must not go away once it was found. */
    const struct disk_request sync = {.kind = DISK_SYNC, .file = best->file};
    const int64_t synced = spool_do(spool, &sync);
    if (synced < 0)
        return disk_fault(self, self->best, "sync", synced);
    rc = best_map(self, false);
    if (rc != 0)
        return rc;
    self->applies = true;
    best->ended = map_scan(self, self->best, SCAN_UNKNOWN);
    self->applies = false;
    return 0;
}

static int index_read(struct recovery *self, uint32_t index)
{
    struct spool *spool = self->spool;
    const struct segment *segment = &spool->segments[index];
    struct format_head head;
    const uint64_t at = segment->index_at;
    if (at == 0 || at + sizeof(head) > segment->bytes)
        return -EBADMSG;
    const uint64_t from = at / DISK_BLOCK_BYTES * DISK_BLOCK_BYTES;
    const uint64_t two = MIN(2 * (uint64_t)DISK_BLOCK_BYTES, segment->bytes - from);
    int rc = segment_read(spool, segment, from, two, self->map);
    if (rc != 0)
        return rc;
    memcpy(&head, self->map + (at - from), sizeof(head));
    if (!format_head_is(&head, self->lane->number, at) || head.kind != FORMAT_INDEX ||
        head.segment_number != segment->number || head.epoch != segment->epoch)
        return -EBADMSG;
    const uint64_t bytes = format_blocks(at - from + format_head_record_bytes(&head));
    if (bytes > segment->bytes - from)
        return -EBADMSG;
    rc = segment_read(spool, segment, from, bytes, self->map);
    if (rc != 0)
        return rc;
    const uint8_t *record = self->map + (at - from);
    if (!format_record_is(record, bytes - (at - from), self->lane->number, at))
        return -EBADMSG;
    const uint8_t *body = format_body(record);
    for (uint32_t n = 0; n < head.inline_bytes / sizeof(struct format_index); n++) {
        struct format_index one;
        memcpy(&one, body + n * sizeof(one), sizeof(one));
        if (one.ordinal < spool->bits_bytes * 8 && one.offset <= segment->bytes &&
            one.record_bytes <= segment->bytes - one.offset &&
            one.head_bytes <= SPOOL_HEAD_BYTES_MAX)
            self->lane->index[one.ordinal] = one;
    }
    return 0;
}

/* Where the records of a segment stand goes to the lane's index. */
static void older_read(struct recovery *self, uint32_t index)
{
    struct spool *spool = self->spool;
    struct segment *segment = &spool->segments[index];
    memset(self->lane->index, 0, sizeof(self->lane->index[0]) * segment->ordinals_count);
    if (segment->bytes == 0)
        return;
    if (segment->index_at != 0) {
        if (index_read(self, index) == 0)
            return;
        spool->stats.damaged++;
        segment->index_at = 0;
    }
    if (segment_read(spool, segment, 0, segment->bytes, self->map) == 0)
        (void)map_scan(self, index, segment->ended);
}

/* Every live record becomes an entry; one that is nowhere keeps its bit, and so its segment. */
static int segment_found(struct recovery *self, uint32_t index)
{
    struct spool *spool = self->spool;
    struct segment *segment = &spool->segments[index];
    const uint32_t live_count = segment->live_count;
    uint32_t lost = 0;
    segment->live_count = 0;
    for (uint32_t n = 0; n < segment->ordinals_count && live_count > 0; n++) {
        const uint64_t mask = UINT64_C(1) << (n % 64);
        if ((segment->live[n / 64] & mask) == 0)
            continue;
        const struct format_index *one = &self->lane->index[n];
        if (one->record_bytes == 0) {
            lost++;
            continue;
        }
        const uint32_t entry = entry_take(spool);
        if (entry == NONE) {
            (void)snprintf(self->why, SPOOL_WHY_BYTES,
                           "more mail waits than spool_size allows; make it larger");
            return -ENOSPC;
        }
        const bool held = (segment->held[n / 64] & mask) != 0;
        spool->entries[entry].flags = held ? ENTRY_HELD : 0;
        entry_place(spool, entry, index, one->offset, one->record_bytes, n);
        struct spool_found found = {
            .place = entry_place_of(spool, entry),
            .kind = one->kind == FORMAT_NOTICE ? SPOOL_NOTICE : SPOOL_MAIL,
            .arrived_unix_ms = one->arrived_unix_ms,
            .end_unix_ms = one->end_unix_ms,
            .head_bytes = one->head_bytes,
            .body_bytes = one->body_bytes,
            .held = held,
        };
        memcpy(found.id, one->id, sizeof(found.id));
        self->found(self->user, &found);
    }
    segment->live_count += lost;
    if (lost > 0) {
        spool->stats.damaged += lost;
        char name[DISK_NAME_BYTES];
        segment_name(spool, index, name);
        log_line(LOG_LEVEL_ERROR, "spool_damaged",
                 "file=%s records=%u effect=\"the segment is kept, these mails cannot be read\" "
                 "mend=\"put the file right from a copy\"",
                 name, lost);
    }
    return 0;
}

static int number_order(const void *a, const void *b, void *user)
{
    const struct spool *spool = user;
    const uint64_t left = spool->segments[*(const uint32_t *)a].number;
    const uint64_t right = spool->segments[*(const uint32_t *)b].number;
    return (left > right) - (left < right);
}

/* The newest comes last, and is read again: the older ones have used the same memory. */
static int best_found(struct recovery *self)
{
    struct spool *spool = self->spool;
    const struct segment *best = &spool->segments[self->best];
    const int rc = best_map(self, true);
    if (rc != 0)
        return rc;
    memset(self->lane->index, 0, sizeof(self->lane->index[0]) * best->ordinals_count);
    (void)map_scan(self, self->best, best->ended);
    return segment_found(self, self->best);
}

static int lane_found(struct recovery *self)
{
    struct spool *spool = self->spool;
    uint32_t *order = calloc(spool->segments_count, sizeof(*order));
    uint32_t count = 0;
    int rc = 0;
    if (order == NULL)
        return -ENOMEM;
    for (uint32_t n = 0; n < spool->segments_count; n++)
        if (spool->segments[n].lane == self->lane->self && n != self->best &&
            spool->segments[n].state == SEGMENT_CLOSED && spool->segments[n].live_count > 0)
            order[count++] = n;
    qsort_r(order, count, sizeof(order[0]), number_order, spool);
    for (uint32_t n = 0; n < count && rc == 0; n++) {
        older_read(self, order[n]);
        rc = segment_found(self, order[n]);
    }
    free(order);
    return rc != 0 ? rc : best_found(self);
}

/* The newest of an empty former lane goes last: without it an older one would be believed. That the
 * others' names are gone must be durable before. */
static bool best_may_go(struct recovery *self, uint32_t files_count)
{
    const struct disk_request sync = {.kind = DISK_SYNC_FOLDER};
    return files_count == 1 && spool_do(self->spool, &sync) == 0;
}

/* What is free, what must be overwritten first, what is of no use here. */
static void lane_sort_out(struct recovery *self)
{
    struct spool *spool = self->spool;
    struct lane *lane = self->lane;
    uint64_t live = 0;
    uint32_t files_count = 0; /* without those that only the checkpoint knows */
    for (uint32_t n = 0; n < spool->segments_count; n++) {
        if (spool->segments[n].lane != lane->self)
            continue;
        live += spool->segments[n].live_count;
        files_count += spool->segments[n].file >= 0;
    }
    for (uint32_t n = 0; n < spool->segments_count; n++) {
        struct segment *segment = &spool->segments[n];
        if (segment->lane != lane->self)
            continue;
        const bool former = lane->self != 0 && live == 0;
        if (former && n == self->best && !best_may_go(self, files_count))
            continue;
        if ((segment->state == SEGMENT_FREE || segment->state == SEGMENT_RAW) &&
            (segment->bytes != spool->config.segment_bytes || former))
            segment->state = SEGMENT_SURPLUS;
        if (former && n == self->best)
            segment->state = SEGMENT_SURPLUS;
        if (segment->state == SEGMENT_FREE)
            lane->free_count++;
        if (segment->state == SEGMENT_RAW || segment->state == SEGMENT_SURPLUS)
            lane->maker.due = true;
    }
    spool->recycle_due = true;
}

static int lane_recover(struct recovery *self)
{
    struct lane *lane = self->lane;
    self->noted = 0;
    int rc = first_blocks(self);
    if (rc == 0)
        rc = best_find(self);
    if (rc == 0)
        rc = raw_look(self);
    if (rc != 0)
        return rc;
    if (self->best != NONE) {
        rc = best_read(self);
        if (rc == 0)
            rc = lane_found(self);
        if (rc != 0)
            return rc;
        lane->header_number = self->spool->segments[self->best].number;
    }
    lane_sort_out(self);
    return 0;
}

static int files_open(struct recovery *self)
{
    struct spool *spool = self->spool;
    for (uint32_t n = 0; n < spool->segments_count; n++) {
        struct disk_request request = {.kind = DISK_OPEN, .bytes = spool->segments[n].bytes};
        segment_name(spool, n, request.name);
        const int64_t result = spool_do(spool, &request);
        if (result < 0)
            return disk_fault(self, n, "open", result);
        spool->segments[n].file = (int32_t)result;
        spool->segments[n].state = SEGMENT_RAW;
    }
    return 0;
}

int spool_recover(struct spool *spool, void (*found)(void *user, const struct spool_found *found),
                  void *user, char why[SPOOL_WHY_BYTES])
{
    struct recovery self = {.spool = spool, .found = found, .user = user, .why = why};
    const uint64_t map_bytes = spool->segment_bytes_max;
    self.map = mmap(NULL, map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (self.map == MAP_FAILED)
        return -ENOMEM;
    int rc = files_open(&self);
    for (uint32_t n = 0; n < spool->lanes_count && rc == 0; n++) {
        self.lane = spool->lanes[n];
        rc = lane_recover(&self);
    }
    (void)munmap(self.map, map_bytes);
    if (rc == 0 && spool->stats.damaged > 0)
        log_line(LOG_LEVEL_ERROR, "spool_damage_found", "records=%" PRIu64, spool->stats.damaged);
    return rc;
}
