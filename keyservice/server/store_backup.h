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
#ifndef KEYSERVICE_SERVER_STORE_BACKUP_H
#define KEYSERVICE_SERVER_STORE_BACKUP_H

#include "base/macros.h"
#include "keyservice/server/store.h"

#define STORE_BACKUP_PATH_BYTES 1100
#define STORE_BACKUP_PAGES      1024 /* of one step; between two, others write */

MUST_USE int store_backup(const char *database, const char *file, char why[STORE_WHY_BYTES]);

struct store_restore {
    const char *database;
    const char *file;
    const struct master *master;
};
/* Copies `file` beside the database, as it is to be: of this version, its keys known, nobody signed
 * in. Nothing is in use yet. */
MUST_USE int store_restore_prepare(const struct store_restore *restore, int *lock_fd,
                                   char why[STORE_WHY_BYTES]);
/* Puts it in the database's place, which is kept as DATABASE.before. */
MUST_USE int store_restore_finish(const struct store_restore *restore, char why[STORE_WHY_BYTES]);

#endif
