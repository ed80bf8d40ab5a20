/*
 * sent_run: who sent which envelopes of one batch, as it lies until the index takes it in.
 * Ownership: sent_run_make() allocates, the caller frees; a view borrows the run's bytes.
 * Threads:   any.
 * Units:     bytes; days and milliseconds since 1970.
 * Errors:    -ENOMEM; -EBADMSG when a run is not what sent_run_make() makes.
 *
 * docs/format/sent-run.md. Registration appends one such row a batch instead of an index row an
 * envelope: docs/keyservice/sent.md has what that saves.
 */
#ifndef KEYSERVICE_SERVER_SENT_SENT_RUN_H
#define KEYSERVICE_SERVER_SENT_SENT_RUN_H

#include "base/macros.h"
#include "keyservice/record.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SENT_HASH_BYTES  8
#define SENT_ENTRY_BYTES (SENT_HASH_BYTES + RECORD_ID_BYTES)
#define SENT_DUE_BYTES   (8 + RECORD_ID_BYTES)
#define SENT_DAY_MS      UINT64_C(86400000)

/* What the index knows a sender by; the address is normalised. */
void sent_hash(uint8_t hash[SENT_HASH_BYTES], const char *address);

/* NULL and 0 bytes where no record has a sender. */
MUST_USE int sent_run_make(const struct record *const *records, uint32_t records_count,
                           uint8_t **run, uint32_t *run_bytes);

struct sent_run {
    const uint8_t *entries; /* entries_count × (hash, id)                       */
    const uint8_t *dues;    /* dues_count × (u64 read-by date, big-endian, id)  */
    uint32_t entries_count;
    uint32_t dues_count;
    uint32_t groups_count;
    const uint8_t *groups;
    size_t groups_bytes;
};
MUST_USE int sent_run_read(struct sent_run *view, const uint8_t *run, size_t run_bytes);

/* One sender's envelopes of one profile and day. */
struct sent_group {
    uint32_t day;
    uint32_t count;
    const uint8_t *profile;
    const uint8_t *sender;
    uint16_t profile_bytes;
    uint16_t sender_bytes;
};
/* Walks the groups; sent_run_read() has looked at every length. False at the end. */
bool sent_run_group(const struct sent_run *view, size_t *offset, struct sent_group *group);

#endif
