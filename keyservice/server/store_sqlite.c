#include "keyservice/server/store_sqlite.h"

#include "base/assert.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define SQL_BUSY_MS 5000 /* for the operator's subcommands, which write beside the service */

/* Many rows a statement: SQLite then opens its cursors once, and a row that belongs behind the last
 * one, as ascending ids do, is put there without a search. */
#define ENVELOPE_ADD     "INSERT INTO envelope (key_version, id, wrapped, record) VALUES "
#define ENVELOPE_ROW     "(?1, ?, ?, ?)"
#define ENVELOPE_ROWS_4  ENVELOPE_ROW "," ENVELOPE_ROW "," ENVELOPE_ROW "," ENVELOPE_ROW
#define ENVELOPE_ROWS_8  ENVELOPE_ROWS_4 "," ENVELOPE_ROWS_4
#define ENVELOPE_ROWS_32 ENVELOPE_ROWS_8 "," ENVELOPE_ROWS_8 "," ENVELOPE_ROWS_8 "," ENVELOPE_ROWS_8
#define ENVELOPE_ROWS_64 ENVELOPE_ROWS_32 "," ENVELOPE_ROWS_32
#define ENVELOPE_ADD_END " ON CONFLICT (id) DO NOTHING"

static const char *const sql_texts[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_ENVELOPE_ADD_1] = ENVELOPE_ADD ENVELOPE_ROW ENVELOPE_ADD_END,
    [SQL_ENVELOPE_ADD_8] = ENVELOPE_ADD ENVELOPE_ROWS_8 ENVELOPE_ADD_END,
    [SQL_ENVELOPE_ADD_64] = ENVELOPE_ADD ENVELOPE_ROWS_64 ENVELOPE_ADD_END,
    [SQL_ENVELOPE_GET] = "SELECT locked, key_version, wrapped, record FROM envelope WHERE id = ?1",
    [SQL_ENVELOPE_LOCK] = "UPDATE envelope SET locked = ?2 WHERE id = ?1",
    [SQL_ACCOUNT_GET] = "SELECT number, created, address, password FROM account"
                        " WHERE address = ?1",
    [SQL_ACCOUNT_ADD] = "INSERT INTO account (address, password, created) VALUES (?1, ?2, ?3)"
                        " ON CONFLICT (address) DO NOTHING",
    [SQL_ACCOUNT_PASSWORD] = "UPDATE account SET password = ?2 WHERE address = ?1",
    [SQL_ACCOUNT_REMOVE] = "DELETE FROM account WHERE address = ?1",
    [SQL_ACCOUNT_LIST] = "SELECT number, created, address, password FROM account"
                         " ORDER BY address LIMIT ?1",
    [SQL_ACCOUNT_SESSIONS_REMOVE] =
        "DELETE FROM session WHERE account = (SELECT number FROM account WHERE address = ?1)",
    [SQL_PENDING_PUT] =
        "INSERT INTO pending (address, browser, code, password, created, expires, tries)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0) ON CONFLICT (address, browser) DO UPDATE SET"
        " code = ?3, password = ?4, created = ?5, expires = ?6, tries = 0",
    [SQL_PENDING_TRIM] =
        "DELETE FROM pending WHERE address = ?1 AND rowid NOT IN (SELECT rowid FROM pending"
        " WHERE address = ?1 ORDER BY created DESC, rowid DESC LIMIT ?2)",
    [SQL_PENDING_GET] = "SELECT code, password, expires, tries FROM pending"
                        " WHERE address = ?1 AND browser = ?2",
    [SQL_PENDING_TRY] = "UPDATE pending SET tries = tries + 1 WHERE address = ?1 AND browser = ?2",
    [SQL_PENDING_REMOVE] = "DELETE FROM pending WHERE address = ?1",
    [SQL_PENDING_PRUNE] = "DELETE FROM pending WHERE rowid IN"
                          " (SELECT rowid FROM pending WHERE expires < ?1 LIMIT ?2)",
    [SQL_SESSION_ADD] = "INSERT INTO session (hash, account, created, seen, password)"
                        " SELECT ?1, number, ?3, ?4, ?5 FROM account WHERE number = ?2",
    [SQL_SESSION_TRIM] = "DELETE FROM session WHERE account = ?1 AND hash NOT IN (SELECT hash"
                         " FROM session WHERE account = ?1 ORDER BY created DESC LIMIT ?2)",
    [SQL_SESSION_GET] = "SELECT s.account, s.created, s.seen, s.password, a.address FROM session s"
                        " JOIN account a ON a.number = s.account WHERE s.hash = ?1",
    [SQL_SESSION_SEEN] = "UPDATE session SET seen = max(seen, ?2) WHERE hash = ?1",
    [SQL_SESSION_USE_PASSWORD] =
        "UPDATE session SET password = 0 WHERE hash = ?1 AND password != 0",
    [SQL_SESSION_REMOVE] = "DELETE FROM session WHERE hash = ?1",
    [SQL_SESSION_PRUNE] = "DELETE FROM session WHERE hash IN (SELECT hash FROM session"
                          " WHERE created < ?1 OR seen < ?2 LIMIT ?3)",
    [SQL_ENGINE_ADD] = "INSERT INTO engine (fingerprint, name, created, revoked)"
                       " VALUES (?1, ?2, ?3, 0) ON CONFLICT DO NOTHING",
    [SQL_ENGINE_GET] = "SELECT fingerprint, name, created, revoked FROM engine"
                       " WHERE fingerprint = ?1",
    [SQL_ENGINE_REVOKE] = "UPDATE engine SET revoked = ?2 WHERE name = ?1 AND revoked = 0",
    [SQL_ENGINE_LIST] = "SELECT fingerprint, name, created, revoked FROM engine"
                        " ORDER BY name, created LIMIT ?1",
    [SQL_ENROL_ADD] = "INSERT INTO enrol (code, name, expires) VALUES (?1, ?2, ?3)",
    [SQL_ENROL_GET] = "SELECT name FROM enrol WHERE code = ?1 AND expires > ?2",
    [SQL_ENROL_REMOVE] = "DELETE FROM enrol WHERE code = ?1",
    [SQL_ENROL_REMOVE_NAME] = "DELETE FROM enrol WHERE name = ?1",
    [SQL_ENROL_PRUNE] = "DELETE FROM enrol WHERE expires < ?1",
};

