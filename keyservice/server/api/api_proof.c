/* Registration and a forgotten password, as calls of a page that runs scripts. */
#include "crypto/secret.h"
#include "keyservice/server/account/code.h"
#include "keyservice/server/account/proof.h"
#include "keyservice/server/account/signin.h"
#include "keyservice/server/api/api.h"

#include <errno.h>

static void begin_answer(enum proof_kind kind, const struct service *service,
                         struct http_request *request)
{
    static const char not_ascii[] = "A code can be mailed to addresses of ASCII characters only.";
    char user[ACCOUNT_ADDRESS_BYTES];
    char password[ACCOUNT_PASSWORD_BYTES_MAX + 1];
    char why[ACCOUNT_WHY_BYTES];
    struct session_token cookie;
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
    const int rc = proof_begin(kind, service, request, &cookie, user, password, why, &wait_ns);
    secret_wipe(password, sizeof(password));
    if (rc == 0)
        api_answer(request, 200, json_pack("{s:s}", "status", "mailed"));
    else if (rc == -EINVAL)
        api_refuse(request, API_BAD_REQUEST, code_mailable(user) ? NULL : not_ascii);
    else if (rc == -EPERM)
        api_refuse(request, API_WEAK_PASSWORD, why);
    else if (rc == -EBUSY)
        api_refuse_wait(request, wait_ns);
    else
        api_refuse(request, API_AWAY, NULL);
}

static void verify_answer(enum proof_kind kind, const struct service *service,
                          struct http_request *request)
{
    char user[ACCOUNT_ADDRESS_BYTES];
    char typed[CODE_TYPED_BYTES];
    struct session_token cookie;
    struct store_account account;
    uint64_t wait_ns = 0;
    const struct api_field fields[] = {
        {.name = "user", .text = user, .room = sizeof(user)},
        {.name = "code", .text = typed, .room = sizeof(typed)},
    };
    if (!api_own_page(service, request, &cookie))
        return;
    if (api_fields(request->body, request->body_bytes, fields, ARRAY_COUNT(fields)) != 0) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    const int rc = proof_end(kind, service, request, &cookie, user, typed, &account, &wait_ns);
    if (rc == 0) {
        signin_password_right(service, request, &cookie, &account);
        secret_wipe(account.password, sizeof(account.password));
    } else if (rc == -EBUSY) {
        api_refuse_wait(request, wait_ns);
    } else {
        api_refuse(request,
                   rc == -EINVAL   ? API_BAD_REQUEST
                   : rc == -EACCES ? API_CREDENTIALS
                                   : API_AWAY,
                   NULL);
    }
}

void api_proof_register(void *context, struct http_request *request)
{
    begin_answer(PROOF_ACCOUNT, context, request);
}

void api_proof_register_verify(void *context, struct http_request *request)
{
    verify_answer(PROOF_ACCOUNT, context, request);
}

void api_proof_reset(void *context, struct http_request *request)
{
    begin_answer(PROOF_PASSWORD, context, request);
}

void api_proof_reset_verify(void *context, struct http_request *request)
{
    verify_answer(PROOF_PASSWORD, context, request);
}
