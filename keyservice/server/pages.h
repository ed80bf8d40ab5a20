/*
 * pages: the web pages and their strings, one rendering a locale, made once at start.
 * Ownership: pages_open() renders; the opener closes. Answers borrow for the server's life.
 * Threads:   constant after open; any.
 * Units:     bytes; locales are the names of the files in each folder of web/pages/strings/.
 * Errors:    pages_open(): -ENOENT for a missing asset, -EBADMSG for a string that is not there,
 *            each with a sentence in `why`.
 */
#ifndef KEYSERVICE_SERVER_PAGES_H
#define KEYSERVICE_SERVER_PAGES_H

#include "base/macros.h"
#include "keyservice/server/http/http.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGES_WHY_BYTES     256
#define PAGES_LOCALES_COUNT 12

/* Pages that say one sentence, without a script. */
enum pages_notice {
    PAGES_NOTICE_AWAY,
    PAGES_NOTICE_CUT,
    PAGES_NOTICE_DAMAGED,
    PAGES_NOTICE_TOO_LARGE,
};
#define PAGES_NOTICES_COUNT 4

/* Pages that take values for each request, without a script too. */
enum pages_plain {
    PAGES_PLAIN_SIGNIN,
    PAGES_PLAIN_PROOF,
    PAGES_PLAIN_CODE,
    PAGES_PLAIN_MESSAGE,
    PAGES_PLAIN_SHOWN,
    PAGES_PLAIN_LINK,
};
#define PAGES_PLAINS_COUNT 6

/* What stands for {{=name}} in one of them. */
struct pages_value {
    const char *name;
    const char *text; /* "" where it is NULL */
    bool markup;      /* is HTML already; else it is escaped */
};

struct pages;

MUST_USE int pages_open(struct pages **pages, char why[PAGES_WHY_BYTES]);
/* The strings alone, for who writes mails and answers nobody: nothing is rendered. */
MUST_USE int pages_words_open(struct pages **pages, char why[PAGES_WHY_BYTES]);
void pages_close(struct pages *pages); /* NULL is harmless */

/* The index of the best locale for an Accept-Language value; 0 is English. */
uint32_t pages_locale(const char *accept_language);
const char *pages_locale_name(uint32_t locale);
bool pages_right_to_left(uint32_t locale);

/* `path` where it is a page's, or a page's and a name behind it; else "/". */
const char *pages_path(const char *path);

/* A string of the locale, or English where it has none. Never NULL for a name of en.json. */
const char *pages_string(const struct pages *pages, uint32_t locale, const char *name);

/* Copies `text` with {{code}} and {{url}} replaced, cut at `room`. */
void pages_expand(char *dst, size_t room, const char *text, const char *code, const char *url);

/* Answers with a notice in the request's language. */
void pages_notice_answer(const struct pages *pages, struct http_request *request,
                         unsigned int status, enum pages_notice notice);

/* Answers with a plain page in the request's language, or 503 without memory. What it was made of
 * is wiped when it is freed. */
void pages_plain_answer(const struct pages *pages, struct http_request *request,
                        unsigned int status, enum pages_plain page,
                        const struct pages_value *values, uint32_t values_count);

/* Answers GET of a page or of one of its files; the handler of those routes. */
struct service;
http_handle pages_get;

#endif
