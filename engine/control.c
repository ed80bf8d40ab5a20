#include "engine/control_internal.h"

#include "base/assert.h"
#include "base/log.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define CONTROL_TICK_MS     500
#define CONTROL_EVENTS_MAX  64
#define CONTROL_NOTICES_MAX 64 /* of one worker, at a time */
#define CONTROL_GROUP_BYTES 16384
#define CONTROL_EVICT_NS    (5 * NS_PER_S) /* that a reload waits for a place of its own accord */
#define CONTROL_STOP_S      20             /* after the drain, for threads and memory to end */

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
    case NOTICE_ERRAND: queue_hear(control); break;
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
