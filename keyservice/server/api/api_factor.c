/* The account's own page: the code app and its recovery codes. */
#include "base/clock.h"
#include "crypto/base64.h"
#include "crypto/secret.h"
#include "keyservice/server/account/code.h"
#include "keyservice/server/account/factor.h"
#include "keyservice/server/api/api_person.h"
#include "keyservice/server/language.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define IMAGE_HEAD "data:image/svg+xml;base64,"

/* A QR code as a data: address; the caller wipes and frees. NULL: no memory, or too long. */
static char *image_make(const char *uri, size_t *bytes)
{
    const size_t head_chars = sizeof(IMAGE_HEAD) - 1;
    char *svg = malloc(TOTP_IMAGE_BYTES);
    *bytes = head_chars + TOTP_IMAGE_BYTES / 3 * 4 + 8 + BASE64_SLACK_BYTES;
    char *image = malloc(*bytes);
    if (svg != NULL && image != NULL && totp_image(svg, uri) == 0) {
        memcpy(image, IMAGE_HEAD, head_chars);
        const size_t chars =
            base64_encode_run((uint8_t *)image + head_chars, (const uint8_t *)svg, strlen(svg));
        image[head_chars + chars] = '\0';
    } else {
        free(image);
        image = NULL;
    }
    if (svg != NULL)
        secret_wipe(svg, TOTP_IMAGE_BYTES);
    free(svg);
    return image;
}

/* A secret for an app. Nothing is kept: it comes back with its first code. */
void api_factor_begin(void *context, struct http_request *request)
{
    const struct service *service = context;
    uint8_t secret[TOTP_SECRET_BYTES];
    char text[TOTP_SECRET_CHARS + 1];
    char uri[TOTP_URI_BYTES];
    size_t image_bytes = 0;
    struct session_token cookie;
    struct store_session session;
    if (!api_person(service, request, API_PERSON_FRESH, &cookie, &session))
        return;
    const char *issuer = pages_string(service->pages, language_of_request(request), "brand");
    if (totp_secret_make(secret) != 0 || totp_uri(uri, issuer, session.address, secret) != 0) {
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    totp_secret_text(text, secret);
    char *image = image_make(uri, &image_bytes);
    if (image != NULL)
        api_answer(request, 200,
                   json_pack("{s:s,s:s,s:s}", "secret", text, "uri", uri, "image", image));
    else
        api_refuse(request, API_AWAY, NULL);
    if (image != NULL)
        secret_wipe(image, image_bytes);
    free(image);
    secret_wipe(secret, sizeof(secret));
    secret_wipe(text, sizeof(text));
    secret_wipe(uri, sizeof(uri));
}

static void codes_answer(struct http_request *request,
                         char codes[STORE_RECOVERY_COUNT][FACTOR_CODE_BYTES])
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < STORE_RECOVERY_COUNT; i++)
        (void)json_array_append_new(list, json_string(codes[i]));
    api_answer(request, 200, json_pack("{s:o}", "codes", list));
}

/* Turns it on with the first code of the app, or says why not. */
static int factor_on(const struct service *service, const struct http_request *request,
                     const struct store_session *session, const char *text, const char *code,
                     char codes[STORE_RECOVERY_COUNT][FACTOR_CODE_BYTES])
{
    uint8_t secret[TOTP_SECRET_BYTES];
    uint8_t hashes[STORE_RECOVERY_COUNT][STORE_HASH_BYTES];
    struct store_totp totp = {.step = 0};
    int rc = totp_secret_parse(secret, text);
    if (rc == 0)
        rc = totp_check(secret, code, clock_unix_ns() / NS_PER_S, 0, &totp.step);
    if (rc == 0)
        rc = factor_wrap(service, session->account_number, secret, &totp);
    secret_wipe(secret, sizeof(secret));
    if (rc == 0)
        rc = factor_codes_make(service, session->account_number, codes, hashes);
    if (rc == 0)
        rc = api_audit(service, request, "factor", "on", NULL, session->address, true);
    if (rc == 0)
        rc = store_totp_put(service->store, session->account_number, &totp,
                            (const uint8_t(*)[STORE_HASH_BYTES])hashes);
    return rc;
}

