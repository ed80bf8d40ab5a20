/*
 * store_parked: sealed messages that wait in a shared database to be opened at any of its services.
 * Ownership: bytes are copied in; store_parked_take() allocates what its caller frees.
 * Threads:   any, of any process: statements as store_shared.h has them.
 * Units:     bytes; nanoseconds that pass, by the database's clock.
 * Errors:    -ENOENT not there, out of time or taken by another; -EIO the database failed, -ENOMEM.
 *
 * Ciphertext alone, in parts, in tables that are not logged; found by a digest of the handle, so
 * that a reader of the database cannot ask for it. Of a store that store_shares() alone.
 */
#ifndef KEYSERVICE_SERVER_STORE_STORE_PARKED_H
#define KEYSERVICE_SERVER_STORE_STORE_PARKED_H

#include "base/clock.h"
#include "base/macros.h"
#include "keyservice/record.h"
#include "keyservice/server/store/store_shared.h"

#include <stddef.h>
#include <stdint.h>

#define STORE_PARKED_NAME_BYTES    32
#define STORE_PARKED_BROWSER_BYTES 32
#define STORE_PARKED_PART_BYTES    (1024 * 1024)
#define STORE_PARKED_TAKEN_NS      (120 * NS_PER_S) /* whoever took it and is gone has lost it then */

struct store_parked {
    uint8_t name[STORE_PARKED_NAME_BYTES];
    uint8_t owner[STORE_SHARED_OWNER_BYTES];
    uint8_t id[RECORD_ID_BYTES];
    uint32_t suite;
    uint64_t sealed_bytes;
};

/* What may wait: of one owner, and of all. What is over it goes, an owner's earliest first, and of
 * all that of whoever holds the most. */
struct store_parked_bounds {
    uint64_t owner_bytes;
    uint64_t owner_count;
    uint64_t bytes;
    uint64_t count;
};

MUST_USE int store_parked_put(struct store *store, const struct store_parked *parked,
                              const uint8_t *sealed, uint64_t life_ns,
                              const struct store_parked_bounds *bounds);
MUST_USE int store_parked_look(struct store *store, const uint8_t name[STORE_PARKED_NAME_BYTES],
                               uint8_t id[RECORD_ID_BYTES]);
/* For one at a time; `parked` is filled but for its name, which is the caller's. `browser`: whose
 * it is since it was opened, or NULL for one that was not. */
MUST_USE int store_parked_take(struct store *store, struct store_parked *parked,
                               const uint8_t *browser);
/* The bytes of one that was taken. */
MUST_USE int store_parked_read(struct store *store, const struct store_parked *parked,
                               uint8_t *sealed);
/* It waits again: as before, or from now on for `browser` alone. */
void store_parked_give(struct store *store, const uint8_t name[STORE_PARKED_NAME_BYTES],
                       const uint8_t *browser);
void store_parked_end(struct store *store, const uint8_t name[STORE_PARKED_NAME_BYTES]);
MUST_USE int store_parked_prune(struct store *store);

#endif
