/*
 * code: eight digits that are mailed, to prove that somebody reads a mailbox.
 * Ownership: caller's memory; a code is wiped by whoever made it.
 * Threads:   any.
 * Units:     milliseconds; digits without their NUL; waits in nanoseconds.
 * Errors:    -EIO without entropy; those of mail_send().
 *
 * A code lives in the database as a keyed hash and belongs to an address and to the browser that
 * asked for it. docs/keyservice/accounts.md, docs/keyservice/guesses.md.
 */
#ifndef KEYSERVICE_SERVER_ACCOUNT_CODE_H
#define KEYSERVICE_SERVER_ACCOUNT_CODE_H

#include "base/macros.h"
#include "keyservice/server/service.h"

#include <stdbool.h>
#include <stdint.h>

#define CODE_DIGITS      8
#define CODE_TYPED_BYTES 33 /* with the spaces and hyphens that people put in */
#define CODE_LIFE_S      (10 * 60)
#define CODE_LIFE_MS     (CODE_LIFE_S * UINT64_C(1000))

MUST_USE int code_make(char code[CODE_DIGITS + 1]);
/* Eight digits out of what was typed; false when they are not eight. */
bool code_normalise(char code[CODE_DIGITS + 1], const char *typed);
void code_hash(const struct service *service, const char *address, const char *code,
               uint8_t hash[STORE_HASH_BYTES]);

/* Takes one mail of each allowance, or none: the wait until there is one. */
uint64_t code_take(const struct service *service, const struct http_request *request,
                   const char *address);
/* Takes a try at a code. */
uint64_t code_try(const struct service *service, const struct http_request *request);

/* Whether a code can be mailed there. */
bool code_mailable(const char *address);

/* Sends the mail of the strings `mail_NAME_subject` and `mail_NAME_text`; `code` NULL: it has none.
 */
MUST_USE int code_mail(const struct service *service, const char *address, const char *name,
                       const char *code, uint32_t locale);
/* Tells the owner, in the account's language, of something that was done; a failure is logged. */
void code_notice(const struct service *service, const struct http_request *request,
                 const struct store_account *account, const char *name);
/* The same of what an operator did beside the service, which sends it: durable in its outbox. */
MUST_USE int code_notice_put(struct store *store, const struct config *config,
                             const struct store_account *account, const char *name);

#endif
