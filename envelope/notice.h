/*
 * notice: the failure notification (RFC 3464) that a sender gets for mail that could not leave.
 * Ownership: notice_open() copies what it is given; the opener closes.
 * Threads:   constant after open; any.
 * Units:     bytes; unix milliseconds.
 * Errors:    open gives -EINVAL or -ENOMEM, with a sentence in `why` that names the mend. Writing
 *            cannot fail: what a message says is hostile, and is made safe or left out.
 *
 * docs/format/notice.md. The same message gives the same bytes, so one that is sent twice is
 * recognised. It holds the outer header of the sealed mail and nothing of what was sealed.
 */
#ifndef ENVELOPE_NOTICE_H
#define ENVELOPE_NOTICE_H

#include "base/macros.h"
#include "envelope/header.h"
#include "envelope/id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NOTICE_WHY_BYTES        256
#define NOTICE_RECIPIENTS_MAX   1000
#define NOTICE_OUTER_BYTES_MAX  (64 * 1024) /* of the outer header; the rest is left out */
#define NOTICE_REMOTE_BYTES_MAX 512         /* of the remote's text, cut there           */
#define NOTICE_ENHANCED_COUNT   3

struct notice;

/* Borrowed for notice_open(). Strings are UTF-8. */
struct notice_config {
    const char *locale;           /* one of the 12: "en", "de", …                      */
    const char *failure_template; /* NULL: the locale's own; else the template's text   */
    const char *failure_subject;  /* NULL: the template's `Subject:` line, or the locale's */
    const char *key_service_url;  /* {{key_service}}                                   */
    const char *message_id_host;  /* host of From and Message-ID, and the Reporting-MTA */
};

MUST_USE int notice_open(struct notice **notice, const struct notice_config *config,
                         char why[NOTICE_WHY_BYTES]);
void notice_close(struct notice *notice); /* NULL is harmless */

enum notice_reason {
    NOTICE_AWAY,        /* the key service was away for longer than the message may wait    */
    NOTICE_KEY_REFUSED, /* the key service will never take this key                         */
    NOTICE_REFUSED,     /* the mail server refused the sealed mail; `remote_text`, `enhanced` */
    NOTICE_DAMAGED,     /* what was stored no longer verifies                                */
};
#define NOTICE_REASON_COUNT 4

/* Private memory, borrowed for the calls; addresses and texts may be hostile. */
struct notice_message {
    const struct id *id; /* the envelope's */
    enum notice_reason reason;
    const uint8_t *sender; /* of the original: who is notified; never empty */
    uint32_t sender_bytes;
    const uint8_t *recipients; /* (u16 bytes, address) each, as in an ipc/meta.h */
    uint32_t recipients_bytes;
    uint64_t arrived_unix_ms;
    uint64_t ended_unix_ms;
    const uint8_t *outer; /* the sealed mail from its first byte; read up to its empty line */
    size_t outer_bytes;
    const char *remote_text;                 /* NULL: none */
    uint8_t enhanced[NOTICE_ENHANCED_COUNT]; /* of the remote; {0}: none */
    /* NULL: all recipients failed, for the same. Else, for each of them: 0, it has the mail, and is
     * not named; or which of the replies it was given, from 1. One at least has failed. */
    const uint8_t *which;
    uint32_t which_count; /* of the recipients */
    const struct notice_reply *replies;
};

/* What the mail server said of some recipients. */
struct notice_reply {
    uint8_t enhanced[NOTICE_ENHANCED_COUNT]; /* {0}: none */
    const char *text;                        /* may be hostile, and has no NUL */
    uint32_t text_bytes;                     /* ≤ NOTICE_REMOTE_BYTES_MAX */
};

/* What notice_write() writes at most. */
size_t notice_bytes_max(const struct notice *notice, const struct notice_message *message);
/* Returns how many; dst_room is at least notice_bytes_max(). Goes out with MAIL FROM:<>. */
size_t notice_write(const struct notice *notice, const struct notice_message *message, uint8_t *dst,
                    size_t dst_room);

/*
 * Is the sender to be told when this message fails? Decided of the original's header, at intake:
 * not for the null sender, nor for what a machine sent (Auto-Submitted but "no"; Precedence bulk,
 * list or junk) or a list (any List- field).
 */
HOT bool notice_due(uint32_t sender_bytes, const uint8_t *mail, const struct header *header);

#endif
