#include "keyservice/server/sent/sent_run.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "keyservice/server/account/account.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#define RUN_MAGIC        UINT32_C(0x31525342) /* "BSR1" */
#define RUN_HEAD_BYTES   16
#define GROUP_HEAD_BYTES 12
#define SLOTS_COUNT      1024 /* a power of two, twice what a batch has */
#define SLOT_EMPTY       UINT16_MAX

_Static_assert(SLOTS_COUNT >= 2 * RECORD_BATCH_RECORDS_MAX, "a free slot is always near");

/* A sender's records of one profile and day, while a run is made. */
struct group {
    const struct record *first;
    uint32_t count;
    uint32_t day;
    uint8_t hash[SENT_HASH_BYTES];
};

struct grouping {
    EVP_MD_CTX *digest; /* begun once: a digest of its own costs a look for SHA-256 each time */
    bool failed;
    uint16_t slots[SLOTS_COUNT];                 /* of groups, by a hash     */
    uint16_t group_of[RECORD_BATCH_RECORDS_MAX]; /* SLOT_EMPTY: no sender    */
    struct group groups[RECORD_BATCH_RECORDS_MAX];
    uint32_t groups_count;
};

void sent_hash(uint8_t hash[SENT_HASH_BYTES], const char *address)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    (void)SHA256((const uint8_t *)address, strlen(address), digest);
    memcpy(hash, digest, SENT_HASH_BYTES);
}

/* The same, of the many senders of a batch. */
static bool hash_next(EVP_MD_CTX *ctx, const char *address, size_t bytes,
                      uint8_t hash[SENT_HASH_BYTES])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    if (EVP_DigestInit_ex(ctx, NULL, NULL) != 1 || EVP_DigestUpdate(ctx, address, bytes) != 1 ||
        EVP_DigestFinal_ex(ctx, digest, NULL) != 1)
        return false;
    memcpy(hash, digest, SENT_HASH_BYTES);
    return true;
}

/* FNV-1a, to find a group again: who makes two meet costs a few comparisons. */
static uint32_t mix(uint32_t hash, const uint8_t *bytes_at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ bytes_at[i]) * UINT32_C(16777619);
    return hash;
}

static bool group_fits(const struct group *group, const struct record *record, uint32_t day)
{
    const struct record *first = group->first;
    return group->day == day && first->sender_bytes == record->sender_bytes &&
           first->profile_bytes == record->profile_bytes &&
           memcmp(first->sender, record->sender, record->sender_bytes) == 0 &&
           memcmp(first->profile, record->profile, record->profile_bytes) == 0;
}

/* The group of this record, made if it is the first of it. */
static uint16_t group_find(struct grouping *grouping, const struct record *record)
{
    const uint32_t day = (uint32_t)MIN(record->sent_unix_ms / SENT_DAY_MS, UINT32_MAX);
    uint32_t at = mix(mix(UINT32_C(2166136261), record->sender, record->sender_bytes),
                      record->profile, record->profile_bytes);
    for (uint32_t n = 0; n < SLOTS_COUNT; n++, at++) {
        uint16_t *slot = &grouping->slots[at % SLOTS_COUNT];
        if (*slot == SLOT_EMPTY) {
            struct group *group = &grouping->groups[grouping->groups_count];
            char sender[ACCOUNT_ADDRESS_BYTES];
            *group = (struct group){.first = record, .day = day};
            const size_t bytes =
                account_normalise_bytes(sender, record->sender, record->sender_bytes);
            grouping->failed |= !hash_next(grouping->digest, sender, bytes, group->hash);
            *slot = (uint16_t)grouping->groups_count++;
        }
        if (group_fits(&grouping->groups[*slot], record, day))
            return *slot;
    }
    ASSERT(false); /* there are more slots than groups */
    return SLOT_EMPTY;
}

static uint8_t *groups_write(uint8_t *at, const struct grouping *grouping)
{
    for (uint32_t i = 0; i < grouping->groups_count; i++) {
        char sender[ACCOUNT_ADDRESS_BYTES];
        const struct group *group = &grouping->groups[i];
        const size_t sender_bytes =
            account_normalise_bytes(sender, group->first->sender, group->first->sender_bytes);
        bytes_store_le32(at, group->day);
        bytes_store_le32(at + 4, group->count);
        bytes_store_le16(at + 8, group->first->profile_bytes);
        bytes_store_le16(at + 10, (uint16_t)sender_bytes);
        at += GROUP_HEAD_BYTES;
        memcpy(at, group->first->profile, group->first->profile_bytes);
        at += group->first->profile_bytes;
        memcpy(at, sender, sender_bytes);
        at += sender_bytes;
    }
    return at;
}

