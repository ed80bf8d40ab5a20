/*
 * memfd: shared memory with one writer, who can neither shrink it nor share the right to write.
 * Ownership: memfd_open() and memfd_map_peer() map, memfd_close() unmaps and closes.
 * Threads:   any; the mapping is whoever's the layout says.
 * Units:     bytes, whole pages of IPC_PAGE_BYTES.
 * Errors:    -errno; -EBADMSG a descriptor that is not such a memory.
 *
 * Every page is allocated at the start, and the other side checks that: a hole would
 * be filled on the reader's account, and could kill it by SIGBUS when memory is short.
 */
#ifndef IPC_MEMFD_H
#define IPC_MEMFD_H

#include "base/macros.h"

#include <stdint.h>

/* SEAL|SHRINK|GROW|FUTURE_WRITE: fixed size, no new writable mapping, no hole, for ever. */
#define MEMFD_SEALS (0x0001 | 0x0002 | 0x0004 | 0x0010)

struct memfd {
    int fd;
    uint8_t *at;
    uint64_t bytes;
};

/* The forgotten state, which memfd_close() takes too. */
#define MEMFD_NONE ((struct memfd){.fd = -1, .at = NULL, .bytes = 0})

enum memfd_pages {
    MEMFD_PAGES_SMALL,
    MEMFD_PAGES_HUGE, /* of 2 MiB, as far as the kernel gives them */
};

/* Ours: made, mapped for writing, then sealed. */
MUST_USE int memfd_open(struct memfd *memfd, const char *name, uint64_t bytes,
                        enum memfd_pages pages);

/* The peer's: verified, then mapped read-only. From success on memfd owns `fd`. */
MUST_USE int memfd_map_peer(struct memfd *memfd, int fd, uint64_t bytes);

void memfd_close(struct memfd *memfd); /* harmless twice */

#endif
