/* bulla check-config: reads a configuration as bullad would, and says what to mend where. */
#include "engine/config.h"
#include "engine/snapshot.h"
#include "tools/bulla/command.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char check_config_usage[] =
    "usage: bulla check-config [FILE]\n"
    "FILE is " CONFIG_PATH_DEFAULT
    " when it is not given. Run it as the user that bullad runs as:\n"
    "the files that the configuration names must be readable.\n"
    "exit: 0 sound, 78 with FILE:LINE, the fault and its mend on stderr\n";

/* Renders what an engine would: templates, subjects, logos, locales. */
static int check_rendering(const struct config *config, const char *path)
{
    struct snapshot *snapshot = NULL;
    char why[SNAPSHOT_WHY_BYTES] = "";
    if (snapshot_open(&snapshot, config, 1, why) != 0)
        return command_fail(EX_CONFIG, "%s: %s", path, why);
    snapshot_close(snapshot);
    return 0;
}

int command_check_config(int argc, char **argv)
{
    static const struct option known[] = {{"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    int option = getopt_long(argc, argv, ":", known, NULL);
    if (option == 'h') {
        fputs(check_config_usage, stdout);
        return 0;
    }
    if (option != -1)
        return command_bad_option(option, argv);
    if (argc - optind > 1)
        return command_fail(EX_USAGE, "one file at a time; see 'bulla check-config --help'");
    const char *path = optind < argc ? argv[optind] : CONFIG_PATH_DEFAULT;

    struct config *config = calloc(1, sizeof(*config));
    if (config == NULL)
        return command_fail(EX_OSERR, "no memory is left");
    char why[CONFIG_WHY_BYTES] = "";
    int exit_status = 0;
    int rc = config_load(config, path, why);
    if (rc != 0)
        exit_status = command_fail(EX_CONFIG, "%s", why);
    else
        exit_status = check_rendering(config, path);
    if (exit_status == 0)
        printf("%s: sound; %u profile%s, %u key service%s\n", path, config->profiles_count,
               config->profiles_count == 1 ? "" : "s", config->key_services_count,
               config->key_services_count == 1 ? "" : "s");
    free(config);
    return exit_status;
}
