#include "queue/wait.h"

#include "base/assert.h"
#include "base/clock.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* A removed doorbell keeps its place until the kernel has let go of the buffer in it. */
#define WAIT_PLACES     (2 * WAIT_DOORBELLS_MAX + 1)
#define WAIT_PLACE_OWN  0
#define WAIT_SQ_ENTRIES 256
#define WAIT_CQ_ENTRIES 8192 /* every place's read and its cancellation, at once */
#define WAIT_EPOLL_MAX  64

_Static_assert(WAIT_CQ_ENTRIES >= 2 * WAIT_PLACES, "the completion queue never overflows");

/* user_data of a cancellation's own completion, which says nothing. */
#define WAIT_DATA_CANCEL (UINT64_MAX - 1) /* UINT64_MAX is liburing's own */

enum place_state {
    PLACE_FREE,    /* nobody's                                                       */
    PLACE_IDLE,    /* registered, no read under way: armed by the next wait_for()    */
    PLACE_ARMED,   /* registered; the kernel owns `count` until the read completes   */
    PLACE_BROKEN,  /* registered, reported WAIT_BROKEN, never armed again            */
    PLACE_LEAVING, /* removed; the kernel still owns `count`                         */
};

struct place {
    uint64_t count; /* what the eventfd's read gives */
    uint32_t tag;
    int fd;
    enum place_state state;
};

struct wait {
    struct io_uring uring;
    bool uses_io_uring;
    bool idle_overflow; /* `idle` could not hold them all: look at every place */
    uint32_t idle_count;
    uint32_t idle[WAIT_PLACES]; /* places to arm; may name some that are PLACE_IDLE no more */
    int epoll_fd;
    int own_fd;
    uint32_t doorbells_count;
    struct place places[WAIT_PLACES];
};

static void place_idle(struct wait *wait, uint32_t place_index)
{
    wait->places[place_index].state = PLACE_IDLE;
    if (wait->idle_count < WAIT_PLACES)
        wait->idle[wait->idle_count++] = place_index;
    else
        wait->idle_overflow = true;
}

static bool wait_uring_open(struct wait *wait)
{
    struct io_uring_params params = {.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
                                     .cq_entries = WAIT_CQ_ENTRIES};
    if (io_uring_queue_init_params(WAIT_SQ_ENTRIES, &wait->uring, &params) != 0)
        return false;
    /* NODROP: completions are never lost. EXT_ARG: a sleep with an end needs no extra request. */
    const unsigned needed = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG;
    if ((params.features & needed) != needed) {
        io_uring_queue_exit(&wait->uring);
        return false;
    }
    return true;
}

/* Edge-triggered: a write to the eventfd is an event even when nobody ever reads it, and so
 * nothing a peer does to the descriptor's flags can make us block. */
static int wait_epoll_watch(struct wait *wait, uint32_t place_index)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = place_index};
    if (epoll_ctl(wait->epoll_fd, EPOLL_CTL_ADD, wait->places[place_index].fd, &event) != 0)
        return -errno;
    return 0;
}

int wait_open(struct wait **wait, bool allow_io_uring)
{
    struct wait *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->epoll_fd = -1;
    int rc = 0;
    made->own_fd = eventfd(0, EFD_CLOEXEC);
    if (made->own_fd < 0) {
        rc = -errno;
        goto close_made;
    }
    made->places[WAIT_PLACE_OWN] =
        (struct place){.tag = WAIT_TAG_OWN, .fd = made->own_fd, .state = PLACE_IDLE};
    place_idle(made, WAIT_PLACE_OWN);
    made->uses_io_uring = allow_io_uring && wait_uring_open(made);
    if (!made->uses_io_uring) {
        made->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (made->epoll_fd < 0) {
            rc = -errno;
            goto close_made;
        }
        rc = wait_epoll_watch(made, WAIT_PLACE_OWN);
        if (rc != 0)
            goto close_made;
    }
    *wait = made;
    return 0;

close_made:
    wait_close(made);
    return rc;
}

void wait_close(struct wait *wait)
{
    if (wait == NULL)
        return;
    /* Ends the reads under way, before their buffers go. */
    if (wait->uses_io_uring)
        io_uring_queue_exit(&wait->uring);
    if (wait->epoll_fd >= 0)
        (void)close(wait->epoll_fd);
    if (wait->own_fd >= 0)
        (void)close(wait->own_fd);
    free(wait);
}

bool wait_uses_io_uring(const struct wait *wait)
{
    return wait->uses_io_uring;
}

