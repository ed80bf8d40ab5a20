#include "keyservice/server/http/http.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "keyservice/server/http/http_framing.h"
#include "keyservice/server/http/http_peer.h"

#include <errno.h>
#include <malloc.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* TLS 1.3, and of 1.2 what has forward secrecy and an AEAD: no CBC, no SHA-1. */
#define HTTP_PRIORITIES                                                                            \
    "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:-DHE-RSA:-CIPHER-ALL:+AES-256-GCM:"        \
    "+CHACHA20-POLY1305:+AES-128-GCM:-MAC-ALL:+AEAD:-SIGN-RSA-SHA1:-SIGN-ECDSA-SHA1:"              \
    "%SERVER_PRECEDENCE"
#define HTTP_SESSION_NAME  "__Host-bulla"
#define HTTP_DEVICE_NAME   "__Host-bulla-device"
#define HTTP_LANGUAGE_NAME "__Host-bulla-language"
/* What is no page: where a browser shows it all the same it is in no origin and does nothing. */
#define HTTP_QUIET_POLICY                                                                          \
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
#define HTTP_BODY_FIRST     4096
#define HTTP_DISCARD_TIMES  4  /* of a route's limit that are read of a refused upload */
#define HTTP_REFUSALS_MAX   20 /* that a second writes to the log */
#define HTTP_STRICT_MAX_AGE "max-age=31536000; includeSubDomains"

struct http {
    struct MHD_Daemon *daemon;
    int listen_fd;
    struct http_config config; /* strings are not kept */
    atomic_uint busy_count;
    _Atomic uint64_t refusals_second; /* with refusals_count: bounds lines, orders nothing */
    atomic_uint refusals_count;
    struct http_peers *peers;
};

/* What the library knows a request by. */
struct task {
    struct http_request request;
    struct http *http;
    struct MHD_Connection *connection;
    struct http_peer *peer;
    bool pushed;
    bool closes; /* where the next request begins is not known */
    bool done;   /* the library's own locks order it: suspend, resume, call */
    size_t body_room;
    uint64_t length_bytes;    /* Content-Length; 0: none */
    uint64_t discarded_bytes; /* of a refused upload */
};

static const char *header_get(struct MHD_Connection *connection, enum MHD_ValueKind kind,
                              const char *name)
{
    const char *value = MHD_lookup_connection_value(connection, kind, name);
    return value == NULL ? "" : value;
}

static void request_fill(struct task *task, const char *path)
{
    struct MHD_Connection *connection = task->connection;
    struct http_request *request = &task->request;
    request->path = path;
    request->cookie = header_get(connection, MHD_COOKIE_KIND, HTTP_SESSION_NAME);
    request->device = header_get(connection, MHD_COOKIE_KIND, HTTP_DEVICE_NAME);
    request->csrf = header_get(connection, MHD_HEADER_KIND, "X-Bulla-CSRF");
    request->origin = header_get(connection, MHD_HEADER_KIND, "Origin");
    request->host = header_get(connection, MHD_HEADER_KIND, "Host");
    request->fetch_site = header_get(connection, MHD_HEADER_KIND, "Sec-Fetch-Site");
    request->content_type = header_get(connection, MHD_HEADER_KIND, "Content-Type");
    request->language = header_get(connection, MHD_HEADER_KIND, "Accept-Language");
    request->chosen_language = header_get(connection, MHD_COOKIE_KIND, HTTP_LANGUAGE_NAME);
    request->agent = header_get(connection, MHD_HEADER_KIND, "User-Agent");
    request->batch = header_get(connection, MHD_HEADER_KIND, "X-Bulla-Batch");
    request->authorization = header_get(connection, MHD_HEADER_KIND, "Authorization");
    http_peer_network(request, connection);
}

const char *http_query(const struct http_request *request, const char *name)
{
    const struct task *task =
        (const struct task *)((const char *)request - offsetof(struct task, request));
    return header_get(task->connection, MHD_GET_ARGUMENT_KIND, name);
}

static bool path_fits(const struct http_route *route, const char *path)
{
    const size_t chars = strlen(route->path);
    if (chars > 1 && route->path[chars - 1] == '/')
        return strncmp(route->path, path, chars) == 0;
    return strcmp(route->path, path) == 0;
}

