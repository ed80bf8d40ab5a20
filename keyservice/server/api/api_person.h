/*
 * api_person: what the calls of an account's own page have in common.
 * Ownership: borrows.
 * Threads:   a lane's thread per request.
 * Units:     unix milliseconds.
 * Errors:    false means refused, and answered.
 */
#ifndef KEYSERVICE_SERVER_API_API_PERSON_H
#define KEYSERVICE_SERVER_API_API_PERSON_H

#include "keyservice/server/api/api.h"
#include "keyservice/server/store/store_person.h"

#include <stdbool.h>

#define API_PERSON_FRESH_MS                                                                        \
    600000 /* how long a typed password or a passkey is good for changes                           \
            */
#define API_PERSON_NAME_CHARS 40

enum api_person_need {
    API_PERSON_SIGNED_IN,
    API_PERSON_FRESH, /* and the password was typed, or a passkey used, within the time above */
};

/* A change by our own page, of whoever is signed in. */
bool api_person(const struct service *service, struct http_request *request,
                enum api_person_need need, struct session_token *cookie,
                struct store_session *session);
bool api_person_fresh(const struct store_session *session);

/* roles_factor_change() says so; false: refused, and answered. */
bool api_person_factor_change(const struct service *service, struct http_request *request,
                              const struct store_session *session);
/* It was set up in this session, which counts as signed in by it. */
void api_person_factor_set(const struct service *service, const struct http_request *request,
                           const struct store_session *session, enum store_factor factor);

/* The id behind `prefix` in the path; false when there is none. */
bool api_person_id(const struct http_request *request, const char *prefix,
                   uint8_t id[STORE_ID_BYTES]);
/* "{"status":"done"}", or what the store's -errno means. */
void api_person_done(struct http_request *request, int rc);

/* passkeys of an account, as its page lists them; NULL: no memory or no database */
json_t *api_passkey_list(const struct service *service, int64_t number);

#endif
