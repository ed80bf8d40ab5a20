#include "tests/mta/echo_engine.h"

#include "base/assert.h"
#include "base/clock.h"
#include "ipc/channel.h"
#include "ipc/meta.h"
#include "ipc/session.h"
#include "queue/ring.h"
#include "queue/wait.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define ECHO_SESSIONS_MAX    128
#define ECHO_BURST           32
#define ECHO_SPINS           200
#define ECHO_SLEEP_NS        (5 * NS_PER_S)
#define ECHO_CONSTANTS_BYTES 8192
#define ECHO_SPANS           4

/* A job waits here for output space. */
struct echo_job {
    struct ipc_submission submission;
};

struct echo_session {
    struct channel *channel; /* NULL: free or still shaking hands */
    int socket_fd;           /* -1: free */
    bool ending;             /* asked for at the worker */
    bool bad_done;           /* it named an emission that is not its own */
    uint64_t head_offset;
    uint64_t jobs_first;
    uint64_t jobs_end;
    struct echo_job *jobs; /* slots_count, a ring */
    uint32_t slots_count;
};

enum echo_order {
    ECHO_ADD,
    ECHO_END,
};

struct echo_message {
    uint32_t session_index;
    enum echo_order order;
};

struct echo_engine {
    struct echo_engine_config config;
    struct echo_counters counters;
    struct echo_spool spool; /* the worker's */
    struct session_listener listener;
    char folder[64];
    struct wait *wait;
    int stop_fd;
    atomic_bool stopping;
    pthread_t control;
    pthread_t worker;
    struct ring to_worker;
    struct ring to_control;
    struct echo_message to_worker_items[4 * ECHO_SESSIONS_MAX];
    struct echo_message to_control_items[4 * ECHO_SESSIONS_MAX];
    struct echo_session sessions[ECHO_SESSIONS_MAX];
    bool at_worker[ECHO_SESSIONS_MAX]; /* the worker's own */
};

static void count(const _Atomic uint64_t *counter, uint64_t more)
{
    atomic_fetch_add((_Atomic uint64_t *)(uintptr_t)counter, more);
}

/* ---- worker ---- */

static bool echo_complete_sealed(struct echo_engine *engine, struct echo_session *session,
                                 const struct ipc_submission *submission)
{
    const size_t table_bytes = ECHO_SPANS * sizeof(struct ipc_span);
    const size_t room_bytes = table_bytes + submission->mail_bytes + 100; /* to have some to trim */
    uint64_t offset;
    uint8_t *at;
    if (!channel_space_take(session->channel, room_bytes, &offset, &at))
        return false;
    const uint32_t half = submission->mail_bytes / 2;
    struct ipc_span spans[ECHO_SPANS] = {
        {.offset = (uint32_t)session->head_offset, .bytes = sizeof(ECHO_HEAD) - 1},
        {.offset = (uint32_t)(offset + table_bytes), .bytes = half},
        {.offset = (uint32_t)(offset + table_bytes + half), .bytes = submission->mail_bytes - half},
        {.offset = (uint32_t)session->head_offset + sizeof(ECHO_HEAD) - 1,
         .bytes = sizeof(ECHO_TAIL) - 1},
    };
    struct ipc_completion completion = {
        .request_id = submission->request_id,
        .status = IPC_SEALED,
        .spans_count = ECHO_SPANS,
        .spans_offset = (uint32_t)offset,
        .mail_bytes = submission->mail_bytes + sizeof(ECHO_HEAD) - 1 + sizeof(ECHO_TAIL) - 1,
    };
    memset(completion.envelope_id, 0xab, sizeof(completion.envelope_id));
    memcpy(at, spans, table_bytes);
    channel_copy_mail(session->channel, submission, 0, at + table_bytes, submission->mail_bytes);
    const size_t keep_bytes = table_bytes + submission->mail_bytes;
    channel_space_trim(session->channel, offset, room_bytes, keep_bytes);
    const bool held = channel_complete(session->channel, &completion, offset, keep_bytes);
    ASSERT(held);
    if (engine->config.bad_spans) {
        spans[1].offset = UINT32_MAX - 8; /* after the channel has checked its owner's table */
        memcpy(at, spans, table_bytes);
    }
    return true;
}

