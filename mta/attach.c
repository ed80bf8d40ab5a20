#include "mta/attachment.h"

#include "base/assert.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define WELCOME_FDS_MAX   8 /* more than come, so that extra ones are seen and closed */
#define DRAIN_PACKETS_MAX 1024

static int socket_connect(const char *path, uint32_t timeout_ms, int *socket_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const size_t path_bytes = strlen(path);
    if (path_bytes == 0)
        return -EINVAL;
    if (path_bytes >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, path_bytes);
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    /* A stuck engine must not hold its clients for ever: both bound the handshake. */
    const struct timeval patience = {.tv_sec = timeout_ms / 1000,
                                     .tv_usec = timeout_ms % 1000 * 1000};
    int rc = 0;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) != 0 ||
        connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
        rc = errno == EAGAIN ? -ETIMEDOUT : -errno;
    if (rc != 0) {
        (void)close(fd);
        return rc;
    }
    *socket_fd = fd;
    return 0;
}

static int hello_send(const struct bulla *bulla)
{
    struct ipc_hello hello = {
        .magic = IPC_MAGIC_CLIENT,
        .version = IPC_VERSION,
        .slots_count = bulla->client.slots_count,
        .arena_bytes = bulla->client.arena_bytes,
        .memfd_bytes = bulla->client.memfd_bytes,
        .kind = bulla->kind,
        .worker_wanted = bulla->worker_wanted,
    };
    union {
        struct cmsghdr align;
        uint8_t bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {.iov_base = &hello, .iov_len = sizeof(hello)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(head), &bulla->client_memfd.fd, sizeof(int));
    /* A hang-up here may hide a welcome that says why: the reading end tells. */
    if (sendmsg(bulla->socket_fd, &message, MSG_NOSIGNAL) < 0 && errno != EPIPE)
        return errno == EAGAIN ? -ETIMEDOUT : -errno;
    return 0;
}

static uint32_t welcome_fds(struct msghdr *message, int fds[WELCOME_FDS_MAX])
{
    uint32_t fds_count = 0;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL;
         part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t n = 0; n < count && fds_count < WELCOME_FDS_MAX; n++)
            memcpy(&fds[fds_count++], CMSG_DATA(part) + n * sizeof(int), sizeof(int));
    }
    return fds_count;
}

