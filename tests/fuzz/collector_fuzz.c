/* fuzz: links channel_steps ipc */
/*
 * Slots, indices and texts of a hostile collector: no DONE counts that no emission is open for,
 * each text is printable, and every range that was emitted comes back.
 */
#include "base/assert.h"
#include "ipc/channel.h"
#include "ipc/refusals.h"
#include "tests/fuzz/channel_steps.h"

#include <errno.h>
#include <string.h>

#define EMIT_BYTES 3000

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
        const bool refusals = burst[n].flags == (IPC_SUBMIT_DONE | IPC_SUBMIT_REFUSALS);
        ASSERT(refusals || burst[n].flags == IPC_SUBMIT_DONE);
        ASSERT(burst[n].done_result >= IPC_DONE_SENT && burst[n].done_result <= IPC_DONE_REFUSED);
        if (refusals) {
            struct refusals read;
            uint8_t bytes[IPC_REFUSALS_BYTES_MAX];
            ASSERT(burst[n].done_result == IPC_DONE_REFUSED);
            channel_copy_meta(channel, &burst[n], bytes);
            const int rc = refusals_read(&read, bytes, burst[n].meta_bytes);
            ASSERT(rc == 0 || rc == -EBADMSG);
            continue;
        }
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

static struct ipc_submission honest_done(const struct geometry *geometry)
{
    return (struct ipc_submission){.meta_offset = geometry->arena_offset,
                                   .meta_bytes = 64,
                                   .flags = IPC_SUBMIT_DONE,
                                   .done_result = IPC_DONE_LATER,
                                   .done_enhanced = {4, 7, 1}};
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes_at, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *bytes_at, size_t bytes)
{
    static const struct channel_steps steps = {
        .kind = IPC_KIND_COLLECTOR, .honest = honest_done, .pass = engine_pass};
    channel_steps_run(&steps, bytes_at, bytes);
    return 0;
}
