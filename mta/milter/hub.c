#include "mta/milter/hub.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "mta/milter/away.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define HUB_SLOTS           256 /* with one of its workers at once */
#define HUB_BURST           32
#define HUB_PROGRESS_MS     10000
#define HUB_ATTACH_PAUSE_MS 100
#define HUB_MORE_TIMEOUT_MS 1000 /* others' messages wait meanwhile */
#define HUB_IDLE_MS         1000
#define HUB_MORE_PAUSE_MS   10000              /* when a further attachment is refused, ... */
#define HUB_MORE_PAUSE_MAX  (600 * 1000)       /* ... doubled up to this: the engine logs each */
#define HUB_INPUT_BYTES     ((size_t)64 << 20) /* of all attachments, if no mail needs more */

enum job_state {
    JOB_QUEUED,    /* in the queue; its asker may take it back        */
    JOB_CARRIED,   /* the hub reads the asker's bytes                 */
    JOB_AT_ENGINE, /* the engine has it; the asker may give up on it  */
    JOB_DONE,      /* the asker's again                               */
};

struct job {
    struct job *next; /* in the queue */
    const struct hub_request *request;
    size_t mail_bytes;
    uint64_t born_ns;
    enum job_state state;
    bool abandoned;      /* nobody waits any more: the hub frees it */
    uint32_t slot_index; /* of its link */
    struct link *link;
    struct hub_answer answer;
    pthread_cond_t done;
};

/* An attachment: to one of the engine's workers. */
struct link {
    struct bulla *bulla; /* NULL: none */
    struct job *at_engine[HUB_SLOTS];
    uint32_t free_slots[HUB_SLOTS];
    uint32_t free_count;
};

struct hub {
    struct hub_config config;
    char *socket_path;
    pthread_t thread;
    pthread_mutex_t lock; /* queue, jobs' states, stopping */
    struct job *queue_first;
    struct job **queue_end;
    uint32_t jobs_count;
    bool stopping;
    int wake_fd;
    /* The thread's own. */
    struct link links[HUB_LINKS_MAX];
    uint32_t links_count;  /* that are attached */
    uint32_t links_wanted; /* one, until an engine has said how many workers it has */
    uint32_t link_turn;
    uint64_t attach_after_ns;
    uint64_t more_after_ns;
    uint64_t more_pause_ms;
    int attach_error;
    int more_error;
};

static void PRINTF_LIKE(4, 5) answer_set(struct hub_answer *answer, enum bulla_status status,
                                         const char *enhanced, const char *format, ...)
{
    va_list args;
    *answer = (struct hub_answer){.status = status};
    (void)snprintf(answer->enhanced_status, sizeof(answer->enhanced_status), "%s", enhanced);
    va_start(args, format);
    (void)vsnprintf(answer->text, sizeof(answer->text), format, args);
    va_end(args);
}

void hub_answer_fini(struct hub_answer *answer)
{
    free(answer->mail);
    answer->mail = NULL;
    answer->mail_bytes = 0;
}

static void job_free(struct job *job)
{
    hub_answer_fini(&job->answer);
    (void)pthread_cond_destroy(&job->done);
    free(job);
}

/* The job's answer stands: its asker wakes, or, when there is none any more, the job goes. */
static void job_finish(struct hub *hub, struct job *job)
{
    (void)pthread_mutex_lock(&hub->lock);
    ASSERT(job->state == JOB_CARRIED || job->state == JOB_AT_ENGINE);
    job->state = JOB_DONE;
    hub->jobs_count--;
    const bool abandoned = job->abandoned;
    if (!abandoned)
        (void)pthread_cond_signal(&job->done);
    (void)pthread_mutex_unlock(&hub->lock);
    if (!abandoned)
        return;
    if (job->answer.status == BULLA_QUEUED)
        log_line(LOG_LEVEL_WARNING, "late",
                 "status=queued id=%s why=\"its client was told to try "
                 "again: it may come twice\"",
                 job->answer.envelope_id);
    job_free(job);
}

static void hub_wake(struct hub *hub)
{
    const uint64_t one = 1;
    const ssize_t written = write(hub->wake_fd, &one, sizeof(one));
    (void)written; /* fails only when it is readable anyway */
}

/* --- the thread ----------------------------------------------------------------------------------
 */

static struct job *queue_take(struct hub *hub)
{
    (void)pthread_mutex_lock(&hub->lock);
    struct job *job = hub->queue_first;
    if (job != NULL) {
        hub->queue_first = job->next;
        if (hub->queue_first == NULL)
            hub->queue_end = &hub->queue_first;
        job->next = NULL;
        job->state = JOB_CARRIED;
    }
    (void)pthread_mutex_unlock(&hub->lock);
    return job;
}

