/*
 * crc32c: the checksum of the spool (Castagnoli; RFC 3720, B.4).
 * Ownership: borrows the bytes for the call.
 * Threads:   any.
 * Units:     bytes.
 * Errors:    none.
 *
 * It tells what a disk did to bytes, not what an enemy did: tags do that.
 */
#ifndef QUEUE_CRC32C_H
#define QUEUE_CRC32C_H

#include "base/macros.h"

#include <stddef.h>
#include <stdint.h>

/* Of `crc` (0 at first) and then these bytes: the checksum of several spans in turn is that of
 * all of them. */
HOT uint32_t crc32c(uint32_t crc, const void *at, size_t bytes);
/* The same, of the bytes as they go into the copy that it makes, past the caches where it can: for
 * what nobody on this processor reads again. Others may after crc32c_copied_out(). */
HOT uint32_t crc32c_copy_out(uint32_t crc, void *dst, const void *from, size_t bytes);
HOT void crc32c_copied_out(void);
/* As crc32c(), without wide registers, for tests and machines that have none ... */
HOT uint32_t crc32c_narrow(uint32_t crc, const void *at, size_t bytes);
/* ... and by the definition, for tests and machines without SSE4.2. */
uint32_t crc32c_plain(uint32_t crc, const void *at, size_t bytes);

#endif
