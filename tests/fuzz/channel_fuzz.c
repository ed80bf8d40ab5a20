/* fuzz: links channel_steps ipc */
/*
 * Slots, indices and arena bytes of a hostile client, against the engine's side of a session: what
 * the channel hands on must lie inside the client's arena, and every range must be readable.
 */
#include "base/assert.h"
#include "ipc/channel.h"
#include "ipc/meta.h"
#include "tests/fuzz/channel_steps.h"

#define MAIL_PEEK 4096 /* as much of a mail as is copied from each end */

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

static void engine_pass(struct channel *channel, uint64_t number)
{
    (void)number;
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

static struct ipc_submission honest_submission(const struct geometry *geometry)
{
    return (struct ipc_submission){.meta_offset = geometry->arena_offset,
                                   .mail_offset = geometry->arena_offset,
                                   .meta_bytes = 64,
                                   .mail_bytes = 4096};
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes_at, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *bytes_at, size_t bytes)
{
    static const struct channel_steps steps = {
        .kind = IPC_KIND_SUBMITTER, .honest = honest_submission, .pass = engine_pass};
    channel_steps_run(&steps, bytes_at, bytes);
    return 0;
}
