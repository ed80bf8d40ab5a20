#include "keyservice/server/store/store.h"

#include "crypto/secret.h"
#include "keyservice/server/store/store_person.h"
#include "keyservice/server/store/store_sql.h"

#include <errno.h>
#include <openssl/sha.h>
#include <string.h>

#define PRUNE_ROUNDS_MAX 4096 /* a million rows of each; the next minute goes on */
#define MADE_CHARS       (sizeof(STORE_PASSWORD_MADE) - 1)

static bool account_columns(struct sql_statement *get, struct store_account *account)
{
    account->number = (int64_t)sql_column_u64(get, 0);
    account->created_unix_ms = sql_column_u64(get, 1);
    account->second_factor = sql_column_u64(get, 5) != 0;
    if (!sql_column_string(get, 2, account->address, sizeof(account->address)) ||
        !sql_column_string(get, 3, account->password, sizeof(account->password)) ||
        !sql_column_string(get, 4, account->language, sizeof(account->language)))
        return false;
    account->made = strncmp(account->password, STORE_PASSWORD_MADE, MADE_CHARS) == 0;
    (void)SHA256((const uint8_t *)account->password, strlen(account->password),
                 account->password_mark);
    return true;
}

static int account_find(struct sql *sql, const char *address, struct store_account *account)
{
    struct sql_statement *get = sql_use(sql, SQL_ACCOUNT_GET);
    sql_bind_string(get, 1, address);
    const int step = sql_step(get);
    int rc = step == 1 ? 0 : step == 0 ? -ENOENT : -EIO;
    if (rc == 0 && !account_columns(get, account))
        rc = -EIO;
    sql_done(get);
    return rc;
}

int store_account_get(struct store *store, const char *address, struct store_account *account)
{
    struct sql *sql = store_reader_take(store);
    const int rc = account_find(sql, address, account);
    store_reader_give(store, sql);
    return rc;
}

struct account_write {
    const struct store_account *was; /* NULL, or the password that is to be replaced */
    const char *address;
    const char *password;
    uint64_t now_unix_ms;
};

static int account_insert(struct store_writer *writer, const char *address, const char *password,
                          uint64_t now_unix_ms)
{
    struct sql_statement *add = sql_use(&writer->sql, SQL_ACCOUNT_ADD);
    sql_bind_string(add, 1, address);
    sql_bind_string(add, 2, password);
    sql_bind_u64(add, 3, now_unix_ms);
    return sql_run_some(add, -EEXIST);
}

static int add_apply(struct store_writer *writer, void *argument)
{
    const struct account_write *write = argument;
    return account_insert(writer, write->address, write->password, write->now_unix_ms);
}

int store_account_add(struct store *store, const char *address, const char *password,
                      uint64_t now_unix_ms)
{
    struct account_write write = {
        .address = address, .password = password, .now_unix_ms = now_unix_ms};
    return store_write(store, add_apply, &write);
}

/* Where others write too: nobody changes the account until this commit. */
static int account_hold(struct store_writer *writer, const char *address)
{
    struct sql_statement *hold = sql_use(&writer->sql, SQL_ACCOUNT_HOLD);
    sql_bind_string(hold, 1, address);
    const int step = sql_step(hold);
    sql_done(hold);
    return MIN(step, 0);
}

/* -ENOENT: it is gone, is another one, or has another password or another second step. */
static int account_still(struct store_writer *writer, const struct store_account *was)
{
    struct store_account now;
    int rc = account_hold(writer, was->address);
    if (rc == 0)
        rc = account_find(&writer->sql, was->address, &now);
    if (rc != 0)
        return rc;
    secret_wipe(now.password, sizeof(now.password));
    return now.number == was->number && now.second_factor == was->second_factor &&
                   memcmp(now.password_mark, was->password_mark, sizeof(now.password_mark)) == 0
               ? 0
               : -ENOENT;
}

int store_sessions_end(struct store_writer *writer, const char *address)
{
    const int rc = account_hold(writer, address); /* no session begins after the end of these */
    if (rc != 0)
        return rc;
    struct sql_statement *end = sql_use(&writer->sql, SQL_ACCOUNT_SESSIONS_REMOVE);
    sql_bind_string(end, 1, address);
    const int changed = sql_run(end);
    return changed < 0 ? changed : 0;
}

static int password_set(struct store_writer *writer, const char *address, const char *password)
{
    int rc = store_sessions_end(writer, address);
    if (rc == 0)
        rc = store_tokens_end(writer, address);
    if (rc != 0)
        return rc;
    struct sql_statement *set = sql_use(&writer->sql, SQL_ACCOUNT_PASSWORD);
    sql_bind_string(set, 1, address);
    sql_bind_string(set, 2, password);
    return sql_run_some(set, -ENOENT);
}

