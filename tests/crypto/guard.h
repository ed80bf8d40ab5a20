/*
 * guard: memory whose both ends touch pages that may not be read or written.
 * Ownership: guard_open() maps, guard_close() unmaps.
 * Threads:   any.
 * Units:     bytes.
 * Errors:    a failing map fails the test; a stray access is a SIGSEGV.
 */
#ifndef TESTS_CRYPTO_GUARD_H
#define TESTS_CRYPTO_GUARD_H

#include <stddef.h>
#include <stdint.h>

struct guard {
    uint8_t *first; /* a readable byte whose predecessor is not */
    uint8_t *end;   /* one past the last readable byte          */
    uint8_t *map;
    size_t map_bytes;
};

void guard_open(struct guard *guard, size_t bytes_min);
void guard_close(struct guard *guard);

/* Runs `body` in a child and checks that it dies of SIGABRT: what ASSERT does at a bug. */
void expect_abort(void (*body)(void *), void *argument);

#endif
