/*
 * file: whole files and pipes in, whole files out, for a command that runs once.
 * Ownership: file_read() allocates; file_forget() wipes and frees.
 * Threads:   one.
 * Units:     bytes.
 * Errors:    -errno; -EFBIG when there is more than bytes_max.
 */
#ifndef TOOLS_BULLA_FILE_H
#define TOOLS_BULLA_FILE_H

#include "base/macros.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* NULL or "-" is stdin. A NUL, not counted, stands after the last byte. */
MUST_USE int file_read(const char *path, size_t bytes_max, uint8_t **bytes_at, size_t *bytes);
void file_forget(uint8_t *bytes_at, size_t bytes); /* NULL is harmless */

/* All of it to a descriptor, however often write(2) takes less. */
MUST_USE int file_write_all(int fd, const uint8_t *bytes_at, size_t bytes);

/* A new file under `path`, complete and synced or not there at all; replaces an old one. */
MUST_USE int file_replace(const char *path, mode_t mode, const uint8_t *bytes_at, size_t bytes);

#endif
