/*
 * breaker: when a key service that is away may be asked again: the circuit breaker.
 * Ownership: caller's memory.
 * Threads:   one.
 * Units:     nanoseconds of any clock that seldom jumps; time and randomness come in as parameters.
 * Errors:    none.
 *
 * The first failure opens it. From then on one probe at a time is out, after a uniformly random
 * pause below a limit that doubles up to pause_ns_max (full jitter: engines that lost a service
 * together do not come back together), and never sooner than probe_ns_min after the probe before,
 * however often the service came and went between the two. A service that names a time
 * (Retry-After) is not asked before it, as far as that is within BREAKER_ASKED_NS_MAX. A clock that
 * is set back makes nobody wait longer than the longest of these.
 */
#ifndef KEYSERVICE_BREAKER_H
#define KEYSERVICE_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#define BREAKER_ASKED_NS_MAX (UINT64_C(300) * 1000000000) /* five minutes */

struct breaker_config {
    uint64_t pause_ns_min; /* limit of the first pause; at least 1          */
    uint64_t pause_ns_max; /* no limit is longer                            */
    uint64_t probe_ns_min; /* between the beginnings of two probes          */
};

enum breaker_state {
    BREAKER_CLOSED,  /* the service answers; whatever waits may be sent           */
    BREAKER_OPEN,    /* away; nothing is sent before the time of the next probe   */
    BREAKER_PROBING, /* away; one request is out, and its end decides             */
};

struct breaker {
    struct breaker_config config;
    enum breaker_state state;
    bool has_probed;
    uint64_t pause_ns;  /* limit of the next pause                     */
    uint64_t due_ns;    /* of the next probe, while open               */
    uint64_t probed_ns; /* when the last probe began, if has_probed    */
};

void breaker_init(struct breaker *breaker, const struct breaker_config *config);

bool breaker_is_closed(const struct breaker *breaker);

/* True when closed, or when a probe may begin now: then breaker_begin() tells that it did. */
bool breaker_allows(struct breaker *breaker, uint64_t now_ns);
void breaker_begin(struct breaker *breaker, uint64_t now_ns);

/* Whichever request it was: an answer closes. */
void breaker_answered(struct breaker *breaker);

/* A request failed. `random` is uniform over all 64 bits; asked_ns is what the service asked for,
 * or 0. While open only requests from before can fail: they change nothing but what was asked. */
void breaker_failed(struct breaker *breaker, uint64_t now_ns, uint64_t asked_ns, uint64_t random);

/* When breaker_allows() will be true; at most now_ns when it is. Not for BREAKER_PROBING. */
uint64_t breaker_due_ns(const struct breaker *breaker);

#endif