/* The route, or NULL with the status that says why there is none. */
static const struct http_route *route_find(const struct http *http, const char *method,
                                           const char *path, unsigned int *status)
{
    const bool head = strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
    *status = MHD_HTTP_NOT_FOUND;
    for (uint32_t i = 0; i < http->config.routes_count; i++) {
        const struct http_route *route = &http->config.routes[i];
        if (!path_fits(route, path))
            continue;
        if (strcmp(route->method, method) == 0 ||
            (head && strcmp(route->method, MHD_HTTP_METHOD_GET) == 0))
            return route;
        *status = MHD_HTTP_METHOD_NOT_ALLOWED;
    }
    return NULL;
}

void http_answer(struct http_request *request, unsigned int status, const char *type, void *body,
                 size_t bytes)
{
    if (request->answer != NULL && !request->answer_constant)
        free(request->answer);
    request->status = status;
    request->answer_type = type;
    request->answer = body;
    request->answer_bytes = bytes;
    request->answer_constant = false;
}

void http_answer_constant(struct http_request *request, unsigned int status, const char *type,
                          const void *body, size_t bytes)
{
    http_answer(request, status, type, NULL, bytes);
    request->answer = (void *)(uintptr_t)body;
    request->answer_constant = true;
}

void http_answer_header(struct http_request *request, const char *name, const char *format, ...)
{
    va_list args;
    ASSERT(request->headers_count < HTTP_EXTRA_HEADERS_MAX);
    struct http_header *header = &request->headers[request->headers_count++];
    header->name = name;
    va_start(args, format);
    const int n = vsnprintf(header->value, sizeof(header->value), format, args);
    va_end(args);
    ASSERT(n >= 0 && (size_t)n < sizeof(header->value));
}

static void response_headers(const struct http *http, const struct http_request *request,
                             struct MHD_Response *response)
{
    const bool any_origin = request->route != NULL && request->route->any_origin;
    (void)MHD_add_response_header(response, "Content-Type",
                                  request->answer_type == NULL ? "application/json"
                                                               : request->answer_type);
    (void)MHD_add_response_header(response, "Cache-Control",
                                  request->caching == NULL ? "no-store" : request->caching);
    (void)MHD_add_response_header(response, "Content-Security-Policy",
                                  request->policy == NULL ? HTTP_QUIET_POLICY : request->policy);
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    (void)MHD_add_response_header(response, "X-Frame-Options", "DENY");
    (void)MHD_add_response_header(response, "Referrer-Policy",
                                  request->own_referrer ? "same-origin" : "no-referrer");
    (void)MHD_add_response_header(response, "Cross-Origin-Opener-Policy",
                                  request->keep_opener ? "unsafe-none" : "same-origin");
    (void)MHD_add_response_header(response, "Cross-Origin-Resource-Policy",
                                  any_origin ? "cross-origin" : "same-origin");
    if (any_origin)
        (void)MHD_add_response_header(response, "Access-Control-Allow-Origin", "*");
    if (http->config.strict_transport)
        (void)MHD_add_response_header(response, "Strict-Transport-Security", HTTP_STRICT_MAX_AGE);
    for (uint32_t i = 0; i < request->headers_count; i++)
        (void)MHD_add_response_header(response, request->headers[i].name,
                                      request->headers[i].value);
}

/* Answers may hold an opened message. */
static void answer_free(void *answer)
{
    if (answer != NULL)
        explicit_bzero(answer, malloc_usable_size(answer));
    free(answer);
}

/*
 * What no page and no program of ours would send, or too often, stands in the log: so many lines a
 * second, that nobody fills it. A wrong password and a missing key are usual, and in the audit log.
 */
