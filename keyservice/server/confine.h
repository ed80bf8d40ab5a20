/*
 * confine: gives up what the service does not need: its user, files, ports and system calls.
 * Ownership: borrows the configuration for the call.
 * Threads:   the first, while it is alone; what is given up is given up for every later thread.
 * Units:     TCP ports in host order.
 * Errors:    -errno with a sentence in `why`; -ENOTSUP: this kernel has none of Landlock.
 *
 * Landlock and seccomp, as docs/keyservice/service.md says. What was opened before stays open, so
 * the listeners are bound and certificates read first.
 */
#ifndef KEYSERVICE_SERVER_CONFINE_H
#define KEYSERVICE_SERVER_CONFINE_H

#include "base/macros.h"

#include <stdbool.h>
#include <stdint.h>

#define CONFINE_WHY_BYTES 256
#define CONFINE_PATHS_MAX 32
#define CONFINE_PORTS_MAX 8

enum confine_right {
    CONFINE_READS,  /* a file, or all below a folder                  */
    CONFINE_WRITES, /* the same, and makes, changes and removes files */
};

struct confine_path {
    const char *path; /* one that is not there is left out */
    enum confine_right right;
};

struct confine_config {
    const struct confine_path *paths; /* beside libraries and the system's own tables */
    uint32_t paths_count;
    const uint16_t *ports; /* that may be connected to over TCP */
    uint32_t ports_count;
};

/* What the kernel could do. */
struct confine_result {
    int landlock; /* its version; 0: none */
    bool seccomp;
};

/* Becomes `user`, where the process is root's; "": stays. */
MUST_USE int confine_user(const char *user, char why[CONFINE_WHY_BYTES]);
MUST_USE int confine_files(const struct confine_config *config, struct confine_result *result,
                           char why[CONFINE_WHY_BYTES]);
MUST_USE int confine_calls(struct confine_result *result, char why[CONFINE_WHY_BYTES]);

#endif
