#include "keyservice/server/store/store_wrapping.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "crypto/secret.h"
#include "keyservice/server/store/store_wrapped.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct wrapping_write {
    uint32_t version;
    uint64_t retired_unix_ms;
    uint8_t proof[MASTER_PROOF_BYTES];
};

static int add_apply(struct store_writer *writer, void *argument)
{
    const struct wrapping_write *write = argument;
    struct sql_statement *add = sql_use(&writer->sql, SQL_WRAPPING_ADD);
    sql_bind_u64(add, 1, write->version);
    sql_bind_blob(add, 2, write->proof, sizeof(write->proof));
    return sql_run(add) < 0 ? -EIO : 0;
}

static int retire_apply(struct store_writer *writer, void *argument)
{
    const struct wrapping_write *write = argument;
    struct sql_statement *retire = sql_use(&writer->sql, SQL_WRAPPING_RETIRE);
    sql_bind_u64(retire, 1, write->version);
    sql_bind_u64(retire, 2, write->retired_unix_ms);
    const int changed = sql_run(retire);
    return changed < 0 ? -EIO : changed == 0 ? -ENOENT : 0;
}

int store_wrapping_retire(struct store *store, uint32_t version, uint64_t now_unix_ms)
{
    struct wrapping_write write = {.version = version, .retired_unix_ms = now_unix_ms};
    ASSERT(version < master_version(store_master(store)));
    return store_write(store, retire_apply, &write);
}

/* One row of the table; it must be the key that the file has under that number. */
static int row_compare(const struct master *master, struct sql_statement *list,
                       struct store_wrapping *of, char why[STORE_WHY_BYTES])
{
    uint8_t proof[MASTER_PROOF_BYTES];
    uint8_t stored[MASTER_PROOF_BYTES];
    const uint32_t version = (uint32_t)sql_column_u64(list, 0);
    if (version > master_version(master)) {
        (void)snprintf(why, STORE_WHY_BYTES,
                       "the database holds keys under master key %u, and master_key_file ends with"
                       " %u: copy the newest file here",
                       version, master_version(master));
        return -ENOKEY;
    }
    const int rc = master_proof(master, version, proof);
    if (rc != 0)
        return rc;
    if (!sql_column_blob(list, 1, stored, sizeof(stored)))
        return -EIO;
    if (!ct_equal(stored, proof, sizeof(proof))) {
        (void)snprintf(why, STORE_WHY_BYTES,
                       "master key %u in master_key_file is not the one that this database was"
                       " written with: bring back the right file",
                       version);
        return -ENOKEY;
    }
    of[version].retired_unix_ms = sql_column_u64(list, 2);
    return 0;
}

/* What the database knows of the versions up to `*versions_count`. */
static int rows_compare(struct store *store, struct store_wrapping *of, uint32_t *versions_count,
                        char why[STORE_WHY_BYTES])
{
    int step = 0;
    int rc = 0;
    struct sql *sql = store_reader_take(store);
    struct sql_statement *list = sql_use(sql, SQL_WRAPPING_LIST);
    *versions_count = 0;
    while (rc == 0 && (step = sql_step(list)) == 1) { /* at most MASTER_VERSIONS_MAX rows */
        rc = row_compare(store_master(store), list, of, why);
        *versions_count = (uint32_t)sql_column_u64(list, 0);
    }
    sql_done(list);
    store_reader_give(store, sql);
    return rc == 0 && step < 0 ? -EIO : rc;
}

/* The file has it as retired and the database has not: so a backup was restored that is older, or
 * the database is new. */
static int gone_check(struct store *store, uint32_t version, char why[STORE_WHY_BYTES])
{
    struct store_wrapping list[MASTER_VERSIONS_MAX + 1];
    const int rc = store_wrapping_list(store, list);
    if (rc != 0)
        return rc;
    const uint64_t rows_count = list[version].envelopes_count + list[version].factors_count;
    if (rows_count == 0)
        return store_wrapping_retire(store, version, clock_unix_ns() / NS_PER_MS);
    (void)snprintf(why, STORE_WHY_BYTES,
                   "%" PRIu64 " keys in this database are under master key %u, which was retired:"
                   " its key is gone from master_key_file. Restore a backup made since, or bring"
                   " back a copy of the file from before",
                   rows_count, version);
    return -ENOKEY;
}

static int retired_compare(struct store *store, const struct store_wrapping *of,
                           char why[STORE_WHY_BYTES])
{
    const struct master *master = store_master(store);
    int rc = 0;
    for (uint32_t version = 1; version <= master_version(master) && rc == 0; version++) {
        const bool in_file = master_retired(master, version);
        if (in_file && of[version].retired_unix_ms == 0)
            rc = gone_check(store, version, why);
        else if (!in_file && of[version].retired_unix_ms != 0)
            log_line(LOG_LEVEL_WARNING, "master_key_left",
                     "version=%u why=\"retired, and its key is still in master_key_file: run"
                     " bulla-keyd master-key retire %u here\"",
                     version, version);
    }
    return rc;
}

