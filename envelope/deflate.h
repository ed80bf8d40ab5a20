/*
 * deflate: makes raw deflate streams (RFC 1951) of the text in mail, by ISA-L.
 * Ownership: caller's memory, deflate_bytes() of it, which holds plaintext until deflate_wipe().
 * Threads:   one thread's; it keeps nothing from one stream to the next.
 * Units:     bytes.
 * Errors:    none: what does not shrink gives 0.
 *
 * One pass with codes made beforehand: for the letters of mail (envelope/deflate_tables.h), or
 * deflate's own for what is short or mostly outside ASCII. Codes fitted to each text save 3 % more
 * and take twice as long (bench/envelope/deflate_bench.c).
 */
#ifndef ENVELOPE_DEFLATE_H
#define ENVELOPE_DEFLATE_H

#include "base/macros.h"

#include <stddef.h>
#include <stdint.h>

#define DEFLATE_SRC_BYTES_MAX (65 * 1024)

struct deflate; /* CACHE_LINE aligned; zeros before its first use */

size_t deflate_bytes(void);

/*
 * Deflates src_bytes (≤ DEFLATE_SRC_BYTES_MAX) to one whole stream at dst, which may be where src
 * is. Returns its bytes, at most dst_bytes_max, or 0 when it would be longer: then dst is
 * untouched.
 */
HOT size_t deflate_try(struct deflate *deflate, uint8_t *dst, size_t dst_bytes_max,
                       const uint8_t *src, size_t src_bytes);

void deflate_wipe(struct deflate *deflate); /* nothing to do when it was not used */

#endif
