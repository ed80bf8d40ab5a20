#include "engine/control_internal.h"

#include "engine/status.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define CONTROL_COMMAND_BYTES 256
#define CONTROL_PACKET_BYTES  (32 * 1024)

int session_say(const struct session *session, const char *text)
{
    const size_t bytes = strlen(text);
    for (size_t at = 0; at < bytes; at += CONTROL_PACKET_BYTES) {
        const size_t part = MIN(bytes - at, (size_t)CONTROL_PACKET_BYTES);
        if (send(session->fd, text + at, part, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)part)
            return -errno;
    }
    return 0;
}

void session_command(struct control *control, struct session *session)
{
    char command[CONTROL_COMMAND_BYTES + 1];
    const ssize_t n = recv(session->fd, command, CONTROL_COMMAND_BYTES, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        session_end(control, session, "hang-up");
        return;
    }
    command[n] = '\0';
    command[strcspn(command, "\r\n")] = '\0';
    int rc;
    if (strcmp(command, "status") == 0) {
        char *text = status_json(control->engine);
        rc = text == NULL ? -ENOMEM : session_say(session, text);
        free(text);
    } else if (strncmp(command, "queue ", 6) == 0) {
        rc = queue_command(control, session, command + 6);
    } else {
        rc = session_say(session, "{\"error\":\"unknown command; known: status, queue\"}");
    }
    if (rc != 0)
        session_end(control, session, "does not read");
}
