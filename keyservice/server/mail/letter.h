/*
 * letter: the sealed mail around a message that a browser sealed.
 * Ownership: letters_open() renders a frame a locale; the opener closes. A mail is malloc'ed.
 * Threads:   constant after open; any.
 * Units:     bytes; unix nanoseconds.
 * Errors:    letters_open(): -EINVAL with a sentence in `why`; letter_write(): -EINVAL for text
 *            that cannot stand in a header, -ENOMEM, -EIO.
 *
 * docs/format/sealed-mail.md, written by envelope/ as the engine has it written; only the chunks
 * come from elsewhere. docs/keyservice/write.md says who stands in From.
 */
#ifndef KEYSERVICE_SERVER_MAIL_LETTER_H
#define KEYSERVICE_SERVER_MAIL_LETTER_H

#include "base/macros.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LETTER_WHY_BYTES      256
#define LETTER_NAME_BYTES_MAX 128  /* of the writer */
#define LETTER_IDS_BYTES_MAX  8192 /* In-Reply-To and References, each */
#define LETTER_ADDRESSES_MAX  100  /* To and Cc together */
#define LETTER_HEADER_BYTES   (60 * 1024)

struct letters;
struct id; /* envelope/id.h */

/* `host` is the right side of Message-IDs. */
MUST_USE int letters_open(struct letters **letters, const char *public_url, const char *host,
                          char why[LETTER_WHY_BYTES]);
void letters_close(struct letters *letters); /* NULL is harmless */

/* All of it borrowed; UTF-8. */
struct letter {
    const struct id *id;
    uint32_t locale;     /* pages.h */
    const char *name;    /* of the writer; "": none */
    const char *address; /* of the writer            */
    const char *service; /* stands in From for the writer, whose address then is beside the name and
                            in Reply-To; NULL: the writer does */
    const char *const *to;
    const char *const *cc;
    uint32_t to_count;
    uint32_t cc_count;
    const char *subject; /* "": hidden, the notification's own stands in its place */
    const char *in_reply_to;
    const char *references;
    const uint8_t *sealed; /* salt and commitment, then the chunks */
    size_t sealed_bytes;
    uint64_t now_unix_ns;
};

/* Could a reader take it for nothing but a name? An address in it would look like the writer's. */
bool letter_name_plain(const char *name);

MUST_USE int letter_write(const struct letters *letters, const struct letter *letter,
                          uint8_t **mail, size_t *mail_bytes);

#endif
