/*
 * ticket: something that this service said to one browser, given back within minutes.
 * Ownership: caller's memory.
 * Threads:   any.
 * Units:     unix milliseconds; characters of base64url without their NUL.
 * Errors:    -EACCES for what is not a ticket of this purpose, browser and time; -EIO without
 *            entropy.
 *
 * Nothing is stored for it, so every node of the service takes what another gave: a ticket is an
 * account's number, its end, 128 random bits and an HMAC over them, the purpose, the browser's
 * cookie and what it hangs on. One that may be used once is spent in the database by its user.
 */
#ifndef KEYSERVICE_SERVER_ACCOUNT_TICKET_H
#define KEYSERVICE_SERVER_ACCOUNT_TICKET_H

#include "base/macros.h"
#include "keyservice/server/account/session.h"

#include <stdint.h>

#define TICKET_BYTES        64
#define TICKET_CHARS        86
#define TICKET_LIFE_MS      UINT64_C(300000)
#define TICKET_SECRET_BYTES 32

struct ticket {
    const char *purpose; /* at most 31 characters */
    const struct session_token *cookie;
    const char *hangs_on; /* worth nothing once this has changed; at most 255 bytes */
    int64_t number;       /* of an account, or 0 */
    uint64_t expires_unix_ms;
};

MUST_USE int ticket_make(const uint8_t secret[TICKET_SECRET_BYTES], const struct ticket *ticket,
                         char text[TICKET_CHARS + 1]);
/* With the ticket's purpose, cookie and what it hangs on; fills number and end. */
MUST_USE int ticket_check(const uint8_t secret[TICKET_SECRET_BYTES], struct ticket *ticket,
                          const char *text, uint64_t now_unix_ms);

#endif
