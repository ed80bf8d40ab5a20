/* /v1/admin/users: who has an account, and what is done with it. */
#include "base/clock.h"
#include "crypto/secret.h"
#include "keyservice/server/account/code.h"
#include "keyservice/server/admin_call.h"
#include "keyservice/server/store/store_person.h"
#include "keyservice/server/store/store_role.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define USERS_PREFIX "/v1/admin/users/"
#define PART_BYTES   ACCOUNT_ADDRESS_BYTES
#define VERB_BYTES   32

static json_t *roles_json(uint32_t held)
{
    json_t *names = json_array();
    for (uint32_t role = 1; role <= ROLES_LAST; role++)
        if ((held & UINT32_C(1) << role) != 0)
            (void)json_array_append_new(names, json_string(role_name((enum role)role)));
    return names;
}

static json_t *user_json(const struct store_user *user)
{
    return json_pack("{s:I,s:s,s:I,s:I,s:o}", "number", (json_int_t)user->number, "address",
                     user->address, "created", (json_int_t)user->created_unix_ms, "disabled",
                     (json_int_t)user->disabled_unix_ms, "roles", roles_json(user->held));
}

static void user_add(void *context, const struct store_user *user)
{
    struct admin_page *page = context;
    page->last = user->number;
    (void)json_array_append_new(page->rows, user_json(user));
}

void api_admin_users(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct admin_actor actor;
    int64_t after = 0;
    char part[PART_BYTES];
    const char *typed = http_query(request, "q");
    if (!admin_enter(service, request, RIGHT_USERS, ADMIN_LOOK, &actor))
        return;
    if (strlen(typed) >= sizeof(part) ||
        !admin_number(http_query(request, "after"), true, &after)) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    (void)account_normalise_bytes(part, (const uint8_t *)typed, strlen(typed));
    struct admin_page page = {.rows = json_array()};
    const int rc = store_user_list(service->store, part, after, user_add, &page);
    admin_page_answer(request, "users", &page, STORE_USERS_PAGE_MAX, rc);
}

/* A new account with a password that is told once, and is good for some days: its owner changes it,
 * or asks for a reset. */
void api_admin_user_add(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct admin_actor actor;
    struct store_account account;
    char user[ACCOUNT_ADDRESS_BYTES];
    char address[ACCOUNT_ADDRESS_BYTES];
    char encoded[ACCOUNT_HASH_BYTES];
    char password[ACCOUNT_GENERATED_PASS_CHARS + 1] = "";
    const struct api_field fields[] = {{.name = "address", .text = user, .room = sizeof(user)}};
    if (!admin_enter(service, request, RIGHT_ACCOUNTS, ADMIN_DANGER, &actor))
        return;
    if (api_fields(request->body, request->body_bytes, fields, ARRAY_COUNT(fields)) != 0 ||
        account_normalise(address, user, strlen(user)) != 0) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    const struct audit_event event = {.event = "account_add", .user = address};
    int rc = account_password_make(password);
    if (rc == 0)
        rc = account_password_hash_made(password, strlen(password), api_now_ms() + ACCOUNT_MADE_MS,
                                        encoded);
    if (rc != 0)
        api_refuse(request, API_AWAY, NULL);
    if (rc != 0 || !admin_note(service, request, &actor, &event))
        goto wipe;
    rc = store_account_add(service->store, address, encoded, api_now_ms());
    if (rc == 0)
        rc = store_account_get(service->store, address, &account);
    if (admin_done(service, request, &actor, &event, rc))
        api_answer(request, 200,
                   json_pack("{s:I,s:s,s:s}", "number", (json_int_t)account.number, "address",
                             address, "password", password));

wipe:
    secret_wipe(password, sizeof(password));
}

