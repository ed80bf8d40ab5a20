/*
 * signin: is this the password of that account, and may it be guessed at now?
 * Ownership: borrows.
 * Threads:   the slow lane's.
 * Units:     nanoseconds of monotonic time.
 * Errors:    -EACCES wrong, -EBUSY too many guesses (*wait_ns), -EIO the database.
 *
 * An account that does not exist takes the same time and gives the same answer as a wrong password.
 * docs/keyservice/guesses.md.
 */
#ifndef KEYSERVICE_SERVER_SIGNIN_H
#define KEYSERVICE_SERVER_SIGNIN_H

#include "base/macros.h"
#include "keyservice/server/api.h"

#include <stdint.h>

MUST_USE int signin_check(const struct service *service, const struct http_request *request,
                          const char *typed_address, const char *password,
                          struct store_account *account, uint64_t *wait_ns);

/* Tells the browser that this account was signed in from it: its guesses count apart from others'.
 */
void signin_device_set(const struct service *service, struct http_request *request,
                       const char *address);

/*
 * The audit line of a sign-in that failed. Of what was typed only an address is kept: a password
 * typed into the wrong field is not.
 */
void signin_audit_refused(const struct service *service, const struct http_request *request,
                          enum api_error error, const char *typed_address);

#endif
