/* Which master keys wrap what is in the database. */
#include "base/assert.h"
#include "crypto/secret.h"
#include "keyservice/server/store/store_sql.h"

#include <errno.h>
#include <stdio.h>

struct wrapping_write {
    uint32_t version;
    uint8_t proof[MASTER_PROOF_BYTES];
};

static int wrapping_apply(struct store_writer *writer, void *argument)
{
    const struct wrapping_write *write = argument;
    struct sql_statement *add = sql_use(&writer->sql, SQL_WRAPPING_ADD);
    sql_bind_u64(add, 1, write->version);
    sql_bind_blob(add, 2, write->proof, sizeof(write->proof));
    return sql_run(add) < 0 ? -EIO : 0;
}

/* One row of the table; it must be the key that the file has under that number. */
static int wrapping_compare(const struct master *master, struct sql_statement *list,
                            uint32_t *versions_count, char why[STORE_WHY_BYTES])
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
    *versions_count = version;
    return 0;
}

int store_wrapping_check(struct store *store, char why[STORE_WHY_BYTES])
{
    const struct master *master = store_master(store);
    uint32_t versions_count = 0;
    int step = 0;
    int rc = 0;
    struct sql *sql = store_reader_take(store);
    struct sql_statement *list = sql_use(sql, SQL_WRAPPING_LIST);
    while (rc == 0 && (step = sql_step(list)) == 1) /* at most MASTER_VERSIONS_MAX rows */
        rc = wrapping_compare(master, list, &versions_count, why);
    sql_done(list);
    store_reader_give(store, sql);
    if (rc == 0 && step < 0)
        rc = -EIO;
    while (rc == 0 && versions_count < master_version(master)) {
        struct wrapping_write write = {.version = ++versions_count};
        rc = master_proof(master, write.version, write.proof);
        if (rc == 0)
            rc = store_write(store, wrapping_apply, &write);
    }
    if (rc == -EIO)
        (void)snprintf(why, STORE_WHY_BYTES, "the table of master keys cannot be read");
    return rc;
}
