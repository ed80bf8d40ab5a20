/*
 * clock: the two clocks, read once a pass and handed on as a parameter.
 * Ownership: none.
 * Threads:   any.
 * Units:     nanoseconds; unix time for what outlives the process, monotonic time for waits.
 * Errors:    none; both clocks exist on every Linux.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

uint64_t clock_monotonic_ns(void);
uint64_t clock_unix_ns(void);

#endif
