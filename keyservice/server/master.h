/*
 * master: the master keys that wrap every message key, kept in a file outside the database.
 * Ownership: master_open() reads the file into locked pages; the opener closes, which wipes.
 * Threads:   any. Where a version is asked for that is not there, the file is read again, at most
 *            once a second: it may have been added since. A master_burst belongs to one thread.
 * Units:     bytes; versions are the numbers in the file, ascending from 1.
 * Errors:    -errno with a sentence in `why`; -EBADMSG when a wrapped key does not open.
 *
 * docs/keyservice/master-key.md. New keys are wrapped under the highest version; older versions
 * stay for what was wrapped under them until they are retired. Everything else the service keeps
 * secret from its database (codes, anti-forgery tokens, devices) is keyed by HKDF-SHA-256 of a
 * master key.
 */
#ifndef KEYSERVICE_SERVER_MASTER_H
#define KEYSERVICE_SERVER_MASTER_H

#include "base/macros.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MASTER_WHY_BYTES         256
#define MASTER_KEY_BYTES         32
#define MASTER_VERSIONS_MAX      64
#define MASTER_ID_BYTES          16
#define MASTER_PLAIN_BYTES_MAX   32
#define MASTER_WRAPPED_BYTES_MAX 56 /* RFC 5649: 16 of id and 32 of key, and 8 */

struct master;

/* Makes a file with one fresh key, mode 0600; -EEXIST when it is there. */
MUST_USE int master_create(const char *path);
/* Adds a fresh version: a new file beside the old one, synced, then renamed over it. */
MUST_USE int master_add(const char *path, char why[MASTER_WHY_BYTES]);
/*
 * Takes the key of an older version out, and leaves what HKDF-Extract makes of it: all that is
 * derived stays as it is, and nothing that was wrapped opens again. The old file is overwritten,
 * then unlinked. 0 too when it was done before, as after a change that was cut off, which it ends.
 */
MUST_USE int master_retire(const char *path, uint32_t version, char why[MASTER_WHY_BYTES]);

MUST_USE int master_open(struct master **master, const char *path, char why[MASTER_WHY_BYTES]);
void master_close(struct master *master); /* NULL is harmless */

uint32_t master_version(const struct master *master); /* the one in use for new keys */

/* Of a version that there is: nothing wraps or opens with it any more. */
bool master_retired(const struct master *master, uint32_t version);
/* Of a version that there is: what it leaves when it is retired. */
MUST_USE int master_extract(const struct master *master, uint32_t version,
                            uint8_t left[MASTER_KEY_BYTES]);

/* A key of MASTER_KEY_BYTES for one purpose, from the oldest version: it outlives additions, and
 * that version's end. */
MUST_USE int master_derive(const struct master *master, const char *purpose,
                           uint8_t key[MASTER_KEY_BYTES]);

/* What shows, in a database, which key a version is; nothing else can be told from it. */
#define MASTER_PROOF_BYTES 32
MUST_USE int master_proof(const struct master *master, uint32_t version,
                          uint8_t proof[MASTER_PROOF_BYTES]);

/*
 * Many wraps under one version with the key schedule done once: AES-256-KWP of id || key, so that a
 * wrapped key moved to another row does not open. The same id and key give the same bytes again.
 */
struct master_burst;
MUST_USE int master_burst_open(struct master_burst **burst, const struct master *master,
                               uint32_t version);
void master_burst_close(struct master_burst *burst); /* NULL is harmless */
/* One key to wrap; those of one length side by side in an array go fastest. */
struct master_wrap {
    const uint8_t *id; /* MASTER_ID_BYTES, borrowed */
    const uint8_t *key;
    uint32_t key_bytes;
    uint32_t wrapped_bytes; /* out */
    uint8_t *wrapped;       /* out: MASTER_WRAPPED_BYTES_MAX */
};
MUST_USE int master_burst_wrap(struct master_burst *burst, struct master_wrap *wraps,
                               uint32_t wraps_count);

MUST_USE int master_unwrap(const struct master *master, uint32_t version,
                           const uint8_t id[MASTER_ID_BYTES], const uint8_t *wrapped,
                           size_t wrapped_bytes, uint8_t key[MASTER_PLAIN_BYTES_MAX],
                           size_t *key_bytes);

/* Bare RFC 5649 of up to 4,096 bytes, for the vectors too: any key of 16, 24 or 32 bytes.
 * Unwrapping may write as many bytes as it reads. */
MUST_USE int master_kwp_wrap(const uint8_t *kek, size_t kek_bytes, const uint8_t *plain,
                             size_t plain_bytes, uint8_t *wrapped, size_t *wrapped_bytes);
MUST_USE int master_kwp_unwrap(const uint8_t *kek, size_t kek_bytes, const uint8_t *wrapped,
                               size_t wrapped_bytes, uint8_t *plain, size_t *plain_bytes);

#endif
