#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "crypto/secret.h"
#include "keyservice/record.h"
#include "keyservice/server/api/api.h"
#include "keyservice/server/pki.h"

#include <errno.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_TYPE         "application/vnd.bulla.key-batch"
#define BATCH_NAME_CHARS   32
#define RESULT_BYTES_MAX   96
#define SHORT_BYTES_MAX    96
#define ENROL_CODE_BYTES   64
#define ENROL_FIELDS_COUNT 2

/* A batch as read: the records borrow the request's body. */
struct batch {
    uint32_t count;
    struct record *records;
    struct store_put *puts;
};

static void batch_free(struct batch *batch)
{
    if (batch->records != NULL)
        secret_wipe(batch->records, batch->count * sizeof(*batch->records));
    free(batch->records);
    free(batch->puts);
    *batch = (struct batch){0};
}

/* Every byte of the batch or none: -EBADMSG, -ENOMEM. */
static int batch_read(struct batch *batch, const uint8_t *body, size_t body_bytes)
{
    size_t offset = RECORD_BATCH_HEAD_BYTES;
    *batch = (struct batch){0};
    if (body == NULL || record_batch_check(body, body_bytes, &batch->count) != 0)
        return -EBADMSG;
    ASSERT(batch->count > 0 && batch->count <= RECORD_BATCH_RECORDS_MAX);
    batch->records = calloc(batch->count, sizeof(*batch->records));
    batch->puts = calloc(batch->count, sizeof(*batch->puts));
    if (batch->records == NULL || batch->puts == NULL) {
        batch_free(batch);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < batch->count; i++) {
        const size_t start = offset;
        if (record_read(&batch->records[i], body, body_bytes, &offset) != 0) {
            batch_free(batch);
            return -EBADMSG;
        }
        batch->puts[i] = (struct store_put){.record = &batch->records[i],
                                            .wire = body + start,
                                            .wire_bytes = (uint32_t)(offset - start)};
    }
    if (offset != body_bytes) {
        batch_free(batch);
        return -EBADMSG;
    }
    return 0;
}

/* The header is absent, or names the batch by hex digits in lower case. */
static bool batch_name_sound(const char *name)
{
    const size_t chars = strlen(name);
    return chars == 0 || (chars == BATCH_NAME_CHARS && strspn(name, "0123456789abcdef") == chars);
}

