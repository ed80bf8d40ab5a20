/*
 * format_example: the worked hex example of a page of docs/format, as bytes, for tests.
 * Ownership: writes into the caller's buffer.
 * Threads:   any.
 * Units:     bytes.
 * Errors:    a page that can't be read, or an example that does not fit, fails the test.
 */
#ifndef TESTS_KEYSERVICE_FORMAT_EXAMPLE_H
#define TESTS_KEYSERVICE_FORMAT_EXAMPLE_H

#include <stddef.h>
#include <stdint.h>

/* All of the page's hex blocks, one after the other; `path` from the project's root. */
size_t format_example(const char *path, uint8_t *dst, size_t dst_room);

#endif
