#include "keyservice/server/signin.h"

#include "base/assert.h"
#include "base/clock.h"
#include "crypto/base64.h"
#include "crypto/secret.h"
#include "keyservice/server/store_role.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#define SIGNIN_KEY_BYTES_MAX (ACCOUNT_ADDRESS_BYTES + 64)
#define SIGNIN_DEVICE_COOKIE "__Host-bulla-device"

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

static void device_token(const struct service *service, const char *address,
                         char token[SESSION_TOKEN_CHARS + 1])
{
    uint8_t digest[32];
    uint8_t text[SESSION_TOKEN_CHARS + BASE64_SLACK_BYTES];
    unsigned int digest_bytes = 0;
    const uint8_t *done = HMAC(EVP_sha256(), service->device_secret, sizeof(service->device_secret),
                               (const uint8_t *)address, strlen(address), digest, &digest_bytes);
    ASSERT(done != NULL && digest_bytes == sizeof(digest));
    const size_t chars = base64url_encode_run(text, digest, sizeof(digest));
    ASSERT(chars == SESSION_TOKEN_CHARS);
    memcpy(token, text, chars);
    token[chars] = '\0';
}

static bool device_known(const struct service *service, const struct http_request *request,
                         const char *address)
{
    char token[SESSION_TOKEN_CHARS + 1];
    if (strnlen(request->device, SESSION_TOKEN_CHARS + 1) != SESSION_TOKEN_CHARS)
        return false;
    device_token(service, address, token);
    return ct_equal(token, request->device, SESSION_TOKEN_CHARS);
}

void signin_device_set(const struct service *service, struct http_request *request,
                       const char *address)
{
    char token[SESSION_TOKEN_CHARS + 1];
    device_token(service, address, token);
    http_answer_header(request, "Set-Cookie",
                       SIGNIN_DEVICE_COOKIE
                       "=%s; Path=/; Max-Age=31536000; Secure; HttpOnly; SameSite=Strict",
                       token);
}

static void try_fill(struct signin_try *attempt, const struct service *service,
                     const struct http_request *request, const char *address)
{
    const size_t address_bytes = strlen(address);
    const bool device = device_known(service, request, address);
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
    secret_wipe(account->password, sizeof(account->password));
    if (found != 0 || !right)
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
