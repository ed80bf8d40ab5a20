#include "keyservice/server/store/store_person.h"

#include "base/bytes.h"
#include "keyservice/server/store/store_sql.h"

#include <errno.h>
#include <string.h>

/* --- what a person chose --- */

int store_person_get(struct store *store, int64_t number, struct store_person *person)
{
    struct sql *sql = store_reader_take(store);
    struct sql_statement *get = sql_use(sql, SQL_PERSON_GET);
    sql_bind_u64(get, 1, (uint64_t)number);
    const int step = sql_step(get);
    int rc = step == 1 ? 0 : step == 0 ? -ENOENT : -EIO;
    if (rc == 0) {
        person->created_unix_ms = sql_column_u64(get, 0);
        person->totp = sql_column_u64(get, 3) != 0;
        person->recovery_count = (uint32_t)sql_column_u64(get, 4);
        if (!sql_column_string(get, 1, person->language, sizeof(person->language)) ||
            !sql_column_string(get, 2, person->phrase, sizeof(person->phrase)))
            rc = -EIO;
    }
    sql_done(get);
    store_reader_give(store, sql);
    return rc;
}

/* One statement about one account: what its further columns are bound to. */
struct person_write {
    enum sql_id sql;
    int64_t number;
    const uint8_t *id; /* NULL: none */
    size_t id_bytes;
    const char *text; /* NULL: none; behind `id` */
    int none;         /* what it means when nothing changed */
};

static int person_apply(struct store_writer *writer, void *argument)
{
    const struct person_write *write = argument;
    int column = 1;
    struct sql_statement *statement = sql_use(&writer->sql, write->sql);
    sql_bind_u64(statement, column++, (uint64_t)write->number);
    if (write->id != NULL)
        sql_bind_blob(statement, column++, write->id, write->id_bytes);
    if (write->text != NULL)
        sql_bind_string(statement, column, write->text);
    return sql_run_some(statement, write->none);
}

static int person_write(struct store *store, struct person_write write)
{
    return store_write(store, person_apply, &write);
}

int store_person_language(struct store *store, int64_t number, const char *language)
{
    return person_write(store, (struct person_write){.sql = SQL_ACCOUNT_LANGUAGE,
                                                     .number = number,
                                                     .text = language,
                                                     .none = -ENOENT});
}

int store_person_phrase(struct store *store, int64_t number, const char *phrase)
{
    return person_write(
        store, (struct person_write){
                   .sql = SQL_ACCOUNT_PHRASE, .number = number, .text = phrase, .none = -ENOENT});
}

/* --- sessions and devices --- */

static int places_read(struct store *store, enum sql_id id, int64_t number,
                       struct store_place *places, uint32_t places_max, uint32_t *count)
{
    int step = 0;
    struct sql *sql = store_reader_take(store);
    struct sql_statement *list = sql_use(sql, id);
    sql_bind_u64(list, 1, (uint64_t)number);
    sql_bind_u64(list, 2, places_max);
    *count = 0;
    while (*count < places_max && (step = sql_step(list)) == 1) {
        struct store_place *place = &places[*count];
        place->created_unix_ms = sql_column_u64(list, 1);
        place->seen_unix_ms = sql_column_u64(list, 2);
        if (sql_column_blob(list, 0, place->hash, sizeof(place->hash)) &&
            sql_column_string(list, 3, place->label, sizeof(place->label)))
            (*count)++;
    }
    sql_done(list);
    store_reader_give(store, sql);
    return step < 0 ? step : 0;
}

int store_session_list(struct store *store, int64_t number,
                       struct store_place places[STORE_SESSIONS_MAX], uint32_t *count)
{
    return places_read(store, SQL_SESSION_LIST, number, places, STORE_SESSIONS_MAX, count);
}

int store_device_list(struct store *store, int64_t number,
                      struct store_place places[STORE_DEVICES_MAX], uint32_t *count)
{
    return places_read(store, SQL_DEVICE_LIST, number, places, STORE_DEVICES_MAX, count);
}

int store_session_end(struct store *store, int64_t number, const uint8_t id[STORE_ID_BYTES])
{
    return person_write(store, (struct person_write){.sql = SQL_SESSION_END,
                                                     .number = number,
                                                     .id = id,
                                                     .id_bytes = STORE_ID_BYTES,
                                                     .none = -ENOENT});
}

int store_session_end_others(struct store *store, int64_t number,
                             const uint8_t keep[STORE_HASH_BYTES])
{
    return person_write(store, (struct person_write){.sql = SQL_SESSION_END_OTHERS,
                                                     .number = number,
                                                     .id = keep,
                                                     .id_bytes = STORE_HASH_BYTES});
}

