#include "tests/keyservice/stand_in.h"

#include "base/bytes.h"
#include "keyservice/record.h"

#include <arpa/inet.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define STORED_SLOTS  (UINT32_C(1) << 21) /* a table by id; half of it at most is used */
#define PEM_BYTES     4096
#define PATH_BYTES    256
#define ENDLESS_BYTES (8 * 1024 * 1024)
#define DAY_S         86400
#define BATCH_CHARS   32
#define JSON_BYTES    (256 * 1024)

struct identity {
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t certificate;
    char key_pem[PEM_BYTES];
    char certificate_pem[PEM_BYTES];
};

struct stored {
    uint8_t id[16];
    uint8_t key[32];
};

struct stand_in {
    struct MHD_Daemon *daemon;
    pthread_mutex_t lock;
    enum stand_in_mode mode;
    uint32_t requests;
    struct stored *stored;
    uint32_t stored_count;
    uint16_t port;
    char batch_before[BATCH_CHARS + 1]; /* name of the last batch that had one */
    struct identity ca;
    struct identity server;
    struct identity engine;
    char folder[PATH_BYTES];
    char ca_file[PATH_BYTES + 32];
    char certificate_file[PATH_BYTES + 32];
    char key_file[PATH_BYTES + 32];
    char url[64];
};

struct upload {
    uint8_t *body;
    size_t bytes;
};

static void identity_make(struct identity *identity, const struct identity *issuer, uint8_t serial)
{
    static const uint8_t loopback[4] = {127, 0, 0, 1};
    size_t bytes = PEM_BYTES;
    assert_int_equal(gnutls_x509_privkey_init(&identity->key), 0);
    assert_int_equal(gnutls_x509_privkey_generate(identity->key, GNUTLS_PK_ECDSA,
                                                  GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1),
                                                  0),
                     0);
    assert_int_equal(gnutls_x509_crt_init(&identity->certificate), 0);
    gnutls_x509_crt_t certificate = identity->certificate;
    assert_int_equal(gnutls_x509_crt_set_version(certificate, 3), 0);
    assert_int_equal(gnutls_x509_crt_set_serial(certificate, &serial, 1), 0);
    assert_int_equal(gnutls_x509_crt_set_key(certificate, identity->key), 0);
    char name[16];
    const int name_bytes = snprintf(name, sizeof(name), "test %u", serial);
    assert_int_equal(gnutls_x509_crt_set_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0,
                                                   name, (unsigned)name_bytes),
                     0);
    (void)gnutls_x509_crt_set_activation_time(certificate, time(NULL) - DAY_S);
    (void)gnutls_x509_crt_set_expiration_time(certificate, time(NULL) + DAY_S);
    (void)gnutls_x509_crt_set_basic_constraints(certificate, issuer == NULL, -1);
    if (issuer != NULL)
        (void)gnutls_x509_crt_set_subject_alt_name(certificate, GNUTLS_SAN_IPADDRESS, loopback, 4,
                                                   GNUTLS_FSAN_SET);
    else
        (void)gnutls_x509_crt_set_key_usage(certificate, GNUTLS_KEY_KEY_CERT_SIGN);
    const struct identity *signer = issuer == NULL ? identity : issuer;
    assert_int_equal(gnutls_x509_crt_sign2(certificate, signer->certificate, signer->key,
                                           GNUTLS_DIG_SHA256, 0),
                     0);
    assert_int_equal(gnutls_x509_crt_export(certificate, GNUTLS_X509_FMT_PEM,
                                            identity->certificate_pem, &bytes),
                     0);
    identity->certificate_pem[bytes] = '\0';
    bytes = PEM_BYTES;
    assert_int_equal(gnutls_x509_privkey_export_pkcs8(identity->key, GNUTLS_X509_FMT_PEM, NULL,
                                                      GNUTLS_PKCS_PLAIN, identity->key_pem, &bytes),
                     0);
    identity->key_pem[bytes] = '\0';
}

static void identity_fini(struct identity *identity)
{
    gnutls_x509_crt_deinit(identity->certificate);
    gnutls_x509_privkey_deinit(identity->key);
}

static void file_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fchmod(fileno(file), 0600), 0);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* Where this id stands or would stand: by its random end, then the next place. An id is never all
 * zeros: its version is 7. */
static struct stored *stored_place(const struct stand_in *stand_in, const uint8_t *id)
{
    static const uint8_t nobody[16];
    uint64_t at;
    memcpy(&at, id + 8, sizeof(at));
    at *= UINT64_C(0x9e3779b97f4a7c15);
    for (uint32_t slot = (uint32_t)(at >> 32);; slot++) {
        struct stored *place = &stand_in->stored[slot % STORED_SLOTS];
        if (memcmp(place->id, id, 16) == 0 || memcmp(place->id, nobody, 16) == 0)
            return place;
    }
}

