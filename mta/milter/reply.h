/*
 * reply: what the mail server is told about one message, by libmilter's calls.
 * Ownership: borrows everything for the call.
 * Threads:   the one that libmilter calls for this connection.
 * Units:     bytes.
 * Errors:    reply_sealed() gives -EIO when libmilter could not say it all: the message must then
 * be put off, and the mail server forgets what it was told.
 */
#ifndef MTA_MILTER_REPLY_H
#define MTA_MILTER_REPLY_H

#include "base/macros.h"
#include "mta/milter/gather.h"

#include <libmilter/mfapi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Takes the control fields out of a message that goes on as it is, all but those named `keep`,
 * which may be NULL. */
MUST_USE int reply_stripped(SMFICTX *ctx, const struct gather *gather, const char *keep);
MUST_USE int reply_field(SMFICTX *ctx, const char *name, const char *value, bool lead_blank);
/* All fields and the body of the original make room for the sealed mail's. */
MUST_USE int reply_sealed(SMFICTX *ctx, const struct gather *gather, const uint8_t *mail,
                          size_t mail_bytes, bool lead_blank);
/* 5xx or 4xx with this status, if it is of that class, and this line. */
sfsistat reply_refused(SMFICTX *ctx, const char *enhanced_status, const char *text);
sfsistat reply_later(SMFICTX *ctx, const char *enhanced_status, const char *text);

#endif
