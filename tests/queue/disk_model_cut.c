/* What a disk's model looks like after the power went. */
#include "base/assert.h"
#include "base/macros.h"
#include "tests/queue/disk_model.h"
#include "tests/queue/disk_model_internal.h"

#include <inttypes.h>
#include <string.h>

static bool name_is_undecided(const struct model_file *file)
{
    return file->coming || file->going || file->there != file->there_durable;
}

bool disk_model_is_undecided(const struct disk_model *model)
{
    for (uint32_t n = 0; n < model->files_count; n++) {
        const struct model_file *file = &model->files[n];
        if (name_is_undecided(file) || (file->there && !file->bytes_durable))
            return true;
    }
    return model->changes_count > 0;
}

static bool decide(enum disk_model_cut how, uint64_t *random)
{
    if (how == DISK_MODEL_NONE || how == DISK_MODEL_ALL)
        return how == DISK_MODEL_ALL;
    return model_random(random) >> 63;
}

static void mark(uint64_t *number, uint64_t choice)
{
    *number = (*number ^ choice) * UINT64_C(0x9e3779b97f4a7c15);
    *number ^= *number >> 29;
}

/* A file that came while nothing made its length durable has any. */
static uint64_t bytes_left(const struct model_file *file, enum disk_model_cut how, uint64_t *random)
{
    if (file->bytes_durable || how == DISK_MODEL_ALL)
        return file->bytes;
    if (how == DISK_MODEL_NONE)
        return 0;
    return model_random(random) % (file->bytes / BLOCK_BYTES + 1) * BLOCK_BYTES;
}

/* Which sectors of a change's block are there; `torn_at` is the first that is not, of them all. */
static uint32_t sectors_left(enum disk_model_cut how, bool whole, uint64_t torn_at, uint32_t block,
                             uint64_t *random)
{
    const uint64_t before = (uint64_t)block * BLOCK_SECTORS;
    switch (how) {
    case DISK_MODEL_NONE:
    case DISK_MODEL_ALL:
    case DISK_MODEL_REQUESTS: return whole ? SECTORS_ALL : 0;
    case DISK_MODEL_TORN:
        if (torn_at <= before)
            return 0;
        return torn_at - before >= BLOCK_SECTORS
                   ? SECTORS_ALL
                   : SECTORS_ALL >> (BLOCK_SECTORS + before - torn_at);
    case DISK_MODEL_BLOCKS: return decide(how, random) ? SECTORS_ALL : 0;
    case DISK_MODEL_SECTORS: return (uint32_t)model_random(random) >> 8 & SECTORS_ALL;
    }
    return 0;
}

static void change_cut(const struct model_change *change, struct disk_model *to,
                       struct model_file *file, enum disk_model_cut how, uint64_t *random,
                       uint64_t *number)
{
    const bool whole = decide(how, random);
    const uint64_t torn_at =
        model_random(random) % ((uint64_t)change->blocks_count * BLOCK_SECTORS + 1);
    for (uint32_t n = 0; n < change->blocks_count; n++) {
        const uint32_t block = change->block_first + n;
        if (change->blocks[n] == NULL || (uint64_t)block * BLOCK_BYTES >= file->bytes)
            continue;
        const uint32_t sectors = sectors_left(how, whole, torn_at, n, random);
        mark(number, sectors);
        file->now[block] = model_mix(to, file->now[block], change->blocks[n], sectors);
    }
}

static void file_copy(const struct model_file *from, struct disk_model *to, enum disk_model_cut how,
                      uint64_t *random, uint32_t *place)
{
    *place = model_file_make(to, from->name, bytes_left(from, how, random));
    struct model_file *file = &to->files[*place];
    memcpy(file->now, from->durable, model_blocks_max(to) * sizeof(*file->now));
    file->bytes_durable = file->there = file->there_durable = true;
    file->made = file->named = 1;
}

/* Of two files that had one name, one after the other, one is left. */
static void file_forget_same(struct disk_model *to, const struct model_file *from)
{
    for (uint32_t n = 0; n < to->files_count; n++)
        if (strcmp(to->files[n].name, from->name) == 0)
            to->files[n].there = to->files[n].there_durable = false;
}

uint64_t disk_model_cut(const struct disk_model *from, struct disk_model *to,
                        enum disk_model_cut how, uint64_t seed)
{
    uint32_t places[MODEL_FILES_MAX];
    uint64_t random = seed * 2 + 1;
    uint64_t number = 0;
    ASSERT(from != to && to->config.file_bytes_max == from->config.file_bytes_max);
    (void)model_random(&random);
    model_forget_all(to);
    to->clock = 1;
    for (uint32_t n = 0; n < from->files_count; n++) {
        const struct model_file *file = &from->files[n];
        bool there = file->there_durable;
        if (name_is_undecided(file) && decide(how, &random))
            there = file->going ? how > DISK_MODEL_ALL && file->there && decide(how, &random)
                                : file->coming || file->there;
        places[n] = MODEL_FILES_MAX;
        mark(&number, there);
        if (!there)
            continue;
        file_forget_same(to, file);
        file_copy(file, to, how, &random, &places[n]);
        mark(&number, to->files[places[n]].bytes);
    }
    const uint32_t first = how > DISK_MODEL_ALL && from->changes_count > 0
                               ? (uint32_t)(model_random(&random) % from->changes_count)
                               : 0;
    for (uint32_t n = 0; n < from->changes_count; n++) {
        const struct model_change *change = &from->changes[(first + n) % from->changes_count];
        if (places[change->file] < MODEL_FILES_MAX)
            change_cut(change, to, &to->files[places[change->file]], how, &random, &number);
    }
    for (uint32_t n = 0; n < to->files_count; n++)
        memcpy(to->files[n].durable, to->files[n].now,
               model_blocks_max(to) * sizeof(*to->files[n].now));
    return number;
}