static struct stored *stored_find(const struct stand_in *stand_in, const uint8_t *id)
{
    struct stored *place = stored_place(stand_in, id);
    return memcmp(place->id, id, 16) == 0 ? place : NULL;
}

static void stored_add(struct stand_in *stand_in, const struct record *record)
{
    struct stored *known = stored_place(stand_in, record->id);
    if (memcmp(known->id, record->id, 16) != 0 && stand_in->stored_count < STORED_SLOTS / 2) {
        stand_in->stored_count++;
        memcpy(known->id, record->id, 16);
        memcpy(known->key, record->key, 32);
    }
}

static size_t result_print(char *dst, size_t room, const uint8_t *id, const char *status, bool more)
{
    size_t used = (size_t)snprintf(dst, room, "{\"id\":\"");
    for (uint32_t i = 0; i < 16; i++)
        used += (size_t)snprintf(dst + used, room - used, "%02x", id[i]);
    return used + (size_t)snprintf(dst + used, room - used, "\",\"status\":\"%s\"}%s", status,
                                   more ? "," : "");
}

static bool mode_stores(enum stand_in_mode mode)
{
    return mode == STAND_IN_STORES || mode == STAND_IN_STORES_LONG ||
           mode == STAND_IN_LOSES_ANSWER || mode == STAND_IN_REFUSES_WHOLE;
}

/* Modes that have no result of their own to tell, so that the short form would be honest. */
static bool mode_is_short(enum stand_in_mode mode)
{
    return mode != STAND_IN_STORES_LONG && mode != STAND_IN_CONFLICTS &&
           mode != STAND_IN_CONFLICTS_ONCE && mode != STAND_IN_INVALID &&
           mode != STAND_IN_OTHER_ID && mode != STAND_IN_SHORT;
}

static void short_answer(struct stand_in *stand_in, enum stand_in_mode mode, uint32_t count,
                         const char *batch, char *json, size_t room)
{
    static const char nobody[] = "00000000000000000000000000000000";
    const char *before = stand_in->batch_before[0] == '\0' ? nobody : stand_in->batch_before;
    (void)snprintf(json, room, "{\"stored\":%u,\"batch\":\"%s\"}",
                   mode == STAND_IN_OTHER_COUNT ? count + 1 : count,
                   mode == STAND_IN_OTHER_BATCH ? before : batch);
    (void)snprintf(stand_in->batch_before, sizeof(stand_in->batch_before), "%s", batch);
}

/* Reads a batch as a service would; 0 and the JSON of an honest answer, or -EBADMSG. */
static int batch_answer(struct stand_in *stand_in, enum stand_in_mode mode,
                        const struct upload *upload, const char *batch, char *json, size_t room,
                        bool *bad)
{
    uint32_t count;
    size_t offset = RECORD_BATCH_HEAD_BYTES;
    size_t used = (size_t)snprintf(json, room, "{\"results\":[");
    const char *status = mode == STAND_IN_CONFLICTS || mode == STAND_IN_CONFLICTS_ONCE ? "conflict"
                         : mode == STAND_IN_INVALID                                    ? "invalid"
                                                                                       : "stored";
    if (record_batch_check(upload->body, upload->bytes, &count) != 0)
        return -1;
    const uint32_t told = mode == STAND_IN_SHORT ? count - 1 : count;
    for (uint32_t i = 0; i < count; i++) {
        struct record record;
        if (record_read(&record, upload->body, upload->bytes, &offset) != 0)
            return -1;
        *bad = *bad || (record.profile_bytes == 3 && memcmp(record.profile, "bad", 3) == 0);
        if (mode_stores(mode) && !*bad)
            stored_add(stand_in, &record);
        if (mode == STAND_IN_OTHER_ID)
            record.id[15] ^= 1;
        if (i < told)
            used += result_print(json + used, room - used, record.id, status, i + 1 < told);
    }
    (void)snprintf(json + used, room - used, "]}");
    if (batch != NULL && mode_is_short(mode))
        short_answer(stand_in, mode, count, batch, json, room);
    return offset == upload->bytes ? 0 : -1;
}

static ssize_t endless_read(void *user, uint64_t at, char *dst, size_t bytes)
{
    (void)user;
    if (at >= ENDLESS_BYTES)
        return MHD_CONTENT_READER_END_OF_STREAM;
    memset(dst, ' ', bytes);
    return (ssize_t)bytes;
}

static ssize_t cut_read(void *user, uint64_t at, char *dst, size_t bytes)
{
    (void)user;
    if (at > 0 || bytes == 0)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    dst[0] = '{';
    return 1;
}

