/*
 * config: reads bulla.conf into plain structs, or says in one line what to mend and where.
 * Ownership: a plain struct of fixed size; no pointers to free.
 * Threads:   config_load() one at a time in a process (libConfuse keeps its place in globals).
 * Units:     bytes, seconds, nanoseconds: in the names.
 * Errors:    -EINVAL, or the -errno of a file, with "FILE:LINE: fault; mend" in `why`.
 *
 * docs/man/bulla.conf.5 describes every option. Files that an option names must be readable when
 * the configuration is loaded; relative names start at the configuration's own folder.
 */
#ifndef ENGINE_CONFIG_H
#define ENGINE_CONFIG_H

#include "base/log.h"
#include "base/macros.h"
#include "policy/network.h"
#include "policy/profile.h"
#include "policy/select.h"

#include <stdbool.h>
#include <stdint.h>

#define CONFIG_PATH_DEFAULT     "/etc/bulla/bulla.conf"
#define CONFIG_WHY_BYTES        768
#define CONFIG_NAME_BYTES       64
#define CONFIG_PATH_BYTES       256
#define CONFIG_URL_BYTES        256
#define CONFIG_ALLOWED_MAX      32
#define CONFIG_KEY_SERVICES_MAX 8
#define CONFIG_WORKERS_MAX      64

enum config_hugepages {
    CONFIG_HUGEPAGES_AUTO, /* when the system has some free */
    CONFIG_HUGEPAGES_ON,   /* or the engine does not start  */
    CONFIG_HUGEPAGES_OFF,
};

struct config_engine {
    char socket[104]; /* sun_path's room is 108 */
    uint32_t socket_mode;
    char socket_group[CONFIG_NAME_BYTES]; /* "": the daemon's own */
    uint32_t allow_uids[CONFIG_ALLOWED_MAX];
    uint32_t allow_uids_count;
    uint32_t allow_gids[CONFIG_ALLOWED_MAX];
    uint32_t allow_gids_count;
    uint32_t workers; /* 0: of each node all cores but one, at least 1 */
    bool busy_poll;
    uint32_t spin_us;
    enum config_hugepages hugepages;
    uint64_t output_arena_bytes;   /* of each client, at the most                */
    uint64_t session_memory_bytes; /* of all sessions; 0: a quarter of the machine's */
    uint32_t sessions_per_user;
    uint32_t jobs_count; /* messages under way in one worker */
    uint32_t key_wait_s; /* then RETRY, or the spool when the client allows it */
    uint32_t drain_s;    /* at the most, after SIGTERM */
    bool io_uring;
    enum log_level log_level;
    char message_id_host[CONFIG_NAME_BYTES * 4]; /* "": the host's name */
    char spool[CONFIG_PATH_BYTES];               /* folder; "": none */
    char spool_key[CONFIG_PATH_BYTES];           /* "": the systemd credential */
    uint64_t spool_bytes;                        /* of all workers' segments together */
    uint64_t spool_segment_bytes;                /* holds the largest message */
};

struct config_key_service {
    char name[CONFIG_NAME_BYTES];
    char url[CONFIG_URL_BYTES];        /* what recipients open             */
    char engine_url[CONFIG_URL_BYTES]; /* where the engine registers keys  */
    char ca[CONFIG_PATH_BYTES];        /* "": the system's                 */
    char certificate[CONFIG_PATH_BYTES];
    char private_key[CONFIG_PATH_BYTES];
    char proxy[CONFIG_URL_BYTES]; /* "": none                         */
    uint32_t timeout_s;
};

/* What bulla-milter alone reads. */
struct config_milter {
    char socket[128];                     /* inet:port@host, inet6:port@host or unix:path      */
    uint32_t socket_mode;                 /* of a unix socket                                   */
    char socket_group[CONFIG_NAME_BYTES]; /* "": the daemon's own                               */
    char reinject[CONFIG_URL_BYTES];      /* host:port; "": the engine may keep nothing         */
    char hostname[CONFIG_NAME_BYTES * 4]; /* in EHLO; "": the host's name                       */
    char mark_key[CONFIG_PATH_BYTES];     /* "": own envelopes are sealed again                 */
    struct network trust_networks[CONFIG_ALLOWED_MAX];
    uint32_t trust_networks_count;
    bool trust_authenticated;
    uint32_t timeout_s;    /* for the engine's answer */
    uint32_t drain_s;      /* at the most, after SIGTERM */
    uint32_t connections;  /* to `reinject` at once */
    uint64_t memory_bytes; /* of all messages under way */
    enum log_level log_level;
};

struct config {
    struct config_engine engine;
    struct config_milter milter;
    struct config_key_service key_services[CONFIG_KEY_SERVICES_MAX];
    uint32_t key_services_count;
    struct profile profiles[PROFILES_MAX];
    uint32_t profile_key_service[PROFILES_MAX];  /* index into key_services */
    struct select_rules selection[PROFILES_MAX]; /* in the profiles' order */
    uint32_t profiles_count;
};

/* *config is written on success only. It is large: not for small stacks. */
MUST_USE int config_load(struct config *config, const char *path, char why[CONFIG_WHY_BYTES]);
/* The same for a program that may not read the engine's files: those that options name are not
 * opened. */
MUST_USE int config_load_milter(struct config *config, const char *path,
                                char why[CONFIG_WHY_BYTES]);

#endif
