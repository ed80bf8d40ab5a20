/* fuzz: links ipc */
/*
 * Slots, indices and texts of a hostile collector: no DONE counts that no emission is open for,
 * each text is printable, and every range that was emitted comes back.
 *
 * The input is a list of steps: a byte that says which, then its operands.
 */
#include "base/assert.h"
#include "ipc/channel.h"
#include "ipc/geometry.h"
#include "ipc/memfd.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STEPS_MAX  512
#define EMIT_BYTES 3000

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

static void emit(struct channel *channel, uint64_t number)
{
    uint64_t offset;
    uint8_t *at;
    if (!channel_space_take(channel, EMIT_BYTES, &offset, &at))
        return;
    const struct ipc_span span = {.offset = (uint32_t)offset + 64, .bytes = 64};
    memcpy(at, &span, sizeof(span));
    const struct ipc_completion emission = {.request_id = number,
                                            .status = IPC_EMIT,
                                            .spans_count = 1,
                                            .spans_offset = (uint32_t)offset,
                                            .text_offset = (uint32_t)offset + 8,
                                            .text_bytes = 25,
                                            .mail_bytes = 64,
                                            .emission = IPC_EMISSION_MAIL};
    const uint32_t open = channel_outstanding(channel);
    if (channel_emit(channel, &emission, offset, EMIT_BYTES))
        ASSERT(channel_outstanding(channel) == open + 1);
    else
        channel_space_give(channel, offset, EMIT_BYTES);
}

static void engine_pass(struct channel *channel, uint64_t number)
{
    struct ipc_submission burst[IPC_SLOTS_MIN];
    char text[IPC_TEXT_BYTES_MAX];
    (void)channel_reclaim(channel);
    const uint32_t open = channel_outstanding(channel);
    const uint32_t taken = channel_take_burst(channel, burst, ARRAY_COUNT(burst));
    ASSERT(taken <= open && channel_outstanding(channel) == open - taken);
    ASSERT(taken == 0 || channel_fault(channel) == CHANNEL_SOUND);
    for (uint32_t n = 0; n < taken; n++) {
        ASSERT(burst[n].flags == IPC_SUBMIT_DONE);
        ASSERT(burst[n].done_result >= IPC_DONE_SENT && burst[n].done_result <= IPC_DONE_REFUSED);
        const uint32_t bytes = channel_copy_reply(channel, &burst[n], text);
        for (uint32_t m = 0; m < bytes; m++)
            ASSERT(text[m] >= 0x20 && text[m] <= 0x7e);
    }
    if (channel_fault(channel) == CHANNEL_SOUND)
        emit(channel, number);
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
    case 1: /* an honest DONE, of which a few bytes are then the input's */
        *(struct ipc_submission *)(void *)slot =
            (struct ipc_submission){.meta_offset = geometry->arena_offset,
                                    .meta_bytes = 64,
                                    .flags = IPC_SUBMIT_DONE,
                                    .done_result = IPC_DONE_LATER,
                                    .done_enhanced = {4, 7, 1}};
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
    default: engine_pass(channel, which); return true;
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
                                    .memfd_bytes = geometry.memfd_bytes,
                                    .kind = IPC_KIND_COLLECTOR};
    const struct channel_config config = {.arena_bytes = IPC_ARENA_BYTES_MIN};
    rc = channel_open(&channel, &hello, dup(memory.fd), ends[0], &config);
    ASSERT(rc == 0);
    for (uint32_t n = 0; n < STEPS_MAX; n++) {
        if (!step(&input, channel, memory.at, &geometry))
            break;
    }
    engine_pass(channel, 0);
    channel_close(channel);
    (void)close(ends[0]);
    (void)close(ends[1]);
    return 0;
}
