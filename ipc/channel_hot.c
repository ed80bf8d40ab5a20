#include "ipc/channel_internal.h"

#include "base/assert.h"

#include <string.h>
#include <sys/socket.h>

#define CHANNEL_PREFETCH_BYTES 8192

/* Nothing above this line in program order is fetched again below it: a value that was copied
 * from the client's memory and checked stays the one that is used. */
static inline void read_once(void)
{
    __asm__ volatile("" ::: "memory");
}

static void channel_break(struct channel *channel, enum channel_fault fault)
{
    ASSERT(fault != CHANNEL_SOUND);
    if (channel->fault == CHANNEL_SOUND)
        channel->fault = fault;
}

static bool bytes_are_zero(const uint8_t *bytes, size_t count)
{
    uint8_t any = 0;
    for (size_t n = 0; n < count; n++)
        any |= bytes[n];
    return any == 0;
}

/* RFC 3463: the class says what the result says; or nothing is known. */
static bool done_agrees(uint8_t result, const uint8_t enhanced[3])
{
    static const uint8_t classes[] = {
        [IPC_DONE_SENT] = 2, [IPC_DONE_LATER] = 4, [IPC_DONE_REFUSED] = 5};
    if (result < IPC_DONE_SENT || result > IPC_DONE_REFUSED)
        return false;
    return enhanced[0] == classes[result] || bytes_are_zero(enhanced, 3);
}

/* What a collector submits. */
static bool done_is_sound(const struct channel *channel, const struct ipc_submission *submission)
{
    const struct geometry *client = &channel->client;
    const bool refusals = submission->flags == (IPC_SUBMIT_DONE | IPC_SUBMIT_REFUSALS);
    if ((submission->flags != IPC_SUBMIT_DONE && !refusals) ||
        !bytes_are_zero(submission->reserved, sizeof(submission->reserved)) ||
        !done_agrees(submission->done_result, submission->done_enhanced))
        return false;
    if (submission->mail_offset != 0 || submission->mail_bytes != 0 ||
        submission->meta_bytes > (refusals ? IPC_REFUSALS_BYTES_MAX : IPC_TEXT_BYTES_MAX))
        return false;
    if (refusals && submission->done_result != IPC_DONE_REFUSED)
        return false;
    if (submission->meta_bytes == 0)
        return submission->meta_offset == 0 && !refusals;
    return geometry_inside(submission->meta_offset, submission->meta_bytes, client->arena_offset,
                           client->arena_bytes);
}

/* The copy, never the slot. */
static bool submission_is_sound(const struct channel *channel,
                                const struct ipc_submission *submission)
{
    if (channel->collector)
        return done_is_sound(channel, submission);
    if (!bytes_are_zero(submission->reserved, sizeof(submission->reserved)) ||
        !bytes_are_zero(submission->done_enhanced, sizeof(submission->done_enhanced)) ||
        submission->done_result != 0 || (submission->flags & ~IPC_SUBMIT_QUEUE) != 0)
        return false;
    if (submission->meta_bytes > IPC_META_BYTES_MAX || submission->mail_bytes > IPC_MAIL_BYTES_MAX)
        return false;
    const struct geometry *client = &channel->client;
    return geometry_inside(submission->meta_offset, submission->meta_bytes, client->arena_offset,
                           client->arena_bytes) &&
           geometry_inside(submission->mail_offset, submission->mail_bytes, client->arena_offset,
                           client->arena_bytes);
}

HOT bool channel_pending(const struct channel *channel)
{
    if (channel->fault != CHANNEL_SOUND)
        return false;
    uint32_t waiting = 0;
    /* A bad tail is something to take: channel_take_burst() finds the fault. */
    return !lane_waiting(&channel->submissions, &waiting) || waiting > 0;
}

/* A slot is in use from its submission to its completion's release, so more than slots_count can
 * never be waiting, under way and unreleased together; nor can the completion ring overflow. */
static bool channel_can_hold(struct channel *channel, uint32_t waiting)
{
    const uint32_t slots_count = channel->submissions.slots_count;
    if (channel->submissions.head - channel->completions.released + waiting <= slots_count)
        return true;
    (void)channel_reclaim(channel);
    return channel->submissions.head - channel->completions.released + waiting <= slots_count;
}

