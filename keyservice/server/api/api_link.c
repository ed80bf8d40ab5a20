/* The page of a one-time link, which does nothing, and the click on it, which spends it. */
#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "crypto/secret.h"
#include "keyservice/server/api/api_open.h"
#include "keyservice/server/language.h"
#include "keyservice/server/link.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#define LINK_HIDDEN "hidden"

/* `error` names what is told instead of the button; NULL: the button is shown. */
static void page_answer(const struct service *service, struct http_request *request,
                        unsigned int status, const char *error)
{
    const uint32_t locale = language_of_request(request);
    const struct pages_value values[] = {
        {.name = "error", .text = error == NULL ? "" : pages_string(service->pages, locale, error)},
        {.name = "form_hidden", .text = error == NULL ? "" : LINK_HIDDEN},
    };
    pages_plain_answer(service->pages, request, status, PAGES_PLAIN_LINK, values,
                       ARRAY_COUNT(values));
}

static void failed_answer(const struct service *service, struct http_request *request, int rc)
{
    if (rc == -ENOENT)
        page_answer(service, request, MHD_HTTP_GONE, "link_gone");
    else
        page_answer(service, request, MHD_HTTP_SERVICE_UNAVAILABLE, "error_away");
}

/* The token of the request's path: false where it is none. */
static bool name_read(const struct http_request *request, uint8_t name[STORE_LINK_NAME_BYTES])
{
    struct link_token token;
    if (!link_token_read(&token, request->path + sizeof(LINK_PREFIX) - 1))
        return false;
    link_name(&token, name);
    return true;
}

/* Whoever follows the link, a scanner of mail too, sees a button. */
void api_link_get(void *context, struct http_request *request)
{
    const struct service *service = context;
    uint8_t name[STORE_LINK_NAME_BYTES];
    int rc = -ENOENT;
    if (name_read(request, name))
        rc = store_link_look(service->store, name, api_now_ms());
    if (rc == 0)
        page_answer(service, request, 200, NULL);
    else
        failed_answer(service, request, rc);
}

/* The ciphertext of a link that was taken goes to where messages wait to be opened online. */
static int link_park(struct service *service, struct http_request *request,
                     const struct store_link *link, char handle[ONLINE_HANDLE_CHARS + 1])
{
    struct unsealed unsealed = {.suite = (enum cobble_suite)link->suite,
                                .sealed_bytes = link->sealed_bytes};
    memcpy(unsealed.id.bytes, link->id, sizeof(link->id));
    if (link->sealed_bytes > ONLINE_BODY_BYTES_MAX ||
        link->sealed_bytes < COBBLE_HEADER_BYTES + COBBLE_TAG_BYTES)
        return -EIO;
    if (!api_online_charge(service, request, link->sealed_bytes))
        return -EAGAIN;
    unsealed.sealed = malloc(link->sealed_bytes);
    int rc =
        unsealed.sealed == NULL ? -ENOMEM : store_link_read(service->store, link, unsealed.sealed);
    if (rc == 0)
        rc = online_park(service->online, request->charged_group, &unsealed, clock_monotonic_ns(),
                         handle);
    if (rc != 0)
        unsealed_fini(&unsealed);
    return rc;
}

/* Parked or not, the link is what it says: spent, or as it was. */
static int link_finish(const struct service *service, const struct store_link *link, int rc)
{
    const int done = rc == 0 ? store_link_spend(service->store, link->name)
                             : store_link_give(service->store, link->name);
    if (done != 0) /* nobody can take it again, and it goes when its time is over */
        log_line(LOG_LEVEL_ERROR, "link_unwritten", "parked=%d errno=%d", rc == 0, -done);
    return rc;
}

void api_link_post(void *context, struct http_request *request)
{
    struct service *service = context;
    struct store_link link;
    char handle[ONLINE_HANDLE_CHARS + 1];
    char hex[API_OPEN_ID_CHARS];
    if (!api_own_origin(request)) {
        page_answer(service, request, MHD_HTTP_FORBIDDEN, "error_csrf");
        return;
    }
    int rc = -ENOENT;
    /* Looked at first: who guesses at tokens makes nothing wait for the database's writer. */
    if (name_read(request, link.name))
        rc = store_link_look(service->store, link.name, api_now_ms());
    if (rc == 0)
        rc = store_link_take(service->store, &link, api_now_ms());
    if (rc == 0)
        rc = link_finish(service, &link, link_park(service, request, &link, handle));
    if (rc != 0) {
        failed_answer(service, request, rc);
        return;
    }
    api_to_hex(hex, link.id, sizeof(link.id));
    api_audit_note(service, request, "link", "opened", hex, link.address);
    http_answer_constant(request, MHD_HTTP_SEE_OTHER, "text/plain", "", 0);
    http_answer_header(request, "Location", "/online/%s", handle);
    secret_wipe(handle, sizeof(handle));
}
