#include "keyservice/server/http/http_peer.h"

#include "base/assert.h"
#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define NO_DEADLINE UINT64_MAX

/* One connection, known to the thread that cuts those past their deadline. */
struct http_peer {
    struct http_peer *next;
    struct http_peer *previous;
    int fd;
    _Atomic uint64_t deadline_ns; /* written by the loop, read by the cutter: a hint, no order */
};

struct http_peers {
    uint32_t head_s;
    bool certified;
    pthread_mutex_t mutex; /* of the list: a descriptor on it is open */
    pthread_cond_t stopping;
    pthread_t cutter;
    bool stop;
    struct http_peer *list;
};

void http_peer_deadline(struct http_peer *peer, uint32_t seconds)
{
    if (peer != NULL)
        atomic_store_explicit(&peer->deadline_ns,
                              seconds == 0 ? NO_DEADLINE
                                           : clock_monotonic_ns() + seconds * NS_PER_S,
                              memory_order_relaxed);
}

static void *cutter_run(void *argument)
{
    struct http_peers *peers = argument;
    (void)pthread_mutex_lock(&peers->mutex);
    while (!peers->stop) {
        struct timespec until;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec++;
        (void)pthread_cond_timedwait(&peers->stopping, &peers->mutex, &until);
        const uint64_t now_ns = clock_monotonic_ns();
        for (struct http_peer *peer = peers->list; peer != NULL; peer = peer->next)
            if (atomic_load_explicit(&peer->deadline_ns, memory_order_relaxed) < now_ns)
                (void)shutdown(peer->fd, SHUT_RDWR);
    }
    (void)pthread_mutex_unlock(&peers->mutex);
    return NULL;
}

int http_peers_open(struct http_peers **peers, uint32_t head_s, bool certified)
{
    struct http_peers *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->head_s = head_s;
    made->certified = certified;
    (void)pthread_mutex_init(&made->mutex, NULL);
    (void)pthread_cond_init(&made->stopping, NULL);
    const int rc = -pthread_create(&made->cutter, NULL, cutter_run, made);
    if (rc != 0) {
        (void)pthread_cond_destroy(&made->stopping);
        (void)pthread_mutex_destroy(&made->mutex);
        free(made);
        return rc;
    }
    *peers = made;
    return 0;
}

void http_peers_close(struct http_peers *peers)
{
    if (peers == NULL)
        return;
    (void)pthread_mutex_lock(&peers->mutex);
    peers->stop = true;
    (void)pthread_cond_signal(&peers->stopping);
    (void)pthread_mutex_unlock(&peers->mutex);
    (void)pthread_join(peers->cutter, NULL);
    (void)pthread_cond_destroy(&peers->stopping);
    (void)pthread_mutex_destroy(&peers->mutex);
    free(peers);
}

/* Makes the handshake itself demand a client certificate of our own authority for this use. */
static void client_certificate_demand(struct MHD_Connection *connection)
{
    static gnutls_typed_vdata_st purpose = {
        .type = GNUTLS_DT_KEY_PURPOSE_OID,
        .data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT,
        .size = 0,
    };
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    ASSERT(info != NULL);
    gnutls_session_t session = info->tls_session;
    gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
    gnutls_session_set_verify_cert2(session, &purpose, 1, 0);
}

static void connection_started(struct http_peers *peers, struct MHD_Connection *connection,
                               void **context)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct http_peer *peer = calloc(1, sizeof(*peer));
    if (peers->certified)
        client_certificate_demand(connection);
    if (peer == NULL || info == NULL) {
        free(peer);
        return; /* the library's own time-out is left */
    }
    peer->fd = info->connect_fd;
    http_peer_deadline(peer, peers->head_s);
    (void)pthread_mutex_lock(&peers->mutex);
    peer->next = peers->list;
    if (peer->next != NULL)
        peer->next->previous = peer;
    peers->list = peer;
    (void)pthread_mutex_unlock(&peers->mutex);
    *context = peer;
}

/* Called before the descriptor is closed, so the cutter never meets a number used again. */
static void connection_closed(struct http_peers *peers, void **context)
{
    struct http_peer *peer = *context;
    if (peer == NULL)
        return;
    (void)pthread_mutex_lock(&peers->mutex);
    if (peer->previous != NULL)
        peer->previous->next = peer->next;
    else
        peers->list = peer->next;
    if (peer->next != NULL)
        peer->next->previous = peer->previous;
    (void)pthread_mutex_unlock(&peers->mutex);
    free(peer);
    *context = NULL;
}

void http_peers_notify(void *context, struct MHD_Connection *connection, void **socket_context,
                       enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        connection_started(context, connection, socket_context);
    else
        connection_closed(context, socket_context);
}

struct http_peer *http_peer_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info == NULL ? NULL : info->socket_context;
}

static void client_fill_v4(struct http_request *request, const uint8_t address[4])
{
    (void)inet_ntop(AF_INET, address, request->client, sizeof(request->client));
    request->network[0] = 4;
    memcpy(request->network + 1, address, 3);
}

void http_peer_network(struct http_request *request, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (info == NULL || info->client_addr == NULL)
        return;
    if (info->client_addr->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)info->client_addr;
        client_fill_v4(request, (const uint8_t *)&v4->sin_addr);
    } else if (info->client_addr->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)info->client_addr;
        /* A socket on [::] shows IPv4 clients as ::ffff:a.b.c.d: their first seven bytes are all
         * alike, so that all of them would be one network. */
        if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
            client_fill_v4(request, v6->sin6_addr.s6_addr + 12);
            return;
        }
        (void)inet_ntop(AF_INET6, &v6->sin6_addr, request->client, sizeof(request->client));
        request->network[0] = 6;
        memcpy(request->network + 1, &v6->sin6_addr, 7);
    }
}

bool http_peer_fingerprint(struct http_request *request, struct MHD_Connection *connection)
{
    unsigned int certificates_count = 0;
    size_t bytes = sizeof(request->fingerprint);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    if (info == NULL)
        return false;
    const gnutls_datum_t *chain =
        gnutls_certificate_get_peers(info->tls_session, &certificates_count);
    return chain != NULL && certificates_count > 0 &&
           gnutls_fingerprint(GNUTLS_DIG_SHA256, &chain[0], request->fingerprint, &bytes) ==
               GNUTLS_E_SUCCESS &&
           bytes == sizeof(request->fingerprint);
}
