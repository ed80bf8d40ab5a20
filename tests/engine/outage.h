/*
 * outage: days of a key service that comes and goes, and what becomes of each mail meanwhile.
 * Ownership: caller's memory.
 * Threads:   one.
 * Units:     monotonic nanoseconds; unix seconds of a wall clock that may be set.
 * Errors:    a cmocka failure.
 */
#ifndef TESTS_ENGINE_OUTAGE_H
#define TESTS_ENGINE_OUTAGE_H

#include "envelope/id.h"
#include "ipc/layout.h"
#include "keyservice/breaker.h"

#include <stdbool.h>
#include <stdint.h>

#define OUTAGE_MAILS_MAX 49
#define OUTAGE_ASK_S     30 /* so long a key client keeps what it is asked for */

struct outage_mail {
    struct id id;
    uint64_t end_unix_s;
    uint64_t seen_unix_s; /* the latest that the wall clock showed while it waited */
    uint32_t sent;
    uint32_t told; /* its sender, of its end */
};

struct outage {
    bool here; /* the service is */
    struct breaker breaker;
    uint32_t asked_count;
    uint64_t asked_ns;  /* when there was nothing to ask the last time */
    uint64_t probed_ns; /* 0: never */
    uint32_t mails_count;
    struct outage_mail mails[OUTAGE_MAILS_MAX];
};

enum outage_answer { OUTAGE_SILENT, OUTAGE_AWAY, OUTAGE_STORED };

/* A key client that has heard nothing of the service yet. The mails stay. */
void outage_client_begin(struct outage *outage);
/* What a key client says now of all that it was asked for. No two probes are within a second, and
 * while the service is away no more than one mail comes to be asked for. */
enum outage_answer outage_answer(struct outage *outage, uint32_t asked_count, uint64_t now_ns);
/* When it would do more than wait, 0 for at once. */
uint64_t outage_due_ns(const struct outage *outage);

void outage_put(struct outage *outage, const struct id *id, uint64_t end_unix_s);
/* What the wall clock shows. */
void outage_clock(struct outage *outage, uint64_t unix_s);
/* A mail is sent before its end and told of after it, and no mail twice. */
void outage_came(struct outage *outage, const struct ipc_completion *emission);
/* How many wait; none of them for longer than a minute after its end. */
uint32_t outage_waits(const struct outage *outage);
uint32_t outage_told(const struct outage *outage);

#endif
