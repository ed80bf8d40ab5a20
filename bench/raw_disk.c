#include "bench/raw_disk.h"

#include "base/assert.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#define RAW_NAME "raw.bench"

static int64_t raw_do(struct disk *disk, const struct disk_request *request)
{
    struct disk_result result;
    const bool submitted = disk->ops->submit(disk, request);
    ASSERT(submitted);                                       /* nothing else is out */
    while (disk->ops->reap(disk, NS_PER_S, &result, 1) == 0) /* a disk that hangs hangs the bench */
        ;
    return result.result;
}

/* Once over the file, in requests like this one; waits for all that is out even when one has
 * failed. */
static int raw_pass(struct disk *disk, struct disk_request *request, uint64_t all_bytes,
                    uint32_t out_max, double *seconds)
{
    struct disk_result results[RAW_DISK_READS];
    const uint64_t from_ns = clock_monotonic_ns();
    const uint64_t one = request->bytes;
    uint64_t sent = 0;
    uint32_t out = 0;
    int rc = 0;
    ASSERT(out_max <= ARRAY_COUNT(results));
    while ((rc == 0 && sent + one <= all_bytes) || out > 0) {
        for (; rc == 0 && out < out_max && sent + one <= all_bytes; out++) {
            request->offset = sent;
            const bool submitted = disk->ops->submit(disk, request);
            ASSERT(submitted);
            sent += one;
        }
        const uint32_t got = disk->ops->reap(disk, NS_PER_S, results, out_max);
        for (uint32_t n = 0; n < got && rc == 0; n++) {
            if (results[n].result != (int64_t)one)
                rc = results[n].result < 0 ? (int)results[n].result : -EIO;
        }
        out -= got;
    }
    *seconds = (double)(clock_monotonic_ns() - from_ns) / 1e9;
    return rc;
}

static int raw_passes(const struct raw_disk_config *config, int32_t file,
                      struct raw_disk_rates *rates)
{
    struct disk_request request = {
        .kind = DISK_WRITE, .file = file, .at = config->at, .bytes = config->write_bytes};
    const uint64_t written = config->all_bytes / config->write_bytes * config->write_bytes;
    double seconds = 0;
    int rc = raw_pass(config->disk, &request, config->all_bytes, RAW_DISK_WRITES, &seconds);
    if (rc == 0)
        rc = raw_pass(config->disk, &request, config->all_bytes, RAW_DISK_WRITES, &seconds);
    rates->write_mb_per_s = (double)written / 1e6 / seconds;
    if (rc != 0 || config->read_bytes == 0 || config->read_bytes > written)
        return rc;
    request.kind = DISK_READ;
    request.bytes = config->read_bytes;
    rc = raw_pass(config->disk, &request, written, RAW_DISK_READS, &seconds);
    rates->reads_per_s = (double)(written / config->read_bytes) / seconds;
    return rc;
}

int raw_disk_run(const struct raw_disk_config *config, struct raw_disk_rates *rates)
{
    struct raw_disk_rates found = {.reads_per_s = 0};
    struct disk_request request = {
        .kind = DISK_CREATE, .name = RAW_NAME, .bytes = config->all_bytes};
    ASSERT(config->write_bytes > 0 && config->all_bytes >= config->write_bytes);
    const int64_t file = raw_do(config->disk, &request);
    if (file < 0)
        return (int)file;
    const int rc = raw_passes(config, (int32_t)file, &found);
    request = (struct disk_request){.kind = DISK_CLOSE, .name = RAW_NAME, .file = (int32_t)file};
    (void)raw_do(config->disk, &request);
    request.kind = DISK_UNLINK;
    (void)raw_do(config->disk, &request);
    if (rc == 0)
        *rates = found;
    return rc;
}

int raw_disk_synced(const char *folder, const void *message, size_t message_bytes,
                    uint32_t count_max, uint64_t duration_ns_max, double *per_s)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/synced.bench", folder);
    const int fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    const uint64_t from_ns = clock_monotonic_ns();
    uint64_t took_ns = 0;
    uint32_t count = 0;
    int rc = 0;
    while (rc == 0 && count < count_max && took_ns < duration_ns_max) {
        const ssize_t bytes = write(fd, message, message_bytes);
        if (bytes != (ssize_t)message_bytes)
            rc = bytes < 0 ? -errno : -EIO;
        else if (fdatasync(fd) != 0)
            rc = -errno;
        count += rc == 0;
        took_ns = clock_monotonic_ns() - from_ns;
    }
    (void)close(fd);
    (void)unlink(path);
    if (rc == 0)
        *per_s = (double)count * 1e9 / (double)took_ns;
    return rc;
}
