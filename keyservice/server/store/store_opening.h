/*
 * store_opening: who opened an envelope and when; what its sender changed of it since.
 * Ownership: borrows; what is visited lives as long as the visit.
 * Threads:   any.
 * Units:     unix milliseconds; addresses normalised, "" for somebody who did not sign in.
 * Errors:    as store.h; -EACCES where a lock stands in the way.
 *
 * store_envelope_get() shows the changed expiry and read-by date as if they had been sent so, and
 * store_opening_note() refuses what is locked in the same transaction that notes the opening: so
 * whatever is told "noted" was before the lock. docs/keyservice/sent.md.
 */
#ifndef KEYSERVICE_SERVER_STORE_STORE_OPENING_H
#define KEYSERVICE_SERVER_STORE_STORE_OPENING_H

#include "base/macros.h"
#include "keyservice/server/store/store.h"

#include <stdbool.h>
#include <stdint.h>

#define STORE_OPENINGS_MAX (RECORD_RECIPIENTS_MAX + 1)

/* Bits. */
enum store_opening_how {
    OPENING_RELEASED = 1, /* the key left          */
    OPENING_ONLINE = 2,   /* shown by this service */
};

struct store_opening {
    bool locked; /* for this address alone */
    uint64_t first_unix_ms;
    uint64_t last_unix_ms;
    uint64_t times; /* 0: not opened */
    uint32_t how;
    char address[STORE_ADDRESS_BYTES];
};

/*
 * Durable when it returns 0: the key may leave. -EACCES: the envelope, or it for this address, is
 * locked. With the first opening by an address goes the notice that the sender may have asked for.
 * `line`, unless NULL, is of the same group: it is in the audit log when 0 is returned.
 */
MUST_USE int store_opening_note(struct store *store, const struct store_envelope *envelope,
                                const char *address, enum store_opening_how how,
                                uint64_t now_unix_ms, struct store_line *line);
/* 0: not locked for this address; -EACCES: it is. */
MUST_USE int store_opening_check(struct store *store, const uint8_t id[RECORD_ID_BYTES],
                                 const char *address);
/* Whether or not the address has opened it. */
MUST_USE int store_opening_lock(struct store *store, const uint8_t id[RECORD_ID_BYTES],
                                const char *address, bool locked);
typedef void store_opening_visit(void *context, const struct store_opening *opening);
MUST_USE int store_opening_list(struct store *store, const uint8_t id[RECORD_ID_BYTES],
                                store_opening_visit *visit, void *context);

/* 0: no such date. */
MUST_USE int store_change_expires(struct store *store, const uint8_t id[RECORD_ID_BYTES],
                                  uint64_t at_unix_ms);
MUST_USE int store_change_read_by(struct store *store, const uint8_t id[RECORD_ID_BYTES],
                                  uint64_t at_unix_ms);

/* Bits of the column `parts` of sent_change. */
#define STORE_CHANGE_EXPIRES UINT64_C(1)
#define STORE_CHANGE_READ_BY UINT64_C(2)
#define STORE_CHANGE_TOLD    UINT64_C(4) /* that it was unread by its date */

/* A mail to the sender that is due; it stays until it was handed on. */
enum store_notice_kind {
    NOTICE_OPENED = 1, /* by `address`                     */
    NOTICE_UNREAD = 2, /* by its read-by date, by somebody */
};

struct store_notice {
    uint64_t number;
    enum store_notice_kind kind;
    uint64_t at_unix_ms;
    uint8_t id[RECORD_ID_BYTES];
    char address[STORE_ADDRESS_BYTES];
};
typedef void store_notice_visit(void *context, const struct store_notice *notice);
/* The oldest, at most `notices_max`. */
MUST_USE int store_notice_list(struct store *store, uint32_t notices_max, store_notice_visit *visit,
                               void *context);
/* The notice goes, and in the same commit its mail into the outbox, unless that is NULL. -ENOENT:
 * another was first; -EACCES: the outbox has no room, and the notice stays. */
struct outbox_mail;
MUST_USE int store_notice_end(struct store *store, const struct store_notice *notice,
                              const struct outbox_mail *mail, uint64_t now_unix_ms);

/* Makes notices of messages whose read-by date has passed; `done_count` of those looked at. */
MUST_USE int store_unread_find(struct store *store, uint64_t now_unix_ms, uint32_t *done_count);

/* All that is kept of an envelope, its key first. */
struct store_writer;
MUST_USE int store_envelope_forget(struct store_writer *writer, const uint8_t id[RECORD_ID_BYTES]);
MUST_USE int store_envelope_remove(struct store *store, const uint8_t id[RECORD_ID_BYTES]);

#endif
