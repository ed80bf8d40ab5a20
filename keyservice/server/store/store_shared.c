#include "keyservice/server/store/store_shared.h"

#include "base/assert.h"
#include "base/clock.h"
#include "keyservice/server/store/store_sql.h"

#include <errno.h>
#include <string.h>

#define NS_PER_US UINT64_C(1000)

static void bind_allowance(struct sql_statement *statement, const uint8_t *key, uint64_t refill_ns,
                           uint64_t span_ns)
{
    sql_bind_blob(statement, 1, key, STORE_SHARED_KEY_BYTES);
    sql_bind_u64(statement, 2, refill_ns / NS_PER_US);
    sql_bind_u64(statement, 3, span_ns / NS_PER_US);
}

/* A statement whose one row says yes: 1 or 0, or -EIO. It is committed when this returns. */
static int asked(struct sql_statement *statement, uint64_t *value)
{
    const int step = sql_step(statement);
    if (step != 1)
        return step;
    *value = sql_column_u64(statement, 0);
    const int end = sql_step(statement);
    sql_done(statement);
    return end == 0 ? 1 : -EIO;
}

uint64_t store_guess_take(struct store *store, const uint8_t key[STORE_SHARED_KEY_BYTES],
                          uint64_t refill_ns, uint64_t span_ns)
{
    uint64_t value = 0;
    uint64_t wait_ns = 0;
    struct sql *sql = store_single_take(store);
    struct sql_statement *take = sql_use(sql, SQL_GUESS_TAKE);
    bind_allowance(take, key, refill_ns, span_ns);
    int rc = asked(take, &value);
    if (rc == 0) {
        struct sql_statement *wait = sql_use(sql, SQL_GUESS_WAIT);
        bind_allowance(wait, key, refill_ns, span_ns);
        rc = asked(wait, &value);
        wait_ns = rc == 1 ? value * NS_PER_US : STORE_GUESS_AWAY;
    } else if (rc < 0) {
        wait_ns = STORE_GUESS_AWAY;
    }
    store_single_give(store, sql);
    return wait_ns;
}

void store_guess_give(struct store *store, const uint8_t key[STORE_SHARED_KEY_BYTES],
                      uint64_t refill_ns)
{
    struct sql *sql = store_single_take(store);
    struct sql_statement *give = sql_use(sql, SQL_GUESS_GIVE);
    sql_bind_blob(give, 1, key, STORE_SHARED_KEY_BYTES);
    sql_bind_u64(give, 2, refill_ns / NS_PER_US);
    const int changed = sql_run(give);
    (void)changed; /* a try that was not given back is missed by its owner alone */
    store_single_give(store, sql);
}

void store_known_add(struct store *store, const uint8_t key[STORE_SHARED_KEY_BYTES])
{
    struct sql *sql = store_single_take(store);
    struct sql_statement *add = sql_use(sql, SQL_KNOWN_ADD);
    sql_bind_blob(add, 1, key, STORE_SHARED_KEY_BYTES);
    const int changed = sql_run(add);
    (void)changed; /* the next right sign-in adds it */
    store_single_give(store, sql);
}

bool store_known(struct store *store, const uint8_t key[STORE_SHARED_KEY_BYTES])
{
    uint64_t seen = 0;
    struct sql *sql = store_single_take(store);
    struct sql_statement *get = sql_use(sql, SQL_KNOWN_GET);
    sql_bind_blob(get, 1, key, STORE_SHARED_KEY_BYTES);
    const bool known = asked(get, &seen) == 1;
    store_single_give(store, sql);
    return known;
}

