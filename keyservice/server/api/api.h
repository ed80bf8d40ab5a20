/*
 * api: what the JSON calls have in common: errors, bodies, sessions, protection against forgery.
 * Ownership: borrows the request; answers are handed over to it.
 * Threads:   a lane's thread per request.
 * Units:     bytes; unix milliseconds.
 * Errors:    a false or -errno means that the answer has been set or that the caller sets it, as
 *            each says.
 */
#ifndef KEYSERVICE_SERVER_API_API_H
#define KEYSERVICE_SERVER_API_API_H

#include "base/macros.h"
#include "keyservice/server/service.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define API_BODY_BYTES_MAX 16384
#define API_JSON           "application/json"

/* docs/api/keyservice.md */
enum api_error {
    API_BAD_REQUEST,
    API_WEAK_PASSWORD,
    API_CREDENTIALS,
    API_SECOND_FACTOR,
    API_NOT_RECIPIENT,
    API_LOCKED,
    API_CSRF,
    API_FORBIDDEN,
    API_RIGHTS,
    API_WITHHELD,
    API_FRESH,
    API_UNKNOWN,
    API_METHOD,
    API_CONFLICT,
    API_EXPIRED,
    API_GONE,
    API_TOO_LARGE,
    API_DAMAGED,
    API_WRONG_KEY,
    API_TOO_MANY,
    API_AWAY,
};
#define API_ERRORS_COUNT 21

const char *api_error_code(enum api_error error);
/* Answers with the error; `message` NULL: the error's own sentence. */
void api_refuse(struct http_request *request, enum api_error error, const char *message);
/* 429 with Retry-After. */
void api_refuse_wait(struct http_request *request, uint64_t wait_ns);
/* Answers with JSON; takes `root`. */
void api_answer(struct http_request *request, unsigned int status, json_t *root);

/* One member of a flat object of strings. */
struct api_field {
    const char *name;
    char *text; /* NUL-terminated; no NUL inside */
    size_t room;
    bool optional; /* absent: "" */
};
/*
 * -EBADMSG: not an object of exactly such members, and the texts are wiped. Unknown members are
 * refused.
 */
MUST_USE int api_fields(const uint8_t *body, size_t body_bytes, const struct api_field *fields,
                        uint32_t fields_count);

/*
 * The request's body as one object that may nest, for calls that need numbers or lists: at most
 * API_JSON_DEPTH_MAX brackets deep and API_JSON_VALUES_MAX values. -EBADMSG: it is not. The caller
 * ends it with json_decref(), which wipes it.
 */
#define API_JSON_DEPTH_MAX  6
#define API_JSON_VALUES_MAX 1024
MUST_USE int api_json_body(const struct http_request *request, json_t **root);
/* False when the object has a member that is not one of these. */
bool api_json_known(const json_t *root, const char *const *names, uint32_t names_count);
/* A string of less than `room` bytes; absent: "" where it is optional, else false. */
bool api_json_string(const json_t *root, const char *name, bool optional, char *text, size_t room);
/* An integer of at most `max`; absent: 0 where it is optional, else false. */
bool api_json_u64(const json_t *root, const char *name, bool optional, uint64_t max,
                  uint64_t *value);

MUST_USE int api_hex(uint8_t *bytes_at, size_t bytes, const char *hex);
void api_to_hex(char *hex, const uint8_t *bytes_at, size_t bytes); /* adds a NUL */
MUST_USE int api_point(uint8_t pub[65], const char *text);

/* The request's session, in time and its idle time moved on. -ENOENT: none. */
MUST_USE int api_session(const struct service *service, const struct http_request *request,
                         struct store_session *session);
/* Is the account of one of `write_domains`? docs/keyservice/write.md. */
bool api_write_to_anyone(const struct service *service, const char *address);

/*
 * A state change by a page of ours: JSON, of our own origin, with the cookie's token. False:
 * refused, and answered.
 */
bool api_own_page(const struct service *service, struct http_request *request,
                  struct session_token *cookie);

/* The same for a body of another type than JSON: one that no form of another site can post. */
bool api_own_page_of(const struct service *service, struct http_request *request, const char *type,
                     struct session_token *cookie);

/* Not of another site's page: no Origin and Sec-Fetch-Site, or our own. Programs send neither. */
bool api_own_origin(const struct http_request *request);

/* Before the first call: what JSON is parsed from and into is wiped when it is freed. */
void api_json_init(void);

void api_cookie_set(struct http_request *request, const struct session_token *cookie);

/* Whoever signed out leaves nothing in the browser but what it is known by. */
void api_cookie_end(struct http_request *request);
void api_site_data_clear(struct http_request *request);

/* An audit line about this request; -errno when it could not be kept. */
MUST_USE int api_audit(const struct service *service, const struct http_request *request,
                       const char *event, const char *outcome, const char *id, const char *user,
                       bool durable);
/* The same where the answer does not hang on it: a failure is logged. */
void api_audit_note(const struct service *service, const struct http_request *request,
                    const char *event, const char *outcome, const char *id, const char *user);

/* The handler of requests without a route. */
http_handle api_missing;

uint64_t api_now_ms(void);

#endif
