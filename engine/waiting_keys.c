#include "engine/waiting_internal.h"

#include "base/bytes.h"
#include "base/log.h"
#include "crypto/secret.h"
#include "keyservice/key_client.h"

#include <errno.h>
#include <string.h>

#define KEYS_BURST 8 /* that are begun in a pass at least */

static uint8_t *ask_at(uint8_t *pages, const struct waiting *waiting, uint32_t slot)
{
    const struct waiting_ask *ask = &waiting->asks[slot];
    if (ask->large == WAITING_NONE)
        return pages + (size_t)slot * WAITING_SMALL_BYTES;
    return pages + (size_t)WAITING_ASKS_MAX * WAITING_SMALL_BYTES +
           (size_t)ask->large * SPOOL_HEAD_BYTES_MAX;
}

static size_t ask_room(const struct waiting_ask *ask)
{
    return ask->large == WAITING_NONE ? (size_t)WAITING_SMALL_BYTES : SPOOL_HEAD_BYTES_MAX;
}

/* WAITING_NONE: no slot, or none for a head of that size. */
static uint32_t ask_take(struct waiting *waiting, uint32_t index)
{
    const bool large = waiting->entries[index].head_bytes > WAITING_SMALL_BYTES;
    if (waiting->asks_free_count == 0 || (large && waiting->larges_free_count == 0))
        return WAITING_NONE;
    const uint32_t slot = waiting->asks_free[--waiting->asks_free_count];
    waiting->asks[slot] = (struct waiting_ask){.entry = index, .large = WAITING_NONE};
    if (large)
        waiting->asks[slot].large = waiting->larges_free[--waiting->larges_free_count];
    waiting->asks_count++;
    return slot;
}

static void ask_count(struct waiting *waiting, struct waiting_ask *ask)
{
    const uint8_t service = waiting->entries[ask->entry].key_service;
    ask->counted = service != SERVICE_UNKNOWN;
    if (ask->counted)
        waiting->asks_out[service]++;
    else
        waiting->asks_unknown++;
}

static void ask_uncount(struct waiting *waiting, const struct waiting_ask *ask)
{
    if (ask->counted)
        waiting->asks_out[waiting->entries[ask->entry].key_service]--;
    else
        waiting->asks_unknown--;
}

static void ask_give(struct waiting *waiting, uint32_t slot)
{
    struct waiting_ask *ask = &waiting->asks[slot];
    secret_wipe(ask_at(waiting->ask_records, waiting, slot), ask->record_bytes);
    if (ask->large != WAITING_NONE)
        waiting->larges_free[waiting->larges_free_count++] = ask->large;
    ask->entry = WAITING_NONE;
    waiting->asks_free[waiting->asks_free_count++] = slot;
    waiting->asks_count--;
}

/* While a service is away one record of ours is with its client, which asks as often as it may. */
static uint32_t service_limit(const struct waiting *waiting, uint32_t service)
{
    const bool up = waiting->config.ops->key_up(waiting->config.user, service);
    return up ? WAITING_ASKS_MAX : 1;
}

uint8_t keys_service(const struct waiting *waiting, const struct spool_head *head)
{
    for (uint32_t k = 0; k < waiting->config.key_services_count; k++) {
        const char *name = waiting->config.key_names[k];
        if (strlen(name) == head->service_bytes &&
            memcmp(name, head->service, head->service_bytes) == 0)
            return (uint8_t)k;
    }
    /* It goes by another name now: by the profile, then by what is there. */
    const struct snapshot *snapshot = waiting->config.ops->snapshot(waiting->config.user);
    const struct snapshot_profile *profile =
        snapshot_find(snapshot, head->meta.profile, head->meta.profile_bytes);
    if (profile == NULL)
        profile = snapshot_find(snapshot, NULL, 0);
    return profile == NULL ? 0 : (uint8_t)profile->key_service;
}

