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
 * for another. In the folder a mail is a file NAME.eml, whole or not there.
 */
#ifndef KEYSERVICE_SERVER_MAIL_H
#define KEYSERVICE_SERVER_MAIL_H

#include "base/macros.h"

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

/* Of "smtp://"; "smtps://" is encrypted from its first byte, and its certificate is checked. */
enum mail_tls {
    MAIL_TLS_TRY,     /* STARTTLS where it is offered, whoever's the certificate: who could show a
                         wrong one could as well take the offer away                          */
    MAIL_TLS_REQUIRE, /* STARTTLS with a certificate of the relay's name, or no mail at all    */
    MAIL_TLS_NONE,    /* in the clear: for a relay on this machine                             */
};

struct mail_config {
    const char *smtp_relay; /* "smtp://host:25", "smtps://…"; "": into the folder */
    const char *ca_file;    /* whose certificates are believed; NULL or "": the system's */
    enum mail_tls tls;
    uint32_t attempt_ms; /* for one attempt; 0: MAIL_ATTEMPT_MS            */
    uint32_t retry_ms;   /* before the second, doubling; 0: MAIL_RETRY_MS  */
    const char *spool_dir;
    const char *from; /* address */
};

/* One mail; UTF-8. */
struct mail_message {
    const char *to;
    const char *subject;
    const char *text; /* lines end with \n */
    const char *language;
};

MUST_USE int mail_open(struct mail **mail, const struct mail_config *config);
void mail_close(struct mail *mail); /* NULL is harmless */
MUST_USE int mail_send(struct mail *mail, const struct mail_message *message, uint64_t now_unix_ns);

/* The mail's bytes with CRLF line ends, for the tests too: 0 when it does not fit or an address
 * could break out of its header line. */
size_t mail_format(char mail[MAIL_BYTES_MAX], const char *from, const struct mail_message *message,
                   const uint8_t unique[16], uint64_t now_unix_ns);

#endif