static bool echo_complete_words(struct echo_session *session,
                                const struct ipc_submission *submission, enum ipc_status status)
{
    uint64_t offset;
    uint8_t *at;
    if (!channel_space_take(session->channel, sizeof(ECHO_WHY) - 1, &offset, &at))
        return false;
    memcpy(at, ECHO_WHY, sizeof(ECHO_WHY) - 1);
    const struct ipc_completion completion = {
        .request_id = submission->request_id,
        .status = (uint8_t)status,
        .enhanced_status = {status == IPC_RETRY ? 4 : 5, 3, 4},
        .text_offset = (uint32_t)offset,
        .text_bytes = sizeof(ECHO_WHY) - 1,
    };
    const bool held = channel_complete(session->channel, &completion, offset, sizeof(ECHO_WHY) - 1);
    ASSERT(held);
    return true;
}

static bool echo_complete_bare(struct echo_session *session,
                               const struct ipc_submission *submission, enum ipc_status status)
{
    struct ipc_completion completion = {.request_id = submission->request_id,
                                        .status = (uint8_t)status};
    if (status == IPC_QUEUED)
        memset(completion.envelope_id, 0xab, sizeof(completion.envelope_id));
    const bool held = channel_complete(session->channel, &completion, 0, 0);
    ASSERT(held);
    return true;
}

static bool meta_profile_is(const struct meta *meta, const char *profile)
{
    return meta->profile_bytes == strlen(profile) &&
           memcmp(meta->profile, profile, meta->profile_bytes) == 0;
}

/* False: no space yet. */
static bool echo_job_run(struct echo_engine *engine, struct echo_session *session,
                         const struct ipc_submission *submission)
{
    uint8_t copy[IPC_META_BYTES_MAX];
    struct meta meta;
    channel_copy_meta(session->channel, submission, copy);
    if (meta_read(&meta, copy, submission->meta_bytes) != 0) {
        if (!echo_complete_words(session, submission, IPC_REFUSED))
            return false;
        count(&engine->counters.bad_metas, 1);
        return true;
    }
    if (meta_profile_is(&meta, "hold"))
        return true;
    const bool may_queue = meta_profile_is(&meta, "may-queue");
    if (may_queue && (submission->flags & IPC_SUBMIT_QUEUE) == 0)
        return echo_complete_words(session, submission, IPC_RETRY);
    if (may_queue || meta_profile_is(&meta, "queue"))
        return echo_spool_keep(&engine->spool, session->channel, submission)
                   ? echo_complete_bare(session, submission, IPC_QUEUED)
                   : echo_complete_words(session, submission, IPC_RETRY);
    if (meta_profile_is(&meta, "pass"))
        return echo_complete_bare(session, submission, IPC_PASSED);
    if (meta_profile_is(&meta, "refuse"))
        return echo_complete_words(session, submission, IPC_REFUSED);
    if (meta_profile_is(&meta, "retry"))
        return echo_complete_words(session, submission, IPC_RETRY);
    /* Larger than the whole output could ever hold: an engine's own limits are below that. */
    if (submission->mail_bytes + 4096 > engine->config.arena_bytes)
        return echo_complete_words(session, submission, IPC_REFUSED);
    return echo_complete_sealed(engine, session, submission);
}

