/*
 * spawn: starts an engine of the bench's own in a private folder, and stops it.
 * Ownership: spawn_open() makes folder, process and mapping; spawn_close() ends and removes them.
 * Threads:   one.
 * Units:     bytes; milliseconds.
 * Errors:    -errno with a sentence in `why`, the end of the engine's log among it.
 *
 * The engine is bulla-bench-engine, which lies beside this program in a build tree: the real one
 * but for its key service (bench/engine/instant_keys.c). It ends by itself when the bench does.
 */
#ifndef BENCH_SPAWN_H
#define BENCH_SPAWN_H

#include "base/macros.h"
#include "bench/engine/counts.h"
#include "bench/mailset.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SPAWN_PATH_BYTES 128 /* folders stand in /tmp: a socket's path is short */

/* Zeros mean the engine's own defaults. */
struct spawn_config {
    uint32_t workers; /* 0: all cores but one */
    bool sleeping;    /* adaptive waiting instead of busy_poll = true */
    uint64_t output_arena_bytes;
    uint32_t jobs_count;
    const char *spool; /* an existing folder, which stays; its key lies beside it; NULL: none */
    uint64_t spool_bytes;
    bool keys_away;       /* from the start: spawn_keys_away() */
    const char *profiles; /* more of them, as bulla.conf says it; NULL: "default" alone */
};

struct spawn {
    pid_t pid;
    char folder[SPAWN_PATH_BYTES];
    char socket_path[SPAWN_PATH_BYTES + 16];
    struct counts_page *counts;
};

/* Returns when the engine answers at its socket. */
MUST_USE int spawn_open(struct spawn **spawn, const struct spawn_config *config,
                        char why[MAILSET_WHY_BYTES]);
void spawn_close(struct spawn *spawn); /* NULL is harmless */

/* Its key service goes away, or comes back: bench/engine/instant_keys.c. */
void spawn_keys_away(struct spawn *spawn, bool away);
/* All of it stands still, from the one's return to the other's call. */
void spawn_halt(const struct spawn *spawn);
void spawn_go_on(const struct spawn *spawn);
/* SIGKILL, as a crash; spawn_close() removes the rest. */
void spawn_kill(struct spawn *spawn);

/* The folder of this program in the build tree, ".../bench". */
MUST_USE int spawn_program_folder(char *folder, size_t folder_bytes);
/* False when installed or copied: whoever owns the folder that a build once stood in must not
 * choose what is run. */
MUST_USE bool spawn_in_build_tree(void);

/* A figure of /proc/<pid>/status in KiB, by its name with the colon ("VmRSS:"); 0 if unknown. */
uint64_t spawn_memory_kib(pid_t pid, const char *name);

#endif
