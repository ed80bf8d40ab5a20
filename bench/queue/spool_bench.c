/*
 * Claim:   durable intake reaches 60 % of what the same disk gives a raw O_DIRECT writer of the
 * same sizes with as many in flight, and 20 times write+fdatasync for each message; a million
 *          records are recovered in 5 s.
 * Metric:  records and MB a second of each; seconds; bytes of memory for each waiting record.
 * Command: spool_bench FOLDER [RECORDS]     needs 1.3 GiB there for a moment
 */
#include "base/assert.h"
#include "base/clock.h"
#include "bench/raw_disk.h"
#include "queue/spool.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SEGMENT_BYTES  ((uint64_t)64 << 20)
#define SPOOL_BYTES    (18 * SEGMENT_BYTES)
#define BUFFERS_BYTES  ((size_t)8 << 20)
#define MAILS_COUNT    40000
#define HEAD_BYTES     700
#define BODY_BYTES     7300
#define CONSTANT_BYTES 24000
#define RECORDS_COUNT  1000000
#define SYNCED_COUNT   400
#define SYNCED_NS_MAX  (10 * NS_PER_S)
#define EVENTS_MAX     256

static struct disk *disk;
static uint8_t *buffers;
static uint8_t bytes[CONSTANT_BYTES + BODY_BYTES];
static uint64_t *places;
static uint64_t stored_count;
static uint64_t forgotten_count;
static uint64_t found_count;

static void found(void *user, const struct spool_found *one)
{
    (void)user;
    places[found_count++] = one->place;
}

static uint32_t run_once(struct spool *spool)
{
    struct spool_event events[EVENTS_MAX];
    const uint32_t count = spool_run(spool, events, EVENTS_MAX);
    for (uint32_t n = 0; n < count; n++) {
        ASSERT(events[n].kind == SPOOL_STORED || events[n].kind == SPOOL_FORGOTTEN);
        if (events[n].kind == SPOOL_STORED)
            places[events[n].tag] = events[n].place;
        stored_count += events[n].kind == SPOOL_STORED;
        forgotten_count += events[n].kind == SPOOL_FORGOTTEN;
    }
    return count;
}

/* As a worker does: it sleeps on the doorbell when there is nothing to do. */
static void run(struct spool *spool)
{
    uint64_t rung;
    if (run_once(spool) > 0)
        return;
    disk->ops->arm(disk, true);
    struct pollfd doorbell = {.fd = disk->ops->doorbell(disk), .events = POLLIN};
    if (run_once(spool) == 0 && spool_busy(spool) && poll(&doorbell, 1, 100) == 1)
        ASSERT(read(doorbell.fd, &rung, sizeof(rung)) == sizeof(rung));
    disk->ops->arm(disk, false);
}

static double put_all(struct spool *spool, uint64_t count, uint32_t head, uint32_t body,
                      uint32_t constant)
{
    const uint64_t from_ns = clock_monotonic_ns();
    stored_count = 0;
    for (uint64_t n = 0; n < count; n++) {
        struct spool_record record = {.kind = SPOOL_MAIL,
                                      .head = bytes,
                                      .head_bytes = head,
                                      .spans_count = constant != 0 ? 2 : 1,
                                      .spans = {{.at = bytes, .bytes = body},
                                                {.at = bytes, .bytes = constant, .constant = 1}},
                                      .replaces = SPOOL_NOWHERE};
        memcpy(record.id, &n, sizeof(n));
        while (!spool_put(spool, &record, n))
            run(spool);
    }
    while (stored_count < count)
        run(spool);
    return (double)(clock_monotonic_ns() - from_ns) / 1e9;
}

static void forget_all(struct spool *spool, uint64_t count)
{
    forgotten_count = 0;
    for (uint64_t n = 0; n < count; n++)
        while (!spool_forget(spool, places[n], n))
            run(spool);
    while (forgotten_count < count)
        run(spool);
}

static void settle(struct spool *spool)
{
    while (spool_busy(spool))
        run(spool);
}

static void disk_begin(const char *folder)
{
    char why[DISK_WHY_BYTES];
    const struct disk_memory memory = {.at = buffers, .bytes = BUFFERS_BYTES};
    if (disk_uring_open(&disk, folder, &memory, why) != 0 &&
        disk_thread_open(&disk, folder, why) != 0) {
        (void)fprintf(stderr, "spool_bench: %s\n", why);
        exit(1);
    }
}

static struct spool *spool_begin(void)
{
    struct spool *spool;
    char why[SPOOL_WHY_BYTES];
    const struct spool_config config = {.disk = disk,
                                        .lanes_count = 1,
                                        .segment_bytes = SEGMENT_BYTES,
                                        .bytes_max = SPOOL_BYTES,
                                        .buffers = buffers,
                                        .buffers_bytes = BUFFERS_BYTES};
    found_count = 0;
    if (spool_open(&spool, &config, found, NULL, why) != 0) {
        (void)fprintf(stderr, "spool_bench: %s\n", why);
        exit(1);
    }
    return spool;
}