static void echo_jobs_take(struct echo_engine *engine, struct echo_session *session)
{
    struct ipc_submission burst[ECHO_BURST];
    const uint32_t taken = channel_take_burst(session->channel, burst, ECHO_BURST);
    for (uint32_t n = 0; n < taken; n++) {
        const uint32_t pick = engine->config.reverse ? taken - 1 - n : n;
        ASSERT(session->jobs_end - session->jobs_first < session->slots_count);
        session->jobs[session->jobs_end++ % session->slots_count].submission = burst[pick];
    }
    count(&engine->counters.taken, taken);
}

/* The texts are copied before the next burst is taken, as shared-memory.md wants it. */
static uint32_t echo_dones_take(struct echo_engine *engine, struct echo_session *session)
{
    struct ipc_submission burst[ECHO_BURST];
    const uint32_t index = (uint32_t)(session - engine->sessions);
    const uint32_t taken = channel_take_burst(session->channel, burst, ECHO_BURST);
    for (uint32_t n = 0; n < taken && !session->bad_done; n++)
        session->bad_done = !echo_spool_done(&engine->spool, session->channel, index, &burst[n]);
    return taken;
}

static bool echo_collector_run(struct echo_engine *engine, struct echo_session *session)
{
    const uint32_t index = (uint32_t)(session - engine->sessions);
    bool moved = channel_reclaim(session->channel);
    moved |= echo_dones_take(engine, session) > 0;
    if (!session->bad_done)
        moved |= echo_spool_emit(&engine->spool, session->channel, index) > 0;
    channel_publish(session->channel);
    return moved;
}

/* True when anything moved. */
static bool echo_session_run(struct echo_engine *engine, struct echo_session *session)
{
    if (channel_is_collector(session->channel))
        return echo_collector_run(engine, session);
    const bool reclaimed = channel_reclaim(session->channel);
    const uint64_t first = session->jobs_first;
    echo_jobs_take(engine, session);
    while (session->jobs_first != session->jobs_end) {
        const struct echo_job *job = &session->jobs[session->jobs_first % session->slots_count];
        if (!echo_job_run(engine, session, &job->submission))
            break;
        session->jobs_first++;
    }
    /* Counted first: who has seen the last completion finds it counted. */
    count(&engine->counters.completed, session->jobs_first - first);
    channel_publish(session->channel);
    return reclaimed || session->jobs_first != first;
}

static void echo_session_start(struct echo_engine *engine, uint32_t index)
{
    struct echo_session *session = &engine->sessions[index];
    static const uint8_t constants[] = ECHO_HEAD ECHO_TAIL;
    int rc = channel_constants_write(session->channel, constants, sizeof(constants) - 1,
                                     &session->head_offset);
    ASSERT(rc == 0);
    rc = wait_add(engine->wait, index, channel_doorbell(session->channel));
    ASSERT(rc == 0);
    engine->at_worker[index] = true;
}

static void echo_session_stop(struct echo_engine *engine, uint32_t index)
{
    struct echo_session *session = &engine->sessions[index];
    /* What was done before the end counts: none of it is emitted again. */
    while (channel_is_collector(session->channel) && echo_dones_take(engine, session) > 0)
        ;
    if (channel_fault(session->channel) != CHANNEL_SOUND || session->bad_done)
        count(&engine->counters.faults, 1);
    echo_spool_end(&engine->spool, index);
    wait_remove(engine->wait, index);
    engine->at_worker[index] = false;
    const struct echo_message done = {.session_index = index, .order = ECHO_END};
    const uint32_t pushed = ring_push_burst(&engine->to_control, &done, 1);
    ASSERT(pushed == 1);
    const uint64_t one = 1;
    const ssize_t written = write(engine->stop_fd, &one, sizeof(one));
    ASSERT(written == sizeof(one));
}

static void echo_orders_take(struct echo_engine *engine)
{
    struct echo_message orders[16];
    const uint32_t orders_count = ring_pop_burst(&engine->to_worker, orders, 16);
    for (uint32_t n = 0; n < orders_count; n++) {
        switch (orders[n].order) {
        case ECHO_ADD: echo_session_start(engine, orders[n].session_index); break;
        case ECHO_END:
            if (engine->at_worker[orders[n].session_index])
                echo_session_stop(engine, orders[n].session_index);
            break;
        }
    }
}

