#include "keyservice/server/http/work.h"

#include "base/assert.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct work {
    pthread_mutex_t mutex;
    pthread_cond_t waiting;
    work_run *run;
    uint32_t head;
    uint32_t count;
    bool stop;
    uint32_t threads_count;
    pthread_t threads[WORK_THREADS_MAX];
    void *tasks[WORK_WAITING_MAX];
};

/* NULL at the end, when nothing waits any more. */
static void *task_take(struct work *work)
{
    void *task = NULL;
    (void)pthread_mutex_lock(&work->mutex);
    while (work->count == 0 && !work->stop)
        (void)pthread_cond_wait(&work->waiting, &work->mutex);
    if (work->count > 0) {
        task = work->tasks[work->head];
        work->head = (work->head + 1) % WORK_WAITING_MAX;
        work->count--;
    }
    (void)pthread_mutex_unlock(&work->mutex);
    return task;
}

static void *thread_run(void *argument)
{
    struct work *work = argument;
    for (void *task = task_take(work); task != NULL; task = task_take(work))
        work->run(task);
    return NULL;
}

int work_open(struct work **work, uint32_t threads_count, work_run *run)
{
    ASSERT(threads_count > 0 && threads_count <= WORK_THREADS_MAX);
    struct work *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->run = run;
    (void)pthread_mutex_init(&made->mutex, NULL);
    (void)pthread_cond_init(&made->waiting, NULL);
    for (uint32_t i = 0; i < threads_count; i++) {
        const int rc = -pthread_create(&made->threads[i], NULL, thread_run, made);
        if (rc != 0) {
            work_close(made);
            return rc;
        }
        made->threads_count++;
    }
    *work = made;
    return 0;
}

void work_close(struct work *work)
{
    if (work == NULL)
        return;
    (void)pthread_mutex_lock(&work->mutex);
    work->stop = true;
    (void)pthread_cond_broadcast(&work->waiting);
    (void)pthread_mutex_unlock(&work->mutex);
    for (uint32_t i = 0; i < work->threads_count; i++)
        (void)pthread_join(work->threads[i], NULL);
    (void)pthread_cond_destroy(&work->waiting);
    (void)pthread_mutex_destroy(&work->mutex);
    free(work);
}

bool work_push(struct work *work, void *task)
{
    bool pushed = false;
    ASSERT(task != NULL);
    (void)pthread_mutex_lock(&work->mutex);
    if (!work->stop && work->count < WORK_WAITING_MAX) {
        work->tasks[(work->head + work->count) % WORK_WAITING_MAX] = task;
        work->count++;
        pushed = true;
    }
    (void)pthread_mutex_unlock(&work->mutex);
    if (pushed) /* without the mutex, which whoever wakes wants first */
        (void)pthread_cond_signal(&work->waiting);
    return pushed;
}
