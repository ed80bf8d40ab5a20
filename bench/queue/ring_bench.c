/*
 * Claim:   the ring moves 64-byte items between two threads faster than a pipe does in equal
 * bursts. Metric:  million items a second, best and median of the runs, bursts of 32 and of 1.
 * Command: ring_bench [RUNS]
 * Both threads spin: two idle cores are needed to see it.
 */
#include "base/assert.h"
#include "base/clock.h"
#include "queue/ring.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ITEM_BYTES 64
#define RING_ITEMS 1024
#define BURST_MAX  32
#define RUNS_MAX   99
#define STUCK_MAX  2000

struct transfer {
    struct ring ring;
    int pipe_ends[2];
    uint64_t items_count;
    uint32_t burst;
    void *(*push)(void *);
    void (*pop)(struct transfer *);
};

static uint8_t ring_items[RING_ITEMS * ITEM_BYTES];

static void *ring_pusher(void *argument)
{
    struct transfer *transfer = argument;
    uint64_t burst[BURST_MAX * ITEM_BYTES / sizeof(uint64_t)] = {0};
    uint32_t stuck = 0;
    for (uint64_t sent = 0; sent < transfer->items_count;) {
        const uint64_t left = transfer->items_count - sent;
        burst[0] = sent;
        const uint32_t count = left < transfer->burst ? (uint32_t)left : transfer->burst;
        const uint32_t pushed = ring_push_burst(&transfer->ring, burst, count);
        sent += pushed;
        stuck = pushed > 0 ? 0 : stuck + 1;
        if (stuck == STUCK_MAX) { /* the other thread is not running: let it */
            (void)sched_yield();
            stuck = 0;
        }
    }
    return NULL;
}

static void ring_popper(struct transfer *transfer)
{
    uint8_t burst[BURST_MAX * ITEM_BYTES];
    uint32_t stuck = 0;
    for (uint64_t got = 0; got < transfer->items_count;) {
        const uint32_t popped = ring_pop_burst(&transfer->ring, burst, transfer->burst);
        got += popped;
        stuck = popped > 0 ? 0 : stuck + 1;
        if (stuck == STUCK_MAX) {
            (void)sched_yield();
            stuck = 0;
        }
    }
}

static void *pipe_pusher(void *argument)
{
    struct transfer *transfer = argument;
    const uint8_t burst[BURST_MAX * ITEM_BYTES] = {0};
    for (uint64_t sent = 0; sent < transfer->items_count; sent += transfer->burst) {
        const ssize_t written =
            write(transfer->pipe_ends[1], burst, (size_t)transfer->burst * ITEM_BYTES);
        ASSERT(written == (ssize_t)(transfer->burst * ITEM_BYTES));
    }
    return NULL;
}

static void pipe_popper(struct transfer *transfer)
{
    uint8_t burst[BURST_MAX * ITEM_BYTES];
    const uint64_t bytes = transfer->items_count * ITEM_BYTES;
    for (uint64_t got = 0; got < bytes;) {
        const ssize_t count =
            read(transfer->pipe_ends[0], burst, (size_t)transfer->burst * ITEM_BYTES);
        ASSERT(count > 0);
        got += (uint64_t)count;
    }
}

static int rate_compare(const void *a, const void *b)
{
    const double left = *(const double *)a;
    const double right = *(const double *)b;
    return (left > right) - (left < right);
}

static double transfer_run(struct transfer *transfer, uint32_t runs, const char *name)
{
    double rates[RUNS_MAX];
    for (uint32_t n = 0; n < runs; n++) {
        pthread_t pusher;
        const uint64_t start_ns = clock_monotonic_ns();
        const int rc = pthread_create(&pusher, NULL, transfer->push, transfer);
        ASSERT(rc == 0);
        transfer->pop(transfer);
        (void)pthread_join(pusher, NULL);
        const uint64_t spent_ns = clock_monotonic_ns() - start_ns;
        rates[n] = (double)transfer->items_count * 1e3 / (double)spent_ns;
    }
    qsort(rates, runs, sizeof(rates[0]), rate_compare);
    printf("%-6s burst %2u: median %8.2f M/s, best %8.2f M/s\n", name, transfer->burst,
           rates[runs / 2], rates[runs - 1]);
    return rates[runs / 2];
}

int main(int argc, char **argv)
{
    const unsigned long asked = argc > 1 ? strtoul(argv[1], NULL, 10) : 9;
    const uint32_t runs = (uint32_t)MAX(1UL, MIN(asked, (unsigned long)RUNS_MAX));
    static const uint32_t bursts[] = {32, 1};
    for (size_t n = 0; n < ARRAY_COUNT(bursts); n++) {
        static struct transfer ring;
        struct transfer pipes = {.items_count = bursts[n] * UINT64_C(20000),
                                 .burst = bursts[n],
                                 .push = pipe_pusher,
                                 .pop = pipe_popper};
        ring.items_count = UINT64_C(10000000);
        ring.burst = bursts[n];
        ring.push = ring_pusher;
        ring.pop = ring_popper;
        ring_init(&ring.ring, ring_items, RING_ITEMS, ITEM_BYTES);
        const double ring_rate = transfer_run(&ring, runs, "ring");
        if (pipe(pipes.pipe_ends) != 0)
            return 71;
        const double pipe_rate = transfer_run(&pipes, runs, "pipe");
        (void)close(pipes.pipe_ends[0]);
        (void)close(pipes.pipe_ends[1]);
        printf("ratio  burst %2u: %.1f\n", bursts[n], ring_rate / pipe_rate);
    }
    return 0;
}
