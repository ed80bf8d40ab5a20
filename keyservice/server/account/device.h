/*
 * device: browsers that an account was signed in with before.
 * Ownership: borrows.
 * Threads:   a lane's thread per request.
 * Units:     none.
 * Errors:    what cannot be looked up is not known; what cannot be kept is logged.
 *
 * A second cookie, __Host-bulla-device, of 32 random bytes; the database holds its SHA-256 beside
 * each account that signed in with it. It is worth nothing without the password: a browser that is
 * known has an allowance of guesses of its own (docs/keyservice/guesses.md), and is shown the
 * phrase of an account whose address stands in its form.
 */
#ifndef KEYSERVICE_SERVER_ACCOUNT_DEVICE_H
#define KEYSERVICE_SERVER_ACCOUNT_DEVICE_H

#include "keyservice/server/service.h"
#include "keyservice/server/store/store_person.h"

#include <stdbool.h>
#include <stdint.h>

/* With its phrase, "" for none. */
bool device_known(const struct service *service, const struct http_request *request,
                  const char *address, char phrase[STORE_PHRASE_BYTES]);
/* The digest of the request's cookie; false when it has none. */
bool device_hash(const struct http_request *request, uint8_t hash[STORE_HASH_BYTES]);
/* Somebody has signed in: the browser is known from now on, under a fresh cookie. */
void device_note(const struct service *service, struct http_request *request,
                 int64_t account_number);
/* "Firefox, Linux" of a User-Agent: words of ours alone. */
void device_label(char label[STORE_LABEL_BYTES], const char *agent);

#endif
