#include "mta/attachment.h"

#include "base/assert.h"
#include "ipc/meta.h"

#include <errno.h>
#include <string.h>

#define MAIL_ALIGN_BYTES CACHE_LINE
#define ID_INDEX_BITS    32

static uint64_t message_id(const struct bulla *bulla, uint32_t index)
{
    return (uint64_t)bulla->message[index].generation << ID_INDEX_BITS | index;
}

/* The message a reservation stands for. A made-up or used-up one is the caller's bug. */
static struct message *message_reserved(struct bulla *bulla,
                                        const struct bulla_reservation *reservation)
{
    const uint32_t index = (uint32_t)reservation->id;
    ASSERT(index < bulla->client.slots_count);
    struct message *message = &bulla->message[index];
    ASSERT(message_id(bulla, index) == reservation->id);
    ASSERT(message->state == MESSAGE_RESERVED);
    return message;
}

static int request_measure(const struct bulla *bulla, const struct bulla_request *request,
                           const struct meta_source *source, size_t *meta_bytes)
{
    if ((request->flags & ~BULLA_QUEUE) != 0)
        return -EINVAL;
    if (request->recipients_count > 0 && request->recipients == NULL)
        return -EINVAL;
    const int rc = meta_measure(source, meta_bytes);
    if (rc != 0)
        return rc;
    const uint64_t room_bytes = bulla->client.arena_bytes - IPC_META_BYTES_MAX;
    if (request->mail_bytes > IPC_MAIL_BYTES_MAX || request->mail_bytes > room_bytes)
        return -EMSGSIZE;
    return 0;
}

static const struct meta_options *request_options(const struct bulla_request *request,
                                                  struct meta_options *options)
{
    _Static_assert(BULLA_OPTION_SCRIPT == IPC_OPTION_SCRIPT, "bits pass as they are");
    _Static_assert(BULLA_OPTION_READ_BY == IPC_OPTION_READ_BY, "bits pass as they are");
    const struct bulla_options *wished = request->options;
    if (wished == NULL)
        return NULL;
    *options = (struct meta_options){.set = wished->set,
                                     .values = wished->values,
                                     .expires_after_s = wished->expires_after_s,
                                     .read_by_after_s = wished->read_by_after_s};
    return options;
}

int bulla_reserve(struct bulla *bulla, const struct bulla_request *request,
                  struct bulla_reservation *reservation)
{
    if (bulla->gone)
        return -EPIPE;
    const char *profile = request->profile;
    struct meta_options options;
    const struct meta_source source = {
        .options = request_options(request, &options),
        .profile = profile == NULL || profile[0] == '\0' ? "default" : profile,
        .sender = request->sender == NULL ? "" : request->sender,
        .recipients = request->recipients,
        .recipients_count = request->recipients_count,
    };
    size_t meta_bytes;
    const int rc = request_measure(bulla, request, &source, &meta_bytes);
    if (rc != 0)
        return rc;
    /* A slot is in use from its submission until head has passed its completion, which one that is
     * kept for long holds up for all later ones. */
    const uint32_t in_use = bulla->submissions.tail - bulla->head_given + bulla->reserved_count;
    if (in_use >= bulla->client.slots_count)
        return -EAGAIN;
    ASSERT(bulla->free_count > 0);
    const uint64_t mail_skip_bytes =
        (meta_bytes + MAIL_ALIGN_BYTES - 1) / MAIL_ALIGN_BYTES * MAIL_ALIGN_BYTES;
    const uint64_t space_bytes = mail_skip_bytes + request->mail_bytes;
    const uint64_t space_offset = arena_take(&bulla->arena, space_bytes);
    if (space_offset == ARENA_FULL)
        return -EAGAIN;

    const uint32_t index = bulla->free_indices[--bulla->free_count];
    struct message *message = &bulla->message[index];
    ASSERT(message->state == MESSAGE_NONE);
    message->user = request->user;
    message->space_offset = space_offset;
    message->space_bytes = space_bytes;
    message->mail_offset = space_offset + mail_skip_bytes;
    message->meta_bytes = (uint32_t)meta_bytes;
    message->mail_bytes = (uint32_t)request->mail_bytes;
    message->flags = request->flags;
    message->state = MESSAGE_RESERVED;
    bulla->reserved_count++;
    uint8_t *at = bulla->client_memfd.at;
    meta_write(&source, at + space_offset, meta_bytes);
    *reservation = (struct bulla_reservation){
        .mail = at + message->mail_offset,
        .mail_bytes = request->mail_bytes,
        .id = message_id(bulla, index),
    };
    return 0;
}

