/*
 * sealer: turns one message into the form fields that carry its ciphertext, slice by slice.
 * Ownership: the caller's memory; a sealer holds key and plaintext: sealer_wipe() when done.
 * Threads:   one message, one thread; the scratch may serve all sealers of that thread.
 * Units:     bytes; a slice is at most SEALER_SLICE_BYTES of the original message.
 * Errors:    none: any bytes can be sealed.
 *
 * One pass through cache: original bytes are packed (envelope/pack.h), sealed in 16 KiB chunks
 * (crypto/cobblestone.h) and encoded as 76-column base64 in hidden inputs of 57 chunks each, which
 * are exactly 16,400 lines (docs/format/envelope.md). What a message has beyond SEALER_CACHED_BYTES
 * is written past the caches, and is in memory when the step returns.
 */
#ifndef ENVELOPE_SEALER_H
#define ENVELOPE_SEALER_H

#include "base/macros.h"
#include "crypto/base64.h"
#include "crypto/cobblestone.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEALER_SLICE_BYTES  (64 * 1024)
#define SEALER_CACHED_BYTES (256 * 1024) /* packed */

struct sealer;         /* one message in progress; sealer_bytes() large, CACHE_LINE aligned */
struct sealer_scratch; /* a thread's working buffers; sealer_scratch_bytes() large, zeroed  */

size_t sealer_bytes(void);
size_t sealer_scratch_bytes(void);

/* Never more than this is written to `dst` over all steps for a message of mail_bytes. */
size_t sealer_fields_bytes_max(size_t mail_bytes);

/* The cobble is where derivation writes: hand sealer_cobble(s) to cobble_derive_burst() after
 * sealer_init() and before the first step. With `compress` literals are deflated where they shrink.
 */
HOT void sealer_init(struct sealer *sealer, const struct base64_codec *codec, bool compress);
struct cobble *sealer_cobble(struct sealer *sealer);

/*
 * Takes the next src_bytes (≤ SEALER_SLICE_BYTES; 0 only with `last`), appends to dst (with
 * dst_room ≥ what sealer_fields_bytes_max() left over) and returns bytes written. `src` must be
 * private memory: it is read more than once.
 */
HOT size_t sealer_step(struct sealer *sealer, struct crypto_core *core,
                       struct sealer_scratch *scratch, const uint8_t *src, size_t src_bytes,
                       bool last, uint8_t *dst, size_t dst_room);

/* Where the next step's bytes will be copied from: a long message has them brought close while this
 * one's step runs. They are never read here. Holds for the next step alone. */
HOT void sealer_ahead(struct sealer *sealer, const uint8_t *bytes_at, size_t bytes);

void sealer_wipe(struct sealer *sealer);
/* The plaintext in it: no more bytes than the longest slice since the last wipe can have touched.
 */
void sealer_scratch_wipe(struct sealer_scratch *scratch);

#endif
