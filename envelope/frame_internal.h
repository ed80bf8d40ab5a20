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

/* Text of a fixed length, written over its place in the constant text around it. */
enum frame_hole {
    FRAME_HOLE_BOUNDARY,   /* FRAME_BOUNDARY_CHARS */
    FRAME_HOLE_ATTACHMENT, /* FRAME_ATTACHMENT_CHARS */
    FRAME_HOLE_DAY,        /* FRAME_DAY_CHARS */
    FRAME_HOLE_ID,         /* ID_HEX_CHARS */
};
#define FRAME_HOLE_COUNT     4
#define FRAME_HOLE_CHARS_MIN 16 /* of each */
#define FRAME_HOLE_CHARS_MAX 32

/* Text whose length differs from mail to mail. */
enum frame_value {
    FRAME_VALUE_SENDER_TEXT, /* in the notification's parts, without their last soft break */
    FRAME_VALUE_SENDER_HTML,
    FRAME_VALUE_NAME_TEXT,
    FRAME_VALUE_NAME_HTML,
    FRAME_VALUE_SUBJECT_TEXT,
    FRAME_VALUE_SUBJECT_HTML,
    FRAME_VALUE_SENDER_FIELD, /* in the hidden inputs */
    FRAME_VALUE_SUBJECT_FIELD,
    FRAME_VALUE_TIME_FIELD,
    FRAME_VALUE_SALT_FIELD,
    FRAME_VALUE_NONE, /* the script's end */
};
#define FRAME_VALUE_COUNT     11
#define FRAME_VALUE_TEMPLATES 6 /* the first ones stand in templates, possibly more than once */

#define FRAME_BOUNDARY_CHARS   (FRAME_BOUNDARY_BYTES / 3 * 4)
#define FRAME_ATTACHMENT_CHARS sizeof(((struct frame_time *)NULL)->attachment)
#define FRAME_DAY_CHARS        sizeof(((struct frame_time *)NULL)->day)
#define FRAME_VALUE_CHARS_MAX  900 /* of a hidden input, in a line: docs/format/envelope.md */

#define FRAME_EPILOGUE_BYTES                                                                       \
    (4 + 4 + FRAME_BOUNDARY_CHARS + 4) /* CRLF, "--", "=_m_", "--", CRLF                           \
                                        */

#define FRAME_SEGMENTS_MAX (2 * TEMPLATE_SEGMENTS_MAX + 8)
#define FRAME_HOLES_MAX    (2 * TEMPLATE_SEGMENTS_MAX + 16)

struct frame_place {
    uint32_t offset; /* into the segment's text */
    uint32_t chars;
    enum frame_hole hole;
};

/* Constant text, then a value. */
struct frame_segment {
    uint32_t offset;
    uint32_t bytes;
    uint32_t places_end; /* those before it are in this segment or an earlier one */
    enum frame_value value;
};

/* A run of text made at open: what is the same in every mail is one copy, values go between. */
struct frame_script {
    uint8_t *text;
    size_t text_bytes;
    uint32_t segments_count;
    uint32_t places_count;
    uint32_t uses[FRAME_VALUE_COUNT];
    struct frame_segment segments[FRAME_SEGMENTS_MAX];
    struct frame_place places[FRAME_HOLES_MAX];
};

/* The attachment around the fields, in one run of bytes. */
struct frame_shell {
    uint8_t *text;
    size_t head_bytes;
    size_t tail_offset;
    size_t tail_bytes;
};

struct frame {
    enum cobble_suite suite;
    bool hide_subject;
    bool keep_references;
    uint32_t host_bytes;
    uint8_t host[FRAME_HOST_BYTES_MAX];
    const struct base64_codec *codec;
    struct template *text;
    struct template *html;
    struct frame_script prologue; /* after the outer header */
    struct frame_script fields;
    size_t script_bytes_max; /* of both, without the values that differ in length */
    struct frame_shell shells[FRAME_VARIANT_COUNT];
    uint8_t *subject_line; /* "Subject: …" CRLF, with hide_subject */
    size_t subject_line_bytes;
};

/* Of a frame whose templates are open: -ENOMEM. */
MUST_USE int frame_script_open(struct frame *frame);
void frame_script_close(struct frame *frame);

/* What web/ built: NUL-terminated. */
struct frame_parts {
    const char *shells[FRAME_VARIANT_COUNT];
    const char *text; /* the locale's own notification */
    const char *html;
};

/* The same as frame_open() with these, for frame_assets.c and for tests. */
MUST_USE int frame_open_parts(struct frame **frame, const struct frame_config *config,
                              const struct frame_parts *parts, char why[FRAME_WHY_BYTES]);

#endif
