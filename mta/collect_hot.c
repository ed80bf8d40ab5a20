#include "mta/collector.h"

#include "base/assert.h"
#include "base/clock.h"
#include "ipc/meta.h"
#include "ipc/refusals.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>

#define COLLECT_EVENTS_MAX   64
#define EMPTY_POLLS_PER_LOOK 256 /* a poller who never sleeps looks at the sockets this often */
#define EMISSION_INDEX_BITS  32

/* As poll_hot.c: the engine may be trusted with contents, not with addresses. */
static bool emission_is_sound(const struct bulla *link, const struct ipc_completion *slot)
{
    const struct geometry *engine = &link->engine;
    if (slot->status != IPC_EMIT || slot->spans_count == 0 || slot->spans_count > IPC_SPANS_MAX)
        return false;
    if (slot->emission != IPC_EMISSION_MAIL && slot->emission != IPC_EMISSION_NOTIFICATION)
        return false;
    return slot->text_bytes <= IPC_META_BYTES_MAX &&
           geometry_inside(slot->spans_offset, slot->spans_count * sizeof(struct ipc_span),
                           engine->arena_offset, engine->arena_bytes) &&
           geometry_inside(slot->text_offset, slot->text_bytes, engine->arena_offset,
                           engine->arena_bytes);
}

/* The addresses become C strings where they stand: each one's end is the length of the next, which
 * has been read by then, and behind the last is a byte to spare. */
static bool emission_addresses(struct collect_emission *own, size_t meta_bytes,
                               struct bulla_emission *emission)
{
    struct meta meta;
    if (meta_read(&meta, own->meta, meta_bytes) != 0)
        return false;
    uint8_t *const at = own->meta;
    uint32_t offset = 0;
    const uint8_t *address;
    uint16_t address_bytes;
    size_t end = 0;
    for (uint32_t n = 0; meta_recipient(&meta, &offset, &address, &address_bytes); n++) {
        if (n > 0)
            at[end] = '\0';
        end = (size_t)(address - at) + address_bytes;
        own->recipients[n] = (const char *)address;
    }
    at[end] = '\0';
    at[(size_t)(meta.profile - at) + meta.profile_bytes] = '\0';
    at[(size_t)(meta.sender - at) + meta.sender_bytes] = '\0';
    emission->profile = (const char *)meta.profile;
    emission->sender = (const char *)meta.sender;
    emission->recipients = own->recipients;
    emission->recipients_count = meta.recipients_count;
    return true;
}

/* Takes the next waiting emission of a session. False: the engine broke the contract. */
static bool emission_take(struct bulla_collector *collector, uint32_t session_index,
                          struct bulla_emission *emission)
{
    struct collect_session *session = &collector->sessions[session_index];
    struct bulla *link = session->link;
    struct lane_reader *lane = &link->completions;
    struct ipc_completion slot;
    lane_copy(lane, 0, &slot);
    struct collect_emission *own = &session->emissions[lane->head & (lane->slots_count - 1)];
    /* Still open: the engine wrote over a slot that it was not given back. */
    if (!emission_is_sound(link, &slot) || own->open)
        return false;
    *emission = (struct bulla_emission){
        .kind = (enum bulla_emission_kind)slot.emission,
        .spans_count = slot.spans_count,
        .mail_bytes = slot.mail_bytes,
        .id = (uint64_t)session_index << EMISSION_INDEX_BITS | lane->head,
    };
    memcpy(own->meta, link->engine_memfd.at + slot.text_offset, slot.text_bytes);
    if (!attachment_spans(link, &slot, emission->spans) ||
        !emission_addresses(own, slot.text_bytes, emission))
        return false;
    attachment_id_text(slot.envelope_id, emission->envelope_id);
    own->number = slot.request_id;
    own->completion_index = lane->head;
    own->open = true;
    lane->head++;
    return true;
}

static uint32_t session_take(struct bulla_collector *collector, uint32_t session_index,
                             struct bulla_emission *emissions, uint32_t emissions_max)
{
    struct bulla *link = collector->sessions[session_index].link;
    const uint32_t waiting = attachment_waiting(link); /* once: it grows under our eyes */
    const uint32_t count = MIN(waiting, emissions_max);
    uint32_t taken = 0;
    while (taken < count && emission_take(collector, session_index, &emissions[taken]))
        taken++;
    link->gone = link->gone || taken < count;
    collector->gone = collector->gone || link->gone;
    return taken;
}

