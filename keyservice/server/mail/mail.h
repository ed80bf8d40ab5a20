/*
 * mail: the few mails that the service itself sends, through a relay or into a folder.
 * Ownership: mail_open() starts a thread; mail_close() lets it try once more what waits, and joins.
 * Threads:   mail_send() by any; it copies and never waits for the network.
 * Units:     bytes; attempts; at most MAIL_WAITING_MAX mails in memory.
 * Errors:    mail_send(): -EAGAIN when the queue is full, -EINVAL for an address that cannot stand
 *            in a mail. What the relay refuses for good, or what cannot be delivered after
 *            MAIL_ATTEMPTS_MAX, is dropped and logged.
 *
 * A mail carries a code that is good for minutes: it is not kept over a restart, the person asks
 * for another. What must not be lost goes by the outbox.
 */
#ifndef KEYSERVICE_SERVER_MAIL_MAIL_H
#define KEYSERVICE_SERVER_MAIL_MAIL_H

#include "base/macros.h"
#include "keyservice/server/mail/relay.h"

#include <stddef.h>
#include <stdint.h>

#define MAIL_WAITING_MAX       256
#define MAIL_ATTEMPTS_MAX      6
#define MAIL_ATTEMPT_MS        30000
#define MAIL_RETRY_MS          5000
#define MAIL_DRAIN_MS          10000 /* mail_close() ends what takes longer */
#define MAIL_SUBJECT_BYTES_MAX 256
#define MAIL_TEXT_BYTES_MAX    4096
#define MAIL_BYTES_MAX         16384

struct mail;

struct mail_config {
    const char *smtp_relay; /* "smtp://host:25", "smtps://…"; "": into the folder */
    const char *ca_file;    /* whose certificates are believed; NULL or "": the system's */
    enum relay_tls tls;
    uint32_t attempt_ms; /* for one attempt; 0: MAIL_ATTEMPT_MS            */
    uint32_t retry_ms;   /* before the second, doubling; 0: MAIL_RETRY_MS  */
    const char *spool_dir;
    const char *from; /* address */
};

/* What a program reads of a message that was opened, beside the text (RFC 8098). */
struct mail_receipt {
    const char *reader;   /* address */
    const char *envelope; /* its id  */
    uint64_t opened_unix_ms;
};

/* One mail; UTF-8. */
struct mail_message {
    const char *to;
    const char *subject;
    const char *text; /* lines end with \n */
    const char *language;
    const char *about;                  /* a Message-ID, without its brackets; NULL: none */
    const struct mail_receipt *receipt; /* NULL: the mail is its text                     */
};

MUST_USE int mail_open(struct mail **mail, const struct mail_config *config);
void mail_close(struct mail *mail); /* NULL is harmless */
MUST_USE int mail_send(struct mail *mail, const struct mail_message *message, uint64_t now_unix_ns);

/* What it sends through and as whom, for the outbox: constant, borrowed while it is open. */
const struct relay *mail_relay(const struct mail *mail);
const char *mail_from(const struct mail *mail);

/* The mail's bytes with CRLF line ends, for the tests too: 0 when it does not fit or an address
 * could break out of its header line. In mail_format.c. */
size_t mail_format(char mail[MAIL_BYTES_MAX], const char *from, const struct mail_message *message,
                   const uint8_t unique[16], uint64_t now_unix_ns);

#endif
