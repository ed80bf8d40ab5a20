/*
 * store_wrapped: all that master keys wrap, in pages: keys of envelopes and secrets of code apps.
 * Ownership: the caller's rows.
 * Threads:   as the connection that is read.
 * Units:     rows.
 * Errors:    -EIO where the database or a row cannot be read.
 *
 * Every table with a column `key_version` is here: what is not would be lost with a retired key.
 */
#ifndef KEYSERVICE_SERVER_STORE_STORE_WRAPPED_H
#define KEYSERVICE_SERVER_STORE_STORE_WRAPPED_H

#include "base/macros.h"
#include "keyservice/server/store/store_sql.h"

#include <stdint.h>

#define WRAPPED_ROWS 256 /* of a page */

enum wrapped_table {
    WRAPPED_FACTORS,
    WRAPPED_ENVELOPES,
};
#define WRAPPED_TABLES_COUNT 2

struct wrapped_row {
    int64_t number;              /* of a factor: its account's */
    uint8_t id[RECORD_ID_BYTES]; /* of an envelope; of a factor what its secret is bound to */
    uint8_t wrapped[MASTER_WRAPPED_BYTES_MAX];
    uint32_t wrapped_bytes;
    uint32_t version;
};

/* Where to go on; zeros: before the first row of either. */
struct wrapped_after {
    int64_t factor_number;
    uint8_t envelope_id[RECORD_ID_BYTES];
};

struct wrapped_page {
    struct wrapped_row rows[WRAPPED_ROWS];
    uint32_t rows_count; /* fewer than there is room for: the table's end */
};

/* The rows behind `after`, which moves on to the last of them. */
MUST_USE int wrapped_read(struct sql *sql, enum wrapped_table table, struct wrapped_after *after,
                          struct wrapped_page *page);
/* The row's key comes under `version`, unless it was changed since it was read. */
MUST_USE int wrapped_write(struct sql *sql, enum wrapped_table table, const struct wrapped_row *row,
                           uint32_t version, const uint8_t *wrapped, uint32_t wrapped_bytes);

#endif
