/*
 * view: the engine's status as lines of name and value, for a terminal.
 * Ownership: the caller's memory; nothing is borrowed after the call.
 * Threads:   one.
 * Units:     lines; a rate is per second of monotonic time.
 * Errors:    none: what does not fit VIEW_LINES_MAX is left out.
 *
 * Nested values get dotted names ("workers.0.sealed"); plain ones come first. The engine may add
 * fields without this reader being changed.
 */
#ifndef TOOLS_BULLA_VIEW_H
#define TOOLS_BULLA_VIEW_H

#include "base/macros.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define VIEW_LINES_MAX   1024
#define VIEW_NAME_BYTES  96
#define VIEW_VALUE_BYTES 160

struct view_line {
    char name[VIEW_NAME_BYTES];
    char value[VIEW_VALUE_BYTES];
    bool is_count; /* an integer: has a rate */
    int64_t count;
};

struct view {
    struct view_line lines[VIEW_LINES_MAX];
    uint32_t lines_count;
    uint64_t now_ns;
};

void view_read(struct view *view, const json_t *status, uint64_t now_ns);
void view_print(const struct view *view, FILE *out);
/* With the change since `before` in a column of its own; at most lines_max lines of columns_max. */
void view_print_rates(const struct view *view, const struct view *before, uint32_t lines_max,
                      uint32_t columns_max, FILE *out);

#endif
