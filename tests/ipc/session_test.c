/* The engine's end of the socket: its file, its peers, its handshake. */
#include "ipc/session.h"

#include "ipc/geometry.h"
#include "ipc/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
    char folder[64];
    char path[SESSION_PATH_BYTES];
    char lock_path[SESSION_PATH_BYTES + 8];
};

static int place_up(void **state)
{
    struct place *place = calloc(1, sizeof(*place));
    if (place == NULL)
        return -1;
    (void)snprintf(place->folder, sizeof(place->folder), "/tmp/bulla-test-XXXXXX");
    if (mkdtemp(place->folder) == NULL)
        return -1;
    (void)snprintf(place->path, sizeof(place->path), "%s/s", place->folder);
    (void)snprintf(place->lock_path, sizeof(place->lock_path), "%s.lock", place->path);
    *state = place;
    return 0;
}

static int place_down(void **state)
{
    struct place *place = *state;
    (void)unlink(place->path);
    (void)unlink(place->lock_path);
    const int rc = rmdir(place->folder);
    free(place);
    return rc;
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path));
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        const int rc = -errno;
        assert_int_equal(close(fd), 0);
        return rc;
    }
    return fd;
}

/* ---- the socket file ---- */

static void the_file_has_the_mode_that_was_asked_for(void **state)
{
    const struct place *place = *state;
    static const mode_t modes[] = {0600, 0660, 0666};
    const mode_t mask = umask(077); /* must not matter */
    for (size_t n = 0; n < ARRAY_COUNT(modes); n++) {
        struct session_listener listener;
        struct stat status;
        assert_int_equal(session_listen(&listener, place->path, modes[n], SESSION_GROUP_UNCHANGED),
                         0);
        assert_int_equal(stat(place->path, &status), 0);
        assert_int_equal(status.st_mode & 07777, modes[n]);
        session_unlisten(&listener);
        session_unlisten(&listener);
        assert_int_equal(access(place->path, F_OK), -1);
    }
    (void)umask(mask);
}

static void the_file_gets_its_group(void **state)
{
    const struct place *place = *state;
    if (geteuid() != 0) {
        print_message("skipped: only root can give a file to another group\n");
        return;
    }
    struct session_listener listener;
    struct stat status;
    assert_int_equal(session_listen(&listener, place->path, 0660, 12), 0);
    assert_int_equal(stat(place->path, &status), 0);
    assert_int_equal(status.st_gid, 12);
    session_unlisten(&listener);
}

static void a_live_socket_is_never_stolen(void **state)
{
    const struct place *place = *state;
    struct session_listener first, second;
    assert_int_equal(session_listen(&first, place->path, 0600, SESSION_GROUP_UNCHANGED), 0);
    assert_int_equal(session_listen(&second, place->path, 0600, SESSION_GROUP_UNCHANGED),
                     -EADDRINUSE);
    /* Even when the other one holds no lock of ours: it answers. */
    assert_int_equal(unlink(place->lock_path), 0);
    assert_int_equal(session_listen(&second, place->path, 0600, SESSION_GROUP_UNCHANGED),
                     -EADDRINUSE);
    const int fd = connect_to(place->path);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    session_unlisten(&first);
}

static void a_dead_engines_socket_is_taken_over(void **state)
{
    const struct place *place = *state;
    struct session_listener first, second;
    assert_int_equal(session_listen(&first, place->path, 0600, SESSION_GROUP_UNCHANGED), 0);
    assert_int_equal(close(first.fd) | close(first.lock_fd), 0); /* as a kill does */
    assert_int_equal(access(place->path, F_OK), 0);
    assert_int_equal(connect_to(place->path), -ECONNREFUSED);
    assert_int_equal(session_listen(&second, place->path, 0600, SESSION_GROUP_UNCHANGED), 0);
    const int fd = connect_to(place->path);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    session_unlisten(&second);
}

static void what_is_no_socket_is_left_alone(void **state)
{
    const struct place *place = *state;
    struct session_listener listener;
    const int fd = open(place->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "mine", 4), 4);
    assert_int_equal(close(fd), 0);
    assert_int_equal(session_listen(&listener, place->path, 0600, SESSION_GROUP_UNCHANGED),
                     -EEXIST);
    struct stat status;
    assert_int_equal(stat(place->path, &status), 0);
    assert_int_equal(status.st_size, 4);
}

static void impossible_paths_are_refused(void **state)
{
    const struct place *place = *state;
    struct session_listener listener;
    char path[SESSION_PATH_BYTES + 100];
    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(session_listen(&listener, path, 0600, SESSION_GROUP_UNCHANGED), -ENAMETOOLONG);
    assert_int_equal(session_listen(&listener, "", 0600, SESSION_GROUP_UNCHANGED), -EINVAL);
    (void)snprintf(path, sizeof(path), "%s/none/s", place->folder);
    assert_int_equal(session_listen(&listener, path, 0600, SESSION_GROUP_UNCHANGED), -ENOENT);
}

