/*
 * factor: is this the account's second factor, and may it be guessed at now?
 * Ownership: borrows.
 * Threads:   a lane's thread per request.
 * Units:     nanoseconds of monotonic time.
 * Errors:    -EACCES wrong, -EBUSY too many guesses (*wait_ns), -EIO the database or its key.
 *
 * Six digits of an app, or one of ten recovery codes, each good once. docs/keyservice/accounts.md.
 */
#ifndef KEYSERVICE_SERVER_ACCOUNT_FACTOR_H
#define KEYSERVICE_SERVER_ACCOUNT_FACTOR_H

#include "base/macros.h"
#include "keyservice/server/account/totp.h"
#include "keyservice/server/service.h"
#include "keyservice/server/store/store_person.h"

#include <stdint.h>

#define FACTOR_TYPED_BYTES 33
#define FACTOR_CODE_CHARS  10 /* of a recovery code, without its hyphen: 50 bits */
#define FACTOR_CODE_BYTES  (FACTOR_CODE_CHARS + 2)

/* A right one is used up. */
MUST_USE int factor_check(const struct service *service, const struct http_request *request,
                          int64_t number, const char *address, const char *typed,
                          uint64_t *wait_ns);

/* Ten fresh codes as they are shown, and their digests. */
MUST_USE int factor_codes_make(const struct service *service, int64_t number,
                               char codes[STORE_RECOVERY_COUNT][FACTOR_CODE_BYTES],
                               uint8_t hashes[STORE_RECOVERY_COUNT][STORE_HASH_BYTES]);

/* The secret as it lies in the database, under the newest master key. */
MUST_USE int factor_wrap(const struct service *service, int64_t number,
                         const uint8_t secret[TOTP_SECRET_BYTES], struct store_totp *totp);

#endif
