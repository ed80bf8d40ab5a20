/*
 * addresses: who a message is from and for, when the command line does not say.
 * Ownership: addresses_read() allocates; addresses_fini() frees.
 * Threads:   one.
 * Units:     addresses of at most IPC_ADDRESS_BYTES_MAX bytes; at most IPC_RECIPIENTS_MAX of them.
 * Errors:    -ENOMEM; -E2BIG when there are more recipients than one envelope takes.
 *
 * The sender is the first mailbox of From (of Sender when From has none); the recipients are those
 * of To, Cc and Bcc, repeated fields included, each address once (RFC 5322, 3.6.2 and 3.6.3).
 */
#ifndef TOOLS_BULLA_ADDRESSES_H
#define TOOLS_BULLA_ADDRESSES_H

#include "base/macros.h"

#include <stddef.h>
#include <stdint.h>

struct addresses {
    char *sender; /* NULL when there is none */
    char **recipients;
    uint32_t recipients_count;
};

MUST_USE int addresses_read(struct addresses *addresses, const uint8_t *mail, size_t mail_bytes);
void addresses_fini(struct addresses *addresses);

#endif
