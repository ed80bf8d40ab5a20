/*
 * raw_disk: what a disk gives a program that only writes, or only reads: what the spool is held to.
 * Ownership: borrows disk and bytes; the file it writes is removed again.
 * Threads:   one.
 * Units:     bytes, multiples of DISK_BLOCK_BYTES where they go past the page cache.
 * Errors:    -errno of the first request that failed; a short one is -EIO.
 */
#ifndef BENCH_RAW_DISK_H
#define BENCH_RAW_DISK_H

#include "base/macros.h"
#include "queue/disk.h"

#include <stddef.h>
#include <stdint.h>

#define RAW_DISK_WRITES 8   /* in flight, at most */
#define RAW_DISK_READS  128 /* as many as a spool has */

struct raw_disk_config {
    struct disk *disk;
    uint8_t *at; /* room for one write and for one read, in the disk's memory */
    uint64_t write_bytes;
    uint64_t read_bytes; /* 0: nothing is read */
    uint64_t all_bytes;  /* of the file */
};

struct raw_disk_rates {
    double write_mb_per_s;
    double reads_per_s;
};

/* A file is overwritten once; then, timed, written again, each write durable when it ends
 * (O_DIRECT, RWF_DSYNC), and read again, both from its beginning to its end. */
MUST_USE int raw_disk_run(const struct raw_disk_config *config, struct raw_disk_rates *rates);

/* Messages a second of a new file in `folder` by write and fdatasync of each; count_max of them,
 * and for duration_ns_max at most. */
MUST_USE int raw_disk_synced(const char *folder, const void *message, size_t message_bytes,
                             uint32_t count_max, uint64_t duration_ns_max, double *per_s);

#endif
