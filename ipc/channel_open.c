#include "ipc/channel_internal.h"

#include "base/assert.h"
#include "base/kept.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

_Static_assert(sizeof(struct ipc_submission) == LANE_SLOT_BYTES, "one slot");
_Static_assert(sizeof(struct ipc_completion) == LANE_SLOT_BYTES, "one slot");
_Static_assert(sizeof(struct channel) % _Alignof(struct channel_held) == 0, "it stands behind");

/* The channel and, behind it, what its slots hold, in pages of their own: both are written for
 * every message, so no line of them may be another worker's. */
static size_t channel_bytes(uint32_t slots_count)
{
    return sizeof(struct channel) + slots_count * sizeof(struct channel_held);
}

static int channel_bookkeeping(struct channel *channel)
{
    const uint32_t slots_count = channel->engine.slots_count;
    channel->held = (struct channel_held *)(void *)(channel + 1);
    return arena_open(&channel->arena, channel->engine.arena_offset, channel->engine.arena_bytes,
                      slots_count * CHANNEL_EXTENTS_PER_SLOT);
}

static void channel_connect(struct channel *channel)
{
    channel->client_at = channel->client_memfd.at;
    channel->engine_at = channel->engine_memfd.at;
    channel->peer = (const struct ipc_page *)(const void *)channel->client_memfd.at;
    channel->own = (struct ipc_page *)(void *)channel->engine_memfd.at;
    geometry_write(&channel->engine, IPC_MAGIC_ENGINE, channel->own);
    channel->submissions = (struct lane_reader){
        .peer = channel->peer,
        .slots = channel->client_at + channel->client.slots_offset,
        .slots_count = channel->client.slots_count,
    };
    channel->completions = (struct lane_writer){
        .own = channel->own,
        .peer = channel->peer,
        .slots = channel->engine_at + channel->engine.slots_offset,
        .slots_count = channel->engine.slots_count,
    };
}

int channel_open(struct channel **channel, const struct ipc_hello *hello, int client_memfd,
                 int socket_fd, const struct channel_config *config)
{
    struct geometry client;
    int rc = geometry_client(&client, hello->slots_count, hello->arena_bytes);
    if (rc == 0 && client.memfd_bytes != hello->memfd_bytes)
        rc = -EBADMSG;
    if (rc != 0)
        return rc;
    const size_t mapped_bytes = channel_bytes(hello->slots_count);
    void *at;
    rc = kept_open(&at, mapped_bytes);
    if (rc != 0)
        return rc;
    struct channel *made = at;
    *made = (struct channel){.mapped_bytes = mapped_bytes,
                             .client = client,
                             .collector = hello->kind == IPC_KIND_COLLECTOR,
                             .socket_fd = socket_fd,
                             .doorbell = -1,
                             .half_current = CHANNEL_HALVES,
                             .client_memfd = MEMFD_NONE,
                             .engine_memfd = MEMFD_NONE};

    rc = geometry_engine(&made->engine, hello->slots_count, config->constants_bytes,
                         config->arena_bytes);
    if (rc == 0)
        rc = channel_bookkeeping(made);
    if (rc == 0)
        rc = memfd_open(&made->engine_memfd, "bulla-engine", made->engine.memfd_bytes,
                        config->pages);
    if (rc != 0)
        goto close_made;
    /* Without EFD_NONBLOCK: queue/wait.h reads it through io_uring, which then waits for it. */
    made->doorbell = eventfd(0, EFD_CLOEXEC);
    if (made->doorbell < 0) {
        rc = -errno;
        goto close_made;
    }
    /* Last: from success on the descriptor is the channel's. */
    rc = memfd_map_peer(&made->client_memfd, client_memfd, made->client.memfd_bytes);
    if (rc != 0)
        goto close_made;
    channel_connect(made);
    *channel = made;
    return 0;

close_made:
    channel_close(made);
    return rc;
}

void channel_close(struct channel *channel)
{
    if (channel == NULL)
        return;
    memfd_close(&channel->client_memfd);
    memfd_close(&channel->engine_memfd);
    if (channel->doorbell >= 0)
        (void)close(channel->doorbell);
    arena_close(&channel->arena);
    kept_close(channel, channel->mapped_bytes);
}

int channel_engine_memfd(const struct channel *channel)
{
    return channel->engine_memfd.fd;
}

int channel_doorbell(const struct channel *channel)
{
    return channel->doorbell;
}

bool channel_is_collector(const struct channel *channel)
{
    return channel->collector;
}

uint64_t channel_arena_bytes(const struct channel *channel)
{
    return channel->engine.arena_bytes;
}

uint64_t channel_engine_memfd_bytes(const struct channel *channel)
{
    return channel->engine_memfd.bytes;
}
