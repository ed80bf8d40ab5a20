/*
 * store_sql: the inside of the store: connections, statements, the writer's queue.
 * Ownership: statements belong to their connection; sql_use() gives one ready to bind. What is
 * bound is borrowed until the statement has run. Threads:   a connection serves one thread at a
 * time; store_write() is called by any. Units:     as store.h. Errors:    as store.h; sql_step()
 * gives 1 for a row, 0 for the end, -EIO.
 *
 * Two drivers stand behind it, store_sqlite and store_postgresql, each with its own texts of the
 * same statements.
 */
#ifndef KEYSERVICE_SERVER_STORE_STORE_SQL_H
#define KEYSERVICE_SERVER_STORE_STORE_SQL_H

#include "base/macros.h"
#include "keyservice/server/store/store.h"

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
    SQL_ENVELOPE_LOOK,
    SQL_ENVELOPE_LOCK,
    SQL_ACCOUNT_GET,
    SQL_ACCOUNT_HOLD,
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
    SQL_SESSION_FACTOR,
    SQL_SESSION_FACTOR_GONE,
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
    SQL_OUTBOX_ADD, /* --- outbox --- */
    SQL_OUTBOX_GET,
    SQL_OUTBOX_HOLD,
    SQL_OUTBOX_COUNT,
    SQL_OUTBOX_COUNT_OF,
    SQL_OUTBOX_EMPTY,
    SQL_OUTBOX_PRUNE,
    SQL_OUTBOX_PART_ADD,
    SQL_OUTBOX_PART_GET,
    SQL_OUTBOX_PARTS_REMOVE,
    SQL_OUTBOX_PARTS_PRUNE,
    SQL_OUTBOX_TO_ADD,
    SQL_OUTBOX_TO_REMOVE,
    SQL_OUTBOX_DUE,
    SQL_OUTBOX_CLAIM,
    SQL_OUTBOX_DEFER,
    /* of what several nodes share: PostgreSQL's alone, but for the last five */
    SQL_GUESS_TAKE,
    SQL_GUESS_WAIT,
    SQL_GUESS_GIVE,
    SQL_GUESS_PRUNE,
    SQL_GUESS_BOUND,
    SQL_KNOWN_ADD,
    SQL_KNOWN_GET,
    SQL_KNOWN_BOUND,
    SQL_PICKUP_PARK,
    SQL_PICKUP_TRIM,
    SQL_PICKUP_BOUND,
    SQL_PICKUP_FIND,
    SQL_PICKUP_TAKE,
    SQL_PICKUP_PRUNE,
    SQL_PARKED_TRIM_OWNER,
    SQL_PARKED_TRIM,
    SQL_PARKED_ADD,
    SQL_PARKED_PART_ADD,
    SQL_PARKED_WHOLE,
    SQL_PARKED_LOOK,
    SQL_PARKED_TAKE,
    SQL_PARKED_PART_GET,
    SQL_PARKED_GIVE,
    SQL_PARKED_OPENED,
    SQL_PARKED_END,
    SQL_PARKED_PRUNE,
    SQL_LEASE_TAKE,
    SQL_AUDIT_HEAD,
    SQL_AUDIT_PEEK,
    SQL_AUDIT_ADD,
    SQL_AUDIT_READ,
    SQL_WRAPPING_ADD,
    SQL_WRAPPING_LIST,
    SQL_WRAPPING_RETIRE,
    SQL_REWRAP_GET,
    SQL_REWRAP_SET,
    SQL_REWRAP_ROWS,
    SQL_REWRAP_PUT,
    SQL_REWRAP_FACTORS,
    SQL_REWRAP_FACTOR_PUT,
    /* administration: store_role, store_profile, store_token, store_retention */
    SQL_ROLE_ADD,
    SQL_ROLE_REMOVE,
    SQL_ROLE_COUNT,
    SQL_ROLE_OF,
    SQL_ROLE_LIST,
    SQL_ROLE_LOCK,
    SQL_ROLE_ADMINISTRATORS,
    SQL_USER_LIST,
    SQL_USER_GET,
    SQL_DISABLED_ADD,
    SQL_DISABLED_REMOVE,
    SQL_DISABLED_GET,
    SQL_PROFILE_PUT,
    SQL_PROFILE_GET,
    SQL_PROFILE_LIST,
    SQL_PROFILE_REMOVE,
    SQL_TOKEN_ADD,
    SQL_TOKEN_GET,
    SQL_TOKEN_LIST,
    SQL_TOKEN_SEEN,
    SQL_TOKEN_REMOVE,
    SQL_TOKEN_END,
    SQL_TOKEN_END_ROLE,
    SQL_RETENTION_SCAN,
    /* store_sent */
    SQL_SENT_RUN_ADD,
    SQL_SENT_RUN_COUNT,
    SQL_SENT_RUN_LIST,
    SQL_SENT_RUN_TAKE,
    SQL_SENT_RUN_REMOVE,
    SQL_SENT_ADD,
    SQL_SENT_LIST,
    SQL_SENT_GET,
    SQL_SENT_REMOVE,
    SQL_SENT_DUE_ADD,
    SQL_SENT_DUE_LIST,
    SQL_SENT_DUE_REMOVE,
    SQL_SENT_BACK_GET,
    SQL_SENT_BACK_LIST,
    SQL_SENT_BACK_SET,
    SQL_SENT_BACK_END,
    /* store_opening */
    SQL_OPENING_NOTE,
    SQL_OPENING_READERS,
    SQL_OPENING_LIST,
    SQL_OPENING_LOCK,
    SQL_OPENING_LOCKED,
    SQL_OPENING_REMOVE,
    SQL_CHANGE_EXPIRES,
    SQL_CHANGE_READ_BY,
    SQL_CHANGE_TOLD,
    SQL_CHANGE_REMOVE,
    SQL_NOTICE_ADD,
    SQL_NOTICE_LIST,
    SQL_NOTICE_REMOVE,
    SQL_NOTICE_FORGET,
    SQL_ENVELOPE_REMOVE,
    /* store_report */
    SQL_REPORT_ADD,
    SQL_REPORT_USER_ADD,
    SQL_REPORT_BY_DAY,
    SQL_REPORT_BY_POLICY,
    SQL_REPORT_BY_DOMAIN,
    SQL_REPORT_BY_USER,
    SQL_REPORT_PRUNE,
    SQL_REPORT_USER_PRUNE,
    /* account: what a person has and chose (store_person) */
    SQL_RESET_PUT,
    SQL_RESET_TRIM,
    SQL_RESET_GET,
    SQL_RESET_TRY,
    SQL_RESET_REMOVE,
    SQL_RESET_PRUNE,
    SQL_ACCOUNT_LANGUAGE,
    SQL_ACCOUNT_PHRASE,
    SQL_PERSON_GET,
    SQL_SESSION_LIST,
    SQL_SESSION_END,
    SQL_SESSION_END_OTHERS,
    SQL_DEVICE_MOVE,
    SQL_DEVICE_PUT,
    SQL_DEVICE_TRIM,
    SQL_DEVICE_GET,
    SQL_DEVICE_LIST,
    SQL_DEVICE_END,
    SQL_DEVICE_END_OTHERS,
    SQL_DEVICE_PRUNE,
    SQL_TOTP_PUT,
    SQL_TOTP_GET,
    SQL_TOTP_STEP,
    SQL_TOTP_REMOVE,
    SQL_RECOVERY_ADD,
    SQL_RECOVERY_SPEND,
    SQL_RECOVERY_CLEAR,
    SQL_PASSKEY_ADD,
    SQL_PASSKEY_GET,
    SQL_PASSKEY_LIST,
    SQL_PASSKEY_USE,
    SQL_PASSKEY_NAME,
    SQL_PASSKEY_REMOVE,
    SQL_PASSKEY_CLEAR,
    SQL_SPENT_ADD,
    SQL_SPENT_PRUNE,
    SQL_LINK_ADD, /* --- link --- */
    SQL_LINK_COUNT,
    SQL_LINK_READY,
    SQL_LINK_LOOK,
    SQL_LINK_TAKE,
    SQL_LINK_GET,
    SQL_LINK_GIVE,
    SQL_LINK_SPEND,
    SQL_LINK_REMOVE,
    SQL_LINK_PRUNE,
    SQL_LINK_PART_ADD,
    SQL_LINK_PART_GET,
    SQL_LINK_PARTS_REMOVE,
    SQL_LINK_PARTS_PRUNE,
    SQL_COUNT,
};

