#include "keyservice/server/store/store_role.h"

#include "base/assert.h"
#include "keyservice/server/store/store_sql.h"

#include <errno.h>
#include <string.h>

struct role_write {
    const char *address;
    enum role role;
    const char *profile;
    uint64_t now_unix_ms;
};

/* The account's number, its row held until the commit. */
static int account_hold(struct store_writer *writer, const char *address, int64_t *number)
{
    struct sql_statement *hold = sql_use(&writer->sql, SQL_ACCOUNT_HOLD);
    sql_bind_string(hold, 1, address);
    const int step = sql_step(hold);
    if (step == 1)
        *number = (int64_t)sql_column_u64(hold, 0);
    sql_done(hold);
    return step < 0 ? step : step == 0 ? -ENOENT : 0;
}

/* A statement of one account and perhaps a time; that it changes nothing is fine. */
static int account_run(struct store_writer *writer, enum sql_id id, int64_t number,
                       uint64_t unix_ms)
{
    struct sql_statement *run = sql_use(&writer->sql, id);
    sql_bind_u64(run, 1, (uint64_t)number);
    if (unix_ms != 0)
        sql_bind_u64(run, 2, unix_ms);
    return sql_run_some(run, 0);
}

/*
 * One at a time, also where others write too: else two who each see the other left would both go.
 * 0 when another than `number` is left, or it is none itself.
 */
static int other_administrator(struct store_writer *writer, int64_t number)
{
    int step = 0;
    bool is_one = false;
    bool other = false;
    struct sql_statement *lock = sql_use(&writer->sql, SQL_ROLE_LOCK);
    step = sql_step(lock);
    sql_done(lock);
    if (step < 0)
        return step;
    struct sql_statement *list = sql_use(&writer->sql, SQL_ROLE_ADMINISTRATORS);
    sql_bind_u64(list, 1, ROLE_ADMINISTRATOR);
    while ((step = sql_step(list)) == 1) { /* as many as there are: the table's end bounds it */
        const bool same = (int64_t)sql_column_u64(list, 0) == number;
        is_one = is_one || same;
        other = other || !same;
    }
    sql_done(list);
    return step < 0 ? step : is_one && !other ? -EACCES : 0;
}

static int profiles_count(struct store_writer *writer, int64_t number, uint64_t *count)
{
    struct sql_statement *get = sql_use(&writer->sql, SQL_ROLE_COUNT);
    sql_bind_u64(get, 1, (uint64_t)number);
    sql_bind_u64(get, 2, ROLE_PROFILE_ADMINISTRATOR);
    const int step = sql_step(get);
    *count = step == 1 ? sql_column_u64(get, 0) : 0;
    sql_done(get);
    return step < 0 ? step : 0;
}

static int grant_apply(struct store_writer *writer, void *argument)
{
    const struct role_write *write = argument;
    int64_t number = 0;
    uint64_t count = 0;
    int rc = account_hold(writer, write->address, &number);
    if (rc == 0)
        rc = profiles_count(writer, number, &count);
    if (rc != 0)
        return rc;
    if (write->role == ROLE_PROFILE_ADMINISTRATOR && count >= ROLES_PROFILES_MAX)
        return -EACCES;
    struct sql_statement *add = sql_use(&writer->sql, SQL_ROLE_ADD);
    sql_bind_u64(add, 1, (uint64_t)number);
    sql_bind_u64(add, 2, write->role);
    sql_bind_string(add, 3, write->profile);
    sql_bind_u64(add, 4, write->now_unix_ms);
    return sql_run_some(add, -EEXIST);
}

int store_role_grant(struct store *store, const char *address, enum role role, const char *profile,
                     uint64_t now_unix_ms)
{
    struct role_write write = {
        .address = address, .role = role, .profile = profile, .now_unix_ms = now_unix_ms};
    ASSERT((role == ROLE_PROFILE_ADMINISTRATOR) == (profile[0] != '\0'));
    return store_write(store, grant_apply, &write);
}

