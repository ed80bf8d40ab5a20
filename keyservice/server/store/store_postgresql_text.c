#include "base/clock.h"
#include "keyservice/server/store/store_postgresql.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW_US "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

/*
 * Every text is a bytea: what a client sends must not fail a whole group for its encoding, and the
 * order of bytes is the same in every locale. Rows that are read to be changed are locked, and the
 * locks of SQL_PENDING_PUT and SQL_SESSION_ADD make the trim after them see everybody's rows.
 */
const char *const postgresql_texts[SQL_COUNT] = {
    [SQL_ENVELOPE_ADD_1] = "INSERT INTO envelope (key_version, id, wrapped, record)"
                           " SELECT $1::integer, i, w, r FROM unnest($2, $3, $4) AS u (i, w, r)"
                           " ON CONFLICT (id) DO NOTHING",
    [SQL_ENVELOPE_ADD_64] =
        "COPY envelope (id, key_version, wrapped, record) FROM STDIN (FORMAT binary)",
    [SQL_ENVELOPE_GET] = "SELECT e.locked, e.key_version, e.wrapped, e.record, c.parts, c.expires,"
                         " c.read_by FROM envelope e LEFT JOIN sent_change c ON c.envelope = e.id"
                         " WHERE e.id = $1",
    [SQL_ENVELOPE_LOOK] =
        "SELECT e.locked, e.key_version, e.wrapped, e.record, c.parts, c.expires, c.read_by,"
        " o.locked FROM envelope e LEFT JOIN sent_change c ON c.envelope = e.id"
        " LEFT JOIN opening o ON o.envelope = e.id AND o.address = $2 WHERE e.id = $1",
    [SQL_ENVELOPE_LOCK] = "UPDATE envelope SET locked = $2 WHERE id = $1",
    [SQL_ACCOUNT_GET] =
        "SELECT number, created, address, password, language, (SELECT count(*) FROM totp t"
        " WHERE t.account = number) FROM account WHERE address = $1",
    [SQL_ACCOUNT_HOLD] = "SELECT number FROM account WHERE address = $1 FOR NO KEY UPDATE",
    [SQL_ACCOUNT_ADD] = "INSERT INTO account (address, password, created) VALUES ($1, $2, $3)"
                        " ON CONFLICT (address) DO NOTHING",
    [SQL_ACCOUNT_PASSWORD] = "UPDATE account SET password = $2 WHERE address = $1",
    [SQL_ACCOUNT_REMOVE] = "DELETE FROM account WHERE address = $1",
    [SQL_ACCOUNT_LIST] =
        "SELECT number, created, address, password, language, (SELECT count(*) FROM totp t"
        " WHERE t.account = number) FROM account ORDER BY address LIMIT $1",
    [SQL_ACCOUNT_SESSIONS_REMOVE] =
        "DELETE FROM session WHERE account = (SELECT number FROM account WHERE address = $1)",
    [SQL_PENDING_PUT] =
        "INSERT INTO pending (address, browser, code, password, created, expires, tries)"
        " SELECT $1, $2, $3, $4, $5, $6, 0 FROM"
        " (SELECT pg_advisory_xact_lock(1651862637, hashtext(encode($1, 'hex')))) AS held"
        " ON CONFLICT (address, browser) DO UPDATE SET code = $3, password = $4, created = $5,"
        " expires = $6, tries = 0",
    [SQL_PENDING_TRIM] =
        "DELETE FROM pending WHERE address = $1 AND number NOT IN (SELECT number FROM pending"
        " WHERE address = $1 ORDER BY created DESC, number DESC LIMIT $2)",
    [SQL_PENDING_GET] = "SELECT code, password, expires, tries FROM pending"
                        " WHERE address = $1 AND browser = $2 FOR UPDATE",
    [SQL_PENDING_TRY] = "UPDATE pending SET tries = tries + 1 WHERE address = $1 AND browser = $2",
    [SQL_PENDING_REMOVE] = "DELETE FROM pending WHERE address = $1",
    [SQL_PENDING_PRUNE] = "DELETE FROM pending WHERE number IN (SELECT number FROM pending"
                          " WHERE expires < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
    [SQL_SESSION_ADD] =
        "INSERT INTO session (hash, account, created, seen, password, label, factors)"
        " SELECT $1, number, $3, $4, $5, $6, $7 FROM account WHERE number = $2"
        " AND NOT EXISTS (SELECT 1 FROM account_disabled d WHERE d.account = number)"
        " FOR NO KEY UPDATE ON CONFLICT DO NOTHING",
    [SQL_SESSION_TRIM] = "DELETE FROM session WHERE account = $1 AND hash NOT IN (SELECT hash"
                         " FROM session WHERE account = $1 ORDER BY created DESC LIMIT $2)",
    [SQL_SESSION_GET] =
        "SELECT s.account, s.created, s.seen, s.password, a.address, s.factors FROM session s"
        " JOIN account a ON a.number = s.account WHERE s.hash = $1"
        " AND NOT EXISTS (SELECT 1 FROM account_disabled d WHERE d.account = a.number)",
    [SQL_SESSION_SEEN] = "UPDATE session SET seen = greatest(seen, $2) WHERE hash = $1",
    [SQL_SESSION_USE_PASSWORD] =
        "UPDATE session SET password = 0 WHERE hash = $1 AND password != 0",
    [SQL_SESSION_FACTOR] = "UPDATE session SET factors = factors | $2 WHERE hash = $1",
    [SQL_SESSION_FACTOR_GONE] =
        "UPDATE session SET factors = factors & ~$2::bigint WHERE account = $1",
    [SQL_SESSION_REMOVE] = "DELETE FROM session WHERE hash = $1",
    [SQL_SESSION_PRUNE] = "DELETE FROM session WHERE hash IN (SELECT hash FROM session"
                          " WHERE created < $1 OR seen < $2 LIMIT $3 FOR UPDATE SKIP LOCKED)",
    [SQL_ENGINE_ADD] = "INSERT INTO engine (fingerprint, name, created, revoked)"
                       " VALUES ($1, $2, $3, 0) ON CONFLICT DO NOTHING",
    [SQL_ENGINE_GET] = "SELECT fingerprint, name, created, revoked FROM engine"
                       " WHERE fingerprint = $1",
    [SQL_ENGINE_REVOKE] = "UPDATE engine SET revoked = $2 WHERE name = $1 AND revoked = 0",
    [SQL_ENGINE_LIST] = "SELECT fingerprint, name, created, revoked FROM engine"
                        " ORDER BY name, created LIMIT $1",
    [SQL_ENROL_ADD] = "INSERT INTO enrol (code, name, expires) VALUES ($1, $2, $3)"
                      " ON CONFLICT DO NOTHING",
    [SQL_ENROL_GET] = "SELECT name FROM enrol WHERE code = $1 AND expires > $2",
    [SQL_ENROL_REMOVE] = "DELETE FROM enrol WHERE code = $1",
    [SQL_ENROL_REMOVE_NAME] = "DELETE FROM enrol WHERE name = $1",
    [SQL_ENROL_PRUNE] = "DELETE FROM enrol WHERE expires < $1",
    /* --- outbox --- */
    [SQL_OUTBOX_ADD] = "INSERT INTO outbox (id, account, sender, kind, bytes, created, body)"
                       " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
    [SQL_OUTBOX_GET] = "SELECT bytes FROM outbox WHERE id = $1",
    [SQL_OUTBOX_HOLD] = "SELECT bytes FROM outbox WHERE id = $1 FOR UPDATE",
    [SQL_OUTBOX_COUNT] = "SELECT count(*), coalesce(sum(bytes), 0)::bigint FROM outbox"
                         " WHERE kind = $1",
    [SQL_OUTBOX_COUNT_OF] =
        "SELECT count(*), coalesce(sum(bytes), 0)::bigint FROM outbox WHERE account = $1",
    [SQL_OUTBOX_EMPTY] = "UPDATE outbox SET bytes = 0 WHERE id = $1"
                         " AND NOT EXISTS (SELECT 1 FROM outbox_to WHERE id = $1)",
    [SQL_OUTBOX_PRUNE] =
        "DELETE FROM outbox WHERE id IN (SELECT o.id FROM outbox o WHERE o.created < $1"
        " AND NOT EXISTS (SELECT 1 FROM outbox_to t WHERE t.id = o.id) LIMIT $2 FOR UPDATE SKIP "
        "LOCKED)",
    [SQL_OUTBOX_PART_ADD] =
        "INSERT INTO outbox_part (body, place, created, bytes) VALUES ($1, $2, $3, $4)",
    [SQL_OUTBOX_PART_GET] = "SELECT bytes FROM outbox_part WHERE body = $1 AND place = $2",
    [SQL_OUTBOX_PARTS_REMOVE] =
        "DELETE FROM outbox_part WHERE ctid IN (SELECT ctid FROM outbox_part WHERE body = $1"
        " AND NOT EXISTS (SELECT 1 FROM outbox_to WHERE id = $2) LIMIT $3)",
    [SQL_OUTBOX_PARTS_PRUNE] =
        "DELETE FROM outbox_part WHERE ctid IN (SELECT p.ctid FROM outbox_part p"
        " WHERE p.created < $1 AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.body = p.body"
        " AND o.bytes > 0) LIMIT $2)",
    [SQL_OUTBOX_TO_ADD] =
        "INSERT INTO outbox_to (id, place, address, due, attempts) VALUES ($1, $2, $3, $4, 0)",
    [SQL_OUTBOX_TO_REMOVE] = "DELETE FROM outbox_to WHERE id = $1 AND place = $2 AND due = $3",
    [SQL_OUTBOX_DUE] =
        "SELECT t.id, t.address, t.place, t.due, t.attempts, o.sender, o.account, o.kind, o.bytes,"
        " o.created, o.body FROM outbox_to t JOIN outbox o ON o.id = t.id WHERE t.due <= $1"
        " ORDER BY t.due LIMIT $2",
    [SQL_OUTBOX_CLAIM] = "UPDATE outbox_to SET due = $4, attempts = attempts + 1"
                         " WHERE id = $1 AND place = $2 AND due = $3",
    [SQL_OUTBOX_DEFER] = "UPDATE outbox_to SET due = $4 WHERE id = $1 AND place = $2 AND due = $3",
    /* Allowances in microseconds, $2 for one try and $3 for all of them, by the one clock that all
     * nodes see. No row: refused, and nothing is written. */
    [SQL_GUESS_TAKE] =
        "INSERT INTO guess AS g (key, full_at) SELECT $1, " NOW_US " + $2"
        " ON CONFLICT (key) DO UPDATE SET full_at = greatest(g.full_at, excluded.full_at - $2) + $2"
        " WHERE greatest(g.full_at, excluded.full_at - $2) + $2 - (excluded.full_at - $2) <= $3"
        " RETURNING 1::bigint",
    [SQL_GUESS_WAIT] = "SELECT greatest(1, full_at + $2 - " NOW_US " - $3) FROM guess"
                       " WHERE key = $1",
    [SQL_GUESS_GIVE] = "UPDATE guess SET full_at = full_at - $2 WHERE key = $1",
    [SQL_GUESS_PRUNE] = "DELETE FROM guess WHERE ctid = ANY (ARRAY(SELECT ctid FROM guess"
                        " WHERE full_at < " NOW_US " LIMIT $1))",
    [SQL_GUESS_BOUND] = "DELETE FROM guess WHERE ctid = ANY (ARRAY(SELECT ctid FROM guess"
                        " ORDER BY full_at LIMIT greatest(0, (SELECT count(*) FROM guess) - $1)))",
    [SQL_KNOWN_ADD] = "INSERT INTO known (key, seen) SELECT $1, " NOW_US
                      " ON CONFLICT (key) DO UPDATE SET seen = excluded.seen",
    [SQL_KNOWN_GET] = "SELECT seen FROM known WHERE key = $1",
    [SQL_KNOWN_BOUND] = "DELETE FROM known WHERE ctid = ANY (ARRAY(SELECT ctid FROM known"
                        " ORDER BY seen LIMIT greatest(0, (SELECT count(*) FROM known) - $1)))",
    [SQL_PICKUP_PARK] =
        "INSERT INTO pickup (name, owner, text, until) SELECT $1, $2, $3, " NOW_US " + $4"
        " ON CONFLICT (name) DO UPDATE SET owner = $2, text = $3, until = excluded.until",
    [SQL_PICKUP_TRIM] = "DELETE FROM pickup WHERE name IN (SELECT name FROM pickup"
                        " WHERE owner = $1 ORDER BY until DESC OFFSET $2 FOR UPDATE SKIP LOCKED)",
    [SQL_PICKUP_BOUND] =
        "DELETE FROM pickup WHERE name IN (SELECT name FROM pickup ORDER BY until"
        " LIMIT greatest(0, (SELECT count(*) FROM pickup) - $1) FOR UPDATE SKIP LOCKED)",
    [SQL_PICKUP_FIND] = "SELECT until FROM pickup WHERE name = $1",
    [SQL_PICKUP_TAKE] = "DELETE FROM pickup WHERE name = $1 RETURNING text, until - " NOW_US,
    [SQL_PICKUP_PRUNE] = "DELETE FROM pickup WHERE until < " NOW_US,
    [SQL_PARKED_TRIM_OWNER] =
        "DELETE FROM parked WHERE taken < " NOW_US " AND name IN (SELECT name FROM (SELECT name,"
        " sum(bytes) OVER newest AS total, row_number() OVER newest AS place FROM parked"
        " WHERE owner = $1 WINDOW newest AS (ORDER BY until DESC, name)) AS held"
        " WHERE total > $2 OR place > $3)",
    [SQL_PARKED_TRIM] =
        "DELETE FROM parked WHERE taken < " NOW_US " AND name IN (SELECT name FROM (SELECT name,"
        " sum(bytes) OVER least AS total, row_number() OVER least AS place FROM (SELECT name,"
        " bytes, until, sum(bytes) OVER (PARTITION BY owner) AS owned FROM parked) AS all_held"
        " WINDOW least AS (ORDER BY owned, until DESC, name)) AS held"
        " WHERE total > $1 OR place > $2)",
    [SQL_PARKED_ADD] = "INSERT INTO parked (name, owner, id, suite, bytes, until)"
                       " SELECT $1, $2, $3, $4, $5, " NOW_US " + $6",
    [SQL_PARKED_PART_ADD] = "INSERT INTO parked_part (name, part, bytes) VALUES ($1, $2, $3)",
    [SQL_PARKED_WHOLE] = "UPDATE parked SET whole = 1 WHERE name = $1",
    [SQL_PARKED_LOOK] = "SELECT id FROM parked WHERE name = $1 AND whole = 1 AND browser = ''"
                        " AND until > " NOW_US,
    [SQL_PARKED_TAKE] = "UPDATE parked SET taken = " NOW_US " + $2 WHERE name = $1 AND whole = 1"
                        " AND until > " NOW_US " AND taken < " NOW_US " AND browser = $3"
                        " RETURNING owner, id, suite, bytes",
    [SQL_PARKED_PART_GET] = "SELECT bytes FROM parked_part WHERE name = $1 AND part = $2",
    [SQL_PARKED_GIVE] = "UPDATE parked SET taken = 0 WHERE name = $1",
    [SQL_PARKED_OPENED] = "UPDATE parked SET taken = 0, browser = $2 WHERE name = $1",
    [SQL_PARKED_END] = "DELETE FROM parked WHERE name = $1",
    [SQL_PARKED_PRUNE] = "DELETE FROM parked WHERE until < " NOW_US,
    [SQL_LEASE_TAKE] = "INSERT INTO lease AS l (name, holder, until) SELECT $1, $2, " NOW_US " + $3"
                       " ON CONFLICT (name) DO UPDATE SET holder = $2, until = excluded.until"
                       " WHERE l.holder = $2 OR l.until < excluded.until - $3",
    [SQL_AUDIT_HEAD] = "SELECT seq, hash FROM audit_head FOR UPDATE",
    [SQL_AUDIT_PEEK] = "SELECT seq, hash FROM audit_head",
    [SQL_AUDIT_ADD] = "WITH head AS (UPDATE audit_head SET seq = $2, hash = $3)"
                      " INSERT INTO audit (first, last, lines) VALUES ($1, $2, $4)",
    [SQL_AUDIT_READ] = "SELECT first, last, lines FROM audit WHERE last > $1 AND first <= $2"
                       " ORDER BY last LIMIT $3",
    [SQL_WRAPPING_ADD] = "INSERT INTO wrapping (version, proof) VALUES ($1, $2)"
                         " ON CONFLICT DO NOTHING",
    [SQL_WRAPPING_LIST] = "SELECT version, proof, retired FROM wrapping ORDER BY version",
    [SQL_WRAPPING_RETIRE] = "UPDATE wrapping SET retired = $2 WHERE version = $1 AND retired = 0",
    [SQL_REWRAP_GET] = "SELECT version, after, done, moved, factors FROM rewrap",
    [SQL_REWRAP_SET] = "INSERT INTO rewrap (one, version, after, done, moved, factors)"
                       " VALUES (1, $1, $2, $3, $4, $5) ON CONFLICT (one) DO UPDATE"
                       " SET version = $1, after = $2, done = $3, moved = $4, factors = $5",
    [SQL_REWRAP_ROWS] = "SELECT id, key_version, wrapped FROM envelope WHERE id > $1"
                        " ORDER BY id LIMIT $2",
    [SQL_REWRAP_PUT] = "UPDATE envelope SET key_version = $2, wrapped = $3 WHERE id = $1"
                       " AND key_version < $2",
    [SQL_REWRAP_FACTORS] = "SELECT account, key_version, wrapped FROM totp WHERE account > $1"
                           " ORDER BY account LIMIT $2",
    [SQL_REWRAP_FACTOR_PUT] = "UPDATE totp SET key_version = $2, wrapped = $3"
                              " WHERE account = $1 AND wrapped = $4",
    /* administration */
    [SQL_ROLE_ADD] = "INSERT INTO role_grant (account, role, profile, granted)"
                     " VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    [SQL_ROLE_REMOVE] = "DELETE FROM role_grant WHERE account = $1 AND role = $2 AND profile = $3",
    [SQL_ROLE_COUNT] = "SELECT count(*) FROM role_grant WHERE account = $1 AND role = $2",
    [SQL_ROLE_OF] = "SELECT account, role, profile, granted, ''::bytea FROM role_grant"
                    " WHERE account = $1 ORDER BY role, profile LIMIT $2",
    [SQL_ROLE_LIST] = "SELECT g.account, g.role, g.profile, g.granted, a.address FROM role_grant g"
                      " JOIN account a ON a.number = g.account"
                      " ORDER BY a.address, g.role, g.profile LIMIT $1",
    [SQL_ROLE_LOCK] = "SELECT 1 FROM (SELECT pg_advisory_xact_lock(1651862639)) AS held",
    [SQL_ROLE_ADMINISTRATORS] = "SELECT account FROM role_grant WHERE role = $1"
                                " AND NOT EXISTS (SELECT 1 FROM account_disabled d"
                                " WHERE d.account = role_grant.account) ORDER BY account",
    [SQL_USER_LIST] =
        "SELECT a.number, a.created, a.address, coalesce(d.since, 0),"
        " coalesce((SELECT sum(DISTINCT 1 << g.role) FROM role_grant g"
        " WHERE g.account = a.number), 0)::bigint FROM account a"
        " LEFT JOIN account_disabled d ON d.account = a.number"
        " WHERE a.address > coalesce((SELECT address FROM account WHERE number = $1), ''::bytea)"
        " AND position($2 in a.address) > 0 ORDER BY a.address LIMIT $3",
    [SQL_USER_GET] = "SELECT a.number, a.created, a.address, coalesce(d.since, 0),"
                     " coalesce((SELECT sum(DISTINCT 1 << g.role) FROM role_grant g"
                     " WHERE g.account = a.number), 0)::bigint,"
                     " (SELECT count(*) FROM session s WHERE s.account = a.number),"
                     " coalesce((SELECT max(s.seen) FROM session s WHERE s.account = a.number), 0)"
                     " FROM account a LEFT JOIN account_disabled d ON d.account = a.number"
                     " WHERE a.number = $1",
    [SQL_DISABLED_ADD] = "INSERT INTO account_disabled (account, since) VALUES ($1, $2)"
                         " ON CONFLICT DO NOTHING",
    [SQL_DISABLED_REMOVE] = "DELETE FROM account_disabled WHERE account = $1",
    [SQL_DISABLED_GET] = "SELECT coalesce(d.since, 0) FROM account a"
                         " LEFT JOIN account_disabled d ON d.account = a.number"
                         " WHERE a.address = $1",
    [SQL_PROFILE_PUT] =
        "INSERT INTO profile (name, title, link, locale, text, contact, retention_days, logo,"
        " changed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (name) DO UPDATE SET"
        " title = $2, link = $3, locale = $4, text = $5, contact = $6, retention_days ="
        " CASE WHEN $10 = 1 THEN $7 ELSE profile.retention_days END, logo = $8, changed = $9",
    [SQL_PROFILE_GET] = "SELECT name, title, link, locale, text, contact, retention_days, changed,"
                        " logo FROM profile WHERE name = $1",
    [SQL_PROFILE_LIST] = "SELECT name, title, link, locale, text, contact, retention_days, changed"
                         " FROM profile ORDER BY name LIMIT $1",
    [SQL_PROFILE_REMOVE] = "DELETE FROM profile WHERE name = $1",
    [SQL_TOKEN_ADD] =
        "INSERT INTO token (hash, account, name, role, profile, created, expires, used)"
        " SELECT $1::bytea, $2::bigint, $3::bytea, $4::integer, $5::bytea,"
        " $6::bigint, $7::bigint, 0"
        " WHERE (SELECT count(*) FROM token WHERE account = $2) < $8",
    [SQL_TOKEN_GET] =
        "SELECT t.number, t.account, t.name, t.role, t.profile, t.created, t.expires,"
        " t.used, a.address FROM token t JOIN account a ON a.number = t.account"
        " WHERE t.hash = $1"
        " AND NOT EXISTS (SELECT 1 FROM account_disabled d WHERE d.account = t.account)",
    [SQL_TOKEN_LIST] = "SELECT t.number, t.account, t.name, t.role, t.profile, t.created,"
                       " t.expires, t.used, a.address FROM token t"
                       " JOIN account a ON a.number = t.account"
                       " WHERE t.number > $1 ORDER BY t.number LIMIT $2",
    [SQL_TOKEN_SEEN] = "UPDATE token SET used = greatest(used, $2) WHERE number = $1",
    [SQL_TOKEN_REMOVE] = "DELETE FROM token WHERE number = $1",
    [SQL_TOKEN_END] = "DELETE FROM token WHERE account IN"
                      " (SELECT number FROM account WHERE address = $1)",
    [SQL_TOKEN_END_ROLE] = "DELETE FROM token WHERE account = $1 AND ($2 = $4 OR"
                           " role = $2 AND profile = $3)",
    [SQL_RETENTION_SCAN] = "SELECT id, record FROM envelope WHERE id > $1 AND id < $2"
                           " ORDER BY id LIMIT $3",

    /* store_sent */
    [SQL_SENT_RUN_ADD] = "INSERT INTO sent_run (run) VALUES ($1)",
    [SQL_SENT_RUN_COUNT] = "SELECT count(*) FROM (SELECT 1 FROM sent_run LIMIT $1) AS waiting",
    [SQL_SENT_RUN_LIST] = "SELECT run FROM sent_run ORDER BY number DESC LIMIT $1",
    [SQL_SENT_RUN_TAKE] = "SELECT number, run FROM sent_run ORDER BY number LIMIT $1"
                          " FOR UPDATE SKIP LOCKED",
    [SQL_SENT_RUN_REMOVE] = "DELETE FROM sent_run WHERE number = $1",
    [SQL_SENT_ADD] = "INSERT INTO sent (sender, envelope) SELECT substr($1, at::integer, 8),"
                     " substr($1, at::integer + 8, 16)"
                     " FROM generate_series(1, length($1), 24) AS place (at)"
                     " ON CONFLICT DO NOTHING",
    [SQL_SENT_LIST] = "SELECT envelope FROM sent WHERE sender = $1 AND envelope < $2"
                      " ORDER BY envelope DESC LIMIT $3",
    [SQL_SENT_GET] =
        "SELECT e.locked, e.record, c.parts, c.expires, c.read_by, (SELECT count(*) FROM opening o"
        " WHERE o.envelope = e.id AND o.times > 0), (SELECT count(*) FROM opening o"
        " WHERE o.envelope = e.id AND o.locked != 0) FROM envelope e"
        " LEFT JOIN sent_change c ON c.envelope = e.id WHERE e.id = $1",
    [SQL_SENT_REMOVE] = "DELETE FROM sent WHERE sender = $1 AND envelope = $2",
    [SQL_SENT_DUE_ADD] = "INSERT INTO sent_due (due, envelope) VALUES ($1, $2)"
                         " ON CONFLICT DO NOTHING",
    [SQL_SENT_DUE_LIST] = "SELECT due, envelope FROM sent_due WHERE due <= $1"
                          " ORDER BY due, envelope LIMIT $2",
    [SQL_SENT_DUE_REMOVE] = "DELETE FROM sent_due WHERE due = $1 AND envelope = $2",
    [SQL_SENT_BACK_GET] = "SELECT after, until FROM sent_back",
    [SQL_SENT_BACK_LIST] = "SELECT id, record FROM envelope WHERE id > $1 AND id <= $2"
                           " ORDER BY id LIMIT $3",
    [SQL_SENT_BACK_SET] = "UPDATE sent_back SET after = $1",
    [SQL_SENT_BACK_END] = "DELETE FROM sent_back",

    /* store_opening */
    [SQL_OPENING_NOTE] =
        "INSERT INTO opening AS o (envelope, address, locked, first, last, times, how)"
        " SELECT id, $2, 0, $3, $3, 1, $4 FROM envelope WHERE id = $1 AND locked = 0 FOR SHARE"
        " ON CONFLICT (envelope, address) DO UPDATE SET"
        " first = CASE WHEN o.times = 0 THEN $3 ELSE o.first END, last = greatest(o.last, $3),"
        " times = o.times + 1, how = o.how | $4 WHERE o.locked = 0 RETURNING times",
    [SQL_OPENING_READERS] = "SELECT count(*) FROM opening WHERE envelope = $1 AND times > 0",
    [SQL_OPENING_LIST] = "SELECT address, locked, first, last, times, how FROM opening"
                         " WHERE envelope = $1 ORDER BY address LIMIT $2",
    [SQL_OPENING_LOCK] =
        "INSERT INTO opening (envelope, address, locked, first, last, times, how)"
        " VALUES ($1, $2, $3, 0, 0, 0, 0) ON CONFLICT (envelope, address) DO UPDATE SET"
        " locked = $3",
    [SQL_OPENING_LOCKED] = "SELECT locked FROM opening WHERE envelope = $1 AND address = $2",
    [SQL_OPENING_REMOVE] = "DELETE FROM opening WHERE envelope = $1",
    [SQL_CHANGE_EXPIRES] = "INSERT INTO sent_change AS c (envelope, parts, expires, read_by)"
                           " VALUES ($1, 1, $2, 0) ON CONFLICT (envelope) DO UPDATE SET"
                           " parts = c.parts | 1, expires = $2",
    [SQL_CHANGE_READ_BY] = "INSERT INTO sent_change AS c (envelope, parts, expires, read_by)"
                           " VALUES ($1, 2, 0, $2) ON CONFLICT (envelope) DO UPDATE SET"
                           " parts = (c.parts & 1) | 2, read_by = $2",
    [SQL_CHANGE_TOLD] = "INSERT INTO sent_change AS c (envelope, parts, expires, read_by)"
                        " VALUES ($1, 4, 0, 0) ON CONFLICT (envelope) DO UPDATE SET"
                        " parts = c.parts | 4",
    [SQL_CHANGE_REMOVE] = "DELETE FROM sent_change WHERE envelope = $1",
    [SQL_NOTICE_ADD] = "INSERT INTO notice (kind, envelope, address, at) VALUES ($1, $2, $3, $4)",
    [SQL_NOTICE_LIST] = "SELECT number, kind, envelope, address, at FROM notice"
                        " ORDER BY number LIMIT $1",
    [SQL_NOTICE_REMOVE] = "DELETE FROM notice WHERE number = $1",
    [SQL_NOTICE_FORGET] = "DELETE FROM notice WHERE envelope = $1",
    [SQL_ENVELOPE_REMOVE] = "DELETE FROM envelope WHERE id = $1",

    /* store_report */
    [SQL_REPORT_ADD] =
        "INSERT INTO report AS r (day, kind, profile, domain, count)"
        " SELECT $1, $2, convert_to(value->>0, 'UTF8'), convert_to(value->>1, 'UTF8'),"
        " (value->>2)::bigint FROM jsonb_array_elements(convert_from($3, 'UTF8')::jsonb) AS j"
        " (value) ON CONFLICT (day, kind, profile, domain) DO UPDATE SET"
        " count = r.count + excluded.count",
    [SQL_REPORT_USER_ADD] =
        "INSERT INTO report_user AS r (month, kind, address, count)"
        " SELECT $1, $2, convert_to(value->>0, 'UTF8'), (value->>1)::bigint"
        " FROM jsonb_array_elements(convert_from($3, 'UTF8')::jsonb) AS j (value)"
        " ON CONFLICT (month, kind, address) DO UPDATE SET count = r.count + excluded.count",
    [SQL_REPORT_BY_DAY] =
        "SELECT day, kind, sum(count)::bigint FROM report WHERE day BETWEEN $1 AND $2"
        " GROUP BY day, kind ORDER BY day, kind LIMIT $3",
    [SQL_REPORT_BY_POLICY] =
        "SELECT profile, kind, sum(count)::bigint FROM report WHERE day BETWEEN $1 AND $2"
        " GROUP BY profile, kind ORDER BY profile, kind LIMIT $3",
    [SQL_REPORT_BY_DOMAIN] =
        "SELECT domain, kind, sum(count)::bigint FROM report WHERE day BETWEEN $1 AND $2"
        " GROUP BY domain, kind ORDER BY domain, kind LIMIT $3",
    [SQL_REPORT_BY_USER] =
        "SELECT address, kind, sum(count)::bigint FROM report_user WHERE month BETWEEN $1 AND $2"
        " GROUP BY address, kind ORDER BY address, kind LIMIT $3",
    [SQL_REPORT_PRUNE] = "DELETE FROM report WHERE day < $1",
    [SQL_REPORT_USER_PRUNE] = "DELETE FROM report_user WHERE month < $1",
    /* account */
    [SQL_RESET_PUT] =
        "INSERT INTO reset (address, browser, code, password, created, expires, tries)"
        " SELECT $1, $2, $3, $4, $5, $6, 0 FROM (SELECT pg_advisory_xact_lock(1651862637,"
        " hashtext(encode($1, 'hex')))) AS held ON CONFLICT (address, browser) DO UPDATE"
        " SET code = $3, password = $4, created = $5, expires = $6, tries = 0",
    [SQL_RESET_TRIM] =
        "DELETE FROM reset WHERE address = $1 AND browser NOT IN (SELECT browser FROM"
        " reset WHERE address = $1 ORDER BY created DESC LIMIT $2)",
    [SQL_RESET_GET] =
        "SELECT code, password, expires, tries FROM reset WHERE address = $1 AND browser"
        " = $2 FOR UPDATE",
    [SQL_RESET_TRY] = "UPDATE reset SET tries = tries + 1 WHERE address = $1 AND browser = $2",
    [SQL_RESET_REMOVE] = "DELETE FROM reset WHERE address = $1",
    [SQL_RESET_PRUNE] =
        "DELETE FROM reset WHERE (address, browser) IN (SELECT address, browser FROM"
        " reset WHERE expires < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
    [SQL_ACCOUNT_LANGUAGE] = "UPDATE account SET language = $2 WHERE number = $1",
    [SQL_ACCOUNT_PHRASE] = "UPDATE account SET phrase = $2 WHERE number = $1",
    [SQL_PERSON_GET] =
        "SELECT created, language, phrase, (SELECT count(*) FROM totp t WHERE t.account ="
        " number), (SELECT count(*) FROM recovery r WHERE r.account = number) FROM"
        " account WHERE number = $1",
    [SQL_SESSION_LIST] =
        "SELECT hash, created, seen, label FROM session WHERE account = $1 ORDER BY seen"
        " DESC LIMIT $2",
    [SQL_SESSION_END] = "DELETE FROM session WHERE account = $1 AND substr(hash, 1, 16) = $2",
    [SQL_SESSION_END_OTHERS] = "DELETE FROM session WHERE account = $1 AND hash != $2",
    [SQL_DEVICE_MOVE] = "UPDATE device SET hash = $2 WHERE hash = $1",
    [SQL_DEVICE_PUT] =
        "INSERT INTO device (hash, account, label, created, seen) SELECT $1, number, $3,"
        " $4, $4 FROM account WHERE number = $2 FOR NO KEY UPDATE ON CONFLICT (hash,"
        " account) DO UPDATE SET label = $3, seen = $4",
    [SQL_DEVICE_TRIM] =
        "DELETE FROM device WHERE account = $1 AND hash NOT IN (SELECT hash FROM device"
        " WHERE account = $1 ORDER BY seen DESC LIMIT $2)",
    [SQL_DEVICE_GET] = "SELECT a.phrase FROM device d JOIN account a ON a.number = d.account WHERE"
                       " d.hash = $1 AND a.address = $2",
    [SQL_DEVICE_LIST] =
        "SELECT hash, created, seen, label FROM device WHERE account = $1 ORDER BY seen"
        " DESC LIMIT $2",
    [SQL_DEVICE_END] = "DELETE FROM device WHERE account = $1 AND substr(hash, 1, 16) = $2",
    [SQL_DEVICE_END_OTHERS] = "DELETE FROM device WHERE account = $1 AND hash != $2",
    [SQL_DEVICE_PRUNE] =
        "DELETE FROM device WHERE hash IN (SELECT hash FROM device WHERE seen < $1 LIMIT"
        " $2) AND seen < $1",
    [SQL_TOTP_PUT] =
        "INSERT INTO totp (account, key_version, wrapped, step) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (account) DO NOTHING",
    [SQL_TOTP_GET] = "SELECT key_version, wrapped, step FROM totp WHERE account = $1",
    [SQL_TOTP_STEP] = "UPDATE totp SET step = $2 WHERE account = $1 AND step < $2",
    [SQL_TOTP_REMOVE] = "DELETE FROM totp WHERE account = $1",
    [SQL_RECOVERY_ADD] =
        "INSERT INTO recovery (account, hash) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    [SQL_RECOVERY_SPEND] = "DELETE FROM recovery WHERE account = $1 AND hash = $2",
    [SQL_RECOVERY_CLEAR] = "DELETE FROM recovery WHERE account = $1",
    [SQL_PASSKEY_ADD] =
        "INSERT INTO passkey (id, account, credential, algorithm, public_key, counter,"
        " name, created, used) SELECT $1, number, $3, $4, $5, $6, $7, $8, 0 FROM account"
        " WHERE number = $2 AND (SELECT count(*) FROM passkey p WHERE p.account = $2) <"
        " $9 FOR NO KEY UPDATE ON CONFLICT DO NOTHING",
    [SQL_PASSKEY_GET] = "SELECT p.id, p.credential, p.algorithm, p.public_key, p.counter, p.name,"
                        " p.created, p.used, a.number, a.address FROM passkey p JOIN account a ON"
                        " a.number = p.account WHERE p.id = $1",
    [SQL_PASSKEY_LIST] = "SELECT p.id, p.credential, p.algorithm, p.public_key, p.counter, p.name,"
                         " p.created, p.used, a.number, a.address FROM passkey p JOIN account a ON"
                         " a.number = p.account WHERE p.account = $1 ORDER BY p.created LIMIT $2",
    [SQL_PASSKEY_USE] =
        "UPDATE passkey SET counter = $2, used = $3 WHERE id = $1 AND (counter < $2 OR"
        " (counter = 0 AND $2 = 0))",
    [SQL_PASSKEY_NAME] = "UPDATE passkey SET name = $3 WHERE account = $1 AND id = $2",
    [SQL_PASSKEY_REMOVE] = "DELETE FROM passkey WHERE account = $1 AND id = $2",
    [SQL_PASSKEY_CLEAR] = "DELETE FROM passkey WHERE account = $1",
    [SQL_SPENT_ADD] = "INSERT INTO spent (hash, expires) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    [SQL_SPENT_PRUNE] =
        "DELETE FROM spent WHERE hash IN (SELECT hash FROM spent WHERE expires < $1 LIMIT"
        " $2)",
    /* --- link --- */
    [SQL_LINK_ADD] = "INSERT INTO link (name, envelope, address, suite, bytes, expires, state)"
                     " VALUES ($1, $2, $3, $4, $5, $6, 0)",
    [SQL_LINK_COUNT] =
        "SELECT count(*), coalesce(sum(bytes), 0)::bigint, (SELECT count(*) FROM link"
        " WHERE address = $2 AND expires > $1), (SELECT count(*) FROM link"
        " WHERE address = $2 AND expires > $1 AND envelope = $3),"
        " coalesce(sum(CASE WHEN envelope = $3 THEN bytes END), 0)::bigint"
        " FROM link WHERE expires > $1",
    [SQL_LINK_READY] = "UPDATE link SET state = 1 WHERE name = $1 AND state = 0",
    [SQL_LINK_LOOK] = "SELECT bytes FROM link WHERE name = $1 AND state = 1 AND expires > $2",
    [SQL_LINK_TAKE] = "UPDATE link SET state = 2 WHERE name = $1 AND state = 1 AND expires > $2",
    [SQL_LINK_GET] = "SELECT envelope, address, suite, bytes FROM link WHERE name = $1",
    [SQL_LINK_GIVE] = "UPDATE link SET state = 1 WHERE name = $1 AND state = 2",
    [SQL_LINK_SPEND] = "UPDATE link SET state = 3, bytes = 0 WHERE name = $1 AND state = 2",
    [SQL_LINK_REMOVE] = "DELETE FROM link WHERE name = $1",
    [SQL_LINK_PRUNE] =
        "DELETE FROM link WHERE name IN (SELECT l.name FROM link l WHERE l.expires <= $1"
        " AND NOT EXISTS (SELECT 1 FROM link_part p WHERE p.name = l.name) LIMIT $2)",
    [SQL_LINK_PART_ADD] = "INSERT INTO link_part (name, place, bytes) SELECT name, $2::bigint,"
                          " $3::bytea FROM link WHERE name = $1 FOR KEY SHARE",
    [SQL_LINK_PART_GET] = "SELECT bytes FROM link_part WHERE name = $1 AND place = $2",
    [SQL_LINK_PARTS_REMOVE] = "DELETE FROM link_part WHERE name = $1 AND place IN"
                              " (SELECT place FROM link_part WHERE name = $1 LIMIT $2)",
    [SQL_LINK_PARTS_PRUNE] =
        "DELETE FROM link_part WHERE (name, place) IN (SELECT p.name, p.place FROM link l"
        " JOIN link_part p ON p.name = l.name WHERE l.expires <= $1 LIMIT $2)",
};

