/*
 * relay: hands mails to the mail server over SMTP (RFC 5321), a few connections at once, kept open.
 * Ownership: a mail is borrowed from relay_start() until relay_run() gives its end.
 * Threads:   one.
 * Units:     mails; milliseconds.
 * Errors:    each mail has one end. SENT only after the 250 to the final dot.
 *
 * A mail goes to all recipients that are taken, or to none: when one is put off (4xx) nothing is
 * sent, so that what comes again later comes to nobody twice. Those that are refused (5xx) are left
 * out, the others get the mail, and its end is REFUSED with what was said of each of them: the
 * sender hears of those. REFUSED without refusals is the whole mail, for all.
 */
#ifndef MTA_MILTER_RELAY_H
#define MTA_MILTER_RELAY_H

#include "base/macros.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define RELAY_CONNECTIONS_MAX 64
#define RELAY_TEXT_BYTES      512
#define RELAY_STATUS_BYTES    12
#define RELAY_REPLY_BYTES     256 /* of what is said of one recipient */

enum relay_result {
    RELAY_SENT = 1,
    RELAY_LATER,
    RELAY_REFUSED,
};

/* Strings are borrowed for the open. */
struct relay_config {
    const char *address;  /* host:port                          */
    const char *hostname; /* for EHLO; "": the host's           */
    uint32_t connections; /* at once; ≤ RELAY_CONNECTIONS_MAX   */
    uint32_t timeout_s;   /* for one mail; 0: ten minutes       */
};

struct relay_mail {
    const char *sender; /* "": the null sender */
    const char *const *recipients;
    uint32_t recipients_count;
    const struct iovec *spans;
    uint32_t spans_count;
    size_t mail_bytes;
    void *user;
};

struct relay_refusal {
    uint32_t recipient; /* its place among the mail's */
    uint32_t code;      /* of the reply               */
    char enhanced_status[RELAY_STATUS_BYTES];
    char text[RELAY_REPLY_BYTES];
};

struct relay_end {
    void *user;
    enum relay_result result;
    bool unreachable;                     /* no mail server that answers was met */
    uint32_t code;                        /* of the reply that decided; 0: the text is ours */
    const struct relay_refusal *refusals; /* until the next relay_start() or relay_run() */
    uint32_t refusals_count;
    char enhanced_status[RELAY_STATUS_BYTES];
    char text[RELAY_TEXT_BYTES];
};

struct relay;

/* -EINVAL: address or hostname holds what cannot stand there. */
MUST_USE int relay_open(struct relay **relay, const struct relay_config *config);
void relay_close(struct relay *relay); /* what is under way is broken off; NULL is harmless */
/* False: all connections are busy, or there is no memory. */
bool relay_start(struct relay *relay, const struct relay_mail *mail);
uint32_t relay_busy_count(const struct relay *relay);
/* Works and waits, at most wait_ms and no longer than until one of the descriptors is readable;
 * gives what has ended. */
uint32_t relay_run(struct relay *relay, const int *fds, uint32_t fds_count, int wait_ms,
                   struct relay_end *ends, uint32_t ends_max);

#endif
