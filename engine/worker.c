#include "engine/worker_internal.h"

#include "base/log.h"
#include "crypto/secret.h"
#include "engine/eal.h"
#include "engine/node.h"

#include <errno.h>
#include <rte_pause.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define WORKER_SLEEP_NS    NS_PER_S
#define WORKER_EVENTS_MAX  64
#define WORKER_SPIN_NS_MIN (2 * NS_PER_US)

static const char *const counter_names[WORKER_COUNTERS] = {
    [COUNTER_SEALED] = "sealed",
    [COUNTER_REFUSED] = "refused",
    [COUNTER_RETRIED] = "retried",
    [COUNTER_MAIL_BYTES] = "mail_bytes",
    [COUNTER_SEALED_BYTES] = "sealed_bytes",
    [COUNTER_VECTORS] = "vectors",
    [COUNTER_SLICES] = "slices",
    [COUNTER_ROOM_WAITS] = "room_waits",
    [COUNTER_KEY_CONFLICTS] = "key_conflicts",
    [COUNTER_SIZE_WARNINGS] = "size_warnings",
    [COUNTER_SLEEPS] = "sleeps",
    [COUNTER_TURNS] = "turns",
    [COUNTER_BROKEN] = "broken_clients",
    [COUNTER_JOBS] = "jobs",
    [COUNTER_CLIENTS] = "clients",
    [COUNTER_BUSY_NS] = "busy_ns",
    [COUNTER_QUEUED] = "queued",
    [COUNTER_RECOVERED] = "recovered",
    [COUNTER_WAITING] = "waiting",
    [COUNTER_READY] = "ready",
    [COUNTER_HELD] = "held",
    [COUNTER_EMITTED] = "emitted",
    [COUNTER_EMITTED_AGAIN] = "emitted_again",
    [COUNTER_EXPIRED] = "expired",
    [COUNTER_NOTIFIED] = "notified",
    [COUNTER_SPOOL_FAILURES] = "spool_failures",
    [COUNTER_SPOOL_DAMAGED] = "spool_damaged",
    [COUNTER_SPOOL_BYTES] = "spool_bytes",
    [COUNTER_SPOOL_COMMITS] = "spool_commits",
};

static const char *const fault_words[WORKER_FAULTS] = {
    [WORKER_FAULT_NONE] = "none",
    [WORKER_FAULT_INDEX] = "the client moved an index further than its ring holds",
    [WORKER_FAULT_SUBMISSION] = "the client submitted places, lengths or flags that cannot be",
    [WORKER_FAULT_DOORBELL] = "the doorbell cannot be waited on",
    [WORKER_FAULT_CONSTANTS] = "the profiles outgrew what the session keeps free for them",
    [WORKER_FAULT_SNAPSHOT] =
        "a reload needs the place of the profiles that its unreleased mail still uses",
};

static void counter_set(struct worker *worker, enum worker_counter counter, uint64_t value)
{
    atomic_store_explicit(&worker->counters[counter], value, memory_order_relaxed);
}

static uint64_t used_of(const struct snapshot *snapshot)
{
    ASSERT(snapshot->slot < WORKER_SLOT_BITS);
    return snapshot->generation << WORKER_SLOT_BITS | UINT64_C(1) << snapshot->slot;
}

static uint32_t ring_slots(uint32_t count)
{
    uint32_t slots = 64;
    while (slots <= count) /* an rte_ring of n slots holds n - 1 */
        slots *= 2;
    return slots;
}

static size_t ring_bytes(uint32_t item_bytes, uint32_t count)
{
    const ssize_t bytes = rte_ring_get_memsize_elem(item_bytes, ring_slots(count));
    ASSERT(bytes > 0);
    return eal_bytes((size_t)bytes);
}

/* All jobs may be at one key service, and all that waits asks beside them. */
static uint32_t asks_max(const struct worker_config *config)
{
    return config->jobs_count + (config->spool == NULL ? 0 : WAITING_ASKS_MAX);
}

