/*
 * html_text: the words of an HTML text, for a page that shows mail where nothing may run.
 * Ownership: html_text_write() borrows both sides.
 * Threads:   any.
 * Units:     bytes of UTF-8; the result is cut between characters, never inside one.
 * Errors:    none: what is no HTML is text.
 *
 * What comes out is text and is escaped like any other by whoever shows it, so nothing hangs on
 * reading HTML as a browser would. One pass over the source; no memory of its own.
 */
#ifndef KEYSERVICE_SERVER_MAIL_HTML_TEXT_H
#define KEYSERVICE_SERVER_MAIL_HTML_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where text goes: characters that may be shown and line ends, nothing else. */
struct html_text {
    uint8_t *dst;
    size_t bytes;
    size_t room;
    bool cut; /* the room was used up */
};

/* Appends plain text, line ends made LF; what may not be shown is left out. */
void html_text_plain(struct html_text *text, const uint8_t *src, size_t bytes);
/* Appends what a reader of the HTML sees, and the addresses of its links. */
void html_text_write(struct html_text *text, const uint8_t *html, size_t bytes);

#endif
