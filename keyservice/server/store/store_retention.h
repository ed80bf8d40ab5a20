/*
 * store_retention: goes through envelopes in the order of their ids, and destroys some.
 * Ownership: a row is borrowed for the visit.
 * Threads:   any, as store.h.
 * Units:     as store.h.
 * Errors:    as store.h.
 */
#ifndef KEYSERVICE_SERVER_STORE_STORE_RETENTION_H
#define KEYSERVICE_SERVER_STORE_STORE_RETENTION_H

#include "keyservice/server/store/store.h"

#define STORE_RETENTION_COMMIT 64

struct store_retention_row {
    uint8_t id[RECORD_ID_BYTES];
    uint64_t sent_unix_ms;
    char profile[RECORD_PROFILE_BYTES_MAX + 1];
    bool damaged; /* only its id could be read */
};

/* False ends the reading. */
typedef bool store_retention_visit(void *context, const struct store_retention_row *row);
/* At most `rows_max` behind `after` whose ids were made before `before_unix_ms`. */
MUST_USE int store_retention_scan(struct store *store, const uint8_t after[RECORD_ID_BYTES],
                                  uint64_t before_unix_ms, uint32_t rows_max,
                                  store_retention_visit *visit, void *context);
/* Some a commit, since SQLite writes zeros over what they held and nothing else is written
 * meanwhile: a failure may leave some of them removed. */
MUST_USE int store_retention_remove(struct store *store, const uint8_t (*ids)[RECORD_ID_BYTES],
                                    uint32_t ids_count);

#endif
