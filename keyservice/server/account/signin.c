#include "keyservice/server/account/signin.h"

#include "base/assert.h"
#include "base/clock.h"
#include "crypto/secret.h"
#include "keyservice/server/account/code.h"
#include "keyservice/server/account/device.h"
#include "keyservice/server/account/factor.h"
#include "keyservice/server/account/ticket.h"
#include "keyservice/server/language.h"
#include "keyservice/server/store/store_role.h"

#include <errno.h>
#include <string.h>

#define SIGNIN_KEY_BYTES_MAX (ACCOUNT_ADDRESS_BYTES + 64)
#define SIGNIN_PURPOSE       "second factor"

/* The allowances that one try takes from. */
struct signin_try {
    struct guess *guess;
    uint64_t now_ns;
    const uint8_t *network;
    const char *address;
    uint8_t pair[SIGNIN_KEY_BYTES_MAX];
    size_t pair_bytes;
    bool device; /* a browser that this account was signed in with before */
    bool known;  /* the same, or a network it was signed in from before   */
};

static void try_fill(struct signin_try *attempt, const struct service *service,
                     const struct http_request *request, const char *address)
{
    const size_t address_bytes = strlen(address);
    char phrase[STORE_PHRASE_BYTES];
    const bool device = device_known(service, request, address, phrase);
    attempt->device = device;
    attempt->guess = service->guess;
    attempt->now_ns = clock_monotonic_ns();
    attempt->network = request->network;
    attempt->address = address;
    memcpy(attempt->pair, address, address_bytes + 1);
    attempt->pair_bytes = address_bytes + 1;
    /* A known browser has an allowance of its own, which no one on its network can use up. */
    attempt->pair[attempt->pair_bytes++] = device ? 'd' : 'n';
    if (!device) {
        memcpy(attempt->pair + attempt->pair_bytes, request->network, HTTP_NETWORK_BYTES);
        attempt->pair_bytes += HTTP_NETWORK_BYTES;
    }
    attempt->known = device || guess_known(service->guess, attempt->pair, attempt->pair_bytes);
}

/* Takes one try of each allowance, or none: the wait until there is one. */
static uint64_t try_take(const struct signin_try *attempt)
{
    struct guess *guess = attempt->guess;
    const size_t address_bytes = strlen(attempt->address);
    uint64_t wait_ns = 0;
    /* What others on its network guess must not keep a known browser out. */
    if (!attempt->device)
        wait_ns =
            guess_take(guess, GUESS_NETWORK, attempt->network, HTTP_NETWORK_BYTES, attempt->now_ns);
    if (wait_ns != 0)
        return wait_ns;
    wait_ns = guess_take(guess, GUESS_PAIR, attempt->pair, attempt->pair_bytes, attempt->now_ns);
    if (wait_ns != 0)
        goto give_network;
    if (!attempt->known)
        wait_ns =
            guess_take(guess, GUESS_ACCOUNT, attempt->address, address_bytes, attempt->now_ns);
    if (wait_ns == 0)
        return 0;
    guess_give(guess, GUESS_PAIR, attempt->pair, attempt->pair_bytes, attempt->now_ns);
give_network:
    if (!attempt->device)
        guess_give(guess, GUESS_NETWORK, attempt->network, HTTP_NETWORK_BYTES, attempt->now_ns);
    return wait_ns;
}

static void try_right(const struct signin_try *attempt)
{
    struct guess *guess = attempt->guess;
    if (!attempt->device)
        guess_give(guess, GUESS_NETWORK, attempt->network, HTTP_NETWORK_BYTES, attempt->now_ns);
    guess_give(guess, GUESS_PAIR, attempt->pair, attempt->pair_bytes, attempt->now_ns);
    if (!attempt->known)
        guess_give(guess, GUESS_ACCOUNT, attempt->address, strlen(attempt->address),
                   attempt->now_ns);
    guess_known_add(guess, attempt->pair, attempt->pair_bytes);
}

