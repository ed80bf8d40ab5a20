#include "keyservice/server/store/store_wrapped.h"

#include "base/assert.h"
#include "keyservice/server/store/store_person.h"

#include <errno.h>
#include <string.h>

static bool row_take(struct sql_statement *read, enum wrapped_table table, struct wrapped_row *row)
{
    size_t bytes = 0;
    const void *wrapped = sql_column_bytes(read, 2, &bytes);
    if (wrapped == NULL || bytes > sizeof(row->wrapped))
        return false;
    memcpy(row->wrapped, wrapped, bytes);
    row->wrapped_bytes = (uint32_t)bytes;
    row->version = (uint32_t)sql_column_u64(read, 1);
    row->number = 0;
    if (table == WRAPPED_ENVELOPES)
        return sql_column_blob(read, 0, row->id, sizeof(row->id));
    row->number = (int64_t)sql_column_u64(read, 0);
    store_totp_id(row->id, row->number);
    return true;
}

int wrapped_read(struct sql *sql, enum wrapped_table table, struct wrapped_after *after,
                 struct wrapped_page *page)
{
    int more = 0;
    struct sql_statement *read =
        sql_use(sql, table == WRAPPED_ENVELOPES ? SQL_REWRAP_ROWS : SQL_REWRAP_FACTORS);
    if (table == WRAPPED_ENVELOPES)
        sql_bind_blob(read, 1, after->envelope_id, sizeof(after->envelope_id));
    else
        sql_bind_u64(read, 1, (uint64_t)after->factor_number);
    sql_bind_u64(read, 2, WRAPPED_ROWS);
    page->rows_count = 0;
    while (page->rows_count < WRAPPED_ROWS && (more = sql_step(read)) == 1) {
        if (!row_take(read, table, &page->rows[page->rows_count++])) {
            more = -EIO;
            break;
        }
    }
    sql_done(read);
    if (more < 0)
        return -EIO;
    if (page->rows_count > 0) {
        const struct wrapped_row *last = &page->rows[page->rows_count - 1];
        if (table == WRAPPED_ENVELOPES)
            memcpy(after->envelope_id, last->id, sizeof(last->id));
        else
            after->factor_number = last->number;
    }
    return 0;
}

int wrapped_write(struct sql *sql, enum wrapped_table table, const struct wrapped_row *row,
                  uint32_t version, const uint8_t *wrapped, uint32_t wrapped_bytes)
{
    struct sql_statement *put =
        sql_use(sql, table == WRAPPED_ENVELOPES ? SQL_REWRAP_PUT : SQL_REWRAP_FACTOR_PUT);
    ASSERT(row->version < version);
    if (table == WRAPPED_ENVELOPES)
        sql_bind_blob(put, 1, row->id, sizeof(row->id));
    else
        sql_bind_u64(put, 1, (uint64_t)row->number);
    sql_bind_u64(put, 2, version);
    sql_bind_blob(put, 3, wrapped, wrapped_bytes);
    if (table == WRAPPED_FACTORS) /* a secret can be another one by now, a message's key cannot */
        sql_bind_blob(put, 4, row->wrapped, row->wrapped_bytes);
    return sql_run(put) < 0 ? -EIO : 0;
}
