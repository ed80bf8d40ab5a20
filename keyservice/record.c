#include "keyservice/record.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "crypto/cobblestone.h"
#include "crypto/secret.h"

#include <errno.h>

/* A store keeps times and sizes in signed 64 bits. */
#define RECORD_INTEGER_MAX ((uint64_t)INT64_MAX)

void record_batch_head(uint8_t head[RECORD_BATCH_HEAD_BYTES], uint32_t records_count,
                       uint32_t batch_bytes)
{
    ASSERT(records_count >= 1);
    ASSERT(records_count <= RECORD_BATCH_RECORDS_MAX);
    ASSERT(batch_bytes <= RECORD_BATCH_BYTES_MAX);
    bytes_store_le32(head, RECORD_BATCH_MAGIC);
    bytes_store_le32(head + 4, records_count);
    bytes_store_le32(head + 8, batch_bytes);
    bytes_store_le32(head + 12, 0);
}

int record_batch_check(const uint8_t *batch, size_t batch_bytes, uint32_t *records_count)
{
    if (batch_bytes < RECORD_BATCH_HEAD_BYTES || batch_bytes > RECORD_BATCH_BYTES_MAX)
        return -EBADMSG;
    const uint32_t count = bytes_load_le32(batch + 4);
    if (bytes_load_le32(batch) != RECORD_BATCH_MAGIC || count < 1 ||
        count > RECORD_BATCH_RECORDS_MAX || bytes_load_le32(batch + 8) != batch_bytes ||
        bytes_load_le32(batch + 12) != 0)
        return -EBADMSG;
    /* Counts that cannot be true are refused before anything is allocated for them. */
    if (batch_bytes - RECORD_BATCH_HEAD_BYTES < (size_t)count * RECORD_FIXED_BYTES)
        return -EBADMSG;
    *records_count = count;
    return 0;
}

static bool record_fixed_sound(const struct record *record)
{
    static const uint8_t zeros[RECORD_KEY_BYTES_MAX] = {0};
    if (record->suite != COBBLE_AES_256 && record->suite != COBBLE_AES_192)
        return false;
    const size_t key_bytes = record->suite == COBBLE_AES_256 ? 32 : 24;
    if (memcmp(record->key + key_bytes, zeros, RECORD_KEY_BYTES_MAX - key_bytes) != 0)
        return false;
    if (record->level < RECORD_LEVEL_HIGH || record->level > RECORD_LEVEL_NONE)
        return false;
    if ((record->flags & ~RECORD_FLAGS_KNOWN) != 0)
        return false;
    /* RFC 9562, 5.7: version 7, variant 10. */
    if (record->id[6] >> 4 != 7 || record->id[8] >> 6 != 2)
        return false;
    if (record->sent_unix_ms == 0 || record->sent_unix_ms > RECORD_INTEGER_MAX ||
        record->expires_unix_ms > RECORD_INTEGER_MAX ||
        record->read_by_unix_ms > RECORD_INTEGER_MAX || record->mail_bytes > RECORD_INTEGER_MAX)
        return false;
    if (record->expires_unix_ms != 0 && record->expires_unix_ms < record->sent_unix_ms)
        return false;
    return record->read_by_unix_ms == 0 || record->read_by_unix_ms >= record->sent_unix_ms;
}

static bool record_recipients_sound(const struct record *record)
{
    const uint8_t *address;
    uint16_t address_bytes;
    uint32_t offset = 0;
    for (uint32_t i = 0; i < record->recipients_count; i++) {
        if (record->recipients_bytes - offset < 2)
            return false;
        address_bytes = bytes_load_le16(record->recipients + offset);
        address = record->recipients + offset + 2;
        offset += 2;
        if (address_bytes == 0 || address_bytes > RECORD_ADDRESS_BYTES_MAX ||
            address_bytes > record->recipients_bytes - offset)
            return false;
        if (!record_text_sound(address, address_bytes))
            return false;
        offset += address_bytes;
    }
    return offset == record->recipients_bytes;
}

static bool record_strings_sound(const struct record *record)
{
    if (record->profile_bytes == 0 || record->profile_bytes > RECORD_PROFILE_BYTES_MAX ||
        record->sender_bytes > RECORD_ADDRESS_BYTES_MAX ||
        record->subject_bytes > RECORD_SUBJECT_BYTES_MAX || record->recipients_count == 0 ||
        record->recipients_count > RECORD_RECIPIENTS_MAX)
        return false;
    return record_text_sound(record->profile, record->profile_bytes) &&
           record_text_sound(record->sender, record->sender_bytes) &&
           record_text_sound(record->subject, record->subject_bytes) &&
           record_recipients_sound(record);
}

static void record_load_fixed(struct record *record, const uint8_t *at)
{
    record->suite = at[4];
    record->level = at[5];
    record->flags = bytes_load_le16(at + 6);
    memcpy(record->id, at + 8, RECORD_ID_BYTES);
    record->sent_unix_ms = bytes_load_le64(at + 24);
    record->expires_unix_ms = bytes_load_le64(at + 32);
    record->read_by_unix_ms = bytes_load_le64(at + 40);
    record->mail_bytes = bytes_load_le64(at + 48);
    memcpy(record->key, at + 56, RECORD_KEY_BYTES_MAX);
    record->profile_bytes = bytes_load_le16(at + 88);
    record->sender_bytes = bytes_load_le16(at + 90);
    record->subject_bytes = bytes_load_le16(at + 92);
    record->recipients_count = bytes_load_le16(at + 94);
}

int record_read(struct record *record, const uint8_t *batch, size_t batch_bytes, size_t *offset)
{
    if (*offset < RECORD_BATCH_HEAD_BYTES || *offset > batch_bytes ||
        batch_bytes - *offset < RECORD_FIXED_BYTES)
        return -EBADMSG;
    const uint8_t *at = batch + *offset;
    const uint32_t record_bytes = bytes_load_le32(at);
    if (record_bytes < RECORD_FIXED_BYTES || record_bytes > RECORD_BYTES_MAX ||
        record_bytes > batch_bytes - *offset)
        return -EBADMSG;

    struct record found;
    record_load_fixed(&found, at);
    const uint32_t strings_bytes =
        (uint32_t)found.profile_bytes + found.sender_bytes + found.subject_bytes;
    if (strings_bytes > record_bytes - RECORD_FIXED_BYTES)
        return -EBADMSG;
    found.profile = at + RECORD_FIXED_BYTES;
    found.sender = found.profile + found.profile_bytes;
    found.subject = found.sender + found.sender_bytes;
    found.recipients = found.subject + found.subject_bytes;
    found.recipients_bytes = record_bytes - RECORD_FIXED_BYTES - strings_bytes;
    const bool sound = record_fixed_sound(&found) && record_strings_sound(&found);
    if (sound) {
        *record = found;
        *offset += record_bytes;
    }
    secret_wipe(&found, sizeof(found));
    return sound ? 0 : -EBADMSG;
}

bool record_recipient(const struct record *record, uint32_t *offset, const uint8_t **address,
                      uint16_t *address_bytes)
{
    if (*offset >= record->recipients_bytes)
        return false;
    ASSERT(record->recipients_bytes - *offset >= 2);
    const uint16_t bytes = bytes_load_le16(record->recipients + *offset);
    ASSERT(bytes <= record->recipients_bytes - *offset - 2);
    *address = record->recipients + *offset + 2;
    *address_bytes = bytes;
    *offset += 2U + bytes;
    return true;
}
