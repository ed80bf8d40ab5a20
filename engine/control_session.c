#include "engine/control_internal.h"

#include "base/assert.h"
#include "base/log.h"
#include "engine/node.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONTROL_ACCEPTS_MAX   32 /* a pass */
#define CONTROL_HELLO_NS_MAX  (5 * NS_PER_S)
#define CONTROL_CONSTANTS_MIN (UINT64_C(1) << 20)
#define CONTROL_ARENA_FIXED   (UINT64_C(1) << 20) /* header, templates, slack of one mail    */
#define CONTROL_ARENA_SLOT    (UINT64_C(64) << 10)

int control_watch(const struct control *control, int fd, uint32_t what)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data = {.u32 = what}};
    return epoll_ctl(control->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0 ? -errno : 0;
}

static void control_count(struct control *control)
{
    atomic_store_explicit(&control->engine->sessions, control->sessions_count,
                          memory_order_relaxed);
}

bool control_tell(struct control *control, uint32_t worker, const struct worker_order *order)
{
    return worker_tell(control->engine->workers[worker], order);
}

void session_forget(struct control *control, struct session *session)
{
    channel_close(session->channel);
    (void)close(session->fd);
    log_line(LOG_LEVEL_DEBUG, "session_closed", "session=%u", session->id);
    control->memory_bytes -= session->memory_bytes;
    *session = (struct session){.state = SESSION_FREE, .fd = -1};
    control->sessions_count--;
    control_count(control);
}

void session_end(struct control *control, struct session *session, const char *reason)
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
    if (!session->collector)
        spread_leave(&control->spread, session->worker);
    /* An adopt and a drop for each of 256 sessions always fit. */
    const bool told = control_tell(control, session->worker, &order);
    ASSERT(told);
}

/* May see and change what waits, or take it away: not everybody who may submit. */
static bool control_lets_operate(const struct control *control, const struct session_peer *peer)
{
    const struct config_engine *wish = &control->engine->config.engine;
    if (peer->uid == 0 || peer->uid == geteuid())
        return true;
    for (uint32_t i = 0; i < wish->allow_uids_count; i++) {
        if (wish->allow_uids[i] == peer->uid)
            return true;
    }
    return false;
}

static bool control_allows(const struct control *control, const struct session_peer *peer)
{
    const struct config_engine *wish = &control->engine->config.engine;
    if (control_lets_operate(control, peer))
        return true;
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
                                .operates = control_lets_operate(control, peer),
                                .hello_until_ns = now_ns + CONTROL_HELLO_NS_MAX,
                                .pid = peer->pid,
                                .uid = peer->uid};
    control->sessions_count++;
    control_count(control);
    if (control_watch(control, fd, (uint32_t)(session - control->sessions)) != 0)
        session_forget(control, session);
}

void control_accept(struct control *control, uint64_t now_ns)
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

void control_sample(const struct control *control, struct spread_sample samples[CONFIG_WORKERS_MAX])
{
    for (uint32_t i = 0; i < control->engine->workers_count; i++)
        samples[i] = (struct spread_sample){
            .busy_ns = worker_counter(control->engine->workers[i], COUNTER_BUSY_NS),
            .jobs = worker_counter(control->engine->workers[i], COUNTER_JOBS)};
}

/* A collector's memory: the largest mail that any profile lets in, sealed, with all that is
 * constant in it, and its addresses; or what many small ones need. */
static struct channel_config collector_memory(const struct control *control,
                                              const struct ipc_hello *hello)
{
    const struct snapshot *snapshot =
        control->engine->snapshots[control->engine->snapshots_count - 1];
    uint64_t mail_bytes = 0;
    for (uint32_t i = 0; i < snapshot->profiles_count; i++)
        mail_bytes = MAX(mail_bytes, (uint64_t)snapshot->profiles[i].profile.mail_bytes_max);
    const uint64_t one = mail_bytes + mail_bytes * 2 / 5 + snapshot->constants_bytes +
                         IPC_META_BYTES_MAX + CONTROL_ARENA_FIXED;
    const uint64_t arena = MAX(one, hello->slots_count * CONTROL_ARENA_SLOT);
    return (struct channel_config){.arena_bytes = (arena + IPC_PAGE_BYTES - 1) / IPC_PAGE_BYTES *
                                                  IPC_PAGE_BYTES};
}

