#include "base/assert.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "keyservice/server/store/store_row.h"
#include "keyservice/server/store/store_sql.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Each step takes the schema one version up; a step that was released is never changed. */
static const char *const schema_steps[] = {
    "CREATE TABLE address (number INTEGER PRIMARY KEY, address TEXT NOT NULL UNIQUE);"
    "CREATE TABLE envelope (number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE,"
    " digest BLOB NOT NULL, key_version INTEGER NOT NULL, wrapped BLOB NOT NULL,"
    " suite INTEGER NOT NULL, level INTEGER NOT NULL, flags INTEGER NOT NULL,"
    " locked INTEGER NOT NULL DEFAULT 0, sent INTEGER NOT NULL, expires INTEGER NOT NULL,"
    " read_by INTEGER NOT NULL, mail_bytes INTEGER NOT NULL, profile TEXT NOT NULL,"
    " sender TEXT NOT NULL, subject TEXT NOT NULL);"
    /* number: the envelope's × 1024 and the place in its list. */
    "CREATE TABLE recipient (number INTEGER PRIMARY KEY, address INTEGER NOT NULL);"
    "CREATE TABLE account (number INTEGER PRIMARY KEY AUTOINCREMENT, address TEXT NOT NULL UNIQUE,"
    " password TEXT NOT NULL, created INTEGER NOT NULL);"
    "CREATE TABLE pending (address TEXT NOT NULL, browser BLOB NOT NULL, code BLOB NOT NULL,"
    " password TEXT NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL,"
    " tries INTEGER NOT NULL, PRIMARY KEY (address, browser));"
    "CREATE INDEX pending_expires ON pending (expires);"
    "CREATE TABLE session (hash BLOB PRIMARY KEY, account INTEGER NOT NULL,"
    " created INTEGER NOT NULL, seen INTEGER NOT NULL, password INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX session_account ON session (account, created);"
    "CREATE INDEX session_created ON session (created);"
    "CREATE INDEX session_seen ON session (seen);"
    "CREATE TABLE engine (fingerprint BLOB PRIMARY KEY, name TEXT NOT NULL,"
    " created INTEGER NOT NULL, revoked INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE enrol (code BLOB PRIMARY KEY, name TEXT NOT NULL,"
    " expires INTEGER NOT NULL) WITHOUT ROWID;",

    /* Version 2: a record is one blob, its recipients within. */
    "CREATE TABLE envelope_2 (number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE,"
    " key_version INTEGER NOT NULL, wrapped BLOB NOT NULL, locked INTEGER NOT NULL DEFAULT 0,"
    " record BLOB NOT NULL);"
    "INSERT INTO envelope_2 (number, id, key_version, wrapped, locked, record)"
    " SELECT number, id, key_version, wrapped, locked, bulla_row(id, suite, level, flags, sent,"
    " expires, read_by, mail_bytes, profile, sender, subject, (SELECT group_concat(address, "
    "char(10))"
    " FROM (SELECT a.address FROM recipient r JOIN address a ON a.number = r.address WHERE r.number"
    " BETWEEN e.number * 1024 AND e.number * 1024 + 1023 ORDER BY r.number)))"
    " FROM envelope e ORDER BY number;"
    "DROP TABLE envelope; DROP TABLE recipient; DROP TABLE address;"
    "ALTER TABLE envelope_2 RENAME TO envelope;",

    /* Version 3, outbox: mails, who is still to get them, and their bytes. */
    "CREATE TABLE outbox (id BLOB PRIMARY KEY, body BLOB NOT NULL UNIQUE, account TEXT NOT NULL,"
    " sender TEXT NOT NULL, kind INTEGER NOT NULL, bytes INTEGER NOT NULL,"
    " created INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX outbox_account ON outbox (account, bytes);"
    "CREATE INDEX outbox_created ON outbox (created);"
    "CREATE TABLE outbox_to (id BLOB NOT NULL, place INTEGER NOT NULL, address TEXT NOT NULL,"
    " due INTEGER NOT NULL, attempts INTEGER NOT NULL, PRIMARY KEY (id, place)) WITHOUT ROWID;"
    "CREATE INDEX outbox_to_due ON outbox_to (due);"
    "CREATE TABLE outbox_part (body BLOB NOT NULL, place INTEGER NOT NULL,"
    " created INTEGER NOT NULL, bytes BLOB NOT NULL, UNIQUE (body, place));"
    "CREATE INDEX outbox_part_created ON outbox_part (created);"
    /* Version 3. Of master.h: which master keys wrap what is here. */
    "CREATE TABLE wrapping (version INTEGER PRIMARY KEY, proof BLOB NOT NULL);"
    "CREATE TABLE rewrap (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL,"
    " after BLOB NOT NULL, done INTEGER NOT NULL, moved INTEGER NOT NULL);"
    /* Version 3, administration. */
    "CREATE TABLE role_grant (account INTEGER NOT NULL, role INTEGER NOT NULL,"
    " profile TEXT NOT NULL, granted INTEGER NOT NULL,"
    " PRIMARY KEY (account, role, profile)) WITHOUT ROWID;"
    "CREATE INDEX role_grant_role ON role_grant (role);"
    "CREATE TABLE account_disabled (account INTEGER PRIMARY KEY, since INTEGER NOT NULL);"
    "CREATE TABLE profile (name TEXT PRIMARY KEY, title TEXT NOT NULL, link TEXT NOT NULL,"
    " locale TEXT NOT NULL, text TEXT NOT NULL, contact TEXT NOT NULL,"
    " retention_days INTEGER NOT NULL, changed INTEGER NOT NULL, logo BLOB NOT NULL);"
    "CREATE TABLE token (number INTEGER PRIMARY KEY AUTOINCREMENT, hash BLOB NOT NULL UNIQUE,"
    " account INTEGER NOT NULL, name TEXT NOT NULL, role INTEGER NOT NULL, profile TEXT NOT NULL,"
    " created INTEGER NOT NULL, expires INTEGER NOT NULL, used INTEGER NOT NULL);"
    "CREATE INDEX token_account ON token (account);"
    "CREATE TRIGGER account_gone_admin AFTER DELETE ON account BEGIN"
    " DELETE FROM role_grant WHERE account = OLD.number;"
    " DELETE FROM account_disabled WHERE account = OLD.number;"
    " DELETE FROM token WHERE account = OLD.number; END;"
    /* Version 3, sent: docs/keyservice/sent.md. */
    "CREATE TABLE sent (sender BLOB NOT NULL, envelope BLOB NOT NULL,"
    " PRIMARY KEY (sender, envelope)) WITHOUT ROWID;"
    "CREATE TABLE sent_run (number INTEGER PRIMARY KEY, run BLOB NOT NULL);"
    "CREATE TABLE sent_due (due INTEGER NOT NULL, envelope BLOB NOT NULL,"
    " PRIMARY KEY (due, envelope)) WITHOUT ROWID;"
    "CREATE TABLE sent_change (envelope BLOB PRIMARY KEY, parts INTEGER NOT NULL,"
    " expires INTEGER NOT NULL, read_by INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE opening (envelope BLOB NOT NULL, address TEXT NOT NULL, locked INTEGER NOT NULL,"
    " first INTEGER NOT NULL, last INTEGER NOT NULL, times INTEGER NOT NULL, how INTEGER NOT NULL,"
    " PRIMARY KEY (envelope, address)) WITHOUT ROWID;"
    "CREATE TABLE notice (number INTEGER PRIMARY KEY AUTOINCREMENT, kind INTEGER NOT NULL,"
    " envelope BLOB NOT NULL, address TEXT NOT NULL, at INTEGER NOT NULL);"
    "CREATE INDEX notice_envelope ON notice (envelope);"
    "CREATE TABLE report (day INTEGER NOT NULL, kind INTEGER NOT NULL, profile TEXT NOT NULL,"
    " domain TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (day, kind, profile, domain))"
    " WITHOUT ROWID;"
    "CREATE TABLE report_user (month INTEGER NOT NULL, kind INTEGER NOT NULL,"
    " address TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (month, kind, address))"
    " WITHOUT ROWID;"
    /* What is there already comes into the index by and by: store_sent_back(). */
    "CREATE TABLE sent_back (after BLOB NOT NULL, until BLOB NOT NULL);"
    "INSERT INTO sent_back SELECT x'00', id FROM envelope ORDER BY id DESC LIMIT 1;"
    /* account: what a person has and chose */
    "ALTER TABLE account ADD COLUMN language TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE account ADD COLUMN phrase TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE session ADD COLUMN label TEXT NOT NULL DEFAULT '';"
    "CREATE TABLE reset (address TEXT NOT NULL, browser BLOB NOT NULL, code BLOB NOT NULL,"
    " password TEXT NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL,"
    " tries INTEGER NOT NULL, PRIMARY KEY (address, browser));"
    "CREATE INDEX reset_expires ON reset (expires);"
    "CREATE TABLE totp (account INTEGER PRIMARY KEY, key_version INTEGER NOT NULL,"
    " wrapped BLOB NOT NULL, step INTEGER NOT NULL);"
    "CREATE TABLE recovery (account INTEGER NOT NULL, hash BLOB NOT NULL,"
    " PRIMARY KEY (account, hash)) WITHOUT ROWID;"
    "CREATE TABLE passkey (id BLOB PRIMARY KEY, account INTEGER NOT NULL,"
    " credential BLOB NOT NULL, algorithm INTEGER NOT NULL, public_key BLOB NOT NULL,"
    " counter INTEGER NOT NULL, name TEXT NOT NULL, created INTEGER NOT NULL,"
    " used INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX passkey_account ON passkey (account, created);"
    "CREATE TABLE device (hash BLOB NOT NULL, account INTEGER NOT NULL, label TEXT NOT NULL,"
    " created INTEGER NOT NULL, seen INTEGER NOT NULL, PRIMARY KEY (hash, account)) WITHOUT ROWID;"
    "CREATE INDEX device_account ON device (account, seen);"
    "CREATE INDEX device_seen ON device (seen);"
    "CREATE TABLE spent (hash BLOB PRIMARY KEY, expires INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX spent_expires ON spent (expires);"
    "CREATE TRIGGER account_gone AFTER DELETE ON account BEGIN"
    " DELETE FROM totp WHERE account = old.number; DELETE FROM recovery WHERE account = old.number;"
    " DELETE FROM passkey WHERE account = old.number; DELETE FROM device WHERE account = "
    "old.number;"
    " DELETE FROM reset WHERE address = old.address; END;",

    /* Version 4, master keys: which were retired, and how far the secrets of code apps are; these
     * were left out so far. */
    "ALTER TABLE wrapping ADD COLUMN retired INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE rewrap ADD COLUMN factors INTEGER NOT NULL DEFAULT 0;"
    "UPDATE rewrap SET done = 0;"
    /* Version 4, link: docs/keyservice/receive.md. */
    "CREATE TABLE link (name BLOB PRIMARY KEY, envelope BLOB NOT NULL, address TEXT NOT NULL,"
    " suite INTEGER NOT NULL, bytes INTEGER NOT NULL, expires INTEGER NOT NULL,"
    " state INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX link_address ON link (address, expires);"
    "CREATE INDEX link_expires ON link (expires, bytes);"
    "CREATE TABLE link_part (name BLOB NOT NULL, place INTEGER NOT NULL, bytes BLOB NOT NULL,"
    " UNIQUE (name, place));",

    /* Version 5, session: by what it was signed in. */
    "ALTER TABLE session ADD COLUMN factors INTEGER NOT NULL DEFAULT 0;"
    /* Version 5, link: parts that a crash left without their link. */
    "DELETE FROM link_part WHERE name NOT IN (SELECT name FROM link);",
};

