/*
 * store_profile: what the service shows and keeps for the envelopes of one policy profile.
 * Ownership: caller's memory.
 * Threads:   any, as store.h.
 * Units:     as store.h; days.
 * Errors:    as store.h.
 */
#ifndef KEYSERVICE_SERVER_STORE_STORE_PROFILE_H
#define KEYSERVICE_SERVER_STORE_STORE_PROFILE_H

#include "keyservice/server/logo.h"
#include "keyservice/server/roles.h"

#include <stdbool.h>

#define STORE_PROFILE_TITLE_BYTES 101
#define STORE_PROFILE_LINK_BYTES  501
#define STORE_PROFILE_TEXT_BYTES  1001
#define STORE_PROFILES_MAX        1000 /* listed */
#define STORE_PROFILE_DAYS_MAX    36500

struct store_profile {
    char name[ROLES_PROFILE_BYTES];
    char title[STORE_PROFILE_TITLE_BYTES];
    char link[STORE_PROFILE_LINK_BYTES];
    char locale[3]; /* "": the reader's */
    char text[STORE_PROFILE_TEXT_BYTES];
    char contact[STORE_ADDRESS_BYTES]; /* mailbox of its "write to us" form; "": none */
    uint64_t retention_days;           /* 0: keys are kept for ever */
    uint64_t changed_unix_ms;
    char logo[LOGO_URL_BYTES]; /* a data URL, or "" */
};

/* Makes or changes it; its retention_days alone where they are `days_changed`, so that a change of
 * something else undoes none of theirs that was made meanwhile. */
MUST_USE int store_profile_put(struct store *store, const struct store_profile *profile,
                               bool days_changed);
MUST_USE int store_profile_get(struct store *store, const char *name,
                               struct store_profile *profile);
MUST_USE int store_profile_remove(struct store *store, const char *name);
typedef void store_profile_visit(void *context, const struct store_profile *profile);
/* By name, without their logos. */
MUST_USE int store_profile_list(struct store *store, store_profile_visit *visit, void *context);

#endif
