/*
 * folder: a private folder of one bench's run, below TMPDIR or else /tmp.
 * Ownership: folder_make() makes it; folder_remove() removes it and all that stands in it.
 * Threads:   any.
 * Units:     bytes.
 * Errors:    -errno; -ENAMETOOLONG when TMPDIR leaves no room, sockets' names being short.
 */
#ifndef BENCH_FOLDER_H
#define BENCH_FOLDER_H

#include "base/macros.h"

#include <stddef.h>

/* `path` becomes TMPDIR/NAME.XXXXXX, mode 0700. */
MUST_USE int folder_make(char *path, size_t path_bytes, const char *name);
void folder_remove(const char *path);

#endif