/* The arguments of bulla_row(), in the order of version 1's columns. */
enum row_argument {
    ROW_ID,
    ROW_SUITE,
    ROW_LEVEL,
    ROW_FLAGS,
    ROW_SENT,
    ROW_EXPIRES,
    ROW_READ_BY,
    ROW_MAIL_BYTES,
    ROW_PROFILE,
    ROW_SENDER,
    ROW_SUBJECT,
    ROW_RECIPIENTS, /* one a line */
    ROW_ARGUMENTS_COUNT,
};

static const uint8_t *row_text(sqlite3_value *value, uint16_t *bytes)
{
    const uint8_t *text = sqlite3_value_text(value);
    *bytes = (uint16_t)MIN(sqlite3_value_bytes(value), UINT16_MAX);
    return text;
}

/* Lines become recipients of a record; returns the bytes, 0 when they do not fit. */
static uint32_t row_recipients(sqlite3_value *value, uint8_t list[RECORD_BYTES_MAX],
                               uint16_t *count)
{
    const char *text = (const char *)sqlite3_value_text(value);
    uint32_t used = 0;
    *count = 0;
    while (text != NULL && *text != '\0') { /* an address a turn: the text's end bounds it */
        const size_t chars = strcspn(text, "\n");
        if (chars > RECORD_ADDRESS_BYTES_MAX || used + 2 + chars > RECORD_BYTES_MAX)
            return 0;
        bytes_store_le16(list + used, (uint16_t)chars);
        memcpy(list + used + 2, text, chars);
        used += 2 + (uint32_t)chars;
        *count = (uint16_t)(*count + 1);
        text += chars + (text[chars] == '\n');
    }
    return used;
}

