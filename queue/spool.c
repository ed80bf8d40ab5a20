/* Opening and closing: the files of the folder, the lanes they belong to, all memory. */
#include "queue/spool_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LANE_NUMBER_MAX 65535
#define RECORD_BYTES    ((uint64_t)(sizeof(struct format_head) + sizeof(struct format_tail)))

/* Zeros that take room only when they are touched. */
static void *memory_map(uint64_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static void memory_unmap(void *at, uint64_t bytes)
{
    if (at != NULL)
        (void)munmap(at, bytes);
}

static uint64_t index_bytes(const struct spool *spool)
{
    return spool->bits_bytes * 8 * sizeof(struct format_index);
}

struct lane *lane_new(struct spool *spool, uint32_t number)
{
    struct lane *lane = memory_map(sizeof(*lane));
    if (lane == NULL)
        return NULL;
    lane->number = number;
    lane->self = spool->lanes_count;
    lane->open = NONE;
    lane->number_next = 1;
    lane->epoch = 1;
    lane->file_number_next = 1;
    spool->lanes[spool->lanes_count++] = lane;
    lane->index = memory_map(index_bytes(spool));
    lane->checkpoint = memory_map(spool->segment_bytes_max);
    lane->maker.blank = memory_map(DISK_BLOCK_BYTES);
    if (lane->index == NULL || lane->checkpoint == NULL || lane->maker.blank == NULL)
        return NULL; /* spool_close() ends it */
    return lane;
}

static void lane_end(struct spool *spool, struct lane *lane)
{
    memory_unmap(lane->index, index_bytes(spool));
    memory_unmap(lane->checkpoint, spool->segment_bytes_max);
    memory_unmap(lane->maker.blank, DISK_BLOCK_BYTES);
    memory_unmap(lane, sizeof(*lane));
}

static bool name_read(const char *name, uint32_t *lane, uint32_t *file)
{
    char again[DISK_NAME_BYTES];
    if (sscanf(name, "%5" SCNu32 "-%8" SCNu32 ".log", lane, file) != 2)
        return false;
    (void)snprintf(again, sizeof(again), "%02" PRIu32 "-%08" PRIu32 ".log", *lane, *file);
    return strcmp(again, name) == 0 && *lane <= LANE_NUMBER_MAX;
}

static bool is_ours(const struct spool *spool, uint32_t lane)
{
    const struct spool_config *config = &spool->config;
    return lane == config->lane ||
           (lane >= config->lanes_count && lane % config->lanes_count == config->lane);
}

static struct lane *lane_numbered(struct spool *spool, uint32_t number)
{
    for (uint32_t n = 0; n < spool->lanes_count; n++)
        if (spool->lanes[n]->number == number)
            return spool->lanes[n];
    return spool->lanes_count < LANES_MAX ? lane_new(spool, number) : NULL;
}

static int config_check(const struct spool_config *config, char why[SPOOL_WHY_BYTES])
{
    ASSERT(config->lane < config->lanes_count);
    ASSERT((uintptr_t)config->buffers % DISK_BLOCK_BYTES == 0);
    ASSERT(config->buffers_bytes >= SPOOL_BUFFERS_MIN);
    const uint64_t bytes = config->segment_bytes;
    if (bytes < SPOOL_SEGMENT_BYTES_MIN || bytes % DISK_BLOCK_BYTES != 0 ||
        bytes > (uint64_t)UINT32_MAX) {
        (void)snprintf(why, SPOOL_WHY_BYTES,
                       "spool_segment must be a multiple of 4096 between %" PRIu64 " and 4 GiB",
                       SPOOL_SEGMENT_BYTES_MIN);
        return -EINVAL;
    }
    const uint64_t count = config->bytes_max / bytes;
    if (count < SEGMENTS_MIN || count > SPOOL_SEGMENTS_MAX) {
        (void)snprintf(why, SPOOL_WHY_BYTES,
                       "spool_size must hold %d to %d segments for each worker; it holds %" PRIu64,
                       SEGMENTS_MIN, SPOOL_SEGMENTS_MAX, count);
        return -EINVAL;
    }
    return 0;
}

static int files_take(struct spool *spool, const struct disk_entry *files, uint32_t files_count,
                      char why[SPOOL_WHY_BYTES])
{
    for (uint32_t n = 0; n < files_count; n++) {
        uint32_t number;
        uint32_t file;
        if (!name_read(files[n].name, &number, &file) || !is_ours(spool, number))
            continue;
        struct lane *lane = lane_numbered(spool, number);
        const uint64_t bytes = files[n].bytes / DISK_BLOCK_BYTES * DISK_BLOCK_BYTES;
        const bool fits = lane != NULL && bytes <= spool->segment_bytes_max;
        const uint32_t segment = fits ? segment_take(spool, lane->self, bytes) : NONE;
        if (segment == NONE) {
            (void)snprintf(
                why, SPOOL_WHY_BYTES,
                "the folder holds the segments of more workers, or more segments, than one "
                "worker can adopt; start with more workers");
            return -E2BIG;
        }
        spool->segments[segment].state = SEGMENT_RAW;
        spool->segments[segment].file_number = file;
        lane->file_number_next = MAX(lane->file_number_next, file + 1);
    }
    for (uint32_t n = 0; n < spool->lanes_count; n++) {
        struct lane *lane = spool->lanes[n];
        lane->segments_max = n == 0
                                 ? (uint32_t)(spool->config.bytes_max / spool->config.segment_bytes)
                                 : lane->segments_count + 2;
    }
    return 0;
}

/* Bitmaps have room for the mails of the largest segment there is. */
static int tables_make(struct spool *spool, const struct disk_entry *files, uint32_t files_count)
{
    const struct spool_config *config = &spool->config;
    spool->segment_bytes_max = config->segment_bytes;
    for (uint32_t n = 0; n < files_count; n++) {
        uint32_t number;
        uint32_t file;
        if (name_read(files[n].name, &number, &file) && is_ours(spool, number) &&
            files[n].bytes <= UINT32_MAX)
            spool->segment_bytes_max = MAX(spool->segment_bytes_max, format_blocks(files[n].bytes));
    }
    spool->bits_bytes = (spool->segment_bytes_max / ORDINAL_BYTES + 63) / 64 * sizeof(uint64_t);
    const uint64_t records = (config->bytes_max + spool->segment_bytes_max) / RECORD_BYTES;
    spool->entries_max = (uint32_t)MIN(records, RECORDS_MAX);
    spool->entry_free = NONE;
    spool->segments = memory_map(sizeof(*spool->segments) * SPOOL_SEGMENTS_MAX);
    spool->bits = memory_map(2 * spool->bits_bytes * SPOOL_SEGMENTS_MAX);
    spool->entries = memory_map(sizeof(*spool->entries) * spool->entries_max);
    spool->reads = memory_map(sizeof(*spool->reads) * READS_MAX);
    spool->cache = memory_map(CACHE_BYTES * CACHE_COUNT);
    spool->zeros = memory_map(FILL_BYTES);
    const bool made = spool->segments != NULL && spool->bits != NULL && spool->entries != NULL &&
                      spool->reads != NULL && spool->cache != NULL && spool->zeros != NULL;
    return made ? 0 : -ENOMEM;
}

/* Half for groups, half for reads. */
static void buffers_share(struct spool *spool)
{
    const struct spool_config *config = &spool->config;
    const size_t half = config->buffers_bytes / 2;
    spool->buffers = config->buffers;
    spool->buffers_count = (uint32_t)MIN(half / GROUP_BYTES, (size_t)GROUPS_MAX);
    spool->piece_buffers = config->buffers + spool->buffers_count * GROUP_BYTES;
    spool->pieces_count = (uint32_t)MIN(half / READ_BYTES, (size_t)PIECES_MAX);
    spool->read_share = UINT64_MAX;
    for (uint32_t n = 0; n < READS_MAX; n++)
        spool->reads_in[READ_FREE][n / 64] |= UINT64_C(1) << n % 64;
    for (uint32_t n = 0; n < spool->buffers_count; n++)
        spool->buffers_free[spool->buffers_free_count++] = n;
}

static int folder_list(struct spool *spool, struct disk_entry *files, char why[SPOOL_WHY_BYTES])
{
    const int count = spool->disk->ops->list(spool->disk, files, SPOOL_SEGMENTS_MAX);
    if (count < 0)
        (void)snprintf(why, SPOOL_WHY_BYTES, "cannot list the spool folder: %s", strerror(-count));
    return count;
}

int spool_open(struct spool **spool, const struct spool_config *config,
               void (*found)(void *user, const struct spool_found *found), void *user,
               char why[SPOOL_WHY_BYTES])
{
    why[0] = '\0';
    int rc = config_check(config, why);
    if (rc != 0)
        return rc;
    struct spool *self = calloc(1, sizeof(*self));
    struct disk_entry *files = calloc(SPOOL_SEGMENTS_MAX, sizeof(*files));
    if (self == NULL || files == NULL) {
        rc = -ENOMEM;
        goto free_files;
    }
    self->config = *config;
    self->disk = config->disk;
    const int count = folder_list(self, files, why);
    rc = count < 0 ? count : tables_make(self, files, (uint32_t)count);
    if (rc == 0)
        rc = lane_new(self, config->lane) == NULL ? -ENOMEM : 0;
    if (rc == 0)
        rc = files_take(self, files, (uint32_t)count, why);
    if (rc == 0)
        rc = move_open(self);
    if (rc != 0)
        goto free_files;
    buffers_share(self);
    rc = spool_recover(self, found, user, why);
    if (rc != 0)
        goto free_files;
    free(files);
    *spool = self;
    return 0;

free_files:
    if (why[0] == '\0')
        (void)snprintf(why, SPOOL_WHY_BYTES, "cannot open the spool: %s", strerror(-rc));
    free(files);
    spool_close(self);
    return rc;
}

/* The disk is the caller's, but the files that were opened on it are not. */
static void files_close(struct spool *spool)
{
    for (uint32_t n = 0; spool->segments != NULL && n < spool->segments_count; n++) {
        const struct segment *segment = &spool->segments[n];
        if (segment->state == SEGMENT_NONE || segment->file < 0)
            continue;
        const struct disk_request request = {.kind = DISK_CLOSE, .file = segment->file};
        if (spool_do(spool, &request) == -ETIMEDOUT)
            return;
    }
}

void spool_close(struct spool *spool)
{
    if (spool == NULL)
        return;
    /* A disk that never answers may still write into our memory: then that is not given back. */
    if (spool->disk_out > 0 && spool_drain(spool) != 0)
        return;
    files_close(spool);
    for (uint32_t n = 0; n < spool->lanes_count; n++)
        lane_end(spool, spool->lanes[n]);
    move_close(spool);
    memory_unmap(spool->segments, sizeof(*spool->segments) * SPOOL_SEGMENTS_MAX);
    memory_unmap(spool->bits, 2 * spool->bits_bytes * SPOOL_SEGMENTS_MAX);
    memory_unmap(spool->entries, sizeof(*spool->entries) * spool->entries_max);
    memory_unmap(spool->reads, sizeof(*spool->reads) * READS_MAX);
    memory_unmap(spool->cache, CACHE_BYTES * CACHE_COUNT);
    memory_unmap(spool->zeros, FILL_BYTES);
    free(spool);
}

bool spool_busy(const struct spool *spool)
{
    if (spool->disk_out > 0 || spool->reads_out > 0)
        return true;
    for (uint32_t n = 0; n < spool->lanes_count; n++)
        if (lane_has_work(spool->lanes[n]))
            return true;
    return false;
}

bool spool_is_ready(const struct spool *spool)
{
    return reads_next(spool, READ_WANTED, 0) < READS_MAX ||
           reads_next(spool, READ_HERE, 0) < READS_MAX ||
           reads_next(spool, READ_ENDED, 0) < READS_MAX;
}

void spool_stats(const struct spool *spool, struct spool_stats *stats)
{
    *stats = spool->stats;
    for (uint32_t n = 0; n < spool->segments_count; n++) {
        const enum segment_state state = spool->segments[n].state;
        stats->segments += state != SEGMENT_NONE;
        stats->segments_free += state == SEGMENT_FREE;
        stats->segments_bad += state == SEGMENT_BAD;
    }
}
