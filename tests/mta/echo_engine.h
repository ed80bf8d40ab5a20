/*
 * echo_engine: the engine's side of the queue for tests: gives every mail back, does as told.
 * Ownership: echo_engine_open() starts two threads and makes a folder for its socket; the opener
 *            closes, which ends all sessions.
 * Threads:   control accepts and watches; one worker owns the channels, as in the engine.
 * Units:     counters are ever-growing.
 * Errors:    open gives -errno; sessions that break the contract are counted and ended.
 *
 * The profile says what becomes of a mail: "default" SEALED: ECHO_HEAD, the mail in two spans,
 * ECHO_TAIL; "queue", "pass", "refuse", "retry": that status; "may-queue": queued if its client
 * lets it be, else retry; "hold": never completed. What is queued is emitted as it came
 * (tests/mta/echo_spool.h).
 */
#ifndef TESTS_MTA_ECHO_ENGINE_H
#define TESTS_MTA_ECHO_ENGINE_H

#include "base/macros.h"
#include "tests/mta/echo_spool.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define ECHO_HEAD       "<<head>>\r\n"
#define ECHO_TAIL       "\r\n<<tail>>"
#define ECHO_WHY        "the test says no"
#define ECHO_PATH_BYTES 108

struct echo_engine_config {
    uint64_t arena_bytes; /* output; 0: 4 MiB */
    bool allow_io_uring;
    bool reverse;           /* completes each burst last one first */
    bool busy;              /* never sleeps */
    int decline;            /* errno with which every hello is declined; 0: none */
    bool hang_up;           /* closes every socket after its hello, without a word */
    bool bad_memfd;         /* welcomes with a memory that lacks its seals */
    bool bad_spans;         /* completes with spans outside its memory */
    bool no_spool;          /* refuses collectors */
    uint32_t workers_count; /* that clients are told of; 0: 1 */
    uint32_t mute_after;    /* answers no hello after so many; 0: answers all */
};

struct echo_counters {
    _Atomic uint64_t welcomed;
    _Atomic uint64_t refused_hellos;
    _Atomic uint64_t unanswered;
    _Atomic uint64_t ended; /* sessions that hung up */
    _Atomic uint64_t faults;
    _Atomic uint64_t taken;
    _Atomic uint64_t completed;
    _Atomic uint64_t sleeps;
    _Atomic uint64_t bad_metas;
};

struct echo_engine;

MUST_USE int echo_engine_open(struct echo_engine **engine, const struct echo_engine_config *config);
void echo_engine_close(struct echo_engine *engine); /* NULL is harmless */
const char *echo_engine_path(const struct echo_engine *engine);
const struct echo_counters *echo_engine_counters(const struct echo_engine *engine);
/* For its counters, and echo_spool_reply() once the DONE that it came with is counted. */
struct echo_spool *echo_engine_spool(struct echo_engine *engine);

#endif