/* Not now after all: it stays the first. */
static void queue_give_back(struct hub *hub, struct job *job)
{
    (void)pthread_mutex_lock(&hub->lock);
    job->state = JOB_QUEUED;
    job->next = hub->queue_first;
    if (hub->queue_first == NULL)
        hub->queue_end = &job->next;
    hub->queue_first = job;
    (void)pthread_cond_signal(&job->done); /* its asker may have waited to give up */
    (void)pthread_mutex_unlock(&hub->lock);
}

static bool queue_has_some(struct hub *hub)
{
    (void)pthread_mutex_lock(&hub->lock);
    const bool some = hub->queue_first != NULL;
    (void)pthread_mutex_unlock(&hub->lock);
    return some;
}

/* Those that have waited for an engine longer than their share; all of them when it is to stop. */
static void queue_put_off(struct hub *hub, uint64_t born_before_ns, const char *why)
{
    for (uint32_t n = 0; n < HUB_JOBS_MAX; n++) {
        struct job *job = queue_take(hub);
        if (job == NULL)
            return;
        if (job->born_ns > born_before_ns) {
            queue_give_back(hub, job);
            return; /* the queue is in the order of birth */
        }
        answer_set(&job->answer, BULLA_RETRY, "4.3.0", "%s", why);
        job_finish(hub, job);
    }
}

/* Nobody hears any more what becomes of what the engine had of it; how many these were. */
static uint32_t link_end(struct hub *hub, struct link *link)
{
    uint32_t lost = 0;
    for (uint32_t i = 0; i < HUB_SLOTS; i++) {
        struct job *job = link->at_engine[i];
        if (job == NULL)
            continue;
        link->at_engine[i] = NULL;
        link->free_slots[link->free_count++] = i;
        answer_set(&job->answer, BULLA_RETRY, "4.3.0", "the sealing engine has gone; try again");
        job_finish(hub, job);
        lost++;
    }
    bulla_detach(link->bulla);
    link->bulla = NULL;
    hub->links_count--;
    return lost;
}

/* The engine, or the worker at the other end, is gone. */
static void link_lose(struct hub *hub, struct link *link)
{
    const uint32_t lost = link_end(hub, link);
    log_line(LOG_LEVEL_WARNING, "engine_gone", "messages=%u", lost);
}

static int link_attach(struct hub *hub, size_t input_bytes, uint32_t timeout_ms)
{
    struct link *link = hub->links;
    while (link->bulla != NULL)
        link++; /* links_count says that one is free */
    const struct bulla_config config = {
        .socket_path = hub->socket_path,
        .slots_count = HUB_SLOTS,
        .input_bytes = MAX(hub->config.mail_bytes_max, input_bytes),
        .attach_timeout_ms = timeout_ms,
    };
    const int rc = bulla_attach(&link->bulla, &config);
    if (rc != 0) {
        link->bulla = NULL;
        return rc;
    }
    (void)bulla_fd(link->bulla);
    hub->links_count++;
    hub->links_wanted = MIN(bulla_workers_count(link->bulla), (uint32_t)HUB_LINKS_MAX);
    log_line(LOG_LEVEL_INFO, "attached", "socket=%s attachment=%u of=%u", hub->socket_path,
             hub->links_count, hub->links_wanted);
    return 0;
}

static void hub_attach(struct hub *hub)
{
    const uint64_t now_ns = clock_monotonic_ns();
    if (hub->links_count > 0 || now_ns < hub->attach_after_ns)
        return;
    const int rc = link_attach(hub, HUB_INPUT_BYTES, 0);
    if (rc != 0) {
        hub->attach_after_ns = clock_monotonic_ns() + HUB_ATTACH_PAUSE_MS * NS_PER_MS;
        if (rc != hub->attach_error)
            log_line(LOG_LEVEL_ERROR, "no_engine", "socket=%s why=\"%s\"", hub->socket_path,
                     away_words(rc));
    }
    hub->attach_error = rc;
    hub->more_after_ns = 0;
}