/* Each step takes the schema one version up; a step that was released is never changed. */
static const char *const schema_steps[] = {
    "CREATE TABLE envelope (id bytea PRIMARY KEY, key_version integer NOT NULL,"
    " locked smallint NOT NULL DEFAULT 0, wrapped bytea NOT NULL, record bytea NOT NULL);"
    "ALTER TABLE envelope ALTER record SET STORAGE EXTERNAL;"
    "CREATE TABLE account (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " address bytea NOT NULL UNIQUE, password bytea NOT NULL, created bigint NOT NULL);"
    "CREATE TABLE pending (number bigint GENERATED ALWAYS AS IDENTITY UNIQUE,"
    " address bytea NOT NULL, browser bytea NOT NULL, code bytea NOT NULL,"
    " password bytea NOT NULL, created bigint NOT NULL, expires bigint NOT NULL,"
    " tries bigint NOT NULL, PRIMARY KEY (address, browser));"
    "CREATE INDEX pending_expires ON pending (expires);"
    "CREATE TABLE session (hash bytea PRIMARY KEY,"
    " account bigint NOT NULL REFERENCES account ON DELETE CASCADE,"
    " created bigint NOT NULL, seen bigint NOT NULL, password bigint NOT NULL);"
    "CREATE INDEX session_account ON session (account, created);"
    "CREATE INDEX session_created ON session (created);"
    "CREATE INDEX session_seen ON session (seen);"
    "CREATE TABLE engine (fingerprint bytea PRIMARY KEY, name bytea NOT NULL,"
    " created bigint NOT NULL, revoked bigint NOT NULL);"
    "CREATE TABLE enrol (code bytea PRIMARY KEY, name bytea NOT NULL, expires bigint NOT NULL)",

    /* Version 2, outbox: mails, who is still to get them, and their bytes. */
    "CREATE TABLE outbox (id bytea PRIMARY KEY, body bytea NOT NULL UNIQUE,"
    " account bytea NOT NULL, sender bytea NOT NULL, kind bigint NOT NULL, bytes bigint NOT NULL,"
    " created bigint NOT NULL);"
    "CREATE INDEX outbox_account ON outbox (account, bytes);"
    "CREATE INDEX outbox_created ON outbox (created);"
    "CREATE TABLE outbox_to (id bytea NOT NULL, place bigint NOT NULL, address bytea NOT NULL,"
    " due bigint NOT NULL, attempts bigint NOT NULL, PRIMARY KEY (id, place));"
    "CREATE INDEX outbox_to_due ON outbox_to (due);"
    "CREATE TABLE outbox_part (body bytea NOT NULL, place bigint NOT NULL,"
    " created bigint NOT NULL, bytes bytea NOT NULL, PRIMARY KEY (body, place));"
    "ALTER TABLE outbox_part ALTER bytes SET STORAGE EXTERNAL;"
    "CREATE INDEX outbox_part_created ON outbox_part (created);"
    /* Version 2. Of store_shared.h: what services that run at the same time have in common; what
     * lasts for moments is not logged, and is gone after a crash of the server. */
    "CREATE UNLOGGED TABLE guess (key bytea PRIMARY KEY, full_at bigint NOT NULL)"
    " WITH (fillfactor = 60);"
    "CREATE UNLOGGED TABLE known (key bytea PRIMARY KEY, seen bigint NOT NULL)"
    " WITH (fillfactor = 60);"
    "CREATE UNLOGGED TABLE pickup (name bytea PRIMARY KEY, owner bytea NOT NULL,"
    " text bytea NOT NULL, until bigint NOT NULL);"
    "CREATE INDEX pickup_owner ON pickup (owner, until);"
    "CREATE INDEX pickup_until ON pickup (until);"
    "CREATE UNLOGGED TABLE parked (name bytea PRIMARY KEY, owner bytea NOT NULL,"
    " id bytea NOT NULL, suite bigint NOT NULL, bytes bigint NOT NULL, until bigint NOT NULL,"
    " taken bigint NOT NULL DEFAULT 0, whole bigint NOT NULL DEFAULT 0,"
    " browser bytea NOT NULL DEFAULT '');"
    "CREATE UNLOGGED TABLE parked_part (name bytea NOT NULL REFERENCES parked ON DELETE CASCADE,"
    " part bigint NOT NULL, bytes bytea NOT NULL, PRIMARY KEY (name, part));"
    "ALTER TABLE parked_part ALTER bytes SET STORAGE EXTERNAL;"
    "CREATE TABLE lease (name bytea PRIMARY KEY, holder bytea NOT NULL, until bigint NOT NULL);"
    /* Of audit.h: blocks of whole lines, and what the next one is chained to. */
    "CREATE TABLE audit (last bigint PRIMARY KEY, first bigint NOT NULL, lines bytea NOT NULL);"
    "CREATE TABLE audit_head (one boolean PRIMARY KEY DEFAULT true CHECK (one),"
    " seq bigint NOT NULL, hash bytea NOT NULL) WITH (fillfactor = 50);"
    "INSERT INTO audit_head (seq, hash) VALUES (0, convert_to(repeat('0', 64), 'UTF8'));"
    /* Of master.h: which master keys wrap what is here. */
    "CREATE TABLE wrapping (version bigint PRIMARY KEY, proof bytea NOT NULL);"
    "CREATE TABLE rewrap (one bigint PRIMARY KEY CHECK (one = 1), version bigint NOT NULL,"
    " after bytea NOT NULL, done bigint NOT NULL, moved bigint NOT NULL);"
    /* Version 2, administration. */
    "CREATE TABLE role_grant (account bigint NOT NULL REFERENCES account ON DELETE CASCADE,"
    " role integer NOT NULL, profile bytea NOT NULL, granted bigint NOT NULL,"
    " PRIMARY KEY (account, role, profile));"
    "CREATE INDEX role_grant_role ON role_grant (role);"
    "CREATE TABLE account_disabled (account bigint PRIMARY KEY"
    " REFERENCES account ON DELETE CASCADE, since bigint NOT NULL);"
    "CREATE TABLE profile (name bytea PRIMARY KEY, title bytea NOT NULL, link bytea NOT NULL,"
    " locale bytea NOT NULL, text bytea NOT NULL, contact bytea NOT NULL,"
    " retention_days bigint NOT NULL, changed bigint NOT NULL, logo bytea NOT NULL);"
    "CREATE TABLE token (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " hash bytea NOT NULL UNIQUE, account bigint NOT NULL REFERENCES account ON DELETE CASCADE,"
    " name bytea NOT NULL, role integer NOT NULL, profile bytea NOT NULL,"
    " created bigint NOT NULL, expires bigint NOT NULL, used bigint NOT NULL);"
    "CREATE INDEX token_account ON token (account);"
    /* Version 2, sent: docs/keyservice/sent.md. */
    "CREATE TABLE sent (sender bytea NOT NULL, envelope bytea NOT NULL,"
    " PRIMARY KEY (sender, envelope));"
    "CREATE TABLE sent_run (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " run bytea NOT NULL);"
    "ALTER TABLE sent_run ALTER run SET STORAGE EXTERNAL;"
    "CREATE TABLE sent_due (due bigint NOT NULL, envelope bytea NOT NULL,"
    " PRIMARY KEY (due, envelope));"
    "CREATE TABLE sent_change (envelope bytea PRIMARY KEY, parts bigint NOT NULL,"
    " expires bigint NOT NULL, read_by bigint NOT NULL);"
    "CREATE TABLE opening (envelope bytea NOT NULL, address bytea NOT NULL, locked bigint NOT NULL,"
    " first bigint NOT NULL, last bigint NOT NULL, times bigint NOT NULL, how bigint NOT NULL,"
    " PRIMARY KEY (envelope, address));"
    "CREATE TABLE notice (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " kind bigint NOT NULL, envelope bytea NOT NULL, address bytea NOT NULL, at bigint NOT NULL);"
    "CREATE INDEX notice_envelope ON notice (envelope);"
    "CREATE TABLE report (day bigint NOT NULL, kind bigint NOT NULL, profile bytea NOT NULL,"
    " domain bytea NOT NULL, count bigint NOT NULL, PRIMARY KEY (day, kind, profile, domain));"
    "CREATE TABLE report_user (month bigint NOT NULL, kind bigint NOT NULL,"
    " address bytea NOT NULL, count bigint NOT NULL, PRIMARY KEY (month, kind, address));"
    /* What is there already comes into the index by and by: store_sent_back(). */
    "CREATE TABLE sent_back (after bytea NOT NULL, until bytea NOT NULL);"
    "INSERT INTO sent_back SELECT '\\x00'::bytea, id FROM envelope ORDER BY id DESC LIMIT 1;"
    /* account: what a person has and chose */
    "ALTER TABLE account ADD COLUMN language bytea NOT NULL DEFAULT '';"
    "ALTER TABLE account ADD COLUMN phrase bytea NOT NULL DEFAULT '';"
    "ALTER TABLE session ADD COLUMN label bytea NOT NULL DEFAULT '';"
    "CREATE TABLE reset (address bytea NOT NULL, browser bytea NOT NULL, code bytea NOT NULL,"
    " password bytea NOT NULL, created bigint NOT NULL, expires bigint NOT NULL,"
    " tries bigint NOT NULL, PRIMARY KEY (address, browser));"
    "CREATE INDEX reset_expires ON reset (expires);"
    "CREATE TABLE totp (account bigint PRIMARY KEY REFERENCES account ON DELETE CASCADE,"
    " key_version integer NOT NULL, wrapped bytea NOT NULL, step bigint NOT NULL);"
    "CREATE TABLE recovery (account bigint NOT NULL REFERENCES account ON DELETE CASCADE,"
    " hash bytea NOT NULL, PRIMARY KEY (account, hash));"
    "CREATE TABLE passkey (id bytea PRIMARY KEY,"
    " account bigint NOT NULL REFERENCES account ON DELETE CASCADE,"
    " credential bytea NOT NULL, algorithm bigint NOT NULL, public_key bytea NOT NULL,"
    " counter bigint NOT NULL, name bytea NOT NULL, created bigint NOT NULL,"
    " used bigint NOT NULL);"
    "CREATE INDEX passkey_account ON passkey (account, created);"
    "CREATE TABLE device (hash bytea NOT NULL,"
    " account bigint NOT NULL REFERENCES account ON DELETE CASCADE, label bytea NOT NULL,"
    " created bigint NOT NULL, seen bigint NOT NULL, PRIMARY KEY (hash, account));"
    "CREATE INDEX device_account ON device (account, seen);"
    "CREATE INDEX device_seen ON device (seen);"
    "CREATE TABLE spent (hash bytea PRIMARY KEY, expires bigint NOT NULL);"
    "CREATE INDEX spent_expires ON spent (expires);",

    /* Version 3, master keys: which were retired, and how far the secrets of code apps are; these
     * were left out so far. */
    "ALTER TABLE wrapping ADD COLUMN retired bigint NOT NULL DEFAULT 0;"
    "ALTER TABLE rewrap ADD COLUMN factors bigint NOT NULL DEFAULT 0;"
    "UPDATE rewrap SET done = 0;"
    /* Version 3, link: docs/keyservice/receive.md. */
    "CREATE TABLE link (name bytea PRIMARY KEY, envelope bytea NOT NULL, address bytea NOT NULL,"
    " suite bigint NOT NULL, bytes bigint NOT NULL, expires bigint NOT NULL,"
    " state bigint NOT NULL);"
    "CREATE INDEX link_address ON link (address, expires);"
    "CREATE INDEX link_expires ON link (expires, bytes);"
    "CREATE TABLE link_part (name bytea NOT NULL REFERENCES link ON DELETE CASCADE,"
    " place bigint NOT NULL, bytes bytea NOT NULL, PRIMARY KEY (name, place));"
    "ALTER TABLE link_part ALTER bytes SET STORAGE EXTERNAL;",

    /* Version 4, session: by what it was signed in. */
    "ALTER TABLE session ADD COLUMN factors bigint NOT NULL DEFAULT 0;",
};