/* All are stored: one line that cannot be another batch's says so. */
static void batch_answer_short(struct http_request *request, const struct batch *batch)
{
    char *text = malloc(SHORT_BYTES_MAX);
    if (text == NULL) {
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    const int used = snprintf(text, SHORT_BYTES_MAX, "{\"stored\":%u,\"batch\":\"%s\"}",
                              batch->count, request->batch);
    ASSERT(used > 0 && used < SHORT_BYTES_MAX);
    http_answer(request, 200, API_JSON, text, (size_t)used);
}

static void batch_answer(struct http_request *request, const struct batch *batch)
{
    static const char head[] = "{\"results\":[";
    bool conflict = false;
    for (uint32_t i = 0; i < batch->count; i++)
        conflict = conflict || batch->puts[i].result != STORE_PUT_STORED;
    if (!conflict && request->batch[0] != '\0') {
        batch_answer_short(request, batch);
        return;
    }
    const size_t room = sizeof(head) + batch->count * (size_t)RESULT_BYTES_MAX + 4;
    char *text = malloc(room);
    if (text == NULL) {
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    memcpy(text, head, sizeof(head));
    size_t used = sizeof(head) - 1;
    for (uint32_t i = 0; i < batch->count; i++) {
        char id[2 * RECORD_ID_BYTES + 1];
        const bool stored = batch->puts[i].result == STORE_PUT_STORED;
        api_to_hex(id, batch->records[i].id, RECORD_ID_BYTES);
        used += (size_t)snprintf(text + used, room - used, "%s{\"id\":\"%s\",\"status\":\"%s\"}",
                                 i == 0 ? "" : ",", id, stored ? "stored" : "conflict");
    }
    used += (size_t)snprintf(text + used, room - used, "]}");
    ASSERT(used < room);
    http_answer(request, conflict ? 409 : 200, API_JSON, text, used);
}

void api_engine_envelopes(void *context, struct http_request *request)
{
    struct service *service = context;
    struct store_engine engine;
    struct batch batch;

    const int known = store_engine_get(service->store, request->fingerprint, &engine);
    if (known == -EIO) {
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    if (known != 0 || engine.revoked_unix_ms != 0) {
        log_line(LOG_LEVEL_WARNING, "engine_refused", "name=%s from=%s",
                 known == 0 ? engine.name : "-", request->client);
        api_refuse(request, API_FORBIDDEN, NULL);
        return;
    }
    int rc = strcmp(request->content_type, BATCH_TYPE) == 0 && batch_name_sound(request->batch)
                 ? 0
                 : -EBADMSG;
    if (rc == 0)
        rc = batch_read(&batch, request->body, request->body_bytes);
    if (rc != 0) {
        log_line(LOG_LEVEL_WARNING, "batch_refused", "engine=%s bytes=%zu", engine.name,
                 request->body_bytes);
        api_refuse(request, rc == -EBADMSG ? API_BAD_REQUEST : API_AWAY, NULL);
        return;
    }
    rc = store_register_batch(service->store, batch.puts, batch.count);
    if (rc == 0) {
        batch_answer(request, &batch);
    } else {
        log_line(LOG_LEVEL_ERROR, "batch_not_stored", "engine=%s errno=%d", engine.name, -rc);
        api_refuse(request, API_AWAY, NULL);
    }
    batch_free(&batch);
}

/* Signs and, in the commit that spends the code, enrols. */
static void enrol_answer(const struct service *service, struct http_request *request,
                         const uint8_t *code_hash, const char *name, const char *csr)
{
    char *certificate = NULL;
    struct store_engine engine = {.created_unix_ms = api_now_ms()};
    int rc = pki_engine_sign(service->config->ca_certificate_file, service->config->ca_key_file,
                             name, csr, strlen(csr), &certificate, engine.fingerprint);
    if (rc != 0) {
        api_refuse(request, rc == -EBADMSG ? API_BAD_REQUEST : API_AWAY, NULL);
        return;
    }
    (void)snprintf(engine.name, sizeof(engine.name), "%s", name);
    rc = store_enrol_spend(service->store, code_hash, &engine);
    if (rc == 0)
        rc = api_audit(service, request, "enrol", NULL, NULL, name, true);
    if (rc != 0) {
        free(certificate);
        api_refuse(request, rc == -EACCES ? API_CREDENTIALS : API_AWAY, NULL);
        return;
    }
    log_line(LOG_LEVEL_INFO, "engine_enrolled", "name=%s from=%s", name, request->client);
    json_t *root = json_object();
    (void)json_object_set_new(root, "certificate", json_string(certificate));
    json_t *ca = NULL;
    FILE *file = fopen(service->config->ca_certificate_file, "re");
    if (file != NULL) {
        char pem[PKI_CSR_BYTES_MAX];
        const size_t bytes = fread(pem, 1, sizeof(pem), file);
        ca = json_stringn(pem, bytes);
        (void)fclose(file);
    }
    (void)json_object_set_new(root, "ca", ca == NULL ? json_string("") : ca);
    free(certificate);
    api_answer(request, 200, root);
}

void api_engine_enrol(void *context, struct http_request *request)
{
    struct service *service = context;
    char code[ENROL_CODE_BYTES];
    char name[STORE_NAME_BYTES];
    char csr[PKI_CSR_BYTES_MAX + 1];
    uint8_t code_hash[STORE_HASH_BYTES];
    const struct api_field fields[ENROL_FIELDS_COUNT] = {
        {.name = "code", .text = code, .room = sizeof(code)},
        {.name = "csr", .text = csr, .room = sizeof(csr)},
    };
    if (api_fields(request->body, request->body_bytes, fields, ENROL_FIELDS_COUNT) != 0) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    const uint64_t wait_ns = guess_take(service->guess, GUESS_CODE, request->network,
                                        HTTP_NETWORK_BYTES, clock_monotonic_ns());
    if (wait_ns != 0) {
        api_refuse_wait(request, wait_ns);
        return;
    }
    (void)SHA256((const uint8_t *)code, strlen(code), code_hash);
    secret_wipe(code, sizeof(code));
    const int rc = store_enrol_get(service->store, code_hash, api_now_ms(), name);
    if (rc != 0) {
        api_audit_note(service, request, "enrol", "credentials", NULL, NULL);
        api_refuse(request, rc == -ENOENT ? API_CREDENTIALS : API_AWAY, NULL);
        return;
    }
    enrol_answer(service, request, code_hash, name, csr);
}
