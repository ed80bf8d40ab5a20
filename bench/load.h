/*
 * load: drives an engine through libbulla as many clients would, and times every message.
 * Ownership: load_run() attaches and detaches; the result is the caller's.
 * Threads:   one, which the caller has pinned; clients are attachments served in turn.
 * Units:     messages per second; nanoseconds; bytes of original and of sealed mail.
 * Errors:    -errno with a sentence in `why`.
 *
 * Open loop: arrivals are a Poisson process that does not wait for the engine, and a latency runs
 * from the moment a message was due, not from when it could be handed over, so a stall is charged
 * to every message it delayed (no coordinated omission); what is still waiting to be handed over at
 * the end is charged up to there and counted as backlog, and what was refused or never answered is
 * charged up to the end too. With rate 0 the queue is kept full instead
 * and only throughput is meaningful.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "base/macros.h"
#include "bench/histogram.h"
#include "bench/mailset.h"
#include "bench/spawn.h"

#include <stdbool.h>
#include <stdint.h>

#define LOAD_CLIENTS_MAX 64
#define LOAD_SERIES_MAX  256

/* Called while clients are attached; NULL: not. */
struct load_hooks {
    void (*start)(void *user); /* while warming up: the measured time waits for it */
    void (*end)(void *user);   /* after it, before what is under way is waited for */
    bool (*turn)(void *user);  /* in each turn of the measured time; false ends that */
    void *user;
};

struct load_config {
    const char *socket_path;
    const char *profile;
    const char *sender;
    const char *recipient;
    uint32_t clients_count;
    uint32_t slots_count; /* per client */
    uint64_t input_bytes; /* per client */
    double rate_per_s;    /* over all clients; 0: as fast as the engine takes them */
    uint64_t warmup_ns;
    uint64_t duration_ns;
    uint64_t seed;
    /* A second kind of mail with an attachment, a rate and a latency of its own, so that neither
     * stands in the other's way before the engine does; NULL: none. */
    const struct mailset *other_set;
    double other_rate_per_s;
    /* A mail that still stands where the arena gives room for it is not copied in again: for mails
     * whose copying would hold up the arrivals that this one thread makes. */
    bool in_place;
    /* Sleeps when there is nothing to do, for a processor that others need; it costs latency. */
    bool sleeps;
    bool queue; /* the engine may keep the mail: QUEUED is as good as sealed */
    struct load_hooks hooks;
    /* One of our own, for result->worker_preempted_per_s; NULL: another's. */
    const struct spawn *engine;
    uint64_t series_ns; /* of one step of result->series; 0: none */
    bool
        flatten; /* also copy every sealed mail out of its spans, as a client without writev must */
};

struct load_result {
    uint64_t sealed_count;
    uint64_t queued_count; /* with config.queue                                      */
    uint64_t other_count;  /* REFUSED, RETRY, PASSED; without config.queue, QUEUED */
    uint64_t unanswered_count;
    uint64_t mail_bytes;
    uint64_t sealed_bytes;
    double seconds;
    double offered_per_s;   /* arrivals that fell due in the measured time               */
    uint64_t backlog_count; /* of them, still not handed over at its end: charged till then */
    /* How often another program took the processor of the engine's first worker, from before the
     * warming up to the last answer: how quiet the machine was. -1: not our engine. */
    double worker_preempted_per_s;
    double shared_huge_mib; /* of the memory that clients and engine share, what is in huge pages */
    char other_text[160];   /* the engine's words for the first that was not sealed */
    struct histogram latency;         /* of all that fell due in the measured time, sealed or not */
    struct histogram other_latency;   /* of other_set, which `latency` leaves out        */
    uint64_t other_sealed_count;      /* of other_set, which sealed_count and bytes have */
    uint64_t other_offered_count;     /* of other_set, that fell due in the measured time */
    uint32_t series[LOAD_SERIES_MAX]; /* sealed, by time of completion, from the measured start */
    uint32_t series_retries[LOAD_SERIES_MAX];
};

MUST_USE int load_run(const struct load_config *config, const struct mailset *set,
                      struct load_result *result, char why[MAILSET_WHY_BYTES]);

/* The machine's own part of a latency: the same arrivals, for config->duration_ns, noticed by a
 * loop on this thread that has nothing else to do. What takes the processor away delays them as it
 * delays messages. */
void load_gaps(const struct load_config *config, struct histogram *gaps);

/* False, and why, when something was refused or not answered, or nothing was sealed: a latency or a
 * rate then says nothing. */
MUST_USE bool load_sound(const struct load_result *result, char why[MAILSET_WHY_BYTES]);

#endif
