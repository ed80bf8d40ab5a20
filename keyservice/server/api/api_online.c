/* Opening online: the posted form waits in memory; a signed-in reader's click opens it, once. */
#include "keyservice/server/api/api_online.h"
#include "base/assert.h"
#include "base/log.h"
#include "crypto/secret.h"
#include "keyservice/server/http/form.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ONLINE_PREFIX     "/v1/online/"
#define ONLINE_BINARY     "application/octet-stream"
#define ONLINE_RETRY_S    "30"
#define ONLINE_NAME_BYTES 1 /* the format's names are one letter */

bool api_online_charge(void *context, struct http_request *request, size_t bytes)
{
    struct service *service = context;
    if (request->charged_bytes == 0 &&
        online_group(service->online, request->network, sizeof(request->network),
                     &request->charged_group) != 0)
        return false;
    if (!online_charge(service->online, request->charged_group, bytes, clock_monotonic_ns()))
        return false;
    request->charged_bytes += bytes;
    return true;
}

void api_online_uncharge(void *context, struct http_request *request)
{
    struct service *service = context;
    online_uncharge(service->online, request->charged_group, request->charged_bytes);
    request->charged_bytes = 0;
}

/* The form's fields as the format knows them. */
static int fields_read(struct unsealed *unsealed, const struct http_request *request)
{
    struct form_field fields[FORM_FIELDS_MAX];
    struct unsealed_field letters[FORM_FIELDS_MAX];
    uint32_t fields_count = 0;
    const int rc =
        form_read(fields, &fields_count, request->content_type, request->body, request->body_bytes);
    if (rc != 0)
        return rc;
    for (uint32_t i = 0; i < fields_count; i++) {
        const bool known = strlen(fields[i].name) == ONLINE_NAME_BYTES;
        letters[i] = (struct unsealed_field){.name = known ? fields[i].name[0] : '\0',
                                             .value = fields[i].value,
                                             .value_bytes = fields[i].value_bytes};
    }
    return unsealed_read_fields(unsealed, letters, fields_count,
                                request->body + request->body_bytes);
}

static void notice_answer(const struct service *service, struct http_request *request, int rc)
{
    unsigned int status = 400;
    enum pages_notice notice = PAGES_NOTICE_DAMAGED;
    if (request->refused == MHD_HTTP_CONTENT_TOO_LARGE) {
        status = request->refused;
        notice = PAGES_NOTICE_TOO_LARGE;
    } else if (request->refused == MHD_HTTP_LENGTH_REQUIRED) {
        status = request->refused;
    } else if (request->refused != 0 || rc == -ENOMEM || rc == -EAGAIN || rc == -EIO) {
        status = MHD_HTTP_SERVICE_UNAVAILABLE;
        notice = PAGES_NOTICE_AWAY;
    } else if (rc == -ENODATA) {
        notice = PAGES_NOTICE_CUT;
    }
    pages_notice_answer(service->pages, request, status, notice);
    if (notice == PAGES_NOTICE_AWAY)
        http_answer_header(request, "Retry-After", ONLINE_RETRY_S);
}

void api_online_post(void *context, struct http_request *request)
{
    struct service *service = context;
    struct unsealed unsealed = {.sealed = NULL};
    char handle[ONLINE_HANDLE_CHARS + 1];
    int rc = 0;
    if (request->refused == 0) {
        (void)online_core_take(service->online);
        rc = fields_read(&unsealed, request);
        online_core_give(service->online);
        if (rc == 0)
            rc = online_park(service->online, request->charged_group, &unsealed,
                             clock_monotonic_ns(), handle);
    }
    if (request->refused != 0 || rc != 0) {
        unsealed_fini(&unsealed);
        notice_answer(service, request, rc);
        return;
    }
    http_answer_constant(request, MHD_HTTP_SEE_OTHER, "text/plain", "", 0);
    /* Of this origin, whatever its name: the envelope's policy lets its form go nowhere else. */
    http_answer_header(request, "Location", "/online/%s", handle);
    secret_wipe(handle, sizeof(handle));
}

