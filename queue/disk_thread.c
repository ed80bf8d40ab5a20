/* The disk where io_uring is not allowed: one thread, pwrite(2) and fdatasync(2). */
#include "queue/disk.h"

#include "base/assert.h"
#include "base/clock.h"
#include "queue/disk_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define NO_FILE (-1)

struct disk_thread {
    struct disk disk; /* first */
    int folder_fd;
    int doorbell_fd;
    pthread_t thread;
    uint32_t out;       /* submitted and not reaped; the owner's                          */
    uint32_t new_count; /* submitted and not handed over; the owner's                     */
    struct disk_request fresh[DISK_REQUESTS_MAX];

    pthread_mutex_t lock; /* over all below */
    pthread_cond_t work;
    pthread_cond_t done;
    bool closing;
    bool armed;
    uint32_t requests_head, requests_count;
    uint32_t results_head, results_count;
    struct disk_request requests[DISK_REQUESTS_MAX];
    struct disk_result results[DISK_REQUESTS_MAX];

    bool direct;               /* the thread's */
    int files[DISK_FILES_MAX]; /* the thread's */
};

static int file_place(const struct disk_thread *self)
{
    for (int n = 0; n < DISK_FILES_MAX; n++)
        if (self->files[n] == NO_FILE)
            return n;
    return -EMFILE;
}

static int open_once(struct disk_thread *self, const struct disk_request *request, int flags)
{
    for (uint32_t tries = 0; tries < DISK_TRIES_MAX; tries++) {
        const int fd = openat(self->folder_fd, request->name, flags, 0600);
        if (fd >= 0)
            return fd;
        if (errno != EINTR)
            return -errno;
    }
    return -EINTR;
}

static int64_t file_open(struct disk_thread *self, const struct disk_request *request)
{
    const int place = file_place(self);
    if (place < 0)
        return place;
    int fd = open_once(self, request, disk_open_flags(request->kind, self->direct));
    if (fd == -EINVAL && self->direct) {
        disk_direct_refused(&self->direct);
        /* A file system may have made the file before it refused the flag: no O_EXCL now. */
        fd = open_once(self, request, disk_open_flags(request->kind, false) & ~O_EXCL);
    }
    if (fd < 0)
        return fd;
    if (request->kind == DISK_CREATE) {
        const int rc = disk_allocate(fd, request->bytes);
        if (rc != 0) {
            (void)close(fd);
            (void)unlinkat(self->folder_fd, request->name, 0);
            return rc;
        }
    }
    self->files[place] = fd;
    return place;
}

static int64_t file_sync(int fd, bool data_only)
{
    /* A failed sync is not tried again: the kernel may have dropped what it could not write. */
    return (data_only ? fdatasync(fd) : fsync(fd)) == 0 ? 0 : -errno;
}

static int64_t file_transfer(int fd, const struct disk_request *request)
{
    for (uint32_t tries = 0; tries < DISK_TRIES_MAX; tries++) {
        const ssize_t bytes = request->kind == DISK_READ
                                  ? pread(fd, request->at, request->bytes, (off_t)request->offset)
                                  : pwrite(fd, request->at, request->bytes, (off_t)request->offset);
        if (bytes >= 0)
            return bytes;
        if (errno != EINTR && errno != EAGAIN)
            return -errno;
    }
    return -EINTR;
}

static int64_t file_write(int fd, const struct disk_request *request)
{
    const int64_t bytes = file_transfer(fd, request);
    if (bytes < 0)
        return bytes;
    const int64_t rc = file_sync(fd, true);
    return rc != 0 ? rc : bytes;
}

static int64_t request_do(struct disk_thread *self, const struct disk_request *request)
{
    int fd = NO_FILE;
    if (request->file >= 0 && request->file < DISK_FILES_MAX)
        fd = self->files[request->file];
    switch (request->kind) {
    case DISK_OPEN:
    case DISK_CREATE: return file_open(self, request);
    case DISK_CLOSE:
        if (fd == NO_FILE)
            return -EBADF;
        self->files[request->file] = NO_FILE;
        return close(fd) == 0 ? 0 : -errno;
    case DISK_READ:
    case DISK_FILL: return file_transfer(fd, request);
    case DISK_WRITE: return file_write(fd, request);
    case DISK_SYNC: return file_sync(fd, false);
    case DISK_UNLINK: return unlinkat(self->folder_fd, request->name, 0) == 0 ? 0 : -errno;
    case DISK_SYNC_FOLDER: return file_sync(self->folder_fd, false);
    }
    return -EINVAL;
}

static void doorbell_write(struct disk_thread *self)
{
    const uint64_t one = 1;
    /* Full means that it has rung. */
    (void)!write(self->doorbell_fd, &one, sizeof(one));
}

static void *thread_run(void *argument)
{
    struct disk_thread *self = argument;
    (void)pthread_mutex_lock(&self->lock);
    while (!self->closing) {
        if (self->requests_count == 0) {
            (void)pthread_cond_wait(&self->work, &self->lock);
            continue;
        }
        const struct disk_request request = self->requests[self->requests_head];
        self->requests_head = (self->requests_head + 1) % DISK_REQUESTS_MAX;
        self->requests_count--;
        (void)pthread_mutex_unlock(&self->lock);
        const int64_t result = request_do(self, &request);
        (void)pthread_mutex_lock(&self->lock);
        ASSERT(self->results_count < DISK_REQUESTS_MAX);
        self->results[(self->results_head + self->results_count) % DISK_REQUESTS_MAX] =
            (struct disk_result){.tag = request.tag, .result = result};
        self->results_count++;
        if (self->armed)
            doorbell_write(self);
        (void)pthread_cond_signal(&self->done);
    }
    (void)pthread_mutex_unlock(&self->lock);
    return NULL;
}

