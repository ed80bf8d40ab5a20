#include "engine/waiting_internal.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

/* Where the strings of a record stand; keyservice/record.h. */
struct parts {
    const uint8_t *profile;
    const uint8_t *sender;
    const uint8_t *recipients;
    uint16_t profile_bytes;
    uint16_t sender_bytes;
    uint16_t recipients_count;
    uint32_t recipients_bytes;
};

size_t waiting_head_bytes_max(uint32_t record_bytes)
{
    /* The record's strings once more, as a meta, which is shorter than the record. */
    return SPOOL_HEAD_FIXED_BYTES + SPOOL_HEAD_SERVICE_BYTES + (size_t)record_bytes +
           COBBLE_HEADER_BYTES + cobble_sealed_bytes(record_bytes);
}

static struct parts parts_of(const uint8_t *record, uint32_t record_bytes)
{
    struct parts parts = {
        .profile_bytes = bytes_load_le16(record + 88),
        .sender_bytes = bytes_load_le16(record + 90),
        .recipients_count = bytes_load_le16(record + 94),
        .profile = record + RECORD_FIXED_BYTES,
    };
    parts.sender = parts.profile + parts.profile_bytes;
    parts.recipients = parts.sender + parts.sender_bytes + bytes_load_le16(record + 92);
    ASSERT(parts.recipients <= record + record_bytes);
    parts.recipients_bytes = (uint32_t)(record + record_bytes - parts.recipients);
    return parts;
}

static uint8_t *text_add(uint8_t *at, const uint8_t *text, uint16_t bytes)
{
    bytes_store_le16(at, bytes);
    memcpy(at + sizeof(uint16_t), text, bytes);
    return at + sizeof(uint16_t) + bytes;
}

/* All but the sealed record; returns where that goes. */
static uint8_t *head_start(const struct waiting *waiting, const struct waiting_mail *mail,
                           uint8_t number)
{
    const struct parts parts = parts_of(mail->record, mail->record_bytes);
    const char *service = waiting->config.key_names[mail->key_service];
    const struct spool_head head = {
        .notify = mail->notify,
        .number = number,
        .service_bytes = (uint16_t)strlen(service),
        .meta_bytes = 6U + parts.profile_bytes + parts.sender_bytes + parts.recipients_bytes,
        .sealed_bytes = COBBLE_HEADER_BYTES + (uint32_t)cobble_sealed_bytes(mail->record_bytes),
    };
    ASSERT(waiting_head_bytes_max(mail->record_bytes) <= mail->head_room);
    ASSERT(head.meta_bytes <= IPC_META_BYTES_MAX);
    spool_head_write(mail->head, &head);
    uint8_t *at = mail->head + SPOOL_HEAD_FIXED_BYTES;
    memcpy(at, service, head.service_bytes);
    at = text_add(at + head.service_bytes, parts.profile, parts.profile_bytes);
    at = text_add(at, parts.sender, parts.sender_bytes);
    bytes_store_le16(at, parts.recipients_count);
    memcpy(at + sizeof(uint16_t), parts.recipients, parts.recipients_bytes);
    return at + sizeof(uint16_t) + parts.recipients_bytes;
}

/* Salt and commitment of a burst, and its key: secret. */
static void burst_derive(struct waiting *waiting, struct cobble *cobble,
                         uint8_t salt_commitment[COBBLE_HEADER_BYTES])
{
    uint8_t random[CRYPTO_RANDOM_LARGE_BYTES];
    uint8_t context[SPOOL_HEAD_CONTEXT_BYTES];
    _Static_assert(sizeof(random) >= COBBLE_SALT_BYTES, "a large draw holds a salt");
    crypto_random(waiting->config.core, random, sizeof(random));
    memcpy(salt_commitment, random, COBBLE_SALT_BYTES);
    struct cobble_derivation derivation = {
        .suite = COBBLE_AES_256,
        .key = waiting->config.key,
        .salt = salt_commitment,
        .context = context,
        .context_bytes = spool_head_context(context, false, NULL),
        .cobble = cobble,
    };
    cobble_derive_burst(waiting->config.core, &derivation, 1);
    memcpy(salt_commitment + COBBLE_SALT_BYTES, derivation.commitment, COBBLE_COMMITMENT_BYTES);
}

