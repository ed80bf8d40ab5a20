#include "tools/bulla/control.h"

#include "ipc/layout.h"
#include "tools/bulla/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static int control_hello(int session)
{
    const struct ipc_hello hello = {
        .magic = IPC_MAGIC_CLIENT,
        .version = IPC_VERSION,
        .kind = IPC_KIND_CONTROL,
    };
    struct ipc_welcome welcome = {0};
    if (send(session, &hello, sizeof(hello), MSG_NOSIGNAL) != (ssize_t)sizeof(hello))
        return -errno;
    ssize_t got = recv(session, &welcome, sizeof(welcome), 0);
    if (got < 0)
        return errno == EAGAIN ? -ETIMEDOUT : -errno;
    if (got == 0)
        return -EPIPE;
    if (got != (ssize_t)sizeof(welcome) || welcome.magic != IPC_MAGIC_ENGINE)
        return -EPROTO;
    if (welcome.error != 0)
        return welcome.error < 4096 ? -(int)welcome.error : -EPROTO;
    return welcome.version == IPC_VERSION ? 0 : -EPROTO;
}

int control_open(int *session, const char *socket_path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(socket_path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, socket_path, strlen(socket_path));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    const struct timeval wait = {.tv_sec = CONTROL_WAIT_MS / 1000};
    int rc = 0;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) != 0 ||
        connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
        rc = -errno;
    if (rc == 0)
        rc = control_hello(fd);
    if (rc != 0) {
        close(fd);
        return rc;
    }
    *session = fd;
    return 0;
}

int control_ask(int session, const char *question, json_t **answer)
{
    char *text = malloc(CONTROL_ANSWER_BYTES_MAX);
    if (text == NULL)
        return -ENOMEM;
    int rc = -EPROTO;
    size_t bytes = 0;
    ssize_t got = send(session, question, strlen(question), MSG_NOSIGNAL);
    if (got < 0)
        rc = -errno;
    while (got >= 0 && bytes < CONTROL_ANSWER_BYTES_MAX) {
        got = recv(session, text + bytes, CONTROL_ANSWER_BYTES_MAX - bytes, 0);
        if (got <= 0) {
            rc = got == 0 ? -EPIPE : errno == EAGAIN ? -ETIMEDOUT : -errno;
            break;
        }
        bytes += (size_t)got;
        json_t *whole = json_loadb(text, bytes, 0, NULL);
        if (json_is_object(whole)) {
            *answer = whole;
            rc = 0;
            break;
        }
        json_decref(whole);
    }
    free(text);
    return rc;
}

void control_close(int session)
{
    close(session);
}

int control_failed(int rc, const char *socket_path)
{
    switch (-rc) {
    case EACCES:
    case EPERM:
        return command_fail(EX_NOPERM,
                            "this user may not ask the engine at %s: add it to the engine's users "
                            "or groups",
                            socket_path);
    case EPROTO:
        return command_fail(EX_UNAVAILABLE,
                            "what answers at %s is no engine of this version: install the same one",
                            socket_path);
    case ENAMETOOLONG:
        return command_fail(EX_USAGE, "%s is too long for the path of a socket", socket_path);
    case ETIMEDOUT:
        return command_fail(EX_TEMPFAIL, "the engine at %s did not answer within %d s: try again",
                            socket_path, CONTROL_WAIT_MS / 1000);
    case EPIPE:
    case ECONNRESET:
        return command_fail(EX_TEMPFAIL, "the engine at %s went away: try again", socket_path);
    case ENOENT:
    case ECONNREFUSED:
        return command_fail(EX_TEMPFAIL,
                            "no engine answers at %s: start bullad, or name its socket with "
                            "--socket",
                            socket_path);
    default:
        return command_fail(EX_TEMPFAIL, "the engine at %s cannot be asked: %s", socket_path,
                            strerror(-rc));
    }
}