int signin_check(const struct service *service, const struct http_request *request,
                 const char *typed_address, const char *password, struct store_account *account,
                 uint64_t *wait_ns)
{
    char address[ACCOUNT_ADDRESS_BYTES];
    struct signin_try attempt;
    if (account_normalise(address, typed_address, strlen(typed_address)) != 0)
        address[0] = '\0'; /* no account has this name; the rest goes its usual way */
    try_fill(&attempt, service, request, address);
    *wait_ns = try_take(&attempt);
    if (*wait_ns != 0)
        return -EBUSY;
    const int found = store_account_get(service->store, address, account);
    if (found != 0 && found != -ENOENT)
        return -EIO;
    const bool right = account_password_verify(found == 0 ? account->password : service->no_account,
                                               password, strlen(password));
    const uint64_t until_unix_ms = found == 0 ? account_password_until(account->password) : 0;
    secret_wipe(account->password, sizeof(account->password));
    if (found != 0 || !right || (until_unix_ms != 0 && until_unix_ms <= api_now_ms()))
        return -EACCES;
    const int enabled = store_user_enabled(service->store, address);
    if (enabled != 0)
        return enabled == -EIO ? -EIO : -EACCES;
    try_right(&attempt);
    return 0;
}

void signin_audit_refused(const struct service *service, const struct http_request *request,
                          enum api_error error, const char *typed_address)
{
    char address[ACCOUNT_ADDRESS_BYTES];
    const bool is_address = account_normalise(address, typed_address, strlen(typed_address)) == 0;
    api_audit_note(service, request, "sign_in", api_error_code(error), NULL,
                   is_address ? address : NULL);
}

void signin_refuse(const struct service *service, struct http_request *request, int rc,
                   const char *typed_address, uint64_t wait_ns)
{
    const enum api_error error = rc == -EACCES ? API_CREDENTIALS : API_AWAY;
    if (rc == -EBUSY) {
        api_refuse_wait(request, wait_ns);
        return;
    }
    signin_audit_refused(service, request, error, typed_address);
    api_refuse(request, error, NULL);
}

uint32_t signin_factors(const struct store_account *account)
{
    const uint32_t second = account->second_factor ? (uint32_t)STORE_FACTOR_CODE_APP : 0;
    return (uint32_t)STORE_FACTOR_PASSWORD | second;
}

/* What the audit line calls it; NULL for a password alone. */
static const char *factors_name(uint32_t factors)
{
    if ((factors & (uint32_t)STORE_FACTOR_PASSKEY) != 0)
        return "passkey";
    return (factors & (uint32_t)STORE_FACTOR_CODE_APP) != 0 ? "second_factor" : NULL;
}

int signin_start(const struct service *service, struct http_request *request,
                 const struct session_token *old, const struct store_account *account,
                 uint32_t factors, struct session_token *cookie)
{
    uint8_t old_hash[SESSION_HASH_BYTES];
    const uint64_t now_ms = api_now_ms();
    struct store_session session = {.account_number = account->number,
                                    .created_unix_ms = now_ms,
                                    .seen_unix_ms = now_ms,
                                    .password_unix_ms = now_ms,
                                    .factors = factors};
    device_label(session.label, request->agent);
    session_hash(old, old_hash);
    int rc = session_make(cookie);
    if (rc == 0) {
        session_hash(cookie, session.hash);
        rc = store_session_add(service->store, &session, account, old_hash);
    }
    if (rc == 0)
        rc = api_audit(service, request, "sign_in", factors_name(factors), NULL, account->address,
                       false);
    if (rc != 0)
        return rc;
    api_cookie_set(request, cookie);
    device_note(service, request, account->number);
    if (account->language[0] != '\0')
        language_cookie_set(request, language_of_choice(account->language, 0));
    return 0;
}

void signin_begin(const struct service *service, struct http_request *request,
                  const struct session_token *old, const struct store_account *account,
                  uint32_t factors)
{
    struct session_token cookie;
    struct session_token csrf;
    const int rc = signin_start(service, request, old, account, factors, &cookie);
    if (rc != 0) {
        api_refuse(request, rc == -ENOENT ? API_CREDENTIALS : API_AWAY, NULL);
        return;
    }
    session_csrf(service->csrf_secret, &cookie, &csrf);
    api_answer(request, 200, json_pack("{s:s,s:s}", "user", account->address, "csrf", csrf.text));
}

