/*
 * api_open: the rules by which an envelope's key is given out, for every way of asking.
 * Ownership: borrows the request; `want.user` points into the session.
 * Threads:   a lane's thread per request.
 * Units:     as api.
 * Errors:    -errno means refused, and answered.
 */
#ifndef KEYSERVICE_SERVER_API_API_OPEN_H
#define KEYSERVICE_SERVER_API_API_OPEN_H

#include "keyservice/server/api/api.h"
#include "keyservice/server/release.h"
#include "keyservice/server/store/store_opening.h"

#define API_OPEN_ID_CHARS (2 * RECORD_ID_BYTES + 1)

/* What is asked for: an envelope's key, wrapped to a point or used here. */
struct open_want {
    uint8_t id[RECORD_ID_BYTES];
    uint8_t pub[RELEASE_POINT_BYTES];
    char id_hex[API_OPEN_ID_CHARS];
    const char *user; /* NULL: nobody signed in */
};

/*
 * A request of our own page: session, allowance, recipient, lock, expiry and, at level "high", the
 * password typed for this very envelope. 0 with session and envelope.
 */
MUST_USE int api_open_permit(const struct service *service, struct http_request *request,
                             struct open_want *want, struct store_session *session,
                             struct store_envelope *envelope);

/*
 * The opening is noted and its audit line written, both durably: only then may the key, or what it
 * opened, leave. -EACCES: locked in the meantime; else -errno. Every way of giving out a key comes
 * by here.
 */
MUST_USE int api_open_note(const struct service *service, const struct http_request *request,
                           const struct open_want *want, const struct store_envelope *envelope,
                           enum store_opening_how how);

/* The same for a browser that opened this message already: no password is typed again for a file of
 * it, but lock and expiry hold. */
MUST_USE int api_open_permit_again(const struct service *service, struct http_request *request,
                                   struct open_want *want, struct store_session *session,
                                   struct store_envelope *envelope);

/* Just before a file leaves, after all that took its time: 0, -EACCES where it has been locked
 * meanwhile, or -EIO. */
MUST_USE int api_open_still(const struct service *service, const struct open_want *want);

/* What a page may say of an envelope before anything is released. */
struct open_look {
    struct store_session session;
    struct store_envelope envelope; /* with `error` of API_LOCKED and API_EXPIRED, and with none */
    bool signed_in;
    bool refused;
    enum api_error error;
    bool password_needed; /* the password is typed for this very envelope */
};
/* `want` has the id; answers nothing and writes nothing. */
void api_open_look(const struct service *service, const struct http_request *request,
                   struct open_want *want, struct open_look *look);

/* Answers with the refusal and, within the asker's allowance, writes its audit line. */
void api_open_refuse(const struct service *service, struct http_request *request,
                     const struct open_want *want, enum api_error error);

#endif
