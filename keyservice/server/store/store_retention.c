#include "keyservice/server/store/store_retention.h"

#include "keyservice/server/store/store_opening.h"
#include "keyservice/server/store/store_row.h"
#include "keyservice/server/store/store_sql.h"

#include <errno.h>
#include <string.h>

/* UUIDv7: the first six bytes are the time in milliseconds, big-endian. */
static void id_of_time(uint8_t id[RECORD_ID_BYTES], uint64_t unix_ms)
{
    memset(id, 0, RECORD_ID_BYTES);
    for (uint32_t i = 0; i < 6; i++)
        id[i] = (uint8_t)(unix_ms >> (40 - 8 * i));
}

static bool row_read(struct sql_statement *scan, struct store_retention_row *row)
{
    uint8_t wire[STORE_ROW_WIRE_BYTES_MAX];
    struct record record;
    size_t bytes = 0;
    *row = (struct store_retention_row){.damaged = true};
    if (!sql_column_blob(scan, 0, row->id, RECORD_ID_BYTES))
        return false;
    const void *packed = sql_column_bytes(scan, 1, &bytes);
    if (packed == NULL || store_row_read(&record, wire, row->id, packed, bytes) != 0)
        return true;
    row->damaged = false;
    row->sent_unix_ms = record.sent_unix_ms;
    memcpy(row->profile, record.profile, record.profile_bytes);
    row->profile[record.profile_bytes] = '\0';
    return true;
}

int store_retention_scan(struct store *store, const uint8_t after[RECORD_ID_BYTES],
                         uint64_t before_unix_ms, uint32_t rows_max, store_retention_visit *visit,
                         void *context)
{
    int step = 0;
    uint8_t before[RECORD_ID_BYTES];
    struct store_retention_row row;
    struct sql *sql = store_reader_take(store);
    struct sql_statement *scan = sql_use(sql, SQL_RETENTION_SCAN);
    id_of_time(before, before_unix_ms);
    sql_bind_blob(scan, 1, after, RECORD_ID_BYTES);
    sql_bind_blob(scan, 2, before, RECORD_ID_BYTES);
    sql_bind_u64(scan, 3, rows_max);
    while ((step = sql_step(scan)) == 1) { /* the statement's own limit bounds it */
        if (!row_read(scan, &row)) {
            step = -EIO;
            break;
        }
        if (!visit(context, &row))
            break;
    }
    sql_done(scan);
    store_reader_give(store, sql);
    return step < 0 ? step : 0;
}

struct remove_write {
    const uint8_t (*ids)[RECORD_ID_BYTES];
    uint32_t ids_count;
};

static int remove_apply(struct store_writer *writer, void *argument)
{
    const struct remove_write *write = argument;
    for (uint32_t i = 0; i < write->ids_count; i++) {
        const int rc = store_envelope_forget(writer, write->ids[i]);
        if (rc != 0 && rc != -ENOENT)
            return rc;
    }
    return 0;
}

int store_retention_remove(struct store *store, const uint8_t (*ids)[RECORD_ID_BYTES],
                           uint32_t ids_count)
{
    int rc = 0;
    for (uint32_t at = 0; rc == 0 && at < ids_count; at += STORE_RETENTION_COMMIT) {
        struct remove_write write = {.ids = ids + at,
                                     .ids_count = MIN(ids_count - at, STORE_RETENTION_COMMIT)};
        rc = store_write(store, remove_apply, &write);
    }
    return rc;
}
