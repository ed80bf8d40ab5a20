/*
 * bulla-bench-engine: the real engine with a key service that acknowledges at once.
 *
 * For measuring only: what it seals can never be opened, since no key is kept anywhere. It takes
 * bullad's configuration; key service, CA and certificates in it are named but never used. What it
 * measures and leaves out stands at the head of bench/engine/instant_keys.c. `bulla-bench
 * --instant` and `bulla-bench suite` start and stop it by themselves.
 */
#include "base/log.h"
#include "base/startup.h"
#include "bench/engine/counts.h"
#include "engine/config.h"
#include "engine/control.h"
#include "engine/engine.h"
#include "engine/status.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sysexits.h>

static const char usage[] =
    "usage: bulla-bench-engine --config FILE [--counts FILE]\n"
    "  --config FILE  as bullad's; its key services are not spoken to\n"
    "  --counts FILE  an existing file that receives each thread's counts\n";

/* As bullad does, so that both run under the same limits; but a bench may look inside. */
static void process_prepare(void)
{
    struct rlimit locked;
    sigset_t signals;
    if (getrlimit(RLIMIT_MEMLOCK, &locked) == 0) {
        locked.rlim_cur = locked.rlim_max;
        (void)setrlimit(RLIMIT_MEMLOCK, &locked);
    }
    startup_raise_files();
    startup_block_signals(&signals);
    /* Ends with the bench that started it; and the bench may count its system calls. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
}

static int serve(const char *config_path, const struct config *config)
{
    static struct engine engine;
    char why[ENGINE_WHY_BYTES] = "";
    struct control *control = NULL;
    int rc = engine_start(&engine, config_path, config, why);
    if (rc == 0) {
        rc = control_open(&control, &engine, why);
        if (rc != 0)
            engine_stop(&engine);
    }
    if (rc != 0) {
        log_line(LOG_LEVEL_ERROR, "start", "why=\"%s\"", why);
        return rc == -EINVAL ? EX_CONFIG : EX_UNAVAILABLE;
    }
    status_open(&engine);
    log_line(LOG_LEVEL_WARNING, "ready", "socket=%s keys=\"not stored anywhere\"",
             config->engine.socket);
    (void)control_run(control);
    status_close();
    engine_stop(&engine);
    control_close(control);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'},
        {"counts", required_argument, NULL, 'n'},
        {NULL, 0, NULL, 0},
    };
    const char *config_path = NULL;
    const char *counts_path = NULL;
    char why[CONFIG_WHY_BYTES] = "";
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'c': config_path = optarg; break;
        case 'n': counts_path = optarg; break;
        default: (void)fputs(usage, stderr); return EX_USAGE;
        }
    }
    if (config_path == NULL || optind != argc) {
        (void)fputs(usage, stderr);
        return EX_USAGE;
    }
    int rc = counts_path == NULL ? 0 : counts_open(counts_path);
    if (rc != 0) {
        (void)fprintf(stderr, "bulla-bench-engine: %s: %s\n", counts_path, strerror(-rc));
        return EX_CANTCREAT;
    }
    struct config *config = calloc(1, sizeof(*config));
    if (config == NULL)
        return EX_OSERR;
    process_prepare();
    int code = EX_CONFIG;
    rc = config_load(config, config_path, why);
    if (rc != 0) {
        (void)fprintf(stderr, "bulla-bench-engine: %s\n", why);
    } else {
        log_init("bulla-bench-engine", config->engine.log_level);
        code = serve(config_path, config);
    }
    free(config);
    return code;
}