static bool echo_pass(struct echo_engine *engine)
{
    bool moved = ring_count(&engine->to_worker) > 0;
    echo_orders_take(engine);
    for (uint32_t n = 0; n < ECHO_SESSIONS_MAX; n++) {
        struct echo_session *session = &engine->sessions[n];
        if (!engine->at_worker[n])
            continue;
        moved |= echo_session_run(engine, session);
        if (channel_fault(session->channel) != CHANNEL_SOUND || session->bad_done) {
            echo_session_stop(engine, n);
            moved = true;
        }
    }
    return moved;
}

static void echo_sleep(struct echo_engine *engine)
{
    struct wait_event events[16];
    bool quiet = ring_count(&engine->to_worker) == 0;
    for (uint32_t n = 0; n < ECHO_SESSIONS_MAX; n++) {
        if (engine->at_worker[n])
            quiet &= channel_sleep(engine->sessions[n].channel, true);
    }
    count(&engine->counters.sleeps, quiet);
    const uint32_t events_count = wait_for(engine->wait, quiet ? ECHO_SLEEP_NS : 0, events, 16);
    for (uint32_t n = 0; n < ECHO_SESSIONS_MAX; n++) {
        if (engine->at_worker[n])
            channel_awake(engine->sessions[n].channel);
    }
    for (uint32_t n = 0; n < events_count; n++) {
        if (events[n].kind == WAIT_BROKEN && engine->at_worker[events[n].tag])
            echo_session_stop(engine, events[n].tag);
    }
}

static void *echo_worker(void *argument)
{
    struct echo_engine *engine = argument;
    uint32_t idle = 0;
    while (!atomic_load(&engine->stopping)) {
        idle = echo_pass(engine) ? 0 : idle + 1;
        if (idle > ECHO_SPINS) {
            if (engine->config.busy)
                (void)sched_yield(); /* the machine may have fewer cores than threads */
            else
                echo_sleep(engine);
            idle = 0;
        }
    }
    return NULL;
}

/* ---- control ---- */

static void echo_order(struct echo_engine *engine, uint32_t index, enum echo_order order)
{
    const struct echo_message message = {.session_index = index, .order = order};
    const uint32_t pushed = ring_push_burst(&engine->to_worker, &message, 1);
    ASSERT(pushed == 1);
    wait_ring(engine->wait);
}

static void echo_session_free(struct echo_session *session)
{
    channel_close(session->channel);
    free(session->jobs);
    if (session->socket_fd >= 0)
        (void)close(session->socket_fd);
    *session = (struct echo_session){.socket_fd = -1};
}

static void echo_accept(struct echo_engine *engine)
{
    struct session_peer peer;
    int fd;
    if (session_accept(engine->listener.fd, &fd, &peer) != 0)
        return;
    ASSERT(peer.uid == getuid());
    for (uint32_t n = 0; n < ECHO_SESSIONS_MAX; n++) {
        if (engine->sessions[n].socket_fd < 0) {
            engine->sessions[n].socket_fd = fd;
            return;
        }
    }
    session_decline(fd, EAGAIN);
    (void)close(fd);
}

/* A memory of the right size without a single seal. */
static int echo_bad_memfd(uint64_t bytes)
{
    const int fd = memfd_create("unsealed", MFD_ALLOW_SEALING | MFD_CLOEXEC);
    ASSERT(fd >= 0);
    const int rc = ftruncate(fd, (off_t)bytes);
    ASSERT(rc == 0);
    return fd;
}

