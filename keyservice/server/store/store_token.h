/*
 * store_token: what programs sign their calls with: named, of one role, of somebody, for a time.
 * Ownership: caller's memory. A token's text is shown once; the database holds its SHA-256.
 * Threads:   any, as store.h.
 * Units:     as store.h.
 * Errors:    as store.h; -ENOSPC where its owner has as many as one may have.
 */
#ifndef KEYSERVICE_SERVER_STORE_STORE_TOKEN_H
#define KEYSERVICE_SERVER_STORE_STORE_TOKEN_H

#include "keyservice/server/roles.h"

#define STORE_TOKEN_BYTES    50 /* "bulla_", 43 characters and a NUL */
#define STORE_TOKENS_MAX     64 /* of one account                    */
#define STORE_TOKENS_PAGE    100
#define STORE_TOKEN_DAYS_MAX 730

struct store_token {
    int64_t number;
    int64_t account_number;
    enum role role;
    uint64_t created_unix_ms;
    uint64_t expires_unix_ms;
    uint64_t used_unix_ms; /* 0: never */
    char name[STORE_NAME_BYTES];
    char profile[ROLES_PROFILE_BYTES]; /* of ROLE_PROFILE_ADMINISTRATOR, else "" */
    char address[STORE_ADDRESS_BYTES];
};

MUST_USE int store_token_make(char text[STORE_TOKEN_BYTES]);
/* False for what cannot be one of ours. */
bool store_token_hash(const char *text, uint8_t hash[STORE_HASH_BYTES]);

MUST_USE int store_token_add(struct store *store, const uint8_t hash[STORE_HASH_BYTES],
                             const struct store_token *token);
/* -ENOENT also where its account is disabled. Its time is the caller's to look at. */
MUST_USE int store_token_get(struct store *store, const uint8_t hash[STORE_HASH_BYTES],
                             struct store_token *token);
MUST_USE int store_token_seen(struct store *store, int64_t number, uint64_t now_unix_ms);
MUST_USE int store_token_remove(struct store *store, int64_t number);
typedef void store_token_visit(void *context, const struct store_token *token);
/* At most STORE_TOKENS_PAGE behind number `after`. */
MUST_USE int store_token_list(struct store *store, int64_t after, store_token_visit *visit,
                              void *context);

#endif
