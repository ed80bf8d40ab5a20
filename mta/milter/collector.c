#include "mta/milter/collector.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "ipc/layout.h"
#include "mta/bulla.h"
#include "mta/milter/away.h"
#include "mta/milter/relay.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#define COLLECTOR_PAUSE_MS_MIN 250
#define COLLECTOR_PAUSE_MS_MAX 60000
#define COLLECTOR_DOUBLINGS    8 /* 250 ms to a minute */
#define COLLECTOR_ATTACH_MS    1000
#define COLLECTOR_NO_SPOOL_MS  30000
#define COLLECTOR_IDLE_MS      1000

/* A mail with our mark before its own fields. */
struct marked {
    struct iovec spans[BULLA_SPANS_MAX + 1];
    uint32_t spans_count;
    size_t mail_bytes;
    char field[sizeof(MARK_FIELD) + MARK_VALUE_BYTES + 4];
};

struct collector {
    char *socket_path;
    struct relay *relay;
    const struct mark_key *mark_key;
    uint32_t connections;
    uint32_t drain_s;
    pthread_t thread;
    int wake_fd;
    _Atomic bool stopping;
    /* The thread's own. */
    struct bulla_collector *session;
    bool gone; /* the session is at its end, and only what is under way keeps it */
    int attach_error;
    uint64_t attach_after_ns;
    uint64_t take_after_ns;
    uint32_t laters_count; /* in a row */
    bool unreachable;      /* the mail server, when it was last asked; said once */
    struct bulla_emission emissions[RELAY_CONNECTIONS_MAX];
    struct marked marked[RELAY_CONNECTIONS_MAX];
    bool emission_busy[RELAY_CONNECTIONS_MAX];
};

/* Full jitter: anything up to the bound, which doubles. */
static uint64_t pause_ns(uint32_t laters_count)
{
    uint64_t bound_ms = (uint64_t)COLLECTOR_PAUSE_MS_MIN
                        << MIN(laters_count, (uint32_t)COLLECTOR_DOUBLINGS);
    uint32_t random = 0;
    bound_ms = MIN(bound_ms, (uint64_t)COLLECTOR_PAUSE_MS_MAX);
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        random = UINT32_MAX; /* the whole of it */
    return bound_ms * random / UINT32_MAX * NS_PER_MS;
}

static void collector_attach(struct collector *collector)
{
    const uint64_t now_ns = clock_monotonic_ns();
    if (collector->session != NULL || now_ns < collector->attach_after_ns)
        return;
    const struct bulla_config config = {.socket_path = collector->socket_path};
    const int rc = bulla_collect(&collector->session, &config);
    if (rc == 0) {
        collector->gone = false;
        log_line(LOG_LEVEL_INFO, "collecting", "socket=%s", collector->socket_path);
    } else {
        collector->session = NULL;
        collector->attach_after_ns =
            clock_monotonic_ns() +
            (rc == -ENOTSUP ? COLLECTOR_NO_SPOOL_MS : COLLECTOR_ATTACH_MS) * NS_PER_MS;
        if (rc != collector->attach_error && rc == -ENOTSUP)
            log_line(LOG_LEVEL_INFO, "collecting", "why=\"the engine has no spool\"");
        else if (rc != collector->attach_error)
            log_line(LOG_LEVEL_WARNING, "not_collecting", "why=\"%s\"", away_words(rc));
    }
    collector->attach_error = rc;
}

/* An engine that is gone keeps its memory mapped until the last transfer out of it has ended. */
static void collector_detach(struct collector *collector)
{
    if (collector->session == NULL || !collector->gone || relay_busy_count(collector->relay) > 0)
        return;
    bulla_collect_end(collector->session);
    collector->session = NULL;
    log_line(LOG_LEVEL_WARNING, "not_collecting", "why=\"the engine is gone\"");
    collector->attach_error = 0;
}

static const char *kind_name(const struct bulla_emission *emission)
{
    return emission->kind == BULLA_EMISSION_NOTIFICATION ? "notification" : "mail";
}