static int echo_session_welcome(struct echo_engine *engine, uint32_t index,
                                const struct ipc_hello *hello, int memfd)
{
    struct echo_session *session = &engine->sessions[index];
    const struct channel_config config = {.arena_bytes = engine->config.arena_bytes,
                                          .constants_bytes = ECHO_CONSTANTS_BYTES};
    int rc = channel_open(&session->channel, hello, memfd, session->socket_fd, &config);
    if (rc != 0) {
        (void)close(memfd);
        return rc;
    }
    session->slots_count = hello->slots_count;
    session->jobs = calloc(hello->slots_count, sizeof(*session->jobs));
    ASSERT(session->jobs != NULL);
    struct session_offer offer = {
        .memfd = channel_engine_memfd(session->channel),
        .doorbell = channel_doorbell(session->channel),
        .memfd_bytes = channel_engine_memfd_bytes(session->channel),
        .session_id = index,
        .worker_index = hello->worker_wanted,
        .workers_count = MAX(engine->config.workers_count, 1U),
    };
    if (!engine->config.bad_memfd)
        return session_welcome(session->socket_fd, &offer);
    offer.memfd = echo_bad_memfd(offer.memfd_bytes);
    rc = session_welcome(session->socket_fd, &offer);
    (void)close(offer.memfd);
    return rc;
}

static int echo_check_kind(const struct echo_engine *engine, const struct ipc_hello *hello)
{
    if (hello->kind == IPC_KIND_CONTROL)
        return -EBADMSG;
    if (hello->kind == IPC_KIND_COLLECTOR && engine->config.no_spool)
        return -EOPNOTSUPP;
    return hello->worker_wanted < MAX(engine->config.workers_count, 1U) ? 0 : -ERANGE;
}

static void echo_hello(struct echo_engine *engine, uint32_t index)
{
    struct echo_session *session = &engine->sessions[index];
    struct ipc_hello hello;
    int memfd = -1;
    int rc = session_receive_hello(session->socket_fd, &hello, &memfd);
    if (rc == -EAGAIN)
        return;
    if (rc == 0 && engine->config.mute_after != 0 &&
        atomic_load(&engine->counters.welcomed) >= engine->config.mute_after) {
        (void)close(memfd); /* the session ends when its client hangs up */
        count(&engine->counters.unanswered, 1);
        return;
    }
    if (rc == 0 && (engine->config.decline != 0 || engine->config.hang_up)) {
        (void)close(memfd);
        if (engine->config.decline != 0)
            session_decline(session->socket_fd, engine->config.decline);
        echo_session_free(session);
        return;
    }
    if (rc == 0)
        rc = echo_check_kind(engine, &hello);
    if (rc != 0 && memfd >= 0)
        (void)close(memfd);
    if (rc == 0)
        rc = echo_session_welcome(engine, index, &hello, memfd);
    if (rc != 0) {
        count(&engine->counters.refused_hellos, 1);
        session_decline(session->socket_fd, -rc);
        echo_session_free(session);
        return;
    }
    count(&engine->counters.welcomed, 1);
    echo_order(engine, index, ECHO_ADD);
}

static void echo_socket(struct echo_engine *engine, uint32_t index)
{
    struct echo_session *session = &engine->sessions[index];
    if (session->channel == NULL) {
        echo_hello(engine, index);
        return;
    }
    if (session_watch(session->socket_fd) != 0 && !session->ending) {
        session->ending = true;
        echo_order(engine, index, ECHO_END);
    }
}

static void echo_endings(struct echo_engine *engine)
{
    struct echo_message done;
    uint64_t rings;
    (void)!read(engine->stop_fd, &rings, sizeof(rings));
    while (ring_pop_burst(&engine->to_control, &done, 1) == 1) {
        echo_session_free(&engine->sessions[done.session_index]);
        count(&engine->counters.ended, 1);
    }
}

