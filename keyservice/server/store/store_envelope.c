#include "keyservice/server/store/store.h"

#include "base/assert.h"
#include "crypto/secret.h"
#include "keyservice/server/account/account.h"
#include "keyservice/server/sent/sent_run.h"
#include "keyservice/server/store/store_opening.h"
#include "keyservice/server/store/store_row.h"
#include "keyservice/server/store/store_sent.h"
#include "keyservice/server/store/store_sql.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Columns of SQL_ENVELOPE_GET. */
enum envelope_column {
    COLUMN_LOCKED,
    COLUMN_VERSION,
    COLUMN_WRAPPED,
    COLUMN_RECORD,
    COLUMN_PARTS, /* what was changed since */
    COLUMN_EXPIRES,
    COLUMN_READ_BY,
    COLUMN_LOCKED_FOR, /* of SQL_ENVELOPE_LOOK alone */
};

/* What is written of a put, worked out on its caller's thread, so that the writer only writes. */
struct envelope_batch {
    struct store_put *puts;
    struct sql_envelope *rows;
    uint8_t (*wrapped)[MASTER_WRAPPED_BYTES_MAX];
    uint8_t *packed;
    uint32_t count;
    uint32_t key_version;
    uint8_t *run; /* for the index of senders; NULL: nothing for it */
    uint32_t run_bytes;
};

/* AES-192 keys are 24 bytes, and only those are wrapped. */
static uint32_t record_key_bytes(const struct record *record)
{
    return record->suite == 2 ? 24 : 32;
}

/* The same key, wrapped under the same version, is the same bytes: docs/keyservice/master-key.md.
 */
static int wrapped_compare(struct store_writer *writer, const struct sql_envelope *row,
                           const struct record *record, uint32_t own_version, const uint8_t *stored,
                           size_t stored_bytes, uint32_t stored_version, bool *same)
{
    uint8_t again[MASTER_WRAPPED_BYTES_MAX];
    const uint8_t *own = row->wrapped;
    *same = false;
    if (stored == NULL || stored_bytes != row->wrapped_bytes)
        return 0;
    if (stored_version != own_version) { /* an older master key: wrap it as then */
        struct master_burst *burst = NULL;
        struct master_wrap wrap = {.id = record->id,
                                   .key = record->key,
                                   .key_bytes = record_key_bytes(record),
                                   .wrapped = again};
        int rc = master_burst_open(&burst, writer->master, stored_version);
        if (rc == 0)
            rc = master_burst_wrap(burst, &wrap, 1);
        master_burst_close(burst);
        /* Given up when its key was retired: no other batch of the group has to fail for it. */
        if (rc == -ENOKEY && stored_version > 0 && stored_version < own_version &&
            master_retired(writer->master, stored_version))
            return 0;
        if (rc != 0)
            return -EIO;
        own = again;
    }
    *same = ct_equal(stored, own, stored_bytes);
    return 0;
}

/* The id may be taken: by the same record or by another one? */
static int envelope_compare(struct store_writer *writer, struct store_put *put,
                            const struct sql_envelope *row, uint32_t key_version)
{
    bool same = false;
    size_t bytes = 0;
    struct sql_statement *get = sql_use(&writer->sql, SQL_ENVELOPE_GET);
    sql_bind_blob(get, 1, put->record->id, RECORD_ID_BYTES);
    int rc = sql_step(get) == 1 ? 0 : -EIO;
    const void *stored = rc == 0 ? sql_column_bytes(get, COLUMN_RECORD, &bytes) : NULL;
    if (stored != NULL && bytes == row->packed_bytes && memcmp(stored, row->packed, bytes) == 0) {
        stored = sql_column_bytes(get, COLUMN_WRAPPED, &bytes);
        rc = wrapped_compare(writer, row, put->record, key_version, stored, bytes,
                             (uint32_t)sql_column_u64(get, COLUMN_VERSION), &same);
    }
    sql_done(get);
    put->result = same ? STORE_PUT_STORED : STORE_PUT_CONFLICT;
    return rc;
}

