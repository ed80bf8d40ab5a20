#include "mta/attachment.h"

#include "base/assert.h"
#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define EMPTY_POLLS_PER_LOOK 256 /* a poller who never sleeps looks at the socket this often */
#define SPINS_PER_CLOCK      64  /* pauses between two readings of the clock                 */

/* The engine may be trusted with contents, not with addresses: a broken one must not crash us. */
static bool completion_is_sound(const struct bulla *bulla, const struct ipc_completion *slot)
{
    const struct geometry *engine = &bulla->engine;
    if (slot->status < IPC_SEALED || slot->status > IPC_RETRY)
        return false;
    if (slot->spans_count > IPC_SPANS_MAX || slot->text_bytes > IPC_TEXT_BYTES_MAX)
        return false;
    if ((slot->status == IPC_SEALED) != (slot->spans_count > 0))
        return false;
    if (slot->spans_count > 0 &&
        !geometry_inside(slot->spans_offset, slot->spans_count * sizeof(struct ipc_span),
                         engine->arena_offset, engine->arena_bytes))
        return false;
    if (slot->text_bytes > 0 && !geometry_inside(slot->text_offset, slot->text_bytes,
                                                 engine->arena_offset, engine->arena_bytes))
        return false;
    const uint32_t index = (uint32_t)slot->request_id;
    if (index >= bulla->client.slots_count)
        return false;
    const struct message *message = &bulla->message[index];
    return message->state == MESSAGE_SUBMITTED && message->generation == slot->request_id >> 32;
}

bool attachment_spans(const struct bulla *bulla, const struct ipc_completion *slot,
                      struct iovec mail[BULLA_SPANS_MAX])
{
    const struct geometry *engine = &bulla->engine;
    const uint64_t spans_start =
        engine->constants_bytes > 0 ? engine->constants_offset : engine->arena_offset;
    struct ipc_span spans[IPC_SPANS_MAX];
    const uint8_t *at = bulla->engine_memfd.at;
    memcpy(spans, at + slot->spans_offset, slot->spans_count * sizeof(spans[0]));
    uint64_t mail_bytes = 0;
    for (uint32_t n = 0; n < slot->spans_count; n++) {
        if (!geometry_inside(spans[n].offset, spans[n].bytes, spans_start,
                             engine->memfd_bytes - spans_start))
            return false;
        mail[n] = (struct iovec){
            .iov_base = (void *)(uintptr_t)(at + spans[n].offset),
            .iov_len = spans[n].bytes,
        };
        mail_bytes += spans[n].bytes;
    }
    return mail_bytes == slot->mail_bytes;
}

void attachment_id_text(const uint8_t id[16], char text[33])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t n = 0; n < 16; n++) {
        text[2 * n] = digits[id[n] >> 4];
        text[2 * n + 1] = digits[id[n] & 15];
    }
    text[32] = '\0';
}

static void completion_words(const struct bulla *bulla, const struct ipc_completion *slot,
                             struct message *message, struct bulla_completion *completion)
{
    if (slot->text_bytes > 0)
        memcpy(message->text, bulla->engine_memfd.at + slot->text_offset, slot->text_bytes);
    message->text[slot->text_bytes] = '\0';
    for (uint32_t n = 0; n < slot->text_bytes; n++) {
        if (message->text[n] < 0x20 || message->text[n] > 0x7e)
            message->text[n] = '?';
    }
    completion->text = message->text;
    completion->enhanced_status[0] = '\0';
    if (slot->enhanced_status[0] != 0)
        (void)snprintf(completion->enhanced_status, sizeof(completion->enhanced_status), "%u.%u.%u",
                       slot->enhanced_status[0], slot->enhanced_status[1],
                       slot->enhanced_status[2]);
    completion->envelope_id[0] = '\0';
    if (slot->status == IPC_SEALED || slot->status == IPC_QUEUED)
        attachment_id_text(slot->envelope_id, completion->envelope_id);
}

/* Takes the next waiting completion. False: the engine broke the contract. */
static bool completion_take(struct bulla *bulla, struct bulla_completion *completion)
{
    struct lane_reader *lane = &bulla->completions;
    struct ipc_completion slot;
    lane_copy(lane, 0, &slot);
    if (!completion_is_sound(bulla, &slot))
        return false;
    struct message *message = &bulla->message[(uint32_t)slot.request_id];
    *completion = (struct bulla_completion){
        .user = message->user,
        .status = (enum bulla_status)slot.status,
        .spans_count = slot.spans_count,
        .mail_bytes = slot.mail_bytes,
        .id = slot.request_id,
    };
    if (!attachment_spans(bulla, &slot, completion->spans))
        return false;
    completion_words(bulla, &slot, message, completion);
    message->completion_index = lane->head;
    message->state = MESSAGE_COMPLETED;
    lane->head++;
    return true;
}

uint32_t attachment_waiting(struct bulla *bulla)
{
    uint32_t waiting = 0;
    if (lane_waiting(&bulla->completions, &waiting))
        return waiting;
    bulla->gone = true;
    return 0;
}