static bool place_is_registered(const struct place *place)
{
    return place->state != PLACE_FREE && place->state != PLACE_LEAVING;
}

/* Index of the place with this tag, or WAIT_PLACES. */
static uint32_t wait_find(const struct wait *wait, uint32_t tag)
{
    for (uint32_t n = 0; n < WAIT_PLACES; n++) {
        if (wait->places[n].tag == tag && place_is_registered(&wait->places[n]))
            return n;
    }
    return WAIT_PLACES;
}

static uint32_t wait_find_free(const struct wait *wait)
{
    for (uint32_t n = 0; n < WAIT_PLACES; n++) {
        if (wait->places[n].state == PLACE_FREE)
            return n;
    }
    return WAIT_PLACES;
}

int wait_add(struct wait *wait, uint32_t tag, int eventfd_fd)
{
    if (tag == WAIT_TAG_OWN || eventfd_fd < 0)
        return -EINVAL;
    if (wait_find(wait, tag) != WAIT_PLACES)
        return -EEXIST;
    const uint32_t index = wait_find_free(wait);
    if (wait->doorbells_count == WAIT_DOORBELLS_MAX || index == WAIT_PLACES)
        return -ENOSPC;
    wait->places[index] = (struct place){.tag = tag, .fd = eventfd_fd, .state = PLACE_IDLE};
    if (!wait->uses_io_uring) {
        const int rc = wait_epoll_watch(wait, index);
        if (rc != 0) {
            wait->places[index].state = PLACE_FREE;
            return rc;
        }
    }
    wait->doorbells_count++;
    place_idle(wait, index);
    return 0;
}

/* A request slot; submits what is queued when there is none. NULL when the kernel is out of
 * memory, and then the next wait_for() tries again. */
static struct io_uring_sqe *wait_request(struct wait *wait)
{
    struct io_uring_sqe *request = io_uring_get_sqe(&wait->uring);
    if (request != NULL)
        return request;
    (void)io_uring_submit(&wait->uring);
    return io_uring_get_sqe(&wait->uring);
}

void wait_remove(struct wait *wait, uint32_t tag)
{
    const uint32_t index = wait_find(wait, tag);
    ASSERT(index != WAIT_PLACES);    /* only what was added */
    ASSERT(index != WAIT_PLACE_OWN); /* our own bell stays */
    struct place *place = &wait->places[index];
    wait->doorbells_count--;
    if (!wait->uses_io_uring) {
        /* Fails only when the caller has closed it already, and then epoll has forgotten it. */
        (void)epoll_ctl(wait->epoll_fd, EPOLL_CTL_DEL, place->fd, NULL);
        place->state = PLACE_FREE;
        return;
    }
    if (place->state != PLACE_ARMED) {
        place->state = PLACE_FREE;
        return;
    }
    place->state = PLACE_LEAVING;
    struct io_uring_sqe *request = wait_request(wait);
    if (request == NULL)
        return; /* the place stays the kernel's until wait_close(): lost, not unsafe */
    io_uring_prep_cancel64(request, index, 0);
    io_uring_sqe_set_data64(request, WAIT_DATA_CANCEL);
    (void)io_uring_submit(&wait->uring);
}

/* False when the kernel has no request to give: try again later. */
static bool wait_arm(struct wait *wait, uint32_t place_index)
{
    struct place *place = &wait->places[place_index];
    if (place->state != PLACE_IDLE)
        return true;
    struct io_uring_sqe *request = wait_request(wait);
    if (request == NULL)
        return false;
    io_uring_prep_read(request, place->fd, &place->count, sizeof(place->count), 0);
    io_uring_sqe_set_data64(request, place_index);
    place->state = PLACE_ARMED;
    return true;
}

static void wait_arm_all(struct wait *wait)
{
    for (; wait->idle_count > 0; wait->idle_count--) {
        if (!wait_arm(wait, wait->idle[wait->idle_count - 1]))
            return;
    }
    if (!wait->idle_overflow)
        return;
    for (uint32_t n = 0; n < WAIT_PLACES; n++) {
        if (!wait_arm(wait, n))
            return;
    }
    wait->idle_overflow = false;
}

