/*
 * vectors: published test vectors, read where they lie.
 * Ownership: vectors_load() gives a reference the caller drops; vector_bytes() malloc'd bytes.
 * Threads:   one.
 * Units:     bytes.
 * Errors:    an absent Wycheproof file is NULL and a line saying so; an absent CAVP file and a
 *            broken vector fail the test.
 */
#ifndef TESTS_CRYPTO_VECTORS_H
#define TESTS_CRYPTO_VECTORS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

/* A Wycheproof file of $BULLA_VECTORS, or of the shared folder beside the sources. */
json_t *vectors_load(const char *name);

#define VECTORS_SKIPPED 77 /* what ctest takes for skipped */

/* What main() returns: cmocka counts a skipped test as passed, ctest must not. */
int vectors_verdict(int failed_count);

/* A NIST CAVP file of $BULLA_CAVP, or of Debian's python3-cryptography-vectors; fails without. */
FILE *cavp_open(const char *name);

struct vector_bytes {
    uint8_t *at; /* one byte longer than it says, so never NULL */
    size_t bytes;
};

struct vector_bytes vector_from_hex(const char *hex, size_t hex_chars);
struct vector_bytes vector_from_json(const json_t *test, const char *member);
void vector_free(struct vector_bytes *vector);

const char *vector_text(const json_t *test, const char *member);
int vector_has_flag(const json_t *test, const char *flag);

#endif