/* To the engine. */
static int emission_tell(struct collector *collector, const struct bulla_emission *emission,
                         const struct relay_end *end)
{
    static const enum bulla_emit_result results[] = {
        [RELAY_SENT] = BULLA_EMIT_SENT,
        [RELAY_LATER] = BULLA_EMIT_LATER,
        [RELAY_REFUSED] = BULLA_EMIT_REFUSED,
    };
    if (end->refusals_count == 0)
        return bulla_collect_done(collector->session, emission, results[end->result],
                                  end->enhanced_status, end->text);
    struct bulla_refusal refusals[IPC_RECIPIENTS_MAX];
    for (uint32_t n = 0; n < end->refusals_count; n++) {
        const struct relay_refusal *refusal = &end->refusals[n];
        refusals[n] = (struct bulla_refusal){.recipient = refusal->recipient,
                                             .enhanced_status = refusal->enhanced_status,
                                             .text = refusal->text};
    }
    return bulla_collect_refused(collector->session, emission, refusals, end->refusals_count);
}

static void emission_done(struct collector *collector, const struct relay_end *end)
{
    static const char *const names[] = {
        [RELAY_SENT] = "sent", [RELAY_LATER] = "later", [RELAY_REFUSED] = "refused"};
    struct bulla_emission *emission = end->user;
    const size_t index = (size_t)(emission - collector->emissions);
    ASSERT(index < RELAY_CONNECTIONS_MAX && collector->emission_busy[index]);
    /* What a mail server says may name addresses: Postfix's log has it, ours has its numbers. */
    log_line(end->result == RELAY_SENT ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, "emission",
             "status=%s kind=%s profile=%s recipients=%u bytes=%zu envelope=%s reply=%u "
             "enhanced=%s why=\"%s\"",
             names[end->result], kind_name(emission), emission->profile, emission->recipients_count,
             emission->mail_bytes, emission->envelope_id, end->code, end->enhanced_status,
             end->code == 0 ? end->text : "");
    if (emission_tell(collector, emission, end) != 0) {
        collector->gone = true;
        log_line(LOG_LEVEL_WARNING, "unheard", "status=%s envelope=%s", names[end->result],
                 emission->envelope_id);
    }
    collector->emission_busy[index] = false;
    if (end->unreachable && !collector->unreachable)
        log_line(LOG_LEVEL_ERROR, "mail_server",
                 "why=\"%s\" mend=\"the listener without the milter must be where reinject says\"",
                 end->text);
    collector->unreachable = end->unreachable;
    if (end->result != RELAY_LATER) {
        collector->laters_count = 0;
        return;
    }
    collector->take_after_ns = clock_monotonic_ns() + pause_ns(collector->laters_count++);
}

/* The entry for one more emission; there is one for every free connection. */
static struct bulla_emission *emission_free(struct collector *collector)
{
    for (uint32_t i = 0; i < collector->connections; i++) {
        if (!collector->emission_busy[i])
            return &collector->emissions[i];
    }
    return NULL;
}

/* The same bytes each time: what comes twice is the same twice. */
static void emission_mark(const struct collector *collector, const struct bulla_emission *emission,
                          struct marked *marked)
{
    char value[MARK_VALUE_BYTES];
    *marked = (struct marked){.mail_bytes = emission->mail_bytes};
    if (emission->kind == BULLA_EMISSION_MAIL &&
        mark_mail(collector->mark_key, emission->envelope_id, emission->spans,
                  emission->spans_count, value)) {
        const int bytes =
            snprintf(marked->field, sizeof(marked->field), MARK_FIELD ": %s\r\n", value);
        marked->spans[marked->spans_count++] = (struct iovec){marked->field, (size_t)bytes};
        marked->mail_bytes += (size_t)bytes;
    }
    for (uint32_t i = 0; i < emission->spans_count; i++)
        marked->spans[marked->spans_count++] = emission->spans[i];
}

static void emission_start(struct collector *collector, struct bulla_emission *emission)
{
    const size_t index = (size_t)(emission - collector->emissions);
    struct marked *marked = &collector->marked[index];
    emission_mark(collector, emission, marked);
    const struct relay_mail mail = {
        .sender = emission->sender,
        .recipients = emission->recipients,
        .recipients_count = emission->recipients_count,
        .spans = marked->spans,
        .spans_count = marked->spans_count,
        .mail_bytes = marked->mail_bytes,
        .user = emission,
    };
    collector->emission_busy[index] = true;
    if (relay_start(collector->relay, &mail))
        return;
    const struct relay_end none = {
        .user = emission, .result = RELAY_LATER, .text = "out of memory"};
    emission_done(collector, &none);
}