/* The change is seen from now on, but is durable only with the next sync. */
static void change_remain(const struct model_change *change, struct disk_model *to, uint32_t file)
{
    struct model_change *remains = &to->changes[to->changes_count++];
    *remains = *change;
    remains->file = file;
    remains->is_fill = true;
    remains->lost = false;
    remains->submitted = remains->done = to->clock;
    remains->blocks = model_memory(to, change->blocks_count * sizeof(*change->blocks));
    memcpy(remains->blocks, change->blocks, change->blocks_count * sizeof(*change->blocks));
    for (uint32_t n = 0; n < change->blocks_count; n++)
        if (change->blocks[n] != NULL)
            to->files[file].now[change->block_first + n] = change->blocks[n];
}

void disk_model_kill(const struct disk_model *from, struct disk_model *to, uint64_t seed)
{
    uint32_t places[MODEL_FILES_MAX];
    uint64_t random = seed * 2 + 1;
    (void)model_random(&random);
    model_forget_all(to);
    to->clock = 1;
    for (uint32_t n = 0; n < from->files_count; n++) {
        const struct model_file *file = &from->files[n];
        const bool there =
            file->coming || file->going ? decide(DISK_MODEL_REQUESTS, &random) : file->there;
        places[n] = MODEL_FILES_MAX;
        if (!there && !file->there_durable)
            continue;
        places[n] = model_file_make(to, file->name, file->bytes);
        struct model_file *same = &to->files[places[n]];
        memcpy(same->now, file->durable, model_blocks_max(to) * sizeof(*same->now));
        memcpy(same->durable, file->durable, model_blocks_max(to) * sizeof(*same->now));
        same->there = there;
        same->there_durable = file->there_durable;
        same->bytes_durable = file->bytes_durable;
        same->made = same->named = 1;
    }
    for (uint32_t n = 0; n < from->changes_count; n++) {
        const struct model_change *change = &from->changes[n];
        if (places[change->file] < MODEL_FILES_MAX &&
            (change->done != 0 || decide(DISK_MODEL_REQUESTS, &random)))
            change_remain(change, to, places[change->file]);
    }
    to->clock++;
}

static const uint8_t *kept(struct disk_model *model, const uint8_t *block)
{
    if (block == NULL || block == model_zeroes)
        return block;
    uint8_t *own = model_memory(model, BLOCK_BYTES);
    memcpy(own, block, BLOCK_BYTES);
    return own;
}

void disk_model_keep(struct disk_model *model)
{
    for (uint32_t n = 0; n < model->files_count; n++) {
        struct model_file *file = &model->files[n];
        for (uint32_t b = 0; b < model_blocks_max(model); b++) {
            const bool same = file->now[b] == file->durable[b];
            file->durable[b] = kept(model, file->durable[b]);
            file->now[b] = same ? file->durable[b] : kept(model, file->now[b]);
        }
    }
    for (uint32_t n = 0; n < model->changes_count; n++)
        for (uint32_t b = 0; b < model->changes[n].blocks_count; b++)
            model->changes[n].blocks[b] = kept(model, model->changes[n].blocks[b]);
}

uint64_t disk_model_number(const struct disk_model *model)
{
    uint64_t number = 0;
    for (uint32_t n = 0; n < model->files_count; n++) {
        const struct model_file *file = &model->files[n];
        mark(&number, file->bytes << 4 | (uint64_t)file->there << 3 | (uint64_t)file->coming << 2 |
                          (uint64_t)file->going << 1 | file->there_durable);
        for (uint32_t b = 0; file->there && b < file->bytes / BLOCK_BYTES; b++)
            mark(&number, (uintptr_t)file->durable[b]);
    }
    for (uint32_t n = 0; n < model->changes_count; n++)
        mark(&number, model->changes[n].submitted << 1 | model->changes[n].is_fill);
    return number;
}

void disk_model_dump(const struct disk_model *model, FILE *to)
{
    static const char *const kinds[] = {"open", "create", "close",  "read",       "write",
                                        "fill", "sync",   "unlink", "sync folder"};
    for (uint32_t n = 0; n < model->files_count; n++) {
        const struct model_file *file = &model->files[n];
        (void)fprintf(to, "file %u %s %" PRIu64 " bytes%s%s%s\n", n, file->name, file->bytes,
                      file->there ? "" : ", gone",
                      name_is_undecided(file) ? ", name undecided" : "",
                      file->bytes_durable ? "" : ", length undecided");
    }
    for (uint32_t n = 0; n < model->out_count; n++) {
        const struct disk_request *asked = &model->out[n].asked;
        (void)fprintf(to, "out: %s file %d %s offset %" PRIu64 " bytes %" PRIu64 "\n",
                      kinds[asked->kind], asked->file, asked->name, asked->offset, asked->bytes);
    }
    for (uint32_t n = 0; n < model->changes_count; n++) {
        const struct model_change *change = &model->changes[n];
        (void)fprintf(to, "undecided: file %u blocks %u+%u%s%s%s\n", change->file,
                      change->block_first, change->blocks_count, change->is_fill ? " fill" : "",
                      change->lost ? " lost" : "", change->done == 0 ? " out" : "");
    }
}
