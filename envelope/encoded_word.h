/*
 * encoded_word: header text of RFC 2047, to UTF-8 that can be shown and back to ASCII.
 * Ownership: borrows the bytes for the call.
 * Threads:   any.
 * Units:     bytes; `column` is the characters already on the line.
 * Errors:    none: what cannot be decoded is shown as it stands.
 *
 * Nothing decoded is ever written to a header except through encoded_word_write(), whose output is
 * printable ASCII in folded lines.
 */
#ifndef ENVELOPE_ENCODED_WORD_H
#define ENVELOPE_ENCODED_WORD_H

#include "base/macros.h"
#include "envelope/writer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENCODED_WORD_COLUMN_MAX 76 /* RFC 2047, 2: lines with encoded words end here */
/* Decoded bytes of one run of words in one charset; what is beyond is not shown. */
#define ENCODED_WORD_RUN_BYTES_MAX 4096

struct encoded_word_text {
    size_t bytes; /* of clean UTF-8 (envelope/text.h) in dst                        */
    bool words;   /* encoded words were decoded                                     */
    bool unknown; /* one had a charset that we do not know; it stands undecoded     */
    bool dirty;   /* something was left out or replaced: never re-emit the original */
    bool cut;     /* dst was too small                                              */
    bool same;    /* it is the source, byte for byte: visible ASCII, single blanks   */
};

/* An unstructured field body, folds and all; linear time. */
HOT void encoded_word_decode(struct encoded_word_text *text, uint8_t *dst, size_t dst_room,
                             const uint8_t *src, size_t src_bytes);

enum encoded_word_place {
    ENCODED_WORD_UNSTRUCTURED, /* plain ASCII stays as it is            */
    ENCODED_WORD_PHRASE,       /* a display name: quoted where it needs */
};

/*
 * Appends clean UTF-8 as ASCII, folded at ENCODED_WORD_COLUMN_MAX, and moves *column. At most
 * encoded_word_write_bytes_max(src_bytes).
 */
HOT void encoded_word_write(struct writer *writer, const uint8_t *src, size_t src_bytes,
                            enum encoded_word_place place, size_t *column);
size_t encoded_word_write_bytes_max(size_t src_bytes);

#endif