static int rows_insert(struct store_writer *writer, const struct envelope_batch *batch,
                       uint32_t first, uint32_t count, uint32_t *added_count)
{
    const int added =
        sql_envelopes_add(&writer->sql, batch->key_version, &batch->rows[first], count);
    if (added < 0)
        return added;
    int rc = 0;
    *added_count += (uint32_t)added;
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        batch->puts[first + i].result = STORE_PUT_STORED;
        if ((uint32_t)added < count)
            rc = envelope_compare(writer, &batch->puts[first + i], &batch->rows[first + i],
                                  batch->key_version);
    }
    return rc;
}

static int batch_apply(struct store_writer *writer, void *argument)
{
    const struct envelope_batch *batch = argument;
    const uint32_t count_max = sql_envelopes_max(&writer->sql);
    uint32_t added_count = 0;
    for (uint32_t at = 0; at < batch->count; at += count_max) {
        const int rc =
            rows_insert(writer, batch, at, MIN(batch->count - at, count_max), &added_count);
        if (rc != 0)
            return rc;
    }
    /* A batch that came again is in the index, or on its way there. */
    return batch->run == NULL || added_count == 0
               ? 0
               : store_sent_append(writer, batch->run, batch->run_bytes);
}

static int rows_prepare(struct master_burst *burst, struct envelope_batch *batch)
{
    const struct record *records[RECORD_BATCH_RECORDS_MAX];
    struct master_wrap wraps[RECORD_BATCH_RECORDS_MAX];
    uint8_t *packed = batch->packed;
    for (uint32_t i = 0; i < batch->count; i++) {
        const struct store_put *put = &batch->puts[i];
        records[i] = put->record;
        wraps[i] = (struct master_wrap){.id = put->record->id,
                                        .key = put->record->key,
                                        .key_bytes = record_key_bytes(put->record),
                                        .wrapped = batch->wrapped[i]};
        batch->rows[i] = (struct sql_envelope){.id = put->record->id,
                                               .wrapped = batch->wrapped[i],
                                               .packed = packed,
                                               .packed_bytes = store_row_pack(packed, put->wire,
                                                                              put->wire_bytes)};
        packed += batch->rows[i].packed_bytes;
    }
    int rc = master_burst_wrap(burst, wraps, batch->count);
    if (rc == 0)
        rc = sent_run_make(records, batch->count, &batch->run, &batch->run_bytes);
    for (uint32_t i = 0; i < batch->count && rc == 0; i++)
        batch->rows[i].wrapped_bytes = wraps[i].wrapped_bytes;
    return rc;
}

int store_register_batch(struct store *store, struct store_put *puts, uint32_t puts_count)
{
    struct master_burst *burst = NULL;
    size_t wire_bytes = 0;
    ASSERT(puts_count > 0 && puts_count <= RECORD_BATCH_RECORDS_MAX);
    for (uint32_t i = 0; i < puts_count; i++)
        wire_bytes += puts[i].wire_bytes;
    struct envelope_batch batch = {
        .puts = puts,
        .count = puts_count,
        .key_version = master_version(store_master(store)),
        .rows = malloc(puts_count * sizeof(struct sql_envelope)),
        .wrapped = malloc((size_t)puts_count * MASTER_WRAPPED_BYTES_MAX),
        .packed = malloc(wire_bytes),
    };
    int rc = batch.rows == NULL || batch.wrapped == NULL || batch.packed == NULL ? -ENOMEM : 0;
    if (rc == 0)
        rc = master_burst_open(&burst, store_master(store), batch.key_version);
    if (rc == 0)
        rc = rows_prepare(burst, &batch);
    master_burst_close(burst);
    if (rc == 0)
        rc = store_write_batch(store, batch_apply, &batch);
    free(batch.run);
    free(batch.packed);
    free(batch.wrapped);
    free(batch.rows);
    return rc;
}

static void text_copy(char *text, const uint8_t *bytes_at, size_t bytes)
{
    memcpy(text, bytes_at, bytes);
    text[bytes] = '\0';
}

