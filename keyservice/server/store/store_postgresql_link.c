#include "base/assert.h"
#include "base/log.h"
#include "crypto/secret.h"
#include "keyservice/server/store/store_postgresql.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READ_ONLY   "25006" /* the server has become a standby */
#define RESULTS_MAX 4096    /* left over on a connection; more, and it is given up */

/* Each session: bounded waits on both sides, dead peers noticed, and commits that are durable. */
static const char session_setup[] =
    "SET statement_timeout = '20s'; SET lock_timeout = '3s';"
    "SET idle_in_transaction_session_timeout = '60s';"
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;"
    "SET tcp_user_timeout = '20s'; SET default_transaction_isolation = 'read committed';"
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') IN ('off', 'local');"
    "SELECT current_setting('fsync')";

/* Services hold it together, what wants none of them alone. The key's halves: "bull", and the
 * schema, as one database may hold several services'. */
#define SERVE_KEY "(1651862636, hashtext(coalesce(current_schema()::text, '')))"
static const char serve_shared[] = "SELECT pg_try_advisory_lock_shared" SERVE_KEY;
static const char serve_alone[] = "SELECT pg_try_advisory_lock" SERVE_KEY;

static void link_drop(struct postgresql *pg)
{
    PQclear(pg->row);
    pg->row = NULL;
    pg->stepping = false;
    PQfinish(pg->conn);
    pg->conn = NULL;
    for (uint32_t i = 0; i < SQL_COUNT; i++)
        pg->sql->statements[i].prepared = false;
}

/* The first line: what follows tells a statement's text or a hint. */
static void why_set(struct postgresql *pg, const char *message)
{
    const size_t chars = strcspn(message, "\n");
    (void)snprintf(pg->why, sizeof(pg->why), "%.*s", (int)MIN(chars, sizeof(pg->why) - 1), message);
}

void postgresql_fail(struct postgresql *pg, const PGresult *result)
{
    const char *state = result == NULL ? NULL : PQresultErrorField(result, PG_DIAG_SQLSTATE);
    (void)snprintf(pg->state, sizeof(pg->state), "%s", state == NULL ? "" : state);
    why_set(pg, result != NULL     ? PQresultErrorMessage(result)
                : pg->conn == NULL ? "the connection is lost"
                                   : PQerrorMessage(pg->conn));
    if (pg->conn != NULL &&
        (PQstatus(pg->conn) == CONNECTION_BAD || strcmp(pg->state, READ_ONLY) == 0))
        link_drop(pg);
}

/* One wait for the socket; false when `due_ns` is past or the connection is broken. */
static bool link_wait(struct postgresql *pg, short events, uint64_t due_ns)
{
    const uint64_t now_ns = clock_monotonic_ns();
    struct pollfd fd = {.fd = PQsocket(pg->conn), .events = events};
    if (now_ns >= due_ns || fd.fd < 0)
        return false;
    const int ready = poll(&fd, 1, (int)((due_ns - now_ns) / NS_PER_MS) + 1);
    if (ready < 0 && errno != EINTR)
        return false;
    return (fd.revents & (POLLIN | POLLERR | POLLHUP)) == 0 || PQconsumeInput(pg->conn) == 1;
}

static void link_late(struct postgresql *pg)
{
    if (PQstatus(pg->conn) == CONNECTION_BAD)
        why_set(pg, PQerrorMessage(pg->conn));
    else
        why_set(pg, "the server does not answer");
    pg->state[0] = '\0';
    link_drop(pg);
}

PGresult *postgresql_take(struct postgresql *pg)
{
    const uint64_t due_ns = clock_monotonic_ns() + POSTGRESQL_WAIT_NS;
    while (pg->conn != NULL) { /* until the server answers, or `due_ns` */
        const int left = PQflush(pg->conn);
        if (left == 0 && PQisBusy(pg->conn) == 0)
            return PQgetResult(pg->conn);
        if (left < 0 || !link_wait(pg, left > 0 ? POLLIN | POLLOUT : POLLIN, due_ns)) {
            if (PQisBusy(pg->conn) == 0 && PQstatus(pg->conn) != CONNECTION_BAD)
                return PQgetResult(pg->conn); /* it told why before it went */
            link_late(pg);
        }
    }
    return NULL;
}

int postgresql_drain(struct postgresql *pg)
{
    const uint64_t due_ns = clock_monotonic_ns() + POSTGRESQL_WAIT_NS;
    while (pg->conn != NULL) { /* until it is sent, or `due_ns` */
        const int left = PQflush(pg->conn);
        if (left == 0)
            return 0;
        if (left < 0 || !link_wait(pg, POLLIN | POLLOUT, due_ns))
            link_late(pg);
    }
    return -EIO;
}

