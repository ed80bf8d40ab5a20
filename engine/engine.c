#include "engine/engine.h"

#include "base/assert.h"
#include "base/log.h"
#include "crypto/cobblestone.h"
#include "crypto/secret.h"
#include "engine/eal.h"
#include "engine/spool_key.h"
#include "engine/spool_lock.h"

#include <errno.h>
#include <libgen.h>
#include <rte_launch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#define ENGINE_READY_MS_MAX   10000
#define ENGINE_SPOOL_MS_MAX   600000 /* of a large spool on a slow disk */
#define ENGINE_EXTEND_MS      1000
#define ENGINE_EXTEND_NOTE    "EXTEND_TIMEOUT_USEC=30000000"
#define ENGINE_BEAT_NS_MAX    (30 * NS_PER_S)
#define ENGINE_BACKOFF_NS_MAX (10 * NS_PER_S)
#define ENGINE_PROBE_NS_MIN   NS_PER_S /* a service that is away: at most one probe a second */
#define ENGINE_EAL_BYTES_NODE ((size_t)1 << 20)
#define ENGINE_TELL_TRIES_MAX 1000
#define ENGINE_PAUSE_NS       ((long)NS_PER_MS)

static void engine_pause(void)
{
    const struct timespec pause = {.tv_nsec = ENGINE_PAUSE_NS};
    (void)nanosleep(&pause, NULL);
}

static struct worker_config engine_worker_config(const struct engine *engine, uint32_t index)
{
    const struct config_engine *wish = &engine->config.engine;
    struct worker_config config = {
        .index = index,
        .node = engine->placement.workers[index].node,
        .jobs_count = wish->jobs_count,
        .key_services_count = engine->config.key_services_count,
        .snapshot = engine->snapshots_count > 0 ? engine->snapshots[0] : NULL,
        .key_wait_ns = wish->key_wait_s * NS_PER_S,
        .spin_ns_max = wish->spin_us * NS_PER_US,
        .busy_poll = wish->busy_poll,
        .allow_io_uring = wish->io_uring,
        .notice_eventfd = engine->notice_eventfd,
        .spool = wish->spool[0] == '\0' ? NULL : wish->spool,
        .spool_key = engine->spool_key,
        .workers_count = engine->placement.workers_count,
        .spool_bytes = wish->spool_bytes / engine->placement.workers_count,
        .spool_segment_bytes = wish->spool_segment_bytes,
    };
    for (uint32_t k = 0; k < config.key_services_count; k++)
        config.key_names[k] = engine->config.key_services[k].name;
    const uint32_t node_index = placement_node_of(&engine->placement, index);
    for (uint32_t k = 0; k < config.key_services_count; k++)
        config.keys[k] = engine->keys[k * PLACEMENT_NODES_MAX + node_index];
    return config;
}

static int engine_start_placement(struct engine *engine, char why[ENGINE_WHY_BYTES])
{
    hwloc_topology_t topology;
    const int rc = placement_discover(&topology);
    if (rc != 0) {
        (void)snprintf(why, ENGINE_WHY_BYTES, "the machine's topology cannot be read");
        return rc;
    }
    const int planned =
        placement_plan(&engine->placement, topology, engine->config.engine.workers, why);
    hwloc_topology_destroy(topology);
    return planned;
}

/* The most workers that take their memory of one node. */
static uint32_t engine_node_workers_max(const struct placement *placement)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < placement->workers_count; i++) {
        uint32_t same = 0;
        for (uint32_t k = 0; k < placement->workers_count; k++)
            same += placement->workers[k].memory_node == placement->workers[i].memory_node;
        most = MAX(most, same);
    }
    return most;
}

static int engine_start_eal(struct engine *engine, char why[ENGINE_WHY_BYTES])
{
    char folder[CONFIG_PATH_BYTES];
    (void)snprintf(folder, sizeof(folder), "%s", engine->config.engine.socket);
    const struct worker_config worker = engine_worker_config(engine, 0);
    const struct eal_config config = {
        .placement = &engine->placement,
        .hugepages = engine->config.engine.hugepages,
        .node_bytes = worker_memory_bytes(&worker) * engine_node_workers_max(&engine->placement) +
                      ENGINE_EAL_BYTES_NODE,
        .runtime_dir = dirname(folder),
        .verbose = engine->config.engine.log_level == LOG_LEVEL_DEBUG,
    };
    const int rc = eal_open(&config, why);
    engine->eal_open = rc == 0;
    return rc;
}

