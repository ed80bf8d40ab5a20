/*
 * store_shared: what services that run on one database at the same time have in common.
 * Ownership: texts and digests are copied in and out.
 * Threads:   any, of any process: each call is one short statement with its own commit, which locks
 *            one row, so no two can wait for each other.
 * Units:     nanoseconds of time that passes, by the database's own clock, which is the one that
 *            all services see.
 * Errors:    -EIO the database failed, -ENOENT not there; fail closed.
 *
 * Of a store that store_shares() alone. What is kept here lasts for minutes at most, may be lost
 * when the database's server crashes, and is bounded by store_shared_prune(), which one service at
 * a time runs: docs/keyservice/nodes.md.
 */
#ifndef KEYSERVICE_SERVER_STORE_STORE_SHARED_H
#define KEYSERVICE_SERVER_STORE_STORE_SHARED_H

#include "base/macros.h"
#include "keyservice/server/store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_SHARED_KEY_BYTES    17 /* of an allowance: kind and keyed digest */
#define STORE_SHARED_OWNER_BYTES  16
#define STORE_SHARED_HOLDER_BYTES 16
#define STORE_SHARED_GUESSES_MAX  UINT64_C(1000000) /* after a prune: keys that are not full */
#define STORE_SHARED_KNOWN_MAX    UINT64_C(262144)
#define STORE_SHARED_PICKUPS_MAX  UINT64_C(32768)
#define STORE_SHARED_PICKUP_SHARE 128 /* one owner's */
#define STORE_SHARED_PRUNE_ROWS   20000
#define STORE_SHARED_PRUNES_MAX   100

#define STORE_GUESS_AWAY UINT64_MAX
/* 0: the try is allowed, and taken. Else the wait, STORE_GUESS_AWAY where the database failed.
 * `span_ns` is that of the whole burst. */
uint64_t store_guess_take(struct store *store, const uint8_t key[STORE_SHARED_KEY_BYTES],
                          uint64_t refill_ns, uint64_t span_ns);
void store_guess_give(struct store *store, const uint8_t key[STORE_SHARED_KEY_BYTES],
                      uint64_t refill_ns);
void store_known_add(struct store *store, const uint8_t key[STORE_SHARED_KEY_BYTES]);
bool store_known(struct store *store, const uint8_t key[STORE_SHARED_KEY_BYTES]);

/* An earlier one of that name goes, as does the owner's oldest over its share. */
MUST_USE int store_pickup_park(struct store *store, const uint8_t owner[STORE_SHARED_OWNER_BYTES],
                               const uint8_t *name, size_t name_bytes, const char *text,
                               uint64_t life_ns);
/* Once: it is gone when 0 is returned. */
MUST_USE int store_pickup_take(struct store *store, const uint8_t *name, size_t name_bytes,
                               char *text, size_t room);

/* Whether `holder` has the lease now: taken when free, kept when its own. */
bool store_lease_take(struct store *store, const char *name,
                      const uint8_t holder[STORE_SHARED_HOLDER_BYTES], uint64_t life_ns);

/* What is out of time goes, and what is over a bound, the least missed first. */
MUST_USE int store_shared_prune(struct store *store);

#endif