static int64_t disk_do(const struct disk_request *request)
{
    struct disk_result result;
    ASSERT(disk->ops->submit(disk, request));
    while (disk->ops->reap(disk, NS_PER_S, &result, 1) == 0) /* a disk that hangs hangs the bench */
        ;
    return result.result;
}

static uint64_t memory_used(void)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL || fscanf(file, "%*u %llu", &pages) != 1)
        pages = 0;
    if (file != NULL)
        (void)fclose(file);
    return pages * 4096;
}

static void intake(const char *folder)
{
    struct spool *spool = spool_begin();
    struct spool_stats before;
    struct spool_stats after;
    /* Once to make the segments, then into recycled ones. */
    (void)put_all(spool, MAILS_COUNT, HEAD_BYTES, BODY_BYTES, CONSTANT_BYTES);
    forget_all(spool, MAILS_COUNT);
    settle(spool);
    spool_stats(spool, &before);
    const double seconds = put_all(spool, MAILS_COUNT, HEAD_BYTES, BODY_BYTES, CONSTANT_BYTES);
    spool_stats(spool, &after);
    forget_all(spool, MAILS_COUNT);
    settle(spool);
    spool_close(spool);
    const uint64_t commits = after.commits - before.commits;
    const uint64_t all = after.bytes_live;
    const uint64_t one = (all / commits + 4095) / 4096 * 4096;
    const struct raw_disk_config raw = {
        .disk = disk, .at = buffers, .write_bytes = one, .all_bytes = all / one * one};
    struct raw_disk_rates rates;
    double synced_per_s;
    const int raw_rc = raw_disk_run(&raw, &rates);
    ASSERT(raw_rc == 0);
    const int synced_rc = raw_disk_synced(folder, bytes, HEAD_BYTES + BODY_BYTES, SYNCED_COUNT,
                                          SYNCED_NS_MAX, &synced_per_s);
    ASSERT(synced_rc == 0);
    const double spool_mb = (double)all / 1e6 / seconds;
    (void)printf("intake    %8.0f msg/s %6.0f MB/s, %.0f KiB a commit\n", MAILS_COUNT / seconds,
                 spool_mb, (double)all / (double)commits / 1024);
    (void)printf("raw       %8s       %6.0f MB/s in writes of %.0f KiB, %d in flight: %.0f %%\n",
                 "", rates.write_mb_per_s, (double)one / 1024, RAW_DISK_WRITES,
                 100 * spool_mb / rates.write_mb_per_s);
    (void)printf("synced    %8.0f msg/s by write+fdatasync: %.1f times\n", synced_per_s,
                 MAILS_COUNT / seconds / synced_per_s);
}

static void recovery(uint64_t count)
{
    struct spool *spool = spool_begin();
    const uint64_t memory = memory_used();
    const double seconds = put_all(spool, count, 100, 400, 0);
    const uint64_t grown = memory_used() - memory;
    settle(spool);
    spool_close(spool);
    const uint64_t from_ns = clock_monotonic_ns();
    spool = spool_begin();
    const double opening = (double)(clock_monotonic_ns() - from_ns) / 1e9;
    ASSERT(found_count == count);
    (void)printf("small     %8.0f msg/s of 500 bytes\n", (double)count / seconds);
    (void)printf("recovery  %8.2f s for %llu records\n", opening, (unsigned long long)count);
    (void)printf("memory    %8.1f bytes a waiting record\n", (double)grown / (double)count);
    forget_all(spool, count);
    settle(spool);
    spool_close(spool);
}

static void folder_clear(void)
{
    static struct disk_entry entries[SPOOL_SEGMENTS_MAX];
    const int count = disk->ops->list(disk, entries, SPOOL_SEGMENTS_MAX);
    for (int n = 0; n < count; n++) {
        struct disk_request request = {.kind = DISK_UNLINK};
        memcpy(request.name, entries[n].name, sizeof(request.name));
        (void)disk_do(&request);
    }
}

int main(int arguments_count, char **arguments)
{
    char folder[4000];
    if (arguments_count < 2) {
        (void)fprintf(stderr, "usage: spool_bench FOLDER [RECORDS]\n");
        return 2;
    }
    const uint64_t count = arguments_count > 2 ? strtoull(arguments[2], NULL, 10) : RECORDS_COUNT;
    (void)snprintf(folder, sizeof(folder), "%.3900s/spool_bench.XXXXXX", arguments[1]);
    buffers = aligned_alloc(DISK_BLOCK_BYTES, BUFFERS_BYTES);
    places = calloc(MAX(count, (uint64_t)MAILS_COUNT) + 1, sizeof(*places));
    if (buffers == NULL || places == NULL || mkdtemp(folder) == NULL) {
        perror("spool_bench");
        return 1;
    }
    memset(buffers, 1, BUFFERS_BYTES);
    memset(places, 1, (MAX(count, (uint64_t)MAILS_COUNT) + 1) * sizeof(*places));
    disk_begin(folder);
    intake(folder);
    recovery(count);
    folder_clear();
    disk_close(disk);
    free(buffers);
    free(places);
    return rmdir(folder);
}