/* To its other workers. An engine that has no room for more serves all by what there is. */
static void hub_attach_more(struct hub *hub)
{
    if (hub->links_count == 0 || clock_monotonic_ns() < hub->more_after_ns)
        return;
    while (hub->links_count < hub->links_wanted) {
        const int rc = link_attach(hub, HUB_INPUT_BYTES / hub->links_wanted, HUB_MORE_TIMEOUT_MS);
        if (rc != 0) {
            hub->more_pause_ms =
                MIN(MAX(2 * hub->more_pause_ms, HUB_MORE_PAUSE_MS), HUB_MORE_PAUSE_MAX);
            hub->more_after_ns = clock_monotonic_ns() + hub->more_pause_ms * NS_PER_MS;
            if (rc != hub->more_error)
                log_line(LOG_LEVEL_WARNING, "attached_to_fewer", "attachments=%u of=%u why=\"%s\"",
                         hub->links_count, hub->links_wanted, away_words(rc));
            hub->more_error = rc;
            return;
        }
        hub->more_error = 0;
        hub->more_pause_ms = 0;
    }
}

static void job_write(const struct job *job, uint8_t *at)
{
    for (uint32_t i = 0; i < HUB_PARTS; i++) {
        const struct iovec *part = &job->request->parts[i];
        if (part->iov_len > 0)
            memcpy(at, part->iov_base, part->iov_len);
        at += part->iov_len;
    }
}

static void job_refuse(struct hub *hub, struct job *job, int rc)
{
    if (rc == -EINVAL)
        answer_set(&job->answer, BULLA_REFUSED, "5.1.3", "an address cannot be taken");
    else
        answer_set(&job->answer, BULLA_RETRY, "4.3.1", "the sealing engine cannot be given it (%s)",
                   strerror(-rc));
    job_finish(hub, job);
}

/* 0: with the engine, or answered. -EAGAIN: no room there now. -EPIPE: it is gone. */
static int job_submit(struct hub *hub, struct link *link, struct job *job)
{
    const struct hub_request *asked = job->request;
    const struct bulla_request request = {
        .profile = asked->profile,
        .sender = asked->sender,
        .recipients = asked->recipients,
        .recipients_count = asked->recipients_count,
        .flags = asked->may_queue ? BULLA_QUEUE : 0,
        .mail_bytes = job->mail_bytes,
        .options = asked->options,
        .user = job,
    };
    struct bulla_reservation reservation;
    int rc = bulla_reserve(link->bulla, &request, &reservation);
    if (rc == -EAGAIN || rc == -EPIPE)
        return rc;
    if (rc != 0) {
        job_refuse(hub, job, rc);
        return 0;
    }
    job_write(job, reservation.mail);
    rc = bulla_submit(link->bulla, &reservation);
    if (rc != 0) {
        bulla_cancel(link->bulla, &reservation);
        return rc;
    }
    (void)pthread_mutex_lock(&hub->lock);
    job->state = JOB_AT_ENGINE;
    job->request = NULL; /* its bytes are copied, its asker may go */
    job->link = link;
    job->slot_index = link->free_slots[--link->free_count];
    link->at_engine[job->slot_index] = job;
    (void)pthread_mutex_unlock(&hub->lock);
    return 0;
}

/* The one that has the fewest messages, of those that were not tried; of equal ones in turn. NULL:
 * none has room. */
static struct link *link_pick(struct hub *hub, uint32_t tried)
{
    struct link *best = NULL;
    for (uint32_t n = 0; n < HUB_LINKS_MAX; n++) {
        const uint32_t i = (hub->link_turn + n) % HUB_LINKS_MAX;
        struct link *link = &hub->links[i];
        if (link->bulla != NULL && (tried >> i & 1) == 0 && link->free_count > 0 &&
            (best == NULL || link->free_count > best->free_count))
            best = link;
    }
    if (best != NULL)
        hub->link_turn = (uint32_t)(best - hub->links) + 1;
    return best;
}

/* As job_submit(), wherever there is room; one that is gone is lost meanwhile. */
static int job_place(struct hub *hub, struct job *job)
{
    uint32_t tried = 0;
    for (struct link *link = link_pick(hub, tried); link != NULL; link = link_pick(hub, tried)) {
        const int rc = job_submit(hub, link, job);
        if (rc == 0)
            return 0;
        tried |= UINT32_C(1) << (link - hub->links);
        if (rc == -EPIPE)
            link_lose(hub, link);
    }
    return -EAGAIN;
}

static void hub_submit(struct hub *hub)
{
    for (uint32_t n = 0; n < HUB_JOBS_MAX && hub->links_count > 0; n++) {
        struct job *job = queue_take(hub);
        if (job == NULL)
            return;
        if (job_place(hub, job) != 0) {
            queue_give_back(hub, job);
            return;
        }
    }
}

