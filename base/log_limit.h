/*
 * log_limit: how many lines of one kind a second may have, so that no flood of them holds up work.
 * Ownership: the caller's memory; all zero is a second without lines.
 * Threads:   one at a time.
 * Units:     lines; nanoseconds of monotonic time.
 * Errors:    none: a line that is left out is counted, and its count is given once.
 */
#ifndef BASE_LOG_LIMIT_H
#define BASE_LOG_LIMIT_H

#include "base/macros.h"

#include <stdbool.h>
#include <stdint.h>

#define LOG_LIMIT_LINES_MAX 20 /* of one kind, in a second */

struct log_limit {
    uint64_t second;
    uint32_t lines_count;
    uint32_t left_out_count;
};

/* False: the second has had its lines, and this one is counted as left out. */
bool log_limit_admits(struct log_limit *limit, uint64_t now_ns);
/* How many were left out, once their second is over; 0 until there are some again. */
uint32_t log_limit_left_out(struct log_limit *limit, uint64_t now_ns);

#endif