static void refusal_log(struct http *http, const struct http_request *request)
{
    const uint64_t second = clock_monotonic_ns() / NS_PER_S;
    switch (request->status) {
    case MHD_HTTP_BAD_REQUEST:
    case MHD_HTTP_FORBIDDEN:
    case MHD_HTTP_METHOD_NOT_ALLOWED:
    case MHD_HTTP_CONTENT_TOO_LARGE:
    case MHD_HTTP_TOO_MANY_REQUESTS: break;
    default: return;
    }
    if (atomic_exchange_explicit(&http->refusals_second, second, memory_order_relaxed) != second)
        atomic_store_explicit(&http->refusals_count, 0, memory_order_relaxed);
    const uint32_t before =
        atomic_fetch_add_explicit(&http->refusals_count, 1, memory_order_relaxed);
    if (before < HTTP_REFUSALS_MAX)
        log_line(LOG_LEVEL_INFO, "refused", "path=%s status=%u from=%s",
                 request->route == NULL ? "-" : request->route->path, request->status,
                 request->client);
    else if (before == HTTP_REFUSALS_MAX)
        log_line(LOG_LEVEL_WARNING, "refused_more", "from=%s", request->client);
}

static enum MHD_Result response_queue(struct task *task)
{
    struct http_request *request = &task->request;
    if (request->status == 0) { /* a handler that ran out of memory */
        request->status = MHD_HTTP_SERVICE_UNAVAILABLE;
        task->http->config.missing(task->http->config.service, request);
    }
    struct MHD_Response *response =
        request->answer_constant
            ? MHD_create_response_from_buffer(request->answer_bytes, request->answer,
                                              MHD_RESPMEM_PERSISTENT)
            : MHD_create_response_from_buffer_with_free_callback(request->answer_bytes,
                                                                 request->answer, answer_free);
    if (response == NULL)
        return MHD_NO;
    request->answer = NULL; /* the response's now */
    response_headers(task->http, request, response);
    if (task->closes)
        (void)MHD_add_response_header(response, "Connection", "close");
    log_line(LOG_LEVEL_DEBUG, "request", "path=%s status=%u from=%s",
             request->route == NULL ? "-" : request->route->path, request->status, request->client);
    refusal_log(task->http, request);
    http_peer_deadline(task->peer,
                       task->http->config.body_s *
                           (request->answer_bytes >= HTTP_UPLOAD_BYTES ? HTTP_UPLOAD_TIMES : 1));
    const enum MHD_Result queued = MHD_queue_response(task->connection, request->status, response);
    MHD_destroy_response(response);
    return queued;
}

static enum MHD_Result answer_missing(struct task *task, unsigned int status)
{
    task->request.status = status;
    task->http->config.missing(task->http->config.service, &task->request);
    return response_queue(task);
}

static bool is_upload(const struct task *task)
{
    return task->http->config.charge != NULL && task->request.route != NULL &&
           task->request.route->body_bytes_max >= HTTP_UPLOAD_BYTES;
}

static void body_free(struct http_request *request)
{
    if (request->body != NULL) {
        explicit_bzero(request->body, request->body_bytes);
        free(request->body);
    }
    request->body = NULL;
    request->body_bytes = 0;
}

static bool body_append(struct task *task, const char *bytes, size_t count);

/* Keeps, or throws away, the next bytes of an upload; false when the connection has to be cut. */
static bool upload_append(struct task *task, const char *bytes, size_t count)
{
    struct http_request *request = &task->request;
    const struct http_config *config = &task->http->config;
    if (request->refused == 0) {
        if (request->body_bytes + count > request->route->body_bytes_max)
            request->refused = MHD_HTTP_CONTENT_TOO_LARGE;
        else if (!config->charge(config->service, request, count) ||
                 !body_append(task, bytes, count))
            request->refused = MHD_HTTP_SERVICE_UNAVAILABLE;
        if (request->refused == 0)
            return true;
        body_free(request);
        config->uncharge(config->service, request);
    }
    task->discarded_bytes += count;
    return task->discarded_bytes <= HTTP_DISCARD_TIMES * (uint64_t)request->route->body_bytes_max;
}

/* What a length says of an upload before a byte of it is there; true: it is no more looked at. */
static bool upload_begin(struct task *task, const char *length)
{
    struct http_request *request = &task->request;
    const uint64_t bytes_max = request->route->body_bytes_max;
    if (!is_upload(task))
        return false;
    http_peer_deadline(task->peer, task->http->config.body_s * HTTP_UPLOAD_TIMES);
    if (length[0] == '\0') {
        request->refused = MHD_HTTP_LENGTH_REQUIRED;
        return true;
    }
    if (strlen(length) > 18)
        return false;
    task->length_bytes = strtoull(length, NULL, 10);
    if (task->length_bytes > bytes_max)
        request->refused = MHD_HTTP_CONTENT_TOO_LARGE;
    return task->length_bytes <= bytes_max * HTTP_DISCARD_TIMES;
}