/* docs/engine/memory.md has both sums. The constants have room for two generations, each twice as
 * large as today's; the arena holds, sealed, all that the client's own arena can hold at once, and
 * at least one such mail. */
static struct channel_config session_memory(const struct control *control,
                                            const struct ipc_hello *hello)
{
    const struct engine *engine = control->engine;
    if (hello->kind == IPC_KIND_COLLECTOR)
        return collector_memory(control, hello);
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

/* Submitters count by user, collectors by worker. */
static int session_check_limits(const struct control *control, const struct session *session,
                                uint64_t memory_bytes)
{
    const uint32_t most = session->collector ? (uint32_t)CONTROL_COLLECTORS_MAX
                                             : control->engine->config.engine.sessions_per_user;
    uint32_t same = 0;
    for (uint32_t i = 0; i < CONTROL_SESSIONS_MAX; i++) {
        const struct session *other = &control->sessions[i];
        const bool counts = (other->state == SESSION_LIVE || other->state == SESSION_ENDING) &&
                            other->collector == session->collector;
        same += counts && (session->collector ? other->worker == session->worker
                                              : other->uid == session->uid);
    }
    if (same >= most)
        return -EUSERS;
    return memory_bytes > control->memory_bytes_max - control->memory_bytes ? -ENOMEM : 0;
}

/* What an administrator can do about a refusal. */
static const char *session_mend(const struct session *session, int rc)
{
    if (rc == -EOPNOTSUPP)
        return "set spool in the engine section, or collect nothing";
    if (rc == -EACCES)
        return "add the user to allow_users: those of allow_groups only submit";
    if (rc == -EUSERS && session->collector)
        return "stop one of those that collect already";
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

static int session_pick_worker(struct control *control, struct session *session,
                               const struct ipc_hello *hello)
{
    struct spread_sample samples[CONFIG_WORKERS_MAX];
    session->collector = hello->kind == IPC_KIND_COLLECTOR;
    if (!session->collector) {
        control_sample(control, samples);
        session->worker = spread_pick(&control->spread, samples);
        return 0;
    }
    if (!session->operates)
        return -EACCES;
    if (control->engine->config.engine.spool[0] == '\0')
        return -EOPNOTSUPP;
    if (hello->worker_wanted >= control->engine->workers_count)
        return -ERANGE;
    session->worker = hello->worker_wanted;
    return 0;
}

static int session_open_channel(struct control *control, struct session *session,
                                const struct ipc_hello *hello, int memfd)
{
    struct channel_config config = session_memory(control, hello);
    config.pages = control->engine->config.engine.hugepages == CONFIG_HUGEPAGES_OFF
                       ? MEMFD_PAGES_SMALL
                       : MEMFD_PAGES_HUGE;
    const uint64_t memory_bytes = hello->memfd_bytes + config.arena_bytes + config.constants_bytes;
    int rc = session_pick_worker(control, session, hello);
    if (rc == 0)
        rc = session_check_limits(control, session, memory_bytes);
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
    if (!session->collector)
        spread_join(&control->spread, session->worker);
    const struct session_offer offer = {
        .memfd = channel_engine_memfd(session->channel),
        .doorbell = channel_doorbell(session->channel),
        .memfd_bytes = channel_engine_memfd_bytes(session->channel),
        .session_id = session->id,
        .worker_index = session->worker,
        .workers_count = control->engine->workers_count,
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
    if (rc == 0 && hello.kind == IPC_KIND_CONTROL)
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
        /* Who collects asks for one worker after the other until there is none. */
        log_line(rc == -ERANGE ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING, "session_refused",
                 "session=%u pid=%d uid=%u error=\"%s\" mend=\"%s\"", session->id,
                 (int)session->pid, (unsigned)session->uid, strerror(-rc),
                 session_mend(session, rc));
        if (session->state == SESSION_HELLO)
            session_decline(session->fd, -rc);
    }
    session_end(control, session, "hello");
}

void control_session_event(struct control *control, struct session *session)
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

struct session *session_find(struct control *control, uint32_t id)
{
    for (uint32_t i = 0; i < CONTROL_SESSIONS_MAX; i++) {
        if (control->sessions[i].state != SESSION_FREE && control->sessions[i].id == id)
            return &control->sessions[i];
    }
    return NULL;
}
