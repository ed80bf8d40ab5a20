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
#ifndef KEYSERVICE_SERVER_ACCOUNT_SIGNIN_H
#define KEYSERVICE_SERVER_ACCOUNT_SIGNIN_H

#include "base/macros.h"
#include "keyservice/server/account/ticket.h"
#include "keyservice/server/api/api.h"

#include <stdint.h>

MUST_USE int signin_check(const struct service *service, const struct http_request *request,
                          const char *typed_address, const char *password,
                          struct store_account *account, uint64_t *wait_ns);

/*
 * A new session under a new cookie in the place of `old`, and a browser that is known from now on.
 * `factors`: what was shown, of enum store_factor. -ENOENT: the account is gone.
 */
MUST_USE int signin_start(const struct service *service, struct http_request *request,
                          const struct session_token *old, const struct store_account *account,
                          uint32_t factors, struct session_token *cookie);
/* The same, and answers. */
void signin_begin(const struct service *service, struct http_request *request,
                  const struct session_token *old, const struct store_account *account,
                  uint32_t factors);
/* Of who came through all steps that a sign-in by password has. */
uint32_t signin_factors(const struct store_account *account);

/*
 * The password was right: signs in, or answers that the second factor is needed too, or a password
 * of one's own in the place of one that was made, with a ticket that is good for it.
 */
void signin_password_right(const struct service *service, struct http_request *request,
                           const struct session_token *cookie, struct store_account *account);

/* A ticket of this browser's, good while the account's password stays; -ENOENT: it is another by
 * now. */
MUST_USE int signin_ticket(const struct service *service, const struct session_token *cookie,
                           const char *purpose, const struct store_account *account,
                           char text[TICKET_CHARS + 1]);

/* What a ticket for another password is for: one that was given before an account had a second
 * factor is good for nothing afterwards. */
const char *signin_renew_purpose(const struct store_account *account);

/*
 * Who shows no ticket has not given a password: that is no decision about anyone, so it writes
 * nothing to the log, and the network has so many tries. A ticket cannot be guessed, so whoever
 * has one is not kept out by those who try.
 */
void signin_ticket_refuse(const struct service *service, struct http_request *request);

/*
 * The audit line of a sign-in that failed. Of what was typed only an address is kept: a password
 * typed into the wrong field is not.
 */
void signin_audit_refused(const struct service *service, const struct http_request *request,
                          enum api_error error, const char *typed_address);
/* Answers for signin_check() or factor_check() that did not give 0, with its line. */
void signin_refuse(const struct service *service, struct http_request *request, int rc,
                   const char *typed_address, uint64_t wait_ns);

#endif
