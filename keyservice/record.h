/*
 * record: what the key service is told of an envelope, and the batch it travels in.
 * Ownership: record_write() copies into the caller's buffer; a record_view borrows the batch.
 * Threads:   any.
 * Units:     bytes; unix milliseconds; 0 means "none" for expiry and read-by.
 * Errors:    record_write(): 0 bytes if it does not fit. record_read(): -EBADMSG, nothing is
 *            trusted of a batch of which any byte is wrong.
 *
 * docs/format/key-batch.md; little-endian; the body of POST /v1/envelopes.
 */
#ifndef KEYSERVICE_RECORD_H
#define KEYSERVICE_RECORD_H

#include "base/macros.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECORD_BATCH_MAGIC       UINT32_C(0x31424b42) /* "BKB1" */
#define RECORD_BATCH_HEAD_BYTES  16
#define RECORD_BATCH_RECORDS_MAX 512
#define RECORD_BATCH_BYTES_MAX   (4 * 1024 * 1024)
#define RECORD_ID_BYTES          16
#define RECORD_KEY_BYTES_MAX     32
#define RECORD_RECIPIENTS_MAX    1000
#define RECORD_ADDRESS_BYTES_MAX 320
#define RECORD_SUBJECT_BYTES_MAX 512
#define RECORD_PROFILE_BYTES_MAX 64
#define RECORD_BYTES_MAX         (64 * 1024)

enum record_level {
    RECORD_LEVEL_HIGH = 1,   /* sign in every time              */
    RECORD_LEVEL_MEDIUM = 2, /* a signed-in device suffices     */
    RECORD_LEVEL_NONE = 3,   /* no account, still lockable      */
};

#define RECORD_FLAG_RECEIPT      UINT16_C(0x0001)
#define RECORD_FLAG_REPLY        UINT16_C(0x0002)
#define RECORD_FLAG_REPLY_ALL    UINT16_C(0x0004)
#define RECORD_FLAG_FORWARD      UINT16_C(0x0008)
#define RECORD_FLAG_REMEMBER_KEY UINT16_C(0x0010)
#define RECORD_FLAGS_KNOWN       UINT16_C(0x001f) /* unknown bit: reject */

/* Batch head, 16 bytes: u32 magic, u32 records_count, u32 batch_bytes (all of it), u32 zero. */
void record_batch_head(uint8_t head[RECORD_BATCH_HEAD_BYTES], uint32_t records_count,
                       uint32_t batch_bytes);

/*
 * A record: fixed part, then the strings.
 *   0  u32 record_bytes     this record, all of it
 *   4  u8  suite            COBBLE_AES_256 or COBBLE_AES_192
 *   5  u8  level            enum record_level
 *   6  u16 flags            RECORD_FLAG_*
 *   8  u8[16] id            UUIDv7
 *  24  u64 sent_unix_ms
 *  32  u64 expires_unix_ms
 *  40  u64 read_by_unix_ms
 *  48  u64 mail_bytes       of the original message
 *  56  u8[32] key           24 bytes used for AES-192, the rest zero
 *  88  u16 profile_bytes, u16 sender_bytes, u16 subject_bytes, u16 recipients_count
 *  96  profile, sender, subject, then recipients_count × (u16 bytes, address), UTF-8
 */
#define RECORD_FIXED_BYTES 96

struct record {
    uint8_t suite;
    uint8_t level;
    uint16_t flags;
    uint8_t id[RECORD_ID_BYTES];
    uint64_t sent_unix_ms;
    uint64_t expires_unix_ms;
    uint64_t read_by_unix_ms;
    uint64_t mail_bytes;
    uint8_t key[RECORD_KEY_BYTES_MAX]; /* secret: wipe the struct */
    const uint8_t *profile;
    const uint8_t *sender;
    const uint8_t *subject;
    uint16_t profile_bytes;
    uint16_t sender_bytes;
    uint16_t subject_bytes;
    uint16_t recipients_count;
    const uint8_t *recipients; /* recipients_count × (u16 bytes, address) */
    uint32_t recipients_bytes;
};

/* Bytes written, or 0 if dst_room is too small. */
HOT size_t record_write(uint8_t *dst, size_t dst_room, const struct record *record);

/* Checks a batch's head: *records_count, or -EBADMSG. */
MUST_USE int record_batch_check(const uint8_t *batch, size_t batch_bytes, uint32_t *records_count);

/* The first record stands at RECORD_BATCH_HEAD_BYTES; after the last, *offset is batch_bytes, or
 * the batch is malformed: that is the caller's to check. record->key is a copy and secret: wipe it.
 * Reads the record at *offset and moves *offset past it. Every length, the UTF-8 of every string,
 * the absence of control characters and every range is checked. */
MUST_USE int record_read(struct record *record, const uint8_t *batch, size_t batch_bytes,
                         size_t *offset);

/* Well-formed UTF-8 (RFC 3629) without control characters: what a record's strings must be. */
HOT bool record_text_sound(const uint8_t *text, size_t bytes);

/* Walks recipients: sets *address and *address_bytes, moves *offset. False at the end. */
bool record_recipient(const struct record *record, uint32_t *offset, const uint8_t **address,
                      uint16_t *address_bytes);

#endif
