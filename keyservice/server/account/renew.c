#include "keyservice/server/account/renew.h"

#include "crypto/secret.h"
#include "keyservice/server/account/code.h"
#include "keyservice/server/account/signin.h"

#include <errno.h>
#include <string.h>

/* The account of the ticket, whose password still is the one that was made. */
static int account_find(const struct service *service, const struct renew *renew,
                        struct store_account *account)
{
    char address[ACCOUNT_ADDRESS_BYTES];
    if (account_normalise(address, renew->user, strlen(renew->user)) != 0)
        return -EACCES;
    const int rc = store_account_get(service->store, address, account);
    if (rc != 0)
        return rc == -ENOENT ? -EACCES : -EIO;
    struct ticket ticket = {.purpose = signin_renew_purpose(account),
                            .cookie = renew->cookie,
                            .hangs_on = account->password};
    return ticket_check(service->ticket_secret, &ticket, renew->ticket, api_now_ms()) == 0 &&
                   ticket.number == account->number &&
                   account_password_until(account->password) > api_now_ms()
               ? 0
               : -EACCES;
}

static int password_set(const struct service *service, const struct http_request *request,
                        struct store_account *account, const char *password)
{
    char encoded[ACCOUNT_HASH_BYTES];
    if (account_password_verify(account->password, password, strlen(password)))
        return -EEXIST;
    int rc = account_password_hash(password, strlen(password), encoded);
    if (rc == 0)
        rc = api_audit(service, request, "password", NULL, NULL, account->address, true);
    if (rc == 0)
        rc = store_account_renew(service->store, account, encoded);
    secret_wipe(encoded, sizeof(encoded));
    if (rc == -ENOENT) { /* somebody was faster */
        api_audit_note(service, request, "password", api_error_code(API_CREDENTIALS), NULL,
                       account->address);
        return -EACCES;
    }
    if (rc == 0) /* as it is now */
        rc = store_account_get(service->store, account->address, account);
    return rc == 0 ? 0 : -EIO;
}

int renew_password(const struct service *service, struct http_request *request,
                   const struct renew *renew, struct store_account *account,
                   char why[ACCOUNT_WHY_BYTES])
{
    int rc = account_find(service, renew, account);
    if (rc == 0 && account_password_check(renew->password, strlen(renew->password),
                                          account->address, why) != 0)
        rc = -EPERM;
    if (rc == 0)
        rc = password_set(service, request, account, renew->password);
    secret_wipe(account->password, sizeof(account->password));
    if (rc == 0)
        code_notice(service, request, account, "password");
    return rc;
}

void renew_post(void *context, struct http_request *request)
{
    const struct service *service = context;
    char user[ACCOUNT_ADDRESS_BYTES];
    char ticket[TICKET_CHARS + 1];
    char password[ACCOUNT_PASSWORD_BYTES_MAX + 1];
    char why[ACCOUNT_WHY_BYTES];
    struct session_token cookie;
    struct store_account account;
    const struct api_field fields[] = {
        {.name = "user", .text = user, .room = sizeof(user)},
        {.name = "ticket", .text = ticket, .room = sizeof(ticket)},
        {.name = "password", .text = password, .room = sizeof(password)},
    };
    if (!api_own_page(service, request, &cookie))
        return;
    if (api_fields(request->body, request->body_bytes, fields, ARRAY_COUNT(fields)) != 0) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    const struct renew renew = {
        .cookie = &cookie, .user = user, .ticket = ticket, .password = password};
    const int rc = renew_password(service, request, &renew, &account, why);
    secret_wipe(password, sizeof(password));
    switch (rc) {
    case 0: signin_begin(service, request, &cookie, &account, signin_factors(&account)); break;
    case -EACCES: signin_ticket_refuse(service, request); break;
    case -EPERM: api_refuse(request, API_WEAK_PASSWORD, why); break;
    case -EEXIST:
        api_refuse(request, API_CONFLICT, "This is the password that was made for you.");
        break;
    default: api_refuse(request, API_AWAY, NULL); break;
    }
}
