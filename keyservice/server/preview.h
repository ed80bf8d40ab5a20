/*
 * preview: which files of a message a browser may show, rather than save.
 * Ownership: borrows; types are static.
 * Threads:   any.
 * Units:     bytes.
 * Errors:    none: what is not surely one of these is not shown.
 *
 * Pictures of four raster formats, and PDF: by the name whether a page offers it, by the first
 * bytes what it is shown as. Never what the mail says that it is; never SVG or HTML, which can act.
 */
#ifndef KEYSERVICE_SERVER_PREVIEW_H
#define KEYSERVICE_SERVER_PREVIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool preview_named(const char *name);

/* The type to show these bytes as; NULL: they are to be saved. */
const char *preview_type(const uint8_t *bytes_at, size_t bytes);

#endif
