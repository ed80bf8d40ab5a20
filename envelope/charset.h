/*
 * charset: turns the bytes of a header's encoded word into code points.
 * Ownership: constant tables, made at build time by charset_gen.c from the C library's own.
 * Threads:   any.
 * Units:     bytes in, code points out.
 * Errors:    a byte that means nothing in its charset becomes U+FFFD; an unknown name is NULL.
 *
 * Headers only: bodies are never decoded here. iconv(3) itself allocates and loads files, which
 * the sealing path may not.
 */
#ifndef ENVELOPE_CHARSET_H
#define ENVELOPE_CHARSET_H

#include "base/macros.h"
#include "envelope/text.h"

#include <stddef.h>
#include <stdint.h>

struct charset;

/* By MIME name; case and punctuation do not count ("UTF-8", "utf8"). */
HOT const struct charset *charset_find(const uint8_t *name, size_t bytes);

/* What raw 8-bit bytes are taken for that are not UTF-8: windows-1252, as browsers do. */
const struct charset *charset_fallback(void);

HOT void charset_decode(const struct charset *charset, struct text *text, const uint8_t *src,
                        size_t bytes);

#endif
