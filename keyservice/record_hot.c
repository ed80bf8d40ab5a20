#include "keyservice/record.h"

#include "base/assert.h"
#include "base/bytes.h"

static uint8_t *record_put(uint8_t *at, const uint8_t *bytes_at, size_t bytes)
{
    if (bytes != 0)
        memcpy(at, bytes_at, bytes);
    return at + bytes;
}

size_t record_write(uint8_t *dst, size_t dst_room, const struct record *record)
{
    const size_t bytes = RECORD_FIXED_BYTES + (size_t)record->profile_bytes + record->sender_bytes +
                         record->subject_bytes + record->recipients_bytes;
    if (bytes > dst_room || bytes > RECORD_BYTES_MAX)
        return 0;
    ASSERT(record->profile_bytes <= RECORD_PROFILE_BYTES_MAX);
    ASSERT(record->subject_bytes <= RECORD_SUBJECT_BYTES_MAX);
    bytes_store_le32(dst, (uint32_t)bytes);
    dst[4] = record->suite;
    dst[5] = record->level;
    bytes_store_le16(dst + 6, record->flags);
    memcpy(dst + 8, record->id, RECORD_ID_BYTES);
    bytes_store_le64(dst + 24, record->sent_unix_ms);
    bytes_store_le64(dst + 32, record->expires_unix_ms);
    bytes_store_le64(dst + 40, record->read_by_unix_ms);
    bytes_store_le64(dst + 48, record->mail_bytes);
    memcpy(dst + 56, record->key, RECORD_KEY_BYTES_MAX);
    bytes_store_le16(dst + 88, record->profile_bytes);
    bytes_store_le16(dst + 90, record->sender_bytes);
    bytes_store_le16(dst + 92, record->subject_bytes);
    bytes_store_le16(dst + 94, record->recipients_count);
    uint8_t *at = record_put(dst + RECORD_FIXED_BYTES, record->profile, record->profile_bytes);
    at = record_put(at, record->sender, record->sender_bytes);
    at = record_put(at, record->subject, record->subject_bytes);
    at = record_put(at, record->recipients, record->recipients_bytes);
    ASSERT((size_t)(at - dst) == bytes);
    return bytes;
}