static uint32_t completions_take(struct bulla *bulla, struct bulla_completion *completions,
                                 uint32_t completions_max)
{
    const uint32_t waiting = attachment_waiting(bulla); /* once: it grows under our eyes */
    const uint32_t count = MIN(waiting, completions_max);
    for (uint32_t n = 0; n < count; n++) {
        if (!completion_take(bulla, &completions[n])) {
            bulla->gone = true;
            return n;
        }
    }
    return count;
}

void attachment_arm(struct bulla *bulla)
{
    bulla->armed = true;
    lane_sleep(bulla->own, IPC_ASLEEP_TAIL);
}

void attachment_disarm(struct bulla *bulla)
{
    bulla->armed = false;
    lane_awake(bulla->own);
}

int bulla_fd(struct bulla *bulla)
{
    bulla->fd_wanted = true;
    if (!bulla->armed)
        attachment_arm(bulla);
    return bulla->socket_fd;
}

int bulla_poll(struct bulla *bulla, struct bulla_completion *completions, uint32_t completions_max)
{
    if (completions_max == 0)
        return 0;
    completions_max = MIN(completions_max, bulla->completions.slots_count);
    /* First the bell, then the ring: a completion after the drain rings again. */
    if (bulla->armed)
        attachment_drain(bulla);
    uint32_t count = completions_take(bulla, completions, completions_max);
    if (bulla->fd_wanted && !bulla->gone) {
        /* What came before the announcement is taken here, what comes after it rings. */
        attachment_arm(bulla);
        if (count < completions_max)
            count += completions_take(bulla, completions + count, completions_max - count);
    }
    if (count > 0) {
        bulla->empty_polls_count = 0;
        return (int)count;
    }
    if (!bulla->gone && ++bulla->empty_polls_count % EMPTY_POLLS_PER_LOOK == 0)
        attachment_drain(bulla);
    if (!bulla->gone)
        return 0;
    /* Its last words may have come between the look at the ring and the hang-up. */
    count = completions_take(bulla, completions, completions_max);
    return count > 0 ? (int)count : -EPIPE;
}

/* Busy for at most spin_us: true when a completion came. The time doubles when that helps and
 * halves when it does not, so an idle attachment goes to sleep almost at once. */
static bool attachment_spin(struct bulla *bulla)
{
    const uint64_t end_ns = clock_monotonic_ns() + bulla->spin_us * NS_PER_US;
    do {
        for (uint32_t n = 0; n < SPINS_PER_CLOCK; n++) {
            if (attachment_waiting(bulla) > 0) {
                bulla->spin_us = MIN(bulla->spin_us * 2, bulla->spin_us_max);
                return true;
            }
            __builtin_ia32_pause();
        }
    } while (clock_monotonic_ns() < end_ns && !bulla->gone);
    bulla->spin_us = MAX(bulla->spin_us / 2, UINT32_C(1));
    return false;
}

/* Sleeps until the socket stirs or end_ns; false when time is up. */
static bool attachment_sleep(const struct bulla *bulla, bool endless, uint64_t end_ns)
{
    struct pollfd bell = {.fd = bulla->socket_fd, .events = POLLIN};
    const uint64_t now_ns = clock_monotonic_ns();
    if (!endless && now_ns >= end_ns)
        return false;
    struct timespec left = {0};
    if (!endless)
        left = (struct timespec){.tv_sec = (time_t)((end_ns - now_ns) / NS_PER_S),
                                 .tv_nsec = (long)((end_ns - now_ns) % NS_PER_S)};
    /* A signal is a reason to look again. */
    return ppoll(&bell, 1, endless ? NULL : &left, NULL) != 0;
}

/* 1, 0 or -EPIPE as they stand, without waiting. */
static int attachment_look(struct bulla *bulla)
{
    if (attachment_waiting(bulla) > 0)
        return 1;
    return bulla->gone ? -EPIPE : 0;
}

int bulla_wait(struct bulla *bulla, int timeout_ms)
{
    const bool endless = timeout_ms < 0;
    const uint64_t end_ns = clock_monotonic_ns() + (endless ? 0 : (uint64_t)timeout_ms * NS_PER_MS);
    int rc = attachment_look(bulla);
    if (rc != 0)
        return rc;
    if (timeout_ms != 0 && attachment_spin(bulla))
        return 1;
    for (bool waiting = true; rc == 0 && waiting;) {
        attachment_arm(bulla);
        rc = attachment_look(bulla);
        if (rc != 0)
            break;
        waiting = attachment_sleep(bulla, endless, end_ns);
        attachment_drain(bulla);
        rc = attachment_look(bulla);
    }
    if (!bulla->fd_wanted)
        attachment_disarm(bulla);
    return rc;
}

size_t bulla_flatten(const struct bulla_completion *completion, uint8_t *dst, size_t dst_bytes)
{
    size_t written = 0;
    ASSERT(completion->spans_count <= BULLA_SPANS_MAX);
    for (uint32_t n = 0; n < completion->spans_count; n++) {
        const struct iovec *span = &completion->spans[n];
        ASSERT(span->iov_len <= dst_bytes - written);
        if (span->iov_len > 0)
            memcpy(dst + written, span->iov_base, span->iov_len);
        written += span->iov_len;
    }
    return written;
}