static void factor_notice(const struct service *service, const struct http_request *request,
                          const struct store_session *session)
{
    struct store_account account;
    if (store_account_get(service->store, session->address, &account) != 0)
        return; /* it went meanwhile: nobody is left to tell */
    secret_wipe(account.password, sizeof(account.password));
    code_notice(service, request, &account, "factor");
}

void api_factor_confirm(void *context, struct http_request *request)
{
    const struct service *service = context;
    char text[TOTP_SECRET_CHARS + 1];
    char code[FACTOR_TYPED_BYTES];
    char codes[STORE_RECOVERY_COUNT][FACTOR_CODE_BYTES];
    struct session_token cookie;
    struct store_session session;
    const struct api_field fields[] = {
        {.name = "secret", .text = text, .room = sizeof(text)},
        {.name = "code", .text = code, .room = sizeof(code)},
    };
    if (!api_person(service, request, API_PERSON_FRESH, &cookie, &session))
        return;
    if (api_fields(request->body, request->body_bytes, fields, ARRAY_COUNT(fields)) != 0) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    if (!api_person_factor_change(service, request, &session)) {
        secret_wipe(text, sizeof(text));
        return;
    }
    const int rc = factor_on(service, request, &session, text, code, codes);
    if (rc == 0) {
        api_person_factor_set(service, request, &session, STORE_FACTOR_CODE_APP);
        codes_answer(request, codes);
        factor_notice(service, request, &session);
    } else if (rc == -EINVAL) {
        api_refuse(request, API_BAD_REQUEST, NULL);
    } else {
        api_refuse(request,
                   rc == -EACCES   ? API_SECOND_FACTOR
                   : rc == -EEXIST ? API_CONFLICT
                                   : API_AWAY,
                   NULL);
    }
    secret_wipe(text, sizeof(text));
    secret_wipe(codes, sizeof(codes));
}

/* A fresh session and a code as well: a code alone, or a forgotten browser, changes nothing. */
static bool factor_proven(const struct service *service, struct http_request *request,
                          struct store_session *session)
{
    char code[FACTOR_TYPED_BYTES];
    uint64_t wait_ns = 0;
    struct session_token cookie;
    const struct api_field fields[] = {{.name = "code", .text = code, .room = sizeof(code)}};
    if (!api_person(service, request, API_PERSON_FRESH, &cookie, session))
        return false;
    if (api_fields(request->body, request->body_bytes, fields, ARRAY_COUNT(fields)) != 0) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return false;
    }
    const int rc =
        factor_check(service, request, session->account_number, session->address, code, &wait_ns);
    secret_wipe(code, sizeof(code));
    if (rc == -EBUSY)
        api_refuse_wait(request, wait_ns);
    else if (rc != 0)
        api_refuse(request, rc == -EACCES ? API_SECOND_FACTOR : API_AWAY, NULL);
    return rc == 0;
}

void api_factor_end(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct store_session session;
    if (!factor_proven(service, request, &session))
        return;
    int rc = api_audit(service, request, "factor", "off", NULL, session.address, true);
    if (rc == 0)
        rc = store_totp_remove(service->store, session.account_number);
    api_person_done(request, rc);
    if (rc == 0)
        factor_notice(service, request, &session);
}

void api_factor_recovery(void *context, struct http_request *request)
{
    const struct service *service = context;
    char codes[STORE_RECOVERY_COUNT][FACTOR_CODE_BYTES];
    uint8_t hashes[STORE_RECOVERY_COUNT][STORE_HASH_BYTES];
    struct store_session session;
    if (!factor_proven(service, request, &session))
        return;
    int rc = factor_codes_make(service, session.account_number, codes, hashes);
    if (rc == 0)
        rc = api_audit(service, request, "factor", "recovery", NULL, session.address, true);
    if (rc == 0)
        rc = store_recovery_put(service->store, session.account_number,
                                (const uint8_t(*)[STORE_HASH_BYTES])hashes);
    if (rc == 0)
        codes_answer(request, codes);
    else
        api_refuse(request, API_AWAY, NULL);
    secret_wipe(codes, sizeof(codes));
}
