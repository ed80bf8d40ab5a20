/* fuzz: links ipc */
/*
 * Slots, indices and arena bytes of a hostile client, against the engine's side of a session: what
 * the channel hands on must lie inside the client's arena, and every range must be readable.
 *
 * The input is a list of steps: a byte that says which, then its operands.
 */
#include "base/assert.h"
#include "ipc/channel.h"
#include "ipc/geometry.h"
#include "ipc/memfd.h"
#include "ipc/meta.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STEPS_MAX 512
#define MAIL_PEEK 4096 /* as much of a mail as is copied from each end */

struct input {
    const uint8_t *at;
    size_t left_bytes;
};

static bool input_take(struct input *input, void *dst, size_t bytes)
{
    if (input->left_bytes < bytes)
        return false;
    memcpy(dst, input->at, bytes);
    input->at += bytes;
    input->left_bytes -= bytes;
    return true;
}

/* As a worker uses a submission. */
static void submission_use(struct channel *channel, const struct ipc_submission *submission)
{
    static uint8_t copy[IPC_META_BYTES_MAX];
    struct meta meta;
    const size_t peek_bytes = MIN(submission->mail_bytes, (uint32_t)MAIL_PEEK);
    channel_copy_meta(channel, submission, copy);
    if (meta_read(&meta, copy, submission->meta_bytes) == 0) {
        uint32_t offset = 0;
        uint32_t count = 0;
        const uint8_t *address;
        uint16_t address_bytes;
        while (meta_recipient(&meta, &offset, &address, &address_bytes))
            count++;
        ASSERT(count == meta.recipients_count);
    }
    channel_copy_mail(channel, submission, 0, copy, peek_bytes);
    channel_copy_mail(channel, submission, submission->mail_bytes - peek_bytes, copy, peek_bytes);
}

static void engine_pass(struct channel *channel)
{
    struct ipc_submission burst[IPC_SLOTS_MIN];
    (void)channel_reclaim(channel);
    const uint32_t taken = channel_take_burst(channel, burst, ARRAY_COUNT(burst));
    ASSERT(taken == 0 || channel_fault(channel) == CHANNEL_SOUND);
    for (uint32_t n = 0; n < taken; n++) {
        uint64_t offset = 0;
        uint8_t *at;
        submission_use(channel, &burst[n]);
        const bool space = channel_space_take(channel, 100, &offset, &at);
        const struct ipc_completion completion = {.request_id = burst[n].request_id,
                                                  .status = IPC_RETRY};
        const bool held = channel_complete(channel, &completion, offset, space ? 100 : 0);
        ASSERT(held);
    }
    channel_publish(channel);
    if (channel_sleep(channel, true))
        channel_awake(channel);
}

static bool step(struct input *input, struct channel *channel, uint8_t *memory,
                 const struct geometry *geometry)
{
    struct ipc_page *page = (struct ipc_page *)(void *)memory;
    uint8_t which;
    uint32_t word;
    if (!input_take(input, &which, sizeof(which)))
        return false;
    uint8_t *slot = memory + geometry->slots_offset + (which >> 4 & 7) * (size_t)64;
    switch (which & 7) {
    case 0: return input_take(input, slot, 64);
    case 1: /* an honest slot, of which a few bytes are then the input's */
        *(struct ipc_submission *)(void *)slot =
            (struct ipc_submission){.meta_offset = geometry->arena_offset,
                                    .mail_offset = geometry->arena_offset,
                                    .meta_bytes = 64,
                                    .mail_bytes = 4096};
        return input_take(input, &word, sizeof(word)) &&
               input_take(input, slot + (word & 60), sizeof(word));
    case 2:
        if (!input_take(input, &word, sizeof(word)))
            return false;
        atomic_store(&page->tail, word);
        return true;
    case 3:
        if (!input_take(input, &word, sizeof(word)))
            return false;
        atomic_store(&page->head, word);
        return true;
    case 4: atomic_fetch_add(&page->tail, 1); return true;
    case 5: atomic_fetch_add(&page->head, 1); return true;
    case 6: return input_take(input, memory + geometry->arena_offset, 64);
    default: engine_pass(channel); return true;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes_at, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *bytes_at, size_t bytes)
{
    struct input input = {.at = bytes_at, .left_bytes = bytes};
    struct geometry geometry;
    static struct memfd memory = {.fd = -1}; /* the client's, wiped for each input */
    struct channel *channel;
    int ends[2];
    int rc = geometry_client(&geometry, IPC_SLOTS_MIN, IPC_ARENA_BYTES_MIN);
    ASSERT(rc == 0);
    if (memory.at == NULL)
        rc = memfd_open(&memory, "fuzz", geometry.memfd_bytes);
    ASSERT(rc == 0);
    memset(memory.at, 0, geometry.arena_offset + 4096);
    rc = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends);
    ASSERT(rc == 0);
    const struct ipc_hello hello = {.slots_count = geometry.slots_count,
                                    .arena_bytes = geometry.arena_bytes,
                                    .memfd_bytes = geometry.memfd_bytes};
    const struct channel_config config = {.arena_bytes = IPC_ARENA_BYTES_MIN};
    rc = channel_open(&channel, &hello, dup(memory.fd), ends[0], &config);
    ASSERT(rc == 0);
    for (uint32_t n = 0; n < STEPS_MAX; n++) {
        if (!step(&input, channel, memory.at, &geometry))
            break;
    }
    engine_pass(channel);
    channel_close(channel);
    (void)close(ends[0]);
    (void)close(ends[1]);
    return 0;
}
