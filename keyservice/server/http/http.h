/*
 * http: one TLS listener: connections, limits and deadlines; requests in, answers out.
 * Ownership: http_open() takes the listening socket and starts threads; http_close() drains and
 *            joins. A request is the server's; its answer body is malloc'ed and handed over.
 * Threads:   handlers run on the event loop (inline) or on a lane's threads, one per request.
 * Units:     bytes; nanoseconds of monotonic time; seconds in the names of limits.
 * Errors:    -errno with a sentence in `why`.
 *
 * libmicrohttpd with GnuTLS, TLS 1.2 or later. A connection has head_s for a request's head, body_s
 * for its body and idle_s between requests, by the clock and not since its last byte, so that
 * nobody holds one by trickling.
 */
#ifndef KEYSERVICE_SERVER_HTTP_HTTP_H
#define KEYSERVICE_SERVER_HTTP_HTTP_H

#include "base/macros.h"
#include "keyservice/server/http/work.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_WHY_BYTES          256
#define HTTP_HEAD_BYTES_MAX     (16 * 1024)
#define HTTP_EXTRA_HEADERS_MAX  8
#define HTTP_FINGERPRINT_BYTES  32
#define HTTP_CLIENT_CHARS       48
#define HTTP_NETWORK_BYTES      9 /* family, then /24 of IPv4 or /56 of IPv6 */
#define HTTP_HEADER_VALUE_BYTES 512

struct http_request;
typedef void http_handle(void *service, struct http_request *request);

enum http_lane {
    HTTP_INLINE, /* answers from memory           */
    HTTP_FAST,   /* asks the database             */
    HTTP_SLOW,   /* hashes passwords              */
};

/*
 * Bodies of routes that take HTTP_UPLOAD_BYTES or more are uploads, where the listener has a
 * `charge`: each byte is charged before it is kept, they need a length, and have HTTP_UPLOAD_TIMES
 * body_s. One that is refused is read to its end and thrown away, so that the browser hears the
 * answer, and then the route is called with `refused`.
 */
#define HTTP_UPLOAD_BYTES (UINT32_C(1) << 20)
#define HTTP_UPLOAD_TIMES 5

/* May `bytes` more be held for this request? It is charged_bytes that are given back at its end. */
typedef bool http_charge(void *service, struct http_request *request, size_t bytes);
typedef void http_uncharge(void *service, struct http_request *request);

/*
 * A route ends the search when method and path fit; "path" ending in '/' fits what it begins. GET
 * fits HEAD too, unless a route for HEAD stands before it.
 */
struct http_route {
    const char *method;
    const char *path;
    enum http_lane lane;
    bool any_origin; /* Access-Control-Allow-Origin: * */
    uint32_t body_bytes_max;
    http_handle *handle;
};

struct http_header {
    const char *name; /* constant */
    char value[HTTP_HEADER_VALUE_BYTES];
};

struct http_request {
    /* What came; strings live as long as the request. "" or NULL: absent. */
    const struct http_route *route;
    const char *path;
    const char *cookie;
    const char *device;
    const char *csrf;
    const char *origin;
    const char *host;
    const char *fetch_site;
    const char *content_type;
    const char *language;        /* Accept-Language */
    const char *chosen_language; /* our cookie */
    const char *agent;           /* User-Agent */
    const char *batch;           /* X-Bulla-Batch */
    const char *authorization;
    char client[HTTP_CLIENT_CHARS];
    uint8_t network[HTTP_NETWORK_BYTES];
    uint8_t fingerprint[HTTP_FINGERPRINT_BYTES]; /* engine listener */
    uint8_t *body;                               /* body_bytes and a NUL */
    size_t body_bytes;
    size_t charged_bytes;
    uint32_t charged_group; /* to whom, when charged_bytes is not 0 */
    unsigned int refused;   /* 0, or the status that says why an upload was not kept */

    /* The answer; wiped when it has been sent. */
    unsigned int status;
    const char *answer_type;
    const char *policy;  /* Content-Security-Policy */
    const char *caching; /* Cache-Control */
    bool own_referrer; /* Referrer-Policy: same-origin, or a page's forms would say Origin: null */
    bool keep_opener;  /* Cross-Origin-Opener-Policy: unsafe-none */
    bool answer_constant;
    void *answer;
    size_t answer_bytes;
    uint32_t headers_count;
    struct http_header headers[HTTP_EXTRA_HEADERS_MAX];
};

/* A parameter behind the path's "?", decoded; "" where there is none. Lives as the request does. */
const char *http_query(const struct http_request *request, const char *name);

/* Sets the answer; `body` is malloc'ed, or constant for the server's life. */
void http_answer(struct http_request *request, unsigned int status, const char *type, void *body,
                 size_t bytes);
void http_answer_constant(struct http_request *request, unsigned int status, const char *type,
                          const void *body, size_t bytes);
void http_answer_header(struct http_request *request, const char *name, const char *format, ...)
    PRINTF_LIKE(3, 4);

struct http_config {
    int listen_fd; /* bound and listening; taken */
    const char *certificate_pem;
    const char *private_key_pem;
    const char *client_ca_pem; /* NULL: no client certificate is asked for; else it is required */
    const struct http_route *routes;
    uint32_t routes_count;
    http_handle *missing;    /* no route: 404, 405, 413, 400 and 503, by request->status */
    http_charge *charge;     /* NULL: nothing is an upload */
    http_uncharge *uncharge; /* with `charge` */
    void *service;
    struct work *fast;
    struct work *slow;
    uint32_t connections_max;
    uint32_t connections_per_address_max;
    uint32_t head_s; /* for a request's head */
    uint32_t body_s; /* for its body, and for taking the answer */
    uint32_t idle_s; /* between requests */
    uint32_t threads_count;
    bool strict_transport; /* Strict-Transport-Security; never for localhost */
};

struct http;

MUST_USE int http_open(struct http **http, const struct http_config *config,
                       char why[HTTP_WHY_BYTES]);
/* Stops taking connections; requests that have begun go on. */
void http_quiesce(struct http *http);
/* Requests that are being worked on. */
uint32_t http_busy_count(const struct http *http);
/* After the lanes have been closed. */
void http_close(struct http *http); /* NULL is harmless */

/* Runs one queued request: the lanes' work_run. */
void http_run(void *task);

#endif
