/*
 * profile: are these settings of a profile ones that pages may show and the service may keep?
 * Ownership: borrows.
 * Threads:   any.
 * Units:     as store_profile.h.
 * Errors:    a sentence that names the mend, or NULL.
 */
#ifndef KEYSERVICE_SERVER_PROFILE_H
#define KEYSERVICE_SERVER_PROFILE_H

#include "keyservice/server/store/store_profile.h"

/* NULL: they are. */
const char *profile_fault(const struct store_profile *profile);

#endif