size_t worker_memory_bytes(const struct worker_config *config)
{
    const size_t key_rings = ring_bytes(sizeof(struct key_request), asks_max(config)) +
                             ring_bytes(sizeof(struct key_verdict), asks_max(config));
    return eal_bytes(sizeof(struct worker)) + eal_bytes(config->jobs_count * sizeof(struct job)) +
           eal_bytes(config->jobs_count * sizeof(uint32_t)) +
           eal_bytes(WORKER_CLIENTS_MAX * sizeof(struct client)) +
           config->key_services_count * key_rings +
           ring_bytes(sizeof(struct worker_order), WORKER_ORDERS_MAX) +
           ring_bytes(sizeof(struct worker_notice), WORKER_NOTICES_MAX);
}

size_t worker_secret_bytes(const struct worker_config *config)
{
    return sizeof(struct worker_secrets) + (size_t)config->jobs_count * WORKER_RECORD_BYTES +
           (sealer_bytes() + CACHE_LINE) * WORKER_SEALERS + sealer_scratch_bytes() +
           (config->spool == NULL ? 0 : waiting_secret_bytes());
}

/* Not by rte_ring_create(), which would put rings of several workers side by side on one page. */
static struct rte_ring *ring_open(const struct worker *worker, const char *what,
                                  uint32_t item_bytes, uint32_t count)
{
    const uint32_t slots = ring_slots(count);
    const ssize_t bytes = rte_ring_get_memsize_elem(item_bytes, slots);
    ASSERT(bytes > 0);
    struct rte_ring *ring = eal_alloc(worker->config.node, (size_t)bytes);
    if (ring == NULL || rte_ring_init(ring, what, slots, RING_F_SP_ENQ | RING_F_SC_DEQ) != 0)
        return NULL;
    return ring;
}

static int worker_open_rings(struct worker *worker)
{
    const struct worker_config *config = &worker->config;
    worker->orders = ring_open(worker, "orders", sizeof(struct worker_order), WORKER_ORDERS_MAX);
    worker->notices =
        ring_open(worker, "notices", sizeof(struct worker_notice), WORKER_NOTICES_MAX);
    if (worker->orders == NULL || worker->notices == NULL)
        return -ENOMEM;
    for (uint32_t k = 0; k < config->key_services_count; k++) {
        struct worker_key *key = &worker->keys[k];
        key->thread = config->keys[k];
        key->link.worker = worker;
        key->link.asleep = &key->asleep;
        key->link.requests =
            ring_open(worker, "asks", sizeof(struct key_request), asks_max(config));
        key->link.verdicts =
            ring_open(worker, "says", sizeof(struct key_verdict), asks_max(config));
        if (key->link.requests == NULL || key->link.verdicts == NULL)
            return -ENOMEM;
        key_thread_attach(key->thread, &key->link);
    }
    return 0;
}

int worker_open(struct worker **worker, const struct worker_config *config,
                char why[WORKER_WHY_BYTES])
{
    ASSERT(config->snapshot != NULL);
    ASSERT(config->key_services_count <= CONFIG_KEY_SERVICES_MAX);
    struct worker *made = eal_alloc(config->node, sizeof(*made));
    int rc = made == NULL ? -ENOMEM : 0;
    if (rc == 0) {
        made->config = *config;
        made->snapshot = config->snapshot;
        made->jobs = eal_alloc(config->node, config->jobs_count * sizeof(struct job));
        made->jobs_free = eal_alloc(config->node, config->jobs_count * sizeof(uint32_t));
        made->clients = eal_alloc(config->node, WORKER_CLIENTS_MAX * sizeof(struct client));
        atomic_init(&made->used, used_of(config->snapshot));
        atomic_init(&made->ready, -EINPROGRESS);
        if (made->jobs == NULL || made->jobs_free == NULL || made->clients == NULL)
            rc = -ENOMEM;
    }
    if (rc == 0)
        rc = worker_open_rings(made);
    if (rc != 0) {
        (void)snprintf(why, WORKER_WHY_BYTES,
                       "worker %u cannot have its memory (%s); lower jobs or workers",
                       config->index, strerror(-rc));
        return rc;
    }
    *worker = made;
    return 0;
}

