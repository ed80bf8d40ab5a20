/*
 * geometry: where slots, constants and arena stand in a memfd of given sizes.
 * Ownership: plain values.
 * Threads:   any.
 * Units:     bytes from the start of the memfd; slots.
 * Errors:    geometry_client() gives -EINVAL for sizes that no hello may ask for;
 *            geometry_read_engine() gives -EBADMSG for a page that is not what its sizes make.
 *
 * docs/format/shared-memory.md, "A memfd".
 */
#ifndef IPC_GEOMETRY_H
#define IPC_GEOMETRY_H

#include "base/macros.h"
#include "ipc/layout.h"

#include <stdbool.h>
#include <stdint.h>

/* The constant head of struct ipc_page, as private values. */
struct geometry {
    uint32_t slots_count;
    uint64_t slots_offset;
    uint64_t constants_offset;
    uint64_t constants_bytes;
    uint64_t arena_offset;
    uint64_t arena_bytes;
    uint64_t memfd_bytes;
};

MUST_USE int geometry_client(struct geometry *geometry, uint32_t slots_count, uint64_t arena_bytes);

/* The engine's own sizes are its configuration: -EINVAL when the memfd would pass 4 GiB. Constants
 * are rounded up to an even number of pages, so each half starts on one. */
MUST_USE int geometry_engine(struct geometry *geometry, uint32_t slots_count,
                             uint64_t constants_bytes, uint64_t arena_bytes);

/* Writes page 0 of a fresh memfd; the indices are zero already. */
void geometry_write(const struct geometry *geometry, uint64_t magic, struct ipc_page *page);

/* Reads the engine's page 0 once and checks it against the memfd's true size. */
MUST_USE int geometry_read_engine(struct geometry *geometry, const struct ipc_page *page,
                                  uint32_t slots_count, uint64_t memfd_bytes);

/* [offset, +bytes) lies inside [start, +length); no sum can wrap. */
static inline bool geometry_inside(uint64_t offset, uint64_t bytes, uint64_t start, uint64_t length)
{
    return offset >= start && offset - start <= length && bytes <= length - (offset - start);
}

#endif
