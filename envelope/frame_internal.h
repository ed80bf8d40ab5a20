/*
 * frame_internal: what frame.c renders at open and frame_hot.c copies per mail.
 * Ownership: the frame's.
 * Threads:   constant after open; any.
 * Units:     bytes.
 * Errors:    none.
 */
#ifndef ENVELOPE_FRAME_INTERNAL_H
#define ENVELOPE_FRAME_INTERNAL_H

#include "envelope/frame.h"
#include "envelope/template.h"

#define FRAME_HOST_BYTES_MAX 255

struct frame {
    enum cobble_suite suite;
    bool hide_subject;
    bool keep_references;
    bool shows_subject; /* one of the templates does */
    uint32_t host_bytes;
    uint8_t host[FRAME_HOST_BYTES_MAX];
    struct template *text;
    struct template *html;
    uint8_t *shell; /* the attachment; head and tail are parts of it */
    size_t head_bytes;
    size_t tail_offset;
    size_t tail_bytes;
    uint8_t *subject_line; /* "Subject: …" CRLF, with hide_subject */
    size_t subject_line_bytes;
};

/* The same as frame_open() with the shell and the locale's templates given (NUL-terminated), for
 * frame_assets.c and for tests. */
MUST_USE int frame_open_parts(struct frame **frame, const struct frame_config *config,
                              const char *shell, const char *text_default, const char *html_default,
                              char why[FRAME_WHY_BYTES]);

#endif
