/*
 * filter: what is done with each message that the mail server shows: pass, seal, refuse, put off.
 * Ownership: one in a process, since libmilter's callbacks are; copies the configuration.
 * Threads:   libmilter's own, one a connection; open, reload and close from one.
 * Units:     messages.
 * Errors:    open gives -errno; a message meets a 4xx on any of ours, and never goes on in clear.
 *
 * docs/milter.md says what is decided about which mail.
 */
#ifndef MTA_MILTER_FILTER_H
#define MTA_MILTER_FILTER_H

#include "base/macros.h"
#include "engine/config.h"
#include "mta/milter/hub.h"
#include "mta/milter/mark.h"

#include <stdint.h>

/* Registers with libmilter; hub and key are borrowed until filter_close(). */
MUST_USE int filter_open(const struct config *config, struct hub *hub,
                         const struct mark_key *mark_key);
/* Messages that begin from now on follow this configuration. */
MUST_USE int filter_reload(const struct config *config);
void filter_stop(void);               /* new messages are put off */
uint32_t filter_messages_count(void); /* under way                */
void filter_close(void);              /* when libmilter has ended */

#endif
