/*
 * chunk_fields: sealed chunks that were made elsewhere, as the form fields that carry them.
 * Ownership: caller's memory.
 * Threads:   any.
 * Units:     bytes: of ciphertext in, without salt and commitment; of the envelope's HTML out.
 * Errors:    none; chunk_fields_whole() says whether it can be all of a message.
 *
 * docs/format/envelope.md, "c". What the sealer (envelope/sealer.h) writes of a message that it
 * seals itself: a browser's reply comes as chunks, and nobody here can open them.
 */
#ifndef ENVELOPE_CHUNK_FIELDS_H
#define ENVELOPE_CHUNK_FIELDS_H

#include "base/macros.h"
#include "crypto/base64.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whole chunks, then a shorter one: what the truncation rule asks for. */
bool chunk_fields_whole(size_t sealed_bytes);
size_t chunk_fields_bytes_max(size_t sealed_bytes);
/* `dst` has chunk_fields_bytes_max() of room. Returns bytes written. */
size_t chunk_fields_write(const struct base64_codec *codec, uint8_t *dst, const uint8_t *sealed,
                          size_t sealed_bytes);

#endif