/* The record says the same as the head that stands in clear beside it. */
static bool record_agrees(const uint8_t *record, size_t bytes, const struct id *id,
                          const struct meta *meta)
{
    if (bytes < RECORD_FIXED_BYTES || bytes_load_le32(record) != bytes ||
        memcmp(record + 8, id->bytes, ID_BYTES) != 0)
        return false;
    const size_t profile_bytes = bytes_load_le16(record + 88);
    const size_t sender_bytes = bytes_load_le16(record + 90);
    const size_t before =
        RECORD_FIXED_BYTES + profile_bytes + sender_bytes + bytes_load_le16(record + 92);
    if (bytes_load_le16(record + 94) != meta->recipients_count ||
        sender_bytes != meta->sender_bytes || before + meta->recipients_bytes != bytes)
        return false;
    return memcmp(record + RECORD_FIXED_BYTES + profile_bytes, meta->sender, sender_bytes) == 0 &&
           memcmp(record + before, meta->recipients, meta->recipients_bytes) == 0;
}

static void ask_damaged(struct waiting *waiting, uint32_t slot, const char *what)
{
    const uint32_t index = waiting->asks[slot].entry;
    char hex[ID_HEX_CHARS];
    id_to_hex(hex, &waiting->entries[index].id);
    if (waiting_tells(waiting, WAITING_LOG_DAMAGED))
        log_line(LOG_LEVEL_ERROR, "spool_damaged", "id=%.*s what=\"%s\"", ID_HEX_CHARS, hex, what);
    waiting->counts.damaged++;
    ask_give(waiting, slot);
    waiting->entries[index].slot = WAITING_NONE;
    row_fail(waiting, index, NOTICE_DAMAGED);
}

static void ask_return(struct waiting *waiting, uint32_t slot)
{
    const uint32_t index = waiting->asks[slot].entry;
    ask_give(waiting, slot);
    row_enter(waiting, index, WAITING_KEY);
    row_settle(waiting, index);
}

void keys_read(struct waiting *waiting, const struct spool_event *event, uint32_t slot)
{
    struct waiting_ask *ask = &waiting->asks[slot];
    struct waiting_entry *entry = &waiting->entries[ask->entry];
    struct spool_head head;
    int rc = event->error;
    ASSERT(entry->state == WAITING_REGISTERING && ask->reading);
    ask->reading = false;
    ask_uncount(waiting, ask);
    if (rc == 0)
        rc = spool_head_read(&head, ask_at(waiting->ask_heads, waiting, slot), entry->head_bytes);
    if (rc == -EBADMSG) {
        ask_damaged(waiting, slot, "the head");
        return;
    }
    if (rc != 0) { /* the disk may answer another time */
        const uint32_t index = ask->entry;
        ask_give(waiting, slot);
        row_enter(waiting, index, WAITING_KEY);
        row_pause(waiting, index);
        return;
    }
    entry->key_service = keys_service(waiting, &head);
    if (waiting->draining ||
        waiting->asks_out[entry->key_service] >= service_limit(waiting, entry->key_service)) {
        ask_return(waiting, slot);
        return;
    }
    ask_count(waiting, ask);
    if (waiting->opens_count == WAITING_BURST_MAX)
        keys_open(waiting);
    waiting->open_heads[waiting->opens_count] = head;
    waiting->opens[waiting->opens_count++] = slot;
}

/* The record is in the slot's secret pages; 0 bytes: it does not verify. */
static void ask_opened(struct waiting *waiting, uint32_t slot, const struct spool_head *head,
                       size_t record_bytes)
{
    struct waiting_ask *ask = &waiting->asks[slot];
    const struct waiting_entry *entry = &waiting->entries[ask->entry];
    const uint8_t *record = ask_at(waiting->ask_records, waiting, slot);
    ask->record_bytes = head->sealed_bytes;
    if (!record_agrees(record, record_bytes, &entry->id, &head->meta)) {
        ask_uncount(waiting, ask);
        ask_damaged(waiting, slot, "its key does not verify under this spool key");
        return;
    }
    ask->record_bytes = (uint32_t)record_bytes;
    const struct key_request request = {
        .record = record,
        .deadline_ns = waiting->now_ns + waiting->config.ask_ns,
        .record_bytes = ask->record_bytes,
        .job_index = slot,
    };
    waiting->config.ops->ask(waiting->config.user, entry->key_service, &request);
}