int store_device_end(struct store *store, int64_t number, const uint8_t id[STORE_ID_BYTES])
{
    return person_write(store, (struct person_write){.sql = SQL_DEVICE_END,
                                                     .number = number,
                                                     .id = id,
                                                     .id_bytes = STORE_ID_BYTES,
                                                     .none = -ENOENT});
}

int store_device_end_others(struct store *store, int64_t number,
                            const uint8_t keep[STORE_HASH_BYTES])
{
    return person_write(store, (struct person_write){.sql = SQL_DEVICE_END_OTHERS,
                                                     .number = number,
                                                     .id = keep,
                                                     .id_bytes = STORE_HASH_BYTES});
}

static int device_put_apply(struct store_writer *writer, void *argument)
{
    const struct store_device *device = argument;
    if (device->hash_old != NULL) {
        struct sql_statement *move = sql_use(&writer->sql, SQL_DEVICE_MOVE);
        sql_bind_blob(move, 1, device->hash_old, STORE_HASH_BYTES);
        sql_bind_blob(move, 2, device->hash, STORE_HASH_BYTES);
        if (sql_run(move) < 0)
            return -EIO;
    }
    struct sql_statement *put = sql_use(&writer->sql, SQL_DEVICE_PUT);
    sql_bind_blob(put, 1, device->hash, STORE_HASH_BYTES);
    sql_bind_u64(put, 2, (uint64_t)device->account_number);
    sql_bind_string(put, 3, device->label);
    sql_bind_u64(put, 4, device->now_unix_ms);
    const int rc = sql_run_some(put, -ENOENT);
    if (rc != 0)
        return rc;
    struct sql_statement *trim = sql_use(&writer->sql, SQL_DEVICE_TRIM);
    sql_bind_u64(trim, 1, (uint64_t)device->account_number);
    sql_bind_u64(trim, 2, STORE_DEVICES_MAX);
    return sql_run(trim) < 0 ? -EIO : 0;
}

int store_device_put(struct store *store, const struct store_device *device)
{
    struct store_device copy = *device;
    return store_write(store, device_put_apply, &copy);
}

int store_device_get(struct store *store, const uint8_t hash[STORE_HASH_BYTES], const char *address,
                     char phrase[STORE_PHRASE_BYTES])
{
    struct sql *sql = store_reader_take(store);
    struct sql_statement *get = sql_use(sql, SQL_DEVICE_GET);
    sql_bind_blob(get, 1, hash, STORE_HASH_BYTES);
    sql_bind_string(get, 2, address);
    const int step = sql_step(get);
    int rc = step == 1 ? 0 : step == 0 ? -ENOENT : -EIO;
    if (rc == 0 && !sql_column_string(get, 0, phrase, STORE_PHRASE_BYTES))
        rc = -EIO;
    sql_done(get);
    store_reader_give(store, sql);
    return rc;
}

/* --- second factors --- */

struct totp_write {
    int64_t number;
    const struct store_totp *totp; /* NULL: recovery codes alone */
    const uint8_t (*codes)[STORE_HASH_BYTES];
    uint64_t step;
};

static int recovery_put(struct store_writer *writer, const struct totp_write *write)
{
    struct sql_statement *clear = sql_use(&writer->sql, SQL_RECOVERY_CLEAR);
    sql_bind_u64(clear, 1, (uint64_t)write->number);
    if (sql_run(clear) < 0)
        return -EIO;
    for (uint32_t i = 0; i < STORE_RECOVERY_COUNT; i++) {
        struct sql_statement *add = sql_use(&writer->sql, SQL_RECOVERY_ADD);
        sql_bind_u64(add, 1, (uint64_t)write->number);
        sql_bind_blob(add, 2, write->codes[i], STORE_HASH_BYTES);
        if (sql_run(add) < 0)
            return -EIO;
    }
    return 0;
}

void store_totp_id(uint8_t id[MASTER_ID_BYTES], int64_t number)
{
    memcpy(id, "totp\0\0\0\0", 8);
    bytes_store_le64(id + 8, (uint64_t)number);
}

static int totp_put_apply(struct store_writer *writer, void *argument)
{
    const struct totp_write *write = argument;
    if (write->totp != NULL) {
        struct sql_statement *put = sql_use(&writer->sql, SQL_TOTP_PUT);
        sql_bind_u64(put, 1, (uint64_t)write->number);
        sql_bind_u64(put, 2, write->totp->key_version);
        sql_bind_blob(put, 3, write->totp->wrapped, write->totp->wrapped_bytes);
        sql_bind_u64(put, 4, write->totp->step);
        const int rc = sql_run_some(put, -EEXIST);
        if (rc != 0)
            return rc;
    }
    return recovery_put(writer, write);
}

