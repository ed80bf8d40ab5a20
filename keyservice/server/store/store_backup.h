/*
 * store_backup: a copy of an SQLite database while a service writes to it, and the way back.
 * Ownership: none.
 * Threads:   any; beside other processes.
 * Units:     paths.
 * Errors:    -errno with the mend in `why`: -EEXIST the file to be made is there, -EBUSY a service
 *            runs, -ENOKEY the master key does not fit, -EBADMSG it is no database of ours.
 *
 * A copy is what was committed when it began, whole and synced under its name, or not there.
 * docs/keyservice/store.md.
 */
#ifndef KEYSERVICE_SERVER_STORE_STORE_BACKUP_H
#define KEYSERVICE_SERVER_STORE_STORE_BACKUP_H

#include "base/macros.h"
#include "keyservice/server/store/store.h"

#include <stdbool.h>
#include <stdint.h>

#define STORE_BACKUP_PATH_BYTES 1100
#define STORE_BACKUP_PAGES      1024 /* of one step; between two, others write */

MUST_USE int store_backup(const char *database, const char *file, char why[STORE_WHY_BYTES]);

struct store_restore {
    const char *database;
    const char *file;
    const struct master *master;
    bool keep_outbox; /* mails that waited then are sent, though they may have been since */
};
/* What waited in the backup and was not kept. */
struct store_restored {
    uint64_t mails_count;
    uint64_t notices_count;
};
/* Copies `file` beside the database, as it is to be: of this version, its keys known, nobody signed
 * in, no mail waiting. Nothing is in use yet. */
MUST_USE int store_restore_prepare(const struct store_restore *restore,
                                   struct store_restored *restored, int *lock_fd,
                                   char why[STORE_WHY_BYTES]);
/* Puts it in the database's place, which is kept as DATABASE.before. */
MUST_USE int store_restore_finish(const struct store_restore *restore, char why[STORE_WHY_BYTES]);

#endif
