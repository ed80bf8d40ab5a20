/*
 * away: why the engine cannot be attached to, in words that name the mend where there is one.
 * Ownership: borrowed, from strerror() or for ever.
 * Threads:   any.
 * Units:     -errno as bulla_attach() and bulla_collect() give it.
 * Errors:    none.
 */
#ifndef MTA_MILTER_AWAY_H
#define MTA_MILTER_AWAY_H

const char *away_words(int rc);

#endif
