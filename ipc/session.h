/*
 * session: the engine's end of the socket: listens, knows its peers, shakes hands.
 * Ownership: listen, accept and receive_hello give descriptors that the caller closes; welcome and
 *            decline borrow theirs (the kernel duplicates what is passed).
 * Threads:   any, one at a time per descriptor.
 * Units:     one packet each way; nothing here ever blocks.
 * Errors:    -errno, named at each call. Every byte and descriptor that arrives is a stranger's:
 *            what is not exactly right is closed and refused, and only that session ends.
 *
 * docs/format/shared-memory.md, "The socket".
 */
#ifndef IPC_SESSION_H
#define IPC_SESSION_H

#include "base/macros.h"
#include "ipc/layout.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SESSION_BACKLOG         128
#define SESSION_GROUPS_MAX      256
#define SESSION_PATH_BYTES      108 /* sizeof(sun_path), with NUL */
#define SESSION_GROUP_UNCHANGED ((gid_t)-1)

/* A listening socket and the lock that says it is alive. */
struct session_listener {
    int fd;
    int lock_fd;
    char path[SESSION_PATH_BYTES];
};

/* Who connected: the kernel's word at connect time (SO_PEERCRED, SO_PEERGROUPS). */
struct session_peer {
    pid_t pid;
    uid_t uid;
    gid_t gid;
    uint32_t groups_count; /* supplementary; 0 when they are more than SESSION_GROUPS_MAX */
    gid_t groups[SESSION_GROUPS_MAX];
};

/*
 * Listens at `path` (SEQPACKET, non-blocking) with exactly this mode and group. A socket file that
 * a dead engine left is removed; a live one is never stolen: -EADDRINUSE. -EEXIST: something that
 * is no socket stands there. -ENAMETOOLONG. `path`.lock stands beside it and is locked while the
 * listener lives, so two engines that start together cannot unlink each other's socket.
 */
MUST_USE int session_listen(struct session_listener *listener, const char *path, mode_t mode,
                            gid_t group);
/* Removes the socket file and closes; harmless twice. */
void session_unlisten(struct session_listener *listener);

/* The next client, its socket non-blocking; -EAGAIN when there is none. */
MUST_USE int session_accept(int listener_fd, int *socket_fd, struct session_peer *peer);
bool session_peer_in_group(const struct session_peer *peer, gid_t group);

/*
 * 0: *hello is well formed, of this version and of a known kind; *memfd is the client's descriptor
 * (the caller closes it, or channel_open() keeps it), -1 for IPC_KIND_CONTROL. channel_open() is
 * what checks that descriptor.
 * -EAGAIN: not here yet. -EPIPE: hung up. -EPROTO: another version; decline with it. -EBADMSG: not
 * a hello (size, magic, kind, reserved bytes, geometry, number or kind of descriptors).
 */
MUST_USE int session_receive_hello(int socket_fd, struct ipc_hello *hello, int *memfd);

/* What the engine passes; memfd and doorbell -1, memfd_bytes 0 for IPC_KIND_CONTROL. */
struct session_offer {
    int memfd;
    int doorbell;
    uint64_t memfd_bytes;
    uint32_t session_id;
    uint32_t worker_index;
    uint32_t workers_count;
};

/* 0, or -errno: -EPIPE the client has gone, -EAGAIN it does not read. End the session on any. */
MUST_USE int session_welcome(int socket_fd, const struct session_offer *offer);

/* Says why not (a positive errno value); best effort, the caller closes next. */
void session_decline(int socket_fd, int error);

/*
 * After the welcome a submitter has nothing to say but good-bye. 0: quiet; -EPIPE: hung up;
 * -EPROTO: it sent something (descriptors in it are dropped by the kernel). Call when the socket
 * polls readable, and end the session on anything but 0.
 */
MUST_USE int session_watch(int socket_fd);

#endif
