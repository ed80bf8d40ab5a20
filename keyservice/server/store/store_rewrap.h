/*
 * store_rewrap: brings what master keys wrap under the newest one, a few rows at a time.
 * Ownership: as store.h.
 * Threads:   any; of one database one at a time does work (the lease `tend`).
 * Units:     rows; unix milliseconds.
 * Errors:    as store.h. A row that does not open under its own master key is logged and stays.
 *
 * Each step is one write: its rows and how far it came are kept together or not at all, so it goes
 * on after whatever ends it. docs/keyservice/master-key.md.
 */
#ifndef KEYSERVICE_SERVER_STORE_STORE_REWRAP_H
#define KEYSERVICE_SERVER_STORE_STORE_REWRAP_H

#include "base/macros.h"
#include "keyservice/server/store/store.h"

#include <stdbool.h>
#include <stdint.h>

#define STORE_REWRAP_ROWS 256 /* of one step */

struct store_rewrap {
    uint32_t version;       /* the one that rows are brought under; 0: never begun */
    bool done;              /* no row before it is under an older one              */
    uint64_t rows_count;    /* brought under it so far                             */
    uint64_t until_unix_ms; /* envelopes up to this time have been looked at       */
};

/* One step; *more: it is not the last. Nothing when it is done for the newest version. */
MUST_USE int store_rewrap_some(struct store *store, bool *more);
/* How far it is; written down by whoever does it. */
MUST_USE int store_rewrap_look(struct store *store, struct store_rewrap *rewrap);
/* From the first row again, the first step now: after a service with an older file wrote meanwhile.
 */
MUST_USE int store_rewrap_again(struct store *store);

#endif
