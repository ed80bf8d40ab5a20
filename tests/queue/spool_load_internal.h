/* The inside of a spool's load, for its two files. */
#ifndef TESTS_QUEUE_SPOOL_LOAD_INTERNAL_H
#define TESTS_QUEUE_SPOOL_LOAD_INTERNAL_H

#include "tests/queue/spool_load.h"

#define POOL_BYTES      ((uint32_t)4 << 20) /* all bytes of all records are pieces of it */
#define CONSTANTS       3
#define BUFFERS_BYTES   SPOOL_BUFFERS_MIN
#define READ_ROOM       ((size_t)4 << 20)
#define NO_RECORD       UINT32_MAX
#define SETTLE_RUNS_MAX 100000

enum load_state {
    LOAD_PUTTING,    /* nothing was reported yet                 */
    LOAD_STORED,     /* and nothing since was asked that ends it */
    LOAD_FORGETTING, /* asked, not reported                      */
    LOAD_GONE,       /* never to be found again                  */
};

struct load_record {
    enum load_state state;
    enum spool_kind kind;
    uint64_t place;
    uint64_t arrived_unix_ms;
    uint64_t end_unix_ms;
    uint32_t head_bytes;
    uint32_t body_bytes;
    uint32_t spans_count;
    uint32_t spans_bytes[SPOOL_SPANS_MAX];
    uint32_t constants[SPOOL_SPANS_MAX];
    uint32_t replaces;    /* a record, or NO_RECORD: it ends when this one is stored */
    uint32_t replaced_by; /* under way */
    bool held;            /* as was last reported */
    uint8_t marks_out;    /* bits: 1 a release, 2 a hold */
    uint32_t marks_count; /* under way */
    uint32_t reads_count; /* under way */
};

struct load_reader {
    bool busy;
    uint32_t record;
    bool all;
    uint8_t *at;
};
#define READERS 2

struct load {
    struct load_config config;
    struct disk_model *model;
    struct spool *spool;
    uint64_t random;
    uint64_t reported;
    uint32_t failed_count;
    uint32_t stored_count;
    uint32_t records_count;
    uint32_t live_count;
    uint32_t live[LOAD_LIVE_MAX]; /* not GONE, ascending */
    struct load_record records[LOAD_RECORDS_MAX];
    struct load_reader readers[READERS];
    uint8_t *buffers;
};

extern uint8_t load_pool[POOL_BYTES];

void load_pool_fill(void);
uint64_t load_random(uint64_t *random);
uint32_t load_pool_at(uint32_t record, uint32_t span); /* where the bytes of a span stand */
void load_id(uint32_t record, uint8_t id[SPOOL_ID_BYTES]);
/* Whether `at` holds the head, or head and body, of the record. */
bool load_bytes_are(const struct load_record *records, uint32_t record, const uint8_t *at,
                    bool all);
void load_live_remove(struct load *load, uint32_t record);
struct spool *load_spool_open(const struct load_config *config, struct disk_model *model,
                              uint8_t *buffers,
                              void (*found)(void *user, const struct spool_found *found),
                              void *user, char why[SPOOL_WHY_BYTES]);

#endif
