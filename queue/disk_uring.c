/* The disk on io_uring: registered files and buffers, RWF_DSYNC, O_DIRECT. */
#include "queue/disk.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "queue/disk_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#define NO_FILE            (-1)
#define BUFFER_BYTES_MAX   ((size_t)1 << 30) /* of one registered buffer, by the kernel */
#define TRANSFER_BYTES_MAX ((uint64_t)1 << 30)

/* What a request does next. Opening takes several steps; the rest has one. */
enum slot_step {
    STEP_FREE,
    STEP_ONLY,
    STEP_OPEN,     /* openat(2)                                       */
    STEP_ALLOCATE, /* of a new file: fallocate(2), then its handle    */
};

struct slot {
    struct disk_request request;
    enum slot_step step;
    int fd;
    int place; /* of the file that is being opened */
    uint32_t tries;
};

struct disk_uring {
    struct disk disk; /* first */
    struct io_uring uring;
    int folder_fd;
    int doorbell_fd;
    bool direct;
    bool fixed_files;
    uint32_t files_max;
    struct disk_memory fixed; /* bytes 0: no registered buffer */
    uint32_t out;             /* submitted and not reaped */
    uint32_t free_count;
    uint32_t free_slots[DISK_REQUESTS_MAX];
    struct slot slots[DISK_REQUESTS_MAX];
    uint32_t ready_count; /* results that needed no completion, or came while there was no room */
    struct disk_result ready[DISK_REQUESTS_MAX];
    int files[DISK_FILES_MAX]; /* descriptors; with fixed_files 0: the handle is registered */
};

static void slot_end(struct disk_uring *self, uint32_t slot_index, int64_t result)
{
    struct slot *slot = &self->slots[slot_index];
    ASSERT(slot->step != STEP_FREE);
    ASSERT(self->ready_count < DISK_REQUESTS_MAX);
    self->ready[self->ready_count++] =
        (struct disk_result){.tag = slot->request.tag, .result = result};
    slot->step = STEP_FREE;
    self->free_slots[self->free_count++] = slot_index;
}

static struct io_uring_sqe *sqe_take(struct disk_uring *self)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&self->uring);
    ASSERT(sqe != NULL); /* one a slot at a time, and as many entries as slots */
    return sqe;
}

/* After the prep function, which clears what it does not know of. */
static void sqe_finish(struct disk_uring *self, struct io_uring_sqe *sqe, uint32_t slot_index,
                       bool on_handle)
{
    if (on_handle && self->fixed_files)
        io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
    io_uring_sqe_set_data64(sqe, slot_index);
}

static int handle_fd(const struct disk_uring *self, int32_t file)
{
    if (file < 0 || (uint32_t)file >= self->files_max || self->files[file] == NO_FILE)
        return -EBADF;
    return self->fixed_files ? file : self->files[file];
}

static bool is_fixed(const struct disk_uring *self, const struct disk_request *request)
{
    const uintptr_t from = (uintptr_t)request->at;
    const uintptr_t base = (uintptr_t)self->fixed.at;
    return from >= base && request->bytes <= self->fixed.bytes &&
           from - base <= self->fixed.bytes - request->bytes;
}

static void prep_transfer(struct disk_uring *self, uint32_t slot_index, int fd)
{
    const struct disk_request *request = &self->slots[slot_index].request;
    struct io_uring_sqe *sqe = sqe_take(self);
    const unsigned bytes = (unsigned)request->bytes;
    const bool reads = request->kind == DISK_READ;
    if (is_fixed(self, request)) {
        if (reads)
            io_uring_prep_read_fixed(sqe, fd, request->at, bytes, request->offset, 0);
        else
            io_uring_prep_write_fixed(sqe, fd, request->at, bytes, request->offset, 0);
    } else {
        if (reads)
            io_uring_prep_read(sqe, fd, request->at, bytes, request->offset);
        else
            io_uring_prep_write(sqe, fd, request->at, bytes, request->offset);
    }
    if (request->kind == DISK_WRITE)
        sqe->rw_flags = RWF_DSYNC;
    sqe_finish(self, sqe, slot_index, true);
}

static void prep_open(struct disk_uring *self, uint32_t slot_index, int flags_without)
{
    const struct slot *slot = &self->slots[slot_index];
    struct io_uring_sqe *sqe = sqe_take(self);
    const int flags = disk_open_flags(slot->request.kind, self->direct) & ~flags_without;
    io_uring_prep_openat(sqe, self->folder_fd, slot->request.name, flags, 0600);
    sqe_finish(self, sqe, slot_index, false);
}

static void prep_sync(struct disk_uring *self, uint32_t slot_index, int fd, bool on_handle)
{
    struct io_uring_sqe *sqe = sqe_take(self);
    io_uring_prep_fsync(sqe, fd, 0);
    sqe_finish(self, sqe, slot_index, on_handle);
}

