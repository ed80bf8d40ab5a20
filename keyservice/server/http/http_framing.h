/*
 * http_framing: is it certain where this request ends, and whom it asks?
 * Ownership: borrows the connection for the call.
 * Threads:   the event loop's.
 * Units:     none.
 * Errors:    false: the request must be refused and its connection closed.
 *
 * RFC 9112, 6.1, 6.3 and 11.2 (request smuggling): what a proxy in front of the service may read in
 * another way than libmicrohttpd does is not read at all.
 */
#ifndef KEYSERVICE_SERVER_HTTP_HTTP_FRAMING_H
#define KEYSERVICE_SERVER_HTTP_HTTP_FRAMING_H

#include <microhttpd.h>
#include <stdbool.h>

bool http_framing_sound(struct MHD_Connection *connection, const char *version);

#endif