static int password_apply(struct store_writer *writer, void *argument)
{
    const struct account_write *write = argument;
    const int rc = write->was == NULL ? 0 : account_still(writer, write->was);
    return rc == 0 ? password_set(writer, write->address, write->password) : rc;
}

int store_account_password(struct store *store, const char *address, const char *password)
{
    struct account_write write = {.address = address, .password = password};
    return store_write(store, password_apply, &write);
}

int store_account_renew(struct store *store, const struct store_account *was, const char *password)
{
    struct account_write write = {.was = was, .address = was->address, .password = password};
    return store_write(store, password_apply, &write);
}

static int remove_apply(struct store_writer *writer, void *argument)
{
    const struct account_write *write = argument;
    const int rc = store_sessions_end(writer, write->address);
    if (rc != 0)
        return rc;
    struct sql_statement *gone = sql_use(&writer->sql, SQL_ACCOUNT_REMOVE);
    sql_bind_string(gone, 1, write->address);
    return sql_run_some(gone, -ENOENT);
}

int store_account_remove(struct store *store, const char *address)
{
    struct account_write write = {.address = address};
    return store_write(store, remove_apply, &write);
}

int store_account_list(struct store *store, store_account_visit *visit, void *context)
{
    int step = 0;
    struct store_account account;
    struct sql *sql = store_reader_take(store);
    struct sql_statement *list = sql_use(sql, SQL_ACCOUNT_LIST);
    sql_bind_u64(list, 1, STORE_ACCOUNTS_LIST_MAX);
    while ((step = sql_step(list)) == 1) /* the statement's own limit bounds it */
        if (account_columns(list, &account))
            visit(context, &account);
    sql_done(list);
    store_reader_give(store, sql);
    return step < 0 ? step : 0;
}

/* The statements of each purpose, which has a table of its own. */
static const struct pending_sql {
    enum sql_id put;
    enum sql_id trim;
    enum sql_id get;
    enum sql_id tried;
    enum sql_id remove;
} pending_sqls[STORE_PENDING_PURPOSES_COUNT] = {
    [STORE_PENDING_ACCOUNT] = {SQL_PENDING_PUT, SQL_PENDING_TRIM, SQL_PENDING_GET, SQL_PENDING_TRY,
                               SQL_PENDING_REMOVE},
    [STORE_PENDING_PASSWORD] = {SQL_RESET_PUT, SQL_RESET_TRIM, SQL_RESET_GET, SQL_RESET_TRY,
                                SQL_RESET_REMOVE},
};

static int pending_put_apply(struct store_writer *writer, void *argument)
{
    const struct store_pending *pending = argument;
    struct sql_statement *put = sql_use(&writer->sql, pending_sqls[pending->purpose].put);
    sql_bind_string(put, 1, pending->address);
    sql_bind_blob(put, 2, pending->browser, STORE_HASH_BYTES);
    sql_bind_blob(put, 3, pending->code_hash, STORE_HASH_BYTES);
    sql_bind_string(put, 4, pending->password);
    sql_bind_u64(put, 5, pending->now_unix_ms);
    sql_bind_u64(put, 6, pending->expires_unix_ms);
    if (sql_run(put) < 0)
        return -EIO;
    struct sql_statement *trim = sql_use(&writer->sql, pending_sqls[pending->purpose].trim);
    sql_bind_string(trim, 1, pending->address);
    sql_bind_u64(trim, 2, STORE_PENDING_MAX);
    return sql_run(trim) < 0 ? -EIO : 0;
}

int store_pending_put(struct store *store, const struct store_pending *pending)
{
    struct store_pending copy = *pending;
    return store_write(store, pending_put_apply, &copy);
}

/* Reads the pending row: 0 with its password when the code is right, -EACCES when it is not. */
static int pending_check(struct store_writer *writer, const struct store_pending *pending,
                         char password[STORE_PASSWORD_BYTES])
{
    uint8_t code_hash[STORE_HASH_BYTES];
    struct sql_statement *get = sql_use(&writer->sql, pending_sqls[pending->purpose].get);
    sql_bind_string(get, 1, pending->address);
    sql_bind_blob(get, 2, pending->browser, STORE_HASH_BYTES);
    const int step = sql_step(get);
    int rc = step == 1 ? 0 : step == 0 ? -EACCES : -EIO;
    if (rc == 0 && (!sql_column_blob(get, 0, code_hash, sizeof(code_hash)) ||
                    !sql_column_string(get, 1, password, STORE_PASSWORD_BYTES)))
        rc = -EIO;
    if (rc == 0 && (sql_column_u64(get, 2) <= pending->now_unix_ms ||
                    sql_column_u64(get, 3) >= STORE_CODE_TRIES_MAX ||
                    !ct_equal(code_hash, pending->code_hash, sizeof(code_hash))))
        rc = -EACCES;
    sql_done(get);
    return rc;
}

