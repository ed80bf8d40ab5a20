#include "keyservice/server/roles.h"

#include "base/assert.h"
#include "keyservice/server/service.h"
#include "keyservice/server/store/store_person.h"
#include "keyservice/server/store/store_role.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BIT(number) (UINT32_C(1) << (number))

/* docs/keyservice/admin.md shows the same. */
static const struct {
    const char *name;
    uint32_t rights;
} role_list[ROLES_LAST + 1] = {
    [ROLE_ADMINISTRATOR] = {"administrator", UINT32_MAX},
    [ROLE_HELPDESK] = {"helpdesk", BIT(RIGHT_USERS) | BIT(RIGHT_RESET) | BIT(RIGHT_LOCKS)},
    [ROLE_AUDITOR] = {"auditor", BIT(RIGHT_USERS) | BIT(RIGHT_AUDIT) | BIT(RIGHT_REPORTS)},
    [ROLE_PROFILE_ADMINISTRATOR] = {"profile_administrator",
                                    BIT(RIGHT_PROFILES) | BIT(RIGHT_REPORTS) | BIT(RIGHT_LOCKS)},
};

const char *role_name(enum role role)
{
    return (uint32_t)role <= ROLES_LAST ? role_list[role].name : NULL;
}

bool role_parse(enum role *role, const char *name)
{
    for (uint32_t i = 1; i <= ROLES_LAST; i++)
        if (strcmp(role_list[i].name, name) == 0) {
            *role = (enum role)i;
            return true;
        }
    return false;
}

bool roles_profile_valid(const char *name)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    const size_t chars = strnlen(name, ROLES_PROFILE_BYTES);
    return chars > 0 && chars < ROLES_PROFILE_BYTES && strspn(name, letters) == chars;
}

bool role_split(const char *text, enum role *role, const char **profile)
{
    char name[64];
    const size_t chars = strcspn(text, ":");
    *profile = text[chars] == ':' ? text + chars + 1 : "";
    if (chars >= sizeof(name))
        return false;
    memcpy(name, text, chars);
    name[chars] = '\0';
    if (!role_parse(role, name))
        return false;
    return *role == ROLE_PROFILE_ADMINISTRATOR ? roles_profile_valid(*profile)
                                               : text[chars] == '\0';
}

bool role_has(enum role role, enum right right)
{
    ASSERT(role_name(role) != NULL);
    return (role_list[role].rights & BIT(right)) != 0;
}

bool roles_allow(const struct roles *roles, enum right right, const char *profile)
{
    for (uint32_t i = ROLE_ADMINISTRATOR; i < ROLE_PROFILE_ADMINISTRATOR; i++)
        if ((roles->held & BIT(i)) != 0 && role_has((enum role)i, right))
            return true;
    if (profile == NULL || !role_has(ROLE_PROFILE_ADMINISTRATOR, right))
        return false;
    for (uint32_t i = 0; i < roles->profiles_count; i++)
        if (strcmp(roles->profiles[i], profile) == 0)
            return true;
    return false;
}

bool roles_allow_any(const struct roles *roles, enum right right)
{
    return roles_allow(roles, right, NULL) ||
           (roles->profiles_count > 0 && role_has(ROLE_PROFILE_ADMINISTRATOR, right));
}

static void profile_hold(struct roles *roles, const char *profile)
{
    if (roles->profiles_count == ROLES_PROFILES_MAX)
        return; /* store_role_grant() lets no account have more */
    roles->held |= BIT(ROLE_PROFILE_ADMINISTRATOR);
    (void)snprintf(roles->profiles[roles->profiles_count++], ROLES_PROFILE_BYTES, "%s", profile);
}

void roles_limit(struct roles *limited, const struct roles *owner, enum role role,
                 const char *profile)
{
    *limited = (struct roles){.held = 0};
    const bool administrator = (owner->held & BIT(ROLE_ADMINISTRATOR)) != 0;
    if (role != ROLE_PROFILE_ADMINISTRATOR) {
        if (administrator || (owner->held & BIT(role)) != 0)
            limited->held = BIT(role);
        return;
    }
    if (roles_allow(owner, RIGHT_PROFILES, profile))
        profile_hold(limited, profile);
}

static void grant_take(void *context, const struct store_grant *grant)
{
    struct roles *roles = context;
    if (grant->role == ROLE_PROFILE_ADMINISTRATOR)
        profile_hold(roles, grant->profile);
    else if (role_name(grant->role) != NULL)
        roles->held |= BIT(grant->role);
}

int roles_get(struct store *store, int64_t account_number, struct roles *roles)
{
    struct roles got = {.held = 0};
    const int rc = store_role_of(store, account_number, grant_take, &got);
    if (rc == 0)
        *roles = got;
    return rc;
}

int roles_of(const struct service *service, const struct store_session *session,
             struct roles *roles)
{
    const int rc = roles_get(service->store, session->account_number, roles);
    if (rc != 0 || (session->factors & STORE_FACTORS_SECOND) != 0)
        return rc;
    roles->withheld = roles->held & service->config->second_factor_roles;
    roles->held &= ~roles->withheld;
    if ((roles->withheld & BIT(ROLE_PROFILE_ADMINISTRATOR)) != 0)
        roles->profiles_count = 0;
    return 0;
}

bool roles_withhold(const struct roles *roles, enum right right)
{
    for (uint32_t i = ROLE_ADMINISTRATOR; i <= ROLES_LAST; i++)
        if ((roles->withheld & BIT(i)) != 0 && role_has((enum role)i, right))
            return true;
    return false;
}

static void passkey_count(void *context, const struct store_passkey *passkey)
{
    uint32_t *count = context;
    ASSERT(passkey->algorithm < 0);
    (*count)++;
}

int roles_factor_change(const struct service *service, const struct store_session *session)
{
    struct roles roles;
    struct store_person person;
    uint32_t passkeys_count = 0;
    int rc = roles_of(service, session, &roles);
    if (rc != 0 || roles.withheld == 0)
        return rc == 0 ? 0 : -EIO;
    rc = store_person_get(service->store, session->account_number, &person);
    if (rc == 0)
        rc = store_passkey_list(service->store, session->account_number, passkey_count,
                                &passkeys_count);
    if (rc != 0)
        return -EIO;
    return person.totp || passkeys_count > 0 ? -EPERM : 0;
}

int roles_may(const struct service *service, const struct store_session *session, enum right right,
              const char *profile)
{
    struct roles roles;
    if (roles_of(service, session, &roles) != 0)
        return -EIO;
    if (roles_allow(&roles, right, profile))
        return 0;
    return roles_withhold(&roles, right) ? -EPERM : -EACCES;
}
