/*
 * control_internal: what the files of engine/control share: the sessions, and what ends them.
 * Ownership: as engine/control.h says.
 * Threads:   the main thread.
 * Units:     as engine/control.h says.
 * Errors:    -errno, as said at each call.
 */
#ifndef ENGINE_CONTROL_INTERNAL_H
#define ENGINE_CONTROL_INTERNAL_H

#include "engine/control.h"
#include "engine/errand.h"
#include "engine/spread.h"
#include "ipc/channel.h"
#include "ipc/session.h"

#include <sys/types.h>

#define CONTROL_COLLECTORS_MAX 4 /* of one worker, all users together */

/* What an epoll event is about: a session's index, or one of these. */
enum control_event {
    EVENT_LISTENER = CONTROL_SESSIONS_MAX,
    EVENT_SIGNAL,
    EVENT_NOTICE,
};

enum session_state {
    SESSION_FREE,
    SESSION_HELLO,   /* connected; has CONTROL_HELLO_NS_MAX to say who it is            */
    SESSION_COMMAND, /* asks in text                                                    */
    SESSION_LIVE,    /* its worker owns the channel                                     */
    SESSION_ENDING,  /* its worker was told to drop it; closed when released            */
};

struct session {
    enum session_state state;
    int fd;
    uint32_t id; /* never used twice */
    uint32_t worker;
    uint64_t hello_until_ns;
    bool operates;  /* may use `bulla queue` */
    bool collector; /* it submits nothing, so it is no share of its worker's load */
    struct channel *channel;
    uint64_t memory_bytes; /* of both memfds */
    pid_t pid;
    uid_t uid;
};

/* The one command of `bulla queue` that is under way, with one worker after the other. */
struct queue_run {
    bool busy;
    uint32_t session; /* who asked */
    uint32_t worker;  /* who has the errand */
    uint64_t flushed_count;
    struct waiting_stats stats;
    struct errand errand;
};

struct control {
    struct engine *engine;
    struct session_listener listener;
    int epoll_fd;
    int signal_fd;
    struct session sessions[CONTROL_SESSIONS_MAX];
    uint32_t sessions_count;
    struct spread spread;
    uint64_t memory_bytes; /* of all sessions */
    uint64_t memory_bytes_max;
    uint32_t next_id;
    uint32_t drained_count;
    uint64_t drain_until_ns;
    uint64_t watchdog_ns; /* 0: nobody watches */
    uint64_t watchdog_due_ns;
    bool listening;
    bool draining;
    uint64_t evict_ns; /* while reload_due: when sessions must make room */
    struct queue_run queue;
    bool reload_due; /* a reload that found no place: tried again at each tick */
};

/* control_session.c */
MUST_USE int control_watch(const struct control *control, int fd, uint32_t what);
MUST_USE bool control_tell(struct control *control, uint32_t worker,
                           const struct worker_order *order);
void control_accept(struct control *control, uint64_t now_ns);
void control_sample(const struct control *control,
                    struct spread_sample samples[CONFIG_WORKERS_MAX]);
void control_session_event(struct control *control, struct session *session);
struct session *session_find(struct control *control, uint32_t id);
/* Starts the end: the socket stays open until the worker has let go, which may still ring it. */
void session_end(struct control *control, struct session *session, const char *reason);
/* The last of a session; its worker no longer knows it. */
void session_forget(struct control *control, struct session *session);

/* control_command.c: answers what stands in the session's socket. */
void session_command(struct control *control, struct session *session);
/* In packets of a bounded size; the reader joins them until the JSON is whole. */
MUST_USE int session_say(const struct session *session, const char *text);

/* control_queue.c: a command after "queue "; -errno when the session does not read its refusal. */
MUST_USE int queue_command(struct control *control, struct session *session, const char *text);
/* The errand has come back. */
void queue_hear(struct control *control);

#endif
