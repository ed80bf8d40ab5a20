/* The inside of the disk's model, for its two files. */
#ifndef TESTS_QUEUE_DISK_MODEL_INTERNAL_H
#define TESTS_QUEUE_DISK_MODEL_INTERNAL_H

#include "tests/queue/disk_model.h"

#define BLOCK_BYTES       DISK_BLOCK_BYTES
#define BLOCK_SECTORS     (DISK_BLOCK_BYTES / DISK_MODEL_SECTOR_BYTES)
#define SECTORS_ALL       0xffu
#define MODEL_FILES_MAX   512 /* ever, in one life of a disk */
#define MODEL_CHANGES_MAX 4096
#define MODEL_CHUNK_BYTES ((size_t)1 << 20)
#define MODEL_CHUNKS_MAX  4096

_Static_assert(BLOCK_SECTORS == 8, "a byte says which sectors of a block");

/* One file: what a read finds, what is durable, and what stood there before. */
struct model_file {
    char name[DISK_NAME_BYTES];
    uint64_t bytes;
    uint64_t made;  /* when its making was done; 0: not yet       */
    uint64_t named; /* when its name came or went; 0: not yet     */
    bool bytes_durable;
    bool there; /* by this name, as list() sees it            */
    bool there_durable;
    bool name_lost; /* a folder sync failed: no later one makes it durable */
    bool coming;    /* its making or removal is out               */
    bool going;
    uint32_t opens;
    const uint8_t **now;
    const uint8_t **durable;
    const uint8_t **before;
};

/* A write or fill that is not durable, or not wholly. */
struct model_change {
    uint32_t file;
    uint32_t block_first;
    uint32_t blocks_count;
    bool is_fill;
    bool lost; /* it failed, or its sync did: no sync will make it durable */
    uint64_t submitted;
    uint64_t done;          /* 0: out */
    const uint8_t **blocks; /* NULL: overtaken by what is durable */
};

struct model_request {
    struct disk_request asked;
    uint64_t submitted;
    enum disk_model_fault fault;
    uint32_t change; /* its place in the changes */
    uint32_t file;   /* that it makes or removes */
};

struct disk_model {
    struct disk disk; /* first */
    struct disk_model_config config;
    uint64_t random;
    uint64_t clock; /* of submissions and completions */
    uint64_t submitted_count;
    uint64_t failed_count;
    uint64_t fault_first, fault_count;
    enum disk_model_fault fault;
    bool moment_due;

    uint32_t out_count;
    uint32_t files_count;
    uint32_t changes_count;
    uint32_t handles_count;
    struct model_request out[DISK_REQUESTS_MAX];
    struct model_file files[MODEL_FILES_MAX];
    struct model_change changes[MODEL_CHANGES_MAX];
    int32_t handles[MODEL_FILES_MAX]; /* of which file; -1: closed */

    uint8_t *chunks[MODEL_CHUNKS_MAX];
    uint32_t chunks_count; /* there are */
    uint32_t chunk;        /* that is filled now */
    size_t chunk_used;
};

extern const uint8_t model_zeroes[BLOCK_BYTES];

uint64_t model_random(uint64_t *random);
void *model_memory(struct disk_model *model, size_t bytes);
/* `under` with those sectors of `over`. */
const uint8_t *model_mix(struct disk_model *model, const uint8_t *under, const uint8_t *over,
                         uint32_t sectors);
uint32_t model_file_make(struct disk_model *model, const char *name, uint64_t bytes);
uint32_t model_blocks_max(const struct disk_model *model);
void model_forget_all(struct disk_model *model);

#endif
