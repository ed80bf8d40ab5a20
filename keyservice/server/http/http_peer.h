/*
 * http_peer: who is connected: by what address and certificate, and until when.
 * Ownership: http_peers_open() starts a thread that cuts connections; http_peers_close(), after the
 *            library's last call, ends it.
 * Threads:   the event loops call; the cutter is a thread of its own.
 * Units:     seconds.
 * Errors:    http_peers_open(): -errno. What is not known of a peer is left empty.
 *
 * The library's own time-out counts from a connection's last byte: who sends one a minute would
 * stay for ever. docs/keyservice/service.md.
 */
#ifndef KEYSERVICE_SERVER_HTTP_HTTP_PEER_H
#define KEYSERVICE_SERVER_HTTP_HTTP_PEER_H

#include "base/macros.h"
#include "keyservice/server/http/http.h"

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>

struct http_peers;
struct http_peer;

/* A new connection has `head_s` for its handshake and first head; `certified`: with a client's
 * certificate of our own authority, or none. */
MUST_USE int http_peers_open(struct http_peers **peers, uint32_t head_s, bool certified);
void http_peers_close(struct http_peers *peers); /* NULL is harmless */

/* MHD_OPTION_NOTIFY_CONNECTION's, with the peers as its context. */
void http_peers_notify(void *peers, struct MHD_Connection *connection, void **socket_context,
                       enum MHD_ConnectionNotificationCode code);

/* NULL where there was no memory for it. */
struct http_peer *http_peer_of(struct MHD_Connection *connection);
/* From now; 0: none. NULL is harmless. */
void http_peer_deadline(struct http_peer *peer, uint32_t seconds);

/* Address and network. */
void http_peer_network(struct http_request *request, struct MHD_Connection *connection);
/* The digest of the certificate that the handshake has verified; false: there is none. */
bool http_peer_fingerprint(struct http_request *request, struct MHD_Connection *connection);

#endif
