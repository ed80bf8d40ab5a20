#include "keyservice/server/store/store_sql.h"

#include "base/assert.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define ROWS_MANY        64
#define ROWS_FEW         8
#define ROW_COLUMNS      3 /* bound for each row; the version is bound once */
#define SERVE_PATH_BYTES 4096
#define SQL_BUSY_MS      5000 /* for the operator's subcommands, which write beside the service */

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
    [SQL_ENVELOPE_GET] = "SELECT e.locked, e.key_version, e.wrapped, e.record, c.parts, c.expires,"
                         " c.read_by FROM envelope e LEFT JOIN sent_change c ON c.envelope = e.id"
                         " WHERE e.id = ?1",
    [SQL_ENVELOPE_LOOK] =
        "SELECT e.locked, e.key_version, e.wrapped, e.record, c.parts, c.expires, c.read_by,"
        " o.locked FROM envelope e LEFT JOIN sent_change c ON c.envelope = e.id"
        " LEFT JOIN opening o ON o.envelope = e.id AND o.address = ?2 WHERE e.id = ?1",
    [SQL_ENVELOPE_LOCK] = "UPDATE envelope SET locked = ?2 WHERE id = ?1",
    [SQL_ACCOUNT_GET] =
        "SELECT number, created, address, password, language, (SELECT count(*) FROM totp t"
        " WHERE t.account = number) FROM account WHERE address = ?1",
    [SQL_ACCOUNT_HOLD] = "SELECT number FROM account WHERE address = ?1",
    [SQL_ACCOUNT_ADD] = "INSERT INTO account (address, password, created) VALUES (?1, ?2, ?3)"
                        " ON CONFLICT (address) DO NOTHING",
    [SQL_ACCOUNT_PASSWORD] = "UPDATE account SET password = ?2 WHERE address = ?1",
    [SQL_ACCOUNT_REMOVE] = "DELETE FROM account WHERE address = ?1",
    [SQL_ACCOUNT_LIST] =
        "SELECT number, created, address, password, language, (SELECT count(*) FROM totp t"
        " WHERE t.account = number) FROM account ORDER BY address LIMIT ?1",
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
    [SQL_SESSION_ADD] =
        "INSERT INTO session (hash, account, created, seen, password, label, factors)"
        " SELECT ?1, number, ?3, ?4, ?5, ?6, ?7 FROM account WHERE number = ?2"
        " AND NOT EXISTS (SELECT 1 FROM account_disabled d WHERE d.account = number)",
    [SQL_SESSION_TRIM] = "DELETE FROM session WHERE account = ?1 AND hash NOT IN (SELECT hash"
                         " FROM session WHERE account = ?1 ORDER BY created DESC LIMIT ?2)",
    [SQL_SESSION_GET] =
        "SELECT s.account, s.created, s.seen, s.password, a.address, s.factors FROM session s"
        " JOIN account a ON a.number = s.account WHERE s.hash = ?1"
        " AND NOT EXISTS (SELECT 1 FROM account_disabled d WHERE d.account = a.number)",
    [SQL_SESSION_SEEN] = "UPDATE session SET seen = max(seen, ?2) WHERE hash = ?1",
    [SQL_SESSION_USE_PASSWORD] =
        "UPDATE session SET password = 0 WHERE hash = ?1 AND password != 0",
    [SQL_SESSION_FACTOR] = "UPDATE session SET factors = factors | ?2 WHERE hash = ?1",
    [SQL_SESSION_FACTOR_GONE] = "UPDATE session SET factors = factors & ~?2 WHERE account = ?1",
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
    [SQL_ENROL_ADD] = "INSERT INTO enrol (code, name, expires) VALUES (?1, ?2, ?3)"
                      " ON CONFLICT DO NOTHING",
    [SQL_ENROL_GET] = "SELECT name FROM enrol WHERE code = ?1 AND expires > ?2",
    [SQL_ENROL_REMOVE] = "DELETE FROM enrol WHERE code = ?1",
    [SQL_ENROL_REMOVE_NAME] = "DELETE FROM enrol WHERE name = ?1",
    [SQL_ENROL_PRUNE] = "DELETE FROM enrol WHERE expires < ?1",
    /* --- outbox --- */
    [SQL_OUTBOX_ADD] = "INSERT INTO outbox (id, account, sender, kind, bytes, created, body)"
                       " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
    [SQL_OUTBOX_GET] = "SELECT bytes FROM outbox WHERE id = ?1",
    [SQL_OUTBOX_HOLD] = "SELECT bytes FROM outbox WHERE id = ?1",
    [SQL_OUTBOX_COUNT] = "SELECT count(*), coalesce(sum(bytes), 0) FROM outbox"
                         " WHERE kind = ?1",
    [SQL_OUTBOX_COUNT_OF] =
        "SELECT count(*), coalesce(sum(bytes), 0) FROM outbox WHERE account = ?1",
    [SQL_OUTBOX_EMPTY] = "UPDATE outbox SET bytes = 0 WHERE id = ?1"
                         " AND NOT EXISTS (SELECT 1 FROM outbox_to WHERE id = ?1)",
    [SQL_OUTBOX_PRUNE] =
        "DELETE FROM outbox WHERE id IN (SELECT o.id FROM outbox o WHERE o.created < ?1"
        " AND NOT EXISTS (SELECT 1 FROM outbox_to t WHERE t.id = o.id) LIMIT ?2)",
    [SQL_OUTBOX_PART_ADD] =
        "INSERT INTO outbox_part (body, place, created, bytes) VALUES (?1, ?2, ?3, ?4)",
    [SQL_OUTBOX_PART_GET] = "SELECT bytes FROM outbox_part WHERE body = ?1 AND place = ?2",
    [SQL_OUTBOX_PARTS_REMOVE] =
        "DELETE FROM outbox_part WHERE rowid IN (SELECT rowid FROM outbox_part WHERE body = ?1"
        " AND NOT EXISTS (SELECT 1 FROM outbox_to WHERE id = ?2) LIMIT ?3)",
    [SQL_OUTBOX_PARTS_PRUNE] =
        "DELETE FROM outbox_part WHERE rowid IN (SELECT p.rowid FROM outbox_part p"
        " WHERE p.created < ?1 AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.body = p.body"
        " AND o.bytes > 0) LIMIT ?2)",
    [SQL_OUTBOX_TO_ADD] =
        "INSERT INTO outbox_to (id, place, address, due, attempts) VALUES (?1, ?2, ?3, ?4, 0)",
    [SQL_OUTBOX_TO_REMOVE] = "DELETE FROM outbox_to WHERE id = ?1 AND place = ?2 AND due = ?3",
    [SQL_OUTBOX_DUE] =
        "SELECT t.id, t.address, t.place, t.due, t.attempts, o.sender, o.account, o.kind, o.bytes,"
        " o.created, o.body FROM outbox_to t JOIN outbox o ON o.id = t.id WHERE t.due <= ?1"
        " ORDER BY t.due LIMIT ?2",
    [SQL_OUTBOX_CLAIM] = "UPDATE outbox_to SET due = ?4, attempts = attempts + 1"
                         " WHERE id = ?1 AND place = ?2 AND due = ?3",
    [SQL_OUTBOX_DEFER] = "UPDATE outbox_to SET due = ?4 WHERE id = ?1 AND place = ?2 AND due = ?3",
    [SQL_WRAPPING_ADD] = "INSERT INTO wrapping (version, proof) VALUES (?1, ?2)"
                         " ON CONFLICT DO NOTHING",
    [SQL_WRAPPING_LIST] = "SELECT version, proof, retired FROM wrapping ORDER BY version",
    [SQL_WRAPPING_RETIRE] = "UPDATE wrapping SET retired = ?2 WHERE version = ?1 AND retired = 0",
    [SQL_REWRAP_GET] = "SELECT version, after, done, moved, factors FROM rewrap",
    [SQL_REWRAP_SET] = "INSERT INTO rewrap (one, version, after, done, moved, factors)"
                       " VALUES (1, ?1, ?2, ?3, ?4, ?5) ON CONFLICT (one) DO UPDATE"
                       " SET version = ?1, after = ?2, done = ?3, moved = ?4, factors = ?5",
    [SQL_REWRAP_ROWS] = "SELECT id, key_version, wrapped FROM envelope WHERE id > ?1"
                        " ORDER BY id LIMIT ?2",
    [SQL_REWRAP_PUT] = "UPDATE envelope SET key_version = ?2, wrapped = ?3 WHERE id = ?1"
                       " AND key_version < ?2",
    [SQL_REWRAP_FACTORS] = "SELECT account, key_version, wrapped FROM totp WHERE account > ?1"
                           " ORDER BY account LIMIT ?2",
    [SQL_REWRAP_FACTOR_PUT] = "UPDATE totp SET key_version = ?2, wrapped = ?3"
                              " WHERE account = ?1 AND wrapped = ?4",
    /* administration */
    [SQL_ROLE_ADD] = "INSERT INTO role_grant (account, role, profile, granted)"
                     " VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
    [SQL_ROLE_REMOVE] = "DELETE FROM role_grant WHERE account = ?1 AND role = ?2 AND profile = ?3",
    [SQL_ROLE_COUNT] = "SELECT count(*) FROM role_grant WHERE account = ?1 AND role = ?2",
    [SQL_ROLE_OF] = "SELECT account, role, profile, granted, '' FROM role_grant"
                    " WHERE account = ?1 ORDER BY role, profile LIMIT ?2",
    [SQL_ROLE_LIST] = "SELECT g.account, g.role, g.profile, g.granted, a.address FROM role_grant g"
                      " JOIN account a ON a.number = g.account"
                      " ORDER BY a.address, g.role, g.profile LIMIT ?1",
    [SQL_ROLE_LOCK] = "SELECT 1",
    [SQL_ROLE_ADMINISTRATORS] = "SELECT account FROM role_grant WHERE role = ?1"
                                " AND NOT EXISTS (SELECT 1 FROM account_disabled d"
                                " WHERE d.account = role_grant.account) ORDER BY account",
    [SQL_USER_LIST] =
        "SELECT a.number, a.created, a.address, coalesce(d.since, 0),"
        " coalesce((SELECT sum(DISTINCT 1 << g.role) FROM role_grant g"
        " WHERE g.account = a.number), 0) FROM account a"
        " LEFT JOIN account_disabled d ON d.account = a.number"
        " WHERE a.address > coalesce((SELECT address FROM account WHERE number = ?1), '')"
        " AND instr(a.address, ?2) > 0 ORDER BY a.address LIMIT ?3",
    [SQL_USER_GET] = "SELECT a.number, a.created, a.address, coalesce(d.since, 0),"
                     " coalesce((SELECT sum(DISTINCT 1 << g.role) FROM role_grant g"
                     " WHERE g.account = a.number), 0),"
                     " (SELECT count(*) FROM session s WHERE s.account = a.number),"
                     " coalesce((SELECT max(s.seen) FROM session s WHERE s.account = a.number), 0)"
                     " FROM account a LEFT JOIN account_disabled d ON d.account = a.number"
                     " WHERE a.number = ?1",
    [SQL_DISABLED_ADD] = "INSERT INTO account_disabled (account, since) VALUES (?1, ?2)"
                         " ON CONFLICT DO NOTHING",
    [SQL_DISABLED_REMOVE] = "DELETE FROM account_disabled WHERE account = ?1",
    [SQL_DISABLED_GET] = "SELECT coalesce(d.since, 0) FROM account a"
                         " LEFT JOIN account_disabled d ON d.account = a.number"
                         " WHERE a.address = ?1",
    [SQL_PROFILE_PUT] =
        "INSERT INTO profile (name, title, link, locale, text, contact, retention_days, logo,"
        " changed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (name) DO UPDATE SET"
        " title = ?2, link = ?3, locale = ?4, text = ?5, contact = ?6, retention_days ="
        " CASE WHEN ?10 = 1 THEN ?7 ELSE profile.retention_days END, logo = ?8, changed = ?9",
    [SQL_PROFILE_GET] = "SELECT name, title, link, locale, text, contact, retention_days, changed,"
                        " logo FROM profile WHERE name = ?1",
    [SQL_PROFILE_LIST] = "SELECT name, title, link, locale, text, contact, retention_days, changed"
                         " FROM profile ORDER BY name LIMIT ?1",
    [SQL_PROFILE_REMOVE] = "DELETE FROM profile WHERE name = ?1",
    [SQL_TOKEN_ADD] =
        "INSERT INTO token (hash, account, name, role, profile, created, expires, used)"
        " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, 0"
        " WHERE (SELECT count(*) FROM token WHERE account = ?2) < ?8",
    [SQL_TOKEN_GET] =
        "SELECT t.number, t.account, t.name, t.role, t.profile, t.created, t.expires,"
        " t.used, a.address FROM token t JOIN account a ON a.number = t.account"
        " WHERE t.hash = ?1"
        " AND NOT EXISTS (SELECT 1 FROM account_disabled d WHERE d.account = t.account)",
    [SQL_TOKEN_LIST] = "SELECT t.number, t.account, t.name, t.role, t.profile, t.created,"
                       " t.expires, t.used, a.address FROM token t"
                       " JOIN account a ON a.number = t.account"
                       " WHERE t.number > ?1 ORDER BY t.number LIMIT ?2",
    [SQL_TOKEN_SEEN] = "UPDATE token SET used = max(used, ?2) WHERE number = ?1",
    [SQL_TOKEN_REMOVE] = "DELETE FROM token WHERE number = ?1",
    [SQL_TOKEN_END] = "DELETE FROM token WHERE account IN"
                      " (SELECT number FROM account WHERE address = ?1)",
    [SQL_TOKEN_END_ROLE] = "DELETE FROM token WHERE account = ?1 AND (?2 = ?4 OR"
                           " role = ?2 AND profile = ?3)",
    [SQL_RETENTION_SCAN] = "SELECT id, record FROM envelope WHERE id > ?1 AND id < ?2"
                           " ORDER BY id LIMIT ?3",

    /* store_sent */
    [SQL_SENT_RUN_ADD] = "INSERT INTO sent_run (run) VALUES (?1)",
    [SQL_SENT_RUN_COUNT] = "SELECT count(*) FROM (SELECT 1 FROM sent_run LIMIT ?1)",
    [SQL_SENT_RUN_LIST] = "SELECT run FROM sent_run ORDER BY number DESC LIMIT ?1",
    [SQL_SENT_RUN_TAKE] = "SELECT number, run FROM sent_run ORDER BY number LIMIT ?1",
    [SQL_SENT_RUN_REMOVE] = "DELETE FROM sent_run WHERE number = ?1",
    [SQL_SENT_ADD] = "WITH RECURSIVE place (at) AS (SELECT 1 UNION ALL SELECT at + 24 FROM place"
                     " WHERE at + 24 <= length(?1)) INSERT INTO sent (sender, envelope)"
                     " SELECT substr(?1, at, 8), substr(?1, at + 8, 16) FROM place WHERE true"
                     " ON CONFLICT DO NOTHING",
    [SQL_SENT_LIST] = "SELECT envelope FROM sent WHERE sender = ?1 AND envelope < ?2"
                      " ORDER BY envelope DESC LIMIT ?3",
    [SQL_SENT_GET] =
        "SELECT e.locked, e.record, c.parts, c.expires, c.read_by, (SELECT count(*) FROM opening o"
        " WHERE o.envelope = e.id AND o.times > 0), (SELECT count(*) FROM opening o"
        " WHERE o.envelope = e.id AND o.locked != 0) FROM envelope e"
        " LEFT JOIN sent_change c ON c.envelope = e.id WHERE e.id = ?1",
    [SQL_SENT_REMOVE] = "DELETE FROM sent WHERE sender = ?1 AND envelope = ?2",
    [SQL_SENT_DUE_ADD] = "INSERT INTO sent_due (due, envelope) VALUES (?1, ?2)"
                         " ON CONFLICT DO NOTHING",
    [SQL_SENT_DUE_LIST] = "SELECT due, envelope FROM sent_due WHERE due <= ?1"
                          " ORDER BY due, envelope LIMIT ?2",
    [SQL_SENT_DUE_REMOVE] = "DELETE FROM sent_due WHERE due = ?1 AND envelope = ?2",
    [SQL_SENT_BACK_GET] = "SELECT after, until FROM sent_back",
    [SQL_SENT_BACK_LIST] = "SELECT id, record FROM envelope WHERE id > ?1 AND id <= ?2"
                           " ORDER BY id LIMIT ?3",
    [SQL_SENT_BACK_SET] = "UPDATE sent_back SET after = ?1",
    [SQL_SENT_BACK_END] = "DELETE FROM sent_back",

    /* store_opening */
    [SQL_OPENING_NOTE] =
        "INSERT INTO opening AS o (envelope, address, locked, first, last, times, how)"
        " SELECT id, ?2, 0, ?3, ?3, 1, ?4 FROM envelope WHERE id = ?1 AND locked = 0"
        " ON CONFLICT (envelope, address) DO UPDATE SET"
        " first = CASE WHEN o.times = 0 THEN ?3 ELSE o.first END, last = max(o.last, ?3),"
        " times = o.times + 1, how = o.how | ?4 WHERE o.locked = 0 RETURNING times",
    [SQL_OPENING_READERS] = "SELECT count(*) FROM opening WHERE envelope = ?1 AND times > 0",
    [SQL_OPENING_LIST] = "SELECT address, locked, first, last, times, how FROM opening"
                         " WHERE envelope = ?1 ORDER BY address LIMIT ?2",
    [SQL_OPENING_LOCK] =
        "INSERT INTO opening (envelope, address, locked, first, last, times, how)"
        " VALUES (?1, ?2, ?3, 0, 0, 0, 0) ON CONFLICT (envelope, address) DO UPDATE SET"
        " locked = ?3",
    [SQL_OPENING_LOCKED] = "SELECT locked FROM opening WHERE envelope = ?1 AND address = ?2",
    [SQL_OPENING_REMOVE] = "DELETE FROM opening WHERE envelope = ?1",
    [SQL_CHANGE_EXPIRES] = "INSERT INTO sent_change AS c (envelope, parts, expires, read_by)"
                           " VALUES (?1, 1, ?2, 0) ON CONFLICT (envelope) DO UPDATE SET"
                           " parts = c.parts | 1, expires = ?2",
    [SQL_CHANGE_READ_BY] = "INSERT INTO sent_change AS c (envelope, parts, expires, read_by)"
                           " VALUES (?1, 2, 0, ?2) ON CONFLICT (envelope) DO UPDATE SET"
                           " parts = (c.parts & 1) | 2, read_by = ?2",
    [SQL_CHANGE_TOLD] = "INSERT INTO sent_change AS c (envelope, parts, expires, read_by)"
                        " VALUES (?1, 4, 0, 0) ON CONFLICT (envelope) DO UPDATE SET"
                        " parts = c.parts | 4",
    [SQL_CHANGE_REMOVE] = "DELETE FROM sent_change WHERE envelope = ?1",
    [SQL_NOTICE_ADD] = "INSERT INTO notice (kind, envelope, address, at) VALUES (?1, ?2, ?3, ?4)",
    [SQL_NOTICE_LIST] = "SELECT number, kind, envelope, address, at FROM notice"
                        " ORDER BY number LIMIT ?1",
    [SQL_NOTICE_REMOVE] = "DELETE FROM notice WHERE number = ?1",
    [SQL_NOTICE_FORGET] = "DELETE FROM notice WHERE envelope = ?1",
    [SQL_ENVELOPE_REMOVE] = "DELETE FROM envelope WHERE id = ?1",

    /* store_report */
    [SQL_REPORT_ADD] =
        "INSERT INTO report AS r (day, kind, profile, domain, count)"
        " SELECT ?1, ?2, json_extract(value, '$[0]'), json_extract(value, '$[1]'),"
        " json_extract(value, '$[2]') FROM json_each(?3) WHERE true"
        " ON CONFLICT (day, kind, profile, domain) DO UPDATE SET count = r.count + excluded.count",
    [SQL_REPORT_USER_ADD] =
        "INSERT INTO report_user AS r (month, kind, address, count)"
        " SELECT ?1, ?2, json_extract(value, '$[0]'), json_extract(value, '$[1]')"
        " FROM json_each(?3) WHERE true"
        " ON CONFLICT (month, kind, address) DO UPDATE SET count = r.count + excluded.count",
    [SQL_REPORT_BY_DAY] = "SELECT day, kind, sum(count) FROM report WHERE day BETWEEN ?1 AND ?2"
                          " GROUP BY day, kind ORDER BY day, kind LIMIT ?3",
    [SQL_REPORT_BY_POLICY] =
        "SELECT profile, kind, sum(count) FROM report WHERE day BETWEEN ?1 AND ?2"
        " GROUP BY profile, kind ORDER BY profile, kind LIMIT ?3",
    [SQL_REPORT_BY_DOMAIN] =
        "SELECT domain, kind, sum(count) FROM report WHERE day BETWEEN ?1 AND ?2"
        " GROUP BY domain, kind ORDER BY domain, kind LIMIT ?3",
    [SQL_REPORT_BY_USER] =
        "SELECT address, kind, sum(count) FROM report_user WHERE month BETWEEN ?1 AND ?2"
        " GROUP BY address, kind ORDER BY address, kind LIMIT ?3",
    [SQL_REPORT_PRUNE] = "DELETE FROM report WHERE day < ?1",
    [SQL_REPORT_USER_PRUNE] = "DELETE FROM report_user WHERE month < ?1",
    /* account */
    [SQL_RESET_PUT] =
        "INSERT INTO reset (address, browser, code, password, created, expires, tries)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0) ON CONFLICT (address, browser) DO UPDATE SET"
        " code = ?3, password = ?4, created = ?5, expires = ?6, tries = 0",
    [SQL_RESET_TRIM] =
        "DELETE FROM reset WHERE address = ?1 AND rowid NOT IN (SELECT rowid FROM reset"
        " WHERE address = ?1 ORDER BY created DESC, rowid DESC LIMIT ?2)",
    [SQL_RESET_GET] =
        "SELECT code, password, expires, tries FROM reset WHERE address = ?1 AND browser"
        " = ?2",
    [SQL_RESET_TRY] = "UPDATE reset SET tries = tries + 1 WHERE address = ?1 AND browser = ?2",
    [SQL_RESET_REMOVE] = "DELETE FROM reset WHERE address = ?1",
    [SQL_RESET_PRUNE] =
        "DELETE FROM reset WHERE rowid IN (SELECT rowid FROM reset WHERE expires < ?1"
        " LIMIT ?2)",
    [SQL_ACCOUNT_LANGUAGE] = "UPDATE account SET language = ?2 WHERE number = ?1",
    [SQL_ACCOUNT_PHRASE] = "UPDATE account SET phrase = ?2 WHERE number = ?1",
    [SQL_PERSON_GET] =
        "SELECT created, language, phrase, (SELECT count(*) FROM totp t WHERE t.account ="
        " number), (SELECT count(*) FROM recovery r WHERE r.account = number) FROM"
        " account WHERE number = ?1",
    [SQL_SESSION_LIST] =
        "SELECT hash, created, seen, label FROM session WHERE account = ?1 ORDER BY seen"
        " DESC LIMIT ?2",
    [SQL_SESSION_END] = "DELETE FROM session WHERE account = ?1 AND substr(hash, 1, 16) = ?2",
    [SQL_SESSION_END_OTHERS] = "DELETE FROM session WHERE account = ?1 AND hash != ?2",
    [SQL_DEVICE_MOVE] = "UPDATE device SET hash = ?2 WHERE hash = ?1",
    [SQL_DEVICE_PUT] =
        "INSERT INTO device (hash, account, label, created, seen) SELECT ?1, number, ?3,"
        " ?4, ?4 FROM account WHERE number = ?2 ON CONFLICT (hash, account) DO UPDATE SET"
        " label = ?3, seen = ?4",
    [SQL_DEVICE_TRIM] =
        "DELETE FROM device WHERE account = ?1 AND hash NOT IN (SELECT hash FROM device"
        " WHERE account = ?1 ORDER BY seen DESC LIMIT ?2)",
    [SQL_DEVICE_GET] = "SELECT a.phrase FROM device d JOIN account a ON a.number = d.account WHERE"
                       " d.hash = ?1 AND a.address = ?2",
    [SQL_DEVICE_LIST] =
        "SELECT hash, created, seen, label FROM device WHERE account = ?1 ORDER BY seen"
        " DESC LIMIT ?2",
    [SQL_DEVICE_END] = "DELETE FROM device WHERE account = ?1 AND substr(hash, 1, 16) = ?2",
    [SQL_DEVICE_END_OTHERS] = "DELETE FROM device WHERE account = ?1 AND hash != ?2",
    [SQL_DEVICE_PRUNE] =
        "DELETE FROM device WHERE hash IN (SELECT hash FROM device WHERE seen < ?1 LIMIT"
        " ?2) AND seen < ?1",
    [SQL_TOTP_PUT] =
        "INSERT INTO totp (account, key_version, wrapped, step) VALUES (?1, ?2, ?3, ?4)"
        " ON CONFLICT (account) DO NOTHING",
    [SQL_TOTP_GET] = "SELECT key_version, wrapped, step FROM totp WHERE account = ?1",
    [SQL_TOTP_STEP] = "UPDATE totp SET step = ?2 WHERE account = ?1 AND step < ?2",
    [SQL_TOTP_REMOVE] = "DELETE FROM totp WHERE account = ?1",
    [SQL_RECOVERY_ADD] =
        "INSERT INTO recovery (account, hash) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
    [SQL_RECOVERY_SPEND] = "DELETE FROM recovery WHERE account = ?1 AND hash = ?2",
    [SQL_RECOVERY_CLEAR] = "DELETE FROM recovery WHERE account = ?1",
    [SQL_PASSKEY_ADD] =
        "INSERT INTO passkey (id, account, credential, algorithm, public_key, counter,"
        " name, created, used) SELECT ?1, number, ?3, ?4, ?5, ?6, ?7, ?8, 0 FROM account"
        " WHERE number = ?2 AND (SELECT count(*) FROM passkey p WHERE p.account = ?2) <"
        " ?9 ON CONFLICT DO NOTHING",
    [SQL_PASSKEY_GET] = "SELECT p.id, p.credential, p.algorithm, p.public_key, p.counter, p.name,"
                        " p.created, p.used, a.number, a.address FROM passkey p JOIN account a ON"
                        " a.number = p.account WHERE p.id = ?1",
    [SQL_PASSKEY_LIST] = "SELECT p.id, p.credential, p.algorithm, p.public_key, p.counter, p.name,"
                         " p.created, p.used, a.number, a.address FROM passkey p JOIN account a ON"
                         " a.number = p.account WHERE p.account = ?1 ORDER BY p.created LIMIT ?2",
    [SQL_PASSKEY_USE] =
        "UPDATE passkey SET counter = ?2, used = ?3 WHERE id = ?1 AND (counter < ?2 OR"
        " (counter = 0 AND ?2 = 0))",
    [SQL_PASSKEY_NAME] = "UPDATE passkey SET name = ?3 WHERE account = ?1 AND id = ?2",
    [SQL_PASSKEY_REMOVE] = "DELETE FROM passkey WHERE account = ?1 AND id = ?2",
    [SQL_PASSKEY_CLEAR] = "DELETE FROM passkey WHERE account = ?1",
    [SQL_SPENT_ADD] = "INSERT INTO spent (hash, expires) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
    [SQL_SPENT_PRUNE] =
        "DELETE FROM spent WHERE hash IN (SELECT hash FROM spent WHERE expires < ?1 LIMIT"
        " ?2)",
    /* --- link --- */
    [SQL_LINK_ADD] = "INSERT INTO link (name, envelope, address, suite, bytes, expires, state)"
                     " VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0)",
    [SQL_LINK_COUNT] = "SELECT count(*), coalesce(sum(bytes), 0), (SELECT count(*) FROM link"
                       " WHERE address = ?2 AND expires > ?1), (SELECT count(*) FROM link"
                       " WHERE address = ?2 AND expires > ?1 AND envelope = ?3),"
                       " coalesce(sum(CASE WHEN envelope = ?3 THEN bytes END), 0)"
                       " FROM link WHERE expires > ?1",
    [SQL_LINK_READY] = "UPDATE link SET state = 1 WHERE name = ?1 AND state = 0",
    [SQL_LINK_LOOK] = "SELECT bytes FROM link WHERE name = ?1 AND state = 1 AND expires > ?2",
    [SQL_LINK_TAKE] = "UPDATE link SET state = 2 WHERE name = ?1 AND state = 1 AND expires > ?2",
    [SQL_LINK_GET] = "SELECT envelope, address, suite, bytes FROM link WHERE name = ?1",
    [SQL_LINK_GIVE] = "UPDATE link SET state = 1 WHERE name = ?1 AND state = 2",
    [SQL_LINK_SPEND] = "UPDATE link SET state = 3, bytes = 0 WHERE name = ?1 AND state = 2",
    [SQL_LINK_REMOVE] = "DELETE FROM link WHERE name = ?1",
    [SQL_LINK_PRUNE] =
        "DELETE FROM link WHERE name IN (SELECT l.name FROM link l WHERE l.expires <= ?1"
        " AND NOT EXISTS (SELECT 1 FROM link_part p WHERE p.name = l.name) LIMIT ?2)",
    [SQL_LINK_PART_ADD] = "INSERT INTO link_part (name, place, bytes) SELECT ?1, ?2, ?3"
                          " WHERE EXISTS (SELECT 1 FROM link WHERE name = ?1)",
    [SQL_LINK_PART_GET] = "SELECT bytes FROM link_part WHERE name = ?1 AND place = ?2",
    [SQL_LINK_PARTS_REMOVE] = "DELETE FROM link_part WHERE name = ?1 AND place IN"
                              " (SELECT place FROM link_part WHERE name = ?1 LIMIT ?2)",
    [SQL_LINK_PARTS_PRUNE] =
        "DELETE FROM link_part WHERE rowid IN (SELECT p.rowid FROM link l"
        " CROSS JOIN link_part p ON p.name = l.name WHERE l.expires <= ?1 LIMIT ?2)",
};

