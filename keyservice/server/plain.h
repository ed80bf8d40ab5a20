/*
 * plain: a mail's items as the markup of a page without scripts.
 * Ownership: plain_read() mallocs what it gives; plain_fini() wipes and frees it.
 * Threads:   any; one object, one thread.
 * Units:     bytes of UTF-8; texts are NUL-terminated.
 * Errors:    -ENOMEM; items that are malformed end the message there.
 *
 * Items are what a stranger's mail was read into by a process that may have been taken over by it:
 * all of them are escaped here, lines are made clean, and nothing is believed but their lengths.
 */
#ifndef KEYSERVICE_SERVER_PLAIN_H
#define KEYSERVICE_SERVER_PLAIN_H

#include "base/macros.h"
#include "keyservice/server/mail/mailview.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct plain {
    char from[MAILVIEW_LINE_BYTES_MAX + 1]; /* to be escaped */
    char to[MAILVIEW_LINE_BYTES_MAX + 1];
    char cc[MAILVIEW_LINE_BYTES_MAX + 1];
    char subject[MAILVIEW_LINE_BYTES_MAX + 1];
    char date[MAILVIEW_LINE_BYTES_MAX + 1];
    char message_id[MAILVIEW_LINE_BYTES_MAX + 1];
    char references[MAILVIEW_LINE_BYTES_MAX + 1];
    char *files; /* markup: a button for each, and one to look at it where it can be */
    char *body;  /* markup */
    size_t files_bytes;
    size_t body_bytes;
    bool cut;
};

/* `look` is what a button says that shows a file. */
MUST_USE int plain_read(struct plain *plain, const uint8_t *items, size_t items_bytes,
                        const char *look);
void plain_fini(struct plain *plain); /* of zeroes is harmless */

/* Where the message is answered: what an answer needs stands behind the "#", which no browser
 * sends. To be freed; NULL without memory. */
char *plain_answer_link(const struct plain *plain, const char *id_hex);

/* One item's bytes as a clean line that ends in NUL, cut where there is no more room. */
void plain_line(char *line, size_t room, const uint8_t *bytes_at, size_t bytes);

#endif
