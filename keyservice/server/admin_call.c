#include "keyservice/server/admin_call.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "keyservice/server/store/store_token.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BEARER           "Bearer "
#define TOKEN_SEEN_MS    60000 /* a token's last use is written at most this often */
#define NUMBER_CHARS_MAX 18

static void by_write(struct admin_actor *actor, const char *token_name)
{
    if (token_name == NULL)
        (void)snprintf(actor->by, sizeof(actor->by), "%s", actor->address);
    else
        (void)snprintf(actor->by, sizeof(actor->by), "%s token %s", actor->address, token_name);
}

/* Whose token is it, and what may it do now? 0, -ENOENT for none that holds, or -EIO. */
static int token_look(const struct service *service, const char *text, struct admin_actor *actor)
{
    struct store_token token;
    struct roles owner;
    uint8_t hash[STORE_HASH_BYTES];
    const uint64_t now_ms = api_now_ms();
    if (!store_token_hash(text, hash))
        return -ENOENT;
    int rc = store_token_get(service->store, hash, &token);
    if (rc == 0 && token.expires_unix_ms <= now_ms)
        rc = -ENOENT;
    if (rc == 0)
        rc = roles_get(service->store, token.account_number, &owner);
    if (rc != 0)
        return rc;
    roles_limit(&actor->roles, &owner, token.role, token.profile);
    actor->account_number = token.account_number;
    actor->is_program = true;
    (void)snprintf(actor->address, sizeof(actor->address), "%s", token.address);
    by_write(actor, token.name);
    if (token.used_unix_ms + TOKEN_SEEN_MS < now_ms &&
        store_token_seen(service->store, token.number, now_ms) != 0)
        log_line(LOG_LEVEL_WARNING, "token_seen_failed", "errno=%d", EIO);
    return 0;
}

static bool enter_program(const struct service *service, struct http_request *request,
                          enum admin_kind kind, struct admin_actor *actor)
{
    /* A browser adds its cookie by itself: a request with both is no program's. */
    if (request->cookie[0] != '\0' || !api_own_origin(request)) {
        api_refuse(request, API_CSRF, "A token comes alone: without a cookie and from no page.");
        return false;
    }
    if (kind != ADMIN_LOOK && strncmp(request->content_type, API_JSON, sizeof(API_JSON) - 1) != 0) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return false;
    }
    const int rc = token_look(service, request->authorization + sizeof(BEARER) - 1, actor);
    if (rc != 0)
        api_refuse(request, rc == -ENOENT ? API_CREDENTIALS : API_AWAY, NULL);
    return rc == 0;
}

static bool enter_person(const struct service *service, struct http_request *request,
                         enum admin_kind kind, struct admin_actor *actor, bool *fresh)
{
    struct session_token cookie;
    struct store_session session;
    if (kind != ADMIN_LOOK && !api_own_page(service, request, &cookie))
        return false;
    if (!api_own_origin(request)) {
        api_refuse(request, API_CSRF, NULL);
        return false;
    }
    int rc = api_session(service, request, &session);
    if (rc == 0)
        rc = roles_of(service, &session, &actor->roles);
    if (rc != 0) {
        api_refuse(request, rc == -ENOENT ? API_CREDENTIALS : API_AWAY, NULL);
        return false;
    }
    actor->account_number = session.account_number;
    (void)snprintf(actor->address, sizeof(actor->address), "%s", session.address);
    by_write(actor, NULL);
    /* Every sign-in, by whatever proof, makes a new session. */
    *fresh = session.created_unix_ms + ADMIN_FRESH_MS > api_now_ms();
    return true;
}

static void refuse_noted(const struct service *service, struct http_request *request,
                         const struct admin_actor *actor, enum api_error error)
{
    const uint64_t wait_ns =
        guess_take(service->guess, GUESS_REFUSE, (const uint8_t *)actor->address,
                   strlen(actor->address), clock_monotonic_ns());
    const struct audit_event line = {.event = "admin_refuse",
                                     .outcome = api_error_code(error),
                                     .by = actor->by,
                                     .detail = request->path,
                                     .from = request->client};
    /* So many lines, and no more, can one account write. */
    if (wait_ns == 0 && strlen(request->path) < ADMIN_REASON_BYTES &&
        audit_append(service->audit, &line, false, clock_unix_ns()) != 0)
        log_line(LOG_LEVEL_ERROR, "audit_failed", "event=%s", line.event);
    api_refuse(request, error, NULL);
}

void admin_refuse(const struct service *service, struct http_request *request,
                  const struct admin_actor *actor)
{
    refuse_noted(service, request, actor, API_RIGHTS);
}

/* What the account may not do, or would if it had shown its second factor. */
static void right_refuse(const struct service *service, struct http_request *request,
                         const struct admin_actor *actor, enum right right)
{
    refuse_noted(service, request, actor,
                 roles_withhold(&actor->roles, right) ? API_WITHHELD : API_RIGHTS);
}

