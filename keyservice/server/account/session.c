#include "keyservice/server/account/session.h"

#include "base/assert.h"
#include "crypto/base64.h"
#include "crypto/secret.h"
#include "keyservice/server/digest.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#define SESSION_RANDOM_BYTES 32

static void token_write(struct session_token *token, const uint8_t bytes[SESSION_RANDOM_BYTES])
{
    uint8_t text[SESSION_TOKEN_CHARS + BASE64_SLACK_BYTES];
    const size_t chars = base64url_encode_run(text, bytes, SESSION_RANDOM_BYTES);
    ASSERT(chars == SESSION_TOKEN_CHARS);
    memcpy(token->text, text, chars);
    token->text[chars] = '\0';
}

int session_make(struct session_token *cookie)
{
    uint8_t random[SESSION_RANDOM_BYTES] __attribute__((cleanup(secret_wipe_32)));
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return -EIO;
    token_write(cookie, random);
    return 0;
}

bool session_parse(struct session_token *cookie, const char *text)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if (text == NULL || strnlen(text, SESSION_TOKEN_CHARS + 1) != SESSION_TOKEN_CHARS ||
        strspn(text, letters) != SESSION_TOKEN_CHARS)
        return false;
    memcpy(cookie->text, text, SESSION_TOKEN_CHARS + 1);
    return true;
}

void session_hash(const struct session_token *cookie, uint8_t hash[SESSION_HASH_BYTES])
{
    const int rc = digest_one(cookie->text, SESSION_TOKEN_CHARS, hash);
    ASSERT(rc == 0); /* fails for want of memory alone */
}

void session_csrf(const uint8_t secret[SESSION_SECRET_BYTES], const struct session_token *cookie,
                  struct session_token *csrf)
{
    uint8_t digest[SESSION_RANDOM_BYTES];
    const struct digest_part part = {.bytes_at = cookie->text, .bytes = SESSION_TOKEN_CHARS};
    const int rc = digest_hmac(secret, SESSION_SECRET_BYTES, &part, 1, digest);
    ASSERT(rc == 0); /* fails for want of memory alone: then nothing may be let through */
    token_write(csrf, digest);
}

bool session_csrf_valid(const uint8_t secret[SESSION_SECRET_BYTES],
                        const struct session_token *cookie, const char *csrf)
{
    struct session_token right;
    if (csrf == NULL || strnlen(csrf, SESSION_TOKEN_CHARS + 1) != SESSION_TOKEN_CHARS)
        return false;
    session_csrf(secret, cookie, &right);
    return ct_equal(right.text, csrf, SESSION_TOKEN_CHARS);
}
