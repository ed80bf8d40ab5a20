/*
 * echo_spool: what the echo engine has taken over: kept in memory, emitted to whoever collects.
 * Ownership: echo_spool_fini() frees the messages that were not done.
 * Threads:   the echo engine's worker; the counters any.
 * Units:     messages; sessions are the echo engine's indices.
 * Errors:    false, as said at each call.
 *
 * A message that is DONE later is emitted again at once, one that is refused becomes a notification
 * to its sender, and one whose session ended without a DONE is emitted to the next collector.
 */
#ifndef TESTS_MTA_ECHO_SPOOL_H
#define TESTS_MTA_ECHO_SPOOL_H

#include "ipc/channel.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define ECHO_KEPT_MAX 512
#define ECHO_NOTICE                                                                                \
    "the mail was refused\r\n" /* then a line for each recipient that was, if told */
#define ECHO_NOTICE_BYTES_MAX 8192

enum echo_kept_state {
    ECHO_KEPT_NONE,
    ECHO_KEPT_WAITING,
    ECHO_KEPT_OPEN, /* emitted, not done */
};

struct echo_kept {
    enum echo_kept_state state;
    enum ipc_emission emission;
    uint64_t number;
    uint32_t session;
    uint32_t meta_bytes;
    uint32_t mail_bytes;
    uint8_t *bytes_at; /* meta, then mail */
};

struct echo_spool {
    uint64_t numbers_count;
    struct echo_kept kept[ECHO_KEPT_MAX];
    _Atomic uint64_t emitted;
    _Atomic uint64_t emitted_again; /* since their session ended */
    _Atomic uint64_t sent;
    _Atomic uint64_t later;
    _Atomic uint64_t refused;
    _Atomic uint32_t reply_enhanced; /* of the last DONE: class << 16 | subject << 8 | detail */
    pthread_mutex_t reply_mutex;
    char reply[IPC_TEXT_BYTES_MAX + 1];
};

/* Any thread: the text of the last DONE. */
void echo_spool_reply(struct echo_spool *spool, char reply[IPC_TEXT_BYTES_MAX + 1]);

void echo_spool_init(struct echo_spool *spool);
void echo_spool_fini(struct echo_spool *spool);
/* Takes a copy; false when there is no room for it. */
bool echo_spool_keep(struct echo_spool *spool, const struct channel *channel,
                     const struct ipc_submission *submission);
/* As many as the channel takes; how many that was. */
uint32_t echo_spool_emit(struct echo_spool *spool, struct channel *channel, uint32_t session);
/* False: no emission of that number is open in this session. */
bool echo_spool_done(struct echo_spool *spool, const struct channel *channel, uint32_t session,
                     const struct ipc_submission *done);
/* What the session has not done waits again. */
void echo_spool_end(struct echo_spool *spool, uint32_t session);

#endif
