#include "tests/mta/echo_spool.h"

#include "base/assert.h"
#include "ipc/meta.h"
#include "ipc/refusals.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void kept_free(struct echo_kept *kept)
{
    free(kept->bytes_at);
    *kept = (struct echo_kept){.state = ECHO_KEPT_NONE};
}

void echo_spool_init(struct echo_spool *spool)
{
    const int rc = pthread_mutex_init(&spool->reply_mutex, NULL);
    ASSERT(rc == 0);
}

void echo_spool_fini(struct echo_spool *spool)
{
    for (uint32_t n = 0; n < ECHO_KEPT_MAX; n++)
        kept_free(&spool->kept[n]);
    (void)pthread_mutex_destroy(&spool->reply_mutex);
}

void echo_spool_reply(struct echo_spool *spool, char reply[IPC_TEXT_BYTES_MAX + 1])
{
    (void)pthread_mutex_lock(&spool->reply_mutex);
    memcpy(reply, spool->reply, sizeof(spool->reply));
    (void)pthread_mutex_unlock(&spool->reply_mutex);
}

bool echo_spool_keep(struct echo_spool *spool, const struct channel *channel,
                     const struct ipc_submission *submission)
{
    uint32_t place = 0;
    while (place < ECHO_KEPT_MAX && spool->kept[place].state != ECHO_KEPT_NONE)
        place++;
    if (place == ECHO_KEPT_MAX)
        return false;
    uint8_t *at = malloc((size_t)submission->meta_bytes + submission->mail_bytes);
    ASSERT(at != NULL);
    struct meta meta;
    channel_copy_meta(channel, submission, at);
    const int rc = meta_read(&meta, at, submission->meta_bytes);
    ASSERT(rc == 0); /* the same bytes were read a moment ago, and an honest client leaves them */
    /* What is emitted has no options. */
    const size_t meta_bytes = (size_t)(meta.recipients - at) + meta.recipients_bytes;
    channel_copy_mail(channel, submission, 0, at + meta_bytes, submission->mail_bytes);
    spool->kept[place] = (struct echo_kept){
        .state = ECHO_KEPT_WAITING,
        .emission = IPC_EMISSION_MAIL,
        .number = ++spool->numbers_count,
        .meta_bytes = (uint32_t)meta_bytes,
        .mail_bytes = submission->mail_bytes,
        .bytes_at = at,
    };
    return true;
}

/* Its table, its meta and its mail in one range; false when the channel has no room. */
static bool kept_emit(const struct echo_kept *kept, struct channel *channel)
{
    struct ipc_span span = {.bytes = kept->mail_bytes};
    const size_t bytes = sizeof(span) + kept->meta_bytes + kept->mail_bytes;
    uint64_t offset;
    uint8_t *at;
    if (!channel_space_take(channel, bytes, &offset, &at))
        return false;
    span.offset = (uint32_t)(offset + sizeof(span) + kept->meta_bytes);
    memcpy(at, &span, sizeof(span));
    memcpy(at + sizeof(span), kept->bytes_at, (size_t)kept->meta_bytes + kept->mail_bytes);
    struct ipc_completion emission = {
        .request_id = kept->number,
        .status = IPC_EMIT,
        .spans_count = 1,
        .spans_offset = (uint32_t)offset,
        .text_offset = (uint32_t)(offset + sizeof(span)),
        .text_bytes = kept->meta_bytes,
        .mail_bytes = kept->mail_bytes,
        .emission = (uint8_t)kept->emission,
    };
    memset(emission.envelope_id, (int)kept->number, sizeof(emission.envelope_id));
    if (channel_emit(channel, &emission, offset, bytes))
        return true;
    channel_space_give(channel, offset, bytes);
    return false;
}

uint32_t echo_spool_emit(struct echo_spool *spool, struct channel *channel, uint32_t session)
{
    uint32_t emitted = 0;
    for (uint32_t n = 0; n < ECHO_KEPT_MAX; n++) {
        struct echo_kept *kept = &spool->kept[n];
        if (kept->state != ECHO_KEPT_WAITING)
            continue;
        if (!kept_emit(kept, channel))
            break;
        kept->state = ECHO_KEPT_OPEN;
        kept->session = session;
        emitted++;
    }
    atomic_fetch_add(&spool->emitted, emitted);
    return emitted;
}

