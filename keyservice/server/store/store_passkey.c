#include "base/assert.h"
#include "keyservice/server/store/store_person.h"
#include "keyservice/server/store/store_sql.h"

#include <errno.h>
#include <string.h>

struct passkey_write {
    const struct store_passkey *passkey;
    const uint8_t *id;
    const uint8_t *challenge;
    uint64_t challenge_expires_unix_ms;
    uint64_t now_unix_ms;
    int64_t number;
    uint32_t counter;
    const char *name;
};

static bool column_take(struct sql_statement *get, int index, uint8_t *bytes_at, size_t room,
                        size_t *bytes)
{
    const void *column = sql_column_bytes(get, index, bytes);
    if (column == NULL || *bytes > room)
        return false;
    memcpy(bytes_at, column, *bytes);
    return true;
}

static bool passkey_columns(struct sql_statement *get, struct store_passkey *passkey)
{
    passkey->algorithm = -(int32_t)sql_column_u64(get, 2);
    passkey->counter = (uint32_t)sql_column_u64(get, 4);
    passkey->created_unix_ms = sql_column_u64(get, 6);
    passkey->used_unix_ms = sql_column_u64(get, 7);
    passkey->account_number = (int64_t)sql_column_u64(get, 8);
    return sql_column_blob(get, 0, passkey->id, sizeof(passkey->id)) &&
           column_take(get, 1, passkey->credential, sizeof(passkey->credential),
                       &passkey->credential_bytes) &&
           column_take(get, 3, passkey->public_key, sizeof(passkey->public_key),
                       &passkey->public_key_bytes) &&
           sql_column_string(get, 5, passkey->name, sizeof(passkey->name)) &&
           sql_column_string(get, 9, passkey->address, sizeof(passkey->address));
}

static int add_apply(struct store_writer *writer, void *argument)
{
    const struct passkey_write *write = argument;
    const struct store_passkey *passkey = write->passkey;
    struct sql_statement *add = sql_use(&writer->sql, SQL_PASSKEY_ADD);
    ASSERT(passkey->algorithm < 0); /* COSE's signatures are; the column has them without a sign */
    sql_bind_blob(add, 1, passkey->id, sizeof(passkey->id));
    sql_bind_u64(add, 2, (uint64_t)passkey->account_number);
    sql_bind_blob(add, 3, passkey->credential, passkey->credential_bytes);
    sql_bind_u64(add, 4, (uint64_t)-passkey->algorithm);
    sql_bind_blob(add, 5, passkey->public_key, passkey->public_key_bytes);
    sql_bind_u64(add, 6, passkey->counter);
    sql_bind_string(add, 7, passkey->name);
    sql_bind_u64(add, 8, passkey->created_unix_ms);
    sql_bind_u64(add, 9, STORE_PASSKEYS_MAX);
    return sql_run_some(add, -EEXIST);
}

int store_passkey_add(struct store *store, const struct store_passkey *passkey)
{
    struct passkey_write write = {.passkey = passkey};
    return store_write(store, add_apply, &write);
}

int store_passkey_get(struct store *store, const uint8_t id[STORE_ID_BYTES],
                      struct store_passkey *passkey)
{
    struct sql *sql = store_reader_take(store);
    struct sql_statement *get = sql_use(sql, SQL_PASSKEY_GET);
    sql_bind_blob(get, 1, id, STORE_ID_BYTES);
    const int step = sql_step(get);
    int rc = step == 1 ? 0 : step == 0 ? -ENOENT : -EIO;
    if (rc == 0 && !passkey_columns(get, passkey))
        rc = -EIO;
    sql_done(get);
    store_reader_give(store, sql);
    return rc;
}

int store_passkey_list(struct store *store, int64_t number, store_passkey_visit *visit,
                       void *context)
{
    int step = 0;
    struct store_passkey passkey;
    struct sql *sql = store_reader_take(store);
    struct sql_statement *list = sql_use(sql, SQL_PASSKEY_LIST);
    sql_bind_u64(list, 1, (uint64_t)number);
    sql_bind_u64(list, 2, STORE_PASSKEYS_MAX);
    while ((step = sql_step(list)) == 1) /* the statement's own limit bounds it */
        if (passkey_columns(list, &passkey))
            visit(context, &passkey);
    sql_done(list);
    store_reader_give(store, sql);
    return step < 0 ? step : 0;
}

