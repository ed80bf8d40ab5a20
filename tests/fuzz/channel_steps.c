#include "tests/fuzz/channel_steps.h"

#include "base/assert.h"
#include "ipc/memfd.h"

#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STEPS_MAX 512

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

static bool step(const struct channel_steps *steps, struct input *input, struct channel *channel,
                 uint8_t *memory, const struct geometry *geometry)
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
        *(struct ipc_submission *)(void *)slot = steps->honest(geometry);
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
    default: steps->pass(channel, which); return true;
    }
}

void channel_steps_run(const struct channel_steps *steps, const uint8_t *bytes_at, size_t bytes)
{
    struct input input = {.at = bytes_at, .left_bytes = bytes};
    struct geometry geometry;
    static struct memfd memory = {.fd = -1}; /* the client's, wiped for each input */
    struct channel *channel;
    int ends[2];
    int rc = geometry_client(&geometry, IPC_SLOTS_MIN, IPC_ARENA_BYTES_MIN);
    ASSERT(rc == 0);
    if (memory.at == NULL)
        rc = memfd_open(&memory, "fuzz", geometry.memfd_bytes, MEMFD_PAGES_SMALL);
    ASSERT(rc == 0);
    memset(memory.at, 0, geometry.arena_offset + 4096);
    rc = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends);
    ASSERT(rc == 0);
    const struct ipc_hello hello = {.slots_count = geometry.slots_count,
                                    .arena_bytes = geometry.arena_bytes,
                                    .memfd_bytes = geometry.memfd_bytes,
                                    .kind = steps->kind};
    const struct channel_config config = {.arena_bytes = IPC_ARENA_BYTES_MIN};
    rc = channel_open(&channel, &hello, dup(memory.fd), ends[0], &config);
    ASSERT(rc == 0);
    for (uint32_t n = 0; n < STEPS_MAX; n++) {
        if (!step(steps, &input, channel, memory.at, &geometry))
            break;
    }
    steps->pass(channel, 0);
    channel_close(channel);
    (void)close(ends[0]);
    (void)close(ends[1]);
}