/* False for one that breaks the contract. A copy that was made ahead was found sound then. */
static bool submission_read(const struct channel *channel, uint32_t nth,
                            struct ipc_submission *submission)
{
    const struct lane_reader *lane = &channel->submissions;
    if (nth < channel->ahead_end - lane->head) {
        *submission = channel->ahead[(lane->head + nth) % CHANNEL_AHEAD_MAX];
        return true;
    }
    lane_copy(lane, nth, submission);
    read_once();
    return submission_is_sound(channel, submission);
}

HOT uint32_t channel_take_burst(struct channel *channel, struct ipc_submission *submissions,
                                uint32_t count)
{
    if (channel->fault != CHANNEL_SOUND)
        return 0;
    struct lane_reader *lane = &channel->submissions;
    uint32_t waiting = 0;
    if (!lane_waiting(lane, &waiting) ||
        (!channel->collector && !channel_can_hold(channel, waiting))) {
        channel_break(channel, CHANNEL_BAD_INDEX);
        return 0;
    }
    if (channel->collector && waiting > channel->emissions_open) {
        channel_break(channel, CHANNEL_BAD_SUBMISSION);
        return 0;
    }
    const uint32_t taken = MIN(waiting, count);
    for (uint32_t n = 0; n < taken; n++) {
        if (!submission_read(channel, n, &submissions[n])) {
            channel_break(channel, CHANNEL_BAD_SUBMISSION);
            return 0;
        }
    }
    if (taken > 0) {
        if (channel->ahead_end - lane->head < taken)
            channel->ahead_end = lane->head + taken;
        lane->head += taken;
        lane_give_back(channel->own, lane->head);
        if (channel->collector)
            channel->emissions_open -= taken;
    }
    return taken;
}

HOT uint32_t channel_look_ahead(struct channel *channel, uint32_t count)
{
    const struct lane_reader *lane = &channel->submissions;
    uint32_t waiting = 0;
    ASSERT(count <= CHANNEL_AHEAD_MAX);
    /* A bad tail is the next take's to find. */
    if (channel->fault != CHANNEL_SOUND || !lane_waiting(lane, &waiting))
        return 0;
    count = MIN(count, waiting);
    for (uint32_t n = channel->ahead_end - lane->head; n < count; n++) {
        struct ipc_submission *copy = &channel->ahead[(lane->head + n) % CHANNEL_AHEAD_MAX];
        /* A bad one is the next take's to find too. */
        if (!submission_read(channel, n, copy))
            return n;
        channel->ahead_end++;
    }
    return count;
}

HOT void channel_copy_mail(const struct channel *channel, const struct ipc_submission *submission,
                           size_t skip_bytes, uint8_t *dst, size_t bytes)
{
    ASSERT(skip_bytes <= submission->mail_bytes);
    ASSERT(bytes <= submission->mail_bytes - skip_bytes);
    ASSERT(geometry_inside(submission->mail_offset, submission->mail_bytes,
                           channel->client.arena_offset, channel->client.arena_bytes));
    if (bytes > 0)
        memcpy(dst, channel->client_at + submission->mail_offset + skip_bytes, bytes);
    read_once();
}

HOT const uint8_t *channel_mail_ahead(const struct channel *channel,
                                      const struct ipc_submission *submission, size_t skip_bytes)
{
    ASSERT(skip_bytes <= submission->mail_bytes);
    return channel->client_at + submission->mail_offset + skip_bytes;
}

HOT void channel_copy_meta(const struct channel *channel, const struct ipc_submission *submission,
                           uint8_t *dst)
{
    ASSERT(geometry_inside(submission->meta_offset, submission->meta_bytes,
                           channel->client.arena_offset, channel->client.arena_bytes));
    if (submission->meta_bytes > 0)
        memcpy(dst, channel->client_at + submission->meta_offset, submission->meta_bytes);
    read_once();
}