/* One finished read: true when it makes an event. */
static bool wait_retire(struct wait *wait, uint64_t data, int result, struct wait_event *event)
{
    if (data == WAIT_DATA_CANCEL)
        return false;
    ASSERT(data < WAIT_PLACES);
    struct place *place = &wait->places[data];
    if (place->state == PLACE_LEAVING) {
        place->state = PLACE_FREE;
        return false;
    }
    ASSERT(place->state == PLACE_ARMED);
    event->tag = place->tag;
    if (result == (int)sizeof(place->count)) {
        place_idle(wait, (uint32_t)data);
        event->kind = WAIT_RUNG;
        return true;
    }
    /* The kernel cancels reads of a thread that ended: another one sleeps here now. */
    if (result == -ECANCELED || result == -EINTR) {
        place_idle(wait, (uint32_t)data);
        return false;
    }
    /* -EAGAIN: its peer has set O_NONBLOCK, on a kernel that minds. Else: it is no eventfd. */
    place->state = PLACE_BROKEN;
    event->kind = WAIT_BROKEN;
    return true;
}

static uint32_t wait_reap(struct wait *wait, struct wait_event *events, uint32_t events_max)
{
    uint32_t events_count = 0;
    struct io_uring_cqe *done;
    for (uint32_t n = 0; n < WAIT_CQ_ENTRIES && events_count < events_max; n++) {
        if (io_uring_peek_cqe(&wait->uring, &done) != 0)
            break;
        const uint64_t data = io_uring_cqe_get_data64(done);
        const int result = done->res;
        io_uring_cqe_seen(&wait->uring, done);
        events_count += wait_retire(wait, data, result, &events[events_count]);
    }
    return events_count;
}

static uint32_t wait_uring_for(struct wait *wait, uint64_t timeout_ns, struct wait_event *events,
                               uint32_t events_max)
{
    wait_arm_all(wait);
    if (timeout_ns == 0) {
        if (io_uring_sq_ready(&wait->uring) > 0)
            (void)io_uring_submit(&wait->uring);
        return wait_reap(wait, events, events_max);
    }
    struct io_uring_cqe *done;
    struct __kernel_timespec end = {.tv_sec = (long long)(timeout_ns / NS_PER_S),
                                    .tv_nsec = (long long)(timeout_ns % NS_PER_S)};
    /* Time is up, a signal, or the kernel short of memory: what is there is looked at all the
     * same, and the caller comes again. */
    (void)io_uring_submit_and_wait_timeout(&wait->uring, &done, 1, &end, NULL);
    return wait_reap(wait, events, events_max);
}

static int wait_epoll_sleep(int epoll_fd, struct epoll_event *found, int found_max,
                            uint64_t timeout_ns)
{
    const struct timespec end = {.tv_sec = (time_t)(timeout_ns / NS_PER_S),
                                 .tv_nsec = (long)(timeout_ns % NS_PER_S)};
    const int count = epoll_pwait2(epoll_fd, found, found_max, &end, NULL);
    if (count >= 0 || errno != ENOSYS)
        return count;
    /* Before Linux 5.11: whole milliseconds, rounded up so that a short wait is no busy loop. */
    const uint64_t timeout_ms = MIN((timeout_ns + NS_PER_MS - 1) / NS_PER_MS, UINT64_C(60000));
    return epoll_wait(epoll_fd, found, found_max, (int)timeout_ms);
}

static uint32_t wait_epoll_for(struct wait *wait, uint64_t timeout_ns, struct wait_event *events,
                               uint32_t events_max)
{
    struct epoll_event found[WAIT_EPOLL_MAX];
    const int found_max = (int)MIN(events_max, (uint32_t)WAIT_EPOLL_MAX);
    const int count = wait_epoll_sleep(wait->epoll_fd, found, found_max, timeout_ns);
    uint32_t events_count = 0;
    for (int n = 0; n < count; n++) {
        struct place *place = &wait->places[found[n].data.u32];
        ASSERT(place_is_registered(place));
        if (place->state == PLACE_BROKEN)
            continue;
        /* An eventfd is in error when its count is at the end: nothing can ring it any more. */
        const bool broken = (found[n].events & (EPOLLERR | EPOLLHUP)) != 0;
        if (broken)
            place->state = PLACE_BROKEN;
        events[events_count++] =
            (struct wait_event){.tag = place->tag, .kind = broken ? WAIT_BROKEN : WAIT_RUNG};
    }
    return events_count;
}

uint32_t wait_for(struct wait *wait, uint64_t timeout_ns, struct wait_event *events,
                  uint32_t events_max)
{
    ASSERT(events_max > 0);
    if (wait->uses_io_uring)
        return wait_uring_for(wait, timeout_ns, events, events_max);
    return wait_epoll_for(wait, timeout_ns, events, events_max);
}

void wait_ring(struct wait *wait)
{
    /* Cannot block: the count would have to reach 2^64 - 1 by ones. */
    const uint64_t one = 1;
    const ssize_t written = write(wait->own_fd, &one, sizeof(one));
    (void)written;
}