static void worker_fini_pages(struct worker *worker)
{
    const size_t records_bytes = (size_t)worker->config.jobs_count * WORKER_RECORD_BYTES;
    if (worker->secrets != NULL)
        secret_pages_close(worker->secrets, sizeof(*worker->secrets));
    if (worker->records != NULL)
        secret_pages_close(worker->records, records_bytes);
    if (worker->sealers != NULL)
        secret_pages_close(worker->sealers, worker->sealer_stride * WORKER_SEALERS);
    if (worker->scratch != NULL)
        secret_pages_close(worker->scratch, sealer_scratch_bytes());
    crypto_core_close(worker->core);
    worker->secrets = NULL;
    worker->records = NULL;
    worker->sealers = NULL;
    worker->scratch = NULL;
    worker->core = NULL;
}

/* On the worker's own processor. */
static int worker_init_thread(struct worker *worker)
{
    void *pages = NULL;
    worker->codec = base64_codec(isa_best());
    worker->sealer_stride = (sealer_bytes() + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1);
    int rc = crypto_core_open(&worker->core, isa_best());
    if (rc != 0)
        return rc;
    rc = secret_pages_open(&pages, sizeof(struct worker_secrets));
    if (rc != 0)
        return rc;
    worker->secrets = pages;
    rc = secret_pages_open(&pages, (size_t)worker->config.jobs_count * WORKER_RECORD_BYTES);
    if (rc != 0)
        return rc;
    worker->records = pages;
    rc = secret_pages_open(&pages, worker->sealer_stride * WORKER_SEALERS);
    if (rc != 0)
        return rc;
    worker->sealers = pages;
    rc = secret_pages_open(&pages, sealer_scratch_bytes());
    if (rc != 0)
        return rc;
    worker->scratch = pages;
    rc = wait_open(&worker->wait, worker->config.allow_io_uring);
    if (rc != 0)
        return rc;
    return worker_spool_open(worker);
}

static void worker_init_pools(struct worker *worker)
{
    for (uint32_t i = 0; i < worker->config.jobs_count; i++) {
        struct job *job = &worker->jobs[i];
        job->state = JOB_FREE;
        job->next = JOB_NONE;
        job->prev = JOB_NONE;
        job->record_large = JOB_NONE;
        worker->jobs_free[worker->jobs_free_count++] = worker->config.jobs_count - 1 - i;
    }
    for (uint32_t i = 0; i < WORKER_SEALERS; i++) {
        uint8_t *at = worker->sealers + worker->sealer_stride * (WORKER_SEALERS - 1 - i);
        worker->sealers_free[worker->sealers_free_count++] = (struct sealer *)(void *)at;
    }
    worker->suite = COBBLE_AES_256;
    for (uint32_t i = 0; i < WORKER_RECORDS_LARGE; i++)
        worker->records_large_free[worker->records_large_free_count++] = i;
    job_list_init(&worker->sealing);
    job_list_init(&worker->spooling);
    worker->spin_ns = worker->config.spin_ns_max;
}

void worker_notify(struct worker *worker, enum worker_notice_kind kind, uint32_t session,
                   enum worker_fault fault)
{
    const uint64_t one = 1;
    struct worker_notice notice = {.kind = kind, .session = session, .fault = fault};
    const int rc = rte_ring_sp_enqueue_elem(worker->notices, &notice, sizeof(notice));
    ASSERT(rc == 0); /* two a session at most */
    if (write(worker->config.notice_eventfd, &one, sizeof(one)) < 0) {
        /* Full means that control has been rung already. */
    }
}

void worker_break(struct worker *worker, struct client *client, enum worker_fault fault)
{
    ASSERT(client->state == CLIENT_LIVE);
    client->state = CLIENT_BROKEN;
    worker_count(worker, COUNTER_BROKEN, 1);
    worker_notify(worker, NOTICE_BROKEN, client->session, fault);
}

static struct client *client_find(struct worker *worker, uint32_t session)
{
    for (uint32_t n = 0; n < worker->live_count; n++) {
        struct client *client = &worker->clients[worker->live[n]];
        if (client->session == session)
            return client;
    }
    return NULL;
}

/* True when the client uses the newest snapshot now. Its memfd has two halves for constants, and
 * jobs of two generations at most: jobs_previous keeps the half that would be written over from
 * those under way, the channel from completions that are not released. */
