#include "engine/control.h"

#include "base/assert.h"
#include "base/log.h"
#include "engine/node.h"
#include "engine/spread.h"
#include "engine/status.h"
#include "ipc/channel.h"
#include "ipc/session.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define CONTROL_TICK_MS       500
#define CONTROL_EVENTS_MAX    64
#define CONTROL_ACCEPTS_MAX   32 /* a pass */
#define CONTROL_NOTICES_MAX   64 /* of one worker, at a time */
#define CONTROL_HELLO_NS_MAX  (5 * NS_PER_S)
#define CONTROL_COMMAND_BYTES 256
#define CONTROL_PACKET_BYTES  (32 * 1024)
#define CONTROL_CONSTANTS_MIN (UINT64_C(1) << 20)
#define CONTROL_ARENA_FIXED   (UINT64_C(1) << 20) /* header, templates, slack of one mail    */
#define CONTROL_ARENA_SLOT    (UINT64_C(64) << 10)
#define CONTROL_GROUP_BYTES   16384
#define CONTROL_EVICT_NS      (5 * NS_PER_S) /* that a reload waits for a place of its own accord */
#define CONTROL_STOP_S        20             /* after the drain, for threads and memory to end */

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
    struct channel *channel;
    uint64_t memory_bytes; /* of both memfds */
    pid_t pid;
    uid_t uid;
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
    bool reload_due;   /* a reload that found no place: tried again at each tick */
};

static int control_watch(const struct control *control, int fd, uint32_t what)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data = {.u32 = what}};
    return epoll_ctl(control->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0 ? -errno : 0;
}

static void control_count(struct control *control)
{
    atomic_store_explicit(&control->engine->sessions, control->sessions_count,
                          memory_order_relaxed);
}

static bool control_tell(struct control *control, uint32_t worker, const struct worker_order *order)
{
    return worker_tell(control->engine->workers[worker], order);
}

/* The last of a session; its worker no longer knows it. */
static void session_forget(struct control *control, struct session *session)
{
    channel_close(session->channel);
    (void)close(session->fd);
    log_line(LOG_LEVEL_DEBUG, "session_closed", "session=%u", session->id);
    control->memory_bytes -= session->memory_bytes;
    *session = (struct session){.state = SESSION_FREE, .fd = -1};
    control->sessions_count--;
    control_count(control);
}

/* Starts the end: the socket stays open until the worker has let go, which may still ring it. */
static void session_end(struct control *control, struct session *session, const char *reason)
{
    const struct worker_order order = {.kind = WORKER_DROP, .session = session->id};
    if (session->state == SESSION_ENDING)
        return;
    (void)epoll_ctl(control->epoll_fd, EPOLL_CTL_DEL, session->fd, NULL);
    if (session->state != SESSION_LIVE) {
        session_forget(control, session);
        return;
    }
    log_line(LOG_LEVEL_INFO, "session_end", "session=%u reason=\"%s\"", session->id, reason);
    (void)shutdown(session->fd, SHUT_RDWR);
    session->state = SESSION_ENDING;
    spread_leave(&control->spread, session->worker);
    /* An adopt and a drop for each of 256 sessions always fit. */
    const bool told = control_tell(control, session->worker, &order);
    ASSERT(told);
}

static bool control_allows(const struct control *control, const struct session_peer *peer)
{
    const struct config_engine *wish = &control->engine->config.engine;
    if (peer->uid == 0 || peer->uid == geteuid())
        return true;
    for (uint32_t i = 0; i < wish->allow_uids_count; i++) {
        if (wish->allow_uids[i] == peer->uid)
            return true;
    }
    for (uint32_t i = 0; i < wish->allow_gids_count; i++) {
        if (session_peer_in_group(peer, wish->allow_gids[i]))
            return true;
    }
    return false;
}

static struct session *session_take(struct control *control)
{
    for (uint32_t i = 0; i < CONTROL_SESSIONS_MAX; i++) {
        if (control->sessions[i].state == SESSION_FREE)
            return &control->sessions[i];
    }
    return NULL;
}

