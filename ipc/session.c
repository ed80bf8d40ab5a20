#include "ipc/session.h"

#include "base/assert.h"
#include "ipc/geometry.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* More than a hello may carry, so that extra ones arrive, are counted and are closed here. */
#define SESSION_FDS_MAX 8

_Static_assert(SESSION_PATH_BYTES == sizeof(((struct sockaddr_un *)0)->sun_path), "the kernel's");

static int session_lock(struct session_listener *listener)
{
    char lock_path[SESSION_PATH_BYTES + sizeof(".lock")];
    (void)snprintf(lock_path, sizeof(lock_path), "%s.lock", listener->path);
    const int fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        const int rc = errno == EWOULDBLOCK ? -EADDRINUSE : -errno;
        (void)close(fd);
        return rc;
    }
    listener->lock_fd = fd;
    return 0;
}

/* Under the lock: removes a socket file to which nobody listens. */
static int session_clear_stale(const struct sockaddr_un *address)
{
    struct stat status;
    if (lstat(address->sun_path, &status) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(status.st_mode))
        return -EEXIST;
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    const int connected = connect(fd, (const struct sockaddr *)address, sizeof(*address));
    const int error = errno;
    (void)close(fd);
    if (connected == 0 || error != ECONNREFUSED)
        return -EADDRINUSE;
    if (unlink(address->sun_path) != 0 && errno != ENOENT)
        return -errno;
    return 0;
}

/* Bound with no rights for others, then given its group and mode: never open too wide. */
static int session_bind(int fd, const struct sockaddr_un *address, mode_t mode, gid_t group)
{
    if (fchmod(fd, 0600) != 0)
        return -errno;
    if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) != 0)
        return -errno;
    int rc = 0;
    if (group != SESSION_GROUP_UNCHANGED && lchown(address->sun_path, (uid_t)-1, group) != 0)
        rc = -errno;
    else if (chmod(address->sun_path, mode) != 0 || listen(fd, SESSION_BACKLOG) != 0)
        rc = -errno;
    if (rc != 0)
        (void)unlink(address->sun_path);
    return rc;
}

int session_listen(struct session_listener *listener, const char *path, mode_t mode, gid_t group)
{
    struct session_listener made = {.fd = -1, .lock_fd = -1};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const size_t path_bytes = strlen(path);
    if (path_bytes == 0)
        return -EINVAL;
    if (path_bytes >= sizeof(made.path))
        return -ENAMETOOLONG;
    memcpy(made.path, path, path_bytes);
    memcpy(address.sun_path, path, path_bytes);

    int rc = session_lock(&made);
    if (rc != 0)
        return rc;
    rc = session_clear_stale(&address);
    if (rc != 0)
        goto unlock;
    made.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (made.fd < 0) {
        rc = -errno;
        goto unlock;
    }
    rc = session_bind(made.fd, &address, mode, group);
    if (rc != 0)
        goto close_fd;
    *listener = made;
    return 0;

close_fd:
    (void)close(made.fd);
unlock:
    (void)close(made.lock_fd);
    return rc;
}

/* The lock file stays: removing it would let two engines hold locks on two files of one name. */
void session_unlisten(struct session_listener *listener)
{
    if (listener->fd >= 0) {
        (void)unlink(listener->path);
        (void)close(listener->fd);
    }
    if (listener->lock_fd >= 0)
        (void)close(listener->lock_fd);
    listener->fd = -1;
    listener->lock_fd = -1;
}

static int session_identify(int fd, struct session_peer *peer)
{
    struct ucred credentials;
    socklen_t bytes = sizeof(credentials);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &bytes) != 0)
        return -errno;
    peer->pid = credentials.pid;
    peer->uid = credentials.uid;
    peer->gid = credentials.gid;
    bytes = sizeof(peer->groups);
    /* ERANGE, or a kernel without the option: the primary group alone counts. */
    peer->groups_count = 0;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, peer->groups, &bytes) == 0)
        peer->groups_count = (uint32_t)(bytes / sizeof(peer->groups[0]));
    return 0;
}

int session_accept(int listener_fd, int *socket_fd, struct session_peer *peer)
{
    const int fd = accept4(listener_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return errno == ECONNABORTED || errno == EINTR ? -EAGAIN : -errno;
    const int rc = session_identify(fd, peer);
    if (rc != 0) {
        (void)close(fd);
        return rc;
    }
    *socket_fd = fd;
    return 0;
}

bool session_peer_in_group(const struct session_peer *peer, gid_t group)
{
    if (peer->gid == group)
        return true;
    ASSERT(peer->groups_count <= SESSION_GROUPS_MAX);
    for (uint32_t n = 0; n < peer->groups_count; n++) {
        if (peer->groups[n] == group)
            return true;
    }
    return false;
}

/* Collects every descriptor that came; those beyond fds_max cannot come (the buffer's size). */
static uint32_t session_collect(struct msghdr *message, int fds[SESSION_FDS_MAX])
{
    uint32_t fds_count = 0;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL;
         part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t n = 0; n < count; n++) {
            int fd;
            memcpy(&fd, CMSG_DATA(part) + n * sizeof(int), sizeof(fd));
            if (fds_count < SESSION_FDS_MAX)
                fds[fds_count++] = fd;
            else
                (void)close(fd);
        }
    }
    return fds_count;
}

