/* The account's own page: what there is, and changes of it. */
#include "keyservice/server/api/api_person.h"

#include "base/log.h"
#include "crypto/secret.h"
#include "keyservice/server/account/account.h"
#include "keyservice/server/account/code.h"
#include "keyservice/server/account/device.h"
#include "keyservice/server/account/signin.h"
#include "keyservice/server/roles.h"

#include <errno.h>
#include <string.h>

#define SESSIONS_PREFIX "/v1/account/sessions/"
#define DEVICES_PREFIX  "/v1/account/devices/"
#define OTHERS          "others"

bool api_person_fresh(const struct store_session *session)
{
    return session->password_unix_ms != 0 &&
           session->password_unix_ms + API_PERSON_FRESH_MS > api_now_ms();
}

bool api_person(const struct service *service, struct http_request *request,
                enum api_person_need need, struct session_token *cookie,
                struct store_session *session)
{
    if (!api_own_page(service, request, cookie))
        return false;
    const int rc = api_session(service, request, session);
    if (rc != 0) {
        api_refuse(request, rc == -ENOENT ? API_CREDENTIALS : API_AWAY, NULL);
        return false;
    }
    if (need == API_PERSON_FRESH && !api_person_fresh(session)) {
        api_refuse(request, API_FRESH, NULL);
        return false;
    }
    return true;
}

bool api_person_factor_change(const struct service *service, struct http_request *request,
                              const struct store_session *session)
{
    const int rc = roles_factor_change(service, session);
    if (rc != 0)
        api_refuse(request, rc == -EPERM ? API_WITHHELD : API_AWAY, NULL);
    return rc == 0;
}

void api_person_factor_set(const struct service *service, const struct http_request *request,
                           const struct store_session *session, enum store_factor factor)
{
    /* Without it there is a sign-in more. */
    if (store_session_factor(service->store, session->hash, factor) != 0)
        log_line(LOG_LEVEL_WARNING, "session_factor_failed", "from=%s", request->client);
}

bool api_person_id(const struct http_request *request, const char *prefix,
                   uint8_t id[STORE_ID_BYTES])
{
    return api_hex(id, STORE_ID_BYTES, request->path + strlen(prefix)) == 0;
}

void api_person_done(struct http_request *request, int rc)
{
    if (rc == 0)
        api_answer(request, 200, json_pack("{s:s}", "status", "done"));
    else
        api_refuse(request,
                   rc == -ENOENT   ? API_UNKNOWN
                   : rc == -EEXIST ? API_CONFLICT
                   : rc == -EACCES ? API_CREDENTIALS
                                   : API_AWAY,
                   NULL);
}

/* Sessions or devices; `here` is the one that asks, NULL for none. */
static json_t *places_json(const struct store_place *places, uint32_t count, const uint8_t *here)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++) {
        char id[2 * STORE_ID_BYTES + 1];
        const bool is_here = here != NULL && memcmp(here, places[i].hash, STORE_HASH_BYTES) == 0;
        api_to_hex(id, places[i].hash, STORE_ID_BYTES);
        (void)json_array_append_new(
            list, json_pack("{s:s,s:s,s:I,s:I,s:b}", "id", id, "label", places[i].label, "created",
                            (json_int_t)places[i].created_unix_ms, "seen",
                            (json_int_t)places[i].seen_unix_ms, "here", is_here ? 1 : 0));
    }
    return list;
}

static int places_add(const struct service *service, const struct http_request *request,
                      const struct store_session *session, json_t *root)
{
    struct store_place places[STORE_SESSIONS_MAX];
    uint8_t device[STORE_HASH_BYTES];
    uint32_t count = 0;
    _Static_assert(STORE_DEVICES_MAX <= STORE_SESSIONS_MAX, "one buffer for both");
    int rc = store_session_list(service->store, session->account_number, places, &count);
    if (rc != 0)
        return rc;
    (void)json_object_set_new(root, "sessions", places_json(places, count, session->hash));
    rc = store_device_list(service->store, session->account_number, places, &count);
    if (rc != 0)
        return rc;
    const bool known = device_hash(request, device);
    (void)json_object_set_new(root, "devices", places_json(places, count, known ? device : NULL));
    json_t *passkeys = api_passkey_list(service, session->account_number);
    if (passkeys == NULL)
        return -EIO;
    (void)json_object_set_new(root, "passkeys", passkeys);
    return 0;
}

