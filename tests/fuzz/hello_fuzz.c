/* fuzz: links ipc */
/*
 * The first packet of a stranger, with any number of descriptors of three kinds; and the first page
 * of an engine's memory, as a client reads it.
 *
 * The input: a byte of how many descriptors and of which kind, a byte that says whether the packet
 * is an honest hello with the input laid over it by XOR, then the bytes.
 */
#include "base/assert.h"
#include "ipc/channel.h"
#include "ipc/geometry.h"
#include "ipc/memfd.h"
#include "ipc/session.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FDS_MAX    12
#define PACKET_MAX 256

static struct memfd sound_memory = {.fd = -1};
static struct geometry sound_geometry;
static int null_fd = -1;

static void set_up_once(void)
{
    if (null_fd >= 0)
        return;
    int rc = geometry_client(&sound_geometry, IPC_SLOTS_MIN, IPC_ARENA_BYTES_MIN);
    ASSERT(rc == 0);
    rc = memfd_open(&sound_memory, "fuzz", sound_geometry.memfd_bytes, MEMFD_PAGES_SMALL);
    ASSERT(rc == 0);
    null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ASSERT(null_fd >= 0);
}

static int fd_count(void)
{
    int count = 0;
    for (int fd = 0; fd < 64; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void packet_send(int socket_fd, const uint8_t *packet, size_t packet_bytes, uint8_t fds_byte)
{
    union {
        struct cmsghdr align;
        uint8_t bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control = {0};
    const uint32_t fds_count = (uint32_t)(fds_byte & 15) % (FDS_MAX + 1);
    int fds[FDS_MAX];
    for (uint32_t n = 0; n < fds_count; n++)
        fds[n] = (fds_byte & 16) != 0 ? null_fd : sound_memory.fd;
    struct iovec part = {.iov_base = (void *)(uintptr_t)packet, .iov_len = packet_bytes};
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
    (void)!sendmsg(socket_fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void hello_receive(int socket_fd)
{
    struct ipc_hello hello;
    int memfd = -1;
    const int rc = session_receive_hello(socket_fd, &hello, &memfd);
    if (rc != 0) {
        ASSERT(memfd == -1);
        return;
    }
    ASSERT(hello.kind == IPC_KIND_CONTROL || memfd >= 0);
    ASSERT(hello.kind != IPC_KIND_CONTROL || memfd == -1);
    ASSERT(hello.kind == IPC_KIND_COLLECTOR || hello.worker_wanted == 0);
    if (memfd < 0)
        return;
    struct channel *channel;
    const struct channel_config config = {.arena_bytes = IPC_ARENA_BYTES_MIN};
    /* Only a memory that is as large as the hello says is ever mapped. */
    if (hello.arena_bytes <= 4 * IPC_ARENA_BYTES_MIN &&
        channel_open(&channel, &hello, memfd, socket_fd, &config) == 0) {
        ASSERT(hello.memfd_bytes == sound_geometry.memfd_bytes);
        channel_close(channel);
        return;
    }
    (void)close(memfd);
}

static void page_read(const uint8_t *bytes_at, size_t bytes)
{
    static struct ipc_page page;
    struct geometry geometry;
    struct geometry honest;
    int rc = geometry_engine(&honest, IPC_SLOTS_MIN, 8192, IPC_ARENA_BYTES_MIN);
    ASSERT(rc == 0);
    memset(&page, 0, sizeof(page));
    geometry_write(&honest, IPC_MAGIC_ENGINE, &page);
    for (size_t n = 0; n < MIN(bytes, (size_t)CACHE_LINE); n++)
        ((uint8_t *)&page)[n] ^= bytes_at[n];
    const uint64_t memfd_bytes = page.memfd_bytes;
    if (geometry_read_engine(&geometry, &page, IPC_SLOTS_MIN, memfd_bytes) != 0)
        return;
    ASSERT(geometry.memfd_bytes == memfd_bytes && memfd_bytes <= UINT32_MAX);
    ASSERT(geometry.arena_offset + geometry.arena_bytes == memfd_bytes);
    ASSERT(geometry.slots_offset + geometry.slots_count * (uint64_t)64 <= geometry.arena_offset);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes_at, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *bytes_at, size_t bytes)
{
    if (bytes < 2)
        return 0;
    set_up_once();
    page_read(bytes_at + 2, bytes - 2);
    struct ipc_hello honest = {.magic = IPC_MAGIC_CLIENT,
                               .version = IPC_VERSION,
                               .slots_count = sound_geometry.slots_count,
                               .arena_bytes = sound_geometry.arena_bytes,
                               .memfd_bytes = sound_geometry.memfd_bytes,
                               .kind = IPC_KIND_SUBMITTER};
    uint8_t packet[PACKET_MAX] = {0};
    size_t packet_bytes = MIN(bytes - 2, sizeof(packet));
    memcpy(packet, bytes_at + 2, packet_bytes);
    if ((bytes_at[1] & 1) != 0) {
        packet_bytes = MAX(packet_bytes, sizeof(honest));
        for (size_t n = 0; n < sizeof(honest); n++)
            packet[n] ^= ((const uint8_t *)&honest)[n];
    }
    int ends[2];
    const int before = fd_count();
    const int rc = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends);
    ASSERT(rc == 0);
    packet_send(ends[1], packet, packet_bytes, bytes_at[0]);
    hello_receive(ends[0]);
    (void)close(ends[0]);
    (void)close(ends[1]);
    ASSERT(fd_count() == before); /* no descriptor of a stranger stays open */
    return 0;
}