static void hub_complete(struct hub *hub, struct link *link,
                         const struct bulla_completion *completion)
{
    struct job *job = completion->user;
    ASSERT(job->link == link && link->at_engine[job->slot_index] == job);
    link->at_engine[job->slot_index] = NULL;
    link->free_slots[link->free_count++] = job->slot_index;
    answer_set(&job->answer, completion->status, completion->enhanced_status, "%s",
               completion->text);
    memcpy(job->answer.envelope_id, completion->envelope_id, sizeof(job->answer.envelope_id));
    if (completion->status == BULLA_SEALED) {
        uint8_t *mail = malloc(completion->mail_bytes + 1);
        if (mail == NULL) {
            answer_set(&job->answer, BULLA_RETRY, "4.3.1", "out of memory");
        } else {
            job->answer.mail = mail;
            job->answer.mail_bytes = bulla_flatten(completion, mail, completion->mail_bytes);
        }
    }
    bulla_release(link->bulla, completion);
    job_finish(hub, job);
}

/* Everything that has come; afterwards the bell may be slept on. */
static void link_poll(struct hub *hub, struct link *link)
{
    struct bulla_completion completions[HUB_BURST];
    for (uint32_t n = 0; n <= HUB_SLOTS / HUB_BURST; n++) {
        const int count = bulla_poll(link->bulla, completions, HUB_BURST);
        if (count < 0) {
            link_lose(hub, link);
            return;
        }
        for (int i = 0; i < count; i++)
            hub_complete(hub, link, &completions[i]);
        if (count < HUB_BURST)
            return;
    }
}

static void hub_poll(struct hub *hub)
{
    for (uint32_t i = 0; i < HUB_LINKS_MAX; i++)
        if (hub->links[i].bulla != NULL)
            link_poll(hub, &hub->links[i]);
}

static void hub_sleep(struct hub *hub)
{
    struct pollfd bells[1 + HUB_LINKS_MAX] = {{.fd = hub->wake_fd, .events = POLLIN}};
    nfds_t count = 1;
    int timeout_ms = HUB_IDLE_MS;
    uint64_t rings;
    for (uint32_t i = 0; i < HUB_LINKS_MAX; i++)
        if (hub->links[i].bulla != NULL)
            bells[count++] = (struct pollfd){.fd = bulla_fd(hub->links[i].bulla), .events = POLLIN};
    if (hub->links_count == 0 && queue_has_some(hub))
        timeout_ms = HUB_ATTACH_PAUSE_MS;
    (void)poll(bells, count, timeout_ms);
    const ssize_t got = read(hub->wake_fd, &rings, sizeof(rings));
    (void)got; /* it does not block, and what it counts does not matter */
}

static bool hub_stops(struct hub *hub)
{
    (void)pthread_mutex_lock(&hub->lock);
    const bool stopping = hub->stopping;
    (void)pthread_mutex_unlock(&hub->lock);
    return stopping;
}

static void *hub_run(void *context)
{
    struct hub *hub = context;
    hub_attach(hub); /* before anybody asks: a wrong socket is told of at once */
    while (!hub_stops(hub)) {
        if (hub->links_count == 0 && queue_has_some(hub)) {
            hub_attach(hub);
            const uint64_t patience_ns = hub->config.patience_ms * NS_PER_MS;
            const uint64_t now_ns = clock_monotonic_ns();
            if (hub->links_count == 0 && now_ns > patience_ns)
                queue_put_off(hub, now_ns - patience_ns, "the sealing engine is away; try again");
        }
        hub_attach_more(hub);
        hub_submit(hub);
        hub_poll(hub);
        hub_submit(hub); /* into the room that the completions left */
        hub_sleep(hub);
    }
    queue_put_off(hub, UINT64_MAX, "the service stops; try again");
    for (uint32_t i = 0; i < HUB_LINKS_MAX; i++)
        if (hub->links[i].bulla != NULL)
            (void)link_end(hub, &hub->links[i]);
    return NULL;
}

/* --- everybody else
 * ------------------------------------------------------------------------------- */

int hub_open(struct hub **hub, const struct hub_config *config)
{
    struct hub *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    int rc = -ENOMEM;
    made->config = *config;
    made->queue_end = &made->queue_first;
    made->links_wanted = 1;
    for (uint32_t n = 0; n < HUB_LINKS_MAX; n++)
        for (uint32_t i = 0; i < HUB_SLOTS; i++)
            made->links[n].free_slots[made->links[n].free_count++] = i;
    made->socket_path = strdup(config->socket_path);
    if (made->socket_path == NULL)
        goto free_hub;
    made->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (made->wake_fd < 0) {
        rc = -errno;
        goto free_path;
    }
    (void)pthread_mutex_init(&made->lock, NULL);
    rc = -pthread_create(&made->thread, NULL, hub_run, made);
    if (rc != 0)
        goto close_fd;
    *hub = made;
    return 0;

close_fd:
    (void)pthread_mutex_destroy(&made->lock);
    (void)close(made->wake_fd);
free_path:
    free(made->socket_path);
free_hub:
    free(made);
    return rc;
}