static int welcome_check(const struct ipc_welcome *welcome, ssize_t got, int flags,
                         uint32_t fds_count)
{
    if (got == 0)
        return -ECONNREFUSED; /* it hung up without a word */
    if (got != (ssize_t)sizeof(*welcome) || (flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 ||
        welcome->magic != IPC_MAGIC_ENGINE)
        return -EPROTO;
    if (welcome->error != 0)
        return welcome->error < 4096 ? -(int)welcome->error : -EPROTO;
    if (welcome->version != IPC_VERSION || fds_count != 2)
        return -EPROTO;
    const uint64_t memfd_bytes = welcome->memfd_bytes;
    if (memfd_bytes == 0 || memfd_bytes > UINT32_MAX || memfd_bytes % IPC_PAGE_BYTES != 0)
        return -EPROTO;
    return 0;
}

/* On success the engine's memfd is mapped and the doorbell is ours. */
static int welcome_receive(struct bulla *bulla)
{
    struct ipc_welcome welcome;
    union {
        struct cmsghdr align;
        uint8_t bytes[CMSG_SPACE(WELCOME_FDS_MAX * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = &welcome, .iov_len = sizeof(welcome)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    ssize_t got;
    uint32_t resets = 0;
    do {
        got = recvmsg(bulla->socket_fd, &message, MSG_CMSG_CLOEXEC);
        /* An engine that declines before it has read our hello resets the connection; its answer
         * stands behind that error. */
    } while (got < 0 && (errno == EINTR || (errno == ECONNRESET && resets++ == 0)));
    if (got < 0)
        return errno == EAGAIN ? -ETIMEDOUT : errno == ECONNRESET ? -ECONNREFUSED : -errno;

    int fds[WELCOME_FDS_MAX];
    const uint32_t fds_count = welcome_fds(&message, fds);
    int rc = welcome_check(&welcome, got, message.msg_flags, fds_count);
    if (rc == 0)
        rc = memfd_map_peer(&bulla->engine_memfd, fds[0], welcome.memfd_bytes);
    if (rc != 0) {
        for (uint32_t n = 0; n < fds_count; n++)
            (void)close(fds[n]);
        return rc == -EBADMSG ? -EPROTO : rc;
    }
    bulla->doorbell = fds[1];
    bulla->workers_count = MAX(welcome.workers_count, 1U);
    bulla->peer = (const struct ipc_page *)(const void *)bulla->engine_memfd.at;
    rc = geometry_read_engine(&bulla->engine, bulla->peer, bulla->client.slots_count,
                              welcome.memfd_bytes);
    return rc == 0 ? 0 : -EPROTO;
}

static int attachment_allocate(struct bulla *bulla)
{
    const uint32_t slots_count = bulla->client.slots_count;
    bulla->released = calloc((slots_count + 63) / 64, sizeof(*bulla->released));
    if (bulla->released == NULL)
        return -ENOMEM;
    if (bulla->kind != IPC_KIND_SUBMITTER)
        return 0;
    bulla->message = calloc(slots_count, sizeof(*bulla->message));
    bulla->free_indices = calloc(slots_count, sizeof(*bulla->free_indices));
    if (bulla->message == NULL || bulla->free_indices == NULL)
        return -ENOMEM;
    for (uint32_t n = 0; n < slots_count; n++) {
        bulla->free_indices[n] = slots_count - 1 - n;
        bulla->message[n].generation = 1; /* so that no id is 0 */
    }
    bulla->free_count = slots_count;
    return arena_open(&bulla->arena, bulla->client.arena_offset, bulla->client.arena_bytes,
                      slots_count);
}

static void attachment_connect_lanes(struct bulla *bulla)
{
    bulla->submissions = (struct lane_writer){
        .own = bulla->own,
        .peer = bulla->peer,
        .slots = bulla->client_memfd.at + bulla->client.slots_offset,
        .slots_count = bulla->client.slots_count,
    };
    bulla->completions = (struct lane_reader){
        .peer = bulla->peer,
        .slots = bulla->engine_memfd.at + bulla->engine.slots_offset,
        .slots_count = bulla->client.slots_count,
    };
}

static int attachment_handshake(struct bulla *bulla, const struct bulla_config *config)
{
    int rc = socket_connect(
        config->socket_path == NULL ? BULLA_SOCKET_DEFAULT : config->socket_path,
        config->attach_timeout_ms == 0 ? ATTACH_TIMEOUT_MS_DEFAULT : config->attach_timeout_ms,
        &bulla->socket_fd);
    if (rc != 0)
        return rc;
    rc = memfd_open(&bulla->client_memfd, "bulla-client", bulla->client.memfd_bytes,
                    MEMFD_PAGES_HUGE);
    if (rc != 0)
        return rc;
    bulla->own = (struct ipc_page *)(void *)bulla->client_memfd.at;
    geometry_write(&bulla->client, IPC_MAGIC_CLIENT, bulla->own);
    rc = hello_send(bulla);
    if (rc != 0)
        return rc;
    rc = welcome_receive(bulla);
    if (rc != 0)
        return rc;
    attachment_connect_lanes(bulla);
    return 0;
}

/* input_bytes is for mail: addresses come on top, so that a mail of input_bytes fits. */
static int attachment_measure(struct geometry *client, const struct bulla_config *config)
{
    const uint64_t mail_bytes =
        config->input_bytes == 0 ? ATTACH_INPUT_BYTES_DEFAULT : config->input_bytes;
    if (mail_bytes > IPC_ARENA_BYTES_MAX - IPC_META_BYTES_MAX)
        return -EINVAL;
    const uint64_t arena_bytes = MAX(mail_bytes + IPC_META_BYTES_MAX, IPC_ARENA_BYTES_MIN);
    return geometry_client(client,
                           config->slots_count == 0 ? ATTACH_SLOTS_DEFAULT : config->slots_count,
                           (arena_bytes + IPC_PAGE_BYTES - 1) / IPC_PAGE_BYTES * IPC_PAGE_BYTES);
}

int attachment_open(struct bulla **bulla, const struct bulla_config *config, enum ipc_kind kind,
                    uint32_t worker_wanted)
{
    struct bulla *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->kind = kind;
    made->worker_wanted = worker_wanted;
    made->socket_fd = -1;
    made->doorbell = -1;
    made->client_memfd = MEMFD_NONE;
    made->engine_memfd = MEMFD_NONE;
    made->spin_us_max = config->spin_us_max == 0 ? ATTACH_SPIN_US_DEFAULT
                                                 : MIN(config->spin_us_max, ATTACH_SPIN_US_MAX);
    made->spin_us = made->spin_us_max;

    int rc = attachment_measure(&made->client, config);
    if (rc == 0)
        rc = attachment_allocate(made);
    if (rc == 0)
        rc = attachment_handshake(made, config);
    if (rc != 0) {
        bulla_detach(made);
        return rc;
    }
    *bulla = made;
    return 0;
}

int bulla_attach(struct bulla **bulla, const struct bulla_config *config)
{
    const struct bulla_config none = {0};
    return attachment_open(bulla, config == NULL ? &none : config, IPC_KIND_SUBMITTER, 0);
}

uint32_t bulla_workers_count(const struct bulla *bulla)
{
    return bulla->workers_count;
}

void bulla_detach(struct bulla *bulla)
{
    if (bulla == NULL)
        return;
    if (bulla->socket_fd >= 0)
        (void)close(bulla->socket_fd);
    if (bulla->doorbell >= 0)
        (void)close(bulla->doorbell);
    memfd_close(&bulla->client_memfd);
    memfd_close(&bulla->engine_memfd);
    arena_close(&bulla->arena);
    free(bulla->released);
    free(bulla->free_indices);
    free(bulla->message);
    free(bulla);
}

void attachment_drain(struct bulla *bulla)
{
    uint8_t bytes[16];
    for (uint32_t n = 0; n < DRAIN_PACKETS_MAX; n++) {
        const ssize_t got = recv(bulla->socket_fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        if (got > 0 || (got < 0 && errno == EINTR))
            continue;
        if (got == 0 || errno != EAGAIN)
            bulla->gone = true;
        return;
    }
}

void attachment_ring(const struct bulla *bulla)
{
    /* Blocks only when the count is at its end, which takes 2^64 - 2 rings. A failure is the
     * engine's end, which the socket tells as well. */
    const uint64_t one = 1;
    const ssize_t written = write(bulla->doorbell, &one, sizeof(one));
    (void)written;
}
