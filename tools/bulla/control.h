/*
 * control: asks a running engine a question on its socket.
 * Ownership: the opener closes; an answer is the caller's and is freed with json_decref().
 * Threads:   one.
 * Units:     milliseconds for waits.
 * Errors:    -errno as connect(2) gives; -EPROTO for what is no engine or another version;
 *            -ETIMEDOUT; -EPIPE when the engine went away.
 *
 * A session of kind IPC_KIND_CONTROL (ipc/layout.h): one text packet asks, JSON answers, in one
 * packet or in several until it is whole.
 */
#ifndef TOOLS_BULLA_CONTROL_H
#define TOOLS_BULLA_CONTROL_H

#include "base/macros.h"

#include <jansson.h>

#define CONTROL_WAIT_MS          5000
#define CONTROL_ANSWER_BYTES_MAX (1024 * 1024)

MUST_USE int control_open(int *session, const char *socket_path);
MUST_USE int control_ask(int session, const char *question, json_t **answer);
void control_close(int session);

/* What went wrong in one line on stderr; returns the exit status. */
int control_failed(int rc, const char *socket_path);

#endif
