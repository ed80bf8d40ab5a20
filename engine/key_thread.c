#include "engine/key_thread.h"

#include "base/assert.h"
#include "base/kept.h"
#include "base/log.h"
#include "engine/node.h"
#include "engine/worker.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#define KEY_THREAD_SLEEP_MS   1000
#define KEY_THREAD_FLIGHT_MS  1 /* while requests are on their way */
#define KEY_THREAD_RESULTS    KEY_THREAD_BURST_MAX
#define KEY_THREAD_PASSES_MAX 16 /* of results before requests are looked at again */

struct key_thread {
    struct key_client *client; /* this and the links are constant once the thread runs */
    struct key_link links[CONFIG_WORKERS_MAX];
    uint32_t links_count;
    cpu_set_t cpus;
    pthread_t thread;
    bool started;
    char name[CONFIG_NAME_BYTES];
    /* A request that the client had no room for: first in line, and the ring behind it waits. */
    _Alignas(CACHE_LINE) struct key_request held[CONFIG_WORKERS_MAX];
    bool has_held[CONFIG_WORKERS_MAX];
    bool was_up;
    bool announced; /* that it sleeps, on every link */
    _Alignas(CACHE_LINE) _Atomic uint32_t stop;
    _Atomic uint32_t up; /* each worker looks at it each turn */
    _Alignas(CACHE_LINE) _Atomic uint64_t stored;
};

static uint64_t tag_of(uint32_t link_index, uint32_t job_index)
{
    return (uint64_t)link_index << 32 | job_index;
}

static bool thread_add(struct key_thread *thread, uint32_t link_index,
                       const struct key_request *request)
{
    return key_client_add(thread->client, tag_of(link_index, request->job_index), request->record,
                          request->record_bytes, request->deadline_ns);
}

/* Moves requests into the client until it is full; true if there were any. */
static bool thread_take(struct key_thread *thread, uint32_t link_index)
{
    struct key_request *held = &thread->held[link_index];
    struct rte_ring *requests = thread->links[link_index].requests;
    if (thread->has_held[link_index] && !thread_add(thread, link_index, held))
        return false;
    bool any = thread->has_held[link_index];
    thread->has_held[link_index] = false;
    for (uint32_t i = 0; i < KEY_THREAD_BURST_MAX; i++) {
        if (rte_ring_sc_dequeue_elem(requests, held, sizeof(*held)) != 0)
            break;
        any = true;
        if (!thread_add(thread, link_index, held)) {
            thread->has_held[link_index] = true;
            break;
        }
    }
    return any;
}

static void thread_give(struct key_thread *thread, const struct key_result *results, uint32_t count)
{
    bool touched[CONFIG_WORKERS_MAX] = {false};
    uint64_t stored = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t link_index = (uint32_t)(results[i].tag >> 32);
        struct key_verdict verdict = {.job_index = (uint32_t)results[i].tag,
                                      .status = results[i].status};
        ASSERT(link_index < thread->links_count);
        const int rc =
            rte_ring_sp_enqueue_elem(thread->links[link_index].verdicts, &verdict, sizeof(verdict));
        ASSERT(rc == 0); /* the ring holds all of the worker's jobs */
        touched[link_index] = true;
        stored += results[i].status == KEY_STORED;
    }
    for (uint32_t i = 0; i < thread->links_count; i++) {
        if (touched[i])
            worker_wake(thread->links[i].worker);
    }
    (void)atomic_fetch_add_explicit(&thread->stored, stored, memory_order_relaxed);
}

static void thread_note_up(struct key_thread *thread)
{
    const char *fault = key_client_fault(thread->client);
    const bool up = fault == NULL;
    if (up == thread->was_up)
        return;
    thread->was_up = up;
    atomic_store_explicit(&thread->up, up, memory_order_relaxed);
    if (up)
        log_line(LOG_LEVEL_INFO, "key_service_up", "name=%s", thread->name);
    else
        log_line(
            LOG_LEVEL_WARNING, "key_service_away",
            "name=%s why=\"%s\" mend=\"see that it runs and that engine_url and certificates are "
            "right; a change of these takes a restart\"",
            thread->name, fault);
}

static bool thread_waiting(const struct key_thread *thread)
{
    for (uint32_t i = 0; i < thread->links_count; i++) {
        if (!thread->has_held[i] && !rte_ring_empty(thread->links[i].requests))
            return true;
    }
    return false;
}

/* How long the client may sleep: not at all when work came while the sleep was announced. While
 * requests are on their way it is not announced: what comes goes with the next batch, by the answer
 * or by the clock, and no worker pays a system call to wake a thread that would let it wait. */
