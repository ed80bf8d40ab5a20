#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "crypto/secret.h"
#include "keyservice/server/api.h"
#include "keyservice/server/roles.h"
#include "keyservice/server/signin.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define CODE_DIGITS      8
#define CODE_TYPED_BYTES 33 /* with the spaces and hyphens that people put in */
#define CODE_LIFE_S      (15 * 60)
#define CODE_LIFE_MS     (CODE_LIFE_S * UINT64_C(1000))

/* So many strangers cannot ask for codes that the one somebody waits for is given up for them. */
_Static_assert(STORE_PENDING_MAX > GUESS_MAIL_ALL_IN(CODE_LIFE_S), "no code in time is given up");

/* What the pages show to whom; every call looks for itself. */
static int session_roles(const struct service *service, const struct store_session *session,
                         json_t *root)
{
    struct roles roles;
    const int rc = roles_get(service->store, session->account_number, &roles);
    if (rc != 0)
        return rc;
    json_t *names = json_array();
    json_t *profiles = json_array();
    for (uint32_t role = 1; role <= ROLES_LAST; role++)
        if ((roles.held & UINT32_C(1) << role) != 0)
            (void)json_array_append_new(names, json_string(role_name((enum role)role)));
    for (uint32_t i = 0; i < roles.profiles_count; i++)
        (void)json_array_append_new(profiles, json_string(roles.profiles[i]));
    (void)json_object_set_new(root, "roles", names);
    (void)json_object_set_new(root, "profiles", profiles);
    return 0;
}

