/*
 * The engine's key threads for measuring: a key service that acknowledges at once.
 *
 * It defines the symbols of engine/key_thread.h in place of engine/key_thread.c. There is no thread
 * and no service: key_thread_wake(), which a worker calls after each push of requests, pops them on
 * that worker's own thread, looks at each record's head, and pushes "stored", so that the worker
 * publishes the sealed mails in its next pass. What is measured so is the engine alone, from
 * submission to completion, both key rings passed through; left out are the copying of records by
 * another core, TLS, HTTP and the service's commit, and, where the key thread sleeps, the one
 * write to an eventfd by which key_thread_wake() wakes it: one a burst of requests, none while the
 * key thread is at work. Nothing is stored: what it lets be sealed can
 * never be opened. It exists in bulla-bench-engine alone, and no option of bullad selects it.
 *
 * By a switch of the counts page it is away: what it was asked then is answered after it is back,
 * with the next request. A worker asks no more of it for mail that may be spooled once it has been
 * away for a second, and by its waiting mail one record at a time.
 */
#include "base/assert.h"
#include "base/bytes.h"
#include "bench/engine/counts.h"
#include "engine/key_thread.h"
#include "engine/worker.h"

#include <errno.h>
#include <rte_lcore.h>
#include <stdlib.h>

#define INSTANT_BURST_MAX    32
#define INSTANT_RECORD_BYTES RECORD_FIXED_BYTES /* a record is never shorter */

/* Two lines each, so that workers do not take them from one another. */
struct instant_count {
    _Atomic uint64_t stored;
    uint8_t pad[2 * CACHE_LINE - sizeof(uint64_t)];
};

struct key_thread {
    bool attached[CONFIG_WORKERS_MAX];
    struct instant_count counts[CONFIG_WORKERS_MAX]; /* by worker's index */
};

int key_thread_open(struct key_thread **thread, const struct key_thread_config *config,
                    char why[KEY_CLIENT_WHY_BYTES])
{
    (void)config;
    (void)why;
    struct key_thread *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    *thread = made;
    return 0;
}

void key_thread_attach(struct key_thread *thread, const struct key_link *link)
{
    const uint32_t index = worker_index(link->worker);
    ASSERT(index < CONFIG_WORKERS_MAX);
    ASSERT(!thread->attached[index]);
    thread->attached[index] = true;
}

int key_thread_start(struct key_thread *thread)
{
    (void)thread;
    return 0;
}

void key_thread_close(struct key_thread *thread)
{
    free(thread);
}

/* Whole, by its own account: the one look at a record that costs nothing. */
static enum key_result_status instant_look(const struct key_request *request)
{
    const bool whole = request->record_bytes >= INSTANT_RECORD_BYTES &&
                       bytes_load_le32(request->record) == request->record_bytes;
    return whole ? KEY_STORED : KEY_INVALID;
}

/* On the worker's own thread, which is lcore 1 + its index (engine/eal.h): its rings and nobody
 * else's. */
void key_thread_wake(struct key_thread *thread, const struct key_link *link)
{
    struct key_request requests[INSTANT_BURST_MAX];
    struct key_verdict verdicts[INSTANT_BURST_MAX];
    const uint32_t index = rte_lcore_id() - 1;
    ASSERT(index == worker_index(link->worker));
    ASSERT(index < CONFIG_WORKERS_MAX);
    if (counts_keys_away())
        return;
    struct counts_thread *counts = counts_mine();
    atomic_store_explicit(&counts->worker_index, index, memory_order_relaxed);
    uint32_t count;
    do {
        count = rte_ring_sc_dequeue_burst_elem(link->requests, requests, sizeof(requests[0]),
                                               INSTANT_BURST_MAX, NULL);
        uint64_t bytes = 0;
        for (uint32_t i = 0; i < count; i++) {
            verdicts[i] = (struct key_verdict){.job_index = requests[i].job_index,
                                               .status = instant_look(&requests[i])};
            bytes += requests[i].record_bytes;
        }
        const uint32_t pushed = rte_ring_sp_enqueue_bulk_elem(link->verdicts, verdicts,
                                                              sizeof(verdicts[0]), count, NULL);
        ASSERT(pushed == count); /* the ring holds all of the worker's jobs */
        counts_add(&counts->key_records, count);
        counts_add(&counts->key_bytes, bytes);
        counts_add(&thread->counts[index].stored, count);
    } while (count == INSTANT_BURST_MAX);
}

bool key_thread_up(const struct key_thread *thread)
{
    (void)thread;
    return !counts_keys_away();
}

uint64_t key_thread_stored(const struct key_thread *thread)
{
    uint64_t stored = 0;
    for (uint32_t i = 0; i < CONFIG_WORKERS_MAX; i++)
        stored += atomic_load_explicit(&thread->counts[i].stored, memory_order_relaxed);
    return stored;
}
