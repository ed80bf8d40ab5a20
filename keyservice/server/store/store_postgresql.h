/*
 * store_postgresql: a connection to a PostgreSQL database that is made again after it was lost.
 * Ownership: postgresql_open() connects, postgresql_close() frees; results are the caller's to
 * clear. Threads:   one at a time. Units:     nanoseconds of monotonic time in waits. Errors: -EIO
 * with the sentence in `why`; -EBUSY when another process serves the database.
 *
 * The inside of the store's second driver: docs/keyservice/store.md. Nothing waits for the server
 * longer than POSTGRESQL_WAIT_NS; a connection on which that happens is given up.
 */
#ifndef KEYSERVICE_SERVER_STORE_STORE_POSTGRESQL_H
#define KEYSERVICE_SERVER_STORE_STORE_POSTGRESQL_H

#include "base/clock.h"
#include "base/macros.h"
#include "keyservice/server/store/store_sql.h"

#include <libpq-fe.h>

#define POSTGRESQL_WAIT_NS      (30 * NS_PER_S) /* longer than the server's own statement_timeout */
#define POSTGRESQL_RETRY_NS     (100 * NS_PER_MS)
#define POSTGRESQL_RETRY_NS_MAX (5 * NS_PER_S)
#define POSTGRESQL_PARAMS_MAX   16
#define POSTGRESQL_COPY_BYTES   (128 * 1024)
#define POSTGRESQL_BYTEA        17 /* pg_type.oid */
#define POSTGRESQL_INT8         20
#define POSTGRESQL_BYTEA_ARRAY  1001
#define POSTGRESQL_STATE_CHARS  5

struct postgresql_params {
    uint32_t count;
    Oid types[POSTGRESQL_PARAMS_MAX];
    const char *values[POSTGRESQL_PARAMS_MAX];
    int lengths[POSTGRESQL_PARAMS_MAX];
    uint8_t numbers[POSTGRESQL_PARAMS_MAX][8]; /* big-endian */
};

struct postgresql {
    PGconn *conn; /* NULL: not connected */
    struct sql *sql;
    char *url;
    enum sql_purpose purpose;
    uint64_t retry_at_ns;
    uint64_t retry_ns; /* 0: the last try connected */
    struct postgresql_params params;
    PGresult *row;                          /* of the statement that is stepped through */
    bool stepping;                          /* its results are not all taken            */
    bool careful;                           /* ids of this group may be taken           */
    char state[POSTGRESQL_STATE_CHARS + 1]; /* SQLSTATE of the last error, or ""        */
    char why[STORE_WHY_BYTES];
    uint8_t copy[POSTGRESQL_COPY_BYTES];
};

MUST_USE int postgresql_open(struct postgresql **pg, struct sql *sql, const struct sql_place *place,
                             char why[STORE_WHY_BYTES]);
void postgresql_close(struct postgresql *pg); /* NULL is harmless */

/* 0 when connected, which it tries unless the last failure was just now. */
MUST_USE int postgresql_ready(struct postgresql *pg);
/* What the server has answered to what was sent; NULL after the last, or when the wait is over. */
PGresult *postgresql_take(struct postgresql *pg);
/* Takes what is left. 0 or -EIO; the last result's changed rows, unless that is NULL. */
MUST_USE int postgresql_finish(struct postgresql *pg, int *changed);
/* Keeps what went wrong, and gives up a connection that is broken. */
void postgresql_fail(struct postgresql *pg, const PGresult *result);
/* Statements without parameters. `text` receives the last row's first column, unless NULL. */
MUST_USE int postgresql_exec(struct postgresql *pg, const char *statements, char *text,
                             size_t room);
/* Ends a transaction that is not to be kept, with its connection if there is no other way. */
void postgresql_rollback(struct postgresql *pg);
/* Takes what is left of a reading that nobody waits for. */
void postgresql_discard(struct postgresql *pg);
/* Waits until more can be sent; -EIO when it cannot. */
MUST_USE int postgresql_drain(struct postgresql *pg);

/* COPY: `expected` is PGRES_COPY_IN or PGRES_COPY_OUT. */
MUST_USE int postgresql_copy_begin(struct postgresql *pg, const char *text,
                                   ExecStatusType expected);
/* Sends what stands in `copy` up to `end`. */
MUST_USE int postgresql_copy_flush(struct postgresql *pg, const uint8_t *end);
/* A row's bytes, 0 behind the last, -EIO; the caller frees the row by PQfreemem(). */
MUST_USE int postgresql_copy_take(struct postgresql *pg, char **row);

/* Of each enum sql_id, NULL where this driver has none. */
extern const char *const postgresql_texts[SQL_COUNT];
MUST_USE int postgresql_migrate(struct postgresql *pg, char why[STORE_WHY_BYTES]);

#endif