static int pending_spend_apply(struct store_writer *writer, void *argument)
{
    char password[STORE_PASSWORD_BYTES];
    const struct store_pending *pending = argument;
    int rc = pending_check(writer, pending, password);
    if (rc == -EACCES) {
        struct sql_statement *spend = sql_use(&writer->sql, pending_sqls[pending->purpose].tried);
        sql_bind_string(spend, 1, pending->address);
        sql_bind_blob(spend, 2, pending->browser, STORE_HASH_BYTES);
        return sql_run(spend) < 0 ? -EIO : -EACCES;
    }
    if (rc != 0)
        return rc;
    struct sql_statement *gone = sql_use(&writer->sql, pending_sqls[pending->purpose].remove);
    sql_bind_string(gone, 1, pending->address);
    if (sql_run(gone) < 0)
        return -EIO;
    rc = pending->purpose == STORE_PENDING_ACCOUNT
             ? account_insert(writer, pending->address, password, pending->now_unix_ms)
             : password_set(writer, pending->address, password);
    return rc == -EEXIST || rc == -ENOENT ? -EACCES : rc;
}

int store_pending_spend(struct store *store, const struct store_pending *pending)
{
    struct store_pending copy = *pending;
    return store_write(store, pending_spend_apply, &copy);
}

struct session_write {
    const struct store_session *session;
    const struct store_account *account; /* NULL in session_add_apply(): whatever its password */
    const uint8_t *hash;                 /* NULL in session_add_apply(): nothing to end */
    uint64_t now_unix_ms;
    enum store_factor factor; /* of factor_apply() */
};

static int session_remove(struct store_writer *writer, const uint8_t *hash)
{
    struct sql_statement *end = sql_use(&writer->sql, SQL_SESSION_REMOVE);
    sql_bind_blob(end, 1, hash, STORE_HASH_BYTES);
    return sql_run_some(end, -ENOENT);
}

static int session_add_apply(struct store_writer *writer, void *argument)
{
    const struct session_write *write = argument;
    const struct store_session *session = write->session;
    int rc = write->account == NULL ? 0 : account_still(writer, write->account);
    if (rc != 0)
        return rc;
    if (write->hash != NULL) {
        rc = session_remove(writer, write->hash);
        if (rc != 0 && rc != -ENOENT)
            return rc;
    }
    struct sql_statement *add = sql_use(&writer->sql, SQL_SESSION_ADD);
    sql_bind_blob(add, 1, session->hash, STORE_HASH_BYTES);
    sql_bind_u64(add, 2, (uint64_t)session->account_number);
    sql_bind_u64(add, 3, session->created_unix_ms);
    sql_bind_u64(add, 4, session->seen_unix_ms);
    sql_bind_u64(add, 5, session->password_unix_ms);
    sql_bind_string(add, 6, session->label);
    sql_bind_u64(add, 7, session->factors);
    rc = sql_run_some(add, -ENOENT);
    if (rc != 0)
        return rc;
    struct sql_statement *trim = sql_use(&writer->sql, SQL_SESSION_TRIM);
    sql_bind_u64(trim, 1, (uint64_t)session->account_number);
    sql_bind_u64(trim, 2, STORE_SESSIONS_MAX);
    return sql_run(trim) < 0 ? -EIO : 0;
}

int store_session_add(struct store *store, const struct store_session *session,
                      const struct store_account *account, const uint8_t *old_hash)
{
    struct session_write write = {.session = session, .account = account, .hash = old_hash};
    return store_write(store, session_add_apply, &write);
}

int store_session_get(struct store *store, const uint8_t hash[STORE_HASH_BYTES],
                      struct store_session *session)
{
    struct sql *sql = store_reader_take(store);
    struct sql_statement *get = sql_use(sql, SQL_SESSION_GET);
    sql_bind_blob(get, 1, hash, STORE_HASH_BYTES);
    const int step = sql_step(get);
    int rc = step == 1 ? 0 : step == 0 ? -ENOENT : -EIO;
    if (rc == 0) {
        memcpy(session->hash, hash, STORE_HASH_BYTES);
        session->label[0] = '\0';
        session->account_number = (int64_t)sql_column_u64(get, 0);
        session->created_unix_ms = sql_column_u64(get, 1);
        session->seen_unix_ms = sql_column_u64(get, 2);
        session->password_unix_ms = sql_column_u64(get, 3);
        session->factors = (uint32_t)sql_column_u64(get, 5);
        if (!sql_column_string(get, 4, session->address, sizeof(session->address)))
            rc = -EIO;
    }
    sql_done(get);
    store_reader_give(store, sql);
    return rc;
}