/* The key of a head's record, when it was derived before; else WAITING_NONE. */
static uint32_t derived_find(const struct waiting *waiting, const struct spool_head *head,
                             const uint8_t context[SPOOL_HEAD_CONTEXT_BYTES])
{
    for (uint32_t n = 0; n < WAITING_DERIVED_MAX; n++) {
        const struct waiting_derived *derived = &waiting->derived[n];
        if (derived->context_bytes != 0 &&
            memcmp(derived->salt_commitment, head->sealed, COBBLE_HEADER_BYTES) == 0 &&
            memcmp(derived->context, context, SPOOL_HEAD_CONTEXT_BYTES) == 0)
            return n;
    }
    return WAITING_NONE;
}

/* One that this burst does not use; there are as many as its records. */
static uint32_t derived_take(struct waiting *waiting, uint32_t used)
{
    uint32_t n = waiting->derived_turn;
    _Static_assert(WAITING_DERIVED_MAX == WAITING_BURST_MAX, "one for each of a burst, a bit each");
    while ((used & UINT32_C(1) << n) != 0)
        n = (n + 1) % WAITING_DERIVED_MAX;
    waiting->derived_turn = (n + 1) % WAITING_DERIVED_MAX;
    return n;
}

/* Which key each record of the burst is under; WAITING_NONE: it is too short to have one. What was
 * written together has one key, which is derived once, as long as others do not come between. */
static void burst_derive(struct waiting *waiting, uint32_t count, uint32_t *which)
{
    struct cobble_derivation derivations[WAITING_BURST_MAX];
    uint32_t made[WAITING_BURST_MAX];
    uint32_t made_count = 0;
    uint32_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct spool_head *head = &waiting->open_heads[i];
        const struct id *id = &waiting->entries[waiting->asks[waiting->opens[i]].entry].id;
        uint8_t context[SPOOL_HEAD_CONTEXT_BYTES];
        const uint32_t context_bytes = spool_head_context(context, head->alone, id);
        which[i] = WAITING_NONE;
        if (head->sealed_bytes < COBBLE_HEADER_BYTES + COBBLE_TAG_BYTES)
            continue;
        which[i] = derived_find(waiting, head, context);
        if (which[i] == WAITING_NONE) {
            which[i] = derived_take(waiting, used);
            struct waiting_derived *derived = &waiting->derived[which[i]];
            memcpy(derived->salt_commitment, head->sealed, COBBLE_HEADER_BYTES);
            memcpy(derived->context, context, sizeof(context));
            derived->context_bytes = context_bytes;
            derivations[made_count] = (struct cobble_derivation){
                .suite = COBBLE_AES_256,
                .key = waiting->config.key,
                .salt = derived->salt_commitment,
                .context = derived->context,
                .context_bytes = context_bytes,
                .cobble = &derived->cobble,
            };
            made[made_count++] = which[i];
        }
        used |= UINT32_C(1) << which[i];
    }
    cobble_derive_burst(waiting->config.core, derivations, made_count);
    for (uint32_t n = 0; n < made_count; n++) {
        struct waiting_derived *derived = &waiting->derived[made[n]];
        derived->sound =
            ct_equal(derivations[n].commitment, derived->salt_commitment + COBBLE_SALT_BYTES,
                     COBBLE_COMMITMENT_BYTES);
    }
}

void keys_open(struct waiting *waiting)
{
    uint32_t which[WAITING_BURST_MAX];
    const uint32_t count = waiting->opens_count;
    if (count == 0)
        return;
    waiting->opens_count = 0;
    burst_derive(waiting, count, which);
    for (uint32_t i = 0; i < count; i++) {
        const struct spool_head *head = &waiting->open_heads[i];
        uint8_t *plain = ask_at(waiting->ask_records, waiting, waiting->opens[i]);
        size_t plain_bytes = 0;
        int rc = -EBADMSG;
        if (which[i] != WAITING_NONE && waiting->derived[which[i]].sound)
            rc = cobble_open_numbered(waiting->config.core, &waiting->derived[which[i]].cobble,
                                      head->number, plain, head->sealed + COBBLE_HEADER_BYTES,
                                      head->sealed_bytes - COBBLE_HEADER_BYTES, &plain_bytes);
        ask_opened(waiting, waiting->opens[i], head, rc == 0 ? plain_bytes : 0);
    }
}