static const char *text_or_null(const char *text)
{
    return text[0] == '\0' ? NULL : text;
}

/* One thread a key service and node that has workers. */
static int engine_start_keys(struct engine *engine, char why[ENGINE_WHY_BYTES])
{
    const uint32_t nodes_count = engine->placement.nodes_count;
    for (uint32_t i = 0; i < engine->config.key_services_count * nodes_count; i++) {
        const uint32_t k = i / nodes_count;
        const struct config_key_service *service = &engine->config.key_services[k];
        const struct key_thread_config config = {
            .name = service->name,
            .client = {.url = service->engine_url,
                       .ca_file = text_or_null(service->ca),
                       .certificate_file = text_or_null(service->certificate),
                       .private_key_file = text_or_null(service->private_key),
                       .proxy = text_or_null(service->proxy),
                       .request_timeout_ns = service->timeout_s * NS_PER_S,
                       .backoff_ns_max = ENGINE_BACKOFF_NS_MAX,
                       .probe_ns_min = ENGINE_PROBE_NS_MIN * nodes_count},
            .node = &engine->placement.nodes[i % nodes_count],
        };
        char key_why[KEY_CLIENT_WHY_BYTES] = "";
        const uint32_t at = k * PLACEMENT_NODES_MAX + i % nodes_count;
        const int rc = key_thread_open(&engine->keys[at], &config, key_why);
        if (rc != 0) {
            (void)snprintf(why, ENGINE_WHY_BYTES, "key_service \"%s\": %s", service->name, key_why);
            return rc;
        }
    }
    return 0;
}

static int engine_start_snapshot(struct engine *engine, char why[ENGINE_WHY_BYTES])
{
    const int rc = snapshot_open(&engine->snapshots[0], &engine->config, 1, why);
    if (rc != 0)
        return rc;
    engine->snapshots_count = 1;
    atomic_store_explicit(&engine->generation, 1, memory_order_relaxed);
    return 0;
}

/* A commitment to the spool key, which no record's salt and context give. */
static int engine_check_spool_key(const struct engine *engine, char why[ENGINE_WHY_BYTES])
{
    static const uint8_t context[] = "bulla/spool/mark/1";
    static const uint8_t salt[COBBLE_SALT_BYTES];
    struct crypto_core *core;
    struct cobble cobble;
    struct cobble_derivation derivation = {
        .suite = COBBLE_AES_256,
        .key = engine->spool_key,
        .salt = salt,
        .context = context,
        .context_bytes = sizeof(context),
        .cobble = &cobble,
    };
    _Static_assert(COBBLE_COMMITMENT_BYTES == SPOOL_LOCK_MARK_BYTES, "one is the other");
    const int rc = crypto_core_open(&core, isa_best());
    if (rc != 0) {
        (void)snprintf(why, ENGINE_WHY_BYTES, "no cryptography for the spool key");
        return rc;
    }
    cobble_derive_burst(core, &derivation, 1);
    cobble_wipe(&cobble);
    crypto_core_close(core);
    return spool_lock_check(engine->spool_lock_fd, derivation.commitment,
                            engine->config.engine.spool, why);
}

/* The folder is ours alone, and the key that its records are under is there. */
static int engine_start_spool(struct engine *engine, char why[ENGINE_WHY_BYTES])
{
    const struct config_engine *wish = &engine->config.engine;
    void *pages = NULL;
    if (wish->spool[0] == '\0')
        return 0;
    int rc = spool_lock_take(&engine->spool_lock_fd, wish->spool, why);
    if (rc != 0)
        return rc;
    rc = secret_pages_open(&pages, SPOOL_KEY_BYTES);
    if (rc != 0) {
        (void)snprintf(why, ENGINE_WHY_BYTES, "no memory for the spool key");
        return rc;
    }
    engine->spool_key = pages;
    rc = spool_key_load(engine->spool_key, wish->spool_key, wish->spool, why);
    return rc == 0 ? engine_check_spool_key(engine, why) : rc;
}

