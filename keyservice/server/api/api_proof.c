/* A mailbox that is proven by a mailed code: registration, and a forgotten password. */
#include "crypto/secret.h"
#include "keyservice/server/account/code.h"
#include "keyservice/server/account/signin.h"
#include "keyservice/server/api/api.h"
#include "keyservice/server/language.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

/* What a proof is for. */
struct proof {
    enum store_pending_purpose purpose;
    bool of_account;   /* the address has to have one; else it must have none */
    const char *event; /* in the audit log */
    const char *mail;  /* with the code: code_mail() */
    const char
        *mail_else;     /* where there is an account that should not be, or the other way round */
    const char *notice; /* to the owner afterwards; NULL: none */
};

static const struct proof registration = {.purpose = STORE_PENDING_ACCOUNT,
                                          .of_account = false,
                                          .event = "register",
                                          .mail = "code",
                                          .mail_else = "known"};
static const struct proof reset = {.purpose = STORE_PENDING_PASSWORD,
                                   .of_account = true,
                                   .event = "reset",
                                   .mail = "reset",
                                   .mail_else = "nobody",
                                   .notice = "password"};

/*
 * The same work whether the address has an account or not: one hash, one row, one mail. Where it is
 * not as the proof wants it the row's code is random and nobody's.
 */
static int proof_begin(const struct proof *proof, const struct service *service,
                       const struct http_request *request, const char *address,
                       const char *password, const struct session_token *cookie)
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
    const bool fits = has_account == proof->of_account;
    code_hash(service, address, code, hash);
    if (!fits && getrandom(hash, sizeof(hash), 0) != (ssize_t)sizeof(hash))
        return -EIO;
    session_hash(cookie, browser);
    const uint64_t now_unix_ms = api_now_ms();
    const struct store_pending pending = {.purpose = proof->purpose,
                                          .address = address,
                                          .browser = browser,
                                          .code_hash = hash,
                                          .password = encoded,
                                          .now_unix_ms = now_unix_ms,
                                          .expires_unix_ms = now_unix_ms + CODE_LIFE_MS};
    rc = store_pending_put(service->store, &pending);
    if (rc == 0)
        rc = code_mail(service, address, fits ? proof->mail : proof->mail_else, fits ? code : NULL,
                       language_of_choice(has_account ? account.language : "",
                                          language_of_request(request)));
    secret_wipe(code, sizeof(code));
    return rc;
}

static void begin_answer(const struct proof *proof, const struct service *service,
                         struct http_request *request)
{
    static const char not_ascii[] = "A code can be mailed to addresses of ASCII characters only.";
    char user[ACCOUNT_ADDRESS_BYTES];
    char address[ACCOUNT_ADDRESS_BYTES];
    char password[ACCOUNT_PASSWORD_BYTES_MAX + 1];
    char why[ACCOUNT_WHY_BYTES];
    struct session_token cookie;
    int rc = 0;
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
        api_refuse(request, API_BAD_REQUEST, code_mailable(user) ? NULL : not_ascii);
        goto wipe;
    }
    if (account_password_check(password, strlen(password), address, why) != 0) {
        api_refuse(request, API_WEAK_PASSWORD, why);
        goto wipe;
    }
    const uint64_t wait_ns = code_take(service, request, address);
    if (wait_ns != 0) {
        api_refuse_wait(request, wait_ns);
        goto wipe;
    }
    rc = proof_begin(proof, service, request, address, password, &cookie);
    if (rc == 0)
        api_answer(request, 200, json_pack("{s:s}", "status", "mailed"));
    else
        api_refuse(request, rc == -EINVAL ? API_BAD_REQUEST : API_AWAY, NULL);

wipe:
    secret_wipe(password, sizeof(password));
}

static void proof_end(const struct proof *proof, const struct service *service,
                      struct http_request *request, const struct session_token *cookie,
                      const char *address, const char *code)
{
    uint8_t hash[STORE_HASH_BYTES];
    uint8_t browser[SESSION_HASH_BYTES];
    struct store_account account;
    code_hash(service, address, code, hash);
    session_hash(cookie, browser);
    const struct store_pending pending = {.purpose = proof->purpose,
                                          .address = address,
                                          .browser = browser,
                                          .code_hash = hash,
                                          .now_unix_ms = api_now_ms()};
    int rc = store_pending_spend(service->store, &pending);
    if (rc == 0)
        rc = api_audit(service, request, proof->event, NULL, NULL, address, true);
    if (rc == 0)
        rc = store_account_get(service->store, address, &account);
    if (rc != 0) {
        const enum api_error error = rc == -EACCES ? API_CREDENTIALS : API_AWAY;
        api_audit_note(service, request, proof->event, api_error_code(error), NULL, address);
        api_refuse(request, error, NULL);
        return;
    }
    if (proof->notice != NULL)
        code_notice(service, request, &account, proof->notice);
    signin_password_right(service, request, cookie, &account);
    secret_wipe(account.password, sizeof(account.password));
}

static void verify_answer(const struct proof *proof, const struct service *service,
                          struct http_request *request)
{
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
    proof_end(proof, service, request, &cookie, address, code);
}

void api_proof_register(void *context, struct http_request *request)
{
    begin_answer(&registration, context, request);
}

void api_proof_register_verify(void *context, struct http_request *request)
{
    verify_answer(&registration, context, request);
}

void api_proof_reset(void *context, struct http_request *request)
{
    begin_answer(&reset, context, request);
}

void api_proof_reset_verify(void *context, struct http_request *request)
{
    verify_answer(&reset, context, request);
}
