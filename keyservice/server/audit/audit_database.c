#include "keyservice/server/audit/audit_database.h"

#include "base/log.h"
#include "keyservice/server/audit/audit_line.h"
#include "keyservice/server/store/store_sql.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct audit_database {
    struct store *store;
};

int audit_database_open(struct audit_database **database, const char *url)
{
    char why[STORE_WHY_BYTES] = "";
    const struct store_config config = {.path = url, .readers_count = 1};
    struct audit_database *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    const int rc = store_open(&made->store, &config, why);
    if (rc != 0) {
        log_line(LOG_LEVEL_ERROR, "audit_open_failed", "why=\"%s\"", why);
        free(made);
        return rc;
    }
    audit_database_join(made->store);
    *database = made;
    return 0;
}

void audit_database_close(struct audit_database *database)
{
    if (database == NULL)
        return;
    store_close(database->store);
    free(database);
}

static int head_read(struct sql_statement *head, uint64_t *sequence,
                     char hash[AUDIT_HASH_CHARS + 1])
{
    int rc = -EIO;
    if (sql_step(head) == 1 && sql_column_string(head, 1, hash, AUDIT_HASH_CHARS + 1) &&
        strlen(hash) == AUDIT_HASH_CHARS) {
        *sequence = sql_column_u64(head, 0);
        rc = 0;
    }
    sql_done(head);
    return rc;
}

static int row_add(struct sql *sql, uint64_t first, uint64_t last, const char *hash,
                   const char *text, size_t bytes)
{
    struct sql_statement *add = sql_use(sql, SQL_AUDIT_ADD);
    sql_bind_u64(add, 1, first);
    sql_bind_u64(add, 2, last);
    sql_bind_string(add, 3, hash);
    sql_bind_blob(add, 4, text, bytes);
    return sql_run(add) == 1 ? 0 : -EIO;
}

/* The chain goes on from the newest row, which nobody else can go on from until this commits. */
static int lines_within(void *context, struct store_writer *writer, struct store_line *const *lines,
                        uint32_t lines_count)
{
    char hash[AUDIT_HASH_CHARS + 1];
    uint64_t sequence = 0;
    size_t used = 0;
    (void)context;
    char *text = malloc(lines_count * (size_t)AUDIT_LINE_BYTES_MAX + 1);
    if (text == NULL)
        return -ENOMEM;
    int rc = head_read(sql_use(&writer->sql, SQL_AUDIT_HEAD), &sequence, hash);
    const uint64_t first = sequence + 1;
    for (uint32_t i = 0; i < lines_count && rc == 0; i++) {
        struct store_line *line = lines[i];
        uint32_t bytes = 0;
        line->rc = audit_line_make(text + used, &bytes, line->event, sequence + 1,
                                   line->now_unix_ns, hash);
        sequence += line->rc == 0;
        used += bytes;
    }
    if (rc == 0 && used > 0)
        rc = row_add(&writer->sql, first, sequence, hash, text, used);
    free(text);
    return rc;
}

void audit_database_join(struct store *store)
{
    const struct store_trail trail = {.within = lines_within};
    store_trail_set(store, &trail);
}

/* What is to be written is the line alone. */
static int nothing_apply(struct store_writer *writer, void *argument)
{
    (void)writer;
    (void)argument;
    return 0;
}

int audit_database_append(struct audit_database *database, struct store_line *line)
{
    return store_write_line(database->store, nothing_apply, NULL, line);
}

int audit_database_head(struct audit_database *database, uint64_t *sequence,
                        char hash[AUDIT_HASH_CHARS + 1])
{
    struct sql *sql = store_reader_take(database->store);
    const int rc = head_read(sql_use(sql, SQL_AUDIT_PEEK), sequence, hash);
    store_reader_give(database->store, sql);
    return rc;
}

/* The lines of one row behind number `after`. */
static int row_each(struct sql_statement *read, uint64_t after, audit_visit *visit, void *context)
{
    size_t bytes = 0;
    uint64_t number = sql_column_u64(read, 0);
    const char *lines = sql_column_bytes(read, 2, &bytes);
    int rc = 0;
    for (size_t at = 0; at < bytes && rc == 0; number++) { /* a line a turn */
        const char *end = memchr(lines + at, '\n', bytes - at);
        const size_t line_bytes = end == NULL ? 0 : (size_t)(end - (lines + at)) + 1;
        if (line_bytes == 0)
            return -EBADMSG;
        if (number > after)
            rc = visit(context, lines + at, line_bytes);
        at += line_bytes;
    }
    return rc;
}

/* Some rows; `*last` is the number of the last line read. 1: there may be more. */
static int rows_each(struct audit_database *database, uint64_t *last, uint64_t newest,
                     audit_visit *visit, void *context)
{
    int step = 0;
    int rc = 0;
    uint32_t count = 0;
    const uint64_t after = *last;
    struct sql *sql = store_reader_take(database->store);
    struct sql_statement *read = sql_use(sql, SQL_AUDIT_READ);
    sql_bind_u64(read, 1, after);
    sql_bind_u64(read, 2, newest);
    sql_bind_u64(read, 3, AUDIT_DATABASE_ROWS);
    while (rc == 0 && (step = sql_step(read)) == 1) { /* the statement's own limit bounds it */
        rc = row_each(read, after, visit, context);
        *last = sql_column_u64(read, 1);
        count++;
    }
    sql_done(read);
    store_reader_give(database->store, sql);
    return rc != 0 ? rc : step < 0 ? -EIO : count == AUDIT_DATABASE_ROWS;
}

int audit_database_each(struct audit_database *database, uint64_t after, audit_visit *visit,
                        void *context)
{
    char hash[AUDIT_HASH_CHARS + 1];
    uint64_t newest = 0;
    uint64_t last = after;
    int rc = audit_database_head(database, &newest, hash);
    if (rc != 0)
        return rc;
    do /* `last` grows each turn, and `newest` bounds it */
        rc = rows_each(database, &last, newest, visit, context);
    while (rc > 0);
    return rc == 0 && last < newest ? -EBADMSG : rc;
}