/* Keeps the next bytes of the body; false when there are too many or no memory is left. */
static bool body_append(struct task *task, const char *bytes, size_t count)
{
    struct http_request *request = &task->request;
    const size_t wanted = request->body_bytes + count + 1;
    if (wanted > (size_t)request->route->body_bytes_max + 1)
        return false;
    if (wanted > task->body_room) {
        size_t room = MAX(task->body_room * 2, (size_t)HTTP_BODY_FIRST);
        if (is_upload(task)) /* at once: a page that nothing was written to costs nothing */
            room = (size_t)task->length_bytes + 1;
        room = MIN(MAX(room, wanted), (size_t)request->route->body_bytes_max + 1);
        uint8_t *body = malloc(room);
        if (body == NULL)
            return false;
        if (request->body != NULL) { /* not realloc: the old copy may hold a password */
            memcpy(body, request->body, request->body_bytes);
            explicit_bzero(request->body, request->body_bytes);
            free(request->body);
        }
        request->body = body;
        task->body_room = room;
    }
    memcpy(request->body + request->body_bytes, bytes, count);
    request->body_bytes += count;
    request->body[request->body_bytes] = 0;
    return true;
}

static enum MHD_Result request_begin(struct http *http, struct MHD_Connection *connection,
                                     const char *path, const char *method, const char *version,
                                     void **context)
{
    struct task *task = calloc(1, sizeof(*task));
    if (task == NULL)
        return MHD_NO;
    unsigned int status = 0;
    task->http = http;
    task->connection = connection;
    task->peer = http_peer_of(connection);
    *context = task;
    request_fill(task, path);
    task->request.route = route_find(http, method, path, &status);
    http_peer_deadline(task->peer, http->config.body_s);
    if (!http_framing_sound(connection, version)) {
        task->closes = true;
        task->request.route = NULL;
        return answer_missing(task, MHD_HTTP_BAD_REQUEST);
    }
    if (task->request.route == NULL)
        return answer_missing(task, status);
    if (http->config.client_ca_pem != NULL && !http_peer_fingerprint(&task->request, connection))
        return answer_missing(task, MHD_HTTP_FORBIDDEN);
    const char *length = header_get(connection, MHD_HEADER_KIND, "Content-Length");
    if (upload_begin(task, length))
        return MHD_YES;
    if (length[0] != '\0' &&
        (strlen(length) > 18 || strtoull(length, NULL, 10) > task->request.route->body_bytes_max))
        return answer_missing(task, MHD_HTTP_CONTENT_TOO_LARGE);
    return MHD_YES;
}

static enum MHD_Result request_dispatch(struct task *task)
{
    struct http *http = task->http;
    struct http_request *request = &task->request;
    struct work *lane = NULL;
    switch (request->route->lane) {
    case HTTP_INLINE:
        request->route->handle(http->config.service, request);
        return response_queue(task);
    case HTTP_FAST: lane = http->config.fast; break;
    case HTTP_SLOW: lane = http->config.slow; break;
    }
    task->pushed = true;
    http_peer_deadline(task->peer, 0);
    atomic_fetch_add_explicit(&http->busy_count, 1, memory_order_relaxed);
    MHD_suspend_connection(task->connection); /* before the push: the resume must come after */
    if (!work_push(lane, task)) {
        request->status = MHD_HTTP_SERVICE_UNAVAILABLE;
        http->config.missing(http->config.service, request);
        task->done = true;
        atomic_fetch_sub_explicit(&http->busy_count, 1, memory_order_relaxed);
        MHD_resume_connection(task->connection);
    }
    return MHD_YES;
}

