#include "keyservice/server/store/store_profile.h"

#include "keyservice/server/store/store_sql.h"

#include <errno.h>
#include <string.h>

struct put_write {
    const struct store_profile *profile;
    bool days_changed;
};

static int put_apply(struct store_writer *writer, void *argument)
{
    const struct put_write *write = argument;
    const struct store_profile *profile = write->profile;
    struct sql_statement *put = sql_use(&writer->sql, SQL_PROFILE_PUT);
    sql_bind_string(put, 1, profile->name);
    sql_bind_string(put, 2, profile->title);
    sql_bind_string(put, 3, profile->link);
    sql_bind_string(put, 4, profile->locale);
    sql_bind_string(put, 5, profile->text);
    sql_bind_string(put, 6, profile->contact);
    sql_bind_u64(put, 7, profile->retention_days);
    sql_bind_string(put, 8, profile->logo);
    sql_bind_u64(put, 9, profile->changed_unix_ms);
    sql_bind_u64(put, 10, write->days_changed ? 1 : 0);
    return sql_run(put) < 0 ? -EIO : 0;
}

int store_profile_put(struct store *store, const struct store_profile *profile, bool days_changed)
{
    struct put_write write = {.profile = profile, .days_changed = days_changed};
    return store_write(store, put_apply, &write);
}

static bool profile_columns(struct sql_statement *get, struct store_profile *profile)
{
    profile->retention_days = sql_column_u64(get, 6);
    profile->changed_unix_ms = sql_column_u64(get, 7);
    profile->logo[0] = '\0';
    return sql_column_string(get, 0, profile->name, sizeof(profile->name)) &&
           sql_column_string(get, 1, profile->title, sizeof(profile->title)) &&
           sql_column_string(get, 2, profile->link, sizeof(profile->link)) &&
           sql_column_string(get, 3, profile->locale, sizeof(profile->locale)) &&
           sql_column_string(get, 4, profile->text, sizeof(profile->text)) &&
           sql_column_string(get, 5, profile->contact, sizeof(profile->contact));
}

int store_profile_get(struct store *store, const char *name, struct store_profile *profile)
{
    struct sql *sql = store_reader_take(store);
    struct sql_statement *get = sql_use(sql, SQL_PROFILE_GET);
    sql_bind_string(get, 1, name);
    const int step = sql_step(get);
    int rc = step == 1 ? 0 : step == 0 ? -ENOENT : -EIO;
    if (rc == 0 && (!profile_columns(get, profile) ||
                    !sql_column_string(get, 8, profile->logo, sizeof(profile->logo))))
        rc = -EIO;
    sql_done(get);
    store_reader_give(store, sql);
    return rc;
}

struct remove_write {
    const char *name;
};

static int remove_apply(struct store_writer *writer, void *argument)
{
    const struct remove_write *write = argument;
    struct sql_statement *gone = sql_use(&writer->sql, SQL_PROFILE_REMOVE);
    sql_bind_string(gone, 1, write->name);
    const int changed = sql_run(gone);
    return changed < 0 ? changed : changed == 0 ? -ENOENT : 0;
}

int store_profile_remove(struct store *store, const char *name)
{
    struct remove_write write = {.name = name};
    return store_write(store, remove_apply, &write);
}

int store_profile_list(struct store *store, store_profile_visit *visit, void *context)
{
    int step = 0;
    struct store_profile profile;
    struct sql *sql = store_reader_take(store);
    struct sql_statement *list = sql_use(sql, SQL_PROFILE_LIST);
    sql_bind_u64(list, 1, STORE_PROFILES_MAX);
    while ((step = sql_step(list)) == 1) /* the statement's own limit bounds it */
        if (profile_columns(list, &profile))
            visit(context, &profile);
    sql_done(list);
    store_reader_give(store, sql);
    return step < 0 ? step : 0;
}