static uint32_t thread_sleep_ms(struct key_thread *thread)
{
    if (key_client_busy(thread->client))
        return KEY_THREAD_FLIGHT_MS;
    /* Pairs with the one in key_thread_wake(). Of two read-modify-writes of one word one comes
     * first: a waker's, and we see what it had pushed; or ours, and it sees that we sleep. */
    for (uint32_t i = 0; i < thread->links_count; i++)
        (void)atomic_exchange_explicit(thread->links[i].asleep, 1, memory_order_acq_rel);
    thread->announced = true;
    return thread_waiting(thread) ? 0 : KEY_THREAD_SLEEP_MS;
}

static void thread_awake(struct key_thread *thread)
{
    /* Exchanges too, so that no plain store parts a waker from the next announcement. */
    for (uint32_t i = 0; thread->announced && i < thread->links_count; i++)
        (void)atomic_exchange_explicit(thread->links[i].asleep, 0, memory_order_acq_rel);
    thread->announced = false;
}

static void *thread_main(void *user)
{
    struct key_thread *thread = user;
    struct key_result results[KEY_THREAD_RESULTS];
    (void)pthread_setname_np(pthread_self(), "bulla-keys");
    /* Before it touches its stack or allocates. Refused under a narrower mask: then the kernel
     * chooses among what is left. */
    (void)pthread_setaffinity_np(pthread_self(), sizeof(thread->cpus), &thread->cpus);
    node_keep_stack();
    /* Acquire pairs with the release in key_thread_close(). */
    while (atomic_load_explicit(&thread->stop, memory_order_acquire) == 0) {
        bool any = false;
        for (uint32_t i = 0; i < thread->links_count; i++)
            any = thread_take(thread, i) || any;
        const uint32_t wait_ms = any ? 0 : thread_sleep_ms(thread);
        uint32_t count = key_client_run(thread->client, clock_monotonic_ns(), wait_ms, results,
                                        KEY_THREAD_RESULTS);
        thread_awake(thread);
        for (uint32_t pass = 0; pass < KEY_THREAD_PASSES_MAX && count > 0; pass++) {
            thread_give(thread, results, count);
            count = count < KEY_THREAD_RESULTS
                        ? 0
                        : key_client_run(thread->client, clock_monotonic_ns(), 0, results,
                                         KEY_THREAD_RESULTS);
        }
        if (count > 0)
            thread_give(thread, results, count);
        thread_note_up(thread);
    }
    return NULL;
}

int key_thread_open(struct key_thread **thread, const struct key_thread_config *config,
                    char why[KEY_CLIENT_WHY_BYTES])
{
    struct node_stay stay;
    void *at;
    node_enter(&stay, config->node);
    int rc = kept_open(&at, sizeof(struct key_thread));
    struct key_thread *made = at;
    if (rc == 0) {
        rc = key_client_open(&made->client, &config->client, why);
        if (rc != 0)
            kept_close(at, sizeof(struct key_thread));
    }
    node_leave(&stay);
    if (rc != 0)
        return rc;
    (void)snprintf(made->name, sizeof(made->name), "%s", config->name);
    CPU_ZERO(&made->cpus);
    for (uint32_t i = 0; i < config->node->keys_count; i++)
        CPU_SET(config->node->keys[i], &made->cpus);
    made->was_up = true;
    atomic_init(&made->up, 1);
    *thread = made;
    return 0;
}

void key_thread_attach(struct key_thread *thread, const struct key_link *link)
{
    ASSERT(!thread->started);
    ASSERT(thread->links_count < CONFIG_WORKERS_MAX);
    thread->links[thread->links_count++] = *link;
}

int key_thread_start(struct key_thread *thread)
{
    ASSERT(!thread->started);
    const int rc = pthread_create(&thread->thread, NULL, thread_main, thread);
    if (rc != 0)
        return -rc;
    thread->started = true;
    return 0;
}

void key_thread_close(struct key_thread *thread)
{
    if (thread == NULL)
        return;
    if (thread->started) {
        atomic_store_explicit(&thread->stop, 1, memory_order_release);
        key_client_wake(thread->client);
        (void)pthread_join(thread->thread, NULL);
    }
    key_client_close(thread->client);
    kept_close(thread, sizeof(*thread));
}

void key_thread_wake(struct key_thread *thread, const struct key_link *link)
{
    /* Reads the word by a read-modify-write that changes nothing; see thread_sleep_ms(). */
    if (atomic_fetch_or_explicit(link->asleep, 0, memory_order_acq_rel) != 0)
        key_client_wake(thread->client);
}

bool key_thread_up(const struct key_thread *thread)
{
    return atomic_load_explicit(&thread->up, memory_order_relaxed) != 0;
}

uint64_t key_thread_stored(const struct key_thread *thread)
{
    return atomic_load_explicit(&thread->stored, memory_order_relaxed);
}
