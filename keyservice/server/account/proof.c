#include "keyservice/server/account/proof.h"

#include "crypto/secret.h"
#include "keyservice/server/account/code.h"
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

static const struct proof proofs[PROOF_KINDS_COUNT] = {
    [PROOF_ACCOUNT] = {.purpose = STORE_PENDING_ACCOUNT,
                       .of_account = false,
                       .event = "register",
                       .mail = "code",
                       .mail_else = "known"},
    [PROOF_PASSWORD] = {.purpose = STORE_PENDING_PASSWORD,
                        .of_account = true,
                        .event = "reset",
                        .mail = "reset",
                        .mail_else = "nobody",
                        .notice = "password"},
};

/*
 * The same work whether the address has an account or not: one hash, one row, one mail. Where it is
 * not as the proof wants it the row's code is random and nobody's.
 */
static int begin(const struct proof *proof, const struct service *service,
                 const struct http_request *request, const char *address, const char *password,
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

int proof_begin(enum proof_kind kind, const struct service *service,
                const struct http_request *request, const struct session_token *cookie,
                const char *typed_address, const char *password, char why[ACCOUNT_WHY_BYTES],
                uint64_t *wait_ns)
{
    char address[ACCOUNT_ADDRESS_BYTES];
    if (account_normalise(address, typed_address, strlen(typed_address)) != 0 ||
        !code_mailable(address))
        return -EINVAL;
    if (account_password_check(password, strlen(password), address, why) != 0)
        return -EPERM;
    *wait_ns = code_take(service, request, address);
    if (*wait_ns != 0)
        return -EBUSY;
    return begin(&proofs[kind], service, request, address, password, cookie);
}

/* The code is spent, whatever comes of it. */
static int end(const struct proof *proof, const struct service *service,
               const struct http_request *request, const struct session_token *cookie,
               const char *address, const char *code, struct store_account *account)
{
    uint8_t hash[STORE_HASH_BYTES];
    uint8_t browser[SESSION_HASH_BYTES];
    code_hash(service, address, code, hash);
    session_hash(cookie, browser);
    const struct store_pending pending = {.purpose = proof->purpose,
                                          .address = address,
                                          .browser = browser,
                                          .code_hash = hash,
                                          .now_unix_ms = api_now_ms()};
    int rc = store_pending_spend(service->store, &pending);
    const bool wrong = rc == -EACCES;
    if (rc == 0)
        rc = api_audit(service, request, proof->event, NULL, NULL, address, true);
    if (rc == 0)
        rc = store_account_get(service->store, address, account);
    if (rc == 0)
        return 0;
    api_audit_note(service, request, proof->event,
                   api_error_code(wrong ? API_CREDENTIALS : API_AWAY), NULL, address);
    return wrong ? -EACCES : -EIO;
}

int proof_end(enum proof_kind kind, const struct service *service,
              const struct http_request *request, const struct session_token *cookie,
              const char *typed_address, const char *typed_code, struct store_account *account,
              uint64_t *wait_ns)
{
    char address[ACCOUNT_ADDRESS_BYTES];
    char code[CODE_DIGITS + 1];
    const struct proof *proof = &proofs[kind];
    if (account_normalise(address, typed_address, strlen(typed_address)) != 0)
        return -EINVAL;
    *wait_ns = code_try(service, request);
    if (*wait_ns != 0)
        return -EBUSY;
    if (!code_normalise(code, typed_code))
        return -EACCES;
    const int rc = end(proof, service, request, cookie, address, code, account);
    secret_wipe(code, sizeof(code));
    if (rc == 0 && proof->notice != NULL)
        code_notice(service, request, account, proof->notice);
    return rc;
}
