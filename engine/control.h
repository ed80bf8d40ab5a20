/*
 * control: the engine's socket, signals and housekeeping, on the main thread.
 * Ownership: control_open() listens; control_close() ends all sessions. Borrows the engine.
 * Threads:   the main thread.
 * Units:     sessions; nanoseconds of monotonic time.
 * Errors:    -errno with one line in `why`; a session that misbehaves ends, and only that one.
 *
 * docs/engine/control.md. A client is let in by SO_PEERCRED: root, the engine's own user, and the
 * configured users and groups.
 */
#ifndef ENGINE_CONTROL_H
#define ENGINE_CONTROL_H

#include "base/macros.h"
#include "engine/engine.h"

#define CONTROL_SESSIONS_MAX 256

struct control;

/* SIGHUP, SIGTERM and SIGINT must be blocked in every thread by then. */
MUST_USE int control_open(struct control **control, struct engine *engine,
                          char why[ENGINE_WHY_BYTES]);
/* Serves until SIGTERM or SIGINT, then drains; 0 when nothing was left under way. */
int control_run(struct control *control);
/* Once the workers have stopped. */
void control_close(struct control *control);

#endif
