/*
 * assets: what web/ builds, as bytes inside the programs.
 * Ownership: constant, for the life of the program.
 * Threads:   any.
 * Units:     bytes; a NUL stands after the last one and is not counted.
 * Errors:    asset_find() gives NULL for a name that was not built.
 *
 * Names are paths under the build's web/dist: "envelope-aes256.en.html",
 * "templates/en/notification.txt", "templates/en/notification.html", "pages/open.html", …
 */
#ifndef WEB_ASSETS_H
#define WEB_ASSETS_H

#include <stddef.h>
#include <stdint.h>

struct asset {
    const char *name;
    const uint8_t *bytes_at;
    size_t bytes;
};

const struct asset *asset_find(const char *name);
const struct asset *asset_at(size_t index); /* NULL past the last */

#endif