static bool client_adopt_snapshot(struct worker *worker, struct client *client)
{
    uint64_t offset;
    const struct snapshot *snapshot = worker->snapshot;
    if (client->snapshot == snapshot)
        return true;
    if (channel_is_collector(client->channel)) { /* what it gets is as it was sealed */
        client->snapshot = snapshot;
        return true;
    }
    if (client->jobs_previous > 0)
        return false;
    const int rc = channel_constants_write(client->channel, snapshot->constants,
                                           snapshot->constants_bytes, &offset);
    if (rc == -EFBIG) /* it never will: attached anew it gets more room */
        worker_break(worker, client, WORKER_FAULT_CONSTANTS);
    if (rc != 0)
        return false;
    client->previous_generation = client->snapshot->generation;
    client->previous_slot = client->snapshot->slot;
    client->jobs_previous = client->jobs_current;
    client->jobs_current = 0;
    client->snapshot = snapshot;
    client->constants_offset = offset;
    return true;
}

/* Publishes which snapshots are in use; true when all clients have the newest. */
static bool worker_adopt_snapshots(struct worker *worker)
{
    uint64_t used = used_of(worker->snapshot);
    bool all = true;
    for (uint32_t n = 0; n < worker->live_count; n++) {
        struct client *client = &worker->clients[worker->live[n]];
        if (client->state == CLIENT_LIVE && !client_adopt_snapshot(worker, client))
            all = false;
        used |= UINT64_C(1) << client->snapshot->slot;
        if (client->jobs_previous > 0)
            used |= UINT64_C(1) << client->previous_slot;
        all = all && client->snapshot == worker->snapshot && client->jobs_previous == 0;
    }
    /* Release pairs with the acquire in worker_uses(): others are no longer read. */
    atomic_store_explicit(&worker->used, used, memory_order_release);
    return all;
}

static void order_evict(struct worker *worker, uint64_t generation)
{
    for (uint32_t n = 0; n < worker->live_count; n++) {
        struct client *client = &worker->clients[worker->live[n]];
        const bool holds = client->snapshot->generation <= generation ||
                           (client->jobs_previous > 0 && client->previous_generation <= generation);
        if (client->state == CLIENT_LIVE && holds)
            worker_break(worker, client, WORKER_FAULT_SNAPSHOT);
    }
}

/*
 * What one client may hold, whenever clients come or go. Most jobs pass by themselves, within
 * key_wait at the latest. Those that wait for a client's releases may stay for ever: of these so
 * few are let in that 256 clients that release nothing do not fill 2,048 jobs, since each one found
 * the share smaller than the one before.
 */
static void worker_share(struct worker *worker)
{
    const uint32_t clients = MAX(worker->live_count, 1U);
    const uint32_t quarter = worker->config.jobs_count / 4 / clients;
    worker->share = MAX(worker->config.jobs_count / clients, (uint32_t)WORKER_SHARE_MIN);
    worker->share_waiting = MIN(MAX(quarter, 1U), (uint32_t)WORKER_WAITING_MAX);
    worker->share_large = MAX(WORKER_LARGE_MAX / (clients + 1), 1U);
}

static void order_adopt(struct worker *worker, const struct worker_order *order)
{
    uint32_t index = 0;
    while (index < WORKER_CLIENTS_MAX && worker->clients[index].state != CLIENT_FREE)
        index++;
    ASSERT(index < WORKER_CLIENTS_MAX); /* control has no more sessions than that */
    struct client *client = &worker->clients[index];
    *client = (struct client){.state = CLIENT_LIVE,
                              .session = order->session,
                              .channel = order->channel,
                              .collector = channel_is_collector(order->channel),
                              .snapshot = worker->snapshot};
    job_list_init(&client->room);
    job_list_init(&client->large);
    job_list_init(&client->answers);
    worker->live[worker->live_count++] = index;
    worker_share(worker);
    if (!client->collector && channel_constants_write(client->channel, worker->snapshot->constants,
                                                      worker->snapshot->constants_bytes,
                                                      &client->constants_offset) != 0) {
        worker_break(worker, client, WORKER_FAULT_CONSTANTS);
        return;
    }
    client->watched =
        wait_add(worker->wait, client->session, channel_doorbell(client->channel)) == 0;
    const bool adopted = client->watched &&
                         (!client->collector || worker->waiting == NULL ||
                          waiting_collector_add(worker->waiting, client->session, client->channel));
    if (!adopted)
        worker_break(worker, client, WORKER_FAULT_DOORBELL);
}