static void control_admit(struct control *control, int fd, const struct session_peer *peer,
                          uint64_t now_ns)
{
    if (!control_allows(control, peer)) {
        log_line(LOG_LEVEL_WARNING, "session_denied",
                 "pid=%d uid=%u mend=\"add the user to allow_users or allow_groups\"",
                 (int)peer->pid, (unsigned)peer->uid);
        session_decline(fd, EACCES);
        (void)close(fd);
        return;
    }
    struct session *session = control->draining ? NULL : session_take(control);
    if (session == NULL) {
        session_decline(fd, EAGAIN);
        (void)close(fd);
        return;
    }
    *session = (struct session){.state = SESSION_HELLO,
                                .fd = fd,
                                .id = control->next_id++,
                                .hello_until_ns = now_ns + CONTROL_HELLO_NS_MAX,
                                .pid = peer->pid,
                                .uid = peer->uid};
    control->sessions_count++;
    control_count(control);
    if (control_watch(control, fd, (uint32_t)(session - control->sessions)) != 0)
        session_forget(control, session);
}

static void control_accept(struct control *control, uint64_t now_ns)
{
    struct session_peer peer;
    int fd;
    for (uint32_t n = 0; n < CONTROL_ACCEPTS_MAX; n++) {
        const int rc = session_accept(control->listener.fd, &fd, &peer);
        if (rc == 0)
            control_admit(control, fd, &peer, now_ns);
        else if (rc == -EMFILE || rc == -ENFILE)
            log_line(LOG_LEVEL_ERROR, "accept", "mend=\"raise the limit of open files\"");
        if (rc != 0)
            return;
    }
}

static void control_sample(const struct control *control,
                           struct spread_sample samples[CONFIG_WORKERS_MAX])
{
    for (uint32_t i = 0; i < control->engine->workers_count; i++)
        samples[i] = (struct spread_sample){
            .busy_ns = worker_counter(control->engine->workers[i], COUNTER_BUSY_NS),
            .jobs = worker_counter(control->engine->workers[i], COUNTER_JOBS)};
}

/* docs/engine/memory.md has both sums. The constants have room for two generations, each twice as
 * large as today's; the arena holds, sealed, all that the client's own arena can hold at once, and
 * at least one such mail. */
static struct channel_config session_memory(const struct control *control,
                                            const struct ipc_hello *hello)
{
    const struct engine *engine = control->engine;
    const uint64_t blob = engine->snapshots[engine->snapshots_count - 1]->constants_bytes;
    const uint64_t sealed = hello->arena_bytes + hello->arena_bytes * 2 / 5;
    const uint64_t arena =
        MIN(engine->config.engine.output_arena_bytes,
            sealed + hello->slots_count * CONTROL_ARENA_SLOT + CONTROL_ARENA_FIXED);
    return (struct channel_config){
        .arena_bytes = (arena + IPC_PAGE_BYTES - 1) / IPC_PAGE_BYTES * IPC_PAGE_BYTES,
        .constants_bytes =
            MIN(MAX(4 * blob, CONTROL_CONSTANTS_MIN), 2 * (uint64_t)SNAPSHOT_CONSTANTS_MAX),
    };
}

static int session_check_limits(const struct control *control, const struct session *session,
                                uint64_t memory_bytes)
{
    uint32_t same = 0;
    for (uint32_t i = 0; i < CONTROL_SESSIONS_MAX; i++) {
        const struct session *other = &control->sessions[i];
        const bool counts = other->state == SESSION_LIVE || other->state == SESSION_ENDING;
        same += counts && other->uid == session->uid;
    }
    if (same >= control->engine->config.engine.sessions_per_user)
        return -EUSERS;
    return memory_bytes > control->memory_bytes_max - control->memory_bytes ? -ENOMEM : 0;
}

/* What an administrator can do about a refusal. */
static const char *session_mend(int rc)
{
    if (rc == -EUSERS)
        return "raise sessions_per_user";
    if (rc == -ENOMEM)
        return "raise session_memory, or have clients take less input";
    return "use the libbulla of this version";
}

