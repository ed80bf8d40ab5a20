#include "keyservice/server/store.h"

#include "base/assert.h"
#include "crypto/secret.h"
#include "keyservice/server/account.h"
#include "keyservice/server/store_row.h"
#include "keyservice/server/store_sqlite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Columns of SQL_ENVELOPE_GET. */
enum envelope_column {
    COLUMN_LOCKED,
    COLUMN_VERSION,
    COLUMN_WRAPPED,
    COLUMN_RECORD,
};

#define ROWS_MANY   64
#define ROWS_FEW    8
#define ROW_COLUMNS 3 /* bound for each row; the version is bound once */

/* A put with what its caller's thread has worked out, so that the writer only writes. */
struct envelope_row {
    const uint8_t *packed; /* store_row_pack() */
    uint32_t packed_bytes;
    uint32_t wrapped_bytes;
    uint8_t wrapped[MASTER_WRAPPED_BYTES_MAX];
};

struct envelope_batch {
    struct store_put *puts;
    struct envelope_row *rows;
    uint8_t *packed;
    uint32_t count;
    uint32_t key_version;
};

/* AES-192 keys are 24 bytes, and only those are wrapped. */
static uint32_t record_key_bytes(const struct record *record)
{
    return record->suite == 2 ? 24 : 32;
}

/* The same key, wrapped under the same version, is the same bytes: docs/keyservice/master-key.md.
 */
static int wrapped_compare(struct store_writer *writer, const struct envelope_row *row,
                           const struct record *record, uint32_t own_version, const uint8_t *stored,
                           size_t stored_bytes, uint32_t stored_version, bool *same)
{
    uint8_t again[MASTER_WRAPPED_BYTES_MAX];
    const uint8_t *own = row->wrapped;
    *same = false;
    if (stored_bytes != row->wrapped_bytes)
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
        if (rc != 0)
            return -EIO;
        own = again;
    }
    *same = ct_equal(stored, own, stored_bytes);
    return 0;
}

/* The id may be taken: by the same record or by another one? */
static int envelope_compare(struct store_writer *writer, struct store_put *put,
                            const struct envelope_row *row, uint32_t key_version)
{
    bool same = false;
    sqlite3_stmt *get = sql_use(&writer->sql, SQL_ENVELOPE_GET);
    sql_bind_blob(get, 1, put->record->id, RECORD_ID_BYTES);
    int rc = sql_step(get) == 1 ? 0 : -EIO;
    if (rc == 0 && (size_t)sqlite3_column_bytes(get, COLUMN_RECORD) == row->packed_bytes &&
        memcmp(sqlite3_column_blob(get, COLUMN_RECORD), row->packed, row->packed_bytes) == 0)
        rc = wrapped_compare(writer, row, put->record, key_version,
                             sqlite3_column_blob(get, COLUMN_WRAPPED),
                             (size_t)sqlite3_column_bytes(get, COLUMN_WRAPPED),
                             (uint32_t)sql_column_u64(get, COLUMN_VERSION), &same);
    sql_done(get);
    put->result = same ? STORE_PUT_STORED : STORE_PUT_CONFLICT;
    return rc;
}

static int rows_insert(struct store_writer *writer, const struct envelope_batch *batch,
                       uint32_t first, uint32_t count)
{
    const enum sql_id id = count == ROWS_MANY  ? SQL_ENVELOPE_ADD_64
                           : count == ROWS_FEW ? SQL_ENVELOPE_ADD_8
                                               : SQL_ENVELOPE_ADD_1;
    ASSERT(count == ROWS_MANY || count == ROWS_FEW || count == 1);
    sqlite3_stmt *add = sql_use(&writer->sql, id);
    sql_bind_u64(add, 1, batch->key_version);
    for (uint32_t i = 0; i < count; i++) {
        const struct envelope_row *row = &batch->rows[first + i];
        const int column = (int)(2 + i * ROW_COLUMNS);
        sql_bind_blob(add, column, batch->puts[first + i].record->id, RECORD_ID_BYTES);
        sql_bind_blob(add, column + 1, row->wrapped, row->wrapped_bytes);
        sql_bind_blob(add, column + 2, row->packed, row->packed_bytes);
        batch->puts[first + i].result = STORE_PUT_STORED;
    }
    const int changed = sql_run(&writer->sql, add);
    if (changed < 0)
        return -EIO;
    int rc = 0;
    for (uint32_t i = 0; (uint32_t)changed < count && i < count && rc == 0; i++)
        rc = envelope_compare(writer, &batch->puts[first + i], &batch->rows[first + i],
                              batch->key_version);
    return rc;
}

static int batch_apply(struct store_writer *writer, void *argument)
{
    const struct envelope_batch *batch = argument;
    for (uint32_t at = 0; at < batch->count;) {
        const uint32_t left = batch->count - at;
        const uint32_t count = left >= ROWS_MANY ? ROWS_MANY : left >= ROWS_FEW ? ROWS_FEW : 1;
        const int rc = rows_insert(writer, batch, at, count);
        if (rc != 0)
            return rc;
        at += count;
    }
    return 0;
}

