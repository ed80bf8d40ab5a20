/* /v1/admin/engines and /v1/admin/tokens: what machines and programs may sign their calls with. */
#include "crypto/secret.h"
#include "keyservice/server/admin_call.h"
#include "keyservice/server/enrol.h"
#include "keyservice/server/pki.h"
#include "keyservice/server/store/store_token.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ENGINES_PREFIX "/v1/admin/engines/"
#define TOKENS_PREFIX  "/v1/admin/tokens/"
#define DAY_MS         (UINT64_C(24) * 3600 * 1000)

static void engine_add(void *context, const struct store_engine *engine)
{
    char fingerprint[2 * STORE_HASH_BYTES + 1];
    api_to_hex(fingerprint, engine->fingerprint, STORE_HASH_BYTES);
    (void)json_array_append_new(context, json_pack("{s:s,s:s,s:I,s:I}", "name", engine->name,
                                                   "fingerprint", fingerprint, "enrolled",
                                                   (json_int_t)engine->created_unix_ms, "revoked",
                                                   (json_int_t)engine->revoked_unix_ms));
}

void api_admin_engines(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct admin_actor actor;
    if (!admin_enter(service, request, RIGHT_ENGINES, ADMIN_LOOK, &actor))
        return;
    json_t *rows = json_array();
    if (store_engine_list(service->store, engine_add, rows) == 0) {
        api_answer(request, 200, json_pack("{s:o}", "engines", rows));
        return;
    }
    json_decref(rows);
    api_refuse(request, API_AWAY, NULL);
}

void api_admin_engine_add(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct admin_actor actor;
    char name[STORE_NAME_BYTES];
    char code[ENROL_CODE_BYTES] = "";
    uint8_t hash[STORE_HASH_BYTES];
    const struct api_field fields[] = {{.name = "name", .text = name, .room = sizeof(name)}};
    if (!admin_enter(service, request, RIGHT_ENGINES, ADMIN_DANGER, &actor))
        return;
    if (api_fields(request->body, request->body_bytes, fields, ARRAY_COUNT(fields)) != 0 ||
        !pki_name_valid(name)) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    const struct audit_event event = {.event = "engine_add", .user = name};
    const uint64_t expires_ms = api_now_ms() + ENROL_LIFE_MS;
    int rc = enrol_code_make(code, hash);
    if (rc != 0)
        api_refuse(request, API_AWAY, NULL);
    if (rc != 0 || !admin_note(service, request, &actor, &event))
        goto wipe;
    rc = store_enrol_add(service->store, hash, name, expires_ms);
    if (admin_done(service, request, &actor, &event, rc))
        api_answer(request, 200,
                   json_pack("{s:s,s:s,s:I}", "name", name, "code", code, "expires",
                             (json_int_t)expires_ms));

wipe:
    secret_wipe(code, sizeof(code));
}

void api_admin_engine_revoke(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct admin_actor actor;
    char name[STORE_NAME_BYTES];
    if (!admin_enter(service, request, RIGHT_ENGINES, ADMIN_DANGER, &actor))
        return;
    if (!admin_path(request, ENGINES_PREFIX, name, sizeof(name), NULL) || !pki_name_valid(name) ||
        api_fields(request->body, request->body_bytes, NULL, 0) != 0) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    const struct audit_event event = {.event = "engine_revoke", .user = name};
    if (!admin_note(service, request, &actor, &event))
        return;
    admin_finish(service, request, &actor, &event,
                 store_engine_revoke(service->store, name, api_now_ms()));
}

static void token_add(void *context, const struct store_token *token)
{
    struct admin_page *page = context;
    json_t *row =
        json_pack("{s:I,s:s,s:s,s:s,s:I,s:I,s:I}", "number", (json_int_t)token->number, "name",
                  token->name, "address", token->address, "role", role_name(token->role), "created",
                  (json_int_t)token->created_unix_ms, "expires", (json_int_t)token->expires_unix_ms,
                  "used", (json_int_t)token->used_unix_ms);
    if (token->profile[0] != '\0')
        (void)json_object_set_new(row, "profile", json_string(token->profile));
    (void)json_array_append_new(page->rows, row);
    page->last = token->number;
}

void api_admin_tokens(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct admin_actor actor;
    int64_t after = 0;
    struct admin_page page = {.last = 0};
    if (!admin_enter(service, request, RIGHT_TOKENS, ADMIN_LOOK, &actor))
        return;
    if (!admin_number(http_query(request, "after"), true, &after)) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    page.rows = json_array();
    const int rc = store_token_list(service->store, after, token_add, &page);
    admin_page_answer(request, "tokens", &page, STORE_TOKENS_PAGE, rc);
}

static bool token_read(const struct http_request *request, struct store_token *token)
{
    static const char *const names[] = {"name", "role", "profile", "days"};
    json_t *root = NULL;
    char role[32];
    uint64_t days = 0;
    if (api_json_body(request, &root) != 0)
        return false;
    const bool fine =
        api_json_known(root, names, ARRAY_COUNT(names)) &&
        api_json_string(root, "name", false, token->name, sizeof(token->name)) &&
        api_json_string(root, "role", false, role, sizeof(role)) &&
        api_json_string(root, "profile", true, token->profile, sizeof(token->profile)) &&
        api_json_u64(root, "days", false, STORE_TOKEN_DAYS_MAX, &days) && days > 0 &&
        admin_line_valid(token->name, false) && role_parse(&token->role, role) &&
        (token->role == ROLE_PROFILE_ADMINISTRATOR ? roles_profile_valid(token->profile)
                                                   : token->profile[0] == '\0');
    json_decref(root);
    token->created_unix_ms = api_now_ms();
    token->expires_unix_ms = token->created_unix_ms + days * DAY_MS;
    return fine;
}

/* A token of whoever makes it: it may never do more than its owner may at that time. */
void api_admin_token_add(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct admin_actor actor;
    struct store_token token = {.number = 0};
    char text[STORE_TOKEN_BYTES] = "";
    uint8_t hash[STORE_HASH_BYTES];
    if (!admin_enter(service, request, RIGHT_TOKENS, ADMIN_PERSON, &actor))
        return;
    if (!token_read(request, &token)) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    token.account_number = actor.account_number;
    const struct audit_event event = {
        .event = "token_add", .user = actor.address, .detail = token.name};
    int rc = store_token_make(text);
    if (rc != 0 || !store_token_hash(text, hash))
        api_refuse(request, API_AWAY, NULL);
    else if (admin_note(service, request, &actor, &event)) {
        rc = store_token_add(service->store, hash, &token);
        if (admin_done(service, request, &actor, &event, rc == -ENOSPC ? -EEXIST : rc))
            api_answer(request, 200,
                       json_pack("{s:s,s:s,s:I}", "name", token.name, "token", text, "expires",
                                 (json_int_t)token.expires_unix_ms));
    }
    secret_wipe(text, sizeof(text));
}

void api_admin_token_remove(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct admin_actor actor;
    int64_t number = 0;
    char name[24];
    if (!admin_enter(service, request, RIGHT_TOKENS, ADMIN_DANGER, &actor))
        return;
    if (!admin_path(request, TOKENS_PREFIX, name, sizeof(name), NULL) ||
        !admin_number(name, false, &number) ||
        api_fields(request->body, request->body_bytes, NULL, 0) != 0) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    const struct audit_event event = {.event = "token_remove", .detail = name};
    if (!admin_note(service, request, &actor, &event))
        return;
    admin_finish(service, request, &actor, &event, store_token_remove(service->store, number));
}
