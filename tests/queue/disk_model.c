#include "tests/queue/disk_model.h"

#include "base/assert.h"
#include "base/macros.h"
#include "tests/queue/disk_model_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NO_FILE UINT32_MAX

const uint8_t model_zeroes[BLOCK_BYTES];

uint64_t model_random(uint64_t *random)
{
    *random ^= *random >> 12;
    *random ^= *random << 25;
    *random ^= *random >> 27;
    return *random * UINT64_C(0x2545f4914f6cdd1d);
}

void *model_memory(struct disk_model *model, size_t bytes)
{
    bytes = (bytes + 15) & ~(size_t)15;
    ASSERT(bytes <= MODEL_CHUNK_BYTES);
    if (model->chunk_used + bytes > MODEL_CHUNK_BYTES) {
        model->chunk++;
        model->chunk_used = 0;
    }
    if (model->chunk == model->chunks_count) {
        ASSERT(model->chunks_count < MODEL_CHUNKS_MAX);
        model->chunks[model->chunks_count] = malloc(MODEL_CHUNK_BYTES);
        ASSERT(model->chunks[model->chunks_count] != NULL);
        model->chunks_count++;
    }
    uint8_t *at = model->chunks[model->chunk] + model->chunk_used;
    model->chunk_used += bytes;
    return at;
}

uint32_t model_blocks_max(const struct disk_model *model)
{
    return (uint32_t)(model->config.file_bytes_max / BLOCK_BYTES);
}

const uint8_t *model_mix(struct disk_model *model, const uint8_t *under, const uint8_t *over,
                         uint32_t sectors)
{
    if (sectors == 0 || under == over)
        return under;
    if (sectors == SECTORS_ALL)
        return over;
    uint8_t *mixed = model_memory(model, BLOCK_BYTES);
    memcpy(mixed, under, BLOCK_BYTES);
    for (uint32_t n = 0; n < BLOCK_SECTORS; n++) {
        if (sectors >> n & 1)
            memcpy(mixed + (size_t)n * DISK_MODEL_SECTOR_BYTES,
                   over + (size_t)n * DISK_MODEL_SECTOR_BYTES, DISK_MODEL_SECTOR_BYTES);
    }
    return mixed;
}

static const uint8_t *block_kept(struct disk_model *model, const uint8_t *bytes)
{
    if (memcmp(bytes, model_zeroes, BLOCK_BYTES) == 0)
        return model_zeroes;
    uint8_t *kept = model_memory(model, BLOCK_BYTES);
    memcpy(kept, bytes, BLOCK_BYTES);
    return kept;
}

uint32_t model_file_make(struct disk_model *model, const char *name, uint64_t bytes)
{
    const uint32_t blocks_max = model_blocks_max(model);
    ASSERT(model->files_count < MODEL_FILES_MAX);
    ASSERT(bytes <= model->config.file_bytes_max);
    struct model_file *file = &model->files[model->files_count];
    *file = (struct model_file){.bytes = bytes};
    (void)snprintf(file->name, sizeof(file->name), "%s", name);
    file->now = model_memory(model, 3 * blocks_max * sizeof(*file->now));
    file->durable = file->now + blocks_max;
    file->before = file->durable + blocks_max;
    for (uint32_t n = 0; n < 3 * blocks_max; n++)
        file->now[n] = model_zeroes;
    return model->files_count++;
}

static uint32_t file_named(const struct disk_model *model, const char *name)
{
    for (uint32_t n = 0; n < model->files_count; n++) {
        if (model->files[n].there && strcmp(model->files[n].name, name) == 0)
            return n;
    }
    return NO_FILE;
}

static struct model_file *file_of(struct disk_model *model, const struct disk_request *asked)
{
    ASSERT(asked->file >= 0 && (uint32_t)asked->file < model->handles_count);
    ASSERT(model->handles[asked->file] >= 0);
    return &model->files[model->handles[asked->file]];
}

static int64_t handle_make(struct disk_model *model, uint32_t file)
{
    uint32_t handle = 0;
    while (handle < model->handles_count && model->handles[handle] >= 0)
        handle++;
    if (handle == model->handles_count)
        model->handles_count++;
    ASSERT(handle < MODEL_FILES_MAX);
    model->handles[handle] = (int32_t)file;
    model->files[file].opens++;
    return handle;
}

