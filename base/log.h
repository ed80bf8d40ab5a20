/*
 * log: one line an event on stderr, in key=value form, for the journal or a terminal.
 * Ownership: none; the strings are borrowed for the call.
 * Threads:   any; a line is one write(2) and never torn. Never from HOT code.
 * Units:     a line is at most LOG_LINE_BYTES_MAX bytes and is cut there.
 * Errors:    none reach the caller: a log that cannot be written is dropped.
 *
 * No key, token, password, subject or message byte may be passed here. Control bytes in the text
 * are written as \xNN, so a hostile name cannot forge a line.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/macros.h"

#define LOG_LINE_BYTES_MAX 1024

/* The numbers are syslog's (RFC 5424, 6.2.1), which sd-daemon(3) prefixes use too. */
enum log_level {
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7,
};

/*
 * Call once, first: `program` opens every line; lines above `level_max` are dropped. Under a
 * journal ($JOURNAL_STREAM is set) lines carry a <level> prefix and no time of their own.
 */
void log_init(const char *program, enum log_level level_max);

/* log_line(LOG_LEVEL_INFO, "session_open", "client=%u pid=%d", ...): event first, then key=value.
 */
void log_line(enum log_level level, const char *event, const char *format, ...) PRINTF_LIKE(3, 4);

#endif
