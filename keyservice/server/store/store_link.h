/*
 * store_link: sealed messages that were mailed here, each waiting for the click on its one-time
 * link.
 * Ownership: bytes are copied in and out.
 * Threads:   any, of any process; see store.h.
 * Units:     bytes; unix milliseconds.
 * Errors:    as store.h. store_link_add(): -EACCES: the address has its share; -ENOSPC: all places
 *            are taken, or all that one envelope may have. store_link_take(): -ENOENT for what is
 *            unknown, spent, taken or too old.
 *
 * Ciphertext alone, in parts, found by a digest of the link's token, so that a reader of the
 * database can follow none. A link that was spent stands there without its bytes until its time is
 * over: that is how often an address is written to in that time.
 */
#ifndef KEYSERVICE_SERVER_STORE_STORE_LINK_H
#define KEYSERVICE_SERVER_STORE_STORE_LINK_H

#include "keyservice/server/mail/outbox.h"

#include <stddef.h>
#include <stdint.h>

#define STORE_LINK_NAME_BYTES  32
#define STORE_LINK_PART_BYTES  (1024 * 1024)
#define STORE_LINK_LIFE_MS     (UINT64_C(30) * 60 * 1000)
#define STORE_LINK_SHARE       10                    /* of one address, within a life */
#define STORE_LINK_SHARE_ONE   3                     /* of it for one envelope               */
#define STORE_LINK_ROWS_MAX    2000                  /* of all                        */
#define STORE_LINK_BYTES_MAX   (UINT64_C(4) << 30)   /* of all that were not spent    */
#define STORE_LINK_ONE_MAX     (UINT64_C(256) << 20) /* of one envelope, of whatever recipient */
#define STORE_LINK_PRUNE_ROWS  64
#define STORE_LINK_PRUNE_PARTS 8 /* in one commit, which holds up all that waits behind it */

struct store_link {
    uint8_t name[STORE_LINK_NAME_BYTES];
    uint8_t id[RECORD_ID_BYTES];
    uint32_t suite;
    uint64_t sealed_bytes;
    char address[STORE_ADDRESS_BYTES]; /* whom it is mailed to */
};

/* Keeps the ciphertext; the link leads nowhere yet. */
MUST_USE int store_link_add(struct store *store, const struct store_link *link,
                            const uint8_t *sealed, uint64_t now_unix_ms);
/* From now on it does, and the mail that names it is in the outbox with the same commit, of at most
 * OUTBOX_PART_BYTES and with an id. -EACCES: the outbox has no room, and nothing is changed. */
MUST_USE int store_link_send(struct store *store, const uint8_t name[STORE_LINK_NAME_BYTES],
                             const struct outbox_mail *mail, uint64_t now_unix_ms);
/* As if it had never been. */
MUST_USE int store_link_remove(struct store *store, const uint8_t name[STORE_LINK_NAME_BYTES]);

/* 0 where a click would be answered; spends nothing. */
MUST_USE int store_link_look(struct store *store, const uint8_t name[STORE_LINK_NAME_BYTES],
                             uint64_t now_unix_ms);
/* For one, once: `link` is filled, but for its name, which is the caller's. */
MUST_USE int store_link_take(struct store *store, struct store_link *link, uint64_t now_unix_ms);
/* The ciphertext of one that was taken. */
MUST_USE int store_link_read(struct store *store, const struct store_link *link, uint8_t *sealed);
/* What was taken waits again, as before. */
MUST_USE int store_link_give(struct store *store, const uint8_t name[STORE_LINK_NAME_BYTES]);
/* What was taken is spent: its bytes go. */
MUST_USE int store_link_spend(struct store *store, const uint8_t name[STORE_LINK_NAME_BYTES]);

/* Ends some of the links whose time is over; for housekeeping. */
MUST_USE int store_link_prune(struct store *store, uint64_t now_unix_ms, bool *more);

#endif
