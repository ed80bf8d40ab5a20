#include "keyservice/server/store.h"

#include "base/assert.h"
#include "crypto/secret.h"
#include "keyservice/server/account.h"
#include "keyservice/server/store_sqlite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A put with what its caller's thread has worked out, so that the writer only writes. */
struct envelope_row {
    uint32_t wrapped_bytes;
    uint8_t wrapped[MASTER_WRAPPED_BYTES_MAX];
    uint8_t digest[MASTER_DIGEST_BYTES];
};

struct envelope_batch {
    struct store_put *puts;
    struct envelope_row *rows;
    uint32_t count;
    uint32_t key_version;
};

static uint32_t address_hash(const char *address, size_t bytes)
{
    uint32_t hash = UINT32_C(2166136261); /* FNV-1a: a cache's slot, not a defence */
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ (uint8_t)address[i]) * UINT32_C(16777619);
    return hash;
}

/* The number of an address, given to it now if it is new; or -EIO. */
static int64_t address_number(struct store_writer *writer, const char *address, uint16_t bytes)
{
    struct address_cache_entry *entry =
        &writer->addresses[address_hash(address, bytes) % ADDRESS_CACHE_COUNT];
    if (entry->number != 0 && entry->bytes == bytes && memcmp(entry->address, address, bytes) == 0)
        return entry->number;

    sqlite3_stmt *get = sql_use(&writer->sql, SQL_ADDRESS_GET);
    sql_bind_text(get, 1, address, bytes);
    int step = sql_step(get);
    int64_t number = step == 1 ? sqlite3_column_int64(get, 0) : 0;
    sql_done(get);
    if (step < 0)
        return step;
    if (number == 0) {
        sqlite3_stmt *add = sql_use(&writer->sql, SQL_ADDRESS_ADD);
        sql_bind_text(add, 1, address, bytes);
        if (sql_run(&writer->sql, add) != 1)
            return -EIO;
        number = sqlite3_last_insert_rowid(writer->sql.db);
    }
    entry->number = number;
    entry->bytes = bytes;
    memcpy(entry->address, address, bytes);
    return number;
}

static int recipients_add(struct store_writer *writer, const struct record *record,
                          int64_t envelope_number)
{
    const uint8_t *address = NULL;
    uint16_t address_bytes = 0;
    uint32_t offset = 0;
    int64_t place = envelope_number * STORE_RECIPIENTS_STRIDE;
    char normal[STORE_ADDRESS_BYTES];

    while (record_recipient(record, &offset, &address, &address_bytes)) {
        const size_t bytes = account_normalise_bytes(normal, address, address_bytes);
        const int64_t number = address_number(writer, normal, (uint16_t)bytes);
        if (number < 0)
            return (int)number;
        sqlite3_stmt *add = sql_use(&writer->sql, SQL_RECIPIENT_ADD);
        (void)sqlite3_bind_int64(add, 1, place++);
        (void)sqlite3_bind_int64(add, 2, number);
        if (sql_run(&writer->sql, add) < 0)
            return -EIO;
    }
    return 0;
}

/* The id is taken: by the same record or by another one? */
static int envelope_compare(struct store_writer *writer, struct store_put *put,
                            const struct envelope_row *row, uint32_t key_version)
{
    uint8_t stored[MASTER_DIGEST_BYTES];
    uint8_t own[MASTER_DIGEST_BYTES];
    sqlite3_stmt *get = sql_use(&writer->sql, SQL_ENVELOPE_DIGEST);
    sql_bind_blob(get, 1, put->record->id, RECORD_ID_BYTES);
    bool fine = sql_step(get) == 1;
    const uint32_t version = fine ? (uint32_t)sql_column_u64(get, 0) : 0;
    fine = fine && sql_column_blob(get, 1, stored, sizeof(stored));
    sql_done(get);
    if (!fine)
        return -EIO;

    memcpy(own, row->digest, sizeof(own));
    if (version != key_version) { /* stored under an older master key: digest it as then */
        struct master_burst *burst = NULL;
        int rc = master_burst_open(&burst, writer->master, version);
        if (rc == 0)
            rc = master_burst_digest(burst, put->wire, put->wire_bytes, own);
        master_burst_close(burst);
        if (rc != 0)
            return -EIO;
    }
    put->result = ct_equal(stored, own, sizeof(own)) ? STORE_PUT_STORED : STORE_PUT_CONFLICT;
    return 0;
}