static uint8_t *run_write(const struct grouping *grouping, const struct record *const *records,
                          uint32_t records_count, uint32_t entries_count, size_t *run_bytes)
{
    uint32_t dues_count = 0;
    size_t bytes = RUN_HEAD_BYTES + (size_t)entries_count * (SENT_ENTRY_BYTES + SENT_DUE_BYTES);
    for (uint32_t i = 0; i < grouping->groups_count; i++)
        bytes += GROUP_HEAD_BYTES + grouping->groups[i].first->profile_bytes +
                 (size_t)grouping->groups[i].first->sender_bytes;
    uint8_t *run = malloc(bytes);
    if (run == NULL)
        return NULL;
    uint8_t *at = run + RUN_HEAD_BYTES;
    for (uint32_t i = 0; i < records_count; i++) {
        if (grouping->group_of[i] == SLOT_EMPTY)
            continue;
        memcpy(at, grouping->groups[grouping->group_of[i]].hash, SENT_HASH_BYTES);
        memcpy(at + SENT_HASH_BYTES, records[i]->id, RECORD_ID_BYTES);
        at += SENT_ENTRY_BYTES;
    }
    for (uint32_t i = 0; i < records_count; i++) {
        if (grouping->group_of[i] == SLOT_EMPTY || records[i]->read_by_unix_ms == 0)
            continue;
        bytes_store_be64(at, records[i]->read_by_unix_ms);
        memcpy(at + 8, records[i]->id, RECORD_ID_BYTES);
        at += SENT_DUE_BYTES;
        dues_count++;
    }
    at = groups_write(at, grouping);
    ASSERT((size_t)(at - run) <= bytes);
    bytes_store_le32(run, RUN_MAGIC);
    bytes_store_le32(run + 4, entries_count);
    bytes_store_le32(run + 8, dues_count);
    bytes_store_le32(run + 12, grouping->groups_count);
    *run_bytes = (size_t)(at - run);
    return run;
}

int sent_run_make(const struct record *const *records, uint32_t records_count, uint8_t **run,
                  uint32_t *run_bytes)
{
    uint32_t entries_count = 0;
    size_t bytes = 0;
    ASSERT(records_count <= RECORD_BATCH_RECORDS_MAX);
    struct grouping *grouping = malloc(sizeof(*grouping));
    if (grouping == NULL)
        return -ENOMEM;
    grouping->digest = EVP_MD_CTX_new();
    grouping->failed =
        grouping->digest == NULL || EVP_DigestInit_ex(grouping->digest, EVP_sha256(), NULL) != 1;
    memset(grouping->slots, 0xff, sizeof(grouping->slots));
    grouping->groups_count = 0;
    for (uint32_t i = 0; i < records_count && !grouping->failed; i++) {
        grouping->group_of[i] = SLOT_EMPTY;
        if (records[i]->sender_bytes == 0)
            continue;
        grouping->group_of[i] = group_find(grouping, records[i]);
        grouping->groups[grouping->group_of[i]].count++;
        entries_count++;
    }
    EVP_MD_CTX_free(grouping->digest);
    if (grouping->failed) {
        free(grouping);
        return -ENOMEM;
    }
    *run = entries_count == 0 ? NULL
                              : run_write(grouping, records, records_count, entries_count, &bytes);
    free(grouping);
    if (entries_count > 0 && *run == NULL)
        return -ENOMEM;
    *run_bytes = (uint32_t)bytes;
    return 0;
}

int sent_run_read(struct sent_run *view, const uint8_t *run, size_t run_bytes)
{
    if (run == NULL || run_bytes < RUN_HEAD_BYTES || bytes_load_le32(run) != RUN_MAGIC)
        return -EBADMSG;
    *view = (struct sent_run){.entries = run + RUN_HEAD_BYTES,
                              .entries_count = bytes_load_le32(run + 4),
                              .dues_count = bytes_load_le32(run + 8),
                              .groups_count = bytes_load_le32(run + 12)};
    if (view->entries_count > RECORD_BATCH_RECORDS_MAX ||
        view->dues_count > RECORD_BATCH_RECORDS_MAX ||
        view->groups_count > RECORD_BATCH_RECORDS_MAX)
        return -EBADMSG;
    const size_t fixed = RUN_HEAD_BYTES + (size_t)view->entries_count * SENT_ENTRY_BYTES +
                         (size_t)view->dues_count * SENT_DUE_BYTES;
    if (fixed > run_bytes)
        return -EBADMSG;
    view->dues = view->entries + (size_t)view->entries_count * SENT_ENTRY_BYTES;
    view->groups = run + fixed;
    view->groups_bytes = run_bytes - fixed;
    size_t offset = 0;
    for (uint32_t i = 0; i < view->groups_count; i++) {
        struct sent_group group;
        if (!sent_run_group(view, &offset, &group))
            return -EBADMSG;
    }
    return offset == view->groups_bytes ? 0 : -EBADMSG;
}

bool sent_run_group(const struct sent_run *view, size_t *offset, struct sent_group *group)
{
    const size_t left = view->groups_bytes - *offset;
    const uint8_t *at = view->groups + *offset;
    if (left < GROUP_HEAD_BYTES)
        return false;
    *group = (struct sent_group){.day = bytes_load_le32(at),
                                 .count = bytes_load_le32(at + 4),
                                 .profile = at + GROUP_HEAD_BYTES,
                                 .profile_bytes = bytes_load_le16(at + 8),
                                 .sender_bytes = bytes_load_le16(at + 10)};
    group->sender = group->profile + group->profile_bytes;
    const size_t bytes = GROUP_HEAD_BYTES + (size_t)group->profile_bytes + group->sender_bytes;
    if (left < bytes || group->profile_bytes > RECORD_PROFILE_BYTES_MAX ||
        group->sender_bytes > RECORD_ADDRESS_BYTES_MAX)
        return false;
    *offset += bytes;
    return true;
}
