/*
 * audit_database: the audit log in the table of a database that several services share.
 * Ownership: audit_database_open() connects; the opener closes.
 * Threads:   any. Lines of threads side by side go into one row and one commit, by the store's own
 *            grouping of writes, and those of a joined store into that of the writes; rows of all
 *            services are ordered by the lock of the one row that has the newest line's hash.
 * Units:     unix nanoseconds, line numbers from 1.
 * Errors:    as audit.h; -EIO when the database failed: the lines are not kept, or nobody knows.
 *
 * Connections of its own: no line waits for a batch of keys. One that goes with a write is made as
 * the last of its transaction, so that who holds the newest row waits for nobody.
 */
#ifndef KEYSERVICE_SERVER_AUDIT_AUDIT_DATABASE_H
#define KEYSERVICE_SERVER_AUDIT_AUDIT_DATABASE_H

#include "base/macros.h"
#include "keyservice/server/audit/audit.h"
#include "keyservice/server/store/store.h"

#include <stdint.h>

#define AUDIT_DATABASE_ROWS 64 /* that are read at a time */

struct audit_database;

MUST_USE int audit_database_open(struct audit_database **database, const char *url);
void audit_database_close(struct audit_database *database); /* NULL is harmless */

/* On stable storage when 0 is returned, asked for or not. */
MUST_USE int audit_database_append(struct audit_database *database, struct store_line *line);
/* Writes of a store of the same database may bring lines: audit_join(). */
void audit_database_join(struct store *store);
MUST_USE int audit_database_head(struct audit_database *database, uint64_t *sequence,
                                 char hash[AUDIT_HASH_CHARS + 1]);
/* Up to the newest line as it was at the start; -EBADMSG where rows are missing behind the last. */
MUST_USE int audit_database_each(struct audit_database *database, uint64_t after,
                                 audit_visit *visit, void *context);

#endif
