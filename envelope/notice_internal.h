/*
 * notice_internal: a notice with its texts given, for notice_assets.c and for tests.
 * Ownership: as notice.h says.
 * Threads:   any.
 * Units:     bytes.
 * Errors:    as notice.h says.
 */
#ifndef ENVELOPE_NOTICE_INTERNAL_H
#define ENVELOPE_NOTICE_INTERNAL_H

#include "envelope/notice.h"

/* The locale's own, NUL-terminated: a template with its `Subject:` line, and a line
 * `name: sentence` for each reason. */
MUST_USE int notice_open_parts(struct notice **notice, const struct notice_config *config,
                               const char *template_default, const char *reasons,
                               char why[NOTICE_WHY_BYTES]);

#endif