static void order_drop(struct worker *worker, const struct worker_order *order)
{
    struct client *client = client_find(worker, order->session);
    ASSERT(client != NULL);
    client->state = CLIENT_ENDING;
    client->dirty = false;
    if (client->watched)
        wait_remove(worker->wait, client->session);
    if (client->collector && worker->waiting != NULL)
        waiting_collector_end(worker->waiting, client->session);
    worker_client_clear(worker, client);
}

/* Clients whose last job has come back from the key thread. */
static void worker_release_ended(struct worker *worker)
{
    uint32_t n = 0;
    while (n < worker->live_count) {
        struct client *client = &worker->clients[worker->live[n]];
        const bool reads = client->collector && client->state == CLIENT_ENDING &&
                           worker->waiting != NULL &&
                           !waiting_collector_gone(worker->waiting, client->session);
        if (client->state != CLIENT_ENDING || client->jobs_count > 0 || reads) {
            n++;
            continue;
        }
        worker_notify(worker, NOTICE_RELEASED, client->session, WORKER_FAULT_NONE);
        client->state = CLIENT_FREE;
        worker->live[n] = worker->live[--worker->live_count];
        worker_share(worker);
    }
}

static void worker_take_orders(struct worker *worker)
{
    struct worker_order order;
    for (uint32_t n = 0; n < WORKER_ORDERS_MAX; n++) {
        if (rte_ring_sc_dequeue_elem(worker->orders, &order, sizeof(order)) != 0)
            return;
        switch (order.kind) {
        case WORKER_ADOPT: order_adopt(worker, &order); break;
        case WORKER_DROP: order_drop(worker, &order); break;
        case WORKER_SNAPSHOT: worker->snapshot = order.snapshot; break;
        case WORKER_EVICT: order_evict(worker, order.generation); break;
        case WORKER_ERRAND:
            ASSERT(worker->errand == NULL);
            worker->errand = order.errand;
            errand_begin(worker->errand, worker->now_ns);
            break;
        case WORKER_DRAIN:
            worker->draining = true;
            if (worker->waiting != NULL)
                waiting_drain(worker->waiting);
            break;
        case WORKER_STOP: worker->stopping = true; break;
        }
    }
}

static void worker_run_errand(struct worker *worker)
{
    if (worker->errand == NULL || !errand_step(worker->errand, worker, worker->now_ns))
        return;
    worker->errand = NULL;
    worker_notify(worker, NOTICE_ERRAND, 0, WORKER_FAULT_NONE);
}

/* What a client puts into its ring would be taken; else nobody need wake for it. */
static bool client_may_take(const struct worker *worker, const struct client *client)
{
    if (!client->collector)
        return worker_client_room(worker, client) > 0;
    return worker->waiting != NULL && waiting_collector_takes(worker->waiting, client->session);
}

/* False when something is there to do: then nobody sleeps. */
static bool worker_may_sleep(struct worker *worker)
{
    for (uint32_t n = 0; n < worker->live_count; n++) {
        struct client *client = &worker->clients[worker->live[n]];
        if (client->state == CLIENT_LIVE &&
            !channel_sleep(client->channel, client_may_take(worker, client)))
            return false;
    }
    /* Pairs with the one in worker_wake(). Of two read-modify-writes of one word one comes first: a
     * waker's, and we see what it had pushed; or ours, and it sees that we sleep. */
    (void)atomic_exchange_explicit(&worker->asleep, 1, memory_order_acq_rel);
    if (!rte_ring_empty(worker->orders))
        return false;
    for (uint32_t k = 0; k < worker->config.key_services_count; k++) {
        if (!rte_ring_empty(worker->keys[k].link.verdicts))
            return false;
    }
    if (worker->waiting == NULL)
        return true;
    /* What the disk does from now on rings; what it did before is looked at once more. */
    waiting_arm(worker->waiting, true);
    return worker_pass_spool(worker) == 0 && waiting_may_sleep(worker->waiting);
}

