/*
 * sent_notice: the mails that tell a sender who opened a message, or that it stayed unread.
 * Ownership: borrows.
 * Threads:   tend's.
 * Units:     mails.
 * Errors:    -errno of the store; a notice whose mail cannot be made is dropped and logged.
 *
 * A notice goes with the commit that puts its mail into the outbox, so it is sent once whatever
 * dies. docs/keyservice/sent.md.
 */
#ifndef KEYSERVICE_SERVER_SENT_SENT_NOTICE_H
#define KEYSERVICE_SERVER_SENT_SENT_NOTICE_H

#include "base/macros.h"

#include <stdint.h>

#define SENT_NOTICE_BURST     32
#define SENT_NOTICE_NAMES_MAX 20 /* recipients that a notice lists */

struct service;

/* Hands on what is due, at most SENT_NOTICE_BURST of them; *done_count. */
MUST_USE int sent_notice_run(struct service *service, uint32_t *done_count);

#endif
