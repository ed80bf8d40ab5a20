/*
 * scan: copies mail and finds, on the way, where base64 lines may stand.
 * Ownership: borrows; source and destination never overlap.
 * Threads:   any; the functions keep nothing.
 * Units:     bytes; blocks of SCAN_BLOCK_BYTES are counted from `src`.
 * Errors:    none.
 *
 * A block is dense when each of its bytes is of the base64 alphabet, '=', CR or LF. Ordinary text
 * has a blank in nearly every block, and that is the first thing looked for.
 */
#ifndef ENVELOPE_SCAN_H
#define ENVELOPE_SCAN_H

#include "base/macros.h"
#include "crypto/isa.h"

#include <stddef.h>
#include <stdint.h>

#define SCAN_BLOCK_BYTES 32

/*
 * Copies src to dst up to the first dense block, and returns where that block begins; of dst what
 * lies behind is scratch then. Without one all is copied and src_bytes returned. A rest of less
 * than a block is never dense. Touches nothing beyond src_bytes of either.
 */
typedef size_t scan_fn(uint8_t *dst, const uint8_t *src, size_t src_bytes);

scan_fn *scan_for(enum isa isa); /* for a supported ISA */

/* One bit for each byte of the block at `src` that cannot stand among base64 lines; where there are
 * blanks, only for those. */
HOT uint32_t scan_outside(const uint8_t *src);

#endif