/* One at a time: whoever comes second finds it done. */
static const char schema_begin[] = "BEGIN; SELECT pg_advisory_xact_lock(1651862638);"
                                   "CREATE TABLE IF NOT EXISTS schema_version"
                                   " (version integer PRIMARY KEY, applied bigint NOT NULL);"
                                   "SELECT coalesce(max(version), 0) FROM schema_version";

int postgresql_migrate(struct postgresql *pg, char why[STORE_WHY_BYTES])
{
    char text[32] = "";
    int rc = postgresql_exec(pg, schema_begin, text, sizeof(text));
    unsigned long version = strtoul(text, NULL, 10);
    if (rc == 0 && version > ARRAY_COUNT(schema_steps)) {
        (void)snprintf(why, STORE_WHY_BYTES, "the database is of a newer version (%lu)", version);
        postgresql_rollback(pg);
        return -EPROTO;
    }
    for (; rc == 0 && version < ARRAY_COUNT(schema_steps); version++) {
        char note[128];
        (void)snprintf(note, sizeof(note), "INSERT INTO schema_version VALUES (%lu, %llu)",
                       version + 1, (unsigned long long)(clock_unix_ns() / NS_PER_MS));
        rc = postgresql_exec(pg, schema_steps[version], NULL, 0);
        if (rc == 0)
            rc = postgresql_exec(pg, note, NULL, 0);
    }
    if (rc == 0 && pg->purpose != SQL_WRITES_ALONE) {
        rc = postgresql_exec(pg, "SELECT count(*) FROM lease WHERE name = 'move'", text,
                             sizeof(text));
        if (rc == 0 && strcmp(text, "0") != 0) {
            (void)snprintf(why, STORE_WHY_BYTES,
                           "a move into this database was cut off, and it"
                           " holds nothing: run bulla-keyd move again");
            postgresql_rollback(pg);
            return -EBUSY;
        }
    }
    if (rc == 0)
        rc = postgresql_exec(pg, "COMMIT", text, sizeof(text));
    if (rc == 0)
        return 0;
    (void)snprintf(why, STORE_WHY_BYTES, "schema: %.200s", pg->why);
    postgresql_rollback(pg);
    return rc;
}
