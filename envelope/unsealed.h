/*
 * unsealed: reads a sealed mail, or the bare HTML attachment, back into id, suite and ciphertext.
 * Ownership: unsealed_read() allocates the ciphertext; unsealed_fini() frees it.
 * Threads:   any; one object, one thread.
 * Units:     bytes.
 * Errors:    -EINVAL: no bulla envelope in these bytes; -ENODATA: an envelope that was cut short;
 *            -EBADMSG: an envelope whose fields are damaged; -ENOMEM.
 */
#ifndef ENVELOPE_UNSEALED_H
#define ENVELOPE_UNSEALED_H

#include "base/macros.h"
#include "crypto/cobblestone.h"
#include "envelope/id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct unsealed {
    struct id id;
    enum cobble_suite suite;
    uint8_t *sealed; /* salt, commitment, chunks */
    size_t sealed_bytes;
};

MUST_USE int unsealed_read(struct unsealed *unsealed, const uint8_t *text, size_t text_bytes);

/* A field of the form that an envelope posts; names that the format does not know are passed over.
 */
struct unsealed_field {
    char name;
    const uint8_t *value;
    size_t value_bytes;
};

/* The same from a form's fields. Values stand in one text, in their order, which stops at `end`. */
MUST_USE int unsealed_read_fields(struct unsealed *unsealed, const struct unsealed_field *fields,
                                  uint32_t fields_count, const uint8_t *end);

/* Is this the key that the message was sealed with? Compares the commitment, opens nothing. */
bool unsealed_key_fits(const struct unsealed *unsealed, struct crypto_core *core,
                       const uint8_t *key);

/* Decrypts and unpacks: *mail is malloc'ed, the original byte for byte. -EBADMSG on any fault,
 * with nothing given out. */
MUST_USE int unsealed_open(const struct unsealed *unsealed, struct crypto_core *core,
                           const uint8_t *key, uint8_t **mail, size_t *mail_bytes);
/* The same, and -EFBIG when the original has more than mail_bytes_max bytes. */
MUST_USE int unsealed_open_within(const struct unsealed *unsealed, struct crypto_core *core,
                                  const uint8_t *key, size_t mail_bytes_max, uint8_t **mail,
                                  size_t *mail_bytes);
void unsealed_fini(struct unsealed *unsealed);

#endif