static bool bytes_are_zero(const uint8_t *bytes, size_t count)
{
    uint8_t any = 0;
    for (size_t n = 0; n < count; n++)
        any |= bytes[n];
    return any == 0;
}

static int session_check_hello(const struct ipc_hello *hello, uint32_t fds_count)
{
    if (hello->magic != IPC_MAGIC_CLIENT)
        return -EBADMSG;
    if (hello->version != IPC_VERSION)
        return -EPROTO;
    if (!bytes_are_zero(hello->reserved, sizeof(hello->reserved)))
        return -EBADMSG;
    if (hello->worker_wanted != 0 && hello->kind != IPC_KIND_COLLECTOR)
        return -EBADMSG;
    if (hello->kind == IPC_KIND_CONTROL) {
        const bool bare =
            hello->slots_count == 0 && hello->arena_bytes == 0 && hello->memfd_bytes == 0;
        return bare && fds_count == 0 ? 0 : -EBADMSG;
    }
    if ((hello->kind != IPC_KIND_SUBMITTER && hello->kind != IPC_KIND_COLLECTOR) || fds_count != 1)
        return -EBADMSG;
    struct geometry geometry;
    if (geometry_client(&geometry, hello->slots_count, hello->arena_bytes) != 0 ||
        geometry.memfd_bytes != hello->memfd_bytes)
        return -EBADMSG;
    return 0;
}

int session_receive_hello(int socket_fd, struct ipc_hello *hello, int *memfd)
{
    struct ipc_hello copy;
    union {
        struct cmsghdr align;
        uint8_t bytes[CMSG_SPACE(SESSION_FDS_MAX * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = &copy, .iov_len = sizeof(copy)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    const ssize_t got = recvmsg(socket_fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return -EAGAIN;
    if (got < 0)
        return -EPIPE;

    int fds[SESSION_FDS_MAX];
    const uint32_t fds_count = session_collect(&message, fds);
    int rc = -EBADMSG;
    if (got == 0 && fds_count == 0)
        rc = -EPIPE;
    else if (got == (ssize_t)sizeof(copy) && (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0)
        rc = session_check_hello(&copy, fds_count);
    if (rc != 0) {
        for (uint32_t n = 0; n < fds_count; n++)
            (void)close(fds[n]);
        return rc;
    }
    ASSERT(fds_count <= 1);
    *hello = copy;
    *memfd = fds_count == 1 ? fds[0] : -1;
    return 0;
}

static int session_send(int socket_fd, const struct ipc_welcome *welcome, const int *fds,
                        uint32_t fds_count)
{
    union {
        struct cmsghdr align;
        uint8_t bytes[CMSG_SPACE(2 * sizeof(int))];
    } control = {0};
    ASSERT(fds_count <= 2);
    struct iovec part = {.iov_base = (void *)(uintptr_t)welcome, .iov_len = sizeof(*welcome)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fds_count > 0) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(fds_count * sizeof(int));
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(fds_count * sizeof(int));
        memcpy(CMSG_DATA(head), fds, fds_count * sizeof(int));
    }
    const ssize_t sent = sendmsg(socket_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0)
        return errno == ECONNRESET ? -EPIPE : -errno;
    return sent == (ssize_t)sizeof(*welcome) ? 0 : -EIO;
}

int session_welcome(int socket_fd, const struct session_offer *offer)
{
    const struct ipc_welcome welcome = {
        .magic = IPC_MAGIC_ENGINE,
        .version = IPC_VERSION,
        .memfd_bytes = offer->memfd_bytes,
        .session_id = offer->session_id,
        .worker_index = offer->worker_index,
        .workers_count = offer->workers_count,
    };
    const int fds[2] = {offer->memfd, offer->doorbell};
    ASSERT((offer->memfd < 0) == (offer->doorbell < 0));
    return session_send(socket_fd, &welcome, fds, offer->memfd < 0 ? 0 : 2);
}

void session_decline(int socket_fd, int error)
{
    ASSERT(error > 0);
    const struct ipc_welcome welcome = {
        .magic = IPC_MAGIC_ENGINE,
        .version = IPC_VERSION,
        .error = (uint32_t)error,
    };
    /* Best effort: a client that does not read sees the hang-up instead. */
    const int rc = session_send(socket_fd, &welcome, NULL, 0);
    (void)rc;
}

int session_watch(int socket_fd)
{
    uint8_t byte;
    const ssize_t got = recv(socket_fd, &byte, sizeof(byte), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    return got > 0 ? -EPROTO : -EPIPE;
}
