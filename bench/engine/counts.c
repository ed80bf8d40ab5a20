#include "bench/engine/counts.h"

#include "base/assert.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <syslog.h>
#include <unistd.h>

static struct counts_page counts_own; /* until, or without, a file */
static struct counts_page *counts_page = &counts_own;
static _Thread_local struct counts_thread *counts_thread;

struct counts_thread *counts_mine(void)
{
    if (counts_thread == NULL) {
        const uint32_t index =
            atomic_fetch_add_explicit(&counts_page->threads_count, 1, memory_order_relaxed);
        counts_thread = &counts_page->threads[MIN(index, (uint32_t)COUNTS_THREADS_MAX - 1)];
        atomic_store_explicit(&counts_thread->worker_index, COUNTS_NOT_WORKER,
                              memory_order_relaxed);
        /* Release pairs with the reader's acquire: an entry with a tid is filled in. */
        atomic_store_explicit(&counts_thread->tid, (uint32_t)gettid(), memory_order_release);
    }
    return counts_thread;
}

int counts_open(const char *path)
{
    ASSERT(counts_page == &counts_own);
    const int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    int rc = ftruncate(fd, sizeof(struct counts_page)) == 0 ? 0 : -errno;
    void *at = rc != 0 ? MAP_FAILED
                       : mmap(NULL, sizeof(struct counts_page), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_POPULATE, fd, 0);
    if (rc == 0 && at == MAP_FAILED)
        rc = -errno;
    (void)close(fd);
    if (rc != 0)
        return rc;
    counts_page = at;
    counts_thread = NULL;
    atomic_store_explicit(&counts_page->magic, COUNTS_MAGIC, memory_order_release);
    return 0;
}

bool counts_keys_away(void)
{
    /* Relaxed: nothing else is told by it. */
    return atomic_load_explicit(&counts_page->keys_away, memory_order_relaxed) != 0;
}

/* The linker's names: a call of f() arrives at __wrap_f(), and __real_f() is the library's own. */
void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *at, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
int __real_posix_memalign(void **at, size_t alignment, size_t bytes);
void __real_free(void *at);
int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __real_pthread_mutex_trylock(pthread_mutex_t *mutex);
int __real_pthread_rwlock_rdlock(pthread_rwlock_t *lock);
int __real_pthread_rwlock_wrlock(pthread_rwlock_t *lock);
int __real_pthread_spin_lock(pthread_spinlock_t *lock);
int __real_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex);
int __real_sem_wait(sem_t *semaphore);
int __real_rte_vlog(uint32_t level, uint32_t type, const char *format, va_list arguments);

void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *at, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
int __wrap_posix_memalign(void **at, size_t alignment, size_t bytes);
void __wrap_free(void *at);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_trylock(pthread_mutex_t *mutex);
int __wrap_pthread_rwlock_rdlock(pthread_rwlock_t *lock);
int __wrap_pthread_rwlock_wrlock(pthread_rwlock_t *lock);
int __wrap_pthread_spin_lock(pthread_spinlock_t *lock);
int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex);
int __wrap_sem_wait(sem_t *semaphore);
int __wrap_rte_vlog(uint32_t level, uint32_t type, const char *format, va_list arguments);
int __wrap_rte_log(uint32_t level, uint32_t type, const char *format, ...);
void __wrap_syslog(int priority, const char *format, ...);
void __wrap_log_line(enum log_level level, const char *event, const char *format, ...)
    PRINTF_LIKE(3, 4);
void __real_log_line(enum log_level level, const char *event, const char *format, ...)
    PRINTF_LIKE(3, 4);

void *__wrap_malloc(size_t bytes)
{
    counts_add(&counts_mine()->allocator_calls, 1);
    return __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    counts_add(&counts_mine()->allocator_calls, 1);
    return __real_calloc(count, bytes);
}

void *__wrap_realloc(void *at, size_t bytes)
{
    counts_add(&counts_mine()->allocator_calls, 1);
    return __real_realloc(at, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    counts_add(&counts_mine()->allocator_calls, 1);
    return __real_aligned_alloc(alignment, bytes);
}

int __wrap_posix_memalign(void **at, size_t alignment, size_t bytes)
{
    counts_add(&counts_mine()->allocator_calls, 1);
    return __real_posix_memalign(at, alignment, bytes);
}

void __wrap_free(void *at)
{
    counts_add(&counts_mine()->allocator_calls, 1);
    __real_free(at);
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
    counts_add(&counts_mine()->lock_calls, 1);
    return __real_pthread_mutex_lock(mutex);
}

int __wrap_pthread_mutex_trylock(pthread_mutex_t *mutex)
{
    counts_add(&counts_mine()->lock_calls, 1);
    return __real_pthread_mutex_trylock(mutex);
}

int __wrap_pthread_rwlock_rdlock(pthread_rwlock_t *lock)
{
    counts_add(&counts_mine()->lock_calls, 1);
    return __real_pthread_rwlock_rdlock(lock);
}

int __wrap_pthread_rwlock_wrlock(pthread_rwlock_t *lock)
{
    counts_add(&counts_mine()->lock_calls, 1);
    return __real_pthread_rwlock_wrlock(lock);
}

int __wrap_pthread_spin_lock(pthread_spinlock_t *lock)
{
    counts_add(&counts_mine()->lock_calls, 1);
    return __real_pthread_spin_lock(lock);
}

int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
    counts_add(&counts_mine()->lock_calls, 1);
    return __real_pthread_cond_wait(condition, mutex);
}

int __wrap_sem_wait(sem_t *semaphore)
{
    counts_add(&counts_mine()->lock_calls, 1);
    return __real_sem_wait(semaphore);
}

int __wrap_rte_vlog(uint32_t level, uint32_t type, const char *format, va_list arguments)
{
    counts_add(&counts_mine()->log_calls, 1);
    return __real_rte_vlog(level, type, format, arguments);
}

int __wrap_rte_log(uint32_t level, uint32_t type, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    counts_add(&counts_mine()->log_calls, 1);
    const int rc = __real_rte_vlog(level, type, format, arguments);
    va_end(arguments);
    return rc;
}

void __wrap_syslog(int priority, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    counts_add(&counts_mine()->log_calls, 1);
    vsyslog(priority, format, arguments);
    va_end(arguments);
}

void __wrap_log_line(enum log_level level, const char *event, const char *format, ...)
{
    char text[LOG_LINE_BYTES_MAX];
    va_list arguments;
    va_start(arguments, format);
    counts_add(&counts_mine()->log_calls, 1);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    __real_log_line(level, event, "%s", text);
}
