/*
 * secret: comparing and wiping bytes that nobody else may learn.
 * Ownership: borrows the bytes for the call.
 * Threads:   any.
 * Units:     bytes.
 * Errors:    secret_pages_open() gives -errno; the rest cannot fail.
 */
#ifndef CRYPTO_SECRET_H
#define CRYPTO_SECRET_H

#include "base/macros.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Takes the same time whatever the bytes are. */
bool ct_equal(const void *a, const void *b, size_t bytes);

/* Never removed by the compiler. */
void secret_wipe(void *bytes_at, size_t bytes);

/* For __attribute__((cleanup(secret_wipe_32))) on a uint8_t[32]. */
void secret_wipe_32(uint8_t (*bytes_at)[32]);

/*
 * Clears SECRET_STACK_BYTES of stack below the caller: what calls that have returned left there of
 * keys when the compiler ran out of registers, and what no wipe of a variable can reach.
 */
#define SECRET_STACK_BYTES 8192
void secret_wipe_stack(void);

/*
 * Private pages for keys: locked in memory where the limit allows, left out of cores
 * (MADV_DONTDUMP), wiped in a forked child (MADV_WIPEONFORK), and never huge pages, which know no
 * WIPEONFORK. `bytes` is rounded up to whole pages. Zeroed; secret_pages_close() wipes and unmaps.
 */
MUST_USE int secret_pages_open(void **pages, size_t bytes);
void secret_pages_close(void *pages, size_t bytes);

#endif
