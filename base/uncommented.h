/*
 * uncommented: a configuration file as a stream that has blanks where the file's comments stand.
 * Ownership: uncommented_open() makes the stream, uncommented_close() ends it.
 * Threads:   any, each its own.
 * Units:     bytes; every line end stays, so that lines keep their numbers.
 * Errors:    open gives -errno; -EFBIG: larger than UNCOMMENTED_BYTES_MAX.
 *
 * libConfuse 3.3 counts a line that ends in a comment as three, and takes a comment within a list
 * for a value. Comments are its own: from # or // to the line's end, or in C's marks; none begins
 * within quotes.
 */
#ifndef BASE_UNCOMMENTED_H
#define BASE_UNCOMMENTED_H

#include "base/macros.h"

#include <stddef.h>
#include <stdio.h>

#define UNCOMMENTED_BYTES_MAX ((size_t)1 << 20)

struct uncommented {
    FILE *stream;
    char *text;
};

MUST_USE int uncommented_open(struct uncommented *uncommented, const char *path);
void uncommented_close(struct uncommented *uncommented);

void uncommented_blank(char *text, size_t bytes);

#endif
