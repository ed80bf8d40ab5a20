#include "keyservice/server/store/store_sql.h"

#include "base/assert.h"

#include <string.h>

int sql_open(struct sql *sql, const struct sql_place *place, char why[STORE_WHY_BYTES])
{
    *sql = (struct sql){.driver = store_is_url(place->path) ? &store_postgresql_driver
                                                            : &store_sqlite_driver,
                        .serve_fd = -1};
    for (uint32_t i = 0; i < SQL_COUNT; i++)
        sql->statements[i] = (struct sql_statement){.sql = sql, .id = (enum sql_id)i};
    const int rc = sql->driver->open(sql, place, why);
    if (rc != 0)
        sql_close(sql);
    return rc;
}

void sql_close(struct sql *sql)
{
    if (sql->driver != NULL)
        sql->driver->close(sql);
    *sql = (struct sql){.driver = NULL};
}

int sql_migrate(struct sql *sql, char why[STORE_WHY_BYTES])
{
    return sql->driver->migrate(sql, why);
}

struct sql_statement *sql_use(struct sql *sql, enum sql_id id)
{
    ASSERT(id < SQL_COUNT);
    sql->driver->use(&sql->statements[id]);
    return &sql->statements[id];
}

int sql_run(struct sql_statement *statement)
{
    return statement->sql->driver->run(statement);
}

int sql_run_some(struct sql_statement *statement, int none)
{
    const int changed = sql_run(statement);
    return changed < 0 ? changed : changed == 0 ? none : 0;
}

int sql_step(struct sql_statement *statement)
{
    return statement->sql->driver->step(statement);
}

void sql_done(struct sql_statement *statement)
{
    statement->sql->driver->done(statement);
}

void sql_bind_blob(struct sql_statement *statement, int index, const void *bytes_at, size_t bytes)
{
    statement->sql->driver->bind_bytes(statement, index, bytes_at, bytes, false);
}

void sql_bind_string(struct sql_statement *statement, int index, const char *text)
{
    statement->sql->driver->bind_bytes(statement, index, text, strlen(text), true);
}

void sql_bind_u64(struct sql_statement *statement, int index, uint64_t value)
{
    statement->sql->driver->bind_u64(statement, index, value);
}

const void *sql_column_bytes(struct sql_statement *statement, int index, size_t *bytes)
{
    return statement->sql->driver->column_bytes(statement, index, bytes);
}

bool sql_column_blob(struct sql_statement *statement, int index, void *bytes_at, size_t bytes)
{
    size_t column_bytes = 0;
    const void *column = sql_column_bytes(statement, index, &column_bytes);
    if (column == NULL || column_bytes != bytes)
        return false;
    memcpy(bytes_at, column, bytes);
    return true;
}

bool sql_column_string(struct sql_statement *statement, int index, char *text, size_t room)
{
    size_t bytes = 0;
    const void *column = sql_column_bytes(statement, index, &bytes);
    if (bytes >= room || (column == NULL && bytes > 0))
        return false;
    if (bytes > 0)
        memcpy(text, column, bytes);
    text[bytes] = '\0';
    return true;
}

uint64_t sql_column_u64(struct sql_statement *statement, int index)
{
    return statement->sql->driver->column_u64(statement, index);
}

int sql_envelopes_add(struct sql *sql, uint32_t key_version, const struct sql_envelope *rows,
                      uint32_t rows_count)
{
    ASSERT(rows_count > 0);
    ASSERT(rows_count <= sql->driver->envelopes_max);
    return sql->driver->envelopes_add(sql, key_version, rows, rows_count);
}

uint32_t sql_envelopes_max(const struct sql *sql)
{
    return sql->driver->envelopes_max;
}

bool sql_in_transaction(const struct sql *sql)
{
    return sql->driver->in_transaction(sql);
}

bool sql_again(struct sql *sql)
{
    return sql->driver->again(sql);
}

bool sql_connected(const struct sql *sql)
{
    return sql->driver->connected(sql);
}

const char *sql_why(const struct sql *sql)
{
    return sql->driver->why(sql);
}