/* All that the engine has of the session is on its worker's node. */
static int session_map(const struct control *control, struct session *session,
                       const struct ipc_hello *hello, int memfd,
                       const struct channel_config *config)
{
    const struct placement *placement = &control->engine->placement;
    struct node_stay stay;
    node_enter(&stay, &placement->nodes[placement_node_of(placement, session->worker)]);
    const int rc = channel_open(&session->channel, hello, memfd, session->fd, config);
    node_leave(&stay);
    return rc;
}

static int session_open_channel(struct control *control, struct session *session,
                                const struct ipc_hello *hello, int memfd)
{
    const struct channel_config config = session_memory(control, hello);
    const uint64_t memory_bytes = hello->memfd_bytes + config.arena_bytes + config.constants_bytes;
    struct spread_sample samples[CONFIG_WORKERS_MAX];
    int rc = session_check_limits(control, session, memory_bytes);
    control_sample(control, samples);
    session->worker = spread_pick(&control->spread, samples);
    if (rc == 0)
        rc = session_map(control, session, hello, memfd, &config);
    if (rc != 0) {
        session->channel = NULL;
        (void)close(memfd);
        return rc;
    }
    session->memory_bytes = memory_bytes;
    control->memory_bytes += memory_bytes;
    const struct worker_order order = {
        .kind = WORKER_ADOPT, .session = session->id, .channel = session->channel};
    if (!control_tell(control, session->worker, &order))
        return -EAGAIN;
    session->state = SESSION_LIVE;
    spread_join(&control->spread, session->worker);
    const struct session_offer offer = {
        .memfd = channel_engine_memfd(session->channel),
        .doorbell = channel_doorbell(session->channel),
        .memfd_bytes = channel_engine_memfd_bytes(session->channel),
        .session_id = session->id,
        .worker_index = session->worker,
    };
    return session_welcome(session->fd, &offer);
}

static int session_open_command(struct session *session)
{
    const struct session_offer offer = {.memfd = -1, .doorbell = -1, .session_id = session->id};
    const int rc = session_welcome(session->fd, &offer);
    if (rc == 0)
        session->state = SESSION_COMMAND;
    return rc;
}

static void session_hello(struct control *control, struct session *session)
{
    struct ipc_hello hello;
    int memfd = -1;
    int rc = session_receive_hello(session->fd, &hello, &memfd);
    if (rc == -EAGAIN)
        return;
    if (rc == 0 && hello.kind == IPC_KIND_COLLECTOR) {
        (void)close(memfd);
        rc = -EOPNOTSUPP; /* nothing is ever queued, so nothing is emitted */
    } else if (rc == 0 && hello.kind == IPC_KIND_CONTROL)
        rc = session_open_command(session);
    else if (rc == 0)
        rc = session_open_channel(control, session, &hello, memfd);
    if (rc == 0) {
        log_line(session->state == SESSION_LIVE ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG, "session_open",
                 "session=%u pid=%d uid=%u worker=%u", session->id, (int)session->pid,
                 (unsigned)session->uid, session->worker);
        return;
    }
    if (rc != -EPIPE) {
        log_line(LOG_LEVEL_WARNING, "session_refused",
                 "session=%u pid=%d uid=%u error=\"%s\" mend=\"%s\"", session->id,
                 (int)session->pid, (unsigned)session->uid, strerror(-rc), session_mend(rc));
        if (session->state == SESSION_HELLO)
            session_decline(session->fd, -rc);
    }
    session_end(control, session, "hello");
}

/* In packets of a bounded size; the reader joins them until the JSON is whole. */
static int session_say(const struct session *session, const char *text)
{
    const size_t bytes = strlen(text);
    for (size_t at = 0; at < bytes; at += CONTROL_PACKET_BYTES) {
        const size_t part = MIN(bytes - at, (size_t)CONTROL_PACKET_BYTES);
        if (send(session->fd, text + at, part, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)part)
            return -errno;
    }
    return 0;
}