static enum MHD_Result answer_send(struct MHD_Connection *connection, unsigned status,
                                   const char *text)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    const enum MHD_Result rc = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return rc;
}

static enum MHD_Result answer_stream(struct MHD_Connection *connection, uint64_t bytes,
                                     MHD_ContentReaderCallback reader)
{
    struct MHD_Response *response =
        MHD_create_response_from_callback(bytes, 1024, reader, NULL, NULL);
    const enum MHD_Result rc = MHD_queue_response(connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return rc;
}

static enum MHD_Result batch_finish(struct stand_in *stand_in, struct MHD_Connection *connection,
                                    const struct upload *upload)
{
    char *json = malloc(JSON_BYTES);
    const char *batch = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "X-Bulla-Batch");
    bool bad = false;
    (void)pthread_mutex_lock(&stand_in->lock);
    const enum stand_in_mode mode = stand_in->mode;
    if (mode == STAND_IN_CONFLICTS_ONCE)
        stand_in->mode = STAND_IN_STORES;
    stand_in->requests++;
    const int read = batch_answer(stand_in, mode, upload, batch, json, JSON_BYTES, &bad);
    (void)pthread_mutex_unlock(&stand_in->lock);

    enum MHD_Result rc = MHD_NO;
    if (read != 0 || (mode == STAND_IN_REFUSES_WHOLE && bad)) {
        rc = answer_send(connection, MHD_HTTP_BAD_REQUEST,
                         "{\"error\":{\"code\":\"bad_request\",\"message\":\"Malformed.\"}}");
        free(json);
        return rc;
    }
    switch (mode) {
    case STAND_IN_STORES:
    case STAND_IN_STORES_LONG:
    case STAND_IN_OTHER_BATCH:
    case STAND_IN_OTHER_COUNT:
    case STAND_IN_INVALID:
    case STAND_IN_OTHER_ID:
    case STAND_IN_SHORT:
    case STAND_IN_REFUSES_WHOLE: rc = answer_send(connection, MHD_HTTP_OK, json); break;
    case STAND_IN_CONFLICTS:
    case STAND_IN_SHORT_409:
    case STAND_IN_CONFLICTS_ONCE: rc = answer_send(connection, MHD_HTTP_CONFLICT, json); break;
    case STAND_IN_TWICE: {
        const size_t chars = strlen(json);
        memcpy(json + chars, json, chars);
        json[2 * chars] = '\0';
        rc = answer_send(connection, MHD_HTTP_OK, json);
        break;
    }
    case STAND_IN_LOSES_ANSWER: rc = MHD_NO; break;
    case STAND_IN_GARBAGE: rc = answer_send(connection, MHD_HTTP_OK, "<html>ok</html>"); break;
    case STAND_IN_CUT_JSON:
        json[strlen(json) / 2] = '\0';
        rc = answer_send(connection, MHD_HTTP_OK, json);
        break;
    case STAND_IN_CUT_BODY: rc = answer_stream(connection, 100000, cut_read); break;
    case STAND_IN_ENDLESS: rc = answer_stream(connection, ENDLESS_BYTES, endless_read); break;
    case STAND_IN_FAILS: rc = answer_send(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "{}"); break;
    }
    free(json);
    return rc;
}

static enum MHD_Result request_handle(void *user, struct MHD_Connection *connection,
                                      const char *url, const char *method, const char *version,
                                      const char *data, size_t *data_bytes, void **state)
{
    struct upload *upload = *state;
    (void)version;
    if (upload == NULL) {
        *state = calloc(1, sizeof(*upload));
        return *state == NULL ? MHD_NO : MHD_YES;
    }
    if (*data_bytes > 0) {
        uint8_t *grown = realloc(upload->body, upload->bytes + *data_bytes);
        if (grown == NULL)
            return MHD_NO;
        memcpy(grown + upload->bytes, data, *data_bytes);
        upload->body = grown;
        upload->bytes += *data_bytes;
        *data_bytes = 0;
        return MHD_YES;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    unsigned peers = 0;
    /* The engine must show who it is: without a certificate nothing is taken. */
    if (info == NULL ||
        gnutls_certificate_get_peers((gnutls_session_t)info->tls_session, &peers) == NULL)
        return answer_send(connection, MHD_HTTP_FORBIDDEN, "{}");
    if (strcmp(url, "/v1/envelopes") != 0 || strcmp(method, "POST") != 0)
        return answer_send(connection, MHD_HTTP_NOT_FOUND, "{}");
    return batch_finish(user, connection, upload);
}

static void request_done(void *user, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode why)
{
    struct upload *upload = *state;
    (void)user;
    (void)connection;
    (void)why;
    if (upload != NULL)
        free(upload->body);
    free(upload);
    *state = NULL;
}

void stand_in_start(struct stand_in *stand_in)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(stand_in->port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    stand_in->daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_TLS, 0, NULL, NULL, request_handle, stand_in,
        MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address, MHD_OPTION_HTTPS_MEM_KEY,
        stand_in->server.key_pem, MHD_OPTION_HTTPS_MEM_CERT, stand_in->server.certificate_pem,
        MHD_OPTION_HTTPS_MEM_TRUST, stand_in->ca.certificate_pem, MHD_OPTION_NOTIFY_COMPLETED,
        request_done, NULL, MHD_OPTION_LISTENING_ADDRESS_REUSE, 1U, MHD_OPTION_END);
    assert_non_null(stand_in->daemon);
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(stand_in->daemon, MHD_DAEMON_INFO_BIND_PORT);
    assert_non_null(info);
    stand_in->port = info->port;
}

