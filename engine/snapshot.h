/*
 * snapshot: everything that configuration decides about sealing, rendered once and then constant.
 * Ownership: snapshot_open() allocates; control frees it when no worker uses its generation.
 * Threads:   constant after open; any.
 * Units:     bytes; generations count up from 1.
 * Errors:    -errno with a sentence in `why` that names profile and mend.
 *
 * The constant spans of all profiles stand in one run of bytes that each session's memfd gets a
 * copy of, so a sealed mail of 4 KiB does not pay for the 20 KB that never change.
 */
#ifndef ENGINE_SNAPSHOT_H
#define ENGINE_SNAPSHOT_H

#include "base/macros.h"
#include "crypto/cobblestone.h"
#include "engine/config.h"
#include "envelope/frame.h"
#include "envelope/notice.h"

#include <stddef.h>
#include <stdint.h>

#define SNAPSHOT_WHY_BYTES       512
#define SNAPSHOT_CONSTANTS_MAX   ((size_t)8 << 20) /* half of what a session's memfd keeps free */
#define SNAPSHOT_LOGO_BYTES_MAX  ((size_t)256 << 10)
#define SNAPSHOT_TEXT_BYTES_MAX  ((size_t)256 << 10)
#define SNAPSHOT_NAMES_BYTES_MAX 384
#define SNAPSHOT_SPANS_MAX       (2 * FRAME_VARIANT_COUNT * PROFILES_MAX)

struct snapshot_span {
    uint32_t offset; /* in the constants */
    uint32_t bytes;
    uint32_t number; /* of no other span of this snapshot or another: the spool's name for it */
};

/* What stands around a message's fields. */
struct snapshot_shell {
    struct snapshot_span head;
    struct snapshot_span tail;
};

struct snapshot_profile {
    struct profile profile;
    struct frame *frame;
    struct notice *notice;                             /* to a sender whose mail cannot leave    */
    struct snapshot_shell shells[FRAME_VARIANT_COUNT]; /* one empty where no message can want it */
    enum cobble_suite suite;
    uint32_t key_service; /* index into the configuration's */
    uint16_t name_bytes;
    uint16_t record_flags;
    uint8_t record_level;
};

struct snapshot {
    uint64_t generation;
    uint32_t slot; /* of the engine's table: workers tell by it what they use */
    uint8_t *constants;
    size_t constants_bytes;
    uint32_t spans_count; /* different ones */
    uint32_t profiles_count;
    char names[SNAPSHOT_NAMES_BYTES_MAX]; /* "default, high": for the refusal's text */
    struct snapshot_profile profiles[PROFILES_MAX];
};

MUST_USE int snapshot_open(struct snapshot **snapshot, const struct config *config,
                           uint64_t generation, char why[SNAPSHOT_WHY_BYTES]);
void snapshot_close(struct snapshot *snapshot); /* NULL is harmless */

/* NULL: no profile has this name. An empty name means "default". */
HOT const struct snapshot_profile *snapshot_find(const struct snapshot *snapshot,
                                                 const uint8_t *name, size_t name_bytes);

#endif