int store_pickup_park(struct store *store, const uint8_t owner[STORE_SHARED_OWNER_BYTES],
                      const uint8_t *name, size_t name_bytes, const char *text, uint64_t life_ns)
{
    struct sql *sql = store_single_take(store);
    struct sql_statement *park = sql_use(sql, SQL_PICKUP_PARK);
    sql_bind_blob(park, 1, name, name_bytes);
    sql_bind_blob(park, 2, owner, STORE_SHARED_OWNER_BYTES);
    sql_bind_string(park, 3, text);
    sql_bind_u64(park, 4, life_ns / NS_PER_US);
    int rc = sql_run(park) < 0 ? -EIO : 0;
    if (rc == 0) {
        struct sql_statement *trim = sql_use(sql, SQL_PICKUP_TRIM);
        sql_bind_blob(trim, 1, owner, STORE_SHARED_OWNER_BYTES);
        sql_bind_u64(trim, 2, STORE_SHARED_PICKUP_SHARE);
        rc = sql_run(trim) < 0 ? -EIO : 0;
    }
    store_single_give(store, sql);
    return rc;
}

/* Looked for first: whoever waits asks often, and mostly in vain. */
int store_pickup_take(struct store *store, const uint8_t *name, size_t name_bytes, char *text,
                      size_t room)
{
    uint64_t until = 0;
    struct sql *sql = store_single_take(store);
    struct sql_statement *find = sql_use(sql, SQL_PICKUP_FIND);
    sql_bind_blob(find, 1, name, name_bytes);
    const int found = asked(find, &until);
    int rc = found == 1 ? 0 : found == 0 ? -ENOENT : -EIO;
    if (rc == 0) {
        struct sql_statement *take = sql_use(sql, SQL_PICKUP_TAKE);
        sql_bind_blob(take, 1, name, name_bytes);
        const int step = sql_step(take);
        rc = step == 1 ? 0 : step == 0 ? -ENOENT : -EIO;
        if (rc == 0 && !sql_column_string(take, 0, text, room))
            rc = -EIO;
        if (rc == 0 && (int64_t)sql_column_u64(take, 1) <= 0)
            rc = -ENOENT; /* out of time: gone, and of no use */
        /* Given out only when it is sure to be gone. */
        if (step == 1 && sql_step(take) != 0)
            rc = -EIO;
        sql_done(take);
    }
    store_single_give(store, sql);
    return rc;
}

bool store_lease_take(struct store *store, const char *name,
                      const uint8_t holder[STORE_SHARED_HOLDER_BYTES], uint64_t life_ns)
{
    struct sql *sql = store_single_take(store);
    struct sql_statement *take = sql_use(sql, SQL_LEASE_TAKE);
    sql_bind_string(take, 1, name);
    sql_bind_blob(take, 2, holder, STORE_SHARED_HOLDER_BYTES);
    sql_bind_u64(take, 3, life_ns / NS_PER_US);
    const int changed = sql_run(take);
    store_single_give(store, sql);
    return changed == 1;
}

static int prune_some(struct store *store, enum sql_id id, uint64_t bound)
{
    struct sql *sql = store_single_take(store);
    struct sql_statement *prune = sql_use(sql, id);
    if (bound > 0)
        sql_bind_u64(prune, 1, bound);
    const int changed = sql_run(prune);
    store_single_give(store, sql);
    return changed;
}

int store_shared_prune(struct store *store)
{
    int pruned = 0;
    for (uint32_t round = 0; round < STORE_SHARED_PRUNES_MAX; round++) {
        pruned = prune_some(store, SQL_GUESS_PRUNE, STORE_SHARED_PRUNE_ROWS);
        if (pruned < STORE_SHARED_PRUNE_ROWS)
            break;
    }
    if (pruned < 0 || prune_some(store, SQL_PICKUP_PRUNE, 0) < 0 ||
        prune_some(store, SQL_GUESS_BOUND, STORE_SHARED_GUESSES_MAX) < 0 ||
        prune_some(store, SQL_KNOWN_BOUND, STORE_SHARED_KNOWN_MAX) < 0 ||
        prune_some(store, SQL_PICKUP_BOUND, STORE_SHARED_PICKUPS_MAX) < 0)
        return -EIO;
    return 0;
}
