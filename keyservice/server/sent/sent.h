/*
 * sent: what the service does by itself for senders: indexes what was sent, writes notices.
 * Ownership: borrows the service until the tend is closed.
 * Threads:   tend's.
 * Units:     as store.h.
 * Errors:    sent_tend(): as tend_add().
 *
 * docs/keyservice/sent.md.
 */
#ifndef KEYSERVICE_SERVER_SENT_SENT_H
#define KEYSERVICE_SERVER_SENT_SENT_H

#include "base/macros.h"

struct service;
struct tend;

MUST_USE int sent_tend(struct tend *tend, struct service *service);

#endif
