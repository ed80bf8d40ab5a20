/*
 * unpack: gives back the message that envelope/pack.h packed, byte for byte.
 * Ownership: borrows; the caller has the memory that unpack_bytes() asks for.
 * Threads:   any.
 * Units:     bytes.
 * Errors:    -EBADMSG for anything that docs/format/packed.md rejects; -ENOMEM.
 *
 * The packed bytes were authenticated, but whoever sealed them may be hostile: every length is
 * checked before use, and the whole of it is measured before a byte is written.
 */
#ifndef ENVELOPE_UNPACK_H
#define ENVELOPE_UNPACK_H

#include "base/macros.h"

#include <stddef.h>
#include <stdint.h>

/* A message may not unpack to more than this, nor one deflated segment to more than the other. */
#define UNPACK_MAIL_BYTES_MAX     (UINT64_C(1) << 30)
#define UNPACK_INFLATED_BYTES_MAX (UINT32_C(1) << 20)

/* The message's size: reads every segment header, writes nothing. */
MUST_USE int unpack_bytes(const uint8_t *packed, size_t packed_bytes, size_t *mail_bytes);

/* `mail` has the mail_bytes that unpack_bytes() gave. After an error its bytes mean nothing. */
MUST_USE int unpack(uint8_t *mail, size_t mail_bytes, const uint8_t *packed, size_t packed_bytes);

#endif