int store_wrapping_check(struct store *store, char why[STORE_WHY_BYTES])
{
    const struct master *master = store_master(store);
    struct store_wrapping of[MASTER_VERSIONS_MAX + 1] = {{0}};
    uint32_t versions_count = 0;
    why[0] = '\0';
    int rc = rows_compare(store, of, &versions_count, why);
    while (rc == 0 && versions_count < master_version(master)) {
        struct wrapping_write write = {.version = ++versions_count};
        rc = master_proof(master, write.version, write.proof);
        if (rc == 0)
            rc = store_write(store, add_apply, &write);
    }
    if (rc == 0)
        rc = retired_compare(store, of, why);
    if (rc != 0 && why[0] == '\0')
        (void)snprintf(why, STORE_WHY_BYTES, "the table of master keys cannot be read or written");
    return rc;
}

int store_wrapping_look(struct store *store, struct store_wrapping list[MASTER_VERSIONS_MAX + 1])
{
    int step = 0;
    struct sql *sql = store_reader_take(store);
    struct sql_statement *read = sql_use(sql, SQL_WRAPPING_LIST);
    memset(list, 0, (MASTER_VERSIONS_MAX + 1) * sizeof(list[0]));
    while ((step = sql_step(read)) == 1) { /* at most MASTER_VERSIONS_MAX rows */
        const uint64_t version = sql_column_u64(read, 0);
        if (version <= MASTER_VERSIONS_MAX)
            list[version].retired_unix_ms = sql_column_u64(read, 2);
    }
    sql_done(read);
    store_reader_give(store, sql);
    return step < 0 ? -EIO : 0;
}

/* 0 or 1; -errno where that could not be found out: such a row is not given up. */
static int row_damaged(const struct master *master, const struct wrapped_row *row)
{
    uint8_t key[MASTER_PLAIN_BYTES_MAX] __attribute__((cleanup(secret_wipe_32)));
    size_t key_bytes = 0;
    if (row->version == 0 || row->version >= master_version(master) ||
        master_retired(master, row->version))
        return 0;
    const int rc = master_unwrap(master, row->version, row->id, row->wrapped, row->wrapped_bytes,
                                 key, &key_bytes);
    return rc == -EBADMSG ? 1 : rc;
}

static int page_count(struct store *store, enum wrapped_table table,
                      const struct wrapped_page *page, struct store_wrapping *list)
{
    for (uint32_t i = 0; i < page->rows_count; i++) {
        const struct wrapped_row *row = &page->rows[i];
        if (row->version > MASTER_VERSIONS_MAX)
            return -EIO;
        struct store_wrapping *of = &list[row->version];
        *(table == WRAPPED_ENVELOPES ? &of->envelopes_count : &of->factors_count) += 1;
        const int damaged = row_damaged(store_master(store), row);
        if (damaged < 0)
            return damaged;
        of->damaged_count += (uint64_t)damaged;
    }
    return 0;
}

int store_wrapping_list(struct store *store, struct store_wrapping list[MASTER_VERSIONS_MAX + 1])
{
    struct wrapped_page *page = malloc(sizeof(*page));
    struct wrapped_after after = {.factor_number = 0};
    int rc = page == NULL ? -ENOMEM : store_wrapping_look(store, list);
    for (enum wrapped_table table = WRAPPED_FACTORS; table <= WRAPPED_ENVELOPES && rc == 0; table++)
        do { /* a page a turn: the table's rows bound it */
            struct sql *sql = store_reader_take(store);
            rc = wrapped_read(sql, table, &after, page);
            store_reader_give(store, sql);
            if (rc == 0)
                rc = page_count(store, table, page, list);
        } while (rc == 0 && page->rows_count == WRAPPED_ROWS);
    free(page);
    return rc;
}

int store_wrapping_unneeded(struct store *store, uint32_t version, bool leave_damaged,
                            char why[STORE_WHY_BYTES])
{
    struct store_wrapping list[MASTER_VERSIONS_MAX + 1];
    ASSERT(version >= 1 && version < master_version(store_master(store)));
    const int rc = store_wrapping_list(store, list);
    const struct store_wrapping *of = &list[version];
    if (rc != 0) {
        (void)snprintf(why, STORE_WHY_BYTES, "the database cannot be read");
        return rc;
    }
    const uint64_t rows_count = of->envelopes_count + of->factors_count;
    if (rows_count == of->damaged_count && (rows_count == 0 || leave_damaged))
        return 0;
    if (rows_count == of->damaged_count)
        (void)snprintf(why, STORE_WHY_BYTES,
                       "%" PRIu64 " keys are under master key %u and damaged, so that it does not"
                       " open them: restore them, or give them up with --leave-damaged",
                       rows_count, version);
    else
        (void)snprintf(why, STORE_WHY_BYTES,
                       "master key %u is needed by %" PRIu64 " keys of messages and %" PRIu64
                       " secrets of code apps: bring them under the newest one first, by bulla-keyd"
                       " master-key rewrap",
                       version, of->envelopes_count, of->factors_count);
    return -ENOTEMPTY;
}
