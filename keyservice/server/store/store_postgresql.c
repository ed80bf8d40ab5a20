#include "keyservice/server/store/store_postgresql.h"

#include "base/assert.h"
#include "base/bytes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_CHARS      16
#define COPY_ROWS_MIN   16 /* fewer are put in with a look for ids that are taken */
#define COPY_COLUMNS    4
#define COPY_HEAD_BYTES 19
#define COPY_TAIL_BYTES 2
#define COPY_ROW_BYTES(row)                                                                        \
    (2 + 4 * COPY_COLUMNS + RECORD_ID_BYTES + 4 + (row)->wrapped_bytes + (row)->packed_bytes)
#define ARRAY_HEAD_BYTES 20
#define ARRAYS_COUNT     3

_Static_assert(POSTGRESQL_COPY_BYTES >= 2 * RECORD_BYTES_MAX, "a row fits, its lengths too");

/* Errors that another writer brings about: run again from its begin, the same group may pass. */
static const char *const again_states[] = {
    "23503", /* foreign key: an account went meanwhile */
    "23505", /* an id is taken, which COPY cannot pass over */
    "40001", /* serialisation */
    "40P01", /* deadlock */
    "55P03", /* a lock that another service holds for too long */
};

static int driver_open(struct sql *sql, const struct sql_place *place, char why[STORE_WHY_BYTES])
{
    return postgresql_open(&sql->postgresql, sql, place, why);
}

static void driver_close(struct sql *sql)
{
    postgresql_close(sql->postgresql);
}

static int driver_migrate(struct sql *sql, char why[STORE_WHY_BYTES])
{
    return postgresql_migrate(sql->postgresql, why);
}

static void rows_end(struct postgresql *pg)
{
    PQclear(pg->row);
    pg->row = NULL;
    if (pg->stepping)
        postgresql_discard(pg);
    pg->stepping = false;
}

static void driver_use(struct sql_statement *statement)
{
    struct postgresql *pg = statement->sql->postgresql;
    rows_end(pg);
    pg->params.count = 0;
}

static void param_set(struct postgresql *pg, int index, Oid type, const void *value, size_t bytes)
{
    ASSERT(index >= 1);
    ASSERT(index <= POSTGRESQL_PARAMS_MAX);
    const uint32_t at = (uint32_t)index - 1;
    pg->params.types[at] = type;
    pg->params.values[at] = value;
    pg->params.lengths[at] = (int)bytes;
    pg->params.count = MAX(pg->params.count, at + 1);
}

/* Texts are bytes too: an address need not be what the database's encoding allows. */
static void driver_bind_bytes(struct sql_statement *statement, int index, const void *bytes_at,
                              size_t bytes, bool is_text)
{
    (void)is_text;
    param_set(statement->sql->postgresql, index, POSTGRESQL_BYTEA, bytes == 0 ? "" : bytes_at,
              bytes);
}

static void driver_bind_u64(struct sql_statement *statement, int index, uint64_t value)
{
    struct postgresql *pg = statement->sql->postgresql;
    ASSERT(index >= 1);
    ASSERT(index <= POSTGRESQL_PARAMS_MAX);
    bytes_store_be64(pg->params.numbers[index - 1], value);
    param_set(pg, index, POSTGRESQL_INT8, pg->params.numbers[index - 1], sizeof(value));
}

/* Parses it at its first use on a connection, by the types that are bound. */
static int statement_prepare(struct sql_statement *statement, const char *name)
{
    struct postgresql *pg = statement->sql->postgresql;
    ASSERT(postgresql_texts[statement->id] != NULL);
    if (statement->prepared)
        return 0;
    if (PQsendPrepare(pg->conn, name, postgresql_texts[statement->id], (int)pg->params.count,
                      pg->params.types) != 1) {
        postgresql_fail(pg, NULL);
        return -EIO;
    }
    const int rc = postgresql_finish(pg, NULL);
    statement->prepared = rc == 0;
    return rc;
}