/* Of each session in turn; the next poll begins with another one. */
static uint32_t collector_take(struct bulla_collector *collector, struct bulla_emission *emissions,
                               uint32_t emissions_max)
{
    uint32_t taken = 0;
    uint32_t turn = collector->turn;
    for (uint32_t n = 0; n < collector->sessions_count && taken < emissions_max; n++) {
        taken += session_take(collector, turn, emissions + taken, emissions_max - taken);
        turn = turn + 1 < collector->sessions_count ? turn + 1 : 0;
    }
    collector->turn = turn;
    return taken;
}

static bool collector_waits(struct bulla_collector *collector)
{
    bool waits = false;
    for (uint32_t n = 0; n < collector->sessions_count; n++) {
        waits = attachment_waiting(collector->sessions[n].link) > 0 || waits;
        collector->gone = collector->gone || collector->sessions[n].link->gone;
    }
    return waits;
}

/* Takes the wake-ups, and sees who has hung up. False when nothing came until time was up. */
static bool collector_drain(struct bulla_collector *collector, int timeout_ms)
{
    struct epoll_event events[COLLECT_EVENTS_MAX];
    const int count = epoll_wait(collector->epoll_fd, events, COLLECT_EVENTS_MAX, timeout_ms);
    for (int n = 0; n < count; n++) {
        ASSERT(events[n].data.u32 < collector->sessions_count);
        struct bulla *link = collector->sessions[events[n].data.u32].link;
        attachment_drain(link);
        collector->gone = collector->gone || link->gone;
    }
    return count != 0; /* a signal is a reason to look again */
}

static void collector_arm(struct bulla_collector *collector)
{
    for (uint32_t n = 0; n < collector->sessions_count; n++)
        attachment_arm(collector->sessions[n].link);
}

int bulla_collect_fd(struct bulla_collector *collector)
{
    if (!collector->fd_wanted)
        collector_arm(collector);
    collector->fd_wanted = true;
    return collector->epoll_fd;
}

int bulla_collect_poll(struct bulla_collector *collector, struct bulla_emission *emissions,
                       uint32_t emissions_max)
{
    if (emissions_max == 0)
        return 0;
    emissions_max = MIN(emissions_max, (uint32_t)INT32_MAX);
    /* First the bells, then the rings: an emission after the drain rings again. */
    const bool look = ++collector->empty_polls_count % EMPTY_POLLS_PER_LOOK == 0;
    if (collector->fd_wanted || look)
        (void)collector_drain(collector, 0);
    if (collector->gone)
        return -EPIPE; /* what stands in the rings is still the engine's, and comes again */
    uint32_t count = collector_take(collector, emissions, emissions_max);
    if (collector->fd_wanted && count < emissions_max) {
        /* What came before the announcement is taken here, what comes after it rings. */
        collector_arm(collector);
        count += collector_take(collector, emissions + count, emissions_max - count);
    }
    if (count > 0)
        collector->empty_polls_count = 0;
    return count == 0 && collector->gone ? -EPIPE : (int)count;
}

