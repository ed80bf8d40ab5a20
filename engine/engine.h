/*
 * engine: starts and stops everything but the socket: memory, snapshots, workers, key threads.
 * Ownership: one engine in a process; engine_start() allocates, engine_stop() frees.
 * Threads:   the main thread; what engine/status.c reads is constant or atomic.
 * Units:     none of its own.
 * Errors:    -errno with one line in `why` that names the mend.
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "base/macros.h"
#include "engine/config.h"
#include "engine/key_thread.h"
#include "engine/placement.h"
#include "engine/snapshot.h"
#include "engine/worker.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define ENGINE_WHY_BYTES     1024
#define ENGINE_SNAPSHOTS_MAX 8 /* the newest, and older ones that are still used */
#define ENGINE_KEYS_MAX      (CONFIG_KEY_SERVICES_MAX * PLACEMENT_NODES_MAX)

struct engine {
    const char *config_path;
    struct config config; /* as started, but for the profiles */
    struct placement placement;
    struct key_thread *keys[ENGINE_KEYS_MAX]; /* key service × placement.nodes */
    struct worker *workers[CONFIG_WORKERS_MAX];
    uint32_t workers_count;
    struct snapshot *snapshots[ENGINE_SNAPSHOTS_MAX];
    uint32_t snapshots_count;
    int notice_eventfd;      /* workers ring it */
    int spool_lock_fd;       /* -1: no spool, or not yet */
    uint8_t *spool_key;      /* secret pages; NULL: no spool */
    uint32_t launched_count; /* workers whose lcore runs */
    bool eal_open;
    uint64_t started_ns;
    _Atomic uint64_t generation; /* of the newest snapshot */
    _Atomic uint32_t sessions;
    _Atomic uint32_t draining;
};

/* `config` is copied. All workers serve when this returns 0. */
MUST_USE int engine_start(struct engine *engine, const char *config_path,
                          const struct config *config, char why[ENGINE_WHY_BYTES]);
/* Workers must be drained, or what is under way is the clients' to send again. */
void engine_stop(struct engine *engine);

/* Reads the configuration again and gives workers its profiles; on failure nothing has changed.
 * -EBUSY: ENGINE_SNAPSHOTS_MAX are in use. *restart_needed: something else differs too, and is not
 * in force. */
MUST_USE int engine_reload(struct engine *engine, bool *restart_needed, char why[ENGINE_WHY_BYTES]);
/* After -EBUSY: workers give up the sessions that use the oldest snapshot. */
void engine_evict_oldest(struct engine *engine);
/* Frees the snapshots that no worker uses any more. */
void engine_free_snapshots(struct engine *engine);
/* Every worker's loop has turned lately. */
bool engine_alive(const struct engine *engine, uint64_t now_ns);

#endif
