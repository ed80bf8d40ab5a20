/*
 * collector: the inside of a struct bulla_collector: an attachment to each of the engine's workers.
 * Ownership: collect.c makes and frees it; collect_hot.c works on it.
 * Threads:   one at a time.
 * Units:     emissions, by their place in a session's completion ring.
 * Errors:    as bulla.h says.
 */
#ifndef MTA_COLLECTOR_H
#define MTA_COLLECTOR_H

#include "mta/attachment.h"

#define COLLECT_SESSIONS_MAX  256 /* more workers than any engine has */
#define COLLECT_SLOTS_DEFAULT 64

/* An emission that was polled: its addresses as C strings. Pages that no emission ever needed are
 * never touched. */
struct collect_emission {
    uint64_t number;           /* the engine's           */
    uint32_t completion_index; /* in the engine's ring   */
    bool open;                 /* polled, and not done   */
    const char *recipients[IPC_RECIPIENTS_MAX];
    uint8_t meta[IPC_META_BYTES_MAX + 1];
};

struct collect_session {
    struct bulla *link;
    struct collect_emission *emissions; /* slots_count */
};

struct bulla_collector {
    struct collect_session sessions[COLLECT_SESSIONS_MAX];
    uint32_t sessions_count;
    uint32_t turn;  /* the session that is polled first   */
    int epoll_fd;   /* of all sockets                     */
    bool fd_wanted; /* bulla_collect_fd() was called      */
    bool gone;      /* one session is                     */
    uint32_t empty_polls_count;
};

#endif
