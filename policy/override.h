/*
 * override: what the X-PostX-* fields of one message ask for beside its profile.
 * Ownership: a plain struct of fixed size.
 * Threads:   any.
 * Units:     seconds from the time of sealing.
 * Errors:    a verdict for each field; one that cannot be read, or contradicts an earlier one,
 *            refuses the message: its sender asked for something that would silently not be done.
 *
 * docs/policy/override.md. Whether anything is read at all, is the caller's to decide: only from
 * trusted submitters, and only with header_overrides in the profile. The fields themselves are
 * stripped always (override_is_control()).
 */
#ifndef POLICY_OVERRIDE_H
#define POLICY_OVERRIDE_H

#include "base/macros.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bits of an ipc/meta.h's options, and of a bulla.h's. */
#define OVERRIDE_REPLY              UINT32_C(1)
#define OVERRIDE_REPLY_ALL          UINT32_C(2)
#define OVERRIDE_FORWARD            UINT32_C(4)
#define OVERRIDE_RECEIPT            UINT32_C(8)
#define OVERRIDE_REMEMBER_KEY       UINT32_C(16)
#define OVERRIDE_SCRIPT             UINT32_C(32)
#define OVERRIDE_BROWSER_DECRYPTION UINT32_C(64)
#define OVERRIDE_VALUES             UINT32_C(127) /* those above: a value each */
#define OVERRIDE_EXPIRES            UINT32_C(128)
#define OVERRIDE_READ_BY            UINT32_C(256)

#define OVERRIDE_AFTER_S_MIN UINT64_C(60)
#define OVERRIDE_AFTER_S_MAX (UINT64_C(36500) * 86400)
#define OVERRIDE_WHY_BYTES   192

struct override {
    uint32_t set;    /* OVERRIDE_*: what was asked for     */
    uint32_t values; /* of OVERRIDE_VALUES; a subset of set */
    uint64_t expires_after_s;
    uint64_t read_by_after_s;
};

void override_init(struct override *override);

enum override_verdict {
    OVERRIDE_TAKEN,     /* noted, or said before with the same value */
    OVERRIDE_NOT_OURS,  /* no X-PostX-* field that we know: nothing to note */
    OVERRIDE_MALFORMED, /* refuse the message; `why` is a sentence for its sender: printable
                           ASCII, without the value */
};

/* Notes one field, whose body is as it stands: folds, blanks, any byte. */
enum override_verdict override_read(struct override *override, const char *name, const char *body,
                                    char why[OVERRIDE_WHY_BYTES]);

/* X-PostX-* or X-Bulla-*, in any case: never leaves, neither outside nor inside the envelope. */
bool override_is_control(const char *name);

#endif
