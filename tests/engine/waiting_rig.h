/*
 * waiting_rig: waiting mail, a disk that fails as it is told, a key service and collectors.
 * Ownership: the program's; one rig, from rig_begin() to rig_end().
 * Threads:   one.
 * Units:     nanoseconds and seconds of a clock that step() moves.
 * Errors:    a cmocka failure.
 */
#ifndef TESTS_ENGINE_WAITING_RIG_H
#define TESTS_ENGINE_WAITING_RIG_H

#include "crypto/core.h"
#include "engine/waiting.h"
#include "engine/worker_internal.h"
#include "tests/ipc/pair.h"
#include "tests/queue/disk_model.h"

#include <stdbool.h>
#include <stdint.h>

#define SEGMENT_BYTES ((uint64_t)256 << 10)
#define SEGMENTS      16
#define RECORD_ROOM   512
#define HEAD_ROOM     2048
#define BODY_BYTES    3000
#define LARGE_BYTES   20000
#define PASSES        64
#define STEPS_MAX     20000 /* of a second; a bound, not a timing */
#define START_UNIX_S  UINT64_C(1800000000)
#define WAIT_S        60
#define ASKS_MAX      64

extern struct disk_model *model;
extern struct waiting *waiting;
extern struct crypto_core *core;
extern uint8_t *buffers;
extern uint8_t body[LARGE_BYTES];
extern uint32_t body_bytes;
extern uint32_t wait_s;
extern bool notify;
extern struct id last_id; /* of what was put */
extern uint64_t last_end_unix_ms;
extern uint8_t key[32];
extern uint8_t put_key;      /* its first byte while a mail is put */
extern struct worker worker; /* what control's questions are put to */
extern uint64_t now_ns;
extern uint64_t start_unix_s;           /* moves when the wall clock is set */
extern const struct snapshot *snapshot; /* NULL: nothing may need a profile */
extern uint32_t ended_count;
extern uint32_t asked[ASKS_MAX]; /* indexes, by key service */
extern uint32_t asks_count;
extern bool answers; /* the service does, at once ... */
extern bool up;      /* ... that the key is stored; else that it is away */

/* A mail that is put, and what it is made of. */
struct made {
    struct id id;
    uint8_t record[RECORD_ROOM];
    struct spool_span span;
    uint8_t head[HEAD_ROOM];
};

int rig_begin(void **state);
int rig_end(void **state);
uint64_t unix_ns(void);
void waiting_begin(uint32_t key_services_count);
/* As after a kill: nothing that was read before is in memory. */
void start_again(uint32_t key_services_count);
/* All that can be done in this second. */
void passes(void);
/* A second later. */
void step(void);
void mail_make(struct made *made, struct waiting_mail *mail, uint32_t key_service);
/* Until so many puts have ended in all. */
void put_settle(uint32_t ended_wanted);
void put(uint32_t key_service);
uint64_t in_state(enum waiting_state state);

const struct ipc_completion *emission_of(const struct pair *pair, uint32_t n);
struct pair *collector_begin(uint32_t session);
struct pair *collector_begin_slots(uint32_t session, uint32_t slots_count);
/* Without a word about what it has. */
void collector_finish(struct pair *pair, uint32_t session);
/* The nth emission is sent, and its memory given back. */
void collector_sent(struct pair *pair, uint32_t session, uint32_t n);
bool is_about(const struct ipc_completion *emission, const struct id *id);

#endif