/* Those that name the role; an administrator's may name any. */
static int role_tokens_end(struct store_writer *writer, int64_t number,
                           const struct role_write *write)
{
    struct sql_statement *end = sql_use(&writer->sql, SQL_TOKEN_END_ROLE);
    sql_bind_u64(end, 1, (uint64_t)number);
    sql_bind_u64(end, 2, write->role);
    sql_bind_string(end, 3, write->profile);
    sql_bind_u64(end, 4, ROLE_ADMINISTRATOR);
    return sql_run_some(end, 0);
}

static int revoke_apply(struct store_writer *writer, void *argument)
{
    const struct role_write *write = argument;
    int64_t number = 0;
    int rc = account_hold(writer, write->address, &number);
    if (rc == 0 && write->role == ROLE_ADMINISTRATOR)
        rc = other_administrator(writer, number);
    if (rc != 0)
        return rc;
    struct sql_statement *gone = sql_use(&writer->sql, SQL_ROLE_REMOVE);
    sql_bind_u64(gone, 1, (uint64_t)number);
    sql_bind_u64(gone, 2, write->role);
    sql_bind_string(gone, 3, write->profile);
    rc = sql_run_some(gone, -ENOENT);
    return rc == 0 ? role_tokens_end(writer, number, write) : rc;
}

int store_role_revoke(struct store *store, const char *address, enum role role, const char *profile)
{
    struct role_write write = {.address = address, .role = role, .profile = profile};
    return store_write(store, revoke_apply, &write);
}

static int grants_visit(struct store *store, struct sql *sql, struct sql_statement *list,
                        store_grant_visit *visit, void *context)
{
    int step = 0;
    while ((step = sql_step(list)) == 1) { /* the statement's own limit bounds it */
        struct store_grant grant = {.account_number = (int64_t)sql_column_u64(list, 0),
                                    .role = (enum role)sql_column_u64(list, 1),
                                    .granted_unix_ms = sql_column_u64(list, 3)};
        if (sql_column_string(list, 2, grant.profile, sizeof(grant.profile)) &&
            sql_column_string(list, 4, grant.address, sizeof(grant.address)))
            visit(context, &grant);
    }
    sql_done(list);
    store_reader_give(store, sql);
    return step < 0 ? step : 0;
}

int store_role_of(struct store *store, int64_t account_number, store_grant_visit *visit,
                  void *context)
{
    struct sql *sql = store_reader_take(store);
    struct sql_statement *list = sql_use(sql, SQL_ROLE_OF);
    sql_bind_u64(list, 1, (uint64_t)account_number);
    sql_bind_u64(list, 2, STORE_GRANTS_LIST_MAX);
    return grants_visit(store, sql, list, visit, context);
}

int store_role_list(struct store *store, store_grant_visit *visit, void *context)
{
    struct sql *sql = store_reader_take(store);
    struct sql_statement *list = sql_use(sql, SQL_ROLE_LIST);
    sql_bind_u64(list, 1, STORE_GRANTS_LIST_MAX);
    return grants_visit(store, sql, list, visit, context);
}

static bool user_columns(struct sql_statement *get, struct store_user *user)
{
    *user = (struct store_user){.number = (int64_t)sql_column_u64(get, 0),
                                .created_unix_ms = sql_column_u64(get, 1),
                                .disabled_unix_ms = sql_column_u64(get, 3)};
    const uint64_t roles = sql_column_u64(get, 4);
    user->held = (uint32_t)roles;
    return sql_column_string(get, 2, user->address, sizeof(user->address));
}

int store_user_list(struct store *store, const char *part, int64_t after, store_user_visit *visit,
                    void *context)
{
    int step = 0;
    struct store_user user;
    struct sql *sql = store_reader_take(store);
    struct sql_statement *list = sql_use(sql, SQL_USER_LIST);
    sql_bind_u64(list, 1, (uint64_t)after);
    sql_bind_string(list, 2, part);
    sql_bind_u64(list, 3, STORE_USERS_PAGE_MAX);
    while ((step = sql_step(list)) == 1) /* the statement's own limit bounds it */
        if (user_columns(list, &user))
            visit(context, &user);
    sql_done(list);
    store_reader_give(store, sql);
    return step < 0 ? step : 0;
}

