#include "mta/collector.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

/* Its input memory holds what the next hop said: two places a slot (docs/format/shared-memory.md).
 */
static int session_open(struct collect_session *session, const struct bulla_config *config,
                        uint32_t worker)
{
    struct bulla_config own = *config;
    if (own.slots_count == 0)
        own.slots_count = COLLECT_SLOTS_DEFAULT;
    if (own.slots_count > IPC_SLOTS_MAX)
        return -EINVAL;
    own.input_bytes = (size_t)2 * own.slots_count * IPC_REFUSALS_BYTES_MAX;
    const int rc = attachment_open(&session->link, &own, IPC_KIND_COLLECTOR, worker);
    if (rc != 0)
        return rc;
    session->emissions = calloc(own.slots_count, sizeof(*session->emissions));
    if (session->emissions != NULL)
        return 0;
    bulla_detach(session->link);
    session->link = NULL;
    return -ENOMEM;
}

/* 0 and one session more, or -ERANGE behind the last worker. */
static int collector_add(struct bulla_collector *collector, const struct bulla_config *config)
{
    const uint32_t index = collector->sessions_count;
    struct collect_session *session = &collector->sessions[index];
    const int rc = session_open(session, config, index);
    if (rc != 0)
        return rc;
    collector->sessions_count++;
    struct epoll_event event = {.events = EPOLLIN, .data = {.u32 = index}};
    if (epoll_ctl(collector->epoll_fd, EPOLL_CTL_ADD, session->link->socket_fd, &event) != 0)
        return -errno;
    return 0;
}

int bulla_collect(struct bulla_collector **collector, const struct bulla_config *config)
{
    const struct bulla_config none = {0};
    struct bulla_collector *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int rc = made->epoll_fd < 0 ? -errno : 0;
    while (rc == 0 && made->sessions_count < COLLECT_SESSIONS_MAX)
        rc = collector_add(made, config == NULL ? &none : config);
    if (rc == -ERANGE)
        rc = made->sessions_count > 0 ? 0 : -EPROTO;
    if (rc != 0) {
        bulla_collect_end(made);
        return rc;
    }
    *collector = made;
    return 0;
}

void bulla_collect_end(struct bulla_collector *collector)
{
    if (collector == NULL)
        return;
    for (uint32_t n = 0; n < collector->sessions_count; n++) {
        bulla_detach(collector->sessions[n].link);
        free(collector->sessions[n].emissions);
    }
    if (collector->epoll_fd >= 0)
        (void)close(collector->epoll_fd);
    free(collector);
}
