/*
 * template: a notification with `{{name}}` in it, compiled once and rendered for every mail.
 * Ownership: template_open() copies what it is given; the opener closes.
 * Threads:   constant after open; any.
 * Units:     bytes; the result is quoted-printable (RFC 2045, 6.7) with CRLF.
 * Errors:    open gives -EINVAL or -ENOMEM, with a sentence in `why` that names the line.
 *
 * Text between variables is encoded at open. A variable stands on a line of its own between two
 * soft line breaks, so a value is all that is encoded per mail, and no value can change what
 * stands around it.
 */
#ifndef ENVELOPE_TEMPLATE_H
#define ENVELOPE_TEMPLATE_H

#include "base/macros.h"
#include "envelope/writer.h"

#include <stddef.h>
#include <stdint.h>

#define TEMPLATE_BYTES_MAX    (256 * 1024) /* a logo stands inside */
#define TEMPLATE_SEGMENTS_MAX 64
#define TEMPLATE_WHY_BYTES    256

enum template_kind {
    TEMPLATE_TEXT,    /* values as they are                          */
    TEMPLATE_HTML,    /* values escaped, for elements and attributes */
    TEMPLATE_FAILURE, /* text, with enum template_failure_variable   */
};

/* What changes from mail to mail. */
enum template_variable {
    TEMPLATE_SENDER,      /* {{sender}}: `Name <address>`, or the address alone */
    TEMPLATE_SENDER_NAME, /* {{sender_name}}: the name, or else the address     */
    TEMPLATE_SUBJECT,     /* {{subject}}: empty when hidden                      */
    TEMPLATE_DATE,        /* {{date}}: of sealing, UTC                           */
    TEMPLATE_ATTACHMENT,  /* {{attachment}}: its file name                       */
};
#define TEMPLATE_VARIABLE_COUNT 5

/* The same of a failure notification (envelope/notice.h). */
enum template_failure_variable {
    TEMPLATE_FAILURE_SENDER,     /* {{sender}}: the address that is notified               */
    TEMPLATE_FAILURE_RECIPIENTS, /* {{recipients}}: addresses, or the first of them        */
    TEMPLATE_FAILURE_DATE,       /* {{date}}: when the message came, UTC                   */
    TEMPLATE_FAILURE_REASON,     /* {{reason}}: a sentence in the locale's language        */
    TEMPLATE_FAILURE_MESSAGE_ID, /* {{message_id}}: of the sealed mail                     */
};
#define TEMPLATE_FAILURE_VARIABLE_COUNT 5

struct template_value {
    const uint8_t *text; /* clean UTF-8: no line end, no control */
    size_t bytes;
};

/* What a profile fixes; put in at open. */
struct template_constants {
    const char *key_service;  /* {{key_service}}: text, escaped by the template          */
    const char *logo_element; /* {{logo}}: HTML as it is, for HTML templates alone; "" for none */
};

struct template;

/* A `Subject:` line that begins a template of text is no part of what is rendered.
 * `name` is how `why` calls it ("text template"). Values stand in the order of the kind's enum. */
MUST_USE int template_open(struct template **template, enum template_kind kind, const char *name,
                           const char *text, const struct template_constants *constants,
                           char why[TEMPLATE_WHY_BYTES]);
void template_close(struct template *template); /* NULL is harmless */

size_t template_bytes_max(const struct template *template,
                          const struct template_value values[TEMPLATE_VARIABLE_COUNT]);
HOT void template_render(const struct template *template, struct writer *writer,
                         const struct template_value values[TEMPLATE_VARIABLE_COUNT]);

/* The `Subject: …` that may be a template's first line: its text, and the template after it. */
const char *template_subject(const char *text, const char **subject, size_t *subject_bytes);

#endif
