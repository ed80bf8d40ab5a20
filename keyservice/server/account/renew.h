/*
 * renew: another password in the place of one that was made for its owner, before the first
 * session. Ownership: borrows. Threads:   the slow lane's. Units:     characters. Errors: -EACCES
 * the ticket is no good, -EPERM the password is too weak, -EEXIST it is the one that was made, -EIO
 * the database.
 *
 * docs/keyservice/accounts.md. Who typed a made password rightly has a ticket, and no session yet.
 */
#ifndef KEYSERVICE_SERVER_ACCOUNT_RENEW_H
#define KEYSERVICE_SERVER_ACCOUNT_RENEW_H

#include "keyservice/server/account/account.h"
#include "keyservice/server/account/ticket.h"
#include "keyservice/server/api/api.h"

struct renew {
    const struct session_token *cookie;
    const char *user;
    const char *ticket;
    const char *password;
};

/* The password is the account's; `why` with -EPERM. Its owner is told by mail. */
MUST_USE int renew_password(const struct service *service, struct http_request *request,
                            const struct renew *renew, struct store_account *account,
                            char why[ACCOUNT_WHY_BYTES]);

/* POST /v1/session/password */
http_handle renew_post;

#endif
