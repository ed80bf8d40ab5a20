#include "keyservice/server/store/store_token.h"

#include "crypto/secret.h"
#include "keyservice/server/account/session.h"
#include "keyservice/server/store/store_sql.h"

#include <errno.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#define HEAD       "bulla_"
#define HEAD_CHARS (sizeof(HEAD) - 1)

_Static_assert(HEAD_CHARS + SESSION_TOKEN_CHARS + 1 == STORE_TOKEN_BYTES, "head and 43 characters");

int store_token_make(char text[STORE_TOKEN_BYTES])
{
    struct session_token random;
    const int rc = session_make(&random);
    if (rc != 0)
        return rc;
    (void)snprintf(text, STORE_TOKEN_BYTES, HEAD "%s", random.text);
    secret_wipe(&random, sizeof(random));
    return 0;
}

bool store_token_hash(const char *text, uint8_t hash[STORE_HASH_BYTES])
{
    struct session_token rest;
    if (strncmp(text, HEAD, HEAD_CHARS) != 0 || !session_parse(&rest, text + HEAD_CHARS))
        return false;
    (void)SHA256((const uint8_t *)text, STORE_TOKEN_BYTES - 1, hash);
    return true;
}

struct token_write {
    const uint8_t *hash;
    const struct store_token *token;
    int64_t number;
    uint64_t unix_ms;
};

static int add_apply(struct store_writer *writer, void *argument)
{
    const struct token_write *write = argument;
    const struct store_token *token = write->token;
    struct sql_statement *add = sql_use(&writer->sql, SQL_TOKEN_ADD);
    sql_bind_blob(add, 1, write->hash, STORE_HASH_BYTES);
    sql_bind_u64(add, 2, (uint64_t)token->account_number);
    sql_bind_string(add, 3, token->name);
    sql_bind_u64(add, 4, token->role);
    sql_bind_string(add, 5, token->profile);
    sql_bind_u64(add, 6, token->created_unix_ms);
    sql_bind_u64(add, 7, token->expires_unix_ms);
    sql_bind_u64(add, 8, STORE_TOKENS_MAX);
    return sql_run_some(add, -EEXIST);
}

int store_token_add(struct store *store, const uint8_t hash[STORE_HASH_BYTES],
                    const struct store_token *token)
{
    struct token_write write = {.hash = hash, .token = token};
    const int rc = store_write(store, add_apply, &write);
    return rc == -EEXIST ? -ENOSPC : rc;
}

static bool token_columns(struct sql_statement *get, struct store_token *token)
{
    *token = (struct store_token){.number = (int64_t)sql_column_u64(get, 0),
                                  .account_number = (int64_t)sql_column_u64(get, 1),
                                  .role = (enum role)sql_column_u64(get, 3),
                                  .created_unix_ms = sql_column_u64(get, 5),
                                  .expires_unix_ms = sql_column_u64(get, 6),
                                  .used_unix_ms = sql_column_u64(get, 7)};
    return role_name(token->role) != NULL &&
           sql_column_string(get, 2, token->name, sizeof(token->name)) &&
           sql_column_string(get, 4, token->profile, sizeof(token->profile)) &&
           sql_column_string(get, 8, token->address, sizeof(token->address));
}

int store_token_get(struct store *store, const uint8_t hash[STORE_HASH_BYTES],
                    struct store_token *token)
{
    struct sql *sql = store_reader_take(store);
    struct sql_statement *get = sql_use(sql, SQL_TOKEN_GET);
    sql_bind_blob(get, 1, hash, STORE_HASH_BYTES);
    const int step = sql_step(get);
    int rc = step == 1 ? 0 : step == 0 ? -ENOENT : -EIO;
    if (rc == 0 && !token_columns(get, token))
        rc = -EIO;
    sql_done(get);
    store_reader_give(store, sql);
    return rc;
}

static int seen_apply(struct store_writer *writer, void *argument)
{
    const struct token_write *write = argument;
    struct sql_statement *seen = sql_use(&writer->sql, SQL_TOKEN_SEEN);
    sql_bind_u64(seen, 1, (uint64_t)write->number);
    sql_bind_u64(seen, 2, write->unix_ms);
    return sql_run_some(seen, -ENOENT);
}

int store_token_seen(struct store *store, int64_t number, uint64_t now_unix_ms)
{
    struct token_write write = {.number = number, .unix_ms = now_unix_ms};
    return store_write(store, seen_apply, &write);
}

int store_tokens_end(struct store_writer *writer, const char *address)
{
    struct sql_statement *end = sql_use(&writer->sql, SQL_TOKEN_END);
    sql_bind_string(end, 1, address);
    return sql_run_some(end, 0);
}

static int remove_apply(struct store_writer *writer, void *argument)
{
    const struct token_write *write = argument;
    struct sql_statement *gone = sql_use(&writer->sql, SQL_TOKEN_REMOVE);
    sql_bind_u64(gone, 1, (uint64_t)write->number);
    return sql_run_some(gone, -ENOENT);
}

int store_token_remove(struct store *store, int64_t number)
{
    struct token_write write = {.number = number};
    return store_write(store, remove_apply, &write);
}

int store_token_list(struct store *store, int64_t after, store_token_visit *visit, void *context)
{
    int step = 0;
    struct store_token token;
    struct sql *sql = store_reader_take(store);
    struct sql_statement *list = sql_use(sql, SQL_TOKEN_LIST);
    sql_bind_u64(list, 1, (uint64_t)after);
    sql_bind_u64(list, 2, STORE_TOKENS_PAGE);
    while ((step = sql_step(list)) == 1) /* the statement's own limit bounds it */
        if (token_columns(list, &token))
            visit(context, &token);
    sql_done(list);
    store_reader_give(store, sql);
    return step < 0 ? step : 0;
}