static int engine_open_workers(struct engine *engine, char why[ENGINE_WHY_BYTES])
{
    for (uint32_t i = 0; i < engine->placement.workers_count; i++) {
        const struct worker_config config = engine_worker_config(engine, i);
        const int rc = worker_open(&engine->workers[i], &config, why);
        if (rc != 0)
            return rc;
        engine->workers_count++;
    }
    return 0;
}

/* Waits until the worker serves; bounded. */
static int engine_await(const struct worker *worker, uint32_t ms_max)
{
    for (uint32_t ms = 0; ms < ms_max; ms++) {
        const int rc = worker_ready(worker);
        if (rc != -EINPROGRESS)
            return rc;
        if (ms % ENGINE_EXTEND_MS == ENGINE_EXTEND_MS - 1)
            (void)sd_notify(0, ENGINE_EXTEND_NOTE);
        engine_pause();
    }
    return -ETIMEDOUT;
}

/* secret_pages_open() takes pages that cannot be locked as well: then an administrator must know.
 */
static void engine_check_locking(const struct engine *engine)
{
    const struct worker_config config = engine_worker_config(engine, 0);
    const size_t bytes = worker_secret_bytes(&config) * engine->workers_count;
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return; /* the workers will say so themselves */
    /* On fault: the limit is looked at, and nothing is touched. */
    if (mlock2(at, bytes, MLOCK_ONFAULT) != 0)
        log_line(LOG_LEVEL_WARNING, "memory_not_locked",
                 "bytes=%zu error=\"%s\" why=\"keys and mail in clear may reach a swap device\" "
                 "mend=\"raise LimitMEMLOCK (ulimit -l)\"",
                 bytes, strerror(errno));
    (void)munmap(at, bytes);
}

static void engine_log_spool(const struct engine *engine)
{
    uint64_t recovered = 0;
    uint64_t held = 0;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < engine->workers_count; i++) {
        recovered += worker_counter(engine->workers[i], COUNTER_RECOVERED);
        held += worker_counter(engine->workers[i], COUNTER_HELD);
        bytes += worker_counter(engine->workers[i], COUNTER_SPOOL_BYTES);
    }
    log_line(LOG_LEVEL_INFO, "spool_ready", "folder=%s waiting=%llu held=%llu bytes=%llu",
             engine->config.engine.spool, (unsigned long long)recovered, (unsigned long long)held,
             (unsigned long long)bytes);
}

static int engine_launch(struct engine *engine, char why[ENGINE_WHY_BYTES])
{
    for (uint32_t i = 0; i < engine->workers_count; i++) {
        if (rte_eal_remote_launch(worker_run, engine->workers[i], i + 1) != 0) {
            (void)snprintf(why, ENGINE_WHY_BYTES, "worker %u's lcore does not start", i);
            return -EIO;
        }
        engine->launched_count++;
    }
    const bool spools = engine->config.engine.spool[0] != '\0';
    const uint32_t ms_max = spools ? ENGINE_SPOOL_MS_MAX : ENGINE_READY_MS_MAX;
    /* All together: each of them recovers what waits in its spool first. */
    for (uint32_t i = 0; i < engine->workers_count; i++) {
        const int rc = engine_await(engine->workers[i], ms_max);
        if (rc != 0) {
            const char *said = rc == -ETIMEDOUT ? "" : worker_why(engine->workers[i]);
            (void)snprintf(why, ENGINE_WHY_BYTES, "worker %u cannot start: %s", i,
                           said[0] == '\0' ? strerror(-rc) : said);
            return rc;
        }
    }
    if (spools)
        engine_log_spool(engine);
    for (uint32_t i = 0; i < ENGINE_KEYS_MAX; i++) {
        const int rc = engine->keys[i] == NULL ? 0 : key_thread_start(engine->keys[i]);
        if (rc != 0) {
            (void)snprintf(why, ENGINE_WHY_BYTES, "a key thread cannot start: %s", strerror(-rc));
            return rc;
        }
    }
    return 0;
}

