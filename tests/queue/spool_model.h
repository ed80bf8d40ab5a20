/*
 * spool_model: a real spool in a folder of its own, and what it must hold by what it has reported.
 * Ownership: model_folder_make() makes folder and buffers, model_folder_remove() ends them;
 *            model_open() opens the spool, model_close() ends it, as model_end() its files.
 * Threads:   one.
 * Units:     bytes; records by index, in the order in which they were put.
 * Errors:    what differs from the model fails the test; model_try() gives spool_open()'s.
 */
#ifndef TESTS_QUEUE_SPOOL_MODEL_H
#define TESTS_QUEUE_SPOOL_MODEL_H

#include "base/macros.h"
#include "queue/spool.h"

#include <stdbool.h>
#include <stdint.h>

#define MODEL_MAX     6000
#define SEGMENT_BYTES ((uint64_t)1 << 20)

enum model_life {
    LIFE_NONE,
    LIFE_STORING,
    LIFE_LIVES,
    LIFE_ENDING,
    LIFE_REPLACING,
    LIFE_GONE,
    LIFE_FAILED
};

struct model {
    enum model_life life;
    enum spool_kind kind;
    bool held;
    bool found;
    uint64_t place;
    uint32_t head_at, head_bytes;
    uint32_t body_at, body_bytes; /* inline */
    uint32_t constant;            /* 0: none */
    uint32_t replaces;            /* index + 1 */
};

struct model_log {
    struct disk *disk;
    struct spool *spool;
    struct spool_config config;
    bool uring;
    uint32_t read_count;
    int read_error;
    uint32_t read_bytes;
};

extern char model_folder[64];
extern struct model model_at[MODEL_MAX];
extern uint32_t model_count;
extern uint32_t model_failed_error; /* of the last record that was refused */
extern struct model_log model_log;

uint32_t model_dice(uint32_t sides);
void model_id(uint32_t n, uint8_t id[SPOOL_ID_BYTES]);

/* Of a test program's group, and of each test: a state that is not NULL asks for io_uring. */
int model_folder_make(void **state);
int model_folder_remove(void **state);
void model_begin(void **state);
int model_end(void **state);
/* One test on both disks. */
#define MODEL_BOTH(test)                                                                           \
    {#test " (io_uring)", test, NULL, model_end, model_folder},                                    \
    {                                                                                              \
#test " (thread)", test, NULL, model_end, NULL                                             \
    }

MUST_USE int model_try(uint32_t lane, uint32_t lanes, uint64_t segment, uint64_t max);
void model_open(uint64_t segment, uint64_t max);
void model_close(void);
/* What a crash does to the process: nothing is waited for but what the kernel has. */
void model_reopen(void);

void model_run_once(void);
void model_run_all(void);
/* A record of so many bytes and constant; `replaces`: index + 1 of another, or 0. */
uint32_t model_put(uint32_t body_bytes, uint32_t constant, uint32_t replaces);
void model_forget(uint32_t n);

void model_read(uint32_t n); /* and compares */
/* After a reopening: all that was acknowledged lives, and nothing that was forgotten or refused. */
void model_compare(bool reads);

#endif