static bool fault_fits(enum disk_model_fault fault, enum disk_kind kind)
{
    switch (fault) {
    case DISK_MODEL_SOUND: return false;
    case DISK_MODEL_EIO:
    case DISK_MODEL_ENOSPC:
    case DISK_MODEL_EINTR:
    case DISK_MODEL_ECANCELED: return kind != DISK_CLOSE;
    case DISK_MODEL_SHORT: return kind == DISK_READ || kind == DISK_WRITE || kind == DISK_FILL;
    case DISK_MODEL_FLIPPED:
    case DISK_MODEL_STALE: return kind == DISK_READ;
    case DISK_MODEL_MISDIRECTED: return kind == DISK_WRITE || kind == DISK_FILL;
    }
    return false;
}

static bool is_transfer(enum disk_kind kind)
{
    return kind == DISK_READ || kind == DISK_WRITE || kind == DISK_FILL;
}

static void check_request(struct disk_model *model, const struct disk_request *asked)
{
    ASSERT(memchr(asked->name, 0, sizeof(asked->name)) != NULL || is_transfer(asked->kind) ||
           asked->kind == DISK_CLOSE || asked->kind == DISK_SYNC ||
           asked->kind == DISK_SYNC_FOLDER);
    if (!is_transfer(asked->kind))
        return;
    ASSERT(asked->offset % BLOCK_BYTES == 0 && asked->bytes % BLOCK_BYTES == 0);
    ASSERT(asked->bytes > 0 && (uintptr_t)asked->at % BLOCK_BYTES == 0);
    ASSERT(asked->offset <= model->config.file_bytes_max);
    ASSERT(asked->bytes <= model->config.file_bytes_max - asked->offset);
    (void)file_of(model, asked);
}

static uint32_t change_make(struct disk_model *model, const struct disk_request *asked)
{
    ASSERT(model->changes_count < MODEL_CHANGES_MAX);
    struct model_change *change = &model->changes[model->changes_count];
    *change = (struct model_change){.file = (uint32_t)model->handles[asked->file],
                                    .block_first = (uint32_t)(asked->offset / BLOCK_BYTES),
                                    .blocks_count = (uint32_t)(asked->bytes / BLOCK_BYTES),
                                    .is_fill = asked->kind == DISK_FILL,
                                    .submitted = model->clock};
    change->blocks = model_memory(model, change->blocks_count * sizeof(*change->blocks));
    for (uint32_t n = 0; n < change->blocks_count; n++)
        change->blocks[n] = block_kept(model, asked->at + (size_t)n * BLOCK_BYTES);
    return model->changes_count++;
}

static bool model_submit(struct disk *disk, const struct disk_request *asked)
{
    struct disk_model *model = (struct disk_model *)disk;
    if (model->out_count == DISK_REQUESTS_MAX)
        return false;
    check_request(model, asked);
    struct model_request *request = &model->out[model->out_count++];
    *request = (struct model_request){.asked = *asked, .submitted = ++model->clock};
    request->file = NO_FILE;
    const uint64_t index = model->submitted_count++;
    if (index >= model->fault_first && index - model->fault_first < model->fault_count &&
        fault_fits(model->fault, asked->kind)) {
        request->fault = model->fault;
        model->failed_count++;
    }
    if (asked->kind == DISK_WRITE || asked->kind == DISK_FILL)
        request->change = change_make(model, asked);
    if (asked->kind == DISK_READ && model->config.moment != NULL)
        memset(asked->at, 0xa5, asked->bytes); /* nobody looks before it is done */
    if (asked->kind == DISK_CREATE && file_named(model, asked->name) == NO_FILE) {
        request->file = model_file_make(model, asked->name, asked->bytes);
        model->files[request->file].coming = true;
    }
    if (asked->kind == DISK_UNLINK) {
        request->file = file_named(model, asked->name);
        if (request->file != NO_FILE)
            model->files[request->file].going = true;
    }
    model->moment_due = true;
    return true;
}

/* What is durable now in `change` overtakes all that was done before it began. */
static void change_settle(struct disk_model *model, struct model_change *change)
{
    struct model_file *file = &model->files[change->file];
    for (uint32_t n = 0; n < change->blocks_count; n++) {
        if (change->blocks[n] == NULL)
            continue;
        file->durable[change->block_first + n] = change->blocks[n];
    }
    for (uint32_t c = 0; c < model->changes_count; c++) {
        struct model_change *older = &model->changes[c];
        if (older->file != change->file || older->done == 0 || older->done > change->submitted)
            continue;
        for (uint32_t n = 0; n < older->blocks_count; n++) {
            const uint32_t block = older->block_first + n;
            if (block >= change->block_first && block - change->block_first < change->blocks_count)
                older->blocks[n] = NULL;
        }
    }
}

