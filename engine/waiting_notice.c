#include "engine/waiting_internal.h"

#include "base/bytes.h"
#include "base/log.h"
#include "envelope/notice.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define NOTICE_TRIES_MAX 8 /* what the disk does not read by then is damaged */

static uint8_t *notice_in(const struct waiting *waiting, uint32_t slot)
{
    return waiting->notice_pages + slot * (waiting->notice_in_bytes + WAITING_NOTICE_BYTES);
}

static uint8_t *notice_out(const struct waiting *waiting, uint32_t slot)
{
    return notice_in(waiting, slot) + waiting->notice_in_bytes;
}

/* Large ones go back to the system: pages are whole, since both parts are. */
static void pages_rest(uint8_t *at, size_t used)
{
    if (used > WAITING_KEEP_BYTES)
        (void)madvise(at + WAITING_KEEP_BYTES, used - WAITING_KEEP_BYTES, MADV_DONTNEED);
}

static void notice_give(struct waiting *waiting, uint32_t slot)
{
    struct waiting_notice *notice = &waiting->notices[slot];
    pages_rest(notice_in(waiting, slot), notice->in_used);
    pages_rest(notice_out(waiting, slot), notice->out_used);
    *notice = (struct waiting_notice){.entry = WAITING_NONE};
}

static void notice_give_text(struct waiting *waiting, uint32_t index)
{
    struct waiting_entry *entry = &waiting->entries[index];
    if (entry->slot != WAITING_NONE)
        emit_give(waiting, entry->slot);
    entry->slot = WAITING_NONE;
}

static void notice_log(const struct waiting *waiting, uint32_t index, enum log_level level,
                       const char *event)
{
    static const char *const words[NOTICE_REASON_COUNT] = {
        [NOTICE_AWAY] = "its time is over",
        [NOTICE_KEY_REFUSED] = "the key service refuses its key",
        [NOTICE_REFUSED] = "the mail server refuses it",
        [NOTICE_DAMAGED] = "it is damaged",
    };
    const struct waiting_entry *entry = &waiting->entries[index];
    char hex[ID_HEX_CHARS];
    id_to_hex(hex, &entry->id);
    log_line(level, event, "id=%.*s why=\"%s\"", ID_HEX_CHARS, hex, words[entry->reason]);
}

/* Not even its addresses can be read: a person decides. */
static void notice_lost(struct waiting *waiting, uint32_t slot)
{
    const uint32_t index = waiting->notices[slot].entry;
    if (waiting_tells(waiting, WAITING_LOG_LOST))
        notice_log(waiting, index, LOG_LEVEL_ERROR, "message_lost");
    notice_give(waiting, slot);
    notice_give_text(waiting, index);
    row_enter(waiting, index, WAITING_LOST);
}

/* The disk may do another time what it did not do now. */
static void notice_later(struct waiting *waiting, uint32_t slot)
{
    const uint32_t index = waiting->notices[slot].entry;
    notice_give(waiting, slot);
    row_pause(waiting, index);
}

static void notice_none(struct waiting *waiting, uint32_t slot)
{
    const uint32_t index = waiting->notices[slot].entry;
    if (waiting_tells(waiting, WAITING_LOG_ENDED))
        notice_log(waiting, index, LOG_LEVEL_WARNING, "message_ended");
    waiting->counts.expired++;
    notice_give(waiting, slot);
    notice_give_text(waiting, index);
    row_forget(waiting, index);
}

/* From the null sender to who sent the mail. */
static uint32_t head_write(uint8_t *dst, const struct meta *meta)
{
    const struct spool_head head = {
        .meta_bytes = 8U + meta->profile_bytes + meta->sender_bytes,
    };
    spool_head_write(dst, &head);
    uint8_t *at = dst + SPOOL_HEAD_FIXED_BYTES;
    bytes_store_le16(at, meta->profile_bytes);
    memcpy(at + 2, meta->profile, meta->profile_bytes);
    at += 2 + meta->profile_bytes;
    bytes_store_le16(at, 0);
    bytes_store_le16(at + 2, 1);
    bytes_store_le16(at + 4, meta->sender_bytes);
    memcpy(at + 6, meta->sender, meta->sender_bytes);
    return SPOOL_HEAD_FIXED_BYTES + head.meta_bytes;
}

