/*
 * spool_key: the key under which the key records of waiting mail stand in the spool.
 * Ownership: copied into the caller's bytes, which are secret.
 * Threads:   any; at start.
 * Units:     bytes.
 * Errors:    -errno, with a sentence in `why` that names the mend.
 *
 * docs/queue/spool.md. 32 random bytes in a file of mode 0600 outside the spool's folder, so that a
 * copy of the spool alone opens nothing; or a systemd credential.
 */
#ifndef ENGINE_SPOOL_KEY_H
#define ENGINE_SPOOL_KEY_H

#include "base/macros.h"

#include <stdint.h>

#define SPOOL_KEY_BYTES      32
#define SPOOL_KEY_WHY_BYTES  512
#define SPOOL_KEY_CREDENTIAL "bulla-spool-key" /* LoadCredential=, SetCredential= */

/* `path` "": the credential. `folder` is the spool's. */
MUST_USE int spool_key_load(uint8_t key[SPOOL_KEY_BYTES], const char *path, const char *folder,
                            char why[SPOOL_KEY_WHY_BYTES]);
/* A new file of mode 0600, durable; -EEXIST: one is there, and is left as it is. */
MUST_USE int spool_key_make(const char *path, char why[SPOOL_KEY_WHY_BYTES]);

#endif