static int challenge_apply(struct store_writer *writer, void *argument)
{
    const struct passkey_write *write = argument;
    struct sql_statement *spend = sql_use(&writer->sql, SQL_SPENT_ADD);
    sql_bind_blob(spend, 1, write->challenge, STORE_HASH_BYTES);
    sql_bind_u64(spend, 2, write->challenge_expires_unix_ms);
    return sql_run_some(spend, -EEXIST);
}

static int use_apply(struct store_writer *writer, void *argument)
{
    const struct passkey_write *write = argument;
    const int rc = challenge_apply(writer, argument);
    if (rc != 0)
        return rc;
    struct sql_statement *use = sql_use(&writer->sql, SQL_PASSKEY_USE);
    sql_bind_blob(use, 1, write->id, STORE_ID_BYTES);
    sql_bind_u64(use, 2, write->counter);
    sql_bind_u64(use, 3, write->now_unix_ms);
    return sql_run_some(use, -EACCES);
}

int store_passkey_use(struct store *store, const uint8_t id[STORE_ID_BYTES], uint32_t counter,
                      const uint8_t challenge[STORE_HASH_BYTES], uint64_t challenge_expires_unix_ms,
                      uint64_t now_unix_ms)
{
    struct passkey_write write = {.id = id,
                                  .counter = counter,
                                  .challenge = challenge,
                                  .challenge_expires_unix_ms = challenge_expires_unix_ms,
                                  .now_unix_ms = now_unix_ms};
    return store_write(store, use_apply, &write);
}

int store_challenge_spend(struct store *store, const uint8_t challenge[STORE_HASH_BYTES],
                          uint64_t expires_unix_ms)
{
    struct passkey_write write = {.challenge = challenge,
                                  .challenge_expires_unix_ms = expires_unix_ms};
    return store_write(store, challenge_apply, &write);
}

static int name_apply(struct store_writer *writer, void *argument)
{
    const struct passkey_write *write = argument;
    struct sql_statement *name = sql_use(&writer->sql, SQL_PASSKEY_NAME);
    sql_bind_u64(name, 1, (uint64_t)write->number);
    sql_bind_blob(name, 2, write->id, STORE_ID_BYTES);
    sql_bind_string(name, 3, write->name);
    return sql_run_some(name, -ENOENT);
}

int store_passkey_name(struct store *store, int64_t number, const uint8_t id[STORE_ID_BYTES],
                       const char *name)
{
    struct passkey_write write = {.number = number, .id = id, .name = name};
    return store_write(store, name_apply, &write);
}

static int remove_apply(struct store_writer *writer, void *argument)
{
    const struct passkey_write *write = argument;
    struct sql_statement *gone =
        sql_use(&writer->sql, write->id == NULL ? SQL_PASSKEY_CLEAR : SQL_PASSKEY_REMOVE);
    sql_bind_u64(gone, 1, (uint64_t)write->number);
    if (write->id != NULL)
        sql_bind_blob(gone, 2, write->id, STORE_ID_BYTES);
    const int rc = sql_run_some(gone, write->id == NULL ? 0 : -ENOENT);
    /* Which of them a session was signed in by is not known: it counts for none. */
    return rc != 0 ? rc : store_session_factor_gone(writer, write->number, STORE_FACTOR_PASSKEY);
}

int store_passkey_remove(struct store *store, int64_t number, const uint8_t id[STORE_ID_BYTES])
{
    struct passkey_write write = {.number = number, .id = id};
    return store_write(store, remove_apply, &write);
}

int store_passkey_clear(struct store *store, int64_t number)
{
    struct passkey_write write = {.number = number};
    return store_write(store, remove_apply, &write);
}
