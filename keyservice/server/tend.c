#include "keyservice/server/tend.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct tend_task {
    const char *name;
    tend_run *run;
    void *context;
    uint64_t every_ns;
    uint64_t due_ns; /* monotonic */
    uint32_t again_count;
};

struct tend {
    struct tend_task tasks[TEND_TASKS_MAX]; /* constant but for the thread's own times */
    uint32_t tasks_count;
    tend_may *may;
    void *context;
    pthread_t thread;
    bool started;
    pthread_mutex_t mutex; /* of `stop` */
    pthread_cond_t stopped;
    bool stop;
};

int tend_open(struct tend **tend, tend_may *may, void *context)
{
    pthread_condattr_t monotonic;
    struct tend *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->may = may;
    made->context = context;
    (void)pthread_mutex_init(&made->mutex, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&made->stopped, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    *tend = made;
    return 0;
}

int tend_add(struct tend *tend, const char *name, uint32_t every_s, tend_run *run, void *context)
{
    ASSERT(!tend->started);
    ASSERT(every_s > 0);
    if (tend->tasks_count == TEND_TASKS_MAX)
        return -ENOSPC;
    tend->tasks[tend->tasks_count++] = (struct tend_task){
        .name = name, .run = run, .context = context, .every_ns = every_s * NS_PER_S};
    return 0;
}

/* The one that is due first. */
static struct tend_task *task_next(struct tend *tend)
{
    struct tend_task *next = &tend->tasks[0];
    for (uint32_t i = 1; i < tend->tasks_count; i++)
        if (tend->tasks[i].due_ns < next->due_ns)
            next = &tend->tasks[i];
    return next;
}

static void task_run(const struct tend *tend, struct tend_task *task)
{
    int rc = 0;
    if (tend->may == NULL || tend->may(tend->context))
        rc = task->run(task->context);
    if (rc < 0)
        log_line(LOG_LEVEL_WARNING, "tend_failed", "task=%s errno=%d", task->name, -rc);
    /* At once again, but behind whatever else is due: its own time is now. Much work goes on after
     * a pause, and not at the task's next time: else more would come in meanwhile than is done. */
    const bool again = rc == TEND_AGAIN && task->again_count < TEND_AGAIN_MAX;
    const uint64_t wait_ns =
        rc == TEND_AGAIN ? MIN(TEND_PAUSE_MS * NS_PER_MS, task->every_ns) : task->every_ns;
    task->again_count = again ? task->again_count + 1 : 0;
    task->due_ns = clock_monotonic_ns() + (again ? 0 : wait_ns);
}

static void *tend_loop(void *argument)
{
    struct tend *tend = argument;
    (void)pthread_mutex_lock(&tend->mutex);
    while (!tend->stop) {
        struct tend_task *task = task_next(tend);
        if (task->due_ns > clock_monotonic_ns()) {
            const struct timespec until = {.tv_sec = (time_t)(task->due_ns / NS_PER_S),
                                           .tv_nsec = (long)(task->due_ns % NS_PER_S)};
            (void)pthread_cond_timedwait(&tend->stopped, &tend->mutex, &until);
            continue;
        }
        (void)pthread_mutex_unlock(&tend->mutex);
        task_run(tend, task);
        (void)pthread_mutex_lock(&tend->mutex);
    }
    (void)pthread_mutex_unlock(&tend->mutex);
    return NULL;
}

int tend_start(struct tend *tend)
{
    const uint64_t now_ns = clock_monotonic_ns();
    ASSERT(tend->tasks_count > 0);
    for (uint32_t i = 0; i < tend->tasks_count; i++)
        tend->tasks[i].due_ns = now_ns + tend->tasks[i].every_ns;
    const int rc = -pthread_create(&tend->thread, NULL, tend_loop, tend);
    tend->started = rc == 0;
    return rc;
}

void tend_close(struct tend *tend)
{
    if (tend == NULL)
        return;
    (void)pthread_mutex_lock(&tend->mutex);
    tend->stop = true;
    (void)pthread_cond_signal(&tend->stopped);
    (void)pthread_mutex_unlock(&tend->mutex);
    if (tend->started)
        (void)pthread_join(tend->thread, NULL);
    (void)pthread_cond_destroy(&tend->stopped);
    (void)pthread_mutex_destroy(&tend->mutex);
    free(tend);
}