HOT uint32_t channel_copy_reply(const struct channel *channel,
                                const struct ipc_submission *submission,
                                char text[IPC_TEXT_BYTES_MAX])
{
    ASSERT(submission->flags == IPC_SUBMIT_DONE);
    ASSERT(submission->meta_bytes <= IPC_TEXT_BYTES_MAX);
    if (submission->meta_bytes == 0)
        return 0;
    channel_copy_meta(channel, submission, (uint8_t *)text);
    for (uint32_t n = 0; n < submission->meta_bytes; n++) {
        if (text[n] < 0x20 || text[n] > 0x7e)
            text[n] = '?';
    }
    return submission->meta_bytes;
}

/* The addresses, and behind them the mail: libbulla writes one after the other. More than the first
 * few KiB would push out what is being worked on, and there the processor sees the pattern itself.
 */
HOT void channel_prefetch(const struct channel *channel, const struct ipc_submission *submission)
{
    const uint8_t *meta_at = channel->client_at + submission->meta_offset;
    const uint8_t *mail_at = channel->client_at + submission->mail_offset;
    const size_t bytes = MIN(submission->mail_bytes, (uint32_t)CHANNEL_PREFETCH_BYTES);
    __builtin_prefetch(meta_at);
    for (size_t n = 0; n < bytes; n += CACHE_LINE)
        __builtin_prefetch(mail_at + n);
}

HOT void channel_prefetch_part(const struct channel *channel,
                               const struct ipc_submission *submission, uint32_t part)
{
    ASSERT(part < CHANNEL_AHEAD_PARTS);
    const uint8_t *mail_at = channel->client_at + submission->mail_offset;
    const size_t bytes = MIN(submission->mail_bytes, (uint32_t)CHANNEL_PREFETCH_BYTES);
    const size_t from = bytes * part / CHANNEL_AHEAD_PARTS;
    const size_t to = bytes * (part + 1) / CHANNEL_AHEAD_PARTS;
    if (part == 0)
        __builtin_prefetch(channel->client_at + submission->meta_offset, 0, 2);
    for (size_t n = from & ~(size_t)(CACHE_LINE - 1); n < to; n += CACHE_LINE)
        __builtin_prefetch(mail_at + n, 0, 2);
}

HOT void channel_prefetch_ahead(const struct channel *channel, uint32_t nth, uint32_t part)
{
    const uint32_t head = channel->submissions.head;
    ASSERT(nth < channel->ahead_end - head);
    channel_prefetch_part(channel, &channel->ahead[(head + nth) % CHANNEL_AHEAD_MAX], part);
}

HOT bool channel_space_take(struct channel *channel, size_t bytes, uint64_t *offset, uint8_t **at)
{
    const uint64_t place = arena_take(&channel->arena, bytes);
    if (place == ARENA_FULL) {
        channel->space_wanted = true;
        return false;
    }
    *offset = place;
    *at = channel->engine_at + place;
    return true;
}

HOT void channel_space_trim(struct channel *channel, uint64_t offset, size_t bytes,
                            size_t keep_bytes)
{
    arena_trim(&channel->arena, offset, bytes, keep_bytes);
}

HOT void channel_space_give(struct channel *channel, uint64_t offset, size_t bytes)
{
    arena_give(&channel->arena, offset, bytes);
}

/* Which halves of the constants a sealed mail points into. The table is the engine's own. */
static void channel_count_halves(struct channel *channel, const struct ipc_completion *completion,
                                 struct channel_held *held)
{
    ASSERT(completion->spans_count <= IPC_SPANS_MAX);
    if (completion->spans_count == 0)
        return;
    const struct geometry *engine = &channel->engine;
    struct ipc_span spans[IPC_SPANS_MAX];
    const size_t table_bytes = completion->spans_count * sizeof(spans[0]);
    ASSERT(geometry_inside(completion->spans_offset, table_bytes, engine->arena_offset,
                           engine->arena_bytes));
    memcpy(spans, channel->engine_at + completion->spans_offset, table_bytes);
    uint64_t mail_bytes = 0;
    for (uint32_t n = 0; n < completion->spans_count; n++) {
        mail_bytes += spans[n].bytes;
        if (geometry_inside(spans[n].offset, spans[n].bytes, engine->arena_offset,
                            engine->arena_bytes))
            continue;
        ASSERT(geometry_inside(spans[n].offset, spans[n].bytes, engine->constants_offset,
                               engine->constants_bytes));
        const uint64_t place = spans[n].offset - engine->constants_offset;
        held->halves[place < channel_half_bytes(channel) ? 0 : 1] = true;
    }
    ASSERT(mail_bytes == completion->mail_bytes);
    for (uint32_t half = 0; half < CHANNEL_HALVES; half++)
        channel->half_refs[half] += held->halves[half];
}

