/*
 * channel: the engine's side of one client's session: takes submissions, gives completions.
 * Ownership: channel_open() makes the engine's memfd and maps both; channel_close() unmaps and
 *            closes. The socket stays the caller's.
 * Threads:   the control thread opens and closes; in between one worker owns it.
 * Units:     slots and bytes; arena places are offsets in the engine's memfd.
 * Errors:    open gives -errno. A client that breaks the contract makes the channel broken: from
 *            then on it gives nothing, and the owner ends the session. The engine never asserts on
 *            client bytes and reads each of them once.
 *
 * A session is a submitter's, where each submission ends in one completion, or a collector's, where
 * the engine emits of its own accord and each emission ends in one DONE.
 */
#ifndef IPC_CHANNEL_H
#define IPC_CHANNEL_H

#include "base/macros.h"
#include "ipc/layout.h"
#include "ipc/memfd.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHANNEL_AHEAD_MAX   32
#define CHANNEL_AHEAD_PARTS 6

struct channel;

/* What the engine gives every client. */
struct channel_config {
    uint64_t arena_bytes;     /* output; a multiple of the page */
    uint64_t constants_bytes; /* room for two generations of constant spans */
    enum memfd_pages pages;   /* of the engine's memfd                      */
};

/* Why a session ended, for the counters. */
enum channel_fault {
    CHANNEL_SOUND,
    CHANNEL_BAD_INDEX,      /* tail or head moved by more than the ring holds      */
    CHANNEL_BAD_SUBMISSION, /* a slot's offsets, lengths or flags are out of range; a collector's
                             * that is no DONE, or a DONE while no emission is open       */
};

/* Checks seals and size of client_memfd (which it keeps from success on), makes the engine's. */
MUST_USE int channel_open(struct channel **channel, const struct ipc_hello *hello, int client_memfd,
                          int socket_fd, const struct channel_config *config);
void channel_close(struct channel *channel);

int channel_engine_memfd(const struct channel *channel);
int channel_doorbell(const struct channel *channel); /* eventfd that wakes the engine */
uint64_t channel_engine_memfd_bytes(const struct channel *channel);
uint64_t channel_arena_bytes(const struct channel *channel); /* of the output */
bool channel_is_collector(const struct channel *channel);

/* Worker's side. */
enum channel_fault channel_fault(const struct channel *channel);

/* Up to `count` submissions, copied and checked against the client's arena; their slots are given
 * back at once, their arena bytes when they complete. Never more are out than there are slots.
 * A collector's are DONEs, all of them, and no more than emissions are open. The caller checks that
 * request_id is the number of one that is open *here*, and ends the session if not: the channel
 * counts them and knows no numbers. It copies their texts before it takes the next burst; and when
 * the session ends it takes once more, until there are none: what was sent is not sent again. */
HOT uint32_t channel_take_burst(struct channel *channel, struct ipc_submission *submissions,
                                uint32_t count);
/* Copies up to `count` submissions that wait, ≤ CHANNEL_AHEAD_MAX: channel_take_burst() gives these
 * copies later. Returns how many sound ones stand there, for channel_prefetch_ahead(). */
HOT uint32_t channel_look_ahead(struct channel *channel, uint32_t count);
/* Something can be taken: one acquire load. */
HOT bool channel_pending(const struct channel *channel);

/* Copies from the client's arena: [mail_offset + skip, + bytes) or the same of the meta. The range
 * must lie inside the submission, which the channel has checked. */
HOT void channel_copy_mail(const struct channel *channel, const struct ipc_submission *submission,
                           size_t skip_bytes, uint8_t *dst, size_t bytes);
/* Where channel_copy_mail() would copy from: to have it brought close, never to read it. */
HOT const uint8_t *channel_mail_ahead(const struct channel *channel,
                                      const struct ipc_submission *submission, size_t skip_bytes);
HOT void channel_copy_meta(const struct channel *channel, const struct ipc_submission *submission,
                           uint8_t *dst);

/* The text of a DONE without refusals; what is not printable ASCII becomes '?'. Bytes written. The
 * refusals of one that has them are its meta. */
HOT uint32_t channel_copy_reply(const struct channel *channel,
                                const struct ipc_submission *submission,
                                char text[IPC_TEXT_BYTES_MAX]);

/* Has the processor fetch what the copies above will read: no read, a hint alone. */
HOT void channel_prefetch(const struct channel *channel, const struct ipc_submission *submission);
/* The same, into the second cache: one of CHANNEL_AHEAD_PARTS, so that other work can stand between
 * them. */
HOT void channel_prefetch_part(const struct channel *channel,
                               const struct ipc_submission *submission, uint32_t part);
/* That for the nth that channel_look_ahead() found. */
HOT void channel_prefetch_ahead(const struct channel *channel, uint32_t nth, uint32_t part);

/* Space in the output arena. take: false when full (try again after completions are released);
 * *at is writable, *offset is what a span says. trim and give as queue/extent.h. */
HOT bool channel_space_take(struct channel *channel, size_t bytes, uint64_t *offset, uint8_t **at);
HOT void channel_space_trim(struct channel *channel, uint64_t offset, size_t bytes,
                            size_t keep_bytes);
HOT void channel_space_give(struct channel *channel, uint64_t offset, size_t bytes);

/* The constant spans live in two halves: writes `bytes` into the half not in use and returns its
 * offset; -EBUSY while completions that point into it are unreleased; -EFBIG if they do not fit.
 * Messages taken and not yet completed are the caller's to count: none may point there any more. */
MUST_USE int channel_constants_write(struct channel *channel, const uint8_t *bytes_at, size_t bytes,
                                     uint64_t *offset);

/* Queues a completion; its arena range [space_offset, +space_bytes) is given back when the client
 * releases it (space_bytes 0: none). False when the completion ring is full. */
HOT bool channel_complete(struct channel *channel, const struct ipc_completion *completion,
                          uint64_t space_offset, size_t space_bytes);
/* The same with status IPC_EMIT, on a collector: request_id is a number that no open emission has,
 * spans and meta (the text) stand in the range. False when slots_count emissions are open, or as
 * many unreleased: try again after a DONE or a release, both of which ring. */
HOT bool channel_emit(struct channel *channel, const struct ipc_completion *emission,
                      uint64_t space_offset, size_t space_bytes);
/* Makes queued completions visible: one release store a burst; rings the client if it sleeps. */
HOT void channel_publish(struct channel *channel);
/* Takes note of completions that the client released; true if any were. */
HOT bool channel_reclaim(struct channel *channel);

/* Around a sleep. may_take: the owner would take a submission now; otherwise none of them prevents
 * the sleep or ends it, and what makes room must: a release when space is wanted, which rings, or
 * the owner's own doings. After true nothing of that kind is pending, and what comes will ring. */
bool channel_sleep(struct channel *channel, bool may_take);
void channel_awake(struct channel *channel);

/* Submissions taken and not completed; a collector's: emissions without a DONE. For draining. */
uint32_t channel_outstanding(const struct channel *channel);

#endif