/* Milliseconds until then, rounded up; -1: no end. */
static int left_ms(bool endless, uint64_t end_ns)
{
    if (endless)
        return -1;
    const uint64_t now_ns = clock_monotonic_ns();
    return now_ns >= end_ns ? 0 : (int)((end_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS);
}

int bulla_collect_wait(struct bulla_collector *collector, int timeout_ms)
{
    const bool endless = timeout_ms < 0;
    const uint64_t end_ns = clock_monotonic_ns() + (endless ? 0 : (uint64_t)timeout_ms * NS_PER_MS);
    bool waits = collector_waits(collector);
    for (bool in_time = true; !waits && !collector->gone && in_time;) {
        collector_arm(collector);
        waits = collector_waits(collector);
        if (waits || collector->gone)
            break;
        in_time = collector_drain(collector, left_ms(endless, end_ns));
        waits = collector_waits(collector);
    }
    for (uint32_t n = 0; !collector->fd_wanted && n < collector->sessions_count; n++)
        attachment_disarm(collector->sessions[n].link);
    return collector->gone ? -EPIPE : waits ? 1 : 0;
}

/* "5.1.1" of the result's class; else nothing. */
static void enhanced_read(const char *text, enum bulla_emit_result result, uint8_t enhanced[3])
{
    static const uint8_t classes[] = {
        [BULLA_EMIT_SENT] = 2, [BULLA_EMIT_LATER] = 4, [BULLA_EMIT_REFUSED] = 5};
    uint32_t numbers[3] = {0};
    uint32_t part = 0;
    uint32_t digits = 0;
    memset(enhanced, 0, 3);
    for (; text != NULL && *text != '\0'; text++) {
        if (*text >= '0' && *text <= '9' && digits < 3) {
            numbers[part] = numbers[part] * 10 + (uint32_t)(*text - '0');
            digits++;
        } else if (*text == '.' && digits > 0 && part < 2) {
            part++;
            digits = 0;
        } else {
            return;
        }
    }
    if (part != 2 || digits == 0 || numbers[0] != classes[result] || numbers[1] > UINT8_MAX ||
        numbers[2] > UINT8_MAX)
        return;
    for (size_t n = 0; n < 3; n++)
        enhanced[n] = (uint8_t)numbers[n];
}

/* The first line of `text` as printable ASCII; bytes written. */
static uint32_t reply_write(const char *text, uint8_t *dst)
{
    uint32_t bytes = 0;
    while (text != NULL && bytes < IPC_TEXT_BYTES_MAX && text[bytes] != '\0' &&
           text[bytes] != '\r' && text[bytes] != '\n') {
        const char byte = text[bytes];
        dst[bytes++] = byte >= 0x20 && byte <= 0x7e ? (uint8_t)byte : '?';
    }
    return bytes;
}

/* The emission's own record. A made-up or used-up one is the caller's bug. */
static struct collect_emission *emission_open(const struct bulla_collector *collector, uint64_t id)
{
    const uint64_t session_index = id >> EMISSION_INDEX_BITS;
    ASSERT(session_index < collector->sessions_count);
    const struct collect_session *session = &collector->sessions[session_index];
    const uint32_t mask = session->link->completions.slots_count - 1;
    struct collect_emission *own = &session->emissions[(uint32_t)id & mask];
    ASSERT(own->open);
    ASSERT(own->completion_index == (uint32_t)id);
    return own;
}

/* Where the next DONE's text or refusals stand. */
static uint64_t said_offset(const struct bulla *link)
{
    const uint32_t place = link->submissions.tail & (2 * link->client.slots_count - 1);
    return link->client.arena_offset + (uint64_t)place * IPC_REFUSALS_BYTES_MAX;
}

static int emission_end(struct bulla_collector *collector, struct bulla *link,
                        struct collect_emission *own, const struct ipc_submission *slot)
{
    own->open = false;
    const int rc = attachment_submit(link, slot);
    attachment_give_back(link, own->completion_index);
    if (rc == 0)
        return 0;
    /* No more DONEs can wait than emissions are open, so room there is: else it is broken. */
    link->gone = true;
    collector->gone = true;
    return -EPIPE;
}

int bulla_collect_done(struct bulla_collector *collector, const struct bulla_emission *emission,
                       enum bulla_emit_result result, const char *enhanced_status, const char *text)
{
    ASSERT(result >= BULLA_EMIT_SENT && result <= BULLA_EMIT_REFUSED);
    struct collect_emission *own = emission_open(collector, emission->id);
    struct bulla *link = collector->sessions[emission->id >> EMISSION_INDEX_BITS].link;
    const uint64_t offset = said_offset(link);
    struct ipc_submission slot = {
        .request_id = own->number,
        .flags = IPC_SUBMIT_DONE,
        .done_result = (uint8_t)result,
    };
    enhanced_read(enhanced_status, result, slot.done_enhanced);
    slot.meta_bytes = reply_write(text, link->client_memfd.at + offset);
    slot.meta_offset = slot.meta_bytes > 0 ? offset : 0;
    return emission_end(collector, link, own, &slot);
}

int bulla_collect_refused(struct bulla_collector *collector, const struct bulla_emission *emission,
                          const struct bulla_refusal *refusals, uint32_t refusals_count)
{
    ASSERT(refusals_count > 0);
    struct collect_emission *own = emission_open(collector, emission->id);
    struct bulla *link = collector->sessions[emission->id >> EMISSION_INDEX_BITS].link;
    const uint64_t offset = said_offset(link);
    struct refusals_draft draft;
    refusals_begin(&draft, emission->recipients_count);
    for (uint32_t n = 0; n < refusals_count; n++) {
        uint8_t enhanced[3];
        enhanced_read(refusals[n].enhanced_status, BULLA_EMIT_REFUSED, enhanced);
        refusals_add(&draft, refusals[n].recipient, enhanced, refusals[n].text);
    }
    const struct ipc_submission slot = {
        .request_id = own->number,
        .meta_offset = offset,
        .meta_bytes = refusals_write(&draft, link->client_memfd.at + offset),
        .flags = IPC_SUBMIT_DONE | IPC_SUBMIT_REFUSALS,
        .done_result = IPC_DONE_REFUSED,
    };
    return emission_end(collector, link, own, &slot);
}