/* A line for each recipient that was refused: its address, status and what was said. */
static size_t refusals_print(const struct channel *channel, const struct ipc_submission *done,
                             const struct meta *meta, char text[ECHO_NOTICE_BYTES_MAX])
{
    uint8_t bytes[IPC_REFUSALS_BYTES_MAX];
    struct refusals refusals;
    const uint8_t *address;
    uint16_t address_bytes;
    uint32_t offset = 0;
    int used = snprintf(text, ECHO_NOTICE_BYTES_MAX, "%s", ECHO_NOTICE);
    if ((done->flags & IPC_SUBMIT_REFUSALS) == 0)
        return (size_t)used;
    channel_copy_meta(channel, done, bytes);
    const int rc = refusals_read(&refusals, bytes, done->meta_bytes);
    ASSERT(rc == 0 && refusals.recipients_count == meta->recipients_count);
    for (uint32_t n = 0; meta_recipient(meta, &offset, &address, &address_bytes); n++) {
        if (refusals.which[n] == 0)
            continue;
        const struct refusals_reply *reply = &refusals.replies[refusals.which[n] - 1];
        used +=
            snprintf(text + used, (size_t)(ECHO_NOTICE_BYTES_MAX - used), "%.*s %u.%u.%u %.*s\r\n",
                     address_bytes, (const char *)address, reply->enhanced[0], reply->enhanced[1],
                     reply->enhanced[2], reply->text_bytes, reply->text);
        ASSERT(used < ECHO_NOTICE_BYTES_MAX);
    }
    return (size_t)used;
}

/* From the null sender to the sender; none has no sender. */
static void kept_notify(struct echo_kept *kept, const struct channel *channel,
                        const struct ipc_submission *done)
{
    char text[ECHO_NOTICE_BYTES_MAX];
    struct meta meta;
    char sender[IPC_ADDRESS_BYTES_MAX + 1] = "";
    const int read = meta_read(&meta, kept->bytes_at, kept->meta_bytes);
    ASSERT(read == 0);
    if (kept->emission == IPC_EMISSION_NOTIFICATION || meta.sender_bytes == 0) {
        kept_free(kept);
        return;
    }
    memcpy(sender, meta.sender, meta.sender_bytes);
    const char *const recipients[] = {sender};
    const struct meta_source source = {
        .profile = "default", .sender = "", .recipients = recipients, .recipients_count = 1};
    size_t meta_bytes;
    const int measured = meta_measure(&source, &meta_bytes);
    ASSERT(measured == 0);
    const size_t text_bytes = refusals_print(channel, done, &meta, text);
    uint8_t *at = malloc(meta_bytes + text_bytes);
    ASSERT(at != NULL);
    meta_write(&source, at, meta_bytes);
    memcpy(at + meta_bytes, text, text_bytes);
    free(kept->bytes_at);
    kept->bytes_at = at;
    kept->meta_bytes = (uint32_t)meta_bytes;
    kept->mail_bytes = (uint32_t)text_bytes;
    kept->emission = IPC_EMISSION_NOTIFICATION;
    kept->state = ECHO_KEPT_WAITING;
}

bool echo_spool_done(struct echo_spool *spool, const struct channel *channel, uint32_t session,
                     const struct ipc_submission *done)
{
    uint32_t place = 0;
    while (place < ECHO_KEPT_MAX &&
           (spool->kept[place].state != ECHO_KEPT_OPEN ||
            spool->kept[place].number != done->request_id || spool->kept[place].session != session))
        place++;
    if (place == ECHO_KEPT_MAX)
        return false;
    struct echo_kept *kept = &spool->kept[place];
    (void)pthread_mutex_lock(&spool->reply_mutex);
    const bool text = (done->flags & IPC_SUBMIT_REFUSALS) == 0;
    spool->reply[text ? channel_copy_reply(channel, done, spool->reply) : 0] = '\0';
    (void)pthread_mutex_unlock(&spool->reply_mutex);
    atomic_store(&spool->reply_enhanced, (uint32_t)done->done_enhanced[0] << 16 |
                                             (uint32_t)done->done_enhanced[1] << 8 |
                                             done->done_enhanced[2]);
    switch ((enum ipc_done)done->done_result) {
    case IPC_DONE_SENT:
        kept_free(kept);
        atomic_fetch_add(&spool->sent, 1);
        break;
    case IPC_DONE_LATER:
        kept->state = ECHO_KEPT_WAITING;
        atomic_fetch_add(&spool->later, 1);
        break;
    case IPC_DONE_REFUSED:
        kept_notify(kept, channel, done);
        atomic_fetch_add(&spool->refused, 1);
        break;
    }
    return true;
}

void echo_spool_end(struct echo_spool *spool, uint32_t session)
{
    for (uint32_t n = 0; n < ECHO_KEPT_MAX; n++) {
        struct echo_kept *kept = &spool->kept[n];
        if (kept->state != ECHO_KEPT_OPEN || kept->session != session)
            continue;
        kept->state = ECHO_KEPT_WAITING;
        atomic_fetch_add(&spool->emitted_again, 1);
    }
}