void api_person_get(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct store_session session;
    struct store_person person;
    int rc = api_session(service, request, &session);
    if (rc == 0)
        rc = store_person_get(service->store, session.account_number, &person);
    if (rc != 0) {
        api_refuse(request, rc == -ENOENT ? API_CREDENTIALS : API_AWAY, NULL);
        return;
    }
    json_t *root =
        json_pack("{s:s,s:I,s:s,s:s,s:b,s:i,s:b}", "user", session.address, "created",
                  (json_int_t)person.created_unix_ms, "language", person.language, "phrase",
                  person.phrase, "totp", person.totp ? 1 : 0, "recovery",
                  (int)person.recovery_count, "fresh", api_person_fresh(&session) ? 1 : 0);
    if (root == NULL || places_add(service, request, &session, root) != 0) {
        json_decref(root);
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    api_answer(request, 200, root);
}

void api_person_password(void *context, struct http_request *request)
{
    const struct service *service = context;
    char password[ACCOUNT_PASSWORD_BYTES_MAX + 1];
    char encoded[ACCOUNT_HASH_BYTES];
    char why[ACCOUNT_WHY_BYTES];
    struct session_token cookie;
    struct store_session session;
    struct store_account account;
    const struct api_field fields[] = {
        {.name = "password", .text = password, .room = sizeof(password)}};
    if (!api_person(service, request, API_PERSON_FRESH, &cookie, &session))
        return;
    if (api_fields(request->body, request->body_bytes, fields, ARRAY_COUNT(fields)) != 0) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    if (account_password_check(password, strlen(password), session.address, why) != 0) {
        secret_wipe(password, sizeof(password));
        api_refuse(request, API_WEAK_PASSWORD, why);
        return;
    }
    int rc = account_password_hash(password, strlen(password), encoded);
    secret_wipe(password, sizeof(password));
    if (rc == 0)
        rc = api_audit(service, request, "password", NULL, NULL, session.address, true);
    if (rc == 0)
        rc = store_account_password(service->store, session.address, encoded);
    if (rc == 0)
        rc = store_account_get(service->store, session.address, &account);
    if (rc != 0) {
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    secret_wipe(account.password, sizeof(account.password));
    code_notice(service, request, &account, "password");
    signin_begin(service, request, &cookie, &account, session.factors);
}

void api_person_phrase(void *context, struct http_request *request)
{
    const struct service *service = context;
    char phrase[STORE_PHRASE_BYTES];
    struct session_token cookie;
    struct store_session session;
    const struct api_field fields[] = {{.name = "phrase", .text = phrase, .room = sizeof(phrase)}};
    if (!api_person(service, request, API_PERSON_SIGNED_IN, &cookie, &session))
        return;
    if (api_fields(request->body, request->body_bytes, fields, ARRAY_COUNT(fields)) != 0 ||
        !record_text_sound((const uint8_t *)phrase, strlen(phrase))) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    api_person_done(request, store_person_phrase(service->store, session.account_number, phrase));
}

/* DELETE of one by its id, or of all but the one that asks. */
void api_person_session(void *context, struct http_request *request)
{
    const struct service *service = context;
    uint8_t id[STORE_ID_BYTES];
    struct session_token cookie;
    struct store_session session;
    if (!api_person(service, request, API_PERSON_FRESH, &cookie, &session))
        return;
    const int64_t number = session.account_number;
    if (strcmp(request->path, SESSIONS_PREFIX OTHERS) == 0)
        api_person_done(request, store_session_end_others(service->store, number, session.hash));
    else if (api_person_id(request, SESSIONS_PREFIX, id))
        api_person_done(request, store_session_end(service->store, number, id));
    else
        api_refuse(request, API_UNKNOWN, NULL);
}

void api_person_device(void *context, struct http_request *request)
{
    const struct service *service = context;
    uint8_t id[STORE_ID_BYTES];
    uint8_t here[STORE_HASH_BYTES] = {0}; /* nobody's digest: then all go */
    struct session_token cookie;
    struct store_session session;
    if (!api_person(service, request, API_PERSON_FRESH, &cookie, &session))
        return;
    const int64_t number = session.account_number;
    if (strcmp(request->path, DEVICES_PREFIX OTHERS) == 0) {
        (void)device_hash(request, here);
        api_person_done(request, store_device_end_others(service->store, number, here));
    } else if (api_person_id(request, DEVICES_PREFIX, id)) {
        api_person_done(request, store_device_end(service->store, number, id));
    } else {
        api_refuse(request, API_UNKNOWN, NULL);
    }
}

/* With all that is the account's; envelopes stay, they are their senders'. */
void api_person_delete(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct session_token cookie;
    struct store_session session;
    struct roles roles;
    if (!api_person(service, request, API_PERSON_FRESH, &cookie, &session))
        return;
    int rc = roles_get(service->store, session.account_number, &roles);
    if (rc == 0 && roles.held != 0) {
        api_refuse(request, API_CONFLICT, "This account holds a role: have it revoked first.");
        return;
    }
    if (rc == 0)
        rc = api_audit(service, request, "account_delete", NULL, NULL, session.address, true);
    if (rc == 0)
        rc = store_account_remove(service->store, session.address);
    if (rc != 0) {
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    api_answer(request, 200, json_pack("{s:n}", "user"));
    api_cookie_end(request);
}
