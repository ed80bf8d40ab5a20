/*
 * api_online: decrypting what was posted to be opened here, for every page that shows it.
 * Ownership: the mail is malloc'ed: the caller wipes and frees it.
 * Threads:   a lane's thread per request; one message is decrypted at a time.
 * Units:     bytes.
 * Errors:    -EKEYREJECTED: another key; -EBADMSG: damaged; -EFBIG: too large; -EIO, -ENOMEM.
 */
#ifndef KEYSERVICE_SERVER_API_API_ONLINE_H
#define KEYSERVICE_SERVER_API_API_ONLINE_H

#include "keyservice/server/api/api_open.h"

/* Unwraps the key and opens the message with it, whole or not at all. */
MUST_USE int api_online_decrypt(const struct service *service, const struct online_message *message,
                                const struct store_envelope *envelope, uint8_t **mail,
                                size_t *mail_bytes);
/* What to tell of such an error. */
enum api_error api_online_error(int rc);

#endif