void api_account_session_get(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct store_session session;
    struct session_token cookie;
    struct session_token csrf;
    const int rc = api_session(service, request, &session);
    if (rc != 0 && rc != -ENOENT) {
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    const bool had = session_parse(&cookie, request->cookie);
    if (!had && session_make(&cookie) != 0) {
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    session_csrf(service->csrf_secret, &cookie, &csrf);
    json_t *root = json_object();
    (void)json_object_set_new(root, "user", rc == 0 ? json_string(session.address) : json_null());
    (void)json_object_set_new(root, "csrf", json_string(csrf.text));
    if (rc == 0 && session_roles(service, &session, root) != 0) {
        json_decref(root);
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    api_answer(request, 200, root);
    if (!had)
        api_cookie_set(request, &cookie);
}

/* A new session under a new cookie; the old one ends. Answers. */
static void session_begin(const struct service *service, struct http_request *request,
                          const struct session_token *old, const struct store_account *account)
{
    struct session_token cookie;
    struct session_token csrf;
    uint8_t old_hash[SESSION_HASH_BYTES];
    const uint64_t now_ms = api_now_ms();
    struct store_session session = {.account_number = account->number,
                                    .created_unix_ms = now_ms,
                                    .seen_unix_ms = now_ms,
                                    .password_unix_ms = now_ms};
    session_hash(old, old_hash);
    int rc = session_make(&cookie);
    if (rc == 0) {
        session_hash(&cookie, session.hash);
        rc = store_session_add(service->store, &session, old_hash);
    }
    if (rc == 0)
        rc = api_audit(service, request, "sign_in", NULL, NULL, account->address, false);
    if (rc != 0) {
        api_refuse(request, rc == -ENOENT ? API_CREDENTIALS : API_AWAY, NULL);
        return;
    }
    session_csrf(service->csrf_secret, &cookie, &csrf);
    api_answer(request, 200, json_pack("{s:s,s:s}", "user", account->address, "csrf", csrf.text));
    api_cookie_set(request, &cookie);
    signin_device_set(service, request, account->address);
}

void api_account_session_post(void *context, struct http_request *request)
{
    const struct service *service = context;
    char user[ACCOUNT_ADDRESS_BYTES];
    char password[ACCOUNT_PASSWORD_BYTES_MAX + 1];
    struct session_token cookie;
    struct store_account account;
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
    const int rc = signin_check(service, request, user, password, &account, &wait_ns);
    secret_wipe(password, sizeof(password));
    if (rc == 0) {
        session_begin(service, request, &cookie, &account);
    } else if (rc == -EBUSY) {
        api_refuse_wait(request, wait_ns);
    } else {
        const enum api_error error = rc == -EACCES ? API_CREDENTIALS : API_AWAY;
        signin_audit_refused(service, request, error, user);
        api_refuse(request, error, NULL);
    }
}

void api_account_session_delete(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct session_token cookie;
    uint8_t hash[SESSION_HASH_BYTES];
    if (!api_own_page(service, request, &cookie))
        return;
    session_hash(&cookie, hash);
    const int rc = store_session_remove(service->store, hash);
    if (rc != 0 && rc != -ENOENT) {
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    api_answer(request, 200, json_pack("{s:n}", "user"));
    http_answer_header(request, "Set-Cookie",
                       SESSION_COOKIE "=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax");
}

static int code_make(char code[CODE_DIGITS + 1])
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return -EIO;
    /* 2^64 mod 10^8 leaves a bias below 2^-37. */
    (void)snprintf(code, CODE_DIGITS + 1, "%08u", (unsigned)(random % 100000000U));
    return 0;
}

/* Keyed: eight digits would not outlast a search if the database were read. */
static void code_hash(const struct service *service, const char *address, const char *code,
                      uint8_t hash[STORE_HASH_BYTES])
{
    uint8_t text[ACCOUNT_ADDRESS_BYTES + CODE_DIGITS + 1];
    unsigned int hash_bytes = 0;
    const size_t address_bytes = strlen(address) + 1;
    memcpy(text, address, address_bytes);
    memcpy(text + address_bytes, code, CODE_DIGITS);
    const uint8_t *done = HMAC(EVP_sha256(), service->code_secret, sizeof(service->code_secret),
                               text, address_bytes + CODE_DIGITS, hash, &hash_bytes);
    ASSERT(done != NULL);
    ASSERT(hash_bytes == STORE_HASH_BYTES);
}

/* Sends the code, or to whoever has an account already, that there is one. */
static int register_mail(const struct service *service, const struct http_request *request,
                         const char *address, const char *code, bool has_account)
{
    char text[MAIL_TEXT_BYTES_MAX];
    char shown[CODE_DIGITS + 2];
    const uint32_t locale = pages_locale(request->language);
    const char *name = has_account ? "mail_known_text" : "mail_code_text";
    (void)snprintf(shown, sizeof(shown), "%.4s %.4s", code, code + 4);
    pages_expand(text, sizeof(text), pages_string(service->pages, locale, name),
                 has_account ? "" : shown, service->public_url);
    const struct mail_message message = {
        .to = address,
        .subject = pages_string(service->pages, locale,
                                has_account ? "mail_known_subject" : "mail_code_subject"),
        .text = text,
        .language = pages_locale_name(locale),
    };
    const int rc = mail_send(service->mail, &message, clock_unix_ns());
    secret_wipe(text, sizeof(text));
    return rc;
}

/*
 * The same work whether the address has an account or not: one hash, one row, one mail. For a known
 * address the row's code is random and nobody's.
 */
static int register_begin(const struct service *service, const struct http_request *request,
                          const char *address, const char *password,
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
    code_hash(service, address, code, hash);
    if (has_account && getrandom(hash, sizeof(hash), 0) != (ssize_t)sizeof(hash))
        return -EIO;
    session_hash(cookie, browser);
    const struct store_pending pending = {.address = address,
                                          .browser = browser,
                                          .code_hash = hash,
                                          .password = encoded,
                                          .now_unix_ms = api_now_ms(),
                                          .expires_unix_ms = api_now_ms() + CODE_LIFE_MS};
    rc = store_pending_put(service->store, &pending);
    if (rc == 0)
        rc = register_mail(service, request, address, code, has_account);
    secret_wipe(code, sizeof(code));
    return rc;
}

/* Takes one mail of each allowance, or none: the wait until there is one. */
static uint64_t register_take(const struct service *service, const struct http_request *request,
                              const char *address)
{
    uint8_t pair[ACCOUNT_ADDRESS_BYTES + HTTP_NETWORK_BYTES];
    struct guess *guess = service->guess;
    const uint64_t now_ns = clock_monotonic_ns();
    const size_t address_bytes = strlen(address);
    const size_t pair_bytes = address_bytes + 1 + HTTP_NETWORK_BYTES;
    memcpy(pair, address, address_bytes + 1);
    memcpy(pair + address_bytes + 1, request->network, HTTP_NETWORK_BYTES);
    uint64_t wait_ns =
        guess_take(guess, GUESS_MAIL_BY, request->network, HTTP_NETWORK_BYTES, now_ns);
    if (wait_ns != 0)
        return wait_ns;
    /* By network first: a stranger elsewhere cannot use up what the owner registers with. */
    wait_ns = guess_take(guess, GUESS_MAIL_TO, pair, pair_bytes, now_ns);
    if (wait_ns != 0)
        goto give_by;
    wait_ns = guess_take(guess, GUESS_MAIL_ALL, address, address_bytes, now_ns);
    if (wait_ns == 0)
        return 0;
    guess_give(guess, GUESS_MAIL_TO, pair, pair_bytes, now_ns);
give_by:
    guess_give(guess, GUESS_MAIL_BY, request->network, HTTP_NETWORK_BYTES, now_ns);
    return wait_ns;
}

static bool text_ascii(const char *text)
{
    while (*text != '\0' && (uint8_t)*text < 0x80)
        text++;
    return *text == '\0';
}

void api_account_register(void *context, struct http_request *request)
{
    const struct service *service = context;
    char user[ACCOUNT_ADDRESS_BYTES];
    char address[ACCOUNT_ADDRESS_BYTES];
    char password[ACCOUNT_PASSWORD_BYTES_MAX + 1];
    char why[ACCOUNT_WHY_BYTES];
    static const char not_ascii[] = "A code can be mailed to addresses of ASCII characters only.";
    struct session_token cookie;
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
    if (account_normalise(address, user, strlen(user)) != 0 || !text_ascii(address)) {
        secret_wipe(password, sizeof(password));
        api_refuse(request, API_BAD_REQUEST, text_ascii(user) ? NULL : not_ascii);
        return;
    }
    if (account_password_check(password, strlen(password), address, why) != 0) {
        secret_wipe(password, sizeof(password));
        api_refuse(request, API_WEAK_PASSWORD, why);
        return;
    }
    const uint64_t wait_ns = register_take(service, request, address);
    if (wait_ns != 0) {
        secret_wipe(password, sizeof(password));
        api_refuse_wait(request, wait_ns);
        return;
    }
    const int rc = register_begin(service, request, address, password, &cookie);
    secret_wipe(password, sizeof(password));
    if (rc == 0)
        api_answer(request, 200, json_pack("{s:s}", "status", "mailed"));
    else
        api_refuse(request, rc == -EINVAL ? API_BAD_REQUEST : API_AWAY, NULL);
}

/* Eight digits out of what was typed; false when they are not eight. */
static bool code_normalise(char code[CODE_DIGITS + 1], const char *typed)
{
    size_t digits_count = 0;
    for (; *typed != '\0'; typed++) {
        if (*typed == ' ' || *typed == '-')
            continue;
        if (*typed < '0' || *typed > '9' || digits_count == CODE_DIGITS)
            return false;
        code[digits_count++] = *typed;
    }
    code[digits_count] = '\0';
    return digits_count == CODE_DIGITS;
}

static void verify_answer(const struct service *service, struct http_request *request,
                          const struct session_token *cookie, const char *address, const char *code)
{
    uint8_t hash[STORE_HASH_BYTES];
    uint8_t browser[SESSION_HASH_BYTES];
    struct store_account account;
    code_hash(service, address, code, hash);
    session_hash(cookie, browser);
    const struct store_pending pending = {
        .address = address, .browser = browser, .code_hash = hash, .now_unix_ms = api_now_ms()};
    int rc = store_pending_spend(service->store, &pending);
    if (rc == 0)
        rc = api_audit(service, request, "register", NULL, NULL, address, true);
    if (rc == 0)
        rc = store_account_get(service->store, address, &account);
    if (rc != 0) {
        const enum api_error error = rc == -EACCES ? API_CREDENTIALS : API_AWAY;
        api_audit_note(service, request, "register", api_error_code(error), NULL, address);
        api_refuse(request, error, NULL);
        return;
    }
    secret_wipe(account.password, sizeof(account.password));
    session_begin(service, request, cookie, &account);
}

void api_account_verify(void *context, struct http_request *request)
{
    const struct service *service = context;
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
    const uint64_t wait_ns = guess_take(service->guess, GUESS_CODE, request->network,
                                        HTTP_NETWORK_BYTES, clock_monotonic_ns());
    if (wait_ns != 0) {
        api_refuse_wait(request, wait_ns);
        return;
    }
    if (!code_normalise(code, typed)) {
        api_refuse(request, API_CREDENTIALS, NULL);
        return;
    }
    verify_answer(service, request, &cookie, address, code);
}
