/*
 * master_file: the bytes of the master key file: read privately, replaced whole, wiped when given
 * up. Ownership: the caller's text, which holds keys: it wipes it.
 * Threads:   any; processes too: who changes the file holds a lock on its folder.
 * Units:     bytes.
 * Errors:    -errno with a sentence in `why`.
 *
 * docs/keyservice/master-key.md. master_create(), master_add() and master_retire() of master.h are
 * here. At any moment the path names a whole file, the old one or the new one.
 */
#ifndef KEYSERVICE_SERVER_MASTER_FILE_H
#define KEYSERVICE_SERVER_MASTER_FILE_H

#include "base/macros.h"
#include "keyservice/server/master.h"

#include <stddef.h>

#define MASTER_FILE_HEAD      "bulla-master-key 1\n"
#define MASTER_FILE_RETIRED   "retired " /* before what a retired version leaves */
#define MASTER_FILE_BYTES_MAX 8192
#define MASTER_HEX_CHARS      (2 * MASTER_KEY_BYTES)

/* Refuses a file that others than its owner may read. */
MUST_USE int master_file_read(const char *path, char text[MASTER_FILE_BYTES_MAX],
                              size_t *text_bytes, char why[MASTER_WHY_BYTES]);

#endif
