/*
 * audit_line: one line of the audit log: an event's JSON behind the hash that chains it.
 * Ownership: none; the caller's buffers.
 * Threads:   any.
 * Units:     bytes without the NUL; unix nanoseconds.
 * Errors:    -EMSGSIZE for a line over AUDIT_LINE_BYTES_MAX, -ENOMEM, -EIO.
 *
 * The inside of audit.c and audit_database.c; docs/keyservice/audit.md.
 */
#ifndef KEYSERVICE_SERVER_AUDIT_AUDIT_LINE_H
#define KEYSERVICE_SERVER_AUDIT_AUDIT_LINE_H

#include "base/macros.h"
#include "keyservice/server/audit/audit.h"

#include <stddef.h>
#include <stdint.h>

#define AUDIT_START "0000000000000000000000000000000000000000000000000000000000000000"

/* What stands behind `hash`, the newest line's, as number `sequence`: its bytes with the newline,
 * and `hash` is its. */
MUST_USE int audit_line_make(char line[AUDIT_LINE_BYTES_MAX + 1], uint32_t *line_bytes,
                             const struct audit_event *event, uint64_t sequence,
                             uint64_t now_unix_ns, char hash[AUDIT_HASH_CHARS + 1]);

/* Splits "<64 hex> {json}" and, unless `previous` is NULL, checks it against the chain; returns the
 * line's number, or 0 when it is not what it should be. */
uint64_t audit_line_check(const char *line, size_t line_bytes, const char *previous,
                          char hash[AUDIT_HASH_CHARS + 1]);

#endif
