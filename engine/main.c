/* bullad: the engine daemon; see bullad(8). */
#include "base/log.h"
#include "base/startup.h"
#include "engine/config.h"
#include "engine/control.h"
#include "engine/engine.h"
#include "engine/spool_key.h"
#include "engine/status.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>

struct options {
    const char *config_path;
    const char *spool_key_path; /* to be made */
    bool explain_placement;
    bool help;
};

static const char usage[] =
    "usage: bullad [--config FILE] [--explain-placement]\n"
    "       bullad --make-spool-key FILE\n"
    "  --config FILE        configuration       [" CONFIG_PATH_DEFAULT "]\n"
    "  --explain-placement  says which processor each thread would run on, and exits\n"
    "  --make-spool-key FILE  makes the key that the spool needs, and exits\n";

static int options_read(struct options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'},
        {"explain-placement", no_argument, NULL, 'p'},
        {"make-spool-key", required_argument, NULL, 'k'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;
    *options = (struct options){.config_path = CONFIG_PATH_DEFAULT};
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'c': options->config_path = optarg; break;
        case 'p': options->explain_placement = true; break;
        case 'k': options->spool_key_path = optarg; break;
        case 'h': options->help = true; break;
        default: return -EINVAL;
        }
    }
    return optind == argc ? 0 : -EINVAL;
}

/* As much as may be had for the pages that hold keys and plaintext. */
static void raise_locked(void)
{
    struct rlimit locked;
    if (getrlimit(RLIMIT_MEMLOCK, &locked) == 0) {
        const struct rlimit endless = {RLIM_INFINITY, RLIM_INFINITY};
        locked.rlim_cur = locked.rlim_max;
        if (setrlimit(RLIMIT_MEMLOCK, &endless) != 0)
            (void)setrlimit(RLIMIT_MEMLOCK, &locked);
    }
}

static int explain_placement(const struct config *config)
{
    static struct placement placement;
    char why[PLACEMENT_WHY_BYTES] = "";
    hwloc_topology_t topology;
    if (placement_discover(&topology) != 0) {
        (void)fprintf(stderr, "bullad: the machine's topology cannot be read\n");
        return EX_OSERR;
    }
    const int rc = placement_plan(&placement, topology, config->engine.workers, why);
    hwloc_topology_destroy(topology);
    if (rc != 0) {
        (void)fprintf(stderr, "bullad: %s\n", why);
        return EX_CONFIG;
    }
    placement_print(&placement, stdout);
    return 0;
}

static int make_spool_key(const char *path)
{
    char why[SPOOL_KEY_WHY_BYTES] = "";
    if (spool_key_make(path, why) == 0)
        return 0;
    (void)fprintf(stderr, "bullad: %s\n", why);
    return EX_CANTCREAT;
}

static int serve(const char *config_path, const struct config *config)
{
    static struct engine engine;
    char why[ENGINE_WHY_BYTES] = "";
    struct control *control = NULL;
    sigset_t signals;
    startup_hide_memory();
    raise_locked();
    startup_raise_files(); /* each of 256 sessions has a socket, two memfds and a doorbell */
    /* Before any thread starts: signals are read from a descriptor by control alone. */
    startup_block_signals(&signals);
    int rc = engine_start(&engine, config_path, config, why);
    if (rc != 0) {
        log_line(LOG_LEVEL_ERROR, "start", "why=\"%s\"", why);
        return rc == -EINVAL ? EX_CONFIG : EX_UNAVAILABLE;
    }
    rc = control_open(&control, &engine, why);
    if (rc != 0) {
        log_line(LOG_LEVEL_ERROR, "start", "why=\"%s\"", why);
        engine_stop(&engine);
        return EX_UNAVAILABLE;
    }
    status_open(&engine);
    log_line(LOG_LEVEL_INFO, "ready", "socket=%s workers=%u profiles=%u", config->engine.socket,
             engine.workers_count, config->profiles_count);
    (void)control_run(control);
    status_close();
    engine_stop(&engine);
    control_close(control);
    log_line(LOG_LEVEL_INFO, "stopped", "code=0");
    return 0;
}

int main(int argc, char **argv)
{
    struct options options;
    char why[CONFIG_WHY_BYTES] = "";
    if (options_read(&options, argc, argv) != 0) {
        (void)fputs(usage, stderr);
        return EX_USAGE;
    }
    if (options.help) {
        (void)fputs(usage, stdout);
        return 0;
    }
    if (options.spool_key_path != NULL)
        return make_spool_key(options.spool_key_path);
    struct config *config = calloc(1, sizeof(*config));
    if (config == NULL)
        return EX_OSERR;
    int code = EX_CONFIG;
    const int rc = config_load(config, options.config_path, why);
    if (rc != 0) {
        (void)fprintf(stderr, "bullad: %s\n", why);
    } else if (options.explain_placement) {
        code = explain_placement(config);
    } else {
        log_init("bullad", config->engine.log_level);
        code = serve(options.config_path, config);
    }
    free(config);
    return code;
}
