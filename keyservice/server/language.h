/*
 * language: in which of our languages somebody is spoken to.
 * Ownership: borrows.
 * Threads:   any.
 * Units:     locales of pages.h.
 * Errors:    none: there is always English.
 *
 * A cookie beats the browser's own wish; signing in sets it to what the account chose. A mail is
 * written in the account's language.
 */
#ifndef KEYSERVICE_SERVER_LANGUAGE_H
#define KEYSERVICE_SERVER_LANGUAGE_H

#include "keyservice/server/service.h"

#include <stdint.h>

#define LANGUAGE_COOKIE "__Host-bulla-language"

/* Of a request: its cookie, else its Accept-Language. */
uint32_t language_of_request(const struct http_request *request);
/* Of an account's choice ("" : none), else `otherwise`. */
uint32_t language_of_choice(const char *choice, uint32_t otherwise);
/* For mails: the account's choice, or `otherwise` where there is none or no such account. */
uint32_t account_language(const struct service *service, const char *address, uint32_t otherwise);

void language_cookie_set(struct http_request *request, uint32_t locale);

#endif