struct sql;
struct sqlite3;
struct sqlite3_stmt;
struct postgresql;

struct sql_statement {
    struct sql *sql;
    enum sql_id id;
    bool prepared;               /* on this connection      */
    struct sqlite3_stmt *sqlite; /* prepared at first use   */
};

enum sql_purpose {
    SQL_WRITES,
    SQL_WRITES_SERVING, /* beside other services of this database: store_config.serves */
    SQL_WRITES_ALONE,   /* while no service runs: store_config.alone                   */
    SQL_READS,
    SQL_SINGLES, /* statements that are each their own transaction */
};

struct sql_place {
    const char *path; /* or the URL of a PostgreSQL database */
    enum sql_purpose purpose;
    bool create;
};

/* A row of the table `envelope`; all of it borrowed. */
struct sql_envelope {
    const uint8_t *id;
    const uint8_t *wrapped;
    const uint8_t *packed;
    uint32_t wrapped_bytes;
    uint32_t packed_bytes;
};

struct sql_driver {
    uint32_t envelopes_max; /* rows of one envelopes_add */
    int (*open)(struct sql *sql, const struct sql_place *place, char why[STORE_WHY_BYTES]);
    void (*close)(struct sql *sql);
    int (*migrate)(struct sql *sql, char why[STORE_WHY_BYTES]);
    void (*use)(struct sql_statement *statement);
    int (*run)(struct sql_statement *statement);
    int (*step)(struct sql_statement *statement);
    void (*done)(struct sql_statement *statement);
    void (*bind_bytes)(struct sql_statement *statement, int index, const void *bytes_at,
                       size_t bytes, bool is_text);
    void (*bind_u64)(struct sql_statement *statement, int index, uint64_t value);
    const void *(*column_bytes)(struct sql_statement *statement, int index, size_t *bytes);
    uint64_t (*column_u64)(struct sql_statement *statement, int index);
    int (*envelopes_add)(struct sql *sql, uint32_t key_version, const struct sql_envelope *rows,
                         uint32_t rows_count);
    bool (*in_transaction)(const struct sql *sql);
    bool (*again)(struct sql *sql);
    bool (*connected)(const struct sql *sql);
    const char *(*why)(const struct sql *sql);
};

