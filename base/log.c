#include "base/log.h"

#include "base/assert.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
    const char *program;
    enum log_level level_max;
    bool journal;
} log_state = {.program = "bulla", .level_max = LOG_LEVEL_INFO, .journal = false};

void log_init(const char *program, enum log_level level_max)
{
    ASSERT(program != NULL);
    log_state.program = program;
    log_state.level_max = level_max;
    log_state.journal = getenv("JOURNAL_STREAM") != NULL;
}

static const char *log_level_name(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_ERROR: return "error";
    case LOG_LEVEL_WARNING: return "warning";
    case LOG_LEVEL_INFO: return "info";
    case LOG_LEVEL_DEBUG: return "debug";
    }
    return "error";
}

static size_t log_head(char *line, size_t line_bytes, enum log_level level, const char *event)
{
    int n;
    if (log_state.journal) {
        n = snprintf(line, line_bytes, "<%d>%s: %s ", (int)level, log_state.program, event);
    } else {
        struct timespec now;
        struct tm utc;
        char stamp[32];
        (void)clock_gettime(CLOCK_REALTIME, &now);
        (void)gmtime_r(&now.tv_sec, &utc);
        (void)strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &utc);
        n = snprintf(line, line_bytes, "%s %s %s: %s ", stamp, log_level_name(level),
                     log_state.program, event);
    }
    return n < 0 ? 0 : MIN((size_t)n, line_bytes - 1);
}

/* Copies text with every control byte and backslash made visible; returns bytes written. */
static size_t log_escape(char *line, size_t line_bytes, const char *text)
{
    static const char digits[] = "0123456789abcdef";
    size_t used = 0;
    for (; *text != '\0' && used + 4 <= line_bytes; text++) {
        const unsigned char byte = (unsigned char)*text;
        if (byte >= 0x20 && byte != 0x7f) {
            line[used++] = (char)byte;
            continue;
        }
        line[used++] = '\\';
        line[used++] = 'x';
        line[used++] = digits[byte >> 4];
        line[used++] = digits[byte & 15];
    }
    return used;
}

void log_line(enum log_level level, const char *event, const char *format, ...)
{
    char text[LOG_LINE_BYTES_MAX];
    char line[LOG_LINE_BYTES_MAX + 1];
    va_list args;

    if (level > log_state.level_max)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);

    size_t used = log_head(line, sizeof(line) - 1, level, event);
    used += log_escape(line + used, sizeof(line) - 1 - used, text);
    line[used++] = '\n';
    if (write(STDERR_FILENO, line, used) < 0) {
        /* Nowhere is left to say so; the daemon's work goes on. */
    }
}
