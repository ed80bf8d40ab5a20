#include "crypto/secret.h"
#include "keyservice/server/account/signin.h"
#include "keyservice/server/api/api.h"
#include "keyservice/server/roles.h"

#include <errno.h>
#include <string.h>

/* What the pages show to whom; every call looks for itself. */
static int session_roles(const struct service *service, const struct store_session *session,
                         json_t *root)
{
    struct roles roles;
    const int rc = roles_of(service, session, &roles);
    if (rc != 0)
        return rc;
    json_t *names = json_array();
    json_t *profiles = json_array();
    json_t *withheld = json_array();
    for (uint32_t role = 1; role <= ROLES_LAST; role++) {
        const uint32_t bit = UINT32_C(1) << role;
        if (((roles.held | roles.withheld) & bit) != 0)
            (void)json_array_append_new((roles.held & bit) != 0 ? names : withheld,
                                        json_string(role_name((enum role)role)));
    }
    for (uint32_t i = 0; i < roles.profiles_count; i++)
        (void)json_array_append_new(profiles, json_string(roles.profiles[i]));
    (void)json_object_set_new(root, "roles", names);
    (void)json_object_set_new(root, "withheld", withheld);
    (void)json_object_set_new(root, "profiles", profiles);
    (void)json_object_set_new(root, "writes",
                              json_boolean(api_write_to_anyone(service, session->address)));
    return 0;
}

void api_account_session_get(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct store_session session;
    struct session_token cookie;
    struct session_token csrf;
    const int rc = api_session(service, request, &session);
    if (rc != 0 && rc != -ENOENT) {
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    const bool had = session_parse(&cookie, request->cookie);
    if (!had && session_make(&cookie) != 0) {
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    session_csrf(service->csrf_secret, &cookie, &csrf);
    json_t *root = json_object();
    (void)json_object_set_new(root, "user", rc == 0 ? json_string(session.address) : json_null());
    (void)json_object_set_new(root, "csrf", json_string(csrf.text));
    if (rc == 0 && session_roles(service, &session, root) != 0) {
        json_decref(root);
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    api_answer(request, 200, root);
    if (!had)
        api_cookie_set(request, &cookie);
}

void api_account_session_post(void *context, struct http_request *request)
{
    const struct service *service = context;
    char user[ACCOUNT_ADDRESS_BYTES];
    char password[ACCOUNT_PASSWORD_BYTES_MAX + 1];
    struct session_token cookie;
    struct store_account account;
    uint64_t wait_ns = 0;
    const struct api_field fields[] = {
        {.name = "user", .text = user, .room = sizeof(user)},
        {.name = "password", .text = password, .room = sizeof(password)},
    };
    if (!api_own_page(service, request, &cookie))
        return;
    if (api_fields(request->body, request->body_bytes, fields, ARRAY_COUNT(fields)) != 0) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    const int rc = signin_check(service, request, user, password, &account, &wait_ns);
    secret_wipe(password, sizeof(password));
    if (rc == 0)
        signin_password_right(service, request, &cookie, &account);
    else
        signin_refuse(service, request, rc, user, wait_ns);
}

void api_account_session_delete(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct session_token cookie;
    uint8_t hash[SESSION_HASH_BYTES];
    if (!api_own_page(service, request, &cookie))
        return;
    session_hash(&cookie, hash);
    const int rc = store_session_remove(service->store, hash);
    if (rc != 0 && rc != -ENOENT) {
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    api_answer(request, 200, json_pack("{s:n}", "user"));
    api_cookie_end(request);
}