int store_totp_put(struct store *store, int64_t number, const struct store_totp *totp,
                   const uint8_t codes[STORE_RECOVERY_COUNT][STORE_HASH_BYTES])
{
    struct totp_write write = {.number = number, .totp = totp, .codes = codes};
    return store_write(store, totp_put_apply, &write);
}

int store_recovery_put(struct store *store, int64_t number,
                       const uint8_t codes[STORE_RECOVERY_COUNT][STORE_HASH_BYTES])
{
    struct totp_write write = {.number = number, .codes = codes};
    return store_write(store, totp_put_apply, &write);
}

int store_totp_get(struct store *store, int64_t number, struct store_totp *totp)
{
    size_t wrapped_bytes = 0;
    struct sql *sql = store_reader_take(store);
    struct sql_statement *get = sql_use(sql, SQL_TOTP_GET);
    sql_bind_u64(get, 1, (uint64_t)number);
    const int step = sql_step(get);
    int rc = step == 1 ? 0 : step == 0 ? -ENOENT : -EIO;
    if (rc == 0) {
        totp->key_version = (uint32_t)sql_column_u64(get, 0);
        totp->step = sql_column_u64(get, 2);
        const void *wrapped = sql_column_bytes(get, 1, &wrapped_bytes);
        if (wrapped == NULL || wrapped_bytes > sizeof(totp->wrapped))
            rc = -EIO;
        else
            memcpy(totp->wrapped, wrapped, wrapped_bytes);
        totp->wrapped_bytes = (uint32_t)wrapped_bytes;
    }
    sql_done(get);
    store_reader_give(store, sql);
    return rc;
}

static int totp_use_apply(struct store_writer *writer, void *argument)
{
    const struct totp_write *write = argument;
    struct sql_statement *use = sql_use(&writer->sql, SQL_TOTP_STEP);
    sql_bind_u64(use, 1, (uint64_t)write->number);
    sql_bind_u64(use, 2, write->step);
    return sql_run_some(use, -EACCES);
}

int store_totp_use(struct store *store, int64_t number, uint64_t step)
{
    struct totp_write write = {.number = number, .step = step};
    return store_write(store, totp_use_apply, &write);
}

static int totp_remove_apply(struct store_writer *writer, void *argument)
{
    const struct totp_write *write = argument;
    struct sql_statement *clear = sql_use(&writer->sql, SQL_RECOVERY_CLEAR);
    sql_bind_u64(clear, 1, (uint64_t)write->number);
    if (sql_run(clear) < 0)
        return -EIO;
    struct sql_statement *gone = sql_use(&writer->sql, SQL_TOTP_REMOVE);
    sql_bind_u64(gone, 1, (uint64_t)write->number);
    const int rc = sql_run_some(gone, -ENOENT);
    return rc != 0 ? rc : store_session_factor_gone(writer, write->number, STORE_FACTOR_CODE_APP);
}

int store_totp_remove(struct store *store, int64_t number)
{
    struct totp_write write = {.number = number};
    return store_write(store, totp_remove_apply, &write);
}

int store_recovery_spend(struct store *store, int64_t number, const uint8_t hash[STORE_HASH_BYTES])
{
    return person_write(store, (struct person_write){.sql = SQL_RECOVERY_SPEND,
                                                     .number = number,
                                                     .id = hash,
                                                     .id_bytes = STORE_HASH_BYTES,
                                                     .none = -EACCES});
}

/* What store_prune() does for these tables. */
int store_person_prune(struct store_writer *writer, uint64_t now_unix_ms)
{
    static const enum sql_id prunes[] = {SQL_RESET_PRUNE, SQL_SPENT_PRUNE, SQL_DEVICE_PRUNE};
    int most = 0;
    for (size_t i = 0; i < ARRAY_COUNT(prunes); i++) {
        const bool devices = prunes[i] == SQL_DEVICE_PRUNE;
        struct sql_statement *prune = sql_use(&writer->sql, prunes[i]);
        sql_bind_u64(prune, 1,
                     devices && now_unix_ms > STORE_DEVICE_LIFE_MS
                         ? now_unix_ms - STORE_DEVICE_LIFE_MS
                     : devices ? 0
                               : now_unix_ms);
        sql_bind_u64(prune, 2, STORE_PRUNE_ROWS);
        const int count = sql_run(prune);
        if (count < 0)
            return -EIO;
        most = MAX(most, count);
    }
    return most;
}