/* The account that the path names, before '/' or the end. False: answered. */
static bool user_find(const struct service *service, struct http_request *request, bool with_verb,
                      struct store_user *user, const char **verb)
{
    char name[24];
    int64_t number = 0;
    const char *rest = "";
    int rc = -ENOENT;
    if (admin_path(request, USERS_PREFIX, name, sizeof(name), with_verb ? &rest : NULL) &&
        admin_number(name, false, &number))
        rc = store_user_get(service->store, number, user);
    if (rc != 0) {
        api_refuse(request, rc == -ENOENT ? API_UNKNOWN : API_AWAY, NULL);
        return false;
    }
    *verb = rest;
    return true;
}

static void grant_add(void *context, const struct store_grant *grant)
{
    json_t *row = json_pack("{s:s,s:I}", "role", role_name(grant->role), "granted",
                            (json_int_t)grant->granted_unix_ms);
    if (grant->profile[0] != '\0')
        (void)json_object_set_new(row, "profile", json_string(grant->profile));
    (void)json_array_append_new(context, row);
}

void api_admin_user(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct admin_actor actor;
    struct store_user user;
    const char *verb;
    if (!admin_enter(service, request, RIGHT_USERS, ADMIN_LOOK, &actor) ||
        !user_find(service, request, false, &user, &verb))
        return;
    json_t *grants = json_array();
    const int rc = store_role_of(service->store, user.number, grant_add, grants);
    if (rc != 0) {
        json_decref(grants);
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    json_t *root = user_json(&user);
    (void)json_object_set_new(root, "sessions", json_integer((json_int_t)user.sessions_count));
    (void)json_object_set_new(root, "seen", json_integer((json_int_t)user.seen_unix_ms));
    (void)json_object_set_new(root, "grants", grants);
    api_answer(request, 200, root);
}

/* A mail that leads to the page where its owner chooses another password. */
static int reset_mail(const struct service *service, const struct http_request *request,
                      const char *address)
{
    char text[MAIL_TEXT_BYTES_MAX];
    char url[CONFIG_TEXT_BYTES + 8];
    const uint32_t locale = pages_locale(request->language);
    (void)snprintf(url, sizeof(url), "%s/reset", service->public_url);
    pages_expand(text, sizeof(text), pages_string(service->pages, locale, "mail_reset_ask_text"),
                 "", url);
    const struct mail_message message = {
        .to = address,
        .subject = pages_string(service->pages, locale, "mail_reset_ask_subject"),
        .text = text,
        .language = pages_locale_name(locale),
    };
    return mail_send(service->mail, &message, clock_unix_ns());
}

static int user_disable(const struct service *service, const struct http_request *request,
                        const char *address)
{
    (void)request;
    return store_user_disable(service->store, address, api_now_ms());
}

static int user_enable(const struct service *service, const struct http_request *request,
                       const char *address)
{
    (void)request;
    return store_user_enable(service->store, address);
}

static int user_sessions_end(const struct service *service, const struct http_request *request,
                             const char *address)
{
    (void)request;
    return store_user_sessions_end(service->store, address);
}

static int user_remove(const struct service *service, const struct http_request *request,
                       const char *address)
{
    (void)request;
    return store_user_remove(service->store, address);
}

/* Its code app and its passkeys: who lost them signs in by the password, and enrols others. Its
 * owner is told, as whoever else asked for it would rather not. */
static int user_factors_clear(const struct service *service, const struct http_request *request,
                              const char *address)
{
    struct store_account account;
    int rc = store_account_get(service->store, address, &account);
    if (rc != 0)
        return rc;
    secret_wipe(account.password, sizeof(account.password));
    rc = store_user_factors_clear(service->store, address);
    if (rc == 0)
        code_notice(service, request, &account, "factor");
    return rc;
}

typedef int user_act(const struct service *service, const struct http_request *request,
                     const char *address);

static const struct user_verb {
    const char *name;
    const char *event;
    enum right right;
    enum admin_kind kind;
    user_act *act;
    bool needs_reason;
} verbs[] = {
    {"disable", "account_disable", RIGHT_ACCOUNTS, ADMIN_DANGER, user_disable, false},
    {"enable", "account_enable", RIGHT_ACCOUNTS, ADMIN_DANGER, user_enable, false},
    {"remove", "account_remove", RIGHT_ACCOUNTS, ADMIN_DANGER, user_remove, false},
    {"end-sessions", "account_sign_out", RIGHT_RESET, ADMIN_CHANGE, user_sessions_end, false},
    {"reset", "account_reset_ask", RIGHT_RESET, ADMIN_CHANGE, reset_mail, false},
    {"second-factor", "account_factor_clear", RIGHT_RESET, ADMIN_DANGER, user_factors_clear, true},
};

/* Nobody does it to oneself, and who holds a role is touched only by whoever grants roles. */
static bool user_touchable(const struct service *service, struct http_request *request,
                           const struct admin_actor *actor, const struct store_user *user)
{
    if (user->number != actor->account_number &&
        (user->held == 0 || roles_allow(&actor->roles, RIGHT_ROLES, NULL)))
        return true;
    admin_refuse(service, request, actor);
    return false;
}

static void verb_run(const struct service *service, struct http_request *request,
                     const struct user_verb *verb)
{
    struct admin_actor actor;
    struct store_user user;
    const char *name;
    char reason[ADMIN_REASON_BYTES];
    const struct api_field fields[] = {
        {.name = "reason", .text = reason, .room = sizeof(reason), .optional = true}};
    if (!admin_enter(service, request, verb->right, verb->kind, &actor) ||
        !user_find(service, request, true, &user, &name) ||
        !user_touchable(service, request, &actor, &user))
        return;
    if (api_fields(request->body, request->body_bytes, fields, ARRAY_COUNT(fields)) != 0 ||
        !admin_line_valid(reason, !verb->needs_reason)) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    const struct audit_event event = {.event = verb->event, .user = user.address, .detail = reason};
    if (!admin_note(service, request, &actor, &event))
        return;
    admin_finish(service, request, &actor, &event, verb->act(service, request, user.address));
}

static void grant_run(const struct service *service, struct http_request *request, bool grant)
{
    struct admin_actor actor;
    struct store_user user;
    const char *name;
    enum role role = ROLE_AUDITOR;
    char role_text[32];
    char profile[ROLES_PROFILE_BYTES];
    char detail[sizeof(role_text) + sizeof(profile)];
    const struct api_field fields[] = {
        {.name = "role", .text = role_text, .room = sizeof(role_text)},
        {.name = "profile", .text = profile, .room = sizeof(profile), .optional = true},
    };
    if (!admin_enter(service, request, RIGHT_ROLES, ADMIN_PERSON, &actor) ||
        !user_find(service, request, true, &user, &name) ||
        !user_touchable(service, request, &actor, &user))
        return;
    if (api_fields(request->body, request->body_bytes, fields, ARRAY_COUNT(fields)) != 0 ||
        !role_parse(&role, role_text) ||
        (role == ROLE_PROFILE_ADMINISTRATOR ? !roles_profile_valid(profile) : profile[0] != '\0')) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    (void)snprintf(detail, sizeof(detail), "%s%s%s", role_text, profile[0] == '\0' ? "" : ":",
                   profile);
    const struct audit_event event = {
        .event = grant ? "role_grant" : "role_revoke", .user = user.address, .detail = detail};
    if (!admin_note(service, request, &actor, &event))
        return;
    admin_finish(service, request, &actor, &event,
                 grant ? store_role_grant(service->store, user.address, role, profile, api_now_ms())
                       : store_role_revoke(service->store, user.address, role, profile));
}

/* POST /v1/admin/users/NUMBER/VERB */
void api_admin_user_change(void *context, struct http_request *request)
{
    const struct service *service = context;
    char number[24];
    const char *verb = "";
    if (!admin_path(request, USERS_PREFIX, number, sizeof(number), &verb))
        verb = "";
    for (size_t i = 0; i < ARRAY_COUNT(verbs); i++)
        if (strcmp(verbs[i].name, verb) == 0) {
            verb_run(service, request, &verbs[i]);
            return;
        }
    if (strcmp(verb, "grant") == 0 || strcmp(verb, "revoke") == 0)
        grant_run(service, request, verb[0] == 'g');
    else
        api_refuse(request, API_UNKNOWN, NULL);
}
