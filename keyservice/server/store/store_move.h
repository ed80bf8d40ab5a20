/*
 * store_move: an SQLite database goes to an empty PostgreSQL database, its audit log with it.
 * Ownership: store_move_open() holds both databases; store_move_close() lets them go. Paths are
 *            borrowed until then.
 * Threads:   one.
 * Units:     rows; audit lines.
 * Errors:    -errno with the mend in `why`: -EBUSY somebody serves one of them, -EEXIST the new one
 *            is not empty, -EPROTO a table that nobody said how to move, -EBADMSG what was read
 *            back is not what was sent, or the audit log is broken.
 *
 * All of it is one transaction. A mark is there from before it until its commit: services refuse a
 * database with that. docs/keyservice/store.md.
 */
#ifndef KEYSERVICE_SERVER_STORE_STORE_MOVE_H
#define KEYSERVICE_SERVER_STORE_STORE_MOVE_H

#include "base/macros.h"
#include "keyservice/server/store/store.h"

#include <stdint.h>

struct store_move;

struct store_move_config {
    const char *database; /* of SQLite */
    const char *audit;    /* its file */
    const char *url;
};

struct store_move_count {
    uint64_t envelopes;
    uint64_t accounts;
    uint64_t rows; /* of all tables, these and the audit log's among them */
    uint64_t audit_lines;
};

/* Nothing is changed yet, but for the tables that are made. */
MUST_USE int store_move_open(struct store_move **move, const struct store_move_config *config,
                             char why[STORE_WHY_BYTES]);
MUST_USE int store_move_run(struct store_move *move, struct store_move_count *count,
                            char why[STORE_WHY_BYTES]);
void store_move_close(struct store_move *move); /* NULL is harmless */

#endif