static void session_command(struct control *control, struct session *session)
{
    char command[CONTROL_COMMAND_BYTES + 1];
    const ssize_t n = recv(session->fd, command, CONTROL_COMMAND_BYTES, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        session_end(control, session, "hang-up");
        return;
    }
    command[n] = '\0';
    command[strcspn(command, "\r\n")] = '\0';
    int rc;
    if (strcmp(command, "status") == 0) {
        char *text = status_json(control->engine);
        rc = text == NULL ? -ENOMEM : session_say(session, text);
        free(text);
    } else {
        rc = session_say(session, "{\"error\":\"unknown command; known: status\"}");
    }
    if (rc != 0)
        session_end(control, session, "does not read");
}

static void control_session_event(struct control *control, struct session *session)
{
    switch (session->state) {
    case SESSION_HELLO: session_hello(control, session); break;
    case SESSION_COMMAND: session_command(control, session); break;
    case SESSION_LIVE:
        if (session_watch(session->fd) != 0)
            session_end(control, session, "hang-up");
        break;
    case SESSION_FREE:
    case SESSION_ENDING: break;
    }
}

static struct session *session_find(struct control *control, uint32_t id)
{
    for (uint32_t i = 0; i < CONTROL_SESSIONS_MAX; i++) {
        if (control->sessions[i].state != SESSION_FREE && control->sessions[i].id == id)
            return &control->sessions[i];
    }
    return NULL;
}

static void control_take_notice(struct control *control, const struct worker_notice *notice)
{
    struct session *session = session_find(control, notice->session);
    switch (notice->kind) {
    case NOTICE_BROKEN:
        if (session != NULL && session->state == SESSION_LIVE) {
            log_line(LOG_LEVEL_WARNING, "session_broken", "session=%u pid=%d why=\"%s\"",
                     session->id, (int)session->pid, worker_fault_words(notice->fault));
            session_end(control, session, "its worker gave it up");
        }
        break;
    case NOTICE_RELEASED:
        ASSERT(session != NULL);
        session_forget(control, session);
        break;
    case NOTICE_DRAINED: control->drained_count++; break;
    }
}

static void control_notices(struct control *control)
{
    struct worker_notice notices[CONTROL_NOTICES_MAX];
    uint64_t rung;
    if (read(control->engine->notice_eventfd, &rung, sizeof(rung)) < 0) {
        /* Nothing was rung: looking costs little. */
    }
    for (uint32_t w = 0; w < control->engine->workers_count; w++) {
        uint32_t count = CONTROL_NOTICES_MAX;
        for (uint32_t n = 0; n < CONTROL_SESSIONS_MAX && count == CONTROL_NOTICES_MAX; n++) {
            count = worker_hear(control->engine->workers[w], notices, CONTROL_NOTICES_MAX);
            for (uint32_t i = 0; i < count; i++)
                control_take_notice(control, &notices[i]);
        }
    }
}

static void control_reload(struct control *control)
{
    char why[ENGINE_WHY_BYTES] = "";
    bool restart_needed = false;
    (void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
                     (unsigned long long)(clock_monotonic_ns() / NS_PER_US));
    const int rc = engine_reload(control->engine, &restart_needed, why);
    (void)sd_notify(0, "READY=1");
    const uint64_t now_ns = clock_monotonic_ns();
    if (rc == -EBUSY && !control->reload_due) {
        log_line(LOG_LEVEL_WARNING, "reload_waits", "why=\"%s\"", why);
        control->evict_ns = now_ns + CONTROL_EVICT_NS;
    }
    control->reload_due = rc == -EBUSY;
    if (rc == -EBUSY) {
        /* A worker that is only behind comes up by itself; mail that nobody releases does not. */
        if (now_ns >= control->evict_ns)
            engine_evict_oldest(control->engine);
        return;
    }
    if (rc != 0) {
        log_line(LOG_LEVEL_ERROR, "reload_refused", "kept=\"the old configuration\" why=\"%s\"",
                 why);
        return;
    }
    log_line(LOG_LEVEL_INFO, "reloaded", "generation=%llu",
             (unsigned long long)atomic_load(&control->engine->generation));
    if (restart_needed)
        log_line(LOG_LEVEL_WARNING, "restart_needed",
                 "why=\"only profiles were reloaded; engine and key_service sections take a "
                 "restart\"");
}

