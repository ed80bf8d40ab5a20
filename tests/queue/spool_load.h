/*
 * spool_load: a seeded load for a spool on a disk's model, which knows what any recovery must find.
 * Ownership: load_open() makes one with its own spool; load_close() ends it. The disk stays the
 *            caller's.
 * Threads:   one.
 * Units:     bytes; records by index, in the order in which they were put.
 * Errors:    load_check() gives a sentence about what was broken, or NULL.
 */
#ifndef TESTS_QUEUE_SPOOL_LOAD_H
#define TESTS_QUEUE_SPOOL_LOAD_H

#include "queue/spool.h"
#include "tests/queue/disk_model.h"

#include <stdbool.h>
#include <stdint.h>

#define LOAD_RECORDS_MAX 4096 /* in one life of a load */
#define LOAD_LIVE_MAX    256
#define LOAD_FINE        NULL

struct load;

struct load_config {
    uint64_t seed;
    uint64_t segment_bytes;
    uint32_t segments_count;
    uint32_t lane;
    uint32_t lanes_count;
    uint32_t live_most;  /* more than so many: rather forget                    */
    uint32_t body_usual; /* most bodies are smaller                             */
    bool faulty;         /* the disk fails: what fails is not the spool's fault */
};

struct load *load_open(const struct load_config *config);
/* Opens its spool on an empty disk. */
const char *load_start(struct load *load, struct disk_model *model);
/* Lets all come to its end first. */
void load_close(struct load *load);

/* One random action, or none, and a run of the spool. */
const char *load_step(struct load *load);
/* Runs until nothing is out: no new action. */
const char *load_settle(struct load *load);

/* Opens a spool on `model` as it is and holds what it finds against what was reported until now;
 * reads every record. `found`, unless NULL, tells which there were, for load_same(). */
struct load_found {
    uint32_t count;
    uint32_t records[LOAD_LIVE_MAX];
    bool held[LOAD_LIVE_MAX];
    uint64_t places[LOAD_LIVE_MAX];
};
const char *load_check(const struct load *load, struct disk_model *model, struct load_found *found);
/* The fault is that it says so: recovery declines, or a read gives an error. */
bool load_is_said(const char *fault);
bool load_same(const struct load_found *a, const struct load_found *b);

/* The process is killed now: the load goes on with a spool on `model`, which was cut from its disk;
 * of its lanes the engine's next start has `lanes_count` at most (0: all), and one of those adopts
 * this one. */
const char *load_restart(struct load *load, struct disk_model *model, uint32_t lanes_count);

/* Changes whenever something is reported. */
uint64_t load_reported(const struct load *load);
void load_stats(const struct load *load, struct spool_stats *stats);
uint32_t load_failed(const struct load *load); /* records that were answered FAILED, ever */
uint32_t load_stored(const struct load *load);
/* Records that were put are used up: start another load. */
bool load_is_spent(const struct load *load);
/* For a person: every record that is not gone. */
void load_dump(const struct load *load, FILE *to);

#endif
