/*
 * logo: is this data URL a small picture, whole and of the kind that it says?
 * Ownership: borrows.
 * Threads:   any.
 * Units:     bytes of the picture; characters of its URL; pixels.
 * Errors:    a question.
 *
 * PNG (its chunks, their checksums, up to the last) and JPEG (its segments up to the picture's
 * data). Nothing is decoded; a browser shows it in an img element of its declared type, where no
 * script of it can run.
 */
#ifndef KEYSERVICE_SERVER_LOGO_H
#define KEYSERVICE_SERVER_LOGO_H

#include <stdbool.h>

#define LOGO_BYTES_MAX (32 * 1024)
#define LOGO_URL_BYTES (LOGO_BYTES_MAX / 3 * 4 + 64)
#define LOGO_SIDE_MAX  2048

bool logo_valid(const char *url);

#endif