static int rows_prepare(struct master_burst *burst, const struct envelope_batch *batch)
{
    struct master_wrap wraps[RECORD_BATCH_RECORDS_MAX];
    uint8_t *packed = batch->packed;
    for (uint32_t i = 0; i < batch->count; i++) {
        const struct store_put *put = &batch->puts[i];
        wraps[i] = (struct master_wrap){.id = put->record->id,
                                        .key = put->record->key,
                                        .key_bytes = record_key_bytes(put->record),
                                        .wrapped = batch->rows[i].wrapped};
        batch->rows[i].packed = packed;
        batch->rows[i].packed_bytes = store_row_pack(packed, put->wire, put->wire_bytes);
        packed += batch->rows[i].packed_bytes;
    }
    const int rc = master_burst_wrap(burst, wraps, batch->count);
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
        .rows = malloc(puts_count * sizeof(struct envelope_row)),
        .packed = malloc(wire_bytes),
    };
    int rc = batch.rows == NULL || batch.packed == NULL ? -ENOMEM : 0;
    if (rc == 0)
        rc = master_burst_open(&burst, store_master(store), batch.key_version);
    if (rc == 0)
        rc = rows_prepare(burst, &batch);
    master_burst_close(burst);
    if (rc == 0)
        rc = store_write(store, batch_apply, &batch);
    free(batch.packed);
    free(batch.rows);
    return rc;
}

static void text_copy(char *text, const uint8_t *bytes_at, size_t bytes)
{
    memcpy(text, bytes_at, bytes);
    text[bytes] = '\0';
}

static int envelope_columns(sqlite3_stmt *get, const struct record *record,
                            struct store_envelope *envelope)
{
    const int wrapped_bytes = sqlite3_column_bytes(get, COLUMN_WRAPPED);
    if (wrapped_bytes <= 0 || wrapped_bytes > MASTER_WRAPPED_BYTES_MAX)
        return -EIO;
    memcpy(envelope->id, record->id, RECORD_ID_BYTES);
    envelope->suite = record->suite;
    envelope->level = record->level;
    envelope->flags = record->flags;
    envelope->locked = sql_column_u64(get, COLUMN_LOCKED) != 0;
    envelope->sent_unix_ms = record->sent_unix_ms;
    envelope->expires_unix_ms = record->expires_unix_ms;
    envelope->read_by_unix_ms = record->read_by_unix_ms;
    envelope->mail_bytes = record->mail_bytes;
    text_copy(envelope->profile, record->profile, record->profile_bytes);
    text_copy(envelope->sender, record->sender, record->sender_bytes);
    text_copy(envelope->subject, record->subject, record->subject_bytes);
    envelope->key_version = (uint32_t)sql_column_u64(get, COLUMN_VERSION);
    envelope->wrapped_bytes = (uint32_t)wrapped_bytes;
    memcpy(envelope->wrapped, sqlite3_column_blob(get, COLUMN_WRAPPED), envelope->wrapped_bytes);
    return 0;
}

/* The record, which borrows `wire`, and the envelope unless that is NULL. */
static int envelope_read(struct store *store, const uint8_t id[RECORD_ID_BYTES],
                         struct record *record, uint8_t wire[STORE_ROW_WIRE_BYTES_MAX],
                         struct store_envelope *envelope)
{
    struct sql *sql = store_reader_take(store);
    sqlite3_stmt *get = sql_use(sql, SQL_ENVELOPE_GET);
    sql_bind_blob(get, 1, id, RECORD_ID_BYTES);
    const int step = sql_step(get);
    int rc = step == 1 ? 0 : step == 0 ? -ENOENT : -EIO;
    if (rc == 0 && store_row_read(record, wire, id, sqlite3_column_blob(get, COLUMN_RECORD),
                                  (size_t)sqlite3_column_bytes(get, COLUMN_RECORD)) != 0)
        rc = -EIO;
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

int store_envelope_recipient(struct store *store, const uint8_t id[RECORD_ID_BYTES],
                             const char *address)
{
    uint8_t wire[STORE_ROW_WIRE_BYTES_MAX];
    struct record record;
    char normal[STORE_ADDRESS_BYTES];
    const uint8_t *at = NULL;
    uint16_t bytes = 0;
    uint32_t offset = 0;
    const int rc = envelope_read(store, id, &record, wire, NULL);
    if (rc != 0)
        return rc;
    while (record_recipient(&record, &offset, &at, &bytes)) {
        (void)account_normalise_bytes(normal, at, bytes);
        if (strcmp(normal, address) == 0)
            return 0;
    }
    return -ENOENT;
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
    sqlite3_stmt *set = sql_use(&writer->sql, SQL_ENVELOPE_LOCK);
    sql_bind_blob(set, 1, lock->id, RECORD_ID_BYTES);
    sql_bind_u64(set, 2, lock->locked ? 1 : 0);
    const int changed = sql_run(&writer->sql, set);
    return changed < 0 ? changed : changed == 0 ? -ENOENT : 0;
}

int store_envelope_lock(struct store *store, const uint8_t id[RECORD_ID_BYTES], bool locked)
{
    struct envelope_lock lock = {.id = id, .locked = locked};
    return store_write(store, lock_apply, &lock);
}