/* Not to be moved while it is open. */
struct sql {
    const struct sql_driver *driver; /* NULL: not open */
    struct sqlite3 *sqlite;
    int serve_fd; /* of SQLite: the lock of who serves, or -1 */
    struct postgresql *postgresql;
    struct sql_statement statements[SQL_COUNT];
};

extern const struct sql_driver store_sqlite_driver;
extern const struct sql_driver store_postgresql_driver;

MUST_USE int sql_open(struct sql *sql, const struct sql_place *place, char why[STORE_WHY_BYTES]);
void sql_close(struct sql *sql); /* harmless when it is not open */
MUST_USE int sql_migrate(struct sql *sql, char why[STORE_WHY_BYTES]);

/* One that cannot be prepared gives an error when it is run. */
struct sql_statement *sql_use(struct sql *sql, enum sql_id id);
/* Rows changed by a statement that gives none, or -EIO, -EEXIST on a uniqueness it breaks. */
MUST_USE int sql_run(struct sql_statement *statement);
/* The same, for one that is to change something: `none` where there was nothing to change. */
MUST_USE int sql_run_some(struct sql_statement *statement, int none);
MUST_USE int sql_step(struct sql_statement *statement);
/* Ends a reading before its last row, so that it holds no snapshot. */
void sql_done(struct sql_statement *statement);

