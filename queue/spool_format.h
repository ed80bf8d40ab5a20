/*
 * spool_format: the bytes of a segment: heads, checkpoints, notes, indexes.
 * Ownership: borrows for the call.
 * Threads:   any.
 * Units:     bytes; all numbers little-endian.
 * Errors:    what does not verify is no record: a bool.
 *
 * docs/format/spool.md leads.
 */
#ifndef QUEUE_SPOOL_FORMAT_H
#define QUEUE_SPOOL_FORMAT_H

#include "base/macros.h"
#include "queue/disk.h"
#include "queue/spool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FORMAT_MAGIC_HEAD UINT32_C(0x4c505342) /* BSPL */
#define FORMAT_MAGIC_TAIL UINT32_C(0x45505342) /* BSPE */
#define FORMAT_ALIGN      8
#define FORMAT_HELD       1 /* flag of a head: the record is held where it is written */

enum format_kind { /* 1 and 2 are enum spool_kind */
                   FORMAT_MAIL = SPOOL_MAIL,
                   FORMAT_NOTICE = SPOOL_NOTICE,
                   FORMAT_SEGMENT = 3,  /* the header of a segment; its body is the checkpoint */
                   FORMAT_CONSTANT = 4, /* bytes that mails of this segment share              */
                   FORMAT_NOTES = 5,    /* which records are done, held, released              */
                   FORMAT_INDEX = 6,    /* the mails and notices of this segment               */
};

struct format_head {
    uint32_t magic;
    uint8_t kind;
    uint8_t flags; /* unknown bit: no record */
    uint8_t spans_count;
    uint8_t version; /* 1 */
    uint64_t segment_number;
    uint64_t offset;
    uint64_t epoch;
    uint64_t sequence; /* from 0 in each segment */
    uint64_t durable;  /* all before this offset of the segment was durable */
    uint32_t ordinal;  /* mails and notices before it in this segment      */
    uint32_t head_bytes;
    uint32_t body_bytes;   /* constants included */
    uint32_t inline_bytes; /* of the body, here  */
    uint8_t id[SPOOL_ID_BYTES];
    uint64_t arrived_unix_ms;
    uint64_t end_unix_ms;
    uint64_t replaces_number; /* 0: nothing */
    uint32_t replaces_ordinal;
    uint32_t lane;
    uint32_t head_crc; /* of spans and head */
    uint8_t reserved[8];
    uint32_t crc; /* of all before */
};
_Static_assert(sizeof(struct format_head) == 128, "on-disk size");
_Static_assert(offsetof(struct format_head, crc) == 124, "the checksum is last");

struct format_span {
    uint64_t constant_at; /* offset of a FORMAT_CONSTANT in this segment; 0: the bytes are here */
    uint32_t bytes;
    uint32_t reserved;
};
_Static_assert(sizeof(struct format_span) == 16, "on-disk size");

/* After the body and zeros to a multiple of FORMAT_ALIGN. */
struct format_tail {
    uint32_t body_crc; /* of the inline bytes */
    uint32_t magic;
};
_Static_assert(sizeof(struct format_tail) == 8, "on-disk size");

enum format_note_kind {
    FORMAT_NOTE_DONE = 1,
    FORMAT_NOTE_HOLD = 2,
    FORMAT_NOTE_RELEASE = 3,
};

struct format_note {
    uint64_t segment_number;
    uint32_t ordinal;
    uint32_t kind;
};
_Static_assert(sizeof(struct format_note) == 16, "on-disk size");

struct format_index {
    uint64_t offset;
    uint32_t record_bytes;
    uint32_t ordinal;
    uint8_t id[SPOOL_ID_BYTES];
    uint64_t arrived_unix_ms;
    uint64_t end_unix_ms;
    uint32_t head_bytes;
    uint32_t body_bytes;
    uint8_t kind;
    uint8_t reserved[7];
};
_Static_assert(sizeof(struct format_index) == 64, "on-disk size");

#define FORMAT_OLDER_BITS_LIVE 1 /* a bitmap of live records follows; else all are live */
#define FORMAT_OLDER_BITS_HELD 2 /* then one of held records; else none is held         */

/* One older segment in a checkpoint; its bitmaps follow, in words of 64 bits. */
struct format_older {
    uint64_t segment_number;
    uint64_t epoch;
    uint64_t ended;    /* records stand before this offset only */
    uint64_t index_at; /* 0: none */
    uint32_t ordinals_count;
    uint32_t live_count;
    uint32_t flags;
    uint32_t reserved;
};
_Static_assert(sizeof(struct format_older) == 48, "on-disk size");

static inline uint64_t format_record_bytes(uint32_t spans_count, uint32_t head_bytes,
                                           uint32_t inline_bytes)
{
    const uint64_t bytes = sizeof(struct format_head) + sizeof(struct format_span) * spans_count +
                           (uint64_t)head_bytes + inline_bytes;
    return (bytes + FORMAT_ALIGN - 1) / FORMAT_ALIGN * FORMAT_ALIGN + sizeof(struct format_tail);
}

static inline uint64_t format_head_record_bytes(const struct format_head *head)
{
    return format_record_bytes(head->spans_count, head->head_bytes, head->inline_bytes);
}

static inline uint64_t format_blocks(uint64_t bytes)
{
    return (bytes + DISK_BLOCK_BYTES - 1) / DISK_BLOCK_BYTES * DISK_BLOCK_BYTES;
}

HOT void format_head_seal(struct format_head *head);
/* A head that verifies and stands where it says; the rest of the record is not looked at. */
HOT bool format_head_is(const struct format_head *head, uint32_t lane, uint64_t offset);
/* The whole record is at `at`, `room` bytes are there: every checksum of it. */
bool format_record_is(const uint8_t *at, uint64_t room, uint32_t lane, uint64_t offset);
/* The first inline byte of the body. */
const uint8_t *format_body(const uint8_t *record);

#endif
