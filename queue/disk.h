/*
 * disk: the one seam between the spool and the disk; every file operation of the spool goes here.
 * Ownership: disk_uring_open() and disk_thread_open() make one; disk_close() ends it. Buffers of a
 *            request are borrowed until its result is reaped.
 * Threads:   one.
 * Units:     bytes; offsets and sizes of reads and writes are multiples of DISK_BLOCK_BYTES, and so
 *            are addresses.
 * Errors:    open gives -errno with a sentence in `why`; a request's result is -errno, or what was
 *            done, which may be less than was asked: the caller's to notice.
 *
 * docs/queue/spool.md. All requests are asynchronous and independent: what must come after another
 * is submitted after its result. Tests put a model of a disk behind this seam, which tears, drops,
 * reorders and fails.
 */
#ifndef QUEUE_DISK_H
#define QUEUE_DISK_H

#include "base/macros.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISK_BLOCK_BYTES  4096
#define DISK_NAME_BYTES   32 /* with NUL */
#define DISK_REQUESTS_MAX 256
#define DISK_WHY_BYTES    256

enum disk_kind {
    DISK_OPEN,   /* name, bytes: opens for reading and writing, O_DIRECT; result: a file handle */
    DISK_CREATE, /* name, bytes: makes it, allocated to that length; -EEXIST; result: a handle */
    DISK_CLOSE,  /* file                                                                       */
    DISK_READ,   /* file, at, bytes, offset                                                    */
    DISK_WRITE,  /* likewise; durable when its result comes (O_DSYNC)                          */
    DISK_FILL,   /* likewise; not durable before DISK_SYNC: what overwrites a new segment      */
    DISK_SYNC,   /* file: data and size                                                        */
    DISK_UNLINK, /* name                                                                       */
    DISK_SYNC_FOLDER, /* names that were made or removed before are durable */
};

struct disk_request {
    enum disk_kind kind;
    int32_t file; /* a handle of this disk, not a descriptor */
    char name[DISK_NAME_BYTES];
    uint8_t *at;
    uint64_t offset;
    uint64_t bytes;
    uint64_t tag; /* comes back with the result */
};

struct disk_result {
    uint64_t tag;
    int64_t result;
};

/* One file of the folder, as disk_list() finds it. */
struct disk_entry {
    char name[DISK_NAME_BYTES];
    uint64_t bytes;
};

struct disk;

/* What is behind the seam. */
struct disk_ops {
    /* False when DISK_REQUESTS_MAX are out: reap first. */
    bool (*submit)(struct disk *disk, const struct disk_request *request);
    /* Hands over what was submitted and gives what is done; with wait_ns > 0 waits for one. */
    uint32_t (*reap)(struct disk *disk, uint64_t wait_ns, struct disk_result *results,
                     uint32_t results_max);
    /* An eventfd that is readable when results wait; -1: there is none, reap by polling. It rings
     * only while armed: around a sleep, as the wait wants it. */
    int (*doorbell)(struct disk *disk);
    void (*arm)(struct disk *disk, bool armed);
    /* At start only: entries_max at most; the number, or -errno. Blocks. */
    int (*list)(struct disk *disk, struct disk_entry *entries, uint32_t entries_max);
    void (*close)(struct disk *disk);
};

struct disk {
    const struct disk_ops *ops;
};

/* Memory that requests will point into, so that it can be registered; aligned as the block. */
struct disk_memory {
    uint8_t *at;
    size_t bytes;
};

/* `folder` must exist. -EPERM, -ENOSYS: io_uring is not allowed here, take disk_thread_open(). */
MUST_USE int disk_uring_open(struct disk **disk, const char *folder,
                             const struct disk_memory *memory, char why[DISK_WHY_BYTES]);
/* The same by pwrite(2) and fdatasync(2) on a thread of its own. */
MUST_USE int disk_thread_open(struct disk **disk, const char *folder, char why[DISK_WHY_BYTES]);
void disk_close(struct disk *disk); /* NULL is harmless; no request may be out */

#endif