static int envelope_columns(struct sql_statement *get, const struct record *record,
                            struct store_envelope *envelope)
{
    size_t wrapped_bytes = 0;
    const void *wrapped = sql_column_bytes(get, COLUMN_WRAPPED, &wrapped_bytes);
    if (wrapped == NULL || wrapped_bytes == 0 || wrapped_bytes > MASTER_WRAPPED_BYTES_MAX)
        return -EBADMSG;
    memcpy(envelope->id, record->id, RECORD_ID_BYTES);
    envelope->suite = record->suite;
    envelope->level = record->level;
    envelope->flags = record->flags;
    envelope->locked = sql_column_u64(get, COLUMN_LOCKED) != 0;
    envelope->sent_unix_ms = record->sent_unix_ms;
    const uint64_t parts = sql_column_u64(get, COLUMN_PARTS);
    envelope->expires_unix_ms = (parts & STORE_CHANGE_EXPIRES) != 0
                                    ? sql_column_u64(get, COLUMN_EXPIRES)
                                    : record->expires_unix_ms;
    envelope->read_by_unix_ms = (parts & STORE_CHANGE_READ_BY) != 0
                                    ? sql_column_u64(get, COLUMN_READ_BY)
                                    : record->read_by_unix_ms;
    envelope->mail_bytes = record->mail_bytes;
    text_copy(envelope->profile, record->profile, record->profile_bytes);
    text_copy(envelope->sender, record->sender, record->sender_bytes);
    text_copy(envelope->subject, record->subject, record->subject_bytes);
    envelope->key_version = (uint32_t)sql_column_u64(get, COLUMN_VERSION);
    envelope->wrapped_bytes = (uint32_t)wrapped_bytes;
    memcpy(envelope->wrapped, wrapped, wrapped_bytes);
    return 0;
}

/* The record, which borrows `wire`, and the envelope unless that is NULL. */
static int envelope_read(struct store *store, const uint8_t id[RECORD_ID_BYTES],
                         struct record *record, uint8_t wire[STORE_ROW_WIRE_BYTES_MAX],
                         struct store_envelope *envelope)
{
    struct sql *sql = store_reader_take(store);
    struct sql_statement *get = sql_use(sql, SQL_ENVELOPE_GET);
    sql_bind_blob(get, 1, id, RECORD_ID_BYTES);
    const int step = sql_step(get);
    int rc = step == 1 ? 0 : step == 0 ? -ENOENT : -EIO;
    size_t row_bytes = 0;
    const void *row = rc == 0 ? sql_column_bytes(get, COLUMN_RECORD, &row_bytes) : NULL;
    if (rc == 0 && store_row_read(record, wire, id, row, row_bytes) != 0)
        rc = -EBADMSG;
    if (rc == 0 && envelope != NULL)
        rc = envelope_columns(get, record, envelope);
    sql_done(get);
    store_reader_give(store, sql);
    return rc;
}

int store_envelope_get(struct store *store, const uint8_t id[RECORD_ID_BYTES],
                       struct store_envelope *envelope)
{
    uint8_t wire[STORE_ROW_WIRE_BYTES_MAX];
    struct record record;
    return envelope_read(store, id, &record, wire, envelope);
}

static bool record_names(const struct record *record, const char *address)
{
    char normal[STORE_ADDRESS_BYTES];
    const uint8_t *at = NULL;
    uint16_t bytes = 0;
    uint32_t offset = 0;
    while (record_recipient(record, &offset, &at, &bytes)) {
        (void)account_normalise_bytes(normal, at, bytes);
        if (strcmp(normal, address) == 0)
            return true;
    }
    return false;
}

int store_envelope_recipient(struct store *store, const uint8_t id[RECORD_ID_BYTES],
                             const char *address)
{
    uint8_t wire[STORE_ROW_WIRE_BYTES_MAX];
    struct record record;
    const int rc = envelope_read(store, id, &record, wire, NULL);
    if (rc != 0)
        return rc;
    return record_names(&record, address) ? 0 : -ENOENT;
}