static bool change_is_empty(const struct model_change *change)
{
    for (uint32_t n = 0; n < change->blocks_count; n++)
        if (change->blocks[n] != NULL)
            return false;
    return true;
}

static void change_remove(struct disk_model *model, uint32_t place)
{
    const uint32_t last = --model->changes_count;
    model->changes[place] = model->changes[last];
    for (uint32_t n = 0; n < model->out_count; n++)
        if (model->out[n].change == last)
            model->out[n].change = place;
}

static void changes_sweep(struct disk_model *model)
{
    for (uint32_t n = model->changes_count; n > 0; n--) {
        if (model->changes[n - 1].done != 0 && change_is_empty(&model->changes[n - 1]))
            change_remove(model, n - 1);
    }
}

/* Puts it where reads find it; a failed one in any mixture of before and after. */
static void change_show(struct disk_model *model, struct model_change *change)
{
    struct model_file *file = &model->files[change->file];
    file->bytes =
        MAX(file->bytes, ((uint64_t)change->block_first + change->blocks_count) * BLOCK_BYTES);
    for (uint32_t n = 0; n < change->blocks_count; n++) {
        const uint32_t block = change->block_first + n;
        const uint32_t sectors =
            change->lost ? (uint32_t)model_random(&model->random) & SECTORS_ALL : SECTORS_ALL;
        file->before[block] = file->now[block];
        file->now[block] = model_mix(model, file->now[block], change->blocks[n], sectors);
    }
}

static void check_unchanged(const struct model_change *change, const struct disk_request *asked)
{
    for (uint32_t n = 0; n < change->blocks_count; n++) /* its buffer was borrowed until now */
        ASSERT(memcmp(change->blocks[n], asked->at + (size_t)n * BLOCK_BYTES, BLOCK_BYTES) == 0);
}

static int64_t fault_result(enum disk_model_fault fault, uint64_t bytes)
{
    switch (fault) {
    case DISK_MODEL_EIO: return -EIO;
    case DISK_MODEL_ENOSPC: return -ENOSPC;
    case DISK_MODEL_EINTR: return -EINTR;
    case DISK_MODEL_ECANCELED: return -ECANCELED;
    case DISK_MODEL_SHORT:
        return (int64_t)(bytes / 2 / DISK_MODEL_SECTOR_BYTES * DISK_MODEL_SECTOR_BYTES);
    case DISK_MODEL_SOUND:
    case DISK_MODEL_FLIPPED:
    case DISK_MODEL_STALE:
    case DISK_MODEL_MISDIRECTED: break;
    }
    return (int64_t)bytes;
}

/* Some other place of some file, its own perhaps. */
static void change_misdirect(struct disk_model *model, struct model_change *change)
{
    const uint32_t room = model_blocks_max(model) - change->blocks_count;
    for (uint32_t tries = 0; tries < 64; tries++) {
        const uint32_t file = (uint32_t)(model_random(&model->random) % model->files_count);
        if (!model->files[file].there)
            continue;
        change->file = file;
        change->block_first = (uint32_t)(model_random(&model->random) % (room + 1));
        return;
    }
}

static int64_t do_write(struct disk_model *model, const struct model_request *request)
{
    struct model_change *change = &model->changes[request->change];
    check_unchanged(change, &request->asked);
    const int64_t result = fault_result(request->fault, request->asked.bytes);
    change->lost = result != (int64_t)request->asked.bytes;
    if (request->fault == DISK_MODEL_MISDIRECTED)
        change_misdirect(model, change);
    change_show(model, change);
    change->done = model->clock;
    if (!change->is_fill && !change->lost) {
        change_settle(model, change);
        memset(change->blocks, 0, change->blocks_count * sizeof(*change->blocks));
        model->files[change->file].bytes_durable = true;
    }
    changes_sweep(model);
    return result;
}

