/* bulla-milter: attaches a mail server to the engine; see bulla-milter(8). */
#include "base/log.h"
#include "base/startup.h"
#include "engine/config.h"
#include "mta/milter/service.h"

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

struct options {
    const char *config_path;
    const char *pid_file;
    bool check;
    bool help;
};

static const char usage[] =
    "usage: bulla-milter [--config FILE] [--pid-file FILE] [--check]\n"
    "  --config FILE    configuration             [" CONFIG_PATH_DEFAULT "]\n"
    "  --pid-file FILE  writes its process number there, and removes it at the end\n"
    "  --check          reads the configuration, says what is wrong with it, and exits\n";

static int options_read(struct options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'},
        {"pid-file", required_argument, NULL, 'p'},
        {"check", no_argument, NULL, 'k'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;
    *options = (struct options){.config_path = CONFIG_PATH_DEFAULT};
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'c': options->config_path = optarg; break;
        case 'p': options->pid_file = optarg; break;
        case 'k': options->check = true; break;
        case 'h': options->help = true; break;
        default: return -EINVAL;
        }
    }
    return optind == argc ? 0 : -EINVAL;
}

/* Nothing selected is a lawful configuration, and hardly ever what was meant. */
static bool selects_something(const struct config *config)
{
    for (uint32_t i = 0; i < config->profiles_count; i++) {
        if (config->selection[i].all || config->selection[i].entries_count > 0)
            return true;
    }
    return false;
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
    struct config *config = calloc(1, sizeof(*config));
    if (config == NULL)
        return EX_OSERR;
    int code = EX_CONFIG;
    if (config_load_milter(config, options.config_path, why) != 0) {
        (void)fprintf(stderr, "bulla-milter: %s\n", why);
        goto free_config;
    }
    if (!selects_something(config))
        (void)fprintf(stderr, "bulla-milter: no profile seals anything; add seal = all, or one of "
                              "the lists of bulla.conf(5)\n");
    if (options.check) {
        code = 0;
        goto free_config;
    }
    startup_hide_memory();
    log_init("bulla-milter", config->milter.log_level);
    code = service_run(options.config_path, options.pid_file, config);
    /* libmilter's threads are still there: exit() would take from under them what they use. */
    _exit(code);
free_config:
    free(config);
    return code;
}
