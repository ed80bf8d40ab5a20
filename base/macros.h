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

/* Each argument is evaluated once: it may read memory that somebody else writes. */
#define MIN(a, b) MACROS_PICK(<, a, b, __COUNTER__)
#define MAX(a, b) MACROS_PICK(>, a, b, __COUNTER__)

/* A name of its own for every use, so that one may stand inside another. */
#define MACROS_PICK(than, a, b, n) MACROS_PICK_NAMED(than, a, b, n)
#define MACROS_PICK_NAMED(than, a, b, n)                                                           \
    ({                                                                                             \
        const __typeof__(1 ? (a) : (b)) pick_a_##n = (a);                                          \
        const __typeof__(1 ? (a) : (b)) pick_b_##n = (b);                                          \
        pick_a_##n than pick_b_##n ? pick_a_##n : pick_b_##n;                                      \
    })

#endif