/* SQL's bulla_row(): a row's blob of what version 1 kept in columns. */
static void row_make(sqlite3_context *context, int arguments_count, sqlite3_value **arguments)
{
    static const size_t buffer_bytes = RECORD_BYTES_MAX;
    uint8_t *list = malloc(buffer_bytes);
    uint8_t *wire = malloc(buffer_bytes);
    uint8_t *row = malloc(buffer_bytes);
    size_t wire_bytes = 0;
    ASSERT(arguments_count == ROW_ARGUMENTS_COUNT);
    if (list != NULL && wire != NULL && row != NULL &&
        sqlite3_value_bytes(arguments[ROW_ID]) == RECORD_ID_BYTES) {
        struct record record = {
            .suite = (uint8_t)sqlite3_value_int(arguments[ROW_SUITE]),
            .level = (uint8_t)sqlite3_value_int(arguments[ROW_LEVEL]),
            .flags = (uint16_t)sqlite3_value_int(arguments[ROW_FLAGS]),
            .sent_unix_ms = (uint64_t)sqlite3_value_int64(arguments[ROW_SENT]),
            .expires_unix_ms = (uint64_t)sqlite3_value_int64(arguments[ROW_EXPIRES]),
            .read_by_unix_ms = (uint64_t)sqlite3_value_int64(arguments[ROW_READ_BY]),
            .mail_bytes = (uint64_t)sqlite3_value_int64(arguments[ROW_MAIL_BYTES]),
            .recipients = list,
        };
        memcpy(record.id, sqlite3_value_blob(arguments[ROW_ID]), RECORD_ID_BYTES);
        record.profile = row_text(arguments[ROW_PROFILE], &record.profile_bytes);
        record.sender = row_text(arguments[ROW_SENDER], &record.sender_bytes);
        record.subject = row_text(arguments[ROW_SUBJECT], &record.subject_bytes);
        record.recipients_bytes =
            row_recipients(arguments[ROW_RECIPIENTS], list, &record.recipients_count);
        if (record.recipients_bytes > 0)
            wire_bytes = record_write(wire, buffer_bytes, &record);
    }
    if (wire_bytes == 0)
        sqlite3_result_error(context, "an envelope of version 1 is damaged", -1);
    else
        sqlite3_result_blob(context, row, (int)store_row_pack(row, wire, (uint32_t)wire_bytes),
                            SQLITE_TRANSIENT);
    free(row);
    free(wire);
    free(list);
}

