#include "keyservice/server/store/store_move.h"

#include "base/assert.h"
#include "keyservice/server/audit/audit.h"
#include "keyservice/server/audit/audit_line.h"
#include "keyservice/server/store/store_postgresql.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_BYTES        4096 /* of a statement, or a list of tables */
#define AUDIT_ROW_LINES   64
#define DIGEST_LANES      4
#define NUMBER_CHARS      24
#define HEX_PIECE         512 /* bytes put as digits at a time */
#define AUDIT_COLUMNS     "\"first\",\"last\",\"lines\""
#define FIELD_EMPTY_CHARS 3

_Static_assert(2 * HEX_PIECE + NUMBER_CHARS <= POSTGRESQL_COPY_BYTES, "a piece fits");

enum move_kind {
    MOVE_ROWS,
    MOVE_NUMBERED,  /* its numbers are given by the database, and go on                  */
    MOVE_RENUMBER,  /* the column `number` is SQLite's own                               */
    MOVE_LEFT,      /* short-lived: sign in or ask again; what is there is not wanted     */
    MOVE_EPHEMERAL, /* PostgreSQL's alone; may hold what services counted                */
    MOVE_AUDIT,     /* comes from the file                                               */
};

/* Every table of both databases, in an order that references allow. */
static const struct {
    const char *name;
    enum move_kind kind;
} tables[] = {
    {"account", MOVE_NUMBERED},
    {"envelope", MOVE_RENUMBER},
    {"engine", MOVE_ROWS},
    {"enrol", MOVE_ROWS},
    {"pending", MOVE_LEFT},
    {"session", MOVE_LEFT},
    {"reset", MOVE_LEFT},
    {"outbox", MOVE_ROWS},
    {"outbox_to", MOVE_ROWS},
    {"outbox_part", MOVE_ROWS},
    {"wrapping", MOVE_ROWS},
    {"rewrap", MOVE_ROWS},
    {"role_grant", MOVE_ROWS},
    {"account_disabled", MOVE_ROWS},
    {"profile", MOVE_ROWS},
    {"token", MOVE_NUMBERED},
    {"sent", MOVE_ROWS},
    {"sent_run", MOVE_NUMBERED},
    {"sent_due", MOVE_ROWS},
    {"sent_change", MOVE_ROWS},
    {"sent_back", MOVE_ROWS},
    {"opening", MOVE_ROWS},
    {"notice", MOVE_NUMBERED},
    {"report", MOVE_ROWS},
    {"report_user", MOVE_ROWS},
    {"totp", MOVE_ROWS},
    {"recovery", MOVE_ROWS},
    {"passkey", MOVE_ROWS},
    {"device", MOVE_ROWS},
    {"spent", MOVE_ROWS},
    {"link", MOVE_ROWS},
    {"link_part", MOVE_ROWS},
    {"audit", MOVE_AUDIT},
    {"audit_head", MOVE_EPHEMERAL},
    {"guess", MOVE_EPHEMERAL},
    {"known", MOVE_EPHEMERAL},
    {"pickup", MOVE_EPHEMERAL},
    {"parked", MOVE_EPHEMERAL},
    {"parked_part", MOVE_EPHEMERAL},
    {"lease", MOVE_EPHEMERAL},
    {"schema_version", MOVE_EPHEMERAL},
};

/* Rows in any order: how many, and the sum of their digests. */
struct move_sum {
    uint64_t rows;
    uint64_t lanes[DIGEST_LANES];
};

struct store_move {
    struct sql from;
    struct sql to;
    const char *audit;
    EVP_MD *sha256;
    EVP_MD_CTX *digest;
    uint8_t *at;  /* in the connection's copy buffer */
    uint8_t *row; /* what of this row was not digested yet begins there */
    struct move_sum sum;
    char *lines; /* AUDIT_ROW_LINES of the audit log */
    size_t lines_bytes;
    uint64_t lines_first;
    uint64_t lines_last;
    char hash[AUDIT_HASH_CHARS + 1];
};

