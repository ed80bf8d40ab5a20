/*
 * collector: one thread that takes what the engine had kept and gives it to the mail server.
 * Ownership: collector_open() starts the thread; strings are borrowed for the open.
 * Threads:   open and close from one.
 * Units:     mails; seconds from the configuration.
 * Errors:    open gives -errno. Later ones are logged; what was not sent stays with the engine.
 *
 * The engine is told SENT only after the mail server's 250. A mail server that is away is asked
 * again after a pause that doubles, up to a minute, with full jitter; meanwhile nothing is taken.
 */
#ifndef MTA_MILTER_COLLECTOR_H
#define MTA_MILTER_COLLECTOR_H

#include "base/macros.h"
#include "mta/milter/mark.h"

#include <stdint.h>

struct collector_config {
    const char *socket_path;         /* the engine's                   */
    const char *address;             /* host:port of the mail server   */
    const char *hostname;            /* for EHLO; "": the host's       */
    const struct mark_key *mark_key; /* borrowed until the close */
    uint32_t connections;
    uint32_t drain_s; /* what is under way at the end gets this long */
};

struct collector;

MUST_USE int collector_open(struct collector **collector, const struct collector_config *config);
void collector_close(struct collector *collector); /* NULL is harmless */

#endif