static int64_t do_read(struct disk_model *model, const struct model_request *request)
{
    const struct disk_request *asked = &request->asked;
    const struct model_file *file = file_of(model, asked);
    const uint8_t *const *blocks = request->fault == DISK_MODEL_STALE ? file->before : file->now;
    const uint64_t there = asked->offset < file->bytes ? file->bytes - asked->offset : 0;
    const uint64_t bytes = MIN(asked->bytes, there);
    const int64_t result = fault_result(request->fault, bytes);
    for (uint64_t n = 0; (int64_t)n < result; n += BLOCK_BYTES)
        memcpy(asked->at + n, blocks[(asked->offset + n) / BLOCK_BYTES],
               MIN((uint64_t)result - n, (uint64_t)BLOCK_BYTES));
    if (request->fault == DISK_MODEL_FLIPPED && result > 0) {
        const uint64_t bit = model_random(&model->random) % ((uint64_t)result * 8);
        asked->at[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    return result;
}

/* What the kernel could not write it may have dropped: before or after, and no later sync tells. */
static void fills_lose(struct disk_model *model, uint32_t file)
{
    for (uint32_t n = 0; n < model->changes_count; n++) {
        struct model_change *change = &model->changes[n];
        if (change->file != file || !change->is_fill || change->done == 0 || change->lost)
            continue;
        change->lost = true;
        for (uint32_t b = 0; b < change->blocks_count; b++) {
            const uint32_t at = change->block_first + b;
            if (change->blocks[b] == NULL)
                continue;
            model->files[file].now[at] =
                model_mix(model, model->files[file].durable[at], model->files[file].now[at],
                          (uint32_t)model_random(&model->random) & SECTORS_ALL);
        }
    }
}

static int64_t do_sync(struct disk_model *model, const struct model_request *request)
{
    struct model_file *file = file_of(model, &request->asked);
    const uint32_t place = (uint32_t)(file - model->files);
    const int64_t result = fault_result(request->fault, 0);
    if (request->fault != DISK_MODEL_SOUND) {
        fills_lose(model, place);
        return result;
    }
    /* The earliest first, so that of two fills of a block the later one stays. */
    for (uint32_t rounds = 0; rounds < MODEL_CHANGES_MAX; rounds++) {
        struct model_change *first = NULL;
        for (uint32_t n = 0; n < model->changes_count; n++) {
            struct model_change *change = &model->changes[n];
            if (change->file == place && change->is_fill && !change->lost && change->done != 0 &&
                change->done < request->submitted && !change_is_empty(change) &&
                (first == NULL || change->done < first->done))
                first = change;
        }
        if (first == NULL)
            break;
        change_settle(model, first);
        memset(first->blocks, 0, first->blocks_count * sizeof(*first->blocks));
    }
    changes_sweep(model);
    if (file->made < request->submitted)
        file->bytes_durable = true;
    return 0;
}

static int64_t do_create(struct disk_model *model, const struct model_request *request)
{
    if (request->file == NO_FILE)
        return -EEXIST;
    struct model_file *file = &model->files[request->file];
    file->coming = false;
    if (request->fault != DISK_MODEL_SOUND)
        return fault_result(request->fault, 0);
    if (file_named(model, request->asked.name) != NO_FILE)
        return -EEXIST;
    file->made = file->named = model->clock;
    file->there = true;
    return handle_make(model, request->file);
}

static int64_t do_unlink(struct disk_model *model, const struct model_request *request)
{
    if (request->file == NO_FILE)
        return -ENOENT;
    struct model_file *file = &model->files[request->file];
    file->going = false;
    if (request->fault != DISK_MODEL_SOUND)
        return fault_result(request->fault, 0);
    if (!file->there)
        return -ENOENT;
    file->there = file->name_lost = false;
    file->named = model->clock;
    return 0;
}

static int64_t do_sync_folder(struct disk_model *model, const struct model_request *request)
{
    for (uint32_t n = 0; n < model->files_count; n++) {
        struct model_file *file = &model->files[n];
        if (file->named == 0 || file->named > request->submitted || file->name_lost)
            continue;
        if (request->fault == DISK_MODEL_SOUND)
            file->there_durable = file->there;
        else
            file->name_lost = file->there != file->there_durable;
    }
    return fault_result(request->fault, 0);
}

static int64_t do_open(struct disk_model *model, const struct model_request *request)
{
    const uint32_t file = file_named(model, request->asked.name);
    if (request->fault != DISK_MODEL_SOUND)
        return fault_result(request->fault, 0);
    return file == NO_FILE ? -ENOENT : handle_make(model, file);
}

static int64_t do_close(struct disk_model *model, const struct model_request *request)
{
    struct model_file *file = file_of(model, &request->asked);
    for (uint32_t n = 0; n < model->out_count; n++) {
        const struct disk_request *other = &model->out[n].asked;
        ASSERT(other->file != request->asked.file ||
               (!is_transfer(other->kind) && other->kind != DISK_SYNC));
    }
    file->opens--;
    model->handles[request->asked.file] = -1;
    return 0;
}

static int64_t request_do(struct disk_model *model, const struct model_request *request)
{
    switch (request->asked.kind) {
    case DISK_OPEN: return do_open(model, request);
    case DISK_CREATE: return do_create(model, request);
    case DISK_CLOSE: return do_close(model, request);
    case DISK_READ: return do_read(model, request);
    case DISK_WRITE:
    case DISK_FILL: return do_write(model, request);
    case DISK_SYNC: return do_sync(model, request);
    case DISK_UNLINK: return do_unlink(model, request);
    case DISK_SYNC_FOLDER: return do_sync_folder(model, request);
    }
    return -EINVAL;
}

static void moment(struct disk_model *model)
{
    model->moment_due = false;
    if (model->config.moment != NULL)
        model->config.moment(model->config.user, model);
}

static uint32_t model_reap(struct disk *disk, uint64_t wait_ns, struct disk_result *results,
                           uint32_t results_max)
{
    struct disk_model *model = (struct disk_model *)disk;
    if (model->moment_due)
        moment(model);
    const uint32_t slow = (uint32_t)(model_random(&model->random) % 16);
    uint32_t count = MIN(model->out_count, results_max);
    if (model->config.slowness > 0 && count > 0)
        count = slow < model->config.slowness ? wait_ns > 0 : slow % count + 1;
    count = MIN(count, model->out_count);
    for (uint32_t n = 0; n < count; n++) {
        const uint32_t pick = (uint32_t)(model_random(&model->random) % model->out_count);
        const struct model_request request = model->out[pick];
        model->out[pick] = model->out[--model->out_count];
        model->clock++;
        results[n] = (struct disk_result){request.asked.tag, request_do(model, &request)};
        moment(model);
    }
    return count;
}

static int model_doorbell(struct disk *disk)
{
    (void)disk;
    return -1;
}

static void model_arm(struct disk *disk, bool armed)
{
    (void)disk;
    (void)armed;
}

static int model_list(struct disk *disk, struct disk_entry *entries, uint32_t entries_max)
{
    const struct disk_model *model = (const struct disk_model *)disk;
    uint32_t count = 0;
    for (uint32_t n = model->files_count; n > 0 && count < entries_max; n--) {
        const struct model_file *file = &model->files[n - 1]; /* in no order that helps anyone */
        if (!file->there)
            continue;
        memcpy(entries[count].name, file->name, sizeof(file->name));
        entries[count++].bytes = file->bytes;
    }
    return (int)count;
}

static void model_close(struct disk *disk)
{
    struct disk_model *model = (struct disk_model *)disk;
    for (uint32_t n = 0; n < model->chunks_count; n++)
        free(model->chunks[n]);
    free(model);
}

static const struct disk_ops model_ops = {.submit = model_submit,
                                          .reap = model_reap,
                                          .doorbell = model_doorbell,
                                          .arm = model_arm,
                                          .list = model_list,
                                          .close = model_close};

struct disk_model *disk_model_open(const struct disk_model_config *config)
{
    struct disk_model *model = calloc(1, sizeof(*model));
    ASSERT(model != NULL);
    ASSERT(config->file_bytes_max % BLOCK_BYTES == 0);
    ASSERT(config->file_bytes_max / BLOCK_BYTES * 3 * sizeof(void *) <= MODEL_CHUNK_BYTES);
    model->disk.ops = &model_ops;
    model->config = *config;
    model->random = config->seed * 2 + 1;
    return model;
}

void model_forget_all(struct disk_model *model)
{
    model->clock = model->submitted_count = model->failed_count = 0;
    model->fault_count = 0;
    model->fault = DISK_MODEL_SOUND;
    model->moment_due = false;
    model->out_count = model->files_count = model->changes_count = model->handles_count = 0;
    model->chunk = 0;
    model->chunk_used = 0;
}

struct disk *disk_model_disk(struct disk_model *model)
{
    return &model->disk;
}

void disk_model_fail(struct disk_model *model, enum disk_model_fault fault, uint64_t first,
                     uint64_t count)
{
    model->fault = fault;
    model->fault_first = first;
    model->fault_count = count;
}

void disk_model_slow(struct disk_model *model, uint32_t slowness)
{
    model->config.slowness = slowness;
}

uint64_t disk_model_submitted(const struct disk_model *model)
{
    return model->submitted_count;
}

uint64_t disk_model_failed(const struct disk_model *model)
{
    return model->failed_count;
}

uint32_t disk_model_files(const struct disk_model *model)
{
    uint32_t count = 0;
    for (uint32_t n = 0; n < model->files_count; n++)
        count += model->files[n].there;
    return count;
}

const char *disk_model_fault_name(enum disk_model_fault fault)
{
    static const char *const names[DISK_MODEL_FAULTS] = {
        "sound",       "EIO",        "ENOSPC",           "EINTR", "ECANCELED", "short",
        "flipped bit", "stale read", "misdirected write"};
    return names[fault];
}
