/*
 * refusals: which recipients of an emission the next hop refused, and what it said of each.
 * Ownership: refusals_add() copies; a struct refusals borrows what it was read from, which must be
 *            private memory.
 * Threads:   any.
 * Units:     recipients by their place in the emission, from 0; bytes, without NULs.
 * Errors:    refusals_read() gives -EBADMSG; nothing in it is to be trusted. Adding cannot fail:
 *            each recipient keeps its status, and its text as far as there is room.
 *
 * docs/format/shared-memory.md, "Refusals".
 */
#ifndef IPC_REFUSALS_H
#define IPC_REFUSALS_H

#include "base/macros.h"
#include "ipc/layout.h"

#include <stddef.h>
#include <stdint.h>

struct refusals_reply {
    uint8_t enhanced[3]; /* class 5, or zeros: none was given */
    uint8_t text_bytes;
    const char *text; /* of a struct refusals; may hold anything */
};

struct refusals {
    uint16_t recipients_count;
    uint8_t replies_count;
    const uint8_t *which; /* of each recipient: 0 it was taken; else its reply, from 1 */
    struct refusals_reply replies[IPC_REPLIES_MAX];
};

/* What refusals_write() will write. */
struct refusals_draft {
    uint16_t recipients_count;
    uint8_t replies_count;
    struct refusals_reply replies[IPC_REPLIES_MAX];
    char texts[IPC_REPLIES_MAX][IPC_REPLY_BYTES_MAX];
    uint8_t which[IPC_RECIPIENTS_MAX];
};

/* Of so many recipients none is refused yet; 1 to IPC_RECIPIENTS_MAX. */
void refusals_begin(struct refusals_draft *draft, uint32_t recipients_count);
/* `text` is cut at IPC_REPLY_BYTES_MAX, and made printable ASCII. */
void refusals_add(struct refusals_draft *draft, uint32_t recipient, const uint8_t enhanced[3],
                  const char *text);
/* At most IPC_REFUSALS_BYTES_MAX; returns how many. One at least was added. */
uint32_t refusals_write(const struct refusals_draft *draft, uint8_t *dst);

/* At least one recipient is refused, and each of those has a reply that is there. */
MUST_USE int refusals_read(struct refusals *refusals, const uint8_t *bytes_at, size_t bytes);

#endif