static void worker_sleep(struct worker *worker)
{
    struct wait_event events[WORKER_EVENTS_MAX];
    uint32_t events_count = 0;
    if (worker_may_sleep(worker)) {
        worker_count(worker, COUNTER_SLEEPS, 1);
        events_count = wait_for(worker->wait, WORKER_SLEEP_NS, events, WORKER_EVENTS_MAX);
    }
    /* An exchange too, so that no plain store parts a waker from the next announcement. */
    (void)atomic_exchange_explicit(&worker->asleep, 0, memory_order_acq_rel);
    if (worker->waiting != NULL)
        waiting_arm(worker->waiting, false);
    for (uint32_t n = 0; n < worker->live_count; n++)
        channel_awake(worker->clients[worker->live[n]].channel);
    for (uint32_t i = 0; i < events_count; i++) {
        struct client *client = events[i].kind == WAIT_BROKEN && events[i].tag != WAIT_TAG_OWN
                                    ? client_find(worker, events[i].tag)
                                    : NULL;
        if (client == NULL || client->state != CLIENT_LIVE)
            continue;
        worker_break(worker, client, WORKER_FAULT_DOORBELL);
    }
}

/* Spins for as long as spinning has paid lately, then sleeps. True when it did something. */
/* A look at a clock may cost a virtual machine half a microsecond: the wall's is looked at once in
 * a while, and goes with the other meanwhile. */
static void worker_set_time(struct worker *worker, uint64_t now_ns)
{
    if (now_ns - worker->unix_read_ns >= WORKER_UNIX_NS) {
        worker->unix_ns = clock_unix_ns();
        worker->unix_read_ns = now_ns;
    } else {
        worker->unix_ns += now_ns - worker->now_ns;
    }
    worker->now_ns = now_ns;
}

static bool worker_idle(struct worker *worker)
{
    const uint64_t from_ns = worker->now_ns;
    /* Room may have been freed without our noticing who by: look once more before a sleep. */
    for (uint32_t n = 0; n < worker->live_count; n++)
        worker_client_retry(&worker->clients[worker->live[n]]);
    if (worker_pass(worker) > 0)
        return true;
    sealer_scratch_wipe(worker->scratch);
    if (worker->config.busy_poll) {
        rte_pause();
        return false;
    }
    for (uint64_t now_ns = clock_monotonic_ns(); now_ns - from_ns < worker->spin_ns;
         now_ns = clock_monotonic_ns()) {
        worker_set_time(worker, now_ns);
        if (worker_pass(worker) > 0 || !rte_ring_empty(worker->orders)) {
            worker->spin_ns =
                MIN(MAX(worker->spin_ns * 2, WORKER_SPIN_NS_MIN), worker->config.spin_ns_max);
            return true;
        }
        rte_pause();
    }
    worker->spin_ns = MIN(MAX(worker->spin_ns / 2, WORKER_SPIN_NS_MIN), worker->config.spin_ns_max);
    worker_sleep(worker);
    return false;
}

static void worker_note_drained(struct worker *worker)
{
    if (!worker->draining || worker->drained || worker->jobs_free_count < worker->config.jobs_count)
        return;
    if (worker->waiting != NULL && !waiting_is_quiet(worker->waiting))
        return;
    worker->drained = true;
    worker_notify(worker, NOTICE_DRAINED, 0, WORKER_FAULT_NONE);
}

/* A service that is away for a moment is waited for; one that stays away is not. */
static void worker_look_keys(struct worker *worker)
{
    for (uint32_t k = 0; k < worker->config.key_services_count; k++) {
        struct worker_key *key = &worker->keys[k];
        if (key_thread_up(key->thread))
            key->away_from_ns = 0;
        else if (key->away_from_ns == 0)
            key->away_from_ns = worker->now_ns;
        key->away = key->away_from_ns != 0 && worker->now_ns - key->away_from_ns >= WORKER_AWAY_NS;
    }
}

