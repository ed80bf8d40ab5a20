/*
 * macros: the few compiler words every part uses.
 * Ownership: none.
 * Threads:   any.
 * Units:     CACHE_LINE in bytes.
 * Errors:    none.
 */
#ifndef BASE_MACROS_H
#define BASE_MACROS_H

#include <stddef.h>

/* The line on which one writer's fields live; 64 on every x86-64 and most ARMv8. */
#define CACHE_LINE 64

/* The result is the error: a caller that drops it does not compile. */
#define MUST_USE __attribute__((warn_unused_result))

/* Per-message code: no allocation, locks, logs, clock reads or system calls inside. */
#define HOT __attribute__((hot))

#define PRINTF_LIKE(format_index, first_index)                                                     \
    __attribute__((format(printf, format_index, first_index)))

#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#endif