static void prep_allocate(struct disk_uring *self, uint32_t slot_index)
{
    const struct slot *slot = &self->slots[slot_index];
    struct io_uring_sqe *sqe = sqe_take(self);
    io_uring_prep_fallocate(sqe, slot->fd, 0, 0, (off_t)slot->request.bytes);
    sqe_finish(self, sqe, slot_index, false);
}

static int place_take(struct disk_uring *self)
{
    for (uint32_t n = 0; n < self->files_max; n++)
        if (self->files[n] == NO_FILE) {
            self->files[n] = 0; /* taken; no request can name it before its result is out */
            return (int)n;
        }
    return -EMFILE;
}

static int64_t handle_close(struct disk_uring *self, int32_t file)
{
    const int fd = handle_fd(self, file);
    if (fd < 0)
        return fd;
    const int old = self->files[file];
    self->files[file] = NO_FILE;
    if (!self->fixed_files)
        return close(old) == 0 ? 0 : -errno;
    const int none = -1;
    const int rc = io_uring_register_files_update(&self->uring, (unsigned)file, &none, 1);
    return rc < 0 ? rc : 0;
}

/* The end of every opening: the descriptor becomes a handle, or goes. */
static void open_end(struct disk_uring *self, uint32_t slot_index, int64_t error)
{
    struct slot *slot = &self->slots[slot_index];
    if (error == 0 && self->fixed_files) {
        const int rc =
            io_uring_register_files_update(&self->uring, (unsigned)slot->place, &slot->fd, 1);
        (void)close(slot->fd); /* the ring has its own reference */
        error = rc < 0 ? rc : 0;
    } else if (error == 0) {
        self->files[slot->place] = slot->fd;
    } else if (slot->fd >= 0) {
        (void)close(slot->fd);
    }
    if (error != 0) {
        self->files[slot->place] = NO_FILE;
        if (slot->request.kind == DISK_CREATE && slot->fd >= 0)
            (void)unlinkat(self->folder_fd, slot->request.name, 0);
    }
    slot_end(self, slot_index, error != 0 ? error : slot->place);
}

static void slot_start(struct disk_uring *self, uint32_t slot_index)
{
    struct slot *slot = &self->slots[slot_index];
    const struct disk_request *request = &slot->request;
    struct io_uring_sqe *sqe;
    int fd;
    slot->step = STEP_ONLY;
    switch (request->kind) {
    case DISK_OPEN:
    case DISK_CREATE:
        slot->place = place_take(self);
        if (slot->place < 0) {
            slot_end(self, slot_index, slot->place);
            return;
        }
        slot->step = STEP_OPEN;
        prep_open(self, slot_index, 0);
        return;
    case DISK_CLOSE: slot_end(self, slot_index, handle_close(self, request->file)); return;
    case DISK_READ:
    case DISK_WRITE:
    case DISK_FILL:
    case DISK_SYNC:
        fd = handle_fd(self, request->file);
        if (fd < 0)
            slot_end(self, slot_index, fd);
        else if (request->kind == DISK_SYNC)
            prep_sync(self, slot_index, fd, true);
        else
            prep_transfer(self, slot_index, fd);
        return;
    case DISK_UNLINK:
        sqe = sqe_take(self);
        io_uring_prep_unlinkat(sqe, self->folder_fd, request->name, 0);
        sqe_finish(self, sqe, slot_index, false);
        return;
    case DISK_SYNC_FOLDER: prep_sync(self, slot_index, self->folder_fd, false); return;
    }
    slot_end(self, slot_index, -EINVAL);
}

/* Handing over fails only for want of kernel memory (EAGAIN, EBUSY): the next reap does it. */
static void hand_over(struct disk_uring *self)
{
    if (io_uring_sq_ready(&self->uring) > 0)
        (void)io_uring_submit(&self->uring);
}

static bool uring_submit(struct disk *disk, const struct disk_request *request)
{
    struct disk_uring *self = (struct disk_uring *)disk;
    if (self->out == DISK_REQUESTS_MAX)
        return false;
    ASSERT(self->free_count > 0);
    self->out++;
    if (request->kind == DISK_OPEN || request->kind == DISK_CREATE || request->kind == DISK_UNLINK)
        ASSERT(disk_name_is_plain(request->name));
    ASSERT(request->kind == DISK_CREATE || request->bytes <= TRANSFER_BYTES_MAX);
    const uint32_t slot_index = self->free_slots[--self->free_count];
    ASSERT(self->slots[slot_index].step == STEP_FREE);
    self->slots[slot_index] =
        (struct slot){.request = *request, .step = STEP_ONLY, .fd = NO_FILE, .place = NO_FILE};
    slot_start(self, slot_index);
    return true;
}