void http_run(void *argument)
{
    struct task *task = argument;
    struct http *http = task->http;
    task->request.route->handle(http->config.service, &task->request);
    task->done = true;
    /* The resume hands the task back to the loop: nothing of it may be touched afterwards. */
    MHD_resume_connection(task->connection);
    atomic_fetch_sub_explicit(&http->busy_count, 1, memory_order_relaxed);
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *upload, size_t *upload_bytes, void **request_context)
{
    if (*request_context == NULL)
        return request_begin(context, connection, path, method, version, request_context);
    struct task *task = *request_context;
    if (*upload_bytes > 0) {
        /* An oversized body without a length is cut: an answer would wait for its end. */
        if (task->request.route == NULL)
            return MHD_NO;
        if (is_upload(task) ? !upload_append(task, upload, *upload_bytes)
                            : !body_append(task, upload, *upload_bytes))
            return MHD_NO;
        *upload_bytes = 0;
        return MHD_YES;
    }
    if (task->done)
        return response_queue(task);
    return task->pushed ? MHD_YES : request_dispatch(task);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **request_context,
                         enum MHD_RequestTerminationCode code)
{
    struct task *task = *request_context;
    const struct http *http = context;
    (void)connection;
    (void)code;
    if (task == NULL)
        return;
    http_peer_deadline(task->peer, http->config.idle_s);
    body_free(&task->request);
    if (task->request.charged_bytes != 0)
        http->config.uncharge(http->config.service, &task->request);
    if (!task->request.answer_constant)
        answer_free(task->request.answer);
    free(task);
    *request_context = NULL;
}

static void on_library_log(void *context, const char *format, va_list args)
{
    char text[256];
    (void)context;
    (void)vsnprintf(text, sizeof(text), format, args);
    text[strcspn(text, "\n")] = '\0';
    log_line(LOG_LEVEL_DEBUG, "http", "text=\"%s\"", text);
}

static struct MHD_Daemon *daemon_start(struct http *http)
{
    const struct http_config *config = &http->config;
    struct MHD_OptionItem options[] = {
        {MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)on_library_log, NULL},
        {MHD_OPTION_LISTEN_SOCKET, config->listen_fd, NULL},
        {MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)config->certificate_pem},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)config->private_key_pem},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)HTTP_PRIORITIES},
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)http_peers_notify, http->peers},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, http},
        {MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, (intptr_t)config->connections_max, NULL},
        {MHD_OPTION_PER_IP_CONNECTION_LIMIT, (intptr_t)config->connections_per_address_max, NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, (intptr_t)config->idle_s, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, 2 * HTTP_HEAD_BYTES_MAX, NULL},
        {MHD_OPTION_THREAD_POOL_SIZE, (intptr_t)config->threads_count, NULL},
        {config->client_ca_pem == NULL ? MHD_OPTION_END : MHD_OPTION_HTTPS_MEM_TRUST, 0,
         (void *)(uintptr_t)config->client_ca_pem},
        {MHD_OPTION_END, 0, NULL},
    };
    return MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_TLS | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG,
        0, NULL, NULL, on_request, http, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
}

int http_open(struct http **http, const struct http_config *config, char why[HTTP_WHY_BYTES])
{
    ASSERT(config->threads_count > 1);
    ASSERT(config->head_s > 0 && config->body_s > 0 && config->idle_s > 0);
    struct http *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->config = *config;
    made->listen_fd = config->listen_fd;
    const int rc = http_peers_open(&made->peers, config->head_s, config->client_ca_pem != NULL);
    if (rc != 0) {
        free(made);
        return rc;
    }
    made->daemon = daemon_start(made);
    if (made->daemon == NULL) {
        (void)snprintf(why, HTTP_WHY_BYTES,
                       "the listener cannot start: are certificate and key a pair?");
        http_close(made);
        return -EIO;
    }
    *http = made;
    return 0;
}

void http_quiesce(struct http *http)
{
    (void)MHD_quiesce_daemon(http->daemon);
}

uint32_t http_busy_count(const struct http *http)
{
    return atomic_load_explicit(&http->busy_count, memory_order_relaxed);
}

void http_close(struct http *http)
{
    if (http == NULL)
        return;
    if (http->daemon != NULL)
        MHD_stop_daemon(http->daemon);
    http_peers_close(http->peers);
    (void)close(http->listen_fd);
    free(http);
}
