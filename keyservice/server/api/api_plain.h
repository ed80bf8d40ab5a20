/*
 * api_plain: the forms of /online where no script runs: what its files have in common.
 * Ownership: a call is one request's, on its thread's stack, and wiped by api_plain_post().
 * Threads:   the slow lane's.
 * Units:     bytes; texts are NUL-terminated, as they came.
 * Errors:    told on a page, in the reader's words: every one of these calls answers.
 *
 * docs/api/keyservice.md, "Opening online".
 */
#ifndef KEYSERVICE_SERVER_API_API_PLAIN_H
#define KEYSERVICE_SERVER_API_API_PLAIN_H

#include "keyservice/server/account/account.h"
#include "keyservice/server/account/code.h"
#include "keyservice/server/account/factor.h"
#include "keyservice/server/account/session.h"
#include "keyservice/server/account/ticket.h"
#include "keyservice/server/api/api.h"

#include <stdbool.h>
#include <stdint.h>

#define API_PLAIN_ACT_BYTES   16
#define API_PLAIN_PART_BYTES  5
#define API_PLAIN_WORDS_BYTES 1024
#define API_PLAIN_HIDDEN      "hidden"

_Static_assert(CODE_TYPED_BYTES == FACTOR_TYPED_BYTES, "one field holds either");

/* One request of such a page. */
struct api_plain_call {
    struct service *service;
    struct http_request *request;
    const char *handle;
    uint32_t locale;
    struct session_token cookie;
    bool code_wanted;                   /* the sign-in form asks for the second factor too */
    bool cookie_told;                   /* the browser has it, or is told in this answer */
    char csrf[SESSION_TOKEN_CHARS + 1]; /* as it came */
    char act[API_PLAIN_ACT_BYTES];
    char user[ACCOUNT_ADDRESS_BYTES];
    char password[ACCOUNT_PASSWORD_BYTES_MAX + 1];
    char part[API_PLAIN_PART_BYTES];
    char look[API_PLAIN_PART_BYTES]; /* as part, to be shown and not saved */
    char code[FACTOR_TYPED_BYTES];
    char ticket[TICKET_CHARS + 1]; /* of who chooses another password */
};

/* A string of the pages, {address} and {wait} in it filled in. */
void api_plain_words(const struct api_plain_call *call, const char *name, const char *address,
                     char words[API_PLAIN_WORDS_BYTES]);
/* What is wrong. */
void api_plain_error(const struct api_plain_call *call, enum api_error error, const char *address,
                     char words[API_PLAIN_WORDS_BYTES]);

void api_plain_token(const struct api_plain_call *call, struct session_token *csrf);
/* The browser gets its cookie, unless it has it. */
void api_plain_cookie(struct api_plain_call *call);

/* Who is there, and what may they open? */
void api_plain_stage(struct api_plain_call *call, const char *error);

/* The form to sign in, with one of the strings over it. */
void api_plain_signin(struct api_plain_call *call, const char *lead, const char *error);
/* Signing in, registering, a new password; false: `act` is none of these, and nothing was done. */
bool api_plain_account(struct api_plain_call *call);

#endif