bool admin_enter(const struct service *service, struct http_request *request, enum right right,
                 enum admin_kind kind, struct admin_actor *actor)
{
    bool fresh = true;
    *actor = (struct admin_actor){.account_number = 0};
    /* Others, such as Basic, are for what stands before the service. */
    const bool bearer = strncmp(request->authorization, BEARER, sizeof(BEARER) - 1) == 0;
    const bool entered = bearer ? enter_program(service, request, kind, actor)
                                : enter_person(service, request, kind, actor, &fresh);
    if (!entered)
        return false;
    if (!roles_allow_any(&actor->roles, right) || (kind == ADMIN_PERSON && actor->is_program)) {
        right_refuse(service, request, actor, right);
        return false;
    }
    if ((kind == ADMIN_DANGER || kind == ADMIN_PERSON) && !fresh) {
        api_refuse(request, API_FRESH, NULL);
        return false;
    }
    return true;
}

bool admin_profile(const struct service *service, struct http_request *request,
                   const struct admin_actor *actor, enum right right, const char *profile)
{
    if (roles_allow(&actor->roles, right, profile))
        return true;
    right_refuse(service, request, actor, right);
    return false;
}

static int line_append(const struct service *service, const struct http_request *request,
                       const struct admin_actor *actor, const struct audit_event *event,
                       const char *outcome)
{
    struct audit_event line = *event;
    line.outcome = outcome;
    line.by = actor->by;
    line.from = request->client;
    const int rc = audit_append(service->audit, &line, true, clock_unix_ns());
    if (rc != 0)
        log_line(LOG_LEVEL_ERROR, "audit_failed", "event=%s errno=%d", event->event, -rc);
    return rc;
}

bool admin_note(const struct service *service, struct http_request *request,
                const struct admin_actor *actor, const struct audit_event *event)
{
    const int rc = line_append(service, request, actor, event, NULL);
    if (rc != 0)
        api_refuse(request, rc == -EMSGSIZE ? API_BAD_REQUEST : API_AWAY, NULL);
    return rc == 0;
}

static enum api_error error_of(int rc)
{
    switch (rc) {
    case -ENOENT: return API_UNKNOWN;
    case -EEXIST: return API_CONFLICT;
    case -EACCES: return API_RIGHTS;
    case -EINVAL: return API_BAD_REQUEST;
    default: return API_AWAY;
    }
}

bool admin_done(const struct service *service, struct http_request *request,
                const struct admin_actor *actor, const struct audit_event *event, int rc)
{
    if (rc == 0)
        return true;
    const enum api_error error = error_of(rc);
    if (line_append(service, request, actor, event, api_error_code(error)) != 0)
        log_line(LOG_LEVEL_WARNING, "outcome_unwritten", "event=%s", event->event);
    api_refuse(request, error, error == API_CONFLICT ? "That is there already." : NULL);
    return false;
}

void admin_finish(const struct service *service, struct http_request *request,
                  const struct admin_actor *actor, const struct audit_event *event, int rc)
{
    static const char done[] = "{\"status\":\"done\"}";
    if (admin_done(service, request, actor, event, rc))
        http_answer_constant(request, 200, API_JSON, done, sizeof(done) - 1);
}

bool admin_path(const struct http_request *request, const char *prefix, char *name, size_t room,
                const char **rest)
{
    const size_t skip = strlen(prefix);
    ASSERT(strncmp(request->path, prefix, skip) == 0);
    const char *at = request->path + skip;
    const size_t chars = strcspn(at, "/");
    if (chars == 0 || chars >= room || (at[chars] != '\0') != (rest != NULL))
        return false;
    memcpy(name, at, chars);
    name[chars] = '\0';
    if (rest != NULL)
        *rest = at + chars + 1;
    return true;
}

bool admin_number(const char *text, bool optional, int64_t *number)
{
    const size_t chars = strnlen(text, NUMBER_CHARS_MAX + 1);
    *number = 0;
    if (chars == 0)
        return optional;
    if (chars > NUMBER_CHARS_MAX || strspn(text, "0123456789") != chars)
        return false;
    *number = strtoll(text, NULL, 10);
    return true;
}

void admin_page_answer(struct http_request *request, const char *name, struct admin_page *page,
                       size_t page_max, int rc)
{
    char next[24];
    if (rc != 0) {
        json_decref(page->rows);
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    const bool full = json_array_size(page->rows) == page_max;
    json_t *root = json_pack("{s:o}", name, page->rows);
    (void)snprintf(next, sizeof(next), "%" PRId64, page->last);
    if (full)
        (void)json_object_set_new(root, "after", json_string(next));
    api_answer(request, 200, root);
}

bool admin_line_valid(const char *text, bool optional)
{
    if (text[0] == '\0')
        return optional;
    for (; *text != '\0'; text++)
        if ((uint8_t)*text < 0x20 || (uint8_t)*text == 0x7f)
            return false;
    return true;
}
