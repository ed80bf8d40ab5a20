/*
 * spool_lock: one living engine a spool: spool.lock in its folder, held until the end.
 * Ownership: the descriptor is the caller's; closing it gives the spool up.
 * Threads:   any; at start.
 * Units:     none.
 * Errors:    -errno, with a sentence in `why` that names the mend.
 */
#ifndef ENGINE_SPOOL_LOCK_H
#define ENGINE_SPOOL_LOCK_H

#include "base/macros.h"

#include <stdint.h>

#define SPOOL_LOCK_WHY_BYTES 512

/* Checks the folder too: it must be there, writable and nobody else's. */
MUST_USE int spool_lock_take(int *fd, const char *folder, char why[SPOOL_LOCK_WHY_BYTES]);

/* `mark` is derived of the spool key and tells nothing of it. The first is kept in the file;
 * -EINVAL for another one: under a wrong key all that waits would look damaged. */
#define SPOOL_LOCK_MARK_BYTES 32
MUST_USE int spool_lock_check(int fd, const uint8_t mark[SPOOL_LOCK_MARK_BYTES], const char *folder,
                              char why[SPOOL_LOCK_WHY_BYTES]);

#endif
