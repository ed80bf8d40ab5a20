/*
 * store_sqlite: the inside of the store: SQLite connections, statements, the writer's queue.
 * Ownership: statements belong to their connection; sql_use() gives one ready to bind.
 * Threads:   a connection serves one thread at a time; store_write() is called by any.
 * Units:     as store.h.
 * Errors:    as store.h; sql_step() gives 1 for a row, 0 for the end, -EIO.
 */
#ifndef KEYSERVICE_SERVER_STORE_SQLITE_H
#define KEYSERVICE_SERVER_STORE_SQLITE_H

#include "base/macros.h"
#include "keyservice/server/store.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sql_id {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_ENVELOPE_ADD_1,
    SQL_ENVELOPE_ADD_8,
    SQL_ENVELOPE_ADD_64,
    SQL_ENVELOPE_GET,
    SQL_ENVELOPE_LOCK,
    SQL_ACCOUNT_GET,
    SQL_ACCOUNT_ADD,
    SQL_ACCOUNT_PASSWORD,
    SQL_ACCOUNT_REMOVE,
    SQL_ACCOUNT_LIST,
    SQL_ACCOUNT_SESSIONS_REMOVE,
    SQL_PENDING_PUT,
    SQL_PENDING_TRIM,
    SQL_PENDING_GET,
    SQL_PENDING_TRY,
    SQL_PENDING_REMOVE,
    SQL_PENDING_PRUNE,
    SQL_SESSION_ADD,
    SQL_SESSION_TRIM,
    SQL_SESSION_GET,
    SQL_SESSION_SEEN,
    SQL_SESSION_USE_PASSWORD,
    SQL_SESSION_REMOVE,
    SQL_SESSION_PRUNE,
    SQL_ENGINE_ADD,
    SQL_ENGINE_GET,
    SQL_ENGINE_REVOKE,
    SQL_ENGINE_LIST,
    SQL_ENROL_ADD,
    SQL_ENROL_GET,
    SQL_ENROL_REMOVE,
    SQL_ENROL_REMOVE_NAME,
    SQL_ENROL_PRUNE,
    SQL_COUNT,
};

struct sql {
    sqlite3 *db;
    sqlite3_stmt *statements[SQL_COUNT]; /* prepared at first use */
};

MUST_USE int sql_open(struct sql *sql, const char *path, int flags, char why[STORE_WHY_BYTES]);
void sql_close(struct sql *sql);
MUST_USE int sql_migrate(struct sql *sql, char why[STORE_WHY_BYTES]);

/* NULL when it cannot be prepared: the next bind and step then give an error. */
sqlite3_stmt *sql_use(struct sql *sql, enum sql_id id);
/* Rows changed by a statement that gives none, or -EIO, -EEXIST on a uniqueness it breaks. */
MUST_USE int sql_run(struct sql *sql, sqlite3_stmt *statement);
MUST_USE int sql_step(sqlite3_stmt *statement);
/* Ends a reading before its last row, so that it holds no snapshot. */
void sql_done(sqlite3_stmt *statement);

void sql_bind_blob(sqlite3_stmt *statement, int index, const void *bytes_at, size_t bytes);
void sql_bind_text(sqlite3_stmt *statement, int index, const void *text, size_t bytes);
void sql_bind_string(sqlite3_stmt *statement, int index, const char *text);
void sql_bind_u64(sqlite3_stmt *statement, int index, uint64_t value);
/* False when the column does not hold exactly `bytes`, or does not fit `room` with its NUL. */
bool sql_column_blob(sqlite3_stmt *statement, int index, void *bytes_at, size_t bytes);
bool sql_column_string(sqlite3_stmt *statement, int index, char *text, size_t room);
uint64_t sql_column_u64(sqlite3_stmt *statement, int index);

/* What a write runs in, on the thread of whoever leads. */
struct store_writer {
    struct sql sql;
    const struct master *master;
};

/*
 * Runs in the writer's transaction. 0 or a refusal that keeps what was done so far (-ENOENT,
 * -EEXIST, -EACCES); any other -errno undoes the whole group, whose writes all fail.
 */
typedef int store_write_apply(struct store_writer *writer, void *argument);
MUST_USE int store_write(struct store *store, store_write_apply *apply, void *argument);

/* A reading connection, waiting for one if all are out. */
struct sql *store_reader_take(struct store *store);
void store_reader_give(struct store *store, struct sql *sql);

const struct master *store_master(const struct store *store);

#endif