static const struct notice *notice_of(const struct waiting *waiting, const struct meta *meta)
{
    const struct snapshot *snapshot = waiting->config.ops->snapshot(waiting->config.user);
    const struct snapshot_profile *profile =
        snapshot_find(snapshot, meta->profile, meta->profile_bytes);
    if (profile == NULL)
        profile = snapshot_find(snapshot, NULL, 0);
    return profile == NULL ? snapshot->profiles[0].notice : profile->notice;
}

/* Who was refused, when the mail server has taken the mail for the others. One that says so of
 * another number of recipients than there are is not believed: all of them are named. */
static void notice_refusals(const struct refusals *refusals, const struct meta *meta,
                            struct notice_reply replies[IPC_REPLIES_MAX],
                            struct notice_message *message)
{
    _Static_assert(IPC_REPLY_BYTES_MAX <= NOTICE_REMOTE_BYTES_MAX, "a reply is a remote's text");
    if (refusals->recipients_count != meta->recipients_count)
        return;
    for (uint32_t n = 0; n < refusals->replies_count; n++) {
        replies[n] = (struct notice_reply){.text = refusals->replies[n].text,
                                           .text_bytes = refusals->replies[n].text_bytes};
        memcpy(replies[n].enhanced, refusals->replies[n].enhanced, sizeof(replies[n].enhanced));
    }
    message->which = refusals->which;
    message->which_count = refusals->recipients_count;
    message->replies = replies;
}

/* What is written in the mail's place; false: it does not fit. */
static bool notice_make(struct waiting *waiting, uint32_t slot, const struct spool_head *head)
{
    struct waiting_notice *notice = &waiting->notices[slot];
    const struct waiting_entry *entry = &waiting->entries[notice->entry];
    const struct waiting_emit *said =
        entry->slot == WAITING_NONE ? NULL : &waiting->emits[entry->slot];
    char remote[NOTICE_REMOTE_BYTES_MAX + 1] = "";
    struct refusals refusals;
    struct notice_reply replies[IPC_REPLIES_MAX];
    struct notice_message message = {
        .id = &entry->id,
        .reason = (enum notice_reason)entry->reason,
        .sender = head->meta.sender,
        .sender_bytes = head->meta.sender_bytes,
        .recipients = head->meta.recipients,
        .recipients_bytes = head->meta.recipients_bytes,
        .arrived_unix_ms = entry->arrived_unix_ms,
        .ended_unix_ms = waiting->now_unix_ns / NS_PER_MS,
        .outer = notice_in(waiting, slot) + entry->head_bytes,
        .outer_bytes = notice->head_only ? 0 : entry->body_bytes,
    };
    if (said != NULL) {
        memcpy(remote, said->text, MIN(said->text_bytes, (uint32_t)NOTICE_REMOTE_BYTES_MAX));
        message.remote_text = remote;
        memcpy(message.enhanced, entry->enhanced, sizeof(message.enhanced));
        if (emit_refusals(waiting, entry->slot, &refusals))
            notice_refusals(&refusals, &head->meta, replies, &message);
    }
    uint8_t *out = notice_out(waiting, slot);
    const struct notice *text = notice_of(waiting, &head->meta);
    notice->head_bytes = head_write(out, &head->meta);
    const size_t room = WAITING_NOTICE_BYTES - notice->head_bytes;
    if (notice_bytes_max(text, &message) > room)
        return false;
    notice->body_bytes = (uint32_t)notice_write(text, &message, out + notice->head_bytes, room);
    notice->out_used = (size_t)notice->head_bytes + notice->body_bytes;
    return true;
}

static bool notice_put(struct waiting *waiting, uint32_t slot)
{
    const struct waiting_notice *notice = &waiting->notices[slot];
    const struct waiting_entry *entry = &waiting->entries[notice->entry];
    const uint8_t *out = notice_out(waiting, slot);
    struct spool_record record = {
        .kind = SPOOL_NOTICE,
        .arrived_unix_ms = entry->arrived_unix_ms,
        .head = out,
        .head_bytes = notice->head_bytes,
        .spans_count = 1,
        .spans = {{.at = out + notice->head_bytes, .bytes = notice->body_bytes}},
        .replaces = entry->place,
    };
    memcpy(record.id, entry->id.bytes, sizeof(record.id));
    waiting->touched = true;
    return spool_put(waiting->spool, &record, WAITING_TAG(TAG_NOTICE, slot));
}