static int seen_apply(struct store_writer *writer, void *argument)
{
    const struct session_write *write = argument;
    struct sql_statement *seen = sql_use(&writer->sql, SQL_SESSION_SEEN);
    sql_bind_blob(seen, 1, write->hash, STORE_HASH_BYTES);
    sql_bind_u64(seen, 2, write->now_unix_ms);
    return sql_run_some(seen, -ENOENT);
}

int store_session_seen(struct store *store, const uint8_t hash[STORE_HASH_BYTES],
                       uint64_t now_unix_ms)
{
    struct session_write write = {.hash = hash, .now_unix_ms = now_unix_ms};
    return store_write(store, seen_apply, &write);
}

static int factor_apply(struct store_writer *writer, void *argument)
{
    const struct session_write *write = argument;
    struct sql_statement *set = sql_use(&writer->sql, SQL_SESSION_FACTOR);
    sql_bind_blob(set, 1, write->hash, STORE_HASH_BYTES);
    sql_bind_u64(set, 2, write->factor);
    return sql_run_some(set, -ENOENT);
}

int store_session_factor(struct store *store, const uint8_t hash[STORE_HASH_BYTES],
                         enum store_factor factor)
{
    struct session_write write = {.hash = hash, .factor = factor};
    return store_write(store, factor_apply, &write);
}

int store_session_factor_gone(struct store_writer *writer, int64_t account_number, uint32_t factor)
{
    struct sql_statement *gone = sql_use(&writer->sql, SQL_SESSION_FACTOR_GONE);
    sql_bind_u64(gone, 1, (uint64_t)account_number);
    sql_bind_u64(gone, 2, factor);
    return sql_run(gone) < 0 ? -EIO : 0;
}

static int use_password_apply(struct store_writer *writer, void *argument)
{
    const struct session_write *write = argument;
    struct sql_statement *use = sql_use(&writer->sql, SQL_SESSION_USE_PASSWORD);
    sql_bind_blob(use, 1, write->hash, STORE_HASH_BYTES);
    return sql_run_some(use, -EACCES);
}

int store_session_use_password(struct store *store, const uint8_t hash[STORE_HASH_BYTES])
{
    struct session_write write = {.hash = hash};
    return store_write(store, use_password_apply, &write);
}

static int session_remove_apply(struct store_writer *writer, void *argument)
{
    const struct session_write *write = argument;
    return session_remove(writer, write->hash);
}

int store_session_remove(struct store *store, const uint8_t hash[STORE_HASH_BYTES])
{
    struct session_write write = {.hash = hash};
    return store_write(store, session_remove_apply, &write);
}

struct prune_write {
    uint64_t sessions_before_unix_ms;
    uint64_t seen_before_unix_ms;
    uint64_t now_unix_ms;
    bool more; /* out: a statement met its own limit */
};

/* Each statement takes STORE_PRUNE_ROWS at most, so that no write waits long behind it. */
static int prune_apply(struct store_writer *writer, void *argument)
{
    struct prune_write *write = argument;
    write->more = false;
    struct sql_statement *sessions = sql_use(&writer->sql, SQL_SESSION_PRUNE);
    sql_bind_u64(sessions, 1, write->sessions_before_unix_ms);
    sql_bind_u64(sessions, 2, write->seen_before_unix_ms);
    sql_bind_u64(sessions, 3, STORE_PRUNE_ROWS);
    const int sessions_count = sql_run(sessions);
    struct sql_statement *pending = sql_use(&writer->sql, SQL_PENDING_PRUNE);
    sql_bind_u64(pending, 1, write->now_unix_ms);
    sql_bind_u64(pending, 2, STORE_PRUNE_ROWS);
    const int pending_count = sql_run(pending);
    struct sql_statement *enrol = sql_use(&writer->sql, SQL_ENROL_PRUNE);
    sql_bind_u64(enrol, 1, write->now_unix_ms);
    const int person_count = store_person_prune(writer, write->now_unix_ms);
    if (sessions_count < 0 || pending_count < 0 || person_count < 0 || sql_run(enrol) < 0)
        return -EIO;
    write->more = MAX(MAX(sessions_count, pending_count), person_count) >= STORE_PRUNE_ROWS;
    return 0;
}

int store_prune(struct store *store, uint64_t sessions_before_unix_ms, uint64_t seen_before_unix_ms,
                uint64_t now_unix_ms)
{
    struct prune_write write = {.sessions_before_unix_ms = sessions_before_unix_ms,
                                .seen_before_unix_ms = seen_before_unix_ms,
                                .now_unix_ms = now_unix_ms};
    int rc = 0;
    for (uint32_t round = 0; round < PRUNE_ROUNDS_MAX; round++) {
        rc = store_write(store, prune_apply, &write);
        if (rc != 0 || !write.more)
            break;
    }
    return rc;
}
