/*
 * store_wrapping: which master keys wrap what is in the database, and which were retired.
 * Ownership: as store.h.
 * Threads:   any; a version is retired while nobody serves the database (store_config.alone).
 * Units:     rows; unix milliseconds.
 * Errors:    as store.h; -ENOKEY, -ENOTEMPTY with the mend in `why`.
 *
 * docs/keyservice/master-key.md.
 */
#ifndef KEYSERVICE_SERVER_STORE_STORE_WRAPPING_H
#define KEYSERVICE_SERVER_STORE_STORE_WRAPPING_H

#include "base/macros.h"
#include "keyservice/server/store/store.h"

#include <stdint.h>

/*
 * Compares the master keys with those that this database was used with before, and notes new ones.
 * -ENOKEY: one of them is missing, is another key, or was retired while this database needs it, as
 * a backup from before does.
 */
MUST_USE int store_wrapping_check(struct store *store, char why[STORE_WHY_BYTES]);

/* Of one version. */
struct store_wrapping {
    uint64_t retired_unix_ms; /* 0: not */
    uint64_t envelopes_count; /* rows that are under it */
    uint64_t factors_count;
    uint64_t damaged_count; /* of both: it does not open them; not looked for under the newest */
};
/* Of each version, by its number; goes through all rows. */
MUST_USE int store_wrapping_list(struct store *store,
                                 struct store_wrapping list[MASTER_VERSIONS_MAX + 1]);
/* Of each version whether it is retired; rows are not counted. */
MUST_USE int store_wrapping_look(struct store *store,
                                 struct store_wrapping list[MASTER_VERSIONS_MAX + 1]);

/* 0 where no row needs the version, else -ENOTEMPTY. With `leave_damaged` those that it does not
 * open count as none. Goes through all rows. */
MUST_USE int store_wrapping_unneeded(struct store *store, uint32_t version, bool leave_damaged,
                                     char why[STORE_WHY_BYTES]);
/* From now on no row may need it: to be asked for what nobody needs, while nobody serves. */
MUST_USE int store_wrapping_retire(struct store *store, uint32_t version, uint64_t now_unix_ms);

#endif