static void notice_read(struct waiting *waiting, uint32_t slot, int error)
{
    struct waiting_notice *notice = &waiting->notices[slot];
    const struct waiting_entry *entry = &waiting->entries[notice->entry];
    struct spool_head head;
    int rc = error;
    if (rc == 0)
        rc = spool_head_read(&head, notice_in(waiting, slot), entry->head_bytes);
    else if (entry->tries >= NOTICE_TRIES_MAX)
        rc = -EBADMSG;
    if (rc == -EBADMSG && !notice->head_only) {
        notice->head_only = true;
        waiting->touched = true;
        if (!spool_read_head(waiting->spool, entry->place, notice_in(waiting, slot),
                             entry->head_bytes, WAITING_TAG(TAG_NOTICE, slot)))
            notice_later(waiting, slot);
        return;
    }
    if (rc == -EBADMSG)
        notice_lost(waiting, slot);
    else if (rc != 0)
        notice_later(waiting, slot);
    else if ((entry->flags & ENTRY_NOTICE) != 0 || !head.notify || head.meta.sender_bytes == 0)
        notice_none(waiting, slot);
    else if (!notice_make(waiting, slot, &head))
        notice_none(waiting, slot);
    /* What is replaced must not be marked after that. */
    else if (entry->marks_count > 0 || !notice_put(waiting, slot))
        notice_later(waiting, slot);
}

/* It has the mail's place now, and is emitted like one. */
static void notice_stored(struct waiting *waiting, uint32_t slot, uint64_t place)
{
    const struct waiting_notice *notice = &waiting->notices[slot];
    const uint32_t index = notice->entry;
    struct waiting_entry *entry = &waiting->entries[index];
    if (waiting_tells(waiting, WAITING_LOG_TOLD))
        notice_log(waiting, index, LOG_LEVEL_WARNING, "sender_notified");
    waiting->counts.expired++;
    entry->place = place;
    entry->head_bytes = notice->head_bytes;
    entry->body_bytes = notice->body_bytes;
    entry->end_unix_ms = 0;
    entry->tries = 0;
    entry->flags &= ENTRY_HELD;
    entry->flags |= ENTRY_NOTICE;
    notice_give(waiting, slot);
    notice_give_text(waiting, index);
    row_enter(waiting, index, WAITING_READY);
    row_settle(waiting, index);
}

void notice_event(struct waiting *waiting, const struct spool_event *event, uint32_t slot)
{
    ASSERT(waiting->notices[slot].entry != WAITING_NONE);
    if (event->kind == SPOOL_READ)
        notice_read(waiting, slot, event->error);
    else if (event->kind == SPOOL_STORED)
        notice_stored(waiting, slot, event->place);
    else
        notice_later(waiting, slot);
}

static bool notice_begin(struct waiting *waiting, uint32_t slot)
{
    struct waiting_notice *notice = &waiting->notices[slot];
    const uint32_t index = waiting->lists[LIST_FAILING].first;
    const struct waiting_entry *entry = &waiting->entries[index];
    const size_t bytes = (size_t)entry->head_bytes + entry->body_bytes;
    const uint64_t tag = WAITING_TAG(TAG_NOTICE, slot);
    const bool whole = bytes <= waiting->notice_in_bytes;
    const bool begun =
        whole ? spool_read_all(waiting->spool, entry->place, notice_in(waiting, slot), bytes, tag)
              : spool_read_head(waiting->spool, entry->place, notice_in(waiting, slot),
                                entry->head_bytes, tag);
    if (!begun)
        return false;
    waiting->touched = true;
    *notice = (struct waiting_notice){
        .entry = index, .head_only = !whole, .in_used = whole ? bytes : entry->head_bytes};
    row_unlist(waiting, index);
    return true;
}

uint32_t notices_run(struct waiting *waiting, uint32_t budget)
{
    uint32_t done = 0;
    for (uint32_t slot = 0; slot < WAITING_NOTICES_MAX && done < budget; slot++) {
        if (waiting->lists[LIST_FAILING].count == 0)
            break;
        if (waiting->notices[slot].entry != WAITING_NONE)
            continue;
        if (!notice_begin(waiting, slot))
            break;
        done++;
    }
    return done;
}
