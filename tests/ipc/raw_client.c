#include "tests/ipc/raw_client.h"

#include "base/assert.h"
#include "ipc/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define RAW_WAIT_MS 20000

static int raw_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    ASSERT(strlen(path) < sizeof(address.sun_path));
    memcpy(address.sun_path, path, strlen(path));
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    ASSERT(fd >= 0);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        (void)close(fd);
        return -errno;
    }
    return fd;
}

static int raw_memory(struct raw_client *client, const struct raw_hello *hello)
{
    const uint64_t bytes = client->geometry.memfd_bytes + (uint64_t)hello->size_delta;
    const int fd = memfd_create("raw", MFD_ALLOW_SEALING | MFD_CLOEXEC);
    ASSERT(fd >= 0);
    int rc = hello->sparse ? ftruncate(fd, (off_t)bytes) : fallocate(fd, 0, 0, (off_t)bytes);
    ASSERT(rc == 0);
    void *at = mmap(NULL, client->geometry.memfd_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ASSERT(at != MAP_FAILED);
    rc = fcntl(fd, F_ADD_SEALS, hello->seals < 0 ? MEMFD_SEALS : hello->seals);
    ASSERT(rc == 0);
    client->at = at;
    client->page = at;
    return fd;
}

static void raw_send(int socket_fd, const struct ipc_hello *hello, uint32_t hello_bytes,
                     const int *fds, uint32_t fds_count)
{
    uint8_t bytes[256] = {0};
    union {
        struct cmsghdr align;
        uint8_t bytes[CMSG_SPACE(RAW_FDS_MAX * sizeof(int))];
    } control = {0};
    ASSERT(hello_bytes <= sizeof(bytes));
    ASSERT(fds_count <= RAW_FDS_MAX);
    memcpy(bytes, hello, sizeof(*hello));
    struct iovec part = {.iov_base = bytes, .iov_len = hello_bytes};
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
    const ssize_t sent = sendmsg(socket_fd, &message, MSG_NOSIGNAL);
    ASSERT(sent == (ssize_t)hello_bytes || errno == EPIPE);
}

static int raw_welcome(struct raw_client *client)
{
    struct ipc_welcome welcome;
    union {
        struct cmsghdr align;
        uint8_t bytes[CMSG_SPACE(2 * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = &welcome, .iov_len = sizeof(welcome)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    struct pollfd bell = {.fd = client->socket_fd, .events = POLLIN};
    if (poll(&bell, 1, RAW_WAIT_MS) != 1)
        return -ETIMEDOUT;
    const ssize_t got = recvmsg(client->socket_fd, &message, MSG_CMSG_CLOEXEC);
    if (got <= 0)
        return -EPIPE;
    ASSERT(got == (ssize_t)sizeof(welcome));
    if (welcome.error != 0)
        return (int)welcome.error;
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    ASSERT(head != NULL && head->cmsg_len == CMSG_LEN(2 * sizeof(int)));
    int fds[2];
    memcpy(fds, CMSG_DATA(head), sizeof(fds));
    void *at = mmap(NULL, welcome.memfd_bytes, PROT_READ, MAP_SHARED, fds[0], 0);
    ASSERT(at != MAP_FAILED);
    /* The engine's memory cannot be written by whoever holds its descriptor. */
    ASSERT(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0) == MAP_FAILED);
    ASSERT(ftruncate(fds[0], 0) != 0);
    ASSERT(pwrite(fds[0], "x", 1, 0) != 1);
    ASSERT(fallocate(fds[0], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) != 0);
    (void)close(fds[0]);
    client->peer = at;
    client->peer_bytes = welcome.memfd_bytes;
    client->doorbell = fds[1];
    return 0;
}

int raw_client_open(struct raw_client *client, const struct raw_hello *hello)
{
    *client = (struct raw_client){.socket_fd = -1, .doorbell = -1};
    const int rc =
        geometry_client(&client->geometry,
                        hello->slots_count == 0 ? IPC_SLOTS_MIN : hello->slots_count,
                        hello->arena_bytes == 0 ? IPC_ARENA_BYTES_MIN : hello->arena_bytes);
    ASSERT(rc == 0);
    client->socket_fd = raw_connect(hello->path);
    if (client->socket_fd < 0)
        return client->socket_fd;
    int fds[RAW_FDS_MAX];
    const int memfd = raw_memory(client, hello);
    geometry_write(&client->geometry, IPC_MAGIC_CLIENT, client->page);
    uint32_t fds_count = hello->memfds_count == 0 ? 1 : hello->memfds_count;
    for (uint32_t n = 0; n < fds_count; n++)
        fds[n] = memfd;
    int ends[2] = {-1, -1};
    if (hello->pipe_instead) {
        const int made = pipe(ends);
        ASSERT(made == 0);
        fds[0] = ends[0];
    }
    struct ipc_hello words = {
        .magic = IPC_MAGIC_CLIENT,
        .version = IPC_VERSION,
        .slots_count = client->geometry.slots_count,
        .arena_bytes = client->geometry.arena_bytes,
        .memfd_bytes = client->geometry.memfd_bytes,
        .kind = IPC_KIND_SUBMITTER,
    };
    if (hello->edit != NULL)
        hello->edit(&words, hello->argument);
    raw_send(client->socket_fd, &words,
             hello->hello_bytes == 0 ? (uint32_t)sizeof(words) : hello->hello_bytes, fds,
             hello->no_memfd ? 0 : fds_count);
    (void)close(memfd);
    if (ends[0] >= 0)
        (void)!(close(ends[0]) | close(ends[1]));
    return raw_welcome(client);
}

void raw_client_close(struct raw_client *client)
{
    if (client->socket_fd >= 0)
        (void)close(client->socket_fd);
    if (client->doorbell >= 0)
        (void)close(client->doorbell);
    if (client->at != NULL)
        (void)munmap(client->at, client->geometry.memfd_bytes);
    if (client->peer != NULL)
        (void)munmap((void *)(uintptr_t)client->peer, client->peer_bytes);
    *client = (struct raw_client){.socket_fd = -1, .doorbell = -1};
}

void raw_client_ring(const struct raw_client *client)
{
    const uint64_t one = 1;
    const ssize_t written = write(client->doorbell, &one, sizeof(one));
    ASSERT(written == (ssize_t)sizeof(one));
}

void raw_client_submit(struct raw_client *client, const struct ipc_submission *submission)
{
    const uint32_t tail = atomic_load(&client->page->tail);
    const size_t index = tail & (client->geometry.slots_count - 1);
    memcpy(client->at + client->geometry.slots_offset + index * sizeof(*submission), submission,
           sizeof(*submission));
    atomic_store(&client->page->tail, tail + 1);
    raw_client_ring(client);
}

struct ipc_submission raw_client_honest(struct raw_client *client)
{
    static const uint8_t meta[] = {7, 0, 'd', 'e', 'f', 'a', 'u', 'l', 't', 0, 0, 1, 0, 1, 0, 'a'};
    uint8_t *arena = client->at + client->geometry.arena_offset;
    memcpy(arena, meta, sizeof(meta));
    memcpy(arena + 64, "0123456789", 10);
    return (struct ipc_submission){
        .request_id = 1,
        .meta_offset = client->geometry.arena_offset,
        .mail_offset = client->geometry.arena_offset + 64,
        .meta_bytes = sizeof(meta),
        .mail_bytes = 10,
    };
}

bool raw_client_is_thrown_out(const struct raw_client *client)
{
    uint8_t bytes[8];
    struct pollfd bell = {.fd = client->socket_fd, .events = POLLIN};
    for (uint32_t n = 0; n < 1000; n++) {
        if (poll(&bell, 1, RAW_WAIT_MS) != 1)
            return false;
        const ssize_t got = recv(client->socket_fd, bytes, sizeof(bytes), 0);
        if (got == 0 || (got < 0 && errno == ECONNRESET))
            return true;
    }
    return false;
}
