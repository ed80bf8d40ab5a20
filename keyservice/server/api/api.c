#include "keyservice/server/api/api.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "crypto/base64.h"
#include "crypto/secret.h"

#include <errno.h>
#include <malloc.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API_SEEN_EVERY_MS 60000 /* a session's idle time is moved on at most this often */
#define API_POINT_CHARS   87

struct api_error_text {
    unsigned int status;
    const char *code;
    const char *message;
};

static const struct api_error_text errors[API_ERRORS_COUNT] = {
    [API_BAD_REQUEST] = {400, "bad_request", "The request is malformed."},
    [API_WEAK_PASSWORD] = {400, "weak_password", "The password is too short or too simple."},
    [API_CREDENTIALS] = {401, "credentials", "Wrong address, password or code, or signed out."},
    [API_SECOND_FACTOR] = {401, "second_factor", "The account's second step is needed too."},
    [API_NOT_RECIPIENT] = {403, "not_recipient",
                           "This account is not among the envelope's recipients."},
    [API_LOCKED] = {403, "locked", "The sender locked the envelope."},
    [API_CSRF] = {403, "csrf", "The request does not come from a page of this service."},
    [API_FORBIDDEN] = {403, "forbidden", "This engine is not enrolled here, or was revoked."},
    [API_RIGHTS] = {403, "rights", "This account or token may not do that."},
    [API_WITHHELD] = {403, "no_second_factor",
                      "This role asks for a second factor: set up a passkey or a code app on "
                      "/account, or sign in by the one that there is."},
    [API_FRESH] = {403, "fresh", "This asks for a sign-in within the last ten minutes."},
    [API_UNKNOWN] = {404, "unknown", "There is nothing here by that name."},
    [API_METHOD] = {405, "bad_request", "This is not done with that method."},
    [API_CONFLICT] = {409, "conflict", "The id is taken by another record."},
    [API_EXPIRED] = {410, "expired", "The envelope's time is over."},
    [API_GONE] = {410, "gone", "What was posted here was opened already, or is out of time."},
    [API_TOO_LARGE] = {413, "too_large", "The request is over a limit."},
    [API_DAMAGED] = {422, "damaged", "The message was damaged on its way."},
    [API_WRONG_KEY] = {422, "key", "The message was not sealed with this key."},
    [API_TOO_MANY] = {429, "too_many", "Too many attempts; wait and try again."},
    [API_AWAY] = {503, "away", "The service cannot do this now; try again."},
};

/* Passwords pass through the parser. free() may free its blocks too, as it does answers. */
static void json_free_wiped(void *block)
{
    if (block != NULL)
        secret_wipe(block, malloc_usable_size(block));
    free(block);
}

void api_json_init(void)
{
    json_set_alloc_funcs(malloc, json_free_wiped);
}

const char *api_error_code(enum api_error error)
{
    return errors[error].code;
}

