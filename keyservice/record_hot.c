#include "keyservice/record.h"

#include "base/assert.h"
#include "base/bytes.h"

/* Bytes of the UTF-8 character at `text`, or 0 when it is malformed, overlong, a surrogate, out of
 * range (RFC 3629) or a control character: C0, DEL or C1. */
static size_t record_character(const uint8_t *text, size_t bytes)
{
    const uint8_t lead = text[0];
    if (lead < 0x80)
        return lead >= 0x20 && lead != 0x7f ? 1 : 0;
    const size_t need = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || need > bytes)
        return 0;
    uint32_t point = lead & (0x7fU >> need);
    for (size_t i = 1; i < need; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (text[i] & 0x3fU);
    }
    if (need == 2)
        return point >= 0xa0 ? 2 : 0;
    if (need == 3)
        return point >= 0x800 && (point < 0xd800 || point > 0xdfff) ? 3 : 0;
    return point >= 0x10000 && point <= 0x10ffff ? 4 : 0;
}

/* Eight printable ASCII characters, as nearly all texts are made of. With a high bit anywhere the
 * other two tests may be wrong, but then the first one says no. */
static bool record_eight_plain(const uint8_t *text)
{
    const uint64_t high = UINT64_C(0x8080808080808080);
    const uint64_t eight = bytes_load_le64(text);
    const uint64_t below_space = eight - UINT64_C(0x2020202020202020); /* borrows: too strict */
    const uint64_t delete_or_above = eight + UINT64_C(0x0101010101010101);
    return ((eight | below_space | delete_or_above) & high) == 0;
}

bool record_text_sound(const uint8_t *text, size_t bytes)
{
    size_t at = 0;
    while (bytes - at >= 8 && record_eight_plain(text + at))
        at += 8;
    /* The last few, with some before them that were looked at: no character of several bytes. */
    if (at > 0 && bytes - at < 8 && record_eight_plain(text + bytes - 8))
        return true;
    while (at < bytes) {
        const size_t step = record_character(text + at, bytes - at);
        if (step == 0)
            return false;
        at += step;
    }
    return true;
}

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