/* As many as there are free connections, unless the mail server gets its pause. False: that was all
 * there is, and the bell may be slept on. */
static bool collector_take(struct collector *collector)
{
    while (collector->session != NULL && !collector->gone && !atomic_load(&collector->stopping) &&
           clock_monotonic_ns() >= collector->take_after_ns) {
        struct bulla_emission *emission = emission_free(collector);
        if (emission == NULL)
            return true;
        const int count = bulla_collect_poll(collector->session, emission, 1);
        if (count < 0)
            collector->gone = true;
        if (count <= 0)
            return false;
        emission_start(collector, emission);
    }
    return false;
}

/* The engine's bell is left out while nothing may be taken: it would ring all the time. */
static void collector_work(struct collector *collector)
{
    struct relay_end ends[RELAY_CONNECTIONS_MAX];
    int fds[2] = {collector->wake_fd};
    uint32_t fds_count = 1;
    uint64_t rings;
    int wait_ms = COLLECTOR_IDLE_MS;
    const bool more = collector_take(collector);
    const uint64_t now_ns = clock_monotonic_ns();
    if (collector->take_after_ns > now_ns)
        wait_ms = (int)MIN((collector->take_after_ns - now_ns) / NS_PER_MS + 1,
                           (uint64_t)COLLECTOR_IDLE_MS);
    else if (!more && collector->session != NULL && !collector->gone &&
             !atomic_load(&collector->stopping))
        fds[fds_count++] = bulla_collect_fd(collector->session);
    const uint32_t count =
        relay_run(collector->relay, fds, fds_count, wait_ms, ends, RELAY_CONNECTIONS_MAX);
    for (uint32_t i = 0; i < count; i++)
        emission_done(collector, &ends[i]);
    const ssize_t got = read(collector->wake_fd, &rings, sizeof(rings));
    (void)got;
}

static void *collector_run(void *context)
{
    struct collector *collector = context;
    uint64_t end_ns = 0;
    for (;;) {
        if (atomic_load(&collector->stopping)) {
            const uint64_t now_ns = clock_monotonic_ns();
            if (end_ns == 0)
                end_ns = now_ns + collector->drain_s * NS_PER_S;
            if (relay_busy_count(collector->relay) == 0 || now_ns >= end_ns)
                break;
        }
        collector_detach(collector);
        collector_attach(collector);
        collector_work(collector);
    }
    return NULL;
}

int collector_open(struct collector **collector, const struct collector_config *config)
{
    struct collector *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->connections = config->connections;
    made->drain_s = config->drain_s;
    made->mark_key = config->mark_key;
    const struct relay_config relay_config = {.address = config->address,
                                              .hostname = config->hostname,
                                              .connections = config->connections};
    int rc = relay_open(&made->relay, &relay_config);
    if (rc != 0)
        goto free_collector;
    rc = -ENOMEM;
    made->socket_path = strdup(config->socket_path);
    if (made->socket_path == NULL)
        goto close_relay;
    made->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (made->wake_fd < 0) {
        rc = -errno;
        goto free_path;
    }
    rc = -pthread_create(&made->thread, NULL, collector_run, made);
    if (rc != 0)
        goto close_fd;
    *collector = made;
    return 0;

close_fd:
    (void)close(made->wake_fd);
free_path:
    free(made->socket_path);
close_relay:
    relay_close(made->relay);
free_collector:
    free(made);
    return rc;
}

void collector_close(struct collector *collector)
{
    const uint64_t one = 1;
    if (collector == NULL)
        return;
    atomic_store(&collector->stopping, true);
    const ssize_t written = write(collector->wake_fd, &one, sizeof(one));
    (void)written;
    (void)pthread_join(collector->thread, NULL);
    relay_close(collector->relay);
    bulla_collect_end(collector->session);
    (void)close(collector->wake_fd);
    free(collector->socket_path);
    free(collector);
}