/* Once a process, before its first connection. Counting every allocation takes a lock of the whole
 * process twice a value, and nobody reads the counts. */
static void library_configure(void)
{
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

static void sqlite_close(struct sql *sql)
{
    for (uint32_t i = 0; i < SQL_COUNT; i++)
        (void)sqlite3_finalize(sql->statements[i].sqlite);
    (void)sqlite3_close(sql->sqlite);
    if (sql->serve_fd >= 0)
        (void)close(sql->serve_fd);
}

/* One service at a time. A file of its own: closing one more descriptor of the database would drop
 * the locks that SQLite holds on it. */
int sqlite_serve_lock(int *fd, const char *database, char why[STORE_WHY_BYTES])
{
    char path[SERVE_PATH_BYTES];
    if (snprintf(path, sizeof(path), "%s-serve", database) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    const int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    const int rc = lock < 0 || flock(lock, LOCK_EX | LOCK_NB) != 0 ? -errno : 0;
    if (rc == -EWOULDBLOCK)
        (void)snprintf(why, STORE_WHY_BYTES,
                       "%.150s: a bulla-keyd serves this database: stop it first", database);
    else if (rc != 0)
        (void)snprintf(why, STORE_WHY_BYTES, "%.200s: %s", path, strerror(-rc));
    if (rc != 0 && lock >= 0)
        (void)close(lock);
    if (rc == 0)
        *fd = lock;
    return rc == -EWOULDBLOCK ? -EBUSY : rc;
}

static int sqlite_open(struct sql *sql, const struct sql_place *place, char why[STORE_WHY_BYTES])
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (place->create ? SQLITE_OPEN_CREATE : 0);
    (void)pthread_once(&once, library_configure);
    if (sqlite3_open_v2(place->path, &sql->sqlite, flags, NULL) != SQLITE_OK ||
        sqlite3_busy_timeout(sql->sqlite, SQL_BUSY_MS) != SQLITE_OK ||
        sqlite3_exec(sql->sqlite,
                     "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                     "PRAGMA cache_size = -65536; PRAGMA temp_store = MEMORY;"
                     "PRAGMA trusted_schema = OFF; PRAGMA secure_delete = ON;",
                     NULL, NULL, NULL) != SQLITE_OK) {
        (void)snprintf(why, STORE_WHY_BYTES, "%s: %s", place->path,
                       sql->sqlite == NULL ? "no memory" : sqlite3_errmsg(sql->sqlite));
        return -EIO;
    }
    if (place->purpose == SQL_WRITES_SERVING || place->purpose == SQL_WRITES_ALONE) {
        const int rc = sqlite_serve_lock(&sql->serve_fd, place->path, why);
        if (rc != 0)
            return rc;
    }
    (void)sqlite3_db_config(sql->sqlite, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (place->purpose == SQL_READS)
        /* The writer's cache is large; a reader's looks up single rows and may be small. */
        (void)sqlite3_exec(sql->sqlite, "PRAGMA query_only = ON; PRAGMA cache_size = -4096", NULL,
                           NULL, NULL);
    return 0;
}

/* Where it cannot be prepared there is none, and running that is an error. */
static void sqlite_use(struct sql_statement *statement)
{
    if (statement->sqlite != NULL)
        (void)sqlite3_reset(statement->sqlite);
    else
        (void)sqlite3_prepare_v3(statement->sql->sqlite, sql_texts[statement->id], -1,
                                 SQLITE_PREPARE_PERSISTENT, &statement->sqlite, NULL);
}

static int sqlite_run(struct sql_statement *statement)
{
    if (statement->sqlite == NULL)
        return -EIO;
    const int step = sqlite3_step(statement->sqlite);
    (void)sqlite3_reset(statement->sqlite);
    if (step == SQLITE_CONSTRAINT)
        return -EEXIST;
    return step == SQLITE_DONE ? sqlite3_changes(statement->sql->sqlite) : -EIO;
}

static int sqlite_step(struct sql_statement *statement)
{
    if (statement->sqlite == NULL)
        return -EIO;
    const int step = sqlite3_step(statement->sqlite);
    return step == SQLITE_ROW ? 1 : step == SQLITE_DONE ? 0 : -EIO;
}

static void sqlite_done(struct sql_statement *statement)
{
    (void)sqlite3_reset(statement->sqlite);
}

static void sqlite_bind_bytes(struct sql_statement *statement, int index, const void *bytes_at,
                              size_t bytes, bool is_text)
{
    /* A NULL pointer would bind SQL's NULL, not the empty text. */
    if (is_text)
        (void)sqlite3_bind_text(statement->sqlite, index, bytes == 0 ? "" : bytes_at, (int)bytes,
                                SQLITE_STATIC);
    else
        (void)sqlite3_bind_blob(statement->sqlite, index, bytes_at, (int)bytes, SQLITE_STATIC);
}

static void sqlite_bind_u64(struct sql_statement *statement, int index, uint64_t value)
{
    (void)sqlite3_bind_int64(statement->sqlite, index, (sqlite3_int64)value);
}

static const void *sqlite_column_bytes(struct sql_statement *statement, int index, size_t *bytes)
{
    const void *column = sqlite3_column_blob(statement->sqlite, index);
    *bytes = (size_t)sqlite3_column_bytes(statement->sqlite, index);
    return column;
}

static uint64_t sqlite_column_u64(struct sql_statement *statement, int index)
{
    return (uint64_t)sqlite3_column_int64(statement->sqlite, index);
}

static int sqlite_envelopes_add(struct sql *sql, uint32_t key_version,
                                const struct sql_envelope *rows, uint32_t rows_count)
{
    int added_count = 0;
    for (uint32_t at = 0; at < rows_count;) {
        const uint32_t left = rows_count - at;
        const uint32_t count = left >= ROWS_MANY ? ROWS_MANY : left >= ROWS_FEW ? ROWS_FEW : 1;
        struct sql_statement *add = sql_use(sql, count == ROWS_MANY  ? SQL_ENVELOPE_ADD_64
                                                 : count == ROWS_FEW ? SQL_ENVELOPE_ADD_8
                                                                     : SQL_ENVELOPE_ADD_1);
        sqlite_bind_u64(add, 1, key_version);
        for (uint32_t i = 0; i < count; i++) {
            const struct sql_envelope *row = &rows[at + i];
            const int column = (int)(2 + i * ROW_COLUMNS);
            sqlite_bind_bytes(add, column, row->id, RECORD_ID_BYTES, false);
            sqlite_bind_bytes(add, column + 1, row->wrapped, row->wrapped_bytes, false);
            sqlite_bind_bytes(add, column + 2, row->packed, row->packed_bytes, false);
        }
        const int changed = sqlite_run(add);
        if (changed < 0)
            return -EIO;
        added_count += changed;
        at += count;
    }
    return added_count;
}

static bool sqlite_in_transaction(const struct sql *sql)
{
    return sqlite3_get_autocommit(sql->sqlite) == 0;
}

/* It lets one writer in at a time: nobody can have been in the way. */
static bool sqlite_again(struct sql *sql)
{
    (void)sql;
    return false;
}

static bool sqlite_connected(const struct sql *sql)
{
    return sql->sqlite != NULL;
}

static const char *sqlite_why(const struct sql *sql)
{
    return sqlite3_errmsg(sql->sqlite);
}

static int on_commit(void *context, sqlite3 *db, const char *name, int pages)
{
    int *log_pages = context;
    (void)db;
    (void)name;
    *log_pages = pages;
    return SQLITE_OK;
}

void sqlite_watch(struct sql *sql, int *log_pages)
{
    /* The hook takes the place of SQLite's own checkpoint after a commit. */
    if (sql->sqlite != NULL)
        (void)sqlite3_wal_hook(sql->sqlite, on_commit, log_pages);
}

void sqlite_fold(struct sql *sql, bool wait_for_readers)
{
    ASSERT(sql->sqlite != NULL);
    const int mode = wait_for_readers ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE;
    const int rc = sqlite3_wal_checkpoint_v2(sql->sqlite, NULL, mode, NULL, NULL);
    if (rc != SQLITE_OK && rc != SQLITE_BUSY)
        log_line(LOG_LEVEL_ERROR, "store_checkpoint_failed", "why=\"%s\"", sqlite3_errstr(rc));
}

const struct sql_driver store_sqlite_driver = {
    .envelopes_max = ROWS_MANY,
    .open = sqlite_open,
    .close = sqlite_close,
    .migrate = sqlite_migrate,
    .use = sqlite_use,
    .run = sqlite_run,
    .step = sqlite_step,
    .done = sqlite_done,
    .bind_bytes = sqlite_bind_bytes,
    .bind_u64 = sqlite_bind_u64,
    .column_bytes = sqlite_column_bytes,
    .column_u64 = sqlite_column_u64,
    .envelopes_add = sqlite_envelopes_add,
    .in_transaction = sqlite_in_transaction,
    .again = sqlite_again,
    .connected = sqlite_connected,
    .why = sqlite_why,
};