static void control_drain(struct control *control, uint64_t now_ns)
{
    const struct worker_order order = {.kind = WORKER_DRAIN};
    if (control->draining)
        return;
    control->draining = true;
    control->drain_until_ns = now_ns + control->engine->config.engine.drain_s * NS_PER_S;
    atomic_store_explicit(&control->engine->draining, 1, memory_order_relaxed);
    /* Whatever TimeoutStopSec says: the drain is as long as the administrator wants it. */
    (void)sd_notifyf(0, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%llu",
                     (unsigned long long)(control->engine->config.engine.drain_s + CONTROL_STOP_S) *
                         1000000);
    log_line(LOG_LEVEL_INFO, "draining", "seconds_max=%u", control->engine->config.engine.drain_s);
    /* No new session may find the socket. */
    (void)epoll_ctl(control->epoll_fd, EPOLL_CTL_DEL, control->listener.fd, NULL);
    session_unlisten(&control->listener);
    control->listening = false;
    for (uint32_t w = 0; w < control->engine->workers_count; w++) {
        const bool told = control_tell(control, w, &order);
        ASSERT(told);
    }
}

static void control_signals(struct control *control, uint64_t now_ns)
{
    struct signalfd_siginfo info;
    while (read(control->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGHUP)
            control_reload(control);
        else
            control_drain(control, now_ns);
    }
}

/* At most one line a worker and tick, however many there are. */
static void control_warn_sizes(const struct control *control)
{
    for (uint32_t w = 0; w < control->engine->workers_count; w++) {
        struct worker *worker = control->engine->workers[w];
        const uint32_t bytes = worker_take_large(worker);
        if (bytes > 0)
            log_line(LOG_LEVEL_WARNING, "size_warning", "worker=%u largest_bytes=%u ever=%llu", w,
                     bytes, (unsigned long long)worker_counter(worker, COUNTER_SIZE_WARNINGS));
    }
}

static void control_tick(struct control *control, uint64_t now_ns)
{
    struct spread_sample samples[CONFIG_WORKERS_MAX];
    for (uint32_t i = 0; i < CONTROL_SESSIONS_MAX; i++) {
        struct session *session = &control->sessions[i];
        if (session->state == SESSION_HELLO && now_ns >= session->hello_until_ns)
            session_end(control, session, "no hello");
    }
    control_sample(control, samples);
    spread_note(&control->spread, samples, now_ns);
    engine_free_snapshots(control->engine);
    if (control->reload_due && !control->draining)
        control_reload(control);
    control_warn_sizes(control);
    if (control->watchdog_ns == 0 || now_ns < control->watchdog_due_ns)
        return;
    control->watchdog_due_ns = now_ns + control->watchdog_ns / 2;
    if (engine_alive(control->engine, now_ns))
        (void)sd_notify(0, "WATCHDOG=1");
    else
        log_line(LOG_LEVEL_ERROR, "worker_stuck", "watchdog=\"not fed\"");
}

static void control_event(struct control *control, uint32_t what, uint64_t now_ns)
{
    if (what < CONTROL_SESSIONS_MAX)
        control_session_event(control, &control->sessions[what]);
    else if (what == EVENT_LISTENER && control->listening)
        control_accept(control, now_ns);
    else if (what == EVENT_SIGNAL)
        control_signals(control, now_ns);
}

int control_run(struct control *control)
{
    struct epoll_event events[CONTROL_EVENTS_MAX];
    (void)sd_notify(0, "READY=1");
    for (;;) {
        const int count =
            epoll_wait(control->epoll_fd, events, CONTROL_EVENTS_MAX, CONTROL_TICK_MS);
        const uint64_t now_ns = clock_monotonic_ns();
        for (int i = 0; i < count; i++)
            control_event(control, events[i].data.u32, now_ns);
        /* After the sessions' events: these may free sessions that an event was about. */
        control_notices(control);
        control_tick(control, now_ns);
        if (!control->draining)
            continue;
        if (control->drained_count == control->engine->workers_count)
            return 0;
        if (now_ns >= control->drain_until_ns) {
            log_line(LOG_LEVEL_WARNING, "drain_timeout",
                     "why=\"messages were under way; their clients keep them\"");
            return -ETIMEDOUT;
        }
    }
}

