#include "keyservice/server/store/store.h"

#include "keyservice/server/store/store_sql.h"

#include <errno.h>
#include <string.h>

static bool engine_columns(struct sql_statement *get, struct store_engine *engine)
{
    engine->created_unix_ms = sql_column_u64(get, 2);
    engine->revoked_unix_ms = sql_column_u64(get, 3);
    return sql_column_blob(get, 0, engine->fingerprint, sizeof(engine->fingerprint)) &&
           sql_column_string(get, 1, engine->name, sizeof(engine->name));
}

static int engine_insert(struct store_writer *writer, const struct store_engine *engine)
{
    struct sql_statement *add = sql_use(&writer->sql, SQL_ENGINE_ADD);
    sql_bind_blob(add, 1, engine->fingerprint, sizeof(engine->fingerprint));
    sql_bind_string(add, 2, engine->name);
    sql_bind_u64(add, 3, engine->created_unix_ms);
    const int changed = sql_run(add);
    return changed < 0 ? changed : changed == 0 ? -EEXIST : 0;
}

static int add_apply(struct store_writer *writer, void *argument)
{
    return engine_insert(writer, argument);
}

int store_engine_add(struct store *store, const struct store_engine *engine)
{
    struct store_engine copy = *engine;
    return store_write(store, add_apply, &copy);
}

int store_engine_get(struct store *store, const uint8_t fingerprint[STORE_HASH_BYTES],
                     struct store_engine *engine)
{
    struct sql *sql = store_reader_take(store);
    struct sql_statement *get = sql_use(sql, SQL_ENGINE_GET);
    sql_bind_blob(get, 1, fingerprint, STORE_HASH_BYTES);
    const int step = sql_step(get);
    int rc = step == 1 ? 0 : step == 0 ? -ENOENT : -EIO;
    if (rc == 0 && !engine_columns(get, engine))
        rc = -EIO;
    sql_done(get);
    store_reader_give(store, sql);
    return rc;
}

int store_engine_list(struct store *store, store_engine_visit *visit, void *context)
{
    int step = 0;
    struct store_engine engine;
    struct sql *sql = store_reader_take(store);
    struct sql_statement *list = sql_use(sql, SQL_ENGINE_LIST);
    sql_bind_u64(list, 1, STORE_ENGINES_LIST_MAX);
    while ((step = sql_step(list)) == 1) /* the statement's own limit bounds it */
        if (engine_columns(list, &engine))
            visit(context, &engine);
    sql_done(list);
    store_reader_give(store, sql);
    return step < 0 ? step : 0;
}

struct engine_write {
    const char *name;
    const uint8_t *code_hash;
    const struct store_engine *engine;
    uint64_t unix_ms;
};

static int revoke_apply(struct store_writer *writer, void *argument)
{
    const struct engine_write *write = argument;
    struct sql_statement *codes = sql_use(&writer->sql, SQL_ENROL_REMOVE_NAME);
    sql_bind_string(codes, 1, write->name);
    const int codes_count = sql_run(codes);
    struct sql_statement *revoke = sql_use(&writer->sql, SQL_ENGINE_REVOKE);
    sql_bind_string(revoke, 1, write->name);
    sql_bind_u64(revoke, 2, write->unix_ms);
    const int engines_count = sql_run(revoke);
    if (codes_count < 0 || engines_count < 0)
        return -EIO;
    return codes_count + engines_count == 0 ? -ENOENT : 0;
}

int store_engine_revoke(struct store *store, const char *name, uint64_t now_unix_ms)
{
    struct engine_write write = {.name = name, .unix_ms = now_unix_ms};
    return store_write(store, revoke_apply, &write);
}

static int enrol_add_apply(struct store_writer *writer, void *argument)
{
    const struct engine_write *write = argument;
    struct sql_statement *add = sql_use(&writer->sql, SQL_ENROL_ADD);
    sql_bind_blob(add, 1, write->code_hash, STORE_HASH_BYTES);
    sql_bind_string(add, 2, write->name);
    sql_bind_u64(add, 3, write->unix_ms);
    const int changed = sql_run(add);
    return changed < 0 ? changed : changed == 0 ? -EEXIST : 0;
}

int store_enrol_add(struct store *store, const uint8_t code_hash[STORE_HASH_BYTES],
                    const char *name, uint64_t expires_unix_ms)
{
    struct engine_write write = {.name = name, .code_hash = code_hash, .unix_ms = expires_unix_ms};
    return store_write(store, enrol_add_apply, &write);
}

int store_enrol_get(struct store *store, const uint8_t code_hash[STORE_HASH_BYTES],
                    uint64_t now_unix_ms, char name[STORE_NAME_BYTES])
{
    struct sql *sql = store_reader_take(store);
    struct sql_statement *get = sql_use(sql, SQL_ENROL_GET);
    sql_bind_blob(get, 1, code_hash, STORE_HASH_BYTES);
    sql_bind_u64(get, 2, now_unix_ms);
    const int step = sql_step(get);
    int rc = step == 1 ? 0 : step == 0 ? -ENOENT : -EIO;
    if (rc == 0 && !sql_column_string(get, 0, name, STORE_NAME_BYTES))
        rc = -EIO;
    sql_done(get);
    store_reader_give(store, sql);
    return rc;
}

static int enrol_spend_apply(struct store_writer *writer, void *argument)
{
    const struct engine_write *write = argument;
    struct sql_statement *gone = sql_use(&writer->sql, SQL_ENROL_REMOVE);
    sql_bind_blob(gone, 1, write->code_hash, STORE_HASH_BYTES);
    const int changed = sql_run(gone);
    if (changed <= 0)
        return changed < 0 ? changed : -EACCES; /* another request was first */
    return engine_insert(writer, write->engine);
}

int store_enrol_spend(struct store *store, const uint8_t code_hash[STORE_HASH_BYTES],
                      const struct store_engine *engine)
{
    struct engine_write write = {.code_hash = code_hash, .engine = engine};
    return store_write(store, enrol_spend_apply, &write);
}