static void open_completed(struct disk_uring *self, uint32_t slot_index, int result)
{
    struct slot *slot = &self->slots[slot_index];
    if (result == -EINVAL && self->direct) {
        disk_direct_refused(&self->direct);
        /* A file system may have made the file before it refused the flag: no O_EXCL now. */
        prep_open(self, slot_index, O_EXCL);
        return;
    }
    if (result < 0) {
        open_end(self, slot_index, result);
        return;
    }
    slot->fd = result;
    slot->tries = 0;
    if (slot->request.kind == DISK_OPEN) {
        open_end(self, slot_index, 0);
        return;
    }
    slot->step = STEP_ALLOCATE;
    prep_allocate(self, slot_index);
}

static bool slot_again(struct disk_uring *self, uint32_t slot_index, int result)
{
    struct slot *slot = &self->slots[slot_index];
    if (result != -EINTR && result != -EAGAIN)
        return false;
    /* A sync that did not succeed is never tried into success. */
    if (slot->request.kind == DISK_SYNC || slot->request.kind == DISK_SYNC_FOLDER)
        return false;
    if (++slot->tries >= DISK_TRIES_MAX)
        return false;
    if (slot->step == STEP_OPEN)
        prep_open(self, slot_index, 0);
    else if (slot->step == STEP_ALLOCATE)
        prep_allocate(self, slot_index);
    else
        slot_start(self, slot_index);
    return true;
}

static void slot_completed(struct disk_uring *self, uint32_t slot_index, int result)
{
    struct slot *slot = &self->slots[slot_index];
    if (slot_again(self, slot_index, result))
        return;
    switch (slot->step) {
    case STEP_FREE: ASSERT(false); return;
    case STEP_OPEN: open_completed(self, slot_index, result); return;
    case STEP_ALLOCATE:
        /* Not every file system allocates ahead; the overwriting that follows does. */
        if (result == -EOPNOTSUPP)
            result = ftruncate(slot->fd, (off_t)slot->request.bytes) == 0 ? 0 : -errno;
        open_end(self, slot_index, result);
        return;
    case STEP_ONLY: slot_end(self, slot_index, result); return;
    }
}

/* Every completion there is; `ready` has room for all slots. */
static void completions_take(struct disk_uring *self)
{
    struct io_uring_cqe *cqe;
    for (uint32_t n = 0; n < 2 * DISK_REQUESTS_MAX; n++) {
        if (io_uring_peek_cqe(&self->uring, &cqe) != 0)
            break;
        const uint64_t slot_index = io_uring_cqe_get_data64(cqe);
        const int result = cqe->res;
        io_uring_cqe_seen(&self->uring, cqe);
        ASSERT(slot_index < DISK_REQUESTS_MAX);
        slot_completed(self, (uint32_t)slot_index, result);
    }
}

static void wait_ready(struct disk_uring *self, uint64_t wait_ns)
{
    uint64_t now_ns = clock_monotonic_ns();
    const uint64_t end_ns = now_ns + MIN(wait_ns, 3600 * NS_PER_S);
    while (self->ready_count == 0 && now_ns < end_ns) { /* ends by time */
        const uint64_t left_ns = end_ns - now_ns;
        struct __kernel_timespec time = {.tv_sec = (long long)(left_ns / NS_PER_S),
                                         .tv_nsec = (long long)(left_ns % NS_PER_S)};
        struct io_uring_cqe *cqe;
        (void)io_uring_wait_cqe_timeout(&self->uring, &cqe, &time);
        completions_take(self);
        hand_over(self);
        now_ns = clock_monotonic_ns();
    }
}

static uint32_t uring_reap(struct disk *disk, uint64_t wait_ns, struct disk_result *results,
                           uint32_t results_max)
{
    struct disk_uring *self = (struct disk_uring *)disk;
    hand_over(self);
    completions_take(self);
    hand_over(self);
    if (self->ready_count == 0 && wait_ns > 0 && self->out > 0)
        wait_ready(self, wait_ns);
    const uint32_t count = MIN(self->ready_count, results_max);
    memcpy(results, self->ready, count * sizeof(*results));
    memmove(self->ready, self->ready + count, (self->ready_count - count) * sizeof(*results));
    self->ready_count -= count;
    self->out -= count;
    return count;
}

static int uring_doorbell(struct disk *disk)
{
    return ((struct disk_uring *)disk)->doorbell_fd;
}

