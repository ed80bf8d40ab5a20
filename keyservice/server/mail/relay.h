/*
 * relay: one attempt to hand one mail to the mail relay, or to put it into a folder.
 * Ownership: borrows; a struct relay is plain and holds no resource.
 * Threads:   any; each attempt has a connection of its own.
 * Units:     bytes; milliseconds.
 * Errors:    relay_try(): -EPERM when the relay says "never" (RFC 5321, 4.2.1: 5yz) to the
 *            recipient or the mail, -EIO when it may say yes later, -errno of the folder.
 *            relay_init(): -EINVAL for what is too long.
 *
 * In the folder a mail is a file NAME.eml, whole or not there.
 */
#ifndef KEYSERVICE_SERVER_MAIL_RELAY_H
#define KEYSERVICE_SERVER_MAIL_RELAY_H

#include "base/macros.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RELAY_PATH_BYTES    1024
#define RELAY_URL_BYTES     256
#define RELAY_ADDRESS_BYTES 321

/* Of "smtp://"; "smtps://" is encrypted from its first byte, and its certificate is checked. */
enum relay_tls {
    RELAY_TLS_TRY,     /* STARTTLS where it is offered, whoever's the certificate: who could show a
                          wrong one could as well take the offer away                          */
    RELAY_TLS_REQUIRE, /* STARTTLS with a certificate of the relay's name, or no mail at all    */
    RELAY_TLS_NONE,    /* in the clear: for a relay on this machine                             */
};

struct relay_config {
    const char *url;     /* "smtp://host:25", "smtps://…"; "": into the folder */
    const char *ca_file; /* whose certificates are believed; NULL or "": the system's */
    const char *folder;
    enum relay_tls tls;
};

struct relay {
    enum relay_tls tls;
    char url[RELAY_URL_BYTES];
    char ca_file[RELAY_PATH_BYTES];
    char folder[RELAY_PATH_BYTES];
};

/* The mail's next bytes: how many, 0 at its end, RELAY_READ_FAILED. */
#define RELAY_READ_FAILED SIZE_MAX
typedef size_t relay_read(void *context, char *dst, size_t room);
/* Asked at least once a second: true ends the attempt. */
typedef bool relay_over(void *context);

struct relay_mail {
    const char *name; /* of the file, and in the log */
    const char *from; /* "": the null sender */
    const char *to;
    uint64_t bytes;
    relay_read *read;
    relay_over *over; /* NULL: never */
    void *context;    /* of both     */
    uint32_t attempt_ms;
    uint32_t attempts_count; /* for the log */
};

MUST_USE int relay_init(struct relay *relay, const struct relay_config *config);
MUST_USE int relay_try(const struct relay *relay, const struct relay_mail *mail);

/* Is the relay of this URL on this machine: by a loopback address, or as "localhost"? */
bool relay_near(const char *url);

/* May it stand between < and > in a header and in SMTP without quoting? ASCII with an @. */
bool relay_address_plain(const char *address);

#endif
