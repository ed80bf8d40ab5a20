/*
 * form: reads the fields of a posted form: multipart/form-data where they stand, others as text.
 * Ownership: fields point into the body, which the caller keeps.
 * Threads:   any.
 * Units:     bytes.
 * Errors:    -EBADMSG for anything but a whole body of RFC 7578 within the bounds below.
 *
 * One pass, nothing copied, nothing decoded: a part's headers are read for its name alone, and the
 * value is every byte up to the next delimiter.
 */
#ifndef KEYSERVICE_SERVER_HTTP_FORM_H
#define KEYSERVICE_SERVER_HTTP_FORM_H

#include "base/macros.h"

#include <stddef.h>
#include <stdint.h>

#define FORM_FIELDS_MAX     128
#define FORM_BOUNDARY_CHARS 70 /* RFC 2046, 5.1.1 */
#define FORM_HEAD_BYTES_MAX 1024
#define FORM_NAME_CHARS     16

struct form_field {
    char name[FORM_NAME_CHARS + 1]; /* "": longer, or with other characters than letters and digits
                                     */
    const uint8_t *value;
    size_t value_bytes;
};

/* `type` is the request's Content-Type, which names the boundary. */
MUST_USE int form_read(struct form_field fields[FORM_FIELDS_MAX], uint32_t *fields_count,
                       const char *type, const uint8_t *body, size_t body_bytes);

/* A field of a form in application/x-www-form-urlencoded, decoded. */
struct form_text {
    const char *name;
    char *text; /* "" when absent; NUL-terminated, no NUL inside */
    size_t room;
};
/* -EBADMSG, with every text wiped, when a field is unknown, there twice, too long or malformed. */
MUST_USE int form_read_texts(const struct form_text *texts, uint32_t texts_count,
                             const uint8_t *body, size_t body_bytes);

#endif