/* ---- peers ---- */

static void the_peer_is_who_the_kernel_says(void **state)
{
    const struct place *place = *state;
    struct session_listener listener;
    struct session_peer peer;
    int fd;
    assert_int_equal(session_listen(&listener, place->path, 0600, SESSION_GROUP_UNCHANGED), 0);
    assert_int_equal(session_accept(listener.fd, &fd, &peer), -EAGAIN);
    const int client = connect_to(place->path);
    assert_true(client >= 0);
    assert_int_equal(session_accept(listener.fd, &fd, &peer), 0);
    assert_int_equal(peer.pid, getpid());
    assert_int_equal(peer.uid, geteuid());
    assert_int_equal(peer.gid, getegid());
    assert_true(session_peer_in_group(&peer, getegid()));
    assert_false(session_peer_in_group(&peer, 64999));
    assert_int_not_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    assert_int_not_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    assert_int_equal(close(client) | close(fd), 0);
    session_unlisten(&listener);
}

static void supplementary_groups_count(void **state)
{
    const struct place *place = *state;
    if (geteuid() != 0) {
        print_message("skipped: only root can take groups\n");
        return;
    }
    struct session_listener listener;
    struct session_peer peer;
    int fd;
    assert_int_equal(session_listen(&listener, place->path, 0600, SESSION_GROUP_UNCHANGED), 0);
    const pid_t child = fork();
    assert_int_not_equal(child, -1);
    if (child == 0) {
        static const gid_t groups[] = {64123, 64124};
        if (setgroups(2, groups) != 0)
            _exit(1);
        _exit(connect_to(place->path) >= 0 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(session_accept(listener.fd, &fd, &peer), 0);
    assert_int_equal(peer.pid, child);
    assert_int_equal(peer.groups_count, 2);
    assert_true(session_peer_in_group(&peer, 64124));
    assert_false(session_peer_in_group(&peer, 64125));
    assert_int_equal(close(fd), 0);
    session_unlisten(&listener);
}

/* ---- handshake ---- */

static int open_fds_count(void)
{
    int count = 0;
    for (int fd = 0; fd < 512; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void control_hello_brings_no_memory(void **state)
{
    (void)state;
    int ends[2];
    struct ipc_hello got;
    int memfd = 77;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
    assert_int_equal(session_receive_hello(ends[0], &got, &memfd), -EAGAIN);
    struct ipc_hello hello = {
        .magic = IPC_MAGIC_CLIENT, .version = IPC_VERSION, .kind = IPC_KIND_CONTROL};
    assert_int_equal(send(ends[1], &hello, sizeof(hello), 0), sizeof(hello));
    assert_int_equal(session_receive_hello(ends[0], &got, &memfd), 0);
    assert_int_equal(got.kind, IPC_KIND_CONTROL);
    assert_int_equal(memfd, -1);

    hello.arena_bytes = 4096;
    assert_int_equal(send(ends[1], &hello, sizeof(hello), 0), sizeof(hello));
    assert_int_equal(session_receive_hello(ends[0], &got, &memfd), -EBADMSG);
    hello.arena_bytes = 0;
    hello.version = IPC_VERSION - 1;
    assert_int_equal(send(ends[1], &hello, sizeof(hello), 0), sizeof(hello));
    assert_int_equal(session_receive_hello(ends[0], &got, &memfd), -EPROTO);

    const struct session_offer offer = {.memfd = -1, .doorbell = -1, .session_id = 9};
    assert_int_equal(session_welcome(ends[0], &offer), 0);
    struct ipc_welcome welcome;
    assert_int_equal(recv(ends[1], &welcome, sizeof(welcome), 0), sizeof(welcome));
    assert_int_equal(welcome.session_id, 9);
    assert_int_equal(welcome.error, 0);
    session_decline(ends[0], EACCES);
    assert_int_equal(recv(ends[1], &welcome, sizeof(welcome), 0), sizeof(welcome));
    assert_int_equal(welcome.error, EACCES);
    assert_int_equal(close(ends[1]), 0);
    assert_int_equal(session_receive_hello(ends[0], &got, &memfd), -EPIPE);
    assert_int_equal(session_welcome(ends[0], &offer), -EPIPE);
    session_decline(ends[0], EACCES); /* no SIGPIPE */
    assert_int_equal(close(ends[0]), 0);
}

/* Sends `count` descriptors of /dev/null with this hello. */
static void send_with_fds(int fd, const struct ipc_hello *hello, size_t hello_bytes, uint32_t count)
{
    union {
        struct cmsghdr align;
        uint8_t bytes[CMSG_SPACE(200 * sizeof(int))];
    } control = {0};
    int fds[200];
    const int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(null_fd >= 0 && count <= ARRAY_COUNT(fds));
    for (uint32_t n = 0; n < count; n++)
        fds[n] = null_fd;
    struct iovec part = {.iov_base = (void *)(uintptr_t)hello, .iov_len = hello_bytes};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(head), fds, count * sizeof(int));
    assert_int_equal(sendmsg(fd, &message, 0), hello_bytes);
    assert_int_equal(close(null_fd), 0);
}

static void unwanted_descriptors_are_closed(void **state)
{
    (void)state;
    int ends[2];
    struct ipc_hello got;
    int memfd = -1;
    struct geometry geometry;
    assert_int_equal(geometry_client(&geometry, 8, IPC_ARENA_BYTES_MIN), 0);
    struct ipc_hello hello = {.magic = IPC_MAGIC_CLIENT,
                              .version = IPC_VERSION,
                              .slots_count = 8,
                              .arena_bytes = geometry.arena_bytes,
                              .memfd_bytes = geometry.memfd_bytes,
                              .kind = IPC_KIND_SUBMITTER};
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
    const int before = open_fds_count();
    static const uint32_t counts[] = {2, 3, 8, 9, 50, 200};
    for (size_t n = 0; n < ARRAY_COUNT(counts); n++) {
        send_with_fds(ends[1], &hello, sizeof(hello), counts[n]);
        assert_int_equal(session_receive_hello(ends[0], &got, &memfd), -EBADMSG);
        assert_int_equal(open_fds_count(), before);
    }
    send_with_fds(ends[1], &hello, 10, 1);
    assert_int_equal(session_receive_hello(ends[0], &got, &memfd), -EBADMSG);
    hello.kind = IPC_KIND_CONTROL;
    send_with_fds(ends[1], &hello, sizeof(hello), 1);
    assert_int_equal(session_receive_hello(ends[0], &got, &memfd), -EBADMSG);
    assert_int_equal(open_fds_count(), before);
    assert_int_equal(memfd, -1); /* untouched by every refusal */
    hello.kind = IPC_KIND_SUBMITTER;
    send_with_fds(ends[1], &hello, sizeof(hello), 1);
    assert_int_equal(session_receive_hello(ends[0], &got, &memfd), 0);
    assert_true(memfd >= 0);
    assert_int_not_equal(fcntl(memfd, F_GETFD) & FD_CLOEXEC, 0);
    assert_int_equal(open_fds_count(), before + 1);
    assert_int_equal(close(memfd), 0);
    hello.worker_wanted = 1; /* a submitter takes what it is given */
    send_with_fds(ends[1], &hello, sizeof(hello), 1);
    assert_int_equal(session_receive_hello(ends[0], &got, &memfd), -EBADMSG);
    hello.kind = IPC_KIND_COLLECTOR;
    send_with_fds(ends[1], &hello, sizeof(hello), 2);
    assert_int_equal(session_receive_hello(ends[0], &got, &memfd), -EBADMSG);
    assert_int_equal(open_fds_count(), before);
    send_with_fds(ends[1], &hello, sizeof(hello), 1);
    assert_int_equal(session_receive_hello(ends[0], &got, &memfd), 0);
    assert_int_equal(got.worker_wanted, 1);
    assert_int_equal(close(memfd) | close(ends[0]) | close(ends[1]), 0);
}

static void watching_tells_quiet_words_and_good_bye(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
    assert_int_equal(session_watch(ends[0]), 0);
    assert_int_equal(send(ends[1], "x", 1, 0), 1);
    assert_int_equal(session_watch(ends[0]), -EPROTO);
    const struct ipc_hello hello = {0};
    const int before = open_fds_count();
    send_with_fds(ends[1], &hello, sizeof(hello), 20);
    assert_int_equal(session_watch(ends[0]), -EPROTO);
    assert_int_equal(open_fds_count(), before);
    assert_int_equal(session_watch(ends[0]), 0);
    assert_int_equal(close(ends[1]), 0);
    assert_int_equal(session_watch(ends[0]), -EPIPE);
    assert_int_equal(close(ends[0]), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_up, place_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_file_has_the_mode_that_was_asked_for),
        TEST(the_file_gets_its_group),
        TEST(a_live_socket_is_never_stolen),
        TEST(a_dead_engines_socket_is_taken_over),
        TEST(what_is_no_socket_is_left_alone),
        TEST(impossible_paths_are_refused),
        TEST(the_peer_is_who_the_kernel_says),
        TEST(supplementary_groups_count),
        cmocka_unit_test(control_hello_brings_no_memory),
        cmocka_unit_test(unwanted_descriptors_are_closed),
        cmocka_unit_test(watching_tells_quiet_words_and_good_bye),
    };
    return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
