/*
 * Claim:   there and back through the queue takes less time than one ping-pong of two threads over
 *          a pipe while neither side sleeps, and a few times that through the doorbells.
 * Metric:  microseconds a round trip of one 64-byte mail (median, 99th percentile), and million
 *          messages a second in bursts of 32; next to eventfd and pipe in the same run.
 * Command: channel_bench [ROUNDS]
 */
#include "base/assert.h"
#include "base/clock.h"
#include "mta/bulla.h"
#include "tests/mta/echo_engine.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define BURST      32
#define MAIL_BYTES 64
#define ROUNDS_MAX 1000000
#define STUCK_MAX  2000

static uint64_t *times_ns;
static uint32_t rounds;

static int time_compare(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a;
    const uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static void times_print(const char *name)
{
    qsort(times_ns, rounds, sizeof(times_ns[0]), time_compare);
    printf("%-28s median %8.2f us, p99 %8.2f us\n", name, (double)times_ns[rounds / 2] / 1e3,
           (double)times_ns[rounds / 100 * 99] / 1e3);
}

/* ---- peers: what two threads can do without shared memory ---- */

struct pong {
    int in;
    int out;
};

static void *pong_run(void *argument)
{
    const struct pong *pong = argument;
    uint64_t word;
    while (read(pong->in, &word, sizeof(word)) == (ssize_t)sizeof(word) && word != 2) {
        if (write(pong->out, &word, sizeof(word)) != (ssize_t)sizeof(word))
            break;
    }
    return NULL;
}

static void ping_run(const char *name, int out, int in, int pong_in, int pong_out)
{
    struct pong pong = {.in = pong_in, .out = pong_out};
    pthread_t thread;
    uint64_t word = 1;
    int rc = pthread_create(&thread, NULL, pong_run, &pong);
    ASSERT(rc == 0);
    for (uint32_t n = 0; n < rounds; n++) {
        const uint64_t start_ns = clock_monotonic_ns();
        word = 1;
        ssize_t moved = write(out, &word, sizeof(word));
        ASSERT(moved == (ssize_t)sizeof(word));
        moved = read(in, &word, sizeof(word));
        ASSERT(moved == (ssize_t)sizeof(word));
        times_ns[n] = clock_monotonic_ns() - start_ns;
    }
    word = 2;
    const ssize_t moved = write(out, &word, sizeof(word));
    ASSERT(moved == (ssize_t)sizeof(word));
    (void)pthread_join(thread, NULL);
    times_print(name);
}

static void peers_run(void)
{
    int there[2];
    int back[2];
    int rc = pipe(there) | pipe(back);
    ASSERT(rc == 0);
    ping_run("pipe ping-pong", there[1], back[0], there[0], back[1]);
    rc = close(there[0]) | close(there[1]) | close(back[0]) | close(back[1]);
    ASSERT(rc == 0);
    const int ping = eventfd(0, EFD_CLOEXEC);
    const int pong = eventfd(0, EFD_CLOEXEC);
    ASSERT(ping >= 0 && pong >= 0);
    ping_run("eventfd ping-pong", ping, pong, ping, pong);
    rc = close(ping) | close(pong);
    ASSERT(rc == 0);
}

/* ---- the queue ---- */

static void submit_one(struct bulla *bulla)
{
    static const char *const recipients[] = {"ann@example.net"};
    const struct bulla_request request = {.profile = "pass",
                                          .recipients = recipients,
                                          .recipients_count = 1,
                                          .mail_bytes = MAIL_BYTES};
    struct bulla_reservation reservation;
    int rc = bulla_reserve(bulla, &request, &reservation);
    ASSERT(rc == 0);
    for (uint32_t n = 0; n < MAIL_BYTES; n++)
        reservation.mail[n] = (uint8_t)n;
    rc = bulla_submit(bulla, &reservation);
    ASSERT(rc == 0);
}

static uint32_t complete_some(struct bulla *bulla)
{
    struct bulla_completion completions[BURST];
    const int count = bulla_poll(bulla, completions, BURST);
    ASSERT(count >= 0);
    for (int n = 0; n < count; n++)
        bulla_release(bulla, &completions[n]);
    return (uint32_t)count;
}

static void round_trips(struct bulla *bulla, bool sleeping, const char *name)
{
    for (uint32_t n = 0; n < rounds; n++) {
        if (sleeping)
            (void)usleep(100); /* so that the engine is asleep */
        const uint64_t start_ns = clock_monotonic_ns();
        submit_one(bulla);
        if (sleeping) {
            const int rc = bulla_wait(bulla, -1);
            ASSERT(rc == 1);
        }
        while (complete_some(bulla) == 0)
            __builtin_ia32_pause();
        times_ns[n] = clock_monotonic_ns() - start_ns;
    }
    times_print(name);
}

static void bursts_run(struct bulla *bulla)
{
    const uint64_t messages_count = (uint64_t)rounds * BURST;
    const uint64_t start_ns = clock_monotonic_ns();
    uint64_t sent = 0;
    uint64_t received = 0;
    uint32_t stuck = 0;
    while (received < messages_count) {
        for (uint32_t n = 0; n < BURST && sent < messages_count && sent - received < 256; n++) {
            submit_one(bulla);
            sent++;
        }
        const uint32_t count = complete_some(bulla);
        received += count;
        stuck = count > 0 ? 0 : stuck + 1;
        if (stuck == STUCK_MAX) { /* the engine is not running: let it */
            (void)sched_yield();
            stuck = 0;
        }
    }
    const uint64_t spent_ns = clock_monotonic_ns() - start_ns;
    printf("%-28s %.2f M messages/s there and back\n", "bursts of 32",
           (double)messages_count * 1e3 / (double)spent_ns);
}

static void queue_run(bool busy)
{
    struct echo_engine *engine;
    struct bulla *bulla;
    const struct echo_engine_config config = {.allow_io_uring = true, .busy = busy};
    int rc = echo_engine_open(&engine, &config);
    ASSERT(rc == 0);
    const struct bulla_config attach = {.socket_path = echo_engine_path(engine),
                                        .slots_count = 512,
                                        .input_bytes = 1024 * 1024,
                                        .spin_us_max = 1};
    rc = bulla_attach(&bulla, &attach);
    ASSERT(rc == 0);
    if (busy) {
        round_trips(bulla, false, "libbulla, both spinning");
        bursts_run(bulla);
    } else {
        round_trips(bulla, true, "libbulla, through doorbells");
    }
    bulla_detach(bulla);
    echo_engine_close(engine);
}

int main(int argc, char **argv)
{
    const unsigned long asked = argc > 1 ? strtoul(argv[1], NULL, 10) : 20000;
    rounds = (uint32_t)MAX(100UL, MIN(asked, (unsigned long)ROUNDS_MAX));
    times_ns = calloc(rounds, sizeof(*times_ns));
    if (times_ns == NULL)
        return 71;
    peers_run();
    queue_run(true);
    queue_run(false);
    free(times_ns);
    return 0;
}