static void worker_loop(struct worker *worker)
{
    bool adopted = true;
    bool busy = false;
    while (!worker->stopping) {
        const struct snapshot *before = worker->snapshot;
        const uint64_t now_ns = clock_monotonic_ns();
        worker_count(worker, COUNTER_TURNS, 1);
        worker_count(worker, COUNTER_BUSY_NS, busy ? now_ns - worker->now_ns : 0);
        worker_set_time(worker, now_ns);
        worker_take_orders(worker);
        worker_look_keys(worker);
        if (!adopted || worker->snapshot != before)
            adopted = worker_adopt_snapshots(worker);
        const uint32_t done = worker_pass(worker);
        worker_spool_let_in(worker);
        worker_run_errand(worker);
        worker_release_ended(worker);
        counter_set(worker, COUNTER_JOBS, worker->config.jobs_count - worker->jobs_free_count);
        counter_set(worker, COUNTER_CLIENTS, worker->live_count);
        atomic_store_explicit(&worker->beat_ns, worker->now_ns, memory_order_relaxed);
        worker_note_drained(worker);
        busy = done > 0;
        if (done == 0 && worker->sealing.count == 0 && worker->errand == NULL && !worker->stopping)
            busy = worker_idle(worker);
    }
}

int worker_run(void *user)
{
    struct worker *worker = user;
    node_keep_stack();
    int rc = worker_init_thread(worker);
    if (rc == 0) {
        worker_init_pools(worker);
        atomic_store_explicit(&worker->ready, 0, memory_order_release);
        worker_loop(worker);
    } else {
        atomic_store_explicit(&worker->ready, rc, memory_order_release);
    }
    /* Pairs with the acquire in worker_close(). */
    atomic_store_explicit(&worker->ended, 1, memory_order_release);
    return rc;
}

int worker_ready(const struct worker *worker)
{
    return atomic_load_explicit(&worker->ready, memory_order_acquire);
}

void worker_close(struct worker *worker)
{
    if (worker == NULL)
        return;
    /* The lcore has been waited for; this says so in the language's own terms. */
    (void)atomic_load_explicit(&worker->ended, memory_order_acquire);
    /* Kept until no key thread can read a record or wake the worker any more. */
    worker_spool_close(worker);
    worker_fini_pages(worker);
    if (worker->wait != NULL)
        wait_close(worker->wait);
    worker->wait = NULL;
}

bool worker_tell(struct worker *worker, const struct worker_order *order)
{
    struct worker_order copy = *order;
    if (rte_ring_sp_enqueue_elem(worker->orders, &copy, sizeof(copy)) != 0)
        return false;
    worker_wake(worker);
    return true;
}

uint32_t worker_hear(struct worker *worker, struct worker_notice *notices, uint32_t notices_max)
{
    return rte_ring_sc_dequeue_burst_elem(worker->notices, notices, sizeof(*notices), notices_max,
                                          NULL);
}

void worker_wake(struct worker *worker)
{
    /* Reads the word by a read-modify-write that changes nothing; see worker_may_sleep(). */
    if (atomic_fetch_or_explicit(&worker->asleep, 0, memory_order_acq_rel) != 0)
        wait_ring(worker->wait);
}

bool worker_uses(const struct worker *worker, const struct snapshot *snapshot)
{
    const uint64_t used = atomic_load_explicit(&worker->used, memory_order_acquire);
    /* Not older than the newest that the worker knows: its order may still be in the ring. */
    return snapshot->generation >= used >> WORKER_SLOT_BITS || (used >> snapshot->slot & 1) != 0;
}

const char *worker_why(const struct worker *worker)
{
    return worker->why;
}

const char *worker_fault_words(enum worker_fault fault)
{
    return fault_words[fault];
}

const char *worker_counter_name(enum worker_counter counter)
{
    return counter_names[counter];
}

uint64_t worker_counter(const struct worker *worker, enum worker_counter counter)
{
    return atomic_load_explicit(&worker->counters[counter], memory_order_relaxed);
}

uint32_t worker_take_large(struct worker *worker)
{
    return atomic_exchange_explicit(&worker->large_bytes, 0, memory_order_relaxed);
}

uint64_t worker_beat_ns(const struct worker *worker)
{
    return atomic_load_explicit(&worker->beat_ns, memory_order_relaxed);
}

uint32_t worker_index(const struct worker *worker)
{
    return worker->config.index;
}