static void *echo_control(void *argument)
{
    struct echo_engine *engine = argument;
    while (!atomic_load(&engine->stopping)) {
        struct pollfd looks[2 + ECHO_SESSIONS_MAX];
        looks[0] = (struct pollfd){.fd = engine->listener.fd, .events = POLLIN};
        looks[1] = (struct pollfd){.fd = engine->stop_fd, .events = POLLIN};
        for (uint32_t n = 0; n < ECHO_SESSIONS_MAX; n++) {
            /* An ending session is readable until the worker lets go: not looked at meanwhile. */
            const bool quiet = engine->sessions[n].ending;
            looks[2 + n] =
                (struct pollfd){.fd = quiet ? -1 : engine->sessions[n].socket_fd, .events = POLLIN};
        }
        (void)poll(looks, ARRAY_COUNT(looks), 1000);
        for (uint32_t n = 0; n < ECHO_SESSIONS_MAX; n++) {
            if (looks[2 + n].fd >= 0 && looks[2 + n].revents != 0)
                echo_socket(engine, n);
        }
        if ((looks[1].revents & POLLIN) != 0)
            echo_endings(engine);
        if ((looks[0].revents & POLLIN) != 0)
            echo_accept(engine);
    }
    return NULL;
}

int echo_engine_open(struct echo_engine **engine, const struct echo_engine_config *config)
{
    struct echo_engine *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->config = *config;
    echo_spool_init(&made->spool);
    if (made->config.arena_bytes == 0)
        made->config.arena_bytes = 4 * 1024 * 1024;
    for (uint32_t n = 0; n < ECHO_SESSIONS_MAX; n++)
        made->sessions[n].socket_fd = -1;
    ring_init(&made->to_worker, made->to_worker_items, ARRAY_COUNT(made->to_worker_items),
              sizeof(made->to_worker_items[0]));
    ring_init(&made->to_control, made->to_control_items, ARRAY_COUNT(made->to_control_items),
              sizeof(made->to_control_items[0]));
    (void)snprintf(made->folder, sizeof(made->folder), "/tmp/bulla-test-XXXXXX");
    if (mkdtemp(made->folder) == NULL)
        return -errno;
    char path[ECHO_PATH_BYTES];
    (void)snprintf(path, sizeof(path), "%s/engine.sock", made->folder);
    int rc = session_listen(&made->listener, path, 0660, SESSION_GROUP_UNCHANGED);
    ASSERT(rc == 0);
    rc = wait_open(&made->wait, config->allow_io_uring);
    ASSERT(rc == 0);
    made->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ASSERT(made->stop_fd >= 0);
    rc = pthread_create(&made->worker, NULL, echo_worker, made);
    ASSERT(rc == 0);
    rc = pthread_create(&made->control, NULL, echo_control, made);
    ASSERT(rc == 0);
    *engine = made;
    return 0;
}

void echo_engine_close(struct echo_engine *engine)
{
    if (engine == NULL)
        return;
    atomic_store(&engine->stopping, true);
    wait_ring(engine->wait);
    const uint64_t one = 1;
    const ssize_t written = write(engine->stop_fd, &one, sizeof(one));
    ASSERT(written == sizeof(one));
    (void)pthread_join(engine->control, NULL);
    (void)pthread_join(engine->worker, NULL);
    for (uint32_t n = 0; n < ECHO_SESSIONS_MAX; n++)
        echo_session_free(&engine->sessions[n]);
    wait_close(engine->wait);
    (void)close(engine->stop_fd);
    session_unlisten(&engine->listener);
    char lock_path[ECHO_PATH_BYTES + 8];
    (void)snprintf(lock_path, sizeof(lock_path), "%s.lock", engine->listener.path);
    (void)unlink(lock_path);
    (void)rmdir(engine->folder);
    echo_spool_fini(&engine->spool);
    free(engine);
}

const char *echo_engine_path(const struct echo_engine *engine)
{
    return engine->listener.path;
}

struct echo_spool *echo_engine_spool(struct echo_engine *engine)
{
    return &engine->spool;
}

const struct echo_counters *echo_engine_counters(const struct echo_engine *engine)
{
    return &engine->counters;
}
