/*
 * subject: a Subject field whose text an administrator or a locale wrote, encoded once.
 * Ownership: the line is the caller's to free().
 * Threads:   any.
 * Units:     bytes of UTF-8 in; of ASCII with folds and CRLF out.
 * Errors:    -EINVAL or -ENOMEM, with a sentence in `why` that begins with `name`.
 */
#ifndef ENVELOPE_SUBJECT_H
#define ENVELOPE_SUBJECT_H

#include "base/macros.h"

#include <stddef.h>
#include <stdint.h>

#define SUBJECT_TEXT_BYTES_MAX 255
#define SUBJECT_WHY_BYTES      256

/* "Subject: …" CRLF. `text` may be NULL, which is refused like an empty one. */
MUST_USE int subject_open(uint8_t **line, size_t *line_bytes, const char *name, const char *text,
                          size_t text_bytes, char why[SUBJECT_WHY_BYTES]);

#endif
