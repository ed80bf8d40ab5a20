/*
 * status: the engine's counters as JSON, and as commands of DPDK's telemetry socket.
 * Ownership: status_json() gives malloc'ed text; the engine is borrowed until status_close().
 * Threads:   any: it reads what is constant or atomic.
 * Units:     seconds, bytes, messages: in the names.
 * Errors:    status_json() gives NULL when memory is short.
 *
 * docs/engine/control.md lists the fields. No address, subject, key or message byte is among them.
 */
#ifndef ENGINE_STATUS_H
#define ENGINE_STATUS_H

#include "engine/engine.h"

char *status_json(const struct engine *engine);

/* Registers /bulla/status, /bulla/workers and /bulla/worker,N with rte_telemetry. */
void status_open(const struct engine *engine);
void status_close(void);

#endif
