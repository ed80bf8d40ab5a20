/*
 * online: sealed messages that were posted to be opened here, waiting in memory for their reader.
 * Ownership: online_park() takes the ciphertext; who takes a message gives it back or ends it.
 * Threads:   any; one lock for the table, one for the work on a message.
 * Units:     bytes; nanoseconds of monotonic time, passed in; ONLINE_LIFE_NS from parking.
 * Errors:    online_charge() gives false when there is no room, the others -errno.
 *
 * Nothing here is ever decrypted, or written anywhere but, as ciphertext, into the tables of a
 * database that several services share (online_share(), docs/keyservice/nodes.md). All that
 * uploads, waiting messages and answers hold is charged to whoever sent it, a network: who holds
 * more than a share gives up the earliest of what waits there, and when all is used, whoever holds
 * the most does. What is still arriving is never dropped, so there may be no room at all; then the
 * answer is "try again".
 */
#ifndef KEYSERVICE_SERVER_ONLINE_H
#define KEYSERVICE_SERVER_ONLINE_H

#include "base/clock.h"
#include "base/macros.h"
#include "envelope/unsealed.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ONLINE_LIFE_NS        (10 * 60 * NS_PER_S)
#define ONLINE_COUNT          256
#define ONLINE_SHARE          16 /* messages that one owner has waiting */
#define ONLINE_BYTES_MAX      (UINT64_C(512) << 20)
#define ONLINE_SHARE_BYTES    (UINT64_C(192) << 20)
#define ONLINE_BODY_BYTES_MAX (UINT32_C(64) << 20) /* of the form: sealed mail of 47 MiB */
#define ONLINE_MAIL_BYTES_MAX (UINT32_C(96) << 20) /* that it may unpack to */
#define ONLINE_HANDLE_BYTES   32
#define ONLINE_HANDLE_CHARS   43 /* base64url */
#define ONLINE_BROWSER_BYTES  32

struct online;

/* One waiting message, while somebody works on it. */
struct online_message {
    struct unsealed unsealed;
    uint64_t until_ns;
    uint32_t group;
    uint8_t handle[ONLINE_HANDLE_BYTES];
    /* Once shown, whose browser may still fetch its files: a digest of its cookie. */
    bool opened;
    uint8_t opened_by[ONLINE_BROWSER_BYTES];
};

#define ONLINE_SECRET_BYTES 32

struct store;

MUST_USE int online_open(struct online **online);
/* Where several services share the store's database, messages wait there from now on, so that any
 * of them opens them; `secret` is the same for all. Else nothing changes. */
void online_share(struct online *online, struct store *store,
                  const uint8_t secret[ONLINE_SECRET_BYTES]);
void online_close(struct online *online); /* NULL is harmless */

/* Whom something is charged to: `owner` is any bytes, a network. -ENOMEM. In a database what waits
 * is charged to the group too, and not to this process's memory. */
MUST_USE int online_group(const struct online *online, const void *owner, size_t owner_bytes,
                          uint32_t *group);
bool online_charge(struct online *online, uint32_t group, size_t bytes, uint64_t now_ns);
void online_uncharge(struct online *online, uint32_t group, size_t bytes);

/* Makes a handle and keeps the message under it. On success it is the table's; -EIO, -EAGAIN. */
MUST_USE int online_park(struct online *online, uint32_t group, const struct unsealed *unsealed,
                         uint64_t now_ns, char handle[ONLINE_HANDLE_CHARS + 1]);
/* The id of the message that waits there to be opened; -ENOENT, or -EIO where the database
 * failed. */
MUST_USE int online_look(struct online *online, const char *handle, uint64_t now_ns, struct id *id);
/* Takes it out, for one at a time: to be opened, or for `browser`, which opened it, its files.
 * -EAGAIN: there is no room for it here now. */
MUST_USE int online_take(struct online *online, const char *handle, const uint8_t *browser,
                         uint64_t now_ns, struct online_message *message);
/* It was shown to `browser`, which may fetch its files for as long as it waits. */
void online_opened(struct online *online, struct online_message *message,
                   const uint8_t browser[ONLINE_BROWSER_BYTES]);
void online_give(struct online *online,
                 struct online_message *message);                       /* waits again, as before */
void online_end(struct online *online, struct online_message *message); /* is gone */

/* Drops what is out of time. */
void online_prune(struct online *online, uint64_t now_ns);

/* The core is lent to one at a time, so that what reading a message takes is bounded. */
struct crypto_core *online_core_take(struct online *online);
void online_core_give(struct online *online);

#endif
