/*
 * retention: destroys the keys of envelopes that their profile says are kept no longer.
 * Ownership: a pass is the caller's; the store and the log are borrowed.
 * Threads:   one thread a pass.
 * Units:     days of profiles; unix milliseconds; at most RETENTION_ROWS_MAX rows a round.
 * Errors:    -errno of the store or the log; nothing is destroyed that is not on record first.
 *
 * docs/keyservice/admin.md. Ids ascend with the time that they were made, so a pass goes through
 * them in order and stops at the youngest that any profile lets go. A pass may take days: each
 * round reads the profiles, and once more before it destroys.
 */
#ifndef KEYSERVICE_SERVER_RETENTION_H
#define KEYSERVICE_SERVER_RETENTION_H

#include "keyservice/server/audit/audit.h"
#include "keyservice/server/roles.h"
#include "keyservice/server/tend.h"

#define RETENTION_ROWS_MAX    4096 /* looked at in a round    */
#define RETENTION_DESTROY_MAX 512  /* destroyed in one commit */
#define RETENTION_RULES_MAX   1000
#define RETENTION_EVERY_S     3600

struct retention_rule {
    char profile[ROLES_PROFILE_BYTES];
    uint64_t days; /* 0: it has been taken back since */
    uint64_t before_unix_ms;
    uint64_t count; /* destroyed, or would be */
};

struct retention {
    struct store *store;
    struct audit *audit;
    bool dry; /* counts alone */
    uint8_t after[RECORD_ID_BYTES];
    uint64_t now_unix_ms; /* when the pass began */
    uint32_t rules_count;
    struct retention_rule rules[RETENTION_RULES_MAX];
};

/* Reads the profiles and starts a pass. */
MUST_USE int retention_begin(struct retention *retention, uint64_t now_unix_ms);
/* 0 at the end of the pass, TEND_AGAIN when there is more. */
MUST_USE int retention_round(struct retention *retention);

struct service;
MUST_USE int retention_tend(struct tend *tend, struct service *service);

#endif
