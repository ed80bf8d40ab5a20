#include "base/assert.h"
#include "crypto/secret.h"
#include "keyservice/server/api.h"
#include "keyservice/server/code.h"
#include "keyservice/server/language.h"
#include "keyservice/server/roles.h"
#include "keyservice/server/signin.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

/* What the pages show to whom; every call looks for itself. */
static int session_roles(const struct service *service, const struct store_session *session,
                         json_t *root)
{
    struct roles roles;
    const int rc = roles_get(service->store, session->account_number, &roles);
    if (rc != 0)
        return rc;
    json_t *names = json_array();
    json_t *profiles = json_array();
    for (uint32_t role = 1; role <= ROLES_LAST; role++)
        if ((roles.held & UINT32_C(1) << role) != 0)
            (void)json_array_append_new(names, json_string(role_name((enum role)role)));
    for (uint32_t i = 0; i < roles.profiles_count; i++)
        (void)json_array_append_new(profiles, json_string(roles.profiles[i]));
    (void)json_object_set_new(root, "roles", names);
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
    if (rc == 0) {
        signin_password_right(service, request, &cookie, &account);
    } else if (rc == -EBUSY) {
        api_refuse_wait(request, wait_ns);
    } else {
        const enum api_error error = rc == -EACCES ? API_CREDENTIALS : API_AWAY;
        signin_audit_refused(service, request, error, user);
        api_refuse(request, error, NULL);
    }
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

/*
 * The same work whether the address has an account or not: one hash, one row, one mail. For a known
 * address the row's code is random and nobody's.
 */
static int register_begin(const struct service *service, const struct http_request *request,
                          const char *address, const char *password,
                          const struct session_token *cookie)
{
    char code[CODE_DIGITS + 1];
    char encoded[ACCOUNT_HASH_BYTES];
    uint8_t hash[STORE_HASH_BYTES];
    uint8_t browser[SESSION_HASH_BYTES];
    struct store_account account;
    int rc = account_password_hash(password, strlen(password), encoded);
    if (rc == 0)
        rc = code_make(code);
    if (rc != 0)
        return rc;
    rc = store_account_get(service->store, address, &account);
    secret_wipe(account.password, sizeof(account.password));
    if (rc != 0 && rc != -ENOENT)
        return rc;
    const bool has_account = rc == 0;
    code_hash(service, address, code, hash);
    if (has_account && getrandom(hash, sizeof(hash), 0) != (ssize_t)sizeof(hash))
        return -EIO;
    session_hash(cookie, browser);
    const struct store_pending pending = {.address = address,
                                          .browser = browser,
                                          .code_hash = hash,
                                          .password = encoded,
                                          .now_unix_ms = api_now_ms(),
                                          .expires_unix_ms = api_now_ms() + CODE_LIFE_MS};
    rc = store_pending_put(service->store, &pending);
    if (rc == 0)
        rc = code_mail(service, address, has_account ? "known" : "code", has_account ? NULL : code,
                       language_of_choice(has_account ? account.language : "",
                                          language_of_request(request)));
    secret_wipe(code, sizeof(code));
    return rc;
}

void api_account_register(void *context, struct http_request *request)
{
    const struct service *service = context;
    char user[ACCOUNT_ADDRESS_BYTES];
    char address[ACCOUNT_ADDRESS_BYTES];
    char password[ACCOUNT_PASSWORD_BYTES_MAX + 1];
    char why[ACCOUNT_WHY_BYTES];
    static const char not_ascii[] = "A code can be mailed to addresses of ASCII characters only.";
    struct session_token cookie;
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
    if (account_normalise(address, user, strlen(user)) != 0 || !code_mailable(address)) {
        secret_wipe(password, sizeof(password));
        api_refuse(request, API_BAD_REQUEST, code_mailable(user) ? NULL : not_ascii);
        return;
    }
    if (account_password_check(password, strlen(password), address, why) != 0) {
        secret_wipe(password, sizeof(password));
        api_refuse(request, API_WEAK_PASSWORD, why);
        return;
    }
    const uint64_t wait_ns = code_take(service, request, address);
    if (wait_ns != 0) {
        secret_wipe(password, sizeof(password));
        api_refuse_wait(request, wait_ns);
        return;
    }
    const int rc = register_begin(service, request, address, password, &cookie);
    secret_wipe(password, sizeof(password));
    if (rc == 0)
        api_answer(request, 200, json_pack("{s:s}", "status", "mailed"));
    else
        api_refuse(request, rc == -EINVAL ? API_BAD_REQUEST : API_AWAY, NULL);
}

static void verify_answer(const struct service *service, struct http_request *request,
                          const struct session_token *cookie, const char *address, const char *code)
{
    uint8_t hash[STORE_HASH_BYTES];
    uint8_t browser[SESSION_HASH_BYTES];
    struct store_account account;
    code_hash(service, address, code, hash);
    session_hash(cookie, browser);
    const struct store_pending pending = {
        .address = address, .browser = browser, .code_hash = hash, .now_unix_ms = api_now_ms()};
    int rc = store_pending_spend(service->store, &pending);
    if (rc == 0)
        rc = api_audit(service, request, "register", NULL, NULL, address, true);
    if (rc == 0)
        rc = store_account_get(service->store, address, &account);
    if (rc != 0) {
        const enum api_error error = rc == -EACCES ? API_CREDENTIALS : API_AWAY;
        api_audit_note(service, request, "register", api_error_code(error), NULL, address);
        api_refuse(request, error, NULL);
        return;
    }
    secret_wipe(account.password, sizeof(account.password));
    signin_begin(service, request, cookie, &account, NULL);
}

void api_account_verify(void *context, struct http_request *request)
{
    const struct service *service = context;
    char user[ACCOUNT_ADDRESS_BYTES];
    char address[ACCOUNT_ADDRESS_BYTES];
    char typed[CODE_TYPED_BYTES];
    char code[CODE_DIGITS + 1];
    struct session_token cookie;
    const struct api_field fields[] = {
        {.name = "user", .text = user, .room = sizeof(user)},
        {.name = "code", .text = typed, .room = sizeof(typed)},
    };
    if (!api_own_page(service, request, &cookie))
        return;
    if (api_fields(request->body, request->body_bytes, fields, ARRAY_COUNT(fields)) != 0 ||
        account_normalise(address, user, strlen(user)) != 0) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    const uint64_t wait_ns = code_try(service, request);
    if (wait_ns != 0) {
        api_refuse_wait(request, wait_ns);
        return;
    }
    if (!code_normalise(code, typed)) {
        api_refuse(request, API_CREDENTIALS, NULL);
        return;
    }
    verify_answer(service, request, &cookie, address, code);
}