/* False while the ring is full. */
static bool channel_queue(struct channel *channel, const struct ipc_completion *completion,
                          uint64_t space_offset, size_t space_bytes)
{
    struct lane_writer *lane = &channel->completions;
    if (lane->tail - lane->released == lane->slots_count)
        (void)channel_reclaim(channel);
    if (lane->tail - lane->released == lane->slots_count) {
        channel->space_wanted = true;
        return false;
    }
    struct channel_held held = {.space_bytes = space_bytes};
    if (space_bytes > 0) {
        ASSERT(geometry_inside(space_offset, space_bytes, channel->engine.arena_offset,
                               channel->engine.arena_bytes));
        held.space_offset = space_offset;
    }
    channel_count_halves(channel, completion, &held);
    channel->held[lane->tail & (lane->slots_count - 1)] = held;
    lane_write(lane, completion);
    return true;
}

HOT bool channel_complete(struct channel *channel, const struct ipc_completion *completion,
                          uint64_t space_offset, size_t space_bytes)
{
    ASSERT(!channel->collector && completion->status != IPC_EMIT);
    ASSERT(channel_outstanding(channel) > 0); /* one completion for each submission */
    return channel_queue(channel, completion, space_offset, space_bytes);
}

HOT bool channel_emit(struct channel *channel, const struct ipc_completion *emission,
                      uint64_t space_offset, size_t space_bytes)
{
    const struct geometry *engine = &channel->engine;
    ASSERT(channel->collector && emission->status == IPC_EMIT);
    ASSERT(emission->emission >= IPC_EMISSION_MAIL &&
           emission->emission <= IPC_EMISSION_NOTIFICATION);
    ASSERT(emission->spans_count > 0 && emission->text_bytes <= IPC_META_BYTES_MAX);
    ASSERT(geometry_inside(emission->text_offset, emission->text_bytes, engine->arena_offset,
                           engine->arena_bytes));
    if (channel->emissions_open == channel->completions.slots_count)
        return false;
    if (!channel_queue(channel, emission, space_offset, space_bytes))
        return false;
    channel->emissions_open++;
    return true;
}

HOT void channel_publish(struct channel *channel)
{
    if (channel->fault != CHANNEL_SOUND || !lane_publish(&channel->completions))
        return;
    if ((lane_peer_sleeps(channel->peer) & IPC_ASLEEP_TAIL) == 0)
        return;
    /* Never blocks. Full means that the client has unread bytes and is awake or will be; any other
     * failure is the hang-up that the socket's owner sees as well. */
    const uint8_t ring = 0;
    const ssize_t sent = send(channel->socket_fd, &ring, sizeof(ring), MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)sent;
}

HOT bool channel_reclaim(struct channel *channel)
{
    if (channel->fault != CHANNEL_SOUND)
        return false;
    struct lane_writer *lane = &channel->completions;
    uint32_t released = 0;
    if (!lane_released(lane, &released)) {
        channel_break(channel, CHANNEL_BAD_INDEX);
        return false;
    }
    for (uint32_t n = 0; n < released; n++) {
        const struct channel_held *held = &channel->held[lane->released & (lane->slots_count - 1)];
        if (held->space_bytes > 0)
            arena_give(&channel->arena, held->space_offset, held->space_bytes);
        for (uint32_t half = 0; half < CHANNEL_HALVES; half++)
            channel->half_refs[half] -= held->halves[half];
        lane->released++;
    }
    if (released > 0)
        channel->space_wanted = false;
    return released > 0;
}
