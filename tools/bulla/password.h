/*
 * password: the reader's password, from a file or from the terminal without echo.
 * Ownership: the caller's memory; wipe it with secret_wipe() after use.
 * Threads:   one.
 * Units:     bytes; UTF-8, without the line end.
 * Errors:    an exit status, after one line on stderr.
 */
#ifndef TOOLS_BULLA_PASSWORD_H
#define TOOLS_BULLA_PASSWORD_H

#include "base/macros.h"

#include <stddef.h>

#define PASSWORD_BYTES 1025 /* with NUL */

/* The first line of `path`; NULL asks on the terminal for `user`'s. */
MUST_USE int password_read(const char *path, const char *user, char password[PASSWORD_BYTES]);
/* The same for the code of a second factor. */
MUST_USE int password_code_read(const char *path, const char *user, char code[PASSWORD_BYTES]);

#endif
