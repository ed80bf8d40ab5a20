/*
 * id: names an envelope: a UUIDv7, ascending in time for the store, unguessable for everyone else.
 * Ownership: caller's memory.
 * Threads:   as the crypto_core that is passed.
 * Units:     unix nanoseconds in; 16 bytes, or 32 lower-case hex digits, out.
 * Errors:    id_from_hex() gives -EINVAL.
 *
 * RFC 9562, 5.7: 48 bits of unix milliseconds, version, 12 bits of sub-millisecond fraction
 * (6.2, method 3), variant, 62 random bits.
 */
#ifndef ENVELOPE_ID_H
#define ENVELOPE_ID_H

#include "base/macros.h"
#include "crypto/core.h"

#include <stdint.h>

#define ID_BYTES     16
#define ID_HEX_CHARS 32

struct id {
    uint8_t bytes[ID_BYTES];
};

HOT void id_make(struct id *id, struct crypto_core *core, uint64_t now_unix_ns);
HOT void id_to_hex(char hex[ID_HEX_CHARS], const struct id *id); /* no terminating NUL */
MUST_USE int id_from_hex(struct id *id, const char *hex, size_t hex_chars);

/* The Cobblestone context: "bulla/1", 0x00, suite, id (DESIGN 4). */
#define ID_CONTEXT_BYTES 25
void id_context(uint8_t context[ID_CONTEXT_BYTES], uint32_t suite, const struct id *id);

#endif