/* Once a process, before its first connection. Counting every allocation takes a lock of the whole
 * process twice a value, and nobody reads the counts. */
static void library_configure(void)
{
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

int sql_open(struct sql *sql, const char *path, int flags, char why[STORE_WHY_BYTES])
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, library_configure);
    *sql = (struct sql){0};
    if (sqlite3_open_v2(path, &sql->db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK ||
        sqlite3_busy_timeout(sql->db, SQL_BUSY_MS) != SQLITE_OK ||
        sqlite3_exec(sql->db,
                     "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                     "PRAGMA cache_size = -65536; PRAGMA temp_store = MEMORY;"
                     "PRAGMA trusted_schema = OFF;",
                     NULL, NULL, NULL) != SQLITE_OK) {
        (void)snprintf(why, STORE_WHY_BYTES, "%s: %s", path,
                       sql->db == NULL ? "no memory" : sqlite3_errmsg(sql->db));
        sql_close(sql);
        return -EIO;
    }
    (void)sqlite3_db_config(sql->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    return 0;
}

void sql_close(struct sql *sql)
{
    for (uint32_t i = 0; i < SQL_COUNT; i++)
        (void)sqlite3_finalize(sql->statements[i]);
    (void)sqlite3_close(sql->db);
    *sql = (struct sql){0};
}

sqlite3_stmt *sql_use(struct sql *sql, enum sql_id id)
{
    ASSERT(id < SQL_COUNT);
    sqlite3_stmt *statement = sql->statements[id];
    if (statement == NULL) {
        if (sqlite3_prepare_v3(sql->db, sql_texts[id], -1, SQLITE_PREPARE_PERSISTENT, &statement,
                               NULL) != SQLITE_OK)
            return NULL;
        sql->statements[id] = statement;
        return statement;
    }
    (void)sqlite3_reset(statement);
    return statement;
}

int sql_run(struct sql *sql, sqlite3_stmt *statement)
{
    if (statement == NULL)
        return -EIO;
    const int step = sqlite3_step(statement);
    (void)sqlite3_reset(statement);
    if (step == SQLITE_CONSTRAINT)
        return -EEXIST;
    return step == SQLITE_DONE ? sqlite3_changes(sql->db) : -EIO;
}

int sql_step(sqlite3_stmt *statement)
{
    if (statement == NULL)
        return -EIO;
    const int step = sqlite3_step(statement);
    return step == SQLITE_ROW ? 1 : step == SQLITE_DONE ? 0 : -EIO;
}

void sql_done(sqlite3_stmt *statement)
{
    (void)sqlite3_reset(statement);
}

void sql_bind_blob(sqlite3_stmt *statement, int index, const void *bytes_at, size_t bytes)
{
    (void)sqlite3_bind_blob(statement, index, bytes_at, (int)bytes, SQLITE_STATIC);
}

void sql_bind_text(sqlite3_stmt *statement, int index, const void *text, size_t bytes)
{
    /* A NULL pointer would bind SQL's NULL, not the empty text. */
    (void)sqlite3_bind_text(statement, index, bytes == 0 ? "" : text, (int)bytes, SQLITE_STATIC);
}

void sql_bind_string(sqlite3_stmt *statement, int index, const char *text)
{
    sql_bind_text(statement, index, text, strlen(text));
}

void sql_bind_u64(sqlite3_stmt *statement, int index, uint64_t value)
{
    (void)sqlite3_bind_int64(statement, index, (sqlite3_int64)value);
}

bool sql_column_blob(sqlite3_stmt *statement, int index, void *bytes_at, size_t bytes)
{
    const void *column = sqlite3_column_blob(statement, index);
    if (column == NULL || (size_t)sqlite3_column_bytes(statement, index) != bytes)
        return false;
    memcpy(bytes_at, column, bytes);
    return true;
}

bool sql_column_string(sqlite3_stmt *statement, int index, char *text, size_t room)
{
    const unsigned char *column = sqlite3_column_text(statement, index);
    const size_t bytes = (size_t)sqlite3_column_bytes(statement, index);
    if (column == NULL || bytes >= room)
        return false;
    memcpy(text, column, bytes);
    text[bytes] = '\0';
    return true;
}

uint64_t sql_column_u64(sqlite3_stmt *statement, int index)
{
    return (uint64_t)sqlite3_column_int64(statement, index);
}