static int control_group(const struct config_engine *wish, gid_t *gid)
{
    char buffer[CONTROL_GROUP_BYTES];
    struct group entry;
    struct group *found = NULL;
    *gid = SESSION_GROUP_UNCHANGED;
    if (wish->socket_group[0] == '\0')
        return 0;
    if (getgrnam_r(wish->socket_group, &entry, buffer, sizeof(buffer), &found) != 0 ||
        found == NULL)
        return -ENOENT;
    *gid = found->gr_gid;
    return 0;
}

static int control_listen(struct control *control, char why[ENGINE_WHY_BYTES])
{
    const struct config_engine *wish = &control->engine->config.engine;
    gid_t group;
    if (control_group(wish, &group) != 0) {
        (void)snprintf(why, ENGINE_WHY_BYTES,
                       "there is no group \"%s\"; create it or mend socket_group",
                       wish->socket_group);
        return -ENOENT;
    }
    const int rc =
        session_listen(&control->listener, wish->socket, (mode_t)wish->socket_mode, group);
    if (rc == 0)
        control->listening = true;
    else if (rc == -EADDRINUSE)
        (void)snprintf(why, ENGINE_WHY_BYTES,
                       "another engine serves %s; stop it or name another socket", wish->socket);
    else
        (void)snprintf(why, ENGINE_WHY_BYTES,
                       "cannot listen at %s (%s); make its folder writable or name another socket",
                       wish->socket, strerror(-rc));
    return rc;
}

static int control_open_events(struct control *control)
{
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGHUP);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    control->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    control->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (control->signal_fd < 0 || control->epoll_fd < 0)
        return -errno;
    int rc = control_watch(control, control->signal_fd, EVENT_SIGNAL);
    if (rc == 0)
        rc = control_watch(control, control->engine->notice_eventfd, EVENT_NOTICE);
    if (rc == 0)
        rc = control_watch(control, control->listener.fd, EVENT_LISTENER);
    return rc;
}

int control_open(struct control **control, struct engine *engine, char why[ENGINE_WHY_BYTES])
{
    uint64_t watchdog_us = 0;
    struct control *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        (void)snprintf(why, ENGINE_WHY_BYTES, "out of memory");
        return -ENOMEM;
    }
    made->engine = engine;
    made->listener = (struct session_listener){.fd = -1, .lock_fd = -1};
    made->epoll_fd = -1;
    made->signal_fd = -1;
    made->next_id = 1;
    spread_init(&made->spread, engine->workers_count, clock_monotonic_ns());
    for (uint32_t i = 0; i < CONTROL_SESSIONS_MAX; i++)
        made->sessions[i].fd = -1;
    made->memory_bytes_max = engine->config.engine.session_memory_bytes;
    if (made->memory_bytes_max == 0)
        made->memory_bytes_max =
            (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 4;
    if (sd_watchdog_enabled(0, &watchdog_us) > 0)
        made->watchdog_ns = watchdog_us * NS_PER_US;
    int rc = control_listen(made, why);
    if (rc == 0) {
        rc = control_open_events(made);
        if (rc != 0)
            (void)snprintf(why, ENGINE_WHY_BYTES, "no epoll can be had: %s", strerror(-rc));
    }
    if (rc != 0) {
        control_close(made);
        return rc;
    }
    *control = made;
    return 0;
}

void control_close(struct control *control)
{
    if (control == NULL)
        return;
    session_unlisten(&control->listener);
    for (uint32_t i = 0; i < CONTROL_SESSIONS_MAX; i++) {
        if (control->sessions[i].state != SESSION_FREE)
            session_forget(control, &control->sessions[i]);
    }
    if (control->signal_fd >= 0)
        (void)close(control->signal_fd);
    if (control->epoll_fd >= 0)
        (void)close(control->epoll_fd);
    free(control);
}