void sql_bind_blob(struct sql_statement *statement, int index, const void *bytes_at, size_t bytes);
void sql_bind_string(struct sql_statement *statement, int index, const char *text);
void sql_bind_u64(struct sql_statement *statement, int index, uint64_t value);
/* NULL where there are none; borrowed until the next step. */
const void *sql_column_bytes(struct sql_statement *statement, int index, size_t *bytes);
/* False when the column does not hold exactly `bytes`, or does not fit `room` with its NUL. */
bool sql_column_blob(struct sql_statement *statement, int index, void *bytes_at, size_t bytes);
bool sql_column_string(struct sql_statement *statement, int index, char *text, size_t room);
uint64_t sql_column_u64(struct sql_statement *statement, int index);

/* Adds the rows whose ids are free; returns how many those were. At most sql_envelopes_max(). */
MUST_USE int sql_envelopes_add(struct sql *sql, uint32_t key_version,
                               const struct sql_envelope *rows, uint32_t rows_count);
uint32_t sql_envelopes_max(const struct sql *sql);

bool sql_in_transaction(const struct sql *sql);
/* After a transaction that failed: whether it may succeed when it is run again from its begin. */
bool sql_again(struct sql *sql);
/* False since the connection was lost, until it is made again. */
bool sql_connected(const struct sql *sql);
const char *sql_why(const struct sql *sql);

/* SQLite's write-ahead log: its pages are told after each commit, and folded back. Else nothing. */
void sqlite_watch(struct sql *sql, int *log_pages);
void sqlite_fold(struct sql *sql, bool wait_for_readers);
/* Held while it is open: -EBUSY with the reason when another process has it. */
MUST_USE int sqlite_serve_lock(int *fd, const char *database, char why[STORE_WHY_BYTES]);
MUST_USE int sqlite_migrate(struct sql *sql, char why[STORE_WHY_BYTES]);

/* What a write runs in, on the thread of whoever leads. */
struct store_writer {
    struct sql sql;
    const struct master *master;
};

/*
 * Runs in the writer's transaction. 0 or a refusal that keeps what was done so far (-ENOENT,
 * -EEXIST, -EACCES); any other -errno undoes the whole group, whose writes all fail. Where another
 * writer of the database was in the way the group is run again, so a write may be applied twice,
 * but is kept once.
 */
typedef int store_write_apply(struct store_writer *writer, void *argument);
MUST_USE int store_write(struct store *store, store_write_apply *apply, void *argument);
/* The same for what only adds rows that nobody else changes: one batch need not wait until another
 * is synced, where the database has more than one writer. */
MUST_USE int store_write_batch(struct store *store, store_write_apply *apply, void *argument);
/* The same with a line of the audit log, unless that is NULL; both are durable when it returns 0.
 */
MUST_USE int store_write_line(struct store *store, store_write_apply *apply, void *argument,
                              struct store_line *line);

/* Part of a write: what an account no longer has counts in none of its sessions. */
MUST_USE int store_session_factor_gone(struct store_writer *writer, int64_t account_number,
                                       uint32_t factor);
/* Part of a write: ends the account's sessions; none begins before the commit. */
MUST_USE int store_sessions_end(struct store_writer *writer, const char *address);
/* Part of a write: ends all tokens of the account. */
MUST_USE int store_tokens_end(struct store_writer *writer, const char *address);

/* A reading connection, waiting for one if all are out. */
struct sql *store_reader_take(struct store *store);
/* NULL where hardly one is free: for what helps the holder of another, and must hold up nobody. */
struct sql *store_reader_try(struct store *store);
void store_reader_give(struct store *store, struct sql *sql);

/* One for single statements, where nodes share: store_shares(). */
struct sql *store_single_take(struct store *store);
void store_single_give(struct store *store, struct sql *sql);

const struct master *store_master(const struct store *store);

#endif
