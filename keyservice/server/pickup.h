/*
 * pickup: wrapped keys parked for one pickup by the envelope whose public key they are wrapped to.
 * Ownership: pickup_open() allocates a fixed table; texts are copied in and out.
 * Threads:   any; one lock.
 * Units:     nanoseconds of monotonic time, passed in; PICKUP_LIFE_NS from parking.
 * Errors:    pickup_take() gives -ENOENT; -EIO where the database failed. Who holds PICKUP_SHARE
 * places gives up the oldest of them for the next; when all are taken, one of those who hold the
 * most gives one up.
 */
#ifndef KEYSERVICE_SERVER_PICKUP_H
#define KEYSERVICE_SERVER_PICKUP_H

#include "base/clock.h"
#include "base/macros.h"

#include <stddef.h>
#include <stdint.h>

#define PICKUP_LIFE_NS    (60 * NS_PER_S)
#define PICKUP_COUNT      4096
#define PICKUP_SHARE      128 /* one owner's */
#define PICKUP_NAME_BYTES 32
#define PICKUP_TEXT_BYTES 512

struct pickup;

#define PICKUP_SECRET_BYTES 32

struct store;

MUST_USE int pickup_open(struct pickup **pickup);
/* Where several services share the store's database, keys are parked there from now on, so that any
 * of them gives them out; `secret` is the same for all. Else nothing changes. */
void pickup_share(struct pickup *pickup, struct store *store,
                  const uint8_t secret[PICKUP_SECRET_BYTES]);
void pickup_close(struct pickup *pickup); /* NULL is harmless */

/*
 * `text` with its NUL is at most PICKUP_TEXT_BYTES. An earlier one of that name goes. `owner` is
 * any bytes: who asked for it, an account or a network.
 */
MUST_USE int pickup_park(struct pickup *pickup, const void *owner, size_t owner_bytes,
                         const uint8_t name[PICKUP_NAME_BYTES], const char *text, uint64_t now_ns);
MUST_USE int pickup_take(struct pickup *pickup, const uint8_t name[PICKUP_NAME_BYTES],
                         uint64_t now_ns, char text[PICKUP_TEXT_BYTES]);

#endif
