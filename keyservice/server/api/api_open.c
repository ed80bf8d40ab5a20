#include "keyservice/server/api/api_open.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "crypto/base64.h"
#include "crypto/secret.h"
#include "keyservice/server/account/factor.h"
#include "keyservice/server/account/signin.h"
#include "keyservice/server/digest.h"
#include "keyservice/server/store/store_report.h"
#include "web/assets.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POINT_CHARS 88
#define PASSWORD_FRESH_MS                                                                          \
    600000 /* a password typed for a "high" envelope is good for one, this long */
#define PICKUP_PREFIX    "/pickup/"
#define ENVELOPES_PREFIX "/v1/envelopes/"

_Static_assert(RELEASE_POINT_BYTES == 65, "api_point() decodes P-256");

/* Whose allowances a request takes from: the account's, so that nobody else uses them up, or those
 * of the network where nobody signed in. */
struct asker {
    uint8_t key[1 + ACCOUNT_ADDRESS_BYTES];
    size_t key_bytes;
};

static void asker_fill(struct asker *asker, const struct http_request *request,
                       const struct open_want *want)
{
    const bool nobody = want->user == NULL;
    const size_t bytes = nobody ? HTTP_NETWORK_BYTES : strlen(want->user);
    ASSERT(bytes < sizeof(asker->key));
    asker->key[0] = nobody ? 'n' : 'a';
    memcpy(asker->key + 1, nobody ? (const void *)request->network : want->user, bytes);
    asker->key_bytes = 1 + bytes;
}

/* Takes from an allowance; false: answered that it is used up. */
static bool asker_take(const struct service *service, struct http_request *request,
                       const struct open_want *want, enum guess_kind kind)
{
    struct asker asker;
    asker_fill(&asker, request, want);
    const uint64_t wait_ns =
        guess_take(service->guess, kind, asker.key, asker.key_bytes, clock_monotonic_ns());
    if (wait_ns != 0)
        api_refuse_wait(request, wait_ns);
    return wait_ns == 0;
}

void api_open_health(void *context, struct http_request *request)
{
    static const char fine[] = "{\"status\":\"ok\"}";
    const struct service *service = context;
    if (store_healthy(service->store))
        http_answer_constant(request, 200, API_JSON, fine, sizeof(fine) - 1);
    else
        api_refuse(request, API_AWAY, NULL);
}

/* docs/api/openapi.json, which tests hold every answer to. */
void api_open_described(void *context, struct http_request *request)
{
    const struct asset *asset = asset_find("api/openapi.json");
    (void)context;
    ASSERT(asset != NULL);
    http_answer_constant(request, 200, API_JSON, asset->bytes_at, asset->bytes);
}

void api_open_preflight(void *context, struct http_request *request)
{
    (void)context;
    http_answer_constant(request, 204, "text/plain", "", 0);
    http_answer_header(request, "Access-Control-Allow-Methods", "GET, POST");
    http_answer_header(request, "Access-Control-Allow-Headers", "Content-Type");
    http_answer_header(request, "Access-Control-Max-Age", "600");
}

