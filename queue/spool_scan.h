/*
 * spool_scan: finds the records of one segment's bytes, whatever a crash or a disk did to them.
 * Ownership: borrows the bytes for the call.
 * Threads:   any.
 * Units:     bytes.
 * Errors:    damage is counted; what was never acknowledged is no damage.
 */
#ifndef QUEUE_SPOOL_SCAN_H
#define QUEUE_SPOOL_SCAN_H

#include "queue/spool_format.h"

#include <stdint.h>

#define SCAN_UNKNOWN UINT64_MAX

struct scan {
    const uint8_t *at;
    uint64_t bytes;
    uint32_t lane;
    uint64_t number;
    uint64_t epoch;
    /* Where acknowledged records end, if a later segment says so; SCAN_UNKNOWN: told by the records
     * themselves, and whole ones after it are taken too. */
    uint64_t limit;
    void (*record)(void *user, const struct format_head *head, const uint8_t *record);
    void *user;
    uint64_t ended;   /* result: after the last record that was taken */
    uint64_t damaged; /* result: records that were acknowledged and do not verify */
};

void scan_segment(struct scan *scan);
/* The highest segment number of any head that verifies, its epoch; 0: there is none. */
uint64_t scan_number(const uint8_t *at, uint64_t bytes, uint32_t lane, uint64_t *epoch);

#endif