void api_online_look(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct id id;
    char hex[API_OPEN_ID_CHARS];
    const char *handle = request->path + sizeof(ONLINE_PREFIX) - 1;
    const int rc = online_look(service->online, handle, clock_monotonic_ns(), &id);
    if (rc != 0) {
        api_refuse(request, rc == -ENOENT ? API_GONE : API_AWAY, NULL);
        return;
    }
    api_to_hex(hex, id.bytes, sizeof(id.bytes));
    api_answer(request, 200, json_pack("{s:s}", "m", hex));
}

int api_online_decrypt(const struct service *service, const struct online_message *message,
                       const struct store_envelope *envelope, uint8_t **mail, size_t *mail_bytes)
{
    uint8_t key[MASTER_PLAIN_BYTES_MAX] __attribute__((cleanup(secret_wipe_32)));
    const struct unsealed *unsealed = &message->unsealed;
    size_t key_bytes = 0;
    int rc = store_envelope_key(service->store, envelope, key, &key_bytes);
    if (rc != 0)
        return -EIO;
    if (envelope->suite != unsealed->suite || key_bytes != cobble_key_bytes(unsealed->suite))
        return -EKEYREJECTED;
    struct crypto_core *core = online_core_take(service->online);
    rc = unsealed_key_fits(unsealed, core, key) ? 0 : -EKEYREJECTED;
    if (rc == 0)
        rc = unsealed_open_within(unsealed, core, key, ONLINE_MAIL_BYTES_MAX, mail, mail_bytes);
    secret_wipe_stack();
    online_core_give(service->online);
    return rc;
}

enum api_error api_online_error(int rc)
{
    switch (rc) {
    case -EKEYREJECTED: return API_WRONG_KEY;
    case -EBADMSG: return API_DAMAGED;
    case -EFBIG: return API_TOO_LARGE;
    default: return API_AWAY;
    }
}

/* True: opened, recorded and answered, so that the message is over. */
static bool message_answer(struct service *service, struct http_request *request,
                           const struct open_want *want, const struct online_message *message,
                           const struct store_envelope *envelope)
{
    uint8_t *mail = NULL;
    size_t mail_bytes = 0;
    const int rc = api_online_decrypt(service, message, envelope, &mail, &mail_bytes);
    if (rc != 0) {
        if (rc == -EIO)
            log_line(LOG_LEVEL_ERROR, "online_failed", "m=%s", want->id_hex);
        api_open_refuse(service, request, want, api_online_error(rc));
        return rc == -EKEYREJECTED || rc == -EBADMSG || rc == -EFBIG; /* no later try can help */
    }
    const int noted = api_online_charge(service, request, mail_bytes)
                          ? api_open_note(service, request, want, envelope, OPENING_ONLINE)
                          : -EAGAIN;
    if (noted != 0) {
        secret_wipe(mail, mail_bytes);
        free(mail);
        if (noted == -EACCES)
            api_open_refuse(service, request, want, API_LOCKED);
        else
            api_refuse(request, API_AWAY, NULL);
        return false;
    }
    http_answer(request, 200, ONLINE_BINARY, mail, mail_bytes);
    http_answer_header(request, "Content-Disposition", "attachment; filename=\"message.eml\"");
    return true;
}

void api_online_open(void *context, struct http_request *request)
{
    struct service *service = context;
    struct open_want want = {.user = NULL};
    struct session_token cookie;
    struct store_session session;
    struct store_envelope envelope;
    struct online_message message;
    const char *handle = request->path + sizeof(ONLINE_PREFIX) - 1;
    if (!api_own_page(service, request, &cookie))
        return;
    if (api_fields(request->body, request->body_bytes, NULL, 0) != 0) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    const int taken = online_take(service->online, handle, NULL, clock_monotonic_ns(), &message);
    if (taken != 0) {
        api_refuse(request, taken == -ENOENT ? API_GONE : API_AWAY, NULL);
        return;
    }
    memcpy(want.id, message.unsealed.id.bytes, sizeof(want.id));
    api_to_hex(want.id_hex, want.id, sizeof(want.id));
    if (api_open_permit(service, request, &want, &session, &envelope) == 0 &&
        message_answer(service, request, &want, &message, &envelope))
        online_end(service->online, &message);
    else
        online_give(service->online, &message);
}
