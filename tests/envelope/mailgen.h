/*
 * mailgen: mail that no correspondent would write, from a seed that is printed.
 * Ownership: caller's memory; a corpus message is borrowed for the call.
 * Threads:   one.
 * Units:     bytes.
 * Errors:    a corpus that is absent is no corpus: false.
 */
#ifndef TESTS_ENVELOPE_MAILGEN_H
#define TESTS_ENVELOPE_MAILGEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* splitmix64: small, and the same everywhere. */
struct mailgen {
    uint64_t state;
};

/* From $BULLA_SEED, or from the clock; prints it. */
struct mailgen mailgen_seeded(void);
uint64_t mailgen_next(struct mailgen *gen);
uint32_t mailgen_below(struct mailgen *gen, uint32_t bound);
void mailgen_bytes(struct mailgen *gen, uint8_t *dst, size_t bytes);

/* Headers, text, base64 of every kind, broken and whole, junk; at most room bytes. */
size_t mailgen_mail(struct mailgen *gen, uint8_t *dst, size_t room);

/* lines_count full lines of base64 of random bytes; returns bytes written. */
size_t mailgen_base64(struct mailgen *gen, uint8_t *dst, uint32_t width, bool crlf,
                      size_t lines_count);

/* A message with one attachment of 76-column CRLF base64, `bytes` long in all. */
void mailgen_attachment(struct mailgen *gen, uint8_t *dst, size_t bytes);

/* Calls `use` for each message of $BULLA_CORPUS, as it stands and with CRLF; false: no corpus. */
bool mailgen_corpus(void (*use)(const uint8_t *mail, size_t mail_bytes, void *context),
                    void *context);

#define MAILGEN_SKIPPED 77 /* what ctest takes for skipped */

/* What main() returns when it looked for the corpus: cmocka counts a skipped test as passed, ctest
 * must not. */
int mailgen_verdict(int failed_count);

#endif