int postgresql_finish(struct postgresql *pg, int *changed)
{
    int rc = 0;
    bool any = false;
    for (uint32_t n = 0; n < RESULTS_MAX; n++) {
        PGresult *result = postgresql_take(pg);
        if (result == NULL)
            return any && pg->conn != NULL ? rc : -EIO;
        const ExecStatusType status = PQresultStatus(result);
        any = true;
        if (status == PGRES_COMMAND_OK && changed != NULL)
            *changed = (int)strtol(PQcmdTuples(result), NULL, 10);
        if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK &&
            status != PGRES_SINGLE_TUPLE) {
            if (rc == 0)
                postgresql_fail(pg, result);
            rc = -EIO;
        }
        PQclear(result);
        if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH)
            break; /* nobody goes on with it: the connection is of no use */
    }
    if (pg->conn != NULL)
        link_drop(pg);
    return -EIO;
}

int postgresql_exec(struct postgresql *pg, const char *statements, char *text, size_t room)
{
    int rc = 0;
    if (pg->conn == NULL || PQsendQuery(pg->conn, statements) != 1) {
        postgresql_fail(pg, NULL);
        return -EIO;
    }
    for (uint32_t n = 0; n < RESULTS_MAX; n++) {
        PGresult *result = postgresql_take(pg);
        if (result == NULL)
            return pg->conn != NULL ? rc : -EIO;
        const ExecStatusType status = PQresultStatus(result);
        if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
            if (rc == 0)
                postgresql_fail(pg, result);
            rc = -EIO;
        } else if (text != NULL && status == PGRES_TUPLES_OK && PQntuples(result) == 1) {
            (void)snprintf(text, room, "%s", PQgetvalue(result, 0, 0));
        } else if (text != NULL && status == PGRES_COMMAND_OK) {
            (void)snprintf(text, room, "%s", PQcmdStatus(result));
        }
        PQclear(result);
    }
    return -EIO;
}

void postgresql_rollback(struct postgresql *pg)
{
    char why[STORE_WHY_BYTES];
    memcpy(why, pg->why, sizeof(why)); /* of what went wrong before */
    if (pg->conn != NULL && (postgresql_exec(pg, "ROLLBACK", NULL, 0) != 0 ||
                             PQtransactionStatus(pg->conn) != PQTRANS_IDLE))
        link_drop(pg);
    memcpy(pg->why, why, sizeof(why));
}

void postgresql_discard(struct postgresql *pg)
{
    const int rc = postgresql_finish(pg, NULL);
    (void)rc; /* an error now changes nothing that was read */
}

int postgresql_copy_begin(struct postgresql *pg, const char *text, ExecStatusType expected)
{
    if (pg->conn == NULL || PQsendQuery(pg->conn, text) != 1) {
        postgresql_fail(pg, NULL);
        return -EIO;
    }
    PGresult *begun = postgresql_take(pg);
    const bool ready = begun != NULL && PQresultStatus(begun) == expected;
    if (!ready && begun != NULL)
        postgresql_fail(pg, begun);
    PQclear(begun);
    if (ready)
        return 0;
    if (pg->conn != NULL)
        postgresql_discard(pg);
    return -EIO;
}

int postgresql_copy_flush(struct postgresql *pg, const uint8_t *end)
{
    for (uint32_t tries = 0; tries < 2 && pg->conn != NULL; tries++) {
        const int put = PQputCopyData(pg->conn, (const char *)pg->copy, (int)(end - pg->copy));
        if (put == 1)
            return postgresql_drain(pg);
        if (put < 0 || postgresql_drain(pg) != 0)
            break;
    }
    postgresql_fail(pg, NULL);
    return -EIO;
}

int postgresql_copy_take(struct postgresql *pg, char **row)
{
    const uint64_t due_ns = clock_monotonic_ns() + POSTGRESQL_WAIT_NS;
    while (pg->conn != NULL) { /* until a row is there, or `due_ns` */
        const int bytes = PQgetCopyData(pg->conn, row, 1);
        if (bytes > 0)
            return bytes;
        if (bytes == -1)
            return 0;
        if (bytes < -1) {
            postgresql_fail(pg, NULL);
            return -EIO;
        }
        if (!link_wait(pg, POLLIN, due_ns))
            link_late(pg);
    }
    return -EIO;
}

static void notice_drop(void *context, const char *message)
{
    (void)context;
    (void)message;
}

