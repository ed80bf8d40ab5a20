/*
 * received: what a mail that came to the service's own address is: whose, and which envelope it
 * has.
 * Ownership: received_write() borrows the mail; received_read() borrows the items, and `sealed`
 *            points into them.
 * Threads:   received_write() in the process that reads mails (reader.h); received_read() any.
 * Units:     bytes.
 * Errors:    received_write(): -EBADMSG: no mail; -ENOENT: no envelope that is whole; -EFBIG: it
 *            does not fit. received_read(): -EBADMSG: not such items; -ENOENT: nobody is to be
 *            answered.
 *
 * docs/keyservice/receive.md. All parsing of the mail and its HTML happens in the confined process;
 * whoever answers reads a handful of fields of known lengths, and believes none of them.
 */
#ifndef KEYSERVICE_SERVER_MAIL_RECEIVED_H
#define KEYSERVICE_SERVER_MAIL_RECEIVED_H

#include "base/macros.h"
#include "envelope/unsealed.h"
#include "keyservice/server/account/account.h"

#include <stddef.h>
#include <stdint.h>

#define RECEIVED_PART       UINT32_MAX /* asks mailview_write() for this */
#define RECEIVED_HOPS_MAX   50         /* Received: fields; more is a loop */
#define RECEIVED_PARTS_MAX  1000       /* of the mail and those within it, all together */
#define RECEIVED_FIELDS_MAX 2000       /* of its header */

struct received {
    char address[ACCOUNT_ADDRESS_BYTES]; /* of From, normalised */
    struct id id;
    uint32_t suite;
    const uint8_t *sealed; /* salt, commitment, chunks */
    size_t sealed_bytes;
};

MUST_USE int received_write(uint8_t *dst, size_t room, size_t *written, const uint8_t *mail,
                            size_t mail_bytes);
MUST_USE int received_read(struct received *received, const uint8_t *items, size_t items_bytes);

#endif