static void uring_arm(struct disk *disk, bool armed)
{
    struct disk_uring *self = (struct disk_uring *)disk;
    if (io_uring_cq_eventfd_enabled(&self->uring) != armed)
        (void)io_uring_cq_eventfd_toggle(&self->uring, armed);
    if (!armed)
        return;
    hand_over(self);
    /* What came before the kernel saw the flag rings here. Full means that it has rung. */
    const uint64_t one = 1;
    if (io_uring_cq_ready(&self->uring) > 0 || self->ready_count > 0)
        (void)!write(self->doorbell_fd, &one, sizeof(one));
}

static int uring_list(struct disk *disk, struct disk_entry *entries, uint32_t entries_max)
{
    return disk_folder_list(((struct disk_uring *)disk)->folder_fd, entries, entries_max);
}

static void uring_close(struct disk *disk)
{
    struct disk_uring *self = (struct disk_uring *)disk;
    ASSERT(self->out == 0);
    if (!self->fixed_files)
        for (uint32_t n = 0; n < self->files_max; n++)
            if (self->files[n] != NO_FILE)
                (void)close(self->files[n]);
    io_uring_queue_exit(&self->uring);
    (void)close(self->doorbell_fd);
    (void)close(self->folder_fd);
    free(self);
}

static const struct disk_ops uring_ops = {
    .submit = uring_submit,
    .reap = uring_reap,
    .doorbell = uring_doorbell,
    .arm = uring_arm,
    .list = uring_list,
    .close = uring_close,
};

static int queue_open(struct disk_uring *self)
{
    struct io_uring_params params = {.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
                                     .cq_entries = 2 * DISK_REQUESTS_MAX};
    const int rc = io_uring_queue_init_params(DISK_REQUESTS_MAX, &self->uring, &params);
    if (rc != 0)
        return rc;
    /* NODROP: completions are never lost. EXT_ARG: a wait with an end needs no extra request. */
    const unsigned needed = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG;
    if ((params.features & needed) == needed)
        return 0;
    io_uring_queue_exit(&self->uring);
    return -ENOSYS;
}

/* Both make it faster and nothing else: where a limit refuses them, plain ones do. */
static void queue_register(struct disk_uring *self, const struct disk_memory *memory)
{
    struct rlimit limit;
    self->files_max = DISK_FILES_MAX;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < self->files_max)
        self->files_max = (uint32_t)limit.rlim_cur;
    self->fixed_files = io_uring_register_files_sparse(&self->uring, self->files_max) == 0;
    if (memory == NULL || memory->bytes == 0)
        return;
    const struct iovec buffer = {.iov_base = memory->at,
                                 .iov_len = MIN(memory->bytes, BUFFER_BYTES_MAX)};
    const int rc = io_uring_register_buffers(&self->uring, &buffer, 1);
    if (rc == 0)
        self->fixed = (struct disk_memory){.at = memory->at, .bytes = buffer.iov_len};
    else
        log_line(LOG_LEVEL_INFO, "spool_buffers_plain",
                 "error=\"%s\" mend=\"a higher LimitMEMLOCK is faster\"", strerror(-rc));
}

static int doorbell_open(struct disk_uring *self)
{
    self->doorbell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->doorbell_fd < 0)
        return -errno;
    int rc = io_uring_register_eventfd(&self->uring, self->doorbell_fd);
    if (rc == 0)
        rc = io_uring_cq_eventfd_toggle(&self->uring, false);
    if (rc != 0)
        (void)close(self->doorbell_fd);
    return rc;
}

int disk_uring_open(struct disk **disk, const char *folder, const struct disk_memory *memory,
                    char why[DISK_WHY_BYTES])
{
    struct disk_uring *self = calloc(1, sizeof(*self));
    if (self == NULL)
        return -ENOMEM;
    self->disk.ops = &uring_ops;
    self->direct = true;
    for (uint32_t n = 0; n < DISK_FILES_MAX; n++)
        self->files[n] = NO_FILE;
    for (uint32_t n = 0; n < DISK_REQUESTS_MAX; n++)
        self->free_slots[self->free_count++] = DISK_REQUESTS_MAX - 1 - n;
    int rc = disk_folder_open(folder, why);
    if (rc < 0)
        goto free_self;
    self->folder_fd = rc;
    rc = queue_open(self);
    if (rc != 0) {
        (void)snprintf(why, DISK_WHY_BYTES, "io_uring is not allowed here: %s", strerror(-rc));
        goto close_folder;
    }
    rc = doorbell_open(self);
    if (rc != 0) {
        (void)snprintf(why, DISK_WHY_BYTES, "io_uring gives no doorbell: %s", strerror(-rc));
        goto close_queue;
    }
    queue_register(self, memory);
    *disk = &self->disk;
    return 0;

close_queue:
    io_uring_queue_exit(&self->uring);
close_folder:
    (void)close(self->folder_fd);
free_self:
    free(self);
    return rc;
}
