/*
 * disk_model: a disk in memory behind queue/disk.h, which loses power and fails as it is told.
 * Ownership: disk_model_open() makes one, disk_close() of its disk ends it. A cut borrows the bytes
 *            of the disk it was cut from, which outlives it or is cut anew.
 * Threads:   one.
 * Units:     bytes; requests are counted from 0 as they are submitted.
 * Errors:    a request that breaks the seam's rules stops the test.
 *
 * Requests are done one by one, in any seeded order. A write is durable when it is done, a fill
 * when a sync that was submitted after it is, a name when such a folder sync is. Of all else each
 * 512-byte sector, each name and each length may be as before or as after.
 */
#ifndef TESTS_QUEUE_DISK_MODEL_H
#define TESTS_QUEUE_DISK_MODEL_H

#include "queue/disk.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define DISK_MODEL_SECTOR_BYTES 512

struct disk_model;

struct disk_model_config {
    uint64_t seed;
    uint64_t file_bytes_max;
    /* Called whenever the power could go: before requests are carried out and after each. */
    void (*moment)(void *user, struct disk_model *model);
    void *user;
    /* 0: as many as are out at each reap; else of 16 reaps so many give nothing. */
    uint32_t slowness;
};

struct disk_model *disk_model_open(const struct disk_model_config *config);
struct disk *disk_model_disk(struct disk_model *model);
/* Another slowness from now on; 16: nothing ends but for those who wait. */
void disk_model_slow(struct disk_model *model, uint32_t slowness);

/* What a cut does with that which is not durable. */
enum disk_model_cut {
    DISK_MODEL_NONE,     /* nothing of it is there                 */
    DISK_MODEL_ALL,      /* all of it is                           */
    DISK_MODEL_REQUESTS, /* each request wholly or not at all      */
    DISK_MODEL_TORN,     /* each request up to some sector         */
    DISK_MODEL_BLOCKS,   /* each block of 4096 wholly or not at all */
    DISK_MODEL_SECTORS,  /* each sector by itself                  */
};
#define DISK_MODEL_CUTS 6

/* Something is not durable: only then do cuts of one moment differ. */
bool disk_model_is_undecided(const struct disk_model *model);
/* Makes `to` the disk that is found after the power went now. The same number for the same image
 * of the same moment. */
uint64_t disk_model_cut(const struct disk_model *from, struct disk_model *to,
                        enum disk_model_cut how, uint64_t seed);

/* Makes `to` the disk as it goes on when only the process is killed: what was out is done or not,
 * and what reads find may still go with the power until it is synced. */
void disk_model_kill(const struct disk_model *from, struct disk_model *to, uint64_t seed);
/* From now on a cut borrows nothing. */
void disk_model_keep(struct disk_model *model);
/* The same number for the same durable bytes and the same requests that are out, of one disk. */
uint64_t disk_model_number(const struct disk_model *model);

enum disk_model_fault {
    DISK_MODEL_SOUND,
    DISK_MODEL_EIO,         /* any request; what a write or sync left is undecided for ever */
    DISK_MODEL_ENOSPC,      /* likewise                                                     */
    DISK_MODEL_EINTR,       /* likewise                                                     */
    DISK_MODEL_ECANCELED,   /* likewise                                                     */
    DISK_MODEL_SHORT,       /* reads, writes, fills: half of it, and says so                */
    DISK_MODEL_FLIPPED,     /* reads: one bit is wrong                                      */
    DISK_MODEL_STALE,       /* reads: what stood there before                               */
    DISK_MODEL_MISDIRECTED, /* writes: to another place, and says nothing                  */
};
#define DISK_MODEL_FAULTS 9

/* Requests from `first`, `count` of them, fail so where their kind can. */
void disk_model_fail(struct disk_model *model, enum disk_model_fault fault, uint64_t first,
                     uint64_t count);
uint64_t disk_model_submitted(const struct disk_model *model);
uint64_t disk_model_failed(const struct disk_model *model); /* faults that came to pass */
const char *disk_model_fault_name(enum disk_model_fault fault);
/* So many files are there now. */
uint32_t disk_model_files(const struct disk_model *model);
/* For a person: each request that is out, and each change that is undecided. */
void disk_model_dump(const struct disk_model *model, FILE *to);

#endif
