/*
 * spool_folder: a spool of a daemon under test, and its key.
 * Ownership: spool_folder_start() makes both and starts the daemon; spool_folder_finish() ends all.
 * Threads:   one.
 * Units:     segments are as small as they may be: each is written from end to end before its use.
 * Errors:    what goes wrong fails the test.
 */
#ifndef TESTS_ENGINE_SPOOL_FOLDER_H
#define TESTS_ENGINE_SPOOL_FOLDER_H

#include "tests/engine/daemon.h"

struct spool_folder {
    char path[DAEMON_PATH_BYTES];
    char key[DAEMON_PATH_BYTES + 8];
};

/* `engine` and `profiles` as in daemon_start(). */
void spool_folder_start(struct spool_folder *folder, struct daemon *daemon, const char *engine,
                        const char *profiles);
/* Writes the configuration anew; the daemon reads it at its next start. */
void spool_folder_config(const struct spool_folder *folder, const struct daemon *daemon,
                         const char *engine);
void spool_folder_finish(const struct spool_folder *folder, struct daemon *daemon);

#endif