/* Room in our ring: the engine takes slots faster than it completes them, and never more are in
 * use than there are, so this is false only for an engine that has not looked yet. */
static int submissions_room(struct bulla *bulla)
{
    struct lane_writer *lane = &bulla->submissions;
    if (lane->tail - lane->released < lane->slots_count)
        return 0;
    uint32_t released = 0;
    if (!lane_released(lane, &released)) {
        bulla->gone = true;
        return -EPIPE;
    }
    lane->released += released;
    return lane->tail - lane->released < lane->slots_count ? 0 : -EAGAIN;
}

int attachment_submit(struct bulla *bulla, const struct ipc_submission *slot)
{
    const int rc = bulla->gone ? -EPIPE : submissions_room(bulla);
    if (rc != 0)
        return rc;
    lane_write(&bulla->submissions, slot);
    (void)lane_publish(&bulla->submissions);
    if ((lane_peer_sleeps(bulla->peer) & IPC_ASLEEP_TAIL) != 0)
        attachment_ring(bulla);
    return 0;
}

int bulla_submit(struct bulla *bulla, const struct bulla_reservation *reservation)
{
    struct message *message = message_reserved(bulla, reservation);
    _Static_assert(BULLA_QUEUE == IPC_SUBMIT_QUEUE, "flags pass as they are");
    const struct ipc_submission slot = {
        .request_id = reservation->id,
        .meta_offset = message->space_offset,
        .mail_offset = message->mail_offset,
        .meta_bytes = message->meta_bytes,
        .mail_bytes = message->mail_bytes,
        .flags = message->flags,
    };
    const int rc = attachment_submit(bulla, &slot);
    if (rc != 0)
        return rc;
    message->state = MESSAGE_SUBMITTED;
    bulla->reserved_count--;
    return 0;
}

static void message_free(struct bulla *bulla, struct message *message)
{
    arena_give(&bulla->arena, message->space_offset, message->space_bytes);
    message->state = MESSAGE_NONE;
    message->generation++;
    bulla->free_indices[bulla->free_count++] = (uint32_t)(message - bulla->message);
}

void bulla_cancel(struct bulla *bulla, const struct bulla_reservation *reservation)
{
    message_free(bulla, message_reserved(bulla, reservation));
    bulla->reserved_count--;
}

/* Completions are released in any order and given back in the ring's: head passes the released
 * ones that nothing unreleased stands before. */
void attachment_give_back(struct bulla *bulla, uint32_t completion_index)
{
    const uint32_t mask = bulla->completions.slots_count - 1;
    uint32_t bit = completion_index & mask;
    bulla->released[bit / 64] |= UINT64_C(1) << bit % 64;
    const uint32_t head_before = bulla->head_given;
    while (bulla->head_given != bulla->completions.head) {
        bit = bulla->head_given & mask;
        if ((bulla->released[bit / 64] >> bit % 64 & 1) == 0)
            break;
        bulla->released[bit / 64] &= ~(UINT64_C(1) << bit % 64);
        bulla->head_given++;
    }
    if (bulla->head_given == head_before)
        return;
    lane_give_back(bulla->own, bulla->head_given);
    if ((lane_peer_sleeps(bulla->peer) & IPC_ASLEEP_HEAD) != 0)
        attachment_ring(bulla);
}

void bulla_release(struct bulla *bulla, const struct bulla_completion *completion)
{
    const uint32_t index = (uint32_t)completion->id;
    ASSERT(index < bulla->client.slots_count);
    struct message *message = &bulla->message[index];
    ASSERT(message_id(bulla, index) == completion->id); /* not released before */
    ASSERT(message->state == MESSAGE_COMPLETED);
    attachment_give_back(bulla, message->completion_index);
    message_free(bulla, message);
}
