/*
 * store_role: who holds which role, which accounts are disabled, and accounts as lists show them.
 * Ownership: caller's memory.
 * Threads:   any, as store.h.
 * Units:     as store.h.
 * Errors:    as store.h; -EACCES where it would leave the service without an administrator.
 *
 * A disabled account keeps its rows, but no session begins and none goes on.
 */
#ifndef KEYSERVICE_SERVER_STORE_STORE_ROLE_H
#define KEYSERVICE_SERVER_STORE_STORE_ROLE_H

#include "keyservice/server/roles.h"

#define STORE_USERS_PAGE_MAX  100
#define STORE_GRANTS_LIST_MAX 4096

struct store_grant {
    int64_t account_number;
    enum role role;
    char profile[ROLES_PROFILE_BYTES]; /* "" but for ROLE_PROFILE_ADMINISTRATOR */
    uint64_t granted_unix_ms;
    char address[STORE_ADDRESS_BYTES];
};

/* -ENOENT: no such account; -EEXIST: held already; -EACCES: more profiles than one may have. */
MUST_USE int store_role_grant(struct store *store, const char *address, enum role role,
                              const char *profile, uint64_t now_unix_ms);
/* -ENOENT: not held; -EACCES: the last administrator's. */
MUST_USE int store_role_revoke(struct store *store, const char *address, enum role role,
                               const char *profile);
typedef void store_grant_visit(void *context, const struct store_grant *grant);
/* Of one account; `address` is not filled. */
MUST_USE int store_role_of(struct store *store, int64_t account_number, store_grant_visit *visit,
                           void *context);
MUST_USE int store_role_list(struct store *store, store_grant_visit *visit, void *context);

struct store_user {
    int64_t number;
    uint64_t created_unix_ms;
    uint64_t disabled_unix_ms; /* 0: not */
    uint64_t seen_unix_ms;     /* of its newest session; 0: none */
    uint64_t sessions_count;
    uint32_t held; /* a bit for each role */
    char address[STORE_ADDRESS_BYTES];
};

typedef void store_user_visit(void *context, const struct store_user *user);
/*
 * At most STORE_USERS_PAGE_MAX whose address holds `part` ("": all), in the order of addresses,
 * behind the account `after` (0: from the first). Without sessions.
 */
MUST_USE int store_user_list(struct store *store, const char *part, int64_t after,
                             store_user_visit *visit, void *context);
MUST_USE int store_user_get(struct store *store, int64_t number, struct store_user *user);
/* Disabling ends the account's sessions. -EACCES: the last administrator. */
MUST_USE int store_user_disable(struct store *store, const char *address, uint64_t now_unix_ms);
MUST_USE int store_user_enable(struct store *store, const char *address);
MUST_USE int store_user_sessions_end(struct store *store, const char *address);
/* Its code app, recovery codes and passkeys, with its sessions, in one write. */
MUST_USE int store_user_factors_clear(struct store *store, const char *address);
/* As store_account_remove(), but never the last administrator: -EACCES. */
MUST_USE int store_user_remove(struct store *store, const char *address);
/* 0 enabled, -EACCES disabled, -ENOENT. */
MUST_USE int store_user_enabled(struct store *store, const char *address);

#endif
