/*
 * options: what of one message's record and envelope the profile and its submitter decide together.
 * Ownership: values; points into the snapshot.
 * Threads:   any.
 * Units:     seconds after arrival; 0: never.
 * Errors:    none: a wish counts when the profile has header_overrides, and says nothing otherwise.
 */
#ifndef ENGINE_OPTIONS_H
#define ENGINE_OPTIONS_H

#include "engine/snapshot.h"
#include "ipc/meta.h"

struct options {
    const struct snapshot_shell *shell; /* what the fields stand in */
    uint64_t expires_after_s;
    uint64_t read_by_after_s;
    uint16_t record_flags;
};

HOT void options_decide(struct options *options, const struct snapshot_profile *profile,
                        const struct meta_options *wish);

/* Either off, and the envelope has no script. */
static inline enum frame_variant options_variant(bool script, bool browser_decryption)
{
    return script && browser_decryption ? FRAME_SCRIPTED : FRAME_PLAIN;
}

#endif