void waiting_take_verdict(struct waiting *waiting, uint32_t slot, uint32_t status)
{
    ASSERT(slot < WAITING_ASKS_MAX);
    struct waiting_ask *ask = &waiting->asks[slot];
    const uint32_t index = ask->entry;
    ASSERT(index != WAITING_NONE && !ask->reading);
    ask_uncount(waiting, ask);
    switch ((enum key_result_status)status) {
    case KEY_AWAY: ask_return(waiting, slot); return;
    case KEY_CONFLICT:
        ask_damaged(waiting, slot, "the key service knows another one by its id");
        return;
    case KEY_INVALID:
        ask_give(waiting, slot);
        waiting->entries[index].slot = WAITING_NONE;
        row_fail(waiting, index, NOTICE_KEY_REFUSED);
        return;
    case KEY_STORED: break;
    }
    ask_give(waiting, slot);
    waiting->counts.registered++;
    row_enter(waiting, index, WAITING_READY);
    row_settle(waiting, index);
}

/* False: nothing of this list can be begun now. */
static bool keys_begin(struct waiting *waiting, uint32_t list)
{
    const uint32_t index = waiting->lists[list].first;
    const uint32_t slot = ask_take(waiting, index);
    if (slot == WAITING_NONE)
        return false;
    struct waiting_ask *ask = &waiting->asks[slot];
    if (!spool_read_head(waiting->spool, waiting->entries[index].place,
                         ask_at(waiting->ask_heads, waiting, slot), ask_room(ask),
                         WAITING_TAG(TAG_ASK, slot))) {
        ask_give(waiting, slot);
        return false;
    }
    waiting->touched = true;
    row_unlist(waiting, index);
    waiting->entries[index].slot = slot;
    row_enter(waiting, index, WAITING_REGISTERING);
    ask->reading = true;
    ask_count(waiting, ask);
    return true;
}

/* Whose service is not known: all of them when any service is there, else one at a time. Reading
 * asks no service: it never waits for another message's answer. */
static uint32_t unknown_limit(const struct waiting *waiting)
{
    for (uint32_t k = 0; k < waiting->config.key_services_count; k++) {
        if (waiting->config.ops->key_up(waiting->config.user, k))
            return WAITING_ASKS_MAX;
    }
    return 1;
}

/* Collectors take what is ready as fast as they can: keys that are registered far ahead of that
 * would only have their mail read a second time. */
static bool keys_wait(const struct waiting *waiting)
{
    return waiting->lists[LIST_READY].count >= WAITING_READY_MAX && waiting_has_collector(waiting);
}

uint32_t keys_run(struct waiting *waiting, uint32_t budget)
{
    uint32_t done = 0;
    /* Several side by side cost little more than one. */
    const uint32_t most = MAX(budget, (uint32_t)KEYS_BURST);
    const bool wait = keys_wait(waiting);
    bool some_up = false;
    for (uint32_t k = 0; k < waiting->config.key_services_count; k++) {
        const bool up = waiting->config.ops->key_up(waiting->config.user, k);
        some_up = some_up || up;
        /* One that is away is probed all the same: nobody else would hear that it is back. */
        if (waiting->lists[LIST_SERVICE + k].count == 0 || (wait && up))
            continue;
        const uint32_t limit = service_limit(waiting, k);
        while (waiting->lists[LIST_SERVICE + k].count > 0 && done < most &&
               waiting->asks_out[k] < limit && keys_begin(waiting, LIST_SERVICE + k))
            done++;
    }
    if (waiting->lists[LIST_UNKNOWN].count == 0 || (wait && some_up))
        return done;
    const uint32_t limit = unknown_limit(waiting);
    while (waiting->lists[LIST_UNKNOWN].count > 0 && done < most && waiting->asks_unknown < limit &&
           keys_begin(waiting, LIST_UNKNOWN))
        done++;
    return done;
}