int engine_start(struct engine *engine, const char *config_path, const struct config *config,
                 char why[ENGINE_WHY_BYTES])
{
    memset(engine, 0, sizeof(*engine));
    engine->config_path = config_path;
    engine->config = *config;
    engine->started_ns = clock_monotonic_ns();
    engine->spool_lock_fd = -1;
    engine->notice_eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (engine->notice_eventfd < 0) {
        (void)snprintf(why, ENGINE_WHY_BYTES, "no eventfd can be had: %s", strerror(errno));
        return -errno;
    }
    int rc = engine_start_placement(engine, why);
    if (rc == 0)
        rc = engine_start_snapshot(engine, why);
    if (rc == 0)
        rc = engine_start_keys(engine, why);
    if (rc == 0)
        rc = engine_start_spool(engine, why);
    if (rc == 0)
        rc = engine_start_eal(engine, why);
    if (rc == 0)
        rc = engine_open_workers(engine, why);
    if (rc == 0) {
        engine_check_locking(engine);
        rc = engine_launch(engine, why);
    }
    if (rc != 0)
        engine_stop(engine);
    return rc;
}

static void engine_stop_worker(struct worker *worker)
{
    const struct worker_order order = {.kind = WORKER_STOP};
    for (uint32_t tries = 0; tries < ENGINE_TELL_TRIES_MAX; tries++) {
        if (worker_tell(worker, &order))
            return;
        engine_pause();
    }
    log_line(LOG_LEVEL_ERROR, "worker_stuck", "worker=%u", worker_index(worker));
}

void engine_stop(struct engine *engine)
{
    /* Also those that have not said yet that they serve: they find the order when they do. */
    for (uint32_t i = 0; i < engine->launched_count; i++)
        engine_stop_worker(engine->workers[i]);
    if (engine->launched_count > 0)
        rte_eal_mp_wait_lcore();
    for (uint32_t i = 0; i < ENGINE_KEYS_MAX; i++) {
        key_thread_close(engine->keys[i]);
        engine->keys[i] = NULL;
    }
    for (uint32_t i = 0; i < engine->workers_count; i++)
        worker_close(engine->workers[i]);
    engine->workers_count = 0;
    engine->launched_count = 0;
    for (uint32_t i = 0; i < engine->snapshots_count; i++)
        snapshot_close(engine->snapshots[i]);
    engine->snapshots_count = 0;
    if (engine->spool_key != NULL)
        secret_pages_close(engine->spool_key, SPOOL_KEY_BYTES);
    engine->spool_key = NULL;
    if (engine->spool_lock_fd >= 0)
        (void)close(engine->spool_lock_fd);
    engine->spool_lock_fd = -1;
    if (engine->eal_open)
        eal_close();
    engine->eal_open = false;
    if (engine->notice_eventfd >= 0)
        (void)close(engine->notice_eventfd);
    engine->notice_eventfd = -1;
}

/* Profiles name key services; the running key threads are those of the start. */
static int reload_match(const struct engine *engine, struct config *fresh, bool *restart_needed,
                        char why[ENGINE_WHY_BYTES])
{
    const struct config *running = &engine->config;
    *restart_needed = memcmp(&running->engine, &fresh->engine, sizeof(fresh->engine)) != 0 ||
                      running->key_services_count != fresh->key_services_count;
    /* What a snapshot takes of the engine's section is in force since the start, like the rest. */
    memcpy(fresh->engine.message_id_host, running->engine.message_id_host,
           sizeof(fresh->engine.message_id_host));
    for (uint32_t i = 0; i < fresh->profiles_count; i++) {
        struct config_key_service wanted = fresh->key_services[fresh->profile_key_service[i]];
        uint32_t k = 0;
        while (k < running->key_services_count &&
               strcmp(running->key_services[k].name, wanted.name) != 0)
            k++;
        if (k == running->key_services_count) {
            (void)snprintf(why, ENGINE_WHY_BYTES,
                           "%s: profile \"%s\" names key_service \"%s\", which this engine was not "
                           "started with; restart it",
                           engine->config_path, fresh->profiles[i].name, wanted.name);
            return -EINVAL;
        }
        fresh->profile_key_service[i] = k;
        /* What recipients open is the profile's; the rest is the running client's. */
        memcpy(wanted.url, running->key_services[k].url, sizeof(wanted.url));
        if (memcmp(&wanted, &running->key_services[k], sizeof(wanted)) != 0)
            *restart_needed = true;
    }
    return 0;
}

