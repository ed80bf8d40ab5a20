/*
 * service: bulla-milter from its start to its end: signals, socket, threads, reload, drain.
 * Ownership: service_run() opens and closes everything; the configuration is its to overwrite.
 * Threads:   the process's first; it alone handles signals.
 * Units:     seconds from the configuration.
 * Errors:    an exit status of sysexits.h, with one line in the log.
 */
#ifndef MTA_MILTER_SERVICE_H
#define MTA_MILTER_SERVICE_H

#include "base/macros.h"
#include "engine/config.h"

/* pid_file may be NULL. */
MUST_USE int service_run(const char *config_path, const char *pid_file, struct config *config);

#endif