static int table_kind(const char *name, size_t chars)
{
    for (size_t i = 0; i < ARRAY_COUNT(tables); i++)
        if (strlen(tables[i].name) == chars && memcmp(tables[i].name, name, chars) == 0)
            return (int)tables[i].kind;
    return -ENOENT;
}

/* A table that was added without a word here must not be lost: nothing is moved then. */
static int tables_check(const char *names, char why[STORE_WHY_BYTES])
{
    while (*names != '\0') { /* a name a turn: the text's end bounds it */
        const size_t chars = strcspn(names, " ");
        if (table_kind(names, chars) < 0) {
            (void)snprintf(why, STORE_WHY_BYTES, "this version cannot move the table \"%.*s\"",
                           (int)MIN(chars, (size_t)64), names);
            return -EPROTO;
        }
        names += chars + (names[chars] == ' ');
    }
    return 0;
}

/* The first column of the first row; "" for none. */
static int sqlite_ask(struct store_move *move, const char *statement, char *text, size_t room,
                      char why[STORE_WHY_BYTES])
{
    sqlite3_stmt *ask = NULL;
    int rc = -EIO;
    text[0] = '\0';
    if (sqlite3_prepare_v2(move->from.sqlite, statement, -1, &ask, NULL) == SQLITE_OK) {
        const int step = sqlite3_step(ask);
        const char *found = step == SQLITE_ROW ? (const char *)sqlite3_column_text(ask, 0) : "";
        if ((step == SQLITE_ROW || step == SQLITE_DONE) &&
            snprintf(text, room, "%s", found == NULL ? "" : found) < (int)room)
            rc = 0;
    }
    if (rc != 0)
        (void)snprintf(why, STORE_WHY_BYTES, "the SQLite database: %.150s",
                       sqlite3_errmsg(move->from.sqlite));
    (void)sqlite3_finalize(ask);
    return rc;
}

static int postgresql_why(const struct store_move *move, char why[STORE_WHY_BYTES])
{
    (void)snprintf(why, STORE_WHY_BYTES, "PostgreSQL: %.200s", move->to.postgresql->why);
    return -EIO;
}

static int postgresql_do(struct store_move *move, const char *statements, char *text, size_t room,
                         char why[STORE_WHY_BYTES])
{
    return postgresql_exec(move->to.postgresql, statements, text, room) == 0
               ? 0
               : postgresql_why(move, why);
}

static int lists_check(struct store_move *move, char why[STORE_WHY_BYTES])
{
    char names[TEXT_BYTES] = "";
    int rc = sqlite_ask(move,
                        "SELECT group_concat(name, ' ') FROM sqlite_master WHERE type = 'table'"
                        " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
                        names, sizeof(names), why);
    if (rc == 0)
        rc = tables_check(names, why);
    if (rc == 0)
        rc = postgresql_do(move,
                           "SELECT string_agg(tablename, ' ') FROM pg_tables"
                           " WHERE schemaname = current_schema()",
                           names, sizeof(names), why);
    return rc == 0 ? tables_check(names, why) : rc;
}

static int empty_check(struct store_move *move, char why[STORE_WHY_BYTES])
{
    int rc = 0;
    for (size_t i = 0; i < ARRAY_COUNT(tables) && rc == 0; i++) {
        char ask[TEXT_BYTES];
        char count[NUMBER_CHARS] = "";
        if (tables[i].kind == MOVE_EPHEMERAL)
            continue;
        (void)snprintf(ask, sizeof(ask), "SELECT count(*) FROM (SELECT 1 FROM \"%s\" LIMIT 1) AS t",
                       tables[i].name);
        rc = postgresql_do(move, ask, count, sizeof(count), why);
        if (rc == 0 && strcmp(count, "0") != 0) {
            (void)snprintf(why, STORE_WHY_BYTES,
                           "the PostgreSQL database is in use: its table \"%s\" is not empty; name"
                           " an empty one",
                           tables[i].name);
            rc = -EEXIST;
        }
    }
    return rc;
}