static void engine_tell_all(struct engine *engine, const struct worker_order *order)
{
    for (uint32_t i = 0; i < engine->workers_count; i++) {
        bool told = worker_tell(engine->workers[i], order);
        for (uint32_t tries = 0; tries < ENGINE_TELL_TRIES_MAX && !told; tries++) {
            engine_pause();
            told = worker_tell(engine->workers[i], order);
        }
        if (!told)
            log_line(LOG_LEVEL_ERROR, "worker_stuck", "worker=%u", i);
    }
}

static uint32_t engine_free_slot(const struct engine *engine)
{
    uint32_t taken = 0;
    uint32_t slot = 0;
    for (uint32_t i = 0; i < engine->snapshots_count; i++)
        taken |= 1U << engine->snapshots[i]->slot;
    while ((taken >> slot & 1) != 0)
        slot++;
    ASSERT(slot < ENGINE_SNAPSHOTS_MAX);
    return slot;
}

void engine_evict_oldest(struct engine *engine)
{
    ASSERT(engine->snapshots_count > 1);
    /* By number: the snapshot may be freed before a worker reads this. They stand by age. */
    const struct worker_order order = {.kind = WORKER_EVICT,
                                       .generation = engine->snapshots[0]->generation};
    engine_tell_all(engine, &order);
}

static bool engine_uses(const struct engine *engine, const struct snapshot *snapshot)
{
    for (uint32_t i = 0; i < engine->workers_count; i++) {
        if (worker_uses(engine->workers[i], snapshot))
            return true;
    }
    return false;
}

static int reload_publish(struct engine *engine, const struct config *fresh,
                          char why[ENGINE_WHY_BYTES])
{
    engine_free_snapshots(engine);
    if (engine->snapshots_count == ENGINE_SNAPSHOTS_MAX) {
        (void)snprintf(
            why, ENGINE_WHY_BYTES,
            "%d earlier ones are in use by mail that clients do not release; the session "
            "that uses the oldest is ended, and then this one is read again",
            ENGINE_SNAPSHOTS_MAX);
        return -EBUSY;
    }
    const uint64_t generation = atomic_load_explicit(&engine->generation, memory_order_relaxed) + 1;
    struct snapshot *snapshot;
    const int rc = snapshot_open(&snapshot, fresh, generation, why);
    if (rc != 0)
        return rc;
    snapshot->slot = engine_free_slot(engine);
    engine->snapshots[engine->snapshots_count++] = snapshot;
    atomic_store_explicit(&engine->generation, generation, memory_order_relaxed);
    const struct worker_order order = {.kind = WORKER_SNAPSHOT, .snapshot = snapshot};
    engine_tell_all(engine, &order);
    return 0;
}

int engine_reload(struct engine *engine, bool *restart_needed, char why[ENGINE_WHY_BYTES])
{
    struct config *fresh = calloc(1, sizeof(*fresh));
    if (fresh == NULL) {
        (void)snprintf(why, ENGINE_WHY_BYTES, "out of memory");
        return -ENOMEM;
    }
    int rc = config_load(fresh, engine->config_path, why);
    if (rc == 0)
        rc = reload_match(engine, fresh, restart_needed, why);
    if (rc == 0)
        rc = reload_publish(engine, fresh, why);
    free(fresh);
    return rc;
}

void engine_free_snapshots(struct engine *engine)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < engine->snapshots_count; i++) {
        const bool newest = i + 1 == engine->snapshots_count;
        if (newest || engine_uses(engine, engine->snapshots[i]))
            engine->snapshots[kept++] = engine->snapshots[i];
        else
            snapshot_close(engine->snapshots[i]);
    }
    engine->snapshots_count = kept;
}

bool engine_alive(const struct engine *engine, uint64_t now_ns)
{
    for (uint32_t i = 0; i < engine->workers_count; i++) {
        const uint64_t beat_ns = worker_beat_ns(engine->workers[i]);
        if (now_ns > beat_ns && now_ns - beat_ns > ENGINE_BEAT_NS_MAX)
            return false;
    }
    return true;
}
