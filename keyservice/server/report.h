/*
 * report: counts by day, policy, domain or user as a table of comma-separated values, or as JSON.
 * Ownership: the texts that are made are malloc'ed and the caller's.
 * Threads:   any.
 * Units:     days since 1970, in UTC; a year's report where no days are given.
 * Errors:    -errno of the store; -ENOMEM.
 *
 * docs/keyservice/sent.md, "Reports". RFC 4180; what a spreadsheet would take for a formula begins
 * with an apostrophe.
 */
#ifndef KEYSERVICE_SERVER_REPORT_H
#define KEYSERVICE_SERVER_REPORT_H

#include "base/macros.h"
#include "keyservice/server/store/store_report.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct report_range {
    enum store_report_by by;
    uint32_t day_first;
    uint32_t day_last;
};

/* Texts "" or NULL: by day, the last year until today. False: not "day", "policy", "domain" or
 * "user", not a day as "2026-11-22", or the last is before the first. */
bool report_range_parse(struct report_range *range, const char *by, const char *from,
                        const char *to, uint64_t now_unix_ms);

MUST_USE int report_csv(struct store *store, const struct report_range *range, char **text,
                        size_t *text_bytes);
/* An array; unopened is what was sealed less what was opened, as far as the days say it. */
MUST_USE int report_json(struct store *store, const struct report_range *range, json_t **rows);

#endif