static int sql_exec(struct sql *sql, const char *text, char why[STORE_WHY_BYTES])
{
    if (sqlite3_exec(sql->sqlite, text, NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    (void)snprintf(why, STORE_WHY_BYTES, "schema: %s", sqlite3_errmsg(sql->sqlite));
    return -EIO;
}

static int sql_version(struct sql *sql, uint32_t *version, char why[STORE_WHY_BYTES])
{
    sqlite3_stmt *statement = NULL;
    *version = 0;
    int rc = sql_exec(sql,
                      "CREATE TABLE IF NOT EXISTS schema_version"
                      " (version INTEGER PRIMARY KEY, applied INTEGER NOT NULL)",
                      why);
    if (rc != 0)
        return rc;
    if (sqlite3_prepare_v2(sql->sqlite, "SELECT max(version) FROM schema_version", -1, &statement,
                           NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        *version = (uint32_t)sqlite3_column_int(statement, 0);
    else
        rc = -EIO;
    (void)sqlite3_finalize(statement);
    return rc;
}

int sqlite_migrate(struct sql *sql, char why[STORE_WHY_BYTES])
{
    uint32_t version = 0;
    if (sqlite3_create_function_v2(sql->sqlite, "bulla_row", ROW_ARGUMENTS_COUNT,
                                   SQLITE_UTF8 | SQLITE_DIRECTONLY, NULL, row_make, NULL, NULL,
                                   NULL) != SQLITE_OK)
        return -ENOMEM;
    int rc = sql_exec(sql, "BEGIN EXCLUSIVE", why);
    if (rc != 0)
        return rc;
    rc = sql_version(sql, &version, why);
    if (rc == 0 && version > ARRAY_COUNT(schema_steps)) {
        (void)snprintf(why, STORE_WHY_BYTES, "the database is of a newer version (%u)", version);
        rc = -EPROTO;
    }
    for (; rc == 0 && version < ARRAY_COUNT(schema_steps); version++) {
        char note[128];
        rc = sql_exec(sql, schema_steps[version], why);
        (void)snprintf(note, sizeof(note), "INSERT INTO schema_version VALUES (%u, %llu)",
                       version + 1, (unsigned long long)(clock_unix_ns() / NS_PER_MS));
        if (rc == 0)
            rc = sql_exec(sql, note, why);
    }
    if (rc == 0)
        return sql_exec(sql, "COMMIT", why);
    (void)sqlite3_exec(sql->sqlite, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}
