#include "tests/ipc/pair.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

int pair_up(void **state, uint32_t kind, uint64_t constants_bytes)
{
    return pair_up_slots(state, kind, constants_bytes, PAIR_SLOTS);
}

int pair_up_slots(void **state, uint32_t kind, uint64_t constants_bytes, uint32_t slots_count)
{
    struct pair *pair = calloc(1, sizeof(*pair));
    if (pair == NULL || geometry_client(&pair->client, slots_count, PAIR_ARENA_BYTES) != 0 ||
        memfd_open(&pair->memory, "client", pair->client.memfd_bytes, MEMFD_PAGES_SMALL) != 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair->ends) != 0)
        return -1;
    pair->page = (struct ipc_page *)(void *)pair->memory.at;
    const struct ipc_hello hello = {.magic = IPC_MAGIC_CLIENT,
                                    .version = IPC_VERSION,
                                    .slots_count = slots_count,
                                    .arena_bytes = PAIR_ARENA_BYTES,
                                    .memfd_bytes = pair->client.memfd_bytes,
                                    .kind = kind};
    const struct channel_config config = {.arena_bytes = PAIR_ARENA_BYTES,
                                          .constants_bytes = constants_bytes};
    if (channel_open(&pair->channel, &hello, dup(pair->memory.fd), pair->ends[0], &config) != 0)
        return -1;
    pair->peer_at = mmap(NULL, channel_engine_memfd_bytes(pair->channel), PROT_READ, MAP_SHARED,
                         channel_engine_memfd(pair->channel), 0);
    pair->peer = (const struct ipc_page *)(const void *)pair->peer_at;
    *state = pair;
    return pair->peer_at == MAP_FAILED ? -1 : 0;
}

int pair_down(void **state)
{
    struct pair *pair = *state;
    (void)munmap((void *)(uintptr_t)pair->peer_at, channel_engine_memfd_bytes(pair->channel));
    channel_close(pair->channel);
    memfd_close(&pair->memory);
    (void)close(pair->ends[0]);
    (void)close(pair->ends[1]);
    free(pair);
    return 0;
}

void pair_submit(struct pair *pair, const struct ipc_submission *slot)
{
    const uint32_t tail = atomic_load(&pair->page->tail);
    memcpy(pair->memory.at + pair->client.slots_offset +
               tail % pair->client.slots_count * sizeof(*slot),
           slot, sizeof(*slot));
    atomic_store(&pair->page->tail, tail + 1);
}