static int envelope_add(struct store_writer *writer, struct store_put *put,
                        const struct envelope_row *row, uint32_t key_version)
{
    const struct record *record = put->record;
    sqlite3_stmt *add = sql_use(&writer->sql, SQL_ENVELOPE_ADD);
    sql_bind_blob(add, 1, record->id, RECORD_ID_BYTES);
    sql_bind_blob(add, 2, row->digest, sizeof(row->digest));
    sql_bind_u64(add, 3, key_version);
    sql_bind_blob(add, 4, row->wrapped, row->wrapped_bytes);
    sql_bind_u64(add, 5, record->suite);
    sql_bind_u64(add, 6, record->level);
    sql_bind_u64(add, 7, record->flags);
    sql_bind_u64(add, 8, record->sent_unix_ms);
    sql_bind_u64(add, 9, record->expires_unix_ms);
    sql_bind_u64(add, 10, record->read_by_unix_ms);
    sql_bind_u64(add, 11, record->mail_bytes);
    sql_bind_text(add, 12, record->profile, record->profile_bytes);
    sql_bind_text(add, 13, record->sender, record->sender_bytes);
    sql_bind_text(add, 14, record->subject, record->subject_bytes);
    const int changed = sql_run(&writer->sql, add);
    if (changed < 0)
        return -EIO;
    if (changed == 0)
        return envelope_compare(writer, put, row, key_version);
    put->result = STORE_PUT_STORED;
    return recipients_add(writer, record, sqlite3_last_insert_rowid(writer->sql.db));
}

