/*
 * noticing: a notice and a message for tests to begin with.
 * Ownership: the caller closes and frees.
 * Threads:   one.
 * Units:     bytes.
 * Errors:    fails the test.
 */
#ifndef TESTS_ENVELOPE_NOTICING_H
#define TESTS_ENVELOPE_NOTICING_H

#include "envelope/notice.h"

/* Addresses in wire form, static. */
#define NOTICING_RECIPIENTS                                                                        \
    "\x0d\x00"                                                                                     \
    "bob@b.example"                                                                                \
    "\x0f\x00"                                                                                     \
    "carol@c.example"
#define NOTICING_OUTER                                                                             \
    "From: alice@a.example\r\nTo: bob@b.example,\r\n carol@c.example\r\nSubject: Numbers\r\n"      \
    "Message-ID: <1@a.example>\r\nMIME-Version: 1.0\r\n"                                           \
    "Content-Type: multipart/mixed;\r\n boundary=\"=_m_x\"\r\n\r\n--=_m_x\r\nsecret body\r\n"

struct notice_config noticing_config(void);
struct notice_message noticing_message(void);
struct notice *noticing_open(const struct notice_config *config);

/* In memory of exactly notice_bytes_max(), with a NUL after it; caller frees. Checks that all of
 * it is ASCII, lines end in CRLF and are short enough for mail. */
char *noticing_write(const struct notice *notice, const struct notice_message *message,
                     size_t *bytes);

#endif