void stand_in_stop(struct stand_in *stand_in)
{
    if (stand_in->daemon != NULL)
        MHD_stop_daemon(stand_in->daemon);
    stand_in->daemon = NULL;
}

struct stand_in *stand_in_open(void)
{
    struct stand_in *made = calloc(1, sizeof(*made));
    assert_non_null(made);
    made->stored = calloc(STORED_SLOTS, sizeof(*made->stored));
    assert_non_null(made->stored);
    (void)pthread_mutex_init(&made->lock, NULL);
    identity_make(&made->ca, NULL, 1);
    identity_make(&made->server, &made->ca, 2);
    identity_make(&made->engine, &made->ca, 3);
    (void)snprintf(made->folder, sizeof(made->folder), "%s/bulla-test-XXXXXX",
                   getenv("TMPDIR") == NULL ? "/tmp" : getenv("TMPDIR"));
    assert_non_null(mkdtemp(made->folder));
    (void)snprintf(made->ca_file, sizeof(made->ca_file), "%s/ca.pem", made->folder);
    (void)snprintf(made->certificate_file, sizeof(made->certificate_file), "%s/engine.pem",
                   made->folder);
    (void)snprintf(made->key_file, sizeof(made->key_file), "%s/engine.key", made->folder);
    file_write(made->ca_file, made->ca.certificate_pem);
    file_write(made->certificate_file, made->engine.certificate_pem);
    file_write(made->key_file, made->engine.key_pem);
    stand_in_start(made);
    (void)snprintf(made->url, sizeof(made->url), "https://127.0.0.1:%u", made->port);
    return made;
}

void stand_in_close(struct stand_in *stand_in)
{
    stand_in_stop(stand_in);
    identity_fini(&stand_in->ca);
    identity_fini(&stand_in->server);
    identity_fini(&stand_in->engine);
    (void)unlink(stand_in->ca_file);
    (void)unlink(stand_in->certificate_file);
    (void)unlink(stand_in->key_file);
    (void)rmdir(stand_in->folder);
    (void)pthread_mutex_destroy(&stand_in->lock);
    free(stand_in->stored);
    free(stand_in);
}

void stand_in_set(struct stand_in *stand_in, enum stand_in_mode mode)
{
    (void)pthread_mutex_lock(&stand_in->lock);
    stand_in->mode = mode;
    (void)pthread_mutex_unlock(&stand_in->lock);
}

uint32_t stand_in_requests(const struct stand_in *stand_in)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&stand_in->lock;
    (void)pthread_mutex_lock(lock);
    const uint32_t requests = stand_in->requests;
    (void)pthread_mutex_unlock(lock);
    return requests;
}

uint32_t stand_in_stored(const struct stand_in *stand_in)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&stand_in->lock;
    (void)pthread_mutex_lock(lock);
    const uint32_t stored = stand_in->stored_count;
    (void)pthread_mutex_unlock(lock);
    return stored;
}

bool stand_in_has(const struct stand_in *stand_in, const uint8_t id[16], uint8_t key[32])
{
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&stand_in->lock;
    (void)pthread_mutex_lock(lock);
    const struct stored *found = stored_find(stand_in, id);
    if (found != NULL)
        memcpy(key, found->key, 32);
    (void)pthread_mutex_unlock(lock);
    return found != NULL;
}

uint16_t stand_in_port(const struct stand_in *stand_in)
{
    return stand_in->port;
}

const char *stand_in_url(const struct stand_in *stand_in)
{
    return stand_in->url;
}

const char *stand_in_folder(const struct stand_in *stand_in)
{
    return stand_in->folder;
}

const char *stand_in_ca(const struct stand_in *stand_in)
{
    return stand_in->ca_file;
}

const char *stand_in_certificate(const struct stand_in *stand_in)
{
    return stand_in->certificate_file;
}

const char *stand_in_private_key(const struct stand_in *stand_in)
{
    return stand_in->key_file;
}
