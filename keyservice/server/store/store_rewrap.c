#include "keyservice/server/store/store_rewrap.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/log.h"
#include "crypto/secret.h"
#include "keyservice/server/store/store_wrapped.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define UUID_TIME_SHIFT 16 /* a UUIDv7 begins with 48 bits of milliseconds */

_Static_assert(STORE_REWRAP_ROWS == WRAPPED_ROWS, "a step is a page");

struct rewrap_step {
    struct wrapped_page page;
    struct wrapped_after after;
    struct store_rewrap state;
    bool anew; /* forget how far it was */
};

static int state_read(struct sql *sql, struct store_rewrap *state, struct wrapped_after *after)
{
    struct sql_statement *get = sql_use(sql, SQL_REWRAP_GET);
    *state = (struct store_rewrap){.version = 0};
    *after = (struct wrapped_after){.factor_number = 0};
    const int step = sql_step(get);
    int rc = step < 0 ? -EIO : 0;
    if (step == 1) {
        state->version = (uint32_t)sql_column_u64(get, 0);
        state->done = sql_column_u64(get, 2) != 0;
        state->rows_count = sql_column_u64(get, 3);
        after->factor_number = (int64_t)sql_column_u64(get, 4);
        if (!sql_column_blob(get, 1, after->envelope_id, sizeof(after->envelope_id)))
            rc = -EIO;
        state->until_unix_ms = bytes_load_be64(after->envelope_id) >> UUID_TIME_SHIFT;
    }
    sql_done(get);
    return rc;
}

static int row_put(struct store_writer *writer, struct master_burst *burst,
                   enum wrapped_table table, const struct wrapped_row *row, uint32_t version)
{
    uint8_t key[MASTER_PLAIN_BYTES_MAX] __attribute__((cleanup(secret_wipe_32)));
    uint8_t wrapped[MASTER_WRAPPED_BYTES_MAX];
    size_t key_bytes = 0;
    int rc = master_unwrap(writer->master, row->version, row->id, row->wrapped, row->wrapped_bytes,
                           key, &key_bytes);
    if (rc != 0 && rc != -EBADMSG && rc != -ENOKEY)
        return -EIO; /* for want of memory, say: it is tried again */
    if (rc != 0) {   /* it stays as it is: others must not wait for a row that nobody can read */
        log_line(LOG_LEVEL_ERROR, "rewrap_damaged", "%s=%016" PRIx64 "%016" PRIx64,
                 table == WRAPPED_ENVELOPES ? "m" : "code_app", bytes_load_be64(row->id),
                 bytes_load_be64(row->id + 8));
        return 0;
    }
    struct master_wrap wrap = {
        .id = row->id, .key = key, .key_bytes = (uint32_t)key_bytes, .wrapped = wrapped};
    rc = master_burst_wrap(burst, &wrap, 1);
    if (rc != 0)
        return rc;
    return wrapped_write(&writer->sql, table, row, version, wrapped, wrap.wrapped_bytes);
}

static int rows_put(struct store_writer *writer, struct rewrap_step *step, enum wrapped_table table)
{
    struct master_burst *burst = NULL;
    int rc = master_burst_open(&burst, writer->master, step->state.version);
    for (uint32_t i = 0; i < step->page.rows_count && rc == 0; i++) {
        if (step->page.rows[i].version >= step->state.version)
            continue;
        rc = row_put(writer, burst, table, &step->page.rows[i], step->state.version);
        step->state.rows_count++;
    }
    master_burst_close(burst);
    return rc;
}

static int state_write(struct store_writer *writer, const struct rewrap_step *step)
{
    struct sql_statement *set = sql_use(&writer->sql, SQL_REWRAP_SET);
    sql_bind_u64(set, 1, step->state.version);
    sql_bind_blob(set, 2, step->after.envelope_id, sizeof(step->after.envelope_id));
    sql_bind_u64(set, 3, step->state.done ? 1 : 0);
    sql_bind_u64(set, 4, step->state.rows_count);
    sql_bind_u64(set, 5, (uint64_t)step->after.factor_number);
    return sql_run(set) < 0 ? -EIO : 0;
}

/* May be run twice: all that it goes on from is read within. A page of code apps, of which there
 * are few, and once these are at their end one of envelopes. */
static int step_apply(struct store_writer *writer, void *argument)
{
    struct rewrap_step *step = argument;
    const uint32_t newest = master_version(writer->master);
    int rc = state_read(&writer->sql, &step->state, &step->after);
    if (rc == 0 && (step->anew || step->state.version < newest)) {
        step->state = (struct store_rewrap){.version = newest};
        step->after = (struct wrapped_after){.factor_number = 0};
    }
    /* A service with an older file has nothing to do here. */
    if (rc != 0 || step->state.done || step->state.version > newest) {
        step->state.done = true;
        return rc;
    }
    for (enum wrapped_table table = WRAPPED_FACTORS; table <= WRAPPED_ENVELOPES; table++) {
        rc = wrapped_read(&writer->sql, table, &step->after, &step->page);
        if (rc == 0)
            rc = rows_put(writer, step, table);
        if (rc != 0)
            return rc;
        if (step->page.rows_count == WRAPPED_ROWS)
            return state_write(writer, step);
    }
    step->state.done = true;
    return state_write(writer, step);
}

static int step_run(struct store *store, bool anew, bool *more)
{
    struct rewrap_step *step = calloc(1, sizeof(*step));
    if (step == NULL)
        return -ENOMEM;
    step->anew = anew;
    const int rc = store_write(store, step_apply, step);
    *more = rc == 0 && !step->state.done;
    free(step);
    return rc;
}

int store_rewrap_some(struct store *store, bool *more)
{
    struct store_rewrap rewrap;
    *more = false;
    /* Mostly there is nothing to do: a look does not trouble the writer. */
    const int rc = store_rewrap_look(store, &rewrap);
    if (rc != 0 || (rewrap.done && rewrap.version >= master_version(store_master(store))))
        return rc;
    return step_run(store, false, more);
}

int store_rewrap_look(struct store *store, struct store_rewrap *rewrap)
{
    struct wrapped_after after;
    struct sql *sql = store_reader_take(store);
    const int rc = state_read(sql, rewrap, &after);
    store_reader_give(store, sql);
    return rc;
}

int store_rewrap_again(struct store *store)
{
    bool more = false;
    return step_run(store, true, &more);
}
