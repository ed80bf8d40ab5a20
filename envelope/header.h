/*
 * header: finds the fields of a message that policy and the outer header need.
 * Ownership: borrows the message; spans are offsets into it.
 * Threads:   any.
 * Units:     bytes from the start of the message.
 * Errors:    none: any bytes are a message. What cannot be read as a field is no field.
 *
 * RFC 5322 section 2.2, read as hostile: one pass, linear time, at most HEADER_BYTES_MAX bytes
 * looked at. CRLF and bare LF both end a line. Fields beyond the limits stay inside the envelope
 * and are never re-emitted.
 */
#ifndef ENVELOPE_HEADER_H
#define ENVELOPE_HEADER_H

#include "base/macros.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEADER_BYTES_MAX (64 * 1024)

enum header_field {
    HEADER_FROM,
    HEADER_SENDER,
    HEADER_REPLY_TO,
    HEADER_TO,
    HEADER_CC,
    HEADER_SUBJECT,
    HEADER_DATE,
    HEADER_MESSAGE_ID,
    HEADER_IN_REPLY_TO,
    HEADER_REFERENCES,
    HEADER_AUTO_SUBMITTED,
    HEADER_PRECEDENCE,
};
#define HEADER_FIELD_COUNT 12

/* A field's body as it stands, folds included, without name, colon and final line end. */
struct header_span {
    uint32_t offset;
    uint32_t bytes;
};

struct header {
    struct header_span field[HEADER_FIELD_COUNT]; /* first of each name; bytes 0 if absent */
    uint32_t present;      /* bit 1 << enum header_field                                 */
    uint32_t repeated;     /* a second one of that name was seen                          */
    uint32_t fields_count; /* all fields, known or not                                    */
    uint32_t header_bytes; /* up to and with the empty line, or all that was looked at    */
    bool ended;            /* the empty line was found                                    */
    bool list;             /* a field's name begins with List-: a mailing list's           */
};

/* `there_bytes` of the message's mail_bytes are there to be looked at: all, or HEADER_BYTES_MAX of
 * them. A field that the end of what is looked at cuts, or may have cut, is no field. */
HOT void header_read(struct header *header, const uint8_t *mail, size_t there_bytes,
                     size_t mail_bytes);

static inline bool header_has(const struct header *header, enum header_field field)
{
    return (header->present >> field & 1) != 0;
}

#endif