static int batch_apply(struct store_writer *writer, void *argument)
{
    struct envelope_batch *batch = argument;
    for (uint32_t i = 0; i < batch->count; i++) {
        const int rc = envelope_add(writer, &batch->puts[i], &batch->rows[i], batch->key_version);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* AES-192 keys are 24 bytes, and only those are wrapped. */
static uint32_t record_key_bytes(const struct record *record)
{
    return record->suite == 2 ? 24 : 32;
}

static int rows_prepare(struct master_burst *burst, const struct envelope_batch *batch)
{
    struct master_wrap wraps[RECORD_BATCH_RECORDS_MAX];
    int rc = 0;
    for (uint32_t i = 0; i < batch->count; i++) {
        const struct record *record = batch->puts[i].record;
        wraps[i] = (struct master_wrap){.id = record->id,
                                        .key = record->key,
                                        .key_bytes = record_key_bytes(record),
                                        .wrapped = batch->rows[i].wrapped};
    }
    rc = master_burst_wrap(burst, wraps, batch->count);
    for (uint32_t i = 0; i < batch->count && rc == 0; i++) {
        const struct store_put *put = &batch->puts[i];
        batch->rows[i].wrapped_bytes = wraps[i].wrapped_bytes;
        rc = master_burst_digest(burst, put->wire, put->wire_bytes, batch->rows[i].digest);
    }
    return rc;
}

int store_register_batch(struct store *store, struct store_put *puts, uint32_t puts_count)
{
    struct master_burst *burst = NULL;
    ASSERT(puts_count > 0 && puts_count <= RECORD_BATCH_RECORDS_MAX);
    struct envelope_batch batch = {
        .puts = puts,
        .count = puts_count,
        .key_version = master_version(store_master(store)),
        .rows = calloc(puts_count, sizeof(struct envelope_row)),
    };
    if (batch.rows == NULL)
        return -ENOMEM;
    int rc = master_burst_open(&burst, store_master(store), batch.key_version);
    if (rc == 0)
        rc = rows_prepare(burst, &batch);
    master_burst_close(burst);
    if (rc == 0)
        rc = store_write(store, batch_apply, &batch);
    free(batch.rows);
    return rc;
}

static bool envelope_columns(sqlite3_stmt *get, struct store_envelope *envelope)
{
    const int wrapped_bytes = sqlite3_column_bytes(get, 12);
    if (wrapped_bytes <= 0 || wrapped_bytes > MASTER_WRAPPED_BYTES_MAX)
        return false;
    envelope->suite = (uint8_t)sql_column_u64(get, 0);
    envelope->level = (uint8_t)sql_column_u64(get, 1);
    envelope->flags = (uint16_t)sql_column_u64(get, 2);
    envelope->locked = sql_column_u64(get, 3) != 0;
    envelope->sent_unix_ms = sql_column_u64(get, 4);
    envelope->expires_unix_ms = sql_column_u64(get, 5);
    envelope->read_by_unix_ms = sql_column_u64(get, 6);
    envelope->mail_bytes = sql_column_u64(get, 7);
    envelope->key_version = (uint32_t)sql_column_u64(get, 11);
    envelope->wrapped_bytes = (uint32_t)wrapped_bytes;
    return sql_column_string(get, 8, envelope->profile, sizeof(envelope->profile)) &&
           sql_column_string(get, 9, envelope->sender, sizeof(envelope->sender)) &&
           sql_column_string(get, 10, envelope->subject, sizeof(envelope->subject)) &&
           sql_column_blob(get, 12, envelope->wrapped, envelope->wrapped_bytes);
}

int store_envelope_get(struct store *store, const uint8_t id[RECORD_ID_BYTES],
                       struct store_envelope *envelope)
{
    struct sql *sql = store_reader_take(store);
    sqlite3_stmt *get = sql_use(sql, SQL_ENVELOPE_GET);
    sql_bind_blob(get, 1, id, RECORD_ID_BYTES);
    const int step = sql_step(get);
    int rc = step == 1 ? 0 : step == 0 ? -ENOENT : -EIO;
    if (rc == 0 && !envelope_columns(get, envelope))
        rc = -EIO;
    sql_done(get);
    store_reader_give(store, sql);
    memcpy(envelope->id, id, RECORD_ID_BYTES);
    return rc;
}

int store_envelope_recipient(struct store *store, const uint8_t id[RECORD_ID_BYTES],
                             const char *address)
{
    struct sql *sql = store_reader_take(store);
    sqlite3_stmt *has = sql_use(sql, SQL_RECIPIENT_HAS);
    sql_bind_blob(has, 1, id, RECORD_ID_BYTES);
    sql_bind_string(has, 2, address);
    sql_bind_u64(has, 3, STORE_RECIPIENTS_STRIDE);
    const int step = sql_step(has);
    sql_done(has);
    store_reader_give(store, sql);
    return step == 1 ? 0 : step == 0 ? -ENOENT : -EIO;
}

int store_envelope_recipients(struct store *store, const uint8_t id[RECORD_ID_BYTES],
                              store_text_visit *visit, void *context)
{
    int step = 0;
    char address[STORE_ADDRESS_BYTES];
    struct sql *sql = store_reader_take(store);
    sqlite3_stmt *list = sql_use(sql, SQL_RECIPIENT_LIST);
    sql_bind_blob(list, 1, id, RECORD_ID_BYTES);
    sql_bind_u64(list, 2, STORE_RECIPIENTS_STRIDE);
    for (uint32_t i = 0; i < RECORD_RECIPIENTS_MAX && (step = sql_step(list)) == 1; i++)
        if (sql_column_string(list, 0, address, sizeof(address)))
            visit(context, address);
    sql_done(list);
    store_reader_give(store, sql);
    return step < 0 ? step : 0;
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
