/*
 * part: finds the parts of a mail that may be the envelope, and undoes their transfer encoding.
 * Ownership: parts borrow the mail; part_decode() allocates what the caller frees.
 * Threads:   any.
 * Units:     bytes.
 * Errors:    none in listing: any bytes are a mail; decoding gives -EBADMSG or -ENOMEM.
 *
 * A tolerant, bounded MIME walk for mail that gateways have been at: one pass over the lines, a
 * fixed stack of boundaries instead of recursion; what is nested deeper or comes later than the
 * limits is not found.
 */
#ifndef ENVELOPE_PART_H
#define ENVELOPE_PART_H

#include "base/macros.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PART_COUNT_MAX          32
#define PART_DEPTH_MAX          16
#define PART_BOUNDARY_BYTES_MAX 200 /* RFC 2046 says 70 */
#define PART_FIELD_BYTES_MAX    8192

enum part_encoding {
    PART_IDENTITY, /* 7bit, 8bit, binary, or none said */
    PART_QUOTED_PRINTABLE,
    PART_BASE64,
};

struct part {
    const uint8_t *body;
    size_t body_bytes;
    enum part_encoding encoding;
    bool named; /* securedoc_*.html */
    bool cut;   /* the mail ended before the part did */
};

/* Lists the parts that are named as envelopes are or are text/html, in the mail's order. */
uint32_t part_list(struct part parts[PART_COUNT_MAX], const uint8_t *mail, size_t mail_bytes);

/* The part's bytes in *decoded, to be freed. Quoted-printable is decoded as far as it makes sense
 * (RFC 2045, 6.7); base64 of a part that was cut is decoded up to the cut. */
MUST_USE int part_decode(const struct part *part, uint8_t **decoded, size_t *decoded_bytes);

#endif