static int session_begin(struct postgresql *pg)
{
    char fsync[16] = "";
    int rc = postgresql_exec(pg, session_setup, fsync, sizeof(fsync));
    if (rc == 0 && strcmp(fsync, "on") != 0) {
        why_set(pg, "the server runs with fsync = off: a commit would not be durable");
        rc = -EIO;
    }
    if (rc == 0 && pg->purpose == SQL_READS)
        rc = postgresql_exec(pg, "SET default_transaction_read_only = on", NULL, 0);
    if (rc == 0 && (pg->purpose == SQL_WRITES_ALONE || pg->purpose == SQL_WRITES_SERVING)) {
        const bool alone = pg->purpose == SQL_WRITES_ALONE;
        char held[8] = "";
        rc = postgresql_exec(pg, alone ? serve_alone : serve_shared, held, sizeof(held));
        if (rc == 0 && strcmp(held, "t") != 0) {
            why_set(pg, alone ? "a bulla-keyd serves this database: stop it first"
                              : "this database is being moved or restored: wait for its end");
            rc = -EBUSY;
        }
    }
    return rc;
}

/* The URL overrides what stands before it, and is overridden by what stands behind it. */
static int link_make(struct postgresql *pg)
{
    static const char *const names[] = {"sslmode",
                                        "connect_timeout",
                                        "keepalives_idle",
                                        "keepalives_interval",
                                        "keepalives_count",
                                        "tcp_user_timeout",
                                        "dbname",
                                        "application_name",
                                        "target_session_attrs",
                                        "client_encoding",
                                        NULL};
    const char *const values[] = {"verify-full", "5",          "10",         "5",    "3", "20000",
                                  pg->url,       "bulla-keyd", "read-write", "UTF8", NULL};
    _Static_assert(ARRAY_COUNT(names) == ARRAY_COUNT(values), "a value for each");
    ASSERT(pg->conn == NULL);
    pg->state[0] = '\0';
    pg->conn = PQconnectdbParams(names, values, 1);
    if (pg->conn == NULL || PQstatus(pg->conn) != CONNECTION_OK) {
        why_set(pg, pg->conn == NULL ? "no memory" : PQerrorMessage(pg->conn));
        link_drop(pg);
        return -EIO;
    }
    (void)PQsetNoticeProcessor(pg->conn, notice_drop, NULL);
    const int rc = PQsetnonblocking(pg->conn, 1) == 0 ? session_begin(pg) : -EIO;
    if (rc != 0 && pg->conn != NULL)
        link_drop(pg);
    return rc;
}

int postgresql_ready(struct postgresql *pg)
{
    if (pg->conn != NULL)
        return 0;
    if (clock_monotonic_ns() < pg->retry_at_ns)
        return -EIO;
    const int rc = link_make(pg);
    if (rc == 0) {
        if (pg->retry_ns != 0)
            log_line(LOG_LEVEL_INFO, "store_connected", "after=\"%s\"", pg->why);
        pg->retry_ns = 0;
        return 0;
    }
    pg->retry_ns =
        pg->retry_ns == 0 ? POSTGRESQL_RETRY_NS : MIN(pg->retry_ns * 2, POSTGRESQL_RETRY_NS_MAX);
    pg->retry_at_ns = clock_monotonic_ns() + pg->retry_ns;
    log_line(LOG_LEVEL_ERROR, "store_connect_failed", "why=\"%s\"", pg->why);
    return rc;
}

/* libpq's own complaint may hold the whole URL, password and all: it is not repeated. */
static int url_check(const char *url, char why[STORE_WHY_BYTES])
{
    char *complaint = NULL;
    PQconninfoOption *options = PQconninfoParse(url, &complaint);
    PQfreemem(complaint);
    if (options == NULL) {
        (void)snprintf(why, STORE_WHY_BYTES,
                       "database: this URL cannot be read; write postgresql://USER@HOST/NAME?"
                       "sslmode=verify-full&sslrootcert=FILE");
        return -EINVAL;
    }
    PQconninfoFree(options);
    return 0;
}

int postgresql_open(struct postgresql **pg, struct sql *sql, const struct sql_place *place,
                    char why[STORE_WHY_BYTES])
{
    int rc = url_check(place->path, why);
    if (rc != 0)
        return rc;
    struct postgresql *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->sql = sql;
    made->purpose = place->purpose;
    made->url = strdup(place->path);
    rc = made->url == NULL ? -ENOMEM : link_make(made);
    if (rc != 0) {
        (void)snprintf(why, STORE_WHY_BYTES, "%s", made->url == NULL ? "no memory" : made->why);
        postgresql_close(made);
        return rc;
    }
    *pg = made;
    return 0;
}

void postgresql_close(struct postgresql *pg)
{
    if (pg == NULL)
        return;
    link_drop(pg);
    if (pg->url != NULL)
        secret_wipe(pg->url, strlen(pg->url)); /* a password may stand in it */
    free(pg->url);
    free(pg);
}
