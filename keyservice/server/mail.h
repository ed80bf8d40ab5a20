/*
 * mail: the few mails that the service itself sends, through a relay or into a folder.
 * Ownership: mail_open() starts a thread; mail_close() lets it try once more what waits, and joins.
 * Threads:   mail_send() by any; it copies and never waits for the network.
 * Units:     bytes; attempts; at most MAIL_WAITING_MAX mails in memory.
 * Errors:    mail_send(): -EAGAIN when the queue is full, -EINVAL for an address that cannot stand
 *            in a mail. What cannot be delivered after MAIL_ATTEMPTS_MAX is dropped and logged.
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
#define MAIL_SUBJECT_BYTES_MAX 256
#define MAIL_TEXT_BYTES_MAX    4096
#define MAIL_BYTES_MAX         16384

struct mail;

struct mail_config {
    const char *smtp_relay; /* "smtp://host:25", "smtps://…"; "": into the folder */
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
