/*
 * kept: whole pages for one thread's own use, there from the start and left where they are.
 * Ownership: kept_open() maps; kept_close() unmaps.
 * Threads:   any.
 * Units:     bytes, rounded up to whole pages.
 * Errors:    kept_open() gives -errno; keeping pages is a wish that a kernel may not grant.
 *
 * The kernel's NUMA balancing unmaps pages now and then to learn who reads them, and moves them to
 * whoever that was. Pages with a policy of their own are exempt: no message waits for such a fault.
 */
#ifndef BASE_KEPT_H
#define BASE_KEPT_H

#include "base/macros.h"

#include <stddef.h>

/* Zeroed, and on the node that the calling thread takes its memory from. */
MUST_USE int kept_open(void **pages, size_t bytes);
void kept_close(void *pages, size_t bytes); /* NULL is harmless */
/* For a whole mapping that has been touched: it stays on its nodes. */
void kept_stay(void *pages, size_t bytes);

#endif
