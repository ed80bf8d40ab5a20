#include "keyservice/server/account/factor.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "crypto/secret.h"
#include "keyservice/server/account/device.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define PLAIN_BYTES    24 /* a key that the master key wraps: the secret and zeros */
#define PAIR_BYTES_MAX (ACCOUNT_ADDRESS_BYTES + 1 + HTTP_NETWORK_BYTES)

/* 32 of them, so that a byte's low five bits choose without bias; none looks like another. */
static const char letters[] = "abcdefghjkmnpqrstuvwxyz234567890";

int factor_wrap(const struct service *service, int64_t number,
                const uint8_t secret[TOTP_SECRET_BYTES], struct store_totp *totp)
{
    uint8_t id[MASTER_ID_BYTES];
    uint8_t plain[PLAIN_BYTES] = {0};
    struct master_burst *burst = NULL;
    struct master_wrap wrap = {
        .id = id, .key = plain, .key_bytes = sizeof(plain), .wrapped = totp->wrapped};
    store_totp_id(id, number);
    memcpy(plain, secret, TOTP_SECRET_BYTES);
    totp->key_version = master_version(service->master);
    int rc = master_burst_open(&burst, service->master, totp->key_version);
    if (rc == 0)
        rc = master_burst_wrap(burst, &wrap, 1);
    master_burst_close(burst);
    totp->wrapped_bytes = wrap.wrapped_bytes;
    secret_wipe(plain, sizeof(plain));
    return rc;
}

static int factor_unwrap(const struct service *service, int64_t number,
                         const struct store_totp *totp, uint8_t secret[TOTP_SECRET_BYTES])
{
    uint8_t id[MASTER_ID_BYTES];
    uint8_t plain[MASTER_PLAIN_BYTES_MAX];
    size_t bytes = 0;
    store_totp_id(id, number);
    int rc = master_unwrap(service->master, totp->key_version, id, totp->wrapped,
                           totp->wrapped_bytes, plain, &bytes);
    if (rc == 0 && bytes != PLAIN_BYTES)
        rc = -EBADMSG;
    if (rc == 0)
        memcpy(secret, plain, TOTP_SECRET_BYTES);
    secret_wipe(plain, sizeof(plain));
    return rc == 0 ? 0 : -EIO;
}

/* Keyed, and an account's own. */
static void code_digest(const struct service *service, int64_t number,
                        const char code[FACTOR_CODE_CHARS], uint8_t hash[STORE_HASH_BYTES])
{
    uint8_t text[8 + FACTOR_CODE_CHARS];
    unsigned int hash_bytes = 0;
    bytes_store_le64(text, (uint64_t)number);
    memcpy(text + 8, code, FACTOR_CODE_CHARS);
    const uint8_t *done = HMAC(EVP_sha256(), service->code_secret, sizeof(service->code_secret),
                               text, sizeof(text), hash, &hash_bytes);
    ASSERT(done != NULL && hash_bytes == STORE_HASH_BYTES);
    secret_wipe(text, sizeof(text));
}

int factor_codes_make(const struct service *service, int64_t number,
                      char codes[STORE_RECOVERY_COUNT][FACTOR_CODE_BYTES],
                      uint8_t hashes[STORE_RECOVERY_COUNT][STORE_HASH_BYTES])
{
    uint8_t random[FACTOR_CODE_CHARS];
    for (uint32_t i = 0; i < STORE_RECOVERY_COUNT; i++) {
        char code[FACTOR_CODE_CHARS];
        if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
            return -EIO;
        for (uint32_t c = 0; c < FACTOR_CODE_CHARS; c++)
            code[c] = letters[random[c] & 31];
        (void)snprintf(codes[i], FACTOR_CODE_BYTES, "%.5s-%.5s", code, code + 5);
        code_digest(service, number, code, hashes[i]);
        secret_wipe(code, sizeof(code));
    }
    secret_wipe(random, sizeof(random));
    return 0;
}

/* Letters and digits of what was typed, in lower case; how many, or more than there is room for. */
static size_t typed_normalise(char normal[FACTOR_CODE_CHARS + 1], const char *typed)
{
    size_t chars = 0;
    for (; *typed != '\0' && chars <= FACTOR_CODE_CHARS; typed++) {
        if (*typed == ' ' || *typed == '-')
            continue;
        if (chars < FACTOR_CODE_CHARS)
            normal[chars] = (char)(*typed >= 'A' && *typed <= 'Z' ? *typed + ('a' - 'A') : *typed);
        chars++;
    }
    normal[MIN(chars, (size_t)FACTOR_CODE_CHARS)] = '\0';
    return chars;
}

static int digits_check(const struct service *service, int64_t number, const char *digits)
{
    struct store_totp totp;
    uint8_t secret[TOTP_SECRET_BYTES];
    uint64_t step = 0;
    int rc = store_totp_get(service->store, number, &totp);
    if (rc != 0)
        return rc == -ENOENT ? -EACCES : rc;
    rc = factor_unwrap(service, number, &totp, secret);
    if (rc == 0)
        rc = totp_check(secret, digits, clock_unix_ns() / NS_PER_S, totp.step, &step);
    secret_wipe(secret, sizeof(secret));
    return rc == 0 ? store_totp_use(service->store, number, step) : rc;
}

static int typed_check(const struct service *service, int64_t number, const char *typed)
{
    char normal[FACTOR_CODE_CHARS + 1];
    uint8_t hash[STORE_HASH_BYTES];
    const size_t chars = typed_normalise(normal, typed);
    int rc = -EACCES;
    if (chars == TOTP_DIGITS) {
        rc = digits_check(service, number, normal);
    } else if (chars == FACTOR_CODE_CHARS) {
        code_digest(service, number, normal, hash);
        rc = store_recovery_spend(service->store, number, hash);
    }
    secret_wipe(normal, sizeof(normal));
    return rc;
}

int factor_check(const struct service *service, const struct http_request *request, int64_t number,
                 const char *address, const char *typed, uint64_t *wait_ns)
{
    uint8_t pair[PAIR_BYTES_MAX];
    char phrase[STORE_PHRASE_BYTES];
    struct guess *guess = service->guess;
    const uint64_t now_ns = clock_monotonic_ns();
    const bool device = device_known(service, request, address, phrase);
    const size_t address_bytes = strlen(address);
    size_t pair_bytes = address_bytes + 1;
    memcpy(pair, address, pair_bytes);
    if (!device) {
        memcpy(pair + pair_bytes, request->network, HTTP_NETWORK_BYTES);
        pair_bytes += HTTP_NETWORK_BYTES;
    }
    *wait_ns = guess_take(guess, GUESS_FACTOR, pair, pair_bytes, now_ns);
    if (*wait_ns != 0)
        return -EBUSY;
    /* Who knows the password and has many networks; a known browser is none of them. */
    if (!device)
        *wait_ns = guess_take(guess, GUESS_FACTOR_ALL, address, address_bytes, now_ns);
    if (*wait_ns != 0) {
        guess_give(guess, GUESS_FACTOR, pair, pair_bytes, now_ns);
        return -EBUSY;
    }
    const int rc = typed_check(service, number, typed);
    if (rc == 0) {
        guess_give(guess, GUESS_FACTOR, pair, pair_bytes, now_ns);
        if (!device)
            guess_give(guess, GUESS_FACTOR_ALL, address, address_bytes, now_ns);
    }
    return rc == 0 || rc == -EACCES ? rc : -EIO;
}
