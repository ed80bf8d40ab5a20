/*
 * session: the cookie that stands for a browser, and the token that proves a request is its own.
 * Ownership: caller's memory.
 * Threads:   any.
 * Units:     characters of base64url without their NUL.
 * Errors:    -EIO without entropy.
 *
 * The cookie is 32 random bytes and never stored: the database holds its SHA-256. A browser has a
 * cookie before it signs in too, so that every state change can ask for the token, which is an HMAC
 * of the cookie and is told to pages of this origin alone. Signing in changes the cookie.
 */
#ifndef KEYSERVICE_SERVER_ACCOUNT_SESSION_H
#define KEYSERVICE_SERVER_ACCOUNT_SESSION_H

#include "base/macros.h"

#include <stdbool.h>
#include <stdint.h>

#define SESSION_COOKIE       "__Host-bulla"
#define SESSION_TOKEN_CHARS  43
#define SESSION_HASH_BYTES   32
#define SESSION_SECRET_BYTES 32

struct session_token {
    char text[SESSION_TOKEN_CHARS + 1];
};

MUST_USE int session_make(struct session_token *cookie);
/* False for what cannot be one of ours. */
bool session_parse(struct session_token *cookie, const char *text);
void session_hash(const struct session_token *cookie, uint8_t hash[SESSION_HASH_BYTES]);
void session_csrf(const uint8_t secret[SESSION_SECRET_BYTES], const struct session_token *cookie,
                  struct session_token *csrf);
bool session_csrf_valid(const uint8_t secret[SESSION_SECRET_BYTES],
                        const struct session_token *cookie, const char *csrf);

#endif
