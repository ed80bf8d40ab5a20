/*
 * admin_call: whether a call may administer, and the record of it.
 * Ownership: borrows the request; an actor is the caller's.
 * Threads:   a lane's thread per request.
 * Units:     as api.
 * Errors:    false: refused, and answered.
 *
 * Every call under /v1/admin/ begins with admin_enter(), and nothing changes before admin_note()
 * has put it into the audit log. docs/keyservice/admin.md.
 */
#ifndef KEYSERVICE_SERVER_ADMIN_CALL_H
#define KEYSERVICE_SERVER_ADMIN_CALL_H

#include "keyservice/server/api/api.h"
#include "keyservice/server/roles.h"

#define ADMIN_FRESH_MS     (10 * UINT64_C(60000))
#define ADMIN_BY_BYTES     (ACCOUNT_ADDRESS_BYTES + STORE_NAME_BYTES + 16)
#define ADMIN_REASON_BYTES 201

enum admin_kind {
    ADMIN_LOOK,   /* a GET, or what changes nothing                                       */
    ADMIN_CHANGE, /* with the token against forgery                                       */
    ADMIN_DANGER, /* the same, signed in within the last ten minutes                      */
    ADMIN_PERSON, /* the same, and no program: a token that leaks must not make others    */
};

struct admin_actor {
    struct roles roles;
    int64_t account_number;
    bool is_program;
    char address[ACCOUNT_ADDRESS_BYTES]; /* whose account or token it is */
    char by[ADMIN_BY_BYTES];             /* the same, and the token's name, for the log */
};

bool admin_enter(const struct service *service, struct http_request *request, enum right right,
                 enum admin_kind kind, struct admin_actor *actor);
/* For one profile; NULL: for all. */
bool admin_profile(const struct service *service, struct http_request *request,
                   const struct admin_actor *actor, enum right right, const char *profile);
/* Refuses with `rights`, and says so in the log. */
void admin_refuse(const struct service *service, struct http_request *request,
                  const struct admin_actor *actor);

/* The line before the act, durable. `event` fills event, id, user, detail. */
bool admin_note(const struct service *service, struct http_request *request,
                const struct admin_actor *actor, const struct audit_event *event);
/* After it: {"status":"done"}, or a second line and the refusal that `rc` stands for. */
void admin_finish(const struct service *service, struct http_request *request,
                  const struct admin_actor *actor, const struct audit_event *event, int rc);
/* The same where the answer of success is another one: true when rc is 0. */
bool admin_done(const struct service *service, struct http_request *request,
                const struct admin_actor *actor, const struct audit_event *event, int rc);

/* What stands behind `prefix` up to the next '/', which `rest` (NULL: none may be) points behind.
 */
bool admin_path(const struct http_request *request, const char *prefix, char *name, size_t room,
                const char **rest);
/* A decimal number, or false. "" is 0 where it is optional. */
bool admin_number(const char *text, bool optional, int64_t *number);
/* Rows of a list in the order of their numbers. */
struct admin_page {
    json_t *rows;
    int64_t last; /* number */
};

/* Answers with the rows under their name, and where the next page begins when this one is full;
 * takes the rows. API_AWAY when the list could not be read (rc). */
void admin_page_answer(struct http_request *request, const char *name, struct admin_page *page,
                       size_t page_max, int rc);
/* One line of UTF-8 without controls, not empty unless it may be. */
bool admin_line_valid(const char *text, bool optional);

#endif