static int statement_send(struct sql_statement *statement)
{
    static const int binary[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    _Static_assert(ARRAY_COUNT(binary) == POSTGRESQL_PARAMS_MAX, "each of them");
    struct postgresql *pg = statement->sql->postgresql;
    char name[NAME_CHARS];
    /* A writer's connection is made again by its next begin alone: half a group must not go on. */
    if (pg->purpose == SQL_READS || pg->purpose == SQL_SINGLES
            ? postgresql_ready(pg) != 0
            : pg->conn == NULL || PQtransactionStatus(pg->conn) != PQTRANS_INTRANS)
        return -EIO;
    (void)snprintf(name, sizeof(name), "bulla%u", (unsigned)statement->id);
    if (statement_prepare(statement, name) != 0)
        return -EIO;
    if (PQsendQueryPrepared(pg->conn, name, (int)pg->params.count, pg->params.values,
                            pg->params.lengths, binary, 1) == 1)
        return 0;
    postgresql_fail(pg, NULL);
    return -EIO;
}

/* Once more on a new connection when the old one turns out to be dead: nothing was begun on it. */
static int group_begin(struct postgresql *pg)
{
    pg->state[0] = '\0';
    for (uint32_t tries = 0; tries < 2; tries++) {
        if (postgresql_ready(pg) != 0)
            return -EIO;
        if (postgresql_exec(pg, "BEGIN", NULL, 0) == 0)
            return 0;
        if (pg->conn != NULL)
            break;
    }
    return -EIO;
}

/* A transaction that failed answers a COMMIT with ROLLBACK. */
static int group_commit(struct postgresql *pg)
{
    char command[16] = "";
    if (postgresql_exec(pg, "COMMIT", command, sizeof(command)) != 0)
        return -EIO;
    if (strcmp(command, "COMMIT") != 0)
        return -EIO;
    pg->careful = false;
    return 0;
}

static int driver_run(struct sql_statement *statement)
{
    int changed = 0;
    struct postgresql *pg = statement->sql->postgresql;
    if (statement->id == SQL_BEGIN)
        return group_begin(pg);
    if (statement->id == SQL_COMMIT)
        return group_commit(pg);
    if (statement->id == SQL_ROLLBACK) {
        postgresql_rollback(pg);
        return 0;
    }
    if (statement_send(statement) == 0 && postgresql_finish(pg, &changed) == 0)
        return changed;
    if (pg->purpose != SQL_SINGLES || pg->conn != NULL || statement_send(statement) != 0)
        return -EIO;
    return postgresql_finish(pg, &changed) == 0 ? changed : -EIO;
}

static int step_begin(struct sql_statement *statement)
{
    struct postgresql *pg = statement->sql->postgresql;
    if (statement_send(statement) != 0)
        return -EIO;
    (void)PQsetSingleRowMode(pg->conn);
    pg->stepping = true;
    return 0;
}

static int step_take(struct postgresql *pg)
{
    PQclear(pg->row);
    pg->row = postgresql_take(pg);
    if (pg->row == NULL) {
        pg->stepping = false;
        return -EIO;
    }
    const ExecStatusType status = PQresultStatus(pg->row);
    if (status == PGRES_SINGLE_TUPLE)
        return 1;
    if (status != PGRES_TUPLES_OK) {
        PGresult *result = pg->row;
        pg->row = NULL;
        postgresql_fail(pg, result);
        PQclear(result);
    }
    rows_end(pg);
    return status == PGRES_TUPLES_OK ? 0 : -EIO;
}

static int driver_step(struct sql_statement *statement)
{
    struct postgresql *pg = statement->sql->postgresql;
    if (pg->stepping)
        return step_take(pg);
    int rc = step_begin(statement);
    if (rc == 0)
        rc = step_take(pg);
    if (rc >= 0 || pg->conn != NULL || (pg->purpose != SQL_READS && pg->purpose != SQL_SINGLES))
        return rc;
    /* A reading has no effect, and a single statement may be run twice: once more on a new
     * connection, as a server that was started anew asks. */
    rc = step_begin(statement);
    return rc == 0 ? step_take(pg) : rc;
}

static void driver_done(struct sql_statement *statement)
{
    rows_end(statement->sql->postgresql);
}

static const void *driver_column_bytes(struct sql_statement *statement, int index, size_t *bytes)
{
    const struct postgresql *pg = statement->sql->postgresql;
    *bytes = 0;
    if (pg->row == NULL || index >= PQnfields(pg->row) || PQgetisnull(pg->row, 0, index) != 0)
        return NULL;
    *bytes = (size_t)PQgetlength(pg->row, 0, index);
    return PQgetvalue(pg->row, 0, index);
}

static uint64_t driver_column_u64(struct sql_statement *statement, int index)
{
    size_t bytes = 0;
    const uint8_t *at = driver_column_bytes(statement, index, &bytes);
    uint64_t value = 0;
    if (at == NULL || bytes > sizeof(value))
        return 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

static uint8_t *field_put(uint8_t *at, const void *bytes_at, uint32_t bytes)
{
    bytes_store_be32(at, bytes);
    memcpy(at + 4, bytes_at, bytes);
    return at + 4 + bytes;
}

/* In COPY's binary form: a head, for each row the columns with their lengths, an end. */
static int copy_rows(struct postgresql *pg, uint32_t key_version, const struct sql_envelope *rows,
                     uint32_t rows_count)
{
    static const uint8_t head[COPY_HEAD_BYTES] = "PGCOPY\n\377\r\n";
    uint8_t version[4];
    uint8_t *at = pg->copy;
    int rc = 0;
    bytes_store_be32(version, key_version);
    memcpy(at, head, sizeof(head));
    at += sizeof(head);
    for (uint32_t i = 0; i < rows_count && rc == 0; i++) {
        const struct sql_envelope *row = &rows[i];
        if ((size_t)(at - pg->copy) + COPY_ROW_BYTES(row) + COPY_TAIL_BYTES > sizeof(pg->copy)) {
            rc = postgresql_copy_flush(pg, at);
            at = pg->copy;
        }
        bytes_store_be16(at, COPY_COLUMNS);
        at = field_put(at + 2, row->id, RECORD_ID_BYTES);
        at = field_put(at, version, sizeof(version));
        at = field_put(at, row->wrapped, row->wrapped_bytes);
        at = field_put(at, row->packed, row->packed_bytes);
    }
    bytes_store_be16(at, UINT16_MAX);
    return rc == 0 ? postgresql_copy_flush(pg, at + COPY_TAIL_BYTES) : rc;
}

static int copy_in(struct postgresql *pg, uint32_t key_version, const struct sql_envelope *rows,
                   uint32_t rows_count)
{
    int changed = 0;
    if (pg->conn == NULL || PQtransactionStatus(pg->conn) != PQTRANS_INTRANS)
        return -EIO;
    if (postgresql_copy_begin(pg, postgresql_texts[SQL_ENVELOPE_ADD_64], PGRES_COPY_IN) != 0)
        return -EIO;
    if (copy_rows(pg, key_version, rows, rows_count) != 0)
        return -EIO;
    if (PQputCopyEnd(pg->conn, NULL) != 1) {
        postgresql_fail(pg, NULL);
        return -EIO;
    }
    return postgresql_finish(pg, &changed) == 0 ? changed : -EIO;
}

/* A bytea[] in binary form: head, then each element with its length. */
static uint8_t *array_begin(uint8_t *at, uint32_t count)
{
    bytes_store_be32(at, 1);                    /* dimensions  */
    bytes_store_be32(at + 4, 0);                /* no NULL     */
    bytes_store_be32(at + 8, POSTGRESQL_BYTEA); /* elements    */
    bytes_store_be32(at + 12, count);           /* of them     */
    bytes_store_be32(at + 16, 1);               /* lower bound */
    return at + ARRAY_HEAD_BYTES;
}

/* One statement, which passes over the rows whose ids are taken. */
static int rows_add(struct sql *sql, uint32_t key_version, const struct sql_envelope *rows,
                    uint32_t rows_count)
{
    size_t bytes = (size_t)ARRAYS_COUNT * ARRAY_HEAD_BYTES;
    for (uint32_t i = 0; i < rows_count; i++)
        bytes += COPY_ROW_BYTES(&rows[i]);
    uint8_t *buffer = malloc(bytes);
    if (buffer == NULL)
        return -ENOMEM;
    struct sql_statement *add = sql_use(sql, SQL_ENVELOPE_ADD_1);
    sql_bind_u64(add, 1, key_version);
    uint8_t *at = buffer;
    for (uint32_t column = 0; column < ARRAYS_COUNT; column++) {
        uint8_t *start = at;
        at = array_begin(at, rows_count);
        for (uint32_t i = 0; i < rows_count; i++)
            at = column == 0   ? field_put(at, rows[i].id, RECORD_ID_BYTES)
                 : column == 1 ? field_put(at, rows[i].wrapped, rows[i].wrapped_bytes)
                               : field_put(at, rows[i].packed, rows[i].packed_bytes);
        param_set(sql->postgresql, (int)column + 2, POSTGRESQL_BYTEA_ARRAY, start,
                  (size_t)(at - start));
    }
    ASSERT((size_t)(at - buffer) <= bytes);
    const int changed = sql_run(add);
    free(buffer);
    return changed;
}

/* COPY is much the faster, but fails when an id is taken: then the group is run again without it.
 */
static int driver_envelopes_add(struct sql *sql, uint32_t key_version,
                                const struct sql_envelope *rows, uint32_t rows_count)
{
    struct postgresql *pg = sql->postgresql;
    rows_end(pg);
    if (rows_count < COPY_ROWS_MIN || pg->careful)
        return rows_add(sql, key_version, rows, rows_count);
    return copy_in(pg, key_version, rows, rows_count);
}

static bool driver_in_transaction(const struct sql *sql)
{
    const struct postgresql *pg = sql->postgresql;
    return pg->conn != NULL && PQtransactionStatus(pg->conn) != PQTRANS_IDLE;
}

static bool driver_again(struct sql *sql)
{
    struct postgresql *pg = sql->postgresql;
    for (size_t i = 0; i < ARRAY_COUNT(again_states) && pg->conn != NULL; i++) {
        if (strcmp(pg->state, again_states[i]) == 0) {
            pg->careful = true;
            return true;
        }
    }
    pg->careful = false;
    return false;
}

static bool driver_connected(const struct sql *sql)
{
    return sql->postgresql->conn != NULL;
}

static const char *driver_why(const struct sql *sql)
{
    return sql->postgresql->why;
}

const struct sql_driver store_postgresql_driver = {
    .envelopes_max = RECORD_BATCH_RECORDS_MAX,
    .open = driver_open,
    .close = driver_close,
    .migrate = driver_migrate,
    .use = driver_use,
    .run = driver_run,
    .step = driver_step,
    .done = driver_done,
    .bind_bytes = driver_bind_bytes,
    .bind_u64 = driver_bind_u64,
    .column_bytes = driver_column_bytes,
    .column_u64 = driver_column_u64,
    .envelopes_add = driver_envelopes_add,
    .in_transaction = driver_in_transaction,
    .again = driver_again,
    .connected = driver_connected,
    .why = driver_why,
};