int signin_ticket(const struct service *service, const struct session_token *cookie,
                  const char *purpose, const struct store_account *account,
                  char text[TICKET_CHARS + 1])
{
    struct store_account now = {.number = 0};
    int rc = store_account_get(service->store, account->address, &now);
    if (rc == 0 && (now.number != account->number ||
                    memcmp(now.password_mark, account->password_mark, STORE_HASH_BYTES) != 0))
        rc = -ENOENT; /* another password since that one was typed */
    const struct ticket ticket = {.purpose = purpose,
                                  .cookie = cookie,
                                  .hangs_on = now.password,
                                  .number = now.number,
                                  .expires_unix_ms = api_now_ms() + TICKET_LIFE_MS};
    if (rc == 0)
        rc = ticket_make(service->ticket_secret, &ticket, text);
    secret_wipe(now.password, sizeof(now.password));
    return rc;
}

static void needs_answer(const struct service *service, struct http_request *request,
                         const struct session_token *cookie, const struct store_account *account,
                         const char *purpose, const char *needs)
{
    char text[TICKET_CHARS + 1];
    const int rc = signin_ticket(service, cookie, purpose, account, text);
    if (rc != 0) {
        api_refuse(request, rc == -ENOENT ? API_CREDENTIALS : API_AWAY, NULL);
        return;
    }
    api_answer(request, 200, json_pack("{s:s,s:s}", "needs", needs, "ticket", text));
    secret_wipe(text, sizeof(text));
}

const char *signin_renew_purpose(const struct store_account *account)
{
    return account->second_factor ? "new password after two" : "new password";
}

/* Both steps are done, or there is one alone: in, but for who is still to choose a password. */
static void signin_proven(const struct service *service, struct http_request *request,
                          const struct session_token *cookie, const struct store_account *account)
{
    if (account->made)
        needs_answer(service, request, cookie, account, signin_renew_purpose(account), "password");
    else
        signin_begin(service, request, cookie, account, signin_factors(account));
}

void signin_password_right(const struct service *service, struct http_request *request,
                           const struct session_token *cookie, struct store_account *account)
{
    if (account->second_factor)
        needs_answer(service, request, cookie, account, SIGNIN_PURPOSE, "totp");
    else
        signin_proven(service, request, cookie, account);
}

/* 0: the ticket is this browser's, of this account as it is now. -ENOENT: it is not. */
static int second_ticket(const struct service *service, const struct session_token *cookie,
                         const char *address, const char *text, struct store_account *account)
{
    struct ticket ticket = {
        .purpose = SIGNIN_PURPOSE, .cookie = cookie, .hangs_on = account->password};
    int rc = store_account_get(service->store, address, account);
    if (rc == 0 && (ticket_check(service->ticket_secret, &ticket, text, api_now_ms()) != 0 ||
                    ticket.number != account->number))
        rc = -ENOENT;
    secret_wipe(account->password, sizeof(account->password));
    return rc;
}

void signin_ticket_refuse(const struct service *service, struct http_request *request)
{
    const uint64_t wait_ns = code_try(service, request);
    if (wait_ns != 0)
        api_refuse_wait(request, wait_ns);
    else
        api_refuse(request, API_CREDENTIALS, NULL);
}

void signin_second_post(void *context, struct http_request *request)
{
    const struct service *service = context;
    char user[ACCOUNT_ADDRESS_BYTES];
    char address[ACCOUNT_ADDRESS_BYTES];
    char text[TICKET_CHARS + 1];
    char typed[FACTOR_TYPED_BYTES];
    struct session_token cookie;
    struct store_account account;
    uint64_t wait_ns = 0;
    const struct api_field fields[] = {
        {.name = "user", .text = user, .room = sizeof(user)},
        {.name = "ticket", .text = text, .room = sizeof(text)},
        {.name = "code", .text = typed, .room = sizeof(typed)},
    };
    if (!api_own_page(service, request, &cookie))
        return;
    if (api_fields(request->body, request->body_bytes, fields, ARRAY_COUNT(fields)) != 0 ||
        account_normalise(address, user, strlen(user)) != 0) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    int rc = second_ticket(service, &cookie, address, text, &account);
    if (rc == -ENOENT) {
        signin_ticket_refuse(service, request);
        return;
    }
    if (rc != 0) {
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    rc = factor_check(service, request, account.number, account.address, typed, &wait_ns);
    if (rc == 0)
        signin_proven(service, request, &cookie, &account);
    else
        signin_refuse(service, request, rc, user, wait_ns);
}