void api_answer(struct http_request *request, unsigned int status, json_t *root)
{
    char *text = root == NULL ? NULL : json_dumps(root, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(root);
    if (text == NULL) {
        static const char away[] =
            "{\"error\":{\"code\":\"away\",\"message\":\"Memory is short; try again.\"}}";
        http_answer_constant(request, MHD_HTTP_SERVICE_UNAVAILABLE, API_JSON, away,
                             sizeof(away) - 1);
        return;
    }
    http_answer(request, status, API_JSON, text, strlen(text));
}

void api_refuse(struct http_request *request, enum api_error error, const char *message)
{
    const struct api_error_text *text = &errors[error];
    api_answer(request, text->status,
               json_pack("{s:{s:s,s:s}}", "error", "code", text->code, "message",
                         message == NULL ? text->message : message));
}

void api_refuse_wait(struct http_request *request, uint64_t wait_ns)
{
    if (wait_ns == GUESS_AWAY) {
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    const unsigned long long wait_s = (wait_ns + NS_PER_S - 1) / NS_PER_S;
    api_refuse(request, API_TOO_MANY, NULL);
    http_answer_header(request, "Retry-After", "%llu", wait_s == 0 ? 1 : wait_s);
}

void api_missing(void *context, struct http_request *request)
{
    (void)context;
    switch (request->status) {
    case MHD_HTTP_BAD_REQUEST: api_refuse(request, API_BAD_REQUEST, NULL); break;
    case MHD_HTTP_METHOD_NOT_ALLOWED: api_refuse(request, API_METHOD, NULL); break;
    case MHD_HTTP_CONTENT_TOO_LARGE: api_refuse(request, API_TOO_LARGE, NULL); break;
    case MHD_HTTP_FORBIDDEN: api_refuse(request, API_FORBIDDEN, NULL); break;
    case MHD_HTTP_SERVICE_UNAVAILABLE:
        api_refuse(request, API_AWAY, NULL);
        http_answer_header(request, "Retry-After", "2");
        break;
    default: api_refuse(request, API_UNKNOWN, NULL); break;
    }
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int api_hex(uint8_t *bytes_at, size_t bytes, const char *hex)
{
    if (strnlen(hex, 2 * bytes + 1) != 2 * bytes)
        return -EINVAL;
    for (size_t i = 0; i < bytes; i++) {
        const int high = hex_digit(hex[2 * i]);
        const int low = hex_digit(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return -EINVAL;
        bytes_at[i] = (uint8_t)(high * 16 + low);
    }
    return 0;
}

void api_to_hex(char *hex, const uint8_t *bytes_at, size_t bytes)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes; i++) {
        hex[2 * i] = digits[bytes_at[i] >> 4];
        hex[2 * i + 1] = digits[bytes_at[i] & 15];
    }
    hex[2 * bytes] = '\0';
}

int api_point(uint8_t pub[65], const char *text)
{
    uint8_t decoded[API_POINT_CHARS + BASE64_SLACK_BYTES];
    size_t bytes = 0;
    if (strnlen(text, API_POINT_CHARS + 1) != API_POINT_CHARS ||
        base64url_decode(decoded, (const uint8_t *)text, API_POINT_CHARS, &bytes) != 0 ||
        bytes != 65)
        return -EINVAL;
    memcpy(pub, decoded, 65);
    return 0;
}

uint64_t api_now_ms(void)
{
    return clock_unix_ns() / NS_PER_MS;
}

int api_session(const struct service *service, const struct http_request *request,
                struct store_session *session)
{
    struct session_token cookie;
    uint8_t hash[SESSION_HASH_BYTES];
    if (!session_parse(&cookie, request->cookie))
        return -ENOENT;
    session_hash(&cookie, hash);
    const int rc = store_session_get(service->store, hash, session);
    if (rc != 0)
        return rc;
    const uint64_t now_ms = api_now_ms();
    const struct config *config = service->config;
    if (session->created_unix_ms + config->session_life_s * UINT64_C(1000) <= now_ms ||
        session->seen_unix_ms + config->session_idle_s * UINT64_C(1000) <= now_ms)
        return -ENOENT;
    if (session->seen_unix_ms + API_SEEN_EVERY_MS < now_ms &&
        store_session_seen(service->store, hash, now_ms) != 0)
        log_line(LOG_LEVEL_WARNING, "session_seen_failed", "from=%s", request->client);
    return 0;
}

bool api_own_origin(const struct http_request *request)
{
    static const char scheme[] = "https://";
    if (request->fetch_site[0] != '\0' && strcmp(request->fetch_site, "same-origin") != 0)
        return false;
    if (request->origin[0] == '\0')
        return true;
    return strncmp(request->origin, scheme, sizeof(scheme) - 1) == 0 &&
           strcmp(request->origin + sizeof(scheme) - 1, request->host) == 0;
}

bool api_own_page(const struct service *service, struct http_request *request,
                  struct session_token *cookie)
{
    return api_own_page_of(service, request, API_JSON, cookie);
}

bool api_own_page_of(const struct service *service, struct http_request *request, const char *type,
                     struct session_token *cookie)
{
    const size_t type_chars = strlen(type);
    const bool fits = strncmp(request->content_type, type, type_chars) == 0 &&
                      strchr("; ", request->content_type[type_chars]) != NULL;
    if (!fits || !api_own_origin(request) || !session_parse(cookie, request->cookie) ||
        !session_csrf_valid(service->csrf_secret, cookie, request->csrf)) {
        api_refuse(request, API_CSRF, NULL);
        return false;
    }
    return true;
}

void api_cookie_set(struct http_request *request, const struct session_token *cookie)
{
    http_answer_header(request, "Set-Cookie",
                       SESSION_COOKIE "=%s; Path=/; Secure; HttpOnly; SameSite=Lax", cookie->text);
}

/* Without "cookies": the device's stays, and pages ask by it. */
void api_site_data_clear(struct http_request *request)
{
    http_answer_header(request, "Clear-Site-Data", "\"cache\", \"storage\"");
}

void api_cookie_end(struct http_request *request)
{
    http_answer_header(request, "Set-Cookie",
                       SESSION_COOKIE "=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax");
    api_site_data_clear(request);
}

int api_audit(const struct service *service, const struct http_request *request, const char *event,
              const char *outcome, const char *id, const char *user, bool durable)
{
    const struct audit_event line = {
        .event = event, .outcome = outcome, .id = id, .user = user, .from = request->client};
    const int rc = audit_append(service->audit, &line, durable, clock_unix_ns());
    if (rc != 0)
        log_line(LOG_LEVEL_ERROR, "audit_failed", "event=%s errno=%d", event, -rc);
    return rc;
}

void api_audit_note(const struct service *service, const struct http_request *request,
                    const char *event, const char *outcome, const char *id, const char *user)
{
    if (api_audit(service, request, event, outcome, id, user, false) != 0)
        return; /* logged; the answer stays what it is */
}