void api_open_pickup(void *context, struct http_request *request)
{
    struct service *service = context;
    uint8_t name[PICKUP_NAME_BYTES];
    char text[PICKUP_TEXT_BYTES];
    const char *hex = request->path + sizeof(PICKUP_PREFIX) - 1;
    if (api_hex(name, sizeof(name), hex) != 0 ||
        pickup_take(service->pickup, name, clock_monotonic_ns(), text) != 0) {
        api_refuse(request, API_UNKNOWN, NULL);
        return;
    }
    char *copy = strdup(text);
    if (copy == NULL) {
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    http_answer(request, 200, API_JSON, copy, strlen(copy));
}

/* A look would spend what only the envelope may take. */
void api_open_pickup_head(void *context, struct http_request *request)
{
    (void)context;
    api_refuse(request, API_METHOD, NULL);
}

/* May `user` have this envelope's key now? 0 with the envelope, or the error to answer. */
static int envelope_check(const struct service *service, const struct open_want *want,
                          struct store_envelope *envelope, enum api_error *error)
{
    struct store_look look;
    const int rc = store_envelope_look(service->store, want->id,
                                       want->user == NULL ? "" : want->user, envelope, &look);
    if (rc != 0) {
        *error = rc == -ENOENT ? API_UNKNOWN : API_AWAY;
        return rc;
    }
    if (envelope->level != RECORD_LEVEL_NONE) {
        if (want->user == NULL) {
            *error = API_CREDENTIALS;
            return -EACCES;
        }
        if (!look.recipient) {
            *error = API_NOT_RECIPIENT;
            return -ENOENT;
        }
    }
    *error = API_LOCKED;
    if (look.locked || envelope->locked)
        return -EACCES;
    *error = API_EXPIRED;
    if (envelope->expires_unix_ms != 0 && envelope->expires_unix_ms <= api_now_ms())
        return -ETIME;
    return 0;
}

/* The wrapped key of docs/api/keyservice.md as text. */
static int release_text(const struct service *service, const struct open_want *want,
                        const struct store_envelope *envelope, char text[PICKUP_TEXT_BYTES])
{
    uint8_t key[MASTER_PLAIN_BYTES_MAX] __attribute__((cleanup(secret_wipe_32)));
    uint8_t epk[POINT_CHARS + BASE64_SLACK_BYTES];
    uint8_t ct[RELEASE_CT_BYTES_MAX * 2 + BASE64_SLACK_BYTES];
    struct release release;
    size_t key_bytes = 0;
    int rc = store_envelope_key(service->store, envelope, key, &key_bytes);
    if (rc == 0)
        rc = release_wrap(&release, want->id, want->pub, key, key_bytes);
    if (rc != 0)
        return rc;
    const size_t epk_chars = base64url_encode_run(epk, release.epk, sizeof(release.epk));
    const size_t ct_chars = base64url_encode_run(ct, release.ct, release.ct_bytes);
    const int n = snprintf(text, PICKUP_TEXT_BYTES,
                           "{\"bulla\":1,\"m\":\"%s\",\"epk\":\"%.*s\",\"ct\":\"%.*s\","
                           "\"flags\":%u}",
                           want->id_hex, (int)epk_chars, (const char *)epk, (int)ct_chars,
                           (const char *)ct, envelope->flags);
    ASSERT(n > 0 && n < PICKUP_TEXT_BYTES);
    return 0;
}

/*
 * Who did not sign in is told the same of every id, and writes nothing to the log: it is no
 * decision about anyone. Whoever did writes as many lines as the allowance has.
 */
void api_open_refuse(const struct service *service, struct http_request *request,
                     const struct open_want *want, enum api_error error)
{
    if (want->user == NULL && (error == API_UNKNOWN || error == API_CREDENTIALS)) {
        api_refuse(request, API_CREDENTIALS, NULL);
        return;
    }
    if (!asker_take(service, request, want, GUESS_REFUSE))
        return;
    api_audit_note(service, request, error == API_EXPIRED ? "expire" : "refuse",
                   api_error_code(error), want->id_hex, want->user);
    api_refuse(request, error, NULL);
}

/* The same, of an envelope that was looked at: the refusal is counted, too. */
static void envelope_refuse(const struct service *service, struct http_request *request,
                            const struct open_want *want, const struct store_envelope *envelope,
                            enum api_error error)
{
    api_open_refuse(service, request, want, error);
    const bool counts = error == API_LOCKED || error == API_EXPIRED || error == API_NOT_RECIPIENT;
    const enum store_report_kind kind = error == API_LOCKED    ? REPORT_LOCKED
                                        : error == API_EXPIRED ? REPORT_EXPIRED
                                                               : REPORT_FAILED;
    /* What went over the allowance is no decision, and must not write to the database either. */
    if (counts && request->status != MHD_HTTP_TOO_MANY_REQUESTS &&
        store_report_count(service->store, kind, envelope, api_now_ms()) != 0)
        log_line(LOG_LEVEL_WARNING, "report_failed", "m=%s", want->id_hex);
}

int api_open_note(const struct service *service, const struct http_request *request,
                  const struct open_want *want, const struct store_envelope *envelope,
                  enum store_opening_how how)
{
    const struct audit_event event = {.event = "release",
                                      .outcome = how == OPENING_ONLINE ? "online" : NULL,
                                      .id = want->id_hex,
                                      .user = want->user,
                                      .from = request->client};
    struct store_line line = {.event = &event, .now_unix_ns = clock_unix_ns()};
    const int rc =
        store_opening_note(service->store, envelope, want->user == NULL ? "" : want->user, how,
                           line.now_unix_ns / NS_PER_MS, &line);
    if (rc != 0 && rc != -EACCES)
        log_line(LOG_LEVEL_ERROR, "opening_failed", "m=%s errno=%d", want->id_hex, -rc);
    return rc;
}

/* Wraps, notes the opening, and only then answers; true when it did. */
static bool release_answer(const struct service *service, struct http_request *request,
                           const struct open_want *want, const struct store_envelope *envelope)
{
    char text[PICKUP_TEXT_BYTES];
    const int rc = release_text(service, want, envelope, text);
    if (rc != 0) {
        log_line(LOG_LEVEL_ERROR, "release_failed", "m=%s errno=%d", want->id_hex, -rc);
        api_open_refuse(service, request, want, rc == -EINVAL ? API_BAD_REQUEST : API_AWAY);
        return false;
    }
    char *copy = strdup(text);
    const int noted =
        copy == NULL ? -ENOMEM : api_open_note(service, request, want, envelope, OPENING_RELEASED);
    if (noted != 0) {
        free(copy);
        if (noted == -EACCES)
            api_open_refuse(service, request, want, API_LOCKED);
        else
            api_refuse(request, API_AWAY, NULL);
        return false;
    }
    http_answer(request, 200, API_JSON, copy, strlen(copy));
    return true;
}

static bool want_parse(struct open_want *want, const char *point)
{
    return api_hex(want->id, sizeof(want->id), want->id_hex) == 0 &&
           api_point(want->pub, point) == 0 && release_point_valid(want->pub);
}

/* Who is it? 0, or answered. An envelope of level "none" asks nobody. */
static int open_user(const struct service *service, struct http_request *request,
                     const struct open_want *want, const char *typed, const char *password,
                     const char *totp, struct store_account *account)
{
    uint64_t wait_ns = 0;
    struct store_envelope envelope;
    if (typed[0] == '\0' && password[0] == '\0' &&
        store_envelope_get(service->store, want->id, &envelope) == 0 &&
        envelope.level == RECORD_LEVEL_NONE)
        return 0;
    int rc = signin_check(service, request, typed, password, account, &wait_ns);
    if (rc == 0 && account->second_factor) {
        rc = totp[0] == '\0' ? -EKEYREJECTED
                             : factor_check(service, request, account->number, account->address,
                                            totp, &wait_ns);
        if (rc == -EACCES || rc == -EKEYREJECTED) {
            signin_audit_refused(service, request, API_SECOND_FACTOR, typed);
            api_refuse(request, API_SECOND_FACTOR, NULL);
            return rc;
        }
    }
    if (rc == 0 && account->made) {
        signin_audit_refused(service, request, API_CREDENTIALS, typed);
        api_refuse(request, API_CREDENTIALS,
                   "This password was made for you: sign in at the key service's page once, and"
                   " choose another.");
        return -EACCES;
    }
    if (rc != 0)
        signin_refuse(service, request, rc, typed, wait_ns);
    return rc;
}

void api_open_open(void *context, struct http_request *request)
{
    const struct service *service = context;
    char user[ACCOUNT_ADDRESS_BYTES];
    char password[ACCOUNT_PASSWORD_BYTES_MAX + 1];
    char totp[FACTOR_TYPED_BYTES];
    char point[POINT_CHARS];
    struct open_want want = {.user = NULL};
    struct store_account account = {.number = 0};
    struct store_envelope envelope;
    enum api_error error;
    const struct api_field fields[] = {
        {.name = "user", .text = user, .room = sizeof(user), .optional = true},
        {.name = "password", .text = password, .room = sizeof(password), .optional = true},
        {.name = "totp", .text = totp, .room = sizeof(totp), .optional = true},
        {.name = "m", .text = want.id_hex, .room = sizeof(want.id_hex)},
        {.name = "pub", .text = point, .room = sizeof(point)},
    };
    /* Else any page on the web could spend the guesses of its visitors' network. */
    if (!api_own_origin(request)) {
        api_refuse(request, API_CSRF, NULL);
        return;
    }
    if (api_fields(request->body, request->body_bytes, fields, ARRAY_COUNT(fields)) != 0) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    if (!want_parse(&want, point)) {
        secret_wipe(password, sizeof(password));
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    const int rc = open_user(service, request, &want, user, password, totp, &account);
    secret_wipe(password, sizeof(password));
    if (rc != 0)
        return;
    want.user = account.number == 0 ? NULL : account.address;
    if (!asker_take(service, request, &want,
                    want.user == NULL ? GUESS_RELEASE_NETWORK : GUESS_RELEASE))
        return;
    if (envelope_check(service, &want, &envelope, &error) != 0) {
        envelope_refuse(service, request, &want, &envelope, error);
        return;
    }
    (void)release_answer(service, request, &want, &envelope);
}

static const char *level_name(uint8_t level)
{
    return level == RECORD_LEVEL_HIGH ? "high" : level == RECORD_LEVEL_MEDIUM ? "medium" : "none";
}

static bool password_fresh(const struct store_session *session)
{
    return session->password_unix_ms != 0 &&
           session->password_unix_ms + PASSWORD_FRESH_MS > api_now_ms();
}

void api_open_look(const struct service *service, const struct http_request *request,
                   struct open_want *want, struct open_look *look)
{
    *look = (struct open_look){.refused = true, .error = API_AWAY};
    const int signed_in = api_session(service, request, &look->session);
    if (signed_in != 0 && signed_in != -ENOENT)
        return;
    look->signed_in = signed_in == 0;
    want->user = look->signed_in ? look->session.address : NULL;
    look->refused = envelope_check(service, want, &look->envelope, &look->error) != 0;
    if (look->refused && want->user == NULL && look->error == API_UNKNOWN)
        look->error = API_CREDENTIALS; /* who is not signed in learns nothing of what there is */
    look->password_needed =
        look->envelope.level == RECORD_LEVEL_HIGH && !password_fresh(&look->session);
}

void api_open_envelope(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct open_want want = {.user = NULL};
    struct open_look look;
    const struct store_envelope *envelope = &look.envelope;
    const char *hex = request->path + sizeof(ENVELOPES_PREFIX) - 1;
    if (api_hex(want.id, sizeof(want.id), hex) != 0) {
        api_refuse(request, API_UNKNOWN, NULL);
        return;
    }
    (void)snprintf(want.id_hex, sizeof(want.id_hex), "%s", hex);
    api_open_look(service, request, &want, &look);
    if (look.refused && look.error != API_LOCKED && look.error != API_EXPIRED) {
        api_refuse(request, look.error, NULL);
        return;
    }
    api_answer(request, 200,
               json_pack("{s:s,s:s,s:s,s:s,s:I,s:I,s:s,s:s,s:b}", "m", want.id_hex, "profile",
                         envelope->profile, "from", envelope->sender, "subject", envelope->subject,
                         "sent", (json_int_t)envelope->sent_unix_ms, "expires",
                         (json_int_t)envelope->expires_unix_ms, "state",
                         look.refused ? api_error_code(look.error) : "open", "level",
                         level_name(envelope->level), "password_needed",
                         look.password_needed ? 1 : 0));
}

/* "high" wants the password typed for this very envelope. */
static bool release_password(const struct service *service, const struct store_envelope *envelope,
                             const struct store_session *session)
{
    if (envelope->level != RECORD_LEVEL_HIGH)
        return true;
    return password_fresh(session) &&
           store_session_use_password(service->store, session->hash) == 0;
}

static int permit(const struct service *service, struct http_request *request,
                  struct open_want *want, struct store_session *session,
                  struct store_envelope *envelope, bool typed)
{
    enum api_error error;
    const int signed_in = api_session(service, request, session);
    if (signed_in != 0 && signed_in != -ENOENT) {
        api_refuse(request, API_AWAY, NULL);
        return signed_in;
    }
    want->user = signed_in == 0 ? session->address : NULL;
    if (!asker_take(service, request, want,
                    want->user == NULL ? GUESS_RELEASE_NETWORK : GUESS_RELEASE))
        return -EBUSY;
    int rc = envelope_check(service, want, envelope, &error);
    if (rc == 0 && typed && !release_password(service, envelope, session)) {
        error = API_CREDENTIALS;
        rc = -EACCES;
    }
    if (rc != 0)
        envelope_refuse(service, request, want, envelope, error);
    return rc;
}

int api_open_permit(const struct service *service, struct http_request *request,
                    struct open_want *want, struct store_session *session,
                    struct store_envelope *envelope)
{
    return permit(service, request, want, session, envelope, true);
}

int api_open_permit_again(const struct service *service, struct http_request *request,
                          struct open_want *want, struct store_session *session,
                          struct store_envelope *envelope)
{
    return permit(service, request, want, session, envelope, false);
}

int api_open_still(const struct service *service, const struct open_want *want)
{
    enum api_error error;
    struct store_envelope envelope;
    const int rc = envelope_check(service, want, &envelope, &error);
    return rc == 0 ? 0 : error == API_LOCKED ? -EACCES : -EIO;
}

void api_open_release(void *context, struct http_request *request)
{
    struct service *service = context;
    char point[POINT_CHARS];
    uint8_t name[PICKUP_NAME_BYTES];
    struct asker asker;
    struct open_want want = {.user = NULL};
    struct session_token cookie;
    struct store_session session;
    struct store_envelope envelope;
    const struct api_field fields[] = {
        {.name = "m", .text = want.id_hex, .room = sizeof(want.id_hex)},
        {.name = "pub", .text = point, .room = sizeof(point)},
    };
    if (!api_own_page(service, request, &cookie))
        return;
    if (api_fields(request->body, request->body_bytes, fields, ARRAY_COUNT(fields)) != 0 ||
        !want_parse(&want, point)) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    if (api_open_permit(service, request, &want, &session, &envelope) != 0)
        return;
    if (!release_answer(service, request, &want, &envelope))
        return;
    const int named = digest_one(want.pub, sizeof(want.pub), name);
    asker_fill(&asker, request, &want);
    if (named != 0 || pickup_park(service->pickup, asker.key, asker.key_bytes, name,
                                  request->answer, clock_monotonic_ns()) != 0)
        log_line(LOG_LEVEL_WARNING, "pickup_failed", "m=%s", want.id_hex); /* asked for again */
}
