/*
 * roles: what an account or a token may do besides reading its own mail.
 * Ownership: caller's memory.
 * Threads:   any.
 * Units:     none.
 * Errors:    as store.h, and as each says.
 *
 * docs/keyservice/admin.md has the table. A role is granted to an account; that of a profile's
 * administrator names the profile and holds for it alone.
 */
#ifndef KEYSERVICE_SERVER_ROLES_H
#define KEYSERVICE_SERVER_ROLES_H

#include "base/macros.h"
#include "keyservice/server/store/store.h"

#include <stdbool.h>
#include <stdint.h>

#define ROLES_PROFILES_MAX  64 /* of one account */
#define ROLES_PROFILE_BYTES (RECORD_PROFILE_BYTES_MAX + 1)

/* These numbers stand in the database. */
enum role {
    ROLE_ADMINISTRATOR = 1,
    ROLE_HELPDESK = 2,
    ROLE_AUDITOR = 3,
    ROLE_PROFILE_ADMINISTRATOR = 4,
};
#define ROLES_LAST ROLE_PROFILE_ADMINISTRATOR

enum right {
    RIGHT_USERS,     /* see accounts                                        */
    RIGHT_ACCOUNTS,  /* add, disable, enable, remove them                   */
    RIGHT_RESET,     /* mail a reset, end sessions, remove a second factor  */
    RIGHT_ROLES,     /* grant and revoke                                    */
    RIGHT_PROFILES,  /* look and settings of a profile                      */
    RIGHT_ENGINES,   /* enrol and revoke                                    */
    RIGHT_AUDIT,     /* read and verify the log                             */
    RIGHT_REPORTS,   /* counts by policy, user, domain, day                 */
    RIGHT_LOCKS,     /* lock and unlock anybody's envelope                  */
    RIGHT_RETENTION, /* how long keys are kept                              */
    RIGHT_KEYS,      /* master keys, backups                                */
    RIGHT_TOKENS,    /* tokens for programs                                 */
};

struct service;

/* What somebody holds. */
struct roles {
    uint32_t held;     /* a bit for each role: 1 << role */
    uint32_t withheld; /* the same of those granted that ask for a second factor: roles_of() */
    uint32_t profiles_count;
    char profiles[ROLES_PROFILES_MAX][ROLES_PROFILE_BYTES]; /* of ROLE_PROFILE_ADMINISTRATOR */
};

/* NULL for a number that is no role. */
const char *role_name(enum role role);
/* False: no role has that name. */
bool role_parse(enum role *role, const char *name);
/* "auditor", "profile_administrator:sales"; `profile` points into the text, "" for none. */
bool role_split(const char *text, enum role *role, const char **profile);
/* Letters, digits, '.', '-' and '_', not longer than a record's profile. */
bool roles_profile_valid(const char *name);

/* `profile` NULL: for all of them. */
bool roles_allow(const struct roles *roles, enum right right, const char *profile);
/* The same for some profile at least: lists then show those of them. */
bool roles_allow_any(const struct roles *roles, enum right right);
bool role_has(enum role role, enum right right);

/* What a token of `role` (and `profile`) may do that belongs to who holds `owner`. */
void roles_limit(struct roles *limited, const struct roles *owner, enum role role,
                 const char *profile);

MUST_USE int roles_get(struct store *store, int64_t account_number, struct roles *roles);
/* The same for a session: without a second factor it holds none of `second_factor_roles`. */
MUST_USE int roles_of(const struct service *service, const struct store_session *session,
                      struct roles *roles);
/* One of those would have the right. */
bool roles_withhold(const struct roles *roles, enum right right);
/*
 * May the session add or remove passkeys and code apps? Of an account whose role asks for a second
 * factor only one that was signed in by it, once there is one: else a password alone would do.
 * -EPERM: it may not; -EIO.
 */
MUST_USE int roles_factor_change(const struct service *service,
                                 const struct store_session *session);
/* 0; -EACCES: it may not, -EPERM: it might with a second factor, or -EIO. */
MUST_USE int roles_may(const struct service *service, const struct store_session *session,
                       enum right right, const char *profile);

#endif
