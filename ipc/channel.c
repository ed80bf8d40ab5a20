#include "ipc/channel_internal.h"

#include "base/assert.h"

#include <errno.h>
#include <string.h>

enum channel_fault channel_fault(const struct channel *channel)
{
    return channel->fault;
}

int channel_constants_write(struct channel *channel, const uint8_t *bytes_at, size_t bytes,
                            uint64_t *offset)
{
    const uint64_t half_bytes = channel_half_bytes(channel);
    if (bytes > half_bytes)
        return -EFBIG;
    const uint32_t half = channel->half_current == 0 ? 1 : 0;
    if (channel->half_refs[half] > 0)
        (void)channel_reclaim(channel);
    if (channel->half_refs[half] > 0) {
        channel->space_wanted = true;
        return -EBUSY;
    }
    const uint64_t half_offset = channel->engine.constants_offset + half * half_bytes;
    if (bytes > 0)
        memcpy(channel->engine_at + half_offset, bytes_at, bytes);
    channel->half_current = half;
    *offset = half_offset;
    return 0;
}

/* Looks after announcing: whatever came before the announcement is seen here, whatever comes
 * after it rings. */
bool channel_sleep(struct channel *channel, bool may_take)
{
    if (channel->fault != CHANNEL_SOUND)
        return true; /* nothing more will be taken; the owner ends the session */
    lane_sleep(channel->own,
               (may_take ? IPC_ASLEEP_TAIL : 0) | (channel->space_wanted ? IPC_ASLEEP_HEAD : 0));
    uint32_t released = 0;
    const bool pending = may_take && channel_pending(channel);
    /* A bad head counts as something to look at: channel_reclaim() finds the fault. */
    const bool freed = !lane_released(&channel->completions, &released) || released > 0;
    if (pending || (freed && channel->space_wanted)) {
        lane_awake(channel->own);
        return false;
    }
    return true;
}

void channel_awake(struct channel *channel)
{
    lane_awake(channel->own);
}

uint32_t channel_outstanding(const struct channel *channel)
{
    if (channel->collector)
        return channel->emissions_open;
    return channel->submissions.head - channel->completions.tail;
}