int store_envelope_look(struct store *store, const uint8_t id[RECORD_ID_BYTES], const char *address,
                        struct store_envelope *envelope, struct store_look *look)
{
    uint8_t wire[STORE_ROW_WIRE_BYTES_MAX];
    struct record record;
    size_t row_bytes = 0;
    struct sql *sql = store_reader_take(store);
    struct sql_statement *get = sql_use(sql, SQL_ENVELOPE_LOOK);
    sql_bind_blob(get, 1, id, RECORD_ID_BYTES);
    sql_bind_string(get, 2, address);
    const int step = sql_step(get);
    int rc = step == 1 ? 0 : step == 0 ? -ENOENT : -EIO;
    const void *row = rc == 0 ? sql_column_bytes(get, COLUMN_RECORD, &row_bytes) : NULL;
    if (rc == 0 && store_row_read(&record, wire, id, row, row_bytes) != 0)
        rc = -EBADMSG;
    if (rc == 0)
        rc = envelope_columns(get, &record, envelope);
    if (rc == 0)
        *look = (struct store_look){.recipient = record_names(&record, address),
                                    .locked = sql_column_u64(get, COLUMN_LOCKED_FOR) != 0};
    sql_done(get);
    store_reader_give(store, sql);
    return rc;
}

static int texts_compare(const void *one, const void *two)
{
    return strcmp(*(const char *const *)one, *(const char *const *)two);
}

int store_envelope_recipients(struct store *store, const uint8_t id[RECORD_ID_BYTES],
                              store_text_visit *visit, void *context)
{
    uint8_t wire[STORE_ROW_WIRE_BYTES_MAX];
    char texts[RECORD_BYTES_MAX]; /* with a NUL each they are shorter than with their lengths */
    const char *sorted[RECORD_RECIPIENTS_MAX];
    struct record record;
    char normal[STORE_ADDRESS_BYTES];
    const uint8_t *at = NULL;
    uint16_t bytes = 0;
    uint32_t offset = 0;
    uint32_t count = 0;
    size_t used = 0;
    const int rc = envelope_read(store, id, &record, wire, NULL);
    if (rc != 0)
        return rc;
    while (record_recipient(&record, &offset, &at, &bytes)) {
        const size_t chars = account_normalise_bytes(normal, at, bytes);
        ASSERT(count < RECORD_RECIPIENTS_MAX);
        ASSERT(used + chars < sizeof(texts));
        memcpy(texts + used, normal, chars + 1);
        sorted[count++] = texts + used;
        used += chars + 1;
    }
    qsort(sorted, count, sizeof(sorted[0]), texts_compare);
    for (uint32_t i = 0; i < count; i++)
        if (i == 0 || strcmp(sorted[i], sorted[i - 1]) != 0)
            visit(context, sorted[i]);
    return 0;
}

int store_envelope_key(struct store *store, const struct store_envelope *envelope,
                       uint8_t key[MASTER_PLAIN_BYTES_MAX], size_t *key_bytes)
{
    return master_unwrap(store_master(store), envelope->key_version, envelope->id,
                         envelope->wrapped, envelope->wrapped_bytes, key, key_bytes);
}

struct envelope_lock {
    const uint8_t *id;
    bool locked;
};

static int lock_apply(struct store_writer *writer, void *argument)
{
    const struct envelope_lock *lock = argument;
    struct sql_statement *set = sql_use(&writer->sql, SQL_ENVELOPE_LOCK);
    sql_bind_blob(set, 1, lock->id, RECORD_ID_BYTES);
    sql_bind_u64(set, 2, lock->locked ? 1 : 0);
    const int changed = sql_run(set);
    return changed < 0 ? changed : changed == 0 ? -ENOENT : 0;
}

int store_envelope_lock(struct store *store, const uint8_t id[RECORD_ID_BYTES], bool locked)
{
    struct envelope_lock lock = {.id = id, .locked = locked};
    return store_write(store, lock_apply, &lock);
}
