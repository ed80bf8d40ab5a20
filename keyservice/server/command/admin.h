/*
 * admin: what the operator's subcommands have in common.
 * Ownership: borrows.
 * Threads:   the main thread's.
 * Units:     unix milliseconds.
 * Errors:    -errno of the store or the audit log.
 */
#ifndef KEYSERVICE_SERVER_COMMAND_ADMIN_H
#define KEYSERVICE_SERVER_COMMAND_ADMIN_H

#include "base/macros.h"
#include "keyservice/server/audit/audit.h"
#include "keyservice/server/command/command.h"

#include <stdint.h>

/* What the operator does is part of the chain first, durably, or it is not done. */
MUST_USE int admin_begin(const struct command_parts *parts, const struct audit_event *event);
/* A second line where the store then refused: the first says what was about to be done. Gives `rc`
 * back. */
MUST_USE int admin_end(const struct command_parts *parts, int rc, const struct audit_event *event);

/* "2026-11-21T21:52:24Z", or "-" for 0. */
void admin_time(char text[32], uint64_t unix_ms);

#endif
