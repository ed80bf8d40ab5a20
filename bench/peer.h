/*
 * peer: what the engine is held against, on the same messages in the same run.
 * Ownership: none kept.
 * Threads:   one; the caller has pinned it.
 * Units:     messages and bytes of original mail per second.
 * Errors:    -errno with a sentence in `why`.
 *
 * Each peer seals messages untimed first, and is timed for duration_ns and PEER_MESSAGES_MIN
 * messages, whichever is longer.
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include "base/macros.h"
#include "bench/mailset.h"

#include <stdint.h>

#define PEER_MESSAGES_MIN 5

struct peer_rate {
    uint64_t messages;
    uint64_t bytes;
    double seconds;
};

/* The limit: ipsec-mb AES-256-GCM in 16 KiB chunks over the same bytes and nothing else. */
MUST_USE int peer_gcm(const struct mailset *set, uint64_t duration_ns, struct peer_rate *rate,
                      char why[MAILSET_WHY_BYTES]);

/* What people use today: OpenSSL CMS, AES-256-GCM, one RSA-2048 recipient, S/MIME output,
 * streamed and written nowhere. */
MUST_USE int peer_cms(const struct mailset *set, uint64_t duration_ns, struct peer_rate *rate,
                      char why[MAILSET_WHY_BYTES]);

/* GnuPG through gpgme: one OpenPGP RSA-2048 recipient, armoured, uncompressed, unsigned. gpgme
 * starts gpg for each message: that is what programs that call it pay. -ENOTSUP: built without. */
MUST_USE int peer_gpg(const struct mailset *set, uint64_t duration_ns, struct peer_rate *rate,
                      char why[MAILSET_WHY_BYTES]);

/* age, where it is found: one X25519 recipient, armoured, a process a message. -ENOTSUP: not on
 * PATH, as `why` says. */
MUST_USE int peer_age(const struct mailset *set, uint64_t duration_ns, struct peer_rate *rate,
                      char why[MAILSET_WHY_BYTES]);

#endif
