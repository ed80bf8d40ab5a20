/*
 * store_outbox: the outbox's rows: mails, their parts, and who is still to get them.
 * Ownership: out-structs are the caller's.
 * Threads:   any; see store.h.
 * Units:     bytes; unix milliseconds.
 * Errors:    as store.h. -EACCES: somebody else has claimed it.
 *
 * A recipient's `due` is its lease too: who claims it moves it on, and only who saw the very value
 * that stands there can.
 */
#ifndef KEYSERVICE_SERVER_STORE_STORE_OUTBOX_H
#define KEYSERVICE_SERVER_STORE_STORE_OUTBOX_H

#include "keyservice/server/mail/outbox.h"

struct outbox_due {
    uint8_t id[OUTBOX_ID_BYTES];
    uint8_t body[OUTBOX_ID_BYTES]; /* whose parts are the mail's bytes */
    uint32_t place;                /* among the mail's recipients */
    uint32_t attempts_count;
    enum outbox_kind kind;
    uint64_t bytes;
    uint64_t created_unix_ms;
    uint64_t due_unix_ms; /* the claim, too */
    char address[STORE_ADDRESS_BYTES];
    char sender[STORE_ADDRESS_BYTES];
    char account[STORE_ADDRESS_BYTES];
};

/* The earliest that are due, at most `room`. */
MUST_USE int store_outbox_due(struct store *store, uint64_t now_unix_ms, struct outbox_due *due,
                              uint32_t room, uint32_t *count);
/* Until `until`; counts an attempt. On success `due` holds the claim. */
MUST_USE int store_outbox_claim(struct store *store, struct outbox_due *due,
                                uint64_t until_unix_ms);
/* Gives a claim up: again at `at`. */
MUST_USE int store_outbox_defer(struct store *store, const struct outbox_due *due,
                                uint64_t at_unix_ms);
/* This recipient is over; with the last one the mail's bytes go. `notice` in the same commit,
 * unless NULL. */
MUST_USE int store_outbox_end(struct store *store, const struct outbox_due *due,
                              const struct outbox_mail *notice, uint64_t now_unix_ms);
/* A part of the mail: OUTBOX_PART_BYTES but for the last. `bytes` in: room, out: how many. */
MUST_USE int store_outbox_part(struct store *store, const uint8_t body[OUTBOX_ID_BYTES],
                               uint32_t place, uint8_t *part, size_t *bytes);

#endif