/*
 * All records of a burst under the spool key: one salt, drawn for this burst alone and by a draw
 * large enough never to come from a buffer that a resumed copy of this machine would have too, and
 * a number for each. What is put off is sealed anew with its next burst.
 */
static void heads_write(struct waiting *waiting, const struct waiting_mail *mails, uint32_t count,
                        uint32_t *head_bytes)
{
    struct cobble cobble;
    uint8_t salt_commitment[COBBLE_HEADER_BYTES];
    _Static_assert(WAITING_BURST_MAX <= COBBLE_NUMBERS_MAX, "a number for each");
    burst_derive(waiting, &cobble, salt_commitment);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *sealed = head_start(waiting, &mails[i], (uint8_t)i);
        memcpy(sealed, salt_commitment, COBBLE_HEADER_BYTES);
        const size_t used =
            cobble_seal_numbered(waiting->config.core, &cobble, i, sealed + COBBLE_HEADER_BYTES,
                                 mails[i].record, mails[i].record_bytes);
        head_bytes[i] = (uint32_t)(sealed + COBBLE_HEADER_BYTES + used - mails[i].head);
    }
    cobble_wipe(&cobble);
}

static uint32_t body_bytes_of(const struct waiting_mail *mail)
{
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < mail->spans_count; i++)
        bytes += mail->spans[i].bytes;
    return bytes;
}

/* False: the log has too much under way. */
static bool mail_put(struct waiting *waiting, const struct waiting_mail *mail, uint32_t head_bytes,
                     uint32_t job_index)
{
    const uint32_t index = row_take(waiting, mail->id);
    if (index == WAITING_NONE) {
        waiting->counts.refused++;
        (void)waiting->config.ops->put_ended(waiting->config.user, job_index, -ENOSPC);
        return true;
    }
    struct waiting_entry *entry = &waiting->entries[index];
    struct spool_record record = {
        .kind = SPOOL_MAIL,
        .arrived_unix_ms = mail->arrived_unix_ms,
        .end_unix_ms = mail->end_unix_ms,
        .head = mail->head,
        .head_bytes = head_bytes,
        .spans_count = mail->spans_count,
        .replaces = SPOOL_NOWHERE,
    };
    memcpy(record.id, mail->id->bytes, sizeof(record.id));
    memcpy(record.spans, mail->spans, mail->spans_count * sizeof(record.spans[0]));
    row_enter(waiting, index, WAITING_STORING);
    if (!spool_put(waiting->spool, &record, WAITING_TAG(TAG_PUT, index))) {
        row_give(waiting, index);
        return false;
    }
    entry->arrived_unix_ms = mail->arrived_unix_ms;
    entry->end_unix_ms = mail->end_unix_ms;
    entry->head_bytes = head_bytes;
    entry->body_bytes = body_bytes_of(mail);
    entry->key_service = (uint8_t)mail->key_service;
    entry->slot = job_index;
    row_watch_end(waiting, index);
    waiting->touched = true;
    return true;
}

void waiting_spool_counts(const struct waiting *waiting, struct spool_stats *stats)
{
    spool_counts(waiting->spool, stats);
}

uint32_t waiting_put_burst(struct waiting *waiting, const struct waiting_mail *mails,
                           const uint32_t *job_indexes, uint32_t count)
{
    uint32_t head_bytes[WAITING_BURST_MAX];
    ASSERT(count <= WAITING_BURST_MAX);
    if (count == 0)
        return 0;
    for (uint32_t i = 0; i < count; i++)
        row_prefetch(waiting, mails[i].id);
    heads_write(waiting, mails, count, head_bytes);
    for (uint32_t i = 0; i < count; i++) {
        if (!mail_put(waiting, &mails[i], head_bytes[i], job_indexes[i]))
            return i;
    }
    return count;
}