static bool thread_submit(struct disk *disk, const struct disk_request *request)
{
    struct disk_thread *self = (struct disk_thread *)disk;
    if (self->out == DISK_REQUESTS_MAX)
        return false;
    if (request->kind == DISK_OPEN || request->kind == DISK_CREATE || request->kind == DISK_UNLINK)
        ASSERT(disk_name_is_plain(request->name));
    self->fresh[self->new_count++] = *request;
    self->out++;
    return true;
}

static void wait_done(struct disk_thread *self, uint64_t wait_ns)
{
    const uint64_t end_ns = clock_monotonic_ns() + MIN(wait_ns, 3600 * NS_PER_S);
    const struct timespec end = {.tv_sec = (time_t)(end_ns / NS_PER_S),
                                 .tv_nsec = (long)(end_ns % NS_PER_S)};
    while (self->results_count == 0)
        if (pthread_cond_timedwait(&self->done, &self->lock, &end) == ETIMEDOUT)
            break;
}

static uint32_t thread_reap(struct disk *disk, uint64_t wait_ns, struct disk_result *results,
                            uint32_t results_max)
{
    struct disk_thread *self = (struct disk_thread *)disk;
    if (self->out == 0)
        return 0;
    (void)pthread_mutex_lock(&self->lock);
    for (uint32_t n = 0; n < self->new_count; n++)
        self->requests[(self->requests_head + self->requests_count++) % DISK_REQUESTS_MAX] =
            self->fresh[n];
    if (self->new_count > 0)
        (void)pthread_cond_signal(&self->work);
    self->new_count = 0;
    if (wait_ns > 0 && results_max > 0)
        wait_done(self, wait_ns);
    uint32_t count = 0;
    for (; count < results_max && self->results_count > 0; count++) {
        results[count] = self->results[self->results_head];
        self->results_head = (self->results_head + 1) % DISK_REQUESTS_MAX;
        self->results_count--;
    }
    (void)pthread_mutex_unlock(&self->lock);
    self->out -= count;
    return count;
}

static int thread_doorbell(struct disk *disk)
{
    return ((struct disk_thread *)disk)->doorbell_fd;
}

static void thread_arm(struct disk *disk, bool armed)
{
    struct disk_thread *self = (struct disk_thread *)disk;
    (void)pthread_mutex_lock(&self->lock);
    self->armed = armed;
    if (armed && self->results_count > 0)
        doorbell_write(self);
    (void)pthread_mutex_unlock(&self->lock);
}

static int thread_list(struct disk *disk, struct disk_entry *entries, uint32_t entries_max)
{
    return disk_folder_list(((struct disk_thread *)disk)->folder_fd, entries, entries_max);
}

static void thread_close(struct disk *disk)
{
    struct disk_thread *self = (struct disk_thread *)disk;
    (void)pthread_mutex_lock(&self->lock);
    self->closing = true;
    (void)pthread_cond_signal(&self->work);
    (void)pthread_mutex_unlock(&self->lock);
    (void)pthread_join(self->thread, NULL);
    for (uint32_t n = 0; n < DISK_FILES_MAX; n++)
        if (self->files[n] != NO_FILE)
            (void)close(self->files[n]);
    (void)pthread_cond_destroy(&self->done);
    (void)pthread_cond_destroy(&self->work);
    (void)pthread_mutex_destroy(&self->lock);
    (void)close(self->doorbell_fd);
    (void)close(self->folder_fd);
    free(self);
}

static const struct disk_ops thread_ops = {
    .submit = thread_submit,
    .reap = thread_reap,
    .doorbell = thread_doorbell,
    .arm = thread_arm,
    .list = thread_list,
    .close = thread_close,
};

/* No signal is ever handled there: the program's own threads take them. */
static int thread_start(struct disk_thread *self)
{
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const int rc = pthread_create(&self->thread, NULL, thread_run, self);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -rc;
}

static void thread_locks_init(struct disk_thread *self)
{
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&self->lock, NULL);
    (void)pthread_cond_init(&self->work, NULL);
    (void)pthread_cond_init(&self->done, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
}

int disk_thread_open(struct disk **disk, const char *folder, char why[DISK_WHY_BYTES])
{
    struct disk_thread *self = calloc(1, sizeof(*self));
    if (self == NULL)
        return -ENOMEM;
    *self = (struct disk_thread){.disk.ops = &thread_ops, .direct = true};
    for (uint32_t n = 0; n < DISK_FILES_MAX; n++)
        self->files[n] = NO_FILE;
    int rc = disk_folder_open(folder, why);
    if (rc < 0)
        goto free_self;
    self->folder_fd = rc;
    self->doorbell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->doorbell_fd < 0) {
        rc = -errno;
        goto close_folder;
    }
    thread_locks_init(self);
    rc = thread_start(self);
    if (rc != 0)
        goto close_doorbell;
    *disk = &self->disk;
    return 0;

close_doorbell:
    (void)close(self->doorbell_fd);
close_folder:
    (void)close(self->folder_fd);
free_self:
    if (rc == -ENOMEM || rc == -EAGAIN || rc == -EMFILE)
        (void)snprintf(why, DISK_WHY_BYTES, "cannot start the disk's thread: %s", strerror(-rc));
    free(self);
    return rc;
}
