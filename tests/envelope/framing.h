/*
 * framing: whole sealed mails for tests, their ciphertext left empty, and a strict reader of them.
 * Ownership: framing_mail() returns what the caller frees.
 * Threads:   one.
 * Units:     bytes.
 * Errors:    none: what is not as docs/format/sealed-mail.md says stops the test.
 */
#ifndef TESTS_ENVELOPE_FRAMING_H
#define TESTS_ENVELOPE_FRAMING_H

#include "envelope/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAMING_NOW_UNIX_S UINT64_C(1795295700) /* 2026-11-21 21:15:00 UTC */
#define FRAMING_KEYS       "https://keys.example.com"
#define FRAMING_HOST       "mail.example.com"

/* A config that the tests change as they need. */
struct frame_config framing_config(void);

/* Opens with a small shell and short templates. */
struct frame *framing_open(const struct frame_config *config);

/* The five spans in a row, each checked against its bound in memory of exactly that size. A comma
 * ends the first of several recipients. */
char *framing_mail(const struct frame *frame, const uint8_t *mail, size_t mail_bytes,
                   const char *sender, const char *recipient, size_t *bytes);

/* The five spans of what frame_write() wrote, in their order, NUL-terminated; the caller frees. */
char *framing_join(const struct frame *frame, const uint8_t *own, const struct frame_spans *spans,
                   const uint8_t *ciphertext, size_t ciphertext_bytes, size_t *bytes);

/*
 * Reads a sealed mail by the letter: ASCII, CRLF, lines of at most 998, fields from the allow-list
 * in their order and once, no empty fold, the three parts in place.
 */
void framing_check(const char *sealed, size_t bytes);

/* A field's lines, from its name to its line end, or NULL; *field_bytes without the line end. */
const char *framing_field(const char *sealed, const char *name, size_t *field_bytes);

#endif
