/*
 * store_report: how much was sealed, opened and refused, by day, profile, domain and user.
 * Ownership: borrows; rows that are visited live as long as the visit.
 * Threads:   any; store_report_apply() inside a write.
 * Units:     days since 1970 in UTC; users by month, which a report names by its first day.
 * Errors:    as store.h.
 *
 * Counts are added up as they come: a row for each day, profile, sender's domain and kind, and one
 * for each month, sender and kind. docs/keyservice/sent.md.
 */
#ifndef KEYSERVICE_SERVER_STORE_STORE_REPORT_H
#define KEYSERVICE_SERVER_STORE_STORE_REPORT_H

#include "base/macros.h"
#include "keyservice/server/store/store.h"

#include <stddef.h>
#include <stdint.h>

#define STORE_REPORT_KINDS_COUNT 5
#define STORE_REPORT_ROWS_MAX    100000
#define STORE_REPORT_KEEP_DAYS   400

enum store_report_kind {
    REPORT_SEALED,  /* messages                                     */
    REPORT_OPENED,  /* messages that a first recipient has opened   */
    REPORT_EXPIRED, /* openings refused: the time was over          */
    REPORT_LOCKED,  /* openings refused: the sender had locked them */
    REPORT_FAILED,  /* openings refused for another reason          */
};

enum store_report_by {
    REPORT_BY_DAY,
    REPORT_BY_POLICY,
    REPORT_BY_DOMAIN,
    REPORT_BY_USER, /* whole months */
};

/* Neither text holds a NUL. */
struct store_report_event {
    uint32_t day;
    uint64_t count;
    const uint8_t *profile;
    const uint8_t *sender; /* normalised */
    uint16_t profile_bytes;
    uint16_t sender_bytes;
};

struct store_writer;
MUST_USE int store_report_apply(struct store_writer *writer, enum store_report_kind kind,
                                const struct store_report_event *events, uint32_t events_count);
/* One of them now. */
MUST_USE int store_report_count(struct store *store, enum store_report_kind kind,
                                const struct store_envelope *envelope, uint64_t now_unix_ms);

struct store_report_row {
    uint32_t day; /* REPORT_BY_DAY */
    char name[STORE_ADDRESS_BYTES];
    uint64_t counts[STORE_REPORT_KINDS_COUNT];
};
typedef void store_report_visit(void *context, const struct store_report_row *row);
MUST_USE int store_report_list(struct store *store, enum store_report_by by, uint32_t day_first,
                               uint32_t day_last, store_report_visit *visit, void *context);

/* Drops what is older than STORE_REPORT_KEEP_DAYS. */
MUST_USE int store_report_prune(struct store *store, uint64_t now_unix_ms);

/* The first day of its month. */
uint32_t store_report_month(uint32_t day);

#endif