void hub_close(struct hub *hub)
{
    if (hub == NULL)
        return;
    (void)pthread_mutex_lock(&hub->lock);
    hub->stopping = true;
    (void)pthread_mutex_unlock(&hub->lock);
    hub_wake(hub);
    (void)pthread_join(hub->thread, NULL);
    (void)pthread_mutex_destroy(&hub->lock);
    (void)close(hub->wake_fd);
    free(hub->socket_path);
    free(hub);
}

static struct job *job_make(const struct hub_request *request)
{
    pthread_condattr_t monotonic;
    struct job *job = calloc(1, sizeof(*job));
    if (job == NULL)
        return NULL;
    job->request = request;
    job->born_ns = clock_monotonic_ns();
    for (uint32_t i = 0; i < HUB_PARTS; i++)
        job->mail_bytes += request->parts[i].iov_len;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&job->done, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    return job;
}

/* False: there are too many already, or the hub stops. */
static bool job_queue(struct hub *hub, struct job *job)
{
    (void)pthread_mutex_lock(&hub->lock);
    const bool room = !hub->stopping && hub->jobs_count < HUB_JOBS_MAX;
    if (room) {
        hub->jobs_count++;
        *hub->queue_end = job;
        hub->queue_end = &job->next;
    }
    (void)pthread_mutex_unlock(&hub->lock);
    if (room)
        hub_wake(hub);
    return room;
}

/* Under the lock. */
static void queue_remove(struct hub *hub, const struct job *job)
{
    struct job **at = &hub->queue_first;
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    if (hub->queue_end == &job->next)
        hub->queue_end = at;
    hub->jobs_count--;
}

static void wait_until(struct hub *hub, struct job *job, uint64_t until_ns)
{
    const struct timespec until = {.tv_sec = (time_t)(until_ns / NS_PER_S),
                                   .tv_nsec = (long)(until_ns % NS_PER_S)};
    (void)pthread_cond_timedwait(&job->done, &hub->lock, &until);
}

/* True: the job is done. False: time is up, and the job is no longer the asker's. */
static bool job_wait(struct hub *hub, struct job *job, const struct hub_request *request)
{
    const uint64_t end_ns = job->born_ns + hub->config.timeout_ms * NS_PER_MS;
    uint64_t progress_ns = job->born_ns + HUB_PROGRESS_MS * NS_PER_MS;
    (void)pthread_mutex_lock(&hub->lock);
    while (job->state != JOB_DONE) {
        const uint64_t now_ns = clock_monotonic_ns();
        if (now_ns >= end_ns && job->state != JOB_CARRIED) {
            const bool queued = job->state == JOB_QUEUED;
            if (queued)
                queue_remove(hub, job);
            else
                job->abandoned = true;
            (void)pthread_mutex_unlock(&hub->lock);
            if (queued)
                job_free(job);
            return false;
        }
        if (now_ns >= progress_ns) {
            (void)pthread_mutex_unlock(&hub->lock);
            if (request->progress != NULL)
                request->progress(request->context);
            (void)pthread_mutex_lock(&hub->lock);
            progress_ns = now_ns + HUB_PROGRESS_MS * NS_PER_MS;
            continue;
        }
        /* While it is carried its end has to be looked for again. */
        const uint64_t end_look_ns =
            now_ns >= end_ns ? now_ns + HUB_ATTACH_PAUSE_MS * NS_PER_MS : end_ns;
        wait_until(hub, job, MIN(progress_ns, end_look_ns));
    }
    (void)pthread_mutex_unlock(&hub->lock);
    return true;
}

void hub_seal(struct hub *hub, const struct hub_request *request, struct hub_answer *answer)
{
    struct job *job = job_make(request);
    if (job == NULL) {
        answer_set(answer, BULLA_RETRY, "4.3.1", "out of memory");
        return;
    }
    if (!job_queue(hub, job)) {
        answer_set(answer, BULLA_RETRY, "4.3.2", "too many messages are under way; try again");
        job_free(job);
        return;
    }
    if (!job_wait(hub, job, request)) {
        answer_set(answer, BULLA_RETRY, "4.3.0", "the sealing engine did not answer in time");
        return;
    }
    *answer = job->answer;
    job->answer.mail = NULL;
    job_free(job);
}
