/*
 * disk_folder: what both disks do alike: names, flags, the list of a folder, a file's length.
 * Ownership: descriptors are the caller's.
 * Threads:   any.
 * Units:     bytes.
 * Errors:    -errno; what a file system refuses about O_DIRECT is done without it.
 */
#ifndef QUEUE_DISK_FOLDER_H
#define QUEUE_DISK_FOLDER_H

#include "queue/disk.h"

#include <stdbool.h>
#include <stdint.h>

/* Open files of one disk; every segment of every lane of a worker, and a few that are made. */
#define DISK_FILES_MAX 16448

/* Interrupted and momentarily refused requests are tried again so often, then reported. */
#define DISK_TRIES_MAX 16

/* The folder's descriptor, or -errno with a sentence in `why`. */
MUST_USE int disk_folder_open(const char *folder, char why[DISK_WHY_BYTES]);
MUST_USE int disk_folder_list(int folder_fd, struct disk_entry *entries, uint32_t entries_max);

/* A name is one path component, with a NUL: anything else is a bug. */
bool disk_name_is_plain(const char name[DISK_NAME_BYTES]);
int disk_open_flags(enum disk_kind kind, bool direct);
/* After a file system refused O_DIRECT: said once in the log. */
void disk_direct_refused(bool *direct);

/* A DISK_CREATE whose allocation fails leaves no file behind. */
MUST_USE int disk_allocate(int fd, uint64_t bytes);

#endif