static int sides_open(struct store_move *move, const struct store_move_config *config,
                      char why[STORE_WHY_BYTES])
{
    const struct sql_place from = {.path = config->database, .purpose = SQL_WRITES_ALONE};
    const struct sql_place to = {.path = config->url, .purpose = SQL_WRITES_ALONE};
    int rc = sql_open(&move->from, &from, why);
    if (rc == 0)
        rc = sql_migrate(&move->from, why);
    /* The operator's subcommands wait, and give up: what they wrote now would stay behind. */
    if (rc == 0 &&
        sqlite3_exec(move->from.sqlite, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK) {
        (void)snprintf(why, STORE_WHY_BYTES, "the SQLite database: %.150s",
                       sqlite3_errmsg(move->from.sqlite));
        rc = -EIO;
    }
    if (rc == 0)
        rc = sql_open(&move->to, &to, why);
    return rc == 0 ? sql_migrate(&move->to, why) : rc;
}

int store_move_open(struct store_move **move, const struct store_move_config *config,
                    char why[STORE_WHY_BYTES])
{
    struct store_move *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->audit = config->audit;
    made->lines = malloc((size_t)AUDIT_ROW_LINES * (AUDIT_LINE_BYTES_MAX + 1));
    made->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    made->digest = EVP_MD_CTX_new();
    int rc = -ENOMEM;
    if (made->lines != NULL && made->sha256 != NULL && made->digest != NULL)
        rc = sides_open(made, config, why);
    else
        (void)snprintf(why, STORE_WHY_BYTES, "no memory");
    if (rc == 0)
        rc = lists_check(made, why);
    if (rc == 0)
        rc = empty_check(made, why);
    if (rc != 0) {
        store_move_close(made);
        return rc;
    }
    *move = made;
    return 0;
}

void store_move_close(struct store_move *move)
{
    if (move == NULL)
        return;
    sql_close(&move->to);
    sql_close(&move->from);
    EVP_MD_CTX_free(move->digest);
    EVP_MD_free(move->sha256);
    free(move->lines);
    free(move);
}

/* --- the sum of a table's rows --- */

static int row_begin(struct store_move *move)
{
    return EVP_DigestInit_ex2(move->digest, move->sha256, NULL) == 1 ? 0 : -EIO;
}

static int row_sum(struct store_move *move, struct move_sum *sum)
{
    uint64_t lanes[DIGEST_LANES];
    uint32_t bytes = 0;
    if (EVP_DigestFinal_ex(move->digest, (uint8_t *)lanes, &bytes) != 1 || bytes != sizeof(lanes))
        return -EIO;
    for (uint32_t i = 0; i < DIGEST_LANES; i++)
        sum->lanes[i] += lanes[i];
    sum->rows++;
    return 0;
}

/* --- rows in COPY's text form: the server sends the same bytes when it is asked for them --- */

static int part_digest(struct store_move *move)
{
    const size_t bytes = (size_t)(move->at - move->row);
    const int done = EVP_DigestUpdate(move->digest, move->row, bytes);
    move->row = move->at;
    return done == 1 ? 0 : -EIO;
}

/* `bytes` more will fit behind `at`. */
static int room_make(struct store_move *move, size_t bytes)
{
    struct postgresql *pg = move->to.postgresql;
    if ((size_t)(move->at - pg->copy) + bytes <= sizeof(pg->copy))
        return 0;
    int rc = part_digest(move);
    if (rc == 0)
        rc = postgresql_copy_flush(pg, move->at);
    move->at = pg->copy;
    move->row = pg->copy;
    return rc;
}

static int text_put(struct store_move *move, const char *text, size_t chars)
{
    ASSERT(chars <= NUMBER_CHARS);
    const int rc = room_make(move, chars);
    if (rc == 0) {
        memcpy(move->at, text, chars);
        move->at += chars;
    }
    return rc;
}

static int hex_put(struct store_move *move, const uint8_t *bytes_at, size_t bytes)
{
    static const char digits[] = "0123456789abcdef";
    int rc = text_put(move, "\\\\x", FIELD_EMPTY_CHARS);
    for (size_t done = 0; done < bytes && rc == 0;) {
        const size_t piece = MIN(bytes - done, (size_t)HEX_PIECE);
        rc = room_make(move, 2 * piece);
        for (size_t i = 0; i < piece && rc == 0; i++) {
            *move->at++ = (uint8_t)digits[bytes_at[done + i] >> 4];
            *move->at++ = (uint8_t)digits[bytes_at[done + i] & 15];
        }
        done += piece;
    }
    return rc;
}

static int number_put(struct store_move *move, int64_t number)
{
    char text[NUMBER_CHARS];
    return text_put(move, text, (size_t)snprintf(text, sizeof(text), "%" PRId64, number));
}

static int row_end(struct store_move *move)
{
    int rc = text_put(move, "\n", 1);
    if (rc == 0)
        rc = part_digest(move);
    return rc == 0 ? row_sum(move, &move->sum) : rc;
}

static int row_put(struct store_move *move, sqlite3_stmt *read)
{
    int rc = row_begin(move);
    for (int i = 0; i < sqlite3_column_count(read) && rc == 0; i++) {
        const int type = sqlite3_column_type(read, i);
        if (i > 0)
            rc = text_put(move, "\t", 1);
        if (rc != 0)
            break;
        if (type == SQLITE_INTEGER)
            rc = number_put(move, sqlite3_column_int64(read, i));
        else if (type == SQLITE_NULL)
            rc = text_put(move, "\\N", 2);
        else if (type == SQLITE_FLOAT)
            rc = -EPROTO;
        else
            rc = hex_put(move, sqlite3_column_blob(read, i), (size_t)sqlite3_column_bytes(read, i));
    }
    return rc == 0 ? row_end(move) : rc;
}

static int copy_begin(struct store_move *move, const char *table, const char *columns)
{
    struct postgresql *pg = move->to.postgresql;
    char text[TEXT_BYTES];
    (void)snprintf(text, sizeof(text), "COPY \"%s\" (%s) FROM STDIN", table, columns);
    move->sum = (struct move_sum){.rows = 0};
    move->at = pg->copy;
    move->row = pg->copy;
    return postgresql_copy_begin(pg, text, PGRES_COPY_IN);
}

static int copy_end(struct store_move *move)
{
    struct postgresql *pg = move->to.postgresql;
    int rc = postgresql_copy_flush(pg, move->at);
    if (rc == 0 && PQputCopyEnd(pg->conn, NULL) != 1) {
        postgresql_fail(pg, NULL);
        rc = -EIO;
    }
    return rc == 0 ? postgresql_finish(pg, NULL) : rc;
}

/* --- and back --- */

static int rows_check(struct store_move *move, const char *table, const char *columns,
                      char why[STORE_WHY_BYTES])
{
    struct postgresql *pg = move->to.postgresql;
    struct move_sum back = {.rows = 0};
    char text[TEXT_BYTES];
    char *row = NULL;
    int bytes = 0;
    (void)snprintf(text, sizeof(text), "COPY \"%s\" (%s) TO STDOUT", table, columns);
    int rc = postgresql_copy_begin(pg, text, PGRES_COPY_OUT);
    while (rc == 0 && (bytes = postgresql_copy_take(pg, &row)) > 0) { /* the table bounds it */
        rc = row_begin(move);
        if (rc == 0 && EVP_DigestUpdate(move->digest, row, (size_t)bytes) != 1)
            rc = -EIO;
        if (rc == 0)
            rc = row_sum(move, &back);
        PQfreemem(row);
    }
    if (rc == 0)
        rc = bytes < 0 ? bytes : postgresql_finish(pg, NULL);
    if (rc != 0)
        return postgresql_why(move, why);
    if (memcmp(&back, &move->sum, sizeof(back)) == 0)
        return 0;
    (void)snprintf(why, STORE_WHY_BYTES,
                   "table \"%s\": %" PRIu64 " rows were sent, and %" PRIu64
                   " read back are not the same: nothing is kept",
                   table, move->sum.rows, back.rows);
    return -EBADMSG;
}

/* --- tables --- */

static int rows_copy(struct store_move *move, const char *table, const char *columns,
                     char why[STORE_WHY_BYTES])
{
    char text[TEXT_BYTES];
    sqlite3_stmt *read = NULL;
    int step = SQLITE_ERROR;
    (void)snprintf(text, sizeof(text), "SELECT %s FROM \"%s\"", columns, table);
    int rc = copy_begin(move, table, columns);
    if (rc != 0)
        return postgresql_why(move, why);
    if (sqlite3_prepare_v2(move->from.sqlite, text, -1, &read, NULL) == SQLITE_OK) {
        while (rc == 0 && (step = sqlite3_step(read)) == SQLITE_ROW) /* the table bounds it */
            rc = row_put(move, read);
    }
    if (rc == 0 && step != SQLITE_DONE) {
        (void)snprintf(why, STORE_WHY_BYTES, "table \"%s\": %.150s", table,
                       sqlite3_errmsg(move->from.sqlite));
        (void)sqlite3_finalize(read);
        return -EIO;
    }
    (void)sqlite3_finalize(read);
    if (rc == 0)
        rc = copy_end(move);
    return rc == 0 ? 0 : postgresql_why(move, why);
}

/* A number that was given out once, as an account's, is not given out again. */
static int numbers_go_on(struct store_move *move, const char *table, char why[STORE_WHY_BYTES])
{
    char text[TEXT_BYTES];
    char number[NUMBER_CHARS];
    (void)snprintf(text, sizeof(text),
                   "SELECT max(coalesce((SELECT max(number) FROM \"%s\"), 0),"
                   " coalesce((SELECT seq FROM sqlite_sequence WHERE name = '%s'), 0))",
                   table, table);
    int rc = sqlite_ask(move, text, number, sizeof(number), why);
    if (rc != 0 || strcmp(number, "0") == 0)
        return rc;
    (void)snprintf(text, sizeof(text), "SELECT setval(pg_get_serial_sequence('%s', 'number'), %s)",
                   table, number);
    return postgresql_do(move, text, NULL, 0, why);
}

static int table_move(struct store_move *move, const char *table, enum move_kind kind,
                      char why[STORE_WHY_BYTES])
{
    char ask[TEXT_BYTES];
    char columns[TEXT_BYTES / 2];
    (void)snprintf(ask, sizeof(ask),
                   "SELECT group_concat('\"' || name || '\"', ',') FROM pragma_table_info('%s')%s",
                   table, kind == MOVE_RENUMBER ? " WHERE name != 'number'" : "");
    int rc = sqlite_ask(move, ask, columns, sizeof(columns), why);
    if (rc == 0)
        rc = rows_copy(move, table, columns, why);
    if (rc == 0)
        rc = rows_check(move, table, columns, why);
    if (rc == 0 && kind == MOVE_NUMBERED)
        rc = numbers_go_on(move, table, why);
    return rc;
}

/* --- the audit log --- */

static int lines_put(struct store_move *move)
{
    int rc = row_begin(move);
    if (rc == 0)
        rc = number_put(move, (int64_t)move->lines_first);
    if (rc == 0)
        rc = text_put(move, "\t", 1);
    if (rc == 0)
        rc = number_put(move, (int64_t)move->lines_last);
    if (rc == 0)
        rc = text_put(move, "\t", 1);
    if (rc == 0)
        rc = hex_put(move, (const uint8_t *)move->lines, move->lines_bytes);
    if (rc == 0)
        rc = row_end(move);
    move->lines_bytes = 0;
    move->lines_first = move->lines_last + 1;
    return rc;
}

static int line_move(void *context, const char *line, size_t line_bytes)
{
    struct store_move *move = context;
    char hash[AUDIT_HASH_CHARS + 1];
    if (line_bytes > AUDIT_LINE_BYTES_MAX + 1 ||
        audit_line_check(line, line_bytes - 1, move->hash, hash) != move->lines_last + 1)
        return -EBADMSG;
    memcpy(move->hash, hash, sizeof(hash));
    memcpy(move->lines + move->lines_bytes, line, line_bytes);
    move->lines_bytes += line_bytes;
    move->lines_last++;
    return move->lines_last - move->lines_first + 1 < AUDIT_ROW_LINES ? 0 : lines_put(move);
}

static int audit_move(struct store_move *move, char why[STORE_WHY_BYTES])
{
    char text[TEXT_BYTES];
    memcpy(move->hash, AUDIT_START, sizeof(move->hash));
    move->lines_first = 1;
    move->lines_last = 0;
    int rc = copy_begin(move, "audit", AUDIT_COLUMNS);
    if (rc != 0)
        return postgresql_why(move, why);
    rc = audit_each(move->audit, 0, line_move, move);
    if (rc == 0 && move->lines_bytes > 0)
        rc = lines_put(move);
    if (rc == -EBADMSG) {
        (void)snprintf(why, STORE_WHY_BYTES, "%.150s: the chain breaks at line %" PRIu64,
                       move->audit, move->lines_last + 1);
        return rc;
    }
    if (rc == 0)
        rc = copy_end(move);
    if (rc != 0)
        return postgresql_why(move, why);
    rc = rows_check(move, "audit", AUDIT_COLUMNS, why);
    (void)snprintf(text, sizeof(text),
                   "UPDATE audit_head SET seq = %" PRIu64 ", hash = convert_to('%s', 'UTF8')",
                   move->lines_last, move->hash);
    return rc == 0 ? postgresql_do(move, text, NULL, 0, why) : rc;
}

static int all_move(struct store_move *move, struct store_move_count *count,
                    char why[STORE_WHY_BYTES])
{
    int rc = 0;
    *count = (struct store_move_count){.rows = 0};
    for (size_t i = 0; i < ARRAY_COUNT(tables) && rc == 0; i++) {
        if (tables[i].kind > MOVE_RENUMBER)
            continue;
        rc = table_move(move, tables[i].name, tables[i].kind, why);
        count->rows += move->sum.rows;
        if (strcmp(tables[i].name, "envelope") == 0)
            count->envelopes = move->sum.rows;
        if (strcmp(tables[i].name, "account") == 0)
            count->accounts = move->sum.rows;
    }
    if (rc == 0)
        rc = audit_move(move, why);
    count->rows += move->sum.rows;
    count->audit_lines = move->lines_last;
    return rc;
}

int store_move_run(struct store_move *move, struct store_move_count *count,
                   char why[STORE_WHY_BYTES])
{
    struct postgresql *pg = move->to.postgresql;
    char command[NUMBER_CHARS] = "";
    /* The mark is committed before anything else, and goes with the commit of it all. */
    int rc = postgresql_do(move,
                           "INSERT INTO lease (name, holder, until)"
                           " VALUES ('move', '', 0) ON CONFLICT DO NOTHING",
                           NULL, 0, why);
    if (rc != 0)
        return rc;
    rc = postgresql_do(move,
                       "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '25s';"
                       "SET LOCAL bytea_output = 'hex'",
                       NULL, 0, why);
    if (rc == 0)
        rc = all_move(move, count, why);
    if (rc == 0)
        rc = postgresql_do(move, "DELETE FROM lease WHERE name = 'move'", NULL, 0, why);
    if (rc == 0)
        rc = postgresql_do(move, "COMMIT", command, sizeof(command), why);
    if (rc == 0 && strcmp(command, "COMMIT") != 0)
        rc = postgresql_why(move, why);
    if (rc != 0)
        postgresql_rollback(pg);
    return rc;
}
