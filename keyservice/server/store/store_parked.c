#include "keyservice/server/store/store_parked.h"

#include "base/assert.h"
#include "keyservice/server/store/store_sql.h"

#include <errno.h>
#include <string.h>

#define NS_PER_US UINT64_C(1000)

/* Room is made first, so that what waits is over a bound by what arrives at the same time alone. */
static int bounds_keep(struct sql *sql, const struct store_parked *parked,
                       const struct store_parked_bounds *bounds)
{
    ASSERT(parked->sealed_bytes <= bounds->owner_bytes);
    ASSERT(parked->sealed_bytes <= bounds->bytes);
    struct sql_statement *own = sql_use(sql, SQL_PARKED_TRIM_OWNER);
    sql_bind_blob(own, 1, parked->owner, sizeof(parked->owner));
    sql_bind_u64(own, 2, bounds->owner_bytes - parked->sealed_bytes);
    sql_bind_u64(own, 3, bounds->owner_count - 1);
    if (sql_run(own) < 0)
        return -EIO;
    struct sql_statement *all = sql_use(sql, SQL_PARKED_TRIM);
    sql_bind_u64(all, 1, bounds->bytes - parked->sealed_bytes);
    sql_bind_u64(all, 2, bounds->count - 1);
    return sql_run(all) < 0 ? -EIO : 0;
}

static int head_put(struct sql *sql, const struct store_parked *parked, uint64_t life_ns)
{
    struct sql_statement *add = sql_use(sql, SQL_PARKED_ADD);
    sql_bind_blob(add, 1, parked->name, sizeof(parked->name));
    sql_bind_blob(add, 2, parked->owner, sizeof(parked->owner));
    sql_bind_blob(add, 3, parked->id, sizeof(parked->id));
    sql_bind_u64(add, 4, parked->suite);
    sql_bind_u64(add, 5, parked->sealed_bytes);
    sql_bind_u64(add, 6, life_ns / NS_PER_US);
    return sql_run(add) == 1 ? 0 : -EIO;
}

static int name_run(struct sql *sql, enum sql_id id, const uint8_t name[STORE_PARKED_NAME_BYTES])
{
    struct sql_statement *statement = sql_use(sql, id);
    sql_bind_blob(statement, 1, name, STORE_PARKED_NAME_BYTES);
    return sql_run(statement) == 1 ? 0 : -EIO;
}

int store_parked_put(struct store *store, const struct store_parked *parked, const uint8_t *sealed,
                     uint64_t life_ns, const struct store_parked_bounds *bounds)
{
    struct sql *sql = store_single_take(store);
    int rc = bounds_keep(sql, parked, bounds);
    if (rc == 0)
        rc = head_put(sql, parked, life_ns);
    uint64_t part = 0;
    for (uint64_t at = 0; at < parked->sealed_bytes && rc == 0; part++) {
        const uint64_t bytes = MIN(parked->sealed_bytes - at, (uint64_t)STORE_PARKED_PART_BYTES);
        struct sql_statement *add = sql_use(sql, SQL_PARKED_PART_ADD);
        sql_bind_blob(add, 1, parked->name, sizeof(parked->name));
        sql_bind_u64(add, 2, part);
        sql_bind_blob(add, 3, sealed + at, bytes);
        rc = sql_run(add) == 1 ? 0 : -EIO;
        at += bytes;
    }
    if (rc == 0)
        rc = name_run(sql, SQL_PARKED_WHOLE, parked->name);
    store_single_give(store, sql);
    return rc;
}

int store_parked_look(struct store *store, const uint8_t name[STORE_PARKED_NAME_BYTES],
                      uint8_t id[RECORD_ID_BYTES])
{
    struct sql *sql = store_single_take(store);
    struct sql_statement *look = sql_use(sql, SQL_PARKED_LOOK);
    sql_bind_blob(look, 1, name, STORE_PARKED_NAME_BYTES);
    const int step = sql_step(look);
    int rc = step == 1 ? 0 : step == 0 ? -ENOENT : -EIO;
    if (rc == 0 && !sql_column_blob(look, 0, id, RECORD_ID_BYTES))
        rc = -EIO;
    sql_done(look);
    store_single_give(store, sql);
    return rc;
}

int store_parked_take(struct store *store, struct store_parked *parked, const uint8_t *browser)
{
    struct sql *sql = store_single_take(store);
    struct sql_statement *take = sql_use(sql, SQL_PARKED_TAKE);
    sql_bind_blob(take, 1, parked->name, sizeof(parked->name));
    sql_bind_u64(take, 2, STORE_PARKED_TAKEN_NS / NS_PER_US);
    sql_bind_blob(take, 3, browser, browser == NULL ? 0 : STORE_PARKED_BROWSER_BYTES);
    const int step = sql_step(take);
    int rc = step == 1 ? 0 : step == 0 ? -ENOENT : -EIO;
    if (rc == 0 && (!sql_column_blob(take, 0, parked->owner, sizeof(parked->owner)) ||
                    !sql_column_blob(take, 1, parked->id, sizeof(parked->id))))
        rc = -EIO;
    parked->suite = rc == 0 ? (uint32_t)sql_column_u64(take, 2) : 0;
    parked->sealed_bytes = rc == 0 ? sql_column_u64(take, 3) : 0;
    if (step == 1 && sql_step(take) != 0)
        rc = -EIO;
    sql_done(take);
    store_single_give(store, sql);
    return rc;
}

int store_parked_read(struct store *store, const struct store_parked *parked, uint8_t *sealed)
{
    struct sql *sql = store_single_take(store);
    int rc = 0;
    uint64_t part = 0;
    for (uint64_t at = 0; at < parked->sealed_bytes && rc == 0; part++) {
        const uint64_t bytes = MIN(parked->sealed_bytes - at, (uint64_t)STORE_PARKED_PART_BYTES);
        struct sql_statement *get = sql_use(sql, SQL_PARKED_PART_GET);
        sql_bind_blob(get, 1, parked->name, sizeof(parked->name));
        sql_bind_u64(get, 2, part);
        const int step = sql_step(get);
        rc = step == 1 ? 0 : step == 0 ? -ENOENT : -EIO;
        if (rc == 0 && !sql_column_blob(get, 0, sealed + at, bytes))
            rc = -EIO;
        sql_done(get);
        at += bytes;
    }
    store_single_give(store, sql);
    return rc;
}

void store_parked_give(struct store *store, const uint8_t name[STORE_PARKED_NAME_BYTES],
                       const uint8_t *browser)
{
    struct sql *sql = store_single_take(store);
    struct sql_statement *give =
        sql_use(sql, browser == NULL ? SQL_PARKED_GIVE : SQL_PARKED_OPENED);
    sql_bind_blob(give, 1, name, STORE_PARKED_NAME_BYTES);
    if (browser != NULL)
        sql_bind_blob(give, 2, browser, STORE_PARKED_BROWSER_BYTES);
    const int changed = sql_run(give);
    (void)changed; /* then it is free again after STORE_PARKED_TAKEN_NS */
    store_single_give(store, sql);
}

void store_parked_end(struct store *store, const uint8_t name[STORE_PARKED_NAME_BYTES])
{
    struct sql *sql = store_single_take(store);
    const int rc = name_run(sql, SQL_PARKED_END, name);
    (void)rc; /* then it goes when its time is over */
    store_single_give(store, sql);
}

int store_parked_prune(struct store *store)
{
    struct sql *sql = store_single_take(store);
    const int changed = sql_run(sql_use(sql, SQL_PARKED_PRUNE));
    store_single_give(store, sql);
    return changed < 0 ? -EIO : 0;
}