int store_user_get(struct store *store, int64_t number, struct store_user *user)
{
    struct sql *sql = store_reader_take(store);
    struct sql_statement *get = sql_use(sql, SQL_USER_GET);
    sql_bind_u64(get, 1, (uint64_t)number);
    const int step = sql_step(get);
    int rc = step == 1 ? 0 : step == 0 ? -ENOENT : -EIO;
    if (rc == 0 && !user_columns(get, user))
        rc = -EIO;
    if (rc == 0) {
        user->sessions_count = sql_column_u64(get, 5);
        user->seen_unix_ms = sql_column_u64(get, 6);
    }
    sql_done(get);
    store_reader_give(store, sql);
    return rc;
}

static int disable_apply(struct store_writer *writer, void *argument)
{
    const struct role_write *write = argument;
    int64_t number = 0;
    int rc = account_hold(writer, write->address, &number);
    if (rc == 0)
        rc = other_administrator(writer, number);
    if (rc == 0)
        rc = store_sessions_end(writer, write->address);
    if (rc == 0)
        rc = store_tokens_end(writer, write->address);
    return rc == 0 ? account_run(writer, SQL_DISABLED_ADD, number, write->now_unix_ms) : rc;
}

int store_user_disable(struct store *store, const char *address, uint64_t now_unix_ms)
{
    struct role_write write = {.address = address, .now_unix_ms = now_unix_ms};
    ASSERT(now_unix_ms != 0);
    return store_write(store, disable_apply, &write);
}

static int enable_apply(struct store_writer *writer, void *argument)
{
    const struct role_write *write = argument;
    int64_t number = 0;
    const int rc = account_hold(writer, write->address, &number);
    return rc == 0 ? account_run(writer, SQL_DISABLED_REMOVE, number, 0) : rc;
}

int store_user_enable(struct store *store, const char *address)
{
    struct role_write write = {.address = address};
    return store_write(store, enable_apply, &write);
}

static int sessions_end_apply(struct store_writer *writer, void *argument)
{
    const struct role_write *write = argument;
    int64_t number = 0;
    const int rc = account_hold(writer, write->address, &number);
    return rc != 0 ? rc : store_sessions_end(writer, write->address);
}

int store_user_sessions_end(struct store *store, const char *address)
{
    struct role_write write = {.address = address};
    return store_write(store, sessions_end_apply, &write);
}

static int factors_clear_apply(struct store_writer *writer, void *argument)
{
    static const enum sql_id each[] = {SQL_RECOVERY_CLEAR, SQL_TOTP_REMOVE, SQL_PASSKEY_CLEAR};
    const struct role_write *write = argument;
    int64_t number = 0;
    int rc = account_hold(writer, write->address, &number);
    for (size_t i = 0; i < ARRAY_COUNT(each) && rc == 0; i++)
        rc = account_run(writer, each[i], number, 0);
    return rc == 0 ? store_sessions_end(writer, write->address) : rc;
}

int store_user_factors_clear(struct store *store, const char *address)
{
    struct role_write write = {.address = address};
    return store_write(store, factors_clear_apply, &write);
}

static int remove_apply(struct store_writer *writer, void *argument)
{
    const struct role_write *write = argument;
    int64_t number = 0;
    int rc = account_hold(writer, write->address, &number);
    if (rc == 0)
        rc = other_administrator(writer, number);
    if (rc == 0)
        rc = store_sessions_end(writer, write->address);
    if (rc != 0)
        return rc;
    struct sql_statement *gone = sql_use(&writer->sql, SQL_ACCOUNT_REMOVE);
    sql_bind_string(gone, 1, write->address);
    return sql_run_some(gone, -ENOENT);
}

int store_user_remove(struct store *store, const char *address)
{
    struct role_write write = {.address = address};
    return store_write(store, remove_apply, &write);
}

int store_user_enabled(struct store *store, const char *address)
{
    struct sql *sql = store_reader_take(store);
    struct sql_statement *get = sql_use(sql, SQL_DISABLED_GET);
    sql_bind_string(get, 1, address);
    const int step = sql_step(get);
    const bool disabled = step == 1 && sql_column_u64(get, 0) != 0;
    sql_done(get);
    store_reader_give(store, sql);
    return step < 0 ? step : step == 0 ? -ENOENT : disabled ? -EACCES : 0;
}
