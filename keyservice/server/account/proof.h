/*
 * proof: a mailbox that is proven by a mailed code, for a new account or a new password.
 * Ownership: borrows; an account is the caller's to wipe.
 * Threads:   the slow lane's.
 * Units:     nanoseconds of waiting; texts as somebody typed them, NUL-terminated.
 * Errors:    -EBUSY too many mails or tries (*wait_ns), -EINVAL no address that a code is mailed
 *            to; else as each says, or the service cannot answer now.
 *
 * The same work, mails and answers whether the address has an account or not.
 * docs/keyservice/accounts.md, docs/keyservice/guesses.md.
 */
#ifndef KEYSERVICE_SERVER_ACCOUNT_PROOF_H
#define KEYSERVICE_SERVER_ACCOUNT_PROOF_H

#include "base/macros.h"
#include "keyservice/server/account/account.h"
#include "keyservice/server/account/session.h"
#include "keyservice/server/service.h"

#include <stdint.h>

enum proof_kind {
    PROOF_ACCOUNT,  /* there must be no account yet                         */
    PROOF_PASSWORD, /* there is one, and this becomes the password of it */
};
#define PROOF_KINDS_COUNT 2

/* Mails a code that only the browser of `cookie` can use. -EPERM: `why` says what is wrong with the
 * password. */
MUST_USE int proof_begin(enum proof_kind kind, const struct service *service,
                         const struct http_request *request, const struct session_token *cookie,
                         const char *typed_address, const char *password,
                         char why[ACCOUNT_WHY_BYTES], uint64_t *wait_ns);

/* Spends the code: the account stands, or has its new password. -EACCES: not that code. */
MUST_USE int proof_end(enum proof_kind kind, const struct service *service,
                       const struct http_request *request, const struct session_token *cookie,
                       const char *typed_address, const char *typed_code,
                       struct store_account *account, uint64_t *wait_ns);

#endif
