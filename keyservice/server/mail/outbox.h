/*
 * outbox: mails that must not be lost, in the database until the relay has taken them.
 * Ownership: outbox_open() starts a thread that sends; outbox_close() ends it. Mails are copied.
 * Threads:   any.
 * Units:     bytes; unix milliseconds.
 * Errors:    -EACCES over the bounds of rows and bytes below, -EEXIST a mail of that id is or was
 *            there, -EINVAL for an address that cannot stand in SMTP, else as store.h.
 *
 * docs/keyservice/outbox.md. Durable when outbox_put() returns. Each recipient is sent to apart, so
 * that none waits for another and none gets a mail twice because of another. Sealed bytes and
 * notices only: never the plain text of a message.
 */
#ifndef KEYSERVICE_SERVER_MAIL_OUTBOX_H
#define KEYSERVICE_SERVER_MAIL_OUTBOX_H

#include "base/macros.h"
#include "keyservice/server/audit/audit.h"
#include "keyservice/server/mail/mail.h"
#include "keyservice/server/store/store.h"

#include <stddef.h>
#include <stdint.h>

#define OUTBOX_ID_BYTES       16
#define OUTBOX_TO_MAX         101 /* recipients of a mail, its writer's copy among them */
#define OUTBOX_MAIL_BYTES_MAX (UINT64_C(64) << 20)
#define OUTBOX_ROWS_MAX       20000               /* of each kind: neither takes the other's room */
#define OUTBOX_BYTES_MAX      (UINT64_C(8) << 30) /* the same                                     */
#define OUTBOX_ROWS_SHARE     100 /* of one account: those of the last hours, sent ones included */
#define OUTBOX_BYTES_SHARE    (UINT64_C(512) << 20) /* of one account, not sent yet         */
#define OUTBOX_PART_BYTES     (512 * 1024)
#define OUTBOX_ATTEMPT_MS     120000
#define OUTBOX_LEASE_MS       600000 /* longer than any attempt: nobody else tries meanwhile */
#define OUTBOX_RETRY_MS       30000  /* then twice that, up to ... */
#define OUTBOX_RETRY_MS_MAX   3600000
#define OUTBOX_LIFE_MS        (UINT64_C(2) * 24 * 3600 * 1000) /* then it is dropped, and audited */
#define OUTBOX_KEPT_MS        (UINT64_C(2) * 3600 * 1000) /* an id is known after it was sent */
#define OUTBOX_PRUNE_ROWS     64
#define OUTBOX_REMOVE_PARTS   16 /* in one commit, which holds up all that waits behind it */
#define OUTBOX_SEND_BATCH     16

enum outbox_kind {
    OUTBOX_NOTICE,  /* of the service itself: nobody is told when it cannot be delivered */
    OUTBOX_MESSAGE, /* a sealed mail: its account is told                                 */
};
#define OUTBOX_KINDS_COUNT 2

/* All of it borrowed. */
struct outbox_mail {
    const uint8_t *id;         /* OUTBOX_ID_BYTES; NULL: a random one          */
    const char *account;       /* whose share it is; NULL: the service's own   */
    const char *from_envelope; /* of SMTP; "": the null sender                 */
    const char *const *to;
    uint32_t to_count;
    const void *mail; /* CRLF line ends, ASCII */
    size_t mail_bytes;
    uint64_t not_before_unix_ms; /* 0: now */
    enum outbox_kind kind;
};

/* Wakes the sender of this process, if there is one. */
MUST_USE int outbox_put(struct store *store, const struct outbox_mail *mail, uint64_t now_unix_ms);

struct store_writer;
/* Within a store_write() of the caller's, and with it or not at all; mails of at most
 * OUTBOX_PART_BYTES, with an id. */
MUST_USE int outbox_put_apply(struct store_writer *writer, const struct outbox_mail *mail,
                              uint64_t now_unix_ms);

/* Ends what was sent or given up long ago; for housekeeping. */
MUST_USE int outbox_prune(struct store *store, uint64_t now_unix_ms);

/* What the sender of a message is told when `to` cannot be reached: the bytes of a mail, 0 for
 * none. */
typedef size_t outbox_failed(void *context, char mail[MAIL_BYTES_MAX], const char *account,
                             const char *to);

struct outbox_config {
    struct store *store;
    const struct mail *mail; /* whose relay and folder it sends through */
    struct audit *audit;
    outbox_failed *failed; /* NULL: nobody is told */
    void *context;
    uint32_t retry_ms; /* 0: OUTBOX_RETRY_MS */
    uint64_t life_ms;  /* 0: OUTBOX_LIFE_MS  */
};

struct outbox;

MUST_USE int outbox_open(struct outbox **outbox, const struct outbox_config *config);
/* Ends an attempt that is under way; the mail stays. */
void outbox_close(struct outbox *outbox); /* NULL is harmless */
/* Something was put: looked at at once rather than within two seconds. */
void outbox_wake(struct outbox *outbox);

#endif
