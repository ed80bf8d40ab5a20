/*
 * serve_confine: what `serve` gives up before it opens the database: confine.h with its settings.
 * Ownership: borrows.
 * Threads:   the first, while it is alone.
 * Units:     none.
 * Errors:    an exit status of sysexits.h, after saying why; 0: go on.
 */
#ifndef KEYSERVICE_SERVER_SERVE_CONFINE_H
#define KEYSERVICE_SERVER_SERVE_CONFINE_H

#include "base/macros.h"
#include "keyservice/server/config.h"

/* `ports_file` NULL: none is written. */
MUST_USE int serve_confine(const struct config *config, const char *ports_file);

#endif
